"""Gives what may run: a model that is registered, admitted, in use here, and unchanged."""

from collections.abc import Collection
from dataclasses import dataclass

from lotmark_inference.errors import ModelRefused
from lotmark_inference.model_folder import ModelFolder
from lotmark_inference.model_manifest import ModelManifest
from lotmark_inference.registered_models import EngineTarget, RegisteredModels, Registration


@dataclass(frozen=True, slots=True)
class RunnableModel:
    """A model that may run, with the bytes to open."""

    manifest: ModelManifest
    artefact: bytes  # what the engine opens; on ONNX Runtime the ONNX file itself


@dataclass(frozen=True, slots=True, kw_only=True)
class LicensedModel:
    """A model that may run at a station by the ledger's word; no file of it was opened."""

    registered: Registration
    engine: EngineTarget
    artefact_sha256: bytes


def licensed_model(
    models: RegisteredModels,
    *,
    station: str,
    name: str,
    engines: Collection[EngineTarget],
    folder: ModelFolder,
) -> LicensedModel:
    """Return the model of a name that is in use at a station.

    Args:
        models: What the ledger says.
        station: Line or station.
        name: The model's name without version, such as "weld-light".
        engines: What it may run on, one at least.
        folder: Where its files lie: of several admitted artefacts one that is there is meant, as
            the others are other machines'; and of those the one that was tried last.

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
    tried = [
        (engine, admission)
        for (of, engine, _), admission in models.admitted.items()
        if of == model and engine in engines
    ]
    admitted = [(engine, admission) for engine, admission in tried if admission.is_admitted]
    if not admitted:
        outcome = "failed its trial" if tried else "was never tried"
        places = " or ".join(f"{each.engine} for {each.target}" for each in engines)
        raise ModelRefused(
            f"{model} {outcome} on {places}; try it there with `lotmark engine admit`, or use an"
            " engine on which it is admitted"
        )
    engine, admission = max(
        admitted, key=lambda each: (folder.has(each[1].artefact_sha256), each[1].index)
    )
    return LicensedModel(
        registered=models.registered[model],
        engine=engine,
        artefact_sha256=admission.artefact_sha256,
    )


def model_to_run(licensed: LicensedModel, folder: ModelFolder) -> RunnableModel:
    """Return a licensed model's bytes, once they are those that the ledger names.

    The ONNX file has to be there beside an engine that was built of it, too: it is the model, by
    which anybody runs again what the engine said.

    Raises:
        ModelRefused: A file is missing or was changed, or the manifest says something else.
    """
    registered = licensed.registered
    manifest = _manifest(folder, registered)
    onnx = folder.get(registered.onnx_sha256, what=f"{registered.model}, ONNX file")
    if licensed.artefact_sha256 == registered.onnx_sha256:
        return RunnableModel(manifest, onnx)
    what = f"{registered.model}, engine {licensed.engine.engine} for {licensed.engine.target}"
    return RunnableModel(manifest, folder.get(licensed.artefact_sha256, what=what))


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
