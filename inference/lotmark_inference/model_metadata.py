"""What an ONNX file says of itself: a copy of parts of its manifest, which must agree with it.

The manifest is what counts. The copy tells which manifest a stray file belongs to, and shows where
the wrong one was put beside it.
"""

from collections.abc import Sequence

from lotmark import canonical_json
from lotmark_inference.model_manifest import ModelManifest


def model_metadata(
    *,
    name: str,
    version: int,
    labels: Sequence[str],
    catalogue: str,
    preprocessing: str,
    um_per_pixel: int,
) -> dict[str, str]:
    """Return the entries of an ONNX file's `metadata_props`, by key."""
    return {
        "lotmark.name": name,
        "lotmark.version": str(version),
        "lotmark.labels": canonical_json.dump(list(labels)).decode(),
        "lotmark.catalogue": catalogue,
        "lotmark.preprocessing": preprocessing,
        "lotmark.um_per_pixel": str(um_per_pixel),
    }


def metadata_of(manifest: ModelManifest) -> dict[str, str]:
    """Return the entries that the ONNX file of a manifest must have."""
    return model_metadata(
        name=manifest.name,
        version=manifest.version,
        labels=[each.label for each in manifest.labels],
        catalogue=manifest.catalogue,
        preprocessing=manifest.preprocessing,
        um_per_pixel=manifest.input.um_per_pixel,
    )
