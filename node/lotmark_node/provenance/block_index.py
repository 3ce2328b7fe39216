"""What one block adds to the index, gathered before it is written.

Runs on the apply loop for every event, so what is alike is gathered: one row a list and block, not
one an event, and no key is built twice.
"""

import struct
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from lotmark.event import CheckedEvent, EventRefused
from lotmark.event_links import LINKING_BODIES, links
from lotmark.item_name import canonical_item
from lotmark.v1 import event_pb2, provenance_pb2
from lotmark_node.provenance.event_facts import TELLERS
from lotmark_node.provenance.packed import ENDED, RESTRICTED, Alike, Edge, Told
from lotmark_node.provenance.rows import (
    DIGEST,
    EPCIS_HASH,
    WINDOW_MS,
    digest_prefix,
    file_name_prefix,
)

RESTRICTED_SIGHTING = 1 << 63

_U64 = struct.Struct(">Q")
_USED_ROLE = event_pb2.ITEM_ROLE_USED
_INPUT_ROLE = event_pb2.ITEM_ROLE_INPUT
_USED = provenance_pb2.EDGE_KIND_USED

Lists = defaultdict[str, list[int]]


@dataclass(frozen=True, slots=True)
class IndexedBatch:
    """A batch that was accepted, as the index takes it."""

    first_index: int  # of its first event
    party: str
    events: Sequence[CheckedEvent | EventRefused]
    outcomes: Sequence[int]


class BlockIndex:
    """The additions of one block, by kind of row."""

    def __init__(self) -> None:
        # Entries in order, by name.
        self.items: Lists = defaultdict(list)
        self.devices: Lists = defaultdict(list)
        self.parties: Lists = defaultdict(list)
        self.models: Lists = defaultdict(list)
        self.dispositions: Lists = defaultdict(list)
        self.types: defaultdict[int, list[int]] = defaultdict(list)
        self.windows: defaultdict[int, list[int]] = defaultdict(list)
        self.restricted: Lists = defaultdict(list)  # of those of an item
        # By device or tool and window: time, entry and item touched.
        self.sightings: defaultdict[tuple[str, int], list[tuple[int, int, str]]] = defaultdict(list)
        self.facts: defaultdict[str, dict[Alike, Told]] = defaultdict(dict)  # by item
        self.back: defaultdict[str, list[Edge]] = defaultdict(list)  # by product
        self.forward: defaultdict[str, list[Edge]] = defaultdict(list)  # by source
        self.digests: list[bytes] = []  # keys of the rows

    def add(self, batches: Iterable[IndexedBatch]) -> None:
        """Take the accepted events of accepted batches."""
        for batch in batches:
            accepted = []
            index = batch.first_index
            for event, outcome in zip(batch.events, batch.outcomes, strict=True):
                if not outcome:
                    assert isinstance(event, CheckedEvent), "an accepted event was checked"
                    self._add_event(event, index, batch.party)
                    accepted.append(index)
                index += 1
            if accepted:
                self.parties[batch.party] += accepted

    def _add_event(self, event: CheckedEvent, index: int, party: str) -> None:
        message = event.message
        device, start_ms = message.device, message.time.start_ms
        window = start_ms // WINDOW_MS
        self.types[event.event_type].append(index)
        self.devices[device].append(index)
        self.windows[window].append(index)
        names = event.item_names
        for name in names:
            self.items[name].append(index)
        flags, audience = 0, ""
        if message.audience:
            flags, audience = RESTRICTED, _audience_name(message.audience)
            for name in names:
                self.restricted[name].append(index)
        touched, used = _by_role(event)
        self._sight(touched, (device, *used), window, start_ms, index, flags)
        about, bad = self._tell(event, index, party)
        for tool in used:
            about.append((_USED, tool))
        for name in touched:
            known = self.facts[name]
            for kind, target in about:
                alike = kind, target, party, audience
                told = known.get(alike)
                if told is None:
                    known[alike] = Told(index, index, start_ms, 1, bad)
                else:
                    told.last_entry = index
                    told.event_count += 1
                    told.nonconforming_count += bad
        if event.body_name in LINKING_BODIES:
            self._link(event, index, flags, party)

    def _sight(
        self,
        touched: Sequence[str],
        seers: Sequence[str],
        window: int,
        start_ms: int,
        index: int,
        flags: int,
    ) -> None:
        """List what a device and the tools it used have touched."""
        if flags:
            index |= RESTRICTED_SIGHTING
        for name in touched:
            seen = start_ms, index, name
            for seer in seers:
                self.sightings[seer, window].append(seen)

    def _tell(self, event: CheckedEvent, index: int, party: str) -> tuple[list[Any], int]:
        """List the event by what it says; return its facts and whether they are bad."""
        message, entry = event.message, _U64.pack(index)
        if message.files:
            for file in message.files:
                self.digests.append(digest_prefix(DIGEST, file.sha256) + entry)
                self.digests.append(file_name_prefix(file.name) + entry)
        teller = TELLERS.get(event.body_name)
        if teller is None:
            return [], 0
        told = teller(event.body, message, party)
        if told.disposition:
            self.dispositions[told.disposition].append(index)
        if told.model:
            self.models[told.model].append(index)
        for digest in told.digests:
            self.digests.append(digest_prefix(DIGEST, digest) + entry)
        for digest in told.epcis_hashes:
            self.digests.append(digest_prefix(EPCIS_HASH, digest) + entry)
        return list(told.facts), told.nonconforming

    def _link(self, event: CheckedEvent, index: int, flags: int, party: str) -> None:
        start_ms = event.message.time.start_ms
        for kind, source, product, quantity, unit, ended in links(event.message, event.body_name):
            marked = flags | ENDED if ended else flags
            rest = kind, marked, index, start_ms, quantity, unit, party
            self.back[product].append(Edge(source, *rest))
            self.forward[source].append(Edge(product, *rest))


def _audience_name(parties: Sequence[str]) -> str:
    """Return a short name under which events with the same audience are told together."""
    return blake2b(",".join(parties).encode(), digest_size=8).hexdigest()


def _by_role(event: CheckedEvent) -> tuple[Sequence[str], Sequence[str]]:
    """Return which items an event touched, and which tools it used; inputs are neither."""
    names: Sequence[str] = event.item_names
    if len(names) != len(event.item_ids):  # one stands twice, in several roles or forms
        names = [canonical_item(item_id) for item_id in event.item_ids]
    touched, used = [], []
    for name, role in zip(names, event.item_roles, strict=True):
        if role == _USED_ROLE:
            used.append(name)
        elif role != _INPUT_ROLE and name not in touched:
            touched.append(name)
    return touched, used
