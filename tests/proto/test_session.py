"""A session with a real node: it submits, reads, proves, and believes nothing that it can check."""

import dataclasses
import hashlib
import io
import itertools
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from lotmark import merkle
from lotmark.checkpoint import Checkpoint
from lotmark.client import session as session_module
from lotmark.client.calls import CallRefused, NotOnLedgerError
from lotmark.client.ledger_records import LedgerCheckpoint, LedgerEntry
from lotmark.client.session import LedgerSession
from lotmark.client.settings import ClientSettings, read_client_settings
from lotmark.client.submission import LaneBusyError
from lotmark.ed25519 import PrivateKey
from lotmark.entry import EntryKind
from lotmark.errors import ProofError, SignatureError
from lotmark.event import EVENT_TYPES, EventRefused
from lotmark.key_file import read_key_file
from lotmark.outcome import Outcome
from lotmark.verify.receipt import verify_receipt
from tests.node.cutting_relay import CuttingRelay
from tests.node.ledger_in_memory import measurement, transformation
from tests.node.running_node import NodeProcess, node_process

PARTIES = ("OEM-A:oem", "T1-STATOR:supplier", "LAB-17025:laboratory")
CLIENTS = ("OEM-A/erp", "T1-STATOR/mes", "T1-STATOR/cam:measurement", "LAB-17025/lims")
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    folder = tmp_path_factory.mktemp("session") / "consortium"
    with node_process(folder, parties=PARTIES, clients=CLIENTS) as running:
        yield running


def settings_of(node: NodeProcess, client: str = "T1-STATOR/mes") -> ClientSettings:
    return read_client_settings(node.client(*client.split("/")))


def open_session(node: NodeProcess, client: str = "T1-STATOR/mes", **changed: Any) -> LedgerSession:
    settings = replace(settings_of(node, client), **changed)
    return LedgerSession(settings, read_key_file(settings.batch_key))


@pytest.fixture
def session(node: NodeProcess) -> Iterator[LedgerSession]:
    with open_session(node) as opened:
        yield opened


def new_events(count: int, **fields: Any) -> list[bytes]:
    """Return events that no test has submitted yet."""
    return [measurement(next(NUMBERS), **fields) for _ in range(count)]


def batch_of(session: LedgerSession, entry: LedgerEntry) -> int:
    """Return the index of the batch entry that an event entry names."""
    return int.from_bytes(entry.payload[:8])


# Submitting


def test_every_event_gets_its_entry_in_order_and_the_entry_is_on_the_ledger(
    session: LedgerSession,
) -> None:
    events = new_events(3)
    results = session.submit(events)
    first = results[0].index

    assert first is not None
    assert [result.event_id for result in results] == [merkle.leaf_hash(event) for event in events]
    assert [result.index for result in results] == [first, first + 1, first + 2]
    assert {result.outcome for result in results} == {Outcome.ACCEPTED}
    assert {result.detail for result in results} == {""}
    assert [session.entry(result.event_id).event for result in results] == events


def test_many_events_go_in_batches_of_256_and_a_later_session_goes_on_in_the_lane(
    node: NodeProcess,
) -> None:
    with open_session(node) as first:
        results = first.submit(new_events(600), lane=7)
    with open_session(node) as second:
        results += second.submit(new_events(1), lane=7)
        batches = [batch_of(second, second.entry(result.event_id)) for result in results]

    assert all(not result.outcome for result in results)
    assert [len(list(group)) for _, group in itertools.groupby(batches)] == [256, 256, 88, 1]


def test_no_event_is_sent_where_one_breaks_a_rule_and_the_message_says_which(
    session: LedgerSession,
) -> None:
    before = session.ledger().size
    events = [*new_events(2), measurement(next(NUMBERS), device="")]

    with pytest.raises(EventRefused, match="FIELD_INVALID: event 3 of 3: device") as raised:
        session.submit(events)
    assert raised.value.outcome is Outcome.FIELD_INVALID
    assert session.ledger().size == before


def test_an_event_that_the_ledger_refuses_has_an_entry_and_the_others_are_accepted(
    node: NodeProcess,
) -> None:
    with open_session(node, "T1-STATOR/cam") as camera:
        wound = transformation("wind", ["CU-7"], [f"ST-{next(NUMBERS)}"])
        results = camera.submit([*new_events(1), wound, *new_events(1)])
        refused = camera.entry(results[1].event_id)

    assert [result.outcome for result in results] == [
        Outcome.ACCEPTED,
        Outcome.KEY_NOT_PERMITTED,
        Outcome.ACCEPTED,
    ]
    assert results[1].detail.startswith("KEY_NOT_PERMITTED: the key may not sign events")
    assert refused.head.outcome == Outcome.KEY_NOT_PERMITTED


def test_a_key_that_the_ledger_does_not_know_gets_nothing_onto_it(node: NodeProcess) -> None:
    with LedgerSession(settings_of(node), PrivateKey.generate()) as stranger:
        before = stranger.ledger().size
        results = stranger.submit(new_events(257))

        assert stranger.ledger().size == before
    assert {result.outcome for result in results} == {Outcome.KEY_UNKNOWN}
    assert {result.index for result in results} == {None}
    assert results[0].detail.startswith("KEY_UNKNOWN: the signer key is not on the ledger")
    assert results[256].detail.startswith("not sent, since the batch before was refused: KEY_UNK")


def test_two_processes_cannot_sign_with_one_key_at_once(
    session: LedgerSession, node: NodeProcess
) -> None:
    first = session.submit_each(new_events(2))
    next(first)
    with open_session(node) as other:
        with pytest.raises(LaneBusyError, match=r"another process submits with .*batch\.key now"):
            other.submit(new_events(1))
        first.close()  # type: ignore[attr-defined]  # it is a generator
        assert not other.submit(new_events(1))[0].outcome


class Tripwire(PrivateKey):
    """A key that tells when it signs, which is when a batch is about to be sent."""

    __slots__ = ("_told",)

    def __init__(self, seed: bytes, told: Callable[[], None]) -> None:
        super().__init__(seed)
        self._told = told

    def sign(self, message: bytes) -> bytes:
        self._told()
        return super().sign(message)


def test_events_whose_answer_was_lost_are_asked_about_again_and_count_once(
    node: NodeProcess,
) -> None:
    host, _, port = node.address.rpartition(":")
    settings = settings_of(node)
    with (
        CuttingRelay((host, int(port))) as relay,
        open_session(node, "LAB-17025/lims") as observer,
    ):
        before = observer.ledger().size

        def on_the_ledger() -> None:
            next(observer.entries(before, follow=True, all_kinds=True))

        seed = read_key_file(settings.batch_key).seed
        key = Tripwire(seed, lambda: relay.lose_answers(on_the_ledger))
        with LedgerSession(replace(settings, node_address=relay.address), key) as session:
            results = session.submit(new_events(2))

        assert {result.outcome for result in results} == {Outcome.ACCEPTED}
        assert [result.index for result in results] == [before + 1, before + 2]
        assert observer.ledger().size == before + 4, "a batch, two events and a close"


def test_events_whose_answer_stays_away_are_named_so_that_one_can_look_for_them(
    node: NodeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "SUBMIT_S", 1.0)
    host, _, port = node.address.rpartition(":")
    settings = settings_of(node)
    events = new_events(2)
    with CuttingRelay((host, int(port))) as relay:
        key = Tripwire(read_key_file(settings.batch_key).seed, relay.close)
        session = LedgerSession(replace(settings, node_address=relay.address), key)
        with session, pytest.raises((ConnectionError, TimeoutError)) as raised:
            session.submit(events, lane=8)  # of its own, as the next in it sends these first
    assert f"the events from {merkle.leaf_hash(events[0]).hex()} on" in str(raised.value)
    assert "look with `lotmark entry` before you send them again" in str(raised.value)


# Reading


def test_what_is_not_on_the_ledger_is_said_to_be_not_there(session: LedgerSession) -> None:
    with pytest.raises(NotOnLedgerError, match="entry 99999 is not on the ledger"):
        session.entry(99_999)
    with pytest.raises(NotOnLedgerError, match="is not on the ledger"):
        session.entry(hashlib.sha256(b"nothing").digest())
    with pytest.raises(NotOnLedgerError, match="entry 99999 is not on the ledger; it has"):
        session.receipt(99_999)


def test_entries_pass_the_filters_that_were_asked_for(node: NodeProcess) -> None:
    item = f"LOT-{next(NUMBERS)}"
    with open_session(node) as mes, open_session(node, "OEM-A/erp") as erp:
        start = mes.ledger().size
        mes.submit([*new_events(1, item=item), transformation("wind", [item], [f"{item}-1"])])
        erp.submit(new_events(1, item=item))

        def found(**filters: Any) -> list[int]:
            return [entry.head.index - start for entry in mes.entries(start, **filters)]

        assert found() == [1, 2, 5]
        assert found(event_types=[EVENT_TYPES["transformation"]]) == [2]
        assert found(parties=["OEM-A"]) == [5]
        assert found(item=f"{item}-1") == [2]
        assert found(item="LOT") == []
        assert found(all_kinds=True) == [0, 1, 2, 3, 4, 5, 6]


def test_all_entries_make_the_tree_that_the_checkpoint_signs(session: LedgerSession) -> None:
    session.submit(new_events(1))
    checkpoint = session.checkpoint_over(session.ledger().size - 1)
    entries = list(session.entries(all_kinds=True))
    leaves = [merkle.leaf_hash(entry.leaf_data) for entry in entries]

    assert merkle.root(leaves[: checkpoint.size]) == checkpoint.root
    assert checkpoint.findings.is_final
    assert checkpoint.findings.parties == ["OEM-A"]
    for entry in (entries[0], entries[len(entries) // 2], entries[checkpoint.size - 1]):
        path = session.prove_inclusion(entry, checkpoint)
        assert path == merkle.inclusion_path(leaves[: checkpoint.size], entry.head.index)


class _GoneOn(LedgerSession):
    """A session that submits an event itself once its stream has been opened anew twice."""

    stretches = 0

    def _stretch(self, request: Any, end_index: int | None) -> Iterator[LedgerEntry]:
        self.stretches += 1
        if self.stretches == 3:
            self.submit(new_events(1))
        return super()._stretch(request, end_index)


def test_following_goes_on_over_the_end_of_every_stream_and_misses_nothing(
    node: NodeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "STREAM_S", 0.3)
    settings = settings_of(node)
    with _GoneOn(settings, read_key_file(settings.batch_key)) as session:
        start = session.ledger().size
        entry = next(session.entries(start, follow=True))

    assert session.stretches == 3
    assert entry.head.index == start + 1


def test_an_altered_entry_proves_nothing(session: LedgerSession) -> None:
    (result,) = session.submit(new_events(1))
    assert result.index is not None
    checkpoint = session.checkpoint_over(result.index)
    entry = session.entry(result.index)
    altered = replace(entry, leaf_data=entry.leaf_data[:-1] + b"\0")

    with pytest.raises(ProofError, match="but the root claimed for size"):
        session.prove_inclusion(altered, checkpoint)


def with_root(checkpoint: LedgerCheckpoint, size: int, root: bytes) -> LedgerCheckpoint:
    known = checkpoint.findings.checkpoint
    findings = dataclasses.replace(
        checkpoint.findings, checkpoint=Checkpoint(known.origin, size, root)
    )
    return replace(checkpoint, findings=findings)


def test_a_later_checkpoint_continues_an_earlier_one_and_no_other(session: LedgerSession) -> None:
    first = session.checkpoint()
    (result,) = session.submit(new_events(1))
    assert result.index is not None
    second = session.checkpoint_over(result.index)
    other = hashlib.sha256(b"another history").digest()

    assert session.prove_consistency(first, second)
    assert session.prove_consistency(second, second) == []
    for lying in (with_root(first, first.size, other), with_root(second, second.size, other)):
        with pytest.raises(ProofError):
            session.prove_consistency(lying, second)
    with pytest.raises(ProofError, match="from a size of 1 or more to one not smaller"):
        session.prove_consistency(second, first)


def test_an_event_for_others_is_withheld_and_proven_all_the_same(node: NodeProcess) -> None:
    raw = measurement(next(NUMBERS), audience=["OEM-A"])
    with open_session(node) as mes:
        (result,) = mes.submit([raw])
        assert mes.entry(result.event_id).event == raw
    assert result.index is not None
    with open_session(node, "LAB-17025/lims") as lims:
        entry = lims.entry(result.index)
        assert (entry.withheld, entry.event, entry.event_id) == (True, b"", result.event_id)
        lims.prove_inclusion(entry, lims.checkpoint_over(result.index))
        with pytest.raises(NotOnLedgerError, match="is an event for other parties; ask its author"):
            lims.receipt(result.index)


def test_a_receipt_is_verified_and_is_of_the_entry_that_was_asked_for(
    session: LedgerSession,
) -> None:
    (result,) = session.submit(new_events(1))
    assert result.index is not None
    findings = verify_receipt(
        session.receipt(result.index),
        genesis_json=session.genesis.to_json(),
        chain_id=session.settings.chain_id,
    )

    assert (findings.index, findings.event_id) == (result.index, result.event_id)
    assert (findings.party, findings.holder) == ("T1-STATOR", "mes")


def test_only_events_have_receipts(session: LedgerSession) -> None:
    with pytest.raises(NotOnLedgerError, match="entry 1 is a block close; only events have"):
        session.receipt(1)


def test_a_snapshot_arrives_whole_and_tells_how_far_it_is(node: NodeProcess) -> None:
    told: list[tuple[int, int]] = []
    out = io.BytesIO()
    with open_session(node, "OEM-A/erp") as erp:
        erp.submit(new_events(1))
        size = erp.export_snapshot(out, progress=lambda *sizes: told.append(sizes))

    assert size == len(out.getvalue()) == told[-1][0] == told[-1][1]
    assert out.getvalue().startswith(b"manifest.json")


def test_a_snapshot_is_not_for_suppliers(session: LedgerSession) -> None:
    with pytest.raises(CallRefused, match="T1-STATOR has role supplier; ExportSnapshot is for"):
        session.export_snapshot(io.BytesIO())


# Whom one talks to


def test_another_chain_than_the_pinned_one_is_refused_before_any_call(node: NodeProcess) -> None:
    with pytest.raises(SignatureError, match="is pinned; ask your sponsor which is right"):
        LedgerSession(replace(settings_of(node), chain_id=bytes(32)))


def test_a_node_by_another_name_than_its_certificates_is_not_talked_to(node: NodeProcess) -> None:
    with (
        open_session(node, node_name="n2") as session,
        pytest.raises(ConnectionError, match="is not that node of this chain"),
    ):
        session.ledger()


def test_the_ledger_is_that_of_the_pinned_chain(session: LedgerSession) -> None:
    position = session.ledger()

    assert position.node == "OEM-A/n1"
    assert session.entry(0).head.kind is EntryKind.GENESIS
    assert session.entry(0).payload == session.settings.chain_id
    assert position.size >= 2


def free_address() -> str:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


def test_a_node_that_is_not_there_is_not_reachable(node: NodeProcess) -> None:
    address = free_address()
    with (
        open_session(node, node_address=address) as session,
        pytest.raises(
            ConnectionError, match=f"OEM-A/n1 at {address} cannot be reached: Connection"
        ),
    ):
        session.ledger()


def test_a_node_that_does_not_answer_is_given_up_at_the_deadline(
    node: NodeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "ANSWER_S", 0.3)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with (
            open_session(node, node_address=address) as session,
            pytest.raises(TimeoutError, match=f"{address} did not answer within 0.3 s; try again"),
        ):
            session.checkpoint()


def test_a_batch_counts_by_its_signature_whoever_delivers_it(node: NodeProcess) -> None:
    lab = node.client("LAB-17025", "lims").parent
    with open_session(
        node, certificate=lab / "cert.pem", certificate_key=lab / "key.pem"
    ) as session:
        (result,) = session.submit(new_events(1))

    assert result.outcome is Outcome.ACCEPTED
