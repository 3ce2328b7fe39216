"""One OPC UA notification as an observation: nothing made up, nothing left out."""

from datetime import UTC, datetime, timedelta

from asyncua import ua

from lotmark_adapters.observation import Observation, Quality
from lotmark_adapters.opcua.plain_values import Unkept, plain_text

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_UNCERTAIN = 0x4000_0000
_BAD = 0x8000_0000


def observed(
    signal: str, sequence: int, told: ua.DataValue, captured_us: int
) -> tuple[Observation, int]:
    """Return what a data value tells, and its status code.

    Args:
        signal: The node's id.
        sequence: The observation's number.
        told: The value with status and times.
        captured_us: When it came, Unix time by this machine's clock.
    """
    code = 0 if told.StatusCode is None else told.StatusCode.value
    quality, status = Quality.GOOD, ""
    if code:
        status = f"0x{code:08X}"
        if code >= _BAD:
            quality = Quality.BAD
        elif code >= _UNCERTAIN:
            quality = Quality.UNCERTAIN
    value = None
    variant = told.Value
    if variant is not None and variant.Value is not None:
        try:
            value, done = plain_text(variant.Value, variant.VariantType)
        except Unkept as unkept:
            quality, done = Quality.BAD, str(unkept)
        if done:
            status = f"{status}; {done}" if status else done
    made_us = unix_us(told.SourceTimestamp) or unix_us(told.ServerTimestamp) or captured_us
    return Observation(signal, sequence, made_us, captured_us, value, quality, status), code


def unix_us(moment: datetime | None) -> int:
    """Return a time in Unix microseconds; 0 for none, which servers also say by the year 1601."""
    if moment is None:
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max((moment - _EPOCH) // _MICROSECOND, 0)
