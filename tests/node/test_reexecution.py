"""Full verification: confirms what an honest ledger says, and not what a dishonest quorum does."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotmark.batch import ClockState
from lotmark.block import encode_block, parse_block, sign_block
from lotmark.block_results import BatchResult, BlockResults, leaf_hashes, parse_results
from lotmark.entry import leaf_data, parse_close, parse_leaf_data
from lotmark.errors import ProofError, ProtocolError
from lotmark.key_grant import KeyPurpose
from lotmark.merkle import Frontier, leaf_hash
from lotmark.outcome import Outcome
from lotmark.snapshot import SnapshotStart, parse_manifest
from lotmark.verify.governance_chain import follow_entries
from lotmark.verify.judge import judge_file
from lotmark.verify.key_register import KeyRegister
from lotmark.verify.report import Conclusion, Fault, Verdict
from lotmark_node.state_machine.state import StateInMemory
from lotmark_node.state_machine.tables import Table, row_key
from lotmark_node.verification.state_file import check_governed_rows, load_rows
from lotmark_node.verification.verify import verify_snapshot
from tests.node.eventful_ledger import DEVICE, eventful_ledger
from tests.node.ledger_in_memory import (
    LedgerInMemory,
    consortium,
    measurement,
    measurements,
    transformation,
)
from tests.node.snapshot_source import (
    SourceInMemory,
    joined,
    members_of,
    packed,
    pairs_of,
    snapshot_of,
    with_member,
)
from tests.proto.sample_genesis import private_key

LEDGER = eventful_ledger()
FULL = snapshot_of(LEDGER)
RANGE = snapshot_of(LEDGER, first_height=6)
ROWS = pairs_of(members_of(RANGE)["state.bin"])
ROOT = Path(__file__).parents[2]


def verified(raw: bytes, ledger: LedgerInMemory = LEDGER) -> Verdict:
    return verify_snapshot(io.BytesIO(raw), chain_id=ledger.chain_id)


def fault_in(raw: bytes, ledger: LedgerInMemory = LEDGER) -> Fault:
    verdict = verified(raw, ledger)
    assert verdict.conclusion is Conclusion.INVALID, verdict.text
    assert verdict.fault is not None, "an invalid file has a fault"
    return verdict.fault


def structure_of(raw: bytes, ledger: LedgerInMemory = LEDGER) -> Conclusion:
    return judge_file(io.BytesIO(raw), chain_id=ledger.chain_id, genesis_json=None).conclusion


def with_last_block(
    raw: bytes, block: bytes, results: BlockResults, ledger: LedgerInMemory = LEDGER
) -> bytes:
    """Return a snapshot whose last block is another, which every cosigner has signed."""
    members = members_of(raw)
    name = next(name for name in members if name.startswith("blocks/"))
    pairs = pairs_of(members[name])
    members[name] = joined([*pairs[:-1], (block, results.encode())])
    frontier = Frontier()
    frontier.extend(ledger.leaf_hashes[: ledger.sizes[-2]])
    frontier.extend(leaf_hashes(parse_block(block).batches, results))
    manifest = replace(parse_manifest(members["manifest.json"]), size=frontier.size)
    members["manifest.json"] = manifest.to_json()
    members["checkpoint.txt"] = ledger.checkpoint_note(size=frontier.size, root=frontier.root())
    return packed(members)


def test_every_snapshot_of_an_honest_ledger_is_valid() -> None:
    for first_height in range(1, 10):
        verdict = verified(snapshot_of(LEDGER, first_height=first_height))

        assert verdict.conclusion is Conclusion.VALID, verdict.text


def test_a_range_says_on_whose_word_its_beginning_stands() -> None:
    verdict = verified(RANGE)

    assert verdict.ticks[-1] == "re-executed 4 blocks"
    assert verdict.text.endswith(
        "State at height 5 on the word of 3 parties; executed again from 6 to 9."
    )


def test_a_missing_quorum_allows_no_verdict_also_when_all_is_executed() -> None:
    verdict = verified(snapshot_of(LEDGER, note=LEDGER.checkpoint_note(cosigners=["OEM-A/n1"])))

    assert verdict.conclusion is Conclusion.CANNOT_TELL
    assert verdict.ticks[-1] == "re-executed 9 blocks"


def test_progress_goes_over_every_block_twice() -> None:
    seen: list[tuple[int, int]] = []
    verify_snapshot(
        io.BytesIO(RANGE),
        chain_id=LEDGER.chain_id,
        progress=lambda done, total: seen.append((done, total)),
    )

    assert seen == [(done, 8) for done in range(1, 9)]


@st.composite
def _key_events(draw: st.DrawFn, ledger: LedgerInMemory) -> bytes:
    """Make an event about the keys of two presses, which the ledger may have to refuse."""
    press, other = (f"press-{number}" for number in draw(st.permutations((0, 1))))
    key, other_key = (private_key(f"T1-STATOR/{name} BATCH").public for name in (press, other))
    match draw(st.integers(0, 4)):
        case 0:
            return ledger.registration("T1-STATOR", KeyPurpose.BATCH, press, event_types=(19,))
        case 1:
            return ledger.registration("T1-STATOR", KeyPurpose.BATCH, press, replaces=other_key)
        case 2:
            return ledger.revocation("T1-STATOR", key, compromised_since_ms=1_766_448_010_000)
        case 3:
            return ledger.lane_closure("T1-STATOR", key, 1)
        case _:
            return transformation("wind", ["W1"], [f"ST-{press}"])


@st.composite
def ledgers(draw: st.DrawFn) -> LedgerInMemory:
    """Make a ledger of honest nodes and of authors who do all sorts of things."""
    ledger = LedgerInMemory(consortium(duplicate_window_events=12, quota_events=25))
    holders = [DEVICE, "T1-STATOR/mes", "OEM-A/erp", "T1-STATOR/press-0", "T1-STATOR/press-1"]
    headers: list[dict[str, Any]] = [
        {},
        {},
        {},
        {"sequence": 1, "previous": bytes(32)},
        {"sequence": 40},
        {"previous": b"\1" * 32},
        {"schema": 9},
        {"party": "OEM-A"},
        {"created_at_ms": 5},
        {"chain_id": bytes(32)},
        {"key": private_key("nobody")},
        {"seen_size": 4},
    ]
    for _ in range(draw(st.integers(1, 6))):
        batches = []
        for _ in range(draw(st.integers(0, 4))):
            count = draw(st.integers(1, 4))
            events = measurements(draw(st.integers(0, 12)), count)
            if draw(st.booleans()):
                events.append(draw(_key_events(ledger)))
            lane = draw(st.integers(0, 1))
            header = draw(st.sampled_from(headers))
            batches.append(
                ledger.batch(draw(st.sampled_from(holders)), events, lane=lane, **header)
            )
        ledger.block(batches, time_ms=ledger.state.time_ms + draw(st.integers(0, 40_000)))
    return ledger


@settings(max_examples=40, deadline=None)
@given(ledger=ledgers(), data=st.data())
def test_an_honest_ledger_is_valid_from_any_height(
    ledger: LedgerInMemory, data: st.DataObject
) -> None:
    first_height = data.draw(st.integers(1, ledger.height))
    verdict = verified(snapshot_of(ledger, first_height=first_height), ledger)

    assert verdict.conclusion is Conclusion.VALID, verdict.text


def test_the_hash_seed_of_python_changes_nothing() -> None:
    code = (
        "from tests.node.eventful_ledger import eventful_ledger as ledger;"
        "print(ledger().root().hex(), *[hash(key) for key in ('a',)])"
    )
    outputs = []
    for seed in ("0", "1", "4242"):
        done = subprocess.run(  # noqa: S603  # our own program
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
        )
        outputs.append(done.stdout.split())

    assert {root for root, _ in outputs} == {LEDGER.root().hex()}
    assert len({hashed for _, hashed in outputs}) == 3, "the seeds did take effect"


def last_block() -> tuple[bytes, BlockResults]:
    block, results = LEDGER.blocks[-1]
    return block, parse_results(results)


@pytest.mark.parametrize(
    ("forge", "place", "message"),
    [
        (
            lambda old: replace(old, close=replace(old.close, state_digest=bytes(32))),
            ("state digest", 9, 52),
            "state_digest 0000000000",
        ),
        (
            lambda old: replace(
                old,
                batches=[BatchResult(0, [Outcome.EVENT_DUPLICATE])],
                close=replace(old.close, refused_event_count=1),
            ),
            ("outcome", 9, 51),
            "event outcome EVENT_DUPLICATE is recorded, execution gives ACCEPTED",
        ),
        (
            lambda old: replace(
                old,
                batches=[BatchResult(Outcome.QUOTA_EXCEEDED)],
                close=replace(old.close, event_count=0, refused_batch_count=1),
            ),
            ("outcome", 9, 50),
            "batch outcome QUOTA_EXCEEDED is recorded, execution gives ACCEPTED",
        ),
    ],
)
def test_a_result_that_everybody_signed_but_nobody_could_compute_is_found(
    forge: Callable[[BlockResults], BlockResults],
    place: tuple[str, int, int],
    message: str,
) -> None:
    block, results = last_block()
    raw = with_last_block(FULL, block, forge(results))
    fault = fault_in(raw)

    assert structure_of(raw) is Conclusion.VALID
    assert (fault.rule, fault.height, fault.index) == place
    assert message in fault.text
    assert verified(raw).ticks[0] == "structure"


def test_evidence_that_was_kept_back_is_found() -> None:
    ledger = LedgerInMemory()
    ledger.block([ledger.batch(DEVICE, [measurement(1)])])
    reused = ledger.batch(DEVICE, [measurement(2)], sequence=1, previous=bytes(32))
    ledger.block([reused])
    block, raw = ledger.blocks[-1]
    results = parse_results(raw)
    assert results.batches[0].evidence, "the ledger keeps it"
    kept_back = replace(
        results,
        batches=[BatchResult(Outcome.SEQUENCE_REUSED)],
        close=replace(results.close, equivocation_count=0),
    )
    forged = with_last_block(snapshot_of(ledger), block, kept_back, ledger)
    fault = fault_in(forged, ledger)

    assert (fault.rule, fault.height, fault.index) == ("evidence", 2, ledger.sizes[1] + 1)


def test_a_made_up_state_of_the_genesis_is_found() -> None:
    ledger = LedgerInMemory()
    start = SourceInMemory(ledger).start(0)
    head, payload = parse_leaf_data(start.close_leaf)
    forged_leaf = leaf_data(head, replace(parse_close(payload), state_digest=bytes(32)).encode())
    frontier = Frontier()
    frontier.extend([ledger.leaf_hashes[0], leaf_hash(forged_leaf)])
    forged_start = SnapshotStart(frontier, forged_leaf, start.close_path)
    members = members_of(snapshot_of(ledger)) | {
        "start.bin": forged_start.encode(),
        "checkpoint.txt": ledger.checkpoint_note(root=frontier.root()),
    }
    raw = packed(members)
    fault = fault_in(raw, ledger)

    assert structure_of(raw, ledger) is Conclusion.VALID
    assert (fault.rule, fault.height) == ("state", 0)


def test_a_base_before_a_range_is_judged_by_the_state() -> None:
    """The structure of a range cannot know the heads before it; its state does."""
    raw_block, results = last_block()
    block = parse_block(raw_block)
    proposal = replace(block.proposal, base_size=49, base_root=bytes(32))
    forged = sign_block(private_key("OEM-A/n1 PROPOSAL"), proposal, block.batches)
    close = replace(results.close, proposal_digest=proposal.digest())
    raw = with_last_block(
        snapshot_of(LEDGER, first_height=9), encode_block(forged), replace(results, close=close)
    )
    fault = fault_in(raw)

    assert structure_of(raw) is Conclusion.VALID
    assert (fault.rule, fault.height) == ("block", 9)
    assert "newest 8 heads" in fault.text


LAST_KEY = row_key(Table.BATCH_KEY_COUNT, b"z" * 31)


@pytest.mark.parametrize(
    ("forge", "message"),
    [
        (lambda rows: rows[1:], "the rows have digest"),
        (lambda rows: [*rows, (b"\x11z", b"")], "cannot be read"),
        (
            lambda rows: [*rows, (LAST_KEY, bytes(8))],
            "rows have digest",
        ),
        (lambda rows: [*rows, (LAST_KEY, bytes(9))], "cannot be read"),
        (lambda rows: [(rows[0][0], bytes(8)), *rows[1:]], "the rows have digest"),
        (lambda rows: [(rows[0][0], bytes(9)), *rows[1:]], "another form"),
        (lambda rows: [(rows[0][0], b""), *rows[1:]], "another form"),
        (lambda rows: [(b"\x00", b""), *rows], "cannot be read"),
        (lambda rows: [*rows, (b"\xff", b"")], "cannot be read"),
        (lambda rows: [rows[0]] * 65_537 + rows[1:], "strictly ascend"),
        (lambda rows: [], "the rows have digest"),
    ],
)
def test_a_state_that_is_not_the_close_s_is_found(
    forge: Callable[[list[tuple[bytes, bytes]]], list[tuple[bytes, bytes]]], message: str
) -> None:
    fault = fault_in(with_member(RANGE, "state.bin", joined(forge(ROWS))))

    assert fault.rule == "state"
    assert message in fault.text


def test_a_key_event_left_out_of_a_range_is_found_by_the_state() -> None:
    """Nobody in the range signs with the keys, so structure alone cannot miss them."""
    raw = with_member(snapshot_of(LEDGER, first_height=9), "governance.bin", b"")
    ledger = LedgerInMemory()
    ledger.block(
        [ledger.batch("T1-STATOR/mes", [ledger.registration("T1-STATOR", KeyPurpose.BATCH, "x")])]
    )
    ledger.block([])
    unused = with_member(snapshot_of(ledger, first_height=2), "governance.bin", b"")
    fault = fault_in(unused, ledger)

    assert structure_of(raw) is structure_of(unused, ledger) is Conclusion.VALID
    assert (fault.rule, fault.height) == ("state", 1)
    assert private_key("T1-STATOR/x BATCH").public.hex() in fault.text
    assert fault_in(raw).rule == "state"


@pytest.mark.parametrize(
    "table",
    [
        Table.PARAMETER,
        Table.PARTY,
        Table.KEY,
        Table.POLICY,
        Table.NODE_KEY,
        Table.BATCH_KEY_COUNT,
    ],
)
def test_rows_that_follow_from_what_governs_must_be_those(table: Table) -> None:
    state = StateInMemory()
    for key, value in ROWS:
        state.put(key, value)
    keys = KeyRegister(LEDGER.genesis, LEDGER.chain_id)
    size = LEDGER.sizes[5]  # before the range
    follow_entries(LEDGER.governance(size), keys, size=size, root=LEDGER.root(size))
    check_governed_rows(state, keys)
    key, value = next(state.rows(bytes([table])))
    state.put(key, value[:-1] + bytes([value[-1] ^ 1]))

    named = table.name.lower().replace("_", " ")
    with pytest.raises(ProofError, match=f"{named} .* is not in the state"):
        check_governed_rows(state, keys)


@given(
    table=st.integers(0, max(Table) + 1),
    parts=st.lists(st.binary(max_size=40), max_size=3),
    value=st.binary(max_size=300),
)
def test_any_row_is_met_without_another_error(table: int, parts: list[bytes], value: bytes) -> None:
    framed = b"".join(len(part).to_bytes(2) + part for part in parts)
    for key in (bytes([table]) + framed, bytes([table]) + b"".join(parts)):
        with suppress(ProtocolError):
            load_rows([(key, value)], bytes(32))


@pytest.mark.parametrize("original", [FULL, RANGE], ids=["full", "range"])
@settings(deadline=None)
@given(data=st.data())
def test_no_changed_byte_leaves_a_file_valid(original: bytes, data: st.DataObject) -> None:
    changed = bytearray(original)
    at = data.draw(st.integers(0, len(original) - 1))
    changed[at] ^= data.draw(st.integers(1, 255))

    assert verified(bytes(changed)).conclusion is not Conclusion.VALID


class Switching(io.BytesIO):
    """A file that somebody replaces once it was read to its end."""

    def __init__(self, first: bytes, then: bytes) -> None:
        super().__init__(first)
        self._then: bytes | None = then

    def seek(self, offset: int, whence: int = 0) -> int:
        if self._then is not None:
            super().seek(0)
            self.truncate()
            self.write(self._then)
            self._then = None
        return super().seek(offset, whence)


def test_a_file_replaced_between_the_two_readings_is_found() -> None:
    shorter = snapshot_of(LEDGER, last_height=8)
    verdict = verify_snapshot(Switching(FULL, shorter), chain_id=LEDGER.chain_id)

    assert verdict.fault is not None
    assert (verdict.conclusion, verdict.fault.rule) == (Conclusion.INVALID, "tree")


def flags_of(ledger: LedgerInMemory, note: bytes | None = None) -> dict[str, tuple[int, Any]]:
    verdict = verified(snapshot_of(ledger, note=note), ledger)
    assert verdict.conclusion is Conclusion.VALID, verdict.text
    return {flag.kind: (flag.count, flag.first_index) for flag in verdict.flags}


def test_an_orderly_ledger_has_no_flags() -> None:
    ledger = LedgerInMemory()
    batch = ledger.batch(DEVICE, measurements(0, 2), seen_size=2, seen_root=ledger.root(2))
    ledger.block([batch])

    assert flags_of(ledger) == {}


def test_uncertain_device_times_are_flagged() -> None:
    ledger = LedgerInMemory()
    vague = measurement(0, uncertainty_us=1_000_001)
    sharp = measurement(1, uncertainty_us=1_000_000)
    ledger.block(
        [
            ledger.batch(DEVICE, [sharp, vague]),
            ledger.batch(DEVICE, measurements(2, 2), clock=ClockState.DEGRADED),
            ledger.batch(DEVICE, measurements(4, 2), clock_uncertainty_us=2_000_000),
        ]
    )

    assert flags_of(ledger) == {"device time": (5, 4)}


@pytest.mark.parametrize(
    ("seen_size", "is_right", "flagged"),
    [(2, True, False), (4, True, False), (2, False, True), (3, True, True), (99, True, True)],
)
def test_a_checkpoint_that_an_author_saw_elsewhere_is_flagged(
    seen_size: int, is_right: bool, flagged: bool
) -> None:
    """Sizes 2 and 5 end blocks; nobody can have seen a checkpoint of another size."""
    ledger = LedgerInMemory()
    ledger.block([ledger.batch(DEVICE, [measurement(0)])])
    size = 5 if seen_size == 4 else seen_size
    root = ledger.root(min(size, ledger.size)) if is_right else bytes(32)
    ledger.block([ledger.batch(DEVICE, [measurement(1)], seen_size=size, seen_root=root)])

    assert flags_of(ledger) == ({"seen checkpoint": (1, 5)} if flagged else {})


def test_events_of_a_key_in_wrong_hands_are_flagged_from_that_time_on() -> None:
    ledger = LedgerInMemory()
    key = private_key(f"{DEVICE} BATCH").public
    ledger.block([ledger.batch(DEVICE, measurements(0, 3))])
    since_ms = ledger.state.time_ms + 1
    ledger.block([ledger.batch(DEVICE, measurements(3, 2))])
    revoke = ledger.revocation("T1-STATOR", key, compromised_since_ms=since_ms)
    ledger.block([ledger.batch("T1-STATOR/mes", [revoke])])

    assert flags_of(ledger) == {"compromised key": (2, ledger.sizes[1] + 1)}


@pytest.mark.parametrize(("late_s", "flagged"), [(60, False), (61, True), (-61, True)])
def test_a_block_time_far_from_the_cosigners_is_flagged(late_s: int, flagged: bool) -> None:
    ledger = LedgerInMemory()
    ledger.block([])
    note = ledger.checkpoint_note(time_s=ledger.state.time_ms // 1_000 + late_s)

    assert ("block time" in flags_of(ledger, note)) is flagged
