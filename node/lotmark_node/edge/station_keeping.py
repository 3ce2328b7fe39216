"""Where a station's originals and events go: into its site's store and memory, or by itself."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from lotmark.client.client import Client
from lotmark_node.edge.image_file import LargeImage
from lotmark_node.edge.pipeline import SitePipeline
from lotmark_node.edge.station_run import StationImage, StationRun


class SiteKeeper:
    """Within a site: one transaction of its memory, then its evidence store and its outbox."""

    def __init__(self, pipeline: SitePipeline, station: str) -> None:
        """Keep in a site's pipeline what a station makes."""
        self._pipeline = pipeline
        self._station = station

    async def put(self, events: Sequence[bytes]) -> None:
        """Keep events; waits for room without end."""
        await self._pipeline.put(events)

    async def keep(self, run: StationRun, image: StationImage) -> Path:
        """Keep an original and its events; waits for room without end.

        What is too large for the store has its events alone.
        """
        if isinstance(image.file, LargeImage):
            await self.put(image.inspected.events)
            return run.refused_place(image.file)
        return await self._pipeline.put_original(
            self._station, image.file.content, image.inspected.events
        )


class FolderKeeper:
    """By itself: originals beneath the folder of images, events in the client's own outbox."""

    def __init__(self, client: Client) -> None:
        """Hand events to a client."""
        self._client = client

    async def put(self, events: Sequence[bytes]) -> None:
        """Hand events over.

        Raises:
            OutboxFull, OutboxUnusable: They were not taken, or not all.
        """
        await asyncio.to_thread(self._client.submit_all, events)

    async def keep(self, run: StationRun, image: StationImage) -> Path:
        """Write an original, and hand its events over.

        Raises:
            OSError: It cannot be written.
            OutboxFull, OutboxUnusable: The events were not taken, or not all.
        """
        if isinstance(image.file, LargeImage):
            place = run.refused_place(image.file)
        else:
            place = await asyncio.to_thread(run.keep_in_folder, image)
        await self.put(image.inspected.events)
        return place
