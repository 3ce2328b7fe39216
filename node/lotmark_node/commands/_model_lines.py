"""Models and how well they do, as text for people and documents for programs."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from lotmark_inference.evaluation import Evaluation
from lotmark_inference.manifest_file import ReadManifest
from lotmark_inference.registered_models import RegisteredModels

_PPM = 1_000_000

Approvals: TypeAlias = Mapping[tuple[str, str], Mapping[bytes, str]]


def evaluation_document(
    file: ReadManifest, engine: str, seeds: range, found: Evaluation
) -> dict[str, object]:
    """Return an evaluation for programs: whole numbers, of which shares can be made."""
    manifest, counts = file.manifest, found.counts
    return {
        "model": manifest.model,
        "signed_by": file.signed_by.hex() if file.signed_by else None,
        "engine": engine,
        "seed": seeds.start,
        "image_count": found.image_count,
        "dataset_digest": counts.dataset_digest.hex(),
        "right_count": found.right_count,
        "accuracy_ppm": _ppm(found.right_count, found.image_count),
        "true_positive_count": counts.true_positives,
        "false_positive_count": counts.false_positives,
        "false_negative_count": counts.false_negatives,
        "true_negative_count": counts.true_negatives,
        "false_reject_ppm": _ppm(*_false_rejects(found)),
        "auroc_ppm": found.auroc_ppm,
        "thresholds": {each.label: each.threshold for each in manifest.labels if each.is_defect},
        "found": [
            {
                "label": kind.value,
                "from_um": start_um,
                "below_um": end_um,
                "count": each.count,
                "rejected_count": each.rejected_count,
            }
            for (kind, (start_um, end_um)), each in found.found.items()
        ],
    }


def evaluation_text(file: ReadManifest, engine: str, seeds: range, found: Evaluation) -> str:
    """Return an evaluation for people."""
    false_count, sound_count = _false_rejects(found)
    signed = [f"manifest signed by key {file.signed_by.hex()}"] if file.signed_by else []
    lines = [
        f"{file.manifest.model} on {engine}, {found.image_count} generated welds from seed"
        f" {seeds.start}: synthetic images, so no figure here is one of a line",
        *signed,
        f"right label      {_share(found.right_count, found.image_count)}",
        f"false rejects    {_share(false_count, sound_count)}",
        f"AUROC            {found.auroc_ppm / _PPM:.4f}",
        "",
        "rejected, by the defect's width in mm",
        *_width_lines(found),
    ]
    return "\n".join(lines)


def _width_lines(found: Evaluation) -> Iterable[str]:
    for (kind, (start_um, end_um)), each in found.found.items():
        if each.count:
            width = f"{start_um / 1000:.2f} to {end_um / 1000:.2f}"
            yield f"{kind.name.lower():<12}  {width:<13}  {_share(each.rejected_count, each.count)}"


def _false_rejects(found: Evaluation) -> tuple[int, int]:
    counts = found.counts
    return counts.false_positives, counts.false_positives + counts.true_negatives


def _share(count: int, of_count: int) -> str:
    share = f"{100 * count / of_count:6.2f} %" if of_count else "     -  "
    return f"{share}  ({count} of {of_count})"


def _ppm(count: int, of_count: int) -> int:
    return count * _PPM // of_count if of_count else 0


def status_document(models: RegisteredModels, approvals: Approvals) -> dict[str, object]:
    """Return what the ledger says of models, for programs.

    Args:
        models: What it says.
        approvals: By the places of `in_use`: of each event that the promotion names, why it is
            no approval; empty: it is one.
    """
    return {
        "registered": [
            {
                "model": each.model,
                "party": each.party,
                "weights_digest": each.onnx_sha256.hex(),
                "manifest_digest": each.manifest_digest.hex(),
                "index": each.index,
            }
            for each in models.registered.values()
        ],
        "admitted": [
            {
                "model": model,
                "engine": on.engine,
                "target": on.target,
                "engine_digest": each.artefact_sha256.hex(),
                "admitted": each.is_admitted,
                "index": each.index,
            }
            for (model, on, _), each in models.admitted.items()
        ],
        "in_use": [
            {
                "station": station,
                "model": each.model,
                "approvals": [
                    {"event_id": event_id.hex(), "why_not": why}
                    for event_id, why in approvals[station, name].items()
                ],
                "bias_audit": each.bias_audit or None,
                "index": each.index,
            }
            for (station, name), each in models.in_use.items()
        ],
    }


def status_text(models: RegisteredModels, approvals: Approvals) -> str:
    """Return what the ledger says of models, for people; arguments as `status_document`."""
    lines = [
        f"{each.model:<20}  registered by {each.party}, entry {each.index}"
        for each in models.registered.values()
    ]
    for (model, on, artefact), trial in models.admitted.items():
        outcome = "admitted" if trial.is_admitted else "failed its trial"
        is_model = artefact == models.registered[model].onnx_sha256
        file = "" if is_model else f", engine file {artefact.hex()[:16]}…"
        lines.append(
            f"{model:<20}  {outcome} on {on.engine}, {on.target}{file}, entry {trial.index}"
        )
    for (station, name), used in models.in_use.items():
        refused = [why for why in approvals[station, name].values() if why]
        count = len(approvals[station, name]) - len(refused)
        audit = f"bias audit {used.bias_audit}" if used.bias_audit else "no bias audit"
        lines.append(
            f"{used.model:<20}  in use at {station} since entry {used.index}, approved by"
            f" {count or 'no'} operator{'' if count == 1 else 's'}, {audit}"
        )
        lines += (f"{'':<20}  no approval: {why}" for why in refused)
    whose = ", ".join(sorted(models.parties))
    return "\n".join(lines) or (
        f"No models of {whose} are registered yet; begin with `lotmark model register`, or name"
        " another party with --party."
    )
