"""Checks how old the newest final checkpoint is that a voter among several keeps."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from lotmark.cosignature import verify_cosignature
from lotmark.errors import ProtocolError
from lotmark.genesis import Genesis, chain_id, origin, policy_text
from lotmark.signed_note import Note
from lotmark.tlog_policy import Policy, parse_policy
from lotmark_node.engine.known_checkpoints import KnownCheckpoints
from lotmark_node.engine.shared_notes import NoteReader
from lotmark_node.findings import Finding, Health

AGE_MAX_MS = 86_400_000


def check_final_checkpoint(data: Path, genesis: Genesis, *, now_ms: int) -> Iterator[Finding]:
    """Say what the file beside the ledger says; nothing where a node has none, alone or new."""
    raw = KnownCheckpoints(data).kept()
    if raw is None:
        return
    chain = chain_id(genesis.to_json())
    policy = parse_policy(policy_text(genesis, chain))
    try:
        note, checkpoint = NoteReader(origin(genesis, chain), policy).read(raw)
    except ProtocolError as error:
        yield Finding(
            "checkpoint",
            Health.NOTICE,
            f"the kept final checkpoint is none of this chain ({error}); the leader shares another",
        )
        return
    made_ms = max(_cosigned_ms(note, policy), default=0)
    made = datetime.fromtimestamp(made_ms / 1_000, UTC)
    text = f"the newest final one has {checkpoint.size} entries, cosigned {made:%Y-%m-%d %H:%M} UTC"
    if now_ms - made_ms > AGE_MAX_MS:
        yield Finding(
            "checkpoint",
            Health.NOTICE,
            f"{text}: nothing was ordered since, or too few cosign; lotmark network status tells",
        )
    else:
        yield Finding("checkpoint", Health.GOOD, text)


def _cosigned_ms(note: Note, policy: Policy) -> Iterator[int]:
    known = {(witness.vkey.name, witness.vkey.key_id): witness.vkey for witness in policy.witnesses}
    for signature in note.signatures:
        if (vkey := known.get((signature.name, signature.key_id))) is not None:
            yield verify_cosignature(note.text, signature, vkey) * 1_000
