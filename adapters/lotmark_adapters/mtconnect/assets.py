"""An agent's assets, such as cutting tools: fetched whole when it tells that they changed."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from lxml import etree

from lotmark_adapters.errors import RequestRefused, SourceUnavailable, UnreadableDocument
from lotmark_adapters.mtconnect.agent_client import AgentClient
from lotmark_adapters.mtconnect.documents import AssetNotice, parse_document, time_us
from lotmark_adapters.observation import Observation, SourceRecord

KIND = "mtconnect_asset"
MEDIA_TYPE = "application/xml"
ASSETS_MAX = 20  # of one request
TRIES_MAX = 3  # of one request
ASSETS_S = 3.0  # for all that one document tells of: for so long the next one waits
SUPERSEDED = "the asset changed again before it could be fetched"

logger = logging.getLogger(__name__)


async def all_assets(client: AgentClient, signal: str, captured_us: int) -> list[SourceRecord]:
    """Return all assets that an agent has, under a signal; none where it does not give them."""
    try:
        read = partial(read_assets, place=client.place)
        records = await client.parsed(read, await client.assets([]))
    except SourceUnavailable as error:
        logger.warning("assets not fetched", extra={"source": client.place, "problem": str(error)})
        return []
    return [
        replace(each, signal=signal, made_us=each.made_us or captured_us)
        for each in records.values()
    ]


def marked_superseded(
    observations: Sequence[Observation], notices: Sequence[AssetNotice]
) -> list[Observation]:
    """Return observations, those with a status that tell of content which later ones replace.

    An agent keeps the newest content of an asset only.
    """
    newest = {each.asset: each for each in notices}
    superseded = {each.sequence for each in notices if each is not newest[each.asset]}
    return [
        replace(each, status=SUPERSEDED) if each.sequence in superseded else each
        for each in observations
    ]


async def changed_assets(
    client: AgentClient, observations: Sequence[Observation], notices: Sequence[AssetNotice]
) -> list[SourceRecord]:
    """Return the assets that observations tell of, as these are now, as far as they can be had.

    What an agent does not give within `ASSETS_S`, all in all, is logged and left out.
    """
    told = {each.sequence: each for each in observations}
    newest = {each.asset: each for each in notices if each.sequence in told}
    found: dict[str, SourceRecord] = {}
    ids = [asset for asset, notice in newest.items() if not notice.is_removed]
    try:
        async with asyncio.timeout(ASSETS_S):
            for at in range(0, len(ids), ASSETS_MAX):
                found |= await _fetched(client, ids[at : at + ASSETS_MAX])
    except TimeoutError:
        missing = [each for each in ids if each not in found]
        logger.warning(
            "assets not fetched in time",
            extra={"source": client.place, "first": missing[0], "count": len(missing)},
        )
    return [
        replace(
            found[asset],
            signal=told[notice.sequence].signal,
            made_us=found[asset].made_us or told[notice.sequence].made_us,
        )
        for asset, notice in newest.items()
        if asset in found
    ]


def read_assets(raw: bytes, place: str) -> dict[str, SourceRecord]:
    """Return the assets of a document by id; their signals are open, and a time of 0 is unknown.

    Raises:
        UnreadableDocument: It is no XML, or has a document type.
        RequestRefused: It is an error document.
    """
    root = parse_document(raw, place)
    return {
        str(element.get("assetId")): SourceRecord(
            kind=KIND,
            record=str(element.get("assetId")),
            signal="",
            made_us=_made_us(element),
            media_type=MEDIA_TYPE,
            # Exclusive: the same asset has the same bytes, whatever document it stands in.
            content=etree.tostring(element, method="c14n", exclusive=True, with_tail=False),
        )
        for element in _elements(root)
    }


async def _fetched(client: AgentClient, ids: Sequence[str]) -> dict[str, SourceRecord]:
    """Return assets by id; one that cannot be had is not among them.

    A single id that the agent does not know is enough for it to refuse all, and a single asset
    that is no XML spoils the document: then each is asked for by itself.
    """
    read = partial(read_assets, place=client.place)
    problem: SourceUnavailable | None = None
    for _ in range(TRIES_MAX):
        try:
            return await client.parsed(read, await client.assets(ids))
        except (RequestRefused, UnreadableDocument) as error:
            if len(ids) > 1:
                return {
                    asset: record
                    for each in ids
                    for asset, record in (await _fetched(client, [each])).items()
                }
            problem = error
        except SourceUnavailable as error:
            problem = error
    logger.warning(
        "assets not fetched",
        extra={"source": client.place, "first": ids[0], "count": len(ids), "problem": str(problem)},
    )
    return {}


def _elements(root: etree._Element) -> Iterator[etree._Element]:
    for container in root.iterfind("{*}Assets"):
        for element in container:
            if "assetId" in element.attrib:
                yield element


def _made_us(element: etree._Element) -> int:
    try:
        return time_us(str(element.get("timestamp", "")))
    except ValueError:
        return 0
