"""Postings of a range of blocks, and rule receipts as they come: both walk the log."""

import json
from collections.abc import Iterator
from typing import Any

from lotmark.errors import MalformedError
from lotmark.v1 import contract_queries_pb2
from lotmark_node.engine.log_reader import LogReader
from lotmark_node.engine.store import LedgerStore
from lotmark_node.rpc.claim_answers import KEY_SIZE_MAX
from lotmark_node.rpc.package_answers import NAME_SIZE_MAX
from lotmark_node.rpc.placed_receipts import PlacedReceipt, PlacedReceipts, parse_index
from lotmark_node.rpc.row_pages import check_size
from lotmark_node.state_machine.ledger_state import LedgerState

POSTINGS_MAX = 1_000  # beyond which an answer ends; a rule receipt is told whole
RECEIPTS_SIZE_MAX = 4 << 20  # beyond which an answer ends
RECEIPTS_MAX = 256  # in one message of a stream


def get_statement(
    request: contract_queries_pb2.GetStatementRequest,
    store: LedgerStore,
    reader: LogReader,
    state: LedgerState,
) -> contract_queries_pb2.GetStatementResponse:
    """Return a page of postings.

    Raises:
        MalformedError: A name, the range, or what to go on with, is none.
    """
    check_size(request.package, NAME_SIZE_MAX, "a package's name")
    check_size(request.party, KEY_SIZE_MAX, "a party")
    check_size(request.account, KEY_SIZE_MAX, "an account")
    newest = state.bases[-1]
    last_height = min(request.to_height or newest.height, newest.height)
    if request.to_height and request.to_height < request.from_height:
        raise MalformedError(
            f"to_height {request.to_height} is below from_height {request.from_height}"
        )
    if request.to_ms and request.to_ms <= request.from_ms:
        raise MalformedError("the interval is empty; give from_ms and a later to_ms")
    first = max(parse_index(request.resume), _first_index(request, store, reader, last_height))
    answer = contract_queries_pb2.GetStatementResponse()
    if first >= newest.size or request.from_height > last_height:
        answer.height = last_height
        return answer
    size, next_index = 0, first
    for block in PlacedReceipts(store).blocks(first, last_height):
        if 0 < request.to_ms <= block.time_ms:
            return answer
        answer.height = block.height
        for receipt in block.receipts:
            if len(answer.postings) >= POSTINGS_MAX or size >= RECEIPTS_SIZE_MAX:
                answer.resume = receipt.index.to_bytes(8)
                return answer
            size += len(receipt.document)
            answer.postings.extend(_postings(receipt, request))
        next_index = block.next_index
    if answer.height < last_height:
        answer.resume = next_index.to_bytes(8)
    return answer


def _first_index(
    request: contract_queries_pb2.GetStatementRequest,
    store: LedgerStore,
    reader: LogReader,
    last_height: int,
) -> int:
    """Return the entry from which on the blocks are of the heights and times asked for."""
    first = 0
    if request.from_ms:
        first = reader.first_index_from(request.from_ms, height=last_height)
    if 1 < request.from_height <= last_height:
        first = max(first, store.results(request.from_height).first_index)
    return first


def _postings(
    receipt: PlacedReceipt, request: contract_queries_pb2.GetStatementRequest
) -> Iterator[contract_queries_pb2.PostingEntry]:
    document: dict[str, Any] = json.loads(receipt.document)
    if request.package not in ("", document["package"]):
        return
    for number, posting in enumerate(document["postings"]):
        accounts = posting["from"], posting["to"]
        names = [account.partition(":")[2] for account in accounts]
        if request.account and request.account not in accounts:
            continue
        if request.party and request.party not in names:
            continue
        entry = contract_queries_pb2.PostingEntry(
            receipt_index=receipt.index,
            number=number,
            event_index=receipt.event_index,
            height=receipt.height,
            time_ms=receipt.time_ms,
            package=document["package"],
            version=int(document["version"]),
            rule=document["rule"],
            claim=document.get("claim", ""),
            to=posting["to"],
            minor=int(posting["minor"]),
            currency=posting["currency"],
            memo=posting["memo"],
        )
        setattr(entry, "from", posting["from"])  # a word of Python's
        yield entry


def next_receipts(
    store: LedgerStore, package: str, first_index: int, last_height: int
) -> contract_queries_pb2.StreamRuleReceiptsResponse:
    """Return the next rule receipts of a stream, and where it goes on.

    Args:
        store: The log's.
        package: Whose receipts; "": all.
        first_index: First entry to look at; it is on the log.
        last_height: Of the newest block to look at.
    """
    answer = contract_queries_pb2.StreamRuleReceiptsResponse(next_index=first_index)
    size = 0
    for block in PlacedReceipts(store).blocks(first_index, last_height):
        for receipt in block.receipts:
            if len(answer.receipts) >= RECEIPTS_MAX or size >= RECEIPTS_SIZE_MAX:
                return answer
            answer.next_index = receipt.index + 1
            if package in ("", json.loads(receipt.document)["package"]):
                answer.receipts.append(receipt.message())
                size += len(receipt.document)
        answer.next_index = block.next_index
    return answer
