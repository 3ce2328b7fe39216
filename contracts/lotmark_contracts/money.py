"""Amounts of money: whole minor units of a currency, shown as people write them."""

from lotmark_contracts.wcel.currencies import EXPONENTS


def shown_amount(minor: int, currency: str) -> str:
    """Return an amount as people write it: "-1,234.05 EUR", "500 JPY".

    An unknown currency is shown in the minor units that were given: "7 minor units of XXX".
    """
    if currency not in EXPONENTS:
        return f"{minor:,} minor units of {currency}"
    exponent = EXPONENTS[currency]
    major, rest = divmod(abs(minor), 10**exponent)
    decimals = f".{rest:0{exponent}}" if exponent else ""
    return f"{'-' if minor < 0 else ''}{major:,}{decimals} {currency}"
