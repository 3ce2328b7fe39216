"""The story of a run, a line for each thing that happened, for a person to read."""

from lotmark.v1 import raft_pb2
from tests.simulation.world import World

PARTY = "P/"  # of every voter in every simulation; a story does not name it
_KIND_NAMES = {1: "block", 2: "no-op", 3: "membership"}


class Trace:
    """Collects lines where somebody wants them.

    Attributes:
        on: Whether it does; ask before composing a long line.
        lines: What was said so far.
    """

    def __init__(self, world: World, *, on: bool) -> None:
        self.on = on
        self.lines: list[str] = []
        self._world = world

    def say(self, who: str, what: str) -> None:
        """Add a line."""
        if self.on:
            line = f"{self._world.elapsed_s:9.4f} s  {who.removeprefix(PARTY):<9} {what}"
            self.lines.append(line.replace(PARTY, ""))


def describe(frame: bytes) -> str:
    """Return a frame in words."""
    message = raft_pb2.RaftFrame.FromString(frame)
    kind = message.WhichOneof("body")
    match kind:
        case "vote_request":
            text = _vote_request(message.vote_request)
        case "vote_response":
            pre_vote_term = message.vote_response.pre_vote_term
            text = f"would vote in term {pre_vote_term}" if pre_vote_term else "votes"
        case "append_request":
            text = _append_request(message.append_request)
        case "append_response":
            response = message.append_response
            verb = "holds all below" if response.success else "wants to be sent from"
            text = f"{verb} {response.next_index}"
        case "snapshot_pointer":
            pointer = message.snapshot_pointer
            text = f"fetch the blocks up to {pointer.index} (term {pointer.entry_term}) elsewhere"
        case "term_notice":
            text = "there is a newer term"
        case "timeout_now":
            text = "campaign at once"
        case "time_refusal":
            text = f"entry {message.time_refusal.index} is too far ahead of my clock"
        case _:
            text = "says nothing"
    return f"[term {message.term}] {text}"


def _vote_request(request: raft_pb2.VoteRequest) -> str:
    log = f"my log ends with {request.last_index} (term {request.last_term})"
    if request.pre_vote_term:
        return f"would you vote for me in term {request.pre_vote_term}? {log}"
    return f"vote for me{', the leader asked for it' if request.transfer else ''}; {log}"


def _append_request(request: raft_pb2.AppendRequest) -> str:
    after = f"after {request.previous_index} (term {request.previous_term})"
    tail = f"committed {request.commit_index}"
    if not request.entries:
        return f"heartbeat {after}, {tail}"
    first = request.previous_index + 1
    entries = ", ".join(
        f"{first + place} {_KIND_NAMES.get(entry.kind, '?')} (term {entry.term})"
        for place, entry in enumerate(request.entries[:4])
    )
    more = f", ... {len(request.entries)} in all" if len(request.entries) > 4 else ""
    return f"append {after}: {entries}{more}, {tail}"
