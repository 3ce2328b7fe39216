"""`lotmark contract`: an engineer writes a package, lints it and runs its tests, offline."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lotmark_node.main import app
from lotmark_node.package_folder import read_package_folder, shipped_names


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def contract(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["contract", *arguments])


def begun(name: str = "scrap-credit", *arguments: str) -> Path:
    done = contract("new", name, *arguments)
    assert done.exit_code == 0, done.output
    return Path(name)


def document(done: Result) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(done.stdout)
    return loaded


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_new_package_lints_and_its_test_passes() -> None:
    folder = begun()

    lint, test = contract("lint", str(folder)), contract("test", str(folder))

    assert (lint.exit_code, test.exit_code) == (0, 0)
    assert lint.stdout.startswith("scrap-credit version 1, sha256 ")
    assert "costs at most 145 of 20,000 gas" in lint.stdout
    assert "rows 2 and 3 overlap, for example: cause 'burr', pieces 10" in lint.stdout
    assert "'else' decides, for example: cause 'handling', pieces 1" in lint.stdout
    assert test.stdout.startswith("✓ tests/credit.json: ")


@pytest.mark.parametrize("name", shipped_names())
def test_a_package_begun_from_a_shipped_one_works_under_its_own_name(name: str) -> None:
    folder = begun("our-own", "--from", name)

    assert contract("test", str(folder)).exit_code == 0
    assert document(contract("lint", str(folder), "--json"))["package"] == "our-own"


def test_the_help_names_every_shipped_package() -> None:
    said = "".join(contract("new", "--help").stdout.split())  # lines end at hyphens, too

    assert all(name in said for name in shipped_names())
    assert len(shipped_names()) == 7


def test_a_mistake_is_shown_with_file_line_column_and_caret() -> None:
    folder = begun()
    edit(folder / "rules/credit.json", "event.pieces *", "event.pices *")

    done = contract("lint", str(folder))

    assert done.exit_code == 1
    first, line, caret = done.stdout.splitlines()
    reason = "no field 'pices'; did you mean 'pieces'?"
    assert first == f"scrap-credit/rules/credit.json:8:21: {reason}"
    assert line[caret.index("^") :].startswith("pices *")
    assert document(contract("lint", str(folder), "--json"))["problems"] == [
        {"path": "rules/credit.json", "line": 8, "column": 21, "reason": reason}
    ]


def test_tests_of_a_package_that_is_refused_are_not_run() -> None:
    folder = begun()
    edit(folder / "rules/credit.json", "event.pieces *", "event.pices *")

    done = contract("test", str(folder), "--json")

    assert done.exit_code == 1
    assert document(done)["good"] is False
    assert "tests" not in document(done)


def test_a_test_that_does_not_come_true_is_told_at_its_place() -> None:
    folder = begun()
    edit(folder / "tests/credit.json", '"due": 1667', '"due": 1668')

    done = contract("test", str(folder))

    assert done.exit_code == 1
    assert "✗ tests/credit.json" in done.stdout
    assert "credit.due: expected 1668, and it is 1667" in done.stdout
    (test,) = document(contract("test", str(folder), "--json"))["tests"]
    assert test["problems"][0]["line"] == 9


def test_a_package_without_tests_gives_no_answer() -> None:
    folder = begun()
    (folder / "tests/credit.json").unlink()

    done = contract("test", str(folder))

    assert done.exit_code == 2
    assert "has no tests" in done.stderr


def test_wrong_use_says_what_to_do() -> None:
    begun()

    for arguments, words in (
        (("new", "scrap-credit"), "exists already"),
        (("new", "Scrap Credit"), "a-z, 0-9 and -"),
        (("new", "other", "--from", "lot-evnt"), "did you mean 'lot-event'?"),
        (("lint", "nowhere"), "lotmark contract new NAME"),
        (("test", "nowhere"), "lotmark contract new NAME"),
    ):
        done = contract(*arguments)
        assert done.exit_code == 2
        assert words in done.stderr
    assert not Path("other").exists()


def test_hidden_files_are_no_part_of_a_package() -> None:
    folder = begun()
    before = read_package_folder(folder)
    (folder / ".git").mkdir()
    (folder / ".git/HEAD").write_text("ref: refs/heads/main\n")
    (folder / "rules/.credit.json.swp").write_bytes(b"\0")

    assert read_package_folder(folder) == before


def test_a_link_or_a_folder_that_is_no_package_is_refused() -> None:
    folder = begun()
    (folder / "rules/linked.json").symlink_to(folder / "rules/credit.json")
    assert "link is not followed" in contract("lint", str(folder)).stdout
    (folder / "rules/linked.json").unlink()
    os.mkfifo(folder / "rules/pipe.json")
    assert "no plain file" in contract("lint", str(folder)).stdout
    (folder / "rules/pipe.json").unlink()

    for number in range(300):
        (folder / f"tests/t{number}.json").write_bytes(b"{}")
    done = contract("lint", str(folder))

    assert done.exit_code == 1
    assert "more than 256 files" in done.stdout
