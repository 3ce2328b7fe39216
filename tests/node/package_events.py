"""Events about rule packages, and those that their rules read, for ledgers in memory."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from lotmark.ed25519 import PrivateKey
from lotmark.package_change import (
    archive_parts,
    change_approval_statement,
    change_bytes,
    change_hash,
    encode_archive,
)
from lotmark.rule_value import RuleValue, record_of
from lotmark.v1 import contracts_pb2
from lotmark_contracts.package.package_hash import package_hash
from tests.node.governance_events import DAY_MS, Ledger, roots_of, signatures
from tests.node.ledger_in_memory import LedgerInMemory, event
from tests.node.state_machine.reading import event_outcomes

PARTIES = ("LAB-17025", "OEM-A", "T1-STATOR")
ERP = "OEM-A/erp"


def contract_event(
    name: str, nonce: str = "", items: Sequence[tuple[str, int]] = (), /, **fields: RuleValue
) -> bytes:
    """Return an event that packages read."""
    body = contracts_pb2.ContractEvent(name=name, fields=record_of(fields))
    return event(
        nonce=nonce or f"{name} {sorted(fields.items())!r}", items=items, contract_event=body
    )


def activation(
    ledger: Ledger, files: Mapping[str, bytes], *, lifetime_ms: int = DAY_MS, **fields: object
) -> contracts_pb2.PackageChange:
    """Return a change that brings a package into force, sound or not.

    Args:
        ledger: Whose time counts.
        files: Of the package.
        lifetime_ms: After which it expires.
        **fields: Of the activation, to be set otherwise.
    """
    manifest = json.loads(files["manifest.json"])
    parts = archive_parts(encode_archive(files))
    asked: dict[str, Any] = {
        "name": manifest["name"],
        "version": manifest["version"],
        "package": package_hash(files),
        "parts": [hashlib.sha256(part).digest() for part in parts],
    }
    return contracts_pb2.PackageChange(
        expires_ms=ledger.state.time_ms + lifetime_ms,
        activate=contracts_pb2.PackageActivation(**{**asked, **fields}),
    )


def hash_of(ledger: Ledger, change: contracts_pb2.PackageChange) -> bytes:
    """Return the hash of a proposed change."""
    return change_hash(ledger.chain_id, change_bytes(change))


def proposing(
    ledger: Ledger,
    change: contracts_pb2.PackageChange,
    party: str = "OEM-A",
    *,
    roots: Sequence[PrivateKey] | None = None,
) -> bytes:
    """Return the event by which a party proposes a change."""
    hashed = hash_of(ledger, change)
    signed = change_approval_statement(chain_id=ledger.chain_id, proposal=hashed, party=party)
    body = contracts_pb2.PackageProposal(
        change=change, party=party, roots=signatures(roots or roots_of(party), signed)
    )
    return event(nonce=f"propose {hashed.hex()} {party}", package_proposal=body)


def approval(
    ledger: Ledger, hashed: bytes, party: str, *, roots: Sequence[PrivateKey] | None = None
) -> bytes:
    """Return the event by which a party approves a change."""
    signed = change_approval_statement(chain_id=ledger.chain_id, proposal=hashed, party=party)
    body = contracts_pb2.PackageApproval(
        proposal=hashed, party=party, roots=signatures(roots or roots_of(party), signed)
    )
    return event(nonce=f"approve {hashed.hex()} {party}", package_approval=body)


def parts_of(files: Mapping[str, bytes]) -> list[bytes]:
    """Return the events that bring a package's parts."""
    return [
        event(
            nonce=f"part {hashlib.sha256(part).hexdigest()}",
            package_part=contracts_pb2.PackagePart(data=part),
        )
        for part in archive_parts(encode_archive(files))
    ]


def put(ledger: LedgerInMemory, *events: bytes, holder: str = ERP) -> None:
    """Put events on a ledger, each of which is accepted."""
    outcomes = event_outcomes(ledger.block([ledger.batch(holder, events)]))
    assert not any(outcomes), outcomes


def bring_into_force(
    ledger: LedgerInMemory, files: Mapping[str, bytes], *, parties: Sequence[str] = PARTIES
) -> bytes:
    """Have a package proposed, brought and approved; return the hash of its proposal."""
    change = activation(ledger, files)
    hashed = hash_of(ledger, change)
    put(ledger, proposing(ledger, change, parties[0]), *parts_of(files))
    put(ledger, *[approval(ledger, hashed, party) for party in parties[1:]])
    return hashed
