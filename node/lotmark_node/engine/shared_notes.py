"""Checkpoints that others show: what counts in them is what the policy knows."""

from dataclasses import replace

from lotmark.checkpoint import Checkpoint
from lotmark.errors import MalformedError, ProofError
from lotmark.signed_note import Note, NoteSignature, parse_note
from lotmark.tlog_policy import NO_QUORUM, Policy

SHARED_NOTE_SIZE_MAX = 64 << 10  # one with all signatures that fit takes a third of it


class NoteReader:
    """Reads checkpoints that others show, by the policy of one log.

    Attributes:
        party_count: How many parties can cosign.
    """

    def __init__(self, origin: str, policy: Policy) -> None:
        self._origin = origin
        self._policy = policy
        self._anybody = replace(policy, quorum=NO_QUORUM)
        self.party_count = len({witness.name.partition("/")[0] for witness in policy.witnesses})
        keys = [log.vkey for log in policy.logs] + [item.vkey for item in policy.witnesses]
        self._known = {(key.name, key.key_id) for key in keys}

    def read(self, raw: bytes) -> tuple[Note, Checkpoint]:
        """Return a checkpoint of the log, signed by a voter, without signatures of unknown keys.

        Raises:
            MalformedError: It is none, or one of another log.
            SignatureError: A signature of a known key does not hold, or no voter signed.
        """
        note = parse_note(raw, size_max=SHARED_NOTE_SIZE_MAX)
        checkpoint = self._anybody.check(note).checkpoint
        if checkpoint.origin != self._origin or checkpoint.extensions or not checkpoint.size:
            raise MalformedError(f"the checkpoint is none of {self._origin}: {note.text[:120]!a}")
        return Note(note.text, tuple(filter(self._is_known, note.signatures))), checkpoint

    def with_signature(self, note: Note, signature: NoteSignature) -> Note:
        """Return a note with a signature more, unless this key has signed it already."""
        if _key(signature) in map(_key, note.signatures):
            return note
        return Note(note.text, (*note.signatures, signature))

    def merge(self, note: Note, other: Note) -> Note:
        """Return `note` with the known signatures that another of the same text has beyond it.

        Raises:
            SignatureError: One of them does not hold.
        """
        assert note.text == other.text, "signatures are of one text"
        for signature in filter(self._is_known, other.signatures):
            note = self.with_signature(note, signature)
        self._anybody.check(note)
        return note

    def is_final(self, note: Note) -> bool:
        """Return whether the quorum has cosigned a note whose signatures all hold."""
        try:
            self._policy.check(note)
        except ProofError:
            return False
        return True

    def cosigned_by(self, note: Note) -> set[str]:
        """Return the parties that cosigned a note whose signatures all hold."""
        cosigned = self._anybody.check(note).cosigned
        return {name.partition("/")[0] for name, _ in cosigned}

    def _is_known(self, signature: NoteSignature) -> bool:
        return _key(signature) in self._known


def _key(signature: NoteSignature) -> tuple[str, bytes]:
    return signature.name, signature.key_id
