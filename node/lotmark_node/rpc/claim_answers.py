"""What rules keep: the claims of a package with their rule receipts, and its accounts."""

from itertools import islice

from lotmark.errors import MalformedError
from lotmark.state_rows import Table, row_key, split_row_key
from lotmark.v1 import contract_queries_pb2
from lotmark_node.engine.errors import NotOnLedger
from lotmark_node.engine.store import LedgerStore
from lotmark_node.rpc.package_answers import NAME_SIZE_MAX
from lotmark_node.rpc.placed_receipts import PlacedReceipts, parse_index
from lotmark_node.rpc.row_pages import check_size, row_page
from lotmark_node.state_machine.contract_rows import (
    claim_key,
    claim_receipt_key,
    package_row,
    parse_balance,
    parse_claim_row,
)
from lotmark_node.state_machine.ledger_state import LedgerState

CLAIMS_MAX = 200  # in one answer
RECEIPTS_COUNTED_MAX = 1_000  # of a claim
RECEIPTS_MAX = 100  # in one answer
RECEIPTS_SIZE_MAX = 4 << 20  # beyond which an answer ends
BALANCES_MAX = 1_000  # in one answer
LOOKED_AT_MAX = 10_000  # rows for one answer
KEY_SIZE_MAX = 1_024  # of a claim or account: 256 characters


def list_claims(
    request: contract_queries_pb2.ListClaimsRequest, store: LedgerStore, state: LedgerState
) -> contract_queries_pb2.ListClaimsResponse:
    """Return a page of a package's claims.

    Raises:
        MalformedError: A name, or what to go on with, is none.
        NotOnLedger: There is no such package.
    """
    _check_package(store, request.package)
    check_size(request.prefix, KEY_SIZE_MAX, "a claim")

    def tell(key: bytes, value: bytes) -> contract_queries_pb2.ClaimStanding | None:
        claim = split_row_key(key)[1][1].decode()
        if not claim.startswith(request.prefix):
            return None
        return _claim_standing(store, request.package, claim, value)

    claims, resume = row_page(
        store,
        row_key(Table.CLAIM, request.package.encode()),
        request.resume,
        tell,
        told_max=CLAIMS_MAX,
        looked_at_max=LOOKED_AT_MAX,
    )
    return contract_queries_pb2.ListClaimsResponse(
        height=state.height, claims=claims, resume=resume
    )


def _claim_standing(
    store: LedgerStore, package: str, claim: str, value: bytes
) -> contract_queries_pb2.ClaimStanding:
    row = parse_claim_row(value)
    receipts = store.rows(row_key(Table.CLAIM_RECEIPT, package.encode(), claim.encode()))
    return contract_queries_pb2.ClaimStanding(
        claim=claim,
        version=row.version,
        opened_by=row.opened_by,
        receipt_count=sum(1 for _ in islice(receipts, RECEIPTS_COUNTED_MAX)),
    )


def get_claim(
    request: contract_queries_pb2.GetClaimRequest,
    store: LedgerStore,
    receipts: PlacedReceipts,
    state: LedgerState,
) -> contract_queries_pb2.GetClaimResponse:
    """Return a page of a claim's rule receipts.

    Raises:
        MalformedError: A name, or what to go on with, is none.
        NotOnLedger: There is no such package, or no rule of it has named this claim.
    """
    _check_package(store, request.package)
    check_size(request.claim, KEY_SIZE_MAX, "a claim")
    package, claim = request.package, request.claim
    answer = contract_queries_pb2.GetClaimResponse(height=state.height)
    raw = store.get(claim_key(package, claim))
    if raw is not None:
        answer.claim.CopyFrom(_claim_standing(store, package, claim, raw))
    first = claim_receipt_key(package, claim, parse_index(request.resume))
    prefix = row_key(Table.CLAIM_RECEIPT, package.encode(), claim.encode())
    size = 0
    for key, _ in store.rows_from(first, prefix):
        index = int.from_bytes(split_row_key(key)[1][2])
        if len(answer.receipts) >= RECEIPTS_MAX or size >= RECEIPTS_SIZE_MAX:
            answer.resume = index.to_bytes(8)
            break
        receipt = receipts.at(index)
        size += len(receipt.document)
        answer.receipts.append(receipt.message())
    if raw is None and not answer.receipts:
        raise NotOnLedger(f"no rule of package {package} has named claim {claim[:80]!a}")
    return answer


def get_balances(
    request: contract_queries_pb2.GetBalancesRequest, store: LedgerStore, state: LedgerState
) -> contract_queries_pb2.GetBalancesResponse:
    """Return a page of a package's accounts.

    Raises:
        MalformedError: A name, or what to go on with, is none.
        NotOnLedger: There is no such package.
    """
    _check_package(store, request.package)
    check_size(request.currency, NAME_SIZE_MAX, "a currency")
    check_size(request.prefix, KEY_SIZE_MAX, "an account")
    parts = [request.package.encode()]
    if request.currency:
        parts.append(request.currency.encode())

    def tell(key: bytes, value: bytes) -> contract_queries_pb2.AccountBalance | None:
        _, currency, account = [part.decode() for part in split_row_key(key)[1]]
        if not account.startswith(request.prefix):
            return None
        return contract_queries_pb2.AccountBalance(
            currency=currency, account=account, minor=parse_balance(value)
        )

    balances, resume = row_page(
        store,
        row_key(Table.ACCOUNT, *parts),
        request.resume,
        tell,
        told_max=BALANCES_MAX,
        looked_at_max=LOOKED_AT_MAX,
    )
    return contract_queries_pb2.GetBalancesResponse(
        height=state.height, balances=balances, resume=resume
    )


def _check_package(store: LedgerStore, name: str) -> None:
    if not name:
        raise MalformedError("no package is named; name the package that keeps it")
    check_size(name, NAME_SIZE_MAX, "a package's name")
    if not name.isascii() or package_row(store, name) is None:
        raise NotOnLedger(f"no package {name!a} was ever approved")
