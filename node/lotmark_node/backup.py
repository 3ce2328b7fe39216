"""A node's backup: what may be kept elsewhere and read again, and nothing that could fork a chain.

In the folder: `ledger.snapshot`, the whole ledger as any auditor verifies it; `evidence/`; the
settings and the founding documents; `backup.json`, which names each file with its digest. Neither
private keys nor the node's data are in it: a node that starts from less than it has shown
contradicts itself, so no node starts from a backup (docs/decisions/0016).
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from lotmark.client.session import LedgerSession
from lotmark.client.settings import ClientSettings
from lotmark.errors import ProtocolError
from lotmark.genesis import chain_id as chain_id_of
from lotmark.key_file import write_new_file
from lotmark.snapshot_reader import SnapshotReader
from lotmark.verify.report import Conclusion
from lotmark_node.engine.evidence_folder import FOLDER as EVIDENCE
from lotmark_node.node_settings import NodeSettings
from lotmark_node.verification.verify import verify_snapshot

FORMAT = "lotmark-backup/1"
MANIFEST, SNAPSHOT = "backup.json", "ledger.snapshot"
SETTINGS, GENESIS, ACCEPTANCES = "node.toml", "genesis.json", "acceptances.json"
MANIFEST_SIZE_MAX = 1 << 20

Progress = Callable[[int, int], None]


class BackupRefused(ProtocolError):
    """A backup cannot be made or used; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupManifest:
    """What a backup says of itself."""

    format: str
    node: str
    chain_id: str
    made_ms: int
    size: int  # entries of the ledger in it
    signed_size: int  # the largest tree that the node had signed: it may never sign a smaller one
    digests: dict[str, str]  # SHA-256 in hex, by the file's path in the folder


def back_up(
    settings_file: Path,
    settings: NodeSettings,
    folder: Path,
    *,
    now_ms: int,
    progress: Progress | None = None,
) -> BackupManifest:
    """Write a backup of a running node, which is asked for its ledger as any client would.

    Args:
        settings_file: The node's.
        settings: What stands in it.
        folder: Where to; new or empty. Nothing is left in it where this fails.
        now_ms: Unix time.
        progress: Called with the bytes received and those there are.

    Raises:
        BackupRefused: The folder is in use, or what the node gave does not verify.
        ConnectionError, TimeoutError: The node does not answer.
        ProtocolError, OSError: Something cannot be read or written.
    """
    _refuse_used(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        return _write(settings_file, settings, folder, now_ms, progress)
    except BaseException:
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise


def _write(
    settings_file: Path,
    settings: NodeSettings,
    folder: Path,
    now_ms: int,
    progress: Progress | None,
) -> BackupManifest:
    genesis = settings.genesis.read_bytes()
    chain_id = chain_id_of(genesis)
    with LedgerSession(_as_client(settings, chain_id)) as session:
        signed_size = session.checkpoint().size
        with (folder / SNAPSHOT).open("xb") as out:
            session.export_snapshot(out, progress=progress)
            out.flush()
            os.fsync(out.fileno())
    size = _verified_size(folder / SNAPSHOT, chain_id)
    write_new_file(folder / SETTINGS, settings_file.read_bytes(), mode=0o600)
    write_new_file(folder / GENESIS, genesis, mode=0o600)
    write_new_file(folder / ACCEPTANCES, settings.acceptances.read_bytes(), mode=0o600)
    kept = settings.data / EVIDENCE
    if kept.is_dir():
        (folder / EVIDENCE).mkdir(mode=0o700)
        for path in sorted(kept.iterdir()):
            write_new_file(folder / EVIDENCE / path.name, path.read_bytes(), mode=0o600)
    manifest = BackupManifest(
        format=FORMAT,
        node=settings.name,
        chain_id=chain_id.hex(),
        made_ms=now_ms,
        size=size,
        signed_size=signed_size,
        digests={str(path.relative_to(folder)): _digest(path) for path in _files(folder)},
    )
    raw = json.dumps(asdict(manifest), indent=1).encode()
    write_new_file(folder / MANIFEST, raw, mode=0o600)
    return manifest


def _as_client(settings: NodeSettings, chain_id: bytes) -> ClientSettings:
    """Return how a node's own certificate calls the node: it may read all, and signs nothing."""
    nowhere = settings.data / "no-such-file"
    return ClientSettings(
        chain_id=chain_id,
        party=settings.party,
        holder=settings.node,
        node_party=settings.party,
        node_name=settings.node,
        node_address=settings.listen,
        batch_key=nowhere,
        certificate=settings.tls_certificate,
        certificate_key=settings.tls_key,
        genesis=settings.genesis,
        outbox_file=nowhere,
    )


def check_backup(folder: Path, chain_id: bytes) -> BackupManifest:
    """Return what a backup holds, after every digest and the whole ledger were checked.

    Raises:
        BackupRefused: It is none, of another chain, or not as it was written.
        OSError: A file cannot be read.
    """
    manifest = _read_manifest(folder / MANIFEST)
    if manifest.chain_id != chain_id.hex():
        raise BackupRefused(f"{folder} is a backup of chain {manifest.chain_id}, another one")
    found = {str(path.relative_to(folder)): path for path in _files(folder)}
    found.pop(MANIFEST)
    if found.keys() != manifest.digests.keys():
        odd = sorted(found.keys() ^ manifest.digests.keys())[0]
        raise BackupRefused(f"{folder / odd} is missing, or was not backed up; use another copy")
    for name, path in found.items():
        if _digest(path) != manifest.digests[name]:
            raise BackupRefused(f"{path} is not as it was written; use another copy")
    if _verified_size(folder / SNAPSHOT, chain_id) != manifest.size:
        raise BackupRefused(f"{folder / MANIFEST} tells another size than the ledger has")
    return manifest


def restore(folder: Path, target: Path, chain_id: bytes) -> BackupManifest:
    """Copy a backup's content, verified, to where it can be read; no node starts from it.

    Raises:
        BackupRefused: The backup is not sound, or the target is in use.
        OSError: A file cannot be read or written.
    """
    manifest = check_backup(folder, chain_id)
    _refuse_used(target)
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in manifest.digests:
        path = target / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        shutil.copyfile(folder / name, path)
    return manifest


def _refuse_used(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or next(folder.iterdir(), None) is not None):
        raise BackupRefused(f"{folder} is in use; name a folder that is new or empty")


def _read_manifest(path: Path) -> BackupManifest:
    with path.open("rb") as file:
        raw = file.read(MANIFEST_SIZE_MAX + 1)
    try:
        fields = json.loads(raw)
        manifest = BackupManifest(**fields)
    except (ValueError, TypeError, RecursionError) as error:
        raise BackupRefused(f"{path} is no backup's manifest: {error}") from error
    if manifest.format != FORMAT or not isinstance(manifest.digests, dict):
        raise BackupRefused(f"{path}: format {manifest.format!a} is not {FORMAT}")
    return manifest


def _verified_size(snapshot: Path, chain_id: bytes) -> int:
    with snapshot.open("rb") as source:
        verdict = verify_snapshot(source, chain_id=chain_id)
    if verdict.conclusion is not Conclusion.VALID:
        raise BackupRefused(f"{snapshot}: {' '.join(verdict.lines())}")
    with snapshot.open("rb") as source:
        return SnapshotReader(source).manifest.size


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if not path.is_dir())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
