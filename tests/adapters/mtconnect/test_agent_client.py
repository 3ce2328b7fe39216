"""Calls to an agent: what they cost whoever shares the loop."""

import asyncio
from functools import partial

from lotmark_adapters.mtconnect.agent_client import PARSED_AT_ONCE_SIZE_MAX, AgentClient
from lotmark_adapters.mtconnect.documents import read_streams
from lotmark_adapters.mtconnect.settings import MtconnectSettings
from tests.adapters.mtconnect.test_documents import sample, streams


def test_others_go_on_while_a_large_document_is_parsed() -> None:
    document = streams("".join(sample(sequence=str(each)) for each in range(1, 5_001)))
    assert len(document) > PARSED_AT_ONCE_SIZE_MAX
    passes = 0

    async def go_on() -> None:
        nonlocal passes
        while True:
            passes += 1
            await asyncio.sleep(0)

    settings = MtconnectSettings(name="press-7", address="http://127.0.0.1:1")

    async def scenario() -> None:
        async with AgentClient(settings) as client:
            going_on = asyncio.create_task(go_on())
            found = await client.parsed(partial(read_streams, place="here"), document)
            going_on.cancel()
        assert len(found.observations) == 5_000
        assert passes > 0

    asyncio.run(scenario())
