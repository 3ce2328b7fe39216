"""The wire of a leader that signs two blocks for one place, and sends one of them to a victim."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from enum import Enum

import grpc.aio

from lotmark.block import Block, batches_root, encode_block, parse_block, sign_block
from lotmark.ed25519 import PrivateKey
from lotmark.v1 import raft_pb2
from lotmark_consensus.raft.codec import decode_frame, encode_frame
from lotmark_consensus.raft.grpc_wire import GrpcWire


class Lie(Enum):
    """How the second block differs from the first; both keep every rule."""

    OMITS = "omits"  # its last batch: the victim's tree is smaller from then on
    OTHER_BASE = "other-base"  # it stands on an earlier tree: the victim's is as large


class LyingWire(GrpcWire):
    """Sends a victim another block than everybody else."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        chain_id: bytes,
        dial: Callable[[str], grpc.aio.Channel],
        *,
        key: PrivateKey,
        lie: Callable[[], str],
    ) -> None:
        """Make it.

        Args:
            loop: As of `GrpcWire`.
            chain_id: As of `GrpcWire`.
            dial: As of `GrpcWire`.
            key: The node's own proposal key.
            lie: Returns "<how> <victim>", or nothing.
        """
        super().__init__(loop, chain_id, dial)
        self._liar = Liar(chain_id, key)
        self._lie = lie

    def send(self, peer: str, frame: bytes) -> None:
        how, _, victim = self._lie().partition(" ")
        super().send(peer, self._liar.altered(frame, Lie(how)) if peer == victim else frame)


class Liar:
    """Puts a second block in place of one, the first that gives occasion."""

    def __init__(self, chain_id: bytes, key: PrivateKey) -> None:
        self._chain_id = chain_id
        self._key = key
        self._earlier: Block | None = None  # the block before the one that is sent now
        self._lie: tuple[bytes, bytes] | None = None  # what others are sent, and the victim

    def altered(self, raw: bytes, how: Lie) -> bytes:
        """Return the frame that the victim is sent; the same each time."""
        frame = decode_frame(raw, chain_id=self._chain_id)
        if frame.WhichOneof("body") != "append_request":
            return raw
        for entry in frame.append_request.entries:
            if entry.kind == raft_pb2.RAFT_ENTRY_KIND_BLOCK:
                entry.payload = self._told_to_victim(entry.payload, how)
        return encode_frame(frame)

    def _told_to_victim(self, payload: bytes, how: Lie) -> bytes:
        block = parse_block(payload)
        if self._lie is None and (other := self._other(block, how)) is not None:
            self._lie = payload, encode_block(other)
        self._earlier = block
        return self._lie[1] if self._lie is not None and payload == self._lie[0] else payload

    def _other(self, block: Block, how: Lie) -> Block | None:
        """Return a second block for the same place; None: this one gives no occasion."""
        proposal, earlier = block.proposal, self._earlier
        if proposal.key != self._key.public or not block.batches:
            return None
        if how is Lie.OMITS:
            batches = block.batches[:-1]
            other = replace(proposal, batches_root=batches_root(batches))
            return sign_block(self._key, other, batches)
        if earlier is None or earlier.proposal.base_size == proposal.base_size:
            return None
        base = earlier.proposal
        other = replace(proposal, base_size=base.base_size, base_root=base.base_root)
        return sign_block(self._key, other, block.batches)
