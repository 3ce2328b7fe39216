"""The rules in force, by the event that they listen to."""

from collections.abc import Mapping, Sequence

from lotmark_contracts.execution.executor import execute_rule
from lotmark_contracts.execution.inputs import Circumstances, Event
from lotmark_contracts.execution.postings import ReadState
from lotmark_contracts.execution.receipt import Outcome
from lotmark_contracts.package.package import Package
from lotmark_contracts.package.rule import Rule
from lotmark_contracts.wcel.values import Value


class RuleBook:
    """Packages that are in force together, one version of each."""

    def __init__(self, packages: Sequence[Package]) -> None:
        names = [package.name for package in packages]
        assert len(set(names)) == len(names), "of a package one version is in force"
        listeners: dict[str, list[tuple[Package, Rule]]] = {}
        for package in sorted(packages, key=lambda each: each.name):
            for rule in package.rules:
                listeners.setdefault(rule.event_type, []).append((package, rule))
        self._listeners: Mapping[str, Sequence[tuple[Package, Rule]]] = listeners

    def execute(
        self, event: Event, circumstances: Circumstances, read: ReadState
    ) -> Sequence[Outcome]:
        """Return what all rules make of an event, in the order of package and rule.

        A rule sees what the rules before it write; what rules do is no event to others.
        """
        listeners = self._listeners.get(event.type)
        if listeners is None:
            return ()
        written: dict[str, Value] = {}

        def read_through(key: str) -> Value | None:
            return written[key] if key in written else read(key)

        outcomes = []
        for package, rule in listeners:
            outcome = execute_rule(package, rule, event, circumstances, read_through)
            if outcome is not None:
                written.update(outcome.writes)
                outcomes.append(outcome)
        return outcomes
