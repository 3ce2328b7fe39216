"""The genesis and its acceptances, held against the chain id that the reader has pinned."""

from lotmark import canonical_json
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
from lotmark.verify.report import Fault, FaultFound


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
