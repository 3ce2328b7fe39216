"""Operators' credentials as the log has them, in a line or a document each."""

from lotmark.client.session import LedgerSession
from lotmark.document_fields import table_of
from lotmark.operator_grant import grant_to_message
from lotmark.verify.operator_register import OperatorRegister, RegisteredOperator
from lotmark.webauthn import base64url


def register_of(session: LedgerSession) -> OperatorRegister:
    """Return the credentials that the ledger's events about operators add up to."""
    return session.governed(everything=True).operators


def operator_document(each: RegisteredOperator, height: int, time_ms: int) -> dict[str, object]:
    """Return a credential for programs, as it stands in a block of `height` and `time_ms`."""
    return {
        **table_of(grant_to_message(each.grant)),
        "credential_id": base64url(each.grant.credential_id),
        "from_height": each.from_height,
        "standing": _standing(each, height, time_ms),
    }


def operator_line(each: RegisteredOperator, height: int, time_ms: int) -> str:
    """Return a credential as a line for people; the arguments are those of `operator_document`."""
    grant = each.grant
    meanings = ",".join(meaning.name.lower() for meaning in grant.meanings)
    standing = _standing(each, height, time_ms)
    credential = base64url(grant.credential_id)
    return f"{credential}  {grant.party:<9}  {grant.role}  {meanings}  {standing}"


def _standing(each: RegisteredOperator, height: int, time_ms: int) -> str:
    outcome = each.judge(height=height, time_ms=time_ms)
    return outcome.name.removeprefix("CREDENTIAL_").lower() if outcome else "in force"
