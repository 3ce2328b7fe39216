"""Upgrades: a version adds to the one before it, and takes nothing from claims that are open."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from lotmark_contracts.package.errors import PackageRefused
from lotmark_contracts.package.package import Package, load_package
from lotmark_contracts.package.upgrade import check_upgrade
from tests.contracts.packages import SHIPPED, added, changed, shipped_files, template_files

Change = Callable[[Any], None]

MANIFEST, RULE = "manifest.json", "rules/credit.json"
EVENT = {
    "report": "string(40)",
    "supplier": "string(64)",
    "cause": "string(20)",
    "pieces": "int",
    "piece_price": "int",
    "parts": "list(part, 8)",
    "notes?": "map(string(10), 4)",
}


def package(version: int, *changes: Change, **rule: Any) -> Package:
    def declare(manifest: Any) -> None:
        manifest.update(
            version=version,
            types={"part": {"id": "string(10)", "at?": "int"}},
            events={"scrap_reported": dict(EVENT)},
            timers={"late": {"parts": "list(part, 8)"}},
            accounts={"supplier": ["debit"], "oem": ["credit"], "held": ["credit", "prefunded"]},
        )
        manifest["state"]["open"] = {"type": "list(part, 8)", "default": []}
        for change in changes:
            change(manifest)

    def state_claim(document: Any) -> None:
        document.update({"claim": "event.report", **rule})

    return load_package(changed(changed(template_files(), MANIFEST, declare), RULE, state_claim))


def refusals(new: Package) -> list[str]:
    try:
        check_upgrade(package(1), new)
    except PackageRefused as refused:
        return [problem.reason for problem in refused.problems]
    return []


def put(*path: str, to: Any) -> Change:
    """Return a change of what stands under a path."""

    def change(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = to

    return change


def drop(*path: str) -> Change:
    def change(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        del document[path[-1]]

    return change


SCRAP = ("events", "scrap_reported")


@pytest.mark.parametrize(
    "change",
    [
        put("title", to="Another"),
        put("params", "budget", to=5),
        put(*SCRAP, "more?", to="int"),
        put(*SCRAP, "report", to="string(80)"),
        put(*SCRAP, "parts", to="list(part, 9)"),
        put(*SCRAP, "notes?", to="map(string(20), 5)"),
        put("types", "part", "more?", to="int"),
        put("types", "part", "id", to="string(11)"),
        put("events", "another", to={}),
        put("timers", "another", to={}),
        put("state", "another", to={"type": "int", "default": 1}),
        put("accounts", "another", to=["credit"]),
        put("accounts", "oem", to=["credit", "debit"]),
    ],
)
def test_a_version_may_add_and_widen(change: Change) -> None:
    assert refusals(package(2, change)) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("version", to=1), "version 1 does not follow 1: the next one is 2"),
        (put("version", to=3), "version 3 does not follow 1"),
        (put("name", to="other"), "'other' does not follow 'new-package'"),
        (put(*SCRAP, "more", to="int"), "event scrap_reported.more is new"),
        (drop(*SCRAP, "notes?"), "event scrap_reported.notes is missing"),
        (put(*SCRAP, "report", to="string(39)"), "scrap_reported.report has 39 characters"),
        (put(*SCRAP, "parts", to="list(part, 7)"), "scrap_reported.parts holds 7 items"),
        (put(*SCRAP, "notes?", to="map(string(10), 3)"), "scrap_reported.notes holds 3 keys"),
        (put(*SCRAP, "notes?", to="map(string(9), 4)"), "notes[] has 9 characters"),
        (put(*SCRAP, "notes?", to="int"), "scrap_reported.notes is int, and was map(string)"),
        (put("types", "part", "id", to="string(9)"), "timer late.parts[].id has 9 characters"),
        (put("types", "part", "more", to="int"), "state family open[].more is new"),
        (put("types", "part", to={"id?": "string(10)", "at?": "int"}), "was required"),
        (put("types", "part", to={"id": "string(10)", "at": "int"}), "was optional"),
        (put("timers", to={}), "the timer 'late' is missing"),
        (drop("state", "open"), "the state family 'open' is missing"),
        (put("state", "open", "default", to=[{"id": "x"}]), "open has another default"),
        (drop("accounts", "held"), "the account family 'held' is missing"),
        (put("accounts", "held", to=["credit"]), "'held' was 'prefunded'"),
        (put("accounts", "oem", to=["credit", "prefunded"]), "'oem' may be below zero already"),
    ],
)
def test_a_version_may_take_nothing_away(change: Change, words: str) -> None:
    assert any(words in reason for reason in refusals(package(2, change)))


def test_accounts_of_parties_stay_so() -> None:
    old = package(1, put("accounts", "oem", to=["credit", "party"]))

    with pytest.raises(PackageRefused, match="'oem' was 'party'"):
        check_upgrade(old, package(2))


def test_an_event_that_is_missing_is_told() -> None:
    files = changed(template_files(), MANIFEST, put("version", to=2))
    text = json.dumps({path: data.decode() for path, data in files.items()})
    renamed = json.loads(text.replace("scrap_reported", "scrap_seen"))
    new = load_package({path: data.encode() for path, data in renamed.items()})

    with pytest.raises(PackageRefused, match="the event 'scrap_reported' is missing"):
        check_upgrade(load_package(template_files()), new)


def test_a_rule_keeps_its_claim_or_goes() -> None:
    assert refusals(package(2)) == []
    (reason,) = refusals(package(2, claim="event.supplier"))
    assert "the claim was 'event.report'" in reason

    without = changed(template_files(), MANIFEST, put("version", to=2))
    old = load_package(changed(template_files(), RULE, put("claim", to="event.report")))
    with pytest.raises(PackageRefused, match="the claim was"):
        check_upgrade(old, load_package(without))
    renamed = added(without, "rules/other.json", json.loads(without[RULE]))
    del renamed[RULE]
    check_upgrade(old, load_package(changed(renamed, MANIFEST, put("rules", to=["other"]))))


def test_every_mistake_is_told_at_once() -> None:
    assert len(refusals(package(3, put("timers", to={}), drop("accounts", "held")))) == 3


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_package_may_follow_itself(name: str) -> None:
    files = shipped_files(name)
    old = load_package(files)
    new = changed(files, MANIFEST, put("version", to=old.manifest.version + 1))

    check_upgrade(old, load_package(new))
