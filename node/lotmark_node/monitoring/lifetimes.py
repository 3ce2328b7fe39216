"""When certificates and keys end: from how many days before it is said, and how loudly."""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import Metric

from lotmark_node.monitoring.families import gauges

# So many days before something ends, it is said, said louder, and said to be urgent.
NOTICE_DAYS, WARNING_DAYS, URGENT_DAYS = 90, 30, 7

DAY_S = 86_400


def lifetimes(
    *,
    certificates: Mapping[str, int],
    keys: Mapping[str, int],
    peers: Mapping[str, int],
    clients: Iterable[int],
    now_ms: int,
) -> Iterator[Metric]:
    """Yield how long each is valid yet, below 0 where it has ended.

    Clients are as many as there are, so they are counted and not named: `lotmark doctor --client`
    and the client's own commands name one.

    Args:
        certificates: The process's own: when each ends, Unix time in ms.
        keys: Its ledger keys, by purpose.
        peers: Certificates that peers showed, by name.
        clients: Of the certificates that clients showed.
        now_ms: Unix time.
    """

    def left_s(ends: Mapping[str, int]) -> dict[str, float]:
        return {name: (end_ms - now_ms) / 1_000 for name, end_ms in ends.items()}

    yield gauges(
        "certificate_expiry_seconds",
        "Until a certificate of this process ends.",
        "certificate",
        left_s(certificates),
    )
    yield gauges(
        "key_expiry_seconds", "Until a ledger key of this process ends.", "purpose", left_s(keys)
    )
    yield gauges(
        "peer_certificate_expiry_seconds",
        "Until the certificate ends that a peer showed last.",
        "peer",
        left_s(peers),
    )
    left_days = [(end_ms - now_ms) / 1_000 / DAY_S for end_ms in clients]
    yield gauges(
        "client_certificates_ending",
        "Clients seen since the start whose certificate ends within so many days.",
        "within_days",
        {
            str(days): sum(left <= days for left in left_days)
            for days in (NOTICE_DAYS, WARNING_DAYS, URGENT_DAYS)
        },
    )
