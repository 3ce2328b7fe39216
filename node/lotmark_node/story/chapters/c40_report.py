"""A laboratory measures the wire and seals its report, before anybody complains."""

from lotmark.v1 import event_pb2
from lotmark_node.story.stage import Stage
from lotmark_node.story.trial_ledger import random_nonce

TITLE = "report"
SUPPLIERS_SEAL = "report of the supplier"  # among what was told: what counts as his evidence
SUPPLIER = "T2-CU-JX/erp"


def run(stage: Stage) -> str:
    """Put measurement and seal on record."""
    telling = stage.ledger.tell_document("resistivity")
    measured, sealed = (each.event for each in telling.events)
    value, seal = measured.measurement, sealed.report_seal
    copy = event_pb2.Event()
    copy.CopyFrom(sealed)
    copy.nonce, copy.device = random_nonce(), "erp"
    supplier = stage.ledger.tell(SUPPLIERS_SEAL, SUPPLIER, [copy])
    return (
        f"{telling.party} seals report {seal.report}, {value.value} {value.unit}: {telling};"
        f" {supplier.party} its copy, before it delivers"
    )
