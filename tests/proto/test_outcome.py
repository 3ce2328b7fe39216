"""The closed table of outcomes is complete, and its numbers mean what their ranges say."""

import grpc
import pytest

from lotmark.outcome import CONSUMES_NUMBER_FROM, MEANINGS, Outcome, describe


def test_every_outcome_has_one_meaning_and_no_meaning_is_left_over() -> None:
    assert list(MEANINGS) == list(Outcome)


@pytest.mark.parametrize("outcome", Outcome, ids=lambda outcome: outcome.name)
def test_each_meaning_names_a_grpc_status_and_reads_as_one_line(outcome: Outcome) -> None:
    meaning = MEANINGS[outcome]

    assert (meaning.status == "OK") == (outcome == Outcome.ACCEPTED)
    assert meaning.status in grpc.StatusCode.__members__
    assert meaning.status not in {"UNKNOWN", "INTERNAL", "UNIMPLEMENTED", "CANCELLED"}
    assert meaning.text
    assert meaning.remedy
    line = describe(outcome)
    assert line.startswith(f"{outcome.name}: ")
    assert line.endswith(".")
    assert not line.endswith("..")
    assert "\n" not in line


def test_codes_of_batches_events_and_admission_do_not_overlap() -> None:
    of_batches = [outcome for outcome in Outcome if 1 <= outcome < 100]
    of_events = [outcome for outcome in Outcome if 100 <= outcome < 200]
    of_admission = [outcome for outcome in Outcome if outcome >= 200]

    assert 1 + len(of_batches) + len(of_events) + len(of_admission) == len(Outcome)
    assert max(Outcome) < 2**16, "an outcome is a u16 on the log"
    assert CONSUMES_NUMBER_FROM in of_batches
    assert Outcome.BATCH_DUPLICATE < CONSUMES_NUMBER_FROM <= Outcome.PREVIOUS_MISMATCH
