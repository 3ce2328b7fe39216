"""The full verdict on a snapshot: structure, signatures, tree, checkpoint, and execution."""

from typing import BinaryIO

from lotmark.item_epochs import rule_in_force
from lotmark.snapshot_reader import SnapshotReader
from lotmark.verify.judge import (
    FileKind,
    failed_verdict,
    structure_ticks,
    worded_verdict,
)
from lotmark.verify.report import FaultFound, UndecidedError, Verdict
from lotmark.verify.structure import Progress, StructureFindings, check_structure
from lotmark_node.verification.flags import FlagCollector
from lotmark_node.verification.reexecute import reexecute


def verify_snapshot(
    source: BinaryIO, *, chain_id: bytes, progress: Progress | None = None
) -> Verdict:
    """Check a snapshot to the last row of its state.

    Nothing is executed before the file's structure is known to be sound, so that execution only
    ever meets bytes for which somebody has signed.

    Args:
        source: The file, at its beginning; read twice.
        chain_id: The pinned chain id, from a source the reader trusts.
        progress: Called after each block, with the blocks done and to do; each counts twice, once
            for the structure and once for its execution.
    """

    def halfway(done: int, total: int) -> None:
        if progress:
            progress(done, 2 * total)

    try:
        findings = check_structure(source, chain_id=chain_id, progress=halfway)
    except (FaultFound, UndecidedError) as error:
        return failed_verdict(FileKind.SNAPSHOT, error)
    ticks = structure_ticks(findings)
    manifest = findings.manifest
    block_count = manifest.last_height - manifest.first_height + 1
    source.seek(0)
    start = SnapshotReader(source).start
    flags = FlagCollector(findings, start)
    source.seek(0)
    executed_blocks = reexecute(
        source,
        genesis=findings.genesis,
        chain_id=chain_id,
        size=manifest.size,
        root=findings.checkpoint.checkpoint.root,
    )
    try:
        for done, executed in enumerate(executed_blocks, block_count + 1):
            flags.take(executed)
            if progress:
                progress(done, 2 * block_count)
    except (FaultFound, UndecidedError) as error:
        return failed_verdict(FileKind.SNAPSHOT, error, ticks=ticks)
    return worded_verdict(
        findings,
        limits=_limits(findings),
        ticks=[*ticks, f"re-executed {block_count:,} {'block' if block_count == 1 else 'blocks'}"],
        level="full",
        flags=flags.flags(),
    )


def _limits(findings: StructureFindings) -> str:
    manifest = findings.manifest
    if manifest.is_full:
        return ""
    count = len(findings.checkpoint.parties)
    word = f"on the word of {count} {'party' if count == 1 else 'parties'}"
    text = (
        f"State at height {manifest.first_height - 1} {word}; executed again from"
        f" {manifest.first_height} to {manifest.last_height}."
    )
    if rule_in_force(findings.keys) is not None:
        text += f" Roots of items' histories {word}."
    return text
