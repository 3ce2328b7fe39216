"""What rules make of a block: due timers first, guards with each event, the rest at its end.

Without a package nothing here costs more than a look into a set.
"""

import json
from collections.abc import Callable, Sequence
from functools import partial

from lotmark.entry import RULE_RECEIPT_SIZE_MAX, RuleReceiptPayload
from lotmark.event import CheckedEvent
from lotmark.key_rules import Place
from lotmark.state_rows import PartyRow, Table, members
from lotmark.v1 import governance_pb2
from lotmark_contracts.execution.block_execution import BLOCK_GAS_MAX, RulesOfBlock
from lotmark_contracts.execution.failures import ExecutionCode
from lotmark_contracts.execution.inputs import Ancestor, Circumstances, Event, Party
from lotmark_contracts.execution.offline_block import TIMERS_MAX
from lotmark_contracts.execution.receipt import RuleReceipt
from lotmark_contracts.execution.timers import DueTimer, SetTimer
from lotmark_node.state_machine.contract_rows import (
    PRESENT,
    claim_receipt_key,
    parse_timer_key,
)
from lotmark_node.state_machine.item_evidence import ancestors_of
from lotmark_node.state_machine.packages_in_force import RulesInForce
from lotmark_node.state_machine.rule_events import is_native, name_of, rule_event
from lotmark_node.state_machine.rule_rows import RuleRows
from lotmark_node.state_machine.state import StateChanges, StateReader

SUSPENDED_RETRY_MS = 24 * 60 * 60 * 1000  # when a timer of a suspended package is looked at again
GAS_PER_ROW = 10  # of provenance that a rule asks for
RECEIPT_BYTES_PER_GAS = 2  # what a block may hold of rule receipts is bounded by its gas

_ROLES: dict[int, str] = {
    number: name.removeprefix("PARTY_ROLE_").lower()
    for name, number in governance_pb2.PartyRole.items()
}

Bill = Callable[[str, int], None]  # party, rows that were made for it


class BlockRules:
    """The rules of one block.

    Attributes:
        receipts: Payloads of the rule receipts so far, in order.
    """

    def __init__(self, rules: RulesInForce, changes: StateChanges, place: Place) -> None:
        self._in_force = rules
        self._changes = changes
        self._place = place
        self._rows = RuleRows(changes)
        self._waiting: list[tuple[Event, int, int]] = []  # with batch index and position
        self._about: list[tuple[str, str, str]] = []  # package, claim, author of each receipt
        self.receipts: list[bytes] = []
        self._execution: RulesOfBlock | None = None

    @property
    def _rules(self) -> RulesOfBlock:
        """The block's executions; made once a rule is to be executed."""
        if self._execution is None:
            circumstances = Circumstances(
                now_ms=self._place.time_ms,
                height=self._place.height,
                parties=parties_of(members(self._changes, self._place.height)),
            )
            self._execution = RulesOfBlock(
                self._in_force.book, circumstances, self._rows, BLOCK_GAS_MAX
            )
        return self._execution

    def fire_timers(self, reader: StateReader, next_due_ms: int | None, bill: Bill) -> None:
        """Execute what is due, the earliest first; the rest waits for the next block."""
        if next_due_ms is None or next_due_ms > self._place.time_ms:
            return
        fired = 0
        for key, raw in reader.rows(bytes([Table.TIMER])):
            due_ms, package, name, _ = parse_timer_key(key)
            if due_ms > self._place.time_ms or fired == TIMERS_MAX:
                return
            if self._changes.get(key) is None:
                continue  # one before it has taken it back, or set it anew
            if fired and not self._rules.has_gas_for(package, name):
                return  # they wait for a block with more gas
            fired += 1
            timer = self._rows.take_timer(key, raw)
            if package in self._in_force.suspended:
                self._postpone(timer)
                continue
            made_before = self._changes.created_count
            self._keep(self._rules.fire(timer), timer.author, *self._rows.at)
            bill(timer.author, self._changes.created_count - made_before)

    def _postpone(self, timer: DueTimer) -> None:
        """Let a timer of a suspended package wait."""
        retry_ms = self._place.time_ms + SUSPENDED_RETRY_MS
        again = SetTimer(name=timer.name, key=timer.key, due_ms=retry_ms, fields=timer.fields)
        self._rows.set_timer(timer.package, again, author=timer.author, event_id=timer.event_id)

    def listens(self, event: CheckedEvent) -> bool:
        """Tell whether some rule may have something to say about an event."""
        return event.event_type in self._in_force.listened and self._in_force.book.listens(
            name_of(event)
        )

    def refuse(
        self, event: CheckedEvent, *, author: str, index: int, batch_index: int
    ) -> Event | None:
        """Ask the guards; return the event as rules see it, or None where one refuses it."""
        name = name_of(event)
        seen = rule_event(
            event,
            index=index,
            author=author,
            declared=self._in_force.book.fields_of(name) if is_native(name) else {},
            provenance=partial(self._provenance, event.item_names),
        )
        receipts = self._rules.judge(seen)
        self._keep(receipts, author, batch_index, index - batch_index - 1)
        return None if receipts else seen

    def _provenance(self, items: Sequence[str]) -> Sequence[Ancestor]:
        """Return what is on record of items; the block pays for the rows that were looked at."""
        closure = ancestors_of(self._changes, items)
        self._rules.charge(closure.row_count * GAS_PER_ROW)
        return closure.ancestors

    def wait(self, event: Event, batch_index: int, position: int) -> None:
        """Let the effect rules have an accepted event at the block's end."""
        self._waiting.append((event, batch_index, position))

    def execute(self, bill: Bill) -> None:
        """Execute the effect rules for all events that wait."""
        for event, batch_index, position in self._waiting:
            self._rows.at = batch_index, position
            made_before = self._changes.created_count
            self._keep(self._rules.execute(event), event.author, batch_index, position)
            bill(event.author, self._changes.created_count - made_before)
        self._rows.check_sums()

    def _keep(
        self, receipts: Sequence[RuleReceipt], author: str, batch_index: int, position: int
    ) -> None:
        is_told = False  # that the block has no gas left for the event
        for receipt in receipts:
            # Nothing pays for these any more, and there may be as many as rules for each event.
            if _lacks_gas(receipt) and not self._rules.gas_left:
                if is_told:
                    continue
                is_told = True
            document = receipt_document(receipt)
            assert len(document) <= RULE_RECEIPT_SIZE_MAX, "gas bounds what a receipt can hold"
            self._rules.charge(len(document) // RECEIPT_BYTES_PER_GAS)
            self.receipts.append(RuleReceiptPayload(batch_index, position, document).encode())
            self._about.append((receipt.package, receipt.claim, author))

    def put_claim_receipts(self, first_index: int, bill: Bill) -> None:
        """Write by which entries a claim's rule receipts are found.

        Args:
            first_index: Entry index of the block's first rule receipt.
            bill: Told of each row.
        """
        for at, (package, claim, author) in enumerate(self._about, first_index):
            if claim:
                self._changes.create(claim_receipt_key(package, claim, at), PRESENT)
                bill(author, 1)


def _lacks_gas(receipt: RuleReceipt) -> bool:
    return receipt.failure is not None and receipt.failure.code == ExecutionCode.BLOCK_GAS


def receipt_document(receipt: RuleReceipt) -> bytes:
    """Return a rule receipt as it stands on the log: canonical JSON.

    All keys are ASCII, so that sorting by code points and escaping as little as JSON allows is
    RFC 8785; this is much quicker than checking that once more.
    """
    return json.dumps(
        receipt.document(), sort_keys=True, separators=(",", ":"), ensure_ascii=False
    ).encode()


def parties_of(rows: dict[str, PartyRow]) -> list[Party]:
    """Return members as rules know them."""
    return [Party(party, _ROLES[row.role]) for party, row in rows.items()]
