"""A server is watched only where its certificate is trusted, in date, and for its host and URI."""

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from lotmark_adapters.errors import SourceRefused
from lotmark_adapters.opcua.certificates import make_client_certificate, write_certificate
from lotmark_adapters.opcua.settings import OpcuaSettings
from lotmark_adapters.trial.welder import Welder
from tests.adapters.opcua.watching import Kept, Machine, refusal, watching, welder_settings


async def refused_by(folder: Path, *, host: str = "127.0.0.1", **welder: Any) -> str:
    """Return why a welder is refused whose certificate lies in the trusted folder."""
    async with Welder(folder / "welder", **welder) as machine:
        settings = welder_settings(machine, folder)
        return await refusal(replace(settings, address=settings.address.replace("127.0.0.1", host)))


def test_a_server_is_refused_until_its_certificate_is_trusted(
    machine: Machine, tmp_path: Path
) -> None:
    async def scenario() -> None:
        welder = machine.welder
        settings = welder_settings(welder, tmp_path)
        trusted = tmp_path / "trusted" / welder.certificate.name
        digest = hashlib.sha256(welder.certificate.read_bytes()).hexdigest()
        trusted.unlink()
        empty = await refusal(settings)
        write_certificate(  # the same names, another key
            tmp_path / "trusted",
            "welder",
            application_uri="urn:lotmark:trial:welder",
            hosts=["127.0.0.1"],
            is_server=True,
        )
        (tmp_path / "trusted" / "welder-key.pem").unlink()
        other = await refusal(settings)
        by_name = await refusal(
            replace(
                welder_settings(welder, tmp_path),
                address=settings.address.replace("127.0.0.1", "localhost"),
            )
        )
        kept = Kept()
        async with watching(welder_settings(welder, tmp_path), kept) as until:
            await until(lambda: kept.observations)

        for message in (empty, other):
            assert message.startswith("SourceRefused")
            assert f"SHA-256 {digest} is not trusted" in message
            assert f"put the certificate into {tmp_path / 'trusted'}" in message
        assert by_name.startswith("SourceRefused")
        assert "is for 127.0.0.1; use one of these in the address" in by_name

    machine.runner.run(scenario())


def test_an_expired_certificate_is_refused_though_it_is_trusted(tmp_path: Path) -> None:
    message = asyncio.run(refused_by(tmp_path, valid_days=-2))

    assert message.startswith("SourceRefused")
    assert "is valid from " in message
    assert "give the server a new one, or set this machine's clock" in message


def test_a_certificate_for_another_application_is_refused(tmp_path: Path) -> None:
    message = asyncio.run(refused_by(tmp_path, claimed_uri="urn:another:machine"))

    assert message.startswith("SourceRefused")
    assert "is not for the application 'urn:another:machine'" in message


def test_a_clients_certificate_is_made_once_and_names_its_application(tmp_path: Path) -> None:
    certificate, key = make_client_certificate(tmp_path, "urn:lotmark:edge:W07")
    before = key.read_bytes()
    again = make_client_certificate(tmp_path, "urn:lotmark:edge:W07")

    names = x509.load_der_x509_certificate(certificate.read_bytes()).extensions
    uris = names.get_extension_for_class(x509.SubjectAlternativeName).value
    assert uris.get_values_for_type(x509.UniformResourceIdentifier) == ["urn:lotmark:edge:W07"]
    assert again == (certificate, key)
    assert key.read_bytes() == before
    assert key.stat().st_mode & 0o777 == 0o600


def test_without_trusted_certificates_there_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match="no trusted certificates"):
        OpcuaSettings(
            name="W07",
            address="opc.tcp://127.0.0.1:4840",
            own=tmp_path,
            application_uri="urn:x",
            trusted=None,
        )
