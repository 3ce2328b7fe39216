"""The rules in force, by the event or timer that they listen to."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lotmark_contracts.package.package import Package
from lotmark_contracts.package.projection import union
from lotmark_contracts.package.rule import Rule
from lotmark_contracts.wcel.types import Type


@dataclass(frozen=True, slots=True)
class ActivePackage:
    """A package that rules, and who is bound by it."""

    package: Package
    approved_by: frozenset[str] | None = None  # ids of parties; None: every party there is


@dataclass(frozen=True, slots=True)
class Listener:
    """A rule that listens, in one version of its package."""

    active: ActivePackage
    rule: Rule
    versions: tuple[int, ...]  # of its package that rule side by side, ascending
    is_superseded: bool  # its version ends the claims that it opened, and does no more
    # A rule of the same name in the version in force tells whose claim an event belongs to.
    is_told_by_newest: bool

    def owner(self, opened_by: int | None) -> int:
        """Return which version a claim goes on under: the one that opened it, if it still rules."""
        if opened_by is not None and opened_by in self.versions:
            return opened_by
        return self.versions[-1]


@dataclass(frozen=True, slots=True)
class Listeners:
    """The rules that listen to events of one type, by package, version and rule."""

    guards: tuple[Listener, ...]
    effect_rules: tuple[Listener, ...]


class RuleBook:
    """Packages that rule together.

    Of several versions of a package the highest is in force; the others end the claims that they
    opened.
    """

    def __init__(self, versions: Sequence[ActivePackage]) -> None:
        ordered = sorted(versions, key=_place)
        places = list(map(_place, ordered))
        assert len(set(places)) == len(places), "a version of a package rules once"
        on_events: dict[str, list[Listener]] = {}
        on_timers: dict[tuple[str, str], list[Listener]] = {}
        for listener in _listeners(ordered):
            name = listener.rule.event_type
            if listener.rule.is_on_timer:
                on_timers.setdefault((listener.active.package.name, name), []).append(listener)
            else:
                on_events.setdefault(name, []).append(listener)
        self._events = {name: _by_kind(each) for name, each in on_events.items()}
        self._timers = {place: tuple(each) for place, each in on_timers.items()}
        self._fields = _declared_fields(ordered)

    def listens(self, event_type: str) -> bool:
        """Return whether a rule listens to events of a type."""
        return event_type in self._events

    def listeners(self, event_type: str) -> Listeners | None:
        """Return the rules that listen to events of a type."""
        return self._events.get(event_type)

    def timer_listeners(self, package: str, name: str) -> Sequence[Listener]:
        """Return the rules of a package that listen to one of its timers, by version and rule."""
        return self._timers.get((package, name), ())

    def fields_of(self, event_type: str) -> Mapping[str, Type]:
        """Return what packages look at of an event type.

        Returns:
            Every field that one of them declares, at any depth, with its type; where they are at
            odds, that of the first package by name, in its newest version.
        """
        return self._fields.get(event_type, {})


def _place(active: ActivePackage) -> tuple[str, int]:
    return active.package.name, active.package.manifest.version


def _listeners(ordered: Sequence[ActivePackage]) -> Iterator[Listener]:
    """Yield the rules that may be executed, by package, version and rule."""
    versions: dict[str, list[int]] = {}
    newest: dict[str, Package] = {}
    for active in ordered:
        versions.setdefault(active.package.name, []).append(active.package.manifest.version)
        newest[active.package.name] = active.package
    for active in ordered:
        package = active.package
        is_newest = package is newest[package.name]
        told = {(each.name, each.event_type) for each in newest[package.name].rules if each.claim}
        for rule in package.rules:
            if is_newest or rule.claim is not None:
                yield Listener(
                    active,
                    rule,
                    tuple(versions[package.name]),
                    is_superseded=not is_newest,
                    is_told_by_newest=(rule.name, rule.event_type) in told,
                )


def _by_kind(listeners: Sequence[Listener]) -> Listeners:
    return Listeners(
        tuple(each for each in listeners if each.rule.is_guard),
        tuple(each for each in listeners if not each.rule.is_guard),
    )


def _declared_fields(ordered: Sequence[ActivePackage]) -> Mapping[str, Mapping[str, Type]]:
    declared: dict[str, dict[str, Type]] = {}
    for active in sorted(
        ordered, key=lambda each: (each.package.name, -each.package.manifest.version)
    ):
        for event_type, record in active.package.manifest.events.items():
            fields = declared.setdefault(event_type, {})
            for name, field in record.fields:
                known = fields.get(name)
                fields[name] = field.type if known is None else union(known, field.type)
    return declared
