"""`lotmark model`: how well models do, and which may run where."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal
from lotmark_node.commands._client import (
    ClientFile,
    OutboxFile,
    parse_entry_name,
    read_settings,
    reading,
)
from lotmark_node.commands._one_event import submit_body

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lotmark.client.new_event import EventBody
    from lotmark.client.session import LedgerSession
    from lotmark.client.settings import ClientSettings
    from lotmark.v1 import event_pb2
    from lotmark_inference.model_files import ModelFiles
    from lotmark_inference.model_manifest import ModelManifest
    from lotmark_inference.registered_models import RegisteredModels

app = typer.Typer(help="Models: evaluate, register, promote, roll back.")

IMAGES_MAX = 1_000_000

ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="Folder with manifest.json and model.onnx, or a shipped one: weld-light, weld-heavy.",
    ),
]
ModelVersion = Annotated[str, typer.Argument(metavar="NAME/VERSION", help="As it is registered.")]
Station = Annotated[str, typer.Option(metavar="NAME", help="Line or station that uses it.")]
Parties = Annotated[
    list[str] | None,
    typer.Option(
        "--party", help="Whose events count; again for more. [default: the client's own party]"
    ),
]


@app.command()
def evaluate(
    model: ModelName = "weld-light",
    *,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=2**53, help="First image's seed. [default: drawn, and told]"),
    ] = None,
    count: Annotated[
        int, typer.Option(min=1, max=IMAGES_MAX, help="How many images; 3,000 take half a minute.")
    ] = 3_000,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Judge generated welds, and count. They are synthetic: no figure of a line follows from it."""
    from lotmark_inference.evaluation import evaluate as evaluated
    from lotmark_inference.onnx_engine import OnnxEngine
    from lotmark_node.commands._model_lines import evaluation_document, evaluation_text

    files = read_files(model)
    seeds = _seeds(seed, count)
    engine = OnnxEngine(files.onnx, files.manifest)
    with terminal.progress("Judging welds", count) as advance:
        found = evaluated(engine, files.manifest, seeds, advance)
    told = files.manifest_file, engine.identity.name, seeds, found
    terminal.answer(evaluation_document(*told), lambda: evaluation_text(*told), as_json=as_json)


@app.command()
def register(
    model: ModelName,
    *,
    client: ClientFile = None,
    registry: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the site keeps its models' files.")
    ],
    outbox: OutboxFile = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Put a model's files into the site's folder, and its digests on the ledger.

    The client's key signs the manifest that is kept there, unless somebody's has.
    """
    from lotmark.key_file import read_key_file
    from lotmark.v1 import event_pb2
    from lotmark_inference.manifest_file import dump_manifest
    from lotmark_inference.model_events import model_registered
    from lotmark_inference.model_folder import ModelFolder
    from lotmark_inference.onnx_engine import OnnxEngine

    settings = read_settings(client)
    files = read_files(model)
    manifest = files.manifest
    OnnxEngine(files.onnx, manifest).close()  # what cannot be opened is not registered
    body = model_registered(manifest)
    with reading(client) as session:
        models = _models(session, [settings.party])
    _check_counts(models, settings.party, event_pb2.Event(model_registered=body))
    folder = ModelFolder(registry)
    folder.put(files.onnx)
    raw, signer = files.manifest_file.raw, files.manifest_file.signed_by
    if signer is None:
        key = read_key_file(settings.batch_key)
        raw, signer = dump_manifest(manifest, key), key.public
    folder.put_manifest(raw)
    done = f"{manifest.model} is registered; its manifest is signed by key {signer.hex()}"
    _submit(settings, body, outbox, done, as_json=as_json)


@app.command()
def promote(
    model: ModelName,
    *,
    client: ClientFile = None,
    station: Station,
    bias_audit: Annotated[str, typer.Option(metavar="ID", help="Report of the bias audit.")] = "",
    approvals: Annotated[
        list[str] | None,
        typer.Option(
            "--approval",
            metavar="EVENT_ID",
            help="An operator's signature, as approve, of the event that registered it; again for"
            " more.",
        ),
    ] = None,
    outbox: OutboxFile = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Put a registered and admitted model into use. Exit status 1: it may not be used."""
    from lotmark.v1 import event_pb2
    from lotmark_inference.model_events import model_promoted

    settings = read_settings(client)
    manifest = read_files(model).manifest
    approved_by = [*dict.fromkeys(_event_id(each) for each in approvals or ())]
    with reading(client) as session:
        models = _models(session, [settings.party])
        _check_promotion(session, models, manifest, approved_by)
    body = model_promoted(manifest, station, approvals=approved_by, bias_audit=bias_audit)
    _check_counts(models, settings.party, event_pb2.Event(model_promoted=body))
    _submit(settings, body, outbox, f"{manifest.model} is in use at {station}", as_json=as_json)


@app.command()
def rollback(
    model: ModelVersion,
    *,
    client: ClientFile = None,
    station: Station,
    successor: Annotated[
        str,
        typer.Option(metavar="NAME/VERSION", help="What takes its place. [default: nothing]"),
    ] = "",
    reason: Annotated[str, typer.Option(help="Why.")],
    outbox: OutboxFile = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Take a model out of use. Exit status 1: it is not in use there."""
    from lotmark.v1 import event_pb2, quality_pb2

    settings = read_settings(client)
    body = quality_pb2.ModelRolledBack(
        model=model, station=station, successor=successor, reason=reason
    )
    with reading(client) as session:
        models = _models(session, [settings.party])
    _check_counts(models, settings.party, event_pb2.Event(model_rolled_back=body))
    done = f"{model} is no longer in use at {station}; {successor or 'nothing'} takes its place"
    _submit(settings, body, outbox, done, as_json=as_json)


@app.command()
def status(
    *, client: ClientFile = None, parties: Parties = None, as_json: terminal.JsonFlag = False
) -> None:
    """Show which models are registered, admitted and in use."""
    from lotmark_node.commands._model_lines import status_document, status_text
    from lotmark_node.inference_ledger import why_no_approvals

    whose = parties or [read_settings(client).party]
    with reading(client) as session:
        models = _models(session, whose)
        approvals = {
            place: why_no_approvals(session, each.approvals, models.registered[each.model])
            for place, each in models.in_use.items()
        }
    told = models, approvals
    terminal.answer(status_document(*told), lambda: status_text(*told), as_json=as_json)


def read_files(model: str) -> "ModelFiles":
    """Return the files of a model that a command line names."""
    from lotmark_inference.model_files import SHIPPED, read_model, shipped_model

    if model in SHIPPED and not Path(model).is_dir():
        return shipped_model(model)
    return read_model(Path(model))


def _seeds(seed: int | None, count: int) -> range:
    """Return the images to judge: fresh ones where no seed is given, none that it learnt from."""
    import secrets

    from lotmark_inference.weld_images import FRESH_SEEDS, TRAINING_SEEDS, VALIDATION_SEEDS

    if seed is None:
        seed = FRESH_SEEDS.start + secrets.randbelow(len(FRESH_SEEDS) - count)
    seeds = range(seed, seed + count)
    for learnt in (TRAINING_SEEDS, VALIDATION_SEEDS):
        if seeds.start < learnt.stop and learnt.start < seeds.stop:
            terminal.fail(
                f"Models learn from seeds {learnt.start} to {learnt.stop - 1}.",
                "Name seeds of none of those, or none at all.",
            )
    return seeds


def _event_id(text: str) -> bytes:
    named = parse_entry_name(text)
    if isinstance(named, int):
        terminal.fail(f"{text} is an index.", "Name approvals by event id, 64 hex digits.")
    return named


def _models(session: "LedgerSession", parties: "Sequence[str]") -> "RegisteredModels":
    """Return what the parties' events add up to, and note those that count for nothing."""
    from lotmark_node.inference_ledger import models_of

    return models_of(
        session,
        *parties,
        on_ignored=lambda index, why: terminal.note(f"Entry {index} counts for nothing: {why}"),
    )


def _check_counts(models: "RegisteredModels", party: str, event: "event_pb2.Event") -> None:
    """End the command where a party's event would be put on record for nothing."""
    _, why = models.apply(event, party, 0)
    if why:
        terminal.fail(
            f"{why}.", "Nothing was sent; see `lotmark model status`.", terminal.ExitCode.NO
        )


def _check_promotion(
    session: "LedgerSession",
    models: "RegisteredModels",
    manifest: "ModelManifest",
    approvals: "Sequence[bytes]",
) -> None:
    """End the command where a promotion's counts or approvals are not those of what is registered.

    The counts of a promotion are the baseline of decay, and the manifest that has them is the one
    whose digest the ledger names; a model that is not registered at all is told elsewhere.
    """
    from lotmark_inference.manifest_file import manifest_digest
    from lotmark_node.inference_ledger import why_no_approvals

    registered = models.registered.get(manifest.model)
    if registered is None:
        return
    if manifest_digest(manifest) != registered.manifest_digest:
        terminal.fail(
            f"{manifest.model} is registered with manifest {registered.manifest_digest.hex()}, this"
            f" one is {manifest_digest(manifest).hex()}.",
            f"Name the folder that was registered, by entry {registered.index}, or register this"
            " one as a new version.",
            terminal.ExitCode.NO,
        )
    for why in why_no_approvals(session, approvals, registered).values():
        if why:
            terminal.fail(
                f"No approval of {manifest.model}: {why}.",
                "Let an operator sign the event that registered it: lotmark operator sign"
                f" {registered.index} --meaning approve",
                terminal.ExitCode.NO,
            )


def _submit(
    settings: "ClientSettings", body: "EventBody", outbox: Path | None, done: str, *, as_json: bool
) -> None:
    submit_body(settings, body, outbox, done, as_json=as_json, is_awaited=True)
