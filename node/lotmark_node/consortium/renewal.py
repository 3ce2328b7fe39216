"""A new certificate in place of one that ends: issued with the party's CA, for the same owner.

The owner's settings say who it is and where its certificate lies, be it a node, a witness or a
client. The private key is new as well. A running node or witness takes both without a restart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from lotmark.ca_certificate import load_ca
from lotmark.certificates import make_leaf, tls_name
from lotmark.client.settings import ClientSettings, SettingsError
from lotmark.errors import MalformedError
from lotmark.genesis import Genesis, chain_id, parse_genesis
from lotmark.key_file import KEY_FILE_SIZE_MAX, read_secret_file, write_new_file
from lotmark_node.node_settings import NodeSettings
from lotmark_node.settings_files import read_settings
from lotmark_node.tls_pair import TlsOwner, read_tls_pair

CA_FOLDER = "../../ca"  # from a node's, witness's or client's folder, as `lotmark init` makes them


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed:
    """What was written."""

    owner: TlsOwner
    not_after_ms: int
    addresses: tuple[str, ...]


def read_owner(settings_file: Path) -> tuple[TlsOwner, Genesis]:
    """Return whose certificate the settings of a node, a witness or a client name.

    Raises:
        SettingsError: They are none of these, or of a witness that no party's CA knows.
        ProtocolError: The genesis is none.
        OSError: The genesis cannot be read.
    """
    settings = read_settings(settings_file)
    if isinstance(settings, NodeSettings):
        owner, genesis = settings.tls_owner, settings.genesis
    elif isinstance(settings, ClientSettings):
        owner, genesis = _client(settings), settings.genesis
    elif settings.member is not None and settings.tls is not None:
        genesis = settings.member.genesis
        owner = TlsOwner(
            party=settings.member.party,
            node=settings.member.node,
            certificate=settings.tls.certificate,
            key=settings.tls.key,
        )
    else:
        raise SettingsError(
            f"{settings_file}: this witness belongs to no party or speaks no TLS, so no party's CA"
            " issues its certificate; renew it where it came from"
        )
    return owner, parse_genesis(genesis.read_bytes())


def _client(settings: ClientSettings) -> TlsOwner:
    return TlsOwner(
        party=settings.party,
        node=settings.holder,
        certificate=settings.certificate,
        key=settings.certificate_key,
    )


def renew_certificate(
    settings_file: Path,
    ca_folder: Path | None = None,
    *,
    addresses: Sequence[str] = (),
    days: int,
    now_ms: int,
) -> Renewed:
    """Write a new certificate and key where the owner's settings say.

    Args:
        settings_file: Of a node, a witness or a client.
        ca_folder: With the party's `ca.pem` and `ca.key`; None: where `lotmark init` put it.
        addresses: Host names and IP addresses to name; none: those of the certificate there is.
        days: For how long, 1 to 825.
        now_ms: From when on, Unix time.

    Raises:
        ProtocolError: The CA is another party's, or something cannot be read; nothing was changed.
        OSError: A file cannot be read or written.
    """
    owner, genesis = read_owner(settings_file)
    folder = ca_folder or settings_file.parent / CA_FOLDER
    chain = chain_id(genesis.to_json())
    ca = (folder / "ca.pem").read_bytes()
    cas = known_cas(owner, genesis, folder)
    in_genesis = genesis.party(owner.party) is not None
    if not (cas[owner.party].encode() == ca if in_genesis else _issued(ca, owner)):
        raise SettingsError(
            f"{folder / 'ca.pem'} is not the CA certificate of {owner.party}; name the folder of"
            " that party's CA: --ca FOLDER"
        )
    own = tls_name(owner.party, owner.node, chain)
    named = tuple(addresses) or _addresses(owner.certificate, own)
    certificate, key = make_leaf(
        ca,
        read_secret_file(folder / "ca.key", size_max=KEY_FILE_SIZE_MAX),
        chain_id=chain,
        party=owner.party,
        node=owner.node,
        addresses=named,
        days=days,
        now_ms=now_ms,
    )
    # A node that looks between the two finds a pair that does not fit, and looks again.
    _replace(owner.key, key, mode=0o600)
    _replace(owner.certificate, certificate, mode=0o644)
    pair = read_tls_pair(owner, cas, chain, now_ms=now_ms)
    return Renewed(owner=owner, not_after_ms=pair.not_after_ms, addresses=named)


def known_cas(owner: TlsOwner, genesis: Genesis, folder: Path) -> dict[str, str]:
    """Return the CA certificates by which an owner's certificate is judged, PEM, by party.

    A party that joined later does not stand in the genesis: there its own `ca.pem` has to do.

    Raises:
        OSError: Its own is needed and cannot be read.
    """
    known = dict(genesis.ca_certificates())
    if owner.party not in known:
        known[owner.party] = (folder / "ca.pem").read_bytes().decode(errors="replace")
    return known


def _issued(ca: bytes, owner: TlsOwner) -> bool:
    """Return whether a CA has issued the certificate that there is, be it valid or not."""
    issuer = load_ca(ca.decode(errors="replace"), party=owner.party)
    try:
        x509.load_pem_x509_certificate(owner.certificate.read_bytes()).verify_directly_issued_by(
            issuer
        )
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _addresses(certificate: Path, own_name: str) -> tuple[str, ...]:
    """Return the addresses that a certificate names beside its owner's TLS name."""
    try:
        names = (
            x509.load_pem_x509_certificate(certificate.read_bytes())
            .extensions.get_extension_for_class(x509.SubjectAlternativeName)
            .value
        )
    except (ValueError, x509.ExtensionNotFound) as error:
        raise MalformedError(
            f"{certificate} names no addresses to go on with: {error}; name them: --address"
        ) from error
    hosts = [name for name in names.get_values_for_type(x509.DNSName) if name != own_name]
    return (*hosts, *map(str, names.get_values_for_type(x509.IPAddress)))


def _replace(path: Path, content: bytes, *, mode: int) -> None:
    """Put a file in place of another, so that readers find the one or the other whole."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)  # of a renewal that was cut short
    write_new_file(new, content, mode=mode)
    new.replace(path)
