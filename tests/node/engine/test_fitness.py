"""What keeps a node from taking events, and from leading."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lotmark.outcome import Outcome
from lotmark_node.engine import fitness
from lotmark_node.engine.fitness import Fitness

MORE_THAN_ANY_DISK = 1 << 62
END_MS = 1_000_000


class Node:
    """A node whose fitness is judged, and what came of it."""

    def __init__(self, folder: Path) -> None:
        self.now_ms = END_MS
        self.term: int | None = None
        self.handed_over: list[int | None] = []
        self.closed: list[Outcome | None] = []
        self.fitness = Fitness(
            folder,
            free_size_min=0,
            now_ms=lambda: self.now_ms,
            certificate_not_after_ms=lambda: END_MS,
            leading_term=lambda: self.term,
            hand_over=lambda: self.handed_over.append(self.term),
            on_closed=self.closed.append,
        )

    def looks(self, term: int | None) -> None:
        self.term = term
        self.fitness.look()


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def fill_disk(node: Node) -> None:
    node.fitness.free_size_min = MORE_THAN_ANY_DISK


def end_certificate(node: Node) -> None:
    node.now_ms = END_MS + 1


@pytest.mark.parametrize("spoil", [fill_disk, end_certificate])
def test_a_leader_that_is_unfit_asks_in_its_term_until_another_one_leads(
    node: Node, spoil: Callable[[Node], None]
) -> None:
    node.looks(5)
    assert node.handed_over == [], "nothing is wrong with it"

    spoil(node)
    node.looks(None)
    assert node.handed_over == [], "it does not lead"
    node.looks(5)
    node.looks(5)
    assert node.handed_over == [5, 5], "the first may have come to nobody"


@pytest.mark.parametrize("spoil", [fill_disk, end_certificate])
def test_an_unfit_leader_to_whom_leadership_comes_back_keeps_it_for_a_while(
    node: Node, spoil: Callable[[Node], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(node)
    node.looks(5)
    node.looks(7)
    node.looks(7)
    assert node.handed_over == [5], "the others are no better"

    monkeypatch.setattr(fitness, "HAND_OVER_AGAIN_S", 0.0)
    node.looks(7)
    assert node.handed_over == [5, 7]


def test_events_are_refused_while_anything_stands_against_them_for_the_worst_of_it(
    node: Node,
) -> None:
    node.fitness.set_orphaned(True)
    node.fitness.set_journal_full(True)
    fill_disk(node)
    node.fitness.look()
    node.fitness.set_journal_full(False)
    node.fitness.free_size_min = 0
    node.fitness.look()
    node.fitness.set_orphaned(False)

    full, none = Outcome.STORAGE_FULL, Outcome.NO_LEADER
    assert node.closed == [none, full, full, full, none, None]


def test_a_node_whose_certificate_has_ended_takes_events(node: Node) -> None:
    end_certificate(node)
    node.looks(3)

    assert node.closed == [None]
