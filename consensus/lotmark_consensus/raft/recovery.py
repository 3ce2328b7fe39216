"""Manual recovery from a lost quorum: the voters that are gone are struck from a survivor's log.

Nothing here can know whether they are gone. If one comes back, it and the survivor are two orders
of one chain: so whoever recovers must make sure that their disks are never started again.
"""

from collections.abc import Iterable

from lotmark_consensus.errors import MembershipRefused
from lotmark_consensus.raft.journal import RaftJournal
from lotmark_consensus.raft.log_entry import EntryKind, LogEntry, encode_command
from lotmark_consensus.raft.log_store import LogStore


def strike_voters(
    store: LogStore, *, name: str, initial_voters: frozenset[str], lost: Iterable[str]
) -> frozenset[str]:
    """Write into a stopped survivor's log that voters are voters no more; return who is left.

    The entries are of a new term, in which the survivor has voted for itself. What the log holds
    beyond the last committed entry becomes committed once a quorum of those left has it.

    Args:
        store: The survivor's log.
        name: The survivor.
        initial_voters: Those of the genesis.
        lost: Who is gone for ever.

    Raises:
        MembershipRefused: The log is empty, somebody named is no voter, or the survivor is named.
        JournalCorrupt: The log is damaged.
    """
    journal = RaftJournal(store)
    voters = journal.members(initial_voters)
    struck = sorted(set(lost))
    if not len(journal):
        raise MembershipRefused(f"the log of {name} is empty: recover the voter that has most")
    for gone in struck:
        if gone not in voters:
            raise MembershipRefused(f"{gone} is no voter; the voters are {sorted(voters)}")
    if name in struck or name not in voters:
        raise MembershipRefused(f"{name} is not left: recover a voter that goes on")
    term = journal.getCurrentTerm() + 1
    journal.setCurrentTerm(term, name)
    for gone in struck:
        entry = LogEntry(EntryKind.MEMBERSHIP, 0, b"-" + gone.encode("ascii"))
        journal.add(encode_command(entry), journal.last + 1, term)
    writes = journal.take_writes()
    assert writes is not None, "a new term is a change"
    store.write(writes)
    journal.written(writes)
    return journal.members(initial_voters)
