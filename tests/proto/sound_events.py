"""One sound event of every type, with every field of its body set."""

import hashlib
from collections.abc import Mapping

from google.protobuf.message import Message

from lotmark.rule_value import record_of
from lotmark.v1 import contracts_pb2, event_pb2, governance_pb2, operators_pb2, quality_pb2
from tests.proto.sample_genesis import CREATED_MS

_DIGEST = hashlib.sha256(b"content").digest()
_OK = quality_pb2.VERDICT_CONFORMING
_ADD = quality_pb2.RELATION_ACTION_ADD
_ATTRIBUTES = [quality_pb2.Attribute(name="heat_number", value="H 4711 ü")]
_MONEY = quality_pb2.Money(minor_units=12_345, currency="EUR")
_ROOTS = [governance_pb2.KeySignature(key=_DIGEST, signature=bytes(range(64)))]

_ASSERTION = operators_pb2.WebauthnAssertion(
    authenticator_data=bytes(range(37)), client_data_json=b"{}", signature=bytes(range(70))
)

SOUND_BODIES: Mapping[str, Message] = {
    "lot_created": quality_pb2.LotCreated(
        product="04012345000016", quantity="500.5", unit="KGM", attributes=_ATTRIBUTES
    ),
    "material_receipt": quality_pb2.MaterialReceipt(supplier="T2-CU-JX", delivery_note="DN-7"),
    "incoming_inspection": quality_pb2.IncomingInspection(
        plan="IP-3", sample_count=13, nonconforming_count=1, verdict=_OK
    ),
    "measurement": quality_pb2.Measurement(
        feature="weld_137.current",
        value="-1.840",
        unit="kA",
        uncertainty="0.02",
        lower_limit="-2",
        upper_limit="2",
        verdict=_OK,
        method="program-7",
        certificate="DCC-88-12",
        calibration=quality_pb2.CALIBRATION_STATE_VALID,
    ),
    "observation_window": quality_pb2.ObservationWindow(
        source="ns=3;s=Spindle/Load",
        observation_count=1_000,
        root=_DIGEST,
        first_sequence=1,
        last_sequence=1_000,
        minimum="0",
        maximum="97.5",
        unit="%",
        policy="line-3/4",
        certificate="DCC-88-12",
        calibration=quality_pb2.CALIBRATION_STATE_EXPIRED,
    ),
    "transformation": quality_pb2.Transformation(
        process="wind", recipe="R1", program_version="1.0"
    ),
    "aggregation": quality_pb2.Aggregation(action=_ADD, process="pack"),
    "association": quality_pb2.Association(action=_ADD, process="mount", position="slot/2"),
    "inference_result": quality_pb2.InferenceResult(
        model="weld-net:3",
        engine_digest=_DIGEST,
        input_digest=_DIGEST,
        policy="policy-1",
        mode="NORMAL",
        label="spatter/cosmetic/A",
        score_ppm=900_000,
        calibrated_ppm=850_000,
        feature="weld_137",
        verdict=_OK,
        latency_us=8_000,
        context=_ATTRIBUTES,
    ),
    "review_verdict": quality_pb2.ReviewVerdict(
        event_id=_DIGEST, operator="op-17", verdict=_OK, effort_s=12, remark="seen"
    ),
    "report_seal": quality_pb2.ReportSeal(
        report="R-1",
        laboratory="LAB-17025",
        test="resistivity",
        report_digest=_DIGEST,
        fields=["sample", "result"],
        verdict=_OK,
    ),
    "calibration": quality_pb2.Calibration(
        certificate="C-1",
        certificate_digest=_DIGEST,
        valid_from_ms=CREATED_MS,
        valid_until_ms=CREATED_MS + 1,
        as_found=_OK,
        as_left=_OK,
    ),
    "maintenance": quality_pb2.Maintenance(order="WO-1", work="tip-dressing", remark="done"),
    "gap": quality_pb2.Gap(
        source="ns=3;s=Spindle/Load",
        first_sequence=4,
        last_sequence=9,
        reason="overrun",
        instance="1764230400",
        next_instance="1764230401",
        last_seen_ms=CREATED_MS,
        resumed_ms=CREATED_MS + 1_500,
        missing_count=6,
    ),
    "clock_quality": quality_pb2.ClockQuality(
        offset_us=-40, error_max_us=900, synchronised=True, reference="ptp"
    ),
    "model_registered": quality_pb2.ModelRegistered(
        model="weld-net:3",
        weights_digest=_DIGEST,
        manifest_digest=_DIGEST,
        dataset_digest=_DIGEST,
    ),
    "model_promoted": quality_pb2.ModelPromoted(
        model="weld-net:3",
        station="L3/W07",
        true_positive_count=1,
        false_positive_count=2,
        false_negative_count=3,
        true_negative_count=4,
    ),
    "model_rolled_back": quality_pb2.ModelRolledBack(
        model="weld-net:3", station="L3/W07", successor="weld-net:2", reason="drift"
    ),
    "correction": quality_pb2.Correction(
        event_id=_DIGEST,
        reason="incorrect_data",
        replacement_id=_DIGEST,
        operator="op-17",
        remark="unit was wrong",
    ),
    "shipment": quality_pb2.Shipment(receiver="OEM-A", despatch_advice="DA-1"),
    "epcis_document": quality_pb2.EpcisDocument(
        document=b"{}",
        document_digest=hashlib.sha256(b"{}").digest(),
        event_count=1,
        event_hashes=[_DIGEST],
    ),
    "claim": quality_pb2.Claim(
        claim="CL-1",
        respondent="T1-STATOR",
        amount=_MONEY,
        document_digest=_DIGEST,
        detected_ms=CREATED_MS,
    ),
    "claim_statement": quality_pb2.ClaimStatement(
        claim="CL-1", accepted=True, accepted_amount=_MONEY, remark="agreed"
    ),
    "part_analysis": quality_pb2.PartAnalysis(
        claim="CL-1", result_class="SUPPLIER", finding="short circuit"
    ),
    "claim_decision": quality_pb2.ClaimDecision(
        claim="CL-1", respondent_basis_points=5_000, reason="shared"
    ),
    "item_identified": quality_pb2.ItemIdentified(
        also_known_as=["urn:uuid:580d3adf-1981-44a0-a214-13d6ceed9379"]
    ),
    "site_session": quality_pb2.SiteSession(
        site="line-3",
        session=bytes(range(16)),
        state=quality_pb2.SESSION_STATE_OPENED,
        previous_session=bytes(range(16, 32)),
        event_count=7,
        software="lotmark-0.1.0",
        settings_digest=_DIGEST,
        sources=[
            quality_pb2.SourcePosition(
                source="W07", instance="12", last_sequence=9, observation_count=8, gap_count=1
            )
        ],
    ),
    "anchoring_policy": quality_pb2.AnchoringPolicy(
        policy="line-3", version=4, document=b'{"rules":[]}'
    ),
    "source_record": quality_pb2.SourceRecord(
        source="CAM07", kind="vision_result", record="R-137", verdict=_OK, policy="line-3/4"
    ),
    "model_admitted": quality_pb2.ModelAdmitted(
        model="weld-light/3",
        engine_digest=_DIGEST,
        engine="onnxruntime-1.32.0",
        target="cpu",
        weights_digest=_DIGEST,
        report_digest=_DIGEST,
        vector_count=64,
        difference_max=1,
        admitted=True,
    ),
    "policy_switched": quality_pb2.PolicySwitched(
        policy="weld/12",
        station="L3",
        from_mode="NORMAL",
        to_mode="FIRST_ARTICLE",
        reason="tool_change",
        cause_id=_DIGEST,
        latch_units=5,
    ),
    "retrain_ticket": quality_pb2.RetrainTicket(
        model="weld-light/3",
        station="L3",
        episode="L3-2026-01",
        grade="confirmed",
        metric="f1_72h",
        value_ppm=930_000,
        baseline_ppm=985_000,
        positive_count=57,
        coverage_ppm=960_000,
    ),
    "label_catalogue": quality_pb2.LabelCatalogue(
        catalogue="weld-labels", version=1, document=b'{"labels":[]}'
    ),
    "inference_audit": quality_pb2.InferenceAudit(
        event_id=_DIGEST,
        finding=quality_pb2.AUDIT_FINDING_WITHIN_TOLERANCE,
        engine="onnxruntime-1.32.0",
        difference_max=1,
        checkpoint_size=611,
        checkpoint_root=_DIGEST,
    ),
    "key_registration": governance_pb2.KeyRegistration(
        grant=governance_pb2.KeyGrant(key=_DIGEST, party="OEM-A", event_types=[19, 20]),
        possession=bytes(range(64)),
        roots=_ROOTS,
    ),
    "key_revocation": governance_pb2.KeyRevocation(
        key=_DIGEST, party="OEM-A", compromised_since_ms=1, reason="lost", roots=_ROOTS
    ),
    "lane_closure": governance_pb2.LaneClosure(key=_DIGEST, lane=3, party="OEM-A", roots=_ROOTS),
    "root_rotation": governance_pb2.RootRotation(
        party="OEM-A", generation=1, threshold=1, keys=[_DIGEST], signatures=_ROOTS
    ),
    "governance_proposal": governance_pb2.GovernanceProposal(
        proposal=governance_pb2.Proposal(
            expires_ms=CREATED_MS, remove_party=governance_pb2.PartyRemoval(party="LAB-17025")
        ),
        party="OEM-A",
        roots=_ROOTS,
    ),
    "governance_approval": governance_pb2.GovernanceApproval(
        proposal=_DIGEST, party="OEM-A", roots=_ROOTS
    ),
    "contract_event": contracts_pb2.ContractEvent(
        name="scrap_reported",
        fields=record_of(
            {
                "cause": "burr",
                "pieces": 7,
                "is_final": False,
                "minutes": [-1, 0],
                "part": {"id": "P-1", "weights": {"ä": 1}},
            }
        ),
    ),
    "package_proposal": contracts_pb2.PackageProposal(
        change=contracts_pb2.PackageChange(
            expires_ms=CREATED_MS,
            activate=contracts_pb2.PackageActivation(
                name="scrap-credit", version=1, package=_DIGEST, parts=[_DIGEST]
            ),
        ),
        party="OEM-A",
        roots=_ROOTS,
    ),
    "package_part": contracts_pb2.PackagePart(data=b"lotmark/package/v1\n"),
    "package_approval": contracts_pb2.PackageApproval(
        proposal=_DIGEST, party="OEM-A", roots=_ROOTS
    ),
    "operator_registration": operators_pb2.OperatorRegistration(
        grant=operators_pb2.OperatorGrant(
            party="OEM-A",
            credential_id=_DIGEST,
            role="welding-inspector",
            meanings=[
                operators_pb2.OPERATOR_MEANING_REVIEW,
                operators_pb2.OPERATOR_MEANING_APPROVE,
            ],
        ),
        possession=_ASSERTION,
        roots=_ROOTS,
    ),
    "operator_revocation": operators_pb2.OperatorRevocation(
        credential_id=_DIGEST, party="OEM-A", compromised_since_ms=1, reason="lost", roots=_ROOTS
    ),
    "operator_signature": operators_pb2.OperatorSignature(
        event_id=_DIGEST,
        meaning=operators_pb2.OPERATOR_MEANING_APPROVE,
        credential_id=_DIGEST,
        assertion=_ASSERTION,
    ),
}


def sound_event(body_name: str, body: Message | None = None) -> event_pb2.Event:
    """Return the sound event of a type, or one with another body of that type."""
    return event_pb2.Event(
        nonce=bytes(range(16)),
        device="W07",
        time=event_pb2.TimeInterval(
            start_ms=CREATED_MS, end_ms=CREATED_MS + 40, uncertainty_us=2_000
        ),
        capture_mode=event_pb2.CAPTURE_MODE_SENSOR_DIRECT,
        items=[
            event_pb2.ItemReference(
                id="https://id.example/01/04012345000016/10/L1",
                role=event_pb2.ITEM_ROLE_SUBJECT,
                quantity=event_pb2.Quantity(value="1.5", unit="KGM"),
            ),
            event_pb2.ItemReference(id="ST1", role=event_pb2.ITEM_ROLE_USED),
        ],
        files=[
            event_pb2.FileDigest(
                sha256=_DIGEST, size=9, salt=bytes(range(16)), media_type="text/csv", name="a b.csv"
            )
        ],
        audience=["OEM-A", "T1-STATOR"],
        **{body_name: body or SOUND_BODIES[body_name]},  # type: ignore[arg-type]  # by protobuf
    )


def encoded(event: event_pb2.Event) -> bytes:
    """Return an event's canonical bytes."""
    return event.SerializeToString(deterministic=True)
