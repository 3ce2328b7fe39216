"""The story of the bad weld on the ledger of one running node."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lotmark.client import read_client_settings
from lotmark.client.session import LedgerSession
from lotmark.v1 import event_pb2
from lotmark_node.story.load import STORY, load_document
from lotmark_node.story.trial_ledger import random_nonce
from lotmark_node.story.welds import review_verdict, weld_inspections
from tests.node.running_node import NodeProcess, node_process
from tests.node.submitting import submit_events

SEED = 137
WIRE = "https://id.gs1.org/01/04012345000016/10/CU-20251223-07"
CLIENTS = (
    *sorted({f"{document.party}/{document.holder}" for document in STORY}),
    "T1-STATOR/aoi-cam07", "T1-STATOR/review", "OEM-A/erp",
)  # fmt: skip


@contextmanager
def story_on_a_node(folder: Path) -> Iterator[NodeProcess]:
    """Run a node of OEM-A on whose ledger the story is, under a checkpoint."""
    with node_process(folder, clients=CLIENTS) as node:
        for document in STORY:
            client = f"{document.party}/{document.holder}"
            put(node, client, load_document(document.name, random_nonce))
        welds = weld_inspections(SEED, random_nonce)
        ids = put(node, "T1-STATOR/aoi-cam07", welds)
        put(node, "T1-STATOR/review", [review_verdict(ids[SEED], random_nonce)])
        with LedgerSession(read_client_settings(node.client("OEM-A", "erp"))) as session:
            session.checkpoint_over(session.ledger().size - 1)
        yield node


def put(node: NodeProcess, client: str, events: list[event_pb2.Event]) -> list[bytes]:
    """Put events on the ledger as a client and return their ids."""
    raw = [event.SerializeToString(deterministic=True) for event in events]
    results = submit_events(read_client_settings(node.client(*client.split("/"))), raw)
    assert not any(result.outcome for result in results), results
    return [result.event_id for result in results]
