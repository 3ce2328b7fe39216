"""What the chapters share: the folder, the ledger, and the facts that the last line tells."""

import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self

from lotmark_node.story.errors import StoryFailed
from lotmark_node.story.trial_ledger import TrialLedger

MARK = "lotmark-demo.txt"  # tells that a folder is a demo's own, to be replaced by the next
SHARED_VARIABLE = "LOTMARK_SHARED"

_MARK_TEXT = """\
`lotmark demo` made this folder, and its next run replaces it.

consortium/           what `lotmark init` makes, with every party's keys, and the nodes' data
receipts/             proofs of single events
stator-line.snapshot  the whole ledger in one file
forged/               snapshots that somebody tampered with, and a false consortium
"""


class Stage:
    """One telling of the story; ends the nodes when it is left."""

    def __init__(self, folder: Path, shared: Path) -> None:
        """Clear the folder.

        Args:
            folder: Everything is left there. It is new, empty, or an earlier demo's.
            shared: Where foreign data may be, in its folder `data`.

        Raises:
            StoryFailed: The folder holds something else.
            OSError: It cannot be made or cleared.
        """
        if (folder / MARK).is_file():
            shutil.rmtree(folder)
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise StoryFailed(
                f"{folder} is there and is no demo's; move it away or name another folder"
            )
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARK).write_text(_MARK_TEXT)
        self.folder = folder
        self.shared = shared
        self.facts: dict[str, object] = {}
        self.next_commands: list[tuple[str, ...]] = []  # of `lotmark`, for a person to try
        self._ledger: TrialLedger | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._ledger is not None:
            self._ledger.stop()

    def found(self) -> tuple[TrialLedger, float]:
        """Found the consortium and run its nodes; return how many seconds that took, too."""
        assert self._ledger is None, "there is one ledger in the story"
        self._ledger = TrialLedger(self.folder / "consortium")
        return self._ledger, self._ledger.start()

    @property
    def ledger(self) -> TrialLedger:
        """The story's ledger."""
        assert self._ledger is not None, "the first chapter founds the ledger"
        return self._ledger

    @property
    def snapshot_file(self) -> Path:
        """The whole ledger in one file."""
        return self.folder / f"{self.ledger.founded.genesis.consortium}.snapshot"

    def receipt_file(self, name: str) -> Path:
        """Return where a receipt of this name is kept."""
        return self._subfolder("receipts") / f"{name}.receipt"

    def forged_file(self, name: str) -> Path:
        """Return where a forged snapshot of this name is kept, or a false consortium."""
        return self._subfolder("forged") / name

    def _subfolder(self, name: str) -> Path:
        path = self.folder / name
        path.mkdir(exist_ok=True)
        return path


def shared_folder() -> Path:
    """Return where foreign data may be: LOTMARK_SHARED, else `../shared`."""
    return Path(os.environ.get(SHARED_VARIABLE) or "../shared")
