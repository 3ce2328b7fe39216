"""Whether a model still gives the scores that it gave at first, by the ledger's results alone."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lotmark.client.session import LedgerSession
from lotmark_inference.drift import DriftFinding, Reference, chart_findings
from lotmark_inference.errors import InputRefused
from lotmark_node.inference_ledger import INFERENCE, AcceptedEvent, accepted_events

SAMPLE_COUNT_MIN = 100
SAMPLE_COUNT_MAX = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreDrift:
    """What became of a model's scores at a station."""

    model: str
    station: str
    reference_count: int  # results
    sample_count: int
    findings: Mapping[int, tuple[DriftFinding, ...]]  # by the label's place in the manifest

    @property
    def is_drifted(self) -> bool:
        """Whether any measure of any label is beyond its limit."""
        return any(each.is_drifted for found in self.findings.values() for each in found)


def read_drift(
    session: LedgerSession, *, model: str, station: str, parties: Sequence[str], count: int
) -> ScoreDrift:
    """Return how the newest results differ from the first ones since the last promotion.

    Args:
        session: With a node.
        model: Name and version.
        station: The device of its results.
        parties: Whose events count.
        count: Results to compare, of each end; 100 to 100,000.

    Raises:
        InputRefused: There are too few results.
    """
    since = 0
    for each in accepted_events(session, ("model_promoted",), parties=parties):
        body = each.event.model_promoted
        if (body.model, body.station) == (model, station):
            since = each.index
    results = accepted_events(session, (INFERENCE,), from_index=since, parties=parties)
    return drift_of(results, model=model, station=station, count=count)


def drift_of(
    events: Iterable[AcceptedEvent], *, model: str, station: str, count: int
) -> ScoreDrift:
    """Return how the newest of some results differ from the first.

    Args:
        events: Results in the order of the log.
        model: Name and version.
        station: The device of its results.
        count: Results to compare, of each end.

    Raises:
        InputRefused: There are too few results, or they have different numbers of scores.
    """
    assert SAMPLE_COUNT_MIN <= count <= SAMPLE_COUNT_MAX, f"{count} results are no sample"
    first: list[Sequence[int]] = []
    newest: deque[Sequence[int]] = deque(maxlen=count)
    for each in events:
        result = each.event.inference_result
        if (result.model, each.event.device) != (model, station) or not result.scores:
            continue
        if len(first) < count:
            first.append(result.scores)
        else:
            newest.append(result.scores)
    if len(newest) < SAMPLE_COUNT_MIN:
        raise InputRefused(
            f"{model} has {len(first) + len(newest)} results at {station}; to compare,"
            f" {count + SAMPLE_COUNT_MIN} are needed: wait, or lower --count"
        )
    if len({len(scores) for scores in (*first, *newest)}) != 1:
        raise InputRefused(f"{model} has results with different numbers of scores at {station}")
    before, now = (np.array(each, dtype=np.int64) for each in (first, list(newest)))
    return ScoreDrift(
        model=model,
        station=station,
        reference_count=len(first),
        sample_count=len(newest),
        findings={
            place: _findings(before[:, place], now[:, place]) for place in range(before.shape[1])
        },
    )


def _findings(before: NDArray[np.int64], now: NDArray[np.int64]) -> tuple[DriftFinding, ...]:
    reference, sample = Reference.of(before.astype(np.float64)), now.astype(np.float64)
    return (reference.psi(sample), reference.ks(sample), *chart_findings(before, now))
