"""Snapshot files: a ledger, or a range of its blocks, in one file that is verified anywhere.

Layout: docs/protocol.md, section 9. The writer goes over its source twice, first to measure and
then to write, so that it can write to a stream that knows no way back.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO, Protocol

from lotmark import canonical_json
from lotmark.block_results import parse_results
from lotmark.checkpoint import parse_checkpoint
from lotmark.errors import MalformedError, ProtocolError
from lotmark.genesis import chain_id
from lotmark.json_fields import JsonFields
from lotmark.merkle import Frontier
from lotmark.signed_note import parse_note
from lotmark.ustar import MEMBER_SIZE_MAX, TarWriter, file_size

FORMAT = "lotmark/snapshot/v1"
MANIFEST_NAME = "manifest.json"
GENESIS_NAME = "genesis.json"
ACCEPTANCES_NAME = "acceptances.json"
START_NAME = "start.bin"
GOVERNANCE_NAME = "governance.bin"
STATE_NAME = "state.bin"
CHECKPOINT_NAME = "checkpoint.txt"

MANIFEST_SIZE_MAX = 4 << 20
BLOCK_FILE_SIZE_MAX = 64 << 20
RESULTS_SIZE_MAX = 40 << 20  # rule receipts are most of it
ROW_KEY_SIZE_MAX = 2_048
ROW_VALUE_SIZE_MAX = 1 << 20

_FORMAT_FAMILY = "lotmark/snapshot/v"
_HEIGHT_MAX = 10**12 - 1  # a block file's name has twelve digits
_GENESIS_SIZE = 2  # leaves of height 0
_U8 = struct.Struct(">B")
_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")


class UnknownVersionError(MalformedError):
    """The bytes are of a version that this release does not know: it can say nothing about them."""


class SnapshotRefused(ProtocolError):
    """No snapshot can be made as it was asked for."""


@dataclass(frozen=True, slots=True)
class HeightRange:
    """The blocks of one block file."""

    first_height: int
    last_height: int

    @property
    def name(self) -> str:
        """The file's name."""
        return f"blocks/{self.first_height:012}.bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a snapshot says it is."""

    chain_id: bytes
    first_height: int  # 1: a full snapshot, verified from the genesis on
    last_height: int
    size: int  # tree size after `last_height`, which is the checkpoint's
    block_files: tuple[HeightRange, ...]

    @property
    def is_full(self) -> bool:
        """Whether nothing is missing before the first block."""
        return self.first_height == 1

    def to_json(self) -> bytes:
        """Return the one encoding."""
        return canonical_json.dump(
            {
                "format": FORMAT,
                "chain_id": self.chain_id.hex(),
                "content": _content(self.first_height),
                "first_height": str(self.first_height),
                "last_height": str(self.last_height),
                "size": str(self.size),
                "block_files": [
                    {
                        "first_height": str(each.first_height),
                        "last_height": str(each.last_height),
                    }
                    for each in self.block_files
                ],
            }
        )


_MEMBERS = (
    "format",
    "chain_id",
    "content",
    "first_height",
    "last_height",
    "size",
    "block_files",
)


def _content(first_height: int) -> str:
    return "full" if first_height == 1 else "range"


def parse_manifest(raw: bytes) -> Manifest:
    """Return the manifest that `raw` holds.

    Raises:
        UnknownVersionError: It is of a later version.
        MalformedError: It is none, or contradicts itself.
    """
    value = canonical_json.load(raw, size_max=MANIFEST_SIZE_MAX)
    found = value.get("format") if isinstance(value, dict) else None
    if found != FORMAT:
        if isinstance(found, str) and found.startswith(_FORMAT_FAMILY):
            raise UnknownVersionError(
                f"the snapshot is of format {found[:40]!a}; this release knows {FORMAT} only"
            )
        raise MalformedError(f"the manifest names no snapshot format, but {ascii(found)[:40]}")
    fields = JsonFields(value, _MEMBERS, place="manifest")
    manifest = Manifest(
        chain_id=fields.hex("chain_id", size=32),
        first_height=fields.u64("first_height"),
        last_height=fields.u64("last_height"),
        size=fields.u64("size"),
        block_files=tuple(
            HeightRange(each.u64("first_height"), each.u64("last_height"))
            for each in fields.objects("block_files", ("first_height", "last_height"))
        ),
    )
    _check_heights(manifest.first_height, manifest.last_height)
    if fields.text("content") != _content(manifest.first_height):
        raise MalformedError(
            f"the manifest's content must be {_content(manifest.first_height)!r} for a snapshot"
            f" from height {manifest.first_height}"
        )
    _check_block_files(manifest)
    return manifest


def _check_heights(first_height: int, last_height: int) -> None:
    # A ledger that has no block yet has a full snapshot of heights 1 to 0.
    if not (
        1 <= first_height <= last_height <= _HEIGHT_MAX or (first_height, last_height) == (1, 0)
    ):
        raise MalformedError(
            f"heights {first_height} to {last_height} are no range of blocks within 1 to"
            f" {_HEIGHT_MAX}"
        )


def _check_block_files(manifest: Manifest) -> None:
    expected = manifest.first_height
    for each in manifest.block_files:
        if each.first_height != expected or each.last_height < expected:
            raise MalformedError(
                f"a block file of heights {each.first_height} to {each.last_height} stands where"
                f" one from {expected} belongs"
            )
        expected = each.last_height + 1
    if expected != manifest.last_height + 1:
        raise MalformedError(
            f"the block files end at height {expected - 1}, the snapshot at {manifest.last_height}"
        )


@dataclass(frozen=True, slots=True)
class SnapshotStart:
    """The log before the first block of a snapshot; of a full one, after height 0."""

    frontier: Frontier
    close_leaf: bytes  # leaf data of its last entry
    close_path: tuple[bytes, ...]  # of that leaf in the tree of `frontier`

    def encode(self) -> bytes:
        """Return the content of start.bin."""
        return b"".join(
            [
                _U64.pack(self.frontier.size),
                *self.frontier.nodes,
                _U16.pack(len(self.close_leaf)),
                self.close_leaf,
                encode_path(self.close_path),
            ]
        )


@dataclass(frozen=True, slots=True)
class GovernanceEntry:
    """An accepted event that governs, or the close of a block that decided proposals; proven."""

    event: bytes  # empty with a close
    leaf: bytes  # leaf data of its entry
    path: tuple[bytes, ...]  # of that leaf in the tree at the range's start

    def encode(self) -> bytes:
        """Return its record in governance.bin."""
        return b"".join(
            [
                _U32.pack(len(self.event)),
                self.event,
                _U16.pack(len(self.leaf)),
                self.leaf,
                encode_path(self.path),
            ]
        )


def encode_path(path: Sequence[bytes]) -> bytes:
    """Return an inclusion path as snapshot files have it."""
    return _U8.pack(len(path)) + b"".join(path)


class SnapshotSource(Protocol):
    """A ledger that holds still while a snapshot of it is written; asked for everything twice."""

    def genesis(self) -> bytes:
        """Return the genesis JSON."""
        ...

    def acceptances(self) -> bytes:
        """Return the acceptances JSON."""
        ...

    def blocks(self, first_height: int, last_height: int) -> Iterator[tuple[bytes, bytes]]:
        """Return block bytes and block results bytes, in order."""
        ...

    def checkpoint_note(self, height: int) -> bytes:
        """Return the checkpoint of the tree after `height`, as much cosigned as it is."""
        ...

    def start(self, height: int) -> SnapshotStart:
        """Return the log after `height`."""
        ...

    def governance(self, height: int) -> Iterator[GovernanceEntry]:
        """Return the accepted events that govern, and the closes that decided, up to `height`.

        Their paths are in the tree after `height`.
        """
        ...

    def state_rows(self, height: int) -> Iterator[tuple[bytes, bytes]]:
        """Return the state after `height`, strictly ascending by key."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotPlan:
    """What will be written: known before the first byte is."""

    manifest: Manifest
    members: tuple[tuple[str, int], ...]  # name and size, in order

    @property
    def file_size(self) -> int:
        """Size of the whole file."""
        return file_size(size for _, size in self.members)


def plan_snapshot(source: SnapshotSource, *, first_height: int, last_height: int) -> SnapshotPlan:
    """Measure a snapshot.

    Raises:
        SnapshotRefused: The checkpoint is of another size, or the state is too large for the file.
        MalformedError: The heights are no range.
    """
    _check_heights(first_height, last_height)
    ranges, sizes, tree_size = _measure_blocks(source, first_height, last_height)
    note = source.checkpoint_note(last_height)
    checkpoint_size = parse_checkpoint(parse_note(note).text).size
    if checkpoint_size != tree_size:
        raise SnapshotRefused(
            f"height {last_height} ends at size {tree_size}, the checkpoint is of"
            f" {checkpoint_size}; end the snapshot at a height that has a checkpoint"
        )
    genesis = source.genesis()
    manifest = Manifest(
        chain_id=chain_id(genesis),
        first_height=first_height,
        last_height=last_height,
        size=tree_size,
        block_files=tuple(ranges),
    )
    members = [
        (MANIFEST_NAME, len(manifest.to_json())),
        (GENESIS_NAME, len(genesis)),
        (ACCEPTANCES_NAME, len(source.acceptances())),
        (START_NAME, len(source.start(first_height - 1).encode())),
    ]
    if not manifest.is_full:
        members.append((GOVERNANCE_NAME, _total(_governance(source, first_height))))
        members.append((STATE_NAME, _total(_rows(source, first_height))))
    members += [(each.name, size) for each, size in zip(ranges, sizes, strict=True)]
    members.append((CHECKPOINT_NAME, len(note)))
    for name, size in members:
        if size > MEMBER_SIZE_MAX:
            raise SnapshotRefused(
                f"{name} would have {size} bytes, at most {MEMBER_SIZE_MAX} fit; export from"
                " height 1, which needs no state"
            )
    return SnapshotPlan(manifest=manifest, members=tuple(members))


def _measure_blocks(
    source: SnapshotSource, first_height: int, last_height: int
) -> tuple[list[HeightRange], list[int], int]:
    """Return what block files there will be, their sizes, and the tree size at the end."""
    ranges: list[HeightRange] = []
    sizes: list[int] = []
    tree_size, height = _GENESIS_SIZE, first_height - 1
    for block, results in source.blocks(first_height, last_height):
        height += 1
        record_size = block_record_size(block, results)
        if ranges and sizes[-1] + record_size <= BLOCK_FILE_SIZE_MAX:
            sizes[-1] += record_size
            ranges[-1] = HeightRange(ranges[-1].first_height, height)
        else:
            sizes.append(record_size)
            ranges.append(HeightRange(height, height))
        if height == last_height:
            tree_size = parse_results(results).close_index + 1
    assert height == last_height, f"the source has {height} where {last_height} was asked for"
    return ranges, sizes, tree_size


def block_record_size(block: bytes, results: bytes) -> int:
    """Return the size of one block's record."""
    return 8 + len(block) + len(results)


def _governance(source: SnapshotSource, first_height: int) -> Iterator[bytes]:
    return (entry.encode() for entry in source.governance(first_height - 1))


def _rows(source: SnapshotSource, first_height: int) -> Iterator[bytes]:
    return (_framed(key) + _framed(value) for key, value in source.state_rows(first_height - 1))


def _framed(raw: bytes) -> bytes:
    return _U32.pack(len(raw)) + raw


def _total(parts: Iterable[bytes]) -> int:
    return sum(map(len, parts))


def write_planned(out: BinaryIO, source: SnapshotSource, plan: SnapshotPlan) -> None:
    """Write the snapshot that was planned over the same source."""
    manifest, sizes, tar = plan.manifest, dict(plan.members), TarWriter(out)
    first_height = manifest.first_height
    contents: list[tuple[str, Iterable[bytes]]] = [
        (MANIFEST_NAME, [manifest.to_json()]),
        (GENESIS_NAME, [source.genesis()]),
        (ACCEPTANCES_NAME, [source.acceptances()]),
        (START_NAME, [source.start(first_height - 1).encode()]),
    ]
    if not manifest.is_full:
        contents.append((GOVERNANCE_NAME, _governance(source, first_height)))
        contents.append((STATE_NAME, _rows(source, first_height)))
    for name, parts in contents:
        tar.write(name, sizes[name], parts)
    blocks = source.blocks(first_height, manifest.last_height)
    for each in manifest.block_files:
        count = each.last_height - each.first_height + 1
        records = (_framed(block) + _framed(results) for block, results in islice(blocks, count))
        tar.write(each.name, sizes[each.name], records)
    note = source.checkpoint_note(manifest.last_height)
    tar.write(CHECKPOINT_NAME, sizes[CHECKPOINT_NAME], [note])
    tar.finish()


def write_snapshot(
    out: BinaryIO, source: SnapshotSource, *, first_height: int, last_height: int
) -> None:
    """Write a snapshot of the blocks from `first_height` to `last_height`.

    Args:
        out: Where to; written from front to back.
        source: The ledger.
        first_height: 1 for a full snapshot.
        last_height: A height whose tree size has a checkpoint.

    Raises:
        SnapshotRefused: The checkpoint is of another size, or the state is too large for the file.
        MalformedError: The heights are no range.
    """
    plan = plan_snapshot(source, first_height=first_height, last_height=last_height)
    write_planned(out, source, plan)
