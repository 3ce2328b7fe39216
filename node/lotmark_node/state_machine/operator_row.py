"""The rows of operators' credentials. Layout: docs/protocol.md, section 7."""

import struct
from dataclasses import dataclass, replace

from lotmark.key_grant import NEVER
from lotmark.operator_grant import OperatorMeaning
from lotmark.webauthn import COSE_KEY_SIZE, RelyingParty
from lotmark_node.state_machine.state import StateChanges, StateReader
from lotmark_node.state_machine.tables import Table, row_key

_HEAD = struct.Struct(f">QQQQQ{COSE_KEY_SIZE}s")


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorRow:
    """A credential, whether or not it is in force."""

    from_height: int
    revoked_height: int = NEVER
    compromised_since_ms: int = 0
    not_before_ms: int
    not_after_ms: int
    party: str
    role: str
    relying_party: RelyingParty
    meanings: tuple[OperatorMeaning, ...]

    def encode(self) -> bytes:
        """Return the row's value."""
        head = _HEAD.pack(
            self.from_height,
            self.revoked_height,
            self.compromised_since_ms,
            self.not_before_ms,
            self.not_after_ms,
            self.relying_party.public_key,
        )
        texts = (self.party, self.role, self.relying_party.rp_id, self.relying_party.origin)
        return head + b"".join(map(_str16, texts)) + bytes(self.meanings)

    def revoked(self, *, height: int, compromised_since_ms: int) -> "OperatorRow":
        """Return the row of this credential once it is revoked."""
        return replace(self, revoked_height=height, compromised_since_ms=compromised_since_ms)


def _str16(value: str) -> bytes:
    raw = value.encode("ascii")
    return len(raw).to_bytes(2) + raw


def parse_operator_row(raw: bytes) -> OperatorRow:
    """Parse a credential's row."""
    from_height, revoked, compromised, not_before, not_after, key = _HEAD.unpack_from(raw)
    at, texts = _HEAD.size, []
    for _ in range(4):
        end = at + 2 + int.from_bytes(raw[at : at + 2])
        texts.append(raw[at + 2 : end].decode("ascii"))
        at = end
    party, role, rp_id, origin = texts
    return OperatorRow(
        from_height=from_height,
        revoked_height=revoked,
        compromised_since_ms=compromised,
        not_before_ms=not_before,
        not_after_ms=not_after,
        party=party,
        role=role,
        relying_party=RelyingParty(rp_id=rp_id, origin=origin, public_key=key),
        meanings=tuple(OperatorMeaning(number) for number in raw[at:]),
    )


def operator_key(credential_id: bytes) -> bytes:
    """Return the key of a credential's row."""
    return row_key(Table.OPERATOR, credential_id)


def operator_row(state: StateReader | StateChanges, credential_id: bytes) -> OperatorRow | None:
    """Return a credential's row, or None where the ledger does not know it."""
    raw = state.get(operator_key(credential_id))
    return None if raw is None else parse_operator_row(raw)
