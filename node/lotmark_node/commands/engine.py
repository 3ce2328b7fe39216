"""`lotmark engine`: what models run on here, and engines: built, tried, admitted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal
from lotmark_node.commands._client import ClientFile, OutboxFile, read_settings, reading
from lotmark_node.commands._one_event import submit_body
from lotmark_node.commands.model import ModelName, read_files

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lotmark_inference.admission_gate import AdmissionReport
    from lotmark_inference.engine import EngineIdentity
    from lotmark_inference.model_files import ModelFiles
    from lotmark_inference.model_manifest import ModelInput, ModelManifest

app = typer.Typer(help="Engines: what runs here, building one, admitting it.")

VECTORS_MAX = 4_096
FOLDER_PIXELS_MAX = 256 * 2**20  # of all images of a folder: a byte each, in memory for the trial

Kind = Annotated[str, typer.Option(metavar="KIND", help="onnxruntime, tensorrt or tensorrt-rtx.")]


@app.command()
def status(*, as_json: terminal.JsonFlag = False) -> None:
    """Show which kinds of engines run on this machine, or what they lack."""
    from lotmark_inference.errors import EngineError
    from lotmark_inference.opened_engine import KINDS, identity_here

    runs: dict[str, str] = {}
    lacks: dict[str, str] = {}
    for kind in KINDS:
        try:
            here = identity_here(kind, b"")
            runs[kind] = f"{here.version} for {here.target}"
        except EngineError as error:
            lacks[kind] = str(error)
    lines = [f"{kind:<14}{runs.get(kind) or 'does not run: ' + lacks[kind]}" for kind in KINDS]
    terminal.answer({"runs": runs, "lacks": lacks}, lambda: "\n".join(lines), as_json=as_json)


@app.command()
def build(
    model: ModelName,
    *,
    kind: Kind = "tensorrt-rtx",
    target: Annotated[
        str,
        typer.Option(metavar="TARGET", help="GPU that it is for: sm_89; with RTX also portable."),
    ],
    output: Annotated[Path, typer.Option(metavar="FILE", help="Where to write the engine.")],
    as_json: terminal.JsonFlag = False,
) -> None:
    """Build an engine of a model. With RTX this needs no GPU; no two builds have the same bytes."""
    import hashlib

    from lotmark_inference import tensorrt_engine, tensorrt_rtx_engine

    builders = {
        tensorrt_engine.TENSORRT.kind: tensorrt_engine.build_engine,
        tensorrt_rtx_engine.TENSORRT_RTX.kind: tensorrt_rtx_engine.build_engine,
    }
    if kind not in builders:
        terminal.fail(f"{kind[:40]!a} is not built.", f"Use one of {', '.join(builders)}.")
    files = read_files(model)
    plan = builders[kind](files.onnx, target)
    output.write_bytes(plan)
    digest = hashlib.sha256(plan).hexdigest()
    terminal.answer(
        {"model": files.manifest.model, "engine_digest": digest, "size": len(plan)},
        lambda: (
            f"{files.manifest.model} for {target}: {output}, {len(plan)} bytes, SHA-256 {digest}"
        ),
        as_json=as_json,
    )


@app.command()
def admit(
    model: ModelName,
    *,
    kind: Kind = "onnxruntime",
    artefact: Annotated[
        Path | None,
        typer.Option("--file", metavar="FILE", help="Engine. [default: the model's ONNX file]"),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="TARGET", help="It was built for. [default: this machine]")
    ] = None,
    count: Annotated[
        int,
        typer.Option(
            min=4, max=VECTORS_MAX, help="Generated welds to try it with, beside the manifest's."
        ),
    ] = 64,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Images of your own to try it with, instead of generated welds: what a model"
            " needs that takes another size.",
        ),
    ] = None,
    registry: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the site keeps its models' files.")
    ],
    client: ClientFile = None,
    outbox: OutboxFile = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Try an engine beside ONNX Runtime, and put the outcome on the ledger.

    Engine and report go into the registry's folder. Exit status 1: it was not admitted, or the
    model is not registered.
    """
    from dataclasses import replace

    from lotmark_inference.admission_gate import model_admitted, report_json
    from lotmark_inference.model_folder import ModelFolder
    from lotmark_inference.opened_engine import identity_here, read_artefact

    settings = read_settings(client)
    files = read_files(model)
    _demand_registered(client, settings.party, files.manifest)
    vectors = _vectors(files.manifest, count, images)
    content = files.onnx if artefact is None else read_artefact(artefact)
    identity = identity_here(kind, content)
    if target is not None:
        identity = replace(identity, target=target)
    report = _tried(identity, content, files, vectors)
    folder = ModelFolder(registry)
    folder.put(content)
    folder.put(report_json(report))
    submit_body(
        settings, model_admitted(report), outbox, _told(report), as_json=as_json, is_awaited=True
    )
    if not report.is_admitted:
        raise typer.Exit(terminal.ExitCode.NO)


def _demand_registered(client: Path | None, party: str, manifest: "ModelManifest") -> None:
    """End the command where a trial would count for nothing."""
    from lotmark_inference.manifest_file import manifest_digest
    from lotmark_node.inference_ledger import models_of

    with reading(client) as session:
        registered = models_of(session, party).registered.get(manifest.model)
    if registered is None:
        terminal.fail(
            f"{party} has not registered {manifest.model}, so that no trial of it counts.",
            "Register it first: lotmark model register. Nothing was sent.",
            terminal.ExitCode.NO,
        )
    digest = manifest_digest(manifest)
    if digest != registered.manifest_digest:
        terminal.fail(
            f"This manifest of {manifest.model} has the digest {digest.hex()}, entry"
            f" {registered.index} of the ledger says {registered.manifest_digest.hex()}.",
            "Name the model as it was registered, or register this one as a new version. Nothing"
            " was sent.",
            terminal.ExitCode.NO,
        )


@dataclass(frozen=True, slots=True)
class _Vectors:
    """What an engine is tried with."""

    generated: "Mapping[int, NDArray[np.uint8]]"  # by seed
    images: "Sequence[NDArray[np.uint8]]"  # of a camera


def _vectors(manifest: "ModelManifest", count: int, folder: Path | None) -> _Vectors:
    """Return generated welds, or the images of a folder; those that the manifest names always."""
    import secrets

    from lotmark_inference.weld_images import FRESH_SEEDS, weld_image
    from lotmark_inference.weld_surface import SIZE

    wanted = manifest.input
    if (wanted.height, wanted.width) != (SIZE, SIZE) and (manifest.vectors or folder is None):
        remedy = "Name a folder of images of its size: --images DIR."
        if manifest.vectors:
            remedy = "Register a manifest without vectors, which are scores of generated welds."
        terminal.fail(
            f"{manifest.model} takes images of {wanted.height} x {wanted.width}, generated welds"
            f" have {SIZE} x {SIZE}.",
            remedy,
        )
    seeds = set(manifest.vectors)
    images = () if folder is None else _images(folder, wanted)
    if folder is None:
        start = FRESH_SEEDS.start + secrets.randbelow(len(FRESH_SEEDS) - count)
        seeds.update(range(start, start + count))
    return _Vectors({seed: weld_image(seed).pixels for seed in seeds}, images)


def _images(folder: Path, wanted: "ModelInput") -> "Sequence[NDArray[np.uint8]]":
    """Return the images in a folder; one that no station would judge ends the command."""
    from lotmark_inference.errors import InputRefused
    from lotmark_inference.image_reading import IMAGE_SIZE_MAX, read_image
    from lotmark_node.edge.image_file import SUFFIXES

    try:
        paths = sorted(each for each in folder.iterdir() if each.suffix.lower() in SUFFIXES)
        images_max = min(VECTORS_MAX, FOLDER_PIXELS_MAX // (wanted.height * wanted.width))
        if len(paths) > images_max:
            terminal.fail(
                f"{folder} has {len(paths)} images; of {wanted.height} x {wanted.width} pixels"
                f" {images_max} are tried at most ({VECTORS_MAX}, and {FOLDER_PIXELS_MAX} pixels"
                " in all).",
                "Name a folder with fewer.",
            )
        pixels = []
        for path in paths:
            with path.open("rb") as file:
                pixels.append(read_image(file.read(IMAGE_SIZE_MAX + 1), wanted).pixels)
    except InputRefused as error:
        terminal.fail(f"{path}: {error}.", "Take it out, or put a sound one there.")
    return pixels


def _tried(
    identity: "EngineIdentity", content: bytes, files: "ModelFiles", vectors: _Vectors
) -> "AdmissionReport":
    """Return how an engine did, in a process of its own: it may do anything, being on trial."""
    from functools import partial

    from lotmark_inference.admission_gate import try_engine
    from lotmark_inference.engine_worker import WorkerEngine
    from lotmark_inference.onnx_engine import OnnxEngine
    from lotmark_inference.opened_engine import opened_engine

    manifest = files.manifest
    reference = OnnxEngine(files.onnx, manifest)
    candidate = WorkerEngine(partial(opened_engine, identity, content, manifest), manifest.input)
    try:
        return try_engine(candidate, reference, manifest, vectors.generated, vectors.images)
    finally:
        candidate.close()


def _told(report: "AdmissionReport") -> str:
    """Return the outcome for people."""
    from lotmark_inference.admission_gate import vector_told

    engine = f"{report.candidate.name} for {report.candidate.target}"
    if report.is_admitted:
        return (
            f"{report.model}/{report.version} is admitted on {engine}: {len(report.vectors)}"
            f" images, scores differ by at most {report.difference_max} of 10,000"
        )
    first = report.findings[0]
    return (
        f"{report.model}/{report.version} is not admitted on {engine}: {len(report.findings)}"
        f" findings, the first of rule {first.rule} for {vector_told(first.vector)}"
    )
