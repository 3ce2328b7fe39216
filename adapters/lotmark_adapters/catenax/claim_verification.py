"""A WarrantyClaimRequestVerification 1.0.0 as a supplier's statement on a claim."""

from lotmark.document_fields import Place
from lotmark_adapters.catenax.members import Members, read_document
from lotmark_adapters.catenax.package_event import PackageEvent

EVENT = "technical_factor_statement"
STATUSES = ("approved", "disputed")

_MEMBERS = (
    "claimId", "billingId", "billingDate", "agreedTechnicalFactor", "debitValueJustified",
    "billedCurrency", "claimPlausible", "claimImplausible", "billingStatus", "statementDate",
    "statementReason", "qualityTaskId", "bpnlProperty", "vehicleId", "anonymizedVIN",
)  # fmt: skip


def read_claim_verification(raw: bytes, *, document: str, claimant: str) -> PackageEvent:
    """Return a supplier's answer to a claim as a contract event.

    Args:
        raw: The document, JSON in UTF-8.
        document: Its name, for messages.
        claimant: Whose claim it answers, as a party of the ledger.

    Raises:
        CatenaxError: It is no such document, or lacks what the package needs.
    """
    return read_document(raw, document, lambda value, place: _statement(value, place, claimant))


def _statement(value: object, place: Place, claimant: str) -> PackageEvent:
    answer = Members(value, place, _MEMBERS)
    answer.text("billingId", 1_000)
    answer.day_ms("billingDate")
    answer.day_ms("statementDate")
    answer.flag("debitValueJustified")
    answer.uuid("qualityTaskId")
    answer.partner("bpnlProperty", "BPNL")
    answer.text("anonymizedVIN", 64)
    if "vehicleId" in answer:
        answer.uuid("vehicleId")
    currency = answer.currency("billedCurrency")
    return PackageEvent(
        EVENT,
        {
            "claim": answer.text("claimId", 40),
            "claimant": claimant,
            "factor_bp": answer.basis_points("agreedTechnicalFactor"),
            "currency": currency,
            "plausible": answer.minor("claimPlausible", currency),
            "implausible": answer.minor("claimImplausible", currency),
            "is_disputed": answer.one_of("billingStatus", STATUSES) == "disputed",
            "reason": answer.text("statementReason", 200),
        },
    )
