"""A session with a real node: it reads, proves, and believes nothing that it can check."""

import dataclasses
import hashlib
import io
import itertools
import socket
import time
from collections.abc import Iterator
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
from lotmark.client.submission import EventResult
from lotmark.ed25519 import PrivateKey
from lotmark.entry import EntryKind
from lotmark.errors import ProofError, SignatureError
from lotmark.event import EVENT_TYPES
from lotmark.governing_events import GoverningEvents
from lotmark.key_file import read_key_file
from lotmark.key_grant import KeyGrant, KeyPurpose
from lotmark.verify.key_register import KeyRegister
from lotmark.verify.receipt import verify_receipt
from tests.node.ledger_in_memory import measurement, transformation
from tests.node.running_node import NodeProcess, node_process
from tests.node.submitting import submit_events

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
    return LedgerSession(replace(settings_of(node, client), **changed))


def submit(node: NodeProcess, *events: bytes, client: str = "T1-STATOR/mes") -> list[EventResult]:
    """Submit events, or a new one where none is given."""
    return submit_events(settings_of(node, client), events or new_events(1))


@pytest.fixture
def session(node: NodeProcess) -> Iterator[LedgerSession]:
    with open_session(node) as opened:
        yield opened


def new_events(count: int, **fields: Any) -> list[bytes]:
    """Return events that no test has submitted yet."""
    return [measurement(next(NUMBERS), **fields) for _ in range(count)]


def test_what_is_not_on_the_ledger_is_said_to_be_not_there(
    node: NodeProcess,
    session: LedgerSession,
) -> None:
    submit(node)
    with pytest.raises(NotOnLedgerError, match="entry 99999 is not on the ledger"):
        session.entry(99_999)
    with pytest.raises(NotOnLedgerError, match="is not on the ledger"):
        session.entry(hashlib.sha256(b"nothing").digest())
    with pytest.raises(NotOnLedgerError, match="entry 99999 is not on the ledger; it has"):
        session.receipt(99_999)


def test_entries_pass_the_filters_that_were_asked_for(node: NodeProcess) -> None:
    item = f"LOT-{next(NUMBERS)}"
    with open_session(node) as mes:
        start = mes.ledger().size
        wound = transformation("wind", [item], [f"{item}-1"])
        submit(node, *new_events(1, item=item), wound)
        submit(node, *new_events(1, item=item), client="OEM-A/erp")

        def found(**filters: Any) -> list[int]:
            return [entry.head.index - start for entry in mes.entries(start, **filters)]

        assert found() == [1, 2, 5]
        assert found(event_types=[EVENT_TYPES["transformation"]]) == [2]
        assert found(parties=["OEM-A"]) == [5]
        assert found(item=f"{item}-1") == [2]
        assert found(item="LOT") == []
        assert found(all_kinds=True) == [0, 1, 2, 3, 4, 5, 6]


def test_all_entries_make_the_tree_that_the_checkpoint_signs(
    node: NodeProcess, session: LedgerSession
) -> None:
    submit(node)
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
            submit_events(self.settings, new_events(1))
        return super()._stretch(request, end_index)


def test_following_goes_on_over_the_end_of_every_stream_and_misses_nothing(
    node: NodeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "STREAM_S", 0.3)
    settings = settings_of(node)
    with _GoneOn(settings) as session:
        start = session.ledger().size
        entry = next(session.entries(start, follow=True))

    assert session.stretches == 3
    assert entry.head.index == start + 1


def test_an_altered_entry_proves_nothing(
    node: NodeProcess,
    session: LedgerSession,
) -> None:
    (result,) = submit(node)
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


def test_a_later_checkpoint_continues_an_earlier_one_and_no_other(
    node: NodeProcess, session: LedgerSession
) -> None:
    first = session.checkpoint()
    (result,) = submit(node)
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


def test_a_root_of_the_past_is_proven_by_a_later_checkpoint(
    node: NodeProcess, session: LedgerSession
) -> None:
    first = session.checkpoint()
    (result,) = submit(node)
    assert result.index is not None
    second = session.checkpoint_over(result.index)
    lying = with_root(second, second.size, hashlib.sha256(b"another history").digest())

    assert session.root_at(first.size, second) == first.root
    assert session.root_at(second.size, second) == second.root
    for size in (first.size, second.size):
        with pytest.raises(ProofError):
            session.root_at(size, lying)
    with pytest.raises(CallRefused):
        session.root_at(second.size, first)


def test_an_event_for_others_is_withheld_and_proven_all_the_same(node: NodeProcess) -> None:
    raw = measurement(next(NUMBERS), audience=["OEM-A"])
    with open_session(node) as mes:
        (result,) = submit(node, raw)
        assert mes.entry(result.event_id).event == raw
    assert result.index is not None
    with open_session(node, "LAB-17025/lims") as lims:
        entry = lims.entry(result.index)
        assert (entry.withheld, entry.event, entry.event_id) == (True, b"", result.event_id)
        lims.prove_inclusion(entry, lims.checkpoint_over(result.index))
        with pytest.raises(NotOnLedgerError, match="is an event for other parties; ask its author"):
            lims.receipt(result.index)


def test_a_receipt_is_verified_and_is_of_the_entry_that_was_asked_for(
    node: NodeProcess,
    session: LedgerSession,
) -> None:
    (result,) = submit(node)
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
        submit(node, client="OEM-A/erp")
        size = erp.export_snapshot(out, progress=lambda *sizes: told.append(sizes))

    assert size == len(out.getvalue()) == told[-1][0] == told[-1][1]
    assert out.getvalue().startswith(b"manifest.json")


def test_a_snapshot_is_not_for_suppliers(session: LedgerSession) -> None:
    with pytest.raises(CallRefused, match="T1-STATOR has role supplier; ExportSnapshot is for"):
        session.export_snapshot(io.BytesIO())


def test_who_may_do_what_is_told_in_part_or_in_whole_and_both_are_proven(
    node: NodeProcess, session: LedgerSession
) -> None:
    settings = settings_of(node)
    roots = [read_key_file(path) for path in sorted((node.folder / "T1-STATOR/roots").iterdir())]
    now_ms = time.time_ns() // 1_000_000
    events = GoverningEvents(settings.chain_id, now_ms=now_ms)
    new = [PrivateKey.generate() for _ in range(3)]
    grants = [
        KeyGrant(
            key=key.public,
            party="T1-STATOR",
            purpose=KeyPurpose.BATCH,
            holder=f"device-{number}",
            not_before_ms=now_ms - 1_000,
            not_after_ms=now_ms + 1_000_000,
        )
        for number, key in enumerate(new)
    ]
    registered = [events.register(each, key, roots) for each, key in zip(grants, new, strict=True)]
    results = submit(node, *registered)
    session.checkpoint_over(max(result.index or 0 for result in results))

    nothing = session.governed().keys
    one = session.governed(batch_key=new[1].public).keys
    everything = session.governed(everything=True).keys

    def known(register: KeyRegister) -> list[bool]:
        return [register.key(key.public) is not None for key in new]

    assert [known(each) for each in (nothing, one, everything)] == [
        [False] * 3,
        [False, True, False],
        [True] * 3,
    ]
    assert nothing.policy == one.policy == everything.policy


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
