"""`lotmark inference`: results run again, drawn for audit, and models watched for decay."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal
from lotmark_node.commands._client import (
    ClientFile,
    EntryName,
    OutboxFile,
    parse_entry_name,
    read_settings,
    reading,
)
from lotmark_node.commands._inference_decay import decay, drift

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lotmark.client.session import LedgerSession
    from lotmark.client.settings import ClientSettings
    from lotmark.v1.quality_pb2 import InferenceAudit
    from lotmark_inference.policy import InspectionPolicy, Trigger
    from lotmark_inference.rerun import Rerun
    from lotmark_node.model_search import ModelSearch

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
    from lotmark_node.inference_audits import audited_from, hold_lottery

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
                    reruns.append(audited_from(images, each.result, search, decided_by))
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


for _command in (decay, drift):
    app.command()(_command)


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

    With --json one document a line. Exit status, with --once: 1 a part does not conform; else 2
    one is undetermined, or an image was not judged or not read.
    """
    from lotmark_node.commands._client import silence_grpc
    from lotmark_node.commands._station_loop import watch_station
    from lotmark_node.edge.station_settings import read_station_settings

    silence_grpc()
    triggers = _triggers(trigger or [])
    settings = read_station_settings(file)
    found = watch_station(settings, triggers=triggers, once=once, as_json=as_json)
    if once:
        raise typer.Exit(found)


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
    from lotmark_node.model_search import ModelSearch

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
