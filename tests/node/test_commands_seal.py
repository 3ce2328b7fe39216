"""`lotmark seal`: a report is sealed once and its receipt kept; another one corrects it."""

import json
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lotmark.client import Client, LedgerSession, Outcome, read_client_settings, seal_report
from lotmark.client.ledger_records import FoundSeal
from lotmark.client.report_file import read_report_file
from lotmark.client.sealing import start_sealing
from lotmark.event import EVENT_TYPES
from lotmark.report import read_report
from lotmark.v1 import event_pb2
from lotmark_node.main import app
from tests.node.cutting_relay import CuttingRelay
from tests.node.running_node import NodeProcess, node_process
from tests.proto.sound_reports import TEST_REPORT, as_json, as_toml

LAB = "LAB-17025"
PARTIES = ("OEM-A:oem", f"{LAB}:laboratory")
CLIENTS = (f"{LAB}/lims", f"{LAB}/gauge:measurement")
_LOTS = count()
WAIT_S = 30.0


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    folder = tmp_path_factory.mktemp("seal") / "consortium"
    with node_process(folder, parties=PARTIES, clients=CLIENTS) as running:
        yield running


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """Write a report on an item of its own, with its PDF."""
    (tmp_path / "report.pdf").write_bytes(b"%PDF-1.7")
    return write(tmp_path / "report.toml", item_identification=f"lot-{next(_LOTS)}")


def write(file: Path, **fields: object) -> Path:
    """Write the sound report with other fields, and its PDF among its files."""
    document = {**TEST_REPORT, "laboratory": LAB, **fields}
    raw = as_json(document) if file.suffix == ".json" else as_toml(document)
    pdf = b'files = [{ path = "report.pdf", media_type = "application/pdf" }]\n'
    file.write_bytes(raw if file.suffix == ".json" else pdf + raw)
    return file


def change(file: Path, **fields: object) -> Path:
    """Give fields of a report other values."""
    known = tomllib.loads(file.read_text())
    known.pop("files")
    return write(file, **{**known, **fields})


def run(node: NodeProcess, *arguments: str | Path, holder: str = "lims") -> Result:
    client = str(node.client(LAB, holder))
    return CliRunner().invoke(app, [*map(str, arguments)], env={"LOTMARK_CLIENT": client})


def seal(node: NodeProcess, *arguments: str | Path, holder: str = "lims") -> Result:
    return run(node, "seal", *arguments, holder=holder)


def sealed(node: NodeProcess, *arguments: str | Path) -> dict[str, Any]:
    done = seal(node, *arguments, "--json")
    assert done.exit_code == 0, done.output
    (told,) = json.loads(done.stdout)["sealed"]
    return dict(told)


def events_on(node: NodeProcess, item: str, *types: str) -> list[event_pb2.Event]:
    """Return the events about an item that are on the ledger."""
    with LedgerSession(read_client_settings(node.client(LAB, "lims"))) as session:
        entries = session.entries(item=item, event_types=[EVENT_TYPES[name] for name in types])
        return [event_pb2.Event.FromString(entry.event) for entry in entries]


def item_of(file: Path) -> str:
    return str(tomllib.loads(file.read_text())["item_identification"])


def verify(node: NodeProcess, receipt: Path, *arguments: str | Path) -> Result:
    genesis = node.folder / "genesis.json"
    given = ("--chain-id", node.chain_id.hex(), "--genesis", genesis)
    return CliRunner().invoke(app, ["verify", str(receipt), *map(str, (*given, *arguments))])


def test_a_report_is_sealed_and_its_final_receipt_put_beside_it(
    node: NodeProcess, report: Path
) -> None:
    done = seal(node, report)

    digest = read_report(
        report.read_bytes(), name="r", folder=report.parent, nonce=lambda: bytes(16)
    ).digest.hex()
    (event,) = events_on(node, item_of(report), "report_seal")
    assert event.report_seal.report_digest.hex() == digest
    assert [file.name for file in event.files] == ["report.pdf"]
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Sealed. sha256 {digest[:8]}…{digest[-2:]}, entry ")
    assert ", final after " in done.stdout
    assert f"Receipt: {report.with_suffix('.receipt')}" in " ".join(done.stdout.split())
    checked = verify(node, report.with_suffix(".receipt"))
    assert checked.exit_code == 0
    assert f"VALID  {LAB} signed it" in checked.stdout


def test_the_same_report_again_is_not_sent_again_wherever_it_lies(
    node: NodeProcess, report: Path, tmp_path: Path
) -> None:
    first = sealed(node, report)
    receipt = report.with_suffix(".receipt")
    kept = receipt.read_bytes()

    again = seal(node, report)
    assert again.stdout.startswith("Sealed already. ")
    receipt.unlink()
    fetched = sealed(node, report)
    copy = tmp_path / "copy" / report.name
    copy.parent.mkdir()
    (copy.parent / "report.pdf").write_bytes(b"%PDF-1.7")
    copy.write_text(report.read_text())
    elsewhere = sealed(node, copy)

    assert first["new"]
    assert (fetched["new"], elsewhere["new"]) == (False, False)
    assert first["index"] == fetched["index"] == elsewhere["index"]
    assert receipt.read_bytes().startswith(kept[:40])
    assert len(events_on(node, item_of(report))) == 1


def test_a_report_in_json_is_the_same_as_in_toml(node: NodeProcess, tmp_path: Path) -> None:
    item = f"lot-{next(_LOTS)}"
    as_written = write(tmp_path / "report.json", item_identification=item)
    (tmp_path / "report.toml").write_bytes(as_toml(json.loads(as_written.read_text())))

    first = sealed(node, as_written)
    second = sealed(node, tmp_path / "report.toml")
    assert (first["new"], second["new"]) == (True, False)
    assert first["event_id"] == second["event_id"]


def test_a_second_report_of_the_pair_is_refused_until_it_is_called_a_correction(
    node: NodeProcess, report: Path
) -> None:
    first = sealed(node, report)
    change(report, method="another")

    refused = seal(node, report)
    assert refused.exit_code == 1
    assert f"is sealed in entry {first['index']}." in refused.stderr
    assert f"say so: --corrects {first['index']};" in refused.stderr
    assert len(events_on(node, item_of(report))) == 1

    second = sealed(node, report, "--corrects", str(first["index"]))
    assert second["new"]
    seals = events_on(node, item_of(report), "report_seal")
    (correction,) = events_on(node, item_of(report), "correction")
    assert len(seals) == 2
    assert correction.correction.event_id.hex() == first["event_id"]
    assert correction.correction.replacement_id.hex() == second["event_id"]
    assert correction.correction.reason == "incorrect_data"


def test_what_was_corrected_is_shown_as_corrected_and_its_receipt_is_moved_aside(
    node: NodeProcess, report: Path
) -> None:
    first = sealed(node, report)
    receipt = report.with_suffix(".receipt")
    kept = receipt.read_bytes()
    change(report, method="another")
    second = sealed(node, report, "--corrects", str(first["index"]))

    assert report.with_suffix(f".entry-{first['index']}.receipt").read_bytes() == kept
    assert verify(node, receipt, "--report", report).exit_code == 0
    with LedgerSession(read_client_settings(node.client(LAB, "lims"))) as session:
        old, new = session.seals(item=item_of(report), test=TEST_REPORT["test"], party=LAB)
    assert (old.entry.head.index, new.entry.head.index) == (first["index"], second["index"])
    assert (old.corrected_by, new.corrected_by) == (second["index"] + 1, None)
    again = sealed(node, report)
    assert (again["index"], again["new"]) == (second["index"], False)


def test_another_file_of_the_same_name_is_other_content(node: NodeProcess, report: Path) -> None:
    sealed(node, report)
    report.with_suffix(".pdf").write_bytes(b"%PDF-1.4")

    refused = seal(node, report)
    assert refused.exit_code == 1
    assert "another content of test resistivity" in refused.stderr


@pytest.mark.parametrize("field", ["test", "item_identification", "laboratory"])
def test_a_report_of_another_test_item_or_laboratory_is_no_correction(
    node: NodeProcess, report: Path, field: str
) -> None:
    sealed(node, report)
    change(report, **{field: f"another-{next(_LOTS)}"})

    report.with_suffix(".receipt").unlink()
    assert sealed(node, report)["new"]


def test_only_a_standing_seal_of_the_pair_can_be_corrected(node: NodeProcess, report: Path) -> None:
    nothing = seal(node, report, "--corrects", "3")
    assert nothing.exit_code == 1
    assert "entry 3 is no seal of test resistivity" in nothing.stderr
    assert "none stands" in nothing.stderr
    first = sealed(node, report)
    change(report, method="another")

    wrong = seal(node, report, "--corrects", "3")
    assert wrong.exit_code == 1
    assert f"what stands is entry {first['index']}" in wrong.stderr
    assert len(events_on(node, item_of(report))) == 1


def test_a_report_with_a_salted_file_is_sealed_once(node: NodeProcess, report: Path) -> None:
    text = report.read_text().replace('pdf" }', 'pdf", salted = true }')
    report.write_text(text)

    first = sealed(node, report)
    report.with_suffix(".receipt").unlink()
    again = sealed(node, report)
    (event,) = events_on(node, item_of(report))
    assert len(event.files[0].salt) == 16
    assert (first["index"], again["new"]) == (again["index"], False)
    assert verify(node, report.with_suffix(".receipt"), "--report", report).exit_code == 0


def test_a_report_that_lacks_fields_is_not_sealed_and_all_of_them_are_named(
    node: NodeProcess, report: Path
) -> None:
    lines = report.read_text().splitlines(keepends=True)
    names = ("customer_address", "date_of_receipt", "authoriser")
    report.write_text("".join(line for line in lines if not line.startswith(names)))

    done = seal(node, report)
    assert done.exit_code == 2
    assert "3 fields are missing of what ISO/IEC 17025 7.8" in done.stderr
    assert all(name in done.stderr for name in names)
    assert events_on(node, item_of(report)) == []


def test_no_report_is_sealed_before_all_that_are_named_are_complete(
    node: NodeProcess, report: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.toml").write_text('kind = "test"\n')

    done = seal(node, report, tmp_path / "bad.toml")
    assert done.exit_code == 2
    assert events_on(node, item_of(report)) == []


def test_several_reports_are_sealed_by_one_command(
    node: NodeProcess, report: Path, tmp_path: Path
) -> None:
    other = write(tmp_path / "other.toml", item_identification=f"lot-{next(_LOTS)}")

    done = seal(node, report, other)
    assert done.exit_code == 0
    assert [line.split(".")[0] for line in done.stdout.splitlines()] == ["Sealed", "Sealed"]
    assert all(file.with_suffix(".receipt").exists() for file in (report, other))


def test_a_key_that_may_not_seal_is_told_so(node: NodeProcess, report: Path) -> None:
    done = seal(node, report, holder="gauge")

    assert done.exit_code == 1
    assert "is not sealed: KEY_NOT_PERMITTED: the key may not sign events of this" in done.stderr
    assert not report.with_suffix(".receipt").exists()


def test_what_is_no_receipt_is_not_overwritten(node: NodeProcess, report: Path) -> None:
    receipt = report.with_suffix(".receipt")
    receipt.write_text("a till receipt")

    done = seal(node, report)
    assert done.exit_code == 2
    assert "is no receipt of this ledger" in done.stderr
    assert receipt.read_text() == "a till receipt"
    assert events_on(node, item_of(report)) == []


def test_one_client_seals_the_same_report_once_however_soon_it_is_asked_again(
    node: NodeProcess, report: Path
) -> None:
    with Client(read_client_settings(node.client(LAB, "lims"))) as client:
        found = []
        for _ in range(5):
            found.append(seal_report(client, report))
            report.with_suffix(".receipt").unlink()

    assert [each.is_new for each in found] == [True, False, False, False, False]
    assert len({each.index for each in found}) == 1
    assert len(events_on(node, item_of(report))) == 1


# Beginning a report for a PDF


def test_a_report_is_begun_for_a_pdf_and_nothing_is_sealed(
    node: NodeProcess, tmp_path: Path
) -> None:
    pdf, item = tmp_path / "report-4711.pdf", f"lot-{next(_LOTS)}"
    pdf.write_bytes(b"%PDF-1.7")

    done = seal(node, pdf, "--item", item, "--test", "resistivity")
    begun = tomllib.loads(pdf.with_suffix(".toml").read_text())
    assert done.exit_code == 2
    assert done.stdout.startswith("Nothing is sealed yet: 22 fields of ISO/IEC 17025 7.8 and of")
    assert f"{pdf.with_suffix('.toml')} (written for you)" in " ".join(done.stdout.split())
    assert (begun["item_identification"], begun["test"]) == (item, "resistivity")
    assert begun["files"] == [{"path": "report-4711.pdf", "media_type": "application/pdf"}]
    assert events_on(node, item) == []
    again = seal(node, pdf, "--item", item, "--test", "resistivity")
    assert again.exit_code == 2
    assert "exists already. Complete it, then: lotmark seal" in again.stderr


def test_what_lasts_is_taken_from_an_earlier_report_and_the_rest_completed_by_hand(
    node: NodeProcess, report: Path, tmp_path: Path
) -> None:
    pdf, item = tmp_path / "next.pdf", f"lot-{next(_LOTS)}"
    pdf.write_bytes(b"%PDF-1.7")

    begin = ("--item", item, "--test", "resistivity", "--like", report, "--json")
    missing = json.loads(seal(node, pdf, *begin).stdout)["missing"]
    assert "method" not in missing
    assert {"report_number", "results", "date_of_issue"} < set(missing)
    begun = pdf.with_suffix(".toml")
    completed = begun.read_text()
    for name in missing:
        if name != "results":
            completed = completed.replace(f'\n{name} = ""', f'\n{name} = "{TEST_REPORT[name]}"')
    for name in ("characteristic", "value", "unit"):
        completed = completed.replace(f'\n{name} = ""', f'\n{name} = "1"')
    for name in ("statement_of_conformity", "measurement_uncertainty"):
        completed = completed.replace(f'\n# {name} = ""', f'\n{name} = "{TEST_REPORT[name]}"')
    begun.write_text(completed)
    assert sealed(node, begun)["new"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("x.pdf",), "x.pdf is no report in TOML or JSON. To begin one for it, name it alone"),
        (("x.pdf", "--item", "a", "--test", "b"), "x.pdf is no file"),
        (("x.toml", "--item", "a"), "--item, --test and --like begin a report for a PDF"),
        (("x.toml", "y.toml", "--corrects", "3"), "--corrects is of one report"),
        (("x.toml",), "x.toml: No such file or directory"),
    ],
)
def test_wrong_use_is_told_with_the_right_one(
    node: NodeProcess, tmp_path: Path, arguments: tuple[str, ...], reason: str
) -> None:
    given = [str(tmp_path / each) if "." in each else each for each in arguments]

    done = seal(node, *given)
    assert done.exit_code == 2
    assert reason in done.stderr.replace(f"{tmp_path}/", "")


def test_an_item_that_is_none_is_refused_before_a_report_is_begun(
    node: NodeProcess, tmp_path: Path
) -> None:
    pdf = tmp_path / "x.pdf"
    pdf.write_bytes(b"%PDF")

    done = seal(node, pdf, "--item", "no item", "--test", "t")
    assert done.exit_code == 2
    assert "item_identification: the value 'no item' is not an identifier" in done.stderr
    assert not pdf.with_suffix(".toml").exists()


# Comparing


def test_a_changed_report_or_file_is_found_with_the_receipt_alone(
    node: NodeProcess, report: Path
) -> None:
    sealed(node, report)
    receipt = report.with_suffix(".receipt")

    same = verify(node, receipt, "--report", report)
    assert same.exit_code == 0
    assert same.stdout.splitlines()[1:] == [f"MATCH  the fields of {report}", "MATCH  report.pdf"]
    report.with_suffix(".pdf").write_bytes(b"%PDF-1.4")
    other_file = verify(node, receipt, "--report", report)
    assert other_file.exit_code == 1
    assert "MISMATCH  report.pdf" in other_file.stdout
    report.with_suffix(".pdf").unlink()
    assert "UNAVAILABLE  report.pdf" in verify(node, receipt, "--report", report).stdout
    change(report, method="another")
    changed = verify(node, receipt, "--report", report, "--json")
    assert changed.exit_code == 1
    assert json.loads(changed.stdout)["report"]["fields"] == "mismatch"


def test_a_report_is_compared_with_the_receipt_of_a_seal_only(
    node: NodeProcess, report: Path
) -> None:
    done = verify(node, report, "--report", report)

    assert done.exit_code == 2
    assert "A report is compared with the receipt of its seal" in done.stderr


# Without a node


def test_without_a_node_a_seal_waits_once_and_the_next_run_fetches_its_receipt(
    tmp_path: Path, report: Path
) -> None:
    with node_process(tmp_path / "c", parties=PARTIES, clients=CLIENTS) as node:
        node.stop()
        first = seal(node, report)
        again = seal(node, report)
        text = report.read_text()
        change(report, method="another")
        other = seal(node, report)
        report.write_text(text)

        assert (first.exit_code, again.exit_code) == (3, 3)
        assert first.stdout.startswith("Queued. sha256 ")
        assert "cannot be reached" in first.stdout
        assert again.stdout.startswith("Queued already. ")
        assert other.exit_code == 1
        assert "waits in the outbox" in other.stderr
        with Client(read_client_settings(node.client(LAB, "lims"))) as client:
            assert len(client.waiting()) == 1
            client.close(timeout_s=0.0)

        node.start()
        told = sealed(node, report)
        assert (told["new"], told["standing"]) == (False, "final")
        assert len(events_on(node, item_of(report))) == 1
        assert verify(node, report.with_suffix(".receipt"), "--report", report).exit_code == 0


def test_a_seal_that_reaches_the_ledger_while_that_is_asked_is_not_sent_again(
    tmp_path: Path, report: Path
) -> None:
    with node_process(tmp_path / "c", parties=PARTIES, clients=CLIENTS) as node:
        node.stop()
        assert seal(node, report).exit_code == 3
        known = read_client_settings(node.client(LAB, "lims"))

        class LateSession(LedgerSession):
            """Answers once nothing waits in the outbox any more."""

            def seals(self, **wanted: Any) -> Iterator[FoundSeal]:
                node.start()
                host, _, port = node.address.rpartition(":")
                relay.target = host, int(port)
                assert client.flush(WAIT_S) == 0
                return super().seals(**wanted)

        with CuttingRelay(("127.0.0.1", 9)) as relay:  # where nobody listens yet
            settings = replace(known, node_address=relay.address)
            with Client(settings) as client, LateSession(settings) as session:
                sealing = start_sealing(client, session, read_report_file(report))
                assert sealing.delivery is not None
                result = sealing.delivery.result(WAIT_S)

        assert not sealing.is_new
        assert result.outcome is Outcome.ACCEPTED
        assert len(events_on(node, item_of(report))) == 1


def test_without_a_node_a_kept_receipt_tells_what_is_sealed(tmp_path: Path, report: Path) -> None:
    with node_process(tmp_path / "c", parties=PARTIES, clients=CLIENTS) as node:
        told = sealed(node, report)
        node.stop()

        assert sealed(node, report)["index"] == told["index"]
        change(report, method="another")
        refused = seal(node, report)
        assert refused.exit_code == 1
        assert f"is sealed in entry {told['index']}" in refused.stderr
        unasked = seal(node, report, "--corrects", str(told["index"]))
        assert unasked.exit_code == 1
        assert "can be corrected only while a node answers" in unasked.stderr
        node.start()
        assert sealed(node, report, "--corrects", str(told["index"]))["new"]
