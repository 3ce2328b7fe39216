"""A node that answers as a test wants: a real server with a real node's keys, and no ledger."""

import queue
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from lotmark.admission import AdmissionAnswer
from lotmark.batch import Batch, parse_one_batch
from lotmark.client import ClientSettings, read_client_settings
from lotmark.ed25519 import PrivateKey
from lotmark.key_file import read_key_file
from lotmark.outcome import Outcome, describe
from lotmark.v1 import ledger_pb2, ledger_pb2_grpc
from lotmark_node.consortium.found import found_consortium
from lotmark_node.consortium.plan import make_plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a node does with a batch."""

    admission: Outcome = Outcome.ACCEPTED
    record: Outcome | None = Outcome.ACCEPTED  # None: it is admitted and never acknowledged
    event_outcomes: Sequence[int] = ()
    is_forged: bool = False  # the admission is signed by somebody else
    is_admitted_first: bool = True


Script = Callable[[Batch], Answer]


class ScriptedNode(ledger_pb2_grpc.LedgerServiceServicer):
    """OEM-A/n1 of a consortium of its own; the client OEM-A/erp may call it.

    Attributes:
        script: What it does with each batch; a test may set another one at any time.
        received: The batches that it was sent, in order.
        is_reading: Whether it reads what streams that begin now bring it.
    """

    def __init__(self, folder: Path) -> None:
        plan = make_plan("scripted", ["OEM-A:oem"], ["OEM-A/n1@127.0.0.1:0"], ["OEM-A/erp"])
        self.chain_id = found_consortium(folder, plan, now_ms=time.time_ns() // 1_000_000).chain_id
        self._node = folder / "OEM-A" / "nodes" / "n1"
        self._client = folder / "OEM-A" / "clients" / "erp" / "client.toml"
        self._admit_key = read_key_file(self._node / "keys" / "admit.key")
        self.script: Script = lambda batch: Answer()
        self.received: list[Batch] = []
        self.is_reading = True
        self._address = ""
        self._index = 2

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Take calls on a free port."""
        server = grpc.server(ThreadPoolExecutor(max_workers=4))
        ledger_pb2_grpc.add_LedgerServiceServicer_to_server(self, server)
        self.add_services(server)
        tls = self._node / "tls"
        credentials = grpc.ssl_server_credentials(
            [((tls / "key.pem").read_bytes(), (tls / "cert.pem").read_bytes())]
        )
        self._address = f"127.0.0.1:{server.add_secure_port('127.0.0.1:0', credentials)}"
        server.start()
        try:
            yield
        finally:
            server.stop(grace=None).wait()

    def add_services(self, server: grpc.Server) -> None:
        """Serve more than the ledger, where a test's node does."""

    def settings(self) -> ClientSettings:
        """Return the settings of its client."""
        text = self._client.read_text().replace("127.0.0.1:0", self._address)
        path = self._client.with_name("scripted.toml")
        path.write_text(text)
        return read_client_settings(path)

    # Calls

    def GetLaneState(  # noqa: N802 - the name is fixed by the proto
        self, request: ledger_pb2.GetLaneStateRequest, context: Any
    ) -> ledger_pb2.GetLaneStateResponse:
        return ledger_pb2.GetLaneStateResponse()

    def GetLedger(  # noqa: N802 - the name is fixed by the proto
        self, request: ledger_pb2.GetLedgerRequest, context: Any
    ) -> ledger_pb2.GetLedgerResponse:
        return ledger_pb2.GetLedgerResponse(chain_id=self.chain_id, node="OEM-A/n1")

    def SubmitStream(  # noqa: N802 - the name is fixed by the proto
        self, request_iterator: Iterator[ledger_pb2.SubmitRequest], context: Any
    ) -> Iterator[ledger_pb2.SubmitResponse]:
        over: queue.SimpleQueue[None] = queue.SimpleQueue()
        context.add_callback(lambda: over.put(None))
        if not self.is_reading:
            over.get()
            return
        for request in request_iterator:
            for raw in request.batches:
                batch = parse_one_batch(raw)
                self.received.append(batch)
                yield ledger_pb2.SubmitResponse(answers=self._answers(batch))
        over.get()

    def _answers(self, batch: Batch) -> list[ledger_pb2.SubmitAnswer]:
        answer = self.script(batch)
        answers = [ledger_pb2.SubmitAnswer(admission=self._admission(batch, answer))]
        if answer.admission:
            return answers
        if not answer.is_admitted_first:
            answers.clear()
        if answer.record is not None:
            told = ledger_pb2.Acknowledgement(
                batch_id=batch.batch_id,
                batch_index=self._index,
                height=1,
                time_ms=batch.header.created_at_ms,
                outcome=answer.record,
                event_outcomes=answer.event_outcomes,
            )
            answers.append(ledger_pb2.SubmitAnswer(acknowledgement=told))
            self._index += len(batch.events) + 1
        return answers

    def _admission(self, batch: Batch, answer: Answer) -> ledger_pb2.Admission:
        key = PrivateKey.generate() if answer.is_forged else self._admit_key
        signed = AdmissionAnswer(
            batch_id=batch.batch_id,
            accepted=not answer.admission,
            reason=answer.admission,
            admitted_at_ms=batch.header.created_at_ms,
            due_ms=0 if answer.admission else batch.header.created_at_ms + 10_000,
            checkpoint_size=2,
            checkpoint_root=bytes(32),
            node="OEM-A/n1",
        ).sign(key, self.chain_id)
        fields = {name: getattr(signed, name) for name in signed.__dataclass_fields__}
        return ledger_pb2.Admission(detail=describe(answer.admission), **fields)
