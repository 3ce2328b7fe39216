"""Sealing a report once, however often it is asked for; another one in its place is a correction.

What was sealed before is known from two places: the outbox, where a seal waits for the ledger, and
the ledger, where one's own party's seals of an item are looked up. So nothing else needs to be
remembered, and a copy of the report on another machine is sealed no second time either.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lotmark import merkle
from lotmark.batch import ClockState
from lotmark.client.client import Client
from lotmark.client.clock import Clock
from lotmark.client.delivery import Delivery
from lotmark.client.errors import ClientError
from lotmark.client.session import LedgerSession
from lotmark.event import NONCE_SIZE, check_event
from lotmark.report import Report, SealPlace, seal_event, sealed_place
from lotmark.v1 import event_pb2, quality_pb2

CLOCK_UNCERTAINTY_US = 1_000_000  # stated of a clock of which nothing is known

_CORRECTED_REASON = "incorrect_data"


class SealedOtherwise(ClientError):
    """There is a seal of other content in the same place, so this one would be a correction.

    Attributes:
        entries: The seals' entries, where they are on the ledger.
    """

    def __init__(self, message: str, entries: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.entries = entries


class NothingToCorrect(ClientError):
    """The entry that is to be corrected is no standing seal of the report's place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierSeal:
    """A seal of one's own party that stands, or waits to."""

    event: event_pb2.Event
    event_id: bytes
    index: int | None  # of its entry; None: it waits in the outbox
    delivery: Delivery | None = None  # where it waits


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealing:
    """A report's seal on its way, or where it has been."""

    report: Report
    event: event_pb2.Event
    event_id: bytes
    index: int | None  # of the entry it has already; None: it has none, or that is not known yet
    delivery: Delivery | None  # its way to the ledger, where it is not there already
    corrections: tuple[Delivery, ...]  # of the seals whose place it takes
    is_new: bool  # made by this call
    asked: bool  # a node has told that no other seal is in its place


def start_sealing(
    client: Client,
    session: LedgerSession | None,
    report: Report,
    *,
    known: Sequence[EarlierSeal] = (),
    corrects: Sequence[int] = (),
) -> Sealing:
    """Seal a report, unless it is sealed: the seal is in the outbox on disk when this returns.

    Args:
        client: Sends it.
        session: Asks a node what was sealed before; None: no node can be asked, so that only what
            waits in the outbox counts, and what the caller knows.
        report: The report.
        known: Seals that the caller has receipts of.
        corrects: Entries of earlier seals of other content that this one corrects.

    Raises:
        SealedOtherwise: A seal of other content stands in its place; the message says what to do.
        NothingToCorrect: `corrects` names no such seal, or nobody can be asked.
        EventRefused, ClientError: It cannot be sealed, as for `Client.submit`.
        ProtocolError, ConnectionError, TimeoutError: The node cannot be asked after all.
    """
    # The outbox first: what leaves it meanwhile is on the ledger, where it is found.
    earlier = [*_waiting_seals(client, report.place)]
    if session is not None:
        earlier += _standing_seals(session, report.place, client.settings.party)
    else:
        earlier += [seal for seal in known if sealed_place(seal.event) == report.place]
    for seal in earlier:
        if report.is_sealed_by(seal.event):
            return _found_again(report, seal, asked=session is not None)
    corrected = _to_correct(report, earlier, corrects, asked=session is not None)
    clock = Clock().read()
    is_known = clock.state is not ClockState.UNKNOWN
    event = seal_event(
        report,
        device=client.settings.holder,
        time_ms=clock.time_ms,
        uncertainty_us=clock.uncertainty_us if is_known else CLOCK_UNCERTAINTY_US,
        nonce=os.urandom(NONCE_SIZE),
    )
    raw = event.SerializeToString(deterministic=True)
    # One after the other in one lane: the correction never arrives without what it points to.
    corrections = [_correction(event, seal.event_id, merkle.leaf_hash(raw)) for seal in corrected]
    delivery, *correcting = client.submit_all([raw, *corrections])
    return Sealing(
        report=report,
        event=event,
        event_id=delivery.event_id,
        index=None,
        delivery=delivery,
        corrections=tuple(correcting),
        is_new=True,
        asked=session is not None,
    )


def _waiting_seals(client: Client, place: SealPlace) -> Iterator[EarlierSeal]:
    for raw, delivery in client.waiting():
        event = check_event(raw).message
        if sealed_place(event) == place:
            yield EarlierSeal(
                event=event, event_id=delivery.event_id, index=None, delivery=delivery
            )


def _standing_seals(session: LedgerSession, place: SealPlace, party: str) -> Iterator[EarlierSeal]:
    found = session.seals(
        item=place.item, test=place.test, laboratory=place.laboratory, party=party
    )
    for seal in found:
        event_id = seal.entry.event_id
        assert event_id is not None, "a found seal is an event"
        if seal.corrected_by is None and sealed_place(seal.event) == place:
            yield EarlierSeal(event=seal.event, event_id=event_id, index=seal.entry.head.index)


def _found_again(report: Report, seal: EarlierSeal, *, asked: bool) -> Sealing:
    return Sealing(
        report=report,
        event=seal.event,
        event_id=seal.event_id,
        index=seal.index,
        delivery=seal.delivery,
        corrections=(),
        is_new=False,
        asked=asked,
    )


def _to_correct(
    report: Report, earlier: Sequence[EarlierSeal], corrects: Sequence[int], *, asked: bool
) -> list[EarlierSeal]:
    """Return the earlier seals, if they are those that are to be corrected."""
    if corrects and not asked:
        raise NothingToCorrect(
            f"entry {corrects[0]} can be corrected only while a node answers, which shows it; try"
            " again when one does"
        )
    waiting = [seal for seal in earlier if seal.index is None]
    if waiting:
        raise SealedOtherwise(
            f"another content of {report.place} waits in the outbox: seal that report again to see"
            " it to the ledger, then seal this one as its correction"
        )
    standing = tuple(seal.index for seal in earlier if seal.index is not None)
    if unknown := sorted(set(corrects) - set(standing)):
        known = f"what stands is entry {_listed(standing)}" if standing else "none stands"
        raise NothingToCorrect(
            f"entry {unknown[0]} is no seal of {report.place} that stands; {known}"
        )
    if left := sorted(set(standing) - set(corrects)):
        raise SealedOtherwise(
            f"another content of {report.place} is sealed in entry {_listed(left)}. If this report"
            f" corrects it, say so: --corrects {' --corrects '.join(map(str, standing))}; if it is"
            " of another test, give it another name in test",
            standing,
        )
    return list(earlier)


def _listed(entries: Iterable[int]) -> str:
    return ", ".join(map(str, entries))


def _correction(seal: event_pb2.Event, corrected_id: bytes, seal_id: bytes) -> bytes:
    """Return the event that says that a seal takes another one's place."""
    event = event_pb2.Event(
        nonce=os.urandom(NONCE_SIZE),
        device=seal.device,
        time=seal.time,
        capture_mode=seal.capture_mode,
        items=seal.items,
        correction=quality_pb2.Correction(
            event_id=corrected_id, reason=_CORRECTED_REASON, replacement_id=seal_id
        ),
    )
    raw = event.SerializeToString(deterministic=True)
    check_event(raw)
    return raw
