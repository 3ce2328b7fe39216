"""Options as they stand in a settings file: each is read, and each wrong one is refused by name."""

from pathlib import Path
from typing import Any

import pytest

from lotmark_adapters.errors import SourceRefused
from lotmark_adapters.opcua.settings import OpcuaSettings, OpcuaSignal, Security, opcua_settings

SIGNALS = [OpcuaSignal(name="current", node="ns=2;s=W07.Current")]
ADDRESS = "opc.tcp://127.0.0.1:4840"


def read(options: dict[str, object], **changes: Any) -> OpcuaSettings:
    given: dict[str, Any] = {"address": ADDRESS, "signals": SIGNALS, **changes}
    return opcua_settings(name="W07", options=options, folder=Path("/site"), **given)


def test_all_options_are_read() -> None:
    settings = read(
        {
            "trusted": "trusted",
            "own": "/elsewhere",
            "application_uri": "urn:x",
            "security": "Aes256_Sha256_RsaPss",
            "user": "edge",
            "password_file": "password",
            "publishing_ms": 100,
            "sampling_ms": 10,
            "queue_size": 100,
            "answer_s": 3,
            "max_gap_ms": {"current": 500},
            "results": True,
        }
    )

    assert settings == OpcuaSettings(
        name="W07",
        address=ADDRESS,
        signals=(OpcuaSignal(name="current", node="ns=2;s=W07.Current", max_gap_ms=500),),
        own=Path("/elsewhere"),
        application_uri="urn:x",
        trusted=Path("/site/trusted"),
        security=Security.AES256_SHA256_RSA_PSS,
        user="edge",
        password_file=Path("/site/password"),
        publishing_ms=100,
        sampling_ms=10,
        queue_size=100,
        answer_s=3.0,
        has_results=True,
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "no trusted certificates: name their folder"),
        ({"trust": "t"}, "unknown option 'trust'; OPC UA has trusted, own"),
        ({"trusted": 7}, "option trusted = 7 is no text"),
        ({"trusted": "t", "queue_size": 99}, "queue_size 99 is not between 100 and"),
        ({"trusted": "t", "queue_size": True}, "option queue_size = True is no whole number"),
        ({"trusted": "t", "publishing_ms": 0}, "publishing_ms 0 is not between 1 and"),
        ({"trusted": "t", "answer_s": "5"}, "option answer_s = '5' is no number"),
        ({"trusted": "t", "security": "None"}, "security 'None' is not one of Basic256Sha256"),
        ({"trusted": "t", "user": "edge"}, "user and password_file belong together"),
        ({"trusted": "t", "max_gap_ms": {"x": 1}}, "max_gap_ms names 'x', which is no signal"),
        ({"trusted": "t", "max_gap_ms": {"current": 0}}, "max_gap_ms 0 of current is not between"),
        (
            {"insecure": True, "user": "edge", "password_file": "p"},
            "a password may not be sent without encryption",
        ),
    ],
)
def test_a_wrong_option_is_refused_by_name(options: dict[str, object], message: str) -> None:
    with pytest.raises(SourceRefused, match=message):
        read(options)


def test_what_is_no_address_or_node_is_refused() -> None:
    with pytest.raises(SourceRefused, match=r"is not such as opc\.tcp://"):
        read({"trusted": "t"}, address="http://127.0.0.1:4840")
    with pytest.raises(SourceRefused, match="'W07' is no node id such as"):
        read({"trusted": "t"}, signals=[OpcuaSignal(name="current", node="W07")])
