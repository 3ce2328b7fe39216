"""`lotmark doctor`: a node's folder is sound, or the first thing that is not is named."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lotmark.certificates import make_leaf
from lotmark.client.settings import read_client_settings
from lotmark_node import node_checks
from lotmark_node.findings import Finding, Health
from lotmark_node.main import app
from lotmark_node.node_checks import check_node
from lotmark_node.node_settings import read_node_settings
from tests.node.http import http_node
from tests.node.ledger_in_memory import measurements
from tests.node.running_node import NodeProcess
from tests.node.submitting import submit_events

DAY_MS = 86_400_000
PARTIES = ("OEM-A:oem",)
MACHINE_CHECKS = ("clock sync", "disk")


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> NodeProcess:
    """A node that has taken events and was stopped; its folder is to be copied, not changed."""
    node = NodeProcess(tmp_path_factory.mktemp("doctor") / "consortium", parties=PARTIES)
    node.start()
    settings = read_client_settings(node.client("OEM-A", "erp"))
    for events in (measurements(1, 3), measurements(4, 2)):
        submit_events(settings, events)
    node.stop()
    return node


@pytest.fixture
def settings_file(worked: NodeProcess, tmp_path: Path) -> Path:
    shutil.copytree(worked.folder, tmp_path / "consortium")
    return tmp_path / "consortium" / worked.settings.relative_to(worked.folder)


def doctor(settings_file: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["doctor", "--node", str(settings_file), *arguments])


def of_this_machine(check: str) -> bool:
    """Tell whether a check's result depends on the machine that the tests run on."""
    return check.startswith(MACHINE_CHECKS)


def healths(done: Result) -> dict[str, str]:
    """Return what was found of each check; of several findings, the last."""
    document: dict[str, Any] = json.loads(done.stdout)
    return {check["check"]: check["health"] for check in document["checks"]}


def test_a_sound_folder_is_sound_to_the_last_bit(settings_file: Path) -> None:
    done = doctor(settings_file, "--scrub")
    lines = [line for line in done.stdout.splitlines() if not of_this_machine(line[2:])]

    assert done.exit_code == 0, done.output
    assert {line[0] for line in lines} == {"✓"}
    assert [line.split()[1] for line in lines] == [
        "folder", "genesis", "voters", "clock", "keys", "certificate", "CA", "space", "ledger",
        "versions", "port", "metrics", "scrub",
    ]  # fmt: skip
    assert lines[2].endswith("OEM-A/n1 is the only voter")
    assert lines[8].endswith("height 2, 11 entries")
    assert "as written: 2 blocks, 11 entries, " in lines[12]


def test_a_program_gets_every_check(settings_file: Path) -> None:
    done = doctor(settings_file, "--json")
    document = json.loads(done.stdout)

    assert (document["node"], document["healthy"]) == ("OEM-A/n1", True)
    assert {health for check, health in healths(done).items() if not of_this_machine(check)} == {
        "good"
    }
    assert set(MACHINE_CHECKS) <= set(healths(done))
    assert "scrub" not in healths(done)


def test_anothers_ledger_is_not_opened_since_its_node_could_not_use_what_that_leaves(
    settings_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = settings_file.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    before = sorted((settings_file.parent / "data").rglob("*"))
    done = doctor(settings_file, "--scrub", "--json")

    assert done.exit_code == 2
    assert (healths(done)["ledger"], healths(done)["scrub"]) == ("unchecked", "unchecked")
    assert f"data is of user {owner}, whose node could not open" in done.stdout
    assert sorted((settings_file.parent / "data").rglob("*")) == before


def test_a_node_that_never_ran_has_nothing_to_scrub(tmp_path: Path) -> None:
    fresh = NodeProcess(tmp_path / "consortium", parties=PARTIES)
    done = doctor(fresh.settings, "--scrub", "--json")

    assert done.exit_code == 0
    assert (healths(done)["ledger"], healths(done)["scrub"]) == ("notice", "good")
    assert list(fresh.data.iterdir()) == [], "looking does not make a ledger"


def test_a_running_node_is_checked_but_not_its_ledger(tmp_path: Path) -> None:
    node = NodeProcess(tmp_path / "consortium", parties=PARTIES)
    node.start()
    try:
        checked, scrubbed = doctor(node.settings, "--json"), doctor(node.settings, "--scrub")
    finally:
        node.stop()

    assert (checked.exit_code, healths(checked)["ledger"]) == (0, "unchecked")
    assert scrubbed.exit_code == 2
    assert scrubbed.stdout.splitlines()[-1].startswith("? scrub ")
    assert scrubbed.stdout.endswith("in use by the running node; stop it first\n")


def damage_key_mode(folder: Path) -> None:
    (folder / "keys" / "log.key").chmod(0o644)


def damage_key(folder: Path) -> None:
    shutil.copyfile(folder / "keys" / "admit.key", folder / "keys" / "log.key")


def damage_certificate(folder: Path) -> None:
    ca = folder.parents[1] / "ca"
    pair = make_leaf(
        (ca / "ca.pem").read_bytes(),
        (ca / "ca.key").read_bytes(),
        chain_id=bytes(32),
        party="OEM-A",
        node="n1",
        addresses=[],
        days=30,
        now_ms=1_766_448_000_000,
    )
    (folder / "tls" / "cert.pem").write_bytes(pair[0])


def damage_tls_key(folder: Path) -> None:
    erp = folder.parents[1] / "clients" / "erp"
    shutil.copyfile(erp / "key.pem", folder / "tls" / "key.pem")


def damage_acceptances(folder: Path) -> None:
    (folder.parents[2] / "acceptances.json").write_text('{"acceptances":[]}')


def damage_journal(folder: Path) -> None:
    (segment,) = (folder / "data" / "journal").glob("*.segment")
    raw = bytearray(segment.read_bytes())
    raw[200] ^= 1
    segment.write_bytes(raw)


def damage_signed_maximum(folder: Path) -> None:
    (folder / "data" / "signed-maximum").unlink()


@pytest.mark.parametrize(
    ("damage", "check", "message"),
    [
        (damage_key_mode, "keys", "has mode 0644, so others can use the key: chmod 600 "),
        (damage_key, "keys", "log.key: the genesis gives OEM-A/n1 another key for log; name the"),
        (damage_certificate, "certificate", f"is for chain {bytes(32).hex()}, not "),
        (damage_tls_key, "certificate", "key.pem is not the key of "),
        (damage_acceptances, "genesis", "OEM-A has not accepted the genesis"),
        (
            damage_journal,
            "ledger",
            "index 1: the record does not match its checksum; check the disk, and restore the",
        ),
        (damage_signed_maximum, "scrub", "it is not known what this node has signed; restore it"),
    ],
)
def test_what_is_bad_is_named_with_what_to_do(
    settings_file: Path, damage: Any, check: str, message: str
) -> None:
    damage(settings_file.parent)
    done = doctor(settings_file, "--scrub")
    bad = [line for line in done.stdout.splitlines() if line[0] == "✗"]

    assert done.exit_code == 1
    assert [line.split()[1] for line in bad] == [check]
    assert message in bad[0]


def test_a_file_that_others_can_change_is_a_warning(settings_file: Path) -> None:
    genesis = settings_file.parents[3] / "genesis.json"
    genesis.chmod(0o666)
    done = doctor(settings_file, "--json")

    assert (done.exit_code, healths(done)["folder"]) == (0, "warning")
    assert "has mode 0666, so others can change it: chmod go-w " in done.stdout


def found(settings_file: Path, check: str, *, days_on: float = 0) -> Iterator[Finding]:
    """Return what a check finds so many days after the certificate's first day."""
    settings = read_node_settings(settings_file)
    created_ms = json.loads(settings.genesis.read_bytes())["created_ms"]
    now_ms = int(created_ms) + int(days_on * DAY_MS)
    return (each for each in check_node(settings, now_ms=now_ms) if each.check == check)


@pytest.mark.parametrize(
    ("days_left", "health", "ending"),
    [
        (91, Health.GOOD, ""),
        (89, Health.NOTICE, ": renew it: lotmark key renew-cert"),
        (29, Health.WARNING, ": renew it: lotmark key renew-cert"),
        (6, Health.WARNING, ": renew it: lotmark key renew-cert now"),
    ],
)
def test_the_end_of_a_certificate_is_told_louder_the_nearer_it_is(
    settings_file: Path, days_left: int, health: Health, ending: str
) -> None:
    (finding,) = found(settings_file, "certificate", days_on=730 - days_left - 0.5)

    assert finding.health is health
    if ending:
        assert f"of OEM-A/n1, ends in {days_left} days (" in finding.text
        assert finding.text.endswith(ending)


def test_an_ended_certificate_is_bad(settings_file: Path) -> None:
    (finding,) = found(settings_file, "certificate", days_on=731)

    assert finding.health is Health.BAD
    assert finding.text.endswith("; renew it")


def test_a_clock_from_before_the_founding_is_bad(settings_file: Path) -> None:
    first, *_ = found(settings_file, "clock", days_on=-1)

    assert first.health is Health.BAD
    assert re.fullmatch(
        r"\S+ \S+ UTC here, but the chain was founded at \S+ \S+ UTC: set this machine's clock",
        first.text,
    )


def test_a_clock_behind_the_newest_block_is_a_warning(settings_file: Path) -> None:
    *_, behind = found(settings_file, "clock", days_on=-1)
    (level,) = found(settings_file, "clock", days_on=1)

    assert behind.health is Health.WARNING
    assert "here, but the newest block is of " in behind.text
    assert behind.text.endswith(
        "and a voter takes no block over 5 s ahead: set this machine's clock"
    )
    assert level.health is Health.GOOD


@pytest.mark.parametrize(
    ("bound", "health", "message"),
    [
        ("FREE_SIZE_MIN", Health.BAD, ": new events are refused; make room"),
        ("FREE_SIZE_LOW", Health.WARNING, ": make room before events are refused"),
    ],
)
def test_a_disk_that_runs_full_is_told(
    settings_file: Path, monkeypatch: pytest.MonkeyPatch, bound: str, health: Health, message: str
) -> None:
    monkeypatch.setattr(node_checks, bound, 2**62)
    (finding,) = found(settings_file, "space")

    assert finding.health is health
    assert finding.text.endswith(message)


def test_an_append_that_a_crash_cut_off_is_worth_knowing(settings_file: Path) -> None:
    (segment,) = (settings_file.parent / "data" / "journal").glob("*.segment")
    with segment.open("ab") as file:
        file.write(b"begun")
    notice, good = found(settings_file, "ledger")

    assert (notice.health, good.health) == (Health.NOTICE, Health.GOOD)
    assert notice.text.startswith("5 bytes at the end of ")
    assert ".torn-" in notice.text


def test_a_journal_that_is_behind_its_ledger_is_bad(settings_file: Path) -> None:
    journal = settings_file.parent / "data" / "journal"
    shutil.rmtree(journal)
    journal.mkdir()
    (finding,) = found(settings_file, "ledger")

    assert finding.health is Health.BAD
    assert finding.text.endswith(
        "has applied block 2 of the order, but the journal ends at 0; one of the two folders is an"
        " older copy: put back the one that ran last"
    )


def test_an_http_endpoint_is_told_whose_it_is_and_what_keeps_callers_out(tmp_path: Path) -> None:
    node = NodeProcess(
        tmp_path / "consortium",
        parties=(f"{http_node.PARTY}:laboratory", "OEM-A:oem"),
        clients=(http_node.CLIENT, http_node.READER),
        node=http_node.NODE,
    )
    assert list(found(node.settings, "http")) == []
    http_node.serve_http(node, "http://127.0.0.1:0")
    (without_key,) = found(node.settings, "http")
    http_node.make_key(node, "sap")
    (with_key,) = found(node.settings, "http")
    (node.client(http_node.PARTY, "erp").parent / "batch.key").chmod(0o644)
    (open_to_others,) = found(node.settings, "http")

    assert (without_key.health, with_key.health) == (Health.NOTICE, Health.GOOD)
    assert without_key.text.endswith("keys in force: 0; lotmark node api-key new makes one")
    assert with_key.text == "for LAB-17025/erp, API keys in force: 1"
    assert open_to_others.health is Health.BAD
    assert "so others can use the key: chmod 600 " in open_to_others.text


def test_settings_that_cannot_be_read_are_wrong_use() -> None:
    done = doctor(Path("nowhere.toml"))

    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("nowhere.toml cannot be read: No such file or directory; ")
