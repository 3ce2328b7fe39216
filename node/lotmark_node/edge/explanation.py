"""Why something is on record, or is not, and whether its raw file still says so."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from lotmark import canonical_json
from lotmark.canonical_json import JsonValue
from lotmark.event_rules import POLICY_DOCUMENT_SIZE_MAX
from lotmark.v1 import event_pb2
from lotmark_node.edge.errors import (
    EvidenceDamaged,
    EvidenceUnavailable,
    EvidenceUnknown,
    StoreUnusable,
)
from lotmark_node.edge.evidence_store import EvidenceStore
from lotmark_node.edge.kept_file import check_against_event, check_digest, read_kept_file
from lotmark_node.edge.memory_records import Decided
from lotmark_node.edge.site_memory import SiteMemory


class FileState(StrEnum):
    """What is known of a raw file."""

    MATCHES = "matches"  # it is there, and all that its event says follows from it
    KEPT = "kept"  # it is there and whole; no event is about it
    OPEN = "open"  # the observation is in a window that is not closed yet
    UNAVAILABLE = "unavailable"  # its retention was over
    DAMAGED = "damaged"  # it is missing, or not what it was
    UNREADABLE = "unreadable"  # at present
    NONE = "none"  # there never was one


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What became of something, and why.

    Attributes:
        decided: What became of it.
        rule: The rule that decided, as its policy is on record; None: none fitted, or none was
            asked.
        file_state: What is known of its raw file.
        file: SHA-256 of that; b"": there is none.
        detail: What is wrong with it; "" where nothing is.
    """

    decided: Decided
    rule: Mapping[str, JsonValue] | None
    file_state: FileState
    file: bytes
    detail: str


class Explainer:
    """Answers from a site's memory and store, also while the site runs."""

    def __init__(self, memory: SiteMemory, store: EvidenceStore) -> None:
        """Answer from these."""
        self._memory, self._store = memory, store

    def of_digest(self, digest: bytes) -> list[Explanation]:
        """Explain an event by its id, or a file by its digest; nothing: neither is known.

        Raises:
            MemoryUnusable: The memory cannot be read.
        """
        return [self._explained(each) for each in self._memory.decided_of(digest)]

    def of_signal(
        self, source: str, signal: str, *, at_us: int | None, count_max: int
    ) -> list[Explanation]:
        """Explain what became of a signal's observations, newest first.

        Args:
            source: Its name.
            signal: Its name at the site.
            at_us: Those that were made at that time; None: the newest.
            count_max: At most so many.

        Raises:
            MemoryUnusable: The memory cannot be read.
        """
        found = self._memory.decided_for(source, signal, at_us=at_us, count_max=count_max)
        return [self._explained(each) for each in found]

    def _explained(self, decided: Decided) -> Explanation:
        file, event = decided.file, decided.event
        if not file and decided.nonce:  # one observation in full: its line is in a window's file
            file = self._memory.file_of_window(decided.nonce)
        if not file:
            state, detail = (FileState.OPEN if decided.nonce else FileState.NONE), ""
        else:
            state, detail = self._file_state(file, event, is_window=bool(decided.nonce))
        return Explanation(
            decided=decided, rule=self._rule(decided), file_state=state, file=file, detail=detail
        )

    def _file_state(self, file: bytes, event: bytes, *, is_window: bool) -> tuple[FileState, str]:
        try:
            content = self._store.read(file)
            if not event:
                if is_window:
                    read_kept_file(content)
                return FileState.KEPT, ""
            parsed = event_pb2.Event.FromString(event)
            if is_window:
                check_against_event(content, parsed)
            else:
                check_digest(content, parsed)
        except EvidenceUnavailable as error:
            return FileState.UNAVAILABLE, str(error)
        except (EvidenceDamaged, EvidenceUnknown) as error:
            return FileState.DAMAGED, str(error)
        except StoreUnusable as error:
            return FileState.UNREADABLE, str(error)
        return FileState.MATCHES, ""

    def _rule(self, decided: Decided) -> Mapping[str, JsonValue] | None:
        name, _, version = decided.policy.rpartition("/")
        document = self._memory.policies(name).get(int(version)) if name else None
        if document is None or not decided.rule:
            return None
        found = canonical_json.load(document, size_max=POLICY_DOCUMENT_SIZE_MAX)
        assert isinstance(found, dict), "it was written here"
        rules = found["rules"]
        assert isinstance(rules, list), "so was this"
        rule = rules[decided.rule - 1]
        assert isinstance(rule, dict), "and this"
        return rule
