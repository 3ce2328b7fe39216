"""Checkpoint signers of several nodes in one process, each over a log in memory, without sockets.

Logs are prefixes of shared ledgers, so that any number of nodes agree, lag or differ at will.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

from lotmark.checkpoint import Checkpoint, parse_checkpoint
from lotmark.cosignature import cosign
from lotmark.genesis import Genesis, PartyRole, chain_id, cosigner_name, origin, policy_text
from lotmark.key_grant import KeyPurpose
from lotmark.merkle import consistency_path
from lotmark.signed_note import Note, NoteSignature, format_note, parse_note, sign_note
from lotmark.tlog_policy import Policy, parse_policy
from lotmark_node.engine.checkpoints import CheckpointNetwork, CheckpointSigner
from lotmark_node.engine.errors import PeerUnreachable
from lotmark_node.engine.evidence_folder import EvidenceFolder
from lotmark_node.engine.gathering import CheckpointPeer, CheckpointTiming
from lotmark_node.engine.signed_maximum import SignedMaximum
from lotmark_node.state_machine.tables import LogHead
from tests.node.ledger_in_memory import LedgerInMemory, consortium, measurement
from tests.proto.sample_genesis import CREATED_MS, party, private_key

DEADLINE_S = 20.0
OEM, TIER1, TIER2, LAB = "OEM-A/n1", "T1-STATOR/n1", "T2-CU-JX/n1", "LAB-17025/n1"
ALONE = consortium(voters=(OEM,), witnesses=())
THREE = consortium(voters=(OEM, TIER1, LAB), witnesses=())
FOUR = replace(
    consortium(voters=(OEM, TIER1, TIER2), witnesses=(LAB,)),
    parties=(*ALONE.parties, party("T2-CU-JX", PartyRole.SUPPLIER, threshold=2)),
)
NOW_MS = CREATED_MS + 60_000
QUICK = CheckpointTiming(interval_s=0.005, wait_max_s=5.0, retry_min_s=0.01, retry_max_s=0.05)
AT_ONCE = CheckpointTiming(interval_s=0.0, wait_max_s=0.0, retry_min_s=0.01, retry_max_s=0.05)
_HEIGHTS = 12


@cache
def ledger(genesis: Genesis, branch: str = "", after: int = 0) -> LedgerInMemory:
    """Return a ledger of 12 blocks; those above height `after` are those of the branch.

    Every second block has entries beside its close, so not every size is that of a block close.
    All branches have equal sizes at equal heights.
    """
    made = LedgerInMemory(genesis)
    for height in range(1, _HEIGHTS + 1):
        own = branch if height > after else ""
        number = height + sum(own.encode()) * 1_000
        batches = [made.batch("OEM-A/erp", [measurement(number)])] if height % 2 else []
        made.block(batches, time_ms=CREATED_MS + 1_000 * height + len(own))
    return made


class LogInMemory:
    """`LogTree` over the first blocks of a ledger in memory.

    Attributes:
        whole: The ledger, which a test may change to another one as no honest log does.
        height: How far of it the log is.
    """

    def __init__(self, whole: LedgerInMemory) -> None:
        self.whole = whole
        self.height = 0

    def root(self, size: int) -> bytes:
        assert 1 <= size <= self.whole.sizes[self.height], "a log is asked for what it has"
        return self.whole.root(size)

    def consistency_path(self, first_size: int, second_size: int) -> list[bytes]:
        return consistency_path(self.whole.leaf_hashes[:second_size], first_size)

    def height_at(self, size: int) -> int | None:
        return self.whole.sizes.index(size) if size in self.whole.sizes else None

    def head(self, height: int) -> LogHead:
        """Return where the log stands at a height, reached or not."""
        size = self.whole.sizes[height]
        return LogHead(height, size, self.whole.root(size))


class Peer:
    """`CheckpointPeer` by a call: a way from one node to another, which a test can break.

    Attributes:
        asked: All notes that went this way.
        broken: Whether whoever asks is told that nobody answers.
        silent: While it is set, no answer comes.
    """

    def __init__(self, asking: str, answering: "Node") -> None:
        self._asking = asking
        self._answering = answering
        self._busy = threading.Lock()
        self.asked: list[bytes] = []
        self.broken = False
        self.answers = threading.Event()
        self.answers.set()

    @property
    def name(self) -> str:
        return self._answering.name

    @property
    def is_voter(self) -> bool:
        return self._answering.is_voter

    def share(self, note: bytes) -> bytes | None:
        assert self._busy.acquire(blocking=False), "a peer is asked one thing at a time"
        try:
            self.asked.append(note)
            assert self.answers.wait(DEADLINE_S)
            if self.broken:
                raise PeerUnreachable(f"{self.name} is unplugged")
            return self._answering.signer.cosign_shared(self._asking, note)
        finally:
            self._busy.release()


class Node:
    """One node: its log, its signer, and its ways to the others."""

    def __init__(
        self,
        name: str,
        folder: Path,
        genesis: Genesis,
        *,
        timing: CheckpointTiming = AT_ONCE,
        log: LogInMemory | None = None,
    ) -> None:
        self.name, self.genesis, self.timing, self.folder = name, genesis, timing, folder
        self.log = log or LogInMemory(ledger(genesis))
        self.peers: list[Peer] = []
        self.extra: list[CheckpointPeer] = []
        self.failures: list[BaseException] = []
        self.disputed_sizes: list[int] = []
        self.is_voter = any(f"{each.party}/{each.node}" == name for each in genesis.voters)
        self.signer: CheckpointSigner  # from `start` on
        self._is_open = False
        folder.mkdir(exist_ok=True)

    def _signer(self) -> CheckpointSigner:
        genesis, chain = self.genesis, chain_of(self.genesis)
        party, node = self.name.split("/")
        return CheckpointSigner(
            origin=origin(genesis, chain),
            cosigner=cosigner_name(genesis, party, node),
            log_key=private_key(f"{self.name} {KeyPurpose.LOG.name}"),
            cosign_key=private_key(f"{self.name} {KeyPurpose.COSIGN.name}"),
            policy=policy_of(genesis),
            maximum=SignedMaximum(self.folder / "signed-maximum"),
            now_ms=lambda: NOW_MS,
            on_failure=self.failures.append,
            network=CheckpointNetwork(
                chain_id=chain,
                folder=self.folder,
                tree=self.log,
                peers=[*self.peers, *self.extra],
                evidence=EvidenceFolder(self.folder),
                on_dispute=self.disputed_sizes.append,
            ),
            timing=self.timing,
        )

    def start(self) -> None:
        self.signer = self._signer()
        self._is_open = True
        self.signer.start(self.log.head(self.height))

    def stop(self) -> None:
        if self._is_open:
            self._is_open = False
            self.signer.stop()

    def grow(self, height: int) -> LogHead:
        """Apply the blocks up to a height, and return the head."""
        for next_height in range(self.height + 1, height + 1):
            self.log.height = next_height
            self.signer.advance(self.log.head(next_height))
        return self.log.head(height)

    def restart(self, *, height: int | None = None) -> None:
        """Stop and start again; with a height the ledger comes back as it was there."""
        self.stop()
        self.log.height = self.height if height is None else height
        self.start()

    def shown(self, note: bytes, by: str = OEM) -> bytes | None:
        return self.signer.cosign_shared(by, note)

    @property
    def height(self) -> int:
        return self.log.height

    @property
    def final_size(self) -> int:
        final = self.signer.newest_final
        return final.head.size if final else 0

    def evidence(self) -> list[Path]:
        return sorted((self.folder / "evidence").glob("*"))


@contextmanager
def one_node(
    folder: Path,
    genesis: Genesis,
    name: str = TIER1,
    *,
    height: int = _HEIGHTS,
    timing: CheckpointTiming = AT_ONCE,
    log: LogInMemory | None = None,
) -> Iterator[Node]:
    """Run a node without ways to others, which stands at a height."""
    node = Node(name, folder / name.replace("/", "-"), genesis, timing=timing, log=log)
    node.start()
    node.grow(height)
    try:
        yield node
    finally:
        node.stop()


@contextmanager
def network(
    folder: Path, genesis: Genesis, *, timing: CheckpointTiming = QUICK
) -> Iterator[dict[str, Node]]:
    """Run every cosigning node of a genesis, each with a way to each other one."""
    names = [each.name for each in policy_of(genesis).witnesses]
    nodes = {
        name: Node(name, folder / name.replace("/", "-"), genesis, timing=timing) for name in names
    }
    for node in nodes.values():
        node.peers.extend(Peer(node.name, other) for other in nodes.values() if other is not node)
        node.start()
    try:
        yield nodes
    finally:
        for node in nodes.values():
            for peer in node.peers:
                peer.answers.set()
            node.stop()


@cache
def chain_of(genesis: Genesis) -> bytes:
    return chain_id(genesis.to_json())


@cache
def policy_of(genesis: Genesis) -> Policy:
    return parse_policy(policy_text(genesis, chain_of(genesis)))


def checkpoint_at(whole: LedgerInMemory, height: int) -> Checkpoint:
    """Return what a ledger says of itself at a height."""
    size = whole.sizes[height]
    return Checkpoint(origin(whole.genesis, whole.chain_id), size, whole.root(size))


def signature(genesis: Genesis, text: str, by: str) -> NoteSignature:
    """Return a node's cosignature."""
    party, node = by.split("/")
    name = cosigner_name(genesis, party, node)
    key = private_key(f"{by} {KeyPurpose.COSIGN.name}")
    return cosign(text, name=name, private_key=key, time_s=NOW_MS // 1_000)


def note_at(
    whole: LedgerInMemory, height: int, cosigners: Sequence[str] = (OEM,), leader: str = OEM
) -> bytes:
    """Return a ledger's checkpoint at a height, signed by a leader and cosigned."""
    checkpoint = checkpoint_at(whole, height)
    return signed(whole.genesis, checkpoint, cosigners, leader)


def signed(
    genesis: Genesis,
    checkpoint: Checkpoint,
    cosigners: Sequence[str] = (OEM,),
    leader: str = OEM,
) -> bytes:
    """Return a checkpoint, true or not, signed by a leader and cosigned."""
    text = checkpoint.text()
    log_key = private_key(f"{leader} {KeyPurpose.LOG.name}")
    signatures = [sign_note(text, checkpoint.origin, log_key)]
    signatures += [signature(genesis, text, name) for name in cosigners]
    return format_note(Note(text, tuple(signatures)))


def cosigners_of(note: bytes | None) -> set[str]:
    """Return the names, "<party>/<node>", under which a note is cosigned."""
    if note is None:
        return set()
    names = [each.name.split("/", 2)[2] for each in parse_note(note).signatures]
    return {name for name in names if "/" in name}


def size_of(note: bytes) -> int:
    return parse_checkpoint(parse_note(note).text).size


def until(condition: Callable[[], bool], what: str = "what was waited for") -> None:
    """Wait, with a deadline, for what other threads bring about."""
    end_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end_s, f"{what} did not come about"
        threading.Event().wait(0.002)
