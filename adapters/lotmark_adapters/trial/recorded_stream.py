"""A multipart stream in memory, parsed and accounted as one from an agent is: for measurements."""

from dataclasses import dataclass

from lotmark_adapters.mtconnect.accounting import Scope, account
from lotmark_adapters.mtconnect.documents import read_streams
from lotmark_adapters.mtconnect.multipart import MultipartReader
from lotmark_adapters.observation import Position
from lotmark_adapters.trial.agent import Agent, part

READ_SIZE = 65_536  # bytes that come at once
DOCUMENT_SIZE_MAX = 8_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounted:
    """What became of a stream."""

    observations: int
    missing: int
    position: Position


def record_stream(observations: int, *, document_count: int = 1_000) -> bytes:
    """Return the stream in which an agent tells so many observations of a press."""
    agent = Agent(buffer_size=observations)
    while agent.next_sequence <= observations:
        sequence = agent.next_sequence
        agent.observe("z_position", f"{sequence / 1_000:.3f}")
        agent.observe("z_load", str(sequence % 101))
    parts = []
    since: int = agent.first_sequence
    while since < agent.next_sequence:
        document, since = agent.answer(since, document_count)
        parts.append(part(document))
    return b"".join(parts)


def account_stream(stream: bytes) -> Accounted:
    """Parse a stream as it would come from the network, and account for each observation."""
    reader = MultipartReader(DOCUMENT_SIZE_MAX, "recorded stream")
    scope = Scope(is_whole_agent=True)
    position: Position | None = None
    observations = missing = 0
    for at in range(0, len(stream), READ_SIZE):
        for document in reader.feed(stream[at : at + READ_SIZE]):
            streams = read_streams(document, "recorded stream")
            position = position or Position(
                instance=streams.header.instance, next_sequence=streams.header.first
            )
            report = account(streams, position, scope)
            observations += len(report.observations)
            missing += sum(gap.count or 0 for gap in report.gaps)
            position = report.position
    assert position is not None, "a recorded stream has documents"
    return Accounted(observations=observations, missing=missing, position=position)
