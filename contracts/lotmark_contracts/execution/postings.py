"""Double entry: what goes into one account has come out of another, so all of them sum to zero."""

from collections.abc import Sequence

from lotmark_contracts.execution.contract_state import ReadState
from lotmark_contracts.execution.failures import ExecutionCode, RuleFailed
from lotmark_contracts.execution.receipt import Posting
from lotmark_contracts.execution.state_keys import StateKey, account_key
from lotmark_contracts.package.manifest import AccountRight, Manifest
from lotmark_contracts.wcel.lexer import INT_MAX, INT_MIN
from lotmark_contracts.wcel.values import Value

ACCOUNT_NAME_LENGTH_MAX = 128


def account_name(family: str, name: str) -> str:
    """Return an account's name within its package.

    Raises:
        RuleFailed: The name is empty or too long.
    """
    if not 1 <= len(name) <= ACCOUNT_NAME_LENGTH_MAX:
        raise RuleFailed(ExecutionCode.BAD_NAME)
    return f"{family}:{name}"


def new_balances(
    manifest: Manifest, postings: Sequence[Posting], read: ReadState
) -> dict[StateKey, Value]:
    """Return the balances that postings lead to, by key.

    Raises:
        RuleFailed: A prefunded account would fall below zero, or a balance would not fit 64 bits.
    """
    changes: dict[tuple[str, str], int] = {}
    for posting in postings:
        for account, minor in ((posting.debit, -posting.minor), (posting.credit, posting.minor)):
            place = posting.currency, account
            changes[place] = changes.get(place, 0) + minor
    assert sum(changes.values()) == 0, "a posting takes from one account what it gives another"
    balances: dict[StateKey, Value] = {}
    for (currency, account), change in changes.items():
        key = account_key(manifest.name, currency, account)
        before = read(key) or 0
        assert isinstance(before, int), "only balances are kept under the keys of accounts"
        balance = before + change
        if not INT_MIN <= balance <= INT_MAX:
            raise RuleFailed(ExecutionCode.OVERFLOW)
        family = account.partition(":")[0]
        if balance < 0 and AccountRight.PREFUNDED in manifest.accounts[family]:
            raise RuleFailed(ExecutionCode.OVERDRAWN)
        balances[key] = balance
    return balances
