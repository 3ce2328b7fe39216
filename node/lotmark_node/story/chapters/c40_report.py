"""A laboratory measures the wire and seals its report, before anybody complains."""

from lotmark_node.story.stage import Stage

TITLE = "report"


def run(stage: Stage) -> str:
    """Put measurement and seal on record."""
    telling = stage.ledger.tell_document("resistivity")
    measured, sealed = (each.event for each in telling.events)
    value, seal = measured.measurement, sealed.report_seal
    return f"{telling.party} seals report {seal.report}, {value.value} {value.unit}: {telling}"
