"""Checks of a node's folder that need no network: is everything there that its next start needs?"""

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from lotmark.ca_certificate import load_ca
from lotmark.errors import ProtocolError
from lotmark.genesis import Genesis
from lotmark.genesis import chain_id as chain_id_of
from lotmark.key_grant import NODE_PURPOSES
from lotmark_consensus.errors import ConsensusError, JournalLocked
from lotmark_consensus.journal import Journal
from lotmark_consensus.raft.rocks_log import RocksLogStore
from lotmark_consensus.segment import TornTail
from lotmark_node.checkpoint_checks import check_final_checkpoint
from lotmark_node.compose import read_consortium, read_node_keys
from lotmark_node.engine.errors import EngineError
from lotmark_node.engine.ledger_engine import FREE_SIZE_MIN
from lotmark_node.engine.store import LedgerStore, OrderPlace
from lotmark_node.findings import Finding, Health, lasting
from lotmark_node.http.api_keys import ApiKeyFile
from lotmark_node.http.service import api_keys_file, read_service
from lotmark_node.node_settings import NodeSettings, check_peers
from lotmark_node.tls_pair import read_tls_pair

FREE_SIZE_LOW = 4 * FREE_SIZE_MIN
CLOCK_BEHIND_MAX_MS = 5_000  # a voter takes no block that is further ahead of its own clock

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def check_node(settings: NodeSettings, *, now_ms: int) -> Iterator[Finding]:
    """Check a node's files and ledger, one after the other; the node may run meanwhile.

    A stopped node's journal and store are opened as its next start will: what a crash left of an
    unfinished write is cut off.
    """
    yield from _guarded("folder", lambda: _check_folder(settings))
    try:
        genesis, _ = read_consortium(settings)
    except (ProtocolError, OSError) as error:
        yield Finding("genesis", Health.BAD, _said(error))
        return
    chain_id = chain_id_of(genesis.to_json())
    yield Finding(
        "genesis",
        Health.GOOD,
        f"chain {chain_id.hex()[:16]}…, accepted by {len(genesis.parties)} parties",
    )
    now = datetime.fromtimestamp(now_ms / 1_000, UTC)
    yield from _guarded("voters", lambda: _check_voters(settings, genesis))
    yield from _guarded("clock", lambda: _check_clock(genesis, now_ms))
    yield from _guarded("keys", lambda: _check_keys(settings, genesis, now))
    yield from _guarded("certificate", lambda: _check_certificate(settings, genesis, now_ms))
    if settings.http is not None:
        yield from _guarded("http", lambda: _check_http(settings))
    yield from _guarded("space", lambda: _check_space(settings.data))
    yield from _guarded("ledger", lambda: _check_ledger(settings, genesis, now_ms))
    yield from _guarded(
        "checkpoint", lambda: check_final_checkpoint(settings.data, genesis, now_ms=now_ms)
    )


def _guarded(check: str, findings: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Give the findings of a check, and what stops it as its last one."""
    try:
        yield from findings()
    except JournalLocked:
        yield Finding(
            check, Health.UNCHECKED, "in use by the running node; stop it to look into it"
        )
    except (ProtocolError, EngineError, ConsensusError, OSError) as error:
        yield Finding(check, Health.BAD, _said(error))


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}; name the right file in the settings"
    return str(error)


def _check_folder(settings: NodeSettings) -> Iterator[Finding]:
    """Check that nobody but the node's own user can change what it relies on."""
    paths = [settings.genesis, settings.acceptances, settings.tls_certificate]
    paths += [settings.data] if settings.data.exists() else []
    open_to_others = [path for path in paths if path.stat().st_mode & _OTHERS_WRITE]
    for path in open_to_others:
        mode = stat.S_IMODE(path.stat().st_mode)
        yield Finding(
            "folder",
            Health.WARNING,
            f"{path} has mode {mode:04o}, so others can change it: chmod go-w {path}",
        )
    if not open_to_others:
        yield Finding("folder", Health.GOOD, "only its owner can change what is in it")


def _check_voters(settings: NodeSettings, genesis: Genesis) -> Iterator[Finding]:
    check_peers(settings, genesis)
    count = len(genesis.voters)
    text = f"{settings.name} is the only voter" if count == 1 else f"{count}, each with its address"
    yield Finding("voters", Health.GOOD, text)


def _check_clock(genesis: Genesis, now_ms: int) -> Iterator[Finding]:
    behind_ms = genesis.created_ms - now_ms
    if behind_ms > CLOCK_BEHIND_MAX_MS:
        yield Finding(
            "clock",
            Health.BAD,
            f"{_time(now_ms)} here, but the chain was founded at {_time(genesis.created_ms)}: set"
            " this machine's clock",
        )
    else:
        yield Finding("clock", Health.GOOD, f"{_time(now_ms)}, after the chain was founded")


def _time(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1_000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _check_keys(settings: NodeSettings, genesis: Genesis, now: datetime) -> Iterator[Finding]:
    keys = read_node_keys(settings, genesis)
    own = {keys.proposal.public, keys.log.public, keys.cosign.public, keys.admit.public}
    # Of one that was registered later the ledger knows the end, and the metrics tell it.
    ends_ms = min(first.grant.not_after_ms for first in genesis.keys if first.grant.key in own)
    yield lasting(
        "keys",
        f"the {len(NODE_PURPOSES)} keys are those of {settings.party}/{settings.node}",
        datetime.fromtimestamp(ends_ms / 1_000, UTC),
        now,
        "lotmark key rotate for the proposal and the cosign key; the log and the admit key have no"
        " successors in this version, so found a new chain",
    )


def _check_certificate(settings: NodeSettings, genesis: Genesis, now_ms: int) -> Iterator[Finding]:
    pair = read_tls_pair(
        settings.tls_owner,
        genesis.ca_certificates(),
        chain_id_of(genesis.to_json()),
        now_ms=now_ms,
    )
    certificate = x509.load_pem_x509_certificate(pair.certificate)
    now = datetime.fromtimestamp(now_ms / 1_000, UTC)
    ca = genesis.party(settings.party)
    assert ca is not None, "the certificate's party was checked against the genesis"
    yield lasting(
        "certificate",
        f"of {settings.name}",
        certificate.not_valid_after_utc,
        now,
        "renew it: lotmark key renew-cert",
    )
    yield lasting(
        "CA",
        f"of {settings.party}",
        load_ca(ca.ca_pem, party=ca.id).not_valid_after_utc,
        now,
        "found a new chain with a new CA",
    )


def _check_http(settings: NodeSettings) -> Iterator[Finding]:
    """Check in whose name the HTTP endpoint acts, and that somebody may use it."""
    service, _ = read_service(settings)
    keys = ApiKeyFile(api_keys_file(settings)).all()
    count = sum(key.service == service and not key.revoked_ms for key in keys)
    text = f"for {service.party}/{service.holder}, API keys in force: {count}"
    if count:
        yield Finding("http", Health.GOOD, text)
    else:
        yield Finding("http", Health.NOTICE, f"{text}; lotmark node api-key new makes one")


def _check_space(data: Path) -> Iterator[Finding]:
    existing = next(path for path in (data, *data.parents) if path.exists())
    disk = shutil.disk_usage(existing)
    text = f"{disk.free / 2**30:.1f} GiB of {disk.total / 2**30:.1f} GiB free on the disk of {data}"
    if disk.free < FREE_SIZE_MIN:
        yield Finding("space", Health.BAD, f"{text}: new events are refused; make room")
    elif disk.free < FREE_SIZE_LOW:
        yield Finding("space", Health.WARNING, f"{text}: make room before events are refused")
    else:
        yield Finding("space", Health.GOOD, text)


@dataclass(frozen=True, slots=True)
class _Order:
    """How far the order's journal goes."""

    last_index: int
    torn: TornTail | None
    waiting_are: str  # what the entries are that the ledger has not applied
    remedy: str  # where it ends before the ledger


def _open_order(folder: Path, chain_id: bytes, voter_count: int, opened: ExitStack) -> _Order:
    """Open the journal that a node with so many voters keeps, and leave it open."""
    if voter_count == 1:
        journal = Journal(folder, chain_id)
        opened.callback(journal.close)
        return _Order(
            journal.last_index,
            journal.torn_tail,
            "blocks that the next start applies",
            "one of the two folders is an older copy: put back the one that ran last",
        )
    log = RocksLogStore(folder, chain_id)
    opened.callback(log.close)
    return _Order(
        log.load().last_index,
        None,
        "entries of the order that it has not applied yet",
        "it is an older copy: never start it; the others go on without this voter, whose place no"
        " other can take yet",
    )


def _check_ledger(settings: NodeSettings, genesis: Genesis, now_ms: int) -> Iterator[Finding]:
    """Open journal and store as a start does."""
    data, chain_id = settings.data, chain_id_of(genesis.to_json())
    if not (data / "journal").exists():
        yield Finding("ledger", Health.NOTICE, f"{data} holds none yet: the first start makes it")
        return
    if (reason := owned_by_another(data)) is not None:
        yield Finding("ledger", Health.UNCHECKED, reason)
        return
    with ExitStack() as opened:
        order = _open_order(data / "journal", chain_id, len(genesis.voters), opened)
        store = LedgerStore(data / "ledger", chain_id)
        opened.callback(store.close)
        loaded = store.load_position()
    height, size, place = 0, 0, OrderPlace(index=0, term=0)
    if loaded is not None:
        yield from _check_newest_time(loaded[0].time_ms, now_ms)
        height, size, place = loaded[0].height, loaded[0].frontier.size, loaded[1]
    waiting = order.last_index - place.index
    if waiting < 0 and not place.leapt:
        raise EngineError(
            f"{data}: the ledger has applied block {place.index} of the order, but the journal ends"
            f" at {order.last_index}; {order.remedy}"
        )
    if (torn := order.torn) is not None:
        yield Finding(
            "ledger",
            Health.NOTICE,
            f"{torn.size} bytes at the end of {torn.path} were no whole append and were cut off"
            + (f"; they are kept in {torn.kept_in}" if torn.kept_in else ""),
        )
    later = f", and {waiting} {order.waiting_are}" if waiting > 0 else ""
    yield Finding("ledger", Health.GOOD, f"height {height}, {size} entries{later}")


def owned_by_another(data: Path) -> str | None:
    """Return why a ledger must not be opened by this user: the node could not use its files then.

    None: it is this user's.
    """
    owner = data.stat().st_uid
    if owner == os.geteuid():
        return None
    return f"{data} is of user {owner}, whose node could not open what another leaves: ask as that"


def _check_newest_time(time_ms: int, now_ms: int) -> Iterator[Finding]:
    """Say where the clock is behind the ledger's, so that the node would refuse new blocks."""
    if time_ms - now_ms > CLOCK_BEHIND_MAX_MS:
        yield Finding(
            "clock",
            Health.WARNING,
            f"{_time(now_ms)} here, but the newest block is of {_time(time_ms)}, and a voter takes"
            f" no block over {CLOCK_BEHIND_MAX_MS // 1_000} s ahead: set this machine's clock",
        )
