"""A WarrantyClaimRequest 1.0.0 as the claim that the package technical-factor reads."""

from lotmark.document_fields import Place
from lotmark_adapters.catenax.members import Members, read_document
from lotmark_adapters.catenax.package_event import PackageEvent
from lotmark_contracts.wcel.currencies import EXPONENTS
from lotmark_contracts.wcel.values import Value

EVENT = "technical_factor_claim"
LABOUR_TIMES = ("baseLaborTime", "otherLaborTime", "supplementalLaborTime", "diagnosticLaborTime")

_MEMBERS = (
    "claimId", "billingId", "billingDate", "repairIndicator", "recoveryType", "warrantyType",
    "recoveryGroupCode", "recoveryGroupName", "billedCurrency", "billedAmount", "billedTF",
    "repairCostsTF100", "materialCosts", "laborCosts", "otherCosts", "hourlyRate",
    "globalLaborCode", "globalLaborCodeDesc", *LABOUR_TIMES, "totalTime", "qualityTaskId",
    "vehicleId", "anonymizedVIN", "bpnsProperty",
)  # fmt: skip
_DESCRIBED = ("recoveryType", "warrantyType", "recoveryGroupName", "globalLaborCodeDesc")
_TEXT_MAX = 1_000


def read_warranty_claim(raw: bytes, *, document: str, supplier: str) -> PackageEvent:
    """Return a claim document as a contract event.

    The shape names no part and no day of repair: the part family stands for the part, and the day
    of billing for the other. So a unit has one claim a day, family and labour code.

    Args:
        raw: The document, JSON in UTF-8.
        document: Its name, for messages.
        supplier: Whom it claims from, as a party of the ledger.

    Raises:
        CatenaxError: It is no such document, lacks what the package needs, or its sums do not
            close.
    """
    return read_document(raw, document, lambda value, place: _claim(value, place, supplier))


def _claim(value: object, place: Place, supplier: str) -> PackageEvent:
    claim = Members(value, place, _MEMBERS)
    _check_what_is_not_used(claim)
    currency = claim.currency("billedCurrency")
    family = claim.text("recoveryGroupCode", 40)
    minutes = [claim.minutes(name) for name in LABOUR_TIMES if name in claim]
    fields: dict[str, Value] = {
        "claim": claim.text("claimId", 40),
        "supplier": supplier,
        "family": family,
        "serial": claim.text("anonymizedVIN", 64),
        "part": family,
        "labour_code": claim.text("globalLaborCode", 20),
        "repaired_at": claim.day_ms("billingDate"),
        "currency": currency,
        "material": claim.minor("materialCosts", currency),
        "minutes": list[Value](minutes),
        "hourly_rate": claim.minor("hourlyRate", currency),
        "other": claim.minor("otherCosts", currency),
        "billed_tf_bp": claim.basis_points("billedTF"),
        "stated_total": claim.minor("repairCostsTF100", currency),
    }
    _check_sums(claim, currency, minutes)
    return PackageEvent(EVENT, fields)


def _check_what_is_not_used(claim: Members) -> None:
    """Check the members that the package has no use for: a document is sound as a whole."""
    claim.text("billingId", _TEXT_MAX)
    claim.text("repairIndicator", _TEXT_MAX)
    claim.uuid("qualityTaskId")
    for name in _DESCRIBED:
        if name in claim:
            claim.text(name, _TEXT_MAX)
    if "vehicleId" in claim:
        claim.uuid("vehicleId")
    if "bpnsProperty" in claim:
        claim.partner("bpnsProperty", "BPNS")


def _check_sums(claim: Members, currency: str, minutes: list[int]) -> None:
    """Check that what the document has added up is the sum of its parts."""
    if "totalTime" in claim:
        _check_sum(claim, "totalTime", claim.minutes("totalTime"), sum(minutes), "minutes")
    unit = f"minor units of {currency} ({EXPONENTS[currency]} decimals)"
    labour = _nearest(sum(minutes) * claim.minor("hourlyRate", currency), 60)
    if "laborCosts" in claim:
        _check_sum(claim, "laborCosts", claim.minor("laborCosts", currency), labour, unit)
    total = claim.minor("materialCosts", currency) + labour + claim.minor("otherCosts", currency)
    stated = claim.minor("repairCostsTF100", currency)
    _check_sum(claim, "repairCostsTF100", stated, total, unit)
    billed = _nearest(total * claim.basis_points("billedTF"), 10_000)
    _check_sum(claim, "billedAmount", claim.minor("billedAmount", currency), billed, unit)


def _check_sum(claim: Members, name: str, stated: int, found: int, unit: str) -> None:
    if stated != found:
        raise claim.at(name).refusal(
            f"{stated:,} {unit} are stated, and its parts make {found:,}; correct the one or the"
            " others"
        )


def _nearest(product: int, divisor: int) -> int:
    """Return the nearest whole number to a quotient that is not negative; a half goes up."""
    return (2 * product + divisor) // (2 * divisor)
