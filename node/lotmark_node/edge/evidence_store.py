"""Raw files at the site, each under its own SHA-256: `DATA/evidence/ab/cdef…`.

A file is whole under its name or not there, also after a loss of power. What is younger than the
retention is never removed: where the quota is reached before, nothing more is taken. Where the
machine's clock is set while the site runs, the files' dates are set by as much.
"""

import hashlib
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from lotmark_consensus.disk import place_file, sync_folder
from lotmark_node.edge.errors import (
    EvidenceDamaged,
    EvidenceUnavailable,
    EvidenceUnknown,
    StoreFull,
    StoreUnusable,
)
from lotmark_node.edge.memory_records import Evidence
from lotmark_node.edge.site_memory import SiteMemory
from lotmark_node.edge.site_settings import StoreSettings

logger = logging.getLogger(__name__)

FOLDER = "evidence"
REMOVE_FILES_MAX = 1_000  # that are removed together
SYNC_THREADS = 8  # a disk makes durable at once what is asked for together
DAY_US = 86_400_000_000
JUMP_US = 60_000_000  # by which the clock may be off what ages were measured with


class EvidenceStore:
    """The files of one site; the memory knows which were kept and when. For one thread at once."""

    def __init__(self, folder: Path, memory: SiteMemory, settings: StoreSettings) -> None:
        """Use the store in a site's data folder; it is made when something is kept.

        Args:
            folder: Of the site's data.
            memory: Knows what is kept; a file is written there first.
            settings: Quota and retention.
        """
        self._folder = folder / FOLDER
        self._memory = memory
        self._quota_size = settings.quota_mb * 1_000_000
        self._retention_us = settings.retention_days * DAY_US
        self._retention_days = settings.retention_days

    def begin(self, *, now_us: int) -> None:
        """Remove what a kill may have left of the files that were to go last.

        Where the clock shows less than the newest file's date, it was set back while nobody ran:
        files are as old as they were then.

        Raises:
            MemoryUnusable: It could not be noted.
        """
        for each in self._memory.last_removed_evidence():
            self._remove(each)
        newest_us = self._memory.newest_evidence_us()
        if newest_us is not None and newest_us > now_us:
            self.keep_ages(now_us - newest_us)

    def keep_ages(self, jumped_us: int) -> None:
        """Let all files be as old as they are, though the clock was set ahead, or back.

        Raises:
            MemoryUnusable: It could not be noted.
        """
        logger.warning("the clock was set; files keep their ages", extra={"by_us": jumped_us})
        self._memory.redate_evidence(jumped_us)

    def keep(self, files: Mapping[bytes, bytes], *, now_us: int) -> None:
        """Write files that the memory knows of; they are on disk when this returns.

        Args:
            files: Contents by SHA-256.
            now_us: The time.

        Raises:
            StoreFull: The quota is reached, and nothing is old enough to go.
            StoreUnusable: The disk refused one; others may be there.
            MemoryUnusable: As `remove_outdated`.
        """
        if self._memory.evidence_size > self._quota_size:
            self.remove_outdated(now_us=now_us)
        if self._memory.evidence_size > self._quota_size:
            raise StoreFull(
                f"{self._folder} would hold {self._memory.evidence_size} bytes, of"
                f" {self._quota_size} that quota_mb allows, and nothing in it is older than"
                f" {self._retention_days} days: raise quota_mb, or lower retention_days. Nothing"
                " is lost meanwhile that the sources can hold"
            )
        try:
            with ThreadPoolExecutor(SYNC_THREADS) as threads:
                folders = set(threads.map(self._write, files, files.values()))
                list(threads.map(sync_folder, folders))
        except OSError as error:
            raise StoreUnusable(
                f"{error.filename or self._folder} cannot be written ({error.strerror}): make room"
                " on its disk, and let this process write there. Nothing is lost meanwhile that the"
                " sources can hold"
            ) from error

    def _write(self, file: bytes, content: bytes) -> Path:
        """Write a file, and return the folder that is to be made durable with its name."""
        path = self.path(file)
        place_file(path, content)
        return path.parent

    def read(self, file: bytes) -> bytes:
        """Return a file's content, which is what it was.

        Raises:
            EvidenceUnavailable: Its retention was over.
            EvidenceUnknown: It was never kept here.
            EvidenceDamaged: It is another content, or missing; the message names it.
            StoreUnusable: It cannot be read.
        """
        self._check_kept(file)
        path = self.path(file)
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            waiting = self._memory.pending_content(file)
            if waiting is not None:
                return waiting
            raise EvidenceDamaged(
                f"{path} is missing, though its retention is not over: somebody took it away;"
                " restore it from a backup of the site"
            ) from error
        except OSError as error:
            raise StoreUnusable(f"{path} cannot be read: {error.strerror}") from error
        if hashlib.sha256(content).digest() != file:
            raise EvidenceDamaged(
                f"{path} is damaged: its content has another digest than its name says; restore it"
                " from a backup of the site"
            )
        return content

    def _check_kept(self, file: bytes) -> None:
        known = self._memory.evidence(file)
        if known is None:
            raise EvidenceUnknown(f"no file with the digest {file.hex()} was ever kept here")
        if known.removed_us is not None:
            day = datetime.fromtimestamp(known.removed_us / 1e6, UTC).date()
            raise EvidenceUnavailable(
                f"file {file.hex()} is unavailable since {day}: its retention was over"
            )

    def remove_outdated(self, *, now_us: int) -> int:
        """Remove what is older than the retention, oldest first, and return how many files.

        Raises:
            MemoryUnusable: That cannot be noted; what was not noted is still there.
        """
        count = 0
        before_us = now_us - self._retention_us - JUMP_US
        while found := self._memory.oldest_evidence(
            before_us=before_us, count_max=REMOVE_FILES_MAX
        ):
            # Noted first: a file that is there after all harms less than one that is thought to be.
            self._memory.remove_evidence(found, now_us=now_us)
            for each in found:
                self._remove(each)
            count += len(found)
        return count

    def _remove(self, evidence: Evidence) -> None:
        try:
            self.path(evidence.file).unlink(missing_ok=True)
        except OSError as error:
            logger.warning(
                "a file beyond its retention cannot be removed",
                extra={"file": evidence.file.hex(), "reason": str(error)},
            )

    def path(self, file: bytes) -> Path:
        """Return where a file lies."""
        name = file.hex()
        return self._folder / name[:2] / name[2:]
