"""The snapshot file: the same bytes for the same ledger, and nothing read that is not one."""

import hashlib
import io
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotmark.block_results import parse_results
from lotmark.errors import MalformedError, ProtocolError
from lotmark.snapshot import (
    BLOCK_FILE_SIZE_MAX,
    HeightRange,
    Manifest,
    SnapshotRefused,
    UnknownVersionError,
    parse_manifest,
    plan_snapshot,
    write_planned,
    write_snapshot,
)
from lotmark.snapshot_reader import SnapshotReader
from lotmark.ustar import CutOffError, header
from tests.node.eventful_ledger import EVENTFUL_HEIGHT, eventful_ledger
from tests.node.ledger_in_memory import LedgerInMemory
from tests.node.snapshot_source import (
    SourceInMemory,
    joined,
    members_of,
    packed,
    pairs_of,
    snapshot_of,
    with_member,
)

# A reader elsewhere must find these bytes: a change of them is a new version of the format, or of
# what the ledger's rules make of the sample's blocks.
GOLDEN_FULL_SHA256 = "2a2274342b3740b128655fb20b182f0bc70888edb106b5008f1ffb5281b2126b"
GOLDEN_RANGE_SHA256 = "0261485b08d47c24ed0fe831ab2b923c2bb6fc50e542c394365f804173975323"

FULL = snapshot_of(eventful_ledger())
RANGE = snapshot_of(eventful_ledger(), first_height=6)
FIRST_BLOCKS = "blocks/000000000001.bin"
RANGE_BLOCKS = "blocks/000000000006.bin"


def read_all(raw: bytes) -> SnapshotReader:
    """Read a file to its end, as every verifier does."""
    reader = SnapshotReader(io.BytesIO(raw))
    for _ in reader.governance():
        pass
    for _ in reader.state_rows():
        pass
    for _ in reader.blocks():
        pass
    reader.checkpoint_note()
    return reader


def test_the_same_ledger_gives_the_same_bytes() -> None:
    assert snapshot_of(eventful_ledger()) == FULL
    assert hashlib.sha256(FULL).hexdigest() == GOLDEN_FULL_SHA256
    assert hashlib.sha256(RANGE).hexdigest() == GOLDEN_RANGE_SHA256


@pytest.mark.parametrize("first_height", [1, 6])
def test_the_size_is_known_before_the_first_byte(first_height: int) -> None:
    source = SourceInMemory(eventful_ledger())
    plan = plan_snapshot(source, first_height=first_height, last_height=EVENTFUL_HEIGHT)
    out = io.BytesIO()
    write_planned(out, source, plan)

    assert plan.file_size == len(out.getvalue())


def test_another_tar_program_sees_plain_files_without_owner_and_time() -> None:
    with tarfile.open(fileobj=io.BytesIO(RANGE), mode="r:") as archive:
        members = archive.getmembers()

    assert [member.name for member in members] == [
        "manifest.json",
        "genesis.json",
        "acceptances.json",
        "start.bin",
        "governance.bin",
        "state.bin",
        RANGE_BLOCKS,
        "checkpoint.txt",
    ]
    for member in members:
        assert member.isfile()
        assert (member.mode, member.mtime, member.uid, member.gid) == (0o644, 0, 0, 0)
        assert (member.uname, member.gname, member.linkname) == ("", "", "")


def test_a_full_snapshot_has_neither_state_nor_governance() -> None:
    assert list(members_of(FULL)) == [
        "manifest.json",
        "genesis.json",
        "acceptances.json",
        "start.bin",
        FIRST_BLOCKS,
        "checkpoint.txt",
    ]


def test_what_was_written_is_read_back() -> None:
    ledger = eventful_ledger()
    source = SourceInMemory(ledger)
    reader = SnapshotReader(io.BytesIO(RANGE))

    assert reader.manifest == Manifest(
        chain_id=ledger.chain_id,
        first_height=6,
        last_height=EVENTFUL_HEIGHT,
        size=ledger.size,
        block_files=(HeightRange(6, EVENTFUL_HEIGHT),),
    )
    assert (reader.genesis, reader.acceptances) == (ledger.genesis_bytes, ledger.acceptance_bytes)
    assert reader.start.encode() == source.start(5).encode()
    assert list(reader.governance()) == list(source.governance(5)) != []
    assert list(reader.state_rows()) == list(source.state_rows(5)) != []
    blocks = [(each.height, each.block, each.results) for each in reader.blocks()]
    assert blocks == [(height, *ledger.blocks[height - 1]) for height in range(6, 10)]
    assert reader.checkpoint_note() == ledger.checkpoint_note()


def test_a_ledger_without_blocks_has_a_snapshot() -> None:
    reader = read_all(snapshot_of(LedgerInMemory()))

    assert (reader.manifest.last_height, reader.manifest.size) == (0, 2)


def test_a_snapshot_ends_where_its_checkpoint_does() -> None:
    ledger = eventful_ledger()
    older = SourceInMemory(ledger, ledger.checkpoint_note(size=ledger.sizes[8]))

    with pytest.raises(SnapshotRefused, match="ends at size 53, the checkpoint is of 50"):
        write_snapshot(io.BytesIO(), older, first_height=1, last_height=9)


@pytest.mark.parametrize(("first_height", "last_height"), [(0, 4), (5, 4), (2, 1)])
def test_heights_that_are_no_range_are_refused(first_height: int, last_height: int) -> None:
    source = SourceInMemory(eventful_ledger())

    with pytest.raises(MalformedError, match="no range of blocks"):
        plan_snapshot(source, first_height=first_height, last_height=last_height)


class LargeBlocks(SourceInMemory):
    """A source of large blocks with many rule receipts; what is in them no reader looks at."""

    block, receipt = bytes(4 << 20), bytes(5 << 20)

    def blocks(self, first_height: int, last_height: int) -> Iterator[tuple[bytes, bytes]]:
        for _, raw in super().blocks(first_height, last_height):
            results = parse_results(raw)
            first = results.first_index - 1  # so that the close stays where it was
            yield self.block, replace(results, first_index=first, receipts=[self.receipt]).encode()


def test_block_files_are_filled_before_the_next_one_begins() -> None:
    out = io.BytesIO()
    write_snapshot(out, LargeBlocks(eventful_ledger()), first_height=1, last_height=9)
    members = members_of(out.getvalue())
    names = [name for name in members if name.startswith("blocks/")]

    assert names == [FIRST_BLOCKS, "blocks/000000000008.bin"]
    assert len(members[FIRST_BLOCKS]) <= BLOCK_FILE_SIZE_MAX
    assert read_all(out.getvalue()).manifest.block_files == (HeightRange(1, 7), HeightRange(8, 9))


def test_blocks_that_fit_the_file_before_theirs_are_refused() -> None:
    members = members_of(FULL)
    pairs = pairs_of(members.pop(FIRST_BLOCKS))
    manifest = parse_manifest(members["manifest.json"])
    split = replace(manifest, block_files=(HeightRange(1, 4), HeightRange(5, 9)))
    note = members.pop("checkpoint.txt")
    forged = packed(
        {
            **members,
            "manifest.json": split.to_json(),
            FIRST_BLOCKS: joined(pairs[:4]),
            "blocks/000000000005.bin": joined(pairs[4:]),
            "checkpoint.txt": note,
        }
    )

    with pytest.raises(MalformedError, match="block 5 fits the block file before"):
        read_all(forged)


@given(size=st.integers(0, len(RANGE) - 1))
def test_a_file_cut_off_anywhere_is_told_from_a_forged_one(size: int) -> None:
    with pytest.raises(CutOffError, match="cut off"):
        read_all(RANGE[:size])


@pytest.mark.parametrize("extra", [b"\0", b"x", bytes(512), bytes(10_240)])
def test_nothing_may_follow_the_end(extra: bytes) -> None:
    with pytest.raises(MalformedError, match="must end"):
        read_all(FULL + extra)


def test_a_later_version_is_told_from_a_forgery() -> None:
    manifest = members_of(FULL)["manifest.json"]
    later = manifest.replace(b"lotmark/snapshot/v1", b"lotmark/snapshot/v2")

    with pytest.raises(UnknownVersionError, match="snapshot/v2"):
        read_all(with_member(FULL, "manifest.json", later))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"lotmark/snapshot/v1", b"something else", "names no snapshot format"),
        (b'"full"', b'"range"', "content must be 'full'"),
        (b'"first_height":"1","format"', b'"first_height":"2","format"', "content must be"),
        (b'"last_height":"9"}]', b'"last_height":"8"}]', "end at height 8"),
        (b'[{"first_height":"1"', b'[{"first_height":"2"', "where one from 1 belongs"),
        (b'"first_height":"1","format"', b'"first_height":"0","format"', "no range"),
        (b'"size":"53"', b'"size":53', "decimal string"),
        (b'"size":"53"', b'"size":"53" ', "not canonical"),
        (b'"size":"53"', b'"size":"53","why":1', "unknown member"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(
    old: bytes, new: bytes, message: str
) -> None:
    manifest = members_of(FULL)["manifest.json"]
    assert old in manifest

    with pytest.raises(MalformedError, match=message):
        parse_manifest(manifest.replace(old, new))


def test_members_in_another_order_are_refused() -> None:
    members = members_of(FULL)
    members["genesis.json"] = members.pop("genesis.json")

    with pytest.raises(MalformedError, match=r"header of genesis\.json must stand.*its name is '"):
        read_all(packed(members))


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, b"x", "its name is 'xanifest.json', not 'manifest.json'"),
        (50, b"x", r"its name is 'manifest.json\x00x', not 'manifest.json'"),
        (100, b"0000755", "its mode is '0000755', not '0000644'"),
        (124, b"9", "not eleven octal digits"),
        (136, b"00000000001", "its time is '00000000001', not '00000000000'"),
        (150, b"x", "its checksum is '"),
        (156, b"2", "its type is '2', not '0'"),
        (265, b"root", "its user name is 'root', not ''"),
        (511, b"\xff", r"its prefix is '\x00\xff', not ''"),
    ],
)
def test_the_field_in_which_a_header_differs_is_named(at: int, value: bytes, message: str) -> None:
    forged = FULL[:at] + value + FULL[at + len(value) :]

    with pytest.raises(MalformedError) as refused:
        read_all(forged)
    assert message in str(refused.value)
    assert r"\x00\x00" not in str(refused.value)


def test_a_member_too_many_is_refused() -> None:
    with pytest.raises(MalformedError, match="must end"):
        read_all(packed({**members_of(FULL), "readme.txt": b"hello"}))


def test_a_link_in_place_of_a_file_is_refused() -> None:
    link = tarfile.TarInfo("genesis.json")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    at = FULL.index(header("genesis.json", len(members_of(FULL)["genesis.json"])))
    forged = FULL[:at] + link.tobuf(tarfile.USTAR_FORMAT) + FULL[at + 512 :]

    with pytest.raises(MalformedError, match=r"header of genesis\.json"):
        read_all(forged)


@pytest.mark.parametrize("copies", [2, 65_536])
def test_a_row_that_stands_more_than_once_is_refused(copies: int) -> None:
    first, *others = pairs_of(members_of(RANGE)["state.bin"])
    forged = with_member(RANGE, "state.bin", joined([first] * copies + others))

    with pytest.raises(MalformedError, match="strictly ascend"):
        read_all(forged)


def test_rows_out_of_order_are_refused() -> None:
    rows = pairs_of(members_of(RANGE)["state.bin"])

    with pytest.raises(MalformedError, match="strictly ascend"):
        read_all(with_member(RANGE, "state.bin", joined([rows[1], rows[0], *rows[2:]])))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("state.bin", bytes.fromhex("ffffffff"), "state key of 4294967295 bytes"),
        ("state.bin", bytes.fromhex("00000001 02 00200000"), "state value of 2097152 bytes"),
        ("state.bin", bytes.fromhex("00000009 02"), "1 bytes left"),
        ("state.bin", bytes.fromhex("000000"), "3 bytes left"),
        ("governance.bin", bytes.fromhex("00010000"), "event of 65536 bytes"),
        ("governance.bin", bytes.fromhex("00000001 00 0400"), "leaf of 1024 bytes"),
        ("governance.bin", bytes.fromhex("00000001 00 0001 00 41"), "path of 65 hashes"),
        (RANGE_BLOCKS, bytes.fromhex("00400001"), "block of 4194305 bytes"),
        (RANGE_BLOCKS, bytes.fromhex("00000001 00 02800001"), "results of 41943041 bytes"),
        ("start.bin", bytes(7), "7 bytes left"),
        ("start.bin", bytes(8) + bytes.fromhex("0000 00 00"), "bytes more than its content"),
    ],
)
def test_lengths_beyond_their_bound_are_refused(name: str, content: bytes, message: str) -> None:
    with pytest.raises(MalformedError, match=message):
        read_all(with_member(RANGE, name, content))


def test_a_block_too_many_in_a_file_is_refused() -> None:
    pairs = pairs_of(members_of(RANGE)[RANGE_BLOCKS])

    with pytest.raises(MalformedError, match="more than its content"):
        read_all(with_member(RANGE, RANGE_BLOCKS, joined([*pairs, pairs[-1]])))


@given(at=st.integers(0, len(RANGE) - 1), flip=st.integers(1, 255))
def test_a_reader_meets_any_changed_byte_without_another_error(at: int, flip: int) -> None:
    changed = bytearray(RANGE)
    changed[at] ^= flip
    with suppress(ProtocolError):
        read_all(bytes(changed))


@given(raw=st.binary(max_size=2_000))
def test_a_reader_meets_any_bytes_without_another_error(raw: bytes) -> None:
    for name in ("manifest.json", "start.bin", "governance.bin", "state.bin", RANGE_BLOCKS):
        with suppress(ProtocolError):
            read_all(with_member(RANGE, name, raw))
