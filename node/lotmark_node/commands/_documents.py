"""Documents that `lotmark submit` reads, and the events made of them, kept beside each.

An event has a random nonce, so a document that is read twice makes two facts: its events are kept
before they are sent, and a repeat finds them again.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lotmark_node import terminal

if TYPE_CHECKING:
    from lotmark.v1 import event_pb2

EPCIS_SUFFIX = ".jsonld"
KEPT_SUFFIX = ".events"
KEPT_SIZE_MAX = 67_108_864
_NONCE_SIZE = 16


class Capture(StrEnum):
    """How the facts of an EPCIS document came to be known, which it does not say itself."""

    SENSOR_DIRECT = "sensor-direct"
    MANUAL = "manual"
    HISTORICAL = "historical"


@dataclass(frozen=True, slots=True)
class ReadEvent:
    """An event and the file it stands in."""

    file: Path
    body: str  # its type
    raw: bytes
    is_repeat: bool  # it may have been sent before

    @property
    def event_id(self) -> bytes:
        """Its id."""
        from lotmark.merkle import leaf_hash

        return leaf_hash(self.raw)


@dataclass(frozen=True, slots=True)
class Made:
    """What reading a document gave: the same document with the same nonces gives it again."""

    file: Path
    document_digest: str
    nonces: list[str]  # in the order in which they were drawn, in hex; empty: nothing was drawn
    events: "list[event_pb2.Event]"
    is_kept: bool = False  # they are those of an earlier submit

    @property
    def kept_file(self) -> Path:
        """Where its events are kept."""
        return self.file.with_name(self.file.name + KEPT_SUFFIX)

    def kept_text(self) -> str:
        """Return what is kept of it."""
        document = {
            "document_sha256": self.document_digest,
            "nonces": self.nonces,
            "events": [_encoded(event).hex() for event in self.events],
        }
        return json.dumps(document, indent=1) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class EpcisContext:
    """What the events of EPCIS documents need beside the documents."""

    device: str
    capture: Capture | None
    uncertainty_us: int | None


def events_of(made: Sequence[Made]) -> list[ReadEvent]:
    """Return the events of documents, in order."""
    return [
        ReadEvent(
            each.file,
            event.WhichOneof("body") or "",
            _encoded(event),
            is_repeat=each.is_kept or not each.nonces,
        )
        for each in made
        for event in each.events
    ]


def drawn_nonce() -> bytes:
    """Return a nonce that chance has drawn."""
    return os.urandom(_NONCE_SIZE)


def read_events_of(file: Path, context: EpcisContext, nonce: Callable[[], bytes]) -> Made:
    """Return the events that a document makes with these nonces."""
    from lotmark.document_source import DOCUMENT_SIZE_MAX
    from lotmark.event_document import read_events
    from lotmark_adapters import epcis_document

    is_epcis = file.suffix == EPCIS_SUFFIX
    with file.open("rb") as opened:
        raw = opened.read((epcis_document.DOCUMENT_SIZE_MAX if is_epcis else DOCUMENT_SIZE_MAX) + 1)
    nonces: list[str] = []

    def noted_nonce() -> bytes:
        drawn = nonce()
        nonces.append(drawn.hex())
        return drawn

    events = (
        [_read_epcis(file, raw, context, noted_nonce)]
        if is_epcis
        else read_events(raw, name=str(file), nonce=noted_nonce, folder=file.parent)
    )
    return Made(file, hashlib.sha256(raw).hexdigest(), nonces, events)


def make_events(file: Path, context: EpcisContext, *, again: bool) -> Made:
    """Return the events of a document: those kept of it, if it still says the same."""
    made = read_events_of(file, context, drawn_nonce)
    if again and not made.nonces:
        terminal.fail(
            f"{file} carries the nonces of its events, so it makes no others.",
            "Change them, or leave --again out.",
        )
    if again or not made.nonces or not made.kept_file.exists():
        return made
    kept = _read_kept(made.kept_file)
    if kept["document_sha256"] != made.document_digest:
        return made
    nonces = iter([bytes.fromhex(each) for each in kept["nonces"]])
    # Read once more with the nonces of before: a file that the document names, or an option, may
    # have changed, and then it is another fact.
    before = read_events_of(file, context, lambda: next(nonces, None) or drawn_nonce())
    unchanged = [_encoded(event).hex() for event in before.events] == kept["events"]
    return replace(before, is_kept=True) if unchanged else made


def _read_kept(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        raw = file.read(KEPT_SIZE_MAX + 1)
    try:
        kept = json.loads(raw)
        for digits in (*kept["nonces"], *kept["events"], kept["document_sha256"]):
            bytes.fromhex(digits)
    except (ValueError, TypeError, KeyError, RecursionError):
        terminal.fail(
            f"{path} does not say which events were made of its document before.",
            "See with `lotmark log tail` whether they are on the ledger; --again makes new ones.",
        )
    return dict(kept)


def keep_events(made: Made, *, again: bool) -> None:
    """Put the events beside their document, on disk when this returns; before they are sent."""
    from lotmark.key_file import KeyFileError, write_new_file

    path, text = made.kept_file, made.kept_text()
    if not made.nonces:
        return  # nothing was left to chance
    if path.exists() and not again and path.read_text() == text:
        return
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        write_new_file(part, text.encode(), mode=0o644)
        part.replace(path)
        _sync_folder(path.parent)
    except (KeyFileError, OSError) as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        reason = getattr(error.__cause__ or error, "strerror", None) or error
        if again:
            terminal.note(f"{path} cannot be written ({reason}), so a repeat makes new events.")
            return
        terminal.fail(
            f"{path} cannot be written ({reason}), so a repeat would make a second fact.",
            "Copy the document to a folder that you may write to; with --again it is sent from"
            " here, and every repeat counts anew.",
        )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_epcis(
    file: Path, raw: bytes, context: EpcisContext, nonce: Callable[[], bytes]
) -> "event_pb2.Event":
    from lotmark.v1 import event_pb2
    from lotmark_adapters.epcis import read_epcis, to_event
    from lotmark_node.commands._event_lines import counted

    if context.capture is None or context.uncertainty_us is None:
        terminal.fail(
            f"{file}: EPCIS does not say how its facts were captured and how far its clocks may"
            " be off.",
            f"Add --capture {'|'.join(Capture)} and --uncertainty-us, 1000000 for a second.",
        )
    draft = read_epcis(raw, name=str(file))
    if draft.ids_refused_count:
        terminal.note(
            f"{file}: {counted(draft.ids_refused_count, 'item id')} without a form on the ledger,"
            f" which will find nothing there, such as {draft.ids_refused[0]}"
        )
    if draft.items_left_out_count:
        terminal.note(
            f"{file}: {counted(draft.items_left_out_count, 'item')} beyond the 64 of an event"
        )
    return to_event(
        draft,
        nonce,
        device=context.device,
        capture_mode=event_pb2.CaptureMode.Value(f"CAPTURE_MODE_{context.capture.name}"),
        uncertainty_us=context.uncertainty_us,
    )


def _encoded(event: "event_pb2.Event") -> bytes:
    return event.SerializeToString(deterministic=True)
