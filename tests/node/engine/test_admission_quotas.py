"""Quotas: whatever a party has used up, admission says so before the log has to, as a class."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from lotmark.outcome import Outcome
from tests.node.engine.running_engine import NODE, Clock, put, run, running_engine, submit
from tests.node.ledger_in_memory import (
    LedgerInMemory,
    consortium,
    measurement,
    measurements,
    transformation,
)
from tests.node.operator_events import registered
from tests.node.state_machine.reading import batch_outcomes
from tests.proto.sample_genesis import CREATED_MS

ERP, LAB = "OEM-A/erp", "LAB-17025/lims"
SIZE = len(LedgerInMemory().batch(ERP, measurements(0, 4)).raw)

# Parameter -> how much of it leaves room for the first of two batches, and not for the second.
QUOTAS = {
    "quota_events": 7,
    "quota_bytes": SIZE + SIZE // 2,
    "quota_signatures": 1,
    "quota_state_keys": 3,
}


async def used_up(
    folder: Path, quota: dict[str, int], first: Sequence[bytes], second: Sequence[bytes]
) -> None:
    """Put one batch, and see the next one refused, here and on the log; others go on."""
    genesis = consortium(voters=(NODE,), witnesses=(), **quota)
    made, applied, clock = LedgerInMemory(genesis), LedgerInMemory(genesis), Clock()
    sent = [made.batch(ERP, first), made.batch(ERP, second)]
    outcomes = [batch_outcomes(applied.block([batch], time_ms=CREATED_MS)) for batch in sent]
    assert outcomes == [[Outcome.ACCEPTED], [Outcome.QUOTA_EXCEEDED]]
    async with running_engine(folder, genesis=genesis, clock=clock) as engine:
        await put(engine, sent[0])
        assert submit(engine, sent[1]).reason == Outcome.QUOTA_EXCEEDED
        await put(engine, made.batch(LAB, [measurement(90)]))
        clock.now_ms = CREATED_MS + 61_000
        (placed,) = await put(engine, sent[1])
        assert placed.result.outcome == Outcome.ACCEPTED


@pytest.mark.parametrize("parameter", QUOTAS)
def test_admission_refuses_what_the_log_would(tmp_path: Path, parameter: str) -> None:
    first, second = measurements(0, 4), measurements(4, 4)
    if parameter == "quota_state_keys":  # measurements leave no rows of their own
        first, second = (
            [*each[:3], transformation(f"p{at}", ["a", "b"], ["c"])]
            for at, each in enumerate((first, second))
        )
    run(used_up(tmp_path, {parameter: QUOTAS[parameter]}, first, second))


def test_checks_of_operators_use_up_the_signatures_at_admission_too(tmp_path: Path) -> None:
    genesis = consortium(voters=(NODE,), witnesses=(), quota_signatures=2)
    first = [registered(LedgerInMemory(genesis))]

    run(used_up(tmp_path, {"quota_signatures": 2}, first, measurements(4, 1)))
