"""The stator's welds, and results of them that nobody measured: what a forger would make up.

The scores are plausible, drawn by hashing, which unlike `random` gives the same numbers in every
version of Python. The story's own camera judges images: `lotmark_node.story.inspection`.
"""

import hashlib
from collections.abc import Callable

from lotmark.rfc3339 import parse_ms
from lotmark.v1 import event_pb2, quality_pb2

STATOR = "https://id.gs1.org/01/04012345000023/21/ST2601120001234"
WELDER = "https://id.gs1.org/8004/4012345W07"
PARTY = "T1-STATOR"
CAMERA = "aoi-cam07"
WELD_COUNT = 192
COLD_WELD = 137
OPERATOR = "cred-3f9a41c07b52e8d6"

_START_MS = parse_ms("2026-01-12T08:06:00Z")
_TAKT_MS = 1_250
_CLOCK_UNCERTAINTY_US = 2_000
_LIGHT_MODEL = "weld-light/3"
_HEAVY_MODEL = "weld-heavy/2"
_POLICY = "weld/12"
_SOUND = "SOUND/winding_end/OEM-A-std-3"
_COLD = "COLD_SOLDER/winding_end/OEM-A-std-3"
_REVIEW_AFTER_MS = 95_000  # from the last weld to the operator's verdict


def weld_inspections(seed: int, nonce: Callable[[], bytes]) -> list[event_pb2.Event]:
    """Return the camera's results in the order in which it sent them: 193 events.

    Weld 137 is judged twice: the light model finds it cold, so the policy asks the heavy one.

    Args:
        seed: Decides every drawn number.
        nonce: Gives 16 random bytes at each call, once an event.
    """
    events = []
    for weld in range(1, WELD_COUNT + 1):
        events.append(_inspection(weld, nonce(), _light_result(seed, weld)))
        if weld == COLD_WELD:
            events.append(_inspection(weld, nonce(), _heavy_result(seed)))
    return events


def review_verdict(
    judged_event_id: bytes,
    nonce: Callable[[], bytes],
    *,
    end_ms: int = _START_MS + WELD_COUNT * _TAKT_MS + _REVIEW_AFTER_MS,
    effort_s: int = 74,
) -> event_pb2.Event:
    """Return the operator's confirmation of the heavy model's result on weld 137.

    Args:
        judged_event_id: Of that result.
        nonce: Gives 16 random bytes.
        end_ms: When the operator had judged, Unix time.
        effort_s: How long that took.
    """
    return event_pb2.Event(
        nonce=nonce(),
        device="review-station-3",
        time=event_pb2.TimeInterval(
            start_ms=end_ms - effort_s * 1000,
            end_ms=end_ms,
            uncertainty_us=_CLOCK_UNCERTAINTY_US,
        ),
        capture_mode=event_pb2.CAPTURE_MODE_MANUAL,
        items=[_item(STATOR, event_pb2.ITEM_ROLE_SUBJECT)],
        review_verdict=quality_pb2.ReviewVerdict(
            event_id=judged_event_id,
            operator=OPERATOR,
            verdict=quality_pb2.VERDICT_NONCONFORMING,
            effort_s=effort_s,
            remark="Weld 137: solder has not wetted the winding end.",
        ),
    )


def _light_result(seed: int, weld: int) -> quality_pb2.InferenceResult:
    cold = weld == COLD_WELD
    score_ppm = 981_234 if cold else _drawn(seed, weld, "score", 968_000, 999_400)
    return _result(
        seed,
        weld,
        model=_LIGHT_MODEL,
        mode="NORMAL",
        score_ppm=score_ppm,
        latency_us=41_000 if cold else _drawn(seed, weld, "latency", 27_500, 39_500),
    )


def _heavy_result(seed: int) -> quality_pb2.InferenceResult:
    return _result(
        seed,
        COLD_WELD,
        model=_HEAVY_MODEL,
        mode="REINFORCED",
        score_ppm=994_102,
        latency_us=187_400,
    )


def _result(
    seed: int, weld: int, *, model: str, mode: str, score_ppm: int, latency_us: int
) -> quality_pb2.InferenceResult:
    cold = weld == COLD_WELD
    geometry_um = 150 if cold else _drawn(seed, weld, "geometry", 15, 65)
    context = {
        "takt_ms": str(_TAKT_MS),
        "temperature_c": f"{_drawn(seed, weld, 'temperature', 228, 236) / 10:.1f}",
        "humidity_permille": str(_drawn(seed, weld, "humidity", 410, 440)),
        "geometry_mm": f"0.{geometry_um:03d}".rstrip("0"),
    }
    return quality_pb2.InferenceResult(
        model=model,
        engine_digest=hashlib.sha256(f"engine of {model}".encode()).digest(),
        input_digest=hashlib.sha256(f"input {seed} {weld}".encode()).digest(),
        policy=_POLICY,
        mode=mode,
        label=_COLD if cold else _SOUND,
        score_ppm=score_ppm,
        calibrated_ppm=score_ppm - _drawn(seed, weld, "calibration", 200, 2_400),
        feature=f"weld_{weld}",
        verdict=(quality_pb2.VERDICT_NONCONFORMING if cold else quality_pb2.VERDICT_CONFORMING),
        latency_us=latency_us,
        context=[quality_pb2.Attribute(name=name, value=value) for name, value in context.items()],
    )


def _inspection(weld: int, nonce: bytes, result: quality_pb2.InferenceResult) -> event_pb2.Event:
    seen_ms = _START_MS + weld * _TAKT_MS
    return event_pb2.Event(
        nonce=nonce,
        device=CAMERA,
        time=event_pb2.TimeInterval(
            start_ms=seen_ms, end_ms=seen_ms, uncertainty_us=_CLOCK_UNCERTAINTY_US
        ),
        capture_mode=event_pb2.CAPTURE_MODE_SENSOR_DIRECT,
        items=[
            _item(STATOR, event_pb2.ITEM_ROLE_SUBJECT),
            _item(WELDER, event_pb2.ITEM_ROLE_USED),
        ],
        inference_result=result,
    )


def _item(item: str, role: event_pb2.ItemRole.ValueType) -> event_pb2.ItemReference:
    return event_pb2.ItemReference(id=item, role=role)


def _drawn(seed: int, weld: int, what: str, low: int, high: int) -> int:
    """Return a number from `low` to `high` that depends on all that is given, and nothing else."""
    digest = hashlib.sha256(f"{seed} {weld} {what}".encode()).digest()
    return low + int.from_bytes(digest) % (high - low + 1)
