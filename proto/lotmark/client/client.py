"""What a system embeds: submit events, lose none of them, and learn what became of each.

    with Client.open(Path("client.toml")) as client:
        delivery = client.submit(event)        # in the outbox on disk when this returns
        result = delivery.result(timeout_s=30) # on the ledger: or `await delivery`

Two threads work behind it: the writer, which stores, batches and signs, and the sender, which talks
to a node. A third one fetches receipts where they are asked for.
"""

import os
import threading
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self

from lotmark.batch import Batch
from lotmark.client.clock import Clock
from lotmark.client.connection import read_pinned_genesis
from lotmark.client.delivery import Delivery
from lotmark.client.errors import ClientClosed, OutboxFull
from lotmark.client.node_stream import SeenCheckpoint
from lotmark.client.outbox import Outbox
from lotmark.client.receipts import Receipts
from lotmark.client.sender import Sender
from lotmark.client.session import LedgerSession
from lotmark.client.settings import ClientSettings, SettingsError, read_client_settings
from lotmark.client.submission import check_events
from lotmark.client.waiting import OutboxBounds, Waiting
from lotmark.client.writer import Signer, Writer
from lotmark.ed25519 import PrivateKey
from lotmark.key_file import read_key_file

LINGER_S = 0.02  # for which an event waits for others to share its batch
ROOM_S = 30.0  # for which a caller waits for room in the outbox
CLOSE_S = 10.0  # for acknowledgements, when the client is closed
GROUP_EVENTS_MAX = 4_096  # that find room in the outbox together

SETTINGS_VARIABLE = "LOTMARK_CLIENT"


class Client:
    """Submits events to a ledger through an outbox on disk; any thread may call it.

    Attributes:
        settings: Those it was opened with.
    """

    def __init__(
        self,
        settings: ClientSettings,
        *,
        batch_key: PrivateKey | None = None,
        outbox: Path | None = None,
        bounds: OutboxBounds | None = None,
        linger_s: float = LINGER_S,
        new_lane: bool = False,
    ) -> None:
        """Open the outbox and begin to send what is in it.

        No node needs to answer for that, nor for events to be submitted.

        Args:
            settings: Who calls which nodes about which chain.
            batch_key: Signs the batches; None: the one in the settings' file.
            outbox: Another file than that of the settings: one for each process that sends.
            bounds: How much may wait in it.
            linger_s: How long an event waits for others to share its batch.
            new_lane: Go on in a new lane, as the ledger has lost the outbox's: what waits is
                signed again there.

        Raises:
            OutboxBusy: Another process has the outbox open.
            OutboxUnusable: It is another chain's, damaged, or cannot be read or written.
            ProtocolError: The genesis is not that of the pinned chain, or the key file has no key.
            OSError: A file cannot be read.
        """
        self.settings = settings
        bounds = bounds or OutboxBounds()
        self._group_max = min(GROUP_EVENTS_MAX, bounds.events_max)
        genesis = read_pinned_genesis(settings)
        key = read_key_file(settings.batch_key) if batch_key is None else batch_key
        seen = SeenCheckpoint()
        self._closing = threading.Lock()
        self._is_closed = False
        self._receipts = Receipts(lambda: LedgerSession(settings))
        self._outbox = Outbox(outbox or settings.outbox_file, chain_id=settings.chain_id)
        try:
            kept = chain(
                (each.raw for each in self._outbox.all_events()),
                (event for each in self._outbox.all_batches() for event in each.batch.events),
            )
            self._waiting = Waiting(self._outbox.path, bounds, self._new_delivery, kept)
            signer = Signer(
                key=key,
                chain_id=settings.chain_id,
                party=settings.party,
                clock=Clock(),
                seen=seen.newest,
            )
            self._writer = Writer(self._outbox, self._waiting, signer, linger_s=linger_s)
        except BaseException:
            self._outbox.close()
            raise
        self._sender = Sender(
            settings, genesis, self._outbox, self._waiting, self._writer, seen, new_lane=new_lane
        )
        self._writer.start()
        self._sender.start()

    @classmethod
    def open(cls, settings_file: Path | None = None) -> Self:
        """Open the client that a settings file describes.

        Args:
            settings_file: As `lotmark init` wrote it; None: the one that LOTMARK_CLIENT names.

        Raises:
            SettingsError: There is none, or it cannot be used.
            ClientError, ProtocolError, OSError: As for `Client`.
        """
        named = settings_file or os.environ.get(SETTINGS_VARIABLE)
        if not named:
            raise SettingsError(
                f"no client is named; give the path of its client.toml, or set {SETTINGS_VARIABLE}"
            )
        return cls(read_client_settings(Path(named)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close(timeout_s=CLOSE_S if error is None else 0.0)

    # Submitting

    def submit(self, event: bytes, *, room_s: float = ROOM_S) -> Delivery:
        """Put an event into the outbox; it is on disk when this returns.

        Args:
            event: A serialised `lotmark.v1.Event`, such as `new_event` makes.
            room_s: How long to wait where the outbox is full.

        Raises:
            EventRefused: The event breaks a rule of the ledger; the message names the field.
            OutboxFull: There was no room in time. The event was not taken.
            OutboxUnusable: The disk refused it. The event was not taken.
            ClientClosed: The client was closed.
        """
        (delivery,) = self.submit_all([event], room_s=room_s)
        return delivery

    def submit_all(self, events: Sequence[bytes], *, room_s: float = ROOM_S) -> list[Delivery]:
        """Put events into the outbox, in order; all are on disk when this returns.

        None is taken before all of them keep every rule. Where it ends with another error, some
        may have been taken: submit all of them again, since what waits already is not taken twice.

        Raises:
            EventRefused, OutboxFull, OutboxUnusable, ClientClosed: As `submit`.
        """
        check_events(events)
        groups = [
            self._waiting.enter(events[at : at + self._group_max], room_s=room_s)
            for at in range(0, len(events), self._group_max)
        ]
        for group in groups:
            group.stored.result()
        return [delivery for group in groups for delivery in group.deliveries]

    async def submit_async(self, event: bytes, *, room_s: float = ROOM_S) -> Delivery:
        """As `submit`, for coroutines: many at once share one wait for the disk.

        Raises:
            EventRefused, OutboxFull, OutboxUnusable, ClientClosed: As `submit`.
        """
        import asyncio

        check_events([event])
        try:
            group = self._waiting.enter([event], room_s=0.0)
        except OutboxFull:
            return await asyncio.to_thread(self.submit, event, room_s=room_s)
        await asyncio.shield(asyncio.wrap_future(group.stored))
        return group.deliveries[0]

    # What waits

    @property
    def outbox_file(self) -> Path:
        """Where it is kept."""
        return self._outbox.path

    @property
    def waiting_count(self) -> int:
        """How many events are in the outbox without an acknowledgement."""
        return self._waiting.count

    @property
    def trouble(self) -> str:
        """Why nothing is acknowledged at present; "" where all is well."""
        return self._waiting.trouble

    def waiting(self) -> list[tuple[bytes, Delivery]]:
        """Return the events in the outbox without an acknowledgement, each with its delivery."""
        # First what is in no batch yet: it may be in one a moment later.
        unsigned = [each.raw for each in self._outbox.all_events()]
        signed = [event for each in self._outbox.all_batches() for event in each.batch.events]
        return self._waiting.still_waiting([*signed, *unsigned])

    def refused(self) -> list[tuple[Batch, str]]:
        """Return batches that can never be accepted, each with the reason; kept in the outbox.

        Raises:
            ClientClosed: The client was closed.
        """
        if self._is_closed:
            raise ClientClosed(f"the client was closed; open {self._outbox.path} anew to look")
        return self._outbox.refused()

    def flush(self, timeout_s: float) -> int:
        """Wait until everything is acknowledged, and return how many events still wait."""
        return self._waiting.wait_empty(timeout_s)

    def close(self, *, timeout_s: float = CLOSE_S) -> int:
        """Wait a while for acknowledgements and close the outbox; a second time does nothing.

        Returns:
            How many events wait in the outbox for the next client that opens it.
        """
        with self._closing:
            if self._is_closed:
                return self._waiting.count
            self._is_closed = True
            left = self.flush(timeout_s)
            self._waiting.close()
            self._receipts.close()
            self._sender.join()
            self._writer.join()
            self._outbox.close()
        closed = f"the client was closed; the event waits in {self._outbox.path} for the next one"
        self._waiting.fail_all(lambda _: ClientClosed(closed))
        return left

    def _new_delivery(self, event_id: bytes) -> Delivery:
        return Delivery(event_id, self._waiting.why, self._receipts.fetch)
