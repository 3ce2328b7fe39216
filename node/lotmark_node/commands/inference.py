"""`lotmark inference`: results run again, drawn for audit, and models watched for decay."""

import re
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal
from lotmark_node.commands._client import (
    ClientFile,
    EntryName,
    parse_entry_name,
    read_settings,
    reading,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lotmark.client.new_event import EventBody
    from lotmark.client.session import LedgerSession
    from lotmark.client.settings import ClientSettings
    from lotmark.v1.quality_pb2 import InferenceAudit
    from lotmark_adapters.webhooks.targets import Target
    from lotmark_inference.f1_window import LabelCounts
    from lotmark_inference.policy import InspectionPolicy, Trigger
    from lotmark_inference.rerun import Rerun
    from lotmark_node.inference_audits import ModelSearch
    from lotmark_node.model_decay import Decay

app = typer.Typer(
    help="Inferences: run again, audit by lottery, watch for decay; label catalogues."
)

RATE_PPM = 20_000  # 2 % of results

ModelFolders = Annotated[
    list[Path] | None,
    typer.Option("--model", metavar="DIR", help="Folder of a model; again for more."),
]
Registry = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The folder that `lotmark model register` fills."),
]
PolicyFile = Annotated[
    Path | None,
    typer.Option("--policy", metavar="FILE", help="Inspection policy, to decide again as well."),
]
OutboxFile = Annotated[
    Path | None,
    typer.Option("--outbox", metavar="FILE", help="Another outbox than the client's own."),
]

ModelVersion = Annotated[str, typer.Option(metavar="NAME/VERSION", help="As results name it.")]
StationName = Annotated[str, typer.Option(metavar="NAME", help="The device of its results.")]
Parties = Annotated[
    list[str] | None,
    typer.Option(
        "--party", help="Whose events count; again for more. [default: the client's own party]"
    ),
]


@app.command()
def rerun(
    name: EntryName,
    *,
    client: ClientFile = None,
    image: Annotated[Path, typer.Option(metavar="FILE", help="The original image.")],
    models: ModelFolders = None,
    registry: Registry = None,
    policy: PolicyFile = None,
    submit: Annotated[
        bool, typer.Option("--submit", help="Put what came of it on the ledger.")
    ] = False,
    outbox: OutboxFile = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Run an inference again.

    Exit status: 0 it holds, 1 it is refuted, 2 nobody can tell; 4 with --submit: whatever was
    found, it is not on the ledger.
    """
    from lotmark_node.commands._inference_lines import rerun_document, rerun_text
    from lotmark_node.edge.image_file import read_image_file
    from lotmark_node.inference_audits import audited
    from lotmark_node.inference_ledger import proven_result

    content = read_image_file(image).content
    decided_by = _policy(policy)
    with reading(client, not_found=terminal.ExitCode.CANNOT_TELL) as session:
        result = proven_result(session, parse_entry_name(name))
        with _models(session, models, registry) as search:
            made = audited(result, content, search, decided_by)
    # Answered first: what was found must not be lost where it cannot be put on record.
    terminal.answer(rerun_document(result, made), lambda: rerun_text(result, made), as_json=as_json)
    if submit:
        _put_audits(read_settings(client), [made.body(result.accepted.event_id, None)], outbox)
    raise typer.Exit(_exit_code([made]))


@app.command()
def audit(
    *,
    client: ClientFile = None,
    since: Annotated[
        int,
        typer.Option(
            min=0, metavar="SIZE", help="Where to begin: drawn_size of the last answer, or 0."
        ),
    ],
    rate_ppm: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Results drawn of a million.")
    ] = RATE_PPM,
    images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Originals by their digests: run what is drawn again."),
    ] = None,
    models: ModelFolders = None,
    registry: Registry = None,
    policy: PolicyFile = None,
    submit: Annotated[
        bool, typer.Option("--submit", help="Put what came of each on the ledger.")
    ] = False,
    outbox: OutboxFile = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Show which results are drawn for audit, and what audits found.

    With --images they are run again. Exit status: 1 one is refuted, 2 of one nobody can tell; 4
    with --submit: whatever was found, not all of it is on the ledger.
    """
    from lotmark_node.commands._inference_lines import audit_document, audit_text
    from lotmark_node.inference_audits import audited, hold_lottery, kept_image

    if submit and images is None:
        terminal.fail("--submit has nothing to put on record.", "Name the originals: --images.")
    decided_by = _policy(policy)
    reruns: list[Rerun] = []
    with reading(client) as session:
        checkpoint = session.checkpoint(final=True)
        if not checkpoint.findings.is_final:
            terminal.fail(
                f"Checkpoint {checkpoint.size} is {checkpoint.findings.standing}.",
                "Only under a final one roots are certain; try again once its quorum has cosigned.",
            )
        if since > checkpoint.size:
            terminal.fail(
                f"--since {since} is beyond the ledger, which has {checkpoint.size} entries.",
                "Give drawn_size of the last answer, or 0.",
            )
        lottery = hold_lottery(session, checkpoint, since=since, rate_ppm=rate_ppm)
        if images is not None:
            with (
                _models(session, models, registry) as search,
                terminal.progress("Running again", len(lottery.drawn)) as advance,
            ):
                for each in lottery.drawn:
                    original = kept_image(each.result.accepted, images)
                    reruns.append(audited(each.result, original, search, decided_by))
                    advance(1)
    terminal.answer(
        audit_document(lottery, reruns), lambda: audit_text(lottery, reruns), as_json=as_json
    )
    if submit:
        bodies = [
            made.body(each.result.accepted.event_id, each.draw)
            for each, made in zip(lottery.drawn, reruns, strict=True)
        ]
        _put_audits(read_settings(client), bodies, outbox)
    raise typer.Exit(_exit_code(reruns))


@app.command()
def decay(
    *,
    client: ClientFile = None,
    model: ModelVersion,
    station: StationName,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="TP,FP,FN,TN",
            help="Counts of a test to compare with. [default: as the model was promoted]",
        ),
    ] = None,
    parties: Parties = None,
    ticket: Annotated[
        bool, typer.Option("--ticket", help="Put the open episode's ticket on the ledger, once.")
    ] = False,
    webhooks: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Webhooks to tell of the ticket, see docs/inference.md."),
    ] = None,
    outbox: OutboxFile = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Compare a model's F1 over 72 hours with its baseline, by people's reviews on the ledger.

    Exit status: 1 it has become worse, 2 there are too few labels to tell, 3 a ticket that was
    asked for is not on the ledger yet, or not everybody was told: call again.
    """
    from lotmark_adapters.webhooks.settings import read_targets
    from lotmark_inference.f1_window import Standing
    from lotmark_node.commands._inference_lines import decay_document, decay_text
    from lotmark_node.model_decay import promoted_baseline, read_decay

    if webhooks and not ticket:
        terminal.fail("--webhooks tells of a ticket.", "Let one be made: --ticket.")
    if baseline and ticket:
        terminal.fail(
            "A ticket is of the baseline that is on the ledger, so that everybody makes the same.",
            "Leave out --baseline or --ticket.",
        )
    targets = read_targets(webhooks) if webhooks else ()
    settings = read_settings(client)
    whose = parties or [settings.party]
    with reading(client) as session:
        base = (
            _label_counts(baseline)
            if baseline
            else promoted_baseline(session, model=model, station=station, parties=whose)
        )
        if base is None:
            terminal.fail(
                f"{model} was never promoted at {station} with counts of defects found.",
                "Name the counts to compare with: --baseline.",
            )
        found = read_decay(session, model=model, station=station, baseline=base, parties=whose)
    if found is None:
        terminal.fail(
            f"{model} has no result at {station} that is an hour old.",
            "Results name both: see `lotmark entry` of one.",
        )
    undone: list[str] = []
    if ticket:
        found, refusal = _with_ticket(settings, found, outbox)
        undone += [f"ticket: {refusal}"] if refusal else []
    if webhooks:
        undone += _untold(found, targets, webhooks)
    terminal.answer(
        decay_document(found, undone), lambda: decay_text(found, undone), as_json=as_json
    )
    if undone:
        raise typer.Exit(terminal.ExitCode.UNREACHABLE)
    if found.finding.grade:
        raise typer.Exit(terminal.ExitCode.NO)
    if found.finding.standing is Standing.STARVED:
        raise typer.Exit(terminal.ExitCode.CANNOT_TELL)


@app.command()
def drift(
    *,
    client: ClientFile = None,
    model: ModelVersion,
    station: StationName,
    parties: Parties = None,
    count: Annotated[
        int,
        typer.Option(min=100, max=100_000, help="Results to compare, the first and the newest."),
    ] = 1_000,
    trigger_in: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where it is found, tell the station whose folder it is."),
    ] = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Compare a model's newest scores with its first ones since its promotion.

    Exit status: 1 they have drifted, 2 there are too few to tell.
    """
    from lotmark_inference.policy import Trigger
    from lotmark_node.commands._inference_lines import drift_document, drift_text
    from lotmark_node.edge.image_folder import TRIGGER_SUFFIX
    from lotmark_node.model_drift import read_drift

    whose = parties or [read_settings(client).party]
    with reading(client) as session:
        found = read_drift(session, model=model, station=station, parties=whose, count=count)
    terminal.answer(drift_document(found), lambda: drift_text(found), as_json=as_json)
    if found.is_drifted and trigger_in is not None:
        (trigger_in / f"{Trigger.DRIFT_SUSPECTED}{TRIGGER_SUFFIX}").touch()
    if found.is_drifted:
        raise typer.Exit(terminal.ExitCode.NO)


@app.command()
def watch(
    file: Annotated[Path, typer.Argument(metavar="STATION.toml", help="The station's settings.")],
    *,
    trigger: Annotated[
        list[str] | None,
        typer.Option(help="What has happened at the line, such as shift_start; again for more."),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Judge the images that are there, and end.")
    ] = False,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Judge the images that a camera writes to a folder, until SIGINT or SIGTERM; tell each result.

    With --json one document a line. Exit status, with --once: 1 a part does not conform.
    """
    from lotmark_node.commands._client import silence_grpc
    from lotmark_node.commands._station_loop import watch_station
    from lotmark_node.edge.station_settings import read_station_settings

    silence_grpc()
    triggers = _triggers(trigger or [])
    settings = read_station_settings(file)
    is_conforming = watch_station(settings, triggers=triggers, once=once, as_json=as_json)
    if once and not is_conforming:
        raise typer.Exit(terminal.ExitCode.NO)


@app.command()
def catalogues(
    *,
    client: ClientFile = None,
    parties: Annotated[
        list[str] | None,
        typer.Option(
            "--party",
            help="Must be among the approvers of a version 1; again for more."
            " [default: the client's own party]",
        ),
    ] = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Show label catalogues, and whose approval is missing."""
    from lotmark_node.commands._inference_lines import catalogue_document, catalogue_text
    from lotmark_node.inference_ledger import catalogue_approval

    whose = parties or [read_settings(client).party]
    with reading(client) as session:
        approval = catalogue_approval(session, whose)
    terminal.answer(catalogue_document(approval), lambda: catalogue_text(approval), as_json=as_json)


@app.command()
def propose_catalogue(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The catalogue in TOML or JSON.")],
    *,
    client: ClientFile = None,
    outbox: OutboxFile = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Put a label catalogue on the ledger; three roles approve it with `lotmark operator sign`."""
    from lotmark_inference.label_catalogue import read_catalogue
    from lotmark_node.commands._one_event import submit_body

    settings = read_settings(client)
    catalogue = read_catalogue(file.read_bytes(), source=str(file))
    who = ", ".join(f"{each.party}/{each.role}" for each in sorted(catalogue.approvers))
    if catalogue.version > 1:
        who += ", and who approved the version before"
    submit_body(
        settings,
        catalogue.body,
        outbox,
        f"{catalogue.full_name} is proposed; it waits for {who}",
        as_json=as_json,
    )


def _label_counts(text: str) -> "LabelCounts":
    from lotmark_inference.f1_window import LabelCounts

    counts = text.split(",")
    if len(counts) != 4 or not all(re.fullmatch("[0-9]{1,9}", each) for each in counts):
        terminal.fail(f"{text[:40]!a} is not TP,FP,FN,TN.", "Give four numbers, such as 95,1,5,99.")
    found, false, missed, sound = map(int, counts)
    if not found:
        terminal.fail("Nothing is worse than a model that found no defect.", "Test the model.")
    return LabelCounts(
        true_positives=found, false_positives=false, false_negatives=missed, true_negatives=sound
    )


def _with_ticket(
    settings: "ClientSettings", decay: "Decay", outbox: Path | None
) -> "tuple[Decay, str]":
    """Put the open episode's ticket on the ledger; return how it stands, and why not if not."""
    from dataclasses import replace

    from lotmark.errors import ProtocolError
    from lotmark_node.commands._one_event import put_event_on_record

    if decay.ticket is None or decay.is_on_record:
        return decay, ""
    try:
        _, refusal = put_event_on_record(settings, decay.ticket, outbox)
    except (ProtocolError, OSError) as error:
        refusal = str(error)
    return replace(decay, is_on_record=not refusal), refusal


def _untold(decay: "Decay", targets: "Sequence[Target]", webhooks: Path) -> list[str]:
    """Tell of the ticket, and of what waits from before; return what was not told, and why."""
    import time

    from lotmark_adapters.errors import AdapterError
    from lotmark_adapters.webhooks.telling import ticket_outbox, told

    now_ms = time.time_ns() // 1_000_000
    message = decay.message(made_ms=now_ms) if decay.ticket_id else None
    try:
        untold = told(message, targets, ticket_outbox(webhooks), now_ms=now_ms).untold
    except (AdapterError, OSError) as error:
        untold = (str(error),)
    return [f"webhooks: {each}" for each in untold]


def _triggers(names: list[str]) -> "list[Trigger]":
    from lotmark_inference.policy import Trigger

    for name in names:
        if name not in list(Trigger):
            terminal.fail(f"{name[:40]!a} triggers nothing.", f"Use one of {', '.join(Trigger)}.")
    return [Trigger(name) for name in names]


def _policy(file: Path | None) -> "InspectionPolicy | None":
    from lotmark_inference.policy import read_policy

    return None if file is None else read_policy(file.read_bytes(), source=str(file))


def _models(
    session: "LedgerSession", models: list[Path] | None, registry: Path | None
) -> "closing[ModelSearch]":
    from lotmark_node.inference_audits import ModelSearch

    return closing(ModelSearch(session, folders=models or (), registry=registry))


def _exit_code(reruns: "Sequence[Rerun]") -> terminal.ExitCode:
    from lotmark.v1.quality_pb2 import AUDIT_FINDING_CANNOT_TELL, AUDIT_FINDING_REFUTED

    findings = {each.finding for each in reruns}
    if AUDIT_FINDING_REFUTED in findings:
        return terminal.ExitCode.NO
    if AUDIT_FINDING_CANNOT_TELL in findings:
        return terminal.ExitCode.CANNOT_TELL
    return terminal.ExitCode.DONE


def _put_audits(
    settings: "ClientSettings", bodies: "Sequence[InferenceAudit]", outbox: Path | None
) -> None:
    """Put audits on the ledger; where one is refused, still those behind it."""
    from lotmark.errors import ProtocolError
    from lotmark_node.commands._one_event import put_on_record

    put_count, problems = 0, []
    for body in bodies:
        try:
            _, refusal = put_on_record(settings, body, outbox)
        except (ProtocolError, OSError) as error:  # the outbox or the way: the rest fares alike
            problems.append(str(error))
            break
        if refusal:
            problems.append(refusal)
        else:
            put_count += 1
    if problems:
        terminal.fail(
            f"Of {len(bodies)} audits {len(bodies) - put_count} are not on record: {problems[0]}",
            "What was found stands in the answer.",
            terminal.ExitCode.NOT_RECORDED,
        )


def _submit(settings: "ClientSettings", body: "EventBody", outbox: Path | None) -> bytes:
    """Put an event with this body on the ledger, and return its id."""
    from lotmark_node.commands._one_event import put_on_record

    result, refusal = put_on_record(settings, body, outbox)
    if refusal:
        terminal.fail(refusal, exit_code=terminal.ExitCode.NO)
    return result.event_id
