"""`lotmark bench`: what it says before it measures anything."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from lotmark_node.bench import ledger_bench
from lotmark_node.main import app


def test_the_usage_is_written_as_it_is_typed() -> None:
    shown = CliRunner().invoke(app, ["bench", "--help"], prog_name="lotmark").stdout

    assert shown.startswith("Usage: lotmark bench ledger [--quick]\n")


def test_an_unknown_bench_is_named_with_those_that_there_are() -> None:
    done = CliRunner().invoke(app, ["bench", "disk"])

    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "'disk' is no bench. Use one of ledger.\n"


def test_a_node_that_does_not_start_is_told_in_one_line_with_its_last_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended, ledger_bench._Node(tmp_path):
        pass

    told = capsys.readouterr().err
    assert ended.value.exit_code == 2
    assert told.startswith("The node of the bench did not start: node.toml")
    assert told.count("\n") == 1


def test_the_journals_size_is_told_beside_the_ledgers(tmp_path: Path) -> None:
    for folder, size in (("ledger", 300), ("journal", 500)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").write_bytes(bytes(size))
    stopped = {"stage_ns": {}, "processor_ns": 1_000, "fsyncs": 1, "height": 1}

    costs = ledger_bench._costs(stopped, 10, tmp_path)

    assert (costs["bytes_per_event"], costs["journal_bytes_per_event"]) == (30, 50)
