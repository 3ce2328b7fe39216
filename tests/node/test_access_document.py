"""docs/access.md says of every call and role what the node does."""

from pathlib import Path

import pytest

from lotmark.genesis import PartyRole
from lotmark.v1 import contract_queries_pb2, ledger_pb2, provenance_pb2
from lotmark_node.rpc.access import ACCESS, Caller, refusal

DOCUMENT = Path(__file__).parents[2] / "docs" / "access.md"
OWN = "own party"


def rows() -> dict[str, dict[str, str]]:
    """Return the document's table: call -> column -> cell."""
    lines = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("|")]
    head, _, *body = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {cells[0]: dict(zip(head[1:], cells[1:], strict=True)) for cells in body}


def test_the_document_has_a_row_for_every_call_and_a_column_for_every_role() -> None:
    services = (
        ledger_pb2.DESCRIPTOR.services_by_name["LedgerService"],
        provenance_pb2.DESCRIPTOR.services_by_name["ProvenanceService"],
        contract_queries_pb2.DESCRIPTOR.services_by_name["ContractService"],
    )
    calls = [method.name for service in services for method in service.methods]

    assert list(rows()) == calls
    assert list(ACCESS) == calls
    for columns in rows().values():
        assert list(columns) == [*(role.name.lower() for role in PartyRole), OWN]


@pytest.mark.parametrize("call", list(ACCESS))
@pytest.mark.parametrize("own", [False, True], ids=["other party", OWN])
def test_every_cell_is_what_a_caller_of_that_role_gets(call: str, own: bool) -> None:
    for role in PartyRole:
        refused = refusal(Caller("T2-CU-JX", "erp", role, own), call)
        cell = rows()[call][OWN if own else role.name.lower()]

        assert cell == ("yes" if refused is None else "no"), (call, role, refused)
