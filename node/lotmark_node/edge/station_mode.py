"""A station's mode on disk: what a restart, or a kill, must not make it forget.

The file is written once what led to the mode is in the outbox. A kill in between makes the next run
judge the same image from the mode before, and so say the same once more.
"""

from pathlib import Path

from lotmark.canonical_json import JsonValue, dump, load
from lotmark.errors import MalformedError
from lotmark.json_fields import JsonFields
from lotmark_consensus.disk import replace_file
from lotmark_inference.errors import PolicyRefused
from lotmark_inference.policy import Latch, Trigger
from lotmark_node.edge.inspection_station import StationMode
from lotmark_node.edge.small_file import read_small_file

FILE_SIZE_MAX = 4_096

_FORMAT = "lotmark-station-mode/1"


class ModeFile:
    """The mode of one station, on disk."""

    def __init__(self, folder: Path, station: str) -> None:
        """Keep it in a folder, which is made with the first mode."""
        self._path = folder / f"{station}.mode.json"
        self._written: StationMode | None = None
        self._newest: StationMode | None = None  # also where it could not be written

    def read(self) -> StationMode | None:
        """Return the mode that was kept last, or was to be kept in this run; None: none ever was.

        Raises:
            PolicyRefused: The file is damaged.
            OSError: It cannot be read.
        """
        if self._newest is not None:
            return self._newest
        raw = read_small_file(self._path, size_max=FILE_SIZE_MAX)
        if raw is None:
            return None
        try:
            self._written = _from_json(load(raw, size_max=FILE_SIZE_MAX))
        except MalformedError as error:
            raise PolicyRefused(
                f"{self._path} is damaged: {error}; remove it, and the station begins as one that"
                " was never started"
            ) from error
        return self._written

    def keep(self, mode: StationMode) -> None:
        """Write a mode, on disk when this returns; nothing is written where it is as before.

        Raises:
            OSError: It cannot be written.
        """
        if not (mode.first_article or mode.reinforced):
            # Nothing counts units, so none need be known.
            mode = StationMode(
                policy_digest=mode.policy_digest,
                first_article=None,
                reinforced=None,
                unit=None,
                counts_down=True,
            )
        self._newest = mode
        if mode == self._written:
            return
        replace_file(self._path, dump(_to_json(mode)))
        self._written = mode


def _to_json(mode: StationMode) -> JsonValue:
    return {
        "format": _FORMAT,
        "policy_sha256": mode.policy_digest.hex(),
        "first_article": _latch_to_json(mode.first_article),
        "reinforced": _latch_to_json(mode.reinforced),
        "unit": mode.unit,
        "counts_down": mode.counts_down,
    }


def _latch_to_json(latch: Latch | None) -> JsonValue:
    if latch is None:
        return None
    return {
        "units_left": latch.units_left,
        "trigger": latch.trigger.value,
        "cause_id": latch.cause_id.hex(),
    }


def _from_json(value: JsonValue) -> StationMode:
    names = ("format", "policy_sha256", "first_article", "reinforced", "unit", "counts_down")
    fields = JsonFields(value, names, place="mode")
    assert isinstance(value, dict), "it has fields"
    if value["format"] != _FORMAT:
        raise MalformedError(f"its format is not {_FORMAT}")
    return StationMode(
        policy_digest=fields.hex("policy_sha256", size=32),
        first_article=_latch_from_json(value["first_article"], "mode.first_article"),
        reinforced=_latch_from_json(value["reinforced"], "mode.reinforced"),
        unit=None if value["unit"] is None else fields.text("unit"),
        counts_down=fields.flag("counts_down"),
    )


def _latch_from_json(value: JsonValue, place: str) -> Latch | None:
    if value is None:
        return None
    fields = JsonFields(value, ("units_left", "trigger", "cause_id"), place=place)
    units_left, trigger = fields.number("units_left"), fields.text("trigger")
    if units_left < 1 or trigger not in list(Trigger):
        raise MalformedError(f"{place} has {units_left} units left by {trigger[:40]!a}")
    cause = fields.text("cause_id")
    return Latch(
        units_left=units_left,
        trigger=Trigger(trigger),
        cause_id=fields.hex("cause_id", size=32) if cause else b"",
    )
