"""Founds a consortium: makes every party's keys and writes all that each of them needs.

Whoever runs this has every private key in hand, so it suits a trial, or a founder whom all trust
to hand the folders out and delete them. In the folder:

    genesis.json, acceptances.json, policy.txt
    PARTY/roots/root-1.key ...          speak for the party; to be kept offline
    PARTY/ca/{ca.pem,ca.key}            issue its TLS certificates
    PARTY/nodes/NODE/{node.toml,data/,tls/{cert,key}.pem,keys/{proposal,log,cosign,admit}.key}
    PARTY/witnesses/NAME/{witness.toml,data/cosigned.json,tls/{cert,key}.pem,keys/cosign.key}
    PARTY/clients/HOLDER/{client.toml,batch.key,cert.pem,key.pem}
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lotmark.certificates import make_ca, make_leaf
from lotmark.ed25519 import PrivateKey
from lotmark.genesis import (
    Acceptance,
    FirstKey,
    Genesis,
    Parameters,
    Party,
    Voter,
    acceptance_statement,
    chain_id,
    check_acceptances,
    cosigner_name,
    format_acceptances,
    parse_genesis,
    policy_text,
)
from lotmark.key_file import write_key_file, write_new_file
from lotmark.key_grant import BINDING_SIZE, NODE_PURPOSES, KeyGrant, KeyPurpose, statement
from lotmark.network_address import split_address
from lotmark.signed_note import COSIGNATURE_ED25519, verifier_key
from lotmark_node.consortium.plan import (
    ConsortiumPlan,
    PlanError,
    PlannedClient,
    PlannedNode,
    PlannedWitness,
    check_plan,
)
from lotmark_node.consortium.settings_texts import client_toml, node_toml, witness_toml
from lotmark_node.witness.memory import create_memory

KEY_DAYS = 5 * 365
CERTIFICATE_DAYS = 2 * 365
PARAMETERS = Parameters(
    duplicate_window_events=100_000,
    # Per party and minute: 10,000 events a second, several times what a plant sends.
    quota_events=600_000,
    quota_bytes=4 << 30,
    quota_signatures=600_000,
    quota_state_keys=2_000_000,
    item_epoch_entries=100_000,
    item_epoch_ms=60_000,
)

_DAY_MS = 86_400_000
_WORK_PREFIX = ".lotmark-init-"

Holder = tuple[str, str]  # party, and name of its node, witness or client
TlsPair = tuple[bytes, bytes]  # certificate and private key, PEM


@dataclass(frozen=True, slots=True, kw_only=True)
class Founded:
    """A consortium that stands in its folder."""

    folder: Path
    genesis: Genesis
    chain_id: bytes


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class _Secrets:
    """Every private key of the consortium; shown in no message."""

    roots: dict[str, list[PrivateKey]]  # by party
    cas: dict[str, TlsPair]
    nodes: dict[Holder, dict[KeyPurpose, PrivateKey]]
    witnesses: dict[Holder, PrivateKey]
    clients: dict[Holder, PrivateKey]


def found_consortium(
    folder: Path, plan: ConsortiumPlan, *, now_ms: int, parameters: Parameters = PARAMETERS
) -> Founded:
    """Write a new consortium.

    Args:
        folder: Where to; it is made, or is there and empty. It stays so where this fails.
        plan: What the consortium shall be.
        now_ms: When it begins, Unix time; keys and certificates are valid from then on.
        parameters: Quotas and windows of the chain.

    Raises:
        PlanError: The plan contradicts itself, or the folder is not empty.
        MalformedError: A name, an address or the time is not possible.
        KeyFileError: A file cannot be written.
        OSError: A folder cannot be made.
    """
    check_plan(plan)
    secrets = _make_secrets(plan, now_ms=now_ms)
    made = _make_genesis(plan, secrets, now_ms=now_ms, parameters=parameters)
    raw = made.to_json()
    genesis = parse_genesis(raw)  # holds the plan to every rule before anything is written
    chain = chain_id(raw)
    acceptances = _accept(genesis, secrets, chain)
    with new_content(folder) as work:
        for party in genesis.parties:
            _write_party(work, party, secrets)
        for node in plan.nodes:
            _write_node(work, node, plan, secrets, chain, now_ms=now_ms)
        for witness in plan.witnesses:
            _write_witness(work, witness, plan, genesis, secrets, chain, now_ms=now_ms)
        for client in plan.clients:
            _write_client(work, client, plan, secrets, chain, now_ms=now_ms)
        _write_public(work / "policy.txt", policy_text(genesis, chain))
        _write_public(work / "acceptances.json", format_acceptances(acceptances))
        _write_public(work / "genesis.json", raw)
    return Founded(folder=folder, genesis=genesis, chain_id=chain)


def _make_secrets(plan: ConsortiumPlan, *, now_ms: int) -> _Secrets:
    return _Secrets(
        roots={
            party.id: [PrivateKey.generate() for _ in range(party.root_count)]
            for party in plan.parties
        },
        cas={party.id: make_ca(party.id, plan.name, now_ms=now_ms) for party in plan.parties},
        nodes={
            (node.party, node.name): {purpose: PrivateKey.generate() for purpose in NODE_PURPOSES}
            for node in plan.nodes
        },
        witnesses={
            (witness.party, witness.name): PrivateKey.generate() for witness in plan.witnesses
        },
        clients={(client.party, client.holder): PrivateKey.generate() for client in plan.clients},
    )


def _make_genesis(
    plan: ConsortiumPlan, secrets: _Secrets, *, now_ms: int, parameters: Parameters
) -> Genesis:
    nonce = os.urandom(BINDING_SIZE)
    keys = [
        _first_key(key, holder, purpose, nonce, now_ms=now_ms)
        for holder, keys_of_node in secrets.nodes.items()
        for purpose, key in keys_of_node.items()
    ]
    keys += [
        _first_key(key, holder, KeyPurpose.COSIGN, nonce, now_ms=now_ms)
        for holder, key in secrets.witnesses.items()
    ]
    for client in plan.clients:
        holder = (client.party, client.holder)
        key = secrets.clients[holder]
        types = client.event_types
        keys.append(_first_key(key, holder, KeyPurpose.BATCH, nonce, types, now_ms=now_ms))
    parties = [
        Party(
            id=party.id,
            role=party.role,
            threshold=party.root_threshold,
            roots=tuple(sorted(key.public for key in secrets.roots[party.id])),
            ca_pem=secrets.cas[party.id][0].decode("ascii"),
        )
        for party in plan.parties
    ]
    return Genesis(
        consortium=plan.name,
        nonce=nonce,
        created_ms=now_ms,
        parties=tuple(sorted(parties, key=lambda party: party.id)),
        keys=tuple(sorted(keys, key=lambda first: first.grant.key)),
        voters=tuple(
            Voter(party=party, node=node)
            for party, node in sorted((node.party, node.name) for node in plan.nodes)
        ),
        parameters=parameters,
    )


def _first_key(
    key: PrivateKey,
    holder: Holder,
    purpose: KeyPurpose,
    nonce: bytes,
    event_types: tuple[int, ...] = (),
    *,
    now_ms: int,
) -> FirstKey:
    grant = KeyGrant(
        key=key.public,
        party=holder[0],
        purpose=purpose,
        holder=holder[1],
        not_before_ms=now_ms,
        not_after_ms=now_ms + KEY_DAYS * _DAY_MS,
        event_types=event_types,
    )
    return FirstKey(grant=grant, possession=key.sign(statement(grant, nonce)))


def _accept(genesis: Genesis, secrets: _Secrets, chain: bytes) -> list[Acceptance]:
    """Let as many roots of each party sign the chain id as speak for it."""
    signed = acceptance_statement(chain)
    acceptances = []
    for party in genesis.parties:
        roots = sorted(secrets.roots[party.id], key=lambda root: root.public)
        acceptances += [
            Acceptance(party=party.id, key=root.public, signature=root.sign(signed))
            for root in roots[: party.threshold]
        ]
    check_acceptances(genesis, chain, acceptances)
    return acceptances


@contextmanager
def new_content(folder: Path) -> Iterator[Path]:
    """Give a work folder whose content moves to `folder` at the end, or vanishes on an error.

    The work folder is inside, since `folder` may be the only place to write or a disk of its own.
    """
    is_new = not folder.exists()
    if is_new:
        folder.mkdir(parents=True, mode=0o700)
    elif not folder.is_dir():
        raise PlanError(f"{folder} is a file; name a folder that is empty or does not exist")
    elif next(folder.iterdir(), None) is not None:
        raise PlanError(f"{folder} is not empty; name a folder that is empty or does not exist")
    work = Path(tempfile.mkdtemp(prefix=_WORK_PREFIX, dir=folder))
    try:
        yield work
        for path in sorted(work.iterdir()):
            path.rename(folder / path.name)
        work.rmdir()
    except BaseException:
        shutil.rmtree(folder if is_new else work, ignore_errors=True)
        raise


def _write_party(work: Path, party: Party, secrets: _Secrets) -> None:
    roots = _folder(_folder(work / party.id) / "roots")
    for number, root in enumerate(secrets.roots[party.id], start=1):
        write_key_file(roots / f"root-{number}.key", root)
    certificate, key = secrets.cas[party.id]
    _write_tls(_folder(work / party.id / "ca"), "ca.pem", "ca.key", (certificate, key))
    for kind in ("nodes", "witnesses", "clients"):
        _folder(work / party.id / kind)


def _write_node(
    work: Path,
    node: PlannedNode,
    plan: ConsortiumPlan,
    secrets: _Secrets,
    chain: bytes,
    *,
    now_ms: int,
) -> None:
    folder = _folder(work / node.party / "nodes" / node.name)
    _folder(folder / "data")
    keys = secrets.nodes[node.party, node.name]
    _write_server(folder, node, keys, secrets, chain, now_ms=now_ms)
    peers = [peer for peer in plan.nodes if peer != node]
    text = node_toml(node, peers, plan.witnesses, metrics=plan.metrics_address(node))
    _write_public(folder / "node.toml", text.encode("ascii"))


def _write_witness(
    work: Path,
    witness: PlannedWitness,
    plan: ConsortiumPlan,
    genesis: Genesis,
    secrets: _Secrets,
    chain: bytes,
    *,
    now_ms: int,
) -> None:
    folder = _folder(work / witness.party / "witnesses" / witness.name)
    key = secrets.witnesses[witness.party, witness.name]
    # A witness never makes its memory itself: without one it cannot know what it has cosigned.
    name = cosigner_name(genesis, witness.party, witness.name)
    create_memory(_folder(folder / "data"), verifier_key(name, COSIGNATURE_ED25519, key.public))
    _write_server(folder, witness, {KeyPurpose.COSIGN: key}, secrets, chain, now_ms=now_ms)
    text = witness_toml(witness, metrics=plan.metrics_address(witness))
    _write_public(folder / "witness.toml", text.encode("ascii"))


def _write_server(
    folder: Path,
    server: PlannedNode | PlannedWitness,
    keys: Mapping[KeyPurpose, PrivateKey],
    secrets: _Secrets,
    chain: bytes,
    *,
    now_ms: int,
) -> None:
    """Write keys and certificate of one that takes calls."""
    host, _ = split_address(server.address)
    pair = _issue(secrets, chain, (server.party, server.name), [host], now_ms=now_ms)
    _write_tls(_folder(folder / "tls"), "cert.pem", "key.pem", pair)
    key_folder = _folder(folder / "keys")
    for purpose, key in keys.items():
        write_key_file(key_folder / f"{purpose.name.lower()}.key", key)


def _write_client(
    work: Path,
    client: PlannedClient,
    plan: ConsortiumPlan,
    secrets: _Secrets,
    chain: bytes,
    *,
    now_ms: int,
) -> None:
    folder = _folder(work / client.party / "clients" / client.holder)
    holder = (client.party, client.holder)
    pair = _issue(secrets, chain, holder, [], now_ms=now_ms)
    _write_tls(folder, "cert.pem", "key.pem", pair)
    write_key_file(folder / "batch.key", secrets.clients[holder])
    text = client_toml(client, plan.nodes_for(client), chain)
    _write_public(folder / "client.toml", text.encode("ascii"))


def _issue(
    secrets: _Secrets, chain: bytes, holder: Holder, hosts: list[str], *, now_ms: int
) -> TlsPair:
    party, name = holder
    return make_leaf(
        *secrets.cas[party],
        chain_id=chain,
        party=party,
        node=name,
        addresses=hosts,
        days=CERTIFICATE_DAYS,
        now_ms=now_ms,
    )


def _write_tls(folder: Path, certificate_name: str, key_name: str, pair: TlsPair) -> None:
    certificate, key = pair
    _write_public(folder / certificate_name, certificate)
    write_new_file(folder / key_name, key)


def _write_public(path: Path, content: bytes) -> None:
    write_new_file(path, content, mode=0o644)


def _folder(path: Path) -> Path:
    path.mkdir(mode=0o700)
    return path
