"""What an event about a lane does to the state; it holds at once."""

from dataclasses import replace

from lotmark.key_grant import lane_closure_statement
from lotmark.key_rules import Place, judge_roots
from lotmark.outcome import Outcome
from lotmark.state_rows import key_row
from lotmark.v1 import governance_pb2
from lotmark_node.state_machine.batch_rules import lane_row
from lotmark_node.state_machine.state import StateChanges
from lotmark_node.state_machine.tables import lane_key


def close_lane(state: StateChanges, body: governance_pb2.LaneClosure, place: Place) -> Outcome:
    """Close a lane whose sender lost its place."""
    row = key_row(state, body.key)
    lane = lane_row(state, body.key, body.lane)
    if row is None or row.party != body.party or lane.closed:
        return Outcome.KEY_NOT_FOUND
    signed = lane_closure_statement(
        chain_id=place.chain.id, key=body.key, lane=body.lane, party=body.party
    )
    outcome = judge_roots(state, body.party, signed, body.roots, height=place.height)
    if outcome:
        return outcome
    state.put(lane_key(body.key, body.lane), replace(lane, closed=True).encode())
    return Outcome.ACCEPTED
