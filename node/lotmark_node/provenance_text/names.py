"""Items, amounts and times in few words."""

import re

from lotmark.client.provenance_records import Amount, EdgeKind, TraceEdge
from lotmark.item_name import canonical_item, plain_names
from lotmark.rfc3339 import TEXT_MAX_MS, text_of_ms

# UN/ECE Recommendation 20 code -> what a person writes; other units stay as their author put them.
_UNITS = {
    "KGM": "kg", "GRM": "g", "MGM": "mg", "TNE": "t", "LTR": "l", "MLT": "ml", "MTR": "m",
    "MMT": "mm", "CMT": "cm", "KMT": "km", "MTK": "m²", "H87": "pieces", "C62": "pieces",
    "EA": "pieces", "SEC": "s", "HUR": "h",
}  # fmt: skip

_DIGEST = re.compile("[0-9a-f]{64}")
_DIGEST_DIGITS = 8

# Links whose far end is no item: its id has its kind before it.
FACT_KINDS = frozenset(
    {
        EdgeKind.MEASURED,
        EdgeKind.CALIBRATED,
        EdgeKind.INFERRED,
        EdgeKind.REPORTED,
        EdgeKind.SHIPPED,
        EdgeKind.CLAIMED,
        EdgeKind.RECEIVED,
    }
)


def short_name(item: str) -> str:
    """Return the serial or lot alone, or the whole id where that is the name."""
    names = plain_names(canonical_item(item))
    return names[0] if names else item


def is_lot(item: str) -> bool:
    """Tell whether many units share the name: a GTIN with a lot number."""
    return canonical_item(item).startswith("https://id.gs1.org/01/") and "/10/" in item


def far_name(edge: TraceEdge, far: str) -> str:
    """Return the name of a link's far end, without the kind before it."""
    if edge.kind in FACT_KINDS:
        return far.partition(":")[2] or far
    return short_name(far)


def fact_name(far: str) -> str:
    """Return the name of what is no item with its kind before it, a digest by its first digits."""
    kind, _, name = far.partition(":")
    shown = f"{name[:_DIGEST_DIGITS]}…" if _DIGEST.fullmatch(name) else name
    return f"{kind} {shown}".rstrip()


def unit_text(unit: str) -> str:
    """Return a unit as a person writes it."""
    return _UNITS.get(unit, unit)


def amount_text(amount: Amount, whole: Amount | None = None) -> str:
    """Return "1.84 kg", or "1.84 kg of 400 kg" where the whole lot is known."""
    unit = unit_text(amount.unit)
    if unit == "pieces" and amount.value == "1":
        unit = "piece"
    text = f"{amount.value} {unit}".rstrip()
    return text if whole is None else f"{text} of {amount_text(whole)}"


def day_text(time_ms: int) -> str:
    """Return the day in UTC."""
    return text_of_ms(time_ms)[:10] if time_ms < TEXT_MAX_MS else f"{time_ms} ms"
