"""Which rule each field of each event body keeps; a test finds the table complete.

Rules sit on the hot path of every node. So a rule is a quick test that sound values pass, mostly
one call into C, and an explanation that runs only where the test does not pass.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from lotmark.errors import MalformedError
from lotmark.key_grant import PARTY_PATTERN, TIME_MAX_MS, TIME_MIN_MS
from lotmark.rule_value import check_record
from lotmark.text import (
    DECIMAL_PATTERN,
    IDENTIFIER_CHARACTER,
    check_decimal,
    check_identifier,
    check_text,
)
from lotmark.v1 import contracts_pb2

ATTRIBUTES_MAX = 32
REPORT_FIELDS_MAX = 64
ALSO_KNOWN_AS_MAX = 16
EPCIS_HASHES_MAX = 64
EPCIS_DOCUMENT_SIZE_MAX = 12_288
CREDENTIAL_ID_SIZE_MIN = 16
CREDENTIAL_ID_SIZE_MAX = 1_000  # of 1,023 that WebAuthn allows: it is part of a row's key
AUTHENTICATOR_DATA_SIZE_MAX = 256
CLIENT_DATA_SIZE_MAX = 2_048
ASSERTION_SIGNATURE_SIZE_MAX = 128
PACKAGE_PART_SIZE_MAX = 15_360
SESSION_ID_SIZE = 16
SITE_SOURCES_MAX = 64
POLICY_DOCUMENT_SIZE_MAX = 8_192
SCORES_MAX = 64
MODEL_APPROVALS_MAX = 8
ENVELOPE_NAMES = ("capture", "from_device")  # of what packages read: taken from the event itself


class ForbiddenTextError(MalformedError):
    """A text holds characters that nodes could judge differently."""


class Rule(NamedTuple):
    """A rule of one field."""

    passes: Callable[[Any], object]  # truthy: the value keeps the rule
    explain: Callable[[Any, str], None]  # value, field name; raises where the rule is broken


def identifier(size_max: int, *, optional: bool = False) -> Rule:
    """Return the rule of identifiers up to `size_max` characters."""

    def explain(value: str, what: str) -> None:
        check_identifier(value, what=what, size_max=size_max)

    size_min = 0 if optional else 1
    pattern = re.compile(f"{IDENTIFIER_CHARACTER}{{{size_min},{size_max}}}")
    return Rule(pattern.fullmatch, explain)


def text(size_max: int) -> Rule:
    """Return the rule of free text up to `size_max` bytes, possibly empty."""

    def explain(value: str, what: str) -> None:
        try:
            check_text(value, what=what, size_max=size_max)
        except MalformedError as error:
            raise ForbiddenTextError(str(error)) from error

    return Rule(re.compile(f"[ -~]{{0,{size_max}}}").fullmatch, explain)


def _explain_decimal(value: str, what: str) -> None:
    check_decimal(value, what=what)


DECIMAL = Rule(re.compile(DECIMAL_PATTERN).fullmatch, _explain_decimal)
OPTIONAL_DECIMAL = Rule(re.compile(f"({DECIMAL_PATTERN})?").fullmatch, _explain_decimal)


def _explain_digest(value: bytes, what: str) -> None:
    raise MalformedError(f"{what} has {len(value)} bytes; a SHA-256 has 32")


DIGEST = Rule(re.compile(rb"(?s).{32}").fullmatch, _explain_digest)
OPTIONAL_DIGEST = Rule(re.compile(rb"(?s)(.{32})?").fullmatch, _explain_digest)


def octets(size_min: int, size_max: int) -> Rule:
    """Return the rule of bytes from `size_min` to `size_max` of them."""

    def explain(value: bytes, what: str) -> None:
        raise MalformedError(f"{what} has {len(value)} bytes; {size_min} to {size_max} are allowed")

    return Rule(re.compile(rb"(?s).{%d,%d}" % (size_min, size_max)).fullmatch, explain)


def _explain_party(value: str, what: str) -> None:
    raise MalformedError(f"{what} {value!r} is no party id: A-Z, 0-9 and -, at most 31 characters")


PARTY = Rule(re.compile(PARTY_PATTERN).fullmatch, _explain_party)


def between(low: int, high: int) -> Rule:
    """Return the rule of integers from `low` to `high`."""

    def explain(value: int, what: str) -> None:
        raise MalformedError(f"{what} {value} is not {low} to {high}")

    return Rule(range(low, high + 1).__contains__, explain)


def _pass(_value: object) -> bool:
    return True


def _explain_nothing(_value: object, _what: str) -> None:
    """Its type says all there is to say of such a value."""


ANYTHING = Rule(_pass, _explain_nothing)


def each(rule: Rule, count_max: int) -> Rule:
    """Return the rule of lists whose members keep `rule`."""

    def explain(values: Sequence[Any], what: str) -> None:
        if len(values) > count_max:
            raise MalformedError(f"{what} has {len(values)} members, at most {count_max} may be")
        for value in values:
            if not rule.passes(value):
                rule.explain(value, what)

    return Rule(_is_empty, explain)


def _is_empty(values: Sequence[Any]) -> bool:
    return not values


def members(**rules: Rule) -> Rule:
    """Return the rule of messages whose fields keep `rules`."""

    def explain(message: object, what: str) -> None:
        for name, rule in rules.items():
            value = getattr(message, name)
            if not rule.passes(value):
                rule.explain(value, f"{what}.{name}")

    return Rule(_never, explain)


def _never(_value: object) -> bool:
    return False


def _explain_epcis_document(value: bytes, what: str) -> None:
    if len(value) > EPCIS_DOCUMENT_SIZE_MAX:
        raise MalformedError(
            f"{what} has {len(value)} bytes; up to {EPCIS_DOCUMENT_SIZE_MAX} stand on the ledger,"
            " of a larger one its digest alone"
        )


def _explain_currency(value: str, what: str) -> None:
    raise MalformedError(f"{what} {value!r} is no ISO 4217 code of three capitals")


def _explain_event_name(value: str, what: str) -> None:
    raise MalformedError(
        f"{what} {value[:60]!r} is no name: 1 to 40 of a-z, 0-9 and _, a letter first"
    )


def _explain_fields(record: contracts_pb2.ValueRecord, what: str) -> None:
    check_record(record, what=what)
    for field in record.fields:
        if field.name in ENVELOPE_NAMES:
            raise MalformedError(
                f"{what}.{field.name} is what the event itself says of its capture and device;"
                " leave it out"
            )


ITEM_ID = identifier(128)
DEVICE = identifier(64)
UNIT = identifier(16)

_ID = identifier(64)
_OPTIONAL_ID = identifier(64, optional=True)
_OPTIONAL_UNIT = identifier(16, optional=True)
_TEXT = text(1_024)
_VERDICT = between(1, 3)
_ACTION = between(1, 3)
_PPM = between(0, 1_000_000)
_ATTRIBUTES = each(members(name=_ID, value=text(256)), ATTRIBUTES_MAX)
_CURRENCY = Rule(re.compile(r"[A-Z]{3}").fullmatch, _explain_currency)
_MONEY = members(minor_units=between(0, 2**53 - 1), currency=_CURRENCY)
_TIME_MS = between(TIME_MIN_MS, TIME_MAX_MS - 1)
_SESSION_ID = octets(SESSION_ID_SIZE, SESSION_ID_SIZE)
_OPTIONAL_SESSION_ID = Rule(
    re.compile(rb"(?s)(.{%d})?" % SESSION_ID_SIZE).fullmatch, _SESSION_ID.explain
)
_CREDENTIAL_ID = octets(CREDENTIAL_ID_SIZE_MIN, CREDENTIAL_ID_SIZE_MAX)
_ASSERTION = members(
    authenticator_data=octets(1, AUTHENTICATOR_DATA_SIZE_MAX),
    client_data_json=octets(1, CLIENT_DATA_SIZE_MAX),
    signature=octets(1, ASSERTION_SIGNATURE_SIZE_MAX),
)
_CALIBRATION_STATE = between(0, 5)
_SOURCE_POSITION = members(
    source=ITEM_ID,
    instance=_OPTIONAL_ID,
    last_sequence=ANYTHING,
    observation_count=ANYTHING,
    gap_count=ANYTHING,
)
_EPCIS_DOCUMENT = Rule(_is_empty, _explain_epcis_document)
_CONTRACT_EVENT_NAME = Rule(re.compile(r"[a-z][a-z0-9_]{0,39}").fullmatch, _explain_event_name)
_FIELDS_OF_RULES = Rule(_never, _explain_fields)

# Body name -> (field, rule) in the order of the .proto file.
BODY_RULES: dict[str, tuple[tuple[str, Rule], ...]] = {
    "lot_created": (
        ("product", _ID), ("quantity", DECIMAL), ("unit", UNIT), ("attributes", _ATTRIBUTES),
    ),
    "material_receipt": (("supplier", _ID), ("delivery_note", _OPTIONAL_ID)),
    "incoming_inspection": (
        ("plan", _ID),
        ("sample_count", ANYTHING),
        ("nonconforming_count", ANYTHING),
        ("verdict", _VERDICT),
    ),
    "measurement": (
        ("feature", _ID),
        ("value", DECIMAL),
        ("unit", UNIT),
        ("uncertainty", OPTIONAL_DECIMAL),
        ("lower_limit", OPTIONAL_DECIMAL),
        ("upper_limit", OPTIONAL_DECIMAL),
        ("verdict", _VERDICT),
        ("method", _OPTIONAL_ID),
        ("certificate", _OPTIONAL_ID),
        ("calibration", _CALIBRATION_STATE),
    ),
    "observation_window": (
        ("source", ITEM_ID),
        ("observation_count", between(1, 2**53 - 1)),
        ("root", DIGEST),
        ("first_sequence", ANYTHING),
        ("last_sequence", ANYTHING),
        ("minimum", OPTIONAL_DECIMAL),
        ("maximum", OPTIONAL_DECIMAL),
        ("unit", _OPTIONAL_UNIT),
        ("policy", _OPTIONAL_ID),
        ("certificate", _OPTIONAL_ID),
        ("calibration", _CALIBRATION_STATE),
    ),
    "transformation": (
        ("process", _ID), ("recipe", _OPTIONAL_ID), ("program_version", _OPTIONAL_ID),
    ),
    "aggregation": (("action", _ACTION), ("process", _OPTIONAL_ID)),
    "association": (("action", _ACTION), ("process", _OPTIONAL_ID), ("position", _OPTIONAL_ID)),
    "inference_result": (
        ("model", _ID),
        ("engine_digest", DIGEST),
        ("input_digest", DIGEST),
        ("policy", _ID),
        ("mode", _ID),
        ("label", ITEM_ID),
        ("score_ppm", _PPM),
        ("calibrated_ppm", _PPM),
        ("feature", _OPTIONAL_ID),
        ("verdict", _VERDICT),
        ("latency_us", ANYTHING),
        ("context", _ATTRIBUTES),
        ("preprocessing", _OPTIONAL_ID),
        ("scores", each(between(0, 10_000), SCORES_MAX)),
        ("catalogue", _OPTIONAL_ID),
        ("missing_context", each(_ID, ATTRIBUTES_MAX)),
        ("engine", _OPTIONAL_ID),
        ("joint_verdict", between(0, 3)),
    ),
    "review_verdict": (
        ("event_id", DIGEST),
        ("operator", _ID),
        ("verdict", _VERDICT),
        ("effort_s", ANYTHING),
        ("remark", _TEXT),
    ),
    "report_seal": (
        ("report", _ID),
        ("laboratory", _ID),
        ("test", _ID),
        ("report_digest", DIGEST),
        ("fields", each(_ID, REPORT_FIELDS_MAX)),
        ("verdict", _VERDICT),
    ),
    "calibration": (
        ("certificate", _ID),
        ("certificate_digest", DIGEST),
        ("valid_from_ms", _TIME_MS),
        ("valid_until_ms", _TIME_MS),
        ("as_found", _VERDICT),
        ("as_left", _VERDICT),
    ),
    "maintenance": (("order", _ID), ("work", _ID), ("remark", _TEXT)),
    "gap": (
        ("source", ITEM_ID),
        ("first_sequence", ANYTHING),
        ("last_sequence", ANYTHING),
        ("reason", _ID),
        ("instance", _OPTIONAL_ID),
        ("next_instance", _OPTIONAL_ID),
        ("last_seen_ms", ANYTHING),
        ("resumed_ms", ANYTHING),
        ("missing_count", ANYTHING),
    ),
    "clock_quality": (
        ("offset_us", ANYTHING),
        ("error_max_us", ANYTHING),
        ("synchronised", ANYTHING),
        ("reference", _ID),
    ),
    "model_registered": (
        ("model", _ID),
        ("weights_digest", DIGEST),
        ("manifest_digest", DIGEST),
        ("dataset_digest", DIGEST),
    ),
    "model_promoted": (
        ("model", _ID),
        ("station", _ID),
        ("true_positive_count", ANYTHING),
        ("false_positive_count", ANYTHING),
        ("false_negative_count", ANYTHING),
        ("true_negative_count", ANYTHING),
        ("evaluation_digest", OPTIONAL_DIGEST),
        ("bias_audit", _OPTIONAL_ID),
        ("approvals", each(DIGEST, MODEL_APPROVALS_MAX)),
    ),
    "model_rolled_back": (
        ("model", _ID), ("station", _ID), ("successor", _OPTIONAL_ID), ("reason", _TEXT),
    ),
    "correction": (
        ("event_id", DIGEST),
        ("reason", _ID),
        ("replacement_id", OPTIONAL_DIGEST),
        ("operator", _OPTIONAL_ID),
        ("remark", _TEXT),
    ),
    "shipment": (("receiver", _ID), ("despatch_advice", _OPTIONAL_ID)),
    "epcis_document": (
        ("document", _EPCIS_DOCUMENT),
        ("document_digest", DIGEST),
        ("event_count", ANYTHING),
        ("event_hashes", each(DIGEST, EPCIS_HASHES_MAX)),
    ),
    "claim": (
        ("claim", _ID),
        ("respondent", PARTY),
        ("amount", _MONEY),
        ("document_digest", DIGEST),
        ("detected_ms", _TIME_MS),
    ),
    "claim_statement": (
        ("claim", _ID), ("accepted", ANYTHING), ("accepted_amount", _MONEY), ("remark", _TEXT),
    ),
    "part_analysis": (("claim", _ID), ("result_class", _ID), ("finding", _TEXT)),
    "claim_decision": (
        ("claim", _ID), ("respondent_basis_points", between(0, 10_000)), ("reason", _TEXT),
    ),
    "item_identified": (("also_known_as", each(ITEM_ID, ALSO_KNOWN_AS_MAX)),),
    "site_session": (
        ("site", _ID),
        ("session", _SESSION_ID),
        ("state", between(1, 3)),
        ("previous_session", _OPTIONAL_SESSION_ID),
        ("event_count", ANYTHING),
        ("software", _ID),
        ("settings_digest", DIGEST),
        ("sources", each(_SOURCE_POSITION, SITE_SOURCES_MAX)),
    ),
    "anchoring_policy": (
        ("policy", _ID),
        ("version", between(1, 2**32 - 1)),
        ("document", octets(1, POLICY_DOCUMENT_SIZE_MAX)),
    ),
    "source_record": (
        ("source", ITEM_ID),
        ("kind", _ID),
        ("record", ITEM_ID),
        ("verdict", between(0, 3)),
        ("policy", _OPTIONAL_ID),
    ),
    "model_admitted": (
        ("model", _ID),
        ("engine_digest", DIGEST),
        ("engine", _ID),
        ("target", _ID),
        ("weights_digest", DIGEST),
        ("report_digest", DIGEST),
        ("vector_count", ANYTHING),
        ("difference_max", ANYTHING),
        ("admitted", ANYTHING),
    ),
    "policy_switched": (
        ("policy", _ID),
        ("station", _ID),
        ("from_mode", _OPTIONAL_ID),
        ("to_mode", _ID),
        ("reason", _ID),
        ("cause_id", OPTIONAL_DIGEST),
        ("latch_units", ANYTHING),
    ),
    "retrain_ticket": (
        ("model", _ID),
        ("station", _ID),
        ("episode", _ID),
        ("grade", _ID),
        ("metric", _ID),
        ("value_ppm", ANYTHING),
        ("baseline_ppm", ANYTHING),
        ("positive_count", ANYTHING),
        ("coverage_ppm", _PPM),
    ),
    # Grants and signatures are judged with the state at hand, by the key rules.
    "key_registration": (("grant", ANYTHING), ("possession", ANYTHING), ("roots", ANYTHING)),
    "key_revocation": (
        ("key", DIGEST),
        ("party", PARTY),
        ("compromised_since_ms", ANYTHING),
        ("reason", _TEXT),
        ("roots", ANYTHING),
    ),
    "lane_closure": (
        ("key", DIGEST), ("lane", ANYTHING), ("party", PARTY), ("roots", ANYTHING),
    ),
    "root_rotation": (
        ("party", PARTY),
        ("generation", ANYTHING),
        ("threshold", ANYTHING),
        ("keys", ANYTHING),
        ("signatures", ANYTHING),
    ),
    "governance_proposal": (("proposal", ANYTHING), ("party", PARTY), ("roots", ANYTHING)),
    "governance_approval": (("proposal", DIGEST), ("party", PARTY), ("roots", ANYTHING)),
    "contract_event": (("name", _CONTRACT_EVENT_NAME), ("fields", _FIELDS_OF_RULES)),
    # What packages are, the state machine judges.
    "package_proposal": (("change", ANYTHING), ("party", PARTY), ("roots", ANYTHING)),
    "package_part": (("data", octets(1, PACKAGE_PART_SIZE_MAX)),),
    "package_approval": (("proposal", DIGEST), ("party", PARTY), ("roots", ANYTHING)),
    # So are operators' grants and assertions, by the operator rules.
    "label_catalogue": (
        ("catalogue", _ID),
        ("version", between(1, 2**32 - 1)),
        ("document", octets(1, POLICY_DOCUMENT_SIZE_MAX)),
    ),
    "inference_audit": (
        ("event_id", DIGEST),
        ("finding", between(1, 4)),
        ("engine", _OPTIONAL_ID),
        ("difference_max", ANYTHING),
        ("checkpoint_size", ANYTHING),
        ("checkpoint_root", OPTIONAL_DIGEST),
        ("rate_ppm", _PPM),
        ("policy_digest", OPTIONAL_DIGEST),
    ),
    "operator_registration": (("grant", ANYTHING), ("possession", ANYTHING), ("roots", ANYTHING)),
    "operator_revocation": (
        ("credential_id", _CREDENTIAL_ID),
        ("party", PARTY),
        ("compromised_since_ms", ANYTHING),
        ("reason", _TEXT),
        ("roots", ANYTHING),
    ),
    "operator_signature": (
        ("event_id", DIGEST),
        ("meaning", between(1, 4)),
        ("credential_id", _CREDENTIAL_ID),
        ("assertion", _ASSERTION),
    ),
}  # fmt: skip
