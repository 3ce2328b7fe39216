"""Loads of a network: from a client of some party to a voter of the bench's choice."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from lotmark.client.settings import ClientSettings
from lotmark_node.bench.load import LANES, Load
from lotmark_node.bench.sending import Sent, send, send_paced
from lotmark_node.trial.network import NodeStatus, TrialNetwork

HOLDER = "load"  # the client that each voter's party has
EVENTS_IN_FLIGHT = 8_192
CHUNK_EVENTS = 100_000  # signed at a time where nothing is timed that signing would disturb


@dataclass(slots=True)
class NetworkLoad:
    """Sends to a network and counts what it was sent; every load has lanes of its own."""

    network: TrialNetwork
    events: int = 0
    lanes: Iterator[int] = field(default_factory=lambda: count(0, LANES))

    def open(self, node: str, batch_size: int, *, party_of: str | None = None) -> Load:
        """Return a new load to one voter, by default from a client of its own party."""
        client = next(
            each
            for each in self._client(party_of or node).each_node()
            if f"{each.node_party}/{each.node_name}" == node
        )
        return Load(client, batch_size, first_lane=next(self.lanes))

    def leader(self) -> str:
        """Return who leads, as soon as somebody does."""
        return self.network.leader(self._client(next(iter(self.network.voters))))

    def status(self, node: str) -> NodeStatus:
        """Return what a voter tells of itself.

        Raises:
            ConnectionError: It does not answer.
        """
        status = self.network.status(node, self._client(node))
        if status is None:
            raise ConnectionError(f"{node} does not answer")
        return status

    def _client(self, voter: str) -> ClientSettings:
        """Return the settings of the client that a voter's party has."""
        party = voter.partition("/")[0]
        return self.network.client_settings(f"{party}/{HOLDER}")

    def saturate(self, load: Load, *, events: int, seconds: float) -> Sent:
        """Send as fast as the network takes it, until the time is up or all is sent."""
        batches = load.ready(events)
        sent = asyncio.run(
            send(
                load.settings,
                batches,
                batch_size=load.batch_size,
                batches_per_message=1,
                messages_in_flight=EVENTS_IN_FLIGHT // load.batch_size,
                seconds=seconds,
            )
        )
        return self._count(load, sent)

    def offer(self, load: Load, *, events_per_s: float, seconds: float) -> Sent:
        """Send at a rate, whatever the network makes of it."""
        batches = load.ready(round(events_per_s * seconds))
        paced = send_paced(
            load.settings, batches, batch_size=load.batch_size, events_per_s=events_per_s
        )
        return self._count(load, asyncio.run(paced))

    def fill(self, load: Load, events: int, *, max_s: float) -> None:
        """Send so many events, signed in between."""
        while events >= load.batch_size:
            sent = self.saturate(load, events=min(events, CHUNK_EVENTS), seconds=max_s)
            events -= sent.events

    def _count(self, load: Load, sent: Sent) -> Sent:
        load.took(sent.events)
        self.events += sent.events
        return sent
