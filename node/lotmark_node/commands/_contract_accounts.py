"""`lotmark contract balances`, `statement` and `settlement`: who is entitled to what."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from lotmark_node import terminal
from lotmark_node.commands._client import ClientFile, reading
from lotmark_node.commands._contract_lines import wrapped_table
from lotmark_node.commands._governing import time_text
from lotmark_node.commands._provenance import parse_time

if TYPE_CHECKING:
    from lotmark.client.contract_records import Balance, FoundPosting, Statement, StatementQuery

_HEIGHT = re.compile(r"[0-9]{1,15}")

Package = Annotated[str, typer.Option(metavar="NAME", help="Of this package alone.")]
From = Annotated[
    str, typer.Option("--from", metavar="WHEN", help="From this height, day or time (UTC) on.")
]
To = Annotated[
    str,
    typer.Option("--to", metavar="WHEN", help="Up to this height, or before this day or time."),
]


def balances(
    package: Annotated[
        str, typer.Argument(metavar="[PACKAGE]", help="Whose accounts.", show_default=False)
    ] = "",
    *,
    client: ClientFile = None,
    currency: Annotated[str, typer.Option(metavar="CODE", help="Only this currency.")] = "",
    account: Annotated[
        str, typer.Option(metavar="TEXT", help="Only accounts that begin so: supplier:")
    ] = "",
    as_json: terminal.JsonFlag = False,
) -> None:
    """Show what the accounts of packages hold; all of a currency sum to zero.

    Exit status 1: there is no such package.
    """
    from lotmark_contracts.money import shown_amount

    found: list[tuple[str, Balance]] = []
    with reading(client) as session:
        from lotmark.client.contracts import ContractReader

        reader = ContractReader(session)
        names = [package] if package else [each.name for each in reader.packages().packages]
        for name in names:
            held = reader.balances(name, currency=currency, prefix=account, fresh=True)
            found += [(name, each) for each in held]
    rows = [(name, shown_amount(each.minor, each.currency), each.account) for name, each in found]
    terminal.answer(
        {
            "balances": [
                {
                    "package": name,
                    "account": each.account,
                    "currency": each.currency,
                    "minor": str(each.minor),
                }
                for name, each in found
            ]
        },
        lambda: wrapped_table(("package", "holds", "account"), rows) if rows else "No accounts.",
        as_json=as_json,
    )


def statement(
    name: Annotated[
        str, typer.Argument(metavar="PARTY|ACCOUNT", help="A party, or an account: family:NAME.")
    ],
    *,
    client: ClientFile = None,
    package: Package = "",
    since: From = "",
    until: To = "",
    as_json: terminal.JsonFlag = False,
) -> None:
    """Show the postings of a party's accounts, or of one account, and what they come to."""
    told, _ = _ask(client, _query(name, package, since, until))
    entries = [(each, _gain(each, name)) for each in told.postings]
    totals: dict[str, int] = {}
    for each, gain in entries:
        totals[each.currency] = totals.get(each.currency, 0) + gain
    terminal.answer(
        {
            "name": name,
            "height": str(told.height),
            "postings": [
                {
                    "entry": str(each.receipt_index),
                    "posting": each.number,
                    "event_entry": str(each.event_index),
                    "height": str(each.height),
                    "time_ms": str(each.time_ms),
                    "package": each.package,
                    "version": each.version,
                    "rule": each.rule,
                    "claim": each.claim,
                    "from": each.debit,
                    "to": each.credit,
                    "currency": each.currency,
                    "minor": str(each.minor),
                    "gain_minor": str(gain),
                    "memo": each.memo,
                }
                for each, gain in entries
            ],
            "totals": {currency: str(total) for currency, total in sorted(totals.items())},
        },
        lambda: _statement_text(entries, totals, name),
        as_json=as_json,
    )


def _gain(posting: "FoundPosting", name: str) -> int:
    """Return what a party or an account gained by a posting, below 0 if it lost."""

    def is_own(account: str) -> bool:
        return name in (account, account.partition(":")[2])

    return posting.minor * (is_own(posting.credit) - is_own(posting.debit))


def _statement_text(
    entries: "Sequence[tuple[FoundPosting, int]]", totals: dict[str, int], name: str
) -> str:
    from lotmark_contracts.money import shown_amount

    if not entries:
        return f"No postings of {name}."
    rows = [
        (
            str(each.receipt_index),
            time_text(each.time_ms),
            shown_amount(gain, each.currency),
            f"{each.debit} → {each.credit}  {each.package} {each.version}"
            + (f"  {each.memo}" if each.memo else ""),
        )
        for each, gain in entries
    ]
    lines = [wrapped_table(("entry", "time", "gain", "what"), rows)]
    for currency, total in sorted(totals.items()):
        lines.append(f"in all {shown_amount(total, currency)}")
    return "\n".join(lines)


def settlement(
    *,
    client: ClientFile = None,
    package: Package = "",
    since: From = "",
    until: To = "",
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of text.")] = False,
    as_json: terminal.JsonFlag = False,
) -> None:
    """Print a settlement file: a line for each posting, and the net of each pair and currency.

    It says who is entitled to what; it is not a payment. A posting has the same instruction id in
    every file, so whoever pays can see what was paid.
    """
    from lotmark_node.settlement_file import settlement_csv, settlement_document

    if as_csv and as_json:
        terminal.fail("A file is CSV or JSON.", "Give --csv or --json.")
    told, chain_id = _ask(client, _query("", package, since, until))
    if as_csv:
        typer.echo(settlement_csv(told, chain_id), nl=False)
        return
    terminal.answer(
        settlement_document(told, chain_id), lambda: _settlement_text(told), as_json=as_json
    )


def _settlement_text(told: "Statement") -> str:
    from lotmark_contracts.money import shown_amount
    from lotmark_node.settlement_file import NATURE, net_of

    rows = [
        (shown_amount(each.minor, each.currency), f"{each.debtor} → {each.creditor}")
        for each in net_of(told.postings)
    ]
    head = f"{len(told.postings)} postings up to height {told.height}: {NATURE}"
    return f"{head}\n{wrapped_table(('net', 'from → to'), rows)}" if rows else head


def _ask(client: "ClientFile", query: "StatementQuery") -> "tuple[Statement, bytes]":
    """Return postings, and the id of the chain."""
    with reading(client) as session:
        from lotmark.client.contracts import ContractReader

        return ContractReader(session).statement(query, fresh=True), session.settings.chain_id


def _query(name: str, package: str, since: str, until: str) -> "StatementQuery":
    """Return what a person asks for; an end of the range is a height, or else a day or time.

    Raises:
        MalformedError: An end is neither.
    """
    from lotmark.client.contract_records import StatementQuery

    from_height, from_ms = _end(since)
    to_height, to_ms = _end(until)
    return StatementQuery(
        package=package,
        party="" if ":" in name else name,
        account=name if ":" in name else "",
        from_height=from_height,
        to_height=to_height,
        from_ms=from_ms,
        to_ms=to_ms,
    )


def _end(text: str) -> tuple[int, int]:
    """Return the height and the time of an end of a range, of which one is 0."""
    return (int(text), 0) if _HEIGHT.fullmatch(text) else (0, parse_time(text))
