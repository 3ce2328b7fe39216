"""The genesis and its acceptances, held against the chain id that the reader has pinned."""

from functools import lru_cache

from lotmark import canonical_json
from lotmark.errors import ProtocolError
from lotmark.genesis import (
    GENESIS_SIZE_MAX,
    PROTOCOL_VERSION,
    Genesis,
    check_acceptances,
    parse_acceptances,
    parse_genesis,
)
from lotmark.genesis import chain_id as chain_id_of
from lotmark.snapshot import UnknownVersionError
from lotmark.verify.report import Fault, FaultFound, UndecidedError


def check_genesis(raw: bytes, chain_id: bytes) -> Genesis:
    """Return the genesis of the pinned chain.

    Args:
        raw: The genesis JSON.
        chain_id: The pinned chain id.

    Raises:
        FaultFound: It founds another chain.
        UnknownVersionError: It is of a later protocol.
        ProtocolError: It breaks a rule.
    """
    found = chain_id_of(raw)
    if found != chain_id:
        raise FaultFound(
            Fault("chain", f"unknown chain {found.hex()}; the pinned chain is {chain_id.hex()}")
        )
    value = canonical_json.load(raw, size_max=GENESIS_SIZE_MAX)
    protocol = value.get("protocol") if isinstance(value, dict) else None
    if isinstance(protocol, int) and protocol > PROTOCOL_VERSION:
        raise UnknownVersionError(
            f"the genesis is of protocol {protocol}; this release knows {PROTOCOL_VERSION} only"
        )
    return parse_genesis(raw)


def given_genesis(raw: bytes, chain_id: bytes, *, name: str) -> Genesis:
    """Return the genesis that the reader gives beside the file he has verified.

    A wrong one is his own slip: it says nothing about that file, so it is no fault.

    Args:
        raw: What he gives.
        chain_id: The pinned chain id.
        name: What to call it, such as its path.

    Raises:
        UndecidedError: It is no genesis, or that of another chain.
    """
    remedy = (
        f"the pinned chain is {chain_id.hex()}. Give that chain's genesis.json with --genesis;"
        " if it is this one, compare --chain-id with its source"
    )
    try:
        genesis = _parsed(raw)
    except ProtocolError as error:
        raise UndecidedError(f"{name} cannot be read as a genesis ({error}); {remedy}") from error
    if (found := chain_id_of(raw)) != chain_id:
        raise UndecidedError(f"{name} founds chain {found.hex()}; {remedy}")
    return genesis


@lru_cache(maxsize=2)
def _parsed(raw: bytes) -> Genesis:
    """Return a genesis, at once where it is asked for again: every receipt of a ledger does."""
    return parse_genesis(raw)


def check_founding(genesis_json: bytes, acceptances_json: bytes, chain_id: bytes) -> Genesis:
    """Return the genesis of the pinned chain, once every party's roots prove to accept it.

    Raises:
        FaultFound: It founds another chain.
        UnknownVersionError: It is of a later protocol.
        ProtocolError: It or the acceptances break a rule.
    """
    genesis = check_genesis(genesis_json, chain_id)
    check_acceptances(genesis, chain_id, parse_acceptances(acceptances_json))
    return genesis
