"""Snapshots of ledgers in memory, and tools to take such a file apart and forge it."""

import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping

from lotmark.merkle import Frontier, inclusion_path
from lotmark.snapshot import GovernanceEntry, SnapshotStart, write_snapshot
from lotmark.ustar import TarWriter
from tests.node.ledger_in_memory import LedgerInMemory


class SourceInMemory:
    """What `write_snapshot` needs, from a ledger in memory."""

    def __init__(self, ledger: LedgerInMemory, note: bytes | None = None) -> None:
        """Take a ledger and, where it is not to be cosigned by all, the checkpoint."""
        self._ledger = ledger
        self._note = note

    def genesis(self) -> bytes:
        return self._ledger.genesis_bytes

    def acceptances(self) -> bytes:
        return self._ledger.acceptance_bytes

    def blocks(self, first_height: int, last_height: int) -> Iterator[tuple[bytes, bytes]]:
        return iter(self._ledger.blocks[first_height - 1 : last_height])

    def checkpoint_note(self, height: int) -> bytes:
        return self._note or self._ledger.checkpoint_note(size=self._ledger.sizes[height])

    def start(self, height: int) -> SnapshotStart:
        size = self._ledger.sizes[height]
        frontier = Frontier()
        frontier.extend(self._ledger.leaf_hashes[:size])
        path = inclusion_path(self._ledger.leaf_hashes[:size], size - 1)
        return SnapshotStart(frontier, self._ledger.leaf_data[size - 1], tuple(path))

    def governance(self, height: int) -> Iterator[GovernanceEntry]:
        return iter(self._ledger.governance(self._ledger.sizes[height]))

    def state_rows(self, height: int) -> Iterator[tuple[bytes, bytes]]:
        replayed = LedgerInMemory(self._ledger.genesis)
        for block, _ in self._ledger.blocks[:height]:
            replayed.apply(block)
        return replayed.rows.rows(b"")


def snapshot_of(
    ledger: LedgerInMemory,
    *,
    first_height: int = 1,
    last_height: int | None = None,
    note: bytes | None = None,
) -> bytes:
    """Return the snapshot file of a ledger."""
    out = io.BytesIO()
    write_snapshot(
        out,
        SourceInMemory(ledger, note),
        first_height=first_height,
        last_height=ledger.height if last_height is None else last_height,
    )
    return out.getvalue()


def members_of(raw: bytes) -> dict[str, bytes]:
    """Return the members of a snapshot file, as another tar program reads them, in order."""
    with tarfile.open(fileobj=io.BytesIO(raw), mode="r:") as archive:
        members = [(member.name, archive.extractfile(member)) for member in archive]
    return {name: content.read() for name, content in members if content}


def packed(members: Mapping[str, bytes]) -> bytes:
    """Return a snapshot file of these members."""
    out = io.BytesIO()
    writer = TarWriter(out)
    for name, content in members.items():
        writer.write(name, len(content), [content])
    writer.finish()
    return out.getvalue()


def with_member(raw: bytes, name: str, content: bytes) -> bytes:
    """Return a snapshot file in which one member has another content."""
    members = members_of(raw)
    assert name in members, f"{name} is none of {list(members)}"
    return packed({**members, name: content})


def pairs_of(content: bytes) -> list[tuple[bytes, bytes]]:
    """Return the pairs of a block file (block, results) or of state.bin (key, value)."""
    parts, at = [], 0
    while at < len(content):
        size = int.from_bytes(content[at : at + 4])
        parts.append(content[at + 4 : at + 4 + size])
        at += 4 + size
    return list(zip(parts[::2], parts[1::2], strict=True))


def joined(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the content that `pairs_of` reads as these pairs."""
    return b"".join(len(part).to_bytes(4) + part for pair in pairs for part in pair)
