"""What an inspection station must know, from one TOML file; paths are relative to it.

station = "aoi-cam07"              # its name, in every event and for `lotmark model promote`
client = "client.toml"             # who signs, and which nodes it sends to
images = "images"                  # folder that the camera writes to
registry = "models"                # folder that `lotmark model register` fills
policy = "weld.toml"               # see `lotmark_inference.policy`
light = "weld-light"               # the model for every unit, by its name without version
heavy = "weld-heavy"               # the one for first articles and doubts; may be left out
engine = "onnxruntime"             # kind of engine that runs them; may be left out
file_name = "(?P<unit>[A-Z0-9]+)_(?P<feature>weld_[0-9]+)"  # of an image, without its ending
unit_prefix = "https://id.gs1.org/01/04012345000023/21/"    # of the item's id; the unit follows
clock_uncertainty_ms = 1_000       # how far this machine's clock may be off
webhooks = "webhooks.toml"         # who is told of nonconforming parts; may be left out
renew_s = 60                       # after which a node is asked again what may run
images_listen = "127.0.0.1:8406"   # where images may be pushed; may be left out
images_key_file = "images.key"     # what whoever pushes must show; loopback needs none
images_from = { source = "V1", field = "ResultContent/0/ImageFile", folder = "vision" }  # results
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lotmark.client.settings import SettingsError, complete_path, read_toml
from lotmark.errors import MalformedError
from lotmark.network_address import is_loopback, split_address
from lotmark.text import check_identifier
from lotmark_inference.onnx_limits import KIND
from lotmark_inference.opened_engine import KINDS

CLOCK_UNCERTAINTY_MAX_MS = 3_600_000
RENEW_S, RENEW_MAX_S = 60, 86_400
KEY_SIZE_MIN, KEY_SIZE_MAX = 16, 256
FILE_NAME_SIZE_MAX = 255
FEATURE_SIZE_MAX = 64

_STATION_SIZE_MAX = 64
_GROUPS = {"unit", "feature"}
_PATHS = ("client", "images", "registry", "policy")
_TEXTS = ("station", *_PATHS, "light", "file_name", "unit_prefix")
_KEYS = (
    *_TEXTS,
    "heavy",
    "engine",
    "webhooks",
    "clock_uncertainty_ms",
    "renew_s",
    "images_listen",
    "images_key_file",
    "images_from",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReference:
    """Where a vision system's results name the images that a station judges."""

    source: str  # of the same site
    field: str  # in a result, as JSON, that has the file's name
    folder: Path  # in which the file lies


@dataclass(frozen=True, slots=True, kw_only=True)
class StationSettings:
    """One station; paths are complete, and the files are not opened yet."""

    station: str
    client: Path
    images: Path
    registry: Path
    policy: Path
    light: str
    heavy: str  # "": none
    file_name: re.Pattern[str]
    unit_prefix: str
    clock_uncertainty_us: int
    webhooks: Path | None
    renew_s: int  # between two questions to the ledger
    folder: Path  # of the file
    engine: str = KIND  # kind of engine that runs the models
    images_listen: str | None = None  # host:port
    images_key: bytes = field(default=b"", repr=False)  # b"": whoever pushes needs none
    images_from: ImageReference | None = None

    def unit_and_feature(self, name: str) -> tuple[str, str] | None:
        """Return the item id and the feature that an image's name tells; None: it tells none.

        Args:
            name: Of the file, without its ending.
        """
        match = self.file_name.fullmatch(name[:FILE_NAME_SIZE_MAX])
        if match is None or not match["unit"] or match["feature"] is None:
            return None  # a group of a pattern may be optional
        unit, feature = f"{self.unit_prefix}{match['unit']}", match["feature"]
        try:
            check_identifier(unit, what="a unit")
            check_identifier(feature, what="a feature", size_max=FEATURE_SIZE_MAX)
        except MalformedError:
            return None
        return unit, feature


def read_station_settings(path: Path) -> StationSettings:
    """Return the settings in a file.

    Raises:
        SettingsError: The file cannot be read, has an unknown key, lacks one, or has a value that
            is not possible; the message names file, key and remedy.
    """
    table = read_toml(path)
    if unknown := sorted(set(table) - set(_KEYS)):
        raise SettingsError(
            f"{path}: key {unknown[0][:40]!a} is unknown; remove it, or use one of"
            f" {', '.join(_KEYS)}"
        )
    texts = {key: _text(path, table, key) for key in _TEXTS}
    try:
        check_identifier(texts["station"], what="station", size_max=_STATION_SIZE_MAX)
    except MalformedError as error:
        raise SettingsError(f"{path}: {error}") from error
    paths = {key: complete_path(path, key, texts[key]) for key in _PATHS}
    webhooks = None
    if "webhooks" in table:
        webhooks = complete_path(path, "webhooks", _text(path, table, "webhooks"))
    heavy = _text(path, table, "heavy") if "heavy" in table else ""
    if heavy == texts["light"]:
        raise SettingsError(
            f"{path}: heavy is {heavy}, as light is: its word would be no second one; leave it out"
        )
    images_listen, images_key = _listen(path, table)
    return StationSettings(
        station=texts["station"],
        client=paths["client"],
        images=paths["images"],
        registry=paths["registry"],
        policy=paths["policy"],
        light=texts["light"],
        heavy=heavy,
        file_name=_pattern(path, texts["file_name"]),
        unit_prefix=texts["unit_prefix"],
        clock_uncertainty_us=1_000
        * _number(path, table, "clock_uncertainty_ms", 0, CLOCK_UNCERTAINTY_MAX_MS),
        webhooks=webhooks,
        renew_s=_number(path, {"renew_s": RENEW_S, **table}, "renew_s", 1, RENEW_MAX_S),
        folder=path.absolute().parent,
        engine=_engine(path, table),
        images_listen=images_listen,
        images_key=images_key,
        images_from=_images_from(path, table),
    )


def _text(path: Path, table: dict[str, Any], key: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value:
        raise SettingsError(f'{path}: key {key} is {value!a}; write {key} = "..."')
    return value


def _engine(path: Path, table: dict[str, Any]) -> str:
    kind = _text(path, {"engine": KIND, **table}, "engine")
    if kind not in KINDS:
        raise SettingsError(f"{path}: engine {kind[:40]!a} is none of {', '.join(KINDS)}")
    return kind


def _images_from(path: Path, table: dict[str, Any]) -> ImageReference | None:
    if "images_from" not in table:
        return None
    wanted = table["images_from"]
    if not isinstance(wanted, dict) or wanted.keys() != {"source", "field", "folder"}:
        raise SettingsError(
            f"{path}: images_from is {str(wanted)[:80]!a}; write"
            ' { source = "...", field = "...", folder = "..." }'
        )
    texts = {key: _text(path, wanted, key) for key in wanted}
    folder = complete_path(path, "images_from", texts["folder"])
    return ImageReference(source=texts["source"], field=texts["field"], folder=folder)


def _listen(path: Path, table: dict[str, Any]) -> tuple[str | None, bytes]:
    """Return where images may be pushed, and the key that they need."""
    if "images_listen" not in table:
        if "images_key_file" in table:
            raise SettingsError(
                f"{path}: images_key_file is for images_listen; add that, or both go"
            )
        return None, b""
    address = _text(path, table, "images_listen")
    try:
        host, _ = split_address(address)
    except MalformedError as error:
        raise SettingsError(f"{path}: images_listen: {error}") from error
    if "images_key_file" in table:
        file = complete_path(path, "images_key_file", _text(path, table, "images_key_file"))
        return address, _key(path, file)
    if not is_loopback(host):
        raise SettingsError(
            f"{path}: images_listen {address} takes images from other machines, so it needs a key:"
            ' add images_key_file = "images.key", or listen at 127.0.0.1'
        )
    return address, b""


def _key(path: Path, file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            others = os.fstat(opened.fileno()).st_mode & 0o077
            key = opened.read(KEY_SIZE_MAX + 1).strip()
    except OSError as error:
        raise SettingsError(f"{path}: images_key_file {file}: {error.strerror}") from error
    if others:
        raise SettingsError(f"{path}: images_key_file {file} can be read by others: chmod 600 it")
    if not KEY_SIZE_MIN <= len(key) <= KEY_SIZE_MAX or not key.isascii():
        raise SettingsError(
            f"{path}: images_key_file {file} has {len(key)} bytes; write {KEY_SIZE_MIN} to"
            f" {KEY_SIZE_MAX} ASCII characters, such as of `openssl rand -hex 32`"
        )
    return key


def _number(path: Path, table: dict[str, Any], key: str, least: int, most: int) -> int:
    value = table.get(key)
    if type(value) is not int or not least <= value <= most:
        unit = "milliseconds" if key.endswith("_ms") else "seconds"
        raise SettingsError(f"{path}: {key} is {value!a}; write whole {unit}, {least} to {most}")
    return value


def _pattern(path: Path, text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text, re.ASCII)
    except re.error as error:
        raise SettingsError(f"{path}: file_name {text[:80]!a} is no pattern: {error}") from error
    if set(pattern.groupindex) != _GROUPS:
        raise SettingsError(
            f"{path}: file_name names the groups {sorted(pattern.groupindex)}; it must name"
            " (?P<unit>...) and (?P<feature>...)"
        )
    return pattern
