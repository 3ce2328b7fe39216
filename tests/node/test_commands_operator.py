"""`lotmark operator`: from a new credential to a signature on record, and to its revocation."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lotmark.client import Client
from lotmark.key_file import read_key_file, write_key_file, write_new_file
from lotmark.webauthn import base64url, decode_base64url
from lotmark_node.main import app
from lotmark_node.trial.software_authenticator import (
    ORIGIN,
    PRESENT,
    RP_ID,
    VERIFIED,
    Authenticator,
)
from tests.node.ledger_in_memory import measurement
from tests.node.running_node import NodeProcess, node_process

PARTIES = ("OEM-A:oem", "T1-STATOR:supplier")
CLIENTS = ("OEM-A/erp", "T1-STATOR/mes")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    folder = tmp_path_factory.mktemp("operator") / "consortium"
    with node_process(folder, parties=PARTIES, clients=CLIENTS) as running:
        yield running


class Console:
    """A person's computer: the command line, and an authenticator beside it."""

    def __init__(
        self,
        node: NodeProcess,
        folder: Path,
        seed: str,
        party: str = "T1-STATOR",
        role: str = "inspector",
    ) -> None:
        self.device = Authenticator(seed)
        self.role = role
        self.folder = folder
        holder = "mes" if party == "T1-STATOR" else "erp"
        self.client = node.client(party, holder)
        self.roots = sorted((node.folder / party / "roots").glob("*.key"))

    def lotmark(self, *arguments: str) -> Result:
        environment = {"LOTMARK_CLIENT": str(self.client)}
        return CliRunner().invoke(app, ["operator", *arguments], env=environment)

    def document(self, *arguments: str) -> dict[str, Any]:
        done = self.lotmark(*arguments, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)  # type: ignore[no-any-return]

    def granted(self, *meanings: str) -> tuple[Path, bytes]:
        """Return the file of a grant, and what the credential has to sign."""
        new, grant = self.folder / "new.json", self.folder / f"{self.device.seed}.grant"
        new.write_text(json.dumps(self.device.creation_json()))
        asked = self.document(
            "grant", str(new), "--origin", ORIGIN, "--rp-id", RP_ID, "--role", self.role,
            *(each for meaning in meanings for each in ("--meaning", meaning)),
            "--out", str(grant),
        )  # fmt: skip
        assert asked["userVerification"] == "required"
        assert asked["allowCredentials"][0]["id"] == base64url(self.device.credential_id)
        return grant, decode_base64url(asked["challenge"], what="challenge")

    def signed(self, challenge: bytes, *, flags: int = PRESENT | VERIFIED) -> str:
        """Return the file of an assertion over a challenge."""
        path = self.folder / "assertion.json"
        made = self.device.sign(challenge, flags=flags)
        path.write_text(json.dumps(self.device.assertion_json(made)))
        return str(path)

    def root_options(self) -> list[str]:
        return [part for root in self.roots for part in ("--root", str(root))]

    def register(self, *meanings: str) -> None:
        grant, challenge = self.granted(*meanings)
        done = self.document(
            "register", str(grant), "--assertion", self.signed(challenge), *self.root_options()
        )
        assert done["outcome"] == "ACCEPTED"

    def sign(self, event: str, meaning: str) -> str:
        """Sign an event, and return the id of the signature's own."""
        file = self.signed(challenge_of(self, event, meaning))
        done = self.document("sign", event, "--meaning", meaning, "--assertion", file)
        assert done["outcome"] == "ACCEPTED"
        return str(done["event_id"])


def recorded(node: NodeProcess, number: int) -> tuple[int, str]:
    """Return index and id of an event that is on the ledger."""
    with Client.open(node.client("T1-STATOR", "mes")) as client:
        result = client.submit(measurement(number)).result(30)
    assert result.index is not None
    return result.index, result.event_id.hex()


def challenge_of(console: Console, event: str, meaning: str) -> bytes:
    asked = console.document("challenge", event, "--meaning", meaning)
    return decode_base64url(asked["challenge"], what="challenge")


def test_an_operator_is_registered_signs_and_is_revoked(node: NodeProcess, tmp_path: Path) -> None:
    console = Console(node, tmp_path, "first")
    index, event_id = recorded(node, 1)
    console.register("approve", "review")
    challenge = challenge_of(console, event_id, "approve")
    assert challenge == challenge_of(console, str(index), "approve")
    file = console.signed(challenge)
    done = console.document("sign", str(index), "--meaning", "approve", "--assertion", file)
    entry = CliRunner().invoke(app, ["entry", str(done["index"]), "--as", str(console.client)])
    credential = base64url(console.device.credential_id)
    revoked = console.document(
        "revoke", credential, "--reason", "lost", "--compromised-since", "2026-01-01T00:00:00Z",
        *console.root_options(),
    )  # fmt: skip
    late = console.lotmark("sign", event_id, "--meaning", "approve", "--assertion", file)

    assert done["outcome"] == revoked["outcome"] == "ACCEPTED"
    assert event_id in entry.stdout
    assert "APPROVE" in entry.stdout
    assert late.exit_code == 1
    assert "the credential was revoked" in late.stdout
    (listed,) = [
        each
        for each in console.document("list")["operators"]
        if each["credential_id"] == credential
    ]
    assert (listed["standing"], listed["meanings"]) == ("revoked", ["REVIEW", "APPROVE"])
    assert f"{credential}  T1-STATOR  inspector  review,approve  revoked" in (
        console.lotmark("list").stdout
    )


def test_what_the_ledger_refuses_is_told_with_the_remedy(node: NodeProcess, tmp_path: Path) -> None:
    console = Console(node, tmp_path, "second")
    _, event_id = recorded(node, 2)
    console.register("approve")
    unverified = console.signed(challenge_of(console, event_id, "approve"), flags=PRESENT)
    first = console.lotmark("sign", event_id, "--meaning", "approve", "--assertion", unverified)
    released = console.signed(challenge_of(console, event_id, "release"))
    second = console.lotmark("sign", event_id, "--meaning", "release", "--assertion", released)

    assert (first.exit_code, second.exit_code) == (1, 1)
    assert 'userVerification "required"' in " ".join(first.stdout.split())
    assert "may not sign with this meaning" in second.stdout


def test_an_assertion_of_another_event_is_not_sent(node: NodeProcess, tmp_path: Path) -> None:
    console = Console(node, tmp_path, "third")
    _, event_id = recorded(node, 3)
    file = console.signed(challenge_of(console, event_id, "author"))
    done = console.lotmark("sign", event_id, "--meaning", "review", "--assertion", file)

    assert done.exit_code == 2
    assert "CHALLENGE_MISMATCH" in done.output


def test_too_few_roots_and_another_party_s_roots_register_nothing(
    node: NodeProcess, tmp_path: Path
) -> None:
    console = Console(node, tmp_path, "fourth")
    grant, challenge = console.granted("approve")
    other = Console(node, tmp_path, "fourth", "OEM-A")
    done = console.lotmark(
        "register", str(grant), "--assertion", console.signed(challenge), *other.root_options()
    )

    assert done.exit_code == 1
    assert "the party's roots have not signed" in done.stdout
    credential = base64url(console.device.credential_id)
    assert credential not in console.lotmark("list").stdout


def test_a_grant_is_not_written_over_and_a_changed_one_is_not_registered(
    node: NodeProcess, tmp_path: Path
) -> None:
    console = Console(node, tmp_path, "fifth")
    grant, challenge = console.granted("approve")
    again = console.lotmark(
        "grant", str(tmp_path / "new.json"), "--origin", ORIGIN, "--rp-id", RP_ID, "--role", "x",
        "--meaning", "author", "--out", str(grant),
    )  # fmt: skip
    grant.write_text(grant.read_text().replace("inspector", "director"))
    changed = console.lotmark(
        "register", str(grant), "--assertion", console.signed(challenge), *console.root_options()
    )

    assert again.exit_code == 2
    assert "is not overwritten" in again.output
    assert changed.exit_code == 2
    assert "CHALLENGE_MISMATCH" in changed.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["challenge", "zz", "--meaning", "approve"], "names no entry"),
        (["challenge", "0", "--meaning", "approve"], "is no event"),
        (["challenge", "9999999", "--meaning", "approve"], "not on the ledger"),
        (["challenge", "3", "--meaning", "witness"], "is not one of"),
        (["revoke", "a+b", "--root", "x.key"], "base64url"),
        (["register", "missing.grant", "--assertion", "x", "--root", "y"], "missing.grant"),
    ],
)
def test_wrong_use_is_told_in_a_line(
    node: NodeProcess, tmp_path: Path, arguments: list[str], words: str
) -> None:
    done = Console(node, tmp_path, "sixth").lotmark(*arguments)

    assert done.exit_code in (1, 2)
    assert words in " ".join(done.output.split())


def test_a_credential_id_may_begin_with_a_hyphen(node: NodeProcess, tmp_path: Path) -> None:
    console = Console(node, tmp_path, "seventh")
    credential = base64url(b"\xf8" + bytes(19))
    done = console.lotmark("revoke", credential, *console.root_options())

    assert credential.startswith("-")
    assert done.exit_code == 1
    assert "the credential is not on the ledger" in done.stdout


def test_a_sealed_root_registers_an_operator(node: NodeProcess, tmp_path: Path) -> None:
    console = Console(node, tmp_path, "eighth")
    (root,) = console.roots
    sealed, passphrase = tmp_path / "sealed.key", tmp_path / "passphrase"
    write_key_file(sealed, read_key_file(root), b"a long passphrase")
    write_new_file(passphrase, b"a long passphrase\n")
    grant, challenge = console.granted("approve")

    done = console.document(
        "register", str(grant), "--assertion", console.signed(challenge), "--root", str(sealed),
        "--passphrase-file", str(passphrase),
    )  # fmt: skip

    assert done["outcome"] == "ACCEPTED"
