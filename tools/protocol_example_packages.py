"""The worked examples of docs/protocol.md about rule packages: blocks 3 and 4 of the ledger.

Block 3 brings a package into force; an event in block 4 has a rule receipt.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lotmark.entry import EntryKind, parse_leaf_data, parse_rule_receipt
from lotmark.package_change import (
    archive_parts,
    change_approval_statement,
    change_bytes,
    change_hash,
    encode_archive,
)
from lotmark.rule_value import record_of
from lotmark.state_rows import Table
from lotmark.v1 import contracts_pb2, event_pb2, governance_pb2
from lotmark_contracts.package.package_hash import package_hash
from tools.protocol_example_blocks import root_signatures
from tools.protocol_example_fields import (
    Block,
    Field,
    Part,
    cut,
    domain,
    following,
    message_fields,
    wrapped,
)
from tools.protocol_example_ledger import (
    BLOCK_MS,
    CREATED_MS,
    MAKER,
    SUPPLIER,
    ExampleLedger,
    apply,
    example_event,
    make_batch,
    make_block,
    roots_of,
)
from tools.protocol_example_log import leaf_fields, row_name

_DAY_MS = 24 * 60 * 60 * 1000
_TABLES = range(Table.PACKAGE, Table.EVIDENCE + 1)
_MANIFEST: dict[str, Any] = {
    "format": "lotmark-package/1",
    "language": "wcel/1",
    "name": "scrap",
    "version": 1,
    "title": "Scrap is credited",
    "events": {"scrap": {"report": "string(20)", "supplier": "string(31)", "credit": "int"}},
    "state": {"credited": {"type": "int", "default": 0}},
    "accounts": {"party": ["debit", "credit"]},
    "rules": ["credit"],
}
_RULE: dict[str, Any] = {
    "title": "A report of scrap is credited once",
    "on": "scrap",
    "once": "event.report",
    "read": {"before": {"credited": "event.supplier"}},
    "let": [{"total": "before + event.credit"}],
    "then": [
        {"set": {"credited": "event.supplier"}, "value": "total"},
        {
            "pay": "event.credit",
            "currency": "'EUR'",
            "from": {"party": "event.supplier"},
            "to": {"party": "'OEM-A'"},
        },
    ],
}
FILES = {
    path: json.dumps(content, separators=(",", ":")).encode("ascii")
    for path, content in (("manifest.json", _MANIFEST), ("rules/credit.json", _RULE))
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ruled:
    """What the document shows of blocks 3 and 4."""

    archive: bytes
    change: contracts_pb2.PackageChange
    hashed: bytes  # the change's hash
    event: event_pb2.Event  # in block 4
    receipt_leaf: bytes
    rows: list[tuple[bytes, bytes]]  # of packages, after block 4


def _change(archive: bytes) -> contracts_pb2.PackageChange:
    return contracts_pb2.PackageChange(
        expires_ms=CREATED_MS + _DAY_MS,
        activate=contracts_pb2.PackageActivation(
            name=_MANIFEST["name"],
            version=_MANIFEST["version"],
            package=package_hash(FILES),
            parts=[hashlib.sha256(part).digest() for part in archive_parts(archive)],
        ),
    )


def _roots(party: str, signed: bytes) -> list[governance_pb2.KeySignature]:
    return [
        governance_pb2.KeySignature(key=root.public, signature=root.sign(signed))
        for root in roots_of(party)
    ]


def _proposing(
    chain_id: bytes, change: contracts_pb2.PackageChange, archive: bytes
) -> list[event_pb2.Event]:
    """Return the events by which both parties bring the package into force."""
    hashed = change_hash(chain_id, change_bytes(change))
    by_maker, by_supplier = (
        _roots(party, change_approval_statement(chain_id=chain_id, proposal=hashed, party=party))
        for party in (MAKER, SUPPLIER)
    )
    (part,) = archive_parts(archive)
    return [
        example_event(
            4,
            package_proposal=contracts_pb2.PackageProposal(
                change=change, party=MAKER, roots=by_maker
            ),
        ),
        example_event(5, package_part=contracts_pb2.PackagePart(data=part)),
        example_event(
            6,
            package_approval=contracts_pb2.PackageApproval(
                proposal=hashed, party=SUPPLIER, roots=by_supplier
            ),
        ),
    ]


def _add_blocks(ledger: ExampleLedger) -> _Ruled:
    """Add blocks 3 and 4 to the ledger."""
    archive = encode_archive(FILES)
    change = _change(archive)
    fields = record_of({"report": "S-1", "supplier": SUPPLIER, "credit": 1_250})
    event = example_event(
        7, contract_event=contracts_pb2.ContractEvent(name="scrap", fields=fields)
    )
    previous = ledger.batch.batch_id
    leaves: list[bytes] = []
    for sequence, events in enumerate([_proposing(ledger.chain_id, change, archive), [event]], 2):
        previous = _add_block(ledger, events, sequence, previous, leaves)
    (receipt_leaf,) = [
        leaf for leaf in leaves if parse_leaf_data(leaf)[0].kind is EntryKind.RULE_RECEIPT
    ]
    return _Ruled(
        archive=archive,
        change=change,
        hashed=change_hash(ledger.chain_id, change_bytes(change)),
        event=event,
        receipt_leaf=receipt_leaf,
        rows=[row for row in ledger.reader.rows(b"") if row[0][0] in _TABLES],
    )


def _add_block(
    ledger: ExampleLedger,
    events: Sequence[event_pb2.Event],
    sequence: int,
    previous: bytes,
    leaves: list[bytes],
) -> bytes:
    """Add a block with one batch, all of whose events are accepted; return the batch's id."""
    batch = make_batch(ledger.state, list(events), seen=False, sequence=sequence, previous=previous)
    block = make_block(ledger.state, [batch], time_ms=BLOCK_MS + 60_000 * sequence)
    effects = apply(ledger.state, ledger.reader, block, leaves)
    assert not effects.results.close.refused_event_count, "the example shows what is accepted"
    return batch.batch_id


def package_blocks(ledger: ExampleLedger) -> dict[str, Block]:
    """Return the package and how it is approved, an event for it, its receipt and its rows."""
    ruled = _add_blocks(ledger)
    approval = change_approval_statement(
        chain_id=ledger.chain_id, proposal=ruled.hashed, party=SUPPLIER
    )
    document = parse_rule_receipt(parse_leaf_data(ruled.receipt_leaf)[1]).document
    return {
        "package.archive": _archive_fields(ruled.archive),
        "package.change": [
            *message_fields(ruled.change),
            following(ruled.hashed, "change hash"),
        ],
        "package.approval": [
            *cut(
                approval,
                domain("lotmark/package-approve/v1"),
                (32, "chain id"),
                (32, "change hash"),
                ("str8", "party"),
            ),
            *root_signatures(SUPPLIER, approval),
        ],
        "event.contract": [
            *message_fields(ruled.event),
            following(
                hashlib.sha256(b"\0" + ruled.event.SerializeToString(deterministic=True)).digest(),
                "event id",
            ),
        ],
        "leaf.receipt": leaf_fields(
            ruled.receipt_leaf,
            ("u64", "batch entry index"),
            ("u16", "position"),
            (len(document), "canonical JSON"),
        ),
        "receipt.document": wrapped(document),
        "package.rows": _row_fields(ruled),
    }


def _archive_fields(archive: bytes) -> list[Field]:
    layout: list[Part] = [domain("lotmark/package/v1")]
    for path in sorted(FILES):
        layout += [
            ("u16", "length of the path:"),
            (len(path), f'path "{path}"'),
            ("u32", "length of the file:"),
            (len(FILES[path]), "file"),
        ]
    return [
        *cut(archive, *layout),
        following(hashlib.sha256(archive).digest(), "SHA-256 of its only part"),
        following(package_hash(FILES), "package hash (docs/contracts.md)"),
    ]


def _row_fields(ruled: _Ruled) -> list[Field]:
    fields: list[Field] = []
    for key, value in ruled.rows:
        if not value:
            continue  # nothing is open: a line without bytes could not be told from none
        label = "=package.archive" if value == ruled.archive else "value"
        fields += [Field(key, row_name(key)), Field(value, label)]
    return fields
