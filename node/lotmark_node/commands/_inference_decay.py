"""`lotmark inference decay` and `drift`: whether a model in use does as well as it did."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal
from lotmark_node.commands._client import ClientFile, OutboxFile, read_settings, reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lotmark.client.settings import ClientSettings
    from lotmark_adapters.webhooks.targets import Target
    from lotmark_inference.f1_window import LabelCounts
    from lotmark_node.model_decay import Decay

ModelVersion = Annotated[str, typer.Option(metavar="NAME/VERSION", help="As results name it.")]
StationName = Annotated[str, typer.Option(metavar="NAME", help="The device of its results.")]
Parties = Annotated[
    list[str] | None,
    typer.Option(
        "--party", help="Whose events count; again for more. [default: the client's own party]"
    ),
]


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

    Exit status: 1 it has become worse, 2 there are too few labels to tell; whatever was found, 4 a
    ticket that was asked for is not on the ledger yet, 3 not everybody was told: call again.
    """
    from lotmark_adapters.webhooks.settings import read_targets
    from lotmark_inference.f1_window import Standing
    from lotmark_node.commands._inference_lines import decay_document, decay_text

    if webhooks and not ticket:
        terminal.fail("--webhooks tells of a ticket.", "Let one be made: --ticket.")
    if baseline and ticket:
        terminal.fail(
            "A ticket is of the baseline that is on the ledger, so that everybody makes the same.",
            "Leave out --baseline or --ticket.",
        )
    targets = read_targets(webhooks) if webhooks else ()
    settings = read_settings(client)
    base = _label_counts(baseline) if baseline else None
    found = _found(client, model, station, base, parties or [settings.party])
    refusal = ""
    if ticket:
        found, refusal = _with_ticket(settings, found, outbox)
    untold = _untold(found, targets, webhooks) if webhooks else []
    undone = [f"ticket: {refusal}", *untold] if refusal else untold
    terminal.answer(
        decay_document(found, undone), lambda: decay_text(found, undone), as_json=as_json
    )
    if refusal:
        raise typer.Exit(terminal.ExitCode.NOT_RECORDED)
    if untold:
        raise typer.Exit(terminal.ExitCode.UNREACHABLE)
    if found.finding.grade:
        raise typer.Exit(terminal.ExitCode.NO)
    if found.finding.standing is Standing.STARVED:
        raise typer.Exit(terminal.ExitCode.CANNOT_TELL)


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


def _found(
    client: Path | None,
    model: str,
    station: str,
    baseline: "LabelCounts | None",
    parties: "Sequence[str]",
) -> "Decay":
    """Return how a model does, beside these counts or those that it was promoted with."""
    from lotmark_node.model_decay import promoted_baseline, read_decay

    named = {"model": model, "station": station}
    with reading(client) as session:
        base = baseline or promoted_baseline(session, **named, parties=parties)
        if base is None:
            terminal.fail(
                f"{model} was never promoted at {station} with counts of defects found.",
                "Name the counts to compare with: --baseline.",
            )
        found = read_decay(session, **named, baseline=base, parties=parties)
    if found is None:
        terminal.fail(
            f"{model} has no result at {station} that is an hour old.",
            "Results name both: see `lotmark entry` of one.",
        )
    return found


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
