"""Whether a package may go on the ledger: a pure function, so that every node says the same."""

from collections.abc import Mapping

from lotmark.errors import ProtocolError
from lotmark.event import EVENT_TYPES
from lotmark_contracts.package.errors import PackageRefused, Problem
from lotmark_contracts.package.package import MANIFEST, Package, load_package
from lotmark_contracts.package.upgrade import check_upgrade
from lotmark_contracts.scenarios.scenario_runner import run_scenarios
from lotmark_node.state_machine.rule_events import CONTRACT_EVENT, is_native, undeclarable


class PackageMismatch(ProtocolError):
    """A package is another one than was proposed."""


def check_package(
    files: Mapping[str, bytes],
    *,
    name: str,
    version: int,
    package_hash: bytes,
    older: Package | None,
) -> Package:
    """Return the package that files make, if it may come into force.

    Args:
        files: By path within the package, tests included.
        name: That was proposed.
        version: Likewise.
        package_hash: Likewise.
        older: The newest version that was approved, if there is one.

    Raises:
        PackageRefused: It breaks a rule; each problem names its place.
        PackageMismatch: It is another one than was proposed.
    """
    package = load_package(files)
    found = package.manifest.name, package.manifest.version, package.hash
    if found != (name, version, package_hash):
        raise PackageMismatch(
            f"the parts make {found[0]} version {found[1]} with hash {found[2].hex()}, proposed is"
            f" {name} version {version} with hash {package_hash.hex()}"
        )
    check_fits_ledger(package)
    if older is not None:
        check_upgrade(older, package)
    results = run_scenarios(package, files)
    problems = [problem for result in results for problem in result.problems]
    if problems:
        raise PackageRefused(problems)
    return package


def check_fits_ledger(package: Package) -> None:
    """Check what a package says of the ledger's own events.

    Raises:
        PackageRefused: It reads fields that they do not have, or takes their names for its own.
    """
    reasons = []
    for name, record in package.manifest.events.items():
        if name == CONTRACT_EVENT:
            reasons.append(f"{name!r} is how events of packages come; name the event itself")
        elif is_native(name):
            reasons.append(undeclarable(name, record) or "")
    for name in package.manifest.timers:
        if name in EVENT_TYPES:
            reasons.append(f"a timer cannot have the name of the ledger's event {name!r}")
    for name in package.manifest.evidence:
        if name not in EVENT_TYPES or name == CONTRACT_EVENT:
            known = ", ".join(sorted(set(EVENT_TYPES) - {CONTRACT_EVENT}))
            reasons.append(f"{name!r} is no event of the ledger; there are {known}")
    problems = [Problem(MANIFEST, None, reason, "") for reason in reasons if reason]
    if problems:
        raise PackageRefused(problems)
