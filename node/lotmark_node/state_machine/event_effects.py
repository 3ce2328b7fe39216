"""What an event of an accepted batch does to the state, and which outcome goes on record."""

from collections.abc import Callable

from lotmark.event import EVENT_TYPES, CheckedEvent
from lotmark.governance_rules import GOVERNING_BODIES, govern
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
from lotmark_node.state_machine.state import StateChanges
from lotmark_node.state_machine.tables import (
    Relation,
    Table,
    edge_value,
    item_key,
    row_key,
    u64,
)

_SUBJECT = event_pb2.ITEM_ROLE_SUBJECT
_INPUT = event_pb2.ITEM_ROLE_INPUT
_OUTPUT = event_pb2.ITEM_ROLE_OUTPUT
_PARENT = event_pb2.ITEM_ROLE_PARENT
_CHILD = event_pb2.ITEM_ROLE_CHILD


Effect = Callable[[StateChanges, CheckedEvent, int, Place], Outcome]


def apply_event(state: StateChanges, event: CheckedEvent, index: int, place: Place) -> Outcome:
    """Change the state as the event of entry `index` says, or refuse it and change nothing."""
    message = event.message
    if message.audience:
        for party in message.audience:
            row = party_row(state, party)
            if row is None or not row.is_member(place.height):
                return Outcome.PARTY_UNKNOWN
    effect = _EFFECTS.get(event.event_type)
    if effect is not None:
        outcome = effect(state, event, index, place)
        if outcome:
            return outcome
    for item_id in event.item_ids:
        key = item_key(item_id)
        if state.get(key) is None:
            state.put(key, u64(index))
    return Outcome.ACCEPTED


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
            _put_edge(state, consumed, made.id, Relation.CONSUMED, index)
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
            _put_edge(state, item, containers[0].id, relation, index)
        return Outcome.ACCEPTED

    return effect


def _put_edge(
    state: StateChanges,
    source: event_pb2.ItemReference,
    product: str,
    relation: Relation,
    index: int,
) -> None:
    """Write that `source` is part of the history of `product`, readable from both ends."""
    value = edge_value(relation, source.quantity.value, source.quantity.unit)
    parent, child, at = source.id.encode(), product.encode(), u64(index)
    state.put(row_key(Table.PARENT, child, parent, at), value)
    state.put(row_key(Table.CHILD, parent, child, at), value)


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
    **{EVENT_TYPES[body]: _govern for body in GOVERNING_BODIES},
}
