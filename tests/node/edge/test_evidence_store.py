"""Files under their digests: within a quota, for a retention, and whole or not there."""

import hashlib
from pathlib import Path

import pytest

from lotmark_node.edge.errors import (
    EvidenceDamaged,
    EvidenceUnavailable,
    EvidenceUnknown,
    StoreFull,
    StoreUnusable,
)
from lotmark_node.edge.evidence_store import DAY_US, EvidenceStore
from lotmark_node.edge.memory_records import Changes, Evidence
from lotmark_node.edge.site_memory import SiteMemory
from lotmark_node.edge.site_settings import StoreSettings
from tests.node.edge.trial_site import START_US


class TrialStore:
    """A store of a megabyte and 30 days."""

    def __init__(self, folder: Path) -> None:
        self.memory = SiteMemory.open(folder, site="line-3")
        settings = StoreSettings(quota_mb=1, retention_days=30)
        self.store = EvidenceStore(folder, self.memory, settings)

    def keep(self, content: bytes, *, day: int = 0) -> bytes:
        file = hashlib.sha256(content).digest()
        now_us = START_US + day * DAY_US
        self.memory.write(Changes(kept=[(file, len(content), now_us)]))
        self.store.keep({file: content}, now_us=now_us)
        return file


@pytest.fixture
def trial(tmp_path: Path) -> TrialStore:
    return TrialStore(tmp_path)


def test_a_file_lies_under_its_digest_and_is_read_back(trial: TrialStore, tmp_path: Path) -> None:
    file = trial.keep(b"raw")

    name = file.hex()
    assert (tmp_path / "evidence" / name[:2] / name[2:]).read_bytes() == b"raw"
    assert trial.store.read(file) == b"raw"


def test_files_that_are_kept_together_are_each_there(trial: TrialStore) -> None:
    contents = [bytes([each]) * 100 for each in range(100)]
    files = {hashlib.sha256(each).digest(): each for each in contents}
    kept = [(file, len(content), START_US) for file, content in files.items()]
    trial.memory.write(Changes(kept=kept))

    trial.store.keep(files, now_us=START_US)

    assert [trial.store.read(file) for file in files] == contents


def test_where_one_of_many_files_cannot_be_written_none_is_said_to_be_kept(
    trial: TrialStore, tmp_path: Path
) -> None:
    files = {hashlib.sha256(each).digest(): each for each in (b"a", b"b", b"c")}
    name = list(files)[1].hex()
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence" / name[:2]).write_bytes(b"a file where a folder belongs")

    with pytest.raises(StoreUnusable, match=rf"evidence/{name[:2]}.* cannot be written"):
        trial.store.keep(files, now_us=START_US)


def test_the_oldest_go_first_and_what_is_young_stays_whatever_the_quota(
    trial: TrialStore,
) -> None:
    old = trial.keep(b"a" * 500_000)
    middle = trial.keep(b"b" * 500_000, day=20)
    with pytest.raises(StoreFull, match=r"1400000 bytes, of 1000000 that quota_mb allows"):
        trial.keep(b"c" * 400_000, day=30)
    assert trial.store.read(old)

    trial.keep(b"c" * 400_000, day=31)
    with pytest.raises(EvidenceUnavailable, match="unavailable since 2026-"):
        trial.store.read(old)
    assert trial.store.read(middle)
    assert trial.memory.evidence_size == 900_000


def test_what_is_beyond_its_retention_goes_though_there_is_room(trial: TrialStore) -> None:
    file = trial.keep(b"a")
    assert trial.store.remove_outdated(now_us=START_US + 30 * DAY_US) == 0
    assert trial.store.remove_outdated(now_us=START_US + 31 * DAY_US) == 1

    assert not trial.store.path(file).exists()


def test_what_was_never_kept_is_unknown(trial: TrialStore) -> None:
    with pytest.raises(EvidenceUnknown, match="ab" * 32):
        trial.store.read(b"\xab" * 32)


def test_a_file_that_was_changed_is_named(trial: TrialStore) -> None:
    file = trial.keep(b"raw")
    trial.store.path(file).write_bytes(b"row")

    with pytest.raises(EvidenceDamaged, match=f"{file.hex()[2:]} is damaged"):
        trial.store.read(file)


def test_a_file_that_somebody_took_away_is_named(trial: TrialStore) -> None:
    file = trial.keep(b"raw")
    trial.store.path(file).unlink()

    with pytest.raises(EvidenceDamaged, match=f"{file.hex()[2:]} is missing"):
        trial.store.read(file)


def test_a_folder_that_cannot_be_written_is_told_with_the_file(
    trial: TrialStore, tmp_path: Path
) -> None:
    (tmp_path / "evidence").write_bytes(b"no folder")

    with pytest.raises(StoreUnusable, match=r"evidence/.* cannot be written"):
        trial.keep(b"raw")


def test_the_same_content_is_kept_once_and_counted_once(trial: TrialStore) -> None:
    assert trial.keep(b"raw") == trial.keep(b"raw", day=1)

    assert trial.memory.evidence_size == 3


def test_content_that_comes_again_after_its_retention_is_there_again(trial: TrialStore) -> None:
    file = trial.keep(b"raw")
    trial.store.remove_outdated(now_us=START_US + 31 * DAY_US)
    trial.keep(b"raw", day=32)

    assert trial.store.read(file) == b"raw"


def test_a_file_that_a_kill_kept_from_going_goes_with_the_next_start(
    trial: TrialStore, tmp_path: Path
) -> None:
    file = trial.keep(b"raw")
    trial.memory.remove_evidence([Evidence(file, 3, START_US, None)], now_us=START_US)
    assert trial.store.path(file).exists()

    trial.store.begin(now_us=START_US)
    assert not trial.store.path(file).exists()


def test_sizes_are_what_they_were_after_a_start(trial: TrialStore, tmp_path: Path) -> None:
    trial.keep(b"raw")
    trial.keep(b"gone", day=-40)
    trial.store.remove_outdated(now_us=START_US)
    trial.memory.close()

    again = TrialStore(tmp_path)
    assert again.memory.evidence_size == 3
