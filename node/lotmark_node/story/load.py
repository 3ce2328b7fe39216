"""The story's documents, read from the package."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from lotmark.event_document import read_events
from lotmark.v1 import event_pb2


@dataclass(frozen=True, slots=True)
class StoryDocument:
    """A document of the story, and who writes it."""

    name: str
    party: str
    holder: str  # system whose key signs it


# In the order in which they are written.
STORY = (
    StoryDocument("calibration", "LAB-17025", "lims"),
    StoryDocument("welder", "T1-STATOR", "mes"),
    StoryDocument("wire-lot", "T2-CU-JX", "erp"),
    StoryDocument("resistivity", "LAB-17025", "lims"),
    StoryDocument("shipment", "T2-CU-JX", "erp"),
    StoryDocument("receipt", "T1-STATOR", "erp"),
    StoryDocument("incoming-inspection", "T1-STATOR", "qms"),
    StoryDocument("other-lots", "T1-STATOR", "erp"),
    StoryDocument("stator", "T1-STATOR", "mes"),
)


def load_document(name: str, nonce: Callable[[], bytes]) -> list[event_pb2.Event]:
    """Return the events of a document of `STORY`; `nonce` gives 16 random bytes a call."""
    folder = _folder()
    raw = folder.joinpath(f"{name}.toml").read_bytes()
    return read_events(raw, name=f"{name}.toml", nonce=nonce, folder=folder)


def read_file(name: str) -> bytes:
    """Return a file that a document names, such as the raw readings, or a document itself."""
    return _folder().joinpath(name).read_bytes()


def _folder() -> Traversable:
    return files("lotmark_node.story").joinpath("documents")
