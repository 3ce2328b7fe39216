"""Forged snapshots, made as well as somebody without keys can make them.

The demo makes them of its own ledger and has the verifier catch each. A third forgery, a whole
ledger of a consortium with the same names, needs nothing from here: anybody can found one.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from lotmark.batch import Batch, BatchHeader
from lotmark.block import Block, batches_root, encode_block, parse_block
from lotmark.block_results import BatchResult, BlockResults, leaf_hashes, parse_results
from lotmark.checkpoint import parse_checkpoint
from lotmark.merkle import Frontier, root
from lotmark.signed_note import Note, format_note, parse_note
from lotmark.snapshot import GovernanceEntry, SnapshotStart, write_snapshot
from lotmark.snapshot_reader import SnapshotReader


def with_flipped_bit(snapshot: bytes, content: bytes) -> bytes:
    """Return the snapshot with the lowest bit of `content` flipped where that stands first."""
    at = snapshot.find(content)
    assert at >= 0, f"{content.hex()} does not stand in the snapshot"
    forged = bytearray(snapshot)
    forged[at] ^= 1
    return bytes(forged)


def without_event(snapshot: bytes, event_id: bytes) -> bytes:
    """Return a full snapshot that never had an event, with every hash after it made anew.

    Count, root and number of the event's batch, every later link between batches, proposals,
    closes, the tree, the checkpoint and the manifest fit one another again. What stays are the
    signatures, which only their keys' owners could make anew, and the state digests, which nobody
    looks at where a signature before them does not hold.

    Args:
        snapshot: The file's bytes.
        event_id: Of an event that is not alone in its batch.
    """
    reader = SnapshotReader(io.BytesIO(snapshot))
    rewriting = _Rewriting(reader.start.frontier, event_id)
    blocks = [rewriting.take(each.block, each.results) for each in reader.blocks()]
    assert rewriting.found, f"event {event_id.hex()} is not in the snapshot"
    source = _Forged(reader, blocks, rewriting.checkpoint_note(reader.checkpoint_note()))
    out = io.BytesIO()
    write_snapshot(out, source, first_height=1, last_height=len(blocks))
    return out.getvalue()


class _Rewriting:
    """A log that is hashed again from its beginning, one event short."""

    def __init__(self, frontier: Frontier, event_id: bytes) -> None:
        self._frontier = frontier.copy()
        self._event_id = event_id
        self._heads = {frontier.size: self._head()}  # size before the forgery -> after it
        self._batch_ids: dict[bytes, bytes] = {}  # likewise
        self.found = False

    def _head(self) -> tuple[int, bytes]:
        return self._frontier.size, self._frontier.root()

    def take(self, raw_block: bytes, raw_results: bytes) -> tuple[bytes, bytes]:
        """Return block and results as they are to be, and go on to the next."""
        block, results = parse_block(raw_block), parse_results(raw_results)
        batches: list[Batch] = []
        batch_results: list[BatchResult] = []
        for batch, result in zip(block.batches, results.batches, strict=True):
            forged, forged_result = self._forge_batch(batch, result)
            self._batch_ids[batch.batch_id] = forged.batch_id
            batches.append(forged)
            batch_results.append(forged_result)
        base_size, base_root = self._heads[block.proposal.base_size]
        proposal = replace(
            block.proposal,
            base_size=base_size,
            base_root=base_root,
            batches_root=batches_root(batches),
        )
        forged_block = Block(proposal, block.signature, batches)
        close = replace(
            results.close,
            previous_close_index=self._frontier.size - 1,
            previous_size=self._frontier.size,
            previous_root=self._frontier.root(),
            proposal_digest=proposal.digest(),
            event_count=sum(len(result.event_outcomes) for result in batch_results),
        )
        forged_results = BlockResults(self._frontier.size, batch_results, close)
        self._frontier.extend(leaf_hashes(batches, forged_results))
        self._heads[results.close_index + 1] = self._head()
        return encode_block(forged_block), forged_results.encode()

    def _forge_batch(self, batch: Batch, result: BatchResult) -> tuple[Batch, BatchResult]:
        header, signer_saw = batch.header, batch.header.seen_size
        kept = [at for at, id_ in enumerate(batch.event_ids) if id_ != self._event_id]
        assert kept, "the event is alone in its batch"
        self.found |= len(kept) < len(batch.events)
        seen_size, seen_root = self._heads.get(signer_saw, (signer_saw, header.seen_root))
        forged_header = replace(
            header,
            previous=self._batch_ids.get(header.previous, header.previous),
            seen_size=seen_size,
            seen_root=seen_root,
            event_count=len(kept),
            events_root=root([batch.event_ids[at] for at in kept]),
        )
        forged = _batch_of(forged_header, batch.signature, [batch.events[at] for at in kept])
        outcomes = [result.event_outcomes[at] for at in kept] if result.event_outcomes else ()
        return forged, BatchResult(result.outcome, outcomes, result.evidence)

    def checkpoint_note(self, raw: bytes) -> bytes:
        """Return the checkpoint of the forged tree, under the signatures of the true one."""
        note = parse_note(raw)
        size, root_ = self._head()
        text = replace(parse_checkpoint(note.text), size=size, root=root_).text()
        return format_note(Note(text, note.signatures))


def _batch_of(header: BatchHeader, signature: bytes, events: Sequence[bytes]) -> Batch:
    """Return the batch of a header with a signature that is not over it."""
    encoded = header.encode()
    signed_header = len(encoded).to_bytes(2) + encoded + signature
    framed = b"".join(len(event).to_bytes(4) + event for event in events)
    raw = signed_header + len(events).to_bytes(2) + framed
    return Batch(raw, signed_header, events)


@dataclass(frozen=True, slots=True)
class _Forged:
    """What a forged snapshot is written from: `lotmark.snapshot.SnapshotSource`."""

    original: SnapshotReader
    forged_blocks: Sequence[tuple[bytes, bytes]]
    note: bytes

    def genesis(self) -> bytes:
        return self.original.genesis

    def acceptances(self) -> bytes:
        return self.original.acceptances

    def blocks(self, first_height: int, last_height: int) -> Iterator[tuple[bytes, bytes]]:
        return iter(self.forged_blocks[first_height - 1 : last_height])

    def checkpoint_note(self, height: int) -> bytes:
        return self.note

    def start(self, height: int) -> SnapshotStart:
        return self.original.start

    def governance(self, height: int) -> Iterator[GovernanceEntry]:
        return iter(())

    def state_rows(self, height: int) -> Iterator[tuple[bytes, bytes]]:
        return iter(())
