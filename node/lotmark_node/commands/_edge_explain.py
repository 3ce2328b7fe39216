"""`lotmark edge explain`: what became of something that a site has taken, and why."""

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal
from lotmark_node.commands._edge_site import SiteFile

if TYPE_CHECKING:
    from lotmark_node.edge.evidence_store import EvidenceStore
    from lotmark_node.edge.explanation import Explainer, Explanation
    from lotmark_node.edge.site_settings import SiteSettings

_DIGEST = re.compile(r"[0-9a-f]{64}")


def explain(
    settings_file: SiteFile,
    what: Annotated[
        str,
        typer.Argument(
            metavar="EVENT_ID|SHA256|SOURCE/SIGNAL[@TIME]",
            help="An event, a raw file, or a signal's observations, such as"
            " W07/current@2026-01-05T10:00:00Z.",
        ),
    ],
    *,
    count: Annotated[
        int, typer.Option(min=1, max=1_000, help="Of a signal: so many, newest first.")
    ] = 10,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Say which rule of which policy put something on record, and check its raw file.

    It reads the site's own memory, also while the site runs; no node is called. Exit status: 1 a
    file is not what was put on record, 2 nothing is known of it.
    """
    from lotmark_node.edge.evidence_store import EvidenceStore
    from lotmark_node.edge.explanation import Explainer, FileState
    from lotmark_node.edge.settings_file import read_site_settings
    from lotmark_node.edge.site_memory import SiteMemory

    settings = read_site_settings(settings_file)
    memory = SiteMemory.read(settings.data)
    try:
        store = EvidenceStore(settings.data, memory, settings.store)
        found = _found(Explainer(memory, store), settings, what, count)
    finally:
        memory.close()
    if not found:
        terminal.fail(
            f"This site knows nothing of {what[:80]!a}.",
            f"What was decided is remembered for {2 * settings.store.retention_days} days.",
        )
    terminal.answer(
        {"explanations": [_document(each, store) for each in found]},
        lambda: "\n\n".join(_text(each, store) for each in found),
        as_json=as_json,
    )
    if any(each.file_state is FileState.DAMAGED for each in found):
        raise typer.Exit(terminal.ExitCode.NO)


def _found(
    explainer: "Explainer", settings: "SiteSettings", what: str, count: int
) -> "list[Explanation]":
    if _DIGEST.fullmatch(what):
        return explainer.of_digest(bytes.fromhex(what))
    path, at, moment = what.partition("@")
    source, slash, signal = path.partition("/")
    known = {each.name: each for each in settings.sources}
    if not slash or source not in known:
        terminal.fail(
            f"{what[:80]!a} names nothing.",
            "Give an event's id or a file's SHA-256 in hex, or SOURCE/SIGNAL; sources are"
            f" {', '.join(known)}.",
        )
    return explainer.of_signal(
        source, signal, at_us=_time_us(moment) if at else None, count_max=count
    )


def _time_us(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        terminal.fail(
            f"{text[:80]!a} is no time with a zone.", "Write it such as 2026-01-05T10:00:00Z."
        )
    return int(moment.timestamp() * 1_000_000)


def _document(explanation: "Explanation", store: "EvidenceStore") -> dict[str, object]:
    decided = explanation.decided
    return {
        "what": decided.what,
        "source": decided.source,
        "signal": decided.signal,
        "policy": decided.policy or None,
        "rule": decided.rule or None,
        "rule_text": None if explanation.rule is None else dict(explanation.rule),
        "anchor": decided.anchor,
        "observations": decided.observation_count,
        "first_sequence": decided.first_sequence,
        "last_sequence": decided.last_sequence,
        "first_made": _time(decided.first_made_us),
        "last_made": _time(decided.last_made_us),
        "event_id": decided.event_id.hex() or None,
        "file": explanation.file.hex() or None,
        "path": str(store.path(explanation.file)) if explanation.file else None,
        "file_state": explanation.file_state.value,
        "detail": explanation.detail or None,
    }


def _text(explanation: "Explanation", store: "EvidenceStore") -> str:
    decided = explanation.decided
    path = "/".join(part for part in (decided.source, decided.signal) if part)
    numbers = (
        f", {decided.first_sequence} to {decided.last_sequence}" if decided.last_sequence else ""
    )
    lines = [
        f"{decided.what} {path}: {decided.observation_count} observations{numbers},"
        f" {_time(decided.first_made_us)} to {_time(decided.last_made_us)}",
        f"  {_why(explanation)}",
        f"  event {decided.event_id.hex()}" if decided.event_id else "  no event is on record",
    ]
    if explanation.file:
        lines.append(f"  file {store.path(explanation.file)}")
    lines.append(f"  {_file_text(explanation)}")
    return "\n".join(lines)


def _why(explanation: "Explanation") -> str:
    decided, rule = explanation.decided, explanation.rule
    if not decided.policy:
        return "goes on record whatever the policy says"
    if not decided.rule:
        return f"no rule of policy {decided.policy} fits, so it is only kept here"
    text = "" if rule is None else f": {rule['signals']} {rule['when']} → {rule['anchor']}"
    return f"rule {decided.rule} of policy {decided.policy}{text}"


def _file_text(explanation: "Explanation") -> str:
    words = {
        "matches": "MATCH: the file is there, and what the event says follows from it",
        "kept": "the file is there, and whole",
        "open": "in a window that is still open, in the site's memory",
        "none": "no file belongs to it",
    }
    state = explanation.file_state.value
    return words.get(state) or f"{state.upper()}: {explanation.detail}"


def _time(at_us: int) -> str:
    try:
        return datetime.fromtimestamp(at_us / 1_000_000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):  # a source's clock may say anything
        return f"{at_us} us"
