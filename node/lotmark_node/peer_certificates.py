"""Checks the certificates that others show to this node, and those of the party's own clients."""

import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from cryptography import x509

from lotmark.certificates import tls_name
from lotmark.errors import ProtocolError
from lotmark.genesis import Genesis
from lotmark.genesis import chain_id as chain_id_of
from lotmark.network_address import split_address
from lotmark_node.consortium.renewal import CA_FOLDER, known_cas, read_owner
from lotmark_node.findings import Finding, Health, lasting
from lotmark_node.node_settings import NodeSettings, witness_address
from lotmark_node.tls_pair import read_tls_pair

HANDSHAKE_S = 3.0
CALLS_MAX = 16  # at once


def check_shown_certificates(
    settings: NodeSettings, genesis: Genesis, *, now_ms: int
) -> Iterator[Finding]:
    """Ask each peer and witness that takes calls for its certificate, as this node would.

    Who takes no calls is passed over: `check_addresses` tells of it.
    """
    calls = [("peer certificate", name, address) for name, address in settings.peers.items()]
    calls += [
        ("witness certificate", name, witness_address(url))
        for name, url in settings.witnesses.items()
    ]
    now = datetime.fromtimestamp(now_ms / 1_000, UTC)
    with ThreadPoolExecutor(CALLS_MAX) as pool:
        for found in pool.map(partial(_check, settings, genesis, now), calls):
            if found is not None:
                yield found


def _check(
    settings: NodeSettings, genesis: Genesis, now: datetime, call: tuple[str, str, str]
) -> Finding | None:
    check, name, address = call
    party, _, node = name.partition("/")
    try:
        end = shown_by(settings, genesis, party, node, address)
    except (ConnectionRefusedError, socket.gaierror):
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "verify_message", "") or getattr(error, "reason", "") or error
        return Finding(
            check,
            Health.WARNING,
            f"{name} at {address} shows none that this node may take ({reason}): its party renews"
            " it (lotmark key renew-cert), or this node's own is refused there",
        )
    return lasting(check, f"of {name}", end, now, "its party renews it: lotmark key renew-cert")


def shown_by(
    settings: NodeSettings, genesis: Genesis, party: str, node: str, address: str
) -> datetime:
    """Return when the certificate ends that is shown at an address; it is the one meant.

    Raises:
        OSError: Nobody answers, or with another's certificate, or this node's own is no pair.
        ValueError: The genesis has no such party.
    """
    member = genesis.party(party)
    if member is None:
        raise ValueError(f"{party} is no party of the genesis")
    context = ssl.create_default_context(cadata=member.ca_pem)
    context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    context.set_alpn_protocols(["h2", "http/1.1"])
    expected = tls_name(party, node, chain_id_of(genesis.to_json()))
    host, port = split_address(address)
    with (
        socket.create_connection((host, port), HANDSHAKE_S) as connection,
        context.wrap_socket(connection, server_hostname=expected) as shaken,
    ):
        shown = shaken.getpeercert(binary_form=True)
    assert shown is not None, "a verified peer has shown one"
    return x509.load_der_x509_certificate(shown).not_valid_after_utc


def check_holder(settings_file: Path, *, now_ms: int) -> Finding:
    """Check the certificate that the settings of a client or witness name."""
    try:
        owner, genesis = read_owner(settings_file)
        cas = known_cas(owner, genesis, settings_file.parent / CA_FOLDER)
        pair = read_tls_pair(owner, cas, chain_id_of(genesis.to_json()), now_ms=now_ms)
    except ProtocolError as error:
        return Finding("client", Health.BAD, str(error))
    except OSError as error:
        return Finding("client", Health.BAD, f"{error.filename}: {error.strerror}")
    return lasting(
        "client",
        f"certificate of {owner.party}/{owner.node}",
        datetime.fromtimestamp(pair.not_after_ms / 1_000, UTC),
        datetime.fromtimestamp(now_ms / 1_000, UTC),
        f"lotmark key renew-cert {settings_file}",
    )
