"""The loop of `lotmark inference watch`: polls, judges, tells, until a signal."""

import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import typer

from lotmark_adapters.errors import WebhookOutboxUnusable
from lotmark_adapters.webhooks.outbox import WebhookOutbox
from lotmark_adapters.webhooks.settings import read_targets
from lotmark_adapters.webhooks.teller import Teller
from lotmark_node.edge.station_run import StationImage, StationRun

logger = logging.getLogger(__name__)

TELLING_S = 5.0  # for the alert that is being sent when the station stops
POLL_S = 0.2  # between two looks at the folder; an image is taken at the second one

_NONCONFORMING = "NONCONFORMING"


def watch_station(
    run: StationRun,
    *,
    once: bool,
    as_json: bool,
    alert: Callable[[StationImage], None],
) -> bool:
    """Judge images until SIGINT or SIGTERM, or those that are there.

    Args:
        run: Of the station.
        once: End when those are judged that are there.
        as_json: Whether a program reads what is told.
        alert: Tells people of an image where there is a reason.

    Returns:
        Whether every image was judged and none was nonconforming.
    """
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return _watch(run, stopping, once=once, as_json=as_json, alert=alert)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(
    run: StationRun,
    stopping: threading.Event,
    *,
    once: bool,
    as_json: bool,
    alert: Callable[[StationImage], None],
) -> bool:
    is_conforming = True
    run.poll()
    while not stopping.wait(POLL_S):
        for path in run.poll():
            image = run.take(path)
            if image is None:
                is_conforming = False
                continue
            is_conforming &= image.verdict not in (_NONCONFORMING, "NOT_JUDGED")
            alert(image)
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


@contextmanager
def alerting(webhooks: Path | None, station: str) -> Iterator[Callable[[StationImage], None]]:
    """Give what tells people of nonconforming parts; it never holds up or ends an inspection.

    Args:
        webhooks: Their settings; None: nobody is told.
        station: Its name.

    Raises:
        AdapterError: The settings or the outbox cannot be used when it begins.
    """
    if webhooks is None:
        yield lambda _image: None
        return
    targets = read_targets(webhooks)
    outbox = WebhookOutbox(webhooks.with_suffix(".sqlite"))
    teller = Teller(outbox, targets)

    def alert(image: StationImage) -> None:
        message = image.alert(station, made_ms=time.time_ns() // 1_000_000)
        if message is None:
            return
        try:
            teller.tell(message)
        except WebhookOutboxUnusable as error:
            logger.error("nobody is told", extra={"image": image.name, "why": str(error)})

    try:
        yield alert
    finally:
        teller.close(timeout_s=TELLING_S)
        outbox.close()
