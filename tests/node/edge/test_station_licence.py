"""What a station may run: who says no, who says nothing, and which answer counts."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import pytest

from lotmark.client.calls import CallRefused, NotOnLedgerError
from lotmark.client.ledger_records import LedgerEntry, LedgerPosition
from lotmark.client.settings import ClientSettings
from lotmark.errors import MalformedError, ProofError, SignatureError
from lotmark.v1 import event_pb2
from lotmark_inference.engines_here import engines_here
from lotmark_inference.errors import CatalogueRefused, ModelRefused
from lotmark_node.edge import station_licence
from lotmark_node.edge.station_licence import LicenceFile, StationLicence
from tests.inference.test_label_catalogue import (
    ROLES,
    approval,
    registration,
    weld_labels,
)
from tests.inference.test_model_registry import (
    PARTY,
    STATION,
    admitted,
    promoted,
    registered,
    rolled_back,
)
from tests.inference.weld_policy import weld_policy
from tests.node.accepted_log import AcceptedLog
from tests.node.edge.test_referenced_images import station as station_settings

NO_ANSWERS = [
    CallRefused("OEM-A/n1: 512 calls are in work; try again"),
    CallRefused("OEM-A/n1: an error in this program"),
    NotOnLedgerError("not found"),
    ProofError("it gave another entry"),
    SignatureError("it serves another chain"),
    MalformedError("it gave no event"),
    ConnectionError("cannot be reached"),
    TimeoutError("did not answer within 15 s"),
]


class Ledger:
    """A ledger in memory, and a node of it that may be behind, or fail."""

    def __init__(self) -> None:
        self.log = AcceptedLog()
        for number, approver in enumerate(ROLES):
            self.log.put(0, registration(number, approver))
        catalogue = self.log.put(0, event_pb2.Event(label_catalogue=weld_labels().body))
        for number in range(len(ROLES)):
            self.log.put(0, approval(number, catalogue))
        (here,) = engines_here("onnxruntime")
        for event in (registered(), admitted(on=here), promoted()):
            self.log.put(0, event)
        self.shown: int | None = None  # entries that the node has; None: all
        self.failure: Exception | None = None

    @property
    def size(self) -> int:
        return len(self.log.events) if self.shown is None else self.shown


class Session:
    """What a licence asks of `LedgerSession`."""

    ledger_in_memory: Ledger

    def __init__(self, _client: ClientSettings) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass

    def ledger(self) -> LedgerPosition:
        self._answer()
        return LedgerPosition(node="OEM-A/n1", height=1, size=self.ledger_in_memory.size, time_ms=0)

    def reach(self, index: int) -> None:
        self._answer()
        if index >= self.ledger_in_memory.size:
            raise ConnectionError(f"OEM-A/n1 is not as far as entry {index}")

    def entries(
        self, from_index: int = 0, *, event_types: Sequence[int] = (), parties: Sequence[str] = ()
    ) -> Iterator[LedgerEntry]:
        for each in self.ledger_in_memory.log.events[from_index : self.ledger_in_memory.size]:
            self._answer()
            yield each.entry

    def _answer(self) -> None:
        if self.ledger_in_memory.failure is not None:
            raise self.ledger_in_memory.failure


class Station:
    """A station that asks this ledger."""

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        self.ledger = ledger
        self.folder = folder
        self.settings = station_settings(folder)
        self.client = cast("ClientSettings", Client())
        self.restart()

    def restart(self) -> None:
        self.file = LicenceFile(self.folder / "data", STATION)

    def obtained(self) -> StationLicence:
        return self.file.obtained(self.settings, self.client, weld_policy(), now_ms=1_000)

    def renewed(self) -> StationLicence:
        return self.file.renewed(self.settings, self.client, weld_policy(), now_ms=2_000)

    def model(self) -> str:
        return self.obtained().light.registered.model


@dataclasses.dataclass(frozen=True)
class Client:
    """What a licence asks of a client's settings."""

    party: str = PARTY
    chain_id: bytes = bytes(32)


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Ledger:
    ledger = Ledger()
    monkeypatch.setattr(Session, "ledger_in_memory", ledger, raising=False)
    monkeypatch.setattr(station_licence, "LedgerSession", Session)
    return ledger


@pytest.fixture
def station(tmp_path: Path, ledger: Ledger) -> Station:
    return Station(tmp_path, ledger)


@pytest.mark.parametrize("failure", NO_ANSWERS, ids=repr)
def test_a_node_that_fails_has_not_said_no(
    station: Station, failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    station.obtained()
    station.ledger.failure = failure
    station.restart()

    assert station.obtained().read_ms == 1_000
    assert vars(caplog.records[-1])["reason"] == str(failure)
    with pytest.raises(type(failure)):
        station.renewed()
    assert station.file.last() is not None


@pytest.mark.parametrize("failure", NO_ANSWERS, ids=repr)
def test_without_a_last_licence_it_is_told_how_the_node_failed(
    station: Station, failure: Exception
) -> None:
    station.ledger.failure = failure

    with pytest.raises(type(failure), match=str(failure)):
        station.obtained()


def test_a_no_takes_the_licence_away(station: Station) -> None:
    station.obtained()
    station.ledger.log.put(0, rolled_back(1, ""))
    with pytest.raises(ModelRefused, match="no version of weld-light is in use"):
        station.obtained()
    station.ledger.failure = ConnectionError("cannot be reached")

    with pytest.raises(ConnectionError):
        station.obtained()


def test_a_catalogue_that_is_not_in_force_is_a_no(station: Station) -> None:
    station.ledger.shown = len(ROLES) + 1

    with pytest.raises(CatalogueRefused):
        station.obtained()
