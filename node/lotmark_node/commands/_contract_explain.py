"""`lotmark contract explain`: why a claim was decided as it was, step by step."""

from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal
from lotmark_node.commands._client import ClientFile, reading

if TYPE_CHECKING:
    from lotmark.client.contract_records import ClaimHistory
    from lotmark.client.contracts import ContractReader
    from lotmark.client.ledger_records import LedgerCheckpoint
    from lotmark.client.provenance_records import ProvenEvent
    from lotmark.client.session import LedgerSession
    from lotmark_node.decision_text import Decision


def explain(
    claim: Annotated[str, typer.Argument(metavar="CLAIM", help="A claim, as its rules name it.")],
    *,
    package: Annotated[
        str, typer.Option(metavar="NAME", help="Whose claim, where several have one of this name.")
    ] = "",
    client: ClientFile = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Show how a claim was decided: each rule receipt with its steps, postings and evidence.

    Each is proven to stand on the log, and its rule is executed again, here. Exit status: 1 no rule
    has named the claim, a proof does not hold, or a rule comes to another result; 2 several
    packages have a claim of this name.
    """
    from lotmark_node.claim_reexecution import Verdict
    from lotmark_node.decision_text import Branch, decision_branch, tree_lines

    with reading(client) as session:
        from lotmark.client.contracts import ContractReader

        reader = ContractReader(session)
        name, found = _find(reader, claim, package)
        checkpoint = session.checkpoint_over(max(each.index for each in found.receipts))
        with terminal.progress("Checking rule receipts", len(found.receipts)) as advance:
            paths = []
            for receipt in found.receipts:
                paths.append(reader.prove(receipt, checkpoint))
                advance(1)
        decisions = _decisions(session, reader, name, found, checkpoint)

    def text() -> str:
        branches = [decision_branch(each) for each in decisions]
        return "\n".join(tree_lines(Branch(_headline(name, claim, found), branches)))

    terminal.answer(
        {
            "claim": claim,
            "package": name,
            "version": None if found.claim is None else found.claim.version,
            "opened_by": None if found.claim is None else str(found.claim.opened_by),
            "checkpoint_size": str(checkpoint.size),
            "checkpoint_root": checkpoint.root.hex(),
            "final": checkpoint.findings.is_final,
            "receipts": [
                {
                    "entry": str(each.receipt.index),
                    "height": str(each.receipt.height),
                    "time_ms": str(each.receipt.time_ms),
                    "event_entry": str(each.receipt.event_index),
                    "event": each.event,
                    "receipt": each.receipt.document,
                    "inclusion_path": [step.hex() for step in path],
                    "executed_again": each.reexecution.verdict,
                    "why": each.reexecution.why,
                }
                for each, path in zip(decisions, paths, strict=True)
            ],
        },
        text,
        as_json=as_json,
    )
    if any(each.reexecution.verdict is Verdict.OTHER for each in decisions):
        raise typer.Exit(terminal.ExitCode.NO)


def _decisions(
    session: "LedgerSession",
    reader: "ContractReader",
    package: str,
    found: "ClaimHistory",
    checkpoint: "LedgerCheckpoint",
) -> "list[Decision]":
    """Return each rule receipt with its event, and what came of executing its rule again."""
    from lotmark_node.claim_reexecution import ClaimReexecution
    from lotmark_node.decision_text import Decision

    events = _proven_events(session, found)
    versions = {int(each.document["version"]) for each in found.receipts}
    again = ClaimReexecution(
        found.receipts,
        events,
        {version: reader.version(package, version) for version in versions},
        session.governed().keys,
    )
    standing = f"proven, {checkpoint.findings.standing}"
    return [
        Decision(
            receipt=each,
            event=_event_text(events.get(each.event_index)),
            standing=f"at height {each.height}, {standing}",
            reexecution=again.check(each),
        )
        for each in found.receipts
    ]


def _proven_events(session: "LedgerSession", found: "ClaimHistory") -> "dict[int, ProvenEvent]":
    """Return the events that rule receipts are about and name as evidence, by entry.

    Those are left out that the caller may not read.
    """
    from lotmark.client.provenance import ProvenanceReader

    wanted = {each.event_index for each in found.receipts}
    wanted |= {
        int(evidence["entry"])
        for each in found.receipts
        for evidence in each.document.get("evidence", ())
    }
    readable = [index for index in sorted(wanted) if not session.entry(index).withheld]
    with terminal.progress("Checking events", len(readable)) as advance:
        proven = ProvenanceReader(session).prove(readable, advance)
        return {each.findings.index: each for each in proven}


def _find(reader: "ContractReader", claim: str, package: str) -> "tuple[str, ClaimHistory]":
    """Return the package of a claim and its history, or end the command where it is not one."""
    from lotmark.client.calls import NotOnLedgerError

    if package:
        return package, reader.claim(package, claim, fresh=True)
    found = []
    for each in reader.packages(fresh=True).packages:
        try:
            found.append((each.name, reader.claim(each.name, claim)))
        except NotOnLedgerError:
            continue
    if not found:
        terminal.fail(
            f"No rule has named claim {claim[:80]!a}.",
            "A rule names the claim in its stage `claim`; see the package's rules.",
            terminal.ExitCode.NO,
        )
    if len(found) > 1:
        names = ", ".join(name for name, _ in found)
        terminal.fail(f"{len(found)} packages have such a claim: {names}.", "Add --package NAME.")
    return found[0]


def _event_text(proven: "ProvenEvent | None") -> str:
    """Return what an event is and whose; None: one that the caller may not read."""
    if proven is None:
        return "for other parties"
    message, body = proven.event, proven.findings.event_type
    name = message.contract_event.name if body == "contract_event" else body
    return f"{name} by {proven.findings.party}"


def _headline(package: str, claim: str, found: "ClaimHistory") -> str:
    if found.claim is None:
        return f"claim {claim}  {package}: refused, it was never opened"
    opened = f"version {found.claim.version}, opened by entry {found.claim.opened_by}"
    return f"claim {claim}  {package} {opened}"
