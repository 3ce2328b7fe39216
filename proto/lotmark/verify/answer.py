"""What an answer file proves: events, the items that they link, and whose history is whole.

Links are derived from the proven events again, by the rule that a node's index uses too. That no
other event says something else is shown for the items only whose history is proven.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from lotmark import canonical_json
from lotmark.answer_file import AnswerReader
from lotmark.canonical_json import JsonValue
from lotmark.errors import ProofError
from lotmark.event_links import LINKING_BODIES, Link, links
from lotmark.v1 import provenance_pb2
from lotmark.verify.checkpoints import CheckpointFindings
from lotmark.verify.history_verdict import history_text, history_to_json
from lotmark.verify.item_history import HistoryFindings, verify_item_proof
from lotmark.verify.key_register import parse_event
from lotmark.verify.receipt import ReceiptFindings, ReceiptVerifier, parse_receipt
from lotmark.verify.report import Conclusion, Fault, FaultFound, Verdict, blaming

_QUESTION_SHOWN_MAX = 200  # characters
_EDGE = "EDGE_KIND_"


@dataclass(frozen=True, slots=True)
class ProvenEvent:
    """An event with its receipt's findings, and the items that it links."""

    receipt: ReceiptFindings
    event: bytes
    links: Sequence[Link]  # none of an event that the ledger refused


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerFindings:
    """What an answer file proves."""

    question: Mapping[str, JsonValue]
    events: Sequence[ProvenEvent]  # in the order of the log
    histories: Sequence[HistoryFindings]

    @property
    def checkpoints(self) -> list[CheckpointFindings]:
        """The checkpoints it stands under, ascending by size."""
        found = [event.receipt.checkpoint for event in self.events]
        found += [history.checkpoint for history in self.histories]
        return sorted(found, key=lambda each: each.checkpoint.size)

    def items(self) -> set[str]:
        """Return the items that the events link."""
        named = (
            name for event in self.events for link in event.links
            for name in (link.source, link.product)
        )  # fmt: skip
        return set(named)


def verify_answer(
    source: BinaryIO, *, genesis_json: bytes, chain_id: bytes, genesis_name: str = "the genesis"
) -> AnswerFindings:
    """Check an answer file and return what it proves; on whose word, its checkpoints say.

    Args:
        source: The file, read once from its beginning.
        genesis_json: The genesis of the ledger.
        chain_id: The pinned chain id, from a source the reader trusts.
        genesis_name: What a message calls the genesis, such as its path.

    Raises:
        FaultFound: Something in it does not hold.
        UndecidedError: It is cut off or of an unknown version, or the genesis is not that of the
            pinned chain.
    """
    verifier = ReceiptVerifier(genesis_json, chain_id, genesis_name=genesis_name)
    with blaming("answer"):
        reader = AnswerReader(source)
        if reader.head.chain_id != chain_id:
            found = reader.head.chain_id.hex()
            raise FaultFound(
                Fault("chain", f"unknown chain {found}; the pinned chain is {chain_id.hex()}")
            )
        events = list(_events(reader, verifier))
        histories = [
            verify_item_proof(
                raw, genesis_json=genesis_json, chain_id=chain_id, genesis_name=genesis_name
            )
            for raw in reader.item_proofs()
        ]
    findings = AnswerFindings(question=reader.head.question, events=events, histories=histories)
    with blaming("checkpoint"):
        _check_one_log(findings.checkpoints)
    return findings


def _events(reader: AnswerReader, verifier: ReceiptVerifier) -> Iterator[ProvenEvent]:
    previous = -1
    for raw in reader.receipts():
        found = verifier.verify(raw)
        if found.index <= previous:
            raise ProofError(f"the receipt of entry {found.index} follows that of {previous}")
        previous = found.index
        event = parse_receipt(raw).event
        linked: list[Link] = []
        if not found.outcome and found.event_type in LINKING_BODIES:
            linked = list(links(parse_event(event), found.event_type))
        yield ProvenEvent(found, event, linked)


def _check_one_log(checkpoints: Sequence[CheckpointFindings]) -> None:
    """Check that no two checkpoints contradict each other, as far as two sizes tell."""
    roots: dict[int, bytes] = {}
    for each in checkpoints:
        size, root = each.checkpoint.size, each.checkpoint.root
        if roots.setdefault(size, root) != root:
            raise ProofError(
                f"two checkpoints of size {size} have roots {roots[size].hex()} and {root.hex()}:"
                " keep the file, it is evidence against whoever signed both"
            )


def answer_verdict(findings: AnswerFindings, *, kind: str, chain_id: bytes) -> Verdict:
    """Return the verdict on an answer file in which no fault was found."""
    checkpoints = findings.checkpoints
    is_final = bool(checkpoints) and all(each.is_final for each in checkpoints)
    weakest = next((each for each in checkpoints if not each.is_final), None)
    standing = "nothing is proven by an empty answer"
    if checkpoints:
        standing = (weakest or checkpoints[-1]).standing
    return Verdict(
        kind=kind,
        conclusion=Conclusion.VALID if is_final else Conclusion.CANNOT_TELL,
        text=f"{_said(findings)}; {standing}",
        chain_id=chain_id,
        flags=[flag for event in findings.events for flag in event.receipt.flags()],
        details={
            "question": dict(findings.question),
            "events": [_event_to_json(event) for event in findings.events],
            "links": [
                _link_to_json(link, event.receipt.index)
                for event in findings.events
                for link in event.links
            ],
            "histories": [history_to_json(history) for history in findings.histories],
            "checkpoints": [
                each.to_json() for each in {c.checkpoint.size: c for c in checkpoints}.values()
            ],
        },
    )


def _said(findings: AnswerFindings) -> str:
    question = canonical_json.dump(dict(findings.question)).decode("ascii", "replace")
    if len(question) > _QUESTION_SHOWN_MAX:
        question = f"{question[:_QUESTION_SHOWN_MAX]}..."
    accepted = sum(1 for event in findings.events if not event.receipt.outcome)
    refused = len(findings.events) - accepted
    link_count = sum(len(event.links) for event in findings.events)
    text = (
        f"asked: {question}; {accepted:,} facts proven, which make {link_count:,} links between"
        f" {len(findings.items()):,} items"
    )
    if refused:
        text += f"; {refused:,} events on record as refused"
    for history in findings.histories:
        text += f"; {history_text(history)}"
    if not findings.histories:
        text += "; not shown: that there are no others"
    return text


def _event_to_json(event: ProvenEvent) -> JsonValue:
    found = event.receipt
    return {
        "index": str(found.index),
        "event_id": found.event_id.hex(),
        "event_type": found.event_type,
        "outcome": str(int(found.outcome)),
        "party": found.party,
        "block_time_ms": str(found.block_time_ms),
    }


def _link_to_json(link: Link, index: int) -> JsonValue:
    return {
        "kind": provenance_pb2.EdgeKind.Name(link.kind).removeprefix(_EDGE).lower(),
        "source": link.source,
        "product": link.product,
        "quantity": link.quantity,
        "unit": link.unit,
        "ended": link.ended,
        "index": str(index),
    }
