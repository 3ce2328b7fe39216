"""A package: loaded from the bytes of its files, or refused with every mistake's place."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from lotmark_contracts.package.errors import PackageRefused, Problem
from lotmark_contracts.package.json_node import Node
from lotmark_contracts.package.load_work import LoadWork, TooMuchWork
from lotmark_contracts.package.manifest import Manifest, read_manifest
from lotmark_contracts.package.package_hash import package_hash
from lotmark_contracts.package.rule import Rule
from lotmark_contracts.package.rule_reader import read_rule
from lotmark_contracts.package.strict_json import parse_file
from lotmark_contracts.package.table import Table, read_table
from lotmark_contracts.suggestion import suggest

MANIFEST = "manifest.json"
FILES_MAX = 256
SIZE_MAX = 262_144  # bytes of all files
TABLES_MAX = 32

_PATH = re.compile(r"(tables|rules|tests)/([a-z][a-z0-9_]{0,39})\.json")
_PATHS = "manifest.json, tables/NAME.json, rules/NAME.json and tests/NAME.json"
_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """Rules that are ready to be executed."""

    manifest: Manifest
    hash: bytes
    tables: Mapping[str, Table]
    rules: tuple[Rule, ...]  # in the order in which they are executed

    @property
    def name(self) -> str:
        """The package's name, which its versions share."""
        return self.manifest.name


def load_package(files: Mapping[str, bytes], work: LoadWork | None = None) -> Package:
    """Return the package that these files are.

    Args:
        files: What is in each file, by its path in the package's folder.
        work: Counts what it takes, for who wants to know.

    Raises:
        PackageRefused: It cannot be used; of each file the first mistake is told.
    """
    _check_files(files)
    work = work or LoadWork()
    manifest = read_manifest(parse_file(MANIFEST, files[MANIFEST]))
    problems: list[Problem] = []
    tables = _read_each(files, "tables", problems, lambda name, node: read_table(name, node, work))
    # A rule that names a table which was refused would be refused for that, and not for itself.
    if problems:
        raise PackageRefused(problems)

    def read(name: str, node: Node) -> Rule:
        return read_rule(name, node, manifest, tables, work)

    rules = _read_each(files, "rules", problems, read)
    try:
        ordered = _in_order(manifest, rules, {*_names(files, "rules")})
    except PackageRefused as refused:
        problems.extend(refused.problems)
    if problems:
        raise PackageRefused(problems)
    return Package(manifest=manifest, hash=package_hash(files), tables=tables, rules=ordered)


def _check_files(files: Mapping[str, bytes]) -> None:
    if MANIFEST not in files:
        raise PackageRefused([Problem(MANIFEST, None, "the file is missing", "")])
    size = sum(map(len, files.values()))
    if len(files) > FILES_MAX or size > SIZE_MAX:
        reason = (
            f"{len(files):,} files of {size:,} bytes together;"
            f" at most {FILES_MAX} of {SIZE_MAX:,} are read"
        )
        raise PackageRefused([Problem(MANIFEST, None, reason, "")])
    if len(_names(files, "tables")) > TABLES_MAX:
        raise PackageRefused([Problem(MANIFEST, None, f"more than {TABLES_MAX} tables", "")])
    if strange := [
        path for path in sorted(files) if path != MANIFEST and not _PATH.fullmatch(path)
    ]:
        raise PackageRefused(
            [Problem(path[:80], None, f"a package has {_PATHS}", "") for path in strange[:10]]
        )


def _names(files: Mapping[str, bytes], folder: str) -> list[str]:
    matches = (_PATH.fullmatch(path) for path in sorted(files))
    return [match[2] for match in matches if match and match[1] == folder]


def _read_each(
    files: Mapping[str, bytes],
    folder: str,
    problems: list[Problem],
    read: Callable[[str, Node], _Read],
) -> dict[str, _Read]:
    found: dict[str, _Read] = {}
    for name in _names(files, folder):
        path = f"{folder}/{name}.json"
        try:
            found[name] = read(name, parse_file(path, files[path]))
        except TooMuchWork as refused:
            raise PackageRefused([*problems, *refused.problems]) from refused
        except PackageRefused as refused:
            problems.extend(refused.problems)
    return found


def _in_order(manifest: Manifest, rules: Mapping[str, Rule], files: set[str]) -> tuple[Rule, ...]:
    order: list[str] = []
    for node in manifest.rules:
        name = node.text()
        if name not in files:
            raise node.refused(f"there is no rules/{name[:40]}.json{suggest(name, files)}")
        if name in order:
            raise node.refused(f"the rule {name!r} is named twice")
        order.append(name)
    if unnamed := sorted(files - set(order)):
        reason = f"manifest.json does not name this rule under 'rules': {', '.join(unnamed)}"
        raise PackageRefused([Problem(f"rules/{unnamed[0]}.json", None, reason, "")])
    return tuple(rules[name] for name in order if name in rules)
