"""Models and how well they do, as text for people and documents for programs."""

from collections.abc import Iterable

from lotmark_inference.evaluation import Evaluation
from lotmark_inference.model_manifest import ModelManifest
from lotmark_inference.registered_models import RegisteredModels

_PPM = 1_000_000


def evaluation_document(
    manifest: ModelManifest, engine: str, seeds: range, found: Evaluation
) -> dict[str, object]:
    """Return an evaluation for programs: whole numbers, of which shares can be made."""
    counts = found.counts
    return {
        "model": manifest.model,
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


def evaluation_text(manifest: ModelManifest, engine: str, seeds: range, found: Evaluation) -> str:
    """Return an evaluation for people."""
    false_count, sound_count = _false_rejects(found)
    lines = [
        f"{manifest.model} on {engine}, {found.image_count} generated welds from seed"
        f" {seeds.start}: synthetic images, so no figure here is one of a line",
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


def status_document(models: RegisteredModels) -> dict[str, object]:
    """Return what the ledger says of models, for programs."""
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
                "approvals": [approval.hex() for approval in each.approvals],
                "index": each.index,
            }
            for (station, _), each in models.in_use.items()
        ],
    }


def status_text(models: RegisteredModels) -> str:
    """Return what the ledger says of models, for people."""
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
    for (station, _), used in models.in_use.items():
        approved = f", {len(used.approvals)} approvals" if used.approvals else ""
        lines.append(f"{used.model:<20}  in use at {station} since entry {used.index}{approved}")
    return "\n".join(lines) or "No models are registered yet; begin with `lotmark model register`."
