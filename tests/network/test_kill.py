"""A real node is killed again and again while a client submits: nothing acknowledged is lost.

Set LOTMARK_SEED to the seed that a failure prints to draw the same instants again.
"""

import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from lotmark.batch import Batch, sign_batch
from lotmark.block import parse_block
from lotmark.block_results import leaves
from lotmark.checkpoint import Checkpoint, parse_checkpoint
from lotmark.client.connection import open_channel
from lotmark.client.settings import read_client_settings
from lotmark.entry import EntryKind, parse_leaf_data
from lotmark.genesis import chain_of, policy_text
from lotmark.key_file import read_key_file
from lotmark.merkle import Frontier, leaf_hash, verify_consistency
from lotmark.outcome import Outcome
from lotmark.signed_note import parse_note
from lotmark.tlog_policy import parse_policy
from lotmark.v1 import ledger_pb2, ledger_pb2_grpc
from lotmark_consensus.journal import Journal
from lotmark_node.engine.store import LedgerStore
from lotmark_node.state_machine import lthash
from lotmark_node.state_machine.genesis_block import make_genesis_block
from lotmark_node.state_machine.ledger_state import load_state
from lotmark_node.state_machine.prepared_batch import PreparedBatch
from lotmark_node.state_machine.state import StateInMemory
from lotmark_node.state_machine.transition import apply_block
from tests.node.ledger_in_memory import measurements
from tests.node.running_node import PROGRAM, NodeProcess
from tests.proto.sample_genesis import CREATED_MS

PARTY, HOLDER = "T1-STATOR", "line-l3"
ROUNDS = 26
RUNNING_S_MAX = 0.5
RECOVERY_KILLS_EVERY = 4  # rounds
RECOVERING_S = (0.4, 1.3)  # a start is killed after so long: some have not opened the folder yet
UNACKNOWLEDGED_MAX = 60
CALL_S = 20.0


class Outbox:
    """One device's batches in their order: what is not acknowledged is sent again."""

    def __init__(self, node: NodeProcess) -> None:
        self._key = read_key_file(node.client(PARTY, HOLDER).with_name("batch.key"))
        self._policy = parse_policy(policy_text(node.genesis, node.chain_id))
        self.chain_id = node.chain_id
        self.sent: list[Batch] = []
        self.acknowledged: dict[bytes, tuple[int, ...]] = {}  # by batch id
        self.newest: Checkpoint | None = None

    def batch(self, position: int) -> Batch:
        """Return the batch of a position from 0, the same each time."""
        while len(self.sent) <= position:
            at = len(self.sent)
            self.sent.append(
                sign_batch(
                    self._key,
                    measurements(at * 4, 1 + at % 4),
                    chain_id=self.chain_id,
                    party=PARTY,
                    lane=0,
                    sequence=at + 1,
                    previous=self.sent[-1].batch_id if self.sent else bytes(32),
                    created_at_ms=CREATED_MS + at,
                )
            )
        return self.sent[position]

    def run(self, node: NodeProcess, pick: random.Random) -> None:
        """Check what the node still knows, then submit until it is gone."""
        with open_channel(read_client_settings(node.client(PARTY, HOLDER))) as channel:
            stub = ledger_pb2_grpc.LedgerServiceStub(channel)
            self._check_log(stub, pick)
            process = node.process
            assert process is not None
            killing = threading.Timer(pick.uniform(0.0, RUNNING_S_MAX), process.kill)
            killing.start()
            with pytest.raises(grpc.RpcError) as ended:
                self._submit(stub, pick)
            killing.join()
            assert isinstance(ended.value, grpc.Call)
            assert ended.value.code() is grpc.StatusCode.UNAVAILABLE, ended.value.details()

    def _submit(self, stub: ledger_pb2_grpc.LedgerServiceStub, pick: random.Random) -> None:
        room = threading.Semaphore(UNACKNOWLEDGED_MAX)
        for response in stub.SubmitStream(self._requests(room, pick), timeout=CALL_S):
            for answer in response.answers:
                if answer.HasField("admission"):
                    assert answer.admission.accepted, answer.admission.detail
                    continue
                self._take(answer.acknowledgement)
                room.release()
            if pick.random() < 0.2:
                self._see_checkpoint(stub)

    def _requests(
        self, room: threading.Semaphore, pick: random.Random
    ) -> Iterator[ledger_pb2.SubmitRequest]:
        """Yield what is not acknowledged, and then new batches, a few at a time."""
        position = self.first_unacknowledged
        while True:
            count = pick.randint(1, 6)
            for _ in range(count):
                if not room.acquire(timeout=CALL_S):
                    return
            raws = [self.batch(position + at).raw for at in range(count)]
            position += count
            yield ledger_pb2.SubmitRequest(batches=raws)

    @property
    def first_unacknowledged(self) -> int:
        for position, batch in enumerate(self.sent):
            if batch.batch_id not in self.acknowledged:
                return position
        return len(self.sent)

    def _take(self, said: ledger_pb2.Acknowledgement) -> None:
        told = (said.batch_index, said.height, said.time_ms, said.outcome, *said.event_outcomes)
        assert said.outcome == Outcome.ACCEPTED
        assert self.acknowledged.setdefault(said.batch_id, told) == told, "another answer"

    def _see_checkpoint(self, stub: ledger_pb2_grpc.LedgerServiceStub) -> Checkpoint:
        """Take the newest checkpoint, which extends the one before."""
        found = stub.GetCheckpoint(ledger_pb2.GetCheckpointRequest(), timeout=CALL_S)
        note = parse_note(found.note)
        self._policy.check(note)
        checkpoint = parse_checkpoint(note.text)
        before, self.newest = self.newest, checkpoint
        if before is not None:
            assert checkpoint.size >= before.size, "the log became shorter"
            proof = stub.GetConsistencyProof(
                ledger_pb2.GetConsistencyProofRequest(
                    first_size=before.size, second_size=checkpoint.size
                ),
                timeout=CALL_S,
            )
            verify_consistency(
                before.size, checkpoint.size, before.root, checkpoint.root, list(proof.path)
            )
        return checkpoint

    def _check_log(self, stub: ledger_pb2_grpc.LedgerServiceStub, pick: random.Random) -> None:
        """Check that the node has all that it acknowledged before."""
        self._see_checkpoint(stub)
        key = ledger_pb2.GetLaneStateRequest(key=self._key.public, lane=0)
        lane = stub.GetLaneState(key, timeout=CALL_S)
        assert lane.sequence >= len(self.acknowledged)
        for batch_id in pick.sample(sorted(self.acknowledged), min(6, len(self.acknowledged))):
            index = self.acknowledged[batch_id][0]
            entry = stub.GetEntry(ledger_pb2.GetEntryRequest(index=index), timeout=CALL_S)
            head, payload = parse_leaf_data(entry.leaf_data)
            (sent,) = [batch for batch in self.sent if batch.batch_id == batch_id]
            assert (head.kind, payload) == (EntryKind.BATCH, sent.signed_header)


def kill_while_recovering(node: NodeProcess, after_s: float, *, without_ledger: bool) -> None:
    """Start the node and kill it before it may have become ready."""
    if without_ledger:
        shutil.rmtree(node.data / "ledger", ignore_errors=True)
    with subprocess.Popen(  # noqa: S603 - our own program
        [*PROGRAM, "node", "run", str(node.settings), "--json"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            process.wait(after_s)
        except subprocess.TimeoutExpired:
            process.kill()
        assert process.wait() == -9, "it did not end by itself"


def test_a_node_that_is_killed_at_random_instants_loses_nothing_it_acknowledged(
    tmp_path: Path,
) -> None:
    seed = int(os.environ.get("LOTMARK_SEED") or time.time_ns() % 2**32)
    print(f"seed {seed}")  # noqa: T201 - to draw the same instants again
    pick = random.Random(seed)  # noqa: S311 - as said
    node = NodeProcess(tmp_path / "work")
    outbox = Outbox(node)
    counts = []
    for number in range(ROUNDS):
        if number % RECOVERY_KILLS_EVERY == 1:
            kill_while_recovering(
                node, pick.uniform(*RECOVERING_S), without_ledger=pick.random() < 0.5
            )
        node.start()
        outbox.run(node, pick)
        node.kill()
        counts.append(len(outbox.acknowledged))
    assert counts[-1] > ROUNDS, counts
    assert len(set(counts)) > ROUNDS // 2, f"most rounds acknowledge something: {counts}"

    node.start()
    assert node.stop() == 0
    check_against_memory(node, outbox)


def check_against_memory(node: NodeProcess, outbox: Outbox) -> None:
    """Check that what is on the disk is what the same blocks make in memory."""
    store = LedgerStore(node.data / "ledger", node.chain_id)
    journal = Journal(node.data / "journal", node.chain_id)
    loaded = store.load_position()
    assert loaded is not None
    position, place = loaded
    blocks = [store.block(height) for height in range(1, position.height + 1)]
    assert [ordered.block for ordered in journal.read(1)] == blocks
    assert place.index == position.height

    first = make_genesis_block(node.genesis, node.chain_id)
    rows = StateInMemory()
    rows.write(first.changes.changed())
    state = load_state(
        rows,
        first.position,
        chain=chain_of(node.genesis, node.chain_id),
    )
    entries = [*first.leaves]
    turns = []
    for height, raw in enumerate(blocks, 1):
        block = parse_block(raw)
        effects = apply_block(state, block, [PreparedBatch(each) for each in block.batches])
        rows.write(effects.changes)
        effects.commit()
        assert store.raw_results(height) == effects.results.encode()
        entries += [data for data, _ in leaves(block.batches, effects.results)]
        turns.append((block.proposal.term, block.proposal.counter))
    frontier = Frontier()
    frontier.extend([leaf_hash(entry) for entry in entries])
    assert store.tree.root(frontier.size) == frontier.root() == state.frontier.root()
    assert lthash.digest(lthash.lanes_from_bytes(position.lanes)) == lthash.digest(state.lanes)
    assert dict(store.rows(b"")) == dict(rows.rows(b""))
    assert turns == [(1, counter) for counter in range(1, len(blocks) + 1)]
    check_batches(entries, outbox)
    store.close()
    journal.close()


def check_batches(entries: list[bytes], outbox: Outbox) -> None:
    """Check that every batch stands once, in order, where its acknowledgement says."""
    payloads: list[Any] = []
    for index, entry in enumerate(entries):
        head, payload = parse_leaf_data(entry)
        if head.kind == EntryKind.BATCH:
            assert head.outcome == Outcome.ACCEPTED
            payloads.append((index, head.height, head.time_ms, payload))
    sent = [batch.signed_header for batch in outbox.sent]
    assert [payload for *_, payload in payloads] == sent[: len(payloads)]
    places = {
        batch.batch_id: tuple(place[:3])
        for batch, place in zip(outbox.sent, payloads, strict=False)
    }
    assert len(payloads) >= len(outbox.acknowledged)
    for batch_id, told in outbox.acknowledged.items():
        assert places[batch_id] == told[:3]


def test_a_node_that_is_killed_in_every_start_opens_in_the_end(tmp_path: Path) -> None:
    """With its ledger deleted, so that each start has all of the journal to apply."""
    seed = int(os.environ.get("LOTMARK_SEED") or time.time_ns() % 2**32)
    print(f"seed {seed}")  # noqa: T201 - to draw the same instants again
    pick = random.Random(seed)  # noqa: S311 - as said
    node = NodeProcess(tmp_path / "work")
    outbox = Outbox(node)
    node.start()
    outbox.run(node, pick)
    node.kill()
    shutil.rmtree(node.data / "ledger")
    for _ in range(6):
        kill_while_recovering(node, pick.uniform(*RECOVERING_S), without_ledger=False)
    node.start()
    outbox.run(node, pick)
    node.kill()
    node.start()
    assert node.stop() == 0
    check_against_memory(node, outbox)


def test_a_second_node_on_the_same_folder_says_so_and_harms_nothing(tmp_path: Path) -> None:
    node = NodeProcess(tmp_path / "work")
    node.start()
    try:
        done = node.lotmark("node", "run", str(node.settings))
        assert done.returncode != 0
        assert "held by process" in done.stderr
        assert node.process is not None
        assert node.process.poll() is None
    finally:
        assert node.stop() == 0
