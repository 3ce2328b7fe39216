"""Founding: the plan, every file, and that what was written works together."""

import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotmark.certificates import PeerIdentity, peer_identity
from lotmark.client.settings import read_client_settings
from lotmark.errors import MalformedError, ProtocolError
from lotmark.genesis import (
    PartyRole,
    chain_id,
    check_acceptances,
    parse_acceptances,
    parse_genesis,
    policy_text,
)
from lotmark.key_file import KeyFileError, read_key_file
from lotmark.key_grant import KeyPurpose
from lotmark.tlog_policy import parse_policy
from lotmark_node.consortium.found import Founded, found_consortium
from lotmark_node.consortium.plan import (
    ConsortiumPlan,
    PlanError,
    PlannedClient,
    PlannedNode,
    PlannedParty,
    check_plan,
    make_plan,
    parse_client,
    parse_node,
    parse_party,
)
from lotmark_node.node_settings import read_node_settings

NOW_MS = 1_766_448_000_000  # 2025-12-23
PLAN = make_plan(
    "stator-line",
    ["OEM-A:oem:2/3", "T1-STATOR:supplier", "LAB-17025:laboratory"],
    ["OEM-A/n1@127.0.0.1:7401", "T1-STATOR/n1@n1.t1.example.com:7402"],
    ["OEM-A/erp", "T1-STATOR/aoi-cam07:measurement,gap", "LAB-17025/lims"],
)


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
    # Measurement, window, inference result and gap: a camera reviews nothing and claims nothing.
    assert PlannedClient(party="T1-STATOR", holder="aoi-cam07", event_types=(19, 20, 24, 29)) in (
        plan.clients
    )


def test_own_parties_get_a_node_and_an_erp_each() -> None:
    plan = make_plan("x", ["A:oem", "B:supplier"], (), ())

    assert plan.nodes == (PlannedNode(party="A", name="n1", address="127.0.0.1:7401"),)
    assert [(client.party, client.holder) for client in plan.clients] == [
        ("A", "erp"),
        ("B", "erp"),
    ]


def test_a_client_calls_a_node_of_its_own_party_where_there_is_one() -> None:
    calls = {client.party: PLAN.node_for(client).party for client in PLAN.clients}

    assert calls == {"OEM-A": "OEM-A", "T1-STATOR": "T1-STATOR", "LAB-17025": "OEM-A"}


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
        certificate, founded.genesis, founded.chain_id, now_ms=NOW_MS
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
        certificate, founded.genesis, founded.chain_id, now_ms=NOW_MS
    ) == PeerIdentity(party="LAB-17025", node="lims")


@pytest.mark.parametrize("name", ["T1-STATOR/nodes/n1/node.toml", "OEM-A/clients/erp/client.toml"])
def test_every_line_of_a_settings_file_has_a_comment(founded: Founded, name: str) -> None:
    lines = (founded.folder / name).read_text().splitlines()

    assert all(line.startswith("# ") or "  # " in line for line in lines)


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


def test_nodes_that_let_the_system_choose_their_port_do_not_clash() -> None:
    any_port = replace(N1, address="127.0.0.1:0")

    check_plan(replace(SMALL, nodes=(any_port, replace(any_port, name="n2"))))


# --- what people write ---


def test_people_write_parties_nodes_and_clients_in_short() -> None:
    assert parse_party("OEM-A:oem") == OEM
    assert parse_party("OEM-A:oem:2/3") == replace(OEM, root_threshold=2, root_count=3)
    assert parse_node("OEM-A/n1@127.0.0.1:7401") == N1
    assert parse_node("OEM-A/n1@[::1]:7401").address == "[::1]:7401"
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
def test_a_node_that_is_written_otherwise_is_refused(text: str) -> None:
    with pytest.raises(PlanError, match="PARTY/NAME@HOST:PORT"):
        parse_node(text)


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
)
def test_whatever_people_write_is_a_plan_or_a_protocol_error(
    name: str, parties: list[str], nodes: list[str], clients: list[str]
) -> None:
    try:
        plan = make_plan(name, parties, nodes, clients)
        check_plan(plan)
    except ProtocolError:
        return
    folders = [party.id for party in plan.parties]
    folders += [node.name for node in plan.nodes] + [client.holder for client in plan.clients]
    assert all(folder.replace("-", "").isalnum() for folder in folders)
