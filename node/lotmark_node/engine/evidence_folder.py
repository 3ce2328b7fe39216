"""What convicts or accuses others, in a bounded folder: each file once, and whole."""

import logging
import threading
from contextlib import suppress
from pathlib import Path

from lotmark_consensus.disk import replace_file

logger = logging.getLogger(__name__)

FOLDER = "evidence"
EVIDENCE_FILES_MAX = 64
EVIDENCE_FOLDER_SIZE_MAX = 8 << 20


class EvidenceFolder:
    """The folder `evidence` in a node's data, made when there is some. Any thread may use it."""

    def __init__(self, folder: Path) -> None:
        """Make it; nothing is read or written yet.

        Args:
            folder: Of this node's data.
        """
        self._folder = folder / FOLDER
        self._lock = threading.Lock()

    def keep(
        self, name: str, raw: bytes, *, event: str, told: dict[str, object], at_any_price: bool
    ) -> Path | None:
        """Write evidence once, while there is room, and return its path; None: it is not there.

        Args:
            name: The file's, which says what it is evidence of.
            raw: The evidence.
            event: What to log when it is written.
            told: More fields of that log line.
            at_any_price: Write it although the folder is full.
        """
        path = self._folder / name
        said = {**told, "evidence": str(path)}
        with self._lock:
            try:
                if path.exists():
                    return path
                if self._is_full and not at_any_price:
                    return None
                replace_file(path, raw)
            except OSError as error:
                logger.error("evidence cannot be kept", extra={**said, "reason": str(error)})
                return None
            logger.error(event, extra=said)
            if self._is_full:
                logger.error("the evidence folder is full; nothing more is kept", extra=said)
            return path

    @property
    def _is_full(self) -> bool:
        sizes = []
        for file in self._folder.glob("*"):
            with suppress(FileNotFoundError):  # somebody takes evidence away just now
                sizes.append(file.stat().st_size)
        return len(sizes) >= EVIDENCE_FILES_MAX or sum(sizes) >= EVIDENCE_FOLDER_SIZE_MAX
