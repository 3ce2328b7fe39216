"""A report for a person to complete: what is known of it, and a line for each field that is not."""

import json
from collections.abc import Mapping
from typing import Any

from lotmark.report_checks import text
from lotmark.report_fields import BLANK_RESULT, FIELDS, LASTING, ReportField, missing_fields


def lasting_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return those fields of an earlier report that mostly stay the same in the next one."""
    return {name: value for name, value in fields.items() if name in LASTING}


def report_template(known: Mapping[str, Any]) -> str:
    """Return a report in TOML with the known fields, and an empty one for each that is missing."""
    missing = {each.field.name for each in missing_fields(known)}
    lines = [
        "# Write what is missing between the quotes, then: lotmark seal THIS FILE",
        "# Numbers in brackets are the clauses of ISO/IEC 17025:2017 that ask for a field. A",
        "# line that begins with # is for some reports only.",
    ]
    for field in FIELDS.values():
        if field.name == "results":
            continue  # tables stand at the end of a TOML document
        if field.name in missing:
            lines.append(f'{field.name} = ""  # {_purpose(field)}')
        elif field.name in known:
            lines.append(f"{field.name} = {_toml(known[field.name])}")
        elif field.check is text:
            lines.append(f'# {field.name} = ""  # {_purpose(field)}')
    if "results" in missing:
        lines += ["", f"[[results]]  # one for each; {_purpose(FIELDS['results'])}"]
        lines += [f'{name} = ""' for name in BLANK_RESULT]
    return "\n".join(lines) + "\n"


def _purpose(field: ReportField) -> str:
    clause = f" (7.8{field.clause})" if field.clause else ""
    return field.purpose + clause


def _toml(value: object) -> str:
    """Return a text, flag, list or table as TOML writes it in one line."""
    if isinstance(value, list):
        return f"[{', '.join(_toml(each) for each in value)}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{name} = {_toml(each)}' for name, each in value.items())} }}"
    return json.dumps(value, ensure_ascii=False)  # TOML's basic strings take all of JSON's escapes
