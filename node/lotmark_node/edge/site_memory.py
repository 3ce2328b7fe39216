"""What a site must not forget, in one SQLite file: what a kill leaves is what was written here.

Each change is one transaction, on disk when it returns. A report is one, with all that follows from
it: its observations, the position that its source goes on from, the windows that it closes, and the
events that are made of it, as bytes. So a source never gives a thing twice, and an event that is
handed on a second time after a kill is the very same one.
"""

from dataclasses import fields
from operator import attrgetter

from lotmark_adapters.observation import Position
from lotmark_node.edge.decision_memory import DecisionMemory
from lotmark_node.edge.evidence_memory import EvidenceMemory
from lotmark_node.edge.memory_records import Changes, Decided, Pending, Session, SourceState
from lotmark_node.edge.pending_memory import PendingMemory

# Rows in the order of the tables' columns; `dataclasses.astuple` would copy all values deeply.
_DECIDED_FIELDS = tuple(each.name for each in fields(Decided))
_decided_row = attrgetter(*_DECIDED_FIELDS)
_pending_row = attrgetter(*(each.name for each in fields(Pending)))


class SiteMemory(DecisionMemory, EvidenceMemory, PendingMemory):
    """A site's memory. Not for several threads at once."""

    def sources(self) -> list[SourceState]:
        """Return where each source stands."""
        return [
            SourceState(
                name=name,
                position=Position(
                    instance=instance, next_sequence=next_sequence, last_made_us=last_made_us
                ),
                observation_count=observation_count,
                gap_count=gap_count,
                context=context,
            )
            for (
                name,
                instance,
                next_sequence,
                last_made_us,
                observation_count,
                gap_count,
                context,
            ) in self._read("SELECT * FROM source ORDER BY name")
        ]

    def policies(self, name: str) -> dict[int, bytes]:
        """Return the documents of a policy by version."""
        rows = self._read("SELECT version, document FROM policy WHERE name = ?", name)
        return dict(rows)

    def policy_in_force(self) -> tuple[str, int] | None:
        """Return name and version of the policy that was put on record last."""
        rows = self._read("SELECT name, version FROM policy ORDER BY place DESC LIMIT 1")
        return rows[0] if rows else None

    def last_session(self) -> Session | None:
        """Return the newest run; None: there was none."""
        rows = self._read("SELECT session, is_closed FROM session ORDER BY place DESC LIMIT 1")
        return Session(rows[0][0], bool(rows[0][1])) if rows else None

    def session_before(self) -> bytes:
        """Return the id of the run before the newest; b"": there was none."""
        rows = self._read("SELECT session FROM session ORDER BY place DESC LIMIT 1 OFFSET 1")
        return bytes(rows[0][0]) if rows else b""

    def write(self, changes: Changes, *, handed_on: int = 0) -> None:
        """Change the memory; on disk, all of it or nothing, when this returns.

        Args:
            changes: What is new.
            handed_on: What was pending up to this place is where it belongs, and is forgotten.

        Raises:
            MemoryUnusable: Nothing was changed, such as where the disk is full.
        """
        event_count = sum(bool(each.event) for each in changes.pending)
        with self._transaction():
            run, run_many = self._database.execute, self._database.executemany
            if handed_on:
                self._forget(handed_on)
            run_many("INSERT INTO window VALUES (?, ?)", changes.opened)
            run_many("INSERT INTO chunk (nonce, lines) VALUES (?, ?)", changes.chunks)
            run_many(
                "INSERT INTO pending (event, file, nonce, content) VALUES (?, ?, ?, ?)",
                map(_pending_row, changes.pending),
            )
            run_many(
                f"INSERT INTO decided VALUES ({', '.join('?' * len(_DECIDED_FIELDS))})",  # noqa: S608
                map(_decided_row, changes.decided),
            )
            run_many(
                "INSERT INTO source VALUES (?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET instance = excluded.instance,"
                " next_sequence = excluded.next_sequence, last_made_us = excluded.last_made_us,"
                " observation_count = excluded.observation_count,"
                " gap_count = excluded.gap_count, context = excluded.context",
                map(_source_row, changes.sources.values()),
            )
            new_size = self._keep(changes.kept)
            if event_count:
                run("UPDATE about SET event_count = event_count + ?", (event_count,))
            if changes.policy is not None:
                run("DELETE FROM policy WHERE name = ? AND version = ?", changes.policy[:2])
                run("INSERT INTO policy (name, version, document) VALUES (?, ?, ?)", changes.policy)
            if changes.session is not None:
                run(
                    "INSERT INTO session (session, is_closed) VALUES (?, ?)"
                    " ON CONFLICT DO UPDATE SET is_closed = excluded.is_closed",
                    (changes.session.session, changes.session.is_closed),
                )
        self.event_count += event_count
        self.evidence_size += new_size


def _source_row(state: SourceState) -> tuple[object, ...]:
    return (
        state.name,
        state.position.instance,
        state.position.next_sequence,
        state.position.last_made_us,
        state.observation_count,
        state.gap_count,
        state.context,
    )
