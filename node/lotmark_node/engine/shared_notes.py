"""Checkpoints that others show: what counts in them is what the policy knows."""

from dataclasses import replace

from lotmark.checkpoint import Checkpoint, parse_checkpoint
from lotmark.errors import MalformedError, ProofError
from lotmark.signed_note import Note, NoteSignature, parse_note
from lotmark.tlog_policy import NO_QUORUM, Policy

POLICIES_MAX = 16  # remembered, for notes that are shown late
SHARED_NOTE_SIZE_MAX = 64 << 10  # one with all signatures that fit takes a third of it


class _Judge:
    """One policy, as it is asked here."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.anybody = replace(policy, quorum=NO_QUORUM)
        self.party_count = len({witness.name.partition("/")[0] for witness in policy.witnesses})
        self.log_keys = {(log.vkey.name, log.vkey.key_id) for log in policy.logs}
        cosign_keys = {(item.vkey.name, item.vkey.key_id) for item in policy.witnesses}
        self._known = self.log_keys | cosign_keys

    def knows(self, signature: NoteSignature) -> bool:
        """Return whether a signature is by a key of the policy."""
        return _key(signature) in self._known


class NoteReader:
    """Reads checkpoints that others show, each by the policy in force at its size; thread-safe."""

    def __init__(self, origin: str, policy: Policy) -> None:
        """Begin.

        Args:
            origin: The log's.
            policy: In force now; what was in force before is not asked any more.
        """
        self._origin = origin
        # Tree size from which each judges, ascending; replaced as a whole.
        self._judges: tuple[tuple[int, _Judge], ...] = ((0, _Judge(policy)),)

    def follow(self, size: int, policy: Policy) -> None:
        """Judge by another policy from the tree of `size` on."""
        self._judges = (*self._judges, (size, _Judge(policy)))[-POLICIES_MAX:]

    @property
    def party_count(self) -> int:
        """How many parties can cosign."""
        return self._judges[-1][1].party_count

    @property
    def voter_count(self) -> int:
        """How many voters there are, each with a log key of its own."""
        return len(self._judges[-1][1].log_keys)

    def _judge_of(self, text: str) -> _Judge:
        size, judges = parse_checkpoint(text).size, self._judges
        return next((each for first, each in reversed(judges) if first <= size), judges[0][1])

    def read(self, raw: bytes) -> tuple[Note, Checkpoint]:
        """Return a checkpoint of the log, signed by a voter, without signatures of unknown keys.

        Raises:
            MalformedError: It is none, or one of another log.
            SignatureError: A signature of a known key does not hold, or no voter signed.
        """
        note = parse_note(raw, size_max=SHARED_NOTE_SIZE_MAX)
        judge = self._judge_of(note.text)
        checkpoint = judge.anybody.check(note).checkpoint
        if checkpoint.origin != self._origin or checkpoint.extensions or not checkpoint.size:
            raise MalformedError(f"the checkpoint is none of {self._origin}: {note.text[:120]!a}")
        return Note(note.text, tuple(filter(judge.knows, note.signatures))), checkpoint

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
        judge = self._judge_of(note.text)
        for signature in filter(judge.knows, other.signatures):
            note = self.with_signature(note, signature)
        judge.anybody.check(note)
        return note

    def is_final(self, note: Note) -> bool:
        """Return whether the quorum has cosigned a note whose signatures all hold."""
        try:
            self._judge_of(note.text).policy.check(note)
        except ProofError:
            return False
        return True

    def cosigned_by(self, note: Note) -> set[str]:
        """Return the parties that cosigned a note whose signatures all hold."""
        cosigned = self._judge_of(note.text).anybody.check(note).cosigned
        return {name.partition("/")[0] for name, _ in cosigned}

    def signed_by_logs(self, note: Note) -> set[tuple[str, bytes]]:
        """Return the voters' log keys that signed a note whose signatures all hold."""
        return self._judge_of(note.text).log_keys & set(map(_key, note.signatures))


def _key(signature: NoteSignature) -> tuple[str, bytes]:
    return signature.name, signature.key_id
