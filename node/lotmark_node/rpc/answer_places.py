"""Where an answer stands, and where it goes on."""

import hashlib
import struct
from dataclasses import dataclass

from google.protobuf.message import Message

from lotmark.errors import MalformedError
from lotmark.v1 import provenance_pb2
from lotmark_node.state_machine.ledger_state import LedgerState

_RESUME = struct.Struct(">B8sQQQQ")
_VERSION = 1
# What may be another in the question that goes on.
_NOT_THE_QUESTION = ("resume", "nodes_max", "events_max", "items_max")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerPlace:
    """The size of the log that an answer is made at, and how much of it was told before."""

    size: int
    height: int
    time_ms: int
    told: int = 0  # an entry or a count: who asks to go on there says which

    def head(self, item: str) -> provenance_pb2.AnswerHead:
        """Return it on the wire."""
        return provenance_pb2.AnswerHead(
            item=item, height=self.height, size=self.size, time_ms=self.time_ms
        )

    def resume(self, question: Message, *, told: int) -> bytes:
        """Return what a caller goes on with who asks the same question."""
        return _RESUME.pack(_VERSION, _digest(question), self.size, self.height, self.time_ms, told)


def place_now(state: LedgerState) -> AnswerPlace:
    """Return the place of a new answer."""
    head = state.bases[-1]
    return AnswerPlace(size=head.size, height=head.height, time_ms=state.time_ms)


def place_of(state: LedgerState, question: Message, resume: bytes) -> AnswerPlace:
    """Return the place of an answer, a new one where there is nothing to go on with.

    Raises:
        MalformedError: What to go on with is of another question, or of a ledger that this node
            has not reached.
    """
    now = place_now(state)
    if not resume:
        return now
    if len(resume) != _RESUME.size or resume[0] != _VERSION:
        raise MalformedError(
            f"resume has {len(resume)} bytes of no kind that this node gives; begin anew"
        )
    _, digest, size, height, time_ms, told = _RESUME.unpack(resume)
    if digest != _digest(question):
        raise MalformedError("resume is of another question; ask the same one, or begin anew")
    if size > now.size:
        raise MalformedError(
            f"resume is of {size} entries, this node has {now.size}; ask the node that gave it, or"
            " begin anew"
        )
    return AnswerPlace(size=size, height=height, time_ms=time_ms, told=told)


def _digest(question: Message) -> bytes:
    """Return by what the same question is known again."""
    same = type(question)()
    same.CopyFrom(question)
    for name in _NOT_THE_QUESTION:
        if name in same.DESCRIPTOR.fields_by_name:
            same.ClearField(name)
    kind = question.DESCRIPTOR.full_name.encode()
    return hashlib.sha256(kind + same.SerializeToString(deterministic=True)).digest()[:8]
