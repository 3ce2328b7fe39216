"""The packages that parties have approved, and the rules in force in a block."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lotmark.event import EVENT_TYPES
from lotmark.package_change import parse_archive
from lotmark.state_rows import RowReader
from lotmark.v1 import contracts_pb2
from lotmark_contracts.execution.rule_book import ActivePackage, RuleBook
from lotmark_contracts.package.package import Package, load_package
from lotmark_node.state_machine.contract_rows import (
    package_names,
    package_proposal,
    package_row,
    part_key,
    version_rows,
)
from lotmark_node.state_machine.item_evidence import EVIDENCE_TYPES
from lotmark_node.state_machine.rule_events import CONTRACT_EVENT

VERSIONS_MAX = 16  # of a package that are executed side by side; claims of older ones go on anew


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovedVersion:
    """A version of a package."""

    package: Package
    approved_by: frozenset[str]
    from_height: int
    is_suspended: bool  # the package as a whole


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesInForce:
    """What rules do in the blocks from one height to another."""

    book: RuleBook
    listened: frozenset[int]  # event types that some rule listens to, as the ledger numbers them
    evidence_types: frozenset[int]
    suspended: frozenset[str]  # packages
    end_height: int | None  # from which other rules are in force, as far as is known


NO_RULES = RulesInForce(
    book=RuleBook([]),
    listened=frozenset(),
    evidence_types=EVIDENCE_TYPES,
    suspended=frozenset(),
    end_height=None,
)


@dataclass(slots=True)
class Packages:
    """All versions that were approved and may be executed."""

    versions: Sequence[ApprovedVersion] = ()
    _rules: RulesInForce | None = field(default=None, init=False)

    def rules_at(self, height: int) -> RulesInForce:
        """Return the rules of the block of `height`; heights are asked for in ascending order."""
        if not self.versions:
            return NO_RULES
        known = self._rules
        if known is None or (known.end_height is not None and height >= known.end_height):
            self._rules = known = _rules_at(self.versions, height)
        return known

    def newest(self, name: str) -> Package | None:
        """Return the newest version of a package that was approved, in force or not yet."""
        found = [each.package for each in self.versions if each.package.name == name]
        return found[-1] if found else None

    def in_force(self, name: str, height: int) -> ApprovedVersion | None:
        """Return the version of a package that is in force at a height, suspended or not."""
        found = [
            each
            for each in self.versions
            if each.package.name == name and each.from_height <= height
        ]
        return found[-1] if found else None


def _rules_at(versions: Sequence[ApprovedVersion], height: int) -> RulesInForce:
    active = [each for each in versions if each.from_height <= height and not each.is_suspended]
    book = RuleBook([ActivePackage(each.package, each.approved_by) for each in active])
    asked = {name for each in active for name in each.package.manifest.evidence}
    return RulesInForce(
        book=book,
        # Which events of packages are listened to, only their names tell.
        listened=frozenset(
            number
            for name, number in EVENT_TYPES.items()
            if (active if name == CONTRACT_EVENT else book.listens(name))
        ),
        evidence_types=EVIDENCE_TYPES | {EVENT_TYPES[name] for name in asked},
        suspended=frozenset(each.package.name for each in versions if each.is_suspended),
        end_height=min(
            (each.from_height for each in versions if each.from_height > height), default=None
        ),
    )


def load_packages(rows: RowReader, known: Mapping[bytes, Package] | None = None) -> Packages:
    """Return the packages of a state.

    Args:
        rows: The state.
        known: Packages that need not be parsed again, by hash.
    """
    versions = []
    for name in package_names(rows):
        row = package_row(rows, name)
        assert row is not None, "a package that is named has a row"
        for _, version in version_rows(rows, name)[-VERSIONS_MAX:]:
            package = (known or {}).get(version.package_hash)
            if package is None:
                package = load_package(files_of(rows, version.proposal))
            versions.append(
                ApprovedVersion(
                    package=package,
                    approved_by=frozenset(version.approvals),
                    from_height=version.from_height,
                    is_suspended=row.is_suspended,
                )
            )
    return Packages(versions)


def files_of(rows: RowReader, proposal: bytes) -> dict[str, bytes]:
    """Return the files of a package all of whose parts are there, by path.

    Args:
        rows: The state.
        proposal: Hash of the proposal that brought it.
    """
    row = package_proposal(rows, proposal)
    assert row is not None, "a package has a proposal"
    change = contracts_pb2.PackageChange.FromString(row.proposal)
    parts = [rows.get(part_key(proposal, at)) for at in range(len(change.activate.parts))]
    return parse_archive(b"".join([part for part in parts if part is not None]))
