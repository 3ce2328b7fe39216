"""Under which keys a package's values are kept: all under its own prefix, none of another's."""

_PREFIX = "contract/"


def state_key(package: str, family: str, key: str) -> str:
    """Return the key of a value that a rule has kept."""
    return f"{_PREFIX}{package}/state/{family}/{key}"


def once_key(package: str, rule: str, key: str) -> str:
    """Return the key that says that a rule has fired; later versions of the package share it."""
    return f"{_PREFIX}{package}/once/{rule}/{key}"


def account_key(package: str, currency: str, account: str) -> str:
    """Return the key of an account's balance in minor units."""
    return f"{_PREFIX}{package}/account/{currency}/{account}"


def balances_prefix(package: str) -> str:
    """Return what the keys of all of a package's accounts begin with."""
    return f"{_PREFIX}{package}/account/"
