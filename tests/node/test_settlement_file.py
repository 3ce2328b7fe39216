"""Settlement files: net amounts, and cells that no spreadsheet executes."""

import csv
import io
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lotmark.client.contract_records import FoundPosting, Statement
from lotmark.settlement import instruction_id
from lotmark_node.settlement_file import Net, net_of, settlement_csv, settlement_document

CHAIN = bytes(range(32))
ACCOUNTS = ("oem:A", "supplier:B", "supplier:C")


def posting(number: int = 0, **fields: Any) -> FoundPosting:
    told: dict[str, Any] = {
        "receipt_index": 7, "number": number, "event_index": 5, "height": 2, "time_ms": 9,
        "package": "p", "version": 1, "rule": "r", "claim": "", "debit": "supplier:B",
        "credit": "oem:A", "minor": 100, "currency": "EUR", "memo": "",
    }  # fmt: skip
    return FoundPosting(**{**told, **fields})


def test_what_goes_both_ways_is_netted_for_each_currency() -> None:
    back = posting(1, debit="oem:A", credit="supplier:B", minor=130)
    dollars = posting(2, currency="USD")
    even = [posting(3, currency="JPY"), posting(4, currency="JPY", debit="oem:A",
            credit="supplier:B")]  # fmt: skip

    assert net_of([posting(), back, dollars, *even]) == [
        Net("oem:A", "supplier:B", "EUR", 30),
        Net("oem:A", "supplier:B", "JPY", 0),
        Net("supplier:B", "oem:A", "USD", 100),
    ]


@given(
    st.lists(
        st.builds(
            posting,
            debit=st.sampled_from(ACCOUNTS),
            credit=st.sampled_from(ACCOUNTS),
            minor=st.integers(1, 10**12),
            currency=st.sampled_from(("EUR", "JPY")),
        )
    )
)
def test_net_amounts_leave_every_account_with_what_its_postings_did(
    postings: list[FoundPosting],
) -> None:
    gains: dict[tuple[str, str], int] = {}
    for each in postings:
        for account, sign in ((each.debit, -1), (each.credit, 1)):
            key = account, each.currency
            gains[key] = gains.get(key, 0) + sign * each.minor
    for net in net_of(postings):
        assert net.minor >= 0
        for account, sign in ((net.debtor, -1), (net.creditor, 1)):
            key = account, net.currency
            gains[key] = gains.get(key, 0) - sign * net.minor
    assert not any(gains.values())


def test_an_instruction_is_named_by_chain_entry_and_posting() -> None:
    names = {
        instruction_id(chain_id=chain, receipt_index=index, number=number)
        for chain in (CHAIN, bytes(32))
        for index in (1, 2, 2**63)
        for number in (0, 1)
    }

    assert len(names) == 12


def test_no_text_of_a_party_is_a_formula_and_none_breaks_a_line() -> None:
    memos = ["=1+1", "+1", "-1", "@x", "\tx", "a,b", 'a"b', "a\nb", "plain"]
    postings = [posting(number, memo=memo) for number, memo in enumerate(memos)]

    text = settlement_csv(Statement(height=3, postings=postings), CHAIN)

    rows = list(csv.DictReader(io.StringIO(text)))
    told = [row["memo"] for row in rows if row["line"] == "posting"]
    assert told == [f"'{memo}" for memo in memos[:5]] + memos[5:]
    assert all(row["nature"] == "entitlement, not a payment" for row in rows)


def test_an_empty_settlement_says_what_it_is() -> None:
    empty = Statement(height=3, postings=[])

    assert settlement_document(empty, CHAIN)["nature"] == "entitlement, not a payment"
    assert settlement_csv(empty, CHAIN).splitlines()[1:] == []
