"""Timers: rules that are executed when a time has come."""

from typing import Any

import pytest

from lotmark_contracts.execution.block_execution import RulesOfBlock
from lotmark_contracts.execution.inputs import Circumstances, Event
from lotmark_contracts.execution.memory_state import MemoryState
from lotmark_contracts.execution.receipt import RuleReceipt, Status
from lotmark_contracts.execution.rule_book import ActivePackage, RuleBook
from lotmark_contracts.execution.state_keys import claim_key
from lotmark_contracts.execution.timers import CancelTimer, DueTimer, SetTimer
from lotmark_contracts.package.errors import PackageRefused
from lotmark_contracts.package.package import Package, load_package
from tests.contracts.packages import (
    NOW_MS,
    Files,
    added,
    changed,
    due_timers,
    template_files,
)

MANIFEST, HOUR_MS = "manifest.json", 3_600_000


def timer_files(version: int = 1, **changes: Any) -> Files:
    """Return a package in which silence for an hour is consent."""
    manifest = {
        "version": version,
        "events": {"bill": {"claim": "string(40)", "minor": "int"}, "answer": {"claim": "string"}},
        "timers": {"silence": {"claim": "string(40)", "minor": "int", "note?": "string"}},
        "state": {"agreed": {"type": "int", "default": 0}},
        "rules": ["bill", "answer", "consent"],
        **changes.pop("manifest", {}),
    }
    rules = {
        "bill": {
            "title": "Waits for an answer",
            "on": "bill",
            "once": "event.claim",
            "then": [
                {
                    "timer": "silence",
                    "key": "event.claim",
                    "at": "now + hours(1)",
                    "with": {"claim": "event.claim", "minor": "event.minor"},
                    **changes.pop("timer", {}),
                }
            ],
        },
        "answer": {
            "title": "Waits no more",
            "on": "answer",
            "once": "event.claim",
            "then": [{"cancel": "silence", "key": "event.claim", **changes.pop("cancel", {})}],
        },
        "consent": {
            "title": "Silence is consent",
            "on": "silence",
            "once": "event.claim",
            "let": [{"who": "author"}, {"ancestors": "size(provenance)"}],
            "then": [{"set": {"agreed": "event.claim"}, "value": "event.minor"}],
            **changes.pop("consent", {}),
        },
    }
    assert not changes
    files = changed(template_files(), MANIFEST, lambda document: document.update(manifest))
    del files["rules/credit.json"], files["tests/credit.json"]
    for name, rule in rules.items():
        files = added(files, f"rules/{name}.json", rule)
    return files


class Clock:
    """Executes events and fires what is due, at times that a test chooses."""

    def __init__(self, *packages: Package) -> None:
        self.book = RuleBook(list(map(ActivePackage, packages)))
        self.state = MemoryState()
        self.count = 0

    def block(self, after_ms: int) -> RulesOfBlock:
        circumstances = Circumstances(now_ms=NOW_MS + after_ms, height=1)
        return RulesOfBlock(self.book, circumstances, self.state)

    def send(self, event_type: str, after_ms: int = 0, **fields: Any) -> list[RuleReceipt]:
        self.count += 1
        event = Event(id=f"e{self.count}", type=event_type, author="OEM-A", fields=fields)
        return list(self.block(after_ms).execute(event))

    def fire(self, after_ms: int, count_max: int = 64) -> list[RuleReceipt]:
        block = self.block(after_ms)
        due = due_timers(self.state, NOW_MS + after_ms, count_max)
        return [receipt for timer in due for receipt in block.fire(timer)]


def test_a_timer_fires_at_its_time_for_who_wrote_the_event_that_set_it() -> None:
    clock = Clock(load_package(timer_files()))
    (set_,) = clock.send("bill", claim="C", minor=7)

    assert set_.timers == (
        SetTimer(
            name="silence",
            key="C",
            due_ms=NOW_MS + HOUR_MS,
            fields={"claim": "C", "minor": 7},
        ),
    )
    assert clock.fire(HOUR_MS - 1) == []
    (fired,) = clock.fire(HOUR_MS)
    assert (fired.rule, fired.status, fired.event_id) == ("consent", Status.DONE, "e1")
    assert [each.value for each in fired.because] == ["OEM-A", 0]
    assert clock.fire(2 * HOUR_MS) == []


def test_a_receipt_tells_what_timers_were_set_and_taken_back() -> None:
    clock = Clock(load_package(timer_files()))

    (set_,) = clock.send("bill", claim="C", minor=7)
    (taken,) = clock.send("answer", claim="C")

    at = str(NOW_MS + HOUR_MS)
    told = {"claim": "C", "minor": "7"}
    assert set_.document()["timers"] == [{"timer": "silence", "key": "C", "at": at, "with": told}]
    assert taken.timers == (CancelTimer("silence", "C"),)
    assert taken.document()["timers"] == [{"cancel": "silence", "key": "C"}]
    assert clock.fire(HOUR_MS) == []


def test_to_take_a_timer_back_that_is_not_there_does_nothing() -> None:
    clock = Clock(load_package(timer_files()))

    (receipt,) = clock.send("answer", claim="C")

    assert receipt.status is Status.DONE


def test_a_timer_under_the_same_key_replaces_the_one_before() -> None:
    clock = Clock(load_package(timer_files()))
    clock.state.set_timer(
        "new-package",
        SetTimer(name="silence", key="C", due_ms=NOW_MS, fields={}),
        author="X",
        event_id="x",
    )

    clock.send("bill", claim="C", minor=7)

    (timer,) = clock.state.timers()
    assert (timer.due_ms, timer.author) == (NOW_MS + HOUR_MS, "OEM-A")


@pytest.mark.parametrize("at", ["0", "now", "-9223372036854775807"])
def test_a_timer_of_the_past_fires_in_the_next_block_that_looks(at: str) -> None:
    clock = Clock(load_package(timer_files(timer={"at": at})))

    (receipt,) = clock.send("bill", claim="C", minor=7)

    (timer,) = receipt.timers
    assert isinstance(timer, SetTimer)
    assert timer.due_ms == NOW_MS + 1, "behind those that have waited for longer"
    assert [each.rule for each in clock.fire(1)] == ["consent"]


def test_timers_fire_by_due_time_package_name_and_key_and_no_more_than_asked_for() -> None:
    """As a class: in whatever order they were set."""
    state = MemoryState()
    places = [(due, p, n, k) for due in (1, 2) for p in "ab" for n in "cd" for k in "ef"]
    for due, package, name, key in reversed(places):
        timer = SetTimer(name=name, key=f"{key}{due}", due_ms=due, fields={})
        state.set_timer(package, timer, author="A", event_id="e")

    fired: list[DueTimer] = []
    while due_now := list(due_timers(state, 2, 3)):
        assert len(due_now) <= 3
        fired += due_now

    assert [(each.due_ms, each.package, each.name, each.key[0]) for each in fired] == places


def test_nobody_can_send_an_event_of_a_timers_name() -> None:
    clock = Clock(load_package(timer_files()))

    assert not clock.book.listens("silence")
    assert clock.send("silence", claim="C", minor=7) == []
    assert clock.state.items() == []


def test_a_timer_of_one_package_is_no_event_of_another() -> None:
    listening = timer_files(
        manifest={
            "name": "other",
            "events": {"silence": {"claim": "string", "minor": "int"}, "bill": {"claim": "string"}},
            "timers": {},
            "rules": ["consent"],
        }
    )
    for name in ("bill", "answer"):
        del listening[f"rules/{name}.json"]
    clock = Clock(load_package(timer_files()), load_package(listening))
    clock.send("bill", claim="C", minor=7)

    assert [each.package for each in clock.fire(HOUR_MS)] == ["new-package"]
    assert [each.package for each in clock.send("silence", claim="D", minor=7)] == ["other"]


def test_a_rule_that_fails_sets_no_timer() -> None:
    clock = Clock(load_package(timer_files(timer={"key": "''"})))

    (receipt,) = clock.send("bill", claim="C", minor=7)

    assert receipt.failure is not None
    assert (receipt.failure.code, receipt.failure.at) == ("bad_name", "then[1].key")
    assert clock.state.timers() == []


def test_fields_beyond_the_bounds_of_a_timer_fail() -> None:
    told = {"claim": "event.claim + event.claim", "minor": "0"}
    clock = Clock(load_package(timer_files(timer={"with": told})))

    (receipt,) = clock.send("bill", claim="x" * 30, minor=7)

    assert receipt.failure is not None
    assert (receipt.failure.code, receipt.failure.at) == ("too_long", "then[1].key")


def test_a_timer_of_a_claim_fires_in_the_version_that_opened_it() -> None:
    claim = {"claim": "event.claim"}
    one, two = (load_package(timer_files(version, consent=claim)) for version in (1, 2))
    clock = Clock(one, two)
    clock.state.write({claim_key("new-package", "old"): {"version": 1, "opened_by": "x"}})
    clock.send("bill", claim="old", minor=7)
    clock.send("bill", claim="new", minor=7)

    assert [(each.version, each.claim) for each in clock.fire(HOUR_MS)] == [(2, "new"), (1, "old")]


def test_setting_a_timer_costs_as_much_as_keeping_its_fields() -> None:
    package = load_package(timer_files())
    clock = Clock(package)
    (receipt,) = clock.send("bill", claim="C", minor=7)
    (rule,) = [rule for rule in package.rules if rule.name == "bill"]

    # once 2; key 2, at 5, fields 4; 10 for keeping, and a record of two keys and values
    assert receipt.gas == 2 + (2 + 5 + 4) + 10 + 5
    assert receipt.gas <= rule.worst_gas


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"manifest": {"timers": {"bill": {}}}}, "a timer needs a name of its own"),
        ({"manifest": {"timers": {"Silence": {}}}}, "cannot name a timer"),
        ({"timer": {"timer": "silense"}}, "did you mean 'silence'?"),
        ({"cancel": {"cancel": "bill"}}, "not declared under 'timers'"),
        ({"timer": {"at": "'noon'"}}, "shall be int"),
        ({"timer": {"key": "7"}}, "shall be string"),
        ({"timer": {"with": {"claim": "'x'"}}}, "the field 'minor' is missing"),
        ({"timer": {"with": {"claim": "'x'", "minor": "'x'"}}}, "shall be int"),
        ({"timer": {"wiht": {}}}, "unknown field 'wiht'"),
        ({"consent": {"on": "silense"}}, "did you mean 'silence'?"),
    ],
)
def test_a_mistake_in_a_timer_is_refused_with_its_place(
    changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(PackageRefused) as refused:
        load_package(timer_files(**changes))

    problem = refused.value.problems[0]
    assert words in problem.reason
    assert problem.position is not None


def test_a_timer_cannot_be_guarded() -> None:
    files = timer_files()
    guard = {
        "title": "No",
        "guard": True,
        "on": "silence",
        "refuse": [{"if": "true", "reason": "NO"}],
    }
    files = added(files, "rules/consent.json", guard)

    with pytest.raises(PackageRefused, match="a guard is asked about events"):
        load_package(files)
