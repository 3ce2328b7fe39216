"""A site's settings file: what it is read into, and how each wrong key is refused."""

import hashlib
import re
from pathlib import Path

import pytest

from lotmark.client.settings import SettingsError
from lotmark.event_rules import SITE_SOURCES_MAX
from lotmark_node.edge import settings_file, site_settings
from lotmark_node.edge.settings_file import read_site_settings
from lotmark_node.edge.site_settings import (
    Anchor,
    Policy,
    PolicyRule,
    SignalSettings,
    StoreSettings,
    SubjectSettings,
    When,
)
from tests.node.edge.site_toml import SITE_TOML


def _written(folder: Path, text: str) -> Path:
    path = folder / "site.toml"
    path.write_text(text)
    return path


def test_a_file_is_read_with_every_key(tmp_path: Path) -> None:
    path = _written(tmp_path, SITE_TOML)

    settings = read_site_settings(path)

    assert (settings.site, settings.data, settings.client) == (
        "line-3",
        tmp_path / "data",
        tmp_path / "client.toml",
    )
    assert settings.trusted_lab_certificates == tmp_path / "labs"
    assert settings.metrics_listen == "127.0.0.1:0"
    assert settings.alarm_post == "http://127.0.0.1:9100/alarm"
    assert settings.store == StoreSettings(quota_mb=100, retention_days=30)
    assert settings.settings_digest == hashlib.sha256(path.read_bytes()).digest()
    welder, mill = settings.sources
    assert (welder.name, welder.protocol, welder.address) == (
        "W07",
        "opcua",
        "opc.tcp://127.0.0.1:4840",
    )
    assert welder.calibration == tmp_path / "dcc-88-12.xml"
    assert (welder.gauge_ids, welder.calibration_valid_days) == (("SN-4711",), 365)
    assert welder.clock_uncertainty_ms == 250
    assert welder.subject == SubjectSettings(
        signal="serial", prefix="https://id.gs1.org/01/04012345000023/21/"
    )
    assert welder.options == {"publishing_ms": 50}
    assert welder.signals[0] == SignalSettings(
        name="weld", address="ns=2;s=W07.Weld", is_counter=True
    )
    assert welder.signals[2] == SignalSettings(
        name="current",
        address="ns=2;s=W07.Current",
        feature="weld_{weld}.current",
        unit="kA",
        lower="7.6",
        upper="8.8",
    )
    assert (mill.signals, mill.subject, mill.calibration) == ((), None, None)
    assert mill.clock_uncertainty_ms == 1_000
    assert settings.policy == Policy(
        name="line-3",
        version=4,
        rules=(
            PolicyRule(signals="W07/*", when=When.OUTSIDE, anchor=Anchor.FULL),
            PolicyRule(
                signals="*/*",
                when=When.ALWAYS,
                anchor=Anchor.WINDOW,
                window_s=30,
                window_count=500,
            ),
        ),
    )


def test_the_example_in_the_documentation_is_read(tmp_path: Path) -> None:
    assert site_settings.__doc__ is not None
    text = site_settings.__doc__.split("\n", 2)[2]

    settings = read_site_settings(_written(tmp_path, text))

    assert settings.policy.version == 4


# What to change in the file, to what, and what the refusal must say.
BAD = {
    "site missing": ('site = "line-3"\n', "", 'site is missing; add a line site = "..."'),
    "site no text": ('site = "line-3"', "site = 3", "site is 3, no string; write its value"),
    "site with a slash": ('site = "line-3"', 'site = "a/b"', "site cannot be used: .*'a/b'.* 31"),
    "site too long": ('site = "line-3"', f'site = "{"a" * 32}"', "is not 1 to 31 letters"),
    "unknown key": ('site = "line-3"', 'site = "line-3"\nsitte = 1', "sitte is unknown; remove"),
    "stations no list": ('data = "data"', 'data = "data"\nstations = "a.toml"', "stations is 'a"),
    "data empty": ('data = "data"', 'data = ""', "data is '', no path; name a file"),
    "client missing": ('client = "client.toml"\n', "", "client is missing"),
    "labs no text": ('lab_certificates = "labs"', "lab_certificates = 1", "certificates is 1, no"),
    "metrics": ("127.0.0.1:0", "nowhere", "metrics_listen cannot be used: address 'nowhere'"),
    "alarm in TLS": ("http://127.0.0.1:9100", "https://127.0.0.1:9100", "alarm_post .*http://HOST"),
    "alarm no URL": ("http://127.0.0.1:9100/", "http://127.0.0.1:x/", "alarm_post .* is no URL"),
    "store no table": (
        "[store]\nquota_mb = 100\nretention_days = 30",
        "store = 5",
        "store is 5, no table",
    ),
    "store unknown": ("quota_mb = 100", "quota = 100", "store: quota is unknown; .* quota_mb"),
    "quota 0": ("quota_mb = 100", "quota_mb = 0", "store: quota_mb is 0; write a whole .* 1 to"),
    "quota yes": ("quota_mb = 100", "quota_mb = true", "quota_mb is True; write a whole number"),
    "retention": ("retention_days = 30", "retention_days = -1", "retention_days is -1; write"),
    "no source": (SITE_TOML[SITE_TOML.index("[[source]]") : SITE_TOML.index("[policy]")], "",
                  "source is missing; add a \\[\\[source\\]\\], as `lotmark edge browse`"),
    "two of one name": ('name = "mill"', 'name = "W07"', "source has two with name 'W07'; give"),
    "source unknown": ('name = "mill"', 'name = "mill"\nport = 1', "source mill: port is unknown"),
    "source name missing": ('name = "mill"\n', "", "source 2: name is missing"),
    "protocol": ('"mtconnect"', '"modbus"', "source mill: protocol is 'modbus'; write opcua or"),
    "address of another protocol": (
        "http://127.0.0.1:5000/OKUMA", "opc.tcp://a:1", "mill: address .* is not http://HOST"),
    "address with a password": (
        "opc.tcp://127.0.0.1:4840", "opc.tcp://u:p@a:1", "W07: address .* stand elsewhere"),
    "address with no port": ("127.0.0.1:4840", "127.0.0.1:70000", "W07: address .* is no URL"),
    "equipment": ("8004/4012345W07", "8004/40 12", "W07: equipment .* is not an identifier"),
    "calibration without trust": (
        'trusted_lab_certificates = "labs"\n', "", "W07: calibration .* nobody is trusted"),
    "calibration of no gauge": ('gauge_ids = ["SN-4711"]\n', "", "gauge_ids and calibration stand"),
    "gauge ids": ('["SN-4711"]', '"SN-4711"', "gauge_ids is 'SN-4711'; write at most 16 texts"),
    "valid days": ("valid_days = 365", "valid_days = 0", "calibration_valid_days is 0; write"),
    "clock": ("uncertainty_ms = 250", 'uncertainty_ms = "1"', "clock_uncertainty_ms is '1'; write"),
    "subject no table": (
        'subject = { signal = "serial", prefix = "https://id.gs1.org/01/04012345000023/21/" }',
        "subject = 1",
        "subject is 1, no table",
    ),
    "subject unknown": ('{ signal = "serial",', '{ signal = "lot",', "subject: signal is 'lot'"),
    "prefix": ("04012345000023/21/", "04012345000023 21/", "subject: prefix .* not an identifier"),
    "options": ("options = { publishing_ms = 50 }", "options = 1", "W07: options is 1, no table"),
    "signals no list": (
        SITE_TOML[SITE_TOML.index("[[source.sig") : SITE_TOML.index('[[source]]\nname = "mill"')],
        "signal = 1\n",
        "W07: signal is 1, no list of tables; write each as \\[\\[source.signal\\]\\]"),
    "signal unknown": ("is_counter = true", "counter = 1", "signal weld: counter is unknown"),
    "signal twice": ('name = "serial"', 'name = "weld"', "W07: signal has two with name 'weld'"),
    "node twice": ("s=W07.Serial", "s=W07.Weld", "signal has two with address 'ns=2;s=W07.Weld'"),
    "signal address": ('"ns=2;s=W07.Serial"', '""', "signal serial: address .* 0 characters"),
    "counter": ("is_counter = true", "is_counter = 1", "signal weld: is_counter is 1; write true"),
    "placeholder": ("weld_{weld}", "weld_{wedl}", "signal current: feature has {wedl}, which"),
    "feature": ("weld_{weld}", "weld {weld}", "signal current: feature cannot .* identifier"),
    "unit": ('unit = "kA"', 'unit = "kilo Ampere"', "signal current: unit cannot be used"),
    "lower": ('lower = "7.6"', 'lower = "7,6"', "lower cannot be used: a limit '7,6' is not a dec"),
    "limit as a number": ('lower = "7.6"', "lower = 7.6", "lower is 7.6, no string; write its"),
    "limits swapped": ('lower = "7.6"', 'lower = "9.6"', "lower is 9.6, above upper, 8.8; swap"),
    "policy missing": (SITE_TOML[SITE_TOML.index("[policy]") :], "", "policy is missing; add"),
    "policy name": ('[policy]\nname = "line-3"', '[policy]\nname = "l 3"', "policy: name cannot"),
    "policy version": ("version = 4", "version = 0", "policy: version is 0; write a whole number"),
    "no version": ("version = 4\n", "", "policy: version is missing; add a line version = 1"),
    "no rules": (SITE_TOML[SITE_TOML.index("rules = [") :], "rules = []", "policy: rules has none"),
    "rule unknown": ('when = "outside"', 'if = "outside"', "policy: rule 1: if is unknown"),
    "when": ('when = "outside"', 'when = "bad"', "rule 1: when is 'bad'; write one of always, out"),
    "anchor": ('anchor = "full"', 'anchor = "all"', "rule 1: anchor is 'all'; write one of full"),
    "anchor missing": (', anchor = "full"', "", "rule 1: anchor is missing"),
    "pattern": ('signals = "W07/*"', 'signals = "W07"', "rule 1: signals .* is not SOURCE/SIGNAL"),
    "window": ("window_s = 30", "window_s = 0", "rule 2: window_s is 0; write a whole number"),
    "count": ("window_count = 500", "window_count = 1_000_000", "window_count is 1000000; .*100,0"),
    "window of none": ('anchor = "full"', 'anchor = "full", window_s = 1', "which has no window"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_key_is_refused_by_file_place_value_and_remedy(tmp_path: Path, case: str) -> None:
    before, after, said = BAD[case]
    assert before in SITE_TOML, "the case changes nothing"
    path = _written(tmp_path, SITE_TOML.replace(before, after, 1))

    with pytest.raises(SettingsError, match=said) as refused:
        read_site_settings(path)

    assert str(refused.value).startswith(f"{path}: ")


def test_every_key_has_a_case_in_which_it_is_refused() -> None:
    names = ("SITE", "STORE", "SOURCE", "SIGNAL", "SUBJECT", "POLICY", "RULE")
    keys = {key for name in names for key in getattr(settings_file, f"_{name}_KEYS")}
    said = " ".join(expected for _, _, expected in BAD.values())

    unsaid = {key for key in keys if not re.search(rf"\b{key}\b", said)}

    assert unsaid - {"trusted_lab_certificates", "retention_days"} == set()


def test_as_many_signals_as_are_allowed_have_room_in_the_file(tmp_path: Path) -> None:
    signals = "".join(
        f'[[source.signal]]\nname = "s{number}"\naddress = "{"x" * 150}{number}"\n'
        f'unit = "kA"\nlower = "0.5"\nupper = "7.5"\n\n'
        for number in range(settings_file.SIGNALS_MAX)
    )
    path = _written(tmp_path, SITE_TOML.replace("[policy]", f"{signals}[policy]"))

    _, mill = read_site_settings(path).sources
    assert len(mill.signals) == settings_file.SIGNALS_MAX
    size_max = settings_file.SITE_FILE_SIZE_MAX
    assert len(signals) * SITE_SOURCES_MAX < size_max

    path.write_text("#" * (size_max + 1))
    with pytest.raises(SettingsError, match=f"has over {size_max} bytes"):
        read_site_settings(path)


def test_more_tables_than_bounds_allow_are_refused(tmp_path: Path) -> None:
    source = '[[source]]\nname = "s{}"\nprotocol = "mtconnect"\naddress = "http://a:{}"\n'
    more = "".join(source.format(at, at) for at in range(1, 64))
    path = _written(tmp_path, SITE_TOML.replace("[policy]", f"{more}[policy]"))

    with pytest.raises(SettingsError, match="source has 65 tables; write at most 64"):
        read_site_settings(path)
