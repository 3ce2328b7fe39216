"""`lotmark governance`: what the parties are asked to approve, and what became of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal
from lotmark_node.commands._client import ClientFile, reading
from lotmark_node.commands._governing import (
    DAY_MS,
    Governing,
    PassphraseFile,
    RootFiles,
    governing,
    read_keys,
    table,
    time_text,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lotmark.canonical_json import JsonValue
    from lotmark.ed25519 import PrivateKey
    from lotmark.state_rows import ProposalRow
    from lotmark.v1 import governance_pb2
    from lotmark.verify.key_register import KeyRegister

app = typer.Typer(no_args_is_help=True, help="Propose changes to the parties, and approve them.")

DAYS = 14
KEY_DAYS = 5 * 365
_QUOTAS = ("events", "bytes", "signatures", "state_keys")

ProposalName = Annotated[
    str, typer.Argument(metavar="PROPOSAL", help="First 8 to 64 hex digits of its hash.")
]


@app.command("list")
def list_proposals(
    *,
    client: ClientFile = None,
    everything: Annotated[bool, typer.Option("--all", help="Decided ones, too.")] = False,
    as_json: terminal.JsonFlag = False,
) -> None:
    """List the open proposals."""
    from lotmark.state_rows import ProposalStatus

    with reading(client) as session:
        register = session.governed(everything=everything).keys
    found = {
        hashed: row
        for hashed, row in _proposals(register).items()
        if everything or row.status is ProposalStatus.OPEN
    }
    lines = [
        (hashed.hex()[:16], row.status.name.lower(), _said(row), _progress(register, row))
        for hashed, row in found.items()
    ]
    terminal.answer(
        {"proposals": [_to_json(register, hashed, row) for hashed, row in found.items()]},
        lambda: table(lines) if lines else "No open proposals.",
        as_json=as_json,
    )


@app.command()
def status(
    name: ProposalName, *, client: ClientFile = None, as_json: terminal.JsonFlag = False
) -> None:
    """Show one proposal: what it asks for in full, who approved it, and who is missing."""
    with reading(client) as session:
        register = session.governed().keys
        if not _named(register, name):
            register = session.governed(everything=True).keys
    hashed, row = _find(register, name)
    proposal = _message(row)
    terminal.answer(
        _to_json(register, hashed, row),
        lambda: f"{row.status.name.lower()}: {_said(row)}; {_progress(register, row)}\n{proposal}",
        as_json=as_json,
    )


@app.command()
def propose(
    request: Annotated[
        Path | None,
        typer.Argument(metavar="[JOIN-REQUEST]", help="A party joins, by the file it made."),
    ] = None,
    *,
    roots: RootFiles,
    client: ClientFile = None,
    remove_party: Annotated[str, typer.Option(metavar="PARTY", help="A party leaves.")] = "",
    add_cosigner: Annotated[
        str, typer.Option(metavar="NODE", help="A node of your party begins to cosign.")
    ] = "",
    cosign_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its cosign key, for --add-cosigner.")
    ] = None,
    remove_cosigner: Annotated[
        str, typer.Option(metavar="PARTY/NODE", help="A node ceases to cosign.")
    ] = "",
    rule: Annotated[
        str, typer.Option(metavar="KIND=RULE", help="Such as add_party=all: who must approve.")
    ] = "",
    quotas: Annotated[
        str, typer.Option(metavar="N,N,N,N", help=f"A minute's {', '.join(_QUOTAS)}.")
    ] = "",
    item_chain: Annotated[
        str,
        typer.Option(
            metavar="ENTRIES,MS", help="Chain items' histories, such as 100000,60000 an epoch."
        ),
    ] = "",
    days: Annotated[int, typer.Option(min=1, max=90, help="Days until it expires.")] = DAYS,
    passphrase_file: PassphraseFile = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Propose one change; your party's roots approve it by that."""
    from lotmark.governance import kind_of, proposal_bytes, proposal_hash
    from lotmark.v1 import governance_pb2

    root_keys = read_keys(roots, passphrase_file)
    with governing(client) as made:
        chain_id = made.session.settings.chain_id
        proposal = governance_pb2.Proposal(expires_ms=made.now_ms + days * DAY_MS)
        if request is not None:
            proposal.add_party.CopyFrom(_read_request(request, chain_id))
        if remove_party:
            proposal.remove_party.party = remove_party
        if add_cosigner:
            registered = _new_cosigner(made, add_cosigner, cosign_key, root_keys, passphrase_file)
            proposal.add_cosigner.CopyFrom(registered)
        if remove_cosigner:
            party, _, node = remove_cosigner.partition("/")
            proposal.remove_cosigner.party, proposal.remove_cosigner.node = party, node
        if rule:
            proposal.change_rule.CopyFrom(_read_rule(rule))
        if quotas:
            proposal.change_quotas.CopyFrom(_read_quotas(quotas))
        if item_chain:
            proposal.start_item_chain.CopyFrom(_read_item_chain(item_chain))
        kind = kind_of(proposal)
        (result,) = made.put([made.events.propose(proposal, made.party, root_keys)])
        hashed = proposal_hash(chain_id, proposal_bytes(proposal))
    terminal.answer(
        {
            "proposal": hashed.hex(),
            "kind": kind.name.lower(),
            "index": result.index,
            "height": result.height,
        },
        lambda: f"proposal {hashed.hex()} is open for {days} days; it counts as your approval",
        as_json=as_json,
    )


@app.command()
def approve(
    name: ProposalName,
    *,
    roots: RootFiles,
    client: ClientFile = None,
    passphrase_file: PassphraseFile = None,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Approve a proposal by your party's roots; look at it first: `lotmark governance status`."""
    root_keys = read_keys(roots, passphrase_file)
    with governing(client) as made:
        hashed, _ = _find(made.register, name)
        (result,) = made.put([made.events.approve(hashed, made.party, root_keys)])
        proposals = _proposals(made.session.governed().keys)
        if hashed not in proposals:  # it has come to nothing
            proposals = _proposals(made.session.governed(everything=True).keys)
        status_now = proposals[hashed].status.name.lower()
    terminal.answer(
        {"proposal": hashed.hex(), "index": result.index, "status": status_now},
        lambda: f"approved; the proposal is {status_now}",
        as_json=as_json,
    )


def _new_cosigner(
    made: Governing,
    node: str,
    file: Path | None,
    root_keys: "Sequence[PrivateKey]",
    passphrase_file: Path | None,
) -> "governance_pb2.KeyRegistration":
    """Return the registration of the first cosign key of a node of the caller's party."""
    from lotmark.governing_events import registration
    from lotmark.key_grant import KeyGrant, KeyPurpose, check_grant

    if file is None:
        terminal.fail("A cosigner has a cosign key.", "Name its file: --cosign-key FILE.")
    (key,) = read_keys([file], passphrase_file)
    grant = KeyGrant(
        key=key.public,
        party=made.party,
        purpose=KeyPurpose.COSIGN,
        holder=node,
        not_before_ms=made.now_ms - DAY_MS,
        not_after_ms=made.now_ms + KEY_DAYS * DAY_MS,
    )
    check_grant(grant)
    return registration(made.settings.chain_id, grant, key, root_keys)


def _read_request(file: Path, chain_id: bytes) -> "governance_pb2.PartyAddition":
    from lotmark.invitation import FILE_SIZE_MAX, parse_join_request

    with file.open("rb") as opened:
        return parse_join_request(opened.read(FILE_SIZE_MAX + 1), chain_id)


def _read_rule(text: str) -> "governance_pb2.RuleChange":
    from lotmark.governance import ApprovalRule, ProposalKind
    from lotmark.v1 import governance_pb2

    kind_name, _, rule_name = text.partition("=")
    kinds = {kind.name.lower(): kind for kind in ProposalKind}
    rules = {rule.name.lower(): rule for rule in ApprovalRule}
    if kind_name not in kinds or rule_name not in rules:
        terminal.fail(
            f"{text[:80]!a} is no KIND=RULE.",
            f"Kinds: {', '.join(kinds)}. Rules: {', '.join(rules)}.",
        )
    return governance_pb2.RuleChange(
        kind=kinds[kind_name], rule=governance_pb2.ApprovalRule.ValueType(rules[rule_name])
    )


def _read_quotas(text: str) -> "governance_pb2.QuotaChange":
    from lotmark.v1 import governance_pb2

    try:
        numbers = [int(part) for part in text.split(",")]
        return governance_pb2.QuotaChange(**dict(zip(_QUOTAS, numbers, strict=True)))
    except ValueError:
        terminal.fail(f"{text[:80]!a} are no four numbers.", f"Give {', '.join(_QUOTAS)}.")


def _read_item_chain(text: str) -> "governance_pb2.ItemChainStart":
    from lotmark.v1 import governance_pb2

    entries, _, ms = text.partition(",")
    if not (entries.isdecimal() and ms.isdecimal()):
        terminal.fail(f"{text[:80]!a} are no two numbers.", "Give an epoch's entries and ms.")
    return governance_pb2.ItemChainStart(epoch_entries=int(entries), epoch_ms=int(ms))


def _proposals(register: "KeyRegister") -> "dict[bytes, ProposalRow]":
    from lotmark.state_rows import Table, parse_proposal_row

    rows = register.rows(bytes([Table.PROPOSAL]))
    found = {key[3:]: parse_proposal_row(value) for key, value in rows}
    return dict(sorted(found.items(), key=lambda item: (item[1].opened_height, item[0])))


def _named(register: "KeyRegister", name: str) -> "list[tuple[bytes, ProposalRow]]":
    return [each for each in _proposals(register).items() if each[0].hex().startswith(name)]


def _find(register: "KeyRegister", name: str) -> "tuple[bytes, ProposalRow]":
    found = _named(register, name)
    if len(name) < 8 or len(found) != 1:
        terminal.fail(
            f"{len(found)} proposals begin with {name[:80]!a}.",
            "Give 8 digits at least; `lotmark governance list --all` shows those there are.",
            terminal.ExitCode.NO,
        )
    return found[0]


def _message(row: "ProposalRow") -> "governance_pb2.Proposal":
    from lotmark.v1 import governance_pb2

    return governance_pb2.Proposal.FromString(row.proposal)


def _said(row: "ProposalRow") -> str:
    """Return what a proposal asks for, in short."""
    from lotmark.governance import ApprovalRule, ProposalKind, kind_of

    proposal = _message(row)
    match kind_of(proposal):
        case ProposalKind.ADD_PARTY:
            addition = proposal.add_party
            return f"{addition.party} joins, {addition.threshold} of {len(addition.roots)} roots"
        case ProposalKind.REMOVE_PARTY:
            return f"{proposal.remove_party.party} leaves"
        case ProposalKind.ADD_COSIGNER:
            grant = proposal.add_cosigner.grant
            return f"{grant.party}/{grant.holder} begins to cosign"
        case ProposalKind.REMOVE_COSIGNER:
            removal = proposal.remove_cosigner
            return f"{removal.party}/{removal.node} ceases to cosign"
        case ProposalKind.CHANGE_RULE:
            change = proposal.change_rule
            kind, rule = ProposalKind(change.kind), ApprovalRule(change.rule)
            return f"{kind.name.lower()} needs {rule.name.lower()}"
        case ProposalKind.CHANGE_QUOTAS:
            quotas = proposal.change_quotas
            return f"quotas {', '.join(str(getattr(quotas, name)) for name in _QUOTAS)}"
        case ProposalKind.START_ITEM_CHAIN:
            start = proposal.start_item_chain
            return f"items are chained, epochs of {start.epoch_entries}, {start.epoch_ms} ms"


def _progress(register: "KeyRegister", row: "ProposalRow") -> str:
    by, missing = ", ".join(row.approvals), ", ".join(_missing(register, row)) or "nobody"
    end = time_text(_message(row).expires_ms)
    return f"approved by {by}; missing: {missing}; rule {_rule(register, row)}; ends {end}"


def _missing(register: "KeyRegister", row: "ProposalRow") -> list[str]:
    """Return the members that have not approved, whether or not the rule asks for all of them."""
    from lotmark.key_grant import NEVER
    from lotmark.state_rows import members

    return sorted(members(register, NEVER - 1).keys() - set(row.approvals))


def _rule(register: "KeyRegister", row: "ProposalRow") -> str:
    from lotmark.governance import kind_of, rule_of

    return rule_of(register, kind_of(_message(row))).name.lower()


def _to_json(register: "KeyRegister", hashed: bytes, row: "ProposalRow") -> "dict[str, JsonValue]":
    from lotmark.governance import kind_of

    proposal = _message(row)
    return {
        "proposal": hashed.hex(),
        "kind": kind_of(proposal).name.lower(),
        "text": _said(row),
        "status": row.status.name.lower(),
        "rule": _rule(register, row),
        "approvals": list(row.approvals),
        "missing": _missing(register, row),
        "expires_ms": str(proposal.expires_ms),
        "opened_height": str(row.opened_height),
    }
