"""What the events of the stator line say, drawn anew for each.

Each function returns what makes a body: its field in an event, and its message.
"""

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

from lotmark.v1 import quality_pb2

CONFORMING = quality_pb2.VERDICT_CONFORMING
NONCONFORMING = quality_pb2.VERDICT_NONCONFORMING
LIGHT_MODELS = ("weld-light/3", "slot-liner/1")
HEAVY_MODEL = "weld-heavy/2"

_ENGINES = {
    model: hashlib.sha256(f"engine of {model}".encode()).digest()
    for model in (*LIGHT_MODELS, HEAVY_MODEL)
}
_YEAR_MS = 365 * 86_400_000


class Drawn:
    """What is drawn for one event: its nonce, and numbers."""

    __slots__ = ("_bits", "digest", "nonce")

    def __init__(self, seed: int, number: int) -> None:
        """Draw by hashing, which gives the same numbers in every version of Python."""
        self.digest = hashlib.sha256(b"%d %d" % (seed, number)).digest()
        self.nonce = self.digest[:16]
        self._bits = int.from_bytes(self.digest[16:])

    def up_to(self, count: int) -> int:
        """Return a number below `count`; each call uses up some of what was drawn."""
        self._bits, number = divmod(self._bits, count)
        return number


class Body(NamedTuple):
    """What an event says."""

    field: str  # of the event
    message: Any


MakeBody = Callable[[Drawn], Body]


def created(product: str, quantity: str, unit: str) -> MakeBody:
    """A lot came into being."""
    message = quality_pb2.LotCreated(product=product, quantity=quantity, unit=unit)
    return lambda _: Body("lot_created", message)


def inspected(drawn: Drawn) -> Body:
    """A lot was inspected on arrival."""
    message = quality_pb2.IncomingInspection(
        plan="ISO2859-1/II/1.0", sample_count=13 + drawn.up_to(20), verdict=CONFORMING
    )
    return Body("incoming_inspection", message)


def drawn_wire(_: Drawn) -> Body:
    """A heat's copper became wire."""
    message = quality_pb2.Transformation(process="drawing", recipe="R-CU-16/3")
    return Body("transformation", message)


def wound(_: Drawn) -> Body:
    """Lots became a stator."""
    message = quality_pb2.Transformation(
        process="winding", recipe="R-STATOR-54/7", program_version="4.1.2"
    )
    return Body("transformation", message)


def sealed(number: int) -> MakeBody:
    """A laboratory sealed its report on a lot."""

    def make(drawn: Drawn) -> Body:
        message = quality_pb2.ReportSeal(
            report=f"R-{number:06}",
            laboratory="LAB-17025",
            test="resistivity",
            report_digest=drawn.digest,
            verdict=CONFORMING,
        )
        return Body("report_seal", message)

    return make


def shipped(receiver: str, number: int) -> MakeBody:
    """Goods left."""
    message = quality_pb2.Shipment(receiver=receiver, despatch_advice=f"DA-{number:06}")
    return lambda _: Body("shipment", message)


def received(supplier: str, number: int) -> MakeBody:
    """Goods arrived."""
    message = quality_pb2.MaterialReceipt(supplier=supplier, delivery_note=f"DA-{number:06}")
    return lambda _: Body("material_receipt", message)


def calibrated(at_ms: int) -> MakeBody:
    """A gauge was calibrated, for a year."""

    def make(drawn: Drawn) -> Body:
        message = quality_pb2.Calibration(
            certificate=f"DCC-{drawn.up_to(1_000_000):06}",
            certificate_digest=drawn.digest,
            valid_from_ms=at_ms,
            valid_until_ms=at_ms + _YEAR_MS,
            as_found=CONFORMING,
            as_left=CONFORMING,
        )
        return Body("calibration", message)

    return make


def welded(unit: int) -> MakeBody:
    """The 192 welds of a stator, of which the site keeps the curves and the ledger the root."""

    def make(drawn: Drawn) -> Body:
        message = quality_pb2.ObservationWindow(
            source="weld-current",
            observation_count=192,
            root=drawn.digest,
            first_sequence=192 * unit,
            last_sequence=192 * unit + 191,
            minimum=f"{11_700 + drawn.up_to(200)}.5",
            maximum=f"{12_700 + drawn.up_to(300)}.0",
            unit="A",
        )
        return Body("observation_window", message)

    return make


def judged(model: str, suspicious_in_1000: int) -> MakeBody:
    """A model judged an image; so many in a thousand it takes for bad."""

    def make(drawn: Drawn) -> Body:
        bad = drawn.up_to(1_000) < suspicious_in_1000
        score_ppm = 968_000 + drawn.up_to(31_000)
        message = quality_pb2.InferenceResult(
            model=model,
            engine_digest=_ENGINES[model],
            input_digest=drawn.digest,
            policy="weld/12",
            mode="REINFORCED" if model == HEAVY_MODEL else "NORMAL",
            label="COLD_SOLDER/winding_end" if bad else "SOUND/winding_end",
            score_ppm=score_ppm,
            calibrated_ppm=score_ppm - drawn.up_to(2_400),
            verdict=NONCONFORMING if bad else CONFORMING,
            latency_us=27_500 + drawn.up_to(12_000),
        )
        return Body("inference_result", message)

    return make


def measured(feature: str, unit: str, lower: int, upper: int) -> MakeBody:
    """A characteristic was measured; one in two thousand is out of its limits.

    Args:
        feature: The characteristic.
        unit: Its unit.
        lower: Limit, in thousandths of the unit.
        upper: Likewise.
    """
    limits = _decimal(lower), _decimal(upper)
    spread = upper - lower + 1

    def make(drawn: Drawn) -> Body:
        bad = drawn.up_to(2_000) == 0
        value = upper + 1 + drawn.up_to(9) if bad else lower + drawn.up_to(spread)
        message = quality_pb2.Measurement(
            feature=feature,
            value=_decimal(value),
            unit=unit,
            uncertainty="0.002",
            lower_limit=limits[0],
            upper_limit=limits[1],
            verdict=NONCONFORMING if bad else CONFORMING,
            method="eol/5.2",
        )
        return Body("measurement", message)

    return make


def packed(_: Drawn) -> Body:
    """Items went into a package."""
    message = quality_pb2.Aggregation(action=quality_pb2.RELATION_ACTION_ADD, process="packing")
    return Body("aggregation", message)


def _decimal(thousandths: int) -> str:
    return f"{thousandths // 1_000}.{thousandths % 1_000:03}"
