"""Blocks: a signed proposal and its batches, as the order replicates them.

Layout and bounds: docs/protocol.md, section 4.
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from lotmark import merkle
from lotmark.batch import Batch, parse_batch
from lotmark.ed25519 import PrivateKey
from lotmark.errors import MalformedError

BLOCK_EVENTS_MAX = 2_000
BLOCK_SIZE_MAX = 4_194_304
BASES_MAX = 8  # a proposal's base is one of so many newest heads

_BLOCK_DOMAIN = b"lotmark/block/v1\n"
_PROPOSAL_DOMAIN = b"lotmark/proposal/v1\n"
_PROPOSAL = struct.Struct(">32s32sQQQQ32s32s")
_U16 = struct.Struct(">H")
_HEAD_SIZE = len(_BLOCK_DOMAIN) + _PROPOSAL.size + 64 + 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What a leader signs about the block it proposes."""

    chain_id: bytes
    key: bytes
    term: int
    counter: int  # from 1, contiguous in a term
    time_ms: int
    base_size: int  # tree the leader had applied
    base_root: bytes
    batches_root: bytes

    def encode(self) -> bytes:
        """Return the proposal bytes."""
        return _PROPOSAL.pack(
            self.chain_id,
            self.key,
            self.term,
            self.counter,
            self.time_ms,
            self.base_size,
            self.base_root,
            self.batches_root,
        )

    def signed_message(self) -> bytes:
        """Return what the leader signs."""
        return _PROPOSAL_DOMAIN + self.encode()

    def digest(self) -> bytes:
        """Return the proposal digest."""
        return hashlib.sha256(self.signed_message()).digest()


@dataclass(frozen=True, slots=True)
class Block:
    """A proposal, its signature and the batches it binds."""

    proposal: Proposal
    signature: bytes
    batches: Sequence[Batch]


def batches_root(batches: Sequence[Batch]) -> bytes:
    """Return the root that binds every byte of `batches`, also where an event is erased later."""
    return merkle.root([_batch_leaf(batch) for batch in batches])


def _batch_leaf(batch: Batch) -> bytes:
    carried = _U16.pack(len(batch.events)) + batch.carried_root
    return merkle.leaf_hash(batch.signed_header + carried)


def sign_block(key: PrivateKey, proposal: Proposal, batches: Sequence[Batch]) -> Block:
    """Return the block that a leader's signature over `proposal` makes."""
    return Block(proposal, key.sign(proposal.signed_message()), batches)


def encode_block(block: Block) -> bytes:
    """Return the block's bytes."""
    return b"".join(
        [
            _BLOCK_DOMAIN,
            block.proposal.encode(),
            block.signature,
            _U16.pack(len(block.batches)),
            *[batch.raw for batch in block.batches],
        ]
    )


def batch_starts(batches: Sequence[Batch]) -> list[int]:
    """Return where each batch begins in the bytes of a block of these."""
    return list(accumulate((len(batch.raw) for batch in batches), initial=_HEAD_SIZE))[:-1]


def parse_block(raw: bytes) -> Block:
    """Parse a block; whether it is valid is for the ledger's rules to say.

    Raises:
        MalformedError: The bytes are no block, or exceed a bound.
    """
    proposal, signature = parse_block_head(raw)
    at = _HEAD_SIZE
    (batch_count,) = _U16.unpack_from(raw, at - 2)
    batches, event_count = [], 0
    for _ in range(batch_count):
        batch, at = parse_batch(raw, at)
        event_count += len(batch.events)
        batches.append(batch)
    if at != len(raw):
        raise MalformedError(f"{len(raw) - at} bytes follow the last batch of a block")
    if event_count > BLOCK_EVENTS_MAX:
        raise MalformedError(f"a block has at most {BLOCK_EVENTS_MAX} events, not {event_count}")
    return Block(proposal, signature, batches)


def parse_block_head(raw: bytes) -> tuple[Proposal, bytes]:
    """Return a block's proposal and its signature; the batches are not looked at.

    Raises:
        MalformedError: The bytes are no block.
    """
    if len(raw) > BLOCK_SIZE_MAX or len(raw) < _HEAD_SIZE or not raw.startswith(_BLOCK_DOMAIN):
        raise MalformedError(f"{len(raw)} bytes are no block of version 1")
    at = len(_BLOCK_DOMAIN)
    proposal = Proposal(
        **dict(zip(Proposal.__dataclass_fields__, _PROPOSAL.unpack_from(raw, at), strict=True))
    )
    at += _PROPOSAL.size
    return proposal, raw[at : at + 64]
