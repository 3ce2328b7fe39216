"""`lotmark entry`, `receipt`, `log` and `snapshot`: what one reads is proven, or said not to be."""

import json
import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from lotmark.checkpoint import Checkpoint
from lotmark.client.session import LedgerSession
from lotmark.client.settings import read_client_settings
from lotmark.cosignature import cosign
from lotmark.genesis import cosigner_name, origin
from lotmark.key_file import read_key_file
from lotmark.merkle import leaf_hash
from lotmark.signed_note import Note, format_note, sign_note
from lotmark_node.commands import snapshot
from lotmark_node.main import app
from tests.node.ledger_in_memory import measurement, transformation
from tests.node.running_node import PROGRAM, NodeProcess, node_process
from tests.node.submitting import submit_events

PARTIES = ("OEM-A:oem", "T1-STATOR:supplier", "REG:regulator")
CLIENTS = ("OEM-A/erp", "T1-STATOR/mes", "REG/inspector")
# One batch of T1-STATOR: entries 3, 4 and 5; then one of OEM-A: entry 8.
EVENTS = [
    measurement(1, item="LOT-1", audience=["OEM-A"]),
    measurement(2, item="LOT-2"),
    transformation("wind", ["LOT-2"], ["STATOR-2"]),
]
OEM_EVENT = measurement(3, item="LOT-2")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    folder = tmp_path_factory.mktemp("read") / "consortium"
    with node_process(folder, parties=PARTIES, clients=CLIENTS) as running:
        submit(running, "T1-STATOR", "mes", EVENTS)
        submit(running, "OEM-A", "erp", [OEM_EVENT])
        newest_size(running)  # from here on the newest checkpoint stays, until a test submits
        yield running


def submit(node: NodeProcess, party: str, holder: str, events: list[bytes]) -> None:
    settings = read_client_settings(node.client(party, holder))
    assert not any(result.outcome for result in submit_events(settings, events))


def newest_size(node: NodeProcess) -> int:
    """Return the size of the newest checkpoint, once it covers the whole log."""
    session = LedgerSession(read_client_settings(node.client("OEM-A", "erp")))
    return session.checkpoint_over(session.ledger().size - 1).size


def ask(node: NodeProcess, *arguments: str, party: str = "OEM-A", holder: str = "erp") -> Result:
    client = str(node.client(party, holder))
    return CliRunner().invoke(app, arguments, env={"LOTMARK_CLIENT": client})


def told(node: NodeProcess, *arguments: str, **caller: str) -> Any:
    done = ask(node, *arguments, "--json", **caller)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


# entry


def test_an_entry_is_shown_by_index_and_by_event_id_with_event_batch_and_proof(
    node: NodeProcess,
) -> None:
    by_index = ask(node, "entry", "5")
    by_id = ask(node, "entry", leaf_hash(EVENTS[2]).hex())
    lines = [line.split(maxsplit=1) for line in by_index.stdout.splitlines()]

    assert (by_index.exit_code, by_index.stderr) == (0, "")
    assert by_id.stdout == by_index.stdout
    assert by_index.stdout.startswith("entry 5  event, accepted, height 1, ")
    assert ["type", "transformation"] in lines
    assert ["items", "LOT-2 INPUT"] in lines
    assert ["items", "STATOR-2 OUTPUT"] in lines
    assert ["party", "T1-STATOR"] in lines
    assert by_index.stdout.endswith(" entries, on the word of one party (OEM-A)\n")
    assert "\nproven under " in by_index.stdout


def test_every_kind_of_entry_is_shown_as_what_it_is(node: NodeProcess) -> None:
    genesis, batch, close = (told(node, "entry", str(index)) for index in (0, 2, 6))

    assert [each["kind"] for each in (genesis, batch, close)] == ["genesis", "batch", "block_close"]
    assert batch["batch"]["party"] == "T1-STATOR"
    assert batch["batch"]["event_count"] == 3
    assert (close["close"]["event_count"], close["batch"]) == (3, None)
    assert node.chain_id.hex() in ask(node, "entry", "0").stdout


def test_an_event_for_others_is_shown_as_withheld(node: NodeProcess) -> None:
    assert told(node, "entry", "3")["event"]["items"][0]["id"] == "LOT-1"
    for_others = told(node, "entry", "3", party="REG", holder="inspector")
    text = ask(node, "entry", "3", party="REG", holder="inspector").stdout

    assert (for_others["withheld"], for_others["event"]) == (True, None)
    assert for_others["event_id"] == leaf_hash(EVENTS[0]).hex()
    assert "the event is for other parties: only its id is shown to this client" in text


@pytest.mark.parametrize("command", ["entry", "receipt"])
def test_what_is_not_on_the_ledger_is_a_no_and_what_names_nothing_is_wrong_use(
    node: NodeProcess, command: str
) -> None:
    absent = ask(node, command, "999")
    strange = ask(node, command, "0x5")

    assert (absent.exit_code, absent.stdout) == (1, "")
    assert absent.stderr.startswith("entry 999 is not on the ledger")
    assert (strange.exit_code, strange.stdout) == (2, "")
    assert strange.stderr == (
        "'0x5' names no entry. Give its index, such as 14, or the event's id, 64 lower-case hex"
        " digits.\n"
    )


# receipt


def test_a_receipt_is_printed_or_written_and_verifies_offline(
    node: NodeProcess, tmp_path: Path
) -> None:
    out = tmp_path / "r.receipt"
    printed = ask(node, "receipt", leaf_hash(EVENTS[1]).hex())
    written = ask(node, "receipt", "4", "--out", str(out))
    verified = CliRunner().invoke(
        app,
        ["verify", str(out), "--chain-id", node.chain_id.hex(),
         "--genesis", str(node.folder / "genesis.json")],
    )  # fmt: skip

    assert printed.stdout.startswith("c2sp.org/tlog-proof@v1\n")
    assert written.stdout == (
        f"{out}: entry 4, measurement by T1-STATOR, on the word of one party (OEM-A)\n"
    )
    assert verified.exit_code == 0, verified.output
    assert ask(node, "receipt", "4", "--out", str(out)).exit_code == 2, "nothing is overwritten"


def test_what_is_no_event_or_for_others_has_no_receipt(node: NodeProcess) -> None:
    batch = ask(node, "receipt", "2")
    withheld = ask(node, "receipt", "3", party="REG", holder="inspector")

    assert (batch.exit_code, withheld.exit_code) == (1, 1)
    assert batch.stderr == "entry 2 is a batch; only events have receipts.\n"
    assert "ask its author for the receipt" in withheld.stderr


# log


def indexes(done: Result) -> list[int]:
    assert done.exit_code == 0, done.output
    return [int(line.split()[0]) for line in done.stdout.splitlines()]


def test_the_tail_is_filtered_as_asked(node: NodeProcess) -> None:
    assert indexes(ask(node, "log", "tail"))[:4] == [3, 4, 5, 8]
    assert indexes(ask(node, "log", "tail", "--from", "5"))[:2] == [5, 8]
    assert indexes(ask(node, "log", "tail", "--party", "OEM-A", "--from", "0")) == [8]
    assert indexes(ask(node, "log", "tail", "--type", "transformation", "--from", "0")) == [5]
    assert indexes(ask(node, "log", "tail", "--item", "LOT-2", "--from", "0")) == [4, 5, 8]


def test_a_line_of_the_tail_fits_and_says_who_and_what(node: NodeProcess) -> None:
    lines = ask(node, "log", "tail", "--from", "0").stdout.splitlines()

    assert all(len(line) <= 100 for line in lines)
    assert lines[1].split()[3:] == [
        "T1-STATOR", "measurement", "LOT-2", "weld_137.current", "2.5", "A", "CONFORMING",
    ]  # fmt: skip
    assert lines[3].split()[3] == "OEM-A"


def test_the_tail_for_programs_is_one_document_a_line(node: NodeProcess) -> None:
    done = ask(node, "log", "tail", "--from", "0", "--json", party="REG", holder="inspector")
    first, second, *_ = map(json.loads, done.stdout.splitlines())

    assert (first["index"], first["withheld"], first["event"]) == (3, True, None)
    assert (second["party"], second["event"]["measurement"]["value"]) == ("T1-STATOR", "2.5")


def test_an_event_type_that_does_not_exist_is_named_with_those_that_do(node: NodeProcess) -> None:
    done = ask(node, "log", "tail", "--type", "measure")

    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("'measure' is no event type. Use one of lot_created, ")


def test_a_party_that_is_no_member_is_named_with_those_that_are(node: NodeProcess) -> None:
    done = ask(node, "log", "tail", "--party", "OEM-B")

    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "'OEM-B' is no party here. Use one of OEM-A, REG, T1-STATOR.\n"


def test_a_tail_with_nothing_to_show_tells_a_person_so_and_a_program_nothing(
    node: NodeProcess,
) -> None:
    arguments = ("log", "tail", "--item", "NO-SUCH-LOT", "--from", "1")
    ours, theirs = pty.openpty()
    process = subprocess.run(  # noqa: S603  # our own program
        [*PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=theirs,
        timeout=20,
        check=True,
        env={**os.environ, "LOTMARK_CLIENT": str(node.client("OEM-A", "erp"))},
    )
    shown = os.read(ours, 4096).decode()
    os.close(ours)
    os.close(theirs)

    assert process.stdout == b""
    assert shown.strip() == (
        "No events to show from entry 1 on. --from 0 looks through the whole log."
    )
    assert ask(node, *arguments).output == ""


def test_following_shows_new_events_until_ctrl_c(node: NodeProcess) -> None:
    size = told(node, "log", "head")["size"]
    process = subprocess.Popen(  # noqa: S603  # our own program
        [*PROGRAM, "log", "tail", "--follow", "--from", str(size)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "LOTMARK_CLIENT": str(node.client("OEM-A", "erp"))},
    )
    with process:
        submit(node, "OEM-A", "erp", [measurement(50)])
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=20)

    assert line.split()[0] == str(size + 1)
    assert (process.returncode, rest, errors) == (0, "", "")


def test_the_head_says_which_ledger_it_is_and_who_stands_behind_it(node: NodeProcess) -> None:
    text = ask(node, "log", "head").stdout.splitlines()
    document = told(node, "log", "head")

    assert text[0] == f'"stator-line"  chain {node.chain_id.hex()}'
    assert text[3].strip() == "on the word of one party (OEM-A)"
    assert document["chain_id"] == node.chain_id.hex()
    assert (document["node"], document["final"]) == ("OEM-A/n1", True)


def test_a_check_remembers_the_checkpoint_and_counts_what_is_new(
    node: NodeProcess, tmp_path: Path
) -> None:
    kept = tmp_path / "checkpoint.txt"
    first = told(node, "log", "check", "--since", str(kept))
    submit(node, "OEM-A", "erp", [measurement(60)])
    LedgerSession(read_client_settings(node.client("OEM-A", "erp"))).checkpoint_over(first["size"])
    second = told(node, "log", "check", "--since", str(kept))
    third = ask(node, "log", "check", "--since", str(kept))

    assert first["first_size"] is None
    assert (second["first_size"], second["size"]) == (first["size"], first["size"] + 3)
    assert third.stdout.startswith(f"Nothing changed in the {second['size']} entries since 20")
    assert "; new since: 0; on the word of one party (OEM-A)" in third.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.txt"]


def signed_checkpoint(node: NodeProcess, size: int, root: bytes) -> bytes:
    """Return a checkpoint that the node's own keys signed, as a dishonest node's would."""
    keys = node.settings.parent / "keys"
    name = origin(node.genesis, node.chain_id)
    text = Checkpoint(name, size, root).text()
    cosigned = cosign(
        text,
        name=cosigner_name(node.genesis, "OEM-A", "n1"),
        private_key=read_key_file(keys / "cosign.key"),
        time_s=1_766_480_400,
    )
    signed = sign_note(text, name, read_key_file(keys / "log.key"))
    return format_note(Note(text, (signed, cosigned)))


def test_two_signed_trees_of_one_size_are_told_as_proof_and_kept(
    node: NodeProcess, tmp_path: Path
) -> None:
    kept = tmp_path / "checkpoint.txt"
    size = newest_size(node)
    kept.write_bytes(signed_checkpoint(node, size, bytes(32)))
    done = ask(node, "log", "check", "--since", str(kept))

    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        f"CHANGED: the log signed two different trees of {size} entries. Keep {kept} and"
        f" {kept}.conflict, they prove it, and ask the other parties for theirs.\n"
    )


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (5, "The log could not show that it continues the 5 entries that it had signed: "),
        (9_999, "where it had signed 9999 entries. It may show an older state"),
    ],
)
def test_a_log_that_does_not_continue_what_it_signed_is_told_without_a_claim_of_proof(
    node: NodeProcess, tmp_path: Path, size: int, message: str
) -> None:
    kept = tmp_path / "checkpoint.txt"
    note = signed_checkpoint(node, size, bytes(32))
    kept.write_bytes(note)
    done = ask(node, "log", "check", "--since", str(kept))

    assert (done.exit_code, done.stdout) == (1, "")
    assert message in done.stderr
    assert kept.read_bytes() == note
    conflict = tmp_path / "checkpoint.txt.conflict"
    assert f"keep {kept} and {conflict}" in done.stderr
    assert "prove" not in done.stderr
    assert "CHANGED" not in done.stderr
    assert conflict.read_bytes().startswith(b"lotmark.invalid/stator-line/")


def test_a_kept_checkpoint_that_nobody_signed_is_refused(node: NodeProcess, tmp_path: Path) -> None:
    kept = tmp_path / "checkpoint.txt"
    kept.write_bytes(signed_checkpoint(node, 5, bytes(32)).replace(b"\n5\n", b"\n6\n"))
    done = ask(node, "log", "check", "--since", str(kept))

    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{kept} is no checkpoint that this log signed: ")
    assert "does not hold" in done.stderr


def test_a_file_that_is_no_checkpoint_is_named_with_what_it_should_be(
    node: NodeProcess, tmp_path: Path
) -> None:
    kept = tmp_path / "notes.txt"
    kept.write_text("bring milk")
    done = ask(node, "log", "check", "--since", str(kept))

    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{kept} is no checkpoint that this log signed: ")
    assert "It should be the file that an earlier check kept, or not exist yet." in done.stderr
    assert kept.read_text() == "bring milk"


# snapshot


def test_a_regulator_exports_a_snapshot_and_it_verifies(node: NodeProcess, tmp_path: Path) -> None:
    file = tmp_path / "stator-line.snapshot"
    file.write_text("an older one")
    done = ask(node, "snapshot", "export", str(file), party="REG", holder="inspector")
    chain = node.chain_id.hex()

    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == (
        f"{file}: {file.stat().st_size:,} bytes\n"
        f"Check it: lotmark verify {file} --chain-id {chain}\n"
    )
    assert list(tmp_path.iterdir()) == [file]
    verified = CliRunner().invoke(app, ["verify", str(file), "--chain-id", chain])
    assert verified.exit_code == 0, verified.output


def test_a_refused_snapshot_leaves_the_older_file_and_nothing_else(
    node: NodeProcess, tmp_path: Path
) -> None:
    file = tmp_path / "stator-line.snapshot"
    file.write_text("an older one")
    refused = ask(node, "snapshot", "export", str(file), party="T1-STATOR", holder="mes")
    impossible = ask(node, "snapshot", "export", str(file), "--last", "1")

    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "T1-STATOR has role supplier; ExportSnapshot is for regulator" in refused.stderr
    assert (impossible.exit_code != 0, impossible.stdout) == (True, "")
    assert "leave the last height out" in impossible.stderr
    assert file.read_text() == "an older one"
    assert list(tmp_path.iterdir()) == [file]


def test_a_snapshot_that_cannot_be_written_is_named_as_it_was_asked_for(
    node: NodeProcess, tmp_path: Path
) -> None:
    missing = tmp_path / "none" / "a.snapshot"
    done = ask(node, "snapshot", "export", str(missing))
    occupied = ask(node, "snapshot", "export", str(tmp_path))

    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        f"{missing} cannot be written: No such file or directory. Make the folder"
        f" {missing.parent}, or name a file in one that exists.\n"
    )
    assert occupied.stderr.startswith(f"{tmp_path} cannot be written: Is a directory. Name a file")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_with_its_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        Path("/dev/full").open("wb", buffering=0) as full,
        pytest.raises(OSError, match="No space") as met,
    ):
        full.write(b"x")
    with pytest.raises(typer.Exit) as ended:
        snapshot._fail_to_write(tmp_path / "a.snapshot", met.value)

    assert ended.value.exit_code == 2
    assert capsys.readouterr().err == (
        f"{tmp_path}/a.snapshot cannot be written: No space left on device. Make room there, or"
        " name a file on another disk.\n"
    )


def test_the_help_of_a_snapshot_tells_each_default_once() -> None:
    shown = CliRunner().invoke(app, ["snapshot", "export", "--help"]).stdout

    assert shown.count("[default: ") == 2
