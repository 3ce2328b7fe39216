"""The models and labels of the story's camera: registered, tried, approved, put into use."""

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from lotmark.client.new_event import EventBody, new_event
from lotmark.client.operator_bodies import registration, signature
from lotmark.operator_grant import (
    OperatorGrant,
    OperatorMeaning,
    possession_challenge,
    signature_challenge,
)
from lotmark.v1 import event_pb2
from lotmark_inference.admission_gate import model_admitted, report_json, try_engine
from lotmark_inference.label_catalogue import Approver, LabelCatalogue
from lotmark_inference.model_events import model_promoted, model_registered
from lotmark_inference.model_files import ModelFiles
from lotmark_inference.model_folder import ModelFolder
from lotmark_inference.onnx_engine import OnnxEngine
from lotmark_inference.weld_images import TEST_SEEDS, weld_image
from lotmark_node.story.errors import StoryFailed
from lotmark_node.story.trial_ledger import ToldEvent, TrialLedger
from lotmark_node.trial.software_authenticator import Authenticator

Operators: TypeAlias = Mapping[Approver, Authenticator]

_DAY_MS = 86_400_000
_MORE_VECTORS = 8  # images that an engine is tried with beside those of the manifest


def put_into_use(
    ledger: TrialLedger,
    client: str,
    files: ModelFiles,
    operators: Operators,
    *,
    station: str,
    registry: Path,
) -> int:
    """Register a model, try it in ONNX Runtime, have it approved, and promote it.

    Returns:
        How many images the trial took.

    Raises:
        StoryFailed: It did not pass the trial, or the ledger refused something.
    """
    manifest = files.manifest
    folder = ModelFolder(registry)
    folder.put(files.onnx)
    folder.put_manifest(files.manifest_file.raw)
    seeds = {*manifest.vectors, *TEST_SEEDS[:_MORE_VECTORS]}
    vectors = {seed: weld_image(seed).pixels for seed in seeds}
    engine, reference = (OnnxEngine(files.onnx, manifest) for _ in range(2))
    report = try_engine(engine, reference, manifest, vectors)
    if not report.is_admitted:
        raise StoryFailed(f"{manifest.model} failed its trial: {report.findings}")
    folder.put(report_json(report))
    registered, _ = _tell(
        ledger,
        client,
        f"model {manifest.model}",
        [
            model_registered(manifest),
            model_admitted(report),
        ],
    )
    approvals = _approve(ledger, client, operators, registered.result.event_id)
    approved_by = [each.result.event_id for each in approvals]
    promotion = model_promoted(manifest, station, approvals=approved_by)
    _tell(ledger, client, f"promotion {manifest.model}", [promotion])
    return len(vectors)


def put_in_force(
    ledger: TrialLedger, client: str, catalogue: LabelCatalogue, operators: Operators
) -> None:
    """Propose a catalogue, and let operators of its roles approve it.

    Raises:
        StoryFailed: The ledger refused something.
    """
    (proposed,) = _tell(ledger, client, f"labels {catalogue.full_name}", [catalogue.body])
    _approve(ledger, client, operators, proposed.result.event_id)


def registered_operators(
    ledger: TrialLedger, client: str, approvers: Iterable[Approver]
) -> Operators:
    """Register an operator for each role, who may approve, and return their authenticators.

    Raises:
        StoryFailed: The ledger refused one.
    """
    now_ms = time.time_ns() // 1_000_000
    operators = {}
    bodies: list[EventBody] = []
    for approver in sorted(approvers):
        device = Authenticator(f"{approver.party} {approver.role}")
        grant = OperatorGrant(
            party=approver.party,
            credential_id=device.credential_id,
            relying_party=device.relying_party,
            role=approver.role,
            meanings=(OperatorMeaning.APPROVE,),
            not_before_ms=now_ms - _DAY_MS,
            not_after_ms=now_ms + _DAY_MS,
        )
        possession = device.sign(possession_challenge(grant, ledger.chain_id))
        root = ledger.root(approver.party)
        bodies.append(registration(ledger.chain_id, grant, possession, [root]))
        operators[approver] = device
    _tell(ledger, client, "operators", bodies)
    return operators


def _approve(
    ledger: TrialLedger, client: str, operators: Operators, event_id: bytes
) -> tuple[ToldEvent, ...]:
    """Let operators approve an event; return their signatures."""
    challenge = signature_challenge(ledger.chain_id, OperatorMeaning.APPROVE, event_id)
    bodies = [
        signature(
            ledger.chain_id,
            device.credential_id,
            device.sign(challenge),
            event_id=event_id,
            meaning=OperatorMeaning.APPROVE,
        )
        for device in operators.values()
    ]
    return _tell(ledger, client, f"approvals of {event_id.hex()}", bodies)


def _tell(
    ledger: TrialLedger, client: str, name: str, bodies: Iterable[EventBody]
) -> tuple[ToldEvent, ...]:
    events = [
        new_event(
            body,
            device=client.partition("/")[2],
            capture=event_pb2.CAPTURE_MODE_MANUAL,
            time=datetime.now(UTC),
            uncertainty_us=2_000,
        )
        for body in bodies
    ]
    return ledger.tell(name, client, [event_pb2.Event.FromString(each) for each in events]).events
