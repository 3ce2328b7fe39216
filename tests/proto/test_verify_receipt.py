"""Receipts: what they prove, and that nothing else passes for one."""

import base64
import io
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotmark import canonical_json
from lotmark.admission import AdmissionAnswer
from lotmark.batch import ClockState
from lotmark.block import parse_block
from lotmark.block_results import leaves, parse_results
from lotmark.entry import parse_event_payload, parse_leaf_data
from lotmark.errors import ProtocolError
from lotmark.key_grant import KeyPurpose
from lotmark.merkle import inclusion_path
from lotmark.outcome import Outcome
from lotmark.snapshot import GovernanceEntry
from lotmark.state_rows import Table, row_key
from lotmark.tlog_proof import format_proof, parse_proof
from lotmark.verify.__main__ import main
from lotmark.verify.governance_chain import ProvenLeaf
from lotmark.verify.judge import FileKind, judge_file
from lotmark.verify.receipt import (
    RECEIPT_SIZE_MAX,
    ReceiptParts,
    make_receipt,
    parse_receipt,
    verify_receipt,
)
from lotmark.verify.report import Conclusion, Fault, FaultFound, UndecidedError, Verdict
from tests.node.eventful_ledger import DEVICE, eventful_ledger
from tests.node.ledger_in_memory import LedgerInMemory, consortium, measurement, measurements
from tests.proto.sample_genesis import private_key

LEDGER = eventful_ledger()
GOLDEN = Path(__file__).parent / "golden/receipt.txt"
FIRST_EVENT = 3
SYNCHRONISED_EVENT = 12
FORBIDDEN_EVENT = 28
REGISTERED_EVENT = 36  # by a key that an event registered


def parts_of(
    index: int,
    *,
    ledger: LedgerInMemory = LEDGER,
    note: bytes | None = None,
    admissions: Sequence[AdmissionAnswer] = (),
    governance: Sequence[GovernanceEntry] | None = None,
) -> ReceiptParts:
    """Return what a node puts into the receipt of an event entry."""

    head, payload = parse_leaf_data(ledger.leaf_data[index])
    batch_index, position, _ = parse_event_payload(payload)
    raw_block, raw_results = ledger.blocks[head.height - 1]
    batches, results = parse_block(raw_block).batches, parse_results(raw_results)
    events = [event for _, event in leaves(batches, results)]
    batch = next(
        each
        for each in batches
        if each.events[position : position + 1] == [events[index - results.first_index]]
    )
    return ReceiptParts(
        event=batch.events[position],
        event_path=inclusion_path(batch.event_ids, position),
        entry=ledger.proven(index),
        batch=ledger.proven(batch_index),
        close=ledger.proven(results.close_index),
        last_close=ledger.proven(ledger.size - 1),
        governance=ledger.governance() if governance is None else governance,
        admissions=admissions,
        checkpoint_note=note or ledger.checkpoint_note(),
    )


def admission(**fields: Any) -> AdmissionAnswer:
    batch_id = parse_block(LEDGER.blocks[0][0]).batches[0].batch_id
    answer = AdmissionAnswer(
        batch_id=batch_id,
        accepted=True,
        reason=0,
        admitted_at_ms=1_766_448_000_500,
        due_ms=1_766_448_010_500,
        checkpoint_size=2,
        checkpoint_root=LEDGER.root(2),
        node="OEM-A/n1",
    )
    key = private_key("OEM-A/n1 ADMIT")
    return replace(answer.sign(key, LEDGER.chain_id), **fields)


def judged(raw: bytes, ledger: LedgerInMemory = LEDGER) -> Verdict:
    return judge_file(io.BytesIO(raw), chain_id=ledger.chain_id, genesis_json=ledger.genesis_bytes)


def fault_in(raw: bytes) -> Fault:
    with pytest.raises(FaultFound) as found:
        verify_receipt(raw, genesis_json=LEDGER.genesis_bytes, chain_id=LEDGER.chain_id)
    return found.value.fault


def test_a_receipt_says_who_signed_and_since_when_it_is_on_record() -> None:
    verdict = judged(make_receipt(parts_of(SYNCHRONISED_EVENT)))

    assert verdict.lines() == [
        "VALID  T1-STATOR signed it 2025-12-23 00:00:01.000 UTC (±2 ms); on the ledger at"
        " 2025-12-23 00:00:02.000 UTC as entry 12; cosigned by LAB-17025, OEM-A, T1-STATOR"
    ]


def test_a_receipt_names_the_device_and_the_kind_of_event() -> None:
    findings = verify_receipt(
        make_receipt(parts_of(FIRST_EVENT)),
        genesis_json=LEDGER.genesis_bytes,
        chain_id=LEDGER.chain_id,
    )

    assert (findings.party, findings.holder) == ("T1-STATOR", "aoi-cam07")
    assert (findings.event_type, findings.outcome) == ("measurement", 0)
    assert (findings.index, findings.height) == (FIRST_EVENT, 1)
    assert findings.block_time_ms == 1_766_448_001_000
    assert findings.header.clock is ClockState.UNKNOWN
    assert findings.checkpoint.is_final


@pytest.mark.parametrize("index", [3, 7, 9, 12, 16, 19, 26, 27, 33, 40, 42, 46, 47, 51])
def test_every_event_has_a_receipt(index: int) -> None:
    head, _ = parse_leaf_data(LEDGER.leaf_data[index])
    raw = make_receipt(parts_of(index))

    assert judged(raw).conclusion is Conclusion.VALID, head


def test_a_refused_event_has_a_receipt_that_says_so() -> None:
    verdict = judged(make_receipt(parts_of(FORBIDDEN_EVENT)))

    assert verdict.conclusion is Conclusion.VALID
    assert "refused: KEY_NOT_PERMITTED" in verdict.text
    assert verdict.details["outcome"] == Outcome.KEY_NOT_PERMITTED.name


def test_a_key_that_was_registered_later_comes_with_its_registration() -> None:
    with_it = make_receipt(parts_of(REGISTERED_EVENT))
    without = make_receipt(parts_of(REGISTERED_EVENT, governance=[]))

    assert judged(with_it).details["holder"] == "press-2"
    assert "does not hold its registration" in fault_in(without).text


def test_an_event_of_a_key_that_may_have_been_in_wrong_hands_by_then_is_flagged() -> None:
    disputed = judged(make_receipt(parts_of(REGISTERED_EVENT)))

    assert disputed.conclusion is Conclusion.VALID
    (flag,) = disputed.flags
    assert flag.first_index == REGISTERED_EVENT
    assert "T1-STATOR/press-2 may be in wrong hands since 2025-12-23" in flag.text
    assert not judged(make_receipt(parts_of(FIRST_EVENT))).flags


def test_an_event_under_a_key_that_was_revoked_by_then_is_found() -> None:
    ledger = LedgerInMemory()
    key = private_key("T1-STATOR/mes BATCH").public
    in_force = ledger.rows.get(row_key(Table.KEY, key))
    assert in_force is not None
    ledger.block([ledger.batch("OEM-A/erp", [ledger.revocation("T1-STATOR", key)])])
    ledger.rows.put(row_key(Table.KEY, key), in_force)  # forgotten by all who cosign
    ledger.block([ledger.batch("T1-STATOR/mes", [measurement(1)])])
    first_index = ledger.size - 2

    verdict = judged(make_receipt(parts_of(first_index, ledger=ledger)), ledger)

    assert verdict.conclusion is Conclusion.INVALID
    assert "was not in force in block 2: KEY_REVOKED" in verdict.text


def test_a_registration_without_the_roots_is_refused() -> None:
    other = LedgerInMemory(consortium(witnesses=()))
    foreign = other.registration("T1-STATOR", KeyPurpose.BATCH, "press-2", event_types=(19,))
    first = LEDGER.governance()[0]
    fault = fault_in(
        make_receipt(parts_of(REGISTERED_EVENT, governance=[replace(first, event=foreign)]))
    )

    assert fault.rule == "governance"
    assert "another than the entry names" in fault.text


def test_the_nodes_that_took_the_batch_are_named() -> None:
    verdict = judged(make_receipt(parts_of(FIRST_EVENT, admissions=[admission()])))

    assert verdict.details["admissions"] == [
        {"node": "OEM-A/n1", "admitted_at_ms": "1766448000500", "due_ms": "1766448010500"}
    ]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"due_ms": 5}, "does not hold"),
        ({"node": "T1-STATOR/n1"}, "does not hold"),
        ({"node": "LAB-17025/n1"}, "no admit key"),
        ({"node": "nobody"}, "no admit key"),
    ],
)
def test_an_admission_that_its_node_did_not_sign_is_found(
    fields: dict[str, Any], message: str
) -> None:
    raw = make_receipt(parts_of(FIRST_EVENT, admissions=[admission(**fields)]))
    fault = fault_in(raw)

    assert fault.rule == "admission"
    assert message in fault.text


def test_one_node_s_admission_stands_once() -> None:
    raw = make_receipt(parts_of(FIRST_EVENT, admissions=[admission(), admission()]))

    assert "without repeats" in fault_in(raw).text


def test_a_checkpoint_that_is_not_final_allows_no_verdict() -> None:
    note = LEDGER.checkpoint_note(cosigners=["OEM-A/n1"])
    verdict = judged(make_receipt(parts_of(FIRST_EVENT, note=note)))

    assert verdict.conclusion is Conclusion.CANNOT_TELL
    assert "not final: cosigned by OEM-A, 1 of 3 parties, where 3 are needed" in verdict.text


def test_a_single_node_s_receipt_stands_on_its_own_word() -> None:
    ledger = LedgerInMemory(consortium(voters=("OEM-A/n1",), witnesses=()))
    ledger.block([ledger.batch(DEVICE, measurements(0, 3))])
    verdict = judged(make_receipt(parts_of(3, ledger=ledger)), ledger)

    assert verdict.conclusion is Conclusion.VALID
    assert "cosigned by OEM-A: on the word of one party" in verdict.text


def test_a_receipt_alone_only_claims_a_chain() -> None:
    raw = make_receipt(parts_of(FIRST_EVENT))
    unpinned = judge_file(io.BytesIO(raw), chain_id=None, genesis_json=LEDGER.genesis_bytes)
    without_genesis = judge_file(io.BytesIO(raw), chain_id=LEDGER.chain_id, genesis_json=None)

    assert unpinned.conclusion is without_genesis.conclusion is Conclusion.CANNOT_TELL
    assert unpinned.chain_id == LEDGER.chain_id
    assert "--genesis" in without_genesis.text


def test_a_later_version_of_a_receipt_allows_no_verdict() -> None:
    raw = with_extra(make_receipt(parts_of(FIRST_EVENT)), format="lotmark/receipt/v2")

    assert judged(raw).conclusion is Conclusion.CANNOT_TELL


@pytest.mark.parametrize(
    ("genesis_json", "message"),
    [
        (consortium(witnesses=()).to_json(), "founds chain"),
        (b"{}", "cannot be read as a genesis"),
        (LEDGER.genesis_bytes[:-1], "cannot be read as a genesis"),
        (b"", "cannot be read as a genesis"),
    ],
)
def test_a_wrong_genesis_is_no_fault_of_the_receipt(genesis_json: bytes, message: str) -> None:
    raw = make_receipt(parts_of(FIRST_EVENT))
    with pytest.raises(
        UndecidedError, match=rf"^mine\.json {message}.*genesis\.json with --genesis"
    ):
        verify_receipt(
            raw, genesis_json=genesis_json, chain_id=LEDGER.chain_id, genesis_name="mine.json"
        )


def test_the_same_event_gives_the_same_receipt() -> None:
    raw = make_receipt(parts_of(FIRST_EVENT, admissions=[admission()]))

    assert raw == GOLDEN.read_bytes()
    assert judged(raw).conclusion is Conclusion.VALID


def test_a_receipt_cut_off_anywhere_is_told_from_a_forged_one() -> None:
    raw = make_receipt(parts_of(FIRST_EVENT, admissions=[admission()]))
    start = len(FileKind.RECEIPT.value)
    last_line = raw.rindex(b"\n", 0, -1) + 1
    for size in range(start, len(raw)):
        verdict = judged(raw[:size])
        assert verdict.conclusion is Conclusion.CANNOT_TELL, f"{size}: {verdict.text}"
        # Whole signature lines may be missing: then it is the quorum that is.
        if raw[:size].endswith(b"\n") and last_line >= size > raw.rindex(b"\n\n") + 2:
            assert "not final" in verdict.text
        else:
            assert f"cut off at byte {size}" in verdict.text


def test_a_receipt_that_is_too_long_is_not_called_cut_off() -> None:
    raw = make_receipt(parts_of(FIRST_EVENT)) + bytes(RECEIPT_SIZE_MAX)

    assert f"at most {RECEIPT_SIZE_MAX}" in fault_in(raw).text


def with_extra(raw: bytes, **members: Any) -> bytes:
    """Return a receipt in which members of the JSON are others."""
    proof = parse_proof(raw, size_max=len(raw))
    assert proof.extra is not None, "a receipt has an extra"
    document = {**json.loads(proof.extra), **members}
    return format_proof(replace(proof, extra=canonical_json.dump(document)))


@pytest.mark.parametrize(
    ("forge", "rule"),
    [
        (lambda p: replace(p, event=p.event + b"\0"), "batch"),
        (lambda p: replace(p, event_path=p.event_path[1:]), "batch"),
        (lambda p: replace(p, event_path=[bytes(32), *p.event_path[1:]]), "batch"),
        (lambda p: replace(p, entry=ProvenLeaf(p.entry.leaf, p.batch.path)), "tree"),
        (lambda p: replace(p, batch=ProvenLeaf(p.batch.leaf, p.entry.path)), "tree"),
        (lambda p: replace(p, close=ProvenLeaf(p.close.leaf, p.entry.path)), "tree"),
        (lambda p: replace(p, close=parts_of(SYNCHRONISED_EVENT).close), "close"),
        (lambda p: replace(p, close=p.batch), "close"),
        (lambda p: replace(p, batch=parts_of(SYNCHRONISED_EVENT).batch), "batch"),
        (lambda p: replace(p, batch=p.close), "receipt"),
        (lambda p: replace(p, entry=p.close), "batch"),
        (lambda p: replace(p, entry=ProvenLeaf(p.entry.leaf[:-1], p.entry.path)), "tree"),
        (lambda p: replace(p, event=parts_of(4).event), "batch"),
        (lambda p: replace(p, entry=parts_of(4).entry), "batch"),
        (lambda p: replace(p, checkpoint_note=LEDGER.checkpoint_note(size=50)), "tree"),
        (lambda p: replace(p, checkpoint_note=LEDGER.checkpoint_note(root=bytes(32))), "tree"),
    ],
)
def test_parts_that_do_not_belong_together_are_found(
    forge: Callable[[ReceiptParts], ReceiptParts], rule: str
) -> None:
    assert fault_in(make_receipt(forge(parts_of(FIRST_EVENT)))).rule == rule


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"format": 1}, "names no format"),
        ({"more": 1}, "unknown member"),
        ({"event": "AA"}, "base64"),
        ({"event_path": ["00"]}, "32 bytes"),
        ({"batch": {"entry": "AAAA"}}, "lacks path"),
        ({"entry": base64.b64encode(LEDGER.leaf_data[4]).decode()}, "its leaf says 4"),
        ({"admissions": [{"node": "OEM-A/n1"}]}, "lacks"),
    ],
)
def test_an_extra_of_another_form_is_found(members: dict[str, Any], message: str) -> None:
    fault = fault_in(with_extra(make_receipt(parts_of(FIRST_EVENT)), **members))

    assert fault.rule == "receipt"
    assert message in fault.text


def test_another_log_s_proof_is_no_receipt() -> None:
    proof = parse_proof(make_receipt(parts_of(FIRST_EVENT)), size_max=1 << 20)

    assert "no extra" in fault_in(format_proof(replace(proof, extra=None))).text


@settings(deadline=None)
@given(data=st.data())
def test_no_changed_byte_leaves_a_receipt_valid(data: st.DataObject) -> None:
    original = make_receipt(parts_of(FIRST_EVENT, admissions=[admission()]))
    changed = bytearray(original)
    at = data.draw(st.integers(0, len(original) - 1))
    changed[at] ^= data.draw(st.integers(1, 255))

    assert judged(bytes(changed)).conclusion is not Conclusion.VALID


@given(raw=st.binary(max_size=500))
def test_any_bytes_are_met_without_another_error(raw: bytes) -> None:
    with suppress(ProtocolError):
        parse_receipt(raw)
    proof = parse_proof(make_receipt(parts_of(FIRST_EVENT)), size_max=1 << 20)
    with suppress(ProtocolError):
        parse_receipt(format_proof(replace(proof, extra=raw)))


def test_a_receipt_is_read_back_as_it_was_made() -> None:
    parts = parts_of(FIRST_EVENT, admissions=[admission()])
    read = parse_receipt(make_receipt(parts))

    assert make_receipt(read) == make_receipt(parts)
    assert read.admissions == (admission(),)


def test_the_program_verifies_receipts(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    receipt, genesis = tmp_path / "report.receipt", tmp_path / "genesis.json"
    receipt.write_bytes(make_receipt(parts_of(FIRST_EVENT)))
    genesis.write_bytes(LEDGER.genesis_bytes)
    arguments = [str(receipt), "--chain-id", LEDGER.chain_id.hex(), "--genesis", str(genesis)]

    assert main([*arguments, "--json"]) is Conclusion.VALID
    assert json.loads(capsys.readouterr().out)["party"] == "T1-STATOR"


@pytest.mark.parametrize("leaf", [b"", b"x", LEDGER.leaf_data[1], LEDGER.leaf_data[2]])
def test_what_governs_is_named_where_it_is_no_such_entry(leaf: bytes) -> None:
    first = LEDGER.governance()[0]
    forged = [replace(first, leaf=leaf)]

    assert fault_in(make_receipt(parts_of(FIRST_EVENT, governance=forged))).rule == "governance"
