"""What became of a block's batches: with the block itself, enough to rebuild its entries.

Not hashed as such: every bit of it shows in the leaves. Layout: docs/protocol.md, section 8.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lotmark.batch import Batch
from lotmark.entry import (
    BlockClose,
    EntryHead,
    EntryKind,
    event_leaf_hashes,
    event_payload,
    leaf_data,
    parse_close,
)
from lotmark.errors import MalformedError
from lotmark.merkle import leaf_hash

_DOMAIN = b"lotmark/results/v1\n"
_HEAD = struct.Struct(">QH")
_BATCH = struct.Struct(">HHH")
_U32 = struct.Struct(">I")
_CLOSE_SIZE = 226


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of one batch."""

    outcome: int
    event_outcomes: Sequence[int] = ()  # one for each event of an accepted batch
    evidence: bytes = b""  # payload of the equivocation entry that follows, if any

    @property
    def entry_count(self) -> int:
        """How many leaves the batch has."""
        return 1 + len(self.event_outcomes) + bool(self.evidence)


@dataclass(frozen=True, slots=True)
class BlockResults:
    """What became of one block."""

    first_index: int
    batches: Sequence[BatchResult]
    close: BlockClose
    receipts: Sequence[bytes] = ()  # payloads of rule receipts, which stand before the close

    @property
    def first_receipt_index(self) -> int:
        """Index of the first rule receipt, or of the close where there is none."""
        return self.first_index + sum(result.entry_count for result in self.batches)

    @property
    def close_index(self) -> int:
        """Index of the block's last entry."""
        return self.first_receipt_index + len(self.receipts)

    def encode(self) -> bytes:
        """Return the results' bytes."""
        parts = [_DOMAIN, _HEAD.pack(self.first_index, len(self.batches))]
        for result in self.batches:
            count = len(result.event_outcomes)
            parts.append(_BATCH.pack(result.outcome, count, len(result.evidence)))
            parts.append(struct.pack(f">{count}H", *result.event_outcomes))
            parts.append(result.evidence)
        parts.append(_U32.pack(len(self.receipts)))
        for receipt in self.receipts:
            parts += (_U32.pack(len(receipt)), receipt)
        return b"".join([*parts, self.close.encode()])


def parse_results(raw: bytes) -> BlockResults:
    """Parse results' bytes.

    Raises:
        MalformedError: They are no results of this version.
    """
    if not raw.startswith(_DOMAIN):
        raise MalformedError(f"{len(raw)} bytes are no block results of version 1")
    try:
        at = len(_DOMAIN)
        first_index, batch_count = _HEAD.unpack_from(raw, at)
        at += _HEAD.size
        batches = []
        for _ in range(batch_count):
            outcome, count, evidence_size = _BATCH.unpack_from(raw, at)
            at += _BATCH.size
            outcomes = struct.unpack_from(f">{count}H", raw, at)
            at += 2 * count
            batches.append(BatchResult(outcome, outcomes, raw[at : at + evidence_size]))
            at += evidence_size
        receipts, at = _parse_receipts(raw, at)
    except struct.error as error:
        raise MalformedError("block results are cut off") from error
    if len(raw) - at != _CLOSE_SIZE:
        raise MalformedError(f"{len(raw) - at} bytes stand where a block close of 226 belongs")
    return BlockResults(first_index, batches, parse_close(raw[at:]), receipts)


def _parse_receipts(raw: bytes, at: int) -> tuple[list[bytes], int]:
    (count,) = _U32.unpack_from(raw, at)
    at += _U32.size
    receipts = []
    for _ in range(count):
        (size,) = _U32.unpack_from(raw, at)
        at += _U32.size
        receipts.append(raw[at : at + size])
        at += size
    return receipts, at


def leaf_hashes(batches: Sequence[Batch], results: BlockResults) -> list[bytes]:
    """Return the leaf hashes of a block, its close included."""
    height, time_ms = results.close.height, results.close.time_ms
    hashes: list[bytes] = []
    index = results.first_index
    for batch, result in zip(batches, results.batches, strict=True):
        hashes.append(leaf_hash(_batch_leaf(batch, result, index, height, time_ms)))
        if result.event_outcomes:
            hashes += event_leaf_hashes(
                index, height, time_ms, batch.event_ids, result.event_outcomes
            )
        if result.evidence:
            hashes.append(leaf_hash(_evidence_leaf(result, index + 1, height, time_ms)))
        index += result.entry_count
    hashes += [leaf_hash(leaf) for leaf in _last_leaves(results)]
    return hashes


def leaves(batches: Sequence[Batch], results: BlockResults) -> Iterator[tuple[bytes, bytes]]:
    """Return (leaf data, event bytes or nothing) of each entry of a block, in order."""
    height, time_ms = results.close.height, results.close.time_ms
    index = results.first_index
    for batch, result in zip(batches, results.batches, strict=True):
        yield _batch_leaf(batch, result, index, height, time_ms), b""
        for position in range(len(result.event_outcomes)):
            leaf = event_leaf(batch, result, index, position, height=height, time_ms=time_ms)
            yield leaf, batch.events[position]
        if result.evidence:
            yield _evidence_leaf(result, index + 1, height, time_ms), b""
        index += result.entry_count
    for leaf in _last_leaves(results):
        yield leaf, b""


def event_leaf(
    batch: Batch, result: BatchResult, batch_index: int, position: int, *, height: int, time_ms: int
) -> bytes:
    """Return the leaf data of one event of a batch; the batch's entry is `batch_index`."""
    head = EntryHead(
        kind=EntryKind.EVENT,
        index=batch_index + 1 + position,
        height=height,
        time_ms=time_ms,
        outcome=result.event_outcomes[position],
    )
    return leaf_data(head, event_payload(batch_index, position, batch.event_id(position)))


def _batch_leaf(batch: Batch, result: BatchResult, index: int, height: int, time_ms: int) -> bytes:
    head = EntryHead(
        kind=EntryKind.BATCH, index=index, height=height, time_ms=time_ms, outcome=result.outcome
    )
    return leaf_data(head, batch.signed_header)


def _evidence_leaf(result: BatchResult, index: int, height: int, time_ms: int) -> bytes:
    head = EntryHead(kind=EntryKind.EQUIVOCATION, index=index, height=height, time_ms=time_ms)
    return leaf_data(head, result.evidence)


def _last_leaves(results: BlockResults) -> Iterator[bytes]:
    """Return the leaf data of a block's rule receipts and of its close."""
    close, index = results.close, results.first_receipt_index
    payloads = [(EntryKind.RULE_RECEIPT, each) for each in results.receipts]
    payloads.append((EntryKind.BLOCK_CLOSE, close.encode()))
    for at, (kind, payload) in enumerate(payloads, index):
        head = EntryHead(kind=kind, index=at, height=close.height, time_ms=close.time_ms)
        yield leaf_data(head, payload)
