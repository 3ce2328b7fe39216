"""Loading is bounded: the slowest packages that we can think of take no more work than allowed.

Work is counted, and time is not looked at: a busy machine refuses what an idle one refuses. How
long each takes: `python -m tests.contracts.hostile_packages`.
"""

from collections.abc import Callable

import pytest

from lotmark_contracts.package.errors import PackageRefused, Problem
from lotmark_contracts.package.load_work import WORK_MAX, LoadWork
from lotmark_contracts.package.package import SIZE_MAX, load_package
from tests.contracts import hostile_packages
from tests.contracts.packages import SHIPPED, Files, shipped_files, template_files

# These have more work in 256 KiB than is allowed; others are refused for another reason, or load.
DEAR = (
    hostile_packages.tables_of_many_boxes,
    hostile_packages.tables_of_late_differences,
    hostile_packages.sums,
    hostile_packages.lists_of_numbers,
    hostile_packages.deep_comparisons,
    hostile_packages.short_comparisons,
    hostile_packages.deep_joins,
    hostile_packages.wide_selects,
    hostile_packages.nested_logic,
    hostile_packages.nested_macros,
)


def problems_of(files: Files, work: LoadWork) -> tuple[Problem, ...]:
    try:
        load_package(files, work)
    except PackageRefused as refused:
        return refused.problems
    return ()


@pytest.mark.parametrize("make", hostile_packages.MAKERS)
def test_no_package_takes_more_work_than_is_allowed(make: Callable[[], Files]) -> None:
    """As a class: each is as large as it may be, and slow in its own way."""
    files, work = make(), LoadWork()

    problems = problems_of(files, work)

    assert sum(map(len, files.values())) <= SIZE_MAX
    # What goes beyond is the one expression with which it ended.
    assert work.spent < 2 * WORK_MAX
    is_too_much = bool(problems) and "takes more work" in problems[-1].reason
    assert is_too_much is (make in DEAR or work.spent > WORK_MAX)


@pytest.mark.parametrize("make", DEAR)
def test_too_much_work_is_refused_at_its_place_with_a_remedy(make: Callable[[], Files]) -> None:
    problem = problems_of(make(), LoadWork())[-1]

    assert "leave out rows, steps or rules" in problem.reason
    assert problem.position is not None


def test_what_comes_behind_too_much_work_is_not_looked_at() -> None:
    files = {**template_files(), "rules/zzz.json": b"no JSON"}

    (problem,) = problems_of(files, LoadWork(10))

    assert (problem.path, "takes more work" in problem.reason) == ("rules/credit.json", True)


def test_the_same_package_takes_the_same_work() -> None:
    files, first, second = template_files(), LoadWork(), LoadWork()

    load_package(files, first)
    load_package(dict(reversed(files.items())), second)

    assert 0 < first.spent == second.spent


@pytest.mark.parametrize("name", SHIPPED)
def test_what_ships_takes_a_small_part_of_the_work_that_is_allowed(name: str) -> None:
    work = LoadWork()

    load_package(shipped_files(name), work)

    assert work.spent < WORK_MAX // 20
