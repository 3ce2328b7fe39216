"""First settings: whatever a source offers, the file that is written can be read."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis.strategies import builds, lists, text

from lotmark_node.edge.first_settings import (
    SIGNALS_WRITTEN_MAX,
    FoundSignal,
    FoundSource,
    first_settings,
    settled_name,
)
from lotmark_node.edge.settings_file import read_site_settings
from lotmark_node.edge.site_settings import SiteSettings


def _read(path: Path, signals: list[FoundSignal]) -> SiteSettings:
    found = FoundSource(
        protocol="opcua",
        address="opc.tcp://127.0.0.1:4840",
        signals=signals,
        option_lines=['trust = "trust"  # folder'],
    )
    path.write_text(first_settings(found, site="line-3", source="W07", file=path.name))
    return read_site_settings(path)


def test_what_was_found_is_what_the_file_watches(tmp_path: Path) -> None:
    settings = _read(
        tmp_path / "site.toml",
        [
            FoundSignal(
                address="ns=2;s=W07.Current",
                path="Objects/W07/Current",
                kind="Double",
                unit="kA",
                value="8.2",
            ),
            FoundSignal(address='ns=2;s="odd"\\', path="Objects/W08/Current", unit="kilo ampere"),
        ],
    )

    (source,) = settings.sources
    assert (settings.site, source.name, source.options) == ("line-3", "W07", {"trust": "trust"})
    assert [(s.name, s.address, s.unit) for s in source.signals] == [
        ("Current", "ns=2;s=W07.Current", "kA"),
        ("W08_Current", 'ns=2;s="odd"\\', ""),
    ]


@given(
    signals=lists(
        builds(FoundSignal, address=text(), path=text(), kind=text(), unit=text(), value=text()),
        max_size=8,
        unique_by=lambda signal: signal.address,
    )
)
def test_no_name_or_value_of_a_source_breaks_the_file(
    tmp_path_factory: pytest.TempPathFactory, signals: list[FoundSignal]
) -> None:
    settings = _read(tmp_path_factory.mktemp("site") / "site.toml", signals)

    written = {signal.address for signal in settings.sources[0].signals}
    assert written <= {signal.address for signal in signals}
    assert len({signal.name for signal in settings.sources[0].signals}) == len(written)


def test_a_large_source_is_listed_up_to_the_bound_and_the_rest_is_counted(tmp_path: Path) -> None:
    signals = [
        FoundSignal(address=f"ns=2;s=Channel.Axis{at}.Load", path=f"Objects/Axis{at}/Load")
        for at in range(SIGNALS_WRITTEN_MAX + 7)
    ]

    settings = _read(tmp_path / "site.toml", signals)

    assert len(settings.sources[0].signals) == SIGNALS_WRITTEN_MAX
    assert "7 more signals are not listed" in (tmp_path / "site.toml").read_text()


def test_a_name_is_made_of_whatever_a_source_is_called() -> None:
    assert settled_name("opc.tcp://w07.example:4840/") == "opc.tcp_w07.example_4840"
    assert settled_name("中文") == "x"
    assert settled_name("..a b..") == "a_b"
