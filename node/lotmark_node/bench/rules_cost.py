"""What the shipped packages cost a ledger of a stator line: two ledgers, one with them in force."""

import hashlib
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median

from lotmark.governing_events import GoverningEvents
from lotmark.key_file import read_key_file
from lotmark.package_change import archive_parts, change_bytes, change_hash, encode_archive
from lotmark.v1 import contracts_pb2
from lotmark_contracts.package.package import load_package
from lotmark_node.bench.history_ledger import HistoryLedger, found_history
from lotmark_node.bench.line_history import LINE, SignedLater, line_history
from lotmark_node.package_folder import shipped_files, shipped_names

_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much a run does."""

    units: int  # stators in a round, of some 12 events each
    rounds: int  # of which the median counts


FULL = Extent(units=1_500, rounds=9)
QUICK = Extent(units=1_000, rounds=3)


def run_extent(extent: Extent) -> dict[str, float]:
    """Return what a line's events cost with all shipped packages in force, over what without.

    Counted is processor time of preparing, ordering, applying, indexing and writing them; what a
    node spends on its callers is left out, so on a node the share is smaller.
    """
    ratios = [_ratio(extent.units, seed) for seed in range(extent.rounds)]
    return {"ledger_cost_ratio": round(median(ratios), 3)}


def _ratio(units: int, seed: int) -> float:
    """Return what rules cost two new ledgers of the same history; who comes first takes turns."""
    took = {}
    with tempfile.TemporaryDirectory(prefix="lotmark-bench-", dir=Path.cwd()) as folder:
        for is_ruled in (bool(seed % 2), not seed % 2):
            found_history(Path(folder) / str(is_ruled))
            with HistoryLedger(Path(folder) / str(is_ruled)) as ledger:
                if is_ruled:
                    _bring_into_force(ledger, shipped_names())
                took[is_ruled] = _append(ledger, units, seed)
    return took[True] / took[False]


def _append(ledger: HistoryLedger, units: int, seed: int) -> float:
    """Append some stators and return the processor time of an event, in seconds."""
    history = list(line_history(units, seed))
    start_s = time.process_time()
    for _ in ledger.append(history, is_new=True):
        """Block by block."""
    return (time.process_time() - start_s) / len(history)


def _bring_into_force(ledger: HistoryLedger, names: Sequence[str]) -> None:
    """Have every party approve packages, one a block."""
    parties = sorted(each.name for each in ledger.folder.iterdir() if (each / "roots").is_dir())
    keys = {party: read_key_file(ledger.folder / party / "roots/root-1.key") for party in parties}
    number = count()
    for name in names:
        files = shipped_files(name)
        package, parts = load_package(files), archive_parts(encode_archive(files))
        now_ms = time.time_ns() // 1_000_000
        made = GoverningEvents(ledger.chain_id, now_ms=now_ms)
        change = contracts_pb2.PackageChange(
            expires_ms=now_ms + _DAY_MS,
            activate=contracts_pb2.PackageActivation(
                name=package.name,
                version=package.manifest.version,
                package=package.hash,
                parts=[hashlib.sha256(part).digest() for part in parts],
            ),
        )
        hashed = change_hash(ledger.chain_id, change_bytes(change))
        first, *others = parties
        raws = [made.propose_package(change, first, [keys[first]])]
        raws += [made.bring_package_part(part) for part in parts]
        raws += [made.approve_package(hashed, party, [keys[party]]) for party in others]
        told = [SignedLater(now_ms, next(number), LINE, raw) for raw in raws]
        for _ in ledger.append(told, is_new=True):
            """Block by block."""
    if len(ledger.state.packages.versions) != len(names):
        raise RuntimeError(f"{len(ledger.state.packages.versions)} packages are in force")
