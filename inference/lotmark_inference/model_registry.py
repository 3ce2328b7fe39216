"""Gives what may run: a model that is registered, admitted, in use here, and unchanged."""

from dataclasses import dataclass

from lotmark_inference.errors import ModelRefused
from lotmark_inference.model_folder import ModelFolder
from lotmark_inference.model_manifest import ModelManifest
from lotmark_inference.registered_models import EngineTarget, RegisteredModels, Registration


@dataclass(frozen=True, slots=True)
class RunnableModel:
    """A model that may run, with the bytes to open."""

    manifest: ModelManifest
    onnx: bytes
    artefact: bytes  # what the engine opens; on ONNX Runtime the ONNX file itself


@dataclass(frozen=True, slots=True, kw_only=True)
class LicensedModel:
    """A model that may run at a station by the ledger's word; no file of it was looked at."""

    registered: Registration
    engine: EngineTarget
    artefact_sha256: bytes


def licensed_model(
    models: RegisteredModels, *, station: str, name: str, engine: EngineTarget
) -> LicensedModel:
    """Return the model of a name that is in use at a station.

    Args:
        models: What the ledger says.
        station: Line or station.
        name: The model's name without version, such as "weld-light".
        engine: What it is to run on.

    Raises:
        ModelRefused: It may not run; the message says what is missing and how to mend it.
    """
    promotion = models.in_use.get((station, name))
    if promotion is None:
        raise ModelRefused(
            f"no version of {name} is in use at {station}; promote one: lotmark model promote"
            f" {name}/VERSION --station {station}"
        )
    model = promotion.model
    admission = models.admitted.get((model, engine))
    if admission is None or not admission.is_admitted:
        outcome = "was never tried" if admission is None else "failed its trial"
        raise ModelRefused(
            f"{model} {outcome} on {engine.engine} for {engine.target}; try it there with `lotmark"
            " engine admit`, or use an engine on which it is admitted"
        )
    return LicensedModel(
        registered=models.registered[model],
        engine=engine,
        artefact_sha256=admission.artefact_sha256,
    )


def model_to_run(licensed: LicensedModel, folder: ModelFolder) -> RunnableModel:
    """Return a licensed model's bytes, once they are those that the ledger names.

    Raises:
        ModelRefused: A file is missing or was changed, or the manifest says something else.
    """
    registered = licensed.registered
    manifest = _manifest(folder, registered)
    onnx = folder.get(registered.onnx_sha256, what=f"{registered.model}, ONNX file")
    if licensed.artefact_sha256 == registered.onnx_sha256:
        return RunnableModel(manifest, onnx, onnx)
    what = f"{registered.model}, engine {licensed.engine.engine}"
    return RunnableModel(manifest, onnx, folder.get(licensed.artefact_sha256, what=what))


def _manifest(folder: ModelFolder, registered: Registration) -> ModelManifest:
    what = f"{registered.model}, manifest"
    manifest = folder.manifest(registered.manifest_digest, what=what).manifest
    for where, says, is_registered in (
        ("is of", manifest.model, registered.model),
        ("names weights", manifest.onnx_sha256.hex(), registered.onnx_sha256.hex()),
        ("names training data", manifest.training_digest.hex(), registered.training_digest.hex()),
    ):
        if says != is_registered:
            raise ModelRefused(
                f"{registered.model}: its manifest {where} {says}, entry {registered.index} of the"
                f" ledger says {is_registered}; register what the manifest says as a new version"
            )
    return manifest
