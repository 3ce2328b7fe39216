"""Which operator may sign what at which height: followed through events about operators.

The same rules as the transition's, written once more for those who check it without running it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lotmark.errors import MalformedError, SignatureError
from lotmark.governance import pairs
from lotmark.key_grant import NEVER, verify_roots
from lotmark.operator_grant import (
    OperatorGrant,
    OperatorMeaning,
    assertion_from_message,
    grant_from_message,
    revocation_statement,
    signature_challenge,
    statement,
    verify_possession,
)
from lotmark.outcome import Outcome
from lotmark.state_rows import party_row
from lotmark.v1 import event_pb2, governance_pb2, operators_pb2
from lotmark.verify.key_register import KeyRegister
from lotmark.webauthn import AssertionRefused, verify_assertion


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredOperator:
    """A credential, whether or not it is in force."""

    grant: OperatorGrant
    from_height: int
    revoked_height: int = NEVER
    compromised_since_ms: int = 0

    def judge(self, *, height: int, time_ms: int) -> Outcome:
        """Judge whether it is in force in the block of `height` and `time_ms`."""
        if self.revoked_height <= height:
            return Outcome.CREDENTIAL_REVOKED
        if self.from_height > height or time_ms < self.grant.not_before_ms:
            return Outcome.CREDENTIAL_NOT_YET_VALID
        if time_ms >= self.grant.not_after_ms:
            return Outcome.CREDENTIAL_EXPIRED
        return Outcome.ACCEPTED


class OperatorRegister:
    """All operators' credentials of a ledger up to the event that was taken in last."""

    def __init__(self, keys: KeyRegister) -> None:
        """Begin without any: a genesis names no operators.

        Args:
            keys: The parties and their roots; moved along by the caller, in step.
        """
        self._keys = keys
        self._chain_id = keys.chain.id
        self._operators: dict[bytes, RegisteredOperator] = {}

    @property
    def operators(self) -> Mapping[bytes, RegisteredOperator]:
        """Every credential that was ever registered, by its id."""
        return self._operators

    def take(self, event: event_pb2.Event, *, height: int, time_ms: int) -> None:
        """Take in an event that the ledger accepted; one that is not of operators changes nothing.

        Args:
            event: The event.
            height: Of the block that holds it; what it says is in force from the next one on.
            time_ms: Of that block.

        Raises:
            ProtocolError: The ledger should have refused it.
        """
        match event.WhichOneof("body"):
            case "operator_registration":
                self._register(event.operator_registration, height)
            case "operator_revocation":
                self._revoke(event.operator_revocation, height)
            case "operator_signature":
                self.check_signature(event.operator_signature, height=height, time_ms=time_ms)

    def check_signature(
        self, body: operators_pb2.OperatorSignature, *, height: int, time_ms: int
    ) -> None:
        """Check an operator's signature as the block of `height` and `time_ms` has to judge it.

        Raises:
            AssertionRefused: It does not hold.
        """
        found = self._operators.get(body.credential_id)
        name = body.credential_id.hex()
        if found is None:
            raise AssertionRefused(
                Outcome.CREDENTIAL_UNKNOWN, f"credential {name} is not registered"
            )
        party = party_row(self._keys, found.grant.party)
        validity = found.judge(height=height, time_ms=time_ms)
        if party is None or not party.is_member(height):
            validity = Outcome.CREDENTIAL_REVOKED
        if validity:
            raise AssertionRefused(validity, f"credential {name} at height {height}")
        meaning = OperatorMeaning(body.meaning)
        if meaning not in found.grant.meanings:
            allowed = ", ".join(each.name.lower() for each in found.grant.meanings)
            raise AssertionRefused(
                Outcome.MEANING_NOT_PERMITTED,
                f"credential {name} may sign as {allowed}, not as {meaning.name.lower()}",
            )
        challenge = signature_challenge(self._chain_id, meaning, body.event_id)
        assertion = assertion_from_message(body.assertion)
        verify_assertion(assertion, challenge, found.grant.relying_party)

    def _register(self, body: operators_pb2.OperatorRegistration, height: int) -> None:
        grant = grant_from_message(body.grant)
        verify_possession(grant, self._chain_id, assertion_from_message(body.possession))
        self._verify_roots(grant.party, statement(grant, self._chain_id), body.roots, height)
        if grant.credential_id in self._operators:
            raise MalformedError(
                f"credential {grant.credential_id.hex()} is registered a second time"
            )
        self._operators[grant.credential_id] = RegisteredOperator(
            grant=grant, from_height=height + 1
        )

    def _revoke(self, body: operators_pb2.OperatorRevocation, height: int) -> None:
        found = self._operators.get(body.credential_id)
        if found is None or found.grant.party != body.party or found.revoked_height != NEVER:
            raise MalformedError(
                f"credential {body.credential_id.hex()} is revoked, but {body.party!a} has no such"
                " credential"
            )
        signed = revocation_statement(
            chain_id=self._chain_id,
            credential_id=body.credential_id,
            compromised_since_ms=body.compromised_since_ms,
            party=body.party,
        )
        self._verify_roots(body.party, signed, body.roots, height)
        self._operators[body.credential_id] = replace(
            found,
            revoked_height=height + 1,
            compromised_since_ms=body.compromised_since_ms,
        )

    def _verify_roots(
        self,
        party_id: str,
        signed: bytes,
        signatures: Sequence[governance_pb2.KeySignature],
        height: int,
    ) -> None:
        party = party_row(self._keys, party_id)
        if party is None or not party.is_member(height):
            raise SignatureError(f"{party_id!a} is no member")
        verify_roots(signed, pairs(signatures), party.roots, party.threshold)
