"""Bytes cut into the fields that a reader of docs/protocol.md sees, each with a label.

Below them, after a line, stands what follows from them: a hash, or a signature over them. A part
that another example shows already is not shown again: its label is `=` and that example's name.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.message import Message

HEX_LINE_SIZE = 32  # bytes
TEXT_LINE_SIZE = 128  # characters of a text that has no lines of its own

_LINE = "----"


@dataclass(frozen=True, slots=True)
class Field:
    """Some bytes of an example and what they are."""

    raw: bytes
    label: str
    follows: bool = False  # no part of the bytes, but made from them


Block = str | Sequence[Field]  # a text, or bytes
Part = tuple[str | int, str]  # u8 to u64, str8, a number of bytes, or 0: the rest; then the label


def cut(raw: bytes, *layout: Part) -> list[Field]:
    """Return `raw` cut by a layout, which must fit exactly."""
    fields, at = [], 0
    for kind, label in layout:
        end = _end(raw, at, kind)
        piece = raw[at:end]
        fields.append(Field(piece, f"{label}{_shown(piece, kind)}"))
        at = end
    assert at == len(raw), f"the layout ends at byte {at} of {len(raw)}"
    return fields


def _end(raw: bytes, at: int, kind: str | int) -> int:
    match kind:
        case "str8":
            size = 1 + raw[at]
        case str():
            size = int(kind[1:]) // 8
        case int():
            size = kind or len(raw) - at
    assert at + size <= len(raw), f"{size} bytes at {at} of {len(raw)}"
    return at + size


def _shown(piece: bytes, kind: str | int) -> str:
    """Return a number or a text as people write it, for the label."""
    match kind:
        case "str8":
            return f' "{piece[1:].decode("ascii")}"'
        case str():
            return f" {int.from_bytes(piece)}"
        case int():
            return ""


def domain(name: str) -> Part:
    """Return the layout of a domain string."""
    return len(name) + 1, f'"{name}\\n"'


def message_fields(message: Message, indent: str = "") -> Iterator[Field]:
    """Return the bytes of a protobuf message field by field, in their order."""
    whole = b""
    for field, value in message.ListFields():
        label = f"{indent}{field.number} {field.name}"
        for each in value if field.is_repeated else [value]:
            raw = _alone(message, field.name, each, is_repeated=field.is_repeated)
            whole += raw
            if not field.message_type:
                shown = "" if isinstance(each, bytes) else f" {each!r}".replace("'", '"')
                yield Field(raw, label + shown)
                continue
            inner = each.SerializeToString(deterministic=True)
            yield Field(raw[: len(raw) - len(inner)], f"{label}, {len(inner)} bytes")
            yield from message_fields(each, indent + "  ")
    assert whole == message.SerializeToString(deterministic=True), "fields stand in this order"


def _alone(message: Message, name: str, value: object, *, is_repeated: bool) -> bytes:
    """Return the bytes of a message that has this field, or this member of it, and no other."""
    alone = type(message)(**{name: [value] if is_repeated else value})
    return alone.SerializeToString(deterministic=True)


def wrapped(raw: bytes) -> str:
    """Return a text of one line, broken into lines of equal length."""
    text = raw.decode("ascii")
    lines = [text[at : at + TEXT_LINE_SIZE] for at in range(0, len(text), TEXT_LINE_SIZE)]
    assert all(line == line.strip() for line in lines), "no editor takes a character away"
    return "\n".join(lines)


def shown_lines(block: Block) -> list[str]:
    """Return the lines of an example: 32 bytes each, a label behind the first one of a field."""
    if isinstance(block, str):
        return block.removesuffix("\n").split("\n")
    lines: list[str] = []
    for field in sorted(block, key=lambda field: field.follows):
        if field.follows and _LINE not in lines:
            lines.append(_LINE)
        if field.label.startswith("="):
            lines.append(f"({len(field.raw)} bytes: {field.label[1:]})")
            continue
        for start in range(0, len(field.raw), HEX_LINE_SIZE):
            line = field.raw[start : start + HEX_LINE_SIZE].hex()
            lines.append(line if start else f"{line}  {field.label}")
    return lines


def check_references(blocks: Mapping[str, Block]) -> None:
    """Check that what a block refers to is what it leaves out."""
    for block in blocks.values():
        for field in () if isinstance(block, str) else block:
            if field.label.startswith("="):
                assert field.raw == _bytes(blocks[field.label[1:]]), field.label


def _bytes(block: Block) -> bytes:
    if isinstance(block, str):
        return block.encode()
    return b"".join(field.raw for field in block if not field.follows)


def following(raw: bytes, label: str) -> Field:
    """Return a field that is made from the bytes above it."""
    return Field(raw, label, follows=True)
