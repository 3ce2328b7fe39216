"""The loop of `lotmark inference watch`: one station by itself, told line by line."""

import asyncio
import json
import signal
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import typer

from lotmark.client.client import Client
from lotmark.client.settings import SettingsError, read_client_settings
from lotmark_inference.policy import Trigger
from lotmark_node import terminal
from lotmark_node.edge.image_listener import listening
from lotmark_node.edge.station_alerts import alerting
from lotmark_node.edge.station_keeping import FolderKeeper
from lotmark_node.edge.station_run import StationImage
from lotmark_node.edge.station_settings import StationSettings
from lotmark_node.edge.station_watch import StationWatch


def watch_station(
    settings: StationSettings, *, triggers: Sequence[Trigger], once: bool, as_json: bool
) -> terminal.ExitCode:
    """Judge images until SIGINT or SIGTERM, or those that are there.

    Args:
        settings: Of the station; licence and mode are kept beside its file.
        triggers: What has happened at the line before.
        once: End when those are judged that are there.
        as_json: Whether a program reads what is told.

    Returns:
        NO: a part does not conform; else CANNOT_TELL: an image is undetermined, or was not judged;
        else DONE.

    Raises:
        InferenceError, ProtocolError, AdapterError, OSError: It may not or cannot run.
    """
    if settings.images_from is not None:
        raise SettingsError(
            f"images_from names source {settings.images_from.source}, which only an edge site"
            " watches: run the station there, or remove images_from"
        )
    verdicts = set[str]()
    client_settings = read_client_settings(settings.client)
    client = Client(client_settings)
    try:
        with alerting(settings.webhooks) as alert, listening(settings):

            def tell(image: StationImage, kept: Path) -> None:
                verdicts.add(image.verdict)
                made_ms = time.time_ns() // 1_000_000
                alert(partial(image.alert, settings.station, made_ms=made_ms))
                typer.echo(json.dumps(_document(image, kept)) if as_json else _line(image))

            watch = StationWatch(
                settings,
                client_settings,
                settings.folder,
                FolderKeeper(client),
                alarm=lambda _image: None,
                tell=tell,
            )
            asyncio.run(_watch(watch, triggers, once=once))
    finally:
        client.close()
    if "NONCONFORMING" in verdicts:
        return terminal.ExitCode.NO
    if verdicts - {"CONFORMING"} or watch.unread_count:
        return terminal.ExitCode.CANNOT_TELL
    return terminal.ExitCode.DONE


async def _watch(watch: StationWatch, triggers: Sequence[Trigger], *, once: bool) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await watch.run_once(stop, triggers=triggers, only_present=once)
    while not once and not stop.is_set():  # the ledger allows something else by now
        await watch.run_once(stop)


def _document(image: StationImage, kept: Path) -> dict[str, object]:
    inspected = image.inspected
    results = inspected.judgement.results if inspected.judgement else ()
    return {
        "image": image.name,
        "kept": str(kept),
        "mode": image.mode.value,
        "verdict": image.verdict,
        "labels": {each.model: each.label for each in results},
        "latency_us": max((each.latency_us for each in results), default=None),
        "to_review": inspected.to_review.hex() or None,
        "trouble": inspected.trouble or None,
    }


def _line(image: StationImage) -> str:
    inspected = image.inspected
    name = image.name
    if inspected.judgement is None:
        return f"{name}: not judged: {inspected.trouble}"
    labels = "; ".join(f"{each.model} {each.label}" for each in inspected.judgement.results)
    review = f"; to review: {inspected.to_review.hex()}" if inspected.to_review else ""
    trouble = f"; another model failed: {inspected.trouble}" if inspected.trouble else ""
    return f"{name}: {image.verdict}, {image.mode}: {labels}{trouble}{review}"
