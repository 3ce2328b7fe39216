"""The shipped packages: their own tests, and the exact-rational vectors through the packages."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from lotmark_contracts.execution.inputs import Ancestor, Party
from lotmark_contracts.execution.receipt import RuleReceipt, Status
from lotmark_contracts.package.package import load_package
from lotmark_contracts.scenarios.scenario_runner import run_scenarios
from tests.contracts.packages import (
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
)
LOT = "https://id.gs1.org/01/04012345000016/10/L"
UNCAPPED = 2**63 - 1


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
def test_a_shipped_package_is_called_as_its_folder(name: str) -> None:
    assert load_package(shipped_files(name)).name == name


def vectors(pack: str) -> list[Any]:
    path = require_shared("vectors/warranty/vectors.json")
    return [each for each in json.loads(path.read_text()) if each["pack"] == pack]


def desk(name: str) -> Desk:
    return Desk(load_package(shipped_files(name)), parties=PARTIES)


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
        agreed = {"factor_bp": given["agreed_tf_bp"]} | (
            {"cap": given["cap"]} if "cap" in given else {}
        )
        done(at.send("technical_factor_agreed", "T1", supplier="T1", family="f", **agreed))
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
            done(
                at.send(
                    "part_analysis", "T2", supplier="T1", period=1, part=f"P{number}", result=result
                )
            )
        receipt = done(at.send("period_close", "OEM", supplier="T1", period=1))

        assert steps(receipt, vector["expect"]) == vector["expect"], vector["name"]


def test_the_sample_of_sixty_gives_the_factor_that_the_research_names() -> None:
    at = desk("reference-market")
    _agree_to_market(at, 5_000, 30, 3_000)
    results = ["SUPPLIER"] * 27 + ["NTF"] * 12 + ["MISUSE"] * 6 + ["OEM"] * 15
    for number, result in enumerate(results):
        at.send("part_analysis", "T2", supplier="T1", period=1, part=f"P{number}", result=result)

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
            ntf_share_bp=ntf_share_bp,
            minimum=minimum,
            default_tf_bp=default_tf_bp,
            ntf_trigger_bp=10_000,
        )
    )


def _granted(at: Desk, **changes: Any) -> None:
    terms: dict[str, Any] = {
        "serial": "S",
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


def _triggered(at: Desk, *, at_ms: int, uncertainty_ms: int, km: int) -> RuleReceipt:
    receipts = at.send(
        "sensor_window",
        "T2",
        serial="S",
        sensor="spindle_temp",
        capture="SENSOR_DIRECT",
        calibrated=True,
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
        Ancestor(item=LOT, depth=1, entry=1, event_type="e", party="T2", recorded_at_ms=start),
        Ancestor(item=LOT, depth=1, entry=2, event_type="e", party="T1", recorded_at_ms=start),
    ]
    return done(at.send("lot_failure", "T1", provenance=anchored, **event | changes))


def _lot_desk(annual_cap: int) -> Desk:
    at = desk("lot-event")
    done(
        at.send(
            "lot_terms",
            "T2",
            supplier="T2",
            customer="T1",
            starts=ms("2025-12-01"),
            annual_cap=annual_cap,
            currency="EUR",
        )
    )
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
        borne = given["cap_used"] + vector["expect"]["supplier"]
        assert at.balance("EUR", "supplier:T2") == -borne


def test_shares_by_weight_come_out_as_the_vectors_say() -> None:
    for vector in vectors("alloc"):
        given, expected, at = vector["input"], vector["expect"], _lot_desk(UNCAPPED)
        liable = [
            {"party": party, "weight": weight} for party, weight in sorted(given["weights"].items())
        ]
        _failed_lot(at, "L", {"scrap": given["total"]}, liable=liable)

        shares = {party: -at.balance("EUR", f"supplier:{party}") for party in expected}
        assert shares == expected, vector["name"]


def test_amounts_in_another_currency_come_out_as_the_vectors_say() -> None:
    for vector in vectors("RP5.fx"):
        given, at = vector["input"], desk("tiers-and-disputes")
        source, target = vector["name"].split("->")
        assert (given["exp_from"], given["exp_to"]) == (2, 2), "those of EUR and CNY"
        rate = {
            "num": given["rate_num"],
            "den": given["rate_den"],
            "effective_at": ms("2025-12-22"),
        }
        done(at.send("exchange_rate", "N", **{"from": source, "to": target}, **rate))
        receipt = done(
            at.send(
                "bill_filed",
                "OEM",
                claim="B",
                supplier="T1",
                amount=given["amount"],
                currency=source,
                billing_currency=target,
            )
        )

        assert because(receipt)["billed"] == vector["expect"], vector["name"]


def test_what_tiers_keep_comes_out_as_the_vectors_say() -> None:
    for vector in vectors("RP5.tiers"):
        given, at = vector["input"], desk("tiers-and-disputes")
        for tier in given["chain"]:
            if "next" in tier:
                terms = {"pass_bp": tier["pass_bp"], "cap": tier["next_cap"]}
                done(at.send("tier_terms", tier["next"], upper=tier["id"], **terms))
        first = given["chain"][0]["id"]
        done(
            at.send(
                "recourse_filed",
                "OEM",
                claim="R",
                supplier=first,
                amount=given["amount"],
                currency="EUR",
            )
        )

        kept = {tier: -at.balance("EUR", f"supplier:{tier}") for tier in vector["expect"]}
        assert kept == vector["expect"], vector["name"]


def test_disputes_come_out_as_the_vectors_say() -> None:
    for vector in vectors("RP5.dispute"):
        given, expected, at = vector["input"], vector["expect"], desk("tiers-and-disputes")
        bill: dict[str, Any] = {"claim": "B", "supplier": "T1", "amount": given["billed"]}
        done(at.send("bill_filed", "OEM", **bill, currency="EUR", billing_currency="EUR"))
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
