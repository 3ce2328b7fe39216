"""Who is at the other end of a call: what mTLS proved, checked against who is a member now."""

from collections.abc import Callable, Iterable, Mapping

from lotmark.certificates import certificate_not_after_ms, peer_identity
from lotmark.errors import SignatureError
from lotmark.genesis import PartyRole
from lotmark_node.engine.membership import Membership
from lotmark_node.rpc.access import Caller
from lotmark_node.rpc.refused_calls import RefusedCalls

CHECKED_MAX = 1_024


class Identities:
    """Callers by certificate.

    A certificate is checked again when a minute has passed, and when the members have changed.

    Attributes:
        membership: Who is a member now.
        ends_ms: By "<party>/<name>": when the certificate ends that each showed last.
        refused: The calls of those who are nobody, or may not.
    """

    def __init__(
        self,
        membership: Membership,
        chain_id: bytes,
        own_party: str,
        now_ms: Callable[[], int],
    ) -> None:
        self.membership = membership
        self._chain_id = chain_id
        self._own_party = own_party
        self._now_ms = now_ms
        self._checked: dict[tuple[bytes, int, int], Caller] = {}
        self.ends_ms: dict[str, int] = {}
        self.refused = RefusedCalls()

    def caller(self, auth_context: Mapping[str, Iterable[bytes]]) -> Caller:
        """Return who calls.

        Raises:
            SignatureError: There is no certificate, or it is not one of a member of this chain.
        """
        certificates = list(auth_context.get("x509_pem_cert", ()))
        if not certificates:
            raise SignatureError(
                "no client certificate; connect with the certificate of `client.toml`"
            )
        now_ms = self._now_ms()
        membership = self.membership
        key = certificates[0], now_ms // 60_000, membership.generation
        caller = self._checked.get(key)
        if caller is None:
            peer = peer_identity(
                certificates[0], membership.ca_certificates(), self._chain_id, now_ms=now_ms
            )
            role = PartyRole(membership.members[peer.party].role)
            caller = Caller(peer.party, peer.node, role, peer.party == self._own_party)
            if len(self._checked) >= CHECKED_MAX:
                self._checked.clear()
                self.ends_ms.clear()
            self._checked[key] = caller
            name = f"{peer.party}/{peer.node}"
            self.ends_ms[name] = certificate_not_after_ms(certificates[0])
        return caller
