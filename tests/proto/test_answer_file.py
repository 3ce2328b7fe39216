"""An answer file proves its facts; whoever verifies it derives the links again."""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lotmark.answer_file import (
    HEAD_NAME,
    RECEIPTS_MAX,
    AnswerHead,
    read_answer,
    write_answer,
)
from lotmark.errors import MalformedError
from lotmark.v1 import event_pb2, provenance_pb2, quality_pb2
from lotmark.verify.__main__ import main
from lotmark.verify.answer import AnswerFindings, verify_answer
from lotmark.verify.judge import judge_file
from lotmark.verify.report import Conclusion, FaultFound, UndecidedError, Verdict
from lotmark_node.engine.governance_proofs import GovernanceProofs
from lotmark_node.engine.receipts import ReceiptMaker
from tests.node.chained_ledger import chained_ledger
from tests.node.engine.proven_items import ProvenItems
from tests.node.ledger_in_memory import LedgerInMemory, event, measurement, transformation
from tests.node.snapshot_source import members_of, packed
from tests.proto.sample_genesis import GOLDEN

MES = "T1-STATOR/mes"
ENTRIES = 6
LOT_URN = "urn:epc:class:lgtin:4012345.000001.L7"
LOT = "https://id.gs1.org/01/04012345000016/10/L7"
ASKED: dict[str, Any] = {"kind": "trace_back", "item": "CAR-1"}
# Entries of the events: five blocks of batch, events, close, from entry 2 on.
WIND, REFUSED, MOUNT, PACK, MEASURE = 3, 4, 7, 10, 13


def _mounted(part: str, whole: str) -> bytes:
    return event(
        association=quality_pb2.Association(
            action=quality_pb2.RELATION_ACTION_ADD, process="mount"
        ),
        nonce=f"mount {part}",
        items=[(whole, event_pb2.ITEM_ROLE_PARENT), (part, event_pb2.ITEM_ROLE_CHILD)],
    )


def _story() -> LedgerInMemory:
    ledger = chained_ledger(0, 0, entries=ENTRIES, ms=10**9)
    for events in (
        [transformation("wind", [LOT_URN], ["ST-1"]), transformation("wind", [], ["ST-9"])],
        [_mounted("ST-1", "M-1")],
        [transformation("assemble", ["M-1"], ["CAR-1"])],
        [measurement(1, item="CAR-1")],
        [measurement(2, item="ST-1")],
        [measurement(3, item="ST-1")],
    ):
        ledger.block([ledger.batch(MES, events)])
    for _ in range(12):
        ledger.block()
    return ledger


WHOLE = _story()


@dataclass(frozen=True, slots=True)
class Story:
    """The ledger's proofs."""

    proven: ProvenItems
    receipts: dict[int, bytes]

    def file(
        self, indexes: Sequence[int] = (WIND, MOUNT, PACK, MEASURE), items: Sequence[str] = ()
    ) -> bytes:
        """Return an answer file of these events and items."""
        out = io.BytesIO()
        write_answer(
            out,
            chain_id=WHOLE.chain_id,
            question=ASKED,
            receipts=[self.receipts[index] for index in indexes],
            item_proofs=[self.proven.raw_proof(item) for item in items],
        )
        return out.getvalue()


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    proven = ProvenItems(tmp_path_factory.mktemp("items") / "ledger", WHOLE, entries=ENTRIES)
    proven.grow(len(WHOLE.blocks))
    store, reader = proven.stored.store, proven.stored.reader
    maker = ReceiptMaker(store, reader, GovernanceProofs(store, reader, WHOLE.chain_id))
    checkpoint = proven.checkpoint(len(WHOLE.blocks))
    indexes = (WIND, REFUSED, MOUNT, PACK, MEASURE, 16, 19)
    receipts = {index: maker.make(reader.entry(index), checkpoint) for index in indexes}
    yield Story(proven, receipts)
    proven.close()


def verified(raw: bytes) -> AnswerFindings:
    return verify_answer(io.BytesIO(raw), genesis_json=WHOLE.genesis_bytes, chain_id=WHOLE.chain_id)


def judged(raw: bytes) -> Verdict:
    return judge_file(io.BytesIO(raw), chain_id=WHOLE.chain_id, genesis_json=WHOLE.genesis_bytes)


def test_what_is_written_is_read(story: Story) -> None:
    raw = story.file([MEASURE, WIND, MOUNT, WIND], ["ST-1"])
    parts = read_answer(io.BytesIO(raw))

    assert parts.head == AnswerHead(
        chain_id=WHOLE.chain_id, question=ASKED, receipt_count=3, item_proof_count=1
    )
    assert parts.receipts == [story.receipts[index] for index in (WIND, MOUNT, MEASURE)]
    assert parts.item_proofs == [story.proven.raw_proof("ST-1")]
    assert list(members_of(raw)) == [
        "answer.json",
        "receipts/000000.txt",
        "receipts/000001.txt",
        "receipts/000002.txt",
        "items/000000.bin",
    ]


def test_links_are_derived_from_the_proven_events(story: Story) -> None:
    found = verified(story.file())

    assert [
        (event.receipt.index, link.kind, link.source, link.product)
        for event in found.events
        for link in event.links
    ] == [
        (WIND, provenance_pb2.EDGE_KIND_CONSUMED, LOT, "ST-1"),
        (MOUNT, provenance_pb2.EDGE_KIND_MOUNTED, "ST-1", "M-1"),
        (PACK, provenance_pb2.EDGE_KIND_CONSUMED, "M-1", "CAR-1"),
    ]
    assert found.items() == {LOT, "ST-1", "M-1", "CAR-1"}


def test_a_refused_event_links_nothing(story: Story) -> None:
    found = verified(story.file([WIND, REFUSED]))

    assert found.events[1].receipt.outcome == 109
    assert found.events[1].links == []
    assert "1 facts proven" in judged(story.file([WIND, REFUSED])).text


def test_the_verdict_counts_facts_and_says_what_is_complete(story: Story) -> None:
    verdict = judged(story.file(items=["ST-1", "NEVER-SEEN"]))
    end = story.proven.verify(story.proven.raw_proof("ST-1")).complete_size - 1

    assert (verdict.conclusion, verdict.kind) == (Conclusion.VALID, "answer")
    assert verdict.text == (
        'asked: {"item":"CAR-1","kind":"trace_back"}; 4 facts proven, which make 3 links between'
        f" 4 items; ST-1: all 4 events up to entry {end}; NEVER-SEEN: no event names it up to"
        f" entry {end}; final, 3 of 3 parties"
    )
    assert verdict.details["question"] == ASKED
    alone = judged(story.file())
    assert "not shown: that there are no others" in alone.text


def test_one_event_that_does_not_hold_makes_the_answer_invalid(story: Story) -> None:
    members = members_of(story.file())
    at = members["receipts/000001.txt"].index(b"lotmark.invalid") - 40
    raw = members["receipts/000001.txt"]
    members["receipts/000001.txt"] = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
    verdict = judged(packed(members))

    assert verdict.conclusion is Conclusion.INVALID


def test_a_receipt_in_another_place_is_told(story: Story) -> None:
    members = members_of(story.file())
    first, second = "receipts/000000.txt", "receipts/000001.txt"
    swapped = {**members, first: members[second], second: members[first]}

    with pytest.raises(FaultFound, match=f"entry {WIND} follows that of {MOUNT}"):
        verified(packed(swapped))


def test_a_withheld_receipt_is_told_by_the_count(story: Story) -> None:
    members = members_of(story.file())
    del members["receipts/000003.txt"]

    with pytest.raises(FaultFound, match=r"receipts/000003\.txt must stand"):
        verified(packed(members))


def test_an_answer_without_a_quorum_or_of_nothing_has_no_verdict(story: Story) -> None:
    assert judged(story.file([])).conclusion is Conclusion.CANNOT_TELL
    unpinned = judge_file(io.BytesIO(story.file()), chain_id=None, genesis_json=WHOLE.genesis_bytes)
    assert (unpinned.conclusion, unpinned.chain_id) == (Conclusion.CANNOT_TELL, WHOLE.chain_id)
    without = judge_file(io.BytesIO(story.file()), chain_id=WHOLE.chain_id, genesis_json=None)
    assert without.text.startswith("an answer is verified with the ledger's genesis")


def test_an_answer_of_another_chain_is_refused(story: Story) -> None:
    members = members_of(story.file())
    head = json.loads(members[HEAD_NAME])
    members[HEAD_NAME] = json.dumps(
        {**head, "chain_id": "00" * 32}, separators=(",", ":"), sort_keys=True
    ).encode()

    with pytest.raises(FaultFound, match="unknown chain 0000"):
        verified(packed(members))


def test_every_cut_leaves_no_verdict(story: Story) -> None:
    raw = story.file(items=["ST-1"])
    for end in range(600, len(raw), 997):
        with pytest.raises(UndecidedError, match="cut off"):
            verified(raw[:end])
    with pytest.raises(FaultFound, match="must end"):
        verified(raw + b"x")


def test_a_later_version_has_no_verdict(story: Story) -> None:
    members = members_of(story.file())
    members[HEAD_NAME] = members[HEAD_NAME].replace(b"answer/v1", b"answer/v2")

    with pytest.raises(UndecidedError, match="answer/v2"):
        verified(packed(members))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"receipts": str(RECEIPTS_MAX + 1)}, "100001 receipts; an answer file holds at most"),
        ({"receipts": 4}, "decimal string"),
        ({"question": []}, "answer.question is no object"),
        ({"format": "lotmark/other"}, "names no format"),
        ({"more": 1}, "unknown member"),
    ],
)
def test_a_head_that_breaks_the_format_is_told(
    story: Story, change: dict[str, Any], text: str
) -> None:
    members = members_of(story.file())
    head = {**json.loads(members[HEAD_NAME]), **change}
    members[HEAD_NAME] = json.dumps(head, separators=(",", ":"), sort_keys=True).encode()

    with pytest.raises(FaultFound, match=text):
        verified(packed(members))


def test_too_long_a_question_is_not_written(story: Story) -> None:
    with pytest.raises(MalformedError, match="the question takes"):
        write_answer(io.BytesIO(), chain_id=bytes(32), question={"item": "A" * 70_000}, receipts=[])


def test_the_bytes_of_an_answer_are_pinned(story: Story) -> None:
    pinned = bytes.fromhex((GOLDEN / "answer.hex").read_text())

    assert story.file([], ["CAR-1"]) == pinned
    assert [found.item for found in verified(pinned).histories] == ["CAR-1"]


def test_the_program_judges_an_answer(
    story: Story, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, genesis = tmp_path / "trace.answer", tmp_path / "genesis.json"
    file.write_bytes(story.file(items=["ST-1"]))
    genesis.write_bytes(WHOLE.genesis_bytes)
    arguments = [str(file), "--chain-id", WHOLE.chain_id.hex(), "--genesis", str(genesis)]

    assert main(arguments) == Conclusion.VALID
    assert "4 facts proven" in capsys.readouterr().out
    assert main([*arguments, "--json"]) == Conclusion.VALID
    document = json.loads(capsys.readouterr().out)
    assert [link["kind"] for link in document["links"]] == ["consumed", "mounted", "consumed"]
    assert document["histories"][0]["item"] == "ST-1"
