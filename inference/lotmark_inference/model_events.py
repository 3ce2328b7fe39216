"""Event bodies that put a model on record, by its manifest."""

from collections.abc import Sequence

from lotmark.v1 import quality_pb2
from lotmark_inference.manifest_file import manifest_digest
from lotmark_inference.model_manifest import ModelManifest


def model_registered(manifest: ModelManifest) -> quality_pb2.ModelRegistered:
    """Return the body that names a model's files and what it learnt from."""
    return quality_pb2.ModelRegistered(
        model=manifest.model,
        weights_digest=manifest.onnx_sha256,
        manifest_digest=manifest_digest(manifest),
        dataset_digest=manifest.training_digest,
    )


def model_promoted(
    manifest: ModelManifest, station: str, *, approvals: Sequence[bytes], bias_audit: str = ""
) -> quality_pb2.ModelPromoted:
    """Return the body that puts a model into use at a station, with its manifest's counts.

    Args:
        manifest: The model's.
        station: Whose images it is to judge.
        approvals: Ids of the operators' signatures of its registration.
        bias_audit: Id of the report of one; "": there is none.
    """
    counts = manifest.evaluation
    return quality_pb2.ModelPromoted(
        model=manifest.model,
        station=station,
        true_positive_count=counts.true_positives,
        false_positive_count=counts.false_positives,
        false_negative_count=counts.false_negatives,
        true_negative_count=counts.true_negatives,
        evaluation_digest=counts.dataset_digest,
        bias_audit=bias_audit,
        approvals=approvals,
    )
