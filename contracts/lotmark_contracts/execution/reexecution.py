"""Executes a rule once more from its receipt: the check of one who does not have the state.

What the rule has read stands in the receipt; that it was kept so, only the state could tell.
"""

from dataclasses import replace

from lotmark_contracts.errors import ContractError
from lotmark_contracts.execution.contract_state import ReadState
from lotmark_contracts.execution.executor import execute_rule
from lotmark_contracts.execution.failures import ExecutionCode
from lotmark_contracts.execution.inputs import Circumstances, Event
from lotmark_contracts.execution.occasion import Block, Occasion
from lotmark_contracts.execution.receipt import RuleReceipt, Status
from lotmark_contracts.execution.rule_book import ActivePackage, Listener
from lotmark_contracts.execution.state_keys import KeyKind, StateKey
from lotmark_contracts.package.package import Package
from lotmark_contracts.package.rule import Rule
from lotmark_contracts.package.value_check import ValueRefused
from lotmark_contracts.wcel.values import Value


class CannotReexecute(ContractError):
    """A receipt does not hold what would tell whether it is right."""


def reexecute(
    package: Package,
    rule: Rule,
    receipt: RuleReceipt,
    event: Event,
    circumstances: Circumstances,
    *,
    approved_by: frozenset[str] | None = None,
) -> RuleReceipt | None:
    """Return what becomes of a rule for an event, where it reads what a receipt says it has read.

    Args:
        package: The package that the rule is of, in the receipt's version.
        rule: The rule.
        receipt: What is said to have become of it.
        event: The event; of a timer, what `DueTimer.event` says.
        circumstances: Those of the block.
        approved_by: Who was bound by the package, if that is known; it decides on `not_bound`.

    Returns:
        A receipt that equals the other one if that is right; None: the rule has nothing to say.

    Raises:
        CannotReexecute: The receipt depends on what it does not hold.
    """
    _check_can_tell(receipt, is_bound_known=approved_by is not None)
    _check_reads(rule, receipt)
    active = ActivePackage(package, approved_by)
    occasion = Occasion(event, Block(circumstances))
    read = _recorded(package, receipt)
    version = package.manifest.version
    in_force = Listener(active, rule, (version,), is_superseded=False, is_told_by_newest=False)
    again = execute_rule(in_force, occasion, read).receipt
    if again != receipt and rule.claim is not None:
        # A version that is not in force passes over fields that it does not declare.
        again = execute_rule(replace(in_force, is_superseded=True), occasion, read).receipt
    return again


def _check_can_tell(receipt: RuleReceipt, *, is_bound_known: bool) -> None:
    """Refuse a receipt whose ending depends on state beyond what the rule has read."""
    if receipt.status is Status.DUPLICATE:
        raise CannotReexecute(f"whether event {receipt.first} came first, only the state tells")
    for read in receipt.reads:
        if read.value is None:
            raise CannotReexecute(
                f"{read.name!r} was larger than what a receipt keeps: read {read.family}"
                f" {read.key!r} from the state"
            )
    if receipt.failure is None:
        return
    code, at = receipt.failure.code, receipt.failure.at
    is_of_balances = code == ExecutionCode.OVERFLOW and at == "then"
    is_of_others = code in (ExecutionCode.OVERDRAWN, ExecutionCode.BLOCK_GAS)
    is_of_unknown = code == ExecutionCode.NOT_BOUND and not is_bound_known
    if is_of_balances or is_of_others or is_of_unknown:
        raise CannotReexecute(f"a failure {code!r} at {at!r} follows from more than the receipt")


def _check_reads(rule: Rule, receipt: RuleReceipt) -> None:
    """Refuse what no state can have kept: a rule relies on the types of what it reads."""
    checks = {each.family: each.check for each in rule.reads}
    for read in receipt.reads:
        try:
            if read.family in checks:
                checks[read.family](read.value)
        except ValueRefused as error:
            raise CannotReexecute(
                f"{read.name!r} is said to be what {read.family!r} cannot keep:"
                f" {read.name}{error.path}: {error.reason}"
            ) from error


def _recorded(package: Package, receipt: RuleReceipt) -> ReadState:
    """Return a state that has what the receipt says was read, and balances that suffice."""
    values = {(read.family, read.key): read.value for read in receipt.reads}
    changes: dict[tuple[str, str], int] = {}
    for posting in receipt.postings:
        for account, minor in ((posting.debit, -posting.minor), (posting.credit, posting.minor)):
            place = posting.currency, account
            changes[place] = changes.get(place, 0) + minor

    def read(key: StateKey) -> Value | None:
        match key.kind:
            case KeyKind.VALUE:
                return values.get((key.name, key.key))
            case KeyKind.ACCOUNT:
                # After all postings every account is at zero, which no balance may refuse.
                return -changes.get((key.name, key.key), 0)
            case KeyKind.CLAIM:
                return {"version": package.manifest.version, "opened_by": ""}
            case KeyKind.ONCE:
                return None

    return read
