"""Another history: one who shows it is put on record, a quorum of others stops the node."""

import logging
import random
from collections.abc import Iterable
from pathlib import Path

import pytest

from lotmark.checkpoint import Checkpoint, parse_checkpoint
from lotmark.errors import ProtocolError
from lotmark.evidence import Conviction, check_evidence
from lotmark.genesis import Genesis
from lotmark.signed_note import Note, format_note, parse_note
from lotmark_node.engine.errors import EngineError, HistoryConflict, Regression
from lotmark_node.engine.evidence_folder import EVIDENCE_FILES_MAX
from tests.node.engine.checkpoint_network import (
    AT_ONCE,
    FOUR,
    LAB,
    OEM,
    QUICK,
    THREE,
    TIER1,
    TIER2,
    LogInMemory,
    Node,
    chain_of,
    checkpoint_at,
    cosigners_of,
    ledger,
    network,
    note_at,
    one_node,
    policy_of,
    signed,
    until,
)
from tests.node.ledger_in_memory import consortium

FORK = 5  # the height after which branches differ
TWO = consortium(voters=(OEM, TIER1), witnesses=())


def own(genesis: Genesis, height: int, cosigners: Iterable[str] = (OEM,)) -> bytes:
    return note_at(ledger(genesis), height, tuple(cosigners))


def other(genesis: Genesis, height: int, cosigners: Iterable[str] = (OEM,)) -> bytes:
    return note_at(ledger(genesis, "b", FORK), height, tuple(cosigners))


def convicted(file: Path, genesis: Genesis = THREE) -> tuple[Conviction, ...]:
    return check_evidence(file.read_bytes(), genesis, chain_of(genesis))


def test_one_other_party_with_another_tree_is_put_on_record_and_the_node_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shown = other(THREE, 7)
    with one_node(tmp_path, THREE) as node:
        answer = node.shown(shown)
        assert answer is not None
        assert parse_note(answer).text == parse_note(own(THREE, 7)).text, "what it stands by"

        (file,) = node.evidence()
        assert file.suffix == ".note"
        assert file.name.startswith(f"{ledger(THREE).sizes[7]}-")
        assert file.read_bytes() == shown
        errors = [each for each in caplog.records if each.levelno == logging.ERROR]
        assert [each.message for each in errors] == ["another history of this ledger is signed"]
        assert vars(errors[0])["evidence"] == str(file)
        assert vars(errors[0])["shown_by"] == OEM

        assert not node.failures
        assert node.shown(own(THREE, 8)) is not None


def test_the_same_thing_again_is_neither_kept_nor_told_twice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with one_node(tmp_path, THREE) as node:
        for _ in range(5):
            node.shown(other(THREE, 7))
        node.restart()
        node.shown(other(THREE, 7))
        assert len(node.evidence()) == 1
        assert node.disputed_sizes == [ledger(THREE).sizes[7]] * 2, "once, and after the restart"
        assert sum(each.levelno == logging.ERROR for each in caplog.records) == 1


def test_who_signed_two_trees_of_one_size_is_convicted_by_the_file(tmp_path: Path) -> None:
    with one_node(tmp_path, THREE) as node:
        cosigned = node.shown(own(THREE, 7))
        assert cosigned is not None
        assert node.shown(other(THREE, 7)) == cosigned, "the answer is what this node stands by"

        (file,) = node.evidence()
        found = {(each.party, each.node, each.what.split()[0]) for each in convicted(file)}
        assert found == {("OEM-A", "n1", "signed"), ("OEM-A", "n1", "cosigned")}


def test_who_signed_a_larger_tree_that_does_not_go_on_from_it_is_convicted_too(
    tmp_path: Path,
) -> None:
    with one_node(tmp_path, THREE) as node:
        assert node.shown(own(THREE, 9)) is not None
        assert node.shown(other(THREE, 7)) is None

        (file,) = node.evidence()
        assert {each.party for each in convicted(file)} == {"OEM-A"}


def test_nobody_is_convicted_by_what_another_leader_signed(tmp_path: Path) -> None:
    with one_node(tmp_path, THREE) as node:
        assert node.shown(own(THREE, 9)) is not None
        assert node.shown(note_at(ledger(THREE, "b", FORK), 7, (LAB,), leader=LAB)) is None

        assert [file.suffix for file in node.evidence()] == [".note"]


def test_a_tree_that_differs_at_a_size_where_no_block_ends_is_a_conflict_too(
    tmp_path: Path,
) -> None:
    branch = ledger(THREE, "b", FORK)
    size = branch.sizes[9] - 1
    shown = Checkpoint(checkpoint_at(branch, 9).origin, size, branch.root(size))
    with one_node(tmp_path, THREE) as node:
        assert node.shown(signed(THREE, shown)) is None
        assert len(node.evidence()) == 1


@pytest.mark.parametrize(
    ("genesis", "cosigners", "stops"),
    [
        (TWO, (OEM,), False),  # of two nobody knows which one is wrong
        (TWO, (OEM, TIER1), True),  # by its own key, which somebody else has: then it is final
        (THREE, (OEM,), False),
        (THREE, (LAB, OEM), True),  # the quorum is all three, and these are all others
        (THREE, (OEM, TIER1), False),  # the node's own party does not count against it
        (FOUR, (LAB, OEM), False),
        (FOUR, (LAB, OEM, TIER2), True),
    ],
)
def test_a_quorum_of_others_stops_the_node_and_less_does_not(
    tmp_path: Path, genesis: Genesis, cosigners: tuple[str, ...], stops: bool
) -> None:
    with one_node(tmp_path, genesis) as node:
        assert node.shown(own(genesis, 6)) is not None
        shown = other(genesis, 7, cosigners)
        answer = node.shown(shown)
        assert (answer is None) == stops
        assert answer is None or parse_note(answer).text != parse_note(shown).text
        assert [type(each) for each in node.failures] == [HistoryConflict] * stops
        (file,) = node.evidence()
        if not stops:
            assert node.shown(own(genesis, 8)) is not None
            return
        message = str(node.failures[0])
        assert str(file) in message
        assert "new id" in message
        assert node.signer.failure == message
        assert node.shown(own(genesis, 8)) is None
        with pytest.raises(EngineError, match="cosigned root"):
            node.signer.covering(0)
        signed_size = node.signer.signed_size
        node.signer.lead()
        node.grow(12)
    assert node.signer.signed_size == signed_size, "a stopped node signs nothing"


def test_others_who_show_the_same_other_tree_one_after_the_other_add_up(tmp_path: Path) -> None:
    with one_node(tmp_path, THREE) as node:
        node.shown(other(THREE, 7, (OEM,)))
        node.shown(other(THREE, 9, (LAB,)))
        assert not node.failures, "of two trees each has one"
        node.shown(other(THREE, 7, (LAB,)), by=LAB)
        assert [type(each) for each in node.failures] == [HistoryConflict]


def test_evidence_has_a_bound_and_the_one_that_stops_the_node_is_kept_beyond_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    true = checkpoint_at(ledger(THREE), 7)
    with one_node(tmp_path, THREE) as node:
        for number in range(EVIDENCE_FILES_MAX + 6):
            false = Checkpoint(true.origin, true.size, number.to_bytes(32))
            node.shown(signed(THREE, false))
        assert len(node.evidence()) == EVIDENCE_FILES_MAX
        full = [each for each in caplog.records if "folder is full" in each.message]
        assert len(full) == 1
        assert not node.failures

        node.shown(other(THREE, 7, (OEM, LAB)))
        assert len(node.evidence()) == EVIDENCE_FILES_MAX + 1
        assert [type(each) for each in node.failures] == [HistoryConflict]


def test_a_disk_that_takes_no_evidence_changes_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with one_node(tmp_path, THREE) as node:
        (node.folder / "evidence").write_bytes(b"a file where a folder should be")
        node.shown(other(THREE, 7))
        assert "evidence cannot be kept" in caplog.text
        assert not node.failures
        node.shown(other(THREE, 7, (OEM, LAB)))
        assert [type(each) for each in node.failures] == [HistoryConflict]
        (node.folder / "evidence").unlink()


@pytest.mark.parametrize("genesis", [THREE, FOUR], ids=["three", "four"])
def test_a_follower_with_another_history_is_stopped_by_the_others_who_go_on(
    tmp_path: Path, genesis: Genesis
) -> None:
    with network(tmp_path, genesis, timing=QUICK) as nodes:
        strayed = nodes[TIER1]
        strayed.log.whole = ledger(genesis, "b", FORK)
        for node in nodes.values():
            node.grow(FORK)
        nodes[OEM].signer.lead()
        until(lambda: all(each.final_size for each in nodes.values() if each.is_voter))

        for node in nodes.values():
            node.grow(8)
        until(lambda: bool(strayed.failures))

        assert [type(each) for each in strayed.failures] == [HistoryConflict]
        assert [file.suffix for file in strayed.evidence()][-1] == ".note"
        others = [node for node in nodes.values() if node is not strayed]
        assert not any(node.failures for node in others)
        if genesis is FOUR:
            size = ledger(genesis).sizes[8]
            until(lambda: all(each.final_size == size for each in others if each.is_voter))
        assert strayed.final_size == ledger(genesis).sizes[FORK]


def test_a_leader_whose_peers_stand_by_another_tree_is_stopped_by_a_quorum_of_them(
    tmp_path: Path,
) -> None:
    """As when a leader's store was damaged, and the others have gone on with another leader."""
    branch = ledger(FOUR, "b", FORK)
    agreed = note_at(branch, 8, (TIER1, TIER2, LAB), leader=TIER1)
    with network(tmp_path, FOUR, timing=QUICK) as nodes:
        for node in nodes.values():
            if node.name != OEM:
                node.log.whole = branch
            node.grow(8)
        for name in (TIER1, TIER2):
            nodes[name].shown(agreed, by=LAB)
        nodes[OEM].signer.lead()
        until(lambda: bool(nodes[OEM].failures))

        assert [type(each) for each in nodes[OEM].failures] == [HistoryConflict]
        assert nodes[OEM].final_size == 0
        assert not nodes[TIER1].failures
        (file,) = (each for each in nodes[TIER1].evidence() if each.suffix == ".note")
        assert cosigners_of(file.read_bytes()) == {OEM}


def test_a_leader_that_has_strayed_is_stopped_by_a_majority_of_the_voters(tmp_path: Path) -> None:
    """As when a leader's state was spoilt: its followers, which sign only when asked, say so."""
    with network(tmp_path, FOUR, timing=QUICK) as nodes:
        nodes[OEM].log.whole = ledger(FOUR, "b", FORK)
        nodes[LAB].log.whole = ledger(FOUR, "b", FORK)  # a witness follows whatever goes on
        (to_witness,) = (peer for peer in nodes[OEM].peers if peer.name == LAB)
        for node in nodes.values():
            node.grow(8)
        nodes[OEM].signer.lead()
        until(lambda: bool(nodes[OEM].failures))

        assert [type(each) for each in nodes[OEM].failures] == [HistoryConflict]
        assert nodes[OEM].final_size == 0
        assert not nodes[TIER1].failures
        assert not nodes[TIER2].failures
        assert not to_witness.asked, "what a witness has cosigned it cannot take back"


def test_one_voter_that_has_strayed_stops_no_leader(tmp_path: Path) -> None:
    with network(tmp_path, FOUR, timing=QUICK) as nodes:
        nodes[TIER2].log.whole = ledger(FOUR, "b", FORK)
        for node in nodes.values():
            node.grow(8)
        nodes[OEM].signer.lead()
        until(lambda: nodes[OEM].final_size == ledger(FOUR).sizes[8])
        until(lambda: bool(nodes[OEM].evidence()))

        assert not nodes[OEM].failures


class _Equivocator:
    """A leader that signs both branches, shows anybody anything, and keeps all it gets back."""

    def __init__(self, genesis: Genesis, seed: int, folder: Path) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - a seed makes it the same each time
        self.genesis = genesis
        self.branches = (ledger(genesis), ledger(genesis, "b", FORK))
        names = [each.name for each in policy_of(genesis).witnesses if each.name != OEM]
        self.honest = [self._honest(name, folder) for name in names]
        self.collected: dict[str, Note] = {}

    def _honest(self, name: str, folder: Path) -> Node:
        log = LogInMemory(self.chance.choice(self.branches))
        path = folder / name.replace("/", "-")
        return Node(name, path, self.genesis, timing=AT_ONCE, log=log)

    def step(self) -> None:
        node = self.chance.choice(self.honest)
        match self.chance.randrange(12):
            case 0:
                self._restart(node)
            case 1 | 2:
                node.grow(max(node.height, self.chance.randint(1, 12)))
            case _:
                self._show(node)

    def _restart(self, node: Node) -> None:
        """Restart a node with an older ledger at times, or with that of the other branch."""
        if not self.chance.randrange(3):
            node.log.whole = self.chance.choice(self.branches)
        try:
            node.restart(height=self.chance.randint(0, node.height))
        except (Regression, HistoryConflict):
            node.stop()
            self.honest.remove(node)

    def _show(self, node: Node) -> None:
        height = self.chance.randint(1, 12)
        text = checkpoint_at(self.chance.choice(self.branches), height).text()
        fresh = parse_note(signed(self.genesis, parse_checkpoint(text)))
        note = self.collected.setdefault(text, fresh)
        partly = note if self.chance.randrange(2) else fresh
        answer = node.shown(format_note(partly), by=f"X/{self.chance.randrange(9)}")
        if answer is None:
            return
        answered = parse_note(answer)
        there = self.collected.setdefault(answered.text, answered)
        names = {each.name for each in there.signatures}
        more = tuple(each for each in answered.signatures if each.name not in names)
        self.collected[answered.text] = Note(answered.text, there.signatures + more)

    def final_branches(self) -> set[int]:
        """Return which branches have a final checkpoint that the other one does not have."""
        found = set()
        for text, note in self.collected.items():
            try:
                policy_of(self.genesis).check(note)
            except ProtocolError:
                continue
            on = [
                number
                for number, branch in enumerate(self.branches)
                if any(checkpoint_at(branch, height).text() == text for height in range(13))
            ]
            found |= set(on) if len(on) == 1 else set()
        return found


def final_branches(genesis: Genesis, seed: int, folder: Path) -> set[int]:
    """Return which branches an equivocating leader gets something final on."""
    folder.mkdir(exist_ok=True)
    leader = _Equivocator(genesis, seed, folder)
    for node in leader.honest:
        node.start()
    try:
        for _ in range(120):
            if leader.honest:
                leader.step()
    finally:
        for node in leader.honest:
            node.stop()
    return leader.final_branches()


@pytest.mark.parametrize("genesis", [THREE, FOUR], ids=["three", "four"])
@pytest.mark.parametrize("seed", range(15))
def test_a_leader_that_equivocates_never_gets_two_final_roots(
    tmp_path: Path, genesis: Genesis, seed: int
) -> None:
    assert len(final_branches(genesis, seed, tmp_path)) < 2


def test_some_equivocators_do_get_one_branch_final(tmp_path: Path) -> None:
    """Else the property above would hold for want of anything final."""
    found = [final_branches(FOUR, seed, tmp_path / str(seed)) for seed in range(15)]
    assert {0} in found
    assert {1} in found
