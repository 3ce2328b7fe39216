"""The content of a laboratory's report, field by field, as ISO/IEC 17025:2017, 7.8 asks for it.

The list names fields and says in our own words what each is for. That a report has every field
says nothing about how true they are. Fields without a clause are the seal's own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lotmark.document_fields import Place, table_at
from lotmark.errors import MalformedError
from lotmark.event_rules import ITEM_ID, identifier
from lotmark.report_checks import (
    NOT_APPLICABLE,
    RESULT_NEEDED,
    Check,
    dates,
    dates_if_any,
    files,
    keeps,
    one_of,
    results,
    text,
)

KINDS = ("test", "calibration")
VERDICTS = ("CONFORMING", "NONCONFORMING", "UNDETERMINED")
BLANK_RESULT = dict.fromkeys(RESULT_NEEDED, "")

Need = Callable[[Mapping[str, Any]], str]  # why a report needs the field; "": it does not

_ID = keeps(identifier(64))


@dataclass(frozen=True, slots=True)
class ReportField:
    """One field of a report."""

    name: str
    clause: str  # of ISO/IEC 17025:2017, 7.8 that asks for it; "" where the seal does
    check: Check
    need: Need
    purpose: str  # what it tells, for whoever has to write it


@dataclass(frozen=True, slots=True)
class MissingField:
    """A field that a report lacks."""

    field: ReportField
    why: str  # it is needed; "" where every report needs it

    def __str__(self) -> str:
        """Return the field, what it is for, and why it is needed."""
        clause = f" (7.8{self.field.clause})" if self.field.clause else ""
        because = f", needed since {self.why}" if self.why else ""
        return f"{self.field.name}{clause}: {self.field.purpose}{because}"


class ReportIncompleteError(MalformedError):
    """A report lacks fields.

    Attributes:
        missing: All of them, in the list's order.
    """

    def __init__(self, name: str, missing: tuple[MissingField, ...]) -> None:
        fields = "1 field is" if len(missing) == 1 else f"{len(missing)} fields are"
        listed = "; ".join(str(each) for each in missing)
        super().__init__(
            f"{name}: {fields} missing of what ISO/IEC 17025 7.8 and the seal ask for: {listed}"
        )
        self.missing = missing


def check_fields(table: Mapping[str, Any], place: Place) -> None:
    """Check a report's fields.

    Raises:
        MalformedError: A field is unknown or has a value that it cannot have: the first such.
        ReportIncompleteError: Fields are missing: all of them.
    """
    table_at(table, place, tuple(FIELDS))
    missing = missing_fields(table)
    blank = {each.field.name for each in missing}
    for name, value in table.items():
        if name not in blank:
            FIELDS[name].check(value, place.member(name))
    if missing:
        raise ReportIncompleteError(place.document, missing)


def missing_fields(table: Mapping[str, Any]) -> tuple[MissingField, ...]:
    """Return the fields that a report needs and has not, or has as a template left them."""
    needs = ((field, field.need(table)) for field in FIELDS.values() if _is_blank(field, table))
    return tuple(MissingField(field, "" if why == _EVERY else why) for field, why in needs if why)


def _is_blank(field: ReportField, table: Mapping[str, Any]) -> bool:
    value = table.get(field.name, "")
    return value in ("", [BLANK_RESULT])


_EVERY = "every report needs it"


def _always(_table: Mapping[str, Any]) -> str:
    return _EVERY


def _optional(_table: Mapping[str, Any]) -> str:
    return ""


def _in_calibrations(table: Mapping[str, Any]) -> str:
    return "this is a calibration" if table.get("kind") == "calibration" else ""


def _where_conformity_is_stated(table: Mapping[str, Any]) -> str:
    return "conformity is stated" if "statement_of_conformity" in table else ""


def _uncertainty_need(table: Mapping[str, Any]) -> str:
    return _in_calibrations(table) or _where_conformity_is_stated(table)


def _statement_need(table: Mapping[str, Any]) -> str:
    verdict = table.get("verdict")
    return f"verdict is {verdict}" if verdict in ("CONFORMING", "NONCONFORMING") else ""


def _beside(name: str) -> Need:
    return lambda table: f"{name} is there" if name in table else ""


_EVERY_REPORT = (
    ReportField("title", ".2.1 a", text, _always, "what kind of report this is"),
    ReportField("laboratory_name", ".2.1 b", text, _always, "which laboratory"),
    ReportField("laboratory_address", ".2.1 b", text, _always, "where it has its seat"),
    ReportField(
        "location_of_activities", ".2.1 c", text, _always, "where the work was done"
    ),
    ReportField("report_number", ".2.1 d", _ID, _always, "what it is known by, on every page"),
    ReportField("end_mark", ".2.1 d", text, _always, "by what a reader sees that it ends here"),
    ReportField("customer_name", ".2.1 e", text, _always, "who asked for it"),
    ReportField("customer_address", ".2.1 e", text, _always, "how the customer is reached"),
    ReportField("method", ".2.1 f", text, _always, "by what method"),
    ReportField("item_description", ".2.1 g", text, _always, "what was looked at"),
    ReportField(
        "item_identification", ".2.1 g", keeps(ITEM_ID), _always, "the item's id as on the ledger"
    ),
    ReportField("item_condition", ".2.1 g", text, _optional, "in what state it came"),
    ReportField(
        "date_of_receipt", ".2.1 h", dates_if_any, _always, f'when it came, or "{NOT_APPLICABLE}"'
    ),
    ReportField("date_of_sampling", ".2.1 h", dates_if_any, _optional, "when it was sampled"),
    ReportField("date_of_performance", ".2.1 i", dates, _always, "when the work was done"),
    ReportField("date_of_issue", ".2.1 j", dates, _always, "when the report was issued"),
    ReportField("sampling", ".2.1 k", text, _always, "by whose plan and method it was sampled"),
    ReportField(
        "statement_on_items", ".2.1 l", text, _always, "that the results are of these items only"
    ),
    ReportField("results", ".2.1 m", results, _always, "what was found, with units"),
    ReportField(
        "deviations", ".2.1 n", text, _always, 'how the method was not followed, or "none"'
    ),
    ReportField("authoriser", ".2.1 o", text, _always, "who releases it, by credential id"),
    ReportField(
        "external_provider_results", ".2.1 p", text, _always, 'results of others, or "none"'
    ),
    ReportField("customer_supplied_data", ".2.2", text, _optional, "what is the customer's word"),
)  # fmt: skip

_BY_KIND = (
    ReportField("test_conditions", ".3.1 a", text, _optional, "conditions of the test"),
    ReportField(
        "calibration_conditions", ".4.1 b", text, _in_calibrations, "conditions of the calibration"
    ),
    ReportField(
        "measurement_uncertainty", ".3.1 c, .4.1 a", text, _uncertainty_need, "of the results"
    ),
    ReportField(
        "metrological_traceability", ".4.1 c", text, _in_calibrations, "to what standards it leads"
    ),
    ReportField(
        "results_before_adjustment", ".4.1 d", results, _beside("results_after_adjustment"),
        "what was found before an adjustment or repair",
    ),
    ReportField(
        "results_after_adjustment", ".4.1 d", results, _beside("results_before_adjustment"),
        "what was found after it",
    ),
    ReportField(
        "statement_of_conformity", ".6.2", text, _statement_need, "which requirements are met"
    ),
    ReportField(
        "decision_rule", ".6.1", text, _where_conformity_is_stated, "how uncertainty counts in it"
    ),
    ReportField(
        "opinions_and_interpretations", ".7", text, _optional, "what the laboratory makes of it"
    ),
    ReportField("additional_information", ".3.1 e", text, _optional, "what else was asked for"),
    ReportField("amends", ".8", _ID, _beside("amendment_reason"), "the report that it replaces"),
    ReportField("amendment_reason", ".8", text, _beside("amends"), "what is changed, and why"),
)  # fmt: skip

_OF_THE_SEAL = (
    ReportField("kind", "", one_of(KINDS), _always, " or ".join(KINDS)),
    ReportField("laboratory", "", _ID, _always, "the laboratory's party or accreditation id"),
    ReportField("test", "", _ID, _always, 'the test in one word, such as "resistivity"'),
    ReportField("verdict", "", one_of(VERDICTS), _always, " or ".join(VERDICTS)),
    ReportField("files", "", files, _optional, "files that belong to the report"),
)

# Every field a report may have, in the order in which it is written.
FIELDS: dict[str, ReportField] = {
    field.name: field for field in (*_OF_THE_SEAL, *_EVERY_REPORT, *_BY_KIND)
}

# What mostly stays the same in a laboratory's next report.
LASTING = frozenset({
    "kind", "laboratory", "title", "laboratory_name", "laboratory_address",
    "location_of_activities", "customer_name", "customer_address", "method", "sampling",
    "statement_on_items", "decision_rule",
})  # fmt: skip
