"""Verification of a snapshot file by its structure: one pass, nothing executed, nothing trusted.

It shows who signed what, that it is all there and in order, and who stands behind that order. It
does not show that the rules were applied rightly: whether an event was a duplicate, a lane in
order, a quota used up, and what state came of it. That is the full level's to say.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from lotmark import merkle
from lotmark.entry import (
    NO_INDEX,
    BlockClose,
    EntryHead,
    EntryKind,
    leaf_data,
    parse_close,
    parse_leaf_data,
)
from lotmark.errors import ProofError
from lotmark.genesis import Genesis
from lotmark.merkle import Frontier, leaf_hash
from lotmark.snapshot import Manifest, SnapshotStart
from lotmark.snapshot_reader import SnapshotReader
from lotmark.verify.checkpoints import CheckpointFindings, check_checkpoint
from lotmark.verify.founding import check_founding
from lotmark.verify.governance_chain import follow_entries
from lotmark.verify.key_register import KeyRegister
from lotmark.verify.log_walk import LogWalk, first_difference
from lotmark.verify.operator_register import OperatorRegister
from lotmark.verify.report import Fault, FaultFound, blaming

Progress = Callable[[int, int], None]  # blocks done, blocks in all


@dataclass(frozen=True, slots=True, kw_only=True)
class StructureFindings:
    """What a snapshot shows by its structure; on whose word, its `checkpoint` says."""

    manifest: Manifest
    genesis: Genesis
    checkpoint: CheckpointFindings
    keys: KeyRegister  # as the last block left them
    operators: OperatorRegister  # likewise
    start_close: BlockClose  # of the block before the first one
    time_ms: int  # of the last block
    batch_count: int
    event_count: int
    signature_count: int


def check_structure(
    source: BinaryIO, *, chain_id: bytes, progress: Progress | None = None
) -> StructureFindings:
    """Check a snapshot file and return what it shows.

    Args:
        source: The file, read once from its beginning.
        chain_id: The pinned chain id, from a source the reader trusts.
        progress: Called after each block.

    Raises:
        FaultFound: Something does not hold; nothing after it was looked at.
        UndecidedError: The file is cut off or of an unknown version.
    """
    with blaming("file"):
        reader = SnapshotReader(source)
    manifest = reader.manifest
    if manifest.chain_id != chain_id:
        raise FaultFound(
            Fault(
                "chain",
                f"unknown chain {manifest.chain_id.hex()}; the pinned chain is {chain_id.hex()}",
            )
        )
    with blaming("genesis"):
        genesis = check_founding(reader.genesis, reader.acceptances, chain_id)
    with blaming("start", height=manifest.first_height - 1):
        start_close = _check_start(reader, genesis, chain_id)
    frontier = reader.start.frontier
    keys = KeyRegister(genesis, chain_id)
    operators = OperatorRegister(keys)
    follow_governance(reader, keys, operators)
    with blaming("state"):
        for _ in reader.state_rows():
            """Only whether the rows are in order is seen at this level."""
    walk = LogWalk(
        chain_id=chain_id,
        keys=keys,
        operators=operators,
        frontier=frontier.copy(),
        close=start_close,
    )
    _walk_blocks(reader, walk, progress)
    with blaming("file"):
        note = reader.checkpoint_note()
    with blaming("checkpoint"):
        checkpoint = check_checkpoint(keys.chain, keys.policy, note)
        _check_end(walk, manifest, checkpoint)
    return StructureFindings(
        manifest=manifest,
        genesis=genesis,
        checkpoint=checkpoint,
        keys=keys,
        operators=operators,
        start_close=start_close,
        time_ms=walk.time_ms,
        batch_count=walk.batch_count,
        event_count=walk.event_count,
        signature_count=walk.signature_count + len(checkpoint.cosigned) + 1,
    )


def _check_start(reader: SnapshotReader, genesis: Genesis, chain_id: bytes) -> BlockClose:
    """Check the log before the first block; return its last close.

    That the log of the checkpoint really begins so, the walk to its root shows.
    """
    start, height = reader.start, reader.manifest.first_height - 1
    size = start.frontier.size
    head, payload = parse_leaf_data(start.close_leaf)
    close = parse_close(payload)
    expected_head = EntryHead(
        kind=EntryKind.BLOCK_CLOSE, index=size - 1, height=height, time_ms=close.time_ms
    )
    if head != expected_head or close.height != height:
        raise ProofError(f"the last of {size} entries is not the close of height {height}")
    merkle.verify_inclusion(
        leaf_hash(start.close_leaf), size - 1, size, start.close_path, start.frontier.root()
    )
    if height == 0:
        _check_genesis_entries(start, close, genesis, chain_id)
    return close


def _check_genesis_entries(
    start: SnapshotStart, close: BlockClose, genesis: Genesis, chain_id: bytes
) -> None:
    expected = BlockClose(
        height=0,
        time_ms=genesis.created_ms,
        previous_close_index=NO_INDEX,
        previous_size=0,
        previous_root=merkle.EMPTY_ROOT,
        proposal_digest=bytes(32),
        state_digest=close.state_digest,  # the full level computes it
        policy_digest=close.policy_digest,
    )
    if close != expected:
        name, shown, wanted = first_difference(close, expected)
        raise ProofError(f"{name} is {shown}, where {wanted} belongs")
    head = EntryHead(kind=EntryKind.GENESIS, index=0, height=0, time_ms=genesis.created_ms)
    frontier = Frontier()
    frontier.extend([leaf_hash(leaf_data(head, chain_id)), leaf_hash(start.close_leaf)])
    if start.frontier.nodes != frontier.nodes:
        raise ProofError("the first two entries are not the genesis and its close")


def follow_governance(
    reader: SnapshotReader, keys: KeyRegister, operators: OperatorRegister
) -> None:
    """Take in what governs before a range, each with its proof.

    That none is left out is not shown by them, but by the state, at the full level.

    Raises:
        FaultFound: One of them does not hold.
        UndecidedError: The file is cut off.
    """
    frontier = reader.start.frontier
    with blaming("governance"):
        follow_entries(
            reader.governance(),
            keys,
            operators,
            size=frontier.size,
            root=frontier.root(),
        )
        if not reader.manifest.is_full:
            close = parse_close(parse_leaf_data(reader.start.close_leaf)[1])
            keys.end_block(height=close.height, time_ms=close.time_ms)
    with blaming("start", height=reader.manifest.first_height - 1):
        named = parse_close(parse_leaf_data(reader.start.close_leaf)[1]).policy_digest
        if named != keys.policy_digest:
            raise ProofError(
                f"the close names policy {named.hex()}, where {keys.policy_digest.hex()} belongs"
            )


def _walk_blocks(reader: SnapshotReader, walk: LogWalk, progress: Progress | None) -> None:
    manifest = reader.manifest
    block_count = manifest.last_height - manifest.first_height + 1
    done_count = 0
    with blaming("file"):
        for record in reader.blocks():
            walk.take(record)
            done_count += 1
            if progress:
                progress(done_count, block_count)


def _check_end(walk: LogWalk, manifest: Manifest, findings: CheckpointFindings) -> None:
    checkpoint = findings.checkpoint
    for what, size in (("manifest", manifest.size), ("checkpoint", checkpoint.size)):
        if size != walk.size:
            raise ProofError(
                f"the {what} is of size {size}, the entries of height {manifest.last_height} end at"
                f" size {walk.size}"
            )
    if checkpoint.root != walk.root:
        raise ProofError(
            f"the entries lead to root {walk.root.hex()}, the checkpoint of size {walk.size} has"
            f" {checkpoint.root.hex()}"
        )
