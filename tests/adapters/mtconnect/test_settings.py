"""Settings of an MTConnect source: each bad one is refused with its name, value and remedy."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from lotmark_adapters.errors import SourceRefused
from lotmark_adapters.mtconnect.settings import SIGNALS_MAX, mtconnect_settings

ADDRESS = "http://127.0.0.1:5000"


def test_settings_without_options_have_the_documented_defaults(tmp_path: Path) -> None:
    settings = mtconnect_settings("press-7", f"{ADDRESS}/saw/", ["z"], {}, folder=tmp_path)

    assert (settings.agent, settings.device, settings.signals) == (ADDRESS, "saw", frozenset({"z"}))
    assert (settings.interval_ms, settings.heartbeat_ms, settings.count) == (100, 10_000, 1_000)
    assert (settings.document_size_max, settings.assets, settings.ca) == (8_000_000, True, None)


def test_options_are_taken_from_plain_values(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    options = {"interval_ms": 0, "heartbeat_ms": 500, "count": 7, "assets": False, "ca": "ca.pem"}

    settings = mtconnect_settings("press-7", ADDRESS, [], options, folder=tmp_path)

    assert (settings.interval_ms, settings.heartbeat_ms, settings.count) == (0, 500, 7)
    assert (settings.assets, settings.ca) == (False, tmp_path / "ca.pem")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"hartbeat_ms": 1}, "source press-7: option 'hartbeat_ms' is unknown; remove it, or use"),
        ({"count": 0}, "count is 0; write a whole number 1 to 10000"),
        ({"count": True}, "count is True"),
        ({"count": "7"}, "count is '7'"),
        ({"interval_ms": 60_001}, "interval_ms is 60001"),
        ({"heartbeat_ms": 9}, "heartbeat_ms is 9"),
        ({"document_size_max": 1}, "document_size_max is 1"),
        ({"assets": "yes"}, "assets is 'yes'; write true or false"),
        ({"ca": "none.pem"}, "ca 'none.pem' is no file"),
        ({"ca": 5}, "ca 5 is no file"),
    ],
)
def test_an_option_that_is_not_possible_is_refused_by_name(
    options: Mapping[str, object], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(SourceRefused, match=problem):
        mtconnect_settings("press-7", ADDRESS, [], options, folder=tmp_path)


@pytest.mark.parametrize(
    "address",
    ["", "127.0.0.1:5000", "opc.tcp://x", "http://", "http://x:99999", "http://x/a/b",
     "http://u:p@x", "http://x?from=1", "http://x#y", "http://[x"],
)  # fmt: skip
def test_an_address_that_is_none_of_an_agent_is_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match="is no address of an MTConnect agent; write http://"):
        mtconnect_settings("press-7", address, [], {}, folder=tmp_path)


def test_signals_have_a_bound(tmp_path: Path) -> None:
    signals = [str(each) for each in range(SIGNALS_MAX + 1)]
    with pytest.raises(SourceRefused, match="at most 10000 can be named, none means all"):
        mtconnect_settings("press-7", ADDRESS, signals, {}, folder=tmp_path)
