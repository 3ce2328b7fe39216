"""Checks whether those whom a node calls take calls: its peers and witnesses."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from lotmark.network_address import split_address
from lotmark_node.findings import Finding, Health
from lotmark_node.node_settings import NodeSettings, witness_address

ANSWER_S = 3.0
CALLS_MAX = 16  # at once


def check_addresses(settings: NodeSettings) -> Iterator[Finding]:
    """Connect to each peer and witness of a node and hang up; who is there is not checked.

    Only a running node can prove to a peer who it is, and has its connections checked by TLS.
    """
    calls = [("peer", "peers", name, address) for name, address in settings.peers.items()]
    calls += [
        ("witness", "witnesses", name, witness_address(url))
        for name, url in settings.witnesses.items()
    ]
    with ThreadPoolExecutor(CALLS_MAX) as pool:
        yield from pool.map(lambda call: _check_address(*call), calls)


def _check_address(kind: str, table: str, name: str, address: str) -> Finding:
    try:
        socket.create_connection(split_address(address), ANSWER_S).close()
    except TimeoutError:
        reason = f"no answer within {ANSWER_S:g} s"
    except OSError as error:
        reason = error.strerror or str(error)
    else:
        return Finding(kind, Health.GOOD, f"{name} takes calls at {address}")
    return Finding(
        kind,
        Health.WARNING,
        f"{name} at {address}: {reason}; start it, let it through the firewall, or correct its line"
        f" under [{table}]",
    )
