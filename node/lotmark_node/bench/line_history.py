"""The events of a stator line over months or years, in the order in which its systems tell them.

Copper heats become wire lots; wire, laminations, paper and resin become stators, one every 96 s.
Each is judged by two models and measured eight times; 48 are packed onto a pallet, 16 pallets into
a container. The same for the same seed, and made as it is read: memory does not grow with it.

The numbers are made up: plausible, drawn by hashing, and measured nowhere.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any, NamedTuple

from lotmark.gs1_keys import check_digit
from lotmark.v1 import event_pb2
from lotmark_node.bench import line_bodies as bodies

TAKT_MS = 96_000  # 900 stators a day
UNITS_AHEAD = 900  # a lot is there a day before its first unit
UNITS_PER_WIRE_LOT = 400
WIRE_LOTS_PER_HEAT = 125
UNITS_PER_HEAT = UNITS_PER_WIRE_LOT * WIRE_LOTS_PER_HEAT  # 50,000
UNITS_PER_PALLET = 48
PALLETS_PER_CONTAINER = 16
UNITS_PER_CONTAINER = UNITS_PER_PALLET * PALLETS_PER_CONTAINER  # its trace has some 800 nodes
UNITS_PER_CALIBRATION = 6_300  # a week of one gauge

MAKER, LABORATORY = "T2-CU-JX/erp", "LAB-17025/lims"
PLANNING, LINE = "T1-STATOR/erp", "T1-STATOR/mes"
CAMERAS, TEST_BENCH = "T1-STATOR/aoi", "T1-STATOR/eol"
CUSTOMER = "OEM-A/erp"
SIGNERS = (MAKER, LABORATORY, PLANNING, LINE, CAMERAS, TEST_BENCH, CUSTOMER)

_GS1 = "https://id.gs1.org/"
STATOR_STEM = f"{_GS1}01/04012345000023/21/ST"
_START_MS = 1_767_600_000_000  # 2026-01-05T08:00:00Z
_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000
_COMPANY = "4012345"
_SUBJECT = event_pb2.ITEM_ROLE_SUBJECT
_USED = event_pb2.ITEM_ROLE_USED
_INPUT = event_pb2.ITEM_ROLE_INPUT
_OUTPUT = event_pb2.ITEM_ROLE_OUTPUT


class SignedLater(NamedTuple):
    """An event that waits for its batch."""

    at_ms: int  # when its system tells it
    number: int  # of the events in the order in which they were thought up
    signer: str  # "<party>/<holder>"
    event: bytes


@dataclass(frozen=True, slots=True)
class _Material:
    """A kind of lot that goes into stators."""

    product: str
    prefix: str
    units_per_lot: int
    quantity: str  # of a lot
    unit: str
    per_stator: event_pb2.Quantity


def _material(
    product: str, prefix: str, units: int, *, lot: str, unit: str, stator: str
) -> _Material:
    return _Material(product, prefix, units, lot, unit, event_pb2.Quantity(value=stator, unit=unit))


_WIRE = _material("04012345000016", "CU", UNITS_PER_WIRE_LOT, lot="740", unit="KGM", stator="1.84")
_OTHERS = (
    _material("04012345000030", "LAM", 480, lot="480", unit="H87", stator="1"),
    _material("04012345000047", "PAP", 960, lot="116", unit="KGM", stator="0.12"),
    _material("04012345000054", "RES", 900, lot="280", unit="KGM", stator="0.31"),
)
_HEAT_PRODUCT = "04012345000092"


def stator(number: int) -> str:
    """Return the name of a stator."""
    return f"{STATOR_STEM}{number:010}"


def heat(number: int) -> str:
    """Return the name of a copper heat."""
    return f"{_GS1}01/{_HEAT_PRODUCT}/10/H-{number:05}"


def container(number: int) -> str:
    """Return the name of a container of pallets."""
    return _package("9", number)


def _pallet(number: int) -> str:
    return _package("3", number)


def _package(extension: str, number: int) -> str:
    digits = f"{extension}{_COMPANY}{number:09}"
    return f"{_GS1}00/{digits}{check_digit(digits)}"


def _lot(material: _Material, number: int) -> str:
    return f"{_GS1}01/{material.product}/10/{material.prefix}-{number:06}"


def _gauge(name: str) -> str:
    return f"{_GS1}8004/{_COMPANY}{name}"


# At the end of the line: the gauge, and what it measures.
_TESTS = (
    (_gauge("R01"), bodies.measured("resistance_uv", "mOhm", 18_200, 19_400)),
    (_gauge("R01"), bodies.measured("resistance_vw", "mOhm", 18_200, 19_400)),
    (_gauge("R01"), bodies.measured("resistance_wu", "mOhm", 18_200, 19_400)),
    (_gauge("I02"), bodies.measured("insulation_resistance", "MOhm", 500_000, 900_000)),
    (_gauge("S03"), bodies.measured("surge_deviation", "P1", 0, 2_500)),
    (_gauge("P04"), bodies.measured("partial_discharge", "nC", 0, 10)),
    (_gauge("D05"), bodies.measured("bore_diameter", "MMT", 161_980, 162_020)),
    (_gauge("D06"), bodies.measured("stack_height", "MMT", 134_900, 135_100)),
)
_GAUGES = tuple(dict.fromkeys(gauge for gauge, _ in _TESTS))
_CAMERAS = tuple(
    (camera, bodies.judged(model, 25))
    for camera, model in zip(("aoi-cam07", "aoi-cam08"), bodies.LIGHT_MODELS, strict=True)
)
_JUDGE_AGAIN = bodies.judged(bodies.HEAVY_MODEL, 400)
_WINDERS = tuple(_gauge(f"W{number:02}") for number in range(1, 5))


def line_history(units: int, seed: int) -> Iterator[SignedLater]:
    """Yield the events of a line that makes so many stators, by the time at which they are told."""
    line = _Line(units, seed)
    for unit in range(units):
        line.begin(unit)
        yield from line.told_until(_START_MS + unit * TAKT_MS)
    yield from line.told_until(None)


class _Line:
    """The line while it runs: what is under way, and what is packed next."""

    def __init__(self, units: int, seed: int) -> None:
        self._units = units
        self._seed = seed
        self._number = 0  # events so far
        self._waiting: list[SignedLater] = []  # a heap, of what is under way
        self._on_pallet: list[str] = []
        self._in_container: list[str] = []
        self._packed_count = [0, 0]  # pallets, containers
        self._calibrate(_START_MS - _DAY_MS, _GAUGES)
        for first in range(min(UNITS_AHEAD, units)):
            self._make_lots(first, _START_MS - _DAY_MS)

    def told_until(self, end_ms: int | None) -> Iterator[SignedLater]:
        """Yield what is told up to a time; None: all the rest."""
        waiting = self._waiting
        while waiting and (end_ms is None or waiting[0].at_ms <= end_ms):
            yield heappop(waiting)

    def begin(self, unit: int) -> None:
        """Let a unit, and what belongs to its time, come onto the line."""
        start_ms = _START_MS + unit * TAKT_MS
        if unit + UNITS_AHEAD < self._units:
            self._make_lots(unit + UNITS_AHEAD, start_ms)
        if unit and unit % UNITS_PER_CALIBRATION == 0:
            turn = unit // UNITS_PER_CALIBRATION
            self._calibrate(start_ms, [_GAUGES[turn % len(_GAUGES)]])
        good, end_ms = self._make_stator(unit, start_ms)
        if good:
            self._pack(stator(unit), end_ms)

    def _tell(
        self,
        signer: str,
        device: str,
        at_ms: int,
        items: Sequence[event_pb2.ItemReference],
        make_body: bodies.MakeBody,
        *,
        took_ms: int = 0,
    ) -> Any:
        """Let a system tell an event; return the message that it says."""
        number = self._number
        self._number += 1
        drawn = bodies.Drawn(self._seed, number)
        field, message = make_body(drawn)
        event = event_pb2.Event(
            nonce=drawn.nonce,
            device=device,
            time=event_pb2.TimeInterval(
                start_ms=at_ms - took_ms, end_ms=at_ms, uncertainty_us=2_000
            ),
            capture_mode=event_pb2.CAPTURE_MODE_SENSOR_DIRECT,
            items=items,
            **{field: message},
        )
        raw = event.SerializeToString(deterministic=True)
        heappush(self._waiting, SignedLater(at_ms, number, signer, raw))
        return message

    # Lots

    def _make_lots(self, unit: int, at_ms: int) -> None:
        """Let the lots be made whose first unit this is."""
        if unit % UNITS_PER_HEAT == 0:
            number = unit // UNITS_PER_HEAT
            made = [_item(heat(number), _SUBJECT)]
            self._tell(
                MAKER,
                "erp",
                at_ms - 2 * _HOUR_MS,
                made,
                bodies.created(_HEAT_PRODUCT, "92500", "KGM"),
            )
        if unit % UNITS_PER_WIRE_LOT == 0:
            self._make_wire(unit // UNITS_PER_WIRE_LOT, at_ms)
        for material in _OTHERS:
            if unit % material.units_per_lot == 0:
                lot = _lot(material, unit // material.units_per_lot)
                created = bodies.created(material.product, material.quantity, material.unit)
                self._tell(PLANNING, "erp", at_ms, [_item(lot, _SUBJECT)], created)
                self._tell(
                    PLANNING, "qms", at_ms + _HOUR_MS, [_item(lot, _SUBJECT)], bodies.inspected
                )

    def _make_wire(self, number: int, at_ms: int) -> None:
        lot = _lot(_WIRE, number)
        subject = [_item(lot, _SUBJECT)]
        drawing = [
            event_pb2.ItemReference(
                id=heat(number // WIRE_LOTS_PER_HEAT), role=_INPUT, quantity=_kilograms("740")
            ),
            event_pb2.ItemReference(id=lot, role=_OUTPUT, quantity=_kilograms("740")),
        ]
        tell = self._tell
        tell(
            MAKER, "erp", at_ms, subject, bodies.created(_WIRE.product, _WIRE.quantity, _WIRE.unit)
        )
        tell(MAKER, "draw-d04", at_ms + 60_000, drawing, bodies.drawn_wire)
        tell(LABORATORY, "lims", at_ms + _HOUR_MS, subject, bodies.sealed(number))
        tell(MAKER, "erp", at_ms + 2 * _HOUR_MS, subject, bodies.shipped("T1-STATOR", number))
        tell(PLANNING, "erp", at_ms + 9 * _HOUR_MS, subject, bodies.received("T2-CU-JX", number))
        tell(PLANNING, "qms", at_ms + 10 * _HOUR_MS, subject, bodies.inspected)

    def _calibrate(self, at_ms: int, gauges: Sequence[str]) -> None:
        for gauge in gauges:
            self._tell(
                LABORATORY, "lims", at_ms, [_item(gauge, _SUBJECT)], bodies.calibrated(at_ms)
            )

    # Stators

    def _make_stator(self, unit: int, start_ms: int) -> tuple[bool, int]:
        """Let a stator be made; return whether it is good, and when it leaves the line."""
        name, winder = stator(unit), _WINDERS[unit % len(_WINDERS)]
        subject = _item(name, _SUBJECT)
        sources = [
            event_pb2.ItemReference(
                id=_lot(material, unit // material.units_per_lot),
                role=_INPUT,
                quantity=material.per_stator,
            )
            for material in (_WIRE, *_OTHERS)
        ]
        welded = [subject, _item(winder, _USED)]
        wound = [*sources, _item(name, _OUTPUT), _item(winder, _USED)]
        tell = self._tell
        tell(LINE, "line-l3/winding", start_ms + 340_000, wound, bodies.wound, took_ms=340_000)
        tell(
            LINE,
            "line-l3/welding",
            start_ms + 590_000,
            welded,
            bodies.welded(unit),
            took_ms=240_000,
        )
        good = self._judge(subject, start_ms + 612_000)
        at_ms = start_ms + 900_000
        for gauge, measured in _TESTS:
            at_ms += 11_000
            items = [subject, _item(gauge, _USED)]
            told = tell(TEST_BENCH, "eol-1", at_ms, items, measured, took_ms=4_000)
            good = good and told.verdict == bodies.CONFORMING
        return good, at_ms

    def _judge(self, subject: event_pb2.ItemReference, at_ms: int) -> bool:
        """Let the models judge; what a light one does not pass is for the heavy one to say."""
        good, items = True, [subject]
        for camera, judge in _CAMERAS:
            told = self._tell(CAMERAS, camera, at_ms, items, judge)
            if told.verdict != bodies.CONFORMING:
                again = self._tell(CAMERAS, camera, at_ms + 900, items, _JUDGE_AGAIN)
                good = good and again.verdict == bodies.CONFORMING
        return good

    # Packages

    def _pack(self, name: str, end_ms: int) -> None:
        self._on_pallet.append(name)
        if len(self._on_pallet) < UNITS_PER_PALLET:
            return
        pallet = _pallet(self._packed_count[0])
        self._packed_count[0] += 1
        self._tell(
            LINE, "packing-2", end_ms + 300_000, _packed(pallet, self._on_pallet), bodies.packed
        )
        self._on_pallet = []
        self._in_container.append(pallet)
        if len(self._in_container) < PALLETS_PER_CONTAINER:
            return
        number = self._packed_count[1]
        self._packed_count[1] += 1
        name, subject = container(number), [_item(container(number), _SUBJECT)]
        tell, pallets = self._tell, self._in_container
        tell(PLANNING, "dock-1", end_ms + _HOUR_MS, _packed(name, pallets), bodies.packed)
        tell(PLANNING, "erp", end_ms + 2 * _HOUR_MS, subject, bodies.shipped("OEM-A", number))
        tell(CUSTOMER, "erp", end_ms + _DAY_MS, subject, bodies.received("T1-STATOR", number))
        self._in_container = []


def _item(name: str, role: event_pb2.ItemRole.ValueType) -> event_pb2.ItemReference:
    return event_pb2.ItemReference(id=name, role=role)


def _packed(package: str, contents: Sequence[str]) -> list[event_pb2.ItemReference]:
    parent = _item(package, event_pb2.ITEM_ROLE_PARENT)
    return [parent, *(_item(name, event_pb2.ITEM_ROLE_CHILD) for name in contents)]


def _kilograms(value: str) -> event_pb2.Quantity:
    return event_pb2.Quantity(value=value, unit="KGM")
