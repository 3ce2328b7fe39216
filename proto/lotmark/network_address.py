"""Addresses as people write them: ``host:port``, with an IPv6 address in brackets."""

import ipaddress
import re

from lotmark.errors import MalformedError

PORT_MAX = 65_535

_ADDRESS = re.compile(
    r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9][A-Za-z0-9.-]{0,252})):([0-9]{1,5})"
)
_FOUR_NUMBERS = re.compile(r"[0-9.]+")


def split_address(address: str) -> tuple[str, int]:
    """Return the host, without brackets, and the port; port 0 lets the system choose one.

    Raises:
        MalformedError: It is no address.
    """
    matched = _ADDRESS.fullmatch(address)
    if matched is None:
        raise MalformedError(
            f"address {address[:80]!a} is not host:port, such as 127.0.0.1:7401,"
            " n1.example.com:7401 or [::1]:7401"
        )
    bracketed, plain, port = matched.groups()
    if int(port) > PORT_MAX:
        raise MalformedError(f"port {port} of address {address!r} is beyond {PORT_MAX}")
    try:
        if bracketed is not None:
            ipaddress.IPv6Address(bracketed)
        elif _FOUR_NUMBERS.fullmatch(plain):
            ipaddress.IPv4Address(plain)
    except ValueError as error:
        raise MalformedError(f"address {address!r} has no possible IP address: {error}") from error
    return bracketed or plain, int(port)


def is_loopback(host: str) -> bool:
    """Return whether a host, as `split_address` returns it, is this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
