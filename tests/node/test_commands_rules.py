"""`lotmark contract` on a ledger: a shipped package from its proposal to what it has decided."""

import csv
import hashlib
import io
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lotmark.canonical_json import dump
from lotmark.client import ContractReader, LedgerSession, ProvenanceReader, read_client_settings
from lotmark.errors import ProofError
from lotmark.package_change import archive_parts, encode_archive
from lotmark_contracts.package.package import load_package
from lotmark_node.claim_reexecution import ClaimReexecution, Reexecution, Verdict
from lotmark_node.main import app
from lotmark_node.package_folder import read_package_folder, shipped_files
from lotmark_node.terminal import WIDTH_MAX
from tests.node.running_node import NodeProcess, node_process

OEM, SUPPLIER = "OEM-A", "T1-STATOR"
PARTIES = (f"{OEM}:oem", f"{SUPPLIER}:supplier")
CLIENTS = (f"{OEM}/erp", f"{SUPPLIER}/mes")
HOLDERS = {OEM: "erp", SUPPLIER: "mes"}
NAME = "technical-factor"
BIG = "tiers-and-disputes"


AGREED = """
type = "contract_event"
device = "mes"
time = "2026-01-12T08:00:00Z"
uncertainty_us = 1000
capture = "MANUAL"

[contract_event]
name = "technical_factor_agreed"

[contract_event.fields]
supplier = "T1-STATOR"
oem = "OEM-A"
family = "stator"
factor_bp = 3333
currency = "EUR"
"""
CLAIM = """
type = "contract_event"
device = "erp"
time = "2026-01-12T08:00:00Z"
uncertainty_us = 1000
capture = "MANUAL"

[contract_event]
name = "technical_factor_claim"

[contract_event.fields]
claim = "C-1"
supplier = "T1-STATOR"
family = "stator"
serial = "VIN-1"
part = "ST2601120001234"
labour_code = "27-100"
repaired_at = 0
currency = "EUR"
material = 1234
minutes = [7]
hourly_rate = 9999
other = 0
billed_tf_bp = 10000
"""


class Consortium:
    """Two parties and the node of one of them, asked by command lines."""

    def __init__(self, node: NodeProcess) -> None:
        self.node = node

    def ask(self, party: str, *arguments: str, **environment: str) -> Result:
        client = str(self.node.client(party, HOLDERS[party]))
        return CliRunner().invoke(app, arguments, env={"LOTMARK_CLIENT": client, **environment})

    def told(self, party: str, *arguments: str) -> Any:
        done = self.ask(party, *arguments, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    def root(self, party: str) -> tuple[str, str]:
        return "--root", str(self.node.folder / party / "roots" / "root-1.key")

    def contract(self, party: str, *arguments: str) -> Any:
        return self.told(party, "contract", *arguments)

    def size(self) -> int:
        size: int = self.told(OEM, "log", "head")["size"]
        return size

    def folder(self, name: str, at: Path) -> Path:
        """Write a shipped package into a folder; each rule of one on claims names the claim."""
        for path, data in claiming(shipped_files(name)).items():
            (at / path).parent.mkdir(parents=True, exist_ok=True)
            (at / path).write_bytes(data)
        return at

    def bring_into_force(self, folder: Path) -> str:
        """Have a package proposed and approved; return its proposal's hash."""
        proposed = self.contract(OEM, "propose", str(folder), *self.root(OEM))
        hashed: str = proposed["proposal"]
        done = self.contract(SUPPLIER, "approve", hashed[:16], *self.root(SUPPLIER))
        assert done["status"] == "activated"
        return hashed


@pytest.fixture(scope="module")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    folder = tmp_path_factory.mktemp("rules") / "consortium"
    with node_process(folder, parties=PARTIES, clients=CLIENTS) as running:
        yield Consortium(running)


@pytest.fixture(scope="module")
def active(consortium: Consortium, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Have the package in force; return its proposal's hash."""
    folder = consortium.folder(NAME, tmp_path_factory.mktemp("active") / NAME)
    return consortium.bring_into_force(folder)


@pytest.fixture(scope="module")
def paid(
    consortium: Consortium, active: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, int]:
    """Have two claims charged; return the entries of their events by claim."""
    return charge(consortium, tmp_path_factory.mktemp("paid"), count=2)


def charge(consortium: Consortium, folder: Path, *, count: int) -> dict[str, int]:
    """Submit an agreement and claims under it; return the entries of the claims' events."""
    (folder / "agreed.toml").write_text(AGREED)
    consortium.told(SUPPLIER, "submit", str(folder / "agreed.toml"))
    entries = {}
    for number in range(1, count + 1):
        repaired_ms = time.time_ns() // 1_000_000 - number * 3 * 86_400_000
        document = folder / f"claim-{number}.toml"
        document.write_text(
            CLAIM.replace("C-1", f"C-{number}")
            .replace("VIN-1", f"VIN-{number}")
            .replace("repaired_at = 0", f"repaired_at = {repaired_ms}")
        )
        (sent,) = consortium.told(OEM, "submit", str(document))["events"]
        entries[f"C-{number}"] = sent["index"]
    return entries


def claiming(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return a package's files; where its rule `charge` names no claim yet, it does."""
    rule = json.loads(files.get("rules/charge.json", b"{}"))
    if not rule or "claim" in rule:
        return files
    charge = {**rule, "claim": "author + '/' + event.claim"}
    return {**files, "rules/charge.json": json.dumps(charge).encode()}


def report_of(folder: Path, path: Path, **changed: Any) -> Path:
    package = load_package(read_package_folder(folder))
    told = {"package": package.name, "version": "1", "hash": package.hash.hex()}
    path.write_bytes(dump({**told, "first_height": "1", "last_height": "9", **changed}))
    return path


def test_a_shipped_package_is_proposed_approved_and_in_force(
    consortium: Consortium, tmp_path: Path
) -> None:
    folder = consortium.folder(BIG, tmp_path / BIG)
    package = load_package(shipped_files(BIG))
    report = report_of(folder, tmp_path / "report.json")
    parts = archive_parts(encode_archive(shipped_files(BIG)))
    assert len(parts) > 1, "it takes several events"

    proposed = consortium.contract(
        OEM, "propose", str(folder), *consortium.root(OEM), "--report", str(report)
    )
    shown = consortium.ask(SUPPLIER, "contract", "status", BIG)
    (waiting,) = consortium.contract(SUPPLIER, "status", BIG)["proposals"]
    approved = consortium.ask(
        SUPPLIER, "contract", "approve", proposed["proposal"], *consortium.root(SUPPLIER),
        "--report", str(report),
    )  # fmt: skip

    assert proposed["missing_parts"] == []
    assert (proposed["approvals"], proposed["missing_parties"]) == ([OEM], [SUPPLIER])
    assert proposed["hash"] == package.hash.hex()
    digest = hashlib.sha256(report.read_bytes()).hexdigest()
    assert (waiting["report"], waiting["report_last_height"]) == (digest, "9")
    assert shown.exit_code == 0
    for said in (proposed["proposal"], f"approval by all of {SUPPLIER}", digest, "version 1"):
        assert said in shown.stdout.replace("\n", " "), said
    assert max(map(len, shown.stdout.splitlines())) <= WIDTH_MAX
    assert approved.exit_code == 0, approved.output
    for said in (BIG, package.hash.hex(), digest, "the proposal is activated"):
        assert said in approved.stdout.replace("\n", ""), said
    (in_force,) = consortium.contract(OEM, "status", BIG)["packages"]
    assert (in_force["in_force"], in_force["suspended"]) == (1, False)
    assert sorted(in_force["versions"][0]["bound"]) == [OEM, SUPPLIER]
    table = consortium.ask(OEM, "contract", "status", BIG)
    assert "in force" in table.stdout
    assert max(map(len, table.stdout.splitlines())) <= WIDTH_MAX


def test_a_proposal_that_was_interrupted_goes_on_with_the_parts_that_are_missing(
    consortium: Consortium, tmp_path: Path
) -> None:
    folder = consortium.folder("lot-event", tmp_path / "lot-event")
    first = consortium.contract(OEM, "propose", str(folder), *consortium.root(OEM))
    size = consortium.size()

    again = consortium.contract(OEM, "propose", str(folder), *consortium.root(OEM))

    assert again["proposal"] == first["proposal"]
    assert consortium.size() == size, "nothing was missing, so nothing was sent"


def test_what_is_refused_here_is_not_sent(consortium: Consortium, tmp_path: Path) -> None:
    size = consortium.size()

    def refused(folder: Path) -> Result:
        done = consortium.ask(OEM, "contract", "propose", str(folder), *consortium.root(OEM))
        assert done.exit_code == 1, done.output
        return done

    endless = consortium.folder("sensor-cover", tmp_path / "endless")
    rule = next((endless / "rules").iterdir())
    rule.write_text(rule.read_text().replace('"title"', '"then": [[[[', 1))
    failing = consortium.folder("sensor-cover", tmp_path / "failing")
    tested = next((failing / "tests").iterdir())
    tested.write_text(tested.read_text().replace('"receipts": {"', '"receipts": {"x', 1))
    later = consortium.folder("sensor-cover", tmp_path / "later")
    manifest = later / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"version": 1', '"version": 2'))

    assert f"endless/rules/{rule.name}:" in refused(endless).stdout
    assert f"failing/tests/{tested.name}:" in refused(failing).stdout
    assert "the first version on a ledger is 1" in refused(later).stdout
    assert consortium.size() == size


def test_approval_twice_of_other_bytes_or_by_strangers_is_refused(
    consortium: Consortium, active: str, tmp_path: Path
) -> None:
    signed = consortium.root(OEM)
    folder = consortium.folder(NAME, tmp_path / NAME)
    other = report_of(folder, tmp_path / "other.json")
    cases = {
        ("approve", active, *signed): "APPROVED_ALREADY",
        ("approve", "0" * 64, *signed): "0 proposals begin with",
        ("approve", active[:7], *signed): "Give 8 digits at least",
        ("approve", active, *consortium.root(SUPPLIER)): "ROOTS_INSUFFICIENT",
        ("approve", active, *signed, "--report", str(other)): "another report than",
        ("suspend", "no-such-package", *signed): "PACKAGE_CHANGE_INVALID",
        ("resume", NAME, *signed): "PACKAGE_CHANGE_INVALID",
        ("propose", str(folder), *signed): "does not follow",
    }
    for arguments, said in cases.items():
        done = consortium.ask(OEM, "contract", *arguments)
        assert done.exit_code == 1, (arguments, done.output)
        assert said in done.output, (arguments, done.output)


@pytest.mark.parametrize(
    "changed",
    [
        {"hash": "00" * 32}, {"package": "other"}, {"first_height": "x"},
        {"first_height": "9", "last_height": "1"}, {"version": []},
    ],
)  # fmt: skip
def test_a_report_of_something_else_is_not_named(
    consortium: Consortium, tmp_path: Path, changed: dict[str, Any]
) -> None:
    folder = consortium.folder("sensor-cover", tmp_path / "sensor-cover")
    report = report_of(folder, tmp_path / "report.json", **changed)

    done = consortium.ask(
        OEM, "contract", "propose", str(folder), *consortium.root(OEM), "--report", str(report)
    )

    assert done.exit_code in {1, 2}
    assert "lotmark contract backtest" in done.output
    assert "Traceback" not in done.output


def test_a_package_is_suspended_by_a_majority_and_resumed(
    consortium: Consortium, tmp_path: Path
) -> None:
    consortium.bring_into_force(consortium.folder("model-quality", tmp_path / "model-quality"))
    for verb, is_suspended in (("suspend", True), ("resume", False)):
        asked = consortium.contract(OEM, verb, "model-quality", *consortium.root(OEM))
        done = consortium.contract(
            SUPPLIER, "approve", asked["proposal"], *consortium.root(SUPPLIER)
        )
        (package,) = consortium.contract(OEM, "status", "model-quality")["packages"]

        assert (asked["kind"], done["status"]) == (verb, "activated")
        assert package["suspended"] is is_suspended


def test_nothing_is_known_of_a_package_that_there_is_not(consortium: Consortium) -> None:
    done = consortium.ask(OEM, "contract", "status", "no-such-package")

    assert (done.exit_code, done.stdout) == (1, "")
    assert "no package 'no-such-package'" in done.stderr


def test_balances_and_a_statement_say_who_is_entitled_to_what(
    consortium: Consortium, paid: dict[str, int]
) -> None:
    held = consortium.contract(SUPPLIER, "balances", NAME)["balances"]
    told = consortium.contract(SUPPLIER, "statement", SUPPLIER)
    of_account = consortium.contract(OEM, "statement", f"oem:{OEM}", "--package", NAME)
    text = consortium.ask(SUPPLIER, "contract", "statement", SUPPLIER)
    table = consortium.ask(SUPPLIER, "contract", "balances")

    assert {(each["account"], each["currency"], each["minor"]) for each in held} == {
        (f"supplier:{SUPPLIER}", "EUR", "-1600"), (f"oem:{OEM}", "EUR", "1600"),
    }  # fmt: skip
    assert [each["event_entry"] for each in told["postings"]] == [
        str(paid["C-1"]), str(paid["C-2"]),
    ]  # fmt: skip
    assert (told["totals"], of_account["totals"]) == ({"EUR": "-1600"}, {"EUR": "1600"})
    for said in ("-8.00 EUR", "in all -16.00 EUR", f"supplier:{SUPPLIER} → oem:{OEM}", "claim C-1"):
        assert said in " ".join(text.stdout.split()), said
    for shown in (text, table):
        assert max(map(len, shown.stdout.splitlines())) <= WIDTH_MAX
    assert "16.00 EUR" in table.stdout


def test_a_statement_keeps_to_its_range(consortium: Consortium, paid: dict[str, int]) -> None:
    first, second = consortium.contract(OEM, "statement", OEM)["postings"]
    ranges = {
        ("--from", second["height"]): [second],
        ("--to", first["height"]): [first],
        ("--from", "2020-01-01", "--to", "2021-01-01"): [],
        ("--from", "2020-01-01"): [first, second],
        ("--package", "other"): [],
    }
    for arguments, kept in ranges.items():
        told = consortium.contract(OEM, "statement", OEM, *arguments)["postings"]
        assert told == kept, arguments
    wrong = consortium.ask(OEM, "contract", "statement", OEM, "--from", "yesterday")
    assert (wrong.exit_code, "Traceback" in wrong.output) == (2, False)


def test_a_settlement_file_names_each_posting_once_and_for_all(
    consortium: Consortium, paid: dict[str, int]
) -> None:
    told = consortium.contract(OEM, "settlement")
    again = consortium.contract(SUPPLIER, "settlement", "--from", "2020-01-01")
    printed = consortium.ask(OEM, "contract", "settlement", "--csv")
    text = consortium.ask(OEM, "contract", "settlement")
    both = consortium.ask(OEM, "contract", "settlement", "--csv", "--json")

    assert told["nature"] == "entitlement, not a payment"
    first = told["postings"][0]
    place = int(first["entry"]).to_bytes(8) + first["posting"].to_bytes(2)
    chain_id = consortium.node.chain_id
    named = hashlib.sha256(b"lotmark/settlement/v1\n" + chain_id + place).hexdigest()
    ids = [each["instruction_id"] for each in told["postings"]]
    assert (ids[0], len(set(ids))) == (named, 2)
    assert [each["instruction_id"] for each in again["postings"]] == ids
    (net,) = told["net"]
    assert (net["from"], net["to"], net["minor"], net["amount"]) == (
        f"supplier:{SUPPLIER}", f"oem:{OEM}", "1600", "16.00 EUR",
    )  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(printed.stdout)))
    assert [each["line"] for each in rows] == ["posting", "posting", "net"]
    assert {each["nature"] for each in rows} == {"entitlement, not a payment"}
    assert [each["instruction_id"] for each in rows[:2]] == ids
    assert "entitlement, not a payment" in text.stdout
    assert (both.exit_code, "CSV or JSON" in both.stderr) == (2, True)


def test_a_claim_is_explained_step_by_step(consortium: Consortium, paid: dict[str, int]) -> None:
    told = consortium.contract(SUPPLIER, "explain", f"{OEM}/C-1")
    text = consortium.ask(SUPPLIER, "contract", "explain", f"{OEM}/C-1", "--package", NAME)

    (decided,) = told["receipts"]
    assert (told["package"], told["version"]) == (NAME, 1)
    assert decided["event_entry"] == told["opened_by"] == str(paid["C-1"])
    steps = {each["step"]: each["value"] for each in decided["receipt"]["because"]}
    assert (steps["labour"], steps["cost100"], steps["plausible"]) == ("1167", "2401", "800")
    assert decided["event"] == f"technical_factor_claim by {OEM}"
    assert decided["inclusion_path"]
    assert decided["executed_again"] == "same", decided["why"]
    shown = " ".join(text.stdout.replace("│", " ").split())
    for said in (
        f"claim {OEM}/C-1 {NAME} version 1", "rule charge, version 1: done",
        "step plausible = 800", f"posted 8.00 EUR supplier:{SUPPLIER} → oem:{OEM} claim C-1",
        f"entry {paid['C-1']}: technical_factor_claim by {OEM}", "proven",
        "executed again the same",
    ):  # fmt: skip
        assert said in shown, said
    assert max(map(len, text.stdout.splitlines())) <= WIDTH_MAX


def test_a_claim_that_there_is_not_is_said(consortium: Consortium, paid: dict[str, int]) -> None:
    for arguments in (("C-9",), ("C-9", "--package", NAME), (f"{OEM}/C-1", "--package", "other")):
        done = consortium.ask(OEM, "contract", "explain", *arguments)
        assert (done.exit_code, done.stdout) == (1, ""), done.output


def test_rule_receipts_are_read_and_proven_by_a_client(
    consortium: Consortium, paid: dict[str, int]
) -> None:
    settings = read_client_settings(consortium.node.client(SUPPLIER, HOLDERS[SUPPLIER]))
    with LedgerSession(settings) as session:
        reader = ContractReader(session)
        found = list(reader.receipts(package=NAME))
        followed = next(reader.receipts(found[-1].index, follow=True))
        checkpoint = session.checkpoint_over(found[-1].index)
        paths = [reader.prove(each, checkpoint) for each in found]
        told_otherwise = replace(found[0], raw=b"{}")
        with pytest.raises(ProofError, match="what it does not say"):
            reader.prove(told_otherwise, checkpoint)
        with pytest.raises(ProofError, match="no rule receipt"):
            reader.prove(replace(found[0], index=paid["C-1"]), checkpoint)
        claims = {each.claim: each for each in reader.claims(NAME, f"{OEM}/")}

    rules = [each.document["rule"] for each in found]
    assert (rules, followed, all(paths)) == (["agree", "charge", "charge"], found[-1], True)
    assert claims[f"{OEM}/C-2"].opened_by == paid["C-2"]


def test_a_root_that_was_replaced_approves_nothing_more(tmp_path: Path) -> None:
    with node_process(tmp_path / "consortium", parties=PARTIES, clients=CLIENTS) as running:
        consortium = Consortium(running)
        folder = consortium.folder(NAME, tmp_path / NAME)
        old, new = consortium.root(SUPPLIER), str(tmp_path / "new.key")
        proposed = consortium.contract(OEM, "propose", str(folder), *consortium.root(OEM))
        consortium.told(SUPPLIER, "party", "rotate-roots", *old, "--new", new, "--threshold", "1")

        by_old = consortium.ask(SUPPLIER, "contract", "approve", proposed["proposal"], *old)
        by_new = consortium.contract(SUPPLIER, "approve", proposed["proposal"], "--root", new)

    assert (by_old.exit_code, "ROOTS_INSUFFICIENT" in by_old.output) == (1, True)
    assert by_new["status"] == "activated"


def test_a_rule_receipt_that_is_not_what_the_rule_makes_is_found_out(
    consortium: Consortium, paid: dict[str, int]
) -> None:
    settings = read_client_settings(consortium.node.client(SUPPLIER, HOLDERS[SUPPLIER]))
    with LedgerSession(settings) as session:
        reader = ContractReader(session)
        (receipt,) = reader.claim(NAME, f"{OEM}/C-1").receipts
        proven = ProvenanceReader(session).prove([paid["C-1"]])
        events = {each.findings.index: each for each in proven}
        packages = {1: reader.version(NAME)}
        register = session.governed().keys

    def verdict(
        events: dict[int, Any] = events, packages: dict[int, Any] = packages, **told: Any
    ) -> Reexecution:
        changed = replace(receipt, document={**receipt.document, **told})
        return ClaimReexecution([changed], events, packages, register).check(changed)

    (posting,) = receipt.document["postings"]
    without_files = {1: replace(packages[1], files=None)}
    assert verdict() == Reexecution(Verdict.SAME)
    others = {
        "gas": verdict(gas="1"),
        "postings": verdict(postings=[{**posting, "minor": "801"}]),
        "because": verdict(because=[]),
        "claim": verdict(claim=f"{OEM}/C-2"),
    }
    for name, found in others.items():
        assert found.verdict is Verdict.OTHER, name
        assert name in found.why
    unknown = [
        verdict(events={}),
        verdict(packages={}),
        verdict(packages=without_files),
        verdict(package_hash="00" * 32),
        verdict(rule="no_such_rule"),
        verdict(status="duplicate", first="1"),
        verdict(
            status="failed", failure={"code": "not_bound", "at": "then[0].from", "offset": "0"}
        ),
    ]
    for found in unknown:
        assert found.verdict is Verdict.CANNOT_TELL, found
        assert found.why


def test_a_claim_of_one_name_in_two_packages_is_not_guessed(tmp_path: Path) -> None:
    with node_process(tmp_path / "consortium", parties=PARTIES, clients=CLIENTS) as running:
        consortium = Consortium(running)
        for name in (NAME, "second-factor"):
            folder = consortium.folder(NAME, tmp_path / name)
            manifest = folder / "manifest.json"
            manifest.write_text(manifest.read_text().replace(f'"{NAME}"', f'"{name}"'))
            consortium.bring_into_force(folder)
        charge(consortium, tmp_path, count=1)

        guessed = consortium.ask(OEM, "contract", "explain", f"{OEM}/C-1")
        named = consortium.contract(OEM, "explain", f"{OEM}/C-1", "--package", "second-factor")

    assert (guessed.exit_code, guessed.stdout) == (2, "")
    assert f"second-factor, {NAME}. Add --package NAME." in guessed.stderr
    assert (named["package"], len(named["receipts"])) == ("second-factor", 1)


def test_a_package_is_tried_on_what_the_ledger_holds(
    consortium: Consortium, paid: dict[str, int], tmp_path: Path
) -> None:
    folder = consortium.folder(NAME, tmp_path / NAME)
    report = tmp_path / "report.json"
    found = consortium.contract(OEM, "backtest", str(folder), "--report", str(report))

    assert (found["old_version"], found["changed_count"]) == ("1", "0")
    assert found["after"]["receipts"]["charge"]["done"] == str(len(paid))
    assert hashlib.sha256(report.read_bytes()).hexdigest() == found["sha256"]

    snapshot = tmp_path / "ledger.snapshot"
    consortium.told(OEM, "snapshot", "export", str(snapshot))
    again = consortium.contract(OEM, "backtest", str(folder), "--snapshot", str(snapshot))
    assert again["after"] == found["after"]
