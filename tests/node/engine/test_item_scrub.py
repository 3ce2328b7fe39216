"""A scrub finds what is not as it was written in the family of the item chain."""

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from lotmark.block import parse_block
from lotmark_consensus.journal import Journal
from lotmark_consensus.ordering import Ordered
from lotmark_node.engine.errors import StoreCorrupt
from lotmark_node.engine.item_rows import ItemRows
from lotmark_node.engine.scrub import scrub
from lotmark_node.engine.signed_maximum import SignedMaximum
from tests.node.chained_ledger import chained_ledger
from tests.node.engine.stored_ledger import StoredLedger, crash_image
from tests.node.engine.test_scrub import Vandal, flipped, steps

WHOLE = chained_ledger(11, 203, entries=12, ms=10**9, items=400)
KINDS = [b"b", b"r", b"l", b"n", b"e"]


def journal_of(data: Path) -> None:
    with closing(Journal(data / "journal", WHOLE.chain_id)) as journal:
        for index, (raw, _) in enumerate(WHOLE.blocks, 1):
            time_ms = parse_block(raw).proposal.time_ms
            journal.append_many([Ordered(index=index, term=1, time_ms=time_ms, block=raw)])


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("node") / "data"
    data.mkdir()
    journal_of(data)
    with closing(StoredLedger(data / "ledger", WHOLE)) as stored:
        stored.grow(len(WHOLE.blocks))
        running = stored.state.items.running
        assert running is not None
        stored.items.root(running.number - 1)
    with closing(SignedMaximum(data / "signed-maximum")) as maximum:
        maximum.raise_to(WHOLE.size, WHOLE.root())
    return data


@pytest.fixture
def data(pristine: Path, tmp_path: Path) -> Path:
    shutil.copytree(pristine, tmp_path / "data")
    return tmp_path / "data"


def scrubbed(data: Path) -> None:
    scrub(data, WHOLE.genesis, steps, is_shared=False)


def keys(data: Path, kind: bytes) -> list[bytes]:
    with closing(Vandal(data / "ledger", WHOLE.chain_id)) as store:
        return [key for key in store.keys("items") if key[:1] == kind]


def test_a_sound_folder_is_whole(data: Path) -> None:
    scrubbed(data)

    assert len(keys(data, b"b")), "some blocks stand in no tree yet"
    assert len(keys(data, b"r")) > 255, "a tree has several tiles"


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_row_is_found(kind: bytes, data: Path) -> None:
    for key in keys(data, kind)[-3:]:
        with closing(Vandal(data / "ledger", WHOLE.chain_id)) as store:
            whole = store.read("items", key)
            store.change("items", key, flipped(whole, len(whole) - 1))
        with pytest.raises(StoreCorrupt, match="items: "):
            scrubbed(data)
        with closing(Vandal(data / "ledger", WHOLE.chain_id)) as store:
            store.change("items", key, whole)
    scrubbed(data)


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_row_is_found(kind: bytes, data: Path) -> None:
    with closing(Vandal(data / "ledger", WHOLE.chain_id)) as store:
        key = [key for key in store.keys("items") if key[:1] == kind][-1]
        store.remove("items", key)
    with pytest.raises(StoreCorrupt, match="items: "):
        scrubbed(data)


def test_a_record_too_many_is_found(data: Path) -> None:
    with closing(Vandal(data / "ledger", WHOLE.chain_id)) as store:
        store.change("items", b"r" + b"\xff" * 32, bytes(48))
    with pytest.raises(StoreCorrupt, match="is not its newest tree's"):
        scrubbed(data)


def test_what_a_kill_left_half_made_is_no_damage(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(ItemRows, "put_tree", killed)
    with closing(StoredLedger(tmp_path / "first", WHOLE)) as stored:
        stored.grow(6)
        running = stored.state.items.running
        assert running is not None
        assert running.number == 2
        while not stored.failures:
            """Until the records are written."""
        image = crash_image(tmp_path / "first", tmp_path / "image")
    shutil.rmtree(data / "ledger")
    shutil.move(image, data / "ledger")
    (data / "signed-maximum").unlink()
    SignedMaximum(data / "signed-maximum").close()

    scrubbed(data)
    assert keys(data, b"p")
