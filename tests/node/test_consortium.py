"""Founding: the plan, every file, and that what was written works together."""

import os
import re
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotmark.certificates import PeerIdentity, peer_identity
from lotmark.checkpoint import Checkpoint
from lotmark.client.settings import read_client_settings
from lotmark.cosignature import cosign
from lotmark.ed25519 import PrivateKey
from lotmark.errors import MalformedError, ProofError, ProtocolError
from lotmark.genesis import (
    PartyRole,
    chain_id,
    check_acceptances,
    cosigner_name,
    origin,
    parse_acceptances,
    parse_genesis,
    policy_text,
)
from lotmark.key_file import KeyFileError, read_key_file
from lotmark.key_grant import KeyPurpose
from lotmark.signed_note import COSIGNATURE_ED25519, Note, sign_note, verifier_key
from lotmark.tlog_policy import parse_policy
from lotmark_node.consortium.found import Founded, found_consortium
from lotmark_node.consortium.plan import (
    NETWORK_NODES,
    NETWORK_WITNESSES,
    ConsortiumPlan,
    PlanError,
    PlannedClient,
    PlannedNode,
    PlannedParty,
    PlannedWitness,
    check_plan,
    make_plan,
    parse_client,
    parse_node,
    parse_party,
    parse_witness,
)
from lotmark_node.node_settings import check_peers, read_node_settings
from lotmark_node.witness.memory import WitnessMemory
from lotmark_node.witness.settings import read_witness_settings

NOW_MS = 1_766_448_000_000  # 2025-12-23
PLAN = make_plan(
    "stator-line",
    ["OEM-A:oem:2/3", "T1-STATOR:supplier", "LAB-17025:laboratory"],
    ["OEM-A/n1@127.0.0.1:7401", "T1-STATOR/n1@n1.t1.example.com:7402"],
    ["OEM-A/erp", "T1-STATOR/aoi-cam07:measurement,gap", "LAB-17025/lims"],
    ["LAB-17025/w1@127.0.0.1:7404"],
)
NETWORK = make_plan("stator-line", (), NETWORK_NODES, (), NETWORK_WITNESSES)


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Founded:
    return found_consortium(tmp_path_factory.mktemp("work") / "demo", PLAN, now_ms=NOW_MS)


def test_the_default_plan_is_the_stator_line() -> None:
    plan = make_plan("stator-line", (), (), ())
    check_plan(plan)

    assert {party.id: party.role for party in plan.parties} == {
        "OEM-A": PartyRole.OEM,
        "T1-STATOR": PartyRole.SUPPLIER,
        "T2-CU-JX": PartyRole.SUPPLIER,
        "LAB-17025": PartyRole.LABORATORY,
    }
    assert plan.nodes == (PlannedNode(party="OEM-A", name="n1", address="127.0.0.1:7401"),)
    # Measurement, window, result, gap, switch of a policy: a camera reviews and claims nothing.
    camera = PlannedClient(party="T1-STATOR", holder="aoi-cam07", event_types=(19, 20, 24, 29, 46))
    assert camera in plan.clients


def test_own_parties_get_a_node_and_an_erp_each() -> None:
    plan = make_plan("x", ["A:oem", "B:supplier"], (), ())

    assert plan.nodes == (PlannedNode(party="A", name="n1", address="127.0.0.1:7401"),)
    assert [(client.party, client.holder) for client in plan.clients] == [
        ("A", "erp"),
        ("B", "erp"),
    ]


def test_a_client_calls_the_nodes_of_its_own_party_first() -> None:
    second = PlannedNode(party="T1-STATOR", name="n2", address="127.0.0.1:7409")
    plan = replace(PLAN, nodes=(*PLAN.nodes, second))
    calls = {
        client.party: [node.full_name for node in plan.nodes_for(client)] for client in plan.clients
    }

    assert calls == {
        "OEM-A": ["OEM-A/n1", "T1-STATOR/n1", "T1-STATOR/n2"],
        "T1-STATOR": ["T1-STATOR/n1", "T1-STATOR/n2", "OEM-A/n1"],
        "LAB-17025": ["OEM-A/n1", "T1-STATOR/n1", "T1-STATOR/n2"],
    }


# --- what is written ---


def test_the_founding_documents_hold_together(founded: Founded) -> None:
    raw = (founded.folder / "genesis.json").read_bytes()
    genesis = parse_genesis(raw)
    acceptances = parse_acceptances((founded.folder / "acceptances.json").read_bytes())
    policy = (founded.folder / "policy.txt").read_bytes()

    assert genesis == founded.genesis
    assert chain_id(raw) == founded.chain_id
    check_acceptances(genesis, founded.chain_id, acceptances)
    assert policy == policy_text(genesis, founded.chain_id)
    assert len(parse_policy(policy).logs) == 2


def test_the_genesis_says_what_was_planned(founded: Founded) -> None:
    genesis = founded.genesis
    types = {
        (first.grant.party, first.grant.holder): first.grant.event_types
        for first in genesis.keys
        if first.grant.purpose is KeyPurpose.BATCH
    }

    assert genesis.consortium == "stator-line"
    assert [(party.id, party.threshold, len(party.roots)) for party in genesis.parties] == [
        ("LAB-17025", 1, 1),
        ("OEM-A", 2, 3),
        ("T1-STATOR", 1, 1),
    ]
    assert [(voter.party, voter.node) for voter in genesis.voters] == [
        ("OEM-A", "n1"),
        ("T1-STATOR", "n1"),
    ]
    assert types == {
        ("OEM-A", "erp"): (),
        ("T1-STATOR", "aoi-cam07"): (19, 29),
        ("LAB-17025", "lims"): (),
    }


def test_exactly_the_documented_files_are_written(founded: Founded) -> None:
    written = {
        str(path.relative_to(founded.folder))
        for path in founded.folder.rglob("*")
        if path.is_file()
    }
    node = {
        "node.toml",
        "tls/cert.pem",
        "tls/key.pem",
        *(f"keys/{purpose}.key" for purpose in ("proposal", "log", "cosign", "admit")),
    }
    client = {"client.toml", "batch.key", "cert.pem", "key.pem"}

    assert written == {
        "genesis.json",
        "acceptances.json",
        "policy.txt",
        *(f"{party}/ca/ca.{kind}" for party in ("OEM-A", "T1-STATOR", "LAB-17025")
          for kind in ("pem", "key")),
        *(f"OEM-A/roots/root-{number}.key" for number in (1, 2, 3)),
        "T1-STATOR/roots/root-1.key",
        "LAB-17025/roots/root-1.key",
        *(f"{party}/nodes/n1/{name}" for party in ("OEM-A", "T1-STATOR") for name in node),
        *(f"LAB-17025/witnesses/w1/{name}"
          for name in ("witness.toml", "data/cosigned.json", "tls/cert.pem", "tls/key.pem",
                       "keys/cosign.key")),
        *(f"{holder}/{name}" for name in client
          for holder in ("OEM-A/clients/erp", "T1-STATOR/clients/aoi-cam07",
                         "LAB-17025/clients/lims")),
    }  # fmt: skip
    assert (founded.folder / "OEM-A/nodes/n1/data").is_dir()


def modes(folder: Path) -> Iterator[tuple[Path, int]]:
    for path in folder.rglob("*"):
        yield path, stat.S_IMODE(path.stat().st_mode)


def test_only_the_owner_can_open_folders_and_keys(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        found_consortium(tmp_path / "demo", PLAN, now_ms=NOW_MS)
    finally:
        os.umask(before)

    for path, mode in modes(tmp_path / "demo"):
        if path.is_dir():
            assert mode == 0o700, path
        elif b"PRIVATE KEY" in path.read_bytes():
            assert mode == 0o600, path
        else:
            assert mode & 0o022 == 0, path
    assert stat.S_IMODE((tmp_path / "demo").stat().st_mode) == 0o700


def test_a_nodes_settings_lead_to_its_keys_and_certificate(founded: Founded) -> None:
    settings = read_node_settings(founded.folder / "T1-STATOR/nodes/n1/node.toml")
    granted = {
        first.grant.purpose: first.grant.key
        for first in founded.genesis.keys
        if (first.grant.party, first.grant.holder) == ("T1-STATOR", "n1")
    }
    certificate = settings.tls_certificate.read_bytes()

    assert (settings.party, settings.node) == ("T1-STATOR", "n1")
    assert settings.listen == "n1.t1.example.com:7402"
    assert settings.data.is_dir()
    assert parse_genesis(settings.genesis.read_bytes()) == founded.genesis
    assert parse_acceptances(settings.acceptances.read_bytes())
    assert {
        KeyPurpose.PROPOSAL: read_key_file(settings.proposal_key).public,
        KeyPurpose.LOG: read_key_file(settings.log_key).public,
        KeyPurpose.COSIGN: read_key_file(settings.cosign_key).public,
        KeyPurpose.ADMIT: read_key_file(settings.admit_key).public,
    } == granted
    assert peer_identity(
        certificate, founded.genesis.ca_certificates(), founded.chain_id, now_ms=NOW_MS
    ) == PeerIdentity(party="T1-STATOR", node="n1")


def test_a_clients_settings_lead_to_its_key_its_certificate_and_its_node(founded: Founded) -> None:
    settings = read_client_settings(founded.folder / "LAB-17025/clients/lims/client.toml")
    keys = [
        first.grant.key for first in founded.genesis.keys if first.grant.purpose is KeyPurpose.BATCH
    ]
    certificate = settings.certificate.read_bytes()

    assert settings.chain_id == founded.chain_id
    assert (settings.party, settings.holder) == ("LAB-17025", "lims")
    assert (settings.node_party, settings.node_name) == ("OEM-A", "n1")
    assert settings.node_address == "127.0.0.1:7401"
    assert read_key_file(settings.batch_key).public in keys
    assert b"PRIVATE KEY" in settings.certificate_key.read_bytes()
    assert chain_id(settings.genesis.read_bytes()) == settings.chain_id
    assert peer_identity(
        certificate, founded.genesis.ca_certificates(), founded.chain_id, now_ms=NOW_MS
    ) == PeerIdentity(party="LAB-17025", node="lims")


def test_a_nodes_settings_tell_where_the_others_take_calls(founded: Founded) -> None:
    oem = read_node_settings(founded.folder / "OEM-A/nodes/n1/node.toml")
    supplier = read_node_settings(founded.folder / "T1-STATOR/nodes/n1/node.toml")

    assert oem.peers == {"T1-STATOR/n1": "n1.t1.example.com:7402"}
    assert supplier.peers == {"OEM-A/n1": "127.0.0.1:7401"}
    assert oem.witnesses == supplier.witnesses == {"LAB-17025/w1": "https://127.0.0.1:7404"}
    check_peers(oem, founded.genesis)
    check_peers(supplier, founded.genesis)


def test_a_clients_settings_name_the_nodes_to_call_instead(founded: Founded) -> None:
    settings = read_client_settings(founded.folder / "T1-STATOR/clients/aoi-cam07/client.toml")

    assert [
        (each.node_party, each.node_name, each.node_address) for each in settings.each_node()
    ] == [("T1-STATOR", "n1", "n1.t1.example.com:7402"), ("OEM-A", "n1", "127.0.0.1:7401")]


def test_a_witnesss_settings_lead_to_its_key_and_certificate(founded: Founded) -> None:
    settings = read_witness_settings(founded.folder / "LAB-17025/witnesses/w1/witness.toml")
    granted = {
        first.grant.purpose: first.grant.key
        for first in founded.genesis.keys
        if (first.grant.party, first.grant.holder) == ("LAB-17025", "w1")
    }

    assert granted == {KeyPurpose.COSIGN: read_key_file(settings.cosign_key).public}
    vkey = verifier_key(
        cosigner_name(founded.genesis, "LAB-17025", "w1"),
        COSIGNATURE_ED25519,
        granted[KeyPurpose.COSIGN],
    )
    memory = WitnessMemory(settings.data, vkey)
    assert memory.last(origin(founded.genesis, founded.chain_id)) is None
    memory.close()
    assert settings.listen == "127.0.0.1:7404"
    assert settings.member is not None
    assert (settings.member.party, settings.member.node) == ("LAB-17025", "w1")
    assert parse_genesis(settings.member.genesis.read_bytes()) == founded.genesis
    assert parse_acceptances(settings.member.acceptances.read_bytes())
    assert settings.tls is not None
    assert b"PRIVATE KEY" in settings.tls.key.read_bytes()
    assert peer_identity(
        settings.tls.certificate.read_bytes(),
        founded.genesis.ca_certificates(),
        founded.chain_id,
        now_ms=NOW_MS,
    ) == PeerIdentity(party="LAB-17025", node="w1")


@pytest.mark.parametrize(
    "name",
    [
        "T1-STATOR/nodes/n1/node.toml",
        "LAB-17025/witnesses/w1/witness.toml",
        "OEM-A/clients/erp/client.toml",
    ],
)
def test_every_setting_and_table_of_a_settings_file_has_a_comment(
    founded: Founded, name: str
) -> None:
    text = (founded.folder / name).read_text()
    addresses = re.compile(r'"[A-Z0-9-]+/n1" = "\S+"|"LAB-17025/w1" = "https://\S+"')  # of a table

    for line in filter(None, text.splitlines()):
        assert line.startswith("# ") or "  # " in line or addresses.fullmatch(line), line


# --- a network of three voters and a witness ---


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Founded:
    return found_consortium(tmp_path_factory.mktemp("work") / "network", NETWORK, now_ms=NOW_MS)


def test_in_a_network_every_node_finds_every_other(network: Founded) -> None:
    addresses = {node.full_name: node.address for node in NETWORK.nodes}

    assert len(network.genesis.voters) == 3
    for name, address in addresses.items():
        settings = read_node_settings(network.folder / name.replace("/", "/nodes/") / "node.toml")
        assert settings.listen == address
        assert {name: address, **settings.peers} == addresses
        assert settings.witnesses == {"LAB-17025/w1": "https://127.0.0.1:7404"}
        check_peers(settings, network.genesis)


def cosigner_key(network: Founded, party: str) -> PrivateKey:
    (path,) = network.folder.glob(f"{party}/*/*/keys/cosign.key")
    return read_key_file(path)


def network_note(network: Founded, parties: tuple[str, ...], *, log: str) -> Note:
    """Return a checkpoint as the log's voter signed it and the parties cosigned it."""
    name = origin(network.genesis, network.chain_id)
    text = Checkpoint(name, 2, bytes(32)).text()
    log_key = read_key_file(network.folder / log.replace("/", "/nodes/") / "keys" / "log.key")
    holders = {party.id: "w1" if party.id == "LAB-17025" else "n1" for party in NETWORK.parties}
    cosignatures = [
        cosign(
            text,
            name=cosigner_name(network.genesis, party, holders[party]),
            private_key=cosigner_key(network, party),
            time_s=NOW_MS // 1_000,
        )
        for party in parties
    ]
    return Note(text, (sign_note(text, name, log_key), *cosignatures))


@pytest.mark.parametrize("log", ["OEM-A/n1", "T1-STATOR/n1", "T2-CU-JX/n1"])
def test_a_networks_checkpoint_is_final_with_any_three_of_its_four_parties(
    network: Founded, log: str
) -> None:
    policy = parse_policy((network.folder / "policy.txt").read_bytes())
    parties = sorted(party.id for party in NETWORK.parties)

    for enough in combinations(parties, 3):
        policy.check(network_note(network, enough, log=log))
    for too_few in combinations(parties, 2):
        with pytest.raises(ProofError):
            policy.check(network_note(network, too_few, log=log))


def test_two_voters_of_one_party_count_once_for_a_final_checkpoint(tmp_path: Path) -> None:
    plan = make_plan(
        "x", ["A:oem", "B:supplier"],
        ["A/n1@127.0.0.1:7401", "A/n2@127.0.0.1:7402", "B/n1@127.0.0.1:7403"], (),
    )  # fmt: skip
    founded = found_consortium(tmp_path / "demo", plan, now_ms=NOW_MS)
    second = read_node_settings(tmp_path / "demo/A/nodes/n2/node.toml")
    groups = [
        line.split(" ")[1:]
        for line in policy_text(founded.genesis, founded.chain_id).decode().splitlines()
        if line.startswith("group ")
    ]

    assert second.peers == {"A/n1": "127.0.0.1:7401", "B/n1": "127.0.0.1:7403"}
    check_peers(second, founded.genesis)
    assert groups == [
        ["A", "any", "A/n1", "A/n2"],
        ["B", "any", "B/n1"],
        ["final", "2", "A", "B"],
    ]


def test_a_founded_consortium_can_be_moved(founded: Founded, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    found_consortium(tmp_path / "demo", PLAN, now_ms=NOW_MS)
    (tmp_path / "demo").rename(moved)
    settings = read_node_settings(moved / "OEM-A/nodes/n1/node.toml")

    assert settings.genesis.resolve() == (moved / "genesis.json").resolve()
    assert str(founded.folder) not in (moved / "OEM-A/nodes/n1/node.toml").read_text()


def test_two_foundings_share_no_key_and_no_chain(founded: Founded, tmp_path: Path) -> None:
    other = found_consortium(tmp_path / "demo", PLAN, now_ms=NOW_MS)

    assert other.chain_id != founded.chain_id
    assert not {first.grant.key for first in other.genesis.keys} & {
        first.grant.key for first in founded.genesis.keys
    }


# --- where it is written ---


def test_an_empty_folder_is_used_as_it_is(tmp_path: Path) -> None:
    found_consortium(tmp_path, PLAN, now_ms=NOW_MS)

    assert {path.name for path in tmp_path.iterdir()} == {
        "genesis.json",
        "acceptances.json",
        "policy.txt",
        "OEM-A",
        "T1-STATOR",
        "LAB-17025",
    }


def test_missing_folders_above_are_made(tmp_path: Path) -> None:
    assert found_consortium(tmp_path / "a" / "b", PLAN, now_ms=NOW_MS).folder.is_dir()


def test_a_folder_with_anything_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")

    with pytest.raises(PlanError, match=f"{tmp_path} is not empty; name a folder that is empty"):
        found_consortium(tmp_path, PLAN, now_ms=NOW_MS)
    with pytest.raises(PlanError, match="is a file"):
        found_consortium(tmp_path / "letter.txt", PLAN, now_ms=NOW_MS)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let the system refuse to write larger files, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [50, 500, 2_000])
@pytest.mark.parametrize("is_there", [False, True])
def test_a_founding_that_fails_half_way_leaves_nothing_behind(
    tmp_path: Path, is_there: bool, size: int
) -> None:
    folder = tmp_path / "demo"
    if is_there:
        folder.mkdir()

    with pytest.raises(KeyFileError, match="cannot be written"), files_of_at_most(size):
        found_consortium(folder, PLAN, now_ms=NOW_MS)

    assert list(tmp_path.rglob("*")) == ([folder] if is_there else [])


# --- what cannot be founded ---

OEM = PlannedParty(id="OEM-A", role=PartyRole.OEM)
N1 = PlannedNode(party="OEM-A", name="n1", address="127.0.0.1:7401")
W1 = PlannedWitness(party="OEM-A", name="w1", address="127.0.0.1:7404")
ERP = PlannedClient(party="OEM-A", holder="erp")
SMALL = ConsortiumPlan(name="x", parties=(OEM,), nodes=(N1,), clients=(ERP,))


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (replace(SMALL, parties=(OEM, OEM)), "party 'OEM-A' is planned twice"),
        (replace(SMALL, parties=(replace(OEM, id="../x"),)), "party's id"),
        (replace(SMALL, parties=()), "OEM-A/n1 belongs to no party; add the party 'OEM-A'"),
        (replace(SMALL, parties=(replace(OEM, root_threshold=2),)), "2 of 1 root keys"),
        (replace(SMALL, parties=(replace(OEM, root_threshold=0),)), "0 of 1 root keys"),
        (replace(SMALL, parties=(replace(OEM, root_count=256),)), "1 of 256 root keys"),
        (replace(SMALL, nodes=()), "no node is planned"),
        (replace(SMALL, nodes=(N1, N1)), "node 'OEM-A/n1' is planned twice"),
        (replace(SMALL, nodes=(N1, replace(N1, name="n2"))), "address '127.0.0.1:7401' is planned"),
        (replace(SMALL, nodes=(replace(N1, name="../n1"),)), "node's name"),
        (replace(SMALL, nodes=(replace(N1, address="7401"),)), "host:port"),
        (replace(SMALL, nodes=(replace(N1, party="OEM-B"),)), "OEM-B/n1 belongs to no party"),
        (
            replace(SMALL, nodes=(N1, replace(N1, name="n2", address="127.0.0.1:0"))),
            "OEM-A/n2 is to listen at 127.0.0.1:0, but others must know its port beforehand; give",
        ),
        (
            replace(SMALL, witnesses=(replace(W1, address="127.0.0.1:0"),)),
            "OEM-A/w1 is to listen at 127.0.0.1:0, but others must know its port beforehand; give",
        ),
        (replace(SMALL, witnesses=(W1, W1)), "witness 'OEM-A/w1' is planned twice"),
        (replace(SMALL, witnesses=(replace(W1, name="../w1"),)), "node's name"),
        (replace(SMALL, witnesses=(replace(W1, address="w1"),)), "host:port"),
        (replace(SMALL, witnesses=(replace(W1, address=N1.address),)), "'127.0.0.1:7401' is plan"),
        (replace(SMALL, witnesses=(replace(W1, party="B"),)), "B/w1 belongs to no party"),
        (replace(SMALL, witnesses=(replace(W1, name="n1"),)), "a node and a witness; give the wi"),
        (replace(SMALL, witnesses=(replace(W1, name="erp"),)), "a witness and a client; give the"),
        (replace(SMALL, clients=(ERP, ERP)), "client 'OEM-A/erp' is planned twice"),
        (replace(SMALL, clients=(replace(ERP, holder="../erp"),)), "not a client's name"),
        (replace(SMALL, clients=(replace(ERP, party="X"),)), "X/erp belongs to no party"),
        (replace(SMALL, clients=(replace(ERP, holder="n1"),)), "a node and a client"),
        (replace(SMALL, clients=(replace(ERP, event_types=(99,)),)), "event type 99"),
        (replace(SMALL, name="Stator Line"), "is not a name"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_before_anything_is_written(
    tmp_path: Path, plan: ConsortiumPlan, reason: str
) -> None:
    with pytest.raises(ProtocolError, match=reason):
        found_consortium(tmp_path / "demo", plan, now_ms=NOW_MS)
    assert not (tmp_path / "demo").exists()


def test_a_clock_that_is_far_off_founds_nothing(tmp_path: Path) -> None:
    with pytest.raises(MalformedError, match="created_ms"):
        found_consortium(tmp_path / "demo", SMALL, now_ms=86_400_000)


def test_a_node_that_nobody_must_find_may_let_the_system_choose_its_port() -> None:
    any_port = replace(N1, address="127.0.0.1:0")

    check_plan(replace(SMALL, nodes=(any_port,)))
    check_plan(replace(SMALL, nodes=(any_port,), witnesses=(W1,)))  # it is the node that calls


# --- what people write ---


def test_people_write_parties_nodes_and_clients_in_short() -> None:
    assert parse_party("OEM-A:oem") == OEM
    assert parse_party("OEM-A:oem:2/3") == replace(OEM, root_threshold=2, root_count=3)
    assert parse_node("OEM-A/n1@127.0.0.1:7401") == N1
    assert parse_node("OEM-A/n1@[::1]:7401").address == "[::1]:7401"
    assert parse_witness("OEM-A/w1@127.0.0.1:7404") == W1
    assert parse_client("OEM-A/erp") == ERP
    assert parse_client("OEM-A/erp:gap,measurement,gap") == replace(ERP, event_types=(19, 29))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("OEM-A", "no role; write ID:ROLE with one of oem, supplier"),
        ("OEM-A:OEM", "no role"),
        ("OEM-A:oem:", "such as 2/3"),
        ("OEM-A:oem:2", "such as 2/3"),
        ("OEM-A:oem:0/1", "such as 2/3"),
        ("OEM-A:oem:1/1000", "such as 2/3"),
    ],
)
def test_a_party_that_is_written_otherwise_is_refused(text: str, reason: str) -> None:
    with pytest.raises(PlanError, match=reason):
        parse_party(text)


@pytest.mark.parametrize("text", ["", "n1", "OEM-A/n1", "n1@127.0.0.1:1", "@/"])
def test_a_node_or_witness_that_is_written_otherwise_is_refused(text: str) -> None:
    with pytest.raises(PlanError, match=r"^node .* is not PARTY/NAME@HOST:PORT, such as OEM-A/n1@"):
        parse_node(text)
    with pytest.raises(PlanError, match=r"^witness .* PARTY/NAME@HOST:PORT, such as LAB-17025/w1@"):
        parse_witness(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("erp", "PARTY/NAME"),
        ("erp:OEM-A/gap", "PARTY/NAME"),
        ("OEM-A/erp:", "'', which is no event type"),
        ("OEM-A/erp:Gap", "'Gap', which is no event type; use some of lot_created"),
    ],
)
def test_a_client_that_is_written_otherwise_is_refused(text: str, reason: str) -> None:
    with pytest.raises(PlanError, match=reason):
        parse_client(text)


WRITTEN = st.text(alphabet="AB-ab1/:@.,[]gap ", max_size=12)


@given(
    name=WRITTEN,
    parties=st.lists(WRITTEN.map(lambda text: text + ":oem"), max_size=2),
    nodes=st.lists(WRITTEN.map(lambda text: text + "@127.0.0.1:1"), max_size=2),
    clients=st.lists(WRITTEN, max_size=2),
    witnesses=st.lists(WRITTEN.map(lambda text: text + "@127.0.0.1:2"), max_size=2),
)
def test_whatever_people_write_is_a_plan_or_a_protocol_error(
    name: str, parties: list[str], nodes: list[str], clients: list[str], witnesses: list[str]
) -> None:
    try:
        plan = make_plan(name, parties, nodes, clients, witnesses)
        check_plan(plan)
    except ProtocolError:
        return
    folders = [party.id for party in plan.parties]
    folders += [server.name for server in plan.servers] + [each.holder for each in plan.clients]
    assert all(folder.replace("-", "").isalnum() for folder in folders)
