"""The generated history of a stator line: the same for a seed, and a ledger like any other."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from lotmark.event import check_event
from lotmark_node.bench.generate_bench import make_history
from lotmark_node.bench.history_ledger import (
    NODE,
    HistoryLedger,
    client_settings_file,
    found_history,
    node_settings_file,
)
from lotmark_node.bench.line_history import (
    CUSTOMER,
    UNITS_PER_CONTAINER,
    container,
    line_history,
    stator,
)
from lotmark_node.bench.running import running
from lotmark_node.main import app
from lotmark_node.provenance.reader import IndexReader
from lotmark_node.provenance.rows import Postings
from lotmark_node.provenance.trace import TraceQuestion, trace
from lotmark_node.trial.server_process import ServerProcess

SEED = 7


def told(ledger: HistoryLedger) -> list[tuple[bytes, int]]:
    """Return the ledger's events in order, each with its outcome."""
    return [
        (event, outcome)
        for height in range(1, ledger.state.height + 1)
        for placed in ledger.reader.placed_batches(height)
        for event, outcome in zip(placed.batch.events, placed.result.event_outcomes, strict=True)
    ]


def append(ledger: HistoryLedger, units: int) -> int:
    return sum(ledger.append(line_history(units, SEED)))


def test_a_history_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    first, again, other = (list(line_history(30, seed)) for seed in (SEED, SEED, SEED + 1))

    assert first == again
    assert first != other


def test_every_event_keeps_the_rules_and_is_told_in_the_order_of_time() -> None:
    history = list(line_history(200, SEED))

    assert [each.at_ms for each in history] == sorted(each.at_ms for each in history)
    kinds = Counter(check_event(each.event).body_name for each in history)
    assert kinds["measurement"] == 8 * 200
    assert kinds["observation_window"] == 200
    assert 11.9 < len(history) / 200 < 13
    assert {"calibration", "report_seal", "shipment", "aggregation"} <= set(kinds)


def test_units_are_made_beside_one_another_each_within_minutes() -> None:
    history = [(each.at_ms, check_event(each.event)) for each in line_history(40, SEED)]
    times = {
        unit: [
            at_ms
            for at_ms, event in history
            if stator(unit) in event.item_names and event.body_name != "aggregation"
        ]
        for unit in (10, 11)
    }

    for at_ms in times.values():
        assert max(at_ms) - min(at_ms) < 15 * 60_000
    assert min(times[11]) < max(times[10])


def test_a_ledger_that_was_generated_is_taken_by_its_node_and_verifies(tmp_path: Path) -> None:
    folder, snapshot = tmp_path / "history", tmp_path / "line.snapshot"
    history, _ = make_history(folder, units=60, seed=SEED)
    settings_file = node_settings_file(folder)
    arguments = ["-m", "lotmark_node.main", "node", "run", str(settings_file), "--json"]
    node = ServerProcess(NODE, arguments, settings_file.with_name("node.log"))
    client = str(client_settings_file(folder, CUSTOMER))

    with running([node]):
        done = CliRunner().invoke(app, ["snapshot", "export", str(snapshot), "--as", client])
        assert done.exit_code == 0, done.output

    with HistoryLedger(folder) as ledger:
        chain_id = ledger.chain_id.hex()
        assert [outcome for _, outcome in told(ledger)] == [0] * history.events
    done = CliRunner().invoke(app, ["verify", str(snapshot), "--chain-id", chain_id])
    assert done.exit_code == 0, done.output


def test_a_history_that_was_broken_off_is_gone_on_with(tmp_path: Path) -> None:
    found_history(tmp_path / "broken")
    with HistoryLedger(tmp_path / "broken") as ledger:
        blocks: Iterator[int] = ledger.append(line_history(500, SEED))
        assert len(list(islice(blocks, 2))) == 2
    with HistoryLedger(tmp_path / "broken") as ledger:
        assert ledger.state.height == 2
        count = append(ledger, 500)
        broken = told(ledger)
    found_history(tmp_path / "whole")
    with HistoryLedger(tmp_path / "whole") as ledger:
        assert append(ledger, 500) == count
        whole = told(ledger)
        assert append(ledger, 500) == count  # nothing is missing, so nothing is added
        assert len(told(ledger)) == count

    assert broken == whole


def test_a_folder_takes_no_other_history_than_the_one_it_was_made_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_history(tmp_path, units=2, seed=SEED)

    for units, seed in ((3, SEED), (2, SEED + 1)):
        with pytest.raises(typer.Exit):
            make_history(tmp_path, units=units, seed=seed)
        assert f"holds a history of 2 units with seed {SEED}" in capsys.readouterr().err


def test_a_container_leads_back_to_its_stators_and_their_lots_and_heat(tmp_path: Path) -> None:
    make_history(tmp_path, units=UNITS_PER_CONTAINER + 20, seed=SEED)
    with HistoryLedger(tmp_path) as ledger:
        index = IndexReader(ledger.store.provenance)
        question = TraceQuestion(item=container(0), backward=True, size=ledger.state.size)
        names = {
            name for step in trace(index, question, lambda _entry: True) for name in step.nodes
        }
        entries = list(index.entries(Postings.ITEM, stator(0)))
        events: Sequence[bytes] = [each.event for each in ledger.reader.events(entries)]

    stators = {name for name in names if "/21/ST" in name}
    assert len(stators) == UNITS_PER_CONTAINER
    assert len([name for name in names if "/10/H-" in name]) == 1
    assert 780 <= len(names) <= 810
    assert all(stator(0) in check_event(event).item_names for event in events)
    assert 12 <= len(events) <= 16
