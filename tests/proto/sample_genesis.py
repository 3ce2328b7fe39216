"""A small consortium with keys from fixed seeds, for tests that need a genesis.

The CA certificates are files, since their signatures differ each time one is made.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

from lotmark.ed25519 import PrivateKey
from lotmark.genesis import (
    Acceptance,
    FirstKey,
    Genesis,
    Parameters,
    Party,
    PartyRole,
    Voter,
    acceptance_statement,
)
from lotmark.key_grant import NODE_PURPOSES, KeyGrant, KeyPurpose, statement

GOLDEN = Path(__file__).parent / "golden"
CREATED_MS = 1_766_448_000_000  # 2025-12-23
KEYS_UNTIL_MS = 1_924_992_000_000  # 2031-01-01
NONCE = hashlib.sha256(b"nonce of the sample").digest()

ROOT_LABELS = {
    "LAB-17025": ("LAB-17025 root 1",),
    "OEM-A": ("OEM-A root 1", "OEM-A root 2"),
    "T1-STATOR": ("T1-STATOR root 1", "T1-STATOR root 2", "T1-STATOR root 3"),
    "T2-CU-JX": ("T2-CU-JX root 1", "T2-CU-JX root 2"),  # not in the sample
}


def private_key(label: str) -> PrivateKey:
    return PrivateKey.from_seed(hashlib.sha256(label.encode()).digest())


def grant(
    party: str,
    purpose: KeyPurpose,
    holder: str,
    *,
    event_types: tuple[int, ...] = (),
    label: str | None = None,
) -> tuple[KeyGrant, PrivateKey]:
    key = private_key(label or f"{party}/{holder} {purpose.name}")
    return (
        KeyGrant(
            key=key.public,
            party=party,
            purpose=purpose,
            holder=holder,
            not_before_ms=CREATED_MS,
            not_after_ms=KEYS_UNTIL_MS,
            event_types=event_types,
        ),
        key,
    )


def first_key(
    party: str,
    purpose: KeyPurpose,
    holder: str,
    *,
    event_types: tuple[int, ...] = (),
    label: str | None = None,
) -> FirstKey:
    granted, key = grant(party, purpose, holder, event_types=event_types, label=label)
    return FirstKey(grant=granted, possession=key.sign(statement(granted, NONCE)))


def party(party_id: str, role: PartyRole, *, threshold: int) -> Party:
    return Party(
        id=party_id,
        role=role,
        threshold=threshold,
        roots=tuple(sorted(private_key(label).public for label in ROOT_LABELS[party_id])),
        ca_pem=(GOLDEN / f"ca-{party_id}.pem").read_text(),
    )


def sample_genesis() -> Genesis:
    """Two voters, and a laboratory whose node only witnesses."""
    voters = (Voter(party="OEM-A", node="n1"), Voter(party="T1-STATOR", node="n1"))
    keys = [
        first_key(voter.party, purpose, voter.node) for voter in voters for purpose in NODE_PURPOSES
    ]
    keys += [
        first_key("LAB-17025", KeyPurpose.COSIGN, "n1"),
        first_key("LAB-17025", KeyPurpose.BATCH, "lims"),
        first_key("T1-STATOR", KeyPurpose.BATCH, "aoi-cam07", event_types=(19, 20, 24, 29)),
    ]
    return Genesis(
        consortium="stator-line",
        nonce=NONCE,
        created_ms=CREATED_MS,
        parties=(
            party("LAB-17025", PartyRole.LABORATORY, threshold=1),
            party("OEM-A", PartyRole.OEM, threshold=2),
            party("T1-STATOR", PartyRole.SUPPLIER, threshold=2),
        ),
        keys=tuple(sorted(keys, key=lambda first: first.grant.key)),
        voters=voters,
        parameters=Parameters(
            duplicate_window_events=100_000,
            quota_events=1_000_000,
            quota_bytes=1_000_000_000,
            quota_signatures=100_000,
            quota_state_keys=1_000_000,
        ),
    )


def with_keys(genesis: Genesis, *more: FirstKey) -> Genesis:
    """Return the genesis with further first keys, in order."""
    keys = sorted([*genesis.keys, *more], key=lambda first: first.grant.key)
    return replace(genesis, keys=tuple(keys))


def acceptances_of(genesis: Genesis, chain: bytes) -> tuple[Acceptance, ...]:
    """Return as many signatures of each party's roots as speak for it."""
    made = []
    for member in genesis.parties:
        keys = sorted(
            (private_key(label) for label in ROOT_LABELS[member.id]), key=lambda key: key.public
        )
        made += [
            Acceptance(
                party=member.id, key=key.public, signature=key.sign(acceptance_statement(chain))
            )
            for key in keys[: member.threshold]
        ]
    return tuple(made)
