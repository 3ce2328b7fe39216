"""The loop of `lotmark inference watch`: polls, judges, tells, until a signal."""

import json
import signal
import threading
from types import FrameType

import typer

from lotmark_node.edge.station_run import StationImage, StationRun

POLL_S = 0.2  # between two looks at the folder; an image is taken at the second one

_NONCONFORMING = "NONCONFORMING"


def watch_station(run: StationRun, *, once: bool, as_json: bool) -> bool:
    """Judge images until SIGINT or SIGTERM, or those that are there.

    Returns:
        Whether every image was judged and none was nonconforming.
    """
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return _watch(run, stopping, once=once, as_json=as_json)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(run: StationRun, stopping: threading.Event, *, once: bool, as_json: bool) -> bool:
    is_conforming = True
    run.poll()
    while not stopping.wait(POLL_S):
        for path in run.poll():
            image = run.take(path)
            if image is None:
                is_conforming = False
                continue
            is_conforming &= image.verdict not in (_NONCONFORMING, "NOT_JUDGED")
            typer.echo(json.dumps(_document(image)) if as_json else _line(image))
            if stopping.is_set():
                break
        if once:
            break
    return is_conforming


def _document(image: StationImage) -> dict[str, object]:
    inspected = image.inspected
    results = inspected.judgement.results if inspected.judgement else ()
    return {
        "image": image.name,
        "kept": str(image.kept),
        "mode": image.mode.value,
        "verdict": image.verdict,
        "labels": {each.model: each.label for each in results},
        "latency_us": max((each.latency_us for each in results), default=None),
        "to_review": inspected.to_review.hex() or None,
        "trouble": inspected.trouble or None,
    }


def _line(image: StationImage) -> str:
    inspected = image.inspected
    if inspected.judgement is None:
        return f"{image.name}: not judged: {inspected.trouble}"
    labels = "; ".join(f"{each.model} {each.label}" for each in inspected.judgement.results)
    review = f"; to review: {inspected.to_review.hex()}" if inspected.to_review else ""
    return f"{image.name}: {image.verdict}, {image.mode}: {labels}{review}"
