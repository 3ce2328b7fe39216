"""What a witness cosigns, what it refuses, and what it keeps of a log that lies."""

import os
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from lotmark.checkpoint import Checkpoint, parse_checkpoint
from lotmark.cosignature import verify_cosignature
from lotmark.evidence import check_evidence
from lotmark.genesis import chain_id as chain_id_of
from lotmark.genesis import origin
from lotmark.merkle import EMPTY_ROOT
from lotmark.signed_note import Note, NoteSignature, parse_note, sign_note
from lotmark.tlog_witness import AddCheckpoint
from lotmark_node.witness import contradiction
from lotmark_node.witness.errors import (
    MemoryRefused,
    NotConsistent,
    NotSignedByLog,
    OldSizeDiffers,
    UnknownLog,
)
from lotmark_node.witness.memory import WitnessMemory, create_memory
from lotmark_node.witness.witness import WatchedLog, Witness
from tests.node.witness.growing_log import (
    FORKED,
    LOG,
    NOW_S,
    ORIGIN,
    WITNESS_KEY,
    WITNESS_NAME,
    WITNESS_VKEY,
    GrowingLog,
    open_witness,
    private_key,
)
from tests.proto.sample_genesis import private_key as sample_key
from tests.proto.sample_genesis import sample_genesis


@contextmanager
def witness_of(data: Path, *logs: WatchedLog) -> Iterator[Witness]:
    witness = open_witness(data, *logs)
    try:
        yield witness
    finally:
        witness.close()


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Witness]:
    with witness_of(tmp_path / "data") as opened:
        yield opened


def newest_size(witness: Witness) -> int:
    note = witness.newest(ORIGIN)
    return parse_checkpoint(note.text).size if note else 0


def test_a_log_that_grows_is_cosigned_at_each_size(witness: Witness) -> None:
    for old_size, size in ((0, 5), (5, 8), (8, 8), (8, 64)):
        cosignature = witness.add(LOG.request(old_size, size))

        assert verify_cosignature(LOG.note(size).text, cosignature, WITNESS_VKEY) == NOW_S
        assert newest_size(witness) == size


def test_a_proof_from_another_size_is_told_the_right_one(witness: Witness) -> None:
    witness.add(LOG.request(0, 8))

    for stale in (LOG.request(0, 13), LOG.request(5, 13), LOG.request(5, 5), LOG.request(9, 13)):
        with pytest.raises(OldSizeDiffers) as refused:
            witness.add(stale)
        assert refused.value.size == 8
    assert newest_size(witness) == 8


def test_a_tree_that_does_not_begin_with_the_last_one_is_refused(witness: Witness) -> None:
    witness.add(LOG.request(0, 7))
    good = LOG.request(7, 13)
    bad = [
        FORKED.request(7, 13),
        FORKED.request(7, 7),
        replace(good, proof=()),
        replace(good, proof=good.proof[::-1]),
        replace(good, proof=(*good.proof, bytes(32))),
        replace(LOG.request(7, 7), proof=(bytes(32),)),
    ]

    for request in bad:
        with pytest.raises(NotConsistent):
            witness.add(request)
    assert newest_size(witness) == 7
    witness.add(good)


def test_a_first_checkpoint_needs_no_proof_and_may_have_none(witness: Witness) -> None:
    with pytest.raises(NotConsistent, match="empty"):
        witness.add(replace(LOG.request(0, 8), proof=(bytes(32),)))

    assert witness.newest(ORIGIN) is None
    witness.add(LOG.request(0, 8))


def test_an_empty_log_has_the_root_of_the_empty_tree(witness: Witness) -> None:
    def of_size_zero(root: bytes) -> AddCheckpoint:
        text = Checkpoint(ORIGIN, 0, root).text()
        return AddCheckpoint(0, (), Note(text, (sign_note(text, ORIGIN, LOG.keys[0]),)))

    with pytest.raises(NotConsistent, match="empty tree"):
        witness.add(of_size_zero(bytes(32)))
    witness.add(of_size_zero(EMPTY_ROOT))
    witness.add(LOG.request(0, 3))


def test_a_log_that_is_not_watched_is_unknown(witness: Witness) -> None:
    with pytest.raises(UnknownLog, match="other"):
        witness.add(GrowingLog("log.example/other").request(0, 5))


def test_only_a_key_of_the_log_speaks_for_it(witness: Witness) -> None:
    request = LOG.request(0, 5)
    (true,) = request.note.signatures
    forged = replace(true, signature=bytes(64))
    stranger = NoteSignature("log.example/stranger", true.key_id, true.signature)

    for signatures in [(stranger,), (forged,), (true, forged), (forged, true)]:
        with pytest.raises(NotSignedByLog):
            witness.add(replace(request, note=Note(request.note.text, signatures)))
    with pytest.raises(NotSignedByLog):
        witness.add(replace(request, note=LOG.note(5, by=private_key("thief"))))
    witness.add(replace(request, note=Note(request.note.text, (stranger, true))))


def test_any_key_of_a_log_speaks_for_it(tmp_path: Path) -> None:
    log = GrowingLog(keys=[private_key("first leader"), private_key("second leader")])
    with witness_of(tmp_path / "data", log.watched()) as witness:
        witness.add(AddCheckpoint(0, (), log.note(5, by=log.keys[0])))
        witness.add(AddCheckpoint(5, tuple(log.path(5, 9)), log.note(9, by=log.keys[1])))

        assert newest_size(witness) == 9


def test_logs_are_remembered_apart(tmp_path: Path) -> None:
    other = GrowingLog("log.example/2")
    with witness_of(tmp_path / "data", LOG.watched(), other.watched()) as witness:
        witness.add(LOG.request(0, 8))
        witness.add(other.request(0, 5))
        witness.add(LOG.request(8, 9))

        with pytest.raises(OldSizeDiffers) as refused:
            witness.add(other.request(0, 9))
        assert refused.value.size == 5


def test_a_restart_keeps_what_was_cosigned(tmp_path: Path) -> None:
    with witness_of(tmp_path / "data") as witness:
        cosignature = witness.add(LOG.request(0, 8))

    with witness_of(tmp_path / "data") as witness:
        newest = witness.newest(ORIGIN)
        assert newest is not None
        assert newest == Note(LOG.note(8).text, (*LOG.note(8).signatures, cosignature))
        with pytest.raises(NotConsistent):
            witness.add(FORKED.request(8, 9))


def test_of_all_who_add_at_once_no_two_are_cosigned_from_one_size(witness: Witness) -> None:
    start = threading.Barrier(8)

    def add(history: GrowingLog, size: int) -> bool:
        start.wait()
        try:
            witness.add(history.request(0, size))
        except OldSizeDiffers:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        done = [
            pool.submit(add, history, size) for size in (5, 6, 7, 8) for history in (LOG, FORKED)
        ]

    assert [future.result() for future in done].count(True) == 1


def kept(data: Path) -> list[Path]:
    folder = data / contradiction.FOLDER
    return sorted(folder.iterdir()) if folder.exists() else []


def test_two_trees_of_one_size_become_a_file_that_convicts_the_leader(tmp_path: Path) -> None:
    genesis = sample_genesis()
    chain_id = chain_id_of(genesis.to_json())
    leader = sample_key("T1-STATOR/n1 LOG")
    honest, forked = (
        GrowingLog(origin(genesis, chain_id), keys=[leader], history=history)
        for history in ("honest", "forked")
    )
    with witness_of(tmp_path / "data", honest.watched(chain_id)) as witness:
        witness.add(honest.request(0, 8))
        for request in (forked.request(8, 8), forked.request(0, 8), forked.request(5, 8)):
            with pytest.raises((NotConsistent, OldSizeDiffers)):
                witness.add(request)

    (path,) = kept(tmp_path / "data")
    (convicted,) = check_evidence(path.read_bytes(), genesis, chain_id)
    assert (convicted.party, convicted.node, convicted.key) == ("T1-STATOR", "n1", leader.public)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_both_notes_of_a_foreign_log_that_lies_are_kept(tmp_path: Path) -> None:
    with witness_of(tmp_path / "data") as witness:
        cosignature = witness.add(LOG.request(0, 8))
        with pytest.raises(OldSizeDiffers):
            witness.add(FORKED.request(0, 8))

    first, second = (parse_note(path.read_bytes()) for path in kept(tmp_path / "data"))
    assert first == Note(LOG.note(8).text, (*LOG.note(8).signatures, cosignature))
    assert second == FORKED.note(8)


def test_what_its_log_did_not_sign_is_no_contradiction(tmp_path: Path) -> None:
    with witness_of(tmp_path / "data") as witness:
        witness.add(LOG.request(0, 8))
        with pytest.raises(NotSignedByLog):
            witness.add(AddCheckpoint(8, (), FORKED.note(8, by=private_key("thief"))))

    assert not kept(tmp_path / "data")


def test_a_log_that_lies_without_end_fills_no_disk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with witness_of(tmp_path / "data") as witness:
        witness.add(LOG.request(0, 8))
        for number in range(contradiction.KEPT_FILES_MAX):
            with pytest.raises(NotConsistent):
                witness.add(GrowingLog(history=f"lie {number}").request(8, 8))
        witness.add(LOG.request(8, 9))

    assert len(kept(tmp_path / "data")) == contradiction.KEPT_FILES_MAX
    assert "log contradicts itself, not kept" in caplog.messages


def memory_file(data: Path) -> Path:
    return data / "cosigned.json"


def used_memory(data: Path) -> bytes:
    """Return the memory of a witness that has cosigned and was stopped."""
    with witness_of(data) as witness:
        witness.add(LOG.request(0, 8))
    return memory_file(data).read_bytes()


def test_a_witness_without_its_memory_does_not_start(tmp_path: Path) -> None:
    used_memory(tmp_path / "data")
    memory_file(tmp_path / "data").unlink()

    with pytest.raises(MemoryRefused, match="new name and a new key"):
        open_witness(tmp_path / "data")
    (tmp_path / "data").rmdir()
    with pytest.raises(MemoryRefused, match="made with its key"):
        Witness(
            name=WITNESS_NAME, key=WITNESS_KEY, logs=[LOG.watched()], data=tmp_path / "data",
            now_s=lambda: NOW_S,
        )  # fmt: skip


def test_a_memory_that_is_not_whole_tells_the_truth_or_does_not_start(tmp_path: Path) -> None:
    raw = used_memory(tmp_path / "data")

    for at in range(0, len(raw), 7):
        memory_file(tmp_path / "data").write_bytes(raw[:at])
        with pytest.raises(MemoryRefused):
            open_witness(tmp_path / "data")
        memory_file(tmp_path / "data").write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        try:
            witness = open_witness(tmp_path / "data")
        except MemoryRefused:
            continue
        # Only the log's signature, which is evidence, is not covered by the witness's own.
        newest = witness.newest(ORIGIN)
        witness.close()
        assert newest is not None
        assert newest.text == LOG.note(8).text


def test_the_memory_of_another_key_is_refused(tmp_path: Path) -> None:
    used_memory(tmp_path / "data")

    with pytest.raises(MemoryRefused, match="is the memory of"):
        Witness(
            name=WITNESS_NAME, key=private_key("another"), logs=[LOG.watched()],
            data=tmp_path / "data", now_s=lambda: NOW_S,
        )  # fmt: skip


def test_two_witnesses_cannot_share_a_memory(tmp_path: Path) -> None:
    with (
        witness_of(tmp_path / "data"),
        pytest.raises(MemoryRefused, match="in use"),
    ):
        open_witness(tmp_path / "data")


def test_what_a_write_left_unfinished_is_not_read(tmp_path: Path) -> None:
    raw = used_memory(tmp_path / "data")
    (tmp_path / "data/cosigned.new").write_bytes(raw[:40])

    with witness_of(tmp_path / "data") as witness:
        assert newest_size(witness) == 8
        witness.add(LOG.request(8, 9))
        assert newest_size(witness) == 9


def test_nothing_is_cosigned_that_the_disk_did_not_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with witness_of(tmp_path / "data") as witness:
        witness.add(LOG.request(0, 5))
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            with pytest.raises(OSError, match="No space"):
                witness.add(LOG.request(5, 8))
        assert newest_size(witness) == 5
        witness.add(LOG.request(5, 8))


def test_a_memory_is_made_once(tmp_path: Path) -> None:
    create_memory(tmp_path / "data", WITNESS_VKEY)

    with pytest.raises(Exception, match="exists and is not overwritten"):
        create_memory(tmp_path / "data", WITNESS_VKEY)
    memory = WitnessMemory(tmp_path / "data", WITNESS_VKEY)
    assert memory.last(ORIGIN) is None
    memory.close()


def test_golden_memory(tmp_path: Path) -> None:
    golden = (Path(__file__).parent / "golden/cosigned.json").read_bytes()

    assert used_memory(tmp_path / "data") == golden
