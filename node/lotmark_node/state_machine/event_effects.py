"""What an event of an accepted batch does to the state, and which outcome goes on record."""

from collections.abc import Callable
from dataclasses import dataclass

from lotmark.event import EVENT_TYPES, CheckedEvent
from lotmark.outcome import Outcome
from lotmark.v1 import event_pb2, quality_pb2
from lotmark_node.state_machine.key_effects import close_lane, register_key, revoke_key
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


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockPlace:
    """The block an event stands in: what its effects may depend on beside the state."""

    chain_id: bytes
    height: int
    time_ms: int


Effect = Callable[[StateChanges, CheckedEvent, int, BlockPlace], Outcome]


def apply_event(state: StateChanges, event: CheckedEvent, index: int, place: BlockPlace) -> Outcome:
    """Change the state as the event of entry `index` says, or refuse it and change nothing."""
    message = event.message
    if message.audience:
        for party in message.audience:
            if state.get(row_key(Table.PARTY, party.encode("ascii"))) is None:
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


def _create_lot(
    _state: StateChanges, event: CheckedEvent, _index: int, _place: BlockPlace
) -> Outcome:
    names_one = any(item.role == _SUBJECT for item in event.message.items)
    return Outcome.ACCEPTED if names_one else Outcome.RELATION_INVALID


def _transform(state: StateChanges, event: CheckedEvent, index: int, _place: BlockPlace) -> Outcome:
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

    def effect(state: StateChanges, event: CheckedEvent, index: int, _place: BlockPlace) -> Outcome:
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


def _register_key(
    state: StateChanges, event: CheckedEvent, _index: int, place: BlockPlace
) -> Outcome:
    return register_key(
        state,
        event.message.key_registration,
        chain_id=place.chain_id,
        height=place.height,
        time_ms=place.time_ms,
    )


def _revoke_key(
    state: StateChanges, event: CheckedEvent, _index: int, place: BlockPlace
) -> Outcome:
    return revoke_key(
        state, event.message.key_revocation, chain_id=place.chain_id, height=place.height
    )


def _close_lane(
    state: StateChanges, event: CheckedEvent, _index: int, place: BlockPlace
) -> Outcome:
    return close_lane(state, event.message.lane_closure, chain_id=place.chain_id)


def _register_operator(
    state: StateChanges, event: CheckedEvent, _index: int, place: BlockPlace
) -> Outcome:
    body = event.message.operator_registration
    return register_operator(state, body, chain_id=place.chain_id, height=place.height)


def _revoke_operator(
    state: StateChanges, event: CheckedEvent, _index: int, place: BlockPlace
) -> Outcome:
    body = event.message.operator_revocation
    return revoke_operator(state, body, chain_id=place.chain_id, height=place.height)


def _judge_operator_signature(
    state: StateChanges, event: CheckedEvent, _index: int, place: BlockPlace
) -> Outcome:
    return judge_operator_signature(
        state,
        event.message.operator_signature,
        chain_id=place.chain_id,
        height=place.height,
        time_ms=place.time_ms,
    )


_EFFECTS: dict[int, Effect] = {
    EVENT_TYPES["lot_created"]: _create_lot,
    EVENT_TYPES["transformation"]: _transform,
    EVENT_TYPES["aggregation"]: _relate(Relation.AGGREGATED, Relation.AGGREGATION_ENDED),
    EVENT_TYPES["association"]: _relate(Relation.ASSOCIATED, Relation.ASSOCIATION_ENDED),
    EVENT_TYPES["key_registration"]: _register_key,
    EVENT_TYPES["key_revocation"]: _revoke_key,
    EVENT_TYPES["lane_closure"]: _close_lane,
    EVENT_TYPES["operator_registration"]: _register_operator,
    EVENT_TYPES["operator_revocation"]: _revoke_operator,
    EVENT_TYPES["operator_signature"]: _judge_operator_signature,
}
