"""Claims in the shapes of Catena-X: read to the cent, settled by the packages, or refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotmark_adapters.catenax import (
    PackageEvent,
    read_claim_verification,
    read_parts_analyses,
    read_warranty_claim,
)
from lotmark_adapters.errors import CatenaxError
from lotmark_contracts.execution.inputs import Party
from lotmark_contracts.execution.receipt import RuleReceipt, Status
from lotmark_contracts.package.package import load_package
from lotmark_contracts.wcel.currencies import EXPONENTS
from tests.adapters.catenax_documents import (
    ANALYSIS,
    CLAIM,
    VERIFICATION,
    analyses,
    document,
    number,
)
from tests.contracts.packages import Desk, because, shipped_files
from tests.shared_vectors import require_shared

PARTIES = (Party("OEM-A", "oem"), Party("T1", "supplier"), Party("LAB-1", "laboratory"))


def claim(raw: bytes) -> PackageEvent:
    return read_warranty_claim(raw, document="claim.json", supplier="T1")


def verification(raw: bytes) -> PackageEvent:
    return read_claim_verification(raw, document="answer.json", claimant="OEM-A")


def parts(raw: bytes) -> list[PackageEvent]:
    return read_parts_analyses(raw, document="parts.json", supplier="T1", oem="OEM-A", period=7)


def sent(at: Desk, author: str, event: PackageEvent) -> RuleReceipt:
    told: dict[str, Any] = dict(event.fields)
    (receipt,) = at.send(event.name, author, **told)
    return receipt


def settled(raw_claim: bytes, raw_answer: bytes, factor_bp: int) -> tuple[Desk, RuleReceipt]:
    """Have a claim charged and answered; return where, and the receipt of its charge."""
    at = Desk(load_package(shipped_files("technical-factor")), parties=PARTIES)
    asked = claim(raw_claim)
    terms: dict[str, Any] = {"family": asked.fields["family"], "factor_bp": factor_bp}
    (agreed,) = at.send(
        "technical_factor_agreed", "T1", supplier="T1", oem="OEM-A", currency="EUR", **terms
    )
    charged = sent(at, "OEM-A", asked)
    answered = sent(at, "T1", verification(raw_answer))
    for receipt in (agreed, charged, answered):
        assert receipt.status is Status.DONE, receipt
    return at, charged


def test_a_claim_document_is_read_to_the_cent() -> None:
    assert claim(document(CLAIM)) == PackageEvent(
        "technical_factor_claim",
        {
            "claim": "C-1",
            "supplier": "T1",
            "family": "stator",
            "serial": "VIN-1",
            "part": "stator",
            "labour_code": "27-100",
            "repaired_at": 1_764_547_200_000,
            "currency": "EUR",
            "material": 1_234,
            "minutes": [4, 3],
            "hourly_rate": 9_999,
            "other": 0,
            "billed_tf_bp": 10_000,
            "stated_total": 2_401,
        },
    )


def test_a_claim_and_its_answer_settle_to_their_own_numbers() -> None:
    at, charged = settled(document(CLAIM), document(VERIFICATION), 3_333)

    assert because(charged)["implausible"] == 1_601
    assert at.balance("EUR", "oem:OEM-A") == 800
    assert at.balance("EUR", "supplier:T1") == -800


def shared_sample(name: str) -> bytes:
    (path,) = require_shared(f"data/catena-x/io.catenax.{name}").glob("*/gen/*[!a].json")
    return Path(path).read_bytes()


def test_the_sample_claim_of_catena_x_settles_to_its_own_numbers() -> None:
    raw_claim = shared_sample("warranty_claim_request")
    raw_answer = shared_sample("warranty_claim_request_verification")
    asked, answer = json.loads(raw_claim), json.loads(raw_answer)

    at, charged = settled(raw_claim, raw_answer, answer["agreedTechnicalFactor"] * 100)

    told = because(charged)
    assert told["billed"] == round(asked["billedAmount"] * 100) == 100_000
    assert told["labour"] == round(asked["laborCosts"] * 100) == 70_000
    assert told["plausible"] == round(answer["claimPlausible"] * 100) == 50_000
    assert told["implausible"] == round(answer["claimImplausible"] * 100) == 50_000
    assert at.balance("EUR", "oem:OEM-A") == 50_000


def test_an_answer_with_other_numbers_than_were_posted_is_refused_by_the_package() -> None:
    at, _ = settled(document(CLAIM), document(VERIFICATION), 3_333)
    sent(at, "OEM-A", claim(document(CLAIM, claimId="C-2", anonymizedVIN="VIN-2")))

    other = document(VERIFICATION, claimId="C-2", claimPlausible=number("7.99"))

    assert sent(at, "T1", verification(other)).reason == "DIFFERS"


def test_the_sample_analyses_of_catena_x_are_read() -> None:
    (event,) = parts(shared_sample("parts_analyses"))

    assert event.fields["part"] == "580d3adf-1981-44a0-a214-13d6ceed9000"
    assert event.fields["result"] == "NOT_ANALYSED", "its status is new"


@pytest.mark.parametrize(
    ("changes", "result"),
    [
        ({}, "SUPPLIER"),
        ({"isDefect": False}, "NTF"),
        ({"isDefect": None}, "NOT_ANALYSED"),
        ({"status": "closed"}, "SUPPLIER"),
        ({"status": None, "isDefect": False}, "NTF"),
        ({"status": "new"}, "NOT_ANALYSED"),
        ({"status": "in progress"}, "NOT_ANALYSED"),
        ({"recordStatus": "deleted"}, "NOT_ANALYSED"),
        ({"recordStatus": "updated"}, "SUPPLIER"),
    ],
)
def test_an_analysis_says_what_the_part_was_found_to_be(
    changes: dict[str, Any], result: str
) -> None:
    (event,) = parts(analyses(changes))

    assert event == PackageEvent(
        "part_analysed",
        {"supplier": "T1", "oem": "OEM-A", "period": 7, "part": "ST-1", "result": result},
    )


def test_analyses_are_counted_by_the_package() -> None:
    at = Desk(load_package(shipped_files("reference-market")), parties=PARTIES)
    at.send(
        "market_terms",
        "T1",
        supplier="T1",
        oem="OEM-A",
        analysis_role="laboratory",
        ntf_share_bp=5_000,
        minimum=2,
        default_tf_bp=0,
        ntf_trigger_bp=10_000,
        currency="EUR",
        period_cap=10**9,
    )
    raw = analyses({}, {"serialNumber": "ST-2", "isDefect": False})
    for event in parts(raw):
        assert sent(at, "LAB-1", event).status is Status.DONE

    (closed,) = at.send("period_close", "OEM-A", supplier="T1", period=7)

    assert because(closed)["tf_bp"] == 7_500


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"materialCosts": number("12.345")}, "materialCosts: 12.345 has 3 decimals and EUR 2"),
        ({"materialCosts": number("-1")}, "materialCosts: -1 is negative; 0 is the least"),
        ({"materialCosts": number("1e3")}, "materialCosts: 1e3 has an exponent"),
        ({"materialCosts": number("9" * 19)}, "materialCosts: .* more than 18 digits"),
        ({"materialCosts": number("99999999999999")}, "beyond 1,000,000,000,000,000 minor units"),
        ({"materialCosts": "12.34"}, "materialCosts: '12.34' is no number; write the amount"),
        ({"materialCosts": None}, "materialCosts is missing; write the amount, 0 where"),
        ({"otherCosts": number("NaN")}, "NaN is no number of JSON"),
        ({"billedTF": number("100.01")}, "billedTF: 100.01 is beyond 10,000 basis points"),
        ({"billedTF": number("33.333")}, "billedTF: 33.333 has 3 decimals and a percentage 2"),
        ({"baseLaborTime": number("4.5")}, "baseLaborTime: 4.5 has 1 decimals and a time"),
        ({"baseLaborTime": number("0")}, "baseLaborTime: 0 minutes; 1 is the least"),
        ({"totalTime": number("8")}, "totalTime: 8 minutes are stated, and its parts make 7"),
        ({"laborCosts": number("11.66")}, "laborCosts: 1,166 .* and its parts make 1,167"),
        ({"repairCostsTF100": number("24")}, "repairCostsTF100: 2,400 .* parts make 2,401"),
        ({"billedAmount": number("24")}, "billedAmount: 2,400 .* parts make 2,401"),
        ({"billedCurrency": "EURO"}, "billedCurrency: 'EURO' has 4 characters; write 1 to 3"),
        ({"billedCurrency": "XYZ"}, "billedCurrency: 'XYZ' is no currency of ISO 4217"),
        ({"billingDate": "2025-02-30"}, "billingDate: '2025-02-30' is no day"),
        ({"billingDate": "null"}, "billingDate: 'null' is no day"),
        ({"billingDate": "20251201"}, "billingDate: '20251201' is no day"),
        ({"claimId": ""}, "claimId: '' has 0 characters; write 1 to 40"),
        ({"claimId": "C" * 41}, "claimId: .* has 41 characters; write 1 to 40"),
        ({"claimId": number("7")}, "claimId: 7 is no text; write it in quotes"),
        ({"claimId": "C\u0007"}, "claimId has the control character"),
        ({"qualityTaskId": "430f56d3"}, "qualityTaskId: '430f56d3' is no UUID"),
        ({"bpnsProperty": "BPNL0123456789ZZ"}, "bpnsProperty: .* write BPNS and 12"),
        ({"vehicleID": "x"}, "vehicleID is unknown; allowed here are claimId"),
    ],
)
def test_a_claim_is_refused_with_place_value_bound_and_remedy(
    changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(CatenaxError, match=f"^claim.json: .*{words}"):
        claim(document(CLAIM, **changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"billingStatus": "open"}, "billingStatus: 'open' is none of approved, disputed"),
        ({"debitValueJustified": "no"}, "debitValueJustified: 'no' is neither true nor false"),
        ({"debitValueJustified": number("1")}, "debitValueJustified: 1 is neither"),
        ({"agreedTechnicalFactor": number("101")}, "agreedTechnicalFactor: 101 is beyond"),
        ({"claimPlausible": number("0.005")}, "claimPlausible: 0.005 has 3 decimals"),
        ({"statementReason": "x" * 201}, "statementReason: .* has 201 characters"),
        ({"bpnlProperty": "BPNS0123456789ZZ"}, "bpnlProperty: .* write BPNL and 12"),
    ],
)
def test_an_answer_is_refused_with_place_value_bound_and_remedy(
    changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(CatenaxError, match=f"^answer.json: .*{words}"):
        verification(document(VERIFICATION, **changes))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "is not JSON in UTF-8"),
        (b"\xff", "is not JSON in UTF-8"),
        (b"[" * 100_000, "nests too deep"),
        (b'{"partsAnalyses": [], "partsAnalyses": []}', "'partsAnalyses' stands twice"),
        (b" " * 4_194_305, "4,194,305 bytes; at most 4,194,304"),
        (b"[]", "a list is no table"),
        (b"{}", "partsAnalyses is missing"),
        (b'{"partsAnalyses": {}}', "partsAnalyses: a table is no list"),
        (b'{"partsAnalyses": [7]}', r"partsAnalyses\[0\]: .* is no table"),
        (json.dumps({"partsAnalyses": [{}] * 10_001}).encode(), "10,001 analyses; at most 10,000"),
        (analyses({}, {}), r"partsAnalyses\[1\]: part 'ST-1' is there twice"),
        (analyses({"serialNumber": None}), r"\[0\].partId is missing; write it, or serialNumber"),
        (analyses({"partName": None}), r"\[0\].partName is missing"),
        (analyses({"status": "done"}), r"status: 'done' is none of new, in progress, completed"),
    ],
)
def test_analyses_are_refused_with_place_value_bound_and_remedy(raw: bytes, words: str) -> None:
    with pytest.raises(CatenaxError, match=f"^parts.json: .*{words}"):
        parts(raw)


def test_whatever_is_left_out_that_is_needed_is_named() -> None:
    """As a class: all members that a package reads, or that the shapes demand."""
    times = {"baseLaborTime", "diagnosticLaborTime"}
    for name in CLAIM.keys() - times - {"totalTime", "laborCosts"}:
        with pytest.raises(CatenaxError, match=f"^claim.json: {name} is missing; "):
            claim(document(CLAIM, **{name: None}))
    for name in VERIFICATION:
        with pytest.raises(CatenaxError, match=f"^answer.json: {name} is missing; "):
            verification(document(VERIFICATION, **{name: None}))
    for name in set(ANALYSIS) - {"isDefect", "status"}:
        with pytest.raises(CatenaxError, match=" is missing; "):
            parts(analyses({name: None}))


def test_what_a_document_need_not_add_up_may_be_left_out() -> None:
    whole = claim(document(CLAIM))

    assert claim(document(CLAIM, totalTime=None, laborCosts=None)) == whole


@given(minor=st.integers(0, 10**15), currency=st.sampled_from(["EUR", "JPY", "KWD"]))
def test_every_amount_is_read_as_its_digits_say(minor: int, currency: str) -> None:
    decimals = EXPONENTS[currency]
    whole, rest = divmod(minor, 10**decimals)
    digits = f"{whole}.{rest:0{decimals}}" if decimals else str(whole)
    changes = {"billedCurrency": currency, "claimPlausible": number(digits)}
    changes["claimImplausible"] = number("0")

    assert verification(document(VERIFICATION, **changes)).fields["plausible"] == minor


@given(raw=st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_bytes_by_chance_are_refused_and_nothing_else(raw: bytes) -> None:
    for read in (claim, verification, parts):
        with pytest.raises(CatenaxError):
            read(raw)
