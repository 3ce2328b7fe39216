"""Which of an agent's observations are here, and which are missing for good.

An agent numbers all its observations from 1, anew with each start: its *instance*. A document that
was asked for from a number on holds each number up to its header's `nextSequence`, if it is of the
whole agent; then every missing number is a gap. Of one device of several, it holds only those of
the device: a missing number may be another device's, and only what the buffer has lost is a gap,
not counted.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from lotmark_adapters.mtconnect.documents import Header, Streams
from lotmark_adapters.observation import GapReason, Observation, Position, Report, SourceGap

HOLES_MAX = 64  # of a document, each told as a gap of its own
RUN_SEPARATOR = "/"  # of an instance's name and the number of its run, from the second one on


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What is asked of an agent, and kept."""

    is_whole_agent: bool
    signals: Collection[str] = ()  # data item ids; empty: all


def is_same_instance(position: Position, header: Header) -> bool:
    """Return whether a document is of the agent's start that the position is in."""
    return position.instance.partition(RUN_SEPARATOR)[0] == header.instance


def next_instance(position: Position, header: Header) -> str:
    """Return a name for the agent's new start, which no earlier one had.

    An agent may come back under the same instance id, with its numbers from 1: then a second run
    begins, ``ID/2``, as a number means another observation in it.
    """
    if not is_same_instance(position, header):
        return header.instance
    run = position.instance.partition(RUN_SEPARATOR)[2] or "1"
    return f"{header.instance}{RUN_SEPARATOR}{int(run) + 1}"


def account(streams: Streams, position: Position, scope: Scope) -> Report:
    """Return what a document tells from a position on, with a gap for each hole in it.

    The position's instance is that of the document.
    """
    fresh = [each for each in streams.observations if each.sequence >= position.next_sequence]
    fresh = _each_once(fresh)
    end = max(streams.header.next, fresh[-1].sequence + 1 if fresh else 0, position.next_sequence)
    resumed_us = fresh[0].made_us if fresh else None
    gaps = [
        _gap(reason, first, last, position, resumed_us, scope)
        for reason, first, last in _holes(fresh, position.next_sequence, end, streams, scope)
    ]
    return Report(
        position=_position(position.instance, end, fresh, position.last_made_us),
        observations=_chosen(fresh, scope),
        gaps=_few(gaps),
    )


def account_start(oldest: Streams, current: Streams | None, scope: Scope) -> Report:
    """Return what a buffer tells from its oldest observation on, for who has no position in it."""
    report = account(oldest, _before(oldest, oldest.header.instance), scope)
    held = _held_values(current, oldest.header.first, 1)
    return _with_held(report, held, scope)


def account_overrun(
    oldest: Streams, current: Streams | None, position: Position, scope: Scope
) -> Report:
    """Return what a buffer tells that has gone on beyond a position, after what it has lost."""
    report = account(oldest, _before(oldest, position.instance), scope)
    held = _held_values(current, oldest.header.first, position.next_sequence)
    lost = _lost(
        GapReason.OVERRUN, position.next_sequence, oldest, held, scope, position.instance,
        last_seen_us=position.last_made_us or None,
    )  # fmt: skip
    return _with_held(report, held, scope, lost)


def account_restart(
    oldest: Streams, current: Streams | None, position: Position, scope: Scope
) -> Report:
    """Return what the buffer of an agent tells that was started anew since a position.

    What it had after the position is gone with its old instance, and nobody knows how much that
    was. What the new one has made so far is read from its first observation on.
    """
    instance = next_instance(position, oldest.header)
    report = account(oldest, _before(oldest, instance), scope)
    held = _held_values(current, oldest.header.first, 1)
    rest_of_old = SourceGap(
        reason=GapReason.INSTANCE_CHANGED,
        instance=position.instance,
        next_instance=instance,
        first=position.next_sequence,
        last_seen_us=position.last_made_us or None,
        resumed_us=oldest.observations[0].made_us if oldest.observations else None,
    )
    lost = _lost(GapReason.OVERRUN, 1, oldest, held, scope, instance)
    return _with_held(report, held, scope, [rest_of_old, *lost])


def unreadable(position: Position, last: int, scope: Scope) -> Report:
    """Return that the observations up to `last` come in no document that can be read."""
    return Report(
        position=Position(
            instance=position.instance,
            next_sequence=last + 1,
            last_made_us=position.last_made_us,
        ),
        gaps=[_gap(GapReason.UNREADABLE, position.next_sequence, last, position, None, scope)],
    )


def _before(oldest: Streams, instance: str) -> Position:
    return Position(instance=instance, next_sequence=oldest.header.first)


def _each_once(observations: list[Observation]) -> list[Observation]:
    """Return ordered observations without those whose number stands there again."""
    previous = 0
    once = []
    for each in observations:
        if each.sequence != previous:
            once.append(each)
            previous = each.sequence
    return once


def _holes(
    fresh: list[Observation], start: int, end: int, streams: Streams, scope: Scope
) -> Iterator[tuple[GapReason, int, int]]:
    """Yield the ranges in [start, end) of which no observation is here, and why."""
    first_kept = streams.header.first
    if not scope.is_whole_agent:
        # Of the numbers that the buffer has lost some were ours perhaps, none that is here.
        if start < first_kept and not (fresh and fresh[0].sequence < first_kept):
            yield GapReason.OVERRUN, start, min(first_kept, end) - 1
        return
    if len(fresh) == end - start:
        return  # as nearly always
    for sequence in (*(each.sequence for each in fresh), end):
        if start < sequence:
            lost = min(sequence, max(start, first_kept))
            if start < lost:
                yield GapReason.OVERRUN, start, lost - 1
            if lost < sequence:
                yield GapReason.UNREADABLE, lost, sequence - 1
        start = sequence + 1


def _few(gaps: list[SourceGap]) -> list[SourceGap]:
    """Return so many gaps that each can be an event: one with a count for very many."""
    if len(gaps) <= HOLES_MAX:
        return gaps
    missing = sum(each.count or 0 for each in gaps)
    return [replace(gaps[-1], first=gaps[0].first, count=missing)]


def _gap(
    reason: GapReason,
    first: int,
    last: int,
    position: Position,
    resumed_us: int | None,
    scope: Scope,
) -> SourceGap:
    return SourceGap(
        reason=reason,
        instance=position.instance,
        first=first,
        last=last,
        count=last - first + 1 if scope.is_whole_agent else None,
        last_seen_us=position.last_made_us or None,
        resumed_us=resumed_us,
    )


def _held_values(current: Streams | None, before: int, since: int) -> list[Observation]:
    """Return the values that hold since before the buffer's oldest observation.

    `current` gives each data item's newest observation with its number, also where the buffer has
    it no more: such a one is not missing.
    """
    if current is None:
        return []
    return _each_once([each for each in current.observations if since <= each.sequence < before])


def _lost(
    reason: GapReason,
    first: int,
    oldest: Streams,
    held: list[Observation],
    scope: Scope,
    instance: str,
    *,
    last_seen_us: int | None = None,
) -> list[SourceGap]:
    """Return the gap from `first` to the buffer's oldest observation, without what is held.

    Its first and last number are missing; its count is less than they are apart where values in
    between are held.
    """
    last = oldest.header.first - 1
    numbers = {each.sequence for each in held}
    while first in numbers:
        first += 1
    while last in numbers:
        last -= 1
    if first > last:
        return []
    count = last - first + 1 - sum(first < number < last for number in numbers)
    return [
        SourceGap(
            reason=reason,
            instance=instance,
            first=first,
            last=last,
            count=count if scope.is_whole_agent else None,
            last_seen_us=last_seen_us,
            resumed_us=oldest.observations[0].made_us if oldest.observations else None,
        )
    ]


def _with_held(
    report: Report, held: list[Observation], scope: Scope, lost: list[SourceGap] | None = None
) -> Report:
    last_made_us = report.position.last_made_us
    if not last_made_us and held:
        last_made_us = held[-1].made_us
    return Report(
        position=Position(
            instance=report.position.instance,
            next_sequence=report.position.next_sequence,
            last_made_us=last_made_us,
        ),
        observations=[*_chosen(held, scope), *report.observations],
        gaps=[*(lost or ()), *report.gaps],
    )


def _chosen(observations: list[Observation], scope: Scope) -> list[Observation]:
    if not scope.signals:
        return observations
    return [each for each in observations if each.signal in scope.signals]


def _position(
    instance: str, next_sequence: int, fresh: list[Observation], last_made_us: int
) -> Position:
    return Position(
        instance=instance,
        next_sequence=next_sequence,
        last_made_us=fresh[-1].made_us if fresh else last_made_us,
    )
