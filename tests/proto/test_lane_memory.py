"""No number of a lane is signed twice, whatever the node says and wherever the client stopped."""

import itertools
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lotmark.batch import ZERO_HASH, Batch, parse_one_batch, sign_batch
from lotmark.client.lane_memory import LaneMemory, LaneMemoryError, LaneStateError
from lotmark.client.session import LedgerSession
from lotmark.client.settings import read_client_settings
from lotmark.client.submission import EventResult
from lotmark.ed25519 import PrivateKey
from lotmark.key_file import read_key_file
from lotmark.outcome import Outcome
from tests.node.cutting_relay import CuttingRelay
from tests.node.ledger_in_memory import measurement
from tests.node.running_node import NodeProcess, node_process
from tests.proto.test_session import Tripwire

CHAIN_ID = bytes(range(32))
OTHER_ID = bytes([7]) * 32
KEY = PrivateKey.from_seed(bytes([9]) * 32)
NUMBERS = itertools.count()


def memory_in(folder: Path, *, lane: int = 3, chain_id: bytes = CHAIN_ID) -> LaneMemory:
    return LaneMemory(folder / "batch.key", KEY.public, chain_id=chain_id, lane=lane)


def signed(sequence: int, previous: bytes, events: int = 1) -> Batch:
    return sign_batch(
        KEY,
        [measurement(next(NUMBERS)) for _ in range(events)],
        chain_id=CHAIN_ID,
        lane=3,
        sequence=sequence,
        previous=previous,
        created_at_ms=1_700_000_000_000,
        party="T1-STATOR",
    )


# The file


def test_a_lane_in_which_nothing_was_signed_takes_what_the_node_shows(tmp_path: Path) -> None:
    assert memory_in(tmp_path).missing_on("n1", 0, ZERO_HASH) is None
    assert memory_in(tmp_path).missing_on("n1", 41, OTHER_ID) is None


def test_a_node_that_has_the_last_batch_or_more_lacks_none(tmp_path: Path) -> None:
    batch = signed(5, OTHER_ID)
    memory_in(tmp_path).keep(batch)

    assert memory_in(tmp_path).missing_on("n1", 5, batch.batch_id) is None
    assert memory_in(tmp_path).missing_on("n1", 9, OTHER_ID) is None
    assert memory_in(tmp_path, lane=4).missing_on("n1", 0, ZERO_HASH) is None


def test_a_node_that_stands_one_before_lacks_exactly_the_bytes_that_were_signed(
    tmp_path: Path,
) -> None:
    batch = signed(5, OTHER_ID, events=3)
    memory_in(tmp_path).keep(batch)
    missing = memory_in(tmp_path).missing_on("n1", 4, OTHER_ID)
    assert missing is not None
    assert missing.raw == batch.raw

    first = signed(1, ZERO_HASH)
    memory_in(tmp_path).keep(first)
    missing = memory_in(tmp_path).missing_on("n1", 0, ZERO_HASH)
    assert missing is not None
    assert missing.raw == first.raw, "only the newest is remembered"


@pytest.mark.parametrize(
    ("sequence", "batch_id"),
    [(0, ZERO_HASH), (3, OTHER_ID), (4, ZERO_HASH), (5, OTHER_ID), (5, ZERO_HASH)],
)
def test_a_node_that_shows_less_or_another_batch_is_refused_with_what_to_do(
    tmp_path: Path, sequence: int, batch_id: bytes
) -> None:
    batch = signed(5, OTHER_ID)
    memory_in(tmp_path).keep(batch)

    with pytest.raises(LaneStateError) as raised:
        memory_in(tmp_path).missing_on("n1", sequence, batch_id)
    text = str(raised.value)
    assert f"number 5 of lane 3 last, batch {batch.batch_id.hex()}" in text
    assert f"n1 shows the lane at number {sequence}, batch" in text
    assert "try again in a minute. Else the node was restored from an old copy" in text
    assert "another lane with --lane, or have this one closed" in text


def test_the_file_is_for_its_owner_only_and_nothing_else_is_left_beside_it(tmp_path: Path) -> None:
    memory = memory_in(tmp_path)
    memory.keep(signed(1, ZERO_HASH))
    memory.keep(signed(2, OTHER_ID))

    assert list(tmp_path.iterdir()) == [memory.path]
    assert memory.path.name == f"batch.key.lane-3-{KEY.public.hex()[:16]}"
    assert memory.path.stat().st_mode & 0o777 == 0o600


def test_a_flipped_bit_anywhere_in_the_file_is_refused_and_not_taken_for_a_fresh_lane(
    tmp_path: Path,
) -> None:
    memory = memory_in(tmp_path)
    memory.keep(signed(5, OTHER_ID))
    content = memory.path.read_bytes()
    for offset in range(len(content)):
        flipped = bytearray(content)
        flipped[offset] ^= 1 << offset % 8
        memory.path.write_bytes(flipped)
        with pytest.raises(LaneMemoryError, match=r"does not hold what .* another lane with"):
            memory.missing_on("n1", 5, OTHER_ID)


def test_a_file_of_another_chain_or_lane_is_refused(tmp_path: Path) -> None:
    memory_in(tmp_path).keep(signed(5, OTHER_ID))
    shutil.copy(memory_in(tmp_path).path, memory_in(tmp_path, lane=4).path)

    for other in (memory_in(tmp_path, lane=4), memory_in(tmp_path, chain_id=OTHER_ID)):
        with pytest.raises(LaneMemoryError, match="it is of another chain, key or lane"):
            other.missing_on("n1", 5, OTHER_ID)


def test_a_folder_that_takes_no_file_is_said_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(LaneMemoryError, match="cannot be written: No such file or directory; the"):
        memory_in(tmp_path / "missing").keep(signed(1, ZERO_HASH))


# With a node


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    with node_process(tmp_path_factory.mktemp("lanes") / "consortium") as running:
        yield running


def open_session(node: NodeProcess, key: PrivateKey | None = None) -> LedgerSession:
    settings = read_client_settings(node.client())
    return LedgerSession(settings, key or read_key_file(settings.batch_key))


def submit(
    node: NodeProcess, lane: int, *events: bytes, key: PrivateKey | None = None
) -> list[EventResult]:
    with open_session(node, key) as session:
        return session.submit(events or [measurement(next(NUMBERS))], lane=lane)


def never_arrives(node: NodeProcess, lane: int, *events: bytes) -> None:
    """Submit events in a batch that is signed and never reaches the node."""
    host, _, port = node.address.rpartition(":")
    settings = read_client_settings(node.client())
    with CuttingRelay((host, int(port))) as relay:
        key = Tripwire(read_key_file(settings.batch_key).seed, relay.close)
        session = LedgerSession(replace(settings, node_address=relay.address), key)
        with session, pytest.raises((ConnectionError, TimeoutError)):
            session.submit(events, lane=lane)


def test_a_batch_that_never_arrived_is_sent_before_the_next_one_of_its_lane(
    node: NodeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lotmark.client.session.SUBMIT_S", 1.0)
    lost, following = [measurement(next(NUMBERS)) for _ in range(2)]
    submit(node, 1)
    never_arrives(node, 1, lost)
    (result,) = submit(node, 1, following)

    assert result.outcome is Outcome.ACCEPTED
    with open_session(node) as session:
        events = [entry.event for entry in session.entries()]
    assert events.index(lost) == events.index(following) - 1


def test_events_that_never_arrived_and_are_asked_for_again_count_once(
    node: NodeProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lotmark.client.session.SUBMIT_S", 1.0)
    events = [measurement(next(NUMBERS)) for _ in range(3)]
    never_arrives(node, 2, *events[:2])
    results = submit(node, 2, *events)

    assert [result.outcome for result in results] == [Outcome.ACCEPTED] * 3
    assert len({result.index for result in results}) == 3


def test_a_batch_that_was_refused_without_its_number_stays_the_only_one_with_it(
    node: NodeProcess,
) -> None:
    stranger = PrivateKey.generate()
    refused, kept_back = submit(node, 0, key=stranger) + submit(node, 0, key=stranger)
    folder = node.client().parent
    (path,) = folder.glob(f"batch.key.lane-0-{stranger.public.hex()[:16]}")

    assert refused.outcome is kept_back.outcome is Outcome.KEY_UNKNOWN
    assert "not sent, since the batch before was refused: KEY_UNKNOWN" in kept_back.detail
    assert "number 1, was signed last in lane 0 and goes first" in kept_back.detail
    assert parse_one_batch(path.read_bytes()).event_ids == [refused.event_id]


def test_a_node_restored_from_an_old_copy_makes_no_client_sign_a_number_twice(
    tmp_path: Path,
) -> None:
    with node_process(tmp_path / "consortium") as node:
        submit(node, 0)
        node.stop()
        shutil.copytree(node.data, tmp_path / "one")
        node.start()
        submit(node, 0)
        node.stop()
        shutil.copytree(node.data, tmp_path / "two")
        node.start()
        (last,) = submit(node, 0)

        restore(node, tmp_path / "one")
        with pytest.raises(LaneStateError, match=r"number 3 of lane 0 last.*at number 1, batch"):
            submit(node, 0)
        assert submit(node, 1)[0].outcome is Outcome.ACCEPTED

        restore(node, tmp_path / "two")
        assert submit(node, 0)[0].outcome is Outcome.ACCEPTED
        with open_session(node) as session:
            assert session.entry(last.event_id).event_id == last.event_id, (
                "its batch was sent again"
            )


def restore(node: NodeProcess, copy: Path) -> None:
    """Start the node again with the data of an earlier day."""
    node.stop()
    shutil.rmtree(node.data)
    shutil.copytree(copy, node.data)
    node.start()
