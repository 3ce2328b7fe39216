"""Keeps what a log signed twice, of one size with different roots: nobody else may have both."""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path

from lotmark.checkpoint import parse_checkpoint
from lotmark.errors import ProtocolError
from lotmark.evidence import checkpoints_evidence
from lotmark.key_file import write_new_file
from lotmark.signed_note import Note, format_note
from lotmark_consensus.disk import make_folder

KEPT_FILES_MAX = 100  # a log that signs without end shall not fill the disk
FOLDER = "evidence"

logger = logging.getLogger(__name__)


def keep_contradiction(data: Path, chain_id: bytes | None, first: Note, second: Note) -> None:
    """Write two contradicting notes to the folder `evidence` under `data`, once.

    That it fails is logged and stops nothing: the second note is not cosigned either way.

    Args:
        data: The witness's data folder.
        chain_id: Of a Lotmark chain, for a file that `lotmark evidence verify` reads; None for
            another log, whose two notes are kept as they are.
        first: What was cosigned.
        second: What contradicts it, by a signature of the log that holds.
    """
    tree = parse_checkpoint(second.text)
    told = {"origin": tree.origin, "size": tree.size, "root": tree.root.hex()}
    origin_hash = hashlib.sha256(tree.origin.encode()).hexdigest()
    stem = f"{origin_hash[:16]}-{tree.size}-{tree.root.hex()[:16]}"
    files = (
        {f"{stem}.json": checkpoints_evidence(chain_id, first, second)}
        if chain_id is not None
        else {f"{stem}-first.note": format_note(first), f"{stem}-second.note": format_note(second)}
    )
    try:
        kept = _write(data / FOLDER, files)
    except (ProtocolError, OSError) as error:
        logger.error("log contradicts itself, not kept", extra={**told, "reason": str(error)})
        return
    logger.error("log contradicts itself", extra={**told, "kept_in": [str(path) for path in kept]})


def _write(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    make_folder(folder)
    there = {path.name for path in folder.iterdir()}
    if len(there) + len(files) > KEPT_FILES_MAX and not there >= set(files):
        raise OSError(f"{folder} has {len(there)} files; at most {KEPT_FILES_MAX} are kept")
    for name, content in files.items():
        if name not in there:
            write_new_file(folder / name, content)
    return [folder / name for name in files]
