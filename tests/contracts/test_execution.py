"""Execution: all of a rule's effects or none, once, under its own prefix, with its reasons."""

import json
from typing import Any

import pytest

from lotmark_contracts.execution.inputs import Ancestor, Party
from lotmark_contracts.execution.memory_state import MemoryState
from lotmark_contracts.execution.receipt import RaisedAlert, RuleReceipt, Status
from lotmark_contracts.execution.state_keys import StateKey, value_key
from lotmark_contracts.package.package import Package, load_package
from lotmark_contracts.wcel.values import Value
from tests.contracts.packages import (
    NOW_MS,
    Desk,
    Files,
    because,
    changed,
    scrap,
    shipped_files,
    template_desk,
    template_files,
)

MANIFEST, RULE = "manifest.json", "rules/credit.json"


def package(change_rule: Any = None, change_manifest: Any = None) -> Package:
    files: Files = template_files()
    if change_rule:
        files = changed(files, RULE, change_rule)
    if change_manifest:
        files = changed(files, MANIFEST, change_manifest)
    return load_package(files)


def failure_of(receipt: RuleReceipt) -> tuple[str, str]:
    assert receipt.status is Status.FAILED
    assert receipt.failure is not None
    return receipt.failure.code, receipt.failure.at


def test_a_receipt_says_step_by_step_why() -> None:
    (receipt,) = template_desk().send("scrap_reported", **scrap())

    assert receipt.status is Status.DONE
    assert because(receipt) == {
        "cost": 3_333,
        "row": {"share_bp": 5_000},
        "due": 1_667,
        "credit": 1_667,
    }
    (row,) = [reason for reason in receipt.because if reason.table]
    assert (row.table, row.row) == ("share", 3)


def test_integers_in_a_receipts_document_are_texts() -> None:
    (receipt,) = template_desk().send("scrap_reported", **scrap())
    document = json.dumps(receipt.document())

    assert json.loads(document, parse_int=lambda digits: pytest.fail(f"{digits} is a number"))
    assert '"minor": "1667"' in document


def test_what_is_taken_from_one_account_is_given_to_another() -> None:
    desk = template_desk()
    desk.send("scrap_reported", **scrap())

    assert desk.balance("EUR", "supplier:T1-STATOR") == -1_667
    assert desk.balance("EUR", "oem:OEM-A") == 1_667


def test_a_rule_fires_once_for_a_key_and_names_the_first_event() -> None:
    desk = template_desk()
    desk.send("scrap_reported", **scrap())
    before = desk.state.items()

    (again,) = desk.send("scrap_reported", **scrap(pieces=5))

    assert (again.status, again.first) == (Status.DUPLICATE, "event-0")
    assert desk.state.items() == before


def test_a_key_outlives_a_new_version_of_the_package() -> None:
    desk = template_desk()
    desk.send("scrap_reported", **scrap())
    newer = Desk(package(change_manifest=lambda m: m.update(version=2)))
    newer.state = desk.state

    (again,) = newer.send("scrap_reported", **scrap())

    assert (again.version, again.status) == (2, Status.DUPLICATE)


def test_an_event_for_which_when_does_not_hold_leaves_nothing() -> None:
    desk = template_desk()

    assert desk.send("scrap_reported", **scrap(pieces=0)) == []
    assert desk.send("something_else") == []
    assert desk.state.items() == []


def test_when_is_asked_before_the_fields_that_it_does_not_name_are_looked_at() -> None:
    desk = template_desk()

    assert desk.send("scrap_reported", **scrap(pieces=0, cause=17)) == []
    (receipt,) = desk.send("scrap_reported", **scrap(cause=17))
    assert failure_of(receipt) == ("input", "event.cause")


@pytest.mark.parametrize(
    ("change", "at"),
    [
        ({"pieces": True}, "event.pieces"),
        ({"pieces": 1.0}, "event.pieces"),
        ({"pieces": 2**63}, "event.pieces"),
        ({"pieces": "3"}, "event.pieces"),
        ({"cause": "x" * 21}, "event.cause"),
        ({"cause": "\ud800"}, "event.cause"),
        ({"cause": None}, "event.cause"),
        ({"extra": 1}, "event"),
    ],
)
def test_an_event_that_is_not_as_declared_fails_and_says_where(
    change: dict[str, Any], at: str
) -> None:
    desk = template_desk()

    (receipt,) = desk.send("scrap_reported", **scrap(**change))

    assert failure_of(receipt) == ("input", at)
    assert desk.state.items() == []


def test_a_missing_field_fails_whether_when_names_it_or_not() -> None:
    for name in ("pieces", "cause"):
        fields = scrap()
        del fields[name]
        (receipt,) = template_desk().send("scrap_reported", **fields)
        assert failure_of(receipt) == ("input", f"event.{name}")


def test_a_place_inside_lists_and_records_is_named() -> None:
    def nested(manifest: Any) -> None:
        manifest["types"] = {"reading": {"value": "int"}}
        manifest["events"]["scrap_reported"]["readings"] = "list(reading, 4)"

    desk = Desk(package(change_manifest=nested))

    (receipt,) = desk.send("scrap_reported", **scrap(readings=[{"value": 1}, {"value": "x"}]))

    assert failure_of(receipt) == ("input", "event.readings[1].value")


def test_nothing_is_done_where_the_last_effect_fails_and_the_key_stays_unused() -> None:
    def failing(rule: Any) -> None:
        rule["then"].append({"alert": "string(1 / (event.piece_price - 1111))", "level": "info"})

    desk = Desk(package(failing))

    (failed,) = desk.send("scrap_reported", **scrap())
    assert failure_of(failed) == ("division_by_zero", "then[4].alert")
    assert (failed.postings, failed.kept, failed.notices) == ((), (), ())
    assert desk.state.items() == []
    (done,) = desk.send("scrap_reported", **scrap(piece_price=1_112))
    assert done.status is Status.DONE


def test_a_refusal_says_why_does_nothing_and_leaves_the_key_unused() -> None:
    desk = template_desk()

    (refused,) = desk.send("scrap_reported", **scrap(piece_price=-1))
    assert (refused.status, refused.reason) == (Status.REFUSED, "NEGATIVE")
    assert desk.state.items() == []
    (done,) = desk.send("scrap_reported", **scrap())
    assert done.status is Status.DONE


def test_a_failure_of_an_expression_is_told_with_code_place_and_offset() -> None:
    (receipt,) = template_desk().send("scrap_reported", **scrap(piece_price=2**62))

    assert failure_of(receipt) == ("overflow", "let.cost")
    assert receipt.failure is not None
    assert receipt.failure.offset == len("event.pieces ")


@pytest.mark.parametrize(
    ("effect", "code", "at"),
    [
        ({"pay": "-1"}, "negative_amount", "then[1].pay"),
        ({"currency": "'EURO'"}, "unknown_currency", "then[1].currency"),
        ({"from": {"supplier": "''"}}, "bad_name", "then[1].from"),
        ({"to": {"oem": "event.long"}}, "bad_name", "then[1].to"),
        ({"from": {"held": "'x'"}}, "overdrawn", "then"),
    ],
)
def test_a_payment_that_cannot_be_posted_fails(effect: dict[str, Any], code: str, at: str) -> None:
    def paying(rule: Any) -> None:
        rule["then"] = [
            {
                "pay": "1",
                "currency": "'EUR'",
                "from": {"supplier": "'a'"},
                "to": {"oem": "'b'"},
                **effect,
            }
        ]

    def declaring(manifest: Any) -> None:
        manifest["accounts"]["held"] = ["debit", "credit", "prefunded"]
        manifest["events"]["scrap_reported"]["long"] = "string(200)"

    desk = Desk(package(paying, declaring))

    (receipt,) = desk.send("scrap_reported", **scrap(long="x" * 129))

    assert failure_of(receipt) == (code, at)


def test_a_balance_that_would_not_fit_64_bits_fails() -> None:
    def paying(rule: Any) -> None:
        rule["once"] = "event.report"
        rule["then"] = [
            {
                "pay": "9223372036854775807",
                "currency": "'EUR'",
                "from": {"supplier": "'a'"},
                "to": {"oem": "'b'"},
            }
        ]

    desk = Desk(package(paying))
    (first,) = desk.send("scrap_reported", **scrap(report="1"))
    (second,) = desk.send("scrap_reported", **scrap(report="2"))

    assert first.status is Status.DONE
    assert failure_of(second) == ("overflow", "then")


def test_a_prefunded_account_pays_what_was_put_in_and_no_more() -> None:
    def paying(rule: Any) -> None:
        pay = {"currency": "'EUR'"}
        rule["then"] = [
            {"pay": "10", **pay, "from": {"supplier": "'a'"}, "to": {"held": "'c'"}},
            {"pay": "event.pieces", **pay, "from": {"held": "'c'"}, "to": {"oem": "'b'"}},
        ]

    def declaring(manifest: Any) -> None:
        manifest["accounts"]["held"] = ["debit", "credit", "prefunded"]

    desk = Desk(package(paying, declaring))

    (over,) = desk.send("scrap_reported", **scrap(pieces=11))
    assert failure_of(over) == ("overdrawn", "then")
    (done,) = desk.send("scrap_reported", **scrap(pieces=10))
    assert done.status is Status.DONE
    assert desk.balance("EUR", "held:c") == 0


def test_a_kept_value_beyond_the_bounds_of_its_type_fails() -> None:
    def keeping(rule: Any) -> None:
        rule["then"] = [{"set": {"notes": "'a'"}, "value": "event.cause + event.cause"}]

    def declaring(manifest: Any) -> None:
        manifest["state"]["notes"] = {"type": "string(10)", "default": ""}

    desk = Desk(package(keeping, declaring))

    (receipt,) = desk.send("scrap_reported", **scrap(cause="porosity"))

    assert failure_of(receipt) == ("too_long", "then[1].set")


def test_a_value_that_shares_its_parts_is_measured_before_it_is_looked_at() -> None:
    """A list of a list of one list is small to make, and has 4,294,967,296 numbers to check."""

    def keeping(rule: Any) -> None:
        rule["let"] = [{"l1": "provenance.map(p, 1)"}, {"l2": "l1.map(p, l1)"}]
        rule["let"] += [{f"l{at}": f"l2.map(p, l{at - 1})"} for at in (3, 4)]
        rule["then"] = [{"set": {"notes": "'a'"}, "value": "l4"}]

    def declaring(manifest: Any) -> None:
        nested = "list(list(list(list(int, 256), 256), 256), 256)"
        manifest["state"]["notes"] = {"type": nested, "default": []}

    ancestors = [
        Ancestor(item="lot", depth=1, entry=entry, event_type="t", party="p", recorded_at_ms=NOW_MS)
        for entry in range(256)
    ]
    desk = Desk(package(keeping, declaring))

    (receipt,) = desk.send("scrap_reported", provenance=ancestors, **scrap())

    assert failure_of(receipt) == ("too_long", "then[1].set")


def test_an_empty_or_endless_key_fails() -> None:
    for once in ("''", "event.long"):

        def keyed(rule: Any, once: str = once) -> None:
            rule["once"] = once

        def declaring(manifest: Any) -> None:
            manifest["events"]["scrap_reported"]["long"] = "string(300)"

        (receipt,) = Desk(package(keyed, declaring)).send("scrap_reported", **scrap(long="x" * 257))
        assert failure_of(receipt) == ("bad_name", "once")


def test_all_that_is_written_stands_under_the_packages_own_prefix() -> None:
    def hostile(rule: Any) -> None:
        rule["once"] = "'../../other/once/x'"
        rule["then"][0]["set"] = {"credited": "'../contract/other/state/credited/x'"}
        rule["then"][1]["from"] = {"supplier": "'/../contract/other/account/EUR/supplier:x'"}

    desk = Desk(package(hostile))
    desk.send("scrap_reported", **scrap())

    keys = [key for key, _ in desk.state.items()]
    assert len(keys) == 4
    assert all(key.package == "new-package" for key in keys)


def test_rules_of_several_packages_run_by_package_and_each_sees_what_came_before() -> None:
    def counting(rule: Any) -> None:
        rule["then"] = [{"set": {"credited": "'all'"}, "value": "credited + 1"}]
        rule["read"] = {"credited": {"credited": "'all'"}}
        del rule["let"]

    def second(manifest: Any) -> None:
        manifest["rules"] = ["credit", "again"]

    files = changed(template_files(), RULE, counting)
    files["rules/again.json"] = files[RULE]
    files = changed(files, MANIFEST, second)
    other = changed(files, MANIFEST, lambda manifest: manifest.update(name="a-package"))
    desk = Desk(load_package(files), load_package(other))

    receipts = desk.send("scrap_reported", **scrap())

    assert [(each.package, each.rule) for each in receipts] == [
        ("a-package", "credit"),
        ("a-package", "again"),
        ("new-package", "credit"),
        ("new-package", "again"),
    ]
    assert desk.state.read(value_key("a-package", "credited", "all")) == 2


def test_a_package_cannot_touch_the_accounts_of_another() -> None:
    other = changed(template_files(), MANIFEST, lambda manifest: manifest.update(name="other"))
    desk = Desk(load_package(template_files()), load_package(other))
    desk.send("scrap_reported", **scrap())

    assert desk.state.balances("other") == desk.state.balances("new-package")
    assert desk.state.sums("other") == {"EUR": 0}


def test_a_step_that_is_too_large_for_a_receipt_is_named_without_its_value() -> None:
    def large(rule: Any) -> None:
        rule["let"].append({"many": "event.numbers"})

    def declaring(manifest: Any) -> None:
        manifest["events"]["scrap_reported"]["numbers"] = "list(int, 200)"

    desk = Desk(package(large, declaring))

    (short,) = desk.send("scrap_reported", **scrap(report="1", numbers=[0] * 99))
    (long,) = desk.send("scrap_reported", **scrap(report="2", numbers=[0] * 100))

    assert because(short)["many"] == [0] * 99
    assert "many" in because(long)
    assert because(long)["many"] is None


def test_gas_that_is_used_is_in_the_receipt_and_never_above_the_worst_case() -> None:
    desk = template_desk()
    (rule,) = desk.packages[0].rules

    for number, pieces in enumerate((3, 30, 300)):
        (receipt,) = desk.send("scrap_reported", **scrap(report=str(number), pieces=pieces))
        assert 0 < receipt.gas <= rule.worst_gas


def test_who_wrote_an_event_is_no_field_of_it() -> None:
    desk = Desk(
        load_package(shipped_files("technical-factor")),
        parties=(Party("OEM-A", "oem"), Party("T1", "supplier")),
    )
    agreed: dict[str, Any] = {
        "supplier": "T1",
        "oem": "OEM-A",
        "family": "stator",
        "factor_bp": 5_000,
        "currency": "EUR",
    }

    (by_another,) = desk.send("technical_factor_agreed", "OEM-A", **agreed)
    (by_itself,) = desk.send("technical_factor_agreed", "T1", **agreed)

    assert by_another.reason == "NOT_THE_SUPPLIER"
    assert by_itself.status is Status.DONE


def test_provenance_and_parties_come_in_one_order_whatever_they_came_in() -> None:
    def asking(rule: Any) -> None:
        rule["let"] = [
            {"entries": "provenance.map(a, a.entry)"},
            {"ids": "parties.map(p, p.id)"},
        ]
        rule["then"] = [{"alert": "'x'", "level": "info"}]
        del rule["read"]

    ancestors = [
        Ancestor(item="lot", depth=1, entry=entry, event_type="t", party="p", recorded_at_ms=NOW_MS)
        for entry in (7, 3, 5)
    ]
    parties = (Party("B", "oem"), Party("A", "oem"))
    desk = Desk(package(asking), parties=parties)

    (receipt,) = desk.send("scrap_reported", provenance=ancestors, **scrap())

    assert because(receipt) == {"entries": [3, 5, 7], "ids": ["A", "B"]}
    assert receipt.notices == (RaisedAlert(receipt.notices[0].level, "x"),)  # type: ignore[union-attr]  # an alert


def test_an_error_that_is_not_the_rules_is_not_hidden() -> None:
    """The node has to stop then: a receipt would say what another node may not say."""

    class BrokenState(MemoryState):
        def read(self, key: StateKey) -> Value | None:
            raise OSError(f"the store is gone: {key}")

    desk = template_desk()
    desk.state = BrokenState()

    with pytest.raises(OSError, match="the store is gone"):
        desk.send("scrap_reported", **scrap())
