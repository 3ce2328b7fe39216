"""The worked examples of docs/protocol.md, sections 5 and 7: entries, checkpoint and state."""

from collections.abc import Sequence

from lotmark import merkle
from lotmark.c2sp_encoding import decode_base64
from lotmark.key_grant import KeyPurpose
from lotmark.merkle import leaf_hash
from lotmark_node.state_machine import lthash
from lotmark_node.state_machine.tables import Table, split_row_key
from tools.protocol_example_fields import Block, Field, Part, cut, domain, following
from tools.protocol_example_ledger import BATCH_LABEL, ExampleLedger

_ELEMENT_SHOWN_SIZE = 32
_SIGNED_SIZE = 6  # leaves of heights 0 and 1, under the checkpoint

_ENTRY: tuple[Part, ...] = (
    domain("lotmark/entry/v1"),
    ("u8", "kind"),
    ("u64", "index"),
    ("u64", "height"),
    ("u64", "time_ms"),
    ("u16", "outcome"),
)
_EVENT: tuple[Part, ...] = (("u64", "batch entry index"), ("u16", "position"), (32, "event id"))
_CLOSE: tuple[Part, ...] = (
    ("u16", "protocol"),
    ("u64", "height"),
    ("u64", "time_ms"),
    ("u64", "previous close index"),
    ("u64", "previous size"),
    (32, "previous root"),
    (32, "proposal digest"),
    (32, "state digest"),
    ("u64", "item epoch"),
    (32, "item root"),
    (32, "policy digest"),
    ("u32", "batches"),
    ("u32", "refused batches"),
    ("u32", "events"),
    ("u32", "refused events"),
    ("u32", "receipts"),
    ("u32", "equivocations"),
)


def log_blocks(ledger: ExampleLedger) -> dict[str, Block]:
    """Return the leaves of heights 0 and 1, the tree over them, and leaves of the other kinds."""
    leaves = ledger.leaf_data
    first: Part = (len(ledger.batch.signed_header), "=batch.signed_header")
    second: Part = (len(ledger.reused.signed_header), "=batch.reused")
    return {
        "leaf.0": leaf_fields(leaves[0], (32, "chain id")),
        "leaf.1": leaf_fields(leaves[1], *_CLOSE),
        "leaf.2": leaf_fields(leaves[2], first),
        "leaf.3": leaf_fields(leaves[3], *_EVENT),
        "leaf.4": leaf_fields(leaves[4], *_EVENT),
        "leaf.5": leaf_fields(leaves[5], *_CLOSE),
        "tree": _nodes([leaf_hash(leaf) for leaf in leaves[:_SIGNED_SIZE]]),
        "batch.reused": cut(
            ledger.reused.signed_header,
            ("u16", "header length"),
            (
                len(ledger.reused.signed_header) - 66,
                "header: another root of one event, no checkpoint",
            ),
            (64, f"signature of {BATCH_LABEL}"),
        ),
        "leaf.6": leaf_fields(leaves[6], second),
        "leaf.7": leaf_fields(leaves[7], ("u64", "first batch entry index"), first, second),
    }


def leaf_fields(leaf: bytes, *payload: Part) -> list[Field]:
    """Return the fields of leaf data whose payload has this layout, and its hash."""
    return [*cut(leaf, *_ENTRY, *payload), following(leaf_hash(leaf), "leaf hash")]


def _nodes(hashes: Sequence[bytes]) -> list[Field]:
    """Return the nodes above six leaves; two of them are roots at sizes that end in a close."""
    return [
        Field(merkle.root(hashes[0:2]), "node over 0 and 1: root of size 2, height 0"),
        Field(merkle.root(hashes[2:4]), "node over 2 and 3"),
        Field(merkle.root(hashes[0:4]), "node over 0 to 3"),
        Field(merkle.root(hashes[4:6]), "node over 4 and 5"),
        Field(merkle.root(hashes), "node over 0 to 5: root of size 6, height 1"),
    ]


def checkpoint_blocks(ledger: ExampleLedger) -> dict[str, Block]:
    """Return the checkpoint after height 1, what its cosigners sign, and the signatures."""
    text = ledger.checkpoint.text()
    note = ledger.checkpoint_note.decode()
    lines = note.removeprefix(f"{text}\n").splitlines()
    log, *cosigned = [decode_base64(line.split(" ")[2], what="signature") for line in lines]
    fields = cut(log, (4, "key id of the log"), (64, "signature of OEM-A/n1 log"))
    for name, raw in zip(("OEM-A/n1", "T1-STATOR/n1"), cosigned, strict=True):
        fields += cut(
            raw, (4, f"key id of {name}"), ("u64", "time"), (64, f"signature of {name} cosign")
        )
    return {
        "checkpoint.note": note,
        "checkpoint.cosigned": f"cosignature/v1\ntime {int.from_bytes(cosigned[0][4:12])}\n{text}",
        "checkpoint.signatures": fields,
    }


def state_blocks(ledger: ExampleLedger) -> dict[str, Block]:
    """Return the rows after height 1, and how the digest of two of them comes about."""
    rows: list[Field] = []
    for key, value in ledger.rows:
        is_policy = key[0] == Table.POLICY
        rows += [Field(key, row_name(key)), Field(value, "=policy" if is_policy else "value")]
    founded = lthash.digest(ledger.founded.lanes)
    closed = ledger.effects.results.close.state_digest
    parents = [row for row in ledger.rows if row[0][0] == Table.PARENT]
    total = lthash.sum_elements([lthash.row_bytes(*row) for row in parents])
    return {
        "state.rows": [
            *rows,
            following(founded, "state digest after height 0: of tables 1, 2, 3, 12 and 16"),
            following(closed, "state digest after height 1: of all rows"),
        ],
        **{f"state.element.{at}": _element(*row) for at, row in enumerate(parents, 1)},
        "state.sum": [
            _beginning(total, "the sum of both elements"),
            following(lthash.digest(total), "digest of a map of these two rows"),
            following(lthash.digest(lthash.empty_lanes()), "digest of a map without rows"),
        ],
    }


def row_name(key: bytes) -> str:
    """Return a row's table and the parts of its key, as people write them."""
    table, parts = split_row_key(key)
    shown = [f"table {int(table)} {table.name.lower().replace('_', ' ')}:"]
    for part in parts:
        if len(part) == 32:
            shown.append(f"{part[:4].hex()}…")
        elif part[0] == 0:  # an integer: no name begins so
            shown.append(str(int.from_bytes(part)))
        elif len(part) == 1:
            shown.append(KeyPurpose(part[0]).name.lower())
        else:
            shown.append(part.decode("ascii"))
    return " ".join(shown).removesuffix(":")


def _element(key: bytes, value: bytes) -> list[Field]:
    raw = lthash.row_bytes(key, value)
    fields = cut(
        raw,
        domain("lotmark/state/v1"),
        ("u32", "length of the key:"),
        (len(key), "key"),
        (len(value), "value"),
    )
    beginning = _beginning(lthash.sum_elements([raw]), "its element")
    return [*fields, following(beginning.raw, beginning.label)]


def _beginning(lanes: lthash.Lanes, what: str) -> Field:
    raw = lanes.tobytes()
    shown = raw[:_ELEMENT_SHOWN_SIZE]
    return Field(shown, f"{what}: the first {len(shown)} of {len(raw)} bytes")
