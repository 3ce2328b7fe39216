"""Notes that name another tree than this node's own: kept as evidence, and weighed.

One party that shows another history may be broken or dishonest, and this node goes on. A quorum of
others may not, nor a majority of the voters: then this node's own history is not the consortium's,
and it stops.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lotmark.checkpoint import Checkpoint, parse_checkpoint
from lotmark.evidence import checkpoints_evidence, histories_evidence
from lotmark.finality_policy import quorum_count
from lotmark.signed_note import Note, format_note
from lotmark_node.engine.errors import HistoryConflict
from lotmark_node.engine.evidence_folder import EvidenceFolder
from lotmark_node.engine.log_tree import LogTree
from lotmark_node.engine.shared_notes import NoteReader

_TREES_REMEMBERED_MAX = 64


@dataclass(slots=True)
class _Against:
    """Who stands by another tree."""

    parties: set[str] = field(default_factory=set)  # that cosigned it, this node's not among them
    voters: set[tuple[str, bytes]] = field(default_factory=set)  # log keys that signed it


class Disputes:
    """Judges what others say of this node's log; any thread may ask."""

    def __init__(
        self,
        evidence: EvidenceFolder,
        *,
        chain_id: bytes,
        party: str,
        reader: NoteReader,
        tree: LogTree,
        on_dispute: Callable[[int], None],
    ) -> None:
        """Make it.

        Args:
            evidence: Takes what is to be kept.
            chain_id: The ledger's.
            party: This node's, whose own word does not count against it.
            reader: Knows whose word counts.
            tree: This node's log.
            on_dispute: Told the size of each other tree that somebody shows, when it is new.
        """
        self._evidence = evidence
        self._on_dispute = on_dispute
        self._chain_id = chain_id
        self._party = party
        self._reader = reader
        self._tree = tree
        self._lock = threading.Lock()
        # By tree size and root, by all that was shown so far.
        self._against: OrderedDict[tuple[int, bytes], _Against] = OrderedDict()

    def judge(
        self, shown_by: str, note: Note, checkpoint: Checkpoint, own_notes: Iterable[Note]
    ) -> None:
        """Keep evidence of a tree that this node's log does not begin with.

        Args:
            shown_by: Which node showed it.
            note: As `NoteReader` read it.
            checkpoint: What it says; of a size that this node's log has.
            own_notes: Notes of this node's own log.

        Raises:
            HistoryConflict: A quorum of other parties, or a majority of the voters, stands by it.
        """
        with self._lock:
            if (checkpoint.size, checkpoint.root) not in self._against:
                self._on_dispute(checkpoint.size)
            against = self._add(note, checkpoint)
            parties = against.parties
            beyond_doubt = (
                self._reader.is_final(note)
                or len(parties) >= self._enough
                or 2 * len(against.voters) > self._reader.voter_count
            )
            path = self._keep(shown_by, note, checkpoint, own_notes, at_any_price=beyond_doubt)
            if beyond_doubt:
                raise HistoryConflict(
                    f"{', '.join(sorted(parties))} cosigned root {checkpoint.root.hex()} at size"
                    f" {checkpoint.size}, where this node's ledger has"
                    f" {self._tree.root(checkpoint.size).hex()}; the evidence is"
                    f" {path or 'lost, as the disk took nothing more'}. Leave this node stopped,"
                    " keep its whole folder, compare it with the other parties' nodes, and replace"
                    " it by a node with a new id and new keys"
                )

    def _add(self, note: Note, checkpoint: Checkpoint) -> "_Against":
        against = self._against.setdefault((checkpoint.size, checkpoint.root), _Against())
        against.parties |= self._reader.cosigned_by(note) - {self._party}
        against.voters |= self._reader.signed_by_logs(note)
        if len(self._against) > _TREES_REMEMBERED_MAX:
            self._against.popitem(last=False)
        return against

    @property
    def _enough(self) -> int:
        """How many other parties must agree: a quorum, or all others where those are fewer.

        One is never enough: of two who contradict each other nobody knows which is wrong.
        """
        count = self._reader.party_count
        return max(2, min(quorum_count(count), count - 1))

    def _keep(
        self,
        shown_by: str,
        note: Note,
        checkpoint: Checkpoint,
        own_notes: Iterable[Note],
        *,
        at_any_price: bool,
    ) -> Path | None:
        """Keep evidence against whoever signed both this and a note of our log, or the note alone.

        Returns:
            The file; None: it is not there.
        """
        evidence = self._conviction(note, checkpoint, own_notes)
        signers = b"".join(sorted(signature.key_id for signature in note.signatures))
        digest = hashlib.sha256(note.text.encode() + signers).hexdigest()
        suffix = "note" if evidence is None else "json"
        return self._evidence.keep(
            f"{checkpoint.size}-{digest[:16]}.{suffix}",
            format_note(note) if evidence is None else evidence,
            event="another history of this ledger is signed",
            told={"shown_by": shown_by, "size": checkpoint.size},
            at_any_price=at_any_price,
        )

    def _conviction(
        self, note: Note, checkpoint: Checkpoint, own_notes: Iterable[Note]
    ) -> bytes | None:
        """Return evidence that convicts whoever signed both this and a note of our log."""
        ours = [(parse_checkpoint(own.text).size, own) for own in own_notes]
        for size, own in sorted(ours, key=lambda item: item[0]):
            if size < checkpoint.size or not _common_signers(note, own):
                continue
            if size == checkpoint.size:
                return checkpoints_evidence(self._chain_id, own, note)
            return histories_evidence(
                self._chain_id,
                note,
                own,
                prefix_root=self._tree.root(checkpoint.size),
                path=self._tree.consistency_path(checkpoint.size, size),
            )
        return None


def _common_signers(note: Note, other: Note) -> set[tuple[str, bytes]]:
    return {(each.name, each.key_id) for each in note.signatures} & {
        (each.name, each.key_id) for each in other.signatures
    }
