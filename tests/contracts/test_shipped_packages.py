"""The shipped packages: their own tests, and the exact-rational vectors through the packages."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from lotmark_contracts.execution.inputs import Ancestor, Party
from lotmark_contracts.execution.receipt import RuleReceipt, Status
from lotmark_contracts.package.manifest import AccountRight
from lotmark_contracts.package.package import load_package
from lotmark_contracts.scenarios.scenario_runner import run_scenarios
from tests.contracts.packages import (
    NOW_MS,
    SHIPPED,
    Desk,
    because,
    shipped_files,
    template_files,
)
from tests.shared_vectors import require_shared

PARTIES = (
    Party("OEM", "oem"),
    Party("T1", "supplier"),
    Party("T2", "supplier"),
    Party("N", "notary"),
    Party("LAB", "laboratory"),
)
LOT = "https://id.gs1.org/01/04012345000016/10/L"
UNCAPPED = 2**63 - 1
DAY_MS = 86_400_000


@pytest.mark.parametrize("name", [*SHIPPED, "template"])
def test_a_shipped_packages_own_tests_pass(name: str) -> None:
    files = template_files() if name == "template" else shipped_files(name)
    package = load_package(files)

    results = run_scenarios(package, files)

    assert [problem for result in results for problem in result.problems] == []
    assert sum(result.checks for result in results) > 5
    tried = {
        rule
        for path, data in files.items()
        if path.startswith("tests/")
        for step in json.loads(data)["steps"]
        for rule in step["expect"]["receipts"]
    }
    assert tried == {rule.name for rule in package.rules}, "a rule without a test"


@pytest.mark.parametrize("name", SHIPPED)
def test_every_reason_of_a_shipped_package_is_tried_in_its_tests(name: str) -> None:
    files = shipped_files(name)
    reasons = {
        (rule.name, f"refused {refusal.reason}")
        for rule in load_package(files).rules
        for refusal in rule.refusals
    }
    tried = {
        expected
        for path, data in files.items()
        if path.startswith("tests/")
        for step in json.loads(data)["steps"]
        for expected in step["expect"]["receipts"].items()
    }

    assert reasons - tried == set()


@pytest.mark.parametrize("name", SHIPPED)
def test_accounts_named_after_parties_move_only_for_parties_that_are_bound(name: str) -> None:
    manifest = load_package(shipped_files(name)).manifest
    free = {
        family for family, rights in manifest.accounts.items() if AccountRight.PARTY not in rights
    }

    assert free <= {"escrow", "owner"}, "an escrow is a claim's, an owner need be no party"
    for family in free:
        rights = manifest.accounts[family]
        assert AccountRight.DEBIT not in rights or AccountRight.PREFUNDED in rights


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_package_is_called_as_its_folder(name: str) -> None:
    assert load_package(shipped_files(name)).name == name


def test_silence_about_a_failed_lot_is_consent_and_a_statement_is_not_silence() -> None:
    at = _lot_desk(UNCAPPED)
    _failed_lot(at, "L-1", {"scrap": 700})
    _failed_lot(at, "L-2", {"scrap": 100})
    answer: dict[str, Any] = {"customer": "T1", "claim": "L-2", "undisputed": 10}
    done(at.send("lot_statement", "T2", **answer))
    filed_ms = NOW_MS + 3_000  # the second failure; terms and the first came before it

    assert at.wait(filed_ms - 1_001 + 30 * DAY_MS) == []
    receipt = done(at.wait(filed_ms + 30 * DAY_MS))

    assert (receipt.rule, receipt.claim) == ("accept_by_silence", "T1/L-1")
    assert at.balance("EUR", "customer:T1") == 710
    assert at.balance("EUR", "escrow:T1/L-2") == 90
    late = at.send("lot_statement", "T2", **answer | {"claim": "L-1"})
    assert [each.reason for each in late] == ["NOT_OPEN"]


def vectors(pack: str) -> list[Any]:
    path = require_shared("vectors/warranty/vectors.json")
    return [each for each in json.loads(path.read_text()) if each["pack"] == pack]


def desk(name: str, *more_parties: Party) -> Desk:
    return Desk(load_package(shipped_files(name)), parties=(*PARTIES, *more_parties))


def done(receipts: list[RuleReceipt]) -> RuleReceipt:
    (receipt,) = receipts
    assert receipt.status is Status.DONE, receipt
    return receipt


def steps(receipt: RuleReceipt, names: Any) -> dict[str, Any]:
    told = because(receipt)
    return {name: told[name] for name in names}


def ms(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 1_000


def test_technical_factors_come_out_as_the_vectors_say() -> None:
    for number, vector in enumerate(vectors("RP1")):
        given, at = vector["input"], desk("technical-factor")
        agreed: dict[str, Any] = {
            "supplier": "T1",
            "oem": "OEM",
            "family": "f",
            "factor_bp": given["agreed_tf_bp"],
            "currency": "EUR",
        } | ({"cap": given["cap"]} if "cap" in given else {})
        done(at.send("technical_factor_agreed", "T1", **agreed))
        receipt = done(
            at.send(
                "technical_factor_claim",
                "OEM",
                claim=f"C{number}",
                supplier="T1",
                family="f",
                serial="S",
                part="P",
                labour_code="L",
                repaired_at=ms("2025-12-01"),
                currency="EUR",
                material=given["material"],
                minutes=given["minutes"],
                hourly_rate=given["hourly_rate"],
                other=given["other"],
                billed_tf_bp=given["billed_tf_bp"],
            )
        )

        assert steps(receipt, vector["expect"]) == vector["expect"], vector["name"]
        assert at.balance("EUR", "oem:OEM") == vector["expect"]["plausible"]


def test_factors_of_reference_markets_come_out_as_the_vectors_say() -> None:
    for vector in vectors("RP2"):
        given, at = vector["input"], desk("reference-market")
        _agree_to_market(at, given["ntf_share_bp"], given["n_min"], given["default_tf_bp"])
        results = ["SUPPLIER"] * given["supplier"] + ["NTF"] * given["ntf"]
        results += ["MISUSE"] * given["excluded"]
        results += ["OEM"] * (given["analysed"] - len(results))
        for number, result in enumerate(results):
            done(_analysed(at, f"P{number}", result))
        receipt = done(at.send("period_close", "OEM", supplier="T1", period=1))

        assert steps(receipt, vector["expect"]) == vector["expect"], vector["name"]


def test_the_sample_of_sixty_gives_the_factor_that_the_research_names() -> None:
    at = desk("reference-market")
    _agree_to_market(at, 5_000, 30, 3_000)
    results = ["SUPPLIER"] * 27 + ["NTF"] * 12 + ["MISUSE"] * 6 + ["OEM"] * 15
    for number, result in enumerate(results):
        done(_analysed(at, f"P{number}", result))

    receipt = done(at.send("period_close", "OEM", supplier="T1", period=1))

    assert steps(receipt, ["valid", "tf_bp"]) == {"valid": 54, "tf_bp": 6_111}


def test_true_ups_come_out_as_the_vectors_say() -> None:
    for vector in vectors("RP2.trueup"):
        given, expected, at = vector["input"], vector["expect"], desk("reference-market")
        _agree_to_market(at, 0, 1, given["tf_bp"])
        done(at.send("period_close", "OEM", supplier="T1", period=1))
        assert not any(given["paid"].values()), "a true-up before this one would have paid"
        receipt = done(
            at.send(
                "period_trueup",
                "OEM",
                supplier="T1",
                period=1,
                run=1,
                currency="EUR",
                costs=[
                    {"claim": claim, "cost100": cost, "paid": given["paid"][claim]}
                    for claim, cost in sorted(given["costs"].items())
                ],
            )
        )

        told = steps(receipt, ["target", "delta", "per_claim"])
        told["per_claim"] = dict(zip(sorted(given["costs"]), told["per_claim"], strict=True))
        assert told == expected, vector["name"]


def _agree_to_market(at: Desk, ntf_share_bp: int, minimum: int, default_tf_bp: int) -> None:
    done(
        at.send(
            "market_terms",
            "T1",
            supplier="T1",
            oem="OEM",
            analysis_role="laboratory",
            ntf_share_bp=ntf_share_bp,
            minimum=minimum,
            default_tf_bp=default_tf_bp,
            ntf_trigger_bp=10_000,
            currency="EUR",
            period_cap=UNCAPPED,
        )
    )


def _analysed(at: Desk, part: str, result: str) -> list[RuleReceipt]:
    fields: dict[str, Any] = {"supplier": "T1", "oem": "OEM", "period": 1}
    return at.send("part_analysed", "LAB", part=part, result=result, **fields)


def _granted(at: Desk, **changes: Any) -> None:
    terms: dict[str, Any] = {
        "serial": "S",
        "sensor_party": "T2",
        "device": "edge",
        "owner": "O",
        "starts": 0,
        "free_months": 0,
        "max_months": 1,
        "free_km": 0,
        "max_km": 10,
        "cost": 100,
        "currency": "EUR",
    }
    done(at.send("cover_granted", "OEM", **terms | changes))
    valid: dict[str, Any] = {"valid_from": -DAY_MS, "valid_until": UNCAPPED}
    done(at.send("sensor_calibrated", "LAB", party="T2", device="edge", **valid))


def _triggered(at: Desk, *, at_ms: int, uncertainty_ms: int, km: int) -> RuleReceipt:
    receipts = at.send(
        "sensor_window",
        "T2",
        warrantor="OEM",
        serial="S",
        from_device="edge",
        sensor="spindle_temp",
        capture="SENSOR_DIRECT",
        clock_synchronised=True,
        at=at_ms,
        uncertainty_ms=uncertainty_ms,
        km=km,
        samples=[{"sequence": number, "value": 90_000} for number in range(3)],
    )
    (receipt,) = [each for each in receipts if each.rule == "trigger"]
    return receipt


def test_covers_pay_what_the_vectors_say() -> None:
    for vector in vectors("RP3"):
        given, at = vector["input"], desk("sensor-cover")
        bounds = ("cost", "free_months", "max_months", "free_km", "max_km")
        _granted(at, starts=ms(given["start"]), **{name: given[name] for name in bounds})
        receipt = _triggered(at, at_ms=ms(given["event"]), uncertainty_ms=0, km=given["km"])

        told = because(receipt)
        assert {"status": told["status"], "pay": told["due"]} == vector["expect"], vector["name"]
        assert at.balance("EUR", "owner:O") == vector["expect"]["pay"]


def test_an_uncertain_time_is_judged_as_the_vectors_say() -> None:
    for vector in vectors("RP3.skew"):
        given, at = vector["input"], desk("sensor-cover")
        _granted(at, starts=given["from_ms"], ends=given["to_ms"])
        receipt = _triggered(
            at, at_ms=given["event_ms"], uncertainty_ms=given["uncertainty_ms"], km=0
        )

        assert because(receipt)["position"] == vector["expect"], vector["name"]


def _failed_lot(at: Desk, claim: str, items: dict[str, int], **changes: Any) -> RuleReceipt:
    start = ms("2025-12-01")
    event: dict[str, Any] = {
        "claim": claim,
        "lot": LOT,
        "supplier": "T2",
        "contract_year": 0,
        "inspected": 100,
        "defects": 9,
        "detected_at": start + 2,
        "handover_at": start + 3,
        "supplier_evidence": "OK_OUT",
        "supplier_entry": 1,
        "customer_evidence": "OK_IN",
        "customer_entry": 2,
        "items": {"sorting": 0, "scrap": 0, "rework": 0, "line_down": 0, "admin_8d": 0, **items},
        "liable": [],
    }
    anchored = [
        Ancestor(item=LOT, depth=1, entry=entry, event_type=told, party=party, recorded_at_ms=start)
        for entry, told, party in ((1, "report_seal", "T2"), (2, "incoming_inspection", "T1"))
    ]
    return done(at.send("lot_failure", "T1", provenance=anchored, **event | changes))


def _lot_desk(annual_cap: int, *sub_suppliers: str) -> Desk:
    at = desk("lot-event", *(Party(name, "supplier") for name in sub_suppliers))
    terms: dict[str, Any] = {
        "starts": ms("2025-12-01"),
        "annual_cap": annual_cap,
        "currency": "EUR",
    }
    done(at.send("lot_terms", "T2", supplier="T2", customer="T1", **terms))
    share: dict[str, Any] = {"share_bp_max": 10_000, "cap": UNCAPPED, "currency": "EUR"}
    for name in sub_suppliers:
        done(at.send("lot_share_agreed", name, supplier="T2", **share))
    return at


def test_liability_for_lots_comes_out_as_the_vectors_say() -> None:
    for vector in vectors("RP4"):
        given, at = vector["input"], _lot_desk(vector["input"]["annual_cap"])
        if given["cap_used"]:  # by an earlier lot of which the supplier bore everything
            _failed_lot(at, "before", {"scrap": given["cap_used"]})
        receipt = _failed_lot(
            at,
            "L",
            given["items"],
            supplier_evidence=given["supplier_evidence"],
            customer_evidence=given["customer_evidence"],
        )

        assert steps(receipt, vector["expect"]) == vector["expect"], vector["name"]
        assert at.balance("EUR", "supplier:T2") == 0, "nobody has stated anything yet"
        at.wait(NOW_MS + 40 * DAY_MS)
        borne = given["cap_used"] + vector["expect"]["supplier"]
        assert at.balance("EUR", "supplier:T2") == -borne


def test_shares_by_weight_come_out_as_the_vectors_say() -> None:
    for vector in vectors("alloc"):
        given, expected = vector["input"], vector["expect"]
        at = _lot_desk(UNCAPPED, *sorted(given["weights"]))
        liable = [
            {"party": party, "weight": weight} for party, weight in sorted(given["weights"].items())
        ]
        _failed_lot(at, "L", {"scrap": given["total"]}, liable=liable)
        at.wait(NOW_MS + 40 * DAY_MS)

        shares = {party: -at.balance("EUR", f"supplier:{party}") for party in expected}
        assert shares == expected, vector["name"]


def _bill_desk(currency: str) -> Desk:
    at = desk("tiers-and-disputes")
    terms: dict[str, Any] = {"claimant": "OEM", "amount_max": UNCAPPED, "currency": currency}
    done(at.send("billing_terms", "T1", **terms))
    return at


def _billed(at: Desk, amount: int, currency: str, billing_currency: str) -> RuleReceipt:
    return done(
        at.send(
            "bill_filed",
            "OEM",
            claim="B",
            supplier="T1",
            amount=amount,
            currency=currency,
            billing_currency=billing_currency,
            occurred_at=NOW_MS,
            uncertainty_ms=0,
        )
    )


def test_amounts_in_another_currency_come_out_as_the_vectors_say() -> None:
    for vector in vectors("RP5.fx"):
        given = vector["input"]
        source, target = vector["name"].split("->")
        assert (given["exp_from"], given["exp_to"]) == (2, 2), "those of EUR and CNY"
        at = _bill_desk(target)
        rate = {
            "num": given["rate_num"],
            "den": given["rate_den"],
            "effective_at": ms("2025-12-22"),
        }
        done(at.send("exchange_rate", "N", **{"from": source, "to": target}, **rate))
        receipt = _billed(at, given["amount"], source, target)

        assert because(receipt)["billed"] == vector["expect"], vector["name"]


def test_what_tiers_keep_comes_out_as_the_vectors_say() -> None:
    for vector in vectors("RP5.tiers"):
        given, at = vector["input"], _bill_desk("EUR")
        for tier in given["chain"]:
            if "next" in tier:
                terms = {"pass_bp": tier["pass_bp"], "cap": tier["next_cap"], "currency": "EUR"}
                window = {"starts": NOW_MS - DAY_MS, "ends": NOW_MS + DAY_MS}
                done(at.send("tier_terms", tier["next"], upper=tier["id"], **terms, **window))
                done(at.send("tier_taken", tier["id"], lower=tier["next"]))
        assert given["chain"][0]["id"] == "T1"
        _billed(at, given["amount"], "EUR", "EUR")
        claim: dict[str, Any] = {"claim": "B", "claimant": "OEM"}
        done(at.send("bill_statement", "T1", **claim, undisputed=given["amount"]))
        done(at.send("recourse_filed", "T1", **claim))

        kept = {tier: -at.balance("EUR", f"supplier:{tier}") for tier in vector["expect"]}
        assert kept == vector["expect"], vector["name"]


def test_disputes_come_out_as_the_vectors_say() -> None:
    for vector in vectors("RP5.dispute"):
        given, expected, at = vector["input"], vector["expect"], _bill_desk("EUR")
        _billed(at, given["billed"], "EUR", "EUR")
        claim: dict[str, Any] = {"claim": "B", "claimant": "OEM"}
        stated = done(at.send("bill_statement", "T1", **claim, undisputed=given["undisputed"]))
        held = at.balance("EUR", "escrow:OEM/B")
        ruled = done(at.send("bill_ruling", "N", **claim, outcome_bp=given["outcome_bp"]))

        told = steps(stated, ["pay_now", "escrow"])
        told |= steps(ruled, ["release_to_claimant", "release_to_supplier"])
        assert told == expected, vector["name"]
        assert held == expected["escrow"]
        assert at.balance("EUR", "escrow:OEM/B") == 0
        paid = expected["pay_now"] + expected["release_to_claimant"]
        assert at.balance("EUR", "claimant:OEM") == paid


def test_every_vector_is_asked() -> None:
    path = require_shared("vectors/warranty/vectors.json")

    packs = {each["pack"] for each in json.loads(path.read_text())}

    assert packs == {
        "RP1", "RP2", "RP2.trueup", "RP3", "RP3.skew", "RP4", "RP5.fx", "RP5.tiers", "RP5.dispute",
        "alloc",
    }  # fmt: skip
