"""The JSON schema of a report, made from the list of its fields."""

from typing import Any

from lotmark.report_checks import RESULT_NEEDED, RESULT_OPTIONAL, files, results
from lotmark.report_fields import FIELDS, ReportField, missing_fields


def report_schema() -> dict[str, Any]:
    """Return it; what a field needs beside others is in its description alone."""
    return {
        "type": "object",
        "title": "Report",
        "description": "A laboratory's report, as in the file that `lotmark seal` takes.",
        "properties": {field.name: _property(field) for field in FIELDS.values()},
        "required": [each.field.name for each in missing_fields({})],
        "additionalProperties": False,
    }


def _property(field: ReportField) -> dict[str, Any]:
    clause = f" (ISO/IEC 17025:2017, 7.8{field.clause})" if field.clause else ""
    described = {"description": field.purpose + clause}
    if field.check is results:
        names = (*RESULT_NEEDED, *RESULT_OPTIONAL)
        return {
            **described,
            "type": "array",
            "items": _texts(names, required=RESULT_NEEDED),
        }
    if field.check is files:
        digest = _texts(("sha256", "media_type", "name", "salt"), required=("sha256",))
        digest["properties"]["size"] = {"type": "integer"}
        digest["required"] = ["sha256", "size", "media_type", "name"]
        return {**described, "type": "array", "items": digest}
    return {**described, "type": "string"}


def _texts(names: tuple[str, ...], *, required: tuple[str, ...]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"type": "string"} for name in names},
        "required": list(required),
        "additionalProperties": False,
    }
