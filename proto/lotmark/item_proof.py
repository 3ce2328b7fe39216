"""Item proofs: which events name an item, so that none can be left out unseen.

The file holds the events, and the way from the newest close under a checkpoint to the record of the
item that they must lead to. Layout: docs/protocol.md, section 13; `lotmark.verify.item_history`
says what it proves.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from lotmark.batch import EVENT_SIZE_MAX
from lotmark.errors import MalformedError
from lotmark.item_epochs import EPOCH_LEAF_SIZE, RECORD_SIZE
from lotmark.merkle import HASH_SIZE
from lotmark.signed_note import NOTE_SIZE_MAX
from lotmark.snapshot import GovernanceEntry, UnknownVersionError
from lotmark.tlog_proof import PATH_HASHES_MAX
from lotmark.ustar import CutOffError
from lotmark.verify.governance_chain import ProvenLeaf

ITEM_PROOF_SIZE_MAX = 64 << 20
BEGINNING = b"lotmark/item-proof/v"

_DOMAIN = BEGINNING + b"1\n"
_LEAF_SIZE_MAX = 512  # of an event or a close; both are shorter
_NAME_SIZE_MAX = 512
_EPOCHS_MAX = 64
_U8, _U16, _U32, _U64 = (struct.Struct(code) for code in (">B", ">H", ">I", ">Q"))


@dataclass(frozen=True, slots=True)
class TreeItem:
    """An item in an epoch's tree, with its way to the root."""

    leaf_index: int  # 1 or more: the epoch's head is leaf 0
    hashed: bytes
    record: bytes
    path: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class EpochStep:
    """One epoch: its head, and where the item stands, or between which neighbours it does not."""

    head: bytes  # leaf data
    head_path: Sequence[bytes]
    item: TreeItem | None = None  # the step is the last one
    left: TreeItem | None = None  # None: the head
    right: TreeItem | None = None  # None: the tree ends


@dataclass(frozen=True, slots=True)
class ItemEvent:
    """An event that names the item."""

    leaf: bytes  # leaf data of its entry
    event: bytes = b""  # empty: withheld from this reader, by its audience
    path: Sequence[bytes] | None = None  # to the checkpoint's root; None: the item's head holds it


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemProof:
    """All that an item proof is made of."""

    item: str  # canonical name
    checkpoint_note: bytes
    last_close: ProvenLeaf  # under the checkpoint
    governance: Sequence[GovernanceEntry]  # what made the policy
    epochs: Sequence[EpochStep]  # from the newest that the close names, back to the item's
    events: Sequence[ItemEvent]  # in the order of the log


def format_item_proof(proof: ItemProof) -> bytes:
    """Return the bytes that `parse_item_proof` reads as `proof`."""
    parts = [
        _DOMAIN,
        _sized(_U16, proof.item.encode("ascii")),
        _sized(_U32, proof.checkpoint_note),
        _proven(proof.last_close),
        _U32.pack(len(proof.governance)),
    ]
    for entry in proof.governance:
        parts += [_sized(_U32, entry.event), _proven(ProvenLeaf(entry.leaf, entry.path))]
    parts.append(_U8.pack(len(proof.epochs)))
    parts += [_step(step) for step in proof.epochs]
    parts.append(_U32.pack(len(proof.events)))
    for event in proof.events:
        parts += [_sized(_U16, event.leaf), _sized(_U32, event.event), _optional(event.path, _path)]
    return b"".join(parts)


def _sized(length: struct.Struct, raw: bytes) -> bytes:
    return length.pack(len(raw)) + raw


def _path(hashes: Sequence[bytes]) -> bytes:
    return _U8.pack(len(hashes)) + b"".join(hashes)


def _proven(proven: ProvenLeaf) -> bytes:
    return _sized(_U16, proven.leaf) + _path(proven.path)


_Given = TypeVar("_Given")


def _optional(given: _Given | None, write: Callable[[_Given], bytes]) -> bytes:
    return b"\0" if given is None else b"\1" + write(given)


def _step(step: EpochStep) -> bytes:
    items = [_optional(each, _tree_item) for each in (step.item, step.left, step.right)]
    return step.head + _path(step.head_path) + b"".join(items)


def _tree_item(item: TreeItem) -> bytes:
    return _U64.pack(item.leaf_index) + item.hashed + item.record + _path(item.path)


def parse_item_proof(raw: bytes) -> ItemProof:
    """Return what an item proof is made of; nothing is verified yet.

    Raises:
        CutOffError: It ends too early.
        UnknownVersionError: It is of a later version.
        MalformedError: It is no item proof.
    """
    if len(raw) > ITEM_PROOF_SIZE_MAX:
        raise MalformedError(f"an item proof has at most {ITEM_PROOF_SIZE_MAX} bytes")
    if not raw.startswith(_DOMAIN):
        if raw.startswith(BEGINNING):
            found = raw[: len(BEGINNING) + 8].partition(b"\n")[0]
            raise UnknownVersionError(f"{found!a} is of a version that this release does not know")
        raise MalformedError("the bytes are no item proof")
    reader = _Reader(raw, len(_DOMAIN))
    proof = ItemProof(
        item=reader.name(),
        checkpoint_note=reader.sized(_U32, NOTE_SIZE_MAX),
        last_close=reader.proven(),
        governance=[reader.governance() for _ in range(reader.number(_U32))],
        epochs=[reader.step() for _ in range(reader.number(_U8, _EPOCHS_MAX))],
        events=[reader.event() for _ in range(reader.number(_U32))],
    )
    reader.end()
    return proof


class _Reader:
    """Reads an item proof from front to back."""

    def __init__(self, raw: bytes, at: int) -> None:
        self._raw = raw
        self._at = at

    def take(self, size: int) -> bytes:
        """Return the next bytes."""
        end = self._at + size
        if end > len(self._raw):
            raise CutOffError(
                f"the item proof is cut off at byte {len(self._raw)}, {end} are announced; fetch it"
                " again"
            )
        taken = self._raw[self._at : end]
        self._at = end
        return taken

    def number(self, form: struct.Struct, most: int | None = None) -> int:
        """Return the next number."""
        value: int = form.unpack(self.take(form.size))[0]
        if most is not None and value > most:
            raise MalformedError(f"{value} stands at byte {self._at}; at most {most} is allowed")
        return value

    def sized(self, length: struct.Struct, size_max: int) -> bytes:
        """Return bytes behind their length."""
        return self.take(self.number(length, size_max))

    def name(self) -> str:
        """Return the item's name."""
        raw = self.sized(_U16, _NAME_SIZE_MAX)
        if not raw.isascii():
            raise MalformedError(f"item {raw[:60]!a} is no name: names are ASCII")
        return raw.decode("ascii")

    def path(self) -> tuple[bytes, ...]:
        """Return a path."""
        return tuple(self.take(HASH_SIZE) for _ in range(self.number(_U8, PATH_HASHES_MAX)))

    def proven(self) -> ProvenLeaf:
        """Return a leaf and its path."""
        return ProvenLeaf(self.sized(_U16, _LEAF_SIZE_MAX), self.path())

    def governance(self) -> GovernanceEntry:
        """Return an entry that governs."""
        event = self.sized(_U32, EVENT_SIZE_MAX)
        proven = self.proven()
        return GovernanceEntry(event, proven.leaf, tuple(proven.path))

    def optional(self, read: Callable[[], _Given]) -> _Given | None:
        """Return what may be there."""
        return read() if self.number(_U8, 1) else None

    def step(self) -> EpochStep:
        """Return an epoch."""
        return EpochStep(
            self.take(EPOCH_LEAF_SIZE),
            self.path(),
            item=self.optional(self.tree_item),
            left=self.optional(self.tree_item),
            right=self.optional(self.tree_item),
        )

    def tree_item(self) -> TreeItem:
        """Return an item in a tree."""
        index = self.number(_U64)
        return TreeItem(index, self.take(HASH_SIZE), self.take(RECORD_SIZE), self.path())

    def event(self) -> ItemEvent:
        """Return an event that names the item."""
        leaf = self.sized(_U16, _LEAF_SIZE_MAX)
        return ItemEvent(leaf, self.sized(_U32, EVENT_SIZE_MAX), self.optional(self.path))

    def end(self) -> None:
        """Check that nothing follows."""
        if self._at != len(self._raw):
            raise MalformedError(f"{len(self._raw) - self._at} bytes follow the last event")
