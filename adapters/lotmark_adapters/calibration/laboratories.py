"""Whom a site trusts to sign calibration certificates: a folder of files.

``*.pem``, ``*.crt``, ``*.cer`` hold X.509 certificates: a self-signed one is trusted, any other
only helps to find the way to such a one. ``*.crl`` hold revocation lists. ``withdrawn.txt`` names
calibration certificates that the site was told to use no longer, a number a line.
"""

import logging
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography import x509

from lotmark_adapters.calibration.x509_files import certificates_of, crl_of, is_issued_by
from lotmark_adapters.errors import CertificateRefused

FILES_MAX = 256
FILE_SIZE_MAX = 8_388_608
WITHDRAWN = "withdrawn.txt"

logger = logging.getLogger(__name__)

_CERTIFICATE_SUFFIXES = frozenset({".pem", ".crt", ".cer"})
_CRL_SUFFIX = ".crl"

_Stamp = tuple[tuple[str, int, int, int], ...]  # name, inode, size and time of each file


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedLaboratories:
    """What a folder said when it was read."""

    folder: Path
    roots: tuple[x509.Certificate, ...]
    links: tuple[x509.Certificate, ...]  # not trusted by themselves
    crls: tuple[x509.CertificateRevocationList, ...]
    withdrawn: frozenset[str]  # numbers of calibration certificates
    _stamp: _Stamp = field(repr=False)

    @classmethod
    def read(cls, folder: Path) -> "TrustedLaboratories":
        """Return whom the files of a folder trust.

        Raises:
            CertificateRefused: A file cannot be read or is none of these, or nobody is trusted.
        """
        stamp = _stamp_of(folder)
        certificates: list[x509.Certificate] = []
        crls: list[x509.CertificateRevocationList] = []
        withdrawn: frozenset[str] = frozenset()
        for name, *_ in stamp:
            path = folder / name
            if path.suffix in _CERTIFICATE_SUFFIXES:
                certificates += certificates_of(_content(path), str(path))
            elif path.suffix == _CRL_SUFFIX:
                crls.append(crl_of(_content(path), str(path)))
            elif name == WITHDRAWN:
                withdrawn = _withdrawn(path)
            else:
                raise CertificateRefused(
                    f"{path} is none of *.pem, *.crt, *.cer, *.crl and {WITHDRAWN}; name it so, or"
                    " keep it elsewhere"
                )
        roots = tuple(each for each in certificates if is_issued_by(each, each))
        if not roots:
            raise CertificateRefused(
                f"{folder} has no self-signed certificate, so no laboratory is trusted; put the"
                " root of its certification authority there"
            )
        return cls(
            folder=folder,
            roots=roots,
            links=tuple(each for each in certificates if each not in roots),
            crls=tuple(crls),
            withdrawn=withdrawn,
            _stamp=stamp,
        )

    def reread(self) -> "TrustedLaboratories":
        """Return what the folder says now: this very record where no file of it has changed.

        A folder that cannot be read stays as it was, until it changes again.
        """
        try:
            stamp = _stamp_of(self.folder)
        except CertificateRefused:
            stamp = ()
        if stamp == self._stamp:
            return self
        try:
            return TrustedLaboratories.read(self.folder)
        except CertificateRefused as error:
            logger.warning("trusted laboratories stay as they were", extra={"reason": str(error)})
            return replace(self, _stamp=stamp)


def _stamp_of(folder: Path) -> _Stamp:
    try:
        with os.scandir(folder) as entries:
            stamp = tuple(
                (entry.name, status.st_ino, status.st_size, status.st_mtime_ns)
                for entry in sorted(entries, key=lambda entry: entry.name)
                if not entry.name.startswith(".")
                for status in [entry.stat()]
            )
    except OSError as error:
        raise CertificateRefused(
            f"{folder}: {error.strerror}; name the folder of trusted laboratories"
        ) from error
    if len(stamp) > FILES_MAX:
        raise CertificateRefused(f"{folder} has {len(stamp)} files; {FILES_MAX} are read")
    return stamp


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_SIZE_MAX + 1)
    except OSError as error:
        raise CertificateRefused(f"{path}: {error.strerror}") from error
    if len(content) > FILE_SIZE_MAX:
        raise CertificateRefused(f"{path} has over {FILE_SIZE_MAX:,} bytes")
    return content


def _withdrawn(path: Path) -> frozenset[str]:
    try:
        lines = _content(path).decode().splitlines()
    except UnicodeDecodeError as error:
        raise CertificateRefused(f"{path} is no text in UTF-8") from error
    numbers = (line.strip() for line in lines)
    return frozenset(number for number in numbers if number and not number.startswith("#"))
