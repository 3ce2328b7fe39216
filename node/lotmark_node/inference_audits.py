"""Inferences of the ledger run again, and the lottery that draws which."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lotmark.client.ledger_records import LedgerCheckpoint
from lotmark.client.session import LedgerSession
from lotmark.errors import ProofError
from lotmark.v1 import event_pb2, quality_pb2
from lotmark_inference.audit_lottery import Draw, drawing_size, drawn_size
from lotmark_inference.errors import EngineError, InputRefused, ModelRefused
from lotmark_inference.policy import InspectionPolicy
from lotmark_inference.rerun import Rerun, cannot_tell, run_again
from lotmark_node.edge.image_file import SUFFIXES, read_image_file
from lotmark_node.inference_ledger import (
    AUDIT,
    INFERENCE,
    AcceptedEvent,
    ProvenResult,
    prove,
)
from lotmark_node.model_search import ModelSearch


def audited(
    result: ProvenResult,
    image: bytes | None,
    search: ModelSearch,
    policy: InspectionPolicy | None = None,
) -> Rerun:
    """Run a result of the ledger again.

    Args:
        result: What is on the ledger.
        image: The original; None: it is not to be had.
        search: Finds its model.
        policy: To decide again as well; None: scores alone.
    """
    if image is None:
        return cannot_tell("the image is not to be had")
    try:
        model, prior, beside = search.model(result), search.prior(result), search.beside(result)
    except (ModelRefused, EngineError, ProofError) as error:
        return cannot_tell(str(error))
    return run_again(result.accepted.event, image, model, prior, beside, policy)


def audited_from(
    folder: Path, result: ProvenResult, search: ModelSearch, policy: InspectionPolicy | None = None
) -> Rerun:
    """Run a result of the ledger again from its original in a folder, as `audited` does."""
    try:
        image = kept_image(result.accepted, folder)
    except (OSError, InputRefused) as error:  # of one: what was found of others is not lost by it
        return cannot_tell(f"the image cannot be read: {error}")
    return audited(result, image, search, policy)


def kept_image(event: AcceptedEvent, folder: Path) -> bytes | None:
    """Return a result's original from a folder of files named by their digests; None: not there.

    It may be a station's `judged`, or a site's `evidence`, where the digest's first byte is a
    folder.

    Raises:
        InputRefused: It is too large, or no plain file.
        OSError: It cannot be read.
    """
    for file in event.event.files:
        name = file.sha256.hex()
        for path in (
            *(folder / f"{name}{suffix}" for suffix in SUFFIXES),
            folder / name[:2] / name[2:],
        ):
            if path.is_file():
                return read_image_file(path).content
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedAudit:
    """An audit on the ledger."""

    index: int
    party: str
    finding: quality_pb2.AuditFinding.ValueType
    rate_ppm: int  # as it says; 0: it was not drawn
    policy_digest: bytes  # b"": label and verdict were not followed
    is_of_draw: bool  # whether the root that it names draws its result, at the rate that it names


@dataclass(frozen=True, slots=True)
class DrawnResult:
    """A result that is drawn, and the audits that there are of it."""

    result: ProvenResult
    draw: Draw
    audits: tuple[RecordedAudit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lottery:
    """What is drawn of a stretch of the log."""

    checkpoint: LedgerCheckpoint  # final; proves the roots
    since: int  # first index that takes part
    drawn_size: int  # the entries below have their roots
    rate_ppm: int
    drawn: Sequence[DrawnResult]
    waiting_count: int  # results above, whose roots are still to come
    withheld_count: int  # accepted events below that are for others: results may be among them
    withheld_drawn: Sequence[int]  # indexes of those that are drawn, if they are results


def hold_lottery(
    session: LedgerSession, checkpoint: LedgerCheckpoint, *, since: int, rate_ppm: int
) -> Lottery:
    """Return the results that are drawn, each proven under a checkpoint, with their audits.

    Args:
        session: With a node.
        checkpoint: Final.
        since: The first index that takes part.
        rate_ppm: How many of a million are drawn.

    Raises:
        ProofError: A root, a result or an audit is not proven.
    """
    drawing = _Drawing(session, checkpoint, rate_ppm)
    drawn: dict[bytes, tuple[AcceptedEvent, Draw]] = {}
    audits: dict[bytes, list[AcceptedEvent]] = {}
    withheld_drawn: list[int] = []
    waiting_count = withheld_count = 0
    below = drawn_size(checkpoint.size)
    # All events: a node that selects them leaves out what it withholds, without a word.
    for entry in session.entries(since):
        index = entry.head.index
        if entry.head.outcome:
            continue
        if entry.withheld:
            withheld_count += index < below
            if drawing.of(index) is not None:
                withheld_drawn.append(index)
            continue
        each = AcceptedEvent(entry, event_pb2.Event.FromString(entry.event))
        body = each.event.WhichOneof("body")
        if body == AUDIT:
            audits.setdefault(each.event.inference_audit.event_id, []).append(each)
        elif body == INFERENCE:
            waiting_count += index >= below
            if (draw := drawing.of(index)) is not None:
                drawn[each.event_id] = each, draw
    return Lottery(
        checkpoint=checkpoint,
        since=since,
        drawn_size=below,
        rate_ppm=rate_ppm,
        drawn=[
            DrawnResult(
                ProvenResult(each, prove(session, each.entry, checkpoint)),
                by,
                tuple(
                    _recorded(session, audit, by, each.index) for audit in audits.get(event_id, [])
                ),
            )
            for event_id, (each, by) in drawn.items()
        ],
        waiting_count=waiting_count,
        withheld_count=withheld_count,
        withheld_drawn=withheld_drawn,
    )


@dataclass(slots=True)
class _Drawing:
    """Draws entries, asked in order; each root is fetched and proven once."""

    session: LedgerSession
    checkpoint: LedgerCheckpoint
    rate_ppm: int
    draw: Draw | None = None  # the last

    def of(self, index: int) -> Draw | None:
        """Return what draws an entry; None: its root does not, or is still to come."""
        size = drawing_size(index)
        if size > self.checkpoint.size:
            return None
        if self.draw is None or self.draw.size != size:
            root = self.session.root_at(size, self.checkpoint)
            self.draw = Draw(size=size, root=root, rate_ppm=self.rate_ppm)
        return self.draw if self.draw.takes(index) else None


def _recorded(
    session: LedgerSession, audit: AcceptedEvent, draw: Draw, index: int
) -> RecordedAudit:
    party = prove(session, audit.entry, session.checkpoint_over(audit.index))
    body = audit.event.inference_audit
    return RecordedAudit(
        index=audit.index,
        party=party,
        finding=body.finding,
        rate_ppm=body.rate_ppm,
        policy_digest=body.policy_digest,
        is_of_draw=(body.checkpoint_size, body.checkpoint_root) == (draw.size, draw.root)
        and replace(draw, rate_ppm=body.rate_ppm).takes(index),
    )
