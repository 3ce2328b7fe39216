"""Reads a site's settings from the TOML file that `site_settings` shows, and checks every key.

What only one protocol knows stands under `[source.options]` and is checked by its adapter when the
source is made. Paths are relative to the file.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

from lotmark.client.settings import complete_path, read_toml
from lotmark.errors import MalformedError
from lotmark.event_rules import SITE_SOURCES_MAX
from lotmark.network_address import split_address
from lotmark.text import check_decimal, check_identifier
from lotmark_node.edge.settings_table import SettingsTable
from lotmark_node.edge.site_settings import (
    Anchor,
    Policy,
    PolicyRule,
    SignalSettings,
    SiteSettings,
    SourceSettings,
    StoreSettings,
    SubjectSettings,
    When,
)
from lotmark_node.edge.station_settings import StationSettings, read_station_settings

PROTOCOLS = ("opcua", "mtconnect")
NAME_SIZE_MAX = 31  # of a site, source or policy: two with a slash between fit an identifier
SIGNAL_NAME_SIZE_MAX = 64
SIGNALS_MAX = 1_000  # of a source
STATIONS_MAX = 16
SITE_FILE_SIZE_MAX = 16 << 20  # 64 sources with so many signals of 250 bytes each
RULES_MAX = 64
GAUGE_IDS_MAX = 16
WINDOW_S_MAX = 86_400
WINDOW_COUNT_MAX = 100_000
VERSION_MAX = 2**32 - 1
QUOTA_MB_MAX = 100_000_000
RETENTION_DAYS_MAX = 36_525
CLOCK_UNCERTAINTY_MS_MAX = 4_000_000  # what an event can say

_SITE_KEYS = (
    "site", "data", "client", "trusted_lab_certificates", "metrics_listen", "alarm_post",
    "stations", "store", "source", "policy",
)  # fmt: skip
_STORE_KEYS = ("quota_mb", "retention_days")
_SOURCE_KEYS = (
    "name", "protocol", "address", "equipment", "calibration", "gauge_ids",
    "calibration_valid_days", "subject", "clock_uncertainty_ms", "options", "signal",
)  # fmt: skip
_SIGNAL_KEYS = ("name", "address", "feature", "unit", "lower", "upper", "is_counter")
_SUBJECT_KEYS = ("signal", "prefix")
_POLICY_KEYS = ("name", "version", "rules")
_RULE_KEYS = ("signals", "when", "anchor", "window_s", "window_count")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PATTERN = re.compile(r"[A-Za-z0-9._*-]+/[A-Za-z0-9._*-]+")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_SCHEMES = {"opcua": ("opc.tcp",), "mtconnect": ("http", "https")}

_Word = TypeVar("_Word", bound=StrEnum)


def read_site_settings(path: Path) -> SiteSettings:
    """Return the settings in a file; the files it names are not opened.

    Raises:
        SettingsError: The file cannot be read, has an unknown key, lacks one, or has a value that
            is not possible.
    """
    plain = read_toml(path, size_max=SITE_FILE_SIZE_MAX)
    table = SettingsTable(path, "", plain, _SITE_KEYS)
    trusted = table.optional_file("trusted_lab_certificates")
    sources = tuple(
        _source(path, source, at, has_trusted=trusted is not None)
        for at, source in enumerate(
            table.tables("source", most=SITE_SOURCES_MAX, write_as="[[source]]"), start=1
        )
    )
    stations = _stations(path, table, sources)
    if not sources and not stations:
        raise table.refused(
            "source",
            "is missing; add a [[source]], as `lotmark edge browse` or `probe` write it,"
            ' or stations = ["STATION.toml"]',
        )
    _refuse_twice(table, "source", "name", [source.name for source in sources])
    return SiteSettings(
        site=table.text("site", _check_name("a site's name")),
        data=table.file("data"),
        client=table.file("client"),
        sources=sources,
        policy=_policy(path, table),
        stations=stations,
        store=_store(table),
        trusted_lab_certificates=trusted,
        metrics_listen=table.text("metrics_listen", split_address)
        if "metrics_listen" in table
        else None,
        alarm_post=table.text("alarm_post", _check_post) if "alarm_post" in table else None,
        folder=path.absolute().parent,
        settings_digest=hashlib.sha256(path.read_bytes()).digest(),
    )


def _store(site: SettingsTable) -> StoreSettings:
    table, usual = site.table("store", _STORE_KEYS), StoreSettings()
    return StoreSettings(
        quota_mb=table.number("quota_mb", least=1, most=QUOTA_MB_MAX, default=usual.quota_mb),
        retention_days=table.number(
            "retention_days", least=1, most=RETENTION_DAYS_MAX, default=usual.retention_days
        ),
    )


def _stations(
    path: Path, site: SettingsTable, sources: Sequence[SourceSettings]
) -> tuple[StationSettings, ...]:
    stations = tuple(
        read_station_settings(complete_path(path, "stations", each))
        for each in site.texts("stations", most=STATIONS_MAX)
    )
    client = site.file("client")
    results = {each.name for each in sources if each.options.get("results") is True}
    for each in stations:
        if each.images_from is not None and each.images_from.source not in results:
            raise site.refused(
                "stations",
                f"has {each.station}, whose images are from {each.images_from.source[:40]!a}; that"
                " must be a source of this site with the option results = true",
            )
        if each.client.resolve() != client.resolve():
            raise site.refused(
                "stations",
                f"has {each.station}, whose client is {each.client}; a station in a site signs as"
                f" the site does: write {client} there",
            )
    _refuse_twice(site, "stations", "station", [each.station for each in stations])
    _refuse_twice(site, "stations", "images", [str(each.images.resolve()) for each in stations])
    return stations


# Sources


def _source(path: Path, plain: dict[str, Any], at: int, *, has_trusted: bool) -> SourceSettings:
    place = f"source {plain['name']}" if isinstance(plain.get("name"), str) else f"source {at}"
    table = SettingsTable(path, place[:60], plain, _SOURCE_KEYS)
    protocol = table.text("protocol")
    if protocol not in PROTOCOLS:
        raise table.refused("protocol", f"is {protocol[:40]!a}; write {' or '.join(PROTOCOLS)}")
    signals = tuple(
        _signal(path, place[:60], signal, signal_at)
        for signal_at, signal in enumerate(
            table.tables("signal", most=SIGNALS_MAX, write_as="[[source.signal]]"), start=1
        )
    )
    for key in ("name", "address"):
        _refuse_twice(table, "signal", key, [getattr(signal, key) for signal in signals])
    names = {signal.name for signal in signals}
    for signal in signals:
        _check_feature(table, signal, names)
    if "calibration" in table and not has_trusted:
        raise table.refused(
            "calibration",
            "names a certificate, but nobody is trusted to sign one; add"
            ' trusted_lab_certificates = "FOLDER" to the file\'s head',
        )
    return SourceSettings(
        name=table.text("name", _check_name("a source's name")),
        protocol=protocol,
        address=table.text("address", partial(_check_address, _SCHEMES[protocol])),
        signals=signals,
        equipment=table.text("equipment", _check_identifier("an item's id", 128), default=""),
        subject=_subject(table, names),
        calibration=table.optional_file("calibration"),
        gauge_ids=_gauge_ids(table),
        calibration_valid_days=(
            table.number("calibration_valid_days", least=1, most=RETENTION_DAYS_MAX)
            if "calibration_valid_days" in table
            else None
        ),
        clock_uncertainty_ms=table.number(
            "clock_uncertainty_ms", least=0, most=CLOCK_UNCERTAINTY_MS_MAX, default=1_000
        ),
        options=table.plain("options"),
    )


def _signal(path: Path, source: str, plain: dict[str, Any], at: int) -> SignalSettings:
    named = plain.get("name")
    place = f"{source}: signal {named[:64] if isinstance(named, str) else at}"
    table = SettingsTable(path, place, plain, _SIGNAL_KEYS)
    signal = SignalSettings(
        name=table.text("name", _check_name("a signal's name", SIGNAL_NAME_SIZE_MAX)),
        address=table.text("address", _check_filled),
        feature=table.text("feature", default=""),
        unit=table.text("unit", _check_identifier("a unit", 16), default=""),
        lower=table.text("lower", _check_limit, default=""),
        upper=table.text("upper", _check_limit, default=""),
        is_counter=table.flag("is_counter"),
    )
    if signal.lower and signal.upper and Decimal(signal.lower) > Decimal(signal.upper):
        raise table.refused(
            "lower", f"is {signal.lower}, above upper, {signal.upper}; swap them or mend one"
        )
    return signal


def _check_feature(table: SettingsTable, signal: SignalSettings, names: set[str]) -> None:
    """Check that a feature's placeholders name signals of its source, and the rest fits."""
    for name in _PLACEHOLDER.findall(signal.feature):
        if name not in names:
            raise table.refused(
                f"signal {signal.name}: feature",
                f"has {{{name[:40]}}}, which is no signal of this source; name one, or add it",
            )
    plain = _PLACEHOLDER.sub("0", signal.feature)
    if plain:
        try:
            check_identifier(plain, what="a feature", size_max=64)
        except MalformedError as error:
            raise table.refused(
                f"signal {signal.name}: feature", f"cannot be used: {error}"
            ) from error


def _subject(source: SettingsTable, names: set[str]) -> SubjectSettings | None:
    if "subject" not in source:
        return None
    table = source.table("subject", _SUBJECT_KEYS)
    signal = table.text("signal")
    if signal not in names:
        raise table.refused("signal", f"is {signal[:64]!a}, which is no signal of this source")
    return SubjectSettings(
        signal=signal, prefix=table.text("prefix", _check_identifier("a prefix", 120))
    )


def _gauge_ids(table: SettingsTable) -> tuple[str, ...]:
    ids = table.texts("gauge_ids", most=GAUGE_IDS_MAX)
    if bool(ids) != ("calibration" in table):
        raise table.refused(
            "gauge_ids",
            "and calibration stand together: which gauge the certificate must be for, such as"
            ' gauge_ids = ["SN-4711"]',
        )
    return ids


# Policy


def _policy(path: Path, site: SettingsTable) -> Policy:
    if "policy" not in site:
        raise site.refused("policy", "is missing; add [policy] with name, version and rules")
    table = site.table("policy", _POLICY_KEYS)
    rules = table.tables("rules", most=RULES_MAX, write_as="{ signals = ..., anchor = ... }")
    if not rules:
        raise table.refused("rules", "has none, so nothing would go on record; write at least one")
    return Policy(
        name=table.text("name", _check_name("a policy's name")),
        version=table.number("version", least=1, most=VERSION_MAX),
        rules=tuple(_rule(path, rule, at) for at, rule in enumerate(rules, start=1)),
    )


def _rule(path: Path, plain: dict[str, Any], at: int) -> PolicyRule:
    table = SettingsTable(path, f"policy: rule {at}", plain, _RULE_KEYS)
    usual = PolicyRule(signals="*/*", when=When.ALWAYS, anchor=Anchor.WINDOW)
    rule = PolicyRule(
        signals=table.text("signals", _check_pattern),
        when=_word(table, "when", When, default=When.ALWAYS),
        anchor=_word(table, "anchor", Anchor),
        window_s=table.number("window_s", least=1, most=WINDOW_S_MAX, default=usual.window_s),
        window_count=table.number(
            "window_count", least=1, most=WINDOW_COUNT_MAX, default=usual.window_count
        ),
    )
    if rule.anchor is not Anchor.WINDOW and ("window_s" in table or "window_count" in table):
        raise table.refused(
            "anchor", f'is "{rule.anchor}", which has no window; remove window_s and window_count'
        )
    return rule


def _word(
    table: SettingsTable, key: str, words: type[_Word], *, default: _Word | None = None
) -> _Word:
    text = table.text(key, default=default)
    if text not in set(words):
        raise table.refused(key, f"is {text[:40]!a}; write one of {', '.join(words)}")
    return words(text)


# Checks of one value


def _refuse_twice(table: SettingsTable, what: str, key: str, values: Sequence[str]) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise table.refused(
                what, f"has two with {key} {value[:80]!a}; give each a {key} of its own"
            )
        seen.add(value)


def _check_name(what: str, size_max: int = NAME_SIZE_MAX) -> Callable[[str], None]:
    def check(value: str) -> None:
        if not _NAME.fullmatch(value) or len(value) > size_max:
            raise MalformedError(
                f"{what} {value[:80]!a} is not 1 to {size_max} letters, digits and ._-, the first"
                " no sign"
            )

    return check


def _check_identifier(what: str, size_max: int) -> Callable[[str], None]:
    return partial(check_identifier, what=what, size_max=size_max)


def _check_filled(value: str) -> None:
    if not value or len(value) > 256:
        raise MalformedError(f"{value[:40]!a} has {len(value)} characters; write 1 to 256")


def _check_limit(value: str) -> None:
    check_decimal(value, what="a limit")


def _check_pattern(value: str) -> None:
    if not _PATTERN.fullmatch(value):
        raise MalformedError(
            f"{value[:80]!a} is not SOURCE/SIGNAL, in which * stands for any characters, such as"
            " W07/*"
        )


def _check_address(schemes: Sequence[str], value: str) -> None:
    """Check scheme, host and port of a source's URL."""
    parts = _url(value)
    if parts.scheme not in schemes or not parts.netloc or "@" in parts.netloc:
        wanted = " or ".join(f"{scheme}://HOST:PORT" for scheme in schemes)
        raise MalformedError(f"{value[:80]!a} is not {wanted}; user and password stand elsewhere")
    if parts.port is not None:
        split_address(parts.netloc)


def _check_post(value: str) -> None:
    parts = _url(value)
    if parts.scheme != "http" or not parts.netloc or "@" in parts.netloc:
        raise MalformedError(
            f"{value[:80]!a} is not http://HOST:PORT/PATH, a listener on this machine or in the"
            " plant's own network"
        )


def _url(value: str) -> SplitResult:
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018  # it is read to be checked
    except ValueError as error:
        raise MalformedError(f"{value[:80]!a} is no URL: {error}") from error
    return parts
