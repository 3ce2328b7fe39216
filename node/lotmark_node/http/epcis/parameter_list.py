"""The query parameters with names of their own, for the OpenAPI."""

from typing import Any

from lotmark_node.http.epcis.standard_parameters import (
    ACTIONS,
    EVENT_TYPES,
    LIST_NAMES,
    MATCH_NAMES,
    NUMBER_NAMES,
    TIME_NAMES,
)


def _parameter(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema}


_TEXT = {"type": "string", "minLength": 1, "maxLength": 1_024}
_COUNT = {"type": "integer", "minimum": 1, "maximum": 1_000_000}
_OF_LIST = {
    "eventType": {"type": "string", "enum": list(EVENT_TYPES)},
    "EQ_action": {"type": "string", "enum": list(ACTIONS)},
    "EQ_booleanValue": {"type": "string", "enum": ["true", "false"]},
}

QUERY_PARAMETERS = [
    *(_parameter(name, "One of these, a|b|c.", _OF_LIST.get(name, _TEXT)) for name in LIST_NAMES),
    *(_parameter(name, "One of these ids or patterns, a|b|c.", _TEXT) for name in MATCH_NAMES),
    *(
        _parameter(name, "With an offset.", {"type": "string", "format": "date-time"})
        for name in TIME_NAMES
    ),
    *(_parameter(name, "A number.", {"type": "number"}) for name in NUMBER_NAMES),
    *(
        _parameter(name, "Whether there is one.", {"type": "boolean"})
        for name in ("EXISTS_errorDeclaration", "EXISTS_sensorElementList")
    ),
    _parameter("orderBy", "", {"type": "string", "enum": ["eventTime", "recordTime"]}),
    _parameter("orderDirection", "", {"type": "string", "enum": ["ASC", "DESC"]}),
    _parameter("eventCountLimit", "Only the first so many; needs orderBy.", _COUNT),
    _parameter("maxEventCount", "More of them are no answer but a problem.", _COUNT),
]
"""Those with names made of a unit, type or field are told in docs/epcis.md."""
