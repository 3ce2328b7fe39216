"""A client with a real node: what it takes is on the ledger once, and its caller hears of it."""

import asyncio
import itertools
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lotmark import merkle
from lotmark.batch import BatchHeader, ClockState, parse_header
from lotmark.client import (
    Client,
    ClientClosed,
    ClientSettings,
    EventRefused,
    LaneStateError,
    LedgerSession,
    NotAcknowledgedYet,
    OutboxBounds,
    OutboxBusy,
    OutboxFull,
    OutboxUnusable,
    Outcome,
    SettingsError,
    SubmissionRefused,
    read_client_settings,
    retry,
)
from lotmark.client.clock import kernel_clock
from lotmark.client.ledger_records import LedgerEntry
from lotmark.client.settings import NodeAddress
from lotmark.ed25519 import PrivateKey
from lotmark.entry import EntryKind
from lotmark.key_file import read_key_file
from lotmark.key_grant import lane_closure_statement, revocation_statement
from lotmark.v1 import governance_pb2
from lotmark.verify.receipt import verify_receipt
from lotmark_node.trial.network import free_address
from tests.node.cutting_relay import CuttingRelay
from tests.node.ledger_in_memory import event, measurement, transformation
from tests.node.running_node import NodeProcess, node_process
from tests.node.submitting import result_of, submit_events

PARTIES = ("OEM-A:oem", "T1-STATOR:supplier", "LAB-17025:laboratory")
CLIENTS = (
    "OEM-A/erp", "T1-STATOR/mes", "T1-STATOR/spare", "T1-STATOR/cam:measurement", "LAB-17025/lims",
)  # fmt: skip
NUMBERS = itertools.count()
WAIT_S = 20.0


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    folder = tmp_path_factory.mktemp("client") / "consortium"
    with node_process(folder, parties=PARTIES, clients=CLIENTS) as running:
        yield running


@pytest.fixture
def settings(node: NodeProcess, tmp_path: Path) -> ClientSettings:
    """The settings of a client with an outbox of its own."""
    return settings_of(node, tmp_path)


def settings_of(node: NodeProcess, folder: Path, client: str = "T1-STATOR/mes") -> ClientSettings:
    known = read_client_settings(node.client(*client.split("/")))
    return replace(known, outbox_file=folder / f"{client.replace('/', '-')}.db")


def new_events(count: int) -> list[bytes]:
    """Return events that no test has submitted yet."""
    return [measurement(next(NUMBERS)) for _ in range(count)]


def until(condition: Callable[[], object]) -> None:
    end_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end_s, "it never came about"
        time.sleep(0.02)  # another thread's or process's state, which nothing announces


def entries(settings: ClientSettings) -> list[LedgerEntry]:
    with LedgerSession(settings) as session:
        return list(session.entries(all_kinds=True))


def headers(settings: ClientSettings, events: list[bytes]) -> list[BatchHeader]:
    """Return the headers of the batches that these events stand under, in order."""
    ids = {merkle.leaf_hash(event) for event in events}
    on_ledger = entries(settings)
    places = [int.from_bytes(entry.payload[:8]) for entry in on_ledger if entry.event_id in ids]
    raws = [on_ledger[place].payload for place in dict.fromkeys(places)]
    return [parse_header(raw[2:-64]) for raw in raws]


# Acknowledgements


def test_every_event_gets_its_entry_in_order_and_the_entry_is_on_the_ledger(
    settings: ClientSettings,
) -> None:
    events = new_events(3)
    with Client(settings) as client:
        deliveries = client.submit_all(events)
        results = [delivery.result(WAIT_S) for delivery in deliveries]
        assert client.waiting_count == 0
    first = results[0].index
    assert first is not None

    assert [delivery.event_id for delivery in deliveries] == list(map(merkle.leaf_hash, events))
    assert [result.event_id for result in results] == list(map(merkle.leaf_hash, events))
    assert [result.index for result in results] == [first, first + 1, first + 2]
    assert {(result.outcome, result.detail) for result in results} == {(Outcome.ACCEPTED, "")}
    with LedgerSession(settings) as session:
        assert [session.entry(result.event_id).event for result in results] == events


def test_many_events_fill_batches_of_256_and_a_later_client_goes_on_in_the_lane(
    settings: ClientSettings,
) -> None:
    events = new_events(601)
    submit_events(settings, events[:600])
    submit_events(settings, events[600:])
    made = headers(settings, events)

    assert [header.event_count for header in made] == [256, 256, 88, 1]
    assert [header.sequence for header in made] == [1, 2, 3, 4]
    assert len({header.lane for header in made}) == 1


def test_every_batch_says_how_good_the_clock_is_and_which_checkpoint_was_seen(
    settings: ClientSettings,
) -> None:
    events = new_events(2)
    with Client(settings) as client:
        for event in events:
            client.submit(event).result(WAIT_S)
    made = headers(settings, events)
    kernel = kernel_clock()

    for header in made:
        assert (header.clock is ClockState.UNKNOWN) == (kernel is None)
        assert abs(header.created_at_ms - time.time_ns() // 1_000_000) < 60_000
    with LedgerSession(settings) as session:
        seen, now = made[-1], session.checkpoint()
        assert 0 < seen.seen_size <= now.size
        leaves = [merkle.leaf_hash(each.leaf_data) for each in entries(settings)]
    assert merkle.root(leaves[: seen.seen_size]) == seen.seen_root


def test_events_that_come_within_the_linger_time_share_a_batch(settings: ClientSettings) -> None:
    events = new_events(5)
    with Client(settings, linger_s=2.0) as client:
        deliveries = [client.submit(event) for event in events]
        for delivery in deliveries:
            delivery.result(WAIT_S)

    assert [header.event_count for header in headers(settings, events)] == [5]


def test_events_stand_on_the_ledger_in_the_order_in_which_one_thread_submitted_them(
    settings: ClientSettings,
) -> None:
    events = new_events(900)
    at = iter(events)
    with Client(settings, linger_s=0.001) as client:
        for count in itertools.cycle([1, 300, 2, 40]):
            group = list(itertools.islice(at, count))
            if not group:
                break
            client.submit_all(group)

    ids = set(map(merkle.leaf_hash, events))
    assert [entry.event for entry in entries(settings) if entry.event_id in ids] == events


def test_coroutines_and_threads_share_one_client(settings: ClientSettings) -> None:
    events = new_events(60)

    async def submit(event: bytes) -> int | None:
        return (await (await client.submit_async(event))).index

    async def submit_many() -> list[int | None]:
        return await asyncio.gather(*(submit(event) for event in events[:40]))

    indexes: list[int | None] = []
    with Client(settings) as client:
        thread = threading.Thread(
            target=lambda: indexes.extend(
                client.submit(event).result(WAIT_S).index for event in events[40:]
            )
        )
        thread.start()
        indexes += asyncio.run(submit_many())
        thread.join()

    assert None not in indexes
    assert len(set(indexes)) == 60


def test_a_coroutine_that_is_cancelled_takes_the_answer_from_nobody_else(
    settings: ClientSettings,
) -> None:
    async def wait_twice() -> Outcome:
        delivery = await client.submit_async(new_events(1)[0])
        impatient = asyncio.ensure_future(delivery)
        await asyncio.sleep(0)
        impatient.cancel()
        return (await delivery).outcome

    with Client(settings) as client:
        assert asyncio.run(wait_twice()) is Outcome.ACCEPTED


def test_a_receipt_comes_by_a_plain_call_and_by_await_also_for_an_event_that_was_there_before(
    settings: ClientSettings,
) -> None:
    (event,) = new_events(1)
    with Client(settings) as client:
        first = client.submit(event).receipt().result(WAIT_S)
        again = client.submit(event)

        async def awaited() -> bytes:
            return await again.receipt()

        second = asyncio.run(awaited())
        assert again.result(WAIT_S).outcome is Outcome.EVENT_DUPLICATE
    genesis = settings.genesis.read_bytes()
    found = [
        verify_receipt(raw, genesis_json=genesis, chain_id=settings.chain_id)
        for raw in (first, second)
    ]

    assert {each.event_id for each in found} == {merkle.leaf_hash(event)}
    assert found[0].index == found[1].index


def test_the_client_is_found_by_the_environment_or_said_to_be_missing(
    node: NodeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOTMARK_CLIENT", str(node.client("T1-STATOR", "spare")))
    with Client.open() as client:
        assert client.settings.holder == "spare"
        assert client.outbox_file == node.client("T1-STATOR", "spare").with_name("outbox.db")
    monkeypatch.delenv("LOTMARK_CLIENT")
    with pytest.raises(SettingsError, match="no client is named; give"):
        Client.open()


# Refusals


def test_no_event_is_taken_where_one_breaks_a_rule_and_the_message_says_which(
    settings: ClientSettings,
) -> None:
    with Client(settings) as client:
        with pytest.raises(EventRefused, match="FIELD_INVALID: event 3 of 3: device") as raised:
            client.submit_all([*new_events(2), measurement(next(NUMBERS), device="")])
        assert raised.value.outcome is Outcome.FIELD_INVALID
        assert client.waiting_count == 0


def test_an_event_that_the_ledger_refuses_raises_and_the_others_are_accepted(
    node: NodeProcess, tmp_path: Path
) -> None:
    wound = transformation("wind", ["CU-7"], [f"ST-{next(NUMBERS)}"])
    with Client(settings_of(node, tmp_path, "T1-STATOR/cam")) as camera:
        first, refused, last = camera.submit_all([*new_events(1), wound, *new_events(1)])

        assert {each.result(WAIT_S).outcome for each in (first, last)} == {Outcome.ACCEPTED}
        with pytest.raises(SubmissionRefused) as raised:
            refused.result(WAIT_S)
        with pytest.raises(SubmissionRefused, match="KEY_NOT_PERMITTED"):
            refused.receipt().result(WAIT_S)
    assert raised.value.outcome is Outcome.KEY_NOT_PERMITTED
    assert str(raised.value).endswith("Sign with a key that may, or register one.")
    assert raised.value.result.index is not None, "the refusal is on record"


def test_events_under_an_unknown_key_wait_and_go_in_once_the_client_has_a_known_one(
    settings: ClientSettings,
) -> None:
    events = new_events(2)
    with Client(settings, batch_key=PrivateKey.generate()) as stranger:
        deliveries = stranger.submit_all(events)
        for delivery in deliveries:
            with pytest.raises(SubmissionRefused, match=r"KEY_UNKNOWN: .*; register") as raised:
                delivery.result(WAIT_S)
            assert raised.value.result.event_id == delivery.event_id
            assert raised.value.result.index is None
        assert f"The event waits in {settings.outbox_file}" in str(raised.value)
        assert stranger.close(timeout_s=0.0) == 2

    with Client(settings) as client:
        assert client.waiting_count == 2
        assert client.flush(WAIT_S) == 0
    (header,) = headers(settings, events)
    assert header.replaces != bytes(32), "it names the batch that the stranger signed"


def test_a_batch_counts_by_its_signature_whoever_delivers_it(
    node: NodeProcess, settings: ClientSettings
) -> None:
    lab = node.client("LAB-17025", "lims").parent
    carried = replace(settings, certificate=lab / "cert.pem", certificate_key=lab / "key.pem")
    (result,) = submit_events(carried, new_events(1))

    assert result.outcome is Outcome.ACCEPTED


# Lanes


def root_signatures(
    node: NodeProcess, party: str, statement: bytes
) -> list[governance_pb2.KeySignature]:
    keys = [read_key_file(path) for path in (node.folder / party / "roots").iterdir()]
    threshold = next(each.threshold for each in node.genesis.parties if each.id == party)
    return [
        governance_pb2.KeySignature(key=key.public, signature=key.sign(statement))
        for key in sorted(keys, key=lambda key: key.public)[:threshold]
    ]


def close_lane(node: NodeProcess, tmp_path: Path, key: bytes, lane: int) -> None:
    signed = lane_closure_statement(chain_id=node.chain_id, key=key, lane=lane, party="T1-STATOR")
    body = governance_pb2.LaneClosure(
        key=key, lane=lane, party="T1-STATOR", roots=root_signatures(node, "T1-STATOR", signed)
    )
    closure = event(lane_closure=body, device="registry", nonce=f"{next(NUMBERS)}")
    (result,) = submit_events(settings_of(node, tmp_path, "T1-STATOR/spare"), [closure])
    assert result.outcome is Outcome.ACCEPTED, result.detail


def test_an_outbox_whose_lane_was_closed_goes_on_in_another_and_names_what_it_replaces(
    node: NodeProcess, settings: ClientSettings, tmp_path: Path
) -> None:
    events = new_events(4)
    with Client(settings) as client:
        client.submit(events[0]).result(WAIT_S)
        (before,) = headers(settings, events[:1])
        close_lane(node, tmp_path, before.signer, before.lane)
        assert client.submit(events[1]).result(WAIT_S).outcome is Outcome.ACCEPTED
    (after,) = headers(settings, events[1:2])
    close_lane(node, tmp_path, after.signer, after.lane)
    submit_events(settings, events[2:])  # and where it finds that out at its start
    (last,) = headers(settings, events[2:])

    assert len({before.lane, after.lane, last.lane}) == 3
    assert (after.sequence, last.sequence) == (1, 1)
    assert after.replaces != bytes(32)
    assert last.replaces == bytes(32), "nothing had been signed in the closed lane"


def test_what_a_lane_took_before_it_was_closed_is_not_signed_again_where_its_answer_was_lost(
    node: NodeProcess, settings: ClientSettings, tmp_path: Path
) -> None:
    events = new_events(300)
    sign_offline(settings, events)
    answer_lost = replace(settings, outbox_file=tmp_path / "answer-lost.db")
    shutil.copy(settings.outbox_file, answer_lost.outbox_file)
    with Client(settings) as client:
        assert client.flush(WAIT_S) == 0
    taken = headers(settings, events)
    close_lane(node, tmp_path, taken[0].signer, taken[0].lane)
    with Client(answer_lost) as client:
        assert client.flush(WAIT_S) == 0
        assert client.refused() == []

    assert len(taken) == 2
    assert headers(settings, events) == taken


def test_what_waits_under_a_revoked_key_is_signed_again_by_the_next_key(
    node: NodeProcess, settings: ClientSettings, tmp_path: Path
) -> None:
    lost_settings = settings_of(node, tmp_path, "T1-STATOR/cam")
    lost_key = read_key_file(lost_settings.batch_key)
    events = new_events(300)
    waiting = replace(lost_settings, outbox_file=settings.outbox_file)
    sign_offline(waiting, events)
    statement = revocation_statement(
        chain_id=node.chain_id, key=lost_key.public, compromised_since_ms=0, party="T1-STATOR"
    )
    body = governance_pb2.KeyRevocation(
        key=lost_key.public,
        party="T1-STATOR",
        reason="lost",
        roots=root_signatures(node, "T1-STATOR", statement),
    )
    revocation = event(key_revocation=body, device="registry", nonce=f"{next(NUMBERS)}")
    (revoked,) = submit_events(settings_of(node, tmp_path, "T1-STATOR/spare"), [revocation])
    assert revoked.outcome is Outcome.ACCEPTED, revoked.detail

    with Client(waiting) as same_key:
        delivery = same_key.submit(events[0])
        with pytest.raises(SubmissionRefused, match=r"KEY_REVOKED: .*sign the waiting events"):
            delivery.result(WAIT_S)
        assert same_key.close(timeout_s=0.0) == 300
    with Client(settings) as next_key:
        assert next_key.flush(WAIT_S) == 0
    made = headers(settings, events)

    assert [header.event_count for header in made] == [256, 44]
    assert {header.signer for header in made} == {read_key_file(settings.batch_key).public}
    assert len({header.replaces for header in made} - {bytes(32)}) == 2


def sign_offline(settings: ClientSettings, events: list[bytes]) -> None:
    """Leave events in the outbox in signed batches that have never arrived at the node."""
    host, _, port = settings.node_address.rpartition(":")
    with CuttingRelay((host, int(port))) as relay:
        key = Tripwire(read_key_file(settings.batch_key).seed, relay.close)
        with Client(replace(settings, node_address=relay.address), batch_key=key) as client:
            client.submit_all(events)
            until(lambda: client.trouble)
            assert client.close(timeout_s=0.0) == len(events)


class Tripwire(PrivateKey):
    """A key that tells when it signs, which is when a batch is about to be sent."""

    __slots__ = ("_told",)

    def __init__(self, seed: bytes, told: Callable[[], None]) -> None:
        super().__init__(seed)
        self._told = told

    def sign(self, message: bytes) -> bytes:
        self._told()
        return super().sign(message)


def test_an_outbox_that_was_restored_from_a_copy_uses_no_number_twice(
    settings: ClientSettings, tmp_path: Path
) -> None:
    events = new_events(3)
    submit_events(settings, events[:1])
    shutil.copy(settings.outbox_file, tmp_path / "copy.db")
    submit_events(settings, events[1:2])
    shutil.copy(tmp_path / "copy.db", settings.outbox_file)
    submit_events(settings, events[2:])
    made = headers(settings, events)

    assert [header.sequence for header in made] == [1, 2, 1]
    assert made[0].lane == made[1].lane != made[2].lane
    assert not [each for each in entries(settings) if each.head.kind is EntryKind.EQUIVOCATION]


def test_a_ledger_that_lacks_what_it_acknowledged_is_said_so_and_a_new_lane_goes_on(
    tmp_path: Path,
) -> None:
    with node_process(tmp_path / "consortium", parties=PARTIES, clients=CLIENTS) as node:
        settings = settings_of(node, tmp_path)
        submit_events(settings, new_events(1))
        node.stop()
        shutil.copytree(node.data, tmp_path / "copy")
        node.start()
        settings = settings_of(node, tmp_path)
        submit_events(settings, new_events(1))
        node.stop()
        shutil.rmtree(node.data)
        shutil.copytree(tmp_path / "copy", node.data)
        node.start()
        settings = settings_of(node, tmp_path)
        with Client(settings) as client:
            delivery = client.submit(new_events(1)[0])
            with pytest.raises(LaneStateError, match=r"at number 1, but has acknowledged number 2"):
                delivery.result(WAIT_S)
            assert client.close(timeout_s=0.0) == 1
        with Client(settings, new_lane=True) as client:
            assert client.flush(WAIT_S) == 0


# Trouble


def test_events_whose_answer_was_lost_are_sent_again_and_count_once(
    node: NodeProcess, settings: ClientSettings
) -> None:
    host, _, port = node.address.rpartition(":")
    with (
        CuttingRelay((host, int(port))) as relay,
        LedgerSession(settings_of(node, settings.outbox_file.parent, "OEM-A/erp")) as observer,
    ):
        before = observer.ledger().size

        def on_the_ledger() -> None:
            next(observer.entries(before, follow=True, all_kinds=True))

        key = Tripwire(
            read_key_file(settings.batch_key).seed, lambda: relay.lose_answers(on_the_ledger)
        )
        with Client(replace(settings, node_address=relay.address), batch_key=key) as client:
            results = [result_of(each) for each in client.submit_all(new_events(2))]

        assert {result.outcome for result in results} == {Outcome.ACCEPTED}
        assert [result.index for result in results] == [before + 1, before + 2]
        assert observer.ledger().size == before + 4, "a batch, two events and a close"


def test_what_the_first_node_lost_goes_to_the_next_one_by_itself_and_counts_once(
    node: NodeProcess, settings: ClientSettings
) -> None:
    host, _, port = node.address.rpartition(":")
    events = new_events(300)
    # The same node once more, as its party has no other: what counts is that it is called next.
    gone = NodeAddress(party="T1-STATOR", node="n1", address=free_address())
    with CuttingRelay((host, int(port))) as relay:
        key = Tripwire(read_key_file(settings.batch_key).seed, relay.close)
        real = NodeAddress(party="OEM-A", node="n1", address=node.address)
        cut = replace(settings, node_address=relay.address, other_nodes=(gone, real))
        with Client(cut, batch_key=key) as client:
            results = [result_of(each) for each in client.submit_all(events)]

    assert {result.outcome for result in results} == {Outcome.ACCEPTED}
    ids = set(map(merkle.leaf_hash, events))
    assert [each.event for each in entries(settings) if each.event_id in ids] == events


def test_while_no_node_answers_events_are_taken_and_they_go_in_when_one_does(
    tmp_path: Path,
) -> None:
    with node_process(tmp_path / "consortium", parties=PARTIES, clients=CLIENTS) as node:
        settings = settings_of(node, tmp_path)
        with (
            CuttingRelay(_target(node.address)) as relay,
            Client(replace(settings, node_address=relay.address)) as client,
        ):
            client.submit(new_events(1)[0]).result(WAIT_S)
            node.kill()
            delivery = client.submit(new_events(1)[0])
            until(lambda: client.trouble)
            with pytest.raises(NotAcknowledgedYet, match=r"within 0\.1 s; the event waits in"):
                delivery.result(0.1)
            node.start()
            relay.target = _target(node.address)

            assert delivery.result(WAIT_S).outcome is Outcome.ACCEPTED
            assert client.trouble == ""


def _target(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def test_a_full_outbox_lets_its_caller_wait_and_then_names_the_bound(
    node: NodeProcess, settings: ClientSettings
) -> None:
    nowhere = replace(settings, node_address=free_address())
    with Client(nowhere, bounds=OutboxBounds(events_max=3)) as client:
        client.submit_all(new_events(3))
        until(lambda: client.trouble)
        began_s = time.monotonic()
        with pytest.raises(OutboxFull, match=r"holds 3 events of .* at most 3 and") as raised:
            client.submit(new_events(1)[0], room_s=0.2)
        assert time.monotonic() - began_s >= 0.2
        assert "cannot be reached: Connection refused" in str(raised.value)
        assert client.close(timeout_s=0.0) == 3
    with Client(settings, bounds=OutboxBounds(events_max=3)) as client:
        client.submit_all(new_events(8))  # there is room as soon as the three are on the ledger
    with Client(nowhere, bounds=OutboxBounds(size_max=500)) as client:
        client.submit_all(new_events(3))
        with pytest.raises(OutboxFull, match=r"at most 200000 and 500 may wait"):
            client.submit_all(new_events(3), room_s=0.0)
        client.close(timeout_s=0.0)


def test_an_event_that_waits_already_is_not_taken_twice(settings: ClientSettings) -> None:
    events = new_events(2)
    with Client(replace(settings, node_address=free_address())) as client:
        first = client.submit_all([*events, events[0]])
        second = client.submit_all(events)
        assert first == [*second, second[0]]
        client.close(timeout_s=0.0)
        with pytest.raises(ClientClosed, match="the client was closed; the event waits in"):
            first[0].result(WAIT_S)
    with Client(settings) as client:
        results = [each.result(WAIT_S) for each in client.submit_all(events)]

    assert {result.outcome for result in results} == {Outcome.ACCEPTED}


def test_a_closed_client_takes_nothing_and_closing_it_twice_does_nothing(
    settings: ClientSettings,
) -> None:
    with Client(settings) as client:
        delivery = client.submit(new_events(1)[0])
    assert delivery.result(0).outcome is Outcome.ACCEPTED, "it was waited for"
    assert client.close() == 0
    with pytest.raises(ClientClosed, match=r"open .*\.db anew to look"):
        client.refused()
    with pytest.raises(ClientClosed, match=r"open .*\.db anew to send more"):
        client.submit(new_events(1)[0])
    with pytest.raises(ClientClosed, match="fetch the receipt with `lotmark receipt"):
        delivery.receipt().result(WAIT_S)


def remember_connections(monkeypatch: pytest.MonkeyPatch) -> list[sqlite3.Connection]:
    """Return a list to which every database that is opened from now on is added."""
    connect, opened = sqlite3.connect, list[sqlite3.Connection]()

    def remembered(*arguments: object, **options: object) -> sqlite3.Connection:
        opened.append(connect(*arguments, **options))  # type: ignore[call-overload]  # handed on
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", remembered)
    return opened


def fill(client: Client, taken: list[bytes]) -> None:
    """Submit events for ever, noting each that was taken."""
    while True:
        (event,) = new_events(1)
        client.submit(event)
        taken.append(event)


def test_a_full_disk_refuses_the_event_and_loses_none_that_was_taken(
    settings: ClientSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = remember_connections(monkeypatch)
    taken: list[bytes] = []
    with Client(replace(settings, node_address=free_address())) as client:
        opened[0].execute("PRAGMA max_page_count = 60")  # SQLite's own word for a full disk
        with pytest.raises(OutboxUnusable, match="its disk is full; make room there"):
            fill(client, taken)
        assert client.waiting_count == len(taken) > 10
        opened[0].execute("PRAGMA max_page_count = 100000")
        client.submit_all(extra := new_events(5))
        client.close(timeout_s=0.0)
    results = submit_events(settings, [*taken, *extra])

    assert {result.outcome for result in results} == {Outcome.ACCEPTED}


def test_a_long_outage_with_a_full_disk_ends_by_itself_when_a_node_answers(
    node: NodeProcess,
    settings: ClientSettings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(retry, "WAIT_MAX_S", 0.02)  # many tries, as in a long outage
    opened = remember_connections(monkeypatch)
    taken: list[bytes] = []
    with (
        CuttingRelay(_target(free_address())) as relay,
        Client(replace(settings, node_address=relay.address)) as client,
    ):
        opened[0].execute("PRAGMA max_page_count = 60")
        with pytest.raises(OutboxUnusable, match="its disk is full"):
            fill(client, taken)
        until(lambda: caplog.messages.count("the ledger takes nothing now") > 20)
        assert client.waiting_count == len(taken) > 10
        relay.target = _target(node.address)
        until(lambda: client.waiting_count == 0)
        taken += new_events(1)
        assert client.submit(taken[-1]).result(WAIT_S).outcome is Outcome.ACCEPTED
    ids = set(map(merkle.leaf_hash, taken))

    assert [each.event for each in entries(settings) if each.event_id in ids] == taken


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_in_the_client_itself_lets_nobody_wait_for_ever_and_loses_nothing(
    settings: ClientSettings,
) -> None:
    def fail() -> None:
        raise RuntimeError("the key's hardware is gone")

    events = new_events(3)
    key = Tripwire(read_key_file(settings.batch_key).seed, fail)
    with Client(settings, batch_key=key) as client:
        deliveries = client.submit_all(events)
        for delivery in deliveries:
            with pytest.raises(ClientClosed, match=r"writer failed, .*hardware is gone"):
                delivery.result(WAIT_S)
        with pytest.raises(ClientClosed):
            client.submit(new_events(1)[0])
    with Client(settings) as client:
        results = [result_of(each) for each in client.submit_all(events)]

    assert {result.outcome for result in results} == {Outcome.ACCEPTED}


# Processes


def test_one_process_at_a_time_has_an_outbox_and_several_may_share_a_key(
    settings: ClientSettings, tmp_path: Path
) -> None:
    other = replace(settings, outbox_file=tmp_path / "other.db")
    with Client(settings) as first:
        with pytest.raises(OutboxBusy, match=r"mes\.db is in use by another process; wait until"):
            Client(settings)
        with Client(other) as second:
            deliveries = [each.submit(new_events(1)[0]) for each in (first, second, first)]
            results = [delivery.result(WAIT_S) for delivery in deliveries]

    assert {result.outcome for result in results} == {Outcome.ACCEPTED}


def test_an_outbox_of_another_chain_or_one_that_is_none_is_refused(
    settings: ClientSettings, tmp_path: Path, node: NodeProcess
) -> None:
    submit_events(settings, new_events(1))
    with sqlite3.connect(settings.outbox_file) as database:
        database.execute("UPDATE about SET chain_id = ?", (bytes(32),))
    database.close()
    with pytest.raises(OutboxUnusable, match=f"is the outbox of chain {'00' * 32}, not of"):
        Client(settings)
    for content in (b"no database", os.urandom(8_192)):
        (tmp_path / "x.db").write_bytes(content)
        with pytest.raises(OutboxUnusable, match=r"x\.db cannot be used \("):
            Client(replace(settings, outbox_file=tmp_path / "x.db"))
    with pytest.raises(OutboxUnusable, match="in a folder that this process can write to"):
        Client(replace(settings, outbox_file=tmp_path / "missing" / "x.db"))
