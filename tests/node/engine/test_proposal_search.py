"""Two blocks that a leader signed for one place are found at the other voters, and convict it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from lotmark.block import encode_block, parse_block
from lotmark.evidence import NoConviction, check_evidence
from lotmark.key_grant import KeyPurpose
from lotmark_node.engine import proposal_search
from lotmark_node.engine.errors import HistoryConflict
from lotmark_node.engine.evidence_folder import EVIDENCE_FILES_MAX, EvidenceFolder
from lotmark_node.engine.proposal_search import ProposalSearch
from tests.node.engine.checkpoint_network import FOUR, OEM, TIER1, TIER2, chain_of, ledger
from tests.node.engine.others_ledgers import Blocks, LedgersOfOthers, blocks_of, ordered
from tests.node.engine.running_engine import run, until
from tests.node.engine.stored_ledger import StoredLedger
from tests.node.governance_events import successor
from tests.node.ledger_in_memory import LedgerInMemory, measurement
from tests.proto.sample_genesis import private_key

FORK = 5  # the height after which branches differ
OWN, OTHER = ledger(FOUR), ledger(FOUR, "b", FORK)
PAUSE_S = 0.002


def others_with(**given: Blocks) -> LedgersOfOthers:
    names = {"oem": OEM, "tier2": TIER2}
    return LedgersOfOthers({names[name]: blocks for name, blocks in given.items()})


class Searching:
    """A node's search, and what came of it."""

    def __init__(
        self,
        folder: Path,
        others: LedgersOfOthers,
        *,
        height: int,
        shared: int,
        own: LedgerInMemory,
    ) -> None:
        self.folder, self.others = folder, others
        self.stored = StoredLedger(folder / "ledger", own)
        self.stored.grow(height)
        self.ordered_index = height
        self.conflicts: list[HistoryConflict] = []
        self.search = ProposalSearch(
            others,
            self.stored.store,
            EvidenceFolder(folder),
            FOUR,
            name=TIER1,
            ordered_index=lambda: self.ordered_index,
            height=lambda: self.stored.state.height,
            shared_height=lambda: shared,
            on_conflict=self.conflicts.append,
        )

    def evidence(self) -> list[Path]:
        return sorted((self.folder / "evidence").glob("*"))

    def convicted(self) -> set[str]:
        return {
            f"{one.party}/{one.node}"
            for file in self.evidence()
            for one in check_evidence(file.read_bytes(), FOUR, chain_of(FOUR))
        }


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposal_search, "PAUSE_S", PAUSE_S)


@contextmanager
def searching(
    folder: Path,
    others: LedgersOfOthers,
    *,
    height: int = 9,
    shared: int = FORK - 2,
    own: LedgerInMemory = OWN,
) -> Iterator[Searching]:
    made = Searching(folder, others, height=height, shared=shared, own=own)
    try:
        yield made
    finally:
        made.stored.close()


def search(made: Searching, *steps: tuple[int, Callable[[], bool]]) -> None:
    """Search up to each height, one after the other, until something has come about."""

    async def within() -> None:
        for height, ended in steps:
            made.search.begin(height)
            await until(ended)
        await made.search.stop()

    run(within())


def test_a_leader_that_signed_two_blocks_for_one_place_is_convicted_by_the_file(
    tmp_path: Path,
) -> None:
    others = others_with(oem=blocks_of(OTHER, 9), tier2=blocks_of(OWN, 9))
    with searching(tmp_path, others) as made:
        search(made, (8, lambda: bool(made.evidence()) and len(others.asked) == 2))

        (file,) = made.evidence()
        assert made.convicted() == {OEM}
        assert file.name.startswith(f"term-1-block-{FORK + 1}-"), "the first that differs"
        assert others.asked == [(OEM, FORK - 1), (TIER2, FORK - 1)], "nothing that all share"
        assert not made.conflicts, "one of two others: nobody knows which one is wrong"


def test_a_majority_with_other_blocks_stops_the_node(tmp_path: Path) -> None:
    others = others_with(oem=blocks_of(OTHER, 9), tier2=blocks_of(OTHER, 7))
    with searching(tmp_path, others) as made:
        search(made, (8, lambda: bool(made.conflicts)), (9, lambda: len(others.asked) == 2))
        assert len(made.evidence()) == 1, "two gave the same pair"
        assert made.convicted() == {OEM}
        (conflict,) = made.conflicts
        assert f"{OEM} and {TIER2}" in str(conflict)
        assert "new id" in str(conflict)


def test_a_majority_with_a_block_that_this_node_passed_over_stops_the_node(tmp_path: Path) -> None:
    others = others_with(oem=blocks_of(OWN, 9), tier2=blocks_of(OWN, 9))
    with searching(tmp_path, others, height=7) as made:

        def asked_in_vain() -> bool:
            if ended := len(others.asked) == 2 * proposal_search.ROUNDS_MAX:
                assert not made.conflicts, "the order has not brought it here yet"
                made.ordered_index = 8
            return ended

        search(made, (8, asked_in_vain), (8, lambda: bool(made.conflicts)))
        assert not made.evidence()


def test_a_block_that_all_passed_over_stops_nobody(tmp_path: Path) -> None:
    others = others_with(oem=blocks_of(OWN, 7), tier2=blocks_of(OWN, 7))
    with searching(tmp_path, others, height=7) as made:
        made.ordered_index = 8
        search(made, (8, lambda: len(others.asked) == 2 * proposal_search.ROUNDS_MAX))
        assert not made.conflicts
        assert not made.evidence()


def test_who_does_not_answer_is_passed_over_and_asked_again_a_few_times(tmp_path: Path) -> None:
    others = others_with(tier2=blocks_of(OTHER, 9))
    with searching(tmp_path, others) as made:
        search(made, (8, lambda: len(others.asked) == 2 * proposal_search.ROUNDS_MAX))
        assert made.convicted() == {OEM}
        assert not made.conflicts


def test_who_has_not_got_there_yet_is_asked_again_until_it_has(tmp_path: Path) -> None:
    others = others_with(oem=blocks_of(OTHER, FORK), tier2=blocks_of(OTHER, FORK))
    with searching(tmp_path, others) as made:

        def grown() -> bool:
            if len(others.asked) == 4:
                others.given = dict.fromkeys(others.given, blocks_of(OTHER, FORK + 1))
            return bool(made.conflicts)

        search(made, (8, grown))
        assert made.convicted() == {OEM}


def test_nobody_is_convicted_by_a_block_of_another_leader_or_one_that_nobody_signed(
    tmp_path: Path,
) -> None:
    replaced = LedgerInMemory(FOUR)
    for raw, _ in OWN.blocks[:FORK]:
        replaced.apply(raw)
    replaced.block([], voter=TIER2, term=2, counter=1)
    block = parse_block(OTHER.blocks[FORK][0])
    forged = encode_block(replace(block, signature=bytes(64)))
    fakes = [*blocks_of(OTHER, FORK), (FORK + 1, ordered(FORK + 1, forged))]
    others = others_with(oem=fakes, tier2=blocks_of(replaced, FORK + 1))
    with searching(tmp_path, others) as made:
        search(made, (8, lambda: bool(made.conflicts)))
        assert not made.evidence()


def under_later_key(last_number: int) -> LedgerInMemory:
    """Return a ledger whose leader has replaced its proposal key, and then signs two blocks."""
    made = LedgerInMemory(FOUR)
    key = private_key(f"{OEM} PROPOSAL 2nd")
    register = successor(made, "OEM-A", KeyPurpose.PROPOSAL, "n1")
    made.block([made.batch("OEM-A/erp", [register])])
    made.block([], key=key)
    made.block([made.batch("OEM-A/erp", [measurement(last_number)])], key=key)
    return made


def test_blocks_that_a_later_key_signed_for_one_place_are_kept(tmp_path: Path) -> None:
    own, other = under_later_key(1), under_later_key(2)
    others = others_with(oem=blocks_of(other, 3), tier2=blocks_of(own, 3))
    with searching(tmp_path, others, height=3, shared=1, own=own) as made:
        search(made, (3, lambda: bool(made.evidence()) and len(others.asked) == 2))

        (file,) = made.evidence()
        assert file.name.startswith("term-1-block-3-")
        with pytest.raises(NoConviction, match="no proposal key of the genesis"):
            made.convicted()


def test_no_more_blocks_are_compared_than_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposal_search, "BLOCKS_MAX", 2)
    others = others_with(oem=blocks_of(OWN, 9), tier2=blocks_of(OWN, 9))
    with searching(tmp_path, others, shared=0) as made:
        search(made, (8, lambda: len(others.asked) == 2))
        assert others.asked == [(OEM, 7), (TIER2, 7)]


def test_no_more_than_one_block_is_compared_below_what_all_share(tmp_path: Path) -> None:
    others = others_with(oem=blocks_of(OTHER, 9), tier2=blocks_of(OTHER, 9))
    with searching(tmp_path, others, shared=FORK + 2) as made:
        search(made, (FORK - 1, lambda: len(others.asked) == 2))
        assert others.asked == [(OEM, FORK - 1), (TIER2, FORK - 1)]
        assert not made.evidence()


def test_a_conviction_is_kept_in_a_full_folder_too(tmp_path: Path) -> None:
    folder = tmp_path / "evidence"
    folder.mkdir()
    for number in range(EVIDENCE_FILES_MAX):
        (folder / f"{number}.note").touch()
    others = others_with(oem=blocks_of(OTHER, 9), tier2=blocks_of(OWN, 9))
    with searching(tmp_path, others) as made:
        search(made, (8, lambda: len(made.evidence()) > EVIDENCE_FILES_MAX))
        assert (folder / made.evidence()[-1].name).suffix == ".json"


def test_a_file_that_goes_while_the_folder_is_looked_at_stops_no_conviction(tmp_path: Path) -> None:
    folder = tmp_path / "evidence"
    folder.mkdir()
    (folder / "taken-away.json").symlink_to(tmp_path / "nowhere")  # listed, and not there
    others = others_with(oem=blocks_of(OTHER, 9), tier2=blocks_of(OWN, 9))
    with searching(tmp_path, others) as made:
        search(made, (8, lambda: len(others.asked) == 2))
        assert len(list(folder.glob("term-*.json"))) == 1
        assert not made.conflicts
