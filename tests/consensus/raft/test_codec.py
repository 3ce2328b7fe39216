"""What a frame between voters looks like, byte for byte, and what is refused."""

from collections.abc import Callable

import pytest
from google.protobuf import text_format
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from lotmark.v1 import raft_pb2
from lotmark_consensus.errors import FrameRefused
from lotmark_consensus.ordering import BLOCK_SIZE_MAX
from lotmark_consensus.raft.codec import (
    FRAME_ENTRIES_MAX,
    FRAME_SIZE_MAX,
    check_membership,
    decode_frame,
    encode_frame,
    entry_command,
    new_entry,
    new_frame,
)
from lotmark_consensus.raft.log_entry import EntryKind, LogEntry, decode_command, encode_command

CHAIN_ID = bytes(range(32))
HEAD = "0801 1220000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f 1807"
UNKNOWN = bytes.fromhex("f83f01")  # field 1023, varint 1

BLOCK = LogEntry(EntryKind.BLOCK, 1000, b"alpha")
NO_OP = LogEntry(EntryKind.NO_OP, 0, b"")
JOINS = LogEntry(EntryKind.MEMBERSHIP, 0, b"+ACME/node-1")

Fill = Callable[[raft_pb2.RaftFrame], object]


def frame_of(fill: Fill, *, term: int = 7) -> raft_pb2.RaftFrame:
    frame = new_frame(CHAIN_ID, term)
    fill(frame)
    return frame


def vote_request(frame: raft_pb2.RaftFrame) -> None:
    frame.vote_request.last_index = 300
    frame.vote_request.last_term = 6
    frame.vote_request.transfer = True


def pre_vote_request(frame: raft_pb2.RaftFrame) -> None:
    frame.vote_request.last_index = 300
    frame.vote_request.last_term = 6
    frame.vote_request.pre_vote_term = 8


def vote_response(frame: raft_pb2.RaftFrame) -> None:
    frame.vote_response.SetInParent()


def pre_vote_response(frame: raft_pb2.RaftFrame) -> None:
    frame.vote_response.pre_vote_term = 8


def append_request(frame: raft_pb2.RaftFrame) -> None:
    body = frame.append_request
    body.previous_index = 2**40
    body.previous_term = 5
    body.commit_index = 2**40 - 1
    body.entries.extend([new_entry(NO_OP, 6), new_entry(BLOCK, 6), new_entry(JOINS, 7)])


def append_response(frame: raft_pb2.RaftFrame) -> None:
    frame.append_response.next_index = 2**61
    frame.append_response.success = True


def snapshot_pointer(frame: raft_pb2.RaftFrame) -> None:
    frame.snapshot_pointer.index = 99
    frame.snapshot_pointer.entry_term = 3


def snapshot_pointer_with_changes(frame: raft_pb2.RaftFrame) -> None:
    snapshot_pointer(frame)
    frame.snapshot_pointer.changes.add(index=40, payload=b"+ACME/node-1")
    frame.snapshot_pointer.changes.add(index=41, payload=b"-ACME/node-1")


def term_notice(frame: raft_pb2.RaftFrame) -> None:
    frame.term_notice.SetInParent()


def timeout_now(frame: raft_pb2.RaftFrame) -> None:
    frame.timeout_now.SetInParent()


def time_refusal(frame: raft_pb2.RaftFrame) -> None:
    frame.time_refusal.index = 4


GOLDEN: list[tuple[Fill, str]] = [
    (vote_request, "52 07 08ac02 1006 2001"),
    (pre_vote_request, "52 07 08ac02 1006 1808"),
    (vote_response, "5a 00"),
    (pre_vote_response, "5a 02 0808"),
    (
        append_request,
        "62 3a 08808080808020 1005 18ffffffffff1f 2204 0806 1002"
        "220e 0806 1001 18e807 2205616c706861 2212 0807 1003 220c2b41434d452f6e6f64652d31",
    ),
    (append_response, "6a 0c 08808080808080808020 1001"),
    (snapshot_pointer, "72 04 0863 1003"),
    (
        snapshot_pointer_with_changes,
        "72 28 0863 1003 1a10 0828 120c2b41434d452f6e6f64652d31"
        "1a10 0829 120c2d41434d452f6e6f64652d31",
    ),
    (term_notice, "7a 00"),
    (timeout_now, "8201 00"),
    (time_refusal, "8a01 02 0804"),
]


def decoded(raw: bytes) -> raft_pb2.RaftFrame:
    return decode_frame(raw, chain_id=CHAIN_ID)


def test_every_kind_of_frame_has_a_golden_one() -> None:
    kinds = {frame_of(fill).WhichOneof("body") for fill, _ in GOLDEN}

    assert kinds == {field.name for field in raft_pb2.RaftFrame.DESCRIPTOR.oneofs[0].fields}


@pytest.mark.parametrize(("fill", "body"), GOLDEN, ids=lambda value: getattr(value, "__name__", ""))
def test_a_frame_is_written_and_read_as_its_golden_bytes(fill: Fill, body: str) -> None:
    golden = bytes.fromhex(HEAD + body)

    assert encode_frame(frame_of(fill)) == golden
    assert decoded(golden) == frame_of(fill)


def test_an_entry_comes_out_of_a_frame_as_the_command_that_went_in() -> None:
    for entry in (BLOCK, NO_OP, JOINS, LogEntry(EntryKind.BLOCK, 2**64 - 1, b"")):
        command = encode_command(entry)

        assert entry_command(new_entry(decode_command(command), 3)) == command


# What no voter sends: each leaves one rule.
WRONG = [
    ("frame version 2", "version: 2 term_notice {}"),
    ("a frame of chain 6162, not 0001", 'chain_id: "ab" term_notice {}'),
    ("term is 4611686018427387904", "term: 4611686018427387904 term_notice {}"),
    ("without a body", ""),
    ("last term is 8, outside 0 to 7", "vote_request { last_term: 8 }"),
    ("last index is", "vote_request { last_index: 4611686018427387904 }"),
    ("PreVote's term is 7, outside 8", "vote_request { pre_vote_term: 7 }"),
    ("PreVote's term is", "vote_request { pre_vote_term: 4611686018427387904 }"),
    ("PreVote for a transfer", "vote_request { pre_vote_term: 8 transfer: true }"),
    ("term of a vote is 0", "term: 0 vote_request {}"),
    ("PreVote's term is", "vote_response { pre_vote_term: 4611686018427387904 }"),
    ("term of a vote is 0", "term: 0 vote_response {}"),
    ("leader's term is 0", "term: 0 append_request {}"),
    ("previous index is", "append_request { previous_index: 4611686018427387904 }"),
    (
        "previous index is",
        "append_request { previous_index: 4611686018427387903 entries { term: 7 kind: 2 } }",
    ),
    ("previous term is 8", "append_request { previous_term: 8 }"),
    ("commit index is", "append_request { commit_index: 4611686018427387904 }"),
    ("entry's term is 8, outside 0 to 7", "append_request { entries { term: 8 kind: 2 } }"),
    (
        "entry's term is 4, outside 5 to 7",
        "append_request { previous_term: 5 entries { term: 4 kind: 2 } }",
    ),
    (
        "entry's term is 6, outside 7 to 7",
        "append_request { entries { term: 7 kind: 2 } entries { term: 6 kind: 2 } }",
    ),
    ("kind 0", "append_request { entries { term: 7 } }"),
    ("kind 4", "append_request { entries { term: 7 kind: 4 } }"),
    ("kind -1", "append_request { entries { term: 7 kind: -1 } }"),
    ("NO_OP entry with a time", "append_request { entries { term: 7 kind: 2 time_ms: 1 } }"),
    ("NO_OP entry with 1 bytes", 'append_request { entries { term: 7 kind: 2 payload: "x" } }'),
    (
        "MEMBERSHIP entry with a time",
        'append_request { entries { term: 7 kind: 3 time_ms: 1 payload: "+ACME/a" } }',
    ),
    ("membership entry", 'append_request { entries { term: 7 kind: 3 payload: "ACME/a" } }'),
    ("257 entries in one frame", f"append_request {{ {'entries { term: 7 kind: 2 }' * 257} }}"),
    ("next index is 0", "append_response { success: true }"),
    ("next index is", "append_response { next_index: 4611686018427387904 }"),
    ("leader's term is 0", "term: 0 snapshot_pointer { index: 1 }"),
    ("index is 0", "snapshot_pointer {}"),
    ("index is", "snapshot_pointer { index: 4611686018427387904 }"),
    ("entry's term is 8", "snapshot_pointer { index: 1 entry_term: 8 }"),
    (
        "index of a change of the voters is 0",
        'snapshot_pointer { index: 9 changes { payload: "+ACME/a" } }',
    ),
    (
        "index of a change of the voters is 10, outside 1 to 9",
        'snapshot_pointer { index: 9 changes { index: 10 payload: "+ACME/a" } }',
    ),
    (
        "index of a change of the voters is 4, outside 5 to 9",
        "snapshot_pointer { index: 9"
        ' changes { index: 4 payload: "+ACME/a" } changes { index: 4 payload: "-ACME/a" } }',
    ),
    (
        "membership entry",
        'snapshot_pointer { index: 9 changes { index: 4 payload: "+ACME" } }',
    ),
    (
        "1025 changes of the voters; at most 1024",
        f"snapshot_pointer {{ index: 9 {'changes { index: 1 }' * 1025} }}",
    ),
    ("leader's term is 0", "term: 0 timeout_now {}"),
    ("index is 0", "time_refusal {}"),
    ("index is", "time_refusal { index: 4611686018427387904 }"),
]


@pytest.mark.parametrize(("reason", "content"), WRONG)
def test_a_frame_that_leaves_a_rule_is_refused_and_the_rule_is_named(
    reason: str, content: str
) -> None:
    frame = text_format.Merge(content, new_frame(CHAIN_ID, 7))

    with pytest.raises(FrameRefused, match=reason):
        decoded(encode_frame(frame))


def request_of(*entries: LogEntry) -> raft_pb2.RaftFrame:
    frame = new_frame(CHAIN_ID, 7)
    frame.append_request.entries.extend(new_entry(entry, 7) for entry in entries)
    return frame


def test_a_block_above_the_bound_is_refused() -> None:
    with pytest.raises(FrameRefused, match="a block of 8388609 bytes; at most 8388608"):
        decoded(encode_frame(request_of(LogEntry(EntryKind.BLOCK, 1, bytes(BLOCK_SIZE_MAX + 1)))))


def test_the_largest_block_and_the_longest_request_are_taken() -> None:
    for frame in (
        request_of(LogEntry(EntryKind.BLOCK, 1, bytes(BLOCK_SIZE_MAX))),
        request_of(*[NO_OP] * FRAME_ENTRIES_MAX),
    ):
        assert decoded(encode_frame(frame)) == frame


def test_a_frame_above_the_bound_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(FrameRefused, match="at most 12582912"):
        decoded(bytes(FRAME_SIZE_MAX + 1))


NO_MEMBERSHIPS = [b"", b"+", b"-", b"ACME/a", b"*ACME/a", b"+ACME", b"+/a", b"+ACME/", b"+acme/a"]
NO_MEMBERSHIPS += [b"+ACME/A", b"+ACME/a/b", b"+ACME/a\n", b"+\xc3\x84/a", b"+ACME/\xff"]
NO_MEMBERSHIPS += [b"+" + b"A" * 32 + b"/a", b"+A/" + b"a" * 32]


@pytest.mark.parametrize("payload", NO_MEMBERSHIPS)
def test_a_membership_that_names_no_voter_is_refused(payload: bytes) -> None:
    with pytest.raises(FrameRefused, match="membership entry"):
        check_membership(payload)


WITHIN: list[tuple[Fill, Callable[[raft_pb2.RaftFrame], Message]]] = [
    (append_request, lambda frame: frame),
    (append_request, lambda frame: frame.append_request),
    (append_request, lambda frame: frame.append_request.entries[1]),
    (snapshot_pointer_with_changes, lambda frame: frame.snapshot_pointer.changes[0]),
    (term_notice, lambda frame: frame.term_notice),
]


@pytest.mark.parametrize(("fill", "part"), WITHIN)
def test_a_field_that_is_not_known_is_refused_however_deep_it_lies(
    fill: Fill, part: Callable[[raft_pb2.RaftFrame], Message]
) -> None:
    frame = frame_of(fill)
    part(frame).MergeFromString(UNKNOWN)
    raw = encode_frame(frame)

    assert UNKNOWN in raw
    with pytest.raises(FrameRefused, match="unknown fields"):
        decoded(raw)


@pytest.mark.parametrize("fill", [fill for fill, _ in GOLDEN])
def test_a_second_encoding_of_the_same_frame_is_refused(fill: Fill) -> None:
    raw = encode_frame(frame_of(fill))
    version, rest = raw[:2], raw[2:]
    for other in (
        rest + version,  # another order
        version + raw,  # a field twice
        b"\x08\x81\x00" + rest,  # a number longer than needed
        raw + b"\x18\x07",  # a field again behind all others
    ):
        assert raft_pb2.RaftFrame.FromString(other) == frame_of(fill)
        with pytest.raises(FrameRefused, match="one encoding"):
            decoded(other)


EDITS = st.lists(
    st.one_of(
        st.tuples(st.just("flip"), st.integers(0, 2**16), st.integers(1, 255)),
        st.tuples(st.just("insert"), st.integers(0, 2**16), st.integers(0, 255)),
        st.tuples(st.just("delete"), st.integers(0, 2**16), st.integers(1, 8)),
        st.tuples(st.just("cut"), st.integers(0, 2**16), st.just(0)),
    ),
    min_size=1,
    max_size=6,
)


def edited(raw: bytes, edits: list[tuple[str, int, int]]) -> bytes:
    out = bytearray(raw)
    for edit, place, value in edits:
        at = place % (len(out) + 1)
        if edit == "flip" and at < len(out):
            out[at] ^= value
        elif edit == "insert":
            out.insert(at, value)
        elif edit == "delete":
            del out[at : at + value]
        elif edit == "cut":
            del out[at:]
    return bytes(out)


@given(golden=st.sampled_from(GOLDEN), edits=EDITS)
def test_a_mutated_frame_is_refused_or_is_the_one_encoding_of_what_it_says(
    golden: tuple[Fill, str], edits: list[tuple[str, int, int]]
) -> None:
    raw = edited(encode_frame(frame_of(golden[0])), edits)

    try:
        frame = decoded(raw)
    except FrameRefused:
        return
    assert encode_frame(frame) == raw
    assert frame.chain_id == CHAIN_ID


@given(raw=st.binary(max_size=200), behind_head=st.booleans())
def test_arbitrary_bytes_are_refused_or_are_the_one_encoding_of_what_they_say(
    raw: bytes, behind_head: bool
) -> None:
    raw = bytes.fromhex(HEAD) + raw if behind_head else raw

    try:
        frame = decoded(raw)
    except FrameRefused:
        return
    assert encode_frame(frame) == raw
