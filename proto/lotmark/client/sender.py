"""The sender: brings the outbox's batches to a node that takes them, for as long as it takes.

It calls one node of the settings over one stream. Where that node dies, says nothing, or cannot
order, the next one is called, and everything without an acknowledgement is sent again in order: the
same bytes count once. When every node was tried in vain it waits, longer each time.
"""

import logging
import threading
import time
from dataclasses import replace
from functools import partial

from lotmark.client.answers import AnsweringNode, refused_results
from lotmark.client.calls import node_errors
from lotmark.client.connection import open_channel, place
from lotmark.client.errors import LaneStateError, SubmissionRefused, thread_failed
from lotmark.client.lane_check import LaneVerdict, judge_lane
from lotmark.client.node_stream import IN_FLIGHT_MAX, BatchRefused, NodeStream, SeenCheckpoint
from lotmark.client.outbox import Outbox, StoredBatch
from lotmark.client.retry import WAIT_MAX_S, Backoff, Cure
from lotmark.client.session import FRESH
from lotmark.client.settings import ClientSettings
from lotmark.client.submission import EventResult
from lotmark.client.waiting import Waiting
from lotmark.client.writer import Writer
from lotmark.errors import ProtocolError
from lotmark.genesis import Genesis
from lotmark.outcome import Outcome
from lotmark.v1 import ledger_pb2, ledger_pb2_grpc

logger = logging.getLogger(__name__)

CONNECT_S = 5.0  # for a node's first answer
SIGNED_AGAIN_MAX = IN_FLIGHT_MAX  # times without a wait and an acknowledgement between them

# What another key may be free of. The outbox may hold batches of a key that the client had before.
_OF_THE_KEY = frozenset(
    {
        Outcome.KEY_UNKNOWN,
        Outcome.KEY_PARTY_MISMATCH,
        Outcome.KEY_PURPOSE_WRONG,
        Outcome.KEY_EXPIRED,
        Outcome.KEY_REVOKED,
    }
)


class Sender:
    """Sends what a writer has signed, on its own thread."""

    def __init__(
        self,
        settings: ClientSettings,
        genesis: Genesis,
        outbox: Outbox,
        waiting: Waiting,
        writer: Writer,
        seen: SeenCheckpoint,
        *,
        new_lane: bool,
    ) -> None:
        """Prepare it.

        Args:
            settings: Which nodes to call, in which order.
            genesis: Of the pinned chain; has the keys that nodes answer with.
            outbox: What to send.
            waiting: Whom to tell.
            writer: Signs, and forgets what was acknowledged.
            seen: Takes note of the checkpoints that nodes show.
            new_lane: Whether to leave the outbox's lane, as the ledger has lost it.
        """
        self._nodes = list(settings.each_node())
        self._genesis = genesis
        self._outbox = outbox
        self._waiting = waiting
        self._writer = writer
        self._seen = seen
        self._new_lane = new_lane
        self._lane_is_checked = False
        self._backoff = Backoff()
        self._tried_count = 0  # nodes since the last acknowledgement
        self._signed_again_count = 0  # likewise
        self._stream: NodeStream | None = None  # guarded by the lock of `waiting`
        self._thread = threading.Thread(target=self._run, name="lotmark-sender", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self) -> None:
        """Hang up and wait for the thread; the waiting record was closed before."""
        with self._waiting.lock:
            stream = self._stream
        if stream is not None:
            stream.hang_up()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._send()
        except BaseException as error:  # nobody shall wait for a thread that is gone
            self._waiting.close()
            self._waiting.fail_all(thread_failed("sender", error))
            raise

    def _send(self) -> None:
        at = 0
        while not self._waiting.closing:
            node = self._nodes[at % len(self._nodes)]
            began_s = time.monotonic()
            try:
                self._serve(node)
            except BatchRefused as refused:
                if not self._cure(refused):
                    continue
                problem = f"{place(node)}: {refused.detail}"
            except LaneStateError as error:
                problem = f"{place(node)}: {error}"
                self._waiting.fail_all(partial(_lane_error, problem))
            except (ProtocolError, OSError) as error:
                problem = str(error)
            else:
                continue
            if time.monotonic() - began_s > WAIT_MAX_S:
                self._succeeded()  # it went well for long
            at += 1
            self._pause(problem)

    def _serve(self, node: ClientSettings) -> None:
        """Send to one node for as long as that goes well.

        Raises:
            BatchRefused: It refused a batch.
            LaneStateError: It lacks what it had acknowledged.
            ProtocolError, OSError: As calls raise them.
        """
        channel = open_channel(node)
        try:
            stub = ledger_pb2_grpc.LedgerServiceStub(channel)
            with node_errors(place(node), CONNECT_S):
                if self._lane_is_checked:
                    stub.GetLedger(ledger_pb2.GetLedgerRequest(), timeout=CONNECT_S)
                else:
                    self._check_lane(stub)
                self._writer.forget_now()
                answering = AnsweringNode(
                    f"{node.node_party}/{node.node_name}", node.chain_id, self._genesis
                )
                stream = NodeStream(
                    stub,
                    answering,
                    self._outbox,
                    self._waiting,
                    seen=self._seen,
                    acknowledged=self._acknowledged,
                )
                with self._waiting.lock:
                    if self._waiting.closing:
                        return
                    self._stream = stream
                stream.run()
        finally:
            channel.close()

    def _check_lane(self, stub: ledger_pb2_grpc.LedgerServiceStub) -> None:
        """Let the writer sign, once it is sure that the outbox is no old copy."""
        lane = self._writer.lane
        shown = stub.GetLaneState(
            ledger_pb2.GetLaneStateRequest(key=lane.key, lane=lane.number),
            timeout=CONNECT_S,
            # A node that lags would show the lane as it was, and a number be used again.
            metadata=FRESH,
        )
        if self._new_lane:
            verdict = LaneVerdict.NEW_LANE_FOR_ALL
        else:
            waiting = {
                each.batch.header.sequence: each.batch.batch_id
                for each in self._outbox.all_batches()
                if (each.batch.header.signer, each.batch.header.lane) == (lane.key, lane.number)
            }
            verdict = judge_lane(lane, waiting, shown)
        if verdict is not LaneVerdict.IN_LANE:
            self._writer.leave_lane(sign_again=verdict is LaneVerdict.NEW_LANE_FOR_ALL)
        self._lane_is_checked = True
        self._writer.allow_signing()

    def _acknowledged(self, stored: StoredBatch, results: list[EventResult]) -> None:
        self._succeeded()
        self._waiting.settle(stored.batch, results)
        self._writer.forget([stored.place])

    def _succeeded(self) -> None:
        self._tried_count = self._signed_again_count = 0
        self._backoff.reset()
        if self._waiting.trouble:
            with self._waiting.lock:
                self._waiting.trouble = ""

    def _pause(self, problem: str) -> None:
        """Take note of a problem, and wait where every node was tried since the last success."""
        self._tried_count += 1
        with self._waiting.lock:
            if self._waiting.closing:
                return
            self._waiting.trouble = problem
        logger.warning("the ledger takes nothing now", extra={"reason": problem})
        if self._tried_count >= len(self._nodes):
            self._waiting.sleep(self._backoff.next_s())

    def _cure(self, refused: BatchRefused) -> bool:
        """Do what helps against a refusal; return whether to call another node, or later."""
        stored, cure = refused.stored, refused.cure
        if refused.outcome in _OF_THE_KEY:
            is_former = stored.batch.header.signer != self._writer.lane.key
            cure = Cure.NEW_LANE if is_former else Cure.MEND
        results = refused_results(stored.batch, refused.outcome, refused.detail)
        match cure:
            case Cure.NEW_LANE:
                self._writer.leave_lane(sign_again=True)
                return self._was_signed_again()
            case Cure.SIGN_AGAIN:
                self._writer.sign_again(stored)
                return self._was_signed_again()
            case Cure.SET_ASIDE:
                self._writer.set_aside(stored, refused.detail)
                self._waiting.settle(stored.batch, results)
                return False
            case Cure.MEND:
                self._waiting.fail_all(partial(self._refusal, results[0]))
            case Cure.SEND_AGAIN:
                pass
        return True

    def _was_signed_again(self) -> bool:
        """Return whether to wait before the node is called again: not for what was on its way."""
        self._signed_again_count += 1
        return self._signed_again_count > SIGNED_AGAIN_MAX

    def _refusal(self, like: EventResult, event_id: bytes) -> SubmissionRefused:
        told = f" The event waits in {self._outbox.path} and is sent again now and then."
        return SubmissionRefused(replace(like, event_id=event_id), told)


def _lane_error(problem: str, _event_id: bytes) -> LaneStateError:
    return LaneStateError(problem)
