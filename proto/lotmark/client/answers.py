"""What a node's answers say of a batch, once the node's signature under them holds."""

from dataclasses import dataclass

from lotmark.admission import AdmissionAnswer
from lotmark.batch import ZERO_HASH, Batch
from lotmark.client.submission import EventResult
from lotmark.errors import MalformedError, SignatureError
from lotmark.genesis import Genesis
from lotmark.key_grant import KeyPurpose
from lotmark.outcome import Outcome, describe
from lotmark.v1 import ledger_pb2


@dataclass(frozen=True, slots=True)
class AnsweringNode:
    """The node that was asked, by whose key its answers are signed."""

    name: str  # "<party>/<node>"
    chain_id: bytes
    genesis: Genesis

    def refusal(self, batch: Batch, admission: ledger_pb2.Admission) -> tuple[Outcome, str] | None:
        """Return why the node refused a batch, None where it took it.

        Raises:
            SignatureError: The answer is not signed by the node, or of another batch.
            MalformedError: It is not what a node gives.
        """
        outcome = _outcome_of(admission.reason)
        if len(admission.checkpoint_root) != len(ZERO_HASH):
            raise MalformedError(f"{self.name} answers with a checkpoint whose root is no hash")
        answer = AdmissionAnswer(
            batch_id=admission.batch_id,
            accepted=admission.accepted,
            reason=outcome,
            admitted_at_ms=admission.admitted_at_ms,
            due_ms=admission.due_ms,
            checkpoint_size=admission.checkpoint_size,
            checkpoint_root=admission.checkpoint_root,
            node=admission.node,
            signature=admission.signature,
        )
        # What the node cannot read has no id for it; then it has taken nothing either.
        about = {batch.batch_id} if answer.accepted else {batch.batch_id, ZERO_HASH}
        if answer.node != self.name or answer.batch_id not in about:
            raise SignatureError(
                f"{self.name} answers as {answer.node[:80]!a} about batch"
                f" {answer.batch_id.hex()[:64]}, not about {batch.batch_id.hex()}"
            )
        answer.verify(self._admit_key(), self.chain_id)
        if answer.accepted:
            return None
        return outcome, admission.detail or describe(outcome)

    def _admit_key(self) -> bytes:
        for first in self.genesis.keys:
            grant = first.grant
            named = f"{grant.party}/{grant.holder}" == self.name
            if named and grant.purpose is KeyPurpose.ADMIT:
                return grant.key
        raise SignatureError(f"{self.name} has no admit key in the genesis; call another node")


def refused_results(batch: Batch, outcome: Outcome, detail: str) -> list[EventResult]:
    """Return the results of the events of a batch that was refused as a whole."""
    return [
        EventResult(
            event_id=event_id, index=None, height=None, time_ms=None, outcome=outcome, detail=detail
        )
        for event_id in batch.event_ids
    ]


def batch_outcome(told: ledger_pb2.Acknowledgement) -> Outcome:
    """Return the outcome of a batch as a whole.

    Raises:
        MalformedError: It is none that this release knows.
    """
    return _outcome_of(told.outcome)


def event_results(batch: Batch, told: ledger_pb2.Acknowledgement) -> list[EventResult]:
    """Return what became of each event of an accepted batch.

    Raises:
        MalformedError: The acknowledgement is not what a node gives.
    """
    codes = list(told.event_outcomes) or [0] * len(batch.events)
    if len(codes) != len(batch.events):
        raise MalformedError(f"the node tells {len(codes)} outcomes of {len(batch.events)} events")
    outcomes = [_outcome_of(code) for code in codes]
    return [
        EventResult(
            event_id=event_id,
            index=told.batch_index + 1 + position,
            height=told.height,
            time_ms=told.time_ms,
            outcome=outcomes[position],
            detail=describe(outcomes[position]) if outcomes[position] else "",
        )
        for position, event_id in enumerate(batch.event_ids)
    ]


def _outcome_of(code: int) -> Outcome:
    try:
        return Outcome(code)
    except ValueError as error:
        raise MalformedError(
            f"the node answers with outcome {code}, which this release does not know; update it"
        ) from error
