"""Structural verification: every forgery is found, and named where it is."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotmark import merkle
from lotmark.block_results import BatchResult, parse_results
from lotmark.entry import leaf_data, parse_close, parse_leaf_data
from lotmark.genesis import Acceptance, format_acceptances, parse_acceptances
from lotmark.key_grant import KeyPurpose
from lotmark.merkle import Frontier
from lotmark.outcome import Outcome
from lotmark.snapshot import GovernanceEntry, SnapshotStart, parse_manifest
from lotmark.v1 import event_pb2
from lotmark.verify.report import Conclusion
from tests.node.eventful_ledger import DEVICE
from tests.node.ledger_in_memory import (
    LedgerInMemory,
    consortium,
    measurement,
    measurements,
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
from tests.proto.judged_snapshots import BLOCKS, FULL, LEDGER, RANGE, fault_in, judged, place_of
from tests.proto.sample_genesis import acceptances_of


def test_a_full_snapshot_of_a_final_checkpoint_is_valid() -> None:
    verdict = judged(FULL)

    assert verdict.lines() == [
        "structure ✓  signatures 31 ✓  tree ✓  checkpoint 3 of 3 parties ✓",
        "VALID  up to 2025-12-23 00:00:09 UTC (size 53), final, 3 of 3 parties. Not shown by this"
        " file: anything after that time. Rules and state were not executed again; for that:"
        " lotmark verify --level full.",
    ]


@pytest.mark.parametrize("first_height", range(2, 10))
def test_a_range_is_valid_wherever_it_begins(first_height: int) -> None:
    assert judged(snapshot_of(LEDGER, first_height=first_height)).conclusion is Conclusion.VALID


def test_a_ledger_without_blocks_is_valid() -> None:
    ledger = LedgerInMemory()

    assert judged(snapshot_of(ledger), ledger.chain_id).conclusion is Conclusion.VALID


def test_a_single_node_stands_on_its_own_word() -> None:
    ledger = LedgerInMemory(consortium(voters=("OEM-A/n1",), witnesses=()))
    ledger.block([ledger.batch(DEVICE, measurements(0, 3))])
    verdict = judged(snapshot_of(ledger), ledger.chain_id)

    assert verdict.conclusion is Conclusion.VALID
    assert verdict.text.startswith("consistent up to ")
    assert "on the word of one party (OEM-A)" in verdict.text


def test_a_base_eight_blocks_back_is_known_also_in_a_range() -> None:
    ledger = LedgerInMemory()
    for number in range(20):
        back = max(0, number - 7)
        size = ledger.sizes[back]
        batch = ledger.batch(DEVICE, [measurement(number)])
        ledger.block([batch], base_size=size, base_root=ledger.root(size))

    for first_height in (1, 2, 5, 12, 20):
        raw = snapshot_of(ledger, first_height=first_height)
        assert judged(raw, ledger.chain_id).conclusion is Conclusion.VALID


def test_without_a_pinned_chain_id_the_file_says_only_what_it_claims() -> None:
    verdict = judged(FULL, None)

    assert verdict.conclusion is Conclusion.CANNOT_TELL
    assert verdict.chain_id == LEDGER.chain_id
    assert LEDGER.chain_id.hex() in verdict.text


@pytest.mark.parametrize("size", [0, 5, 700, len(FULL) // 2, len(FULL) - 1])
def test_a_file_cut_off_allows_no_verdict(size: int) -> None:
    assert judged(FULL[:size]).conclusion is Conclusion.CANNOT_TELL


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"lotmark/snapshot/v1", b"lotmark/snapshot/v2"),
        (b"lotmark/block/v1", b"lotmark/block/v2"),
        (b"lotmark/results/v1", b"lotmark/results/v2"),
    ],
)
def test_an_unknown_version_allows_no_verdict(old: bytes, new: bytes) -> None:
    changed = {name: content.replace(old, new) for name, content in members_of(FULL).items()}
    verdict = judged(packed(changed))

    assert verdict.conclusion is Conclusion.CANNOT_TELL
    assert new.decode() in verdict.text


def test_a_file_that_is_something_else_allows_no_verdict() -> None:
    verdict = judged(b"%PDF-1.7 report")

    assert (verdict.conclusion, verdict.kind) == (Conclusion.CANNOT_TELL, "")


@pytest.mark.parametrize("cosigners", [(), ("OEM-A/n1",), ("OEM-A/n1", "LAB-17025/n1")])
def test_a_missing_quorum_allows_no_verdict(cosigners: tuple[str, ...]) -> None:
    note = LEDGER.checkpoint_note(cosigners=cosigners)
    verdict = judged(snapshot_of(LEDGER, note=note))

    assert verdict.conclusion is Conclusion.CANNOT_TELL
    assert f"{len(cosigners)} of 3 parties, where 3 are needed" in verdict.text


def test_a_consortium_of_ones_own_is_an_unknown_chain() -> None:
    own = consortium(witnesses=())
    raw = with_member(FULL, "genesis.json", own.to_json())

    assert fault_in(raw).rule == "chain"


def test_a_snapshot_of_another_chain_is_an_unknown_chain() -> None:
    other = LedgerInMemory(consortium(witnesses=()))
    verdict = judged(snapshot_of(other))

    assert verdict.fault is not None
    assert (verdict.conclusion, verdict.fault.rule) == (Conclusion.INVALID, "chain")
    assert "unknown chain" in verdict.text


def test_a_genesis_that_a_party_never_accepted_is_found() -> None:
    acceptances = acceptances_of(LEDGER.genesis, LEDGER.chain_id)
    fewer = format_acceptances(each for each in acceptances if each.party != "T1-STATOR")

    assert fault_in(with_member(FULL, "acceptances.json", fewer)).rule == "genesis"


def test_an_acceptance_by_another_key_is_found() -> None:
    first, *others = parse_acceptances(LEDGER.acceptance_bytes)
    forged = Acceptance(party=first.party, key=first.key, signature=bytes(64))
    raw = with_member(FULL, "acceptances.json", format_acceptances([forged, *others]))

    assert fault_in(raw).rule == "genesis"


def test_a_block_left_out_is_found() -> None:
    members = members_of(FULL)
    pairs = pairs_of(members[BLOCKS])
    manifest = parse_manifest(members["manifest.json"])
    shorter = replace(
        manifest, last_height=8, block_files=(replace(manifest.block_files[0], last_height=8),)
    )
    members |= {"manifest.json": shorter.to_json(), BLOCKS: joined(pairs[:3] + pairs[4:])}

    assert place_of(fault_in(packed(members))) == ("results", 4, None)


def test_the_last_block_left_out_is_found() -> None:
    members = members_of(FULL)
    pairs = pairs_of(members[BLOCKS])
    manifest = parse_manifest(members["manifest.json"])
    shorter = replace(
        manifest, last_height=8, block_files=(replace(manifest.block_files[0], last_height=8),)
    )
    members |= {"manifest.json": shorter.to_json(), BLOCKS: joined(pairs[:8])}
    fault = fault_in(packed(members))

    assert fault.rule == "checkpoint"
    assert "end at size 50" in fault.text


def test_blocks_in_another_order_are_found() -> None:
    pairs = pairs_of(members_of(FULL)[BLOCKS])
    pairs[3], pairs[4] = pairs[4], pairs[3]

    assert place_of(fault_in(with_member(FULL, BLOCKS, joined(pairs)))) == ("results", 4, None)


def test_an_accepted_registration_without_the_roots_is_found() -> None:
    """A ledger of dishonest nodes only: every signature of theirs holds."""
    ledger = LedgerInMemory()
    event = event_pb2.Event.FromString(
        ledger.registration("T1-STATOR", KeyPurpose.BATCH, "press-2")
    )
    del event.key_registration.roots[:]
    forged = event.SerializeToString(deterministic=True)
    ledger.block([ledger.batch("T1-STATOR/mes", [forged])])
    block, raw = ledger.blocks[0]
    results = parse_results(raw)
    assert list(results.batches[0].event_outcomes) == [Outcome.ROOTS_INSUFFICIENT]
    accepted = replace(results, batches=[BatchResult(0, [0])]).encode()
    verdict = judged(
        with_member(snapshot_of(ledger), BLOCKS, joined([(block, accepted)])), ledger.chain_id
    )

    assert verdict.fault is not None
    assert place_of(verdict.fault) == ("event", 1, 3)
    assert "ROOTS_INSUFFICIENT" in verdict.text


@pytest.mark.parametrize(
    ("forge", "message"),
    [
        (lambda entries: [*entries, entries[0]], "no accepted entry after"),
        (lambda entries: [replace(entries[0], event=b"")], "another than the entry names"),
        (lambda entries: [replace(entries[0], path=entries[0].path[1:])], "a path for leaf"),
        (lambda entries: [replace(entries[0], leaf=entries[0].leaf[:-1])], "payload has 42 bytes"),
        (lambda entries: [replace(entries[0], leaf=b"x")], "no leaf"),
    ],
)
def test_governance_that_is_not_under_the_root_is_found(
    forge: Callable[[list[GovernanceEntry]], list[GovernanceEntry]], message: str
) -> None:
    entries = forge(list(SourceInMemory(LEDGER).governance(5)))
    content = b"".join(entry.encode() for entry in entries)
    fault = fault_in(with_member(RANGE, "governance.bin", content))

    assert fault.rule == "governance"
    assert message in fault.text


def test_a_range_without_the_registration_of_a_signer_is_found() -> None:
    fault = fault_in(with_member(snapshot_of(LEDGER, first_height=5), "governance.bin", b""))

    assert place_of(fault) == ("batch", 5, 35)
    assert "KEY_UNKNOWN" in fault.text


@pytest.mark.parametrize(
    "forge",
    [
        lambda start: replace(start, close_path=start.close_path[1:]),
        lambda start: replace(start, close_leaf=start.close_leaf[:-1] + b"\1"),
        lambda start: replace(start, close_leaf=LEDGER.leaf_data[34]),
        lambda start: replace(start, frontier=Frontier(39, [bytes(32), *start.frontier.nodes[1:]])),
    ],
)
def test_a_start_that_is_not_the_log_s_is_found(
    forge: Callable[[SnapshotStart], SnapshotStart],
) -> None:
    start = forge(SourceInMemory(LEDGER).start(5))
    fault = fault_in(with_member(RANGE, "start.bin", start.encode()))

    assert (fault.rule, fault.height) == ("start", 5)


def test_a_start_of_another_log_leads_nowhere() -> None:
    """One that holds together in itself contradicts the first block's close."""
    other = LedgerInMemory()
    for _ in range(5):
        other.block([])
    start = SourceInMemory(other).start(5)
    raw = with_member(with_member(RANGE, "start.bin", start.encode()), "governance.bin", b"")

    assert fault_in(raw).height == 6


def test_a_genesis_entry_made_up_is_found() -> None:
    start = SourceInMemory(LEDGER).start(0)
    close = parse_close(parse_leaf_data(start.close_leaf)[1])
    head = parse_leaf_data(start.close_leaf)[0]
    forged_leaf = leaf_data(head, replace(close, batch_count=1).encode())
    hashes = [LEDGER.leaf_hashes[0], merkle.leaf_hash(forged_leaf)]
    frontier = Frontier()
    frontier.extend(hashes)
    forged = SnapshotStart(frontier, forged_leaf, tuple(hashes[:1]))
    fault = fault_in(with_member(FULL, "start.bin", forged.encode()))

    assert place_of(fault) == ("start", 0, None)
    assert "batch_count is 1" in fault.text


def with_note(note: bytes) -> bytes:
    return with_member(FULL, "checkpoint.txt", note)


def test_a_checkpoint_of_another_size_is_found() -> None:
    fault = fault_in(with_note(LEDGER.checkpoint_note(size=50)))

    assert fault.rule == "checkpoint"
    assert "the checkpoint is of size 50" in fault.text


def test_a_checkpoint_of_another_root_is_found() -> None:
    fault = fault_in(with_note(LEDGER.checkpoint_note(root=bytes(32))))

    assert "the entries lead to root" in fault.text


def test_a_checkpoint_of_another_ledger_is_found() -> None:
    other = LedgerInMemory(consortium(witnesses=()))

    assert fault_in(with_note(other.checkpoint_note())).rule == "checkpoint"


@pytest.mark.parametrize("line", range(1, 5))
def test_a_signature_of_a_checkpoint_that_does_not_hold_is_found(line: int) -> None:
    lines = LEDGER.checkpoint_note().split(b"\n")
    forged = lines[3 + line]
    at = len(forged) - 20
    lines[3 + line] = forged[:at] + bytes([forged[at] ^ 1]) + forged[at + 1 :]

    assert fault_in(with_note(b"\n".join(lines))).rule == "checkpoint"


@pytest.mark.parametrize("original", [FULL, RANGE], ids=["full", "range"])
@settings(deadline=None)
@given(data=st.data())
def test_no_changed_byte_leaves_a_file_valid(original: bytes, data: st.DataObject) -> None:
    members = members_of(original)
    unseen = original.find(members.get("state.bin", b"\0" * 513))
    at = data.draw(st.integers(0, len(original) - 1))
    changed = bytearray(original)
    changed[at] ^= data.draw(st.integers(1, 255))
    is_state = 0 <= unseen <= at < unseen + len(members.get("state.bin", b""))
    verdict = judged(bytes(changed))

    assert is_state or verdict.conclusion is not Conclusion.VALID


def run_program(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-m", "lotmark.verify", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def test_the_program_answers_people_and_programs(tmp_path: Path) -> None:
    path = tmp_path / "stator-line.snapshot"
    path.write_bytes(FULL)
    people = run_program(str(path), "--chain-id", LEDGER.chain_id.hex())
    programs = run_program(str(path), "--chain-id", LEDGER.chain_id.hex(), "--json")

    assert (people.returncode, people.stderr) == (0, "")
    assert people.stdout.splitlines() == judged(FULL).lines()
    assert json.loads(programs.stdout) == judged(FULL).to_json()


def test_the_program_says_by_its_exit_status_what_it_found(tmp_path: Path) -> None:
    path = tmp_path / "forged.snapshot"
    path.write_bytes(with_note(LEDGER.checkpoint_note(size=50)))
    forged = run_program(str(path), "--chain-id", LEDGER.chain_id.hex())
    unpinned = run_program(str(path))
    missing = run_program(str(tmp_path / "none"), "--chain-id", LEDGER.chain_id.hex())

    assert (forged.returncode, unpinned.returncode, missing.returncode) == (1, 2, 2)
    assert forged.stdout.startswith("INVALID  checkpoint: ")
    assert "none" in missing.stderr


def test_the_program_needs_no_heavy_library() -> None:
    code = (
        "import sys; import lotmark.verify.__main__;"
        "print([n for n in ('numpy', 'typer', 'rich', 'grpc', 'rocksdict') if n in sys.modules])"
    )
    done = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout == "[]\n"
