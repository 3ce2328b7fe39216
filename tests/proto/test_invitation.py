"""Invitations and join requests: read back, and refused where they are something else."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotmark import canonical_json
from lotmark.client.settings import NodeAddress
from lotmark.errors import ProtocolError
from lotmark.genesis import PartyRole, chain_id
from lotmark.invitation import (
    Invitation,
    format_join_request,
    parse_invitation,
    parse_join_request,
)
from tests.node.governance_events import NewParty
from tests.proto.sample_genesis import sample_genesis

GENESIS = sample_genesis()
CHAIN = chain_id(GENESIS.to_json())
INVITATION = Invitation(
    party="T2-CU-JX",
    role=PartyRole.SUPPLIER,
    sponsor="OEM-A",
    genesis=GENESIS.to_json(),
    nodes=(
        NodeAddress(party="OEM-A", node="n1", address="127.0.0.1:7401"),
        NodeAddress(party="T1-STATOR", node="n1", address="127.0.0.1:7402"),
    ),
)
REQUEST = format_join_request(CHAIN, NewParty().addition(CHAIN))


def test_an_invitation_is_read_back() -> None:
    found, genesis = parse_invitation(INVITATION.encode())

    assert (found, genesis) == (INVITATION, GENESIS)
    assert found.chain_id == CHAIN


def changed(raw: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    document = json.loads(raw)
    change(document)
    return canonical_json.dump(document)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format="lotmark/invite/v2"), "not lotmark/invite/v1"),
        (lambda d: d.update(more=1), "unknown member"),
        (lambda d: d.update(party="lower"), "is not a party"),
        (lambda d: d.update(role="boss"), "is no role"),
        (lambda d: d.update(nodes=[]), "names no node"),
        (lambda d: d["nodes"][0].update(name="NOBODY/n1"), "of no party"),
        (lambda d: d["nodes"][0].update(address="127.0.0.1:0"), "port 0"),
        (lambda d: d.update(genesis="e30="), "lacks"),
    ],
)
def test_an_invitation_that_breaks_a_rule_is_refused(
    change: Callable[[dict[str, Any]], object], message: str
) -> None:
    with pytest.raises(ProtocolError, match=message):
        parse_invitation(changed(INVITATION.encode(), change))


def test_a_join_request_is_read_back_with_its_signatures_checked() -> None:
    assert parse_join_request(REQUEST, CHAIN) == NewParty().addition(CHAIN)


def test_a_join_request_for_another_chain_is_refused() -> None:
    with pytest.raises(ProtocolError, match=f"for chain {CHAIN.hex()}"):
        parse_join_request(REQUEST, bytes(32))
    other = json.loads(REQUEST)["addition"]
    carried = canonical_json.dump(
        {"addition": other, "chain_id": "00" * 32, "format": "lotmark/join-request/v1"}
    )
    with pytest.raises(ProtocolError):
        parse_join_request(carried, bytes(32))


@given(at=st.integers(0, len(REQUEST) - 1), put=st.binary(min_size=1, max_size=1))
def test_a_changed_request_is_refused_or_says_the_same(at: int, put: bytes) -> None:
    try:
        found = parse_join_request(REQUEST[:at] + put + REQUEST[at + 1 :], CHAIN)
    except ProtocolError:
        return
    assert found == NewParty().addition(CHAIN)
