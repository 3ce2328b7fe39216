"""The founding document of a consortium: its parties, first keys, voters and parameters.

Its hash is the chain id, to which everything that is signed later refers. It is valid only with
the acceptances, in which every party's roots sign that hash.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import TypeVar

from lotmark import canonical_json
from lotmark.ca_certificate import ca_key, load_ca
from lotmark.ed25519 import PUBLIC_KEY_SIZE, SIGNATURE_SIZE
from lotmark.errors import MalformedError, SignatureError
from lotmark.finality_policy import Chain, policy_of_keys
from lotmark.item_epochs import EPOCH_PARAMETERS
from lotmark.json_fields import JsonFields
from lotmark.key_grant import (
    BINDING_SIZE,
    NODE_PURPOSES,
    KeyGrant,
    KeyPurpose,
    RootSet,
    check_grant,
    check_node,
    check_party,
    check_root_set,
    check_time_ms,
    verify_possession,
    verify_roots,
)
from lotmark.signed_note import NOTE_SIGNATURES_MAX

PROTOCOL_VERSION = 1
GENESIS_SIZE_MAX = 1 << 20
ACCEPTANCES_SIZE_MAX = 1 << 20
MEMBERS_MAX = 64  # parties at a time: rules are shown all of them
COSIGNERS_MAX = NOTE_SIGNATURES_MAX - 1  # a checkpoint has the log's signature beside theirs

_GENESIS_DOMAIN = b"lotmark/genesis/v1\n"
_ACCEPTANCE_DOMAIN = b"lotmark/genesis-accept/v1\n"
_CONSORTIUM = re.compile(r"[a-z0-9.-]{1,63}")


class PartyRole(IntEnum):
    """What an organisation is to the consortium; the numbers are those of the state."""

    OEM = 1
    SUPPLIER = 2
    LABORATORY = 3
    SITE = 4
    NOTARY = 5
    REGULATOR = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """An organisation of the consortium."""

    id: str
    role: PartyRole
    threshold: int  # how many of its roots speak for it
    roots: tuple[bytes, ...]  # ascending
    ca_pem: str  # the certificate that issues its nodes' TLS certificates


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstKey:
    """A key in force from height 0."""

    grant: KeyGrant
    possession: bytes  # the key's signature over its grant, bound to the nonce


@dataclass(frozen=True, slots=True, kw_only=True)
class Voter:
    """A node that orders blocks."""

    party: str
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Bounds of the chain; quotas are per party and minute of block time.

    Without the two about epochs no item's history is chained, until the parties vote for it.
    """

    duplicate_window_events: int
    quota_events: int
    quota_bytes: int
    quota_signatures: int
    quota_state_keys: int
    item_epoch_entries: int = 0  # an epoch of the item chain ends with so many entries
    item_epoch_ms: int = 0  # or with so much block time

    def names(self) -> tuple[str, ...]:
        """Return which of them the chain has."""
        return (*_PARAMETER_MEMBERS, *(EPOCH_PARAMETERS if self.item_epoch_entries else ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Genesis:
    """The founding document."""

    consortium: str
    nonce: bytes
    created_ms: int
    parties: tuple[Party, ...]  # ascending by id
    keys: tuple[FirstKey, ...]  # ascending by key
    voters: tuple[Voter, ...]  # ascending by (party, node)
    parameters: Parameters

    def party(self, party_id: str) -> Party | None:
        """Return a party, None where the consortium has none of this id."""
        return next((party for party in self.parties if party.id == party_id), None)

    def ca_certificates(self) -> dict[str, str]:
        """Return each party's CA certificate, PEM."""
        return {party.id: party.ca_pem for party in self.parties}

    def to_json(self) -> bytes:
        """Return the one encoding of the document."""
        return canonical_json.dump(
            {
                "protocol": PROTOCOL_VERSION,
                "consortium": self.consortium,
                "nonce": self.nonce.hex(),
                "created_ms": str(self.created_ms),
                "parties": [_party_to_json(party) for party in self.parties],
                "keys": [_first_key_to_json(first) for first in self.keys],
                "voters": [{"party": voter.party, "node": voter.node} for voter in self.voters],
                "parameters": {
                    name: str(getattr(self.parameters, name)) for name in self.parameters.names()
                },
            }
        )


_MEMBERS = (
    "protocol",
    "consortium",
    "nonce",
    "created_ms",
    "parties",
    "keys",
    "voters",
    "parameters",
)
_PARTY_MEMBERS = ("id", "role", "roots", "ca")
_KEY_MEMBERS = (
    "key",
    "party",
    "purpose",
    "holder",
    "not_before_ms",
    "not_after_ms",
    "event_types",
    "possession",
)
_PARAMETER_MEMBERS = tuple(
    name for name in Parameters.__dataclass_fields__ if name not in EPOCH_PARAMETERS
)


def _party_to_json(party: Party) -> dict[str, canonical_json.JsonValue]:
    return {
        "id": party.id,
        "role": party.role.name.lower(),
        "roots": {"threshold": party.threshold, "keys": [key.hex() for key in party.roots]},
        "ca": party.ca_pem,
    }


def _first_key_to_json(first: FirstKey) -> dict[str, canonical_json.JsonValue]:
    grant = first.grant
    return {
        "key": grant.key.hex(),
        "party": grant.party,
        "purpose": grant.purpose.name.lower(),
        "holder": grant.holder,
        "not_before_ms": str(grant.not_before_ms),
        "not_after_ms": str(grant.not_after_ms),
        "event_types": grant.event_types,
        "possession": first.possession.hex(),
    }


def parse_genesis(raw: bytes) -> Genesis:
    """Return the founding document that `raw` holds, with every rule checked.

    Raises:
        ProtocolError: It is larger than 1 MiB, not canonical, has other members than it must, or
            breaks a rule; the message names the place.
    """
    document = JsonFields(
        canonical_json.load(raw, size_max=GENESIS_SIZE_MAX), _MEMBERS, place="genesis"
    )
    if (protocol := document.number("protocol")) != PROTOCOL_VERSION:
        raise MalformedError(
            f"the genesis is of protocol {protocol}; this release knows {PROTOCOL_VERSION} only"
        )
    genesis = Genesis(
        consortium=document.text("consortium"),
        nonce=document.hex("nonce", size=BINDING_SIZE),
        created_ms=document.u64("created_ms"),
        parties=tuple(
            _read_party(fields) for fields in document.objects("parties", _PARTY_MEMBERS)
        ),
        keys=tuple(_read_first_key(fields) for fields in document.objects("keys", _KEY_MEMBERS)),
        voters=tuple(
            Voter(party=fields.text("party"), node=fields.text("node"))
            for fields in document.objects("voters", ("party", "node"))
        ),
        parameters=_read_parameters(document),
    )
    _check_consortium(genesis)
    _check_parties(genesis.parties)
    _check_keys(genesis)
    _check_voters(genesis)
    return genesis


def _read_parameters(document: JsonFields) -> Parameters:
    limits = document.object("parameters", _PARAMETER_MEMBERS, optional=EPOCH_PARAMETERS)
    names = [name for name in (*_PARAMETER_MEMBERS, *EPOCH_PARAMETERS) if limits.has(name)]
    values = {name: limits.u64(name) for name in names}
    for name in names:
        if values[name] == 0:
            raise MalformedError(f"parameter {name} is 0, so nothing could ever be accepted")
    if len(names) == len(_PARAMETER_MEMBERS) + 1:
        raise MalformedError(
            f"parameter {names[-1]} stands alone; give both of {' and '.join(EPOCH_PARAMETERS)}, or"
            " none"
        )
    return Parameters(**values)


def _read_party(fields: JsonFields) -> Party:
    roots = fields.object("roots", ("threshold", "keys"))
    return Party(
        id=fields.text("id"),
        role=_named(PartyRole, fields.text("role")),
        threshold=roots.number("threshold"),
        roots=roots.hexes("keys", size=PUBLIC_KEY_SIZE),
        ca_pem=fields.text("ca"),
    )


def _read_first_key(fields: JsonFields) -> FirstKey:
    return FirstKey(
        grant=KeyGrant(
            key=fields.hex("key", size=PUBLIC_KEY_SIZE),
            party=fields.text("party"),
            purpose=_named(KeyPurpose, fields.text("purpose")),
            holder=fields.text("holder"),
            not_before_ms=fields.u64("not_before_ms"),
            not_after_ms=fields.u64("not_after_ms"),
            event_types=fields.numbers("event_types"),
        ),
        possession=fields.hex("possession", size=SIGNATURE_SIZE),
    )


_Named = TypeVar("_Named", PartyRole, KeyPurpose)


def _named(kind: type[_Named], name: str) -> _Named:
    """Return the member of an enumeration that the document names in lower case."""
    for member in kind:
        if member.name.lower() == name:
            return member
    allowed = " ".join(member.name.lower() for member in kind)
    raise MalformedError(f"{name[:40]!a} is no {kind.__name__}; use one of {allowed}")


def _check_consortium(genesis: Genesis) -> None:
    if not _CONSORTIUM.fullmatch(genesis.consortium):
        raise MalformedError(
            f"consortium {genesis.consortium[:40]!a} is not a name;"
            " use 1 to 63 of a-z, 0-9, . and -"
        )
    check_time_ms(genesis.created_ms, what="created_ms")


def _check_ascending(values: Iterable[tuple[str, ...]], what: str) -> None:
    for lower, upper in pairwise(values):
        if not lower < upper:
            shown = "/".join(upper)[:70]
            raise MalformedError(f"{what} must ascend without repeats; {shown!a} does not")


def _check_parties(parties: Sequence[Party]) -> None:
    if len(parties) > MEMBERS_MAX:
        raise MalformedError(f"{len(parties)} parties; a consortium has at most {MEMBERS_MAX}")
    if not parties:
        raise MalformedError("the genesis has no party; it needs one at least")
    # Ids have no lower-case letters, so none can differ from another in case only.
    for party in parties:
        check_party(party.id)
    _check_ascending(((party.id,) for party in parties), "parties")
    owners: dict[bytes, str] = {}
    for party in parties:
        check_root_set(RootSet(threshold=party.threshold, keys=party.roots), party=party.id)
        # Who issues certificates for two parties can act as either.
        issuer = ca_key(load_ca(party.ca_pem, party=party.id))
        if (owner := owners.setdefault(issuer, party.id)) != party.id:
            raise MalformedError(
                f"{owner} and {party.id} have one CA key; make a CA of its own for each"
            )


def _check_keys(genesis: Genesis) -> None:
    _check_ascending(((first.grant.key.hex(),) for first in genesis.keys), "keys")
    party_ids = {party.id for party in genesis.parties}
    for first in genesis.keys:
        grant = first.grant
        if grant.purpose is KeyPurpose.ROOT:
            raise MalformedError(f"root key {grant.key.hex()} belongs under its party's roots")
        check_grant(grant)
        if grant.party not in party_ids:
            raise MalformedError(f"key {grant.key.hex()} is of {grant.party}, which is no party")
        verify_possession(grant, genesis.nonce, first.possession)
    roots = [key for party in genesis.parties for key in party.roots]
    uses = Counter([*roots, *(first.grant.key for first in genesis.keys)])
    if twice := next((key for key, count in uses.items() if count > 1), None):
        raise MalformedError(f"key {twice.hex()} is used twice; a key has one party and purpose")


def _check_voters(genesis: Genesis) -> None:
    if not genesis.voters:
        raise MalformedError("the genesis has no voter; it needs one at least")
    for voter in genesis.voters:
        check_party(voter.party)
        check_node(voter.node)
    voters = [(voter.party, voter.node) for voter in genesis.voters]
    _check_ascending(voters, "voters")
    counts = Counter(
        (first.grant.purpose, first.grant.party, first.grant.holder) for first in genesis.keys
    )
    for party, node in voters:
        for purpose in NODE_PURPOSES:
            if not counts[purpose, party, node]:
                raise MalformedError(f"voter {party}/{node} has no {purpose.name.lower()} key")
    for (purpose, party, node), count in counts.items():
        if purpose not in NODE_PURPOSES:
            continue
        if count > 1:
            raise MalformedError(
                f"{party}/{node} has {count} {purpose.name.lower()} keys; a node has one"
            )
        if purpose in (KeyPurpose.PROPOSAL, KeyPurpose.LOG) and (party, node) not in voters:
            raise MalformedError(
                f"{party}/{node} has a {purpose.name.lower()} key but is no voter; add it to the"
                " voters or leave the key out"
            )
    cosigners = sum(purpose is KeyPurpose.COSIGN for purpose, _, _ in counts)
    if cosigners > COSIGNERS_MAX:
        raise MalformedError(f"{cosigners} nodes cosign; a checkpoint has room for {COSIGNERS_MAX}")


def chain_id(raw: bytes) -> bytes:
    """Return the id of the chain that a genesis founds: the hash of its encoding."""
    return hashlib.sha256(_GENESIS_DOMAIN + raw).digest()


def chain_of(genesis: Genesis, chain_id: bytes) -> Chain:
    """Return what names in the chain's checkpoints are made of."""
    return Chain(chain_id, genesis.consortium)


def origin(genesis: Genesis, chain_id: bytes) -> str:
    """Return the first line of the chain's checkpoints, which is the name of its log keys too."""
    return chain_of(genesis, chain_id).origin


def cosigner_name(genesis: Genesis, party: str, node: str) -> str:
    """Return the name under which a node cosigns checkpoints."""
    return Chain(b"", genesis.consortium).cosigner_name(party, node)


def policy_text(genesis: Genesis, chain_id: bytes) -> bytes:
    """Return the policy of height 0, by the genesis's keys alone."""
    log_keys = _keys_by_holder(genesis, KeyPurpose.LOG)
    cosign_keys = _keys_by_holder(genesis, KeyPurpose.COSIGN)
    return policy_of_keys(chain_of(genesis, chain_id), log_keys, cosign_keys)


def _keys_by_holder(genesis: Genesis, purpose: KeyPurpose) -> dict[tuple[str, str], list[bytes]]:
    return {
        (first.grant.party, first.grant.holder): [first.grant.key]
        for first in genesis.keys
        if first.grant.purpose is purpose
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """One root key's signature under the chain id."""

    party: str
    key: bytes
    signature: bytes


def acceptance_statement(chain_id: bytes) -> bytes:
    """Return the bytes that every party's roots sign to found the chain."""
    return _ACCEPTANCE_DOMAIN + chain_id


def parse_acceptances(raw: bytes) -> tuple[Acceptance, ...]:
    """Return the acceptances that `raw` holds; `check_acceptances` says whether they suffice.

    Raises:
        MalformedError: It is larger than 1 MiB, not canonical, or not in order.
    """
    document = JsonFields(
        canonical_json.load(raw, size_max=ACCEPTANCES_SIZE_MAX),
        ("acceptances",),
        place="document",
    )
    acceptances = tuple(
        Acceptance(
            party=fields.text("party"),
            key=fields.hex("key", size=PUBLIC_KEY_SIZE),
            signature=fields.hex("signature", size=SIGNATURE_SIZE),
        )
        for fields in document.objects("acceptances", ("party", "key", "signature"))
    )
    _check_ascending(
        ((acceptance.party, acceptance.key.hex()) for acceptance in acceptances), "acceptances"
    )
    return acceptances


def format_acceptances(acceptances: Iterable[Acceptance]) -> bytes:
    """Return the encoding of acceptances, whatever order they are given in."""
    ordered = sorted(acceptances, key=lambda acceptance: (acceptance.party, acceptance.key))
    return canonical_json.dump(
        {
            "acceptances": [
                {
                    "party": acceptance.party,
                    "key": acceptance.key.hex(),
                    "signature": acceptance.signature.hex(),
                }
                for acceptance in ordered
            ]
        }
    )


def check_acceptances(genesis: Genesis, chain_id: bytes, acceptances: Sequence[Acceptance]) -> None:
    """Check that every party accepts the genesis by as many of its roots as speak for it.

    Raises:
        SignatureError: A party's roots are missing or too few, or one does not hold.
    """
    signed = acceptance_statement(chain_id)
    for acceptance in acceptances:
        if genesis.party(acceptance.party) is None:
            raise SignatureError(
                f"{acceptance.party[:40]!a} accepts the genesis but is no party of it"
            )
    for party in genesis.parties:
        signatures = [
            (acceptance.key, acceptance.signature)
            for acceptance in acceptances
            if acceptance.party == party.id
        ]
        try:
            verify_roots(signed, signatures, party.roots, party.threshold)
        except SignatureError as error:
            raise SignatureError(f"{party.id} has not accepted the genesis: {error}") from error
