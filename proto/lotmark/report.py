"""A laboratory's report, and the event that seals it.

The report is a document of the fields in `lotmark.report_fields`, in TOML or JSON. Sealed are
SHA-256 of its fields as canonical JSON (RFC 8785), so that neither the order of the fields nor the
white space nor the language they are written in counts, and the digests of its files:

    kind = "test"
    laboratory = "LAB-17025"
    test = "resistivity"
    verdict = "CONFORMING"
    item_identification = "https://id.gs1.org/01/04012345000016/10/CU-7"
    files = [{ path = "report-4711.pdf", media_type = "application/pdf" }]   # beside the report
    ...
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources.abc import Traversable
from typing import Any

from lotmark import canonical_json
from lotmark.document_fields import Place, fill, shown
from lotmark.document_source import digest_beneath, file_beneath, parse_document
from lotmark.errors import MalformedError
from lotmark.event import FILES_MAX, check_event
from lotmark.report_fields import check_fields
from lotmark.v1 import event_pb2, quality_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report with every field that it needs."""

    fields: Mapping[str, Any]
    digest: bytes  # of the fields
    files: tuple[event_pb2.FileDigest, ...]
    folder: Traversable | None = None  # where the files are that it names by path

    @property
    def number(self) -> str:
        """What the report is known by."""
        return str(self.fields["report_number"])

    @property
    def place(self) -> "SealPlace":
        """What it is about."""
        return SealPlace(
            laboratory=str(self.fields["laboratory"]),
            item=str(self.fields["item_identification"]),
            test=str(self.fields["test"]),
        )

    def is_sealed_by(self, event: event_pb2.Event) -> bool:
        """Tell whether an event seals this very report with these very files."""
        return (
            sealed_place(event) == self.place
            and event.report_seal.report_digest == self.digest
            and len(event.files) == len(self.files)
            and all(
                self._is_same_file(own, sealed, entry)
                for own, sealed, entry in zip(
                    self.files, event.files, self.fields.get("files", []), strict=True
                )
            )
        )

    def _is_same_file(
        self, own: event_pb2.FileDigest, sealed: event_pb2.FileDigest, entry: Mapping[str, Any]
    ) -> bool:
        if own.salt == sealed.salt or "path" not in entry:
            return own == sealed
        # Each reading has a salt of its own: digested once more, with the seal's.
        found = digest_beneath(self.folder, entry["path"], Place(own.name), sealed.salt)
        return found == (sealed.sha256, sealed.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class SealPlace:
    """What a seal is of: a second one of the same place is a correction."""

    laboratory: str
    item: str
    test: str

    def __str__(self) -> str:
        """Return it for a message."""
        return f"test {self.test} of {self.item} by {self.laboratory}"


def read_report(
    raw: bytes,
    *,
    name: str,
    folder: Traversable | None,
    nonce: Callable[[], bytes],
) -> Report:
    """Return the report that a document holds.

    Args:
        raw: The document: JSON if it begins with a brace, else TOML.
        name: What to call it in messages.
        folder: Where the files that it names stand; None: it names them by digest alone.
        nonce: Gives 16 random bytes, for the salt of a file.

    Raises:
        ReportIncompleteError: Fields are missing; the message lists all of them.
        MalformedError: Something in it is not as it should be; the message says what and where.
    """
    top = Place(name)
    return make_report(parse_document(raw, top), name=name, folder=folder, nonce=nonce)


def make_report(
    fields: Mapping[str, Any],
    *,
    name: str,
    folder: Traversable | None,
    nonce: Callable[[], bytes],
) -> Report:
    """Return the report with these fields; arguments and errors as for `read_report`."""
    top = Place(name)
    check_fields(fields, top)
    _check_raw_data(fields, top)
    digest = fields_digest(fields)
    at = top.member("files")
    entries = fields.get("files", [])
    if len(entries) > FILES_MAX:
        raise at.refusal(f"it names {len(entries)} files; at most {FILES_MAX} fit in a seal")
    files = tuple(
        _file_digest(entry, at.element(index), folder, nonce) for index, entry in enumerate(entries)
    )
    return Report(fields=fields, digest=digest, files=files, folder=folder)


def fields_digest(fields: Mapping[str, Any]) -> bytes:
    """Return SHA-256 of fields as canonical JSON.

    Raises:
        MalformedError: They have no such form.
    """
    return hashlib.sha256(canonical_json.dump(fields)).digest()


def seal_event(
    report: Report, *, device: str, time_ms: int, uncertainty_us: int, nonce: bytes
) -> event_pb2.Event:
    """Return the event that seals a report.

    Args:
        report: The report.
        device: The system that seals, such as "lims".
        time_ms: When, by its clock.
        uncertainty_us: How far that clock may be off.
        nonce: 16 random bytes.

    Raises:
        EventRefused: What the report says fits into no event.
    """
    place, verdict = report.place, report.fields["verdict"]
    event = event_pb2.Event(
        nonce=nonce,
        device=device,
        time=event_pb2.TimeInterval(
            start_ms=time_ms, end_ms=time_ms, uncertainty_us=uncertainty_us
        ),
        capture_mode=event_pb2.CAPTURE_MODE_MANUAL,  # a laboratory's person has released it
        items=[event_pb2.ItemReference(id=place.item, role=event_pb2.ITEM_ROLE_SUBJECT)],
        files=report.files,
        report_seal=quality_pb2.ReportSeal(
            report=report.number,
            laboratory=place.laboratory,
            test=place.test,
            report_digest=report.digest,
            fields=sorted(report.fields),
            verdict=quality_pb2.Verdict.Value(f"VERDICT_{verdict}"),
        ),
    )
    check_event(event.SerializeToString(deterministic=True))
    return event


def sealed_place(event: event_pb2.Event) -> SealPlace | None:
    """Return what an event seals; None: it is no seal, or is of no item or of several."""
    if event.WhichOneof("body") != "report_seal" or len(event.items) != 1:
        return None
    seal = event.report_seal
    return SealPlace(laboratory=seal.laboratory, item=event.items[0].id, test=seal.test)


class FileState(StrEnum):
    """How a file that a seal names compares with the one beside the report."""

    MATCH = "match"
    MISMATCH = "mismatch"
    UNAVAILABLE = "unavailable"  # it is not there, which is no proof of anything


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A report beside the seal that is said to be its own."""

    fields_match: bool
    files: tuple[tuple[str, FileState], ...]  # name, state; as the seal lists them

    @property
    def holds(self) -> bool:
        """Whether the fields are those that were sealed, and no file is another one."""
        return self.fields_match and all(state is not FileState.MISMATCH for _, state in self.files)


def compare_with_seal(
    raw: bytes, event: event_pb2.Event, *, name: str, folder: Traversable
) -> Comparison:
    """Compare a report and the files beside it with the event that sealed it.

    Which field differs cannot be told: the seal has the fields' digest alone.

    Raises:
        MalformedError: The document cannot be read.
    """
    fields = parse_document(raw, Place(name))
    try:
        digest = fields_digest(fields)
    except MalformedError:
        digest = b""  # with values that no sealed report has
    paths = {
        str(entry["path"]).rpartition("/")[2]: str(entry["path"])
        for entry in _tables(fields.get("files"))
        if "path" in entry
    }
    files = (
        (file.name, _state_of(file, folder, paths.get(file.name, file.name)))
        for file in event.files
    )
    return Comparison(fields_match=digest == event.report_seal.report_digest, files=tuple(files))


def _tables(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _state_of(file: event_pb2.FileDigest, folder: Traversable, path: str) -> FileState:
    try:
        found = digest_beneath(folder, path, Place(file.name), file.salt)
    except MalformedError:
        return FileState.UNAVAILABLE
    return FileState.MATCH if found == (file.sha256, file.size) else FileState.MISMATCH


def _file_digest(
    value: dict[str, Any],
    place: Place,
    folder: Traversable | None,
    nonce: Callable[[], bytes],
) -> event_pb2.FileDigest:
    if "path" in value:
        return file_beneath(folder, value, place, nonce)
    file = event_pb2.FileDigest()
    fill(file, value, place, lambda path, at: digest_beneath(folder, path, at, b"")[0])
    return file


def _check_raw_data(fields: Mapping[str, Any], top: Place) -> None:
    """Check that raw data which a result names is among the sealed files."""
    names = {str(file.get(key)) for file in fields.get("files", []) for key in ("path", "name")}
    for group in ("results", "results_before_adjustment", "results_after_adjustment"):
        at = top.member(group)
        for index, result in enumerate(fields.get(group, [])):
            raw_data = result.get("raw_data")
            if raw_data is not None and raw_data not in names:
                place = at.element(index).member("raw_data")
                raise place.refusal(
                    f"{shown(raw_data)} is none of the report's files; add it to files, so that"
                    " its digest is sealed too"
                )
