"""What a station may run: who says no, who says nothing, and which answer counts."""

import dataclasses
import errno
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lotmark.client.calls import CallRefused, NotOnLedgerError
from lotmark.client.ledger_records import LedgerEntry, LedgerPosition
from lotmark.client.settings import ClientSettings
from lotmark.errors import MalformedError, ProofError, SignatureError
from lotmark.v1 import event_pb2
from lotmark_inference.engines_here import engines_here
from lotmark_inference.errors import CatalogueRefused, ModelRefused
from lotmark_node.edge import licence_file, station_licence
from lotmark_node.edge.licence_file import LicenceFile
from lotmark_node.edge.station_licence import StationLicence
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

LICENSED_SIZE = 10  # entries of `Ledger`, with which the station may run
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
        self.meanwhile: Callable[[], None] | None = None  # done once, when an answer was read

    @property
    def size(self) -> int:
        return len(self.log.events) if self.shown is None else self.shown


class Session:
    """What a licence asks of `LedgerSession`."""

    ledger_in_memory: Ledger

    def __init__(self, client: "Client") -> None:
        (called,) = client.nodes
        called()

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
        if parties:  # the models, which are read last
            meanwhile, self.ledger_in_memory.meanwhile = self.ledger_in_memory.meanwhile, None
            if meanwhile is not None:
                meanwhile()

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
    nodes: tuple[Callable[[], None], ...] = (lambda: None,)  # done as each is called

    def each_node(self) -> Iterator["Client"]:
        for each in self.nodes:
            yield dataclasses.replace(self, nodes=(each,))


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

    assert station.file.last() is None
    with pytest.raises(ConnectionError):
        station.obtained()


def test_a_catalogue_that_is_not_in_force_is_a_no(station: Station) -> None:
    station.ledger.shown = len(ROLES) + 1

    with pytest.raises(CatalogueRefused):
        station.obtained()


def test_a_node_that_is_behind_undoes_no_roll_back(station: Station) -> None:
    station.obtained()
    before = station.ledger.size
    station.ledger.log.put(0, rolled_back(1, ""))
    with pytest.raises(ModelRefused):
        station.renewed()
    station.restart()
    station.ledger.shown = before

    with pytest.raises(ConnectionError, match=f"not as far as entry {before}"):
        station.obtained()
    station.ledger.shown = None
    with pytest.raises(ModelRefused):
        station.obtained()


@given(shown=st.lists(st.integers(LICENSED_SIZE - 2, LICENSED_SIZE + 4), min_size=1, max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_nodes_are_asked_none_undoes_what_one_that_was_farther_has_said(
    ledger: Ledger, shown: list[int]
) -> None:
    """Promoted, rolled back, promoted again behind another entry, and rolled back."""
    ledger.log.events[:] = ledger.log.events[:LICENSED_SIZE]
    for event in (rolled_back(1, ""), registered(2), promoted(), rolled_back(1, "")):
        ledger.log.put(0, event)
    with TemporaryDirectory() as folder:
        station, seen, said_yes = Station(Path(folder), ledger), 0, False
        for size in shown:
            ledger.shown = min(size, len(ledger.log.events))
            station.restart()
            if ledger.shown >= seen:  # it counts
                seen, said_yes = ledger.shown, is_licensed(ledger.shown)
            starts = True
            try:
                station.obtained()
            except (ModelRefused, CatalogueRefused, ConnectionError):
                starts = False
            assert starts is said_yes


def is_licensed(size: int) -> bool:
    """Return whether the first so many entries of that ledger let the station run."""
    return size in (LICENSED_SIZE, LICENSED_SIZE + 3)


def test_a_node_that_is_behind_takes_no_licence_away(station: Station) -> None:
    station.obtained()
    station.ledger.shown = LICENSED_SIZE - 1

    assert station.obtained().read_ms == 1_000
    with pytest.raises(ConnectionError):
        station.renewed()
    assert station.file.last() is not None


def test_what_was_seen_of_one_chain_says_nothing_of_another(station: Station) -> None:
    station.obtained()
    station.client = cast("ClientSettings", Client(chain_id=bytes([1]) * 32))
    station.ledger.shown = LICENSED_SIZE - 1

    with pytest.raises(ModelRefused):
        station.obtained()


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"x" * 2_000, b'{"format":1,"chain_id":"","size":"0"}']
)
def test_a_damaged_note_of_the_size_stops_no_line(
    station: Station, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    station.obtained()
    note = note_of(station)
    whole = note.read_bytes()
    note.write_bytes(content)

    assert station.model() == "weld-light/1"
    assert "how far the ledger was is not known" in caplog.messages
    assert note.read_bytes() == whole


def test_a_note_of_the_size_that_cannot_be_read_stops_no_line(
    station: Station, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As one of another user; tests may be run by root."""
    station.obtained()
    note = note_of(station)
    opened = Path.open

    def open_file(path: Path, mode: str) -> object:
        if path == note:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, mode)

    monkeypatch.setattr(Path, "open", open_file)
    assert station.model() == "weld-light/1"
    station.ledger.failure = NO_ANSWERS[0]
    station.restart()

    assert station.model() == "weld-light/1"
    assert "how far the ledger was is not known" in caplog.messages


def test_a_folder_of_the_notes_name_stops_no_line_that_no_node_answers(
    station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    station.obtained()
    note_of(station).unlink()
    note_of(station).mkdir()
    station.ledger.failure = NO_ANSWERS[0]
    station.restart()

    assert station.obtained().read_ms == 1_000
    assert "how far the ledger was is not known" in caplog.messages


def test_a_missing_note_of_the_size_is_nothing_to_tell(
    station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    station.obtained()

    assert "how far the ledger was is not known" not in caplog.messages


@pytest.mark.parametrize("note", [None, b"", b"{}"], ids=repr)
def test_without_a_note_of_the_size_no_node_that_lacks_the_licensed_model_says_no(
    station: Station, note: bytes | None
) -> None:
    """As at the first start of a release that keeps such notes."""
    model = station.obtained().light.registered
    for shown in range(model.index + 1):
        if note is None:
            note_of(station).unlink()
        else:
            note_of(station).write_bytes(note)
        station.restart()
        station.ledger.shown = shown

        assert station.obtained().read_ms == 1_000  # nobody has answered
        with pytest.raises(ConnectionError, match=f"not as far as entry {model.index}"):
            station.renewed()
        station.ledger.shown = None
        assert station.renewed().read_ms == 2_000
        station.obtained()


def test_without_a_note_of_the_size_a_no_behind_the_licensed_model_counts(station: Station) -> None:
    station.obtained()
    note_of(station).unlink()
    station.ledger.log.put(0, rolled_back(1, ""))
    station.restart()

    with pytest.raises(ModelRefused):
        station.obtained()
    assert station.file.last() is None
    assert note_of(station).exists()


def test_a_licence_of_another_party_tells_no_size(station: Station) -> None:
    station.obtained()
    note_of(station).unlink()
    station.client = cast("ClientSettings", Client(party="T1-ROTOR"))
    station.ledger.shown = 1

    with pytest.raises((ModelRefused, CatalogueRefused)):
        station.renewed()


def note_of(station: Station) -> Path:
    """Return where a station keeps how far the ledger was."""
    return station.folder / "data" / f"{STATION}.ledger.json"


def test_a_no_counts_on_a_full_disk(
    station: Station, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_path: Path, _content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    station.obtained()
    station.ledger.log.put(0, rolled_back(1, ""))
    monkeypatch.setattr(licence_file, "replace_file", full)

    with pytest.raises(ModelRefused):
        station.renewed()
    assert station.file.last() is None
    assert "a node's no is not kept" in caplog.messages


def test_an_answer_that_comes_after_that_to_a_later_question_is_not_kept(station: Station) -> None:
    """The question of a run that ended is under way when the next run asks."""
    ledger = station.ledger

    def meanwhile() -> None:
        ledger.log.put(0, rolled_back(1, ""))
        with pytest.raises(ModelRefused):
            station.obtained()

    ledger.meanwhile = meanwhile
    assert station.renewed().light.registered.model == "weld-light/1"

    assert station.file.last() is None
    ledger.shown = LICENSED_SIZE  # nor is the size of that time
    with pytest.raises(ConnectionError):
        station.obtained()


def test_an_answer_of_a_node_that_is_behind_what_was_heard_meanwhile_is_not_kept(
    station: Station,
) -> None:
    """Another process of the station has heard more since this one asked."""
    ledger = station.ledger

    def meanwhile() -> None:
        ledger.log.put(0, rolled_back(1, ""))
        with pytest.raises(ModelRefused):
            LicenceFile(station.folder / "data", STATION).renewed(
                station.settings, station.client, weld_policy(), now_ms=1
            )

    ledger.meanwhile = meanwhile
    station.renewed()

    assert station.file.last() is None


def test_a_no_that_comes_after_a_later_yes_takes_no_licence_away(station: Station) -> None:
    ledger = station.ledger
    ledger.log.put(0, rolled_back(1, ""))

    def meanwhile() -> None:
        ledger.log.put(0, promoted())
        station.obtained()

    ledger.meanwhile = meanwhile
    with pytest.raises(ModelRefused):
        station.renewed()

    assert station.file.last() is not None


def nodes(ledger: Ledger, *kinds: str) -> ClientSettings:
    """Return a client of several nodes: each is busy, behind the ledger, or good."""

    def calling(kind: str) -> Callable[[], None]:
        def call() -> None:
            ledger.failure = NO_ANSWERS[0] if kind == "busy" else None
            ledger.shown = LICENSED_SIZE if kind == "behind" else None

        return call

    return cast("ClientSettings", Client(nodes=tuple(calling(each) for each in kinds)))


def test_a_roll_back_is_heard_from_the_node_that_is_good_behind_one_busy_and_one_behind(
    station: Station,
) -> None:
    station.obtained()
    station.ledger.log.put(0, registered(2))
    station.renewed()  # from here on the first entries alone are behind
    station.ledger.log.put(0, rolled_back(1, ""))
    station.client = nodes(station.ledger, "behind", "busy", "good")

    with pytest.raises(ModelRefused, match="no version of weld-light is in use"):
        station.renewed()
    assert station.file.last() is None


@given(kinds=st.lists(st.sampled_from(["busy", "behind", "good"]), min_size=1, max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_no_is_heard_wherever_one_of_the_nodes_is_good(ledger: Ledger, kinds: list[str]) -> None:
    ledger.log.events[:] = ledger.log.events[:LICENSED_SIZE]
    ledger.failure = ledger.shown = None
    with TemporaryDirectory() as folder:
        station = Station(Path(folder), ledger)
        ledger.log.put(0, registered(2))
        station.obtained()
        ledger.log.put(0, rolled_back(1, ""))
        station.client = nodes(ledger, *kinds)

        with pytest.raises((ModelRefused, ConnectionError, CallRefused)) as raised:
            station.renewed()

        assert isinstance(raised.value, ModelRefused) is ("good" in kinds)
        assert (station.file.last() is None) is ("good" in kinds)


def test_of_several_nodes_it_is_told_of_each_why_it_does_not_answer(station: Station) -> None:
    station.ledger.log.put(0, registered(2))
    station.obtained()
    station.client = nodes(station.ledger, "busy", "behind")

    with pytest.raises(ConnectionError, match=r"none of 2 nodes .*512 calls .*; .*not as far as"):
        station.renewed()
