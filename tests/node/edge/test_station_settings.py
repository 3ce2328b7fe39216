"""A station's settings: every key is checked, and what an image's name tells is found."""

import os
from pathlib import Path

import pytest

from lotmark.client.settings import SettingsError
from lotmark_node.edge.station_run import CONTEXT_SIZE_MAX, read_context
from lotmark_node.edge.station_settings import StationSettings, read_station_settings

TEXT = """
station = "aoi-cam07"
client = "client.toml"
images = "images"
registry = "models"
policy = "weld.toml"
light = "weld-light"
heavy = "weld-heavy"
file_name = "(?P<unit>[A-Z0-9]+)_(?P<feature>weld_[0-9]+)"
unit_prefix = "https://id.gs1.org/01/04012345000023/21/"
clock_uncertainty_ms = 1_000
"""


def read(folder: Path, text: str = TEXT) -> StationSettings:
    path = folder / "station.toml"
    path.write_text(text)
    return read_station_settings(path)


def test_settings_are_read_with_complete_paths(tmp_path: Path) -> None:
    settings = read(tmp_path)

    assert settings.images == tmp_path / "images"
    assert (settings.light, settings.heavy) == ("weld-light", "weld-heavy")
    assert settings.clock_uncertainty_us == 1_000_000
    assert settings.webhooks is None
    assert settings.engine == "onnxruntime"
    assert read(tmp_path, f'{TEXT}engine = "tensorrt"').engine == "tensorrt"
    assert read(tmp_path, f'{TEXT}webhooks = "w.toml"').webhooks == tmp_path / "w.toml"
    assert read(tmp_path, TEXT.replace('heavy = "weld-heavy"\n', "")).heavy == ""


def test_an_images_name_tells_unit_and_feature_or_nothing(tmp_path: Path) -> None:
    settings = read(tmp_path)

    assert settings.unit_and_feature("ST26_weld_137") == (
        "https://id.gs1.org/01/04012345000023/21/ST26",
        "weld_137",
    )
    for name in ("", "weld_137", "ST26_weld_137_copy", "st26_weld_1", "A" * 10_000):
        assert settings.unit_and_feature(name) is None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('light = "weld-light"', "", "key light is None"),
        ('light = "weld-light"', "light = 3", "key light is 3"),
        ('light = "weld-light"', 'light = "x"\ncolour = "red"', "key 'colour' is unknown"),
        ('"aoi-cam07"', '"cam 7"', "not an identifier"),
        (
            'heavy = "weld-heavy"',
            'engine = "cuda"',
            "engine 'cuda' is none of onnxruntime, tensorrt, tensorrt-rtx",
        ),
        ('heavy = "weld-heavy"', "engine = 11", "key engine is 11"),
        ('"weld-heavy"', '"weld-light"', "heavy is weld-light, as light is"),
        ("1_000", "-1", "clock_uncertainty_ms is -1"),
        ("1_000", "1.5", "clock_uncertainty_ms is 1.5"),
        ("(?P<unit>", "(?P<part>", "must name"),
        ("(?P<unit>", "(?P<unit>(", "is no pattern"),
        ('images = "images"', 'images = ""', "key images is ''"),
    ],
)
def test_settings_that_say_something_else_are_refused_by_name(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in TEXT
    with pytest.raises(SettingsError) as refused:
        read(tmp_path, TEXT.replace(old, new, 1))

    assert said in str(refused.value)
    assert "station.toml" in str(refused.value)


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b'{"takt_ms": 1250, "hall": 3.5, "line": "L3", "on": true}', {"takt_ms": 1250}),
        (b'{"takt_ms": 9007199254740993}', {}),
        (b"[1]", {}),
        (b'{"takt_ms": 1, "takt_ms": 2}', {}),
        (b"{", {}),
        (b"{}" + b" " * CONTEXT_SIZE_MAX, {}),
    ],
)
def test_context_that_is_no_whole_number_is_none(
    tmp_path: Path, raw: bytes, found: dict[str, int]
) -> None:
    path = tmp_path / "weld.json"
    assert read_context(path) == {}
    path.write_bytes(raw)

    assert read_context(path) == found


@pytest.mark.parametrize("depth", [100, 2_000, CONTEXT_SIZE_MAX])
def test_context_that_is_deeply_nested_is_none(tmp_path: Path, depth: int) -> None:
    (tmp_path / "weld.json").write_bytes(b"[" * depth)

    assert read_context(tmp_path / "weld.json") == {}


def test_context_that_is_no_plain_file_is_none_and_never_waited_for(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b'{"takt_ms": 1250}')
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "link.json").symlink_to(tmp_path / "secret")
    (tmp_path / "folder.json").mkdir()

    for name in ("pipe.json", "link.json", "folder.json"):
        assert read_context(tmp_path / name) == {}


@pytest.mark.parametrize(
    "pattern",
    [
        "(?P<unit>[A-Z0-9]+)(_(?P<feature>weld_[0-9]+))?",
        "((?P<unit>[A-Z0-9]+)_)?(?P<feature>weld_[0-9]+)",
        "(?P<unit>[A-Z0-9]*)_?(?P<feature>weld_[0-9]+)",
        "((?P<unit>[A-Z0-9]+)_(?P<feature>weld_[0-9]+))?.*",
    ],
)
def test_a_name_that_leaves_an_optional_group_out_tells_no_unit(
    tmp_path: Path, pattern: str
) -> None:
    settings = read(tmp_path, TEXT.replace("(?P<unit>[A-Z0-9]+)_(?P<feature>weld_[0-9]+)", pattern))

    found = [settings.unit_and_feature(name) for name in ("ST26_weld_1", "ST26", "weld_1", "")]

    assert found[0] == ("https://id.gs1.org/01/04012345000023/21/ST26", "weld_1")
    assert found[1:] == [None] * 3


def test_images_may_be_pushed_from_other_machines_only_with_a_key(tmp_path: Path) -> None:
    listen = f'{TEXT}images_listen = "0.0.0.0:8406"\n'
    key = tmp_path / "images.key"
    with pytest.raises(SettingsError, match="from other machines, so it needs a key"):
        read(tmp_path, listen)
    with pytest.raises(SettingsError, match="images_key_file is for images_listen"):
        read(tmp_path, f'{TEXT}images_key_file = "images.key"')
    with pytest.raises(SettingsError, match=r"images\.key: No such file"):
        read(tmp_path, f'{listen}images_key_file = "images.key"')
    key.write_text("short\n")
    with pytest.raises(SettingsError, match="can be read by others: chmod 600"):
        read(tmp_path, f'{listen}images_key_file = "images.key"')
    key.chmod(0o600)
    with pytest.raises(SettingsError, match="has 5 bytes; write 16 to 256"):
        read(tmp_path, f'{listen}images_key_file = "images.key"')
    key.write_text("a key of a test, long enough\n")

    settings = read(tmp_path, f'{listen}images_key_file = "images.key"')

    assert settings.images_key == b"a key of a test, long enough"
    assert read(tmp_path, f'{TEXT}images_listen = "127.0.0.1:0"').images_key == b""
