"""Walks a ledger block by block and checks all that follows from hashes and signatures.

Not judged here, as it takes the state: lanes, duplicates, quotas, what events do, state digests.
Every other outcome follows from the bytes and the keys in force, so it is judged.
"""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, fields

from lotmark import canonical_json, ed25519, merkle
from lotmark.batch import SCHEMA, Batch
from lotmark.block import BASES_MAX, Block, Proposal, batches_root, parse_block
from lotmark.block_results import BatchResult, BlockResults, leaf_hashes, parse_results
from lotmark.entry import PROTOCOL, RULE_RECEIPT_SIZE_MAX, BlockClose, parse_rule_receipt
from lotmark.errors import MalformedError, ProofError, SignatureError
from lotmark.event import CheckedEvent, EventRefused, check_event
from lotmark.item_epochs import touched_hashes
from lotmark.key_grant import TIME_MAX_MS, TIME_MIN_MS, KeyPurpose
from lotmark.merkle import Frontier
from lotmark.outcome import Outcome
from lotmark.snapshot import UnknownVersionError
from lotmark.snapshot_reader import SnapshotBlock
from lotmark.verify.epoch_watch import EpochWatch
from lotmark.verify.key_register import KeyRegister
from lotmark.verify.operator_register import OperatorRegister
from lotmark.verify.report import blaming
from lotmark.verify.signed_headers import read_signed_headers

_BLOCK_FAMILY, _BLOCK_VERSION = b"lotmark/block/v", b"1\n"
_RESULTS_FAMILY, _RESULTS_VERSION = b"lotmark/results/v", b"1\n"
_CLOSE_SIZE = 226

_BATCH_OUTCOME_MAX = 99
# What an event that is sound by itself can still be refused for.
_EVENT_OUTCOMES_BY_STATE = frozenset(
    outcome for outcome in Outcome if Outcome.KEY_NOT_PERMITTED < outcome < 200
)
_SIGNER_OUTCOMES = range(Outcome.CHAIN_UNKNOWN, Outcome.KEY_REVOKED + 1)
# A batch that got as far as these has passed every rule of its content.
_CONTENT_SOUND = (Outcome.ACCEPTED, Outcome.QUOTA_EXCEEDED)
_CONTENT_OUTCOMES = (
    Outcome.SCHEMA_UNKNOWN,
    Outcome.COUNT_MISMATCH,
    Outcome.ROOT_MISMATCH,
    Outcome.TIME_ABSURD,
)


@dataclass(frozen=True, slots=True)
class _Turn:
    """Whose block came last."""

    term: int
    counter: int


class LogWalk:
    """A log as far as it was walked."""

    def __init__(
        self,
        *,
        chain_id: bytes,
        keys: KeyRegister,
        operators: OperatorRegister,
        frontier: Frontier,
        close: BlockClose,
    ) -> None:
        """Begin after a block.

        Args:
            chain_id: The pinned chain id.
            keys: Keys, parties and policy as that block left them; moves along.
            operators: The operators' credentials likewise; moves along.
            frontier: The tree after it; moves along.
            close: Its close.
        """
        self._chain_id = chain_id
        self._keys = keys
        self._operators = operators
        self._frontier = frontier
        self._epochs = EpochWatch(keys, close)
        self._touches = 0  # of items, by the block in hand
        self._height = close.height
        self._heads = deque([(frontier.size, frontier.root())], maxlen=BASES_MAX)
        self._heads_hidden = close.height > 0
        # What came before a range stands in its state, which is not read at this level.
        self._turn = _Turn(0, 0) if close.height == 0 else None
        self.time_ms = close.time_ms
        self.batch_count = 0
        self.event_count = 0
        self.signature_count = 0

    @property
    def size(self) -> int:
        """The tree size."""
        return self._frontier.size

    @property
    def root(self) -> bytes:
        """The root of the tree."""
        return self._heads[-1][1]

    def take(self, record: SnapshotBlock) -> None:
        """Check the next block.

        Raises:
            FaultFound: Something does not hold; nothing after it was looked at.
            UndecidedError: The block is of an unknown version.
        """
        height = self._height + 1
        assert record.height == height, f"block {record.height} comes after {self._height}"
        with blaming("block", height=height):
            _check_version(record.block, _BLOCK_FAMILY, _BLOCK_VERSION)
            block = parse_block(record.block)
        with blaming("results", height=height):
            results = _parse_results(record.results)
            self._check_shape(block, results)
        with blaming("proposal", height=height):
            self._check_proposal(block)
            self._check_turn(block.proposal)
        index, self._touches = results.first_index, 0
        for batch, result in zip(block.batches, results.batches, strict=True):
            with blaming("batch", height=height, index=index):
                self._check_batch(batch, result, block.proposal.time_ms, index)
            self._take_events(batch, result, block.proposal.time_ms, index)
            index += result.entry_count
        # Only now, so that a changed batch is named itself where its own signature or root tells.
        with blaming("proposal", height=height):
            if block.proposal.batches_root != batches_root(block.batches):
                raise ProofError("the block carries other batches than its proposal binds")
        with blaming("governance", height=height, index=index):
            is_decided = self._keys.end_block(height=height, time_ms=block.proposal.time_ms)
        for at, receipt in enumerate(results.receipts, index):
            with blaming("rule receipt", height=height, index=at):
                _check_rule_receipt(receipt, index)
        with blaming("close", height=height, index=index + len(results.receipts)):
            self._check_close(block.proposal, results, is_decided=is_decided)
        self._move(block, results)

    def _check_shape(self, block: Block, results: BlockResults) -> None:
        if len(results.batches) != len(block.batches):
            raise MalformedError(
                f"results of {len(results.batches)} batches for a block of {len(block.batches)}"
            )
        if results.first_index != self.size:
            raise MalformedError(
                f"the results begin at entry {results.first_index}, the log ends before {self.size}"
            )

    def _check_proposal(self, block: Block) -> None:
        proposal = block.proposal
        if proposal.chain_id != self._chain_id:
            raise ProofError(f"the block is of chain {proposal.chain_id.hex()}")
        key = self._keys.key(proposal.key)
        if key is None or key.purpose != KeyPurpose.PROPOSAL:
            raise SignatureError(f"key {proposal.key.hex()} may not propose blocks")
        validity = key.judge(height=self._height + 1, time_ms=proposal.time_ms)
        if validity:
            raise SignatureError(f"proposal key {proposal.key.hex()}: {validity.name}")
        ed25519.verify(proposal.key, proposal.signed_message(), block.signature)
        self.signature_count += 1

    def _check_turn(self, proposal: Proposal) -> None:
        if proposal.time_ms < self.time_ms:
            raise ProofError(
                f"its time {proposal.time_ms} ms is before {self.time_ms} ms of the block before"
            )
        turn = self._turn
        if turn is not None:
            expected = turn.counter + 1 if proposal.term == turn.term else 1
            if proposal.term < turn.term or proposal.counter != expected:
                raise ProofError(
                    f"term {proposal.term} and counter {proposal.counter} follow term {turn.term}"
                    f" and counter {turn.counter}"
                )
        # A range does not show the heads before its start; there the full level judges the base.
        is_hidden = self._heads_hidden and proposal.base_size < self._heads[0][0]
        if (proposal.base_size, proposal.base_root) not in self._heads and not is_hidden:
            raise ProofError(
                f"it stands on size {proposal.base_size} with a root that is none of the newest"
                f" {BASES_MAX} heads"
            )

    def _check_batch(self, batch: Batch, result: BatchResult, time_ms: int, index: int) -> None:
        outcome = _outcome(result.outcome)
        if outcome > _BATCH_OUTCOME_MAX:
            raise MalformedError(f"{outcome.name} is no outcome of a batch on the log")
        event_count = 0 if outcome else len(batch.events)
        if len(result.event_outcomes) != event_count:
            raise MalformedError(
                f"{len(result.event_outcomes)} event outcomes, where {event_count} belong"
            )
        if result.evidence and outcome is not Outcome.SEQUENCE_REUSED:
            raise MalformedError(f"evidence of a reused number with outcome {outcome.name}")
        if self._check_signer(batch, outcome, time_ms):
            _check_content(batch, outcome)
        if result.evidence:
            self._check_evidence(batch, result.evidence, index)

    def _check_signer(self, batch: Batch, outcome: Outcome, time_ms: int) -> bool:
        """Check what the outcome says of signer and signature; tell whether both are good."""
        judged = self._keys.judge_signer(batch.header, height=self._height + 1, time_ms=time_ms)
        if not judged:
            self.signature_count += 1
            try:
                ed25519.verify(batch.header.signer, batch.signed_message, batch.signature)
            except SignatureError:
                judged = Outcome.SIGNATURE_INVALID
        recorded_is_about_signer = outcome in _SIGNER_OUTCOMES or (
            outcome is Outcome.SIGNATURE_INVALID
        )
        if judged is not outcome and (judged or recorded_is_about_signer):
            raise SignatureError(
                f"outcome {outcome.name} is recorded, {judged.name} follows from the signature"
                f" and key {batch.header.signer.hex()}"
            )
        return not judged

    def _check_evidence(self, batch: Batch, evidence: bytes, index: int) -> None:
        first_index = int.from_bytes(evidence[:8])
        first, second = read_signed_headers(evidence[8:], 2)
        if second.signed_header != batch.signed_header:
            raise ProofError("the evidence is of another batch than the one before it")
        numbers = [
            (each.header.signer, each.header.lane, each.header.sequence) for each in (first, second)
        ]
        if numbers[0] != numbers[1] or first.batch_id == second.batch_id or first_index >= index:
            raise ProofError(
                f"the headers of entry {first_index} and of entry {index} do not share one number"
            )
        ed25519.verify(first.header.signer, first.signed_message, first.signature)
        self.signature_count += 1

    def _take_events(self, batch: Batch, result: BatchResult, time_ms: int, index: int) -> None:
        if not result.event_outcomes:
            return
        signer = self._keys.key(batch.header.signer)
        assert signer is not None, "an accepted batch has a signer"
        permitted = signer.event_types
        height = self._height + 1
        for raw, recorded in zip(batch.events, result.event_outcomes, strict=True):
            index += 1
            with blaming("event", height=height, index=index):
                event = _check_event_outcome(raw, recorded, permitted)
                if event is not None and not recorded:
                    self._touches += len(touched_hashes(event.item_ids))
                    self._keys.take(event.message, height=height, time_ms=time_ms)
                    self._operators.take(event.message, height=height, time_ms=time_ms)

    def _check_close(self, proposal: Proposal, results: BlockResults, *, is_decided: bool) -> None:
        found = results.close
        item_epoch, item_root = self._epochs.take(
            found, touches=self._touches, size=results.close_index + 1, is_decided=is_decided
        )
        batches = results.batches
        outcomes = [outcome for result in batches for outcome in result.event_outcomes]
        expected = BlockClose(
            height=self._height + 1,
            time_ms=proposal.time_ms,
            previous_close_index=self.size - 1,
            previous_size=self.size,
            previous_root=self.root,
            proposal_digest=proposal.digest(),
            state_digest=found.state_digest,  # of the state, which is not known at this level
            item_epoch=item_epoch,
            item_root=item_root,
            policy_digest=self._keys.policy_digest,
            batch_count=len(batches),
            refused_batch_count=sum(1 for result in batches if result.outcome),
            event_count=len(outcomes),
            refused_event_count=sum(1 for outcome in outcomes if outcome),
            receipt_count=len(results.receipts),
            equivocation_count=sum(1 for result in batches if result.evidence),
        )
        if found != expected:
            name, shown, wanted = first_difference(found, expected)
            raise ProofError(f"{name} is {shown}, where {wanted} belongs")

    def _move(self, block: Block, results: BlockResults) -> None:
        self._frontier.extend(leaf_hashes(block.batches, results))
        self._height += 1
        self._heads.append((self._frontier.size, self._frontier.root()))
        self._heads_hidden &= len(self._heads) < BASES_MAX
        self._turn = _Turn(block.proposal.term, block.proposal.counter)
        self.time_ms = block.proposal.time_ms
        self.batch_count += results.close.batch_count
        self.event_count += results.close.event_count


def _check_rule_receipt(payload: bytes, end_index: int) -> None:
    """Check the form of a rule receipt; whether the rule says so, the full level judges.

    Args:
        payload: Of the entry.
        end_index: Before which the event must stand that it is about.
    """
    receipt = parse_rule_receipt(payload)
    if receipt.event_index >= end_index:
        raise ProofError(f"it is about entry {receipt.event_index}, which is no earlier event")
    canonical_json.load(receipt.document, size_max=RULE_RECEIPT_SIZE_MAX)


def first_difference(found: BlockClose, expected: BlockClose) -> tuple[str, str, str]:
    """Return name, found and expected value of the first field in which two closes differ."""
    for each in fields(BlockClose):
        ours, theirs = getattr(found, each.name), getattr(expected, each.name)
        if ours != theirs:
            return each.name, _shown(ours), _shown(theirs)
    raise AssertionError("equal closes have no difference")


def _shown(value: bytes | int) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _check_version(raw: bytes, family: bytes, version: bytes) -> None:
    if raw.startswith(family) and not raw.startswith(family + version):
        found = raw[: len(family) + 8].partition(b"\n")[0]
        raise UnknownVersionError(f"{found!a} is of a version that this release does not know")


def _parse_results(raw: bytes) -> BlockResults:
    _check_version(raw, _RESULTS_FAMILY, _RESULTS_VERSION)
    protocol = int.from_bytes(raw[-_CLOSE_SIZE:][:2])
    if len(raw) > _CLOSE_SIZE and protocol > PROTOCOL:
        raise UnknownVersionError(f"the block is of protocol {protocol}; update the verifier")
    return parse_results(raw)


def _outcome(code: int) -> Outcome:
    try:
        return Outcome(code)
    except ValueError as error:
        raise MalformedError(f"outcome {code} is not in the table") from error


def _check_event_outcome(
    raw: bytes, recorded: int, permitted: Collection[int]
) -> CheckedEvent | None:
    """Check what an outcome says of an event's bytes and type; return the event if it is sound."""
    event = None
    try:
        event = check_event(raw)
    except EventRefused as refusal:
        judged = refusal.outcome
    else:
        barred = permitted and event.event_type not in permitted
        judged = Outcome.KEY_NOT_PERMITTED if barred else Outcome.ACCEPTED
    later = recorded in _EVENT_OUTCOMES_BY_STATE and not judged
    if recorded != judged and not later:
        shown = _outcome(recorded).name
        raise ProofError(f"outcome {shown} is recorded, {judged.name} follows from the bytes")
    return event


def _check_content(batch: Batch, outcome: Outcome) -> None:
    """Check what the outcome says of a batch that its signer signed."""
    header = batch.header
    if outcome not in _CONTENT_SOUND and outcome not in _CONTENT_OUTCOMES:
        return
    if header.schema != SCHEMA:
        judged = Outcome.SCHEMA_UNKNOWN
    elif header.event_count != len(batch.events):
        judged = Outcome.COUNT_MISMATCH
    elif header.events_root != merkle.root(batch.event_ids):
        judged = Outcome.ROOT_MISMATCH
    elif not TIME_MIN_MS <= header.created_at_ms < TIME_MAX_MS:
        judged = Outcome.TIME_ABSURD
    else:
        judged = Outcome.ACCEPTED
    agrees = outcome in _CONTENT_SOUND if judged is Outcome.ACCEPTED else judged is outcome
    if not agrees:
        raise ProofError(
            f"outcome {outcome.name} is recorded, {judged.name} follows from the bytes"
        )
