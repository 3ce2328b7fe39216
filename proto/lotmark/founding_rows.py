"""The rows of height 0 that say who may do what: they follow from the genesis alone."""

from lotmark.finality_policy import policy_of_rows
from lotmark.genesis import Genesis, chain_of
from lotmark.governance import FIRST_RULES
from lotmark.governance_rules import COSIGNERS_CHANGED
from lotmark.item_epochs import begin_epochs, rule_in_force
from lotmark.key_rules import row_of_grant, row_of_root
from lotmark.state_rows import (
    PartyRow,
    Rows,
    Table,
    parameter_key,
    party_key,
    put_key,
    row_key,
    u64,
)

GENESIS_SIZE = 2  # entries of height 0


def put_founding_rows(rows: Rows, genesis: Genesis, chain_id: bytes) -> None:
    """Write the rows of height 0."""
    parameters = genesis.parameters
    for name in parameters.names():
        rows.put(parameter_key(name), u64(getattr(parameters, name)))
    for kind, rule in FIRST_RULES.items():
        rows.put(parameter_key(kind.rule_name), u64(rule))
    rows.put(parameter_key(COSIGNERS_CHANGED), u64(0))
    for party in genesis.parties:
        row = PartyRow(
            role=party.role, threshold=party.threshold, roots=party.roots, ca_pem=party.ca_pem
        )
        rows.put(party_key(party.id), row.encode())
        for root in party.roots:
            put_key(rows, root, row_of_root(party.id, from_height=0))
    for each in genesis.keys:
        put_key(rows, each.grant.key, row_of_grant(each.grant, from_height=0))
    rows.put(row_key(Table.POLICY), policy_of_rows(chain_of(genesis, chain_id), rows))
    if rule_in_force(rows) is not None:
        first = begin_epochs(size=GENESIS_SIZE, time_ms=genesis.created_ms)
        rows.put(row_key(Table.ITEM_EPOCH), first.encode())
