"""The certificates that a site depends on, and when they end."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from lotmark.client.settings import read_client_settings
from lotmark.errors import ProtocolError
from lotmark_adapters.errors import AdapterError
from lotmark_node.edge.site_settings import SiteSettings
from lotmark_node.edge.sources import opcua_source

CERTIFICATE_SIZE_MAX = 1 << 20
TRUSTED_FILES_MAX = 256  # of one source

_PEM = b"-----BEGIN"


@dataclass(frozen=True, slots=True)
class SiteCertificate:
    """One certificate, by its file."""

    name: str  # "client", "W07 own", "W07 trusted"
    file: Path
    end: datetime


def site_certificates(settings: SiteSettings) -> Iterator[SiteCertificate]:
    """Return those that can be read: the client's, and of each OPC UA source its own and others."""
    try:
        client = read_client_settings(settings.client).certificate
    except ProtocolError:
        pass  # which whoever opens the client is told
    else:
        yield from _read("client", client)
    for source in settings.sources:
        if source.protocol != "opcua":
            continue
        try:
            opcua = opcua_source(source, folder=settings.folder, is_insecure=True)
        except AdapterError:
            continue  # likewise
        yield from _read(f"{source.name} own", opcua.own / "client.der")
        for file in trusted_files(opcua.trusted):
            yield from _read(f"{source.name} trusted", file)


def trusted_files(folder: Path | None) -> list[Path]:
    """Return the certificates of servers, or of who issues them, in a trust store."""
    if folder is None:
        return []
    found = sorted([*folder.glob("*.der"), *folder.glob("*.pem")])
    return found[:TRUSTED_FILES_MAX]


def ends_ms(settings: SiteSettings) -> dict[str, int]:
    """Return when certificates end, Unix time in ms; of several of one name, the first to end."""
    found: dict[str, int] = {}
    for each in site_certificates(settings):
        end_ms = int(each.end.timestamp() * 1_000)
        found[each.name] = min(end_ms, found.get(each.name, end_ms))
    return found


def _read(name: str, file: Path) -> Iterator[SiteCertificate]:
    try:
        with file.open("rb") as opened:
            raw = opened.read(CERTIFICATE_SIZE_MAX)
        load = x509.load_pem_x509_certificate if _PEM in raw else x509.load_der_x509_certificate
        yield SiteCertificate(name, file, load(raw).not_valid_after_utc.astimezone(UTC))
    except (OSError, ValueError):
        return
