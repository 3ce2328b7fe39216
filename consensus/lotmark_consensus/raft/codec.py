"""Frames between voters as bytes: what does not follow the rules is refused before anyone acts.

The sender is what mTLS proved, never a field. A frame has one encoding: any other bytes for the
same content are refused, so that no field unknown here can ride along.
"""

from collections.abc import Callable, Mapping

from google.protobuf.message import DecodeError

from lotmark.errors import MalformedError
from lotmark.key_grant import check_node, check_party
from lotmark.v1 import raft_pb2
from lotmark_consensus.errors import FrameRefused
from lotmark_consensus.ordering import BLOCK_SIZE_MAX, CHAIN_ID_SIZE
from lotmark_consensus.raft.log_entry import EntryKind, LogEntry, encode_command

FRAME_VERSION = 1
FRAME_SIZE_MAX = 12 << 20
FRAME_ENTRIES_MAX = 256
MEMBERSHIPS_MAX = 1024  # that ever changed the voters
NUMBER_END = 2**62  # terms and indexes stay below: nobody can make them run over

_KIND_OF = {
    EntryKind.BLOCK: raft_pb2.RAFT_ENTRY_KIND_BLOCK,
    EntryKind.NO_OP: raft_pb2.RAFT_ENTRY_KIND_NO_OP,
    EntryKind.MEMBERSHIP: raft_pb2.RAFT_ENTRY_KIND_MEMBERSHIP,
}
_KIND_AS = {sent: kind for kind, sent in _KIND_OF.items()}


def new_frame(chain_id: bytes, term: int) -> raft_pb2.RaftFrame:
    """Return a frame without a body."""
    assert len(chain_id) == CHAIN_ID_SIZE, chain_id
    return raft_pb2.RaftFrame(version=FRAME_VERSION, chain_id=chain_id, term=term)


def new_entry(entry: LogEntry, term: int) -> raft_pb2.RaftEntry:
    """Return an entry as a frame carries it."""
    return raft_pb2.RaftEntry(
        term=term, kind=_KIND_OF[entry.kind], time_ms=entry.time_ms, payload=entry.payload
    )


def entry_command(entry: raft_pb2.RaftEntry) -> bytes:
    """Return the command of an entry from a frame that was decoded here."""
    return encode_command(LogEntry(_KIND_AS[entry.kind], entry.time_ms, entry.payload))


def encode_frame(frame: raft_pb2.RaftFrame) -> bytes:
    """Return a frame's bytes, the only ones that `decode_frame` takes for it."""
    return frame.SerializeToString(deterministic=True)


def decode_frame(raw: bytes, *, chain_id: bytes) -> raft_pb2.RaftFrame:
    """Return what a peer's bytes say, checked as far as a frame can be without any log.

    Raises:
        FrameRefused: Nothing of it may be acted upon.
    """
    if len(raw) > FRAME_SIZE_MAX:
        raise FrameRefused(f"a frame of {len(raw)} bytes; at most {FRAME_SIZE_MAX} are taken")
    try:
        frame = raft_pb2.RaftFrame.FromString(raw)
    except DecodeError as error:
        raise FrameRefused(f"{len(raw)} bytes are no frame: {error}") from error
    if frame.version != FRAME_VERSION:
        raise FrameRefused(
            f"frame version {frame.version}, this node speaks {FRAME_VERSION}: run one release"
        )
    if frame.chain_id != chain_id:
        raise FrameRefused(
            f"a frame of chain {frame.chain_id[:CHAIN_ID_SIZE].hex()}, not {chain_id.hex()}"
        )
    frame.DiscardUnknownFields()
    if encode_frame(frame) != raw:
        raise FrameRefused("a frame with unknown fields, or not in its one encoding")
    _check_number("term", frame.term)
    kind = frame.WhichOneof("body")
    if kind is None:
        raise FrameRefused("a frame without a body")
    _CHECKS[kind](frame)
    return frame


def _check_number(what: str, number: int, *, least: int = 0, most: int = NUMBER_END - 1) -> None:
    if not least <= number <= most:
        raise FrameRefused(f"{what} is {number}, outside {least} to {most}")


def _check_vote_request(frame: raft_pb2.RaftFrame) -> None:
    body = frame.vote_request
    _check_number("last index", body.last_index)
    _check_number("last term", body.last_term, most=frame.term)
    if not body.pre_vote_term:
        _check_number("term of a vote", frame.term, least=1)
        return
    _check_number("PreVote's term", body.pre_vote_term, least=frame.term + 1)
    if body.transfer:
        raise FrameRefused("a PreVote for a transfer; a transfer asks for the vote at once")


def _check_vote_response(frame: raft_pb2.RaftFrame) -> None:
    _check_number("PreVote's term", frame.vote_response.pre_vote_term)
    if not frame.vote_response.pre_vote_term:
        _check_number("term of a vote", frame.term, least=1)


def _check_append_request(frame: raft_pb2.RaftFrame) -> None:
    body = frame.append_request
    _check_number("a leader's term", frame.term, least=1)
    count = len(body.entries)
    if count > FRAME_ENTRIES_MAX:
        raise FrameRefused(f"{count} entries in one frame; at most {FRAME_ENTRIES_MAX} are taken")
    _check_number("previous index", body.previous_index, most=NUMBER_END - 1 - count)
    _check_number("commit index", body.commit_index)
    _check_number("previous term", body.previous_term, most=frame.term)
    term = body.previous_term
    for entry in body.entries:
        _check_number("an entry's term", entry.term, least=term, most=frame.term)
        term = entry.term
        _check_entry(entry)


def _check_entry(entry: raft_pb2.RaftEntry) -> None:
    kind = _KIND_AS.get(entry.kind)
    if kind is None:
        raise FrameRefused(f"an entry of kind {entry.kind}, which this node does not know")
    if kind is EntryKind.BLOCK:
        if len(entry.payload) > BLOCK_SIZE_MAX:
            raise FrameRefused(
                f"a block of {len(entry.payload)} bytes; at most {BLOCK_SIZE_MAX} are ordered"
            )
        return
    if entry.time_ms:
        raise FrameRefused(f"a {kind.name} entry with a time, which only blocks have")
    if kind is EntryKind.NO_OP:
        if entry.payload:
            raise FrameRefused(f"a NO_OP entry with {len(entry.payload)} bytes; it has none")
        return
    check_membership(entry.payload)


def check_membership(payload: bytes) -> None:
    """Check the payload of a membership entry: "+" or "-", then "PARTY/node".

    Raises:
        FrameRefused: It is not one.
    """
    party, slash, node = payload[1:].decode("ascii", "replace").partition("/")
    try:
        if payload[:1] not in (b"+", b"-") or not slash:
            raise MalformedError("it is to be + or - and then PARTY/node")
        check_party(party)
        check_node(node)
    except MalformedError as error:
        raise FrameRefused(f"membership entry {payload[:80]!r}: {error}") from error


def _check_append_response(frame: raft_pb2.RaftFrame) -> None:
    _check_number("next index", frame.append_response.next_index, least=1)


def _check_snapshot_pointer(frame: raft_pb2.RaftFrame) -> None:
    _check_number("a leader's term", frame.term, least=1)
    _check_number("index", frame.snapshot_pointer.index, least=1)
    _check_number("the entry's term", frame.snapshot_pointer.entry_term, most=frame.term)
    memberships = frame.snapshot_pointer.changes
    if len(memberships) > MEMBERSHIPS_MAX:
        raise FrameRefused(
            f"{len(memberships)} changes of the voters; at most {MEMBERSHIPS_MAX} are taken"
        )
    least = 1
    for change in memberships:
        index = frame.snapshot_pointer.index
        _check_number("index of a change of the voters", change.index, least=least, most=index)
        least = change.index + 1
        check_membership(change.payload)


def _check_leader_term(frame: raft_pb2.RaftFrame) -> None:
    _check_number("a leader's term", frame.term, least=1)


def _check_time_refusal(frame: raft_pb2.RaftFrame) -> None:
    _check_number("index", frame.time_refusal.index, least=1)


def _check_nothing(_: raft_pb2.RaftFrame) -> None:
    """A term notice says nothing but its term."""


_CHECKS: Mapping[str, Callable[[raft_pb2.RaftFrame], None]] = {
    "vote_request": _check_vote_request,
    "vote_response": _check_vote_response,
    "append_request": _check_append_request,
    "append_response": _check_append_response,
    "snapshot_pointer": _check_snapshot_pointer,
    "term_notice": _check_nothing,
    "timeout_now": _check_leader_term,
    "time_refusal": _check_time_refusal,
}
