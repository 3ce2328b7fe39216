"""What a system embeds that submits to a ledger and keeps its receipts.

`Client` sends, `LedgerSession` reads and proves, `ProvenanceReader` asks over such a session where
things come from, `ContractReader` what rule packages decide, `new_event` makes events,
`seal_report` seals. The bodies of events and their enumerations are `lotmark.v1.quality_pb2` and
`lotmark.v1.event_pb2`.
"""

import logging

from lotmark.client.client import Client
from lotmark.client.contracts import ContractReader
from lotmark.client.delivery import Delivery, Pending
from lotmark.client.errors import (
    ClientClosed,
    ClientError,
    LaneStateError,
    NotAcknowledgedYet,
    OutboxBusy,
    OutboxFull,
    OutboxUnusable,
    SubmissionRefused,
)
from lotmark.client.new_event import item, new_event
from lotmark.client.provenance import ProvenanceReader
from lotmark.client.report_file import SealedReport, SealStanding, seal_report
from lotmark.client.sealing import NothingToCorrect, SealedOtherwise
from lotmark.client.session import LedgerSession
from lotmark.client.settings import ClientSettings, SettingsError, read_client_settings
from lotmark.client.submission import EventResult
from lotmark.client.waiting import OutboxBounds
from lotmark.event import EventRefused
from lotmark.outcome import Outcome

__all__ = [
    "Client",
    "ClientClosed",
    "ClientError",
    "ClientSettings",
    "ContractReader",
    "Delivery",
    "EventRefused",
    "EventResult",
    "LaneStateError",
    "LedgerSession",
    "NotAcknowledgedYet",
    "NothingToCorrect",
    "OutboxBounds",
    "OutboxBusy",
    "OutboxFull",
    "OutboxUnusable",
    "Outcome",
    "Pending",
    "ProvenanceReader",
    "SealStanding",
    "SealedOtherwise",
    "SealedReport",
    "SettingsError",
    "SubmissionRefused",
    "item",
    "new_event",
    "read_client_settings",
    "seal_report",
]

# Whoever embeds it decides where its log lines go; without that they go nowhere.
logging.getLogger(__name__).addHandler(logging.NullHandler())
