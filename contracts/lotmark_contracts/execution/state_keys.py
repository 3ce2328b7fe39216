"""Under which keys a package's values are kept: each is of one package, none reaches another's."""

from enum import StrEnum
from typing import NamedTuple


class KeyKind(StrEnum):
    """What is kept under a key."""

    __hash__ = str.__hash__  # that of enumerations is slow, and a rule looks up many keys

    VALUE = "value"  # of any type, kept by a rule
    ONCE = "once"  # the id of the event for which a rule has fired
    ACCOUNT = "account"  # a balance in minor units
    CLAIM = "claim"  # {"version": of the package that opened it, "opened_by": the event's id}


class StateKey(NamedTuple):
    """A key. All versions of a package share theirs."""

    kind: KeyKind
    package: str
    name: str  # of the family, of the rule, of the currency; empty for a claim
    key: str  # of an account "family:name"


def value_key(package: str, family: str, key: str) -> StateKey:
    """Return the key of a value that a rule has kept."""
    return StateKey(KeyKind.VALUE, package, family, key)


def once_key(package: str, rule: str, key: str) -> StateKey:
    """Return the key that says that a rule has fired."""
    return StateKey(KeyKind.ONCE, package, rule, key)


def account_key(package: str, currency: str, account: str) -> StateKey:
    """Return the key of an account's balance."""
    return StateKey(KeyKind.ACCOUNT, package, currency, account)


def claim_key(package: str, claim: str) -> StateKey:
    """Return the key that says which version of a package opened a claim."""
    return StateKey(KeyKind.CLAIM, package, "", claim)
