"""The root of what this package refuses."""


class ContractError(Exception):
    """Something of a contract is refused."""
