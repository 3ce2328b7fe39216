"""What an event of an accepted batch does to the state, and which outcome goes on record."""

from collections.abc import Callable

from lotmark.event import EVENT_TYPES, CheckedEvent
from lotmark.governance_rules import GOVERNING_BODIES, govern
from lotmark.item_name import canonical_item
from lotmark.key_rules import Place
from lotmark.operator_grant import OPERATOR_BODIES
from lotmark.outcome import Outcome
from lotmark.state_rows import party_row
from lotmark.v1 import event_pb2, quality_pb2
from lotmark_node.state_machine.lane_effects import close_lane
from lotmark_node.state_machine.operator_effects import (
    judge_operator_signature,
    register_operator,
    revoke_operator,
)
from lotmark_node.state_machine.package_effects import approve, propose, take_part
from lotmark_node.state_machine.packages_in_force import Packages
from lotmark_node.state_machine.state import StateChanges
from lotmark_node.state_machine.tables import (
    Relation,
    Table,
    edge_value,
    row_key,
    u64,
)

_SUBJECT = event_pb2.ITEM_ROLE_SUBJECT
_INPUT = event_pb2.ITEM_ROLE_INPUT
_OUTPUT = event_pb2.ITEM_ROLE_OUTPUT
_PARENT = event_pb2.ITEM_ROLE_PARENT
_CHILD = event_pb2.ITEM_ROLE_CHILD


Effect = Callable[[StateChanges, CheckedEvent, int, Place], Outcome]


def apply_event(
    state: StateChanges, event: CheckedEvent, index: int, place: Place, packages: Packages
) -> Outcome:
    """Change the state as the event of entry `index` says, or refuse it and change nothing.

    Args:
        state: The state as the block has it so far.
        event: The event.
        index: Of its entry.
        place: The block.
        packages: That were approved before it.
    """
    message = event.message
    if message.audience:
        for party in message.audience:
            row = party_row(state, party)
            if row is None or not row.is_member(place.height):
                return Outcome.PARTY_UNKNOWN
    if event.event_type == _PACKAGE_PART:
        return take_part(state, message.package_part, place, packages)
    effect = _EFFECTS.get(event.event_type)
    return Outcome.ACCEPTED if effect is None else effect(state, event, index, place)


def _need_subject(_state: StateChanges, event: CheckedEvent, _index: int, _place: Place) -> Outcome:
    names_one = any(item.role == _SUBJECT for item in event.message.items)
    return Outcome.ACCEPTED if names_one else Outcome.RELATION_INVALID


def _transform(state: StateChanges, event: CheckedEvent, index: int, _place: Place) -> Outcome:
    items = event.message.items
    inputs = [item for item in items if item.role == _INPUT]
    outputs = [item for item in items if item.role == _OUTPUT]
    if not inputs or not outputs:
        return Outcome.RELATION_INVALID
    for consumed in inputs:
        for made in outputs:
            _put_edge(state, consumed, made, Relation.CONSUMED, index)
    return Outcome.ACCEPTED


def _relate(begun: Relation, ended: Relation) -> Effect:
    """Return the effect of packing or mounting: what went in is the parent in the genealogy."""
    by_action = {
        quality_pb2.RELATION_ACTION_ADD: begun,
        quality_pb2.RELATION_ACTION_OBSERVE: begun,
        quality_pb2.RELATION_ACTION_DELETE: ended,
    }

    def effect(state: StateChanges, event: CheckedEvent, index: int, _place: Place) -> Outcome:
        items = event.message.items
        containers = [item for item in items if item.role == _PARENT]
        contained = [item for item in items if item.role == _CHILD]
        if len(containers) != 1 or not contained:
            return Outcome.RELATION_INVALID
        relation = by_action[event.body.action]
        for item in contained:
            _put_edge(state, item, containers[0], relation, index)
        return Outcome.ACCEPTED

    return effect


def _put_edge(
    state: StateChanges,
    source: event_pb2.ItemReference,
    product: event_pb2.ItemReference,
    relation: Relation,
    index: int,
) -> None:
    """Write that `source` is part of the history of `product`."""
    value = edge_value(relation, source.quantity.value, source.quantity.unit)
    parent, child = canonical_item(source.id).encode(), canonical_item(product.id).encode()
    state.create(row_key(Table.PARENT, child, u64(index), parent), value)


def _govern(state: StateChanges, event: CheckedEvent, _index: int, place: Place) -> Outcome:
    return govern(state, event.message, place)


def _close_lane(state: StateChanges, event: CheckedEvent, _index: int, place: Place) -> Outcome:
    return close_lane(state, event.message.lane_closure, place)


# What a range of blocks carries of those before it.
GOVERNING_TYPES = frozenset(EVENT_TYPES[body] for body in (*GOVERNING_BODIES, *OPERATOR_BODIES))


def _register_operator(
    state: StateChanges, event: CheckedEvent, _index: int, place: Place
) -> Outcome:
    body = event.message.operator_registration
    return register_operator(state, body, chain_id=place.chain.id, height=place.height)


def _revoke_operator(
    state: StateChanges, event: CheckedEvent, _index: int, place: Place
) -> Outcome:
    body = event.message.operator_revocation
    return revoke_operator(state, body, chain_id=place.chain.id, height=place.height)


def _judge_operator_signature(
    state: StateChanges, event: CheckedEvent, _index: int, place: Place
) -> Outcome:
    return judge_operator_signature(
        state,
        event.message.operator_signature,
        chain_id=place.chain.id,
        height=place.height,
        time_ms=place.time_ms,
    )


def _name_no_other(
    _state: StateChanges, event: CheckedEvent, _index: int, _place: Place
) -> Outcome:
    """Refuse an event of packages that has the name of one of the ledger's own."""
    return Outcome.FIELD_INVALID if event.body.name in EVENT_TYPES else Outcome.ACCEPTED


def _propose_package(
    state: StateChanges, event: CheckedEvent, _index: int, place: Place
) -> Outcome:
    return propose(state, event.message.package_proposal, place)


def _approve_package(
    state: StateChanges, event: CheckedEvent, _index: int, place: Place
) -> Outcome:
    return approve(state, event.message.package_approval, place)


_PACKAGE_PART = EVENT_TYPES["package_part"]
_EFFECTS: dict[int, Effect] = {
    EVENT_TYPES["lot_created"]: _need_subject,
    EVENT_TYPES["transformation"]: _transform,
    EVENT_TYPES["aggregation"]: _relate(Relation.AGGREGATED, Relation.AGGREGATION_ENDED),
    EVENT_TYPES["association"]: _relate(Relation.ASSOCIATED, Relation.ASSOCIATION_ENDED),
    EVENT_TYPES["item_identified"]: _need_subject,
    EVENT_TYPES["lane_closure"]: _close_lane,
    EVENT_TYPES["operator_registration"]: _register_operator,
    EVENT_TYPES["operator_revocation"]: _revoke_operator,
    EVENT_TYPES["operator_signature"]: _judge_operator_signature,
    EVENT_TYPES["contract_event"]: _name_no_other,
    EVENT_TYPES["package_proposal"]: _propose_package,
    EVENT_TYPES["package_approval"]: _approve_package,
    **{EVENT_TYPES[body]: _govern for body in GOVERNING_BODIES},
}
