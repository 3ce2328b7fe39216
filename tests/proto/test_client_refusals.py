"""Every answer that a node may give reaches the caller, or is cured without him; none loses."""

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lotmark.batch import BATCH_EVENTS_MAX, ZERO_HASH, Batch
from lotmark.client import (
    Client,
    ClientSettings,
    NotAcknowledgedYet,
    Outcome,
    SubmissionRefused,
    node_stream,
)
from lotmark.client.retry import CURES, Cure, cure_of
from lotmark.outcome import CONSUMES_NUMBER_FROM, MEANINGS, describe
from lotmark.v1 import quality_pb2
from lotmark.v1.event_pb2 import ITEM_ROLE_SUBJECT
from tests.node.ledger_in_memory import event, measurement
from tests.proto.scripted_node import Answer, ScriptedNode

NUMBERS = itertools.count()
WAIT_S = 20.0
GOOD = Answer()
OF_BATCHES = list(CURES)
ON_THE_LOG = [outcome for outcome in OF_BATCHES if outcome < 200]
OF_EVENTS = [outcome for outcome in Outcome if 100 <= outcome < 200]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedNode]:
    folder = tmp_path_factory.mktemp("scripted") / "consortium"
    node = ScriptedNode(folder)  # type: ignore[abstract]  # it answers only what senders ask
    with node.serving():
        yield node


@pytest.fixture
def node(served: ScriptedNode) -> ScriptedNode:
    served.received.clear()
    served.script = lambda batch: GOOD
    served.is_reading = True
    return served


@pytest.fixture
def settings(node: ScriptedNode, tmp_path: Path) -> ClientSettings:
    return replace(node.settings(), outbox_file=tmp_path / "outbox.db")


def once(answer: Answer) -> Callable[[object], Answer]:
    """Return a script that gives an answer to the first batch, and is good to all others."""
    answers = iter([answer])
    return lambda batch: next(answers, GOOD)


def new_event() -> bytes:
    return measurement(next(NUMBERS))


def large_event() -> bytes:
    number = next(NUMBERS)
    items = [(f"item-{number}-{at:0>100}", ITEM_ROLE_SUBJECT) for at in range(64)]
    body = quality_pb2.Measurement(
        feature="bore", value="1", unit="mm", verdict=quality_pb2.VERDICT_CONFORMING
    )
    return event(nonce=str(number), items=items, measurement=body)


def until(condition: Callable[[], object]) -> None:
    end_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end_s, "it never came about"
        time.sleep(0.01)  # another thread's state, which nothing announces


@pytest.mark.parametrize("outcome", OF_EVENTS, ids=lambda outcome: outcome.name)
def test_an_event_that_was_refused_raises_its_outcome_with_the_remedy(
    node: ScriptedNode, settings: ClientSettings, outcome: Outcome
) -> None:
    node.script = lambda batch: Answer(event_outcomes=[0, outcome])
    with Client(settings) as client:
        good, bad = client.submit_all([new_event(), new_event()])
        assert good.result(WAIT_S).outcome is Outcome.ACCEPTED
        if outcome is Outcome.EVENT_DUPLICATE:
            assert bad.result(WAIT_S).outcome is outcome
            return
        with pytest.raises(SubmissionRefused) as raised:
            bad.result(WAIT_S)
    assert raised.value.outcome is outcome
    assert str(raised.value) == describe(outcome)
    assert raised.value.result.index is not None


@pytest.mark.parametrize("outcome", OF_BATCHES, ids=lambda outcome: outcome.name)
def test_a_batch_that_was_not_taken_is_cured_or_its_caller_hears_why_and_nothing_is_lost(
    node: ScriptedNode, settings: ClientSettings, outcome: Outcome
) -> None:
    node.script = once(Answer(admission=outcome))
    check_cured(node, settings, outcome, cure_of(outcome, number_used=False))


@pytest.mark.parametrize("outcome", ON_THE_LOG, ids=lambda outcome: outcome.name)
def test_a_batch_that_the_log_refused_is_cured_or_its_caller_hears_why_and_nothing_is_lost(
    node: ScriptedNode, settings: ClientSettings, outcome: Outcome
) -> None:
    node.script = once(Answer(record=outcome))
    cure = cure_of(outcome, number_used=outcome >= CONSUMES_NUMBER_FROM)
    check_cured(node, settings, outcome, cure)


def check_cured(node: ScriptedNode, settings: ClientSettings, outcome: Outcome, cure: Cure) -> None:
    event = new_event()
    with Client(settings) as client:
        delivery = client.submit(event)
        if cure in (Cure.MEND, Cure.SET_ASIDE):
            with pytest.raises(SubmissionRefused) as raised:
                delivery.result(WAIT_S)
            assert raised.value.outcome is outcome
            remedy = MEANINGS[outcome].remedy
            assert remedy[1:] in str(raised.value)
            assert ("The event waits in" in str(raised.value)) == (cure is Cure.MEND)
        else:
            assert delivery.result(WAIT_S).outcome is Outcome.ACCEPTED
        assert client.flush(WAIT_S) == 0
        refused = client.refused()
    first, *others = node.received

    assert [each[0].events for each in refused] == ([[event]] if cure is Cure.SET_ASIDE else [])
    if cure is Cure.SET_ASIDE:
        assert others == []
        return
    (second,) = others
    assert second.events == first.events == [event]
    header, again = first.header, second.header
    match cure:
        case Cure.SEND_AGAIN | Cure.MEND:
            assert second.raw == first.raw, "signed once"
        case Cure.SIGN_AGAIN:
            assert (again.lane, again.sequence) == (header.lane, header.sequence + 1)
            assert (again.previous, again.replaces) == (first.batch_id, first.batch_id)
        case Cure.NEW_LANE:
            assert again.lane != header.lane
            assert (again.sequence, again.previous) == (1, ZERO_HASH)
            assert again.replaces == first.batch_id


def test_batches_behind_a_refused_one_keep_their_order_and_come_in_once(
    node: ScriptedNode, settings: ClientSettings
) -> None:
    node.script = once(Answer(admission=Outcome.LANE_CLOSED))
    events = [new_event() for _ in range(700)]
    with Client(settings) as client:
        for delivery in client.submit_all(events):
            assert delivery.result(WAIT_S).outcome is Outcome.ACCEPTED
    lane = node.received[-1].header.lane
    taken = [batch for batch in node.received if batch.header.lane == lane]

    assert [event for batch in taken for event in batch.events] == events
    assert [batch.header.sequence for batch in taken] == list(range(1, len(taken) + 1))
    # Only the first is sure to have been signed before: the others may have lingered meanwhile.
    assert taken[0].header.replaces == node.received[0].batch_id


def test_a_node_that_never_acknowledges_is_left_and_the_batch_is_sent_again(
    node: ScriptedNode, settings: ClientSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_stream, "ANSWER_S", 0.4)
    monkeypatch.setattr(node_stream, "POLL_S", 0.1)
    silent = Answer(record=None)
    node.script = lambda batch: silent
    with Client(settings) as client:
        delivery = client.submit(new_event())
        until(lambda: client.trouble)
        with pytest.raises(NotAcknowledgedYet, match=r"did not acknowledge batch .* within 0\.4 s"):
            delivery.result(0.0)
        node.script = lambda batch: GOOD
        assert delivery.result(WAIT_S).outcome is Outcome.ACCEPTED
    assert len({batch.raw for batch in node.received}) == 1


def test_a_node_that_reads_nothing_any_more_is_left_too(
    node: ScriptedNode, settings: ClientSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_stream, "ANSWER_S", 0.4)
    monkeypatch.setattr(node_stream, "POLL_S", 0.1)
    node.is_reading = False
    with Client(settings) as client:
        # More than a connection takes that nobody reads from: the rest waits in gRPC.
        client.submit_all([large_event() for _ in range(2_000)])
        until(lambda: "did not acknowledge batch" in client.trouble)
        monkeypatch.setattr(node_stream, "ANSWER_S", WAIT_S)
        node.is_reading = True
        assert client.flush(WAIT_S) == 0
    assert sum(len(batch.events) for batch in node.received) == 2_000


def test_batches_that_the_log_refused_together_are_signed_again_without_a_wait_for_each(
    node: ScriptedNode, settings: ClientSettings
) -> None:
    refused: set[bytes] = set()

    def over_quota(batch: Batch) -> Answer:
        if batch.header.replaces == ZERO_HASH:
            refused.add(batch.batch_id)
        return Answer(record=Outcome.QUOTA_EXCEEDED) if batch.batch_id in refused else GOOD

    node.script = over_quota
    with Client(settings) as client:
        deliveries = client.submit_all([new_event() for _ in range(12 * BATCH_EVENTS_MAX)])
        assert client.flush(WAIT_S) == 0
    assert len(refused) >= 12
    assert {delivery.result(0.0).outcome for delivery in deliveries} == {Outcome.ACCEPTED}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(is_forged=True), "signature"),
        (Answer(admission=Outcome.KEY_REVOKED, is_forged=True), "signature"),
        (Answer(is_admitted_first=False), "without admitting it"),
        (Answer(event_outcomes=[0, 0]), "2 outcomes of 1 events"),
        (Answer(event_outcomes=[199]), "outcome 199, which this release does not know"),
    ],
    ids=["forged", "forged refusal", "not admitted", "too many outcomes", "unknown outcome"],
)
def test_an_answer_that_no_honest_node_gives_settles_nothing(
    node: ScriptedNode, settings: ClientSettings, answer: Answer, words: str
) -> None:
    node.script = lambda batch: answer
    with Client(settings) as client:
        delivery = client.submit(new_event())
        until(lambda: words in client.trouble)
        assert not delivery.done()
        assert client.waiting_count == 1
        node.script = lambda batch: GOOD
        assert delivery.result(WAIT_S).outcome is Outcome.ACCEPTED


def test_a_refusal_that_lasts_is_told_to_every_new_event_and_asked_about_ever_more_rarely(
    node: ScriptedNode, settings: ClientSettings
) -> None:
    unknown = Answer(admission=Outcome.KEY_UNKNOWN)
    node.script = lambda batch: unknown
    with Client(settings) as client:
        for _ in range(4):
            with pytest.raises(SubmissionRefused, match="KEY_UNKNOWN"):
                client.submit(new_event()).result(WAIT_S)
        assert client.close(timeout_s=0.0) == 4
    assert len(node.received) < 40
