"""A node's TLS certificate and private key: whether they are its own, and how they are renewed.

Files that are renewed while a node runs are taken without a restart. Two files are not replaced at
once, so a pair that does not fit yet is looked at again, and the one in use goes on.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from lotmark.certificates import certificate_not_after_ms, peer_identity
from lotmark.errors import MalformedError, ProtocolError, SignatureError
from lotmark.genesis import Genesis
from lotmark.genesis import chain_id as chain_id_of
from lotmark.key_file import KEY_FILE_SIZE_MAX, read_secret_file

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, repr=False)
class TlsPair:
    """A certificate and its private key, both PEM; shown in no message."""

    certificate: bytes
    key: bytes

    @property
    def not_after_ms(self) -> int:
        """When the certificate ends, Unix time in ms."""
        return certificate_not_after_ms(self.certificate)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsOwner:
    """Who must stand in a certificate, and where it and its key lie."""

    party: str
    node: str  # a node's name, or that of a client
    certificate: Path
    key: Path


def read_tls_pair(
    owner: TlsOwner, ca_certificates: Mapping[str, str], chain_id: bytes, *, now_ms: int
) -> TlsPair:
    """Return a pair that peers will accept now.

    Args:
        owner: Whose it is to be.
        ca_certificates: Of the parties, PEM, the owner's among them.
        chain_id: The chain.
        now_ms: When it must be valid.

    Raises:
        ProtocolError: The certificate is another's, is not valid now, or the key is not its own or
            can be read by others.
        OSError: A file cannot be read.
    """
    certificate = owner.certificate.read_bytes()
    peer = peer_identity(certificate, ca_certificates, chain_id, now_ms=now_ms)
    if (peer.party, peer.node) != (owner.party, owner.node):
        raise SignatureError(
            f"{owner.certificate} is the certificate of {peer.party}/{peer.node}; name that"
            f" of {owner.party}/{owner.node}"
        )
    key = read_secret_file(owner.key, size_max=KEY_FILE_SIZE_MAX)
    check_key_of(certificate, key, owner)
    return TlsPair(certificate, key)


def check_key_of(certificate: bytes, key: bytes, owner: TlsOwner) -> None:
    """Check that a private key is that of a certificate.

    Raises:
        MalformedError: One of them is none.
        SignatureError: It is another's.
    """
    try:
        public = x509.load_pem_x509_certificate(certificate).public_key()
    except ValueError as error:
        raise MalformedError(f"{owner.certificate} is no certificate in PEM: {error}") from error
    try:
        private = load_pem_private_key(key, None)
    except (ValueError, TypeError) as error:
        raise MalformedError(f"{owner.key} is no unencrypted key in PEM: {error}") from error
    if private.public_key() != public:
        raise SignatureError(f"{owner.key} is not the key of {owner.certificate}")


class RenewedPair:
    """The pair that a running node uses; for one thread, and any may read `current`.

    Attributes:
        current: What to show to others now.
    """

    def __init__(self, owner: TlsOwner, genesis: Genesis, now_ms: Callable[[], int]) -> None:
        """Read the files; one that peers will refuse is told in the log, and may be renewed.

        Raises:
            OSError: A file cannot be read.
        """
        self._owner = owner
        self._judged_by = genesis.ca_certificates(), chain_id_of(genesis.to_json())
        self._now_ms = now_ms
        self._seen = self._stamp()
        self.current = TlsPair(owner.certificate.read_bytes(), owner.key.read_bytes())
        try:
            read_tls_pair(owner, *self._judged_by, now_ms=now_ms())
        except ProtocolError as error:
            logger.error("others will refuse this node's certificate", extra={"reason": str(error)})

    def renew(self) -> bool:
        """Take the files where they have changed and are in order; return whether that was so."""
        try:
            stamp = self._stamp()
            if stamp == self._seen:
                return False
            pair = read_tls_pair(self._owner, *self._judged_by, now_ms=self._now_ms())
        except (ProtocolError, OSError) as error:
            logger.warning("a changed certificate is not taken", extra={"reason": str(error)})
            return False  # and looked at again: its key may be on the way
        self._seen = stamp
        if pair == self.current:
            return False
        self.current = pair
        logger.info("certificate renewed", extra={"not_after_ms": pair.not_after_ms})
        return True

    def _stamp(self) -> tuple[tuple[int, int, int], ...]:
        """Return what changes when a file does."""
        states = (path.stat() for path in (self._owner.certificate, self._owner.key))
        return tuple((state.st_mtime_ns, state.st_ino, state.st_size) for state in states)
