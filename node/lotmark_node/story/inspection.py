"""The camera of the story: it photographs every weld of a stator, and a station judges what it saw.

Weld and light are made up by the generator of `lotmark_inference.weld_images`, and so is what an
accelerometer at the spindle would say; models, scores and results are real.
"""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lotmark_inference.vibration import BASELINE_BLOCKS_MIN, VibrationBaseline
from lotmark_inference.weld_images import weld_image
from lotmark_inference.weld_surface import SIZE, WeldKind
from lotmark_node.edge.station_settings import StationSettings, read_station_settings
from lotmark_node.story.welds import CAMERA, COLD_WELD, STATOR, WELD_COUNT

MODELS = ("weld-light", "weld-heavy")
COLD_UM = 150  # how wide the gap is that the solder has left at the cold weld
FIRST_SEED = 2**40 + 8_000_000  # of the images: no model has learnt from these

_SERIAL = STATOR.rpartition("/")[2]
_TAKT_MS = 1_250
_SAMPLING_HZ = 12_800
_BLOCK_SAMPLES = 8_192
_SHAFT_HZ = 25.0

_POLICY = f"""\
name = "weld"
version = 12
catalogue = "weld-labels/1"
modality = "ring_light_grey"
grey_zone = 500
escalate = ["defect"]
review = ["defect", "disagreement"]
judges = {{ NORMAL = "light", FIRST_ARTICLE = "both", REINFORCED = "both" }}
triggers = [{{ on = "nonconforming", mode = "REINFORCED", units = 5 }}]

[threshold]
low = 2_000
high = 9_500

[[threshold.maps]]
input = "takt_ms"
knots = [{{ at = 900, by = -1_000 }}, {{ at = {_TAKT_MS}, by = 0 }}]

[[threshold.maps]]
input = "vibration_rms_z_milli"
knots = [{{ at = 1_500, by = 0 }}, {{ at = 7_000, by = -2_500 }}]
"""


def registry_of(folder: Path) -> Path:
    """Return where the models' files are kept, in the story's folder."""
    return folder / CAMERA / "models"


def photograph(folder: Path, client: Path) -> StationSettings:
    """Let the camera write the images of all welds; return the settings of its station."""
    site = folder / CAMERA
    images = site / "images"
    images.mkdir(parents=True)
    (site / "weld.toml").write_text(_POLICY)
    (site / "station.toml").write_text(
        f"""\
station = "{CAMERA}"
client = "{client.absolute()}"
images = "images"
registry = "models"
policy = "weld.toml"
light = "{MODELS[0]}"
heavy = "{MODELS[1]}"
file_name = "(?P<unit>[A-Z0-9]+)_(?P<feature>weld_[0-9]+)"
unit_prefix = "{STATOR.removesuffix(_SERIAL)}"
clock_uncertainty_ms = 2
"""
    )
    healthy = [_vibration(-weld) for weld in range(1, 3 * BASELINE_BLOCKS_MIN + 1)]
    baseline = VibrationBaseline.of(healthy, sampling_hz=_SAMPLING_HZ)
    for weld in range(1, WELD_COUNT + 1):
        path = images / f"{_SERIAL}_weld_{weld}.pgm"
        vibration = baseline.rms_z_milli(_vibration(weld))
        context = {"takt_ms": _TAKT_MS, "vibration_rms_z_milli": vibration}
        path.with_suffix(".json").write_text(json.dumps(context))
        path.write_bytes(b"P5 %d %d 255\n" % (SIZE, SIZE) + _pixels(weld))
    return read_station_settings(site / "station.toml")


def _pixels(weld: int) -> bytes:
    if weld == COLD_WELD:
        return weld_image(
            FIRST_SEED + weld, kind=WeldKind.COLD_SOLDER, defect_width_um=COLD_UM
        ).pixels.tobytes()
    return weld_image(FIRST_SEED + weld, kind=WeldKind.SOUND).pixels.tobytes()


def _vibration(weld: int) -> NDArray[np.float64]:
    """Return the acceleration of a healthy spindle, shape (8192,): its shaft, and noise.

    Args:
        weld: During which it is taken; below 0: before the first.
    """
    random = np.random.default_rng(FIRST_SEED + weld)
    seconds = np.arange(_BLOCK_SAMPLES) / _SAMPLING_HZ
    shaft = 0.3 * np.sin(2 * np.pi * _SHAFT_HZ * seconds)
    return shaft + 0.05 * random.normal(size=_BLOCK_SAMPLES)
