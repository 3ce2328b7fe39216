"""Finding seals by item or report, for callers who may read them."""

from lotmark.errors import MalformedError
from lotmark.merkle import HASH_SIZE
from lotmark.v1 import event_pb2, ledger_pb2
from lotmark_node.engine.log_reader import LogReader
from lotmark_node.engine.seal_index import correction_prefix, item_prefix, report_prefix
from lotmark_node.engine.store import LedgerStore
from lotmark_node.engine.stored_block import LogEntry
from lotmark_node.rpc.access import Caller
from lotmark_node.rpc.entry_filter import entry_message

ENTRIES_PER_CALL_MAX = 32  # looked at, each of which may be in a block of its own


def find_seals(
    request: ledger_pb2.FindSealsRequest, store: LedgerStore, reader: LogReader, caller: Caller
) -> ledger_pb2.FindSealsResponse:
    """Return some of the seals that a request asks for, and where to go on.

    Raises:
        MalformedError: It names neither an item nor a report, or both.
        EngineError: The store cannot be read.
    """
    found = ledger_pb2.FindSealsResponse()
    for count, index in enumerate(store.listed_indexes(_prefix(request), request.from_index)):
        if count == ENTRIES_PER_CALL_MAX:
            found.next_index = index
            break
        entry = reader.entry(index)
        message = entry_message(entry, caller)
        if not message.withheld and _is_wanted(request, entry):
            found.seals.add(entry=message, corrected_by=_corrected_by(entry, store))
    return found


def _prefix(request: ledger_pb2.FindSealsRequest) -> bytes:
    if bool(request.item) == bool(request.report_digest):
        raise MalformedError("name either the item or the report's digest")
    if request.item:
        return item_prefix(request.item)
    if len(request.report_digest) != HASH_SIZE:
        raise MalformedError(f"a report's digest has {HASH_SIZE} bytes")
    return report_prefix(request.report_digest)


def _is_wanted(request: ledger_pb2.FindSealsRequest, entry: LogEntry) -> bool:
    assert entry.batch is not None, "an event entry has its batch beside it"
    event = event_pb2.Event.FromString(entry.event)
    seal = event.report_seal
    return (
        (not request.item or any(item.id == request.item for item in event.items))
        and request.report_digest in (b"", seal.report_digest)
        and request.test in ("", seal.test)
        and request.laboratory in ("", seal.laboratory)
        and request.party in ("", entry.batch.header.party)
    )


def _corrected_by(entry: LogEntry, store: LedgerStore) -> int:
    """Return the index of the first correction by the party whose seal it is; 0: there is none."""
    assert entry.batch is not None, "an event entry has its batch beside it"
    prefix = correction_prefix(entry.leaf_data[-HASH_SIZE:], entry.batch.header.party)
    return next(store.listed_indexes(prefix, 0), 0)
