"""Every field of every body has a rule, and each rule refuses what it should.

What each field must be is written here a second time, from the comments of the `.proto` files:
`BODY_RULES` could not be found wrong by itself.
"""

from collections.abc import Callable, Iterator

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from lotmark.errors import MalformedError
from lotmark.event import EVENT_TYPES, EventRefused, check_event
from lotmark.event_rules import (
    ATTRIBUTES_MAX,
    BODY_RULES,
    DECIMAL,
    DEVICE,
    ITEM_ID,
    OPTIONAL_DECIMAL,
    UNIT,
    Rule,
    text,
)
from lotmark.outcome import Outcome
from lotmark.text import check_decimal, check_identifier, check_text
from lotmark.v1 import contracts_pb2, event_pb2, operators_pb2, quality_pb2
from tests.proto.sound_events import SOUND_BODIES, encoded, sound_event

KINDS: dict[str, str] = {
    "lot_created": "product=id quantity=decimal unit=unit attributes=attributes",
    "material_receipt": "supplier=id delivery_note=id?",
    "incoming_inspection": "plan=id sample_count=any nonconforming_count=any verdict=verdict",
    "measurement": "feature=id value=decimal unit=unit uncertainty=decimal? lower_limit=decimal?"
    " upper_limit=decimal? verdict=verdict method=id? certificate=id? calibration=calibration",
    "observation_window": "source=long observation_count=count root=digest first_sequence=any"
    " last_sequence=any minimum=decimal? maximum=decimal? unit=unit? policy=id?"
    " certificate=id? calibration=calibration",
    "transformation": "process=id recipe=id? program_version=id?",
    "aggregation": "action=action process=id?",
    "association": "action=action process=id? position=id?",
    "inference_result": "model=id engine_digest=digest input_digest=digest policy=id mode=id"
    " label=long score_ppm=ppm calibrated_ppm=ppm feature=id? verdict=verdict latency_us=any"
    " context=attributes preprocessing=id? scores=scores catalogue=id? missing_context=names"
    " engine=id? joint_verdict=verdict_or_none",
    "review_verdict": "event_id=digest operator=id verdict=verdict effort_s=any remark=text",
    "report_seal": "report=id laboratory=id test=id report_digest=digest fields=fields"
    " verdict=verdict",
    "calibration": "certificate=id certificate_digest=digest valid_from_ms=time"
    " valid_until_ms=time as_found=verdict as_left=verdict",
    "maintenance": "order=id work=id remark=text",
    "gap": "source=long first_sequence=any last_sequence=any reason=id instance=id?"
    " next_instance=id? last_seen_ms=any resumed_ms=any missing_count=any",
    "clock_quality": "offset_us=any error_max_us=any synchronised=any reference=id",
    "model_registered": "model=id weights_digest=digest manifest_digest=digest"
    " dataset_digest=digest",
    "model_promoted": "model=id station=id true_positive_count=any false_positive_count=any"
    " false_negative_count=any true_negative_count=any evaluation_digest=digest? bias_audit=id?"
    " approvals=approvals",
    "model_rolled_back": "model=id station=id successor=id? reason=text",
    "correction": "event_id=digest reason=id replacement_id=digest? operator=id? remark=text",
    "shipment": "receiver=id despatch_advice=id?",
    "epcis_document": "document=document document_digest=digest event_count=any"
    " event_hashes=digests",
    "claim": "claim=id respondent=party amount=money document_digest=digest detected_ms=time",
    "claim_statement": "claim=id accepted=any accepted_amount=money remark=text",
    "part_analysis": "claim=id result_class=id finding=text",
    "claim_decision": "claim=id respondent_basis_points=share reason=text",
    "item_identified": "also_known_as=items",
    "site_session": "site=id session=session state=verdict previous_session=session?"
    " event_count=any software=id settings_digest=digest sources=positions",
    "anchoring_policy": "policy=id version=version document=policy",
    "source_record": "source=long kind=id record=long verdict=verdict_or_none policy=id?",
    "model_admitted": "model=id engine_digest=digest engine=id target=id weights_digest=digest"
    " report_digest=digest vector_count=any difference_max=any admitted=any",
    "policy_switched": "policy=id station=id from_mode=id? to_mode=id reason=id cause_id=digest?"
    " latch_units=any",
    "retrain_ticket": "model=id station=id episode=id grade=id metric=id value_ppm=any"
    " baseline_ppm=any positive_count=any coverage_ppm=ppm",
    "key_registration": "grant=any possession=any roots=any",
    "key_revocation": "key=digest party=party compromised_since_ms=any reason=text roots=any",
    "lane_closure": "key=digest lane=any party=party roots=any",
    "root_rotation": "party=party generation=any threshold=any keys=any signatures=any",
    "governance_proposal": "proposal=any party=party roots=any",
    "governance_approval": "proposal=digest party=party roots=any",
    "contract_event": "name=event_name fields=values",
    "package_proposal": "change=any party=party roots=any",
    "package_part": "data=part",
    "package_approval": "proposal=digest party=party roots=any",
    "label_catalogue": "catalogue=id version=version document=policy",
    "inference_audit": "event_id=digest finding=meaning engine=id? difference_max=any"
    " checkpoint_size=any checkpoint_root=digest? rate_ppm=ppm policy_digest=digest?",
    "operator_registration": "grant=any possession=any roots=any",
    "operator_revocation": "credential_id=credential party=party compromised_since_ms=any"
    " reason=text roots=any",
    "operator_signature": "event_id=digest meaning=meaning credential_id=credential"
    " assertion=assertion",
}

_NO_IDENTIFIER = ("a b", "ä", "a\n", "\x00", "a\u0301", '"', "<", "\\", "{", "|", "^", "`")
_NO_DECIMAL = (
    "1e3", "01", "00", ".5", "1.", "+1", "-0", "-0.0", "--1", "1,5", "0x1", " 1", "1\n", "NaN",
    "Infinity", "1_000", "\u0661", "1" * 19, "0." + "1" * 13, "-" + "9" * 19,
)  # fmt: skip
_NO_TEXT = ("a\x00", "a\x07", "\x7f", "\x85", "e\u0301", "\u0378", "\ue000", "\U000f0000", "\ufffe")


def attribute(name: str, value: str = "") -> quality_pb2.Attribute:
    return quality_pb2.Attribute(name=name, value=value)


def money(minor_units: int, currency: str) -> quality_pb2.Money:
    return quality_pb2.Money(minor_units=minor_units, currency=currency)


def position(source: str, instance: str = "") -> quality_pb2.SourcePosition:
    return quality_pb2.SourcePosition(source=source, instance=instance)


def assertion(
    *, data: bytes = b"d", client: bytes = b"c", signature: bytes = b"s"
) -> operators_pb2.WebauthnAssertion:
    return operators_pb2.WebauthnAssertion(
        authenticator_data=data, client_data_json=client, signature=signature
    )


def values(*names: str) -> contracts_pb2.ValueRecord:
    fields = [named(name, contracts_pb2.Value(integer=0)) for name in names]
    return contracts_pb2.ValueRecord(fields=fields)


def named(name: str, value: contracts_pb2.Value) -> contracts_pb2.NamedValue:
    return contracts_pb2.NamedValue(name=name, value=value)


# Kind -> values that break the rule. A kind with ? may be empty besides.
BREAKING: dict[str, tuple[object, ...]] = {
    "id": ("", "x" * 65, *_NO_IDENTIFIER),
    "long": ("", "x" * 129, *_NO_IDENTIFIER),
    "unit": ("", "x" * 17, *_NO_IDENTIFIER),
    "decimal": ("", *_NO_DECIMAL),
    "digest": (b"", bytes(31), bytes(33)),
    "credential": (b"", bytes(15), bytes(1_001)),
    "meaning": (0, 5, -1),
    "assertion": (
        None, assertion(data=b""), assertion(client=b""), assertion(signature=b""),
        assertion(data=bytes(257)), assertion(client=bytes(2_049)),
        assertion(signature=bytes(129)),
    ),
    "party": ("", "oem", "-A", "A" * 32, "A_B", "Ä", "A\n"),
    "verdict": (0, 4, -1),
    "action": (0, 4, -1),
    "ppm": (1_000_001, 2**32 - 1),
    "share": (10_001, 2**32 - 1),
    "count": (0, 2**53, 2**64 - 1),
    "time": (0, 946_684_799_999, 4_102_444_800_000, 2**64 - 1),
    "text": ("x" * 1_025, "ä" * 513, *_NO_TEXT),
    "fields": (["x"] * 65, [""], ["a b"], ["ok", "x" * 65]),
    "document": (bytes(12_289),),
    "money": (money(1, ""), money(1, "eur"), money(1, "EURO"), money(-1, "EUR"),
              money(2**53, "EUR"), None),
    "attributes": (
        [attribute(f"n{number}") for number in range(ATTRIBUTES_MAX + 1)],
        [attribute("")], [attribute("a b")], [attribute("x" * 65)],
    ),
    "event_name": ("", "x" * 41, "7", "_a", "Ab", "a-b", "a.b", "a b", "ä", "a\n"),
    "values": (values(""), values("b", "a"), values("a", "a"), values("x" * 257),
               contracts_pb2.ValueRecord(fields=[named("a", contracts_pb2.Value())])),
    "part": (b"", bytes(15_361)),
    "digests": ([bytes(32)] * 65, [b""], [bytes(32), bytes(31)]),
    "calibration": (6, -1),
    "verdict_or_none": (4, -1),
    "scores": ([0] * 65, [10_001]),
    "names": (["x"] * 33, [""], ["a b"]),
    "approvals": ([bytes(32)] * 9, [b""]),
    "session": (b"", bytes(15), bytes(17)),
    "positions": (
        [position("W07")] * 65, [position("")], [position("a b")], [position("W07", "a b")],
    ),
    "version": (0,),
    "policy": (b"", bytes(8_193)),
    "items": (["x"] * 17, [""], ["a b"], ["ok", "x" * 129]),
    "any": (),
}  # fmt: skip

# Kind -> values at the bound, which pass.
PASSING: dict[str, tuple[object, ...]] = {
    "id": ("x" * 64, "-._:/~%+()@!$&'*,;=?#[]"),
    "long": ("x" * 128,),
    "unit": ("x" * 16,),
    "decimal": ("0", "0.0", "-1", "9" * 18, "-0.5", "1." + "1" * 12, "1.500"),
    "digest": (bytes(32), b"\n" * 32),
    "credential": (bytes(16), b"\n" * 1_000),
    "meaning": (1, 4),
    "assertion": (
        assertion(),
        assertion(data=bytes(256), client=b"\n" * 2_048, signature=bytes(128)),
    ),
    "party": ("A", "7", "A" * 31, "A-"),
    "verdict": (1, 2, 3),
    "action": (1, 2, 3),
    "ppm": (0, 1_000_000),
    "share": (0, 10_000),
    "count": (1, 2**53 - 1),
    "time": (946_684_800_000, 4_102_444_799_999),
    "text": ("", "x" * 1_024, "ä" * 512, "two\nlines\tand a tab", "漢字 Ω \u00e9"),
    "fields": ([], ["x"] * 64),
    "document": (b"", bytes(12_288)),
    "money": (money(0, "EUR"), money(2**53 - 1, "XXX")),
    "attributes": ([], [attribute("x" * 64, "ä" * 128)] * ATTRIBUTES_MAX),
    "event_name": ("a", "a" * 40, "a_7"),
    "values": (None, values("a", "b"), values("x" * 256, "ä")),
    "part": (b"\n", bytes(15_360)),
    "digests": ([], [b"\n" * 32] * 64),
    "calibration": (0, 5),
    "verdict_or_none": (0, 3),
    "scores": ([], [0, 10_000] * 32),
    "names": ([], ["x" * 64] * 32),
    "approvals": ([], [bytes(32)] * 8),
    "session": (b"\n" * 16,),
    "positions": ([], [position("x" * 128, "x" * 64)] * 64),
    "version": (1, 2**32 - 1),
    "policy": (b"\n", bytes(8_192)),
    "items": ([], ["x" * 128] * 16),
    "any": (),
}


def fields_and_kinds() -> Iterator[tuple[str, str, str]]:
    for body, kinds in KINDS.items():
        for pair in kinds.split():
            field, _, kind = pair.partition("=")
            yield body, field, kind


def body_with(body_name: str, field: str, value: object) -> Message:
    """Return the sound body with another value in one field; None: without the field."""
    body = type(SOUND_BODIES[body_name])()
    body.CopyFrom(SOUND_BODIES[body_name])
    body.ClearField(field)
    if value is not None:
        body.MergeFrom(type(body)(**{field: value}))
    return body


def judged(body_name: str, field: str, value: object) -> EventRefused | None:
    try:
        check_event(encoded(sound_event(body_name, body_with(body_name, field, value))))
    except EventRefused as refusal:
        return refusal
    return None


def test_every_field_of_every_body_has_a_rule() -> None:
    bodies = event_pb2.Event.DESCRIPTOR.oneofs_by_name["body"].fields
    assert {body.name for body in bodies} == set(BODY_RULES) == set(EVENT_TYPES)
    for body in bodies:
        ruled = [field for field, _ in BODY_RULES[body.name]]
        assert ruled == [field.name for field in SOUND_BODIES[body.name].DESCRIPTOR.fields], (
            body.name
        )


def test_every_field_of_every_body_is_tried_here() -> None:
    for body in event_pb2.Event.DESCRIPTOR.oneofs_by_name["body"].fields:
        tried = [field for name, field, _ in fields_and_kinds() if name == body.name]
        assert tried == [field.name for field in SOUND_BODIES[body.name].DESCRIPTOR.fields], (
            body.name
        )


def test_only_numbers_booleans_and_what_the_key_rules_judge_may_be_anything() -> None:
    for body, field, kind in fields_and_kinds():
        described = SOUND_BODIES[body].DESCRIPTOR.fields_by_name[field]
        plain = described.type not in {
            FieldDescriptor.TYPE_STRING,
            FieldDescriptor.TYPE_BYTES,
            FieldDescriptor.TYPE_MESSAGE,
            FieldDescriptor.TYPE_ENUM,
        }
        registers = {"key_registration", "operator_registration"}
        proposes = {"governance_proposal", "package_proposal"}
        governance = body in registers | proposes | {"root_rotation"}
        governance |= field == "roots"
        assert (kind != "any") or plain or governance, (body, field)


@pytest.mark.parametrize(("body", "field", "kind"), list(fields_and_kinds()))
def test_a_field_that_breaks_its_rule_is_refused_by_name(body: str, field: str, kind: str) -> None:
    breaking = BREAKING[kind.rstrip("?")]
    for value in breaking:
        if kind.endswith("?") and not value:
            continue
        refusal = judged(body, field, value)
        assert refusal is not None, value
        assert f"{body}.{field}" in str(refusal)
        assert refusal.outcome == (
            Outcome.TEXT_FORBIDDEN if kind == "text" else Outcome.FIELD_INVALID
        )


@pytest.mark.parametrize(("body", "field", "kind"), list(fields_and_kinds()))
def test_a_field_at_its_bound_passes(body: str, field: str, kind: str) -> None:
    passing = PASSING[kind.rstrip("?")]
    for value in (*passing, None) if kind.endswith("?") else passing:
        assert judged(body, field, value) is None, value


@pytest.mark.parametrize(
    ("body", "field"), [("lot_created", "attributes"), ("inference_result", "context")]
)
@pytest.mark.parametrize("value", [*_NO_TEXT, "x" * 257])
def test_a_forbidden_text_inside_an_attribute_is_refused(body: str, field: str, value: str) -> None:
    refusal = judged(body, field, [attribute("fine", "fine"), attribute("name", value)])

    assert refusal is not None
    assert refusal.outcome == Outcome.TEXT_FORBIDDEN
    assert f"{body}.{field}.value" in str(refusal)


# The quick test of a rule and its explanation must not contradict each other.
TEXTS = st.one_of(
    st.text(max_size=30),
    st.text("0123456789.-+eE", max_size=35),
    st.text("AZaz09-._:/ \n", max_size=140),
)


def _identifier(size_max: int) -> Callable[[str], None]:
    return lambda value: check_identifier(value, what="it", size_max=size_max)


RULES_AND_CHECKS: list[tuple[str, Rule, Callable[[str], None]]] = [
    ("item", ITEM_ID, _identifier(128)),
    ("device", DEVICE, _identifier(64)),
    ("unit", UNIT, _identifier(16)),
    ("decimal", DECIMAL, lambda value: check_decimal(value, what="it")),
    ("text", text(20), lambda value: check_text(value, what="it", size_max=20)),
]


@pytest.mark.parametrize(
    ("rule", "check"),
    [(rule, check) for _, rule, check in RULES_AND_CHECKS],
    ids=[name for name, _, _ in RULES_AND_CHECKS],
)
def test_the_quick_test_lets_nothing_pass_that_the_full_check_refuses(
    rule: Rule, check: Callable[[str], None]
) -> None:
    @given(value=TEXTS)
    def run(value: str) -> None:
        if rule.passes(value):
            check(value)

    run()


@given(value=TEXTS)
def test_a_decimal_that_fails_the_quick_test_is_explained(value: str) -> None:
    if not OPTIONAL_DECIMAL.passes(value):
        with pytest.raises(MalformedError):
            DECIMAL.explain(value, "it")


@given(value=TEXTS)
def test_an_identifier_that_fails_the_quick_test_is_explained(value: str) -> None:
    if not ITEM_ID.passes(value):
        with pytest.raises(MalformedError):
            ITEM_ID.explain(value, "it")
