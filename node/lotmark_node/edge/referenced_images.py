"""Images that a vision system's results name: each comes into the station's folder first.

A result is kept once its image is in the folder, so a kill in between brings the image again and
never loses it. An image that is not there in time is a gap on record, and the result is kept; so is
one that finds no place in the folder in time, whose original is kept all the same.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from lotmark.canonical_json import JsonValue, load
from lotmark.client.new_event import item, new_event
from lotmark.errors import MalformedError
from lotmark.v1 import event_pb2, quality_pb2
from lotmark_adapters.observation import Report, ReportTaker, SourceRecord
from lotmark_inference.errors import InputRefused
from lotmark_node.edge.image_file import SUFFIXES, ImageFile, read_image_file
from lotmark_node.edge.image_listener import ImageInbox
from lotmark_node.edge.inspection_station import unread_original
from lotmark_node.edge.station_settings import StationSettings

IMAGE_MISSING = "image_missing"  # reason of a gap: it was not there whole, or is none
IMAGE_NOT_TAKEN = "image_not_taken"  # likewise: it found no place in the folder
WAIT_S = 5.0  # for an image to be there whole, and for its place in the folder
LOOK_S = 0.1  # between two looks at it; it is whole where both see the same
RESULT_KIND = "vision_result"

_RECORD_SIZE_MAX = 1_000_000

logger = logging.getLogger(__name__)


class ReferencedImages:
    """Takes a source's reports for whoever keeps them, and brings the images that they name."""

    def __init__(
        self,
        source: str,
        taker: ReportTaker,
        stations: Sequence[StationSettings],
        put: Callable[[Sequence[bytes]], Awaitable[None]],
        put_original: Callable[[str, bytes, Sequence[bytes]], Awaitable[Path]],
    ) -> None:
        """Stand before a taker.

        Args:
            source: Whose reports come.
            taker: Keeps them.
            stations: All of the site; those whose images are of another source get none.
            put: Puts events on record.
            put_original: Keeps a station's original and puts events on record.
        """
        self._taker = taker
        self._put, self._put_original = put, put_original
        self._wanted = [
            (each, each.images_from, ImageInbox(each.images))
            for each in stations
            if each.images_from is not None and each.images_from.source == source
        ]

    async def take(self, report: Report) -> None:
        """Bring the images that a report's results name, then let it be kept."""
        for record in report.records:
            if record.kind == RESULT_KIND:
                await self._bring(record)
        await self._taker.take(report)

    async def _bring(self, record: SourceRecord) -> None:
        for station, wanted, inbox in self._wanted:
            path: Path | None = None
            file: ImageFile | None = None
            try:
                async with asyncio.timeout(WAIT_S):
                    path = referenced_image(record, wanted.field, wanted.folder)
                    file = await _whole_file(path)
                    await _put_in(inbox, file)
            except (InputRefused, OSError) as error:  # a TimeoutError is one
                logger.error(
                    "a result's image is missing"
                    if file is None
                    else "a result's image is not taken",
                    extra={
                        "station": station.station,
                        "record": record.record,
                        "image": None if path is None else path.name,
                        "reason": str(error) or f"not there within {WAIT_S:g} s",
                    },
                )
                gap = _gap(station, path, file)
                if file is None:
                    await self._put([gap])
                else:
                    await self._put_original(station.station, file.content, [gap])


async def _whole_file(path: Path) -> ImageFile:
    """Return a file once two looks at it show the same."""
    before: tuple[int, int] | None = None
    while True:
        try:
            status = await asyncio.to_thread(os.lstat, path)
        except FileNotFoundError:
            before = None
        else:
            if before == (look := (status.st_size, status.st_mtime_ns)):
                return await asyncio.to_thread(read_image_file, path)
            before = look
        await asyncio.sleep(LOOK_S)


async def _put_in(inbox: ImageInbox, file: ImageFile) -> None:
    """Put an image into a folder, once there is room and none of its name waits any more."""
    while True:
        try:
            await asyncio.to_thread(inbox.put, file.name, file.content)
        except (BlockingIOError, FileExistsError):
            await asyncio.sleep(LOOK_S)
        else:
            return


def _gap(station: StationSettings, path: Path | None, file: ImageFile | None) -> bytes:
    """Return the event that an image is not judged, with what is known of it."""
    named = None if path is None else station.unit_and_feature(path.stem)
    reason = IMAGE_MISSING if file is None else IMAGE_NOT_TAKEN
    return new_event(
        quality_pb2.Gap(source=station.station, reason=reason, missing_count=1),
        device=station.station,
        capture=event_pb2.CAPTURE_MODE_SENSOR_DIRECT,
        time=datetime.now(UTC),
        uncertainty_us=station.clock_uncertainty_us,
        items=[] if named is None else [item(named[0])],
        files=[] if file is None else [unread_original(file)],
    )


def referenced_image(record: SourceRecord, field: str, folder: Path) -> Path:
    """Return the file that a vision system's result names.

    Args:
        record: What the source told, as JSON.
        field: Where in it the file's name stands, such as "ResultContent/0/ImageFile".
        folder: Where the vision system puts its images; the file lies directly in it.

    Raises:
        InputRefused: The record has no such field, or it names no file of that folder, or one of
            another ending than images have.
    """
    try:
        value: JsonValue = load(record.content, size_max=_RECORD_SIZE_MAX)
    except MalformedError as error:
        raise InputRefused(f"{record.kind} {record.record} is no JSON: {error}") from error
    for part in field.split("/"):
        value = _member(value, part)
    if not isinstance(value, str) or not value:
        raise InputRefused(
            f"{record.kind} {record.record} names no file in {field}; see which field has it"
        )
    # Some systems tell their own path to the file; what lies here has the same name.
    name = value.replace("\\", "/").rpartition("/")[2]
    if name in ("", ".", "..") or "\0" in name:
        raise InputRefused(f"{record.kind} {record.record} names {value[:80]!a}, which is no file")
    if not name.lower().endswith(SUFFIXES):
        raise InputRefused(
            f"{record.kind} {record.record} names {value[:80]!a}, which is no image that is judged:"
            f" let the vision system write {', '.join(SUFFIXES)}"
        )
    return folder / name


def _member(value: JsonValue, part: str) -> JsonValue:
    if isinstance(value, dict):
        return value.get(part)
    if isinstance(value, list) and part.isdecimal() and int(part) < len(value):
        item: JsonValue = value[int(part)]
        return item
    return None
