"""Verifiers of a ledger with rule packages in force: what honest rules made, and forgeries."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotmark import canonical_json
from lotmark.batch import ClockState
from lotmark.block_results import BlockResults, parse_results
from lotmark.entry import RuleReceiptPayload, parse_rule_receipt
from lotmark.errors import MalformedError, ProofError, ProtocolError
from lotmark.state_rows import Table
from lotmark.verify.judge import judge_file
from lotmark.verify.report import Conclusion, Fault, Verdict
from lotmark_node.state_machine import lthash
from lotmark_node.state_machine.state import StateInMemory
from lotmark_node.verification.state_file import check_package_rows, load_rows
from lotmark_node.verification.verify import verify_snapshot
from tests.node.ledger_in_memory import LedgerInMemory
from tests.node.package_events import ERP, bring_into_force, put
from tests.node.ruled_history import BILLS, RULED_HEIGHT, bill, ruled_history
from tests.node.snapshot_source import joined, members_of, pairs_of, snapshot_of, with_member
from tests.node.test_reexecution import with_last_block

LEDGER = ruled_history()
FULL = snapshot_of(LEDGER)
BLOCKS = "blocks/000000000001.bin"
ROWS = list(LEDGER.rows.rows(b""))
RULE_TABLES = {table for table in Table if table >= Table.PACKAGE} - {Table.OPERATOR}
BLOCK, RAW_RESULTS = LEDGER.blocks[-1]
RESULTS = parse_results(RAW_RESULTS)
FIRST = RESULTS.first_receipt_index


def full_of(raw: bytes) -> Verdict:
    return verify_snapshot(io.BytesIO(raw), chain_id=LEDGER.chain_id)


def structure_of(raw: bytes) -> Verdict:
    return judge_file(io.BytesIO(raw), chain_id=LEDGER.chain_id, genesis_json=None)


def fault_of(verdict: Verdict) -> Fault:
    assert verdict.conclusion is Conclusion.INVALID, verdict.text
    assert verdict.fault is not None, "an invalid file has a fault"
    return verdict.fault


def resealed(receipts: list[bytes]) -> bytes:
    """Return the ledger with other rule receipts in its last block, signed by every cosigner."""
    close = replace(RESULTS.close, receipt_count=len(receipts))
    return with_last_block(FULL, BLOCK, replace(RESULTS, close=close, receipts=receipts), LEDGER)


def unsealed(results: BlockResults) -> bytes:
    """Return the ledger with other results of its last block, under the honest checkpoint."""
    pairs = pairs_of(members_of(FULL)[BLOCKS])
    return with_member(FULL, BLOCKS, joined([*pairs[:-1], (BLOCK, results.encode())]))


def edited(payload: bytes, **members: Any) -> bytes:
    receipt = parse_rule_receipt(payload)
    document = json.loads(receipt.document) | members
    return replace(receipt, document=canonical_json.dump(document)).encode()


def moved(payload: bytes, batches: int = 0, positions: int = 0) -> bytes:
    """Return a receipt that is about another event."""
    receipt = parse_rule_receipt(payload)
    return RuleReceiptPayload(
        receipt.batch_index + batches, receipt.position + positions, receipt.document
    ).encode()


@pytest.mark.parametrize("first_height", range(1, RULED_HEIGHT + 1))
def test_a_snapshot_from_any_height_is_valid_at_both_levels(first_height: int) -> None:
    raw = snapshot_of(LEDGER, first_height=first_height)

    assert structure_of(raw).conclusion is Conclusion.VALID, structure_of(raw).text
    verdict = full_of(raw)
    assert verdict.conclusion is Conclusion.VALID, verdict.text
    assert not verdict.flags


def test_the_ledger_has_a_row_of_every_table_of_rules_and_receipts_of_every_status() -> None:
    receipts = [
        json.loads(parse_rule_receipt(each).document)
        for _, results in LEDGER.blocks
        for each in parse_results(results).receipts
    ]

    assert {Table(key[0]) for key, _ in ROWS} >= RULE_TABLES
    assert {each["status"] for each in receipts} == {"done", "refused", "duplicate", "failed"}
    done = {each["rule"] for each in receipts if each["status"] == "done"}
    assert done == {"agree", "charge", "post", "remind", "due"}
    assert {each["rule"] for each in receipts} - done == {"guard"}, "a guard only refuses"


# What a lying quorum could have put on the log instead of the two receipts of the last block.
FORGERIES: dict[str, tuple[Callable[[bytes, bytes], list[bytes]], int, tuple[str, ...]]] = {
    "another amount": (
        lambda post, remind: [
            edited(post, because=[{"step": "total", "value": "1"}]),
            remind,
        ],
        0,
        ("rule post of bills version 1 is done", "the rule receipt on record is not that"),
    ),
    "refused instead of done": (
        lambda post, remind: [post, edited(remind, status="refused", reason="NO")],
        1,
        ("rule remind of bills version 1 is done", "on record is not that"),
    ),
    "one left out": (
        lambda post, remind: [remind],  # the one that is left out
        0,
        ("rule post of bills version 1 is done", "on record is not that"),
    ),
    "the last left out": (
        lambda post, remind: [post],
        1,
        ("a rule receipt is missing: rule remind of bills version 1 is done",),
    ),
    "all left out": (
        lambda post, remind: [],
        0,
        ("a rule receipt is missing: rule post of bills version 1 is done",),
    ),
    "one too many": (
        lambda post, remind: [post, remind, edited(post, rule="pay")],
        2,
        ("recorded where no rule has anything to say",),
    ),
    "one twice": (
        lambda post, remind: [post, post, remind],
        1,
        ("rule remind of bills version 1 is done", "on record is not that"),
    ),
    "in another order": (
        lambda post, remind: [remind, post],
        0,
        ("rule post of bills version 1 is done", "on record is not that"),
    ),
    "about another event": (
        lambda post, remind: [moved(post, batches=-1), remind],
        0,
        ("rule post of bills version 1 is done", "on record is not that"),
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_rule_receipt_that_no_rule_gives_is_found_by_executing_rules(name: str) -> None:
    forge, at, texts = FORGERIES[name]
    raw = resealed(forge(*RESULTS.receipts))
    fault = fault_of(full_of(raw))

    assert structure_of(raw).conclusion is Conclusion.VALID, "everybody has signed it"
    assert (fault.rule, fault.height, fault.index) == ("rule receipt", RULED_HEIGHT, FIRST + at)
    for text in texts:
        assert text in fault.text
    assert at == 2 or f"event {RESULTS.first_index + 1} by execution" in fault.text


@pytest.mark.parametrize("name", FORGERIES)
def test_a_rule_receipt_that_was_changed_afterwards_is_found_by_the_tree(name: str) -> None:
    forge, _, _ = FORGERIES[name]
    receipts = forge(*RESULTS.receipts)
    close = replace(RESULTS.close, receipt_count=len(receipts))

    counted = fault_of(structure_of(unsealed(replace(RESULTS, close=close, receipts=receipts))))
    assert counted.rule in {"tree", "manifest", "checkpoint"}
    if len(receipts) != len(RESULTS.receipts):
        fault = fault_of(structure_of(unsealed(replace(RESULTS, receipts=receipts))))
        assert (fault.rule, fault.height, fault.index) == (
            "close",
            RULED_HEIGHT,
            FIRST + len(receipts),
        )
        assert f"receipt_count is 2, where {len(receipts)} belongs" in fault.text


MALFORMED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "no document": (lambda raw: raw[:10], "more than 10 bytes, not 10"),
    "nothing": (lambda _: b"", "more than 10 bytes, not 0"),
    "white space": (lambda raw: raw[:10] + b" " + raw[10:], "not canonical"),
    "no JSON": (lambda raw: raw[:10] + b"{", "JSON"),
    "a key that is not ASCII": (lambda raw: raw[:10] + '{"ä":1}'.encode(), "not an ASCII"),
    "a float": (lambda raw: raw[:10] + b'{"a":1.5}', "1.5"),
    "about its own entry": (lambda raw: moved(raw, positions=1), "which is no earlier event"),
    "about an entry to come": (lambda raw: moved(raw, batches=1_000), "which is no earlier event"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_rule_receipt_without_its_form_is_found_by_structure_whoever_signed_it(name: str) -> None:
    forge, message = MALFORMED[name]
    post, remind = RESULTS.receipts
    fault = fault_of(structure_of(resealed([post, forge(remind)])))

    assert (fault.rule, fault.height, fault.index) == ("rule receipt", RULED_HEIGHT, FIRST + 1)
    assert message in fault.text


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, len(RAW_RESULTS) - 1), flip=st.integers(1, 255))
def test_no_flipped_byte_of_results_leaves_a_snapshot_valid(at: int, flip: int) -> None:
    raw = FULL.replace(
        RAW_RESULTS, RAW_RESULTS[:at] + bytes([RAW_RESULTS[at] ^ flip]) + RAW_RESULTS[at + 1 :]
    )

    assert structure_of(raw).conclusion is not Conclusion.VALID


def loaded(key: bytes, value: bytes) -> None:
    """Load a state of this row alone, for whose digest somebody vouches."""
    row = lthash.row_bytes(key, value)
    load_rows([(key, value)], lthash.digest(lthash.sum_elements([row])))


# The values of the others are bytes of any kind.
FORMED_TABLES = RULE_TABLES - {Table.PACKAGE_PART, Table.OPEN_PACKAGE_PROPOSALS}


@pytest.mark.parametrize("table", sorted(FORMED_TABLES), ids=lambda table: table.name)
def test_a_row_of_rules_in_another_form_is_refused_whoever_signed_it(table: Table) -> None:
    for key, value in ROWS:
        if key[0] != table:
            continue
        loaded(key, value)
        for other in (value[:-1], value + b"\0", value + b"\x0a\x00", b""):
            with pytest.raises(MalformedError):
                loaded(key, other)


@given(
    table=st.sampled_from(sorted(RULE_TABLES)),
    value=st.sampled_from([value for _, value in ROWS]),
    tail=st.binary(max_size=8),
)
def test_a_value_of_one_table_in_another_is_met_without_another_error(
    table: Table, value: bytes, tail: bytes
) -> None:
    key = bytes([table]) + b"\0\1a"
    for each in (value, value + tail, value[: len(value) // 2] + tail):
        with pytest.raises(ProtocolError):
            load_rows([(key, each)], bytes(32))


def state_without(*tables: Table) -> StateInMemory:
    state = StateInMemory()
    for key, value in ROWS:
        if key[0] not in tables:
            state.put(key, value)
    return state


def test_the_packages_of_a_sound_state_can_be_executed() -> None:
    check_package_rows(state_without())


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ((Table.PACKAGE_PART,), "bills version 1 lacks part 0"),
        ((Table.PACKAGE_PROPOSAL,), "bills version 1 has no change"),
        ((Table.PACKAGE_VERSION,), "bills has no version 1"),
    ],
)
def test_a_state_in_which_a_package_lacks_a_row_is_refused(
    tables: tuple[Table, ...], message: str
) -> None:
    with pytest.raises(ProofError, match=message):
        check_package_rows(state_without(*tables))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda part: part[:-1], "bills version 1 is no package .*cut off"),
        (lambda part: part.replace(b"wcel/1", b"wcel/2"), "bills version 1 is no package"),
        (lambda part: part.replace(b"among", b"AMONG"), "bills version 1 is another package"),
    ],
)
def test_a_state_with_another_package_than_was_approved_is_refused(
    damage: Callable[[bytes], bytes], message: str
) -> None:
    state = state_without()
    for key, part in list(state.rows(bytes([Table.PACKAGE_PART]))):
        state.put(key, damage(part))

    with pytest.raises(ProofError, match=message):
        check_package_rows(state)


def test_flags_name_the_entries_behind_rule_receipts() -> None:
    ledger = LedgerInMemory()
    bring_into_force(ledger, BILLS)
    put(ledger, bill("1"))
    size, root = ledger.size, ledger.root()
    assert parse_results(ledger.blocks[-1][1]).receipts, "the head stands behind rule receipts"
    batches = [
        ledger.batch(ERP, [bill("2")], seen_size=size, seen_root=root),
        ledger.batch(
            ERP, [bill("3")], seen_size=size, seen_root=bytes(32), clock=ClockState.DEGRADED
        ),
    ]
    index = ledger.block(batches).results.first_index

    verdict = verify_snapshot(io.BytesIO(snapshot_of(ledger)), chain_id=ledger.chain_id)

    assert verdict.conclusion is Conclusion.VALID, verdict.text
    assert {(each.kind, each.first_index, each.count) for each in verdict.flags} == {
        ("device time", index + 3, 1),
        ("seen checkpoint", index + 2, 1),
    }
