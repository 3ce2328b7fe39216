"""The wire is shipped, received, inspected, and laid beside the other lots."""

from lotmark_node.story.stage import Stage

TITLE = "delivery"


def run(stage: Stage) -> str:
    """Put on record what happens until the wire is used."""
    ledger = stage.ledger
    shipment = ledger.tell_document("shipment").events[0].event.shipment
    receipt = ledger.tell_document("receipt").events[0].event.material_receipt
    inspection = ledger.tell_document("incoming-inspection").events[0].event.incoming_inspection
    telling = ledger.tell_document("other-lots")
    return (
        f"{receipt.supplier} → {shipment.receiver}, {inspection.sample_count} inspected,"
        f" {inspection.nonconforming_count} nonconforming; {len(telling.events)} other lots:"
        f" up to entry {telling.events[-1].index}"
    )
