"""Protobuf bytes taken apart into their fields, to be put together as no encoder would."""

from dataclasses import dataclass

VARINT, LENGTH = 0, 2


@dataclass(frozen=True, slots=True)
class WireField:
    """One field as it stands in the bytes."""

    number: int
    kind: int
    content: bytes  # the varint itself, or what the length announces

    def encode(self) -> bytes:
        """Return the field's bytes."""
        size = varint(len(self.content)) if self.kind == LENGTH else b""
        return varint(self.number << 3 | self.kind) + size + self.content


def varint(number: int) -> bytes:
    """Return the shortest varint."""
    raw = b""
    while number > 0x7F:
        raw += bytes([number & 0x7F | 0x80])
        number >>= 7
    return raw + bytes([number])


def longer_varint(shortest: bytes) -> bytes:
    """Return the same number in one byte more than it needs."""
    return shortest[:-1] + bytes([shortest[-1] | 0x80, 0])


def take_apart(raw: bytes) -> list[WireField]:
    """Return the fields of a message that has varints and lengths alone."""
    fields, at = [], 0
    while at < len(raw):
        tag, at = _read_varint(raw, at)
        start = at
        number, at = _read_varint(raw, at)
        content = raw[start:at]
        if tag & 7 == LENGTH:
            content, at = raw[at : at + number], at + number
        fields.append(WireField(tag >> 3, tag & 7, content))
    return fields


def _read_varint(raw: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        number |= (raw[at] & 0x7F) << shift
        shift += 7
        at += 1
        if not raw[at - 1] & 0x80:
            return number, at


def put_together(fields: list[WireField]) -> bytes:
    """Return the bytes of fields in this order."""
    return b"".join(field.encode() for field in fields)
