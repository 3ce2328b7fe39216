"""`lotmark key`, `party`, `governance`, `join` and `status`, told to a real node."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lotmark.ed25519 import PrivateKey
from lotmark.key_file import write_key_file
from lotmark_node.main import app
from tests.node.running_node import PROGRAM, NodeProcess, node_process

PARTIES = ("OEM-A:oem", "T1-STATOR:supplier", "LAB-17025:laboratory")
CLIENTS = ("OEM-A/erp", "T1-STATOR/mes", "LAB-17025/lims")
NEW = "T2-CU-JX"
JOIN_S = 60
EVENT = """
[[event]]
type = "measurement"
device = "line-1"
time = "2026-01-12T08:00:00Z"
uncertainty_us = 1000
capture = "MANUAL"
items = [{ id = "CU-7", role = "SUBJECT" }]

[event.measurement]
feature = "resistivity"
value = "17.241"
unit = "nOhm.m"
verdict = "CONFORMING"
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    folder = tmp_path_factory.mktemp("governance") / "consortium"
    with node_process(folder, parties=PARTIES, clients=CLIENTS) as running:
        yield running


def ask(client: Path, *arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(app, arguments, env={"LOTMARK_CLIENT": str(client), **environment})


def told(client: Path, *arguments: str, **environment: str) -> Any:
    done = ask(client, *arguments, "--json", **environment)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def root(node: NodeProcess, party: str) -> tuple[str, str]:
    return "--root", str(node.folder / party / "roots" / "root-1.key")


def oem(node: NodeProcess) -> Path:
    return node.client("OEM-A", "erp")


def supplier(node: NodeProcess) -> Path:
    return node.client("T1-STATOR", "mes")


def event_file(folder: Path, number: int) -> Path:
    path = folder / f"event-{number}.toml"
    path.write_text(EVENT.replace("17.241", f"17.{number}"))
    return path


def test_a_supplier_is_invited_joins_and_submits_with_no_other_step(
    node: NodeProcess, tmp_path: Path
) -> None:
    invitation, folder = tmp_path / "invite.lotmark", tmp_path / NEW
    invited = told(
        oem(node), "party", "invite", NEW, "--role", "supplier", "--out", str(invitation)
    )
    assert invited["chain_id"] == node.chain_id.hex()
    made = told(
        oem(node), "join", str(invitation), "--folder", str(folder), "--chain-id",
        node.chain_id.hex(),
    )  # fmt: skip
    client = Path(made["client"])
    for secret in (*folder.rglob("*.key"), *folder.rglob("key.pem")):
        assert secret.stat().st_mode & 0o777 == 0o600, secret
    too_early = ask(client, "status")
    assert too_early.exit_code == 1
    waiting = subprocess.Popen(  # noqa: S603 - our own program
        [*PROGRAM, "status", "--wait", "--timeout-s", str(JOIN_S), "--as", str(client)],
        stdout=subprocess.PIPE,
        text=True,
    )

    proposed = told(oem(node), "governance", "propose", made["request"], *root(node, "OEM-A"))
    (listed,) = told(supplier(node), "governance", "list")["proposals"]
    approved = told(
        supplier(node), "governance", "approve", proposed["proposal"][:16],
        *root(node, "T1-STATOR"),
    )  # fmt: skip
    said, _ = waiting.communicate(timeout=JOIN_S)
    sent = told(client, "submit", str(event_file(tmp_path, 1)))

    assert listed["text"] == f"{NEW} joins, 1 of 1 roots"
    assert (listed["approvals"], listed["missing"]) == (["OEM-A"], ["LAB-17025", "T1-STATOR"])
    assert approved["status"] == "activated"
    assert (waiting.returncode, f"{NEW} is a member" in said) == (0, True)
    assert sent["events"][0]["outcome"] == "ACCEPTED"
    members = {each["party"]: each for each in told(client, "party", "list")["parties"]}
    assert members[NEW]["removed_height"] is None
    keys = told(client, "key", "list", "--party", NEW)["keys"]
    assert [(key["holder"], key["purpose"]) for key in keys] == [("erp", "batch")]


def test_a_key_is_registered_replaced_and_revoked(node: NodeProcess, tmp_path: Path) -> None:
    client, signed = supplier(node), root(node, "T1-STATOR")
    first = told(
        client, "key", "register", "press-2", "--key", str(tmp_path / "1.key"), *signed,
        "--type", "measurement",
    )  # fmt: skip
    second = told(
        client, "key", "rotate", first["key"][:12], "--key", str(tmp_path / "2.key"), *signed
    )
    told(
        client, "key", "revoke", first["key"], *signed, "--since", "2026-01-01T00:00:00Z",
        "--reason", "lost",
    )  # fmt: skip
    told(client, "key", "close-lane", second["key"], "3", *signed)

    shown = told(client, "key", "show", second["key"])
    old = told(client, "key", "show", first["key"])
    assert (shown["holder"], shown["event_types"]) == ("press-2", ["measurement"])
    assert old["revoked_height"] is not None
    assert old["compromised_since_ms"] == "1767225600000"
    again = ask(client, "key", "revoke", first["key"], *signed)
    assert (again.exit_code, "KEY_NOT_FOUND" in again.output) == (1, True)


def test_roots_of_another_party_change_nothing(node: NodeProcess, tmp_path: Path) -> None:
    refused = ask(
        supplier(node), "key", "register", "press-9", "--key", str(tmp_path / "key"),
        *root(node, "OEM-A"),
    )  # fmt: skip

    assert (refused.exit_code, "ROOTS_INSUFFICIENT" in refused.output) == (1, True)


def test_roots_are_rotated_and_the_old_one_says_nothing_more(
    node: NodeProcess, tmp_path: Path
) -> None:
    client, old = node.client("LAB-17025", "lims"), root(node, "LAB-17025")
    new = tmp_path / "root-3.key"
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("a long passphrase\n")
    passphrase.chmod(0o600)
    sealed = ("--seal", "--passphrase-file", str(passphrase))
    told(client, "party", "rotate-roots", *old, "--new", str(new), "--threshold", "1", *sealed)
    assert new.stat().st_mode & 0o777 == 0o600

    by_old = ask(client, "key", "register", "x", "--key", str(tmp_path / "x.key"), *old)
    by_new = ask(
        client, "key", "register", "y", "--key", str(tmp_path / "y.key"), "--root", str(new),
        LOTMARK_PASSPHRASE="a long passphrase",  # noqa: S106 - of this test alone
    )  # fmt: skip
    wrong = ask(
        client, "key", "register", "z", "--key", str(tmp_path / "z.key"), "--root", str(new),
        LOTMARK_PASSPHRASE="another one",  # noqa: S106 - of this test alone
    )  # fmt: skip

    assert (by_old.exit_code, "ROOTS_INSUFFICIENT" in by_old.output) == (1, True)
    assert by_new.exit_code == 0, by_new.output
    assert "does not open with this passphrase" in wrong.output
    nobody = ask(client, "key", "register", "z", "--key", str(tmp_path / "z"), "--root", str(new))
    assert "A passphrase is needed, and nobody is there to ask." in nobody.output


def test_rules_and_quotas_are_proposed_in_words(node: NodeProcess) -> None:
    client, signed = oem(node), root(node, "OEM-A")
    rule = told(client, "governance", "propose", "--rule", "change_quotas=all", *signed)
    quotas = told(client, "governance", "propose", "--quotas", "9,9000,9,9", *signed)

    shown = told(client, "governance", "status", rule["proposal"])
    assert (shown["text"], shown["rule"]) == ("change_quotas needs all", "all")
    assert shown["approvals"] == ["OEM-A"]
    listed = {each["proposal"] for each in told(client, "governance", "list")["proposals"]}
    assert {rule["proposal"], quotas["proposal"]} <= listed
    words = ask(client, "governance", "propose", "--item-chain", "5;5", *signed)
    assert "Give an epoch's entries and ms." in words.output
    runs = ask(client, "governance", "propose", "--item-chain", "5,5", *signed)
    assert (runs.exit_code, "PROPOSAL_INVALID" in runs.output) == (1, True), "items are chained"
    twice = ask(client, "governance", "approve", rule["proposal"], *signed)
    assert (twice.exit_code, "APPROVED_ALREADY" in twice.output) == (1, True)


def test_a_node_of_one_s_own_party_is_proposed_as_a_cosigner(
    node: NodeProcess, tmp_path: Path
) -> None:
    client, signed = supplier(node), root(node, "T1-STATOR")
    write_key_file(tmp_path / "cosign.key", PrivateKey.generate())
    proposed = told(
        client, "governance", "propose", "--add-cosigner", "w1", "--cosign-key",
        str(tmp_path / "cosign.key"), *signed,
    )  # fmt: skip
    told(oem(node), "governance", "approve", proposed["proposal"], *root(node, "OEM-A"))
    decided = told(client, "governance", "list", "--all")["proposals"]
    status = {each["proposal"]: each["status"] for each in decided}

    assert status[proposed["proposal"]] in {"activated", "open"}  # with three parties or four
    shown = told(client, "party", "show", "T1-STATOR")
    assert (shown["role"], shown["removed_height"]) == ("supplier", None)
    nobody = ask(client, "party", "show", "NOBODY")
    assert (nobody.exit_code, "There never was a party" in nobody.output) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("governance", "propose"), "a proposal holds one change, this one 0"),
        (("governance", "propose", "--rule", "nothing=all"), "is no KIND=RULE"),
        (("governance", "propose", "--quotas", "1,2"), "are no four numbers"),
        (("governance", "propose", "--add-cosigner", "w1"), "A cosigner has a cosign key"),
        (("governance", "propose", "--remove-party", "NOBODY"), "PARTY_UNKNOWN"),
        (("governance", "approve", "00000000"), "0 proposals begin with"),
        (("key", "revoke", "xyz"), "names no key"),
        (("key", "revoke", "00000000"), "0 keys begin with"),
    ],
)
def test_what_names_nothing_is_said_in_one_line(
    node: NodeProcess, arguments: tuple[str, ...], message: str
) -> None:
    done = ask(oem(node), *arguments, *root(node, "OEM-A"))

    assert done.exit_code in {1, 2}
    assert message in done.output
    assert "Traceback" not in done.output


def test_an_invitation_of_another_chain_is_refused(node: NodeProcess, tmp_path: Path) -> None:
    invitation = tmp_path / "invite.lotmark"
    told(oem(node), "party", "invite", "X", "--role", "site", "--out", str(invitation))
    folder = tmp_path / "X"
    done = ask(oem(node), "join", str(invitation), "--folder", str(folder), "--chain-id", "00" * 32)
    damaged = tmp_path / "damaged.lotmark"
    damaged.write_bytes(invitation.read_bytes()[:-9])
    torn = ask(oem(node), "join", str(damaged), "--folder", str(folder))

    assert (done.exit_code, torn.exit_code) == (1, 2)
    assert not folder.exists()
