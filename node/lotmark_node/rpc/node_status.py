"""How a node fares, for `lotmark network status` and whoever watches it."""

from lotmark.outcome import MEANINGS
from lotmark.v1 import ledger_pb2
from lotmark_node.engine.ledger_engine import LedgerEngine


def node_status(
    engine: LedgerEngine, *, certificate_not_after_ms: int
) -> ledger_pb2.GetNodeStatusResponse:
    """Return it; never waits."""
    order, checkpoints, closed = (
        engine.ordering.status(),
        engine.checkpoints,
        engine.admission.closed,
    )
    status = ledger_pb2.GetNodeStatusResponse(
        node=engine.name,
        role=order.role.value,
        term=order.term,
        leader=engine.name if engine.leadership.leads else order.leader or "",
        last_index=order.last_index,
        committed_index=order.committed_index,
        applied_index=engine.applied_index,
        first_index=order.first_index,
        height=engine.state.height,
        size=engine.state.size,
        signed_size=checkpoints.signed_size,
        final_size=checkpoints.newest_final.head.size if checkpoints.newest_final else 0,
        waiting_batches=engine.waiting_count,
        takes_events=closed is None,
        closed="" if closed is None else MEANINGS[closed].text,
        now_ms=engine.now_ms(),
        certificate_not_after_ms=certificate_not_after_ms,
    )
    if (network := order.network) is not None:
        status.elections = network.elections
        for name in sorted(network.voters - {engine.name}):
            status.peers.add(
                name=name,
                match_index=network.match_index.get(name, 0),
                queued_size=network.queued_size.get(name, 0),
            )
        for reason, count in sorted(network.counters.items()):
            status.refusals.add(reason=reason, count=count)
    return status
