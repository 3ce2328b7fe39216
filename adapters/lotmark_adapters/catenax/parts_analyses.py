"""PartsAnalyses 4.0.0 as the analyses that the package reference-market counts."""

from collections.abc import Iterator

from lotmark.document_fields import Place, shown
from lotmark_adapters.catenax.members import Members, read_document
from lotmark_adapters.catenax.package_event import PackageEvent

EVENT = "part_analysed"
ANALYSES_MAX = 10_000  # of a document
STATUSES = ("new", "in progress", "completed", "closed")
RECORD_STATUSES = ("new", "updated", "deleted", "same")

_TEXT_MAX = 1_000
_TEXTS = (
    "partName", "partDescription", "assemblyPartNumberVersion", "batchNumber",
    "calibrationInformation", "dataMatrixCode", "deliveryNote", "hwVersion", "orderNumber",
    "partNumber", "partVersion", "swPartNumber", "swVersion", "variantInfomation",
    "catenaXPartnerAnalysisID", "resultsDescription", "componentManufacturerAnalysisID",
    "anonymizedVIN",
)  # fmt: skip
_REQUIRED = ("componentManufacturerAnalysisID", "anonymizedVIN", "partName")
_MEMBERS = (
    *_TEXTS, "partId", "serialNumber", "qualityTaskId", "isDefect", "status", "recordStatus",
    "additionalInformationList",
)  # fmt: skip


def read_parts_analyses(
    raw: bytes, *, document: str, supplier: str, oem: str, period: int
) -> list[PackageEvent]:
    """Return analyses of parts as contract events, one a part.

    An analysis that has ended says SUPPLIER of a part that is defective, and NTF of one that is
    not; one that has not ended, was deleted or says neither is NOT_ANALYSED, until a later one
    says more. OEM and MISUSE have no place in this shape.

    Args:
        raw: The document, JSON in UTF-8.
        document: Its name, for messages.
        supplier: Whose parts they are, as a party of the ledger.
        oem: With whom the terms are, as a party of the ledger.
        period: In which they count.

    Raises:
        CatenaxError: It is no such document, or lacks what the package needs.
    """

    def read(value: object, place: Place) -> list[PackageEvent]:
        terms = {"supplier": supplier, "oem": oem}
        return [
            PackageEvent(EVENT, {**terms, "period": period, "part": part, "result": result})
            for part, result in _analyses(value, place)
        ]

    return read_document(raw, document, read)


def _analyses(value: object, place: Place) -> Iterator[tuple[str, str]]:
    """Yield parts with the results of their analyses."""
    whole = Members(value, place, ("metaInformation", "partsAnalyses"))
    at, analyses = whole.at("partsAnalyses"), whole.items("partsAnalyses")
    if len(analyses) > ANALYSES_MAX:
        raise at.refusal(f"{len(analyses):,} analyses; at most {ANALYSES_MAX:,}: send it in parts")
    seen: set[str] = set()
    for index, each in enumerate(analyses):
        analysis = Members(each, at.element(index), _MEMBERS)
        part = _part(analysis)
        if part in seen:
            raise analysis.place.refusal(
                f"part {shown(part)} is there twice; keep the analysis that counts"
            )
        seen.add(part)
        yield part, _result(analysis)


def _part(analysis: Members) -> str:
    """Return by which id a part is known; checks what is not used, too."""
    for name in _TEXTS:
        if name in analysis or name in _REQUIRED:
            analysis.text(name, _TEXT_MAX)
    analysis.uuid("qualityTaskId")
    if "additionalInformationList" in analysis:
        analysis.items("additionalInformationList")
    if "partId" in analysis:
        return analysis.uuid("partId").removeprefix("urn:uuid:").lower()
    if "serialNumber" in analysis:
        return analysis.text("serialNumber", 64)
    raise analysis.at("partId").missing("write it, or serialNumber: a part counts once")


def _result(analysis: Members) -> str:
    status = analysis.one_of("status", STATUSES) if "status" in analysis else "completed"
    record = analysis.one_of("recordStatus", RECORD_STATUSES) if "recordStatus" in analysis else ""
    is_defect = analysis.flag("isDefect") if "isDefect" in analysis else None
    if status in ("new", "in progress") or record == "deleted" or is_defect is None:
        return "NOT_ANALYSED"
    return "SUPPLIER" if is_defect else "NTF"
