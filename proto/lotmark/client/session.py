"""A session with one node: read entries, receipts and proofs, and take nothing unproven on trust.

Every answer that can be checked is checked against the pinned genesis before it is returned. What
submits is `lotmark.client.client`.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import BinaryIO, Self

from lotmark import merkle
from lotmark.checkpoint import parse_checkpoint
from lotmark.client.calls import NotOnLedgerError, node_errors
from lotmark.client.connection import connect, place, read_pinned_genesis
from lotmark.client.ledger_records import (
    FoundSeal,
    LedgerCheckpoint,
    LedgerEntry,
    LedgerPosition,
    read_entry,
    read_found_seal,
)
from lotmark.client.settings import ClientSettings
from lotmark.errors import ProofError, SignatureError
from lotmark.genesis import check_acceptances, parse_acceptances
from lotmark.signed_note import parse_note
from lotmark.snapshot import GovernanceEntry
from lotmark.v1 import ledger_pb2, ledger_pb2_grpc
from lotmark.verify.governance_chain import (
    GovernedCheckpoint,
    ProvenLeaf,
    check_governed_checkpoint,
)
from lotmark.verify.receipt import ReceiptFindings, verify_receipt
from lotmark.verify.report import FaultFound, blaming

ANSWER_S = 15.0  # for a question
STREAM_S = 60.0  # for one stretch of a stream of entries; it goes on where it ended
GOVERNANCE_S = 600.0  # all that governs, which is verified as it comes
SNAPSHOT_S = 3_600.0  # the node writes the whole file before it sends the first byte
COVERED_S = 10.0  # until a checkpoint covers an entry; nodes sign ten a second
FINAL_S = 3.0  # until its quorum has cosigned one; without it the newest is taken
COVERED_POLL_S = 0.05
READ_KEY = "lotmark-read"  # in a call's metadata: how fresh its answer must be

FRESH = ((READ_KEY, "linearizable"),)  # metadata: nothing acknowledged may be left out


class LedgerSession:
    """A connection to a node that the settings name; for one thread.

    Attributes:
        settings: Those it was opened with, but with the node that it calls as the only one.
        genesis: Of the pinned chain.
        genesis_json: Its bytes.
        passed_over: Why each node that the settings name before that one was not taken.
        place: That node and where it is called, for messages.
        channel: The connection, for the other services of the same node.
    """

    def __init__(self, settings: ClientSettings) -> None:
        """Prepare the connection; the first call makes it.

        Where the settings name several nodes, one call is made here: to each in turn, until one
        answers. That node alone is called from then on.

        Args:
            settings: Who calls whom about which chain.

        Raises:
            ProtocolError: The genesis is not that of the pinned chain.
            ConnectionError: Of several nodes none answers.
            OSError: A file cannot be read.
        """
        self.genesis = read_pinned_genesis(settings)
        self.genesis_json = self.genesis.to_json()
        self._chain_id = settings.chain_id
        connection = connect(settings)
        self.settings = connection.settings
        self.passed_over = connection.passed_over
        self.place = place(self.settings)
        self._node = f"{self.settings.node_party}/{self.settings.node_name}"
        self.channel = connection.channel
        self._stub = ledger_pb2_grpc.LedgerServiceStub(self.channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self.channel.close()

    def ledger(self) -> LedgerPosition:
        """Return how far the ledger is, once the node proves to mean the pinned chain.

        Raises:
            SignatureError: It does not, or a party has not accepted the genesis.
            ProtocolError, ConnectionError, TimeoutError: As for every call.
        """
        with node_errors(self.place, ANSWER_S):
            told = self._stub.GetLedger(ledger_pb2.GetLedgerRequest(), timeout=ANSWER_S)
        if (told.chain_id, told.node) != (self._chain_id, self._node):
            raise SignatureError(
                f"{self.place} serves chain {told.chain_id.hex()[:64]} as {told.node[:80]!a}, but"
                f" {self._chain_id.hex()} is pinned; ask your sponsor which is right"
            )
        check_acceptances(self.genesis, self._chain_id, parse_acceptances(told.acceptances))
        return LedgerPosition(
            node=told.node, height=told.height, size=told.size, time_ms=told.time_ms
        )

    def reach(self, index: int) -> None:
        """Wait until the node's ledger has an entry that another node has told of.

        Raises:
            ConnectionError: It is not that far within seconds.
            ProtocolError, TimeoutError: As for every call.
        """
        with node_errors(self.place, ANSWER_S):
            self._stub.GetLedger(
                ledger_pb2.GetLedgerRequest(),
                timeout=ANSWER_S,
                metadata=((READ_KEY, f"at-least={index}"),),
            )

    def checkpoint(self, *, final: bool = False) -> LedgerCheckpoint:
        """Return the newest checkpoint, its signatures checked.

        Args:
            final: Return the newest that a quorum has cosigned, if the node knows one.

        Raises:
            SignatureError: One does not hold, or it is another log's.
            ProtocolError, ConnectionError, TimeoutError: As for every call.
        """
        with node_errors(self.place, ANSWER_S):
            told = self._stub.GetCheckpoint(
                ledger_pb2.GetCheckpointRequest(final=final), timeout=ANSWER_S
            )
        governed = self._governed(told, told.governance)
        return LedgerCheckpoint(note=told.note, findings=governed.findings)

    def governed(self, *, batch_key: bytes = b"", everything: bool = False) -> GovernedCheckpoint:
        """Return the newest checkpoint, final or not, with what governs under it.

        Keys, parties, proposals and the policy follow from the genesis by what the node shows
        with its proofs, so nothing of them is taken on trust but that nothing newer is there.
        Of proposals those are there that are open or were carried out.

        Args:
            batch_key: A key that is to be there, too; of others only those of the genesis and
                those that a party has joined with.
            everything: All batch keys, operators and decided proposals, too: as many as there are.

        Raises:
            FaultFound: Something does not hold.
            ProtocolError, ConnectionError, TimeoutError: As for every call.
        """
        with node_errors(self.place, ANSWER_S):
            told = self._stub.GetCheckpoint(ledger_pb2.GetCheckpointRequest(), timeout=ANSWER_S)
        with blaming("checkpoint"):
            size = parse_checkpoint(parse_note(told.note).text).size
        request = ledger_pb2.GetGovernanceRequest(
            size=size, batch_key=batch_key, everything=everything
        )
        with node_errors(self.place, GOVERNANCE_S):
            return self._governed(told, self._stub.GetGovernance(request, timeout=GOVERNANCE_S))

    def _governed(
        self,
        told: ledger_pb2.GetCheckpointResponse,
        governing: Iterable[ledger_pb2.GoverningEntry],
    ) -> GovernedCheckpoint:
        return check_governed_checkpoint(
            self.genesis,
            self._chain_id,
            told.note,
            close=ProvenLeaf(told.last_close.leaf_data, tuple(told.last_close.path)),
            entries=(
                GovernanceEntry(each.event, each.leaf_data, tuple(each.path)) for each in governing
            ),
        )

    def checkpoint_over(self, index: int) -> LedgerCheckpoint:
        """Return a checkpoint that covers an entry, waiting for it where the entry is new.

        It is a final one, unless the quorum does not cosign within `FINAL_S`.

        Raises:
            NotOnLedgerError: There is no such entry.
            TimeoutError: No checkpoint covers it within `COVERED_S`.
        """
        start_s = time.monotonic()
        while (checkpoint := self.checkpoint(final=True)).size <= index:
            size = self.ledger().size
            if index >= size:
                raise NotOnLedgerError(f"entry {index} is not on the ledger; it has {size}")
            waited_s = time.monotonic() - start_s
            if waited_s > FINAL_S and (newest := self.checkpoint()).size > index:
                return newest
            if waited_s > COVERED_S:
                raise TimeoutError(
                    f"{self.place} signed no checkpoint over entry {index} within {COVERED_S:g} s;"
                    " see its log for why it signs none"
                )
            time.sleep(COVERED_POLL_S)
        return checkpoint

    def prove_inclusion(self, entry: LedgerEntry, checkpoint: LedgerCheckpoint) -> list[bytes]:
        """Return the path that proves an entry under a checkpoint, verified.

        Raises:
            ProofError: It proves nothing.
            ProtocolError, ConnectionError, TimeoutError: As for every call.
        """
        request = ledger_pb2.GetInclusionProofRequest(index=entry.head.index, size=checkpoint.size)
        with node_errors(self.place, ANSWER_S):
            path = list(self._stub.GetInclusionProof(request, timeout=ANSWER_S).path)
        leaf = merkle.leaf_hash(entry.leaf_data)
        merkle.verify_inclusion(leaf, entry.head.index, checkpoint.size, path, checkpoint.root)
        return path

    def prove_consistency(
        self, first: LedgerCheckpoint, second: LedgerCheckpoint
    ) -> Sequence[bytes]:
        """Return the path that proves that nothing under `first` changed up to `second`, verified.

        Raises:
            ProofError: It proves nothing, or the second is smaller than the first.
            ProtocolError, ConnectionError, TimeoutError: As for every call.
        """
        path: list[bytes] = []
        if 1 <= first.size < second.size:
            request = ledger_pb2.GetConsistencyProofRequest(
                first_size=first.size, second_size=second.size
            )
            with node_errors(self.place, ANSWER_S):
                path = list(self._stub.GetConsistencyProof(request, timeout=ANSWER_S).path)
        merkle.verify_consistency(first.size, second.size, first.root, second.root, path)
        return path

    def root_at(self, size: int, checkpoint: LedgerCheckpoint) -> bytes:
        """Return the root of the log's first entries, proven to be the beginning of a checkpoint's.

        Args:
            size: How many entries, from 1 to those of the checkpoint.
            checkpoint: What it is proven by.

        Raises:
            ProofError: It is not proven.
            CallRefused: The checkpoint does not cover so many.
            ProtocolError, ConnectionError, TimeoutError: As for every call.
        """
        request = ledger_pb2.GetConsistencyProofRequest(
            first_size=size, second_size=checkpoint.size
        )
        with node_errors(self.place, ANSWER_S):
            told = self._stub.GetConsistencyProof(request, timeout=ANSWER_S)
        merkle.verify_consistency(
            size, checkpoint.size, told.first_root, checkpoint.root, list(told.path)
        )
        return told.first_root

    def entry(self, name: int | bytes, *, fresh: bool = False) -> LedgerEntry:
        """Return an entry by its index, or by the event id, 32 bytes.

        Args:
            name: Index or event id.
            fresh: Also one that another node acknowledged a moment ago; costs a round of them all.

        Raises:
            NotOnLedgerError: There is none.
            ProofError: What the node gave is another entry, or does not fit together.
            ProtocolError, ConnectionError, TimeoutError: As for every call.
        """
        request = (
            ledger_pb2.GetEntryRequest(index=name)
            if isinstance(name, int)
            else ledger_pb2.GetEntryRequest(event_id=name)
        )
        with node_errors(self.place, ANSWER_S):
            entry = read_entry(
                self._stub.GetEntry(request, timeout=ANSWER_S, metadata=FRESH if fresh else None)
            )
        if name not in (entry.head.index, entry.event_id):
            raise ProofError(f"{self.place} gave entry {entry.head.index} for another one")
        return entry

    def entries(
        self,
        from_index: int = 0,
        *,
        event_types: Sequence[int] = (),
        parties: Sequence[str] = (),
        item: str = "",
        all_kinds: bool = False,
        follow: bool = False,
    ) -> Iterator[LedgerEntry]:
        """Return entries in order, up to those there are now, or for ever.

        Args:
            from_index: Where to begin.
            event_types: Types of events to return; empty: all.
            parties: Parties whose events to return; empty: all.
            item: An item that events must name; empty: any.
            all_kinds: Also entries that are not events.
            follow: Go on with new entries as they come.

        Raises:
            ProofError: An entry does not fit together, or one came twice.
            ProtocolError, ConnectionError, TimeoutError: As for every call.
        """
        request = ledger_pb2.SubscribeRequest(
            from_index=from_index,
            event_types=event_types,
            parties=parties,
            item=item,
            all_kinds=all_kinds,
        )
        end_index = None if follow else self.ledger().size
        while end_index is None or request.from_index < end_index:
            began_index = request.from_index
            try:
                with node_errors(self.place, STREAM_S):
                    yield from self._stretch(request, end_index)
            except TimeoutError:
                if not follow and request.from_index == began_index:
                    raise

    def _stretch(
        self, request: ledger_pb2.SubscribeRequest, end_index: int | None
    ) -> Iterator[LedgerEntry]:
        """Return entries until the stream's deadline, moving the request on with them."""
        stream = self._stub.Subscribe(request, timeout=STREAM_S)
        try:
            for response in stream:
                for message in response.entries:
                    entry = read_entry(message)
                    if entry.head.index < request.from_index:
                        raise ProofError(f"{self.place} sent entry {entry.head.index} twice")
                    if entry.event_id is None and not request.all_kinds:
                        raise ProofError(f"{self.place} sent entry {entry.head.index}, no event")
                    request.from_index = entry.head.index + 1
                    if end_index is not None and entry.head.index >= end_index:
                        return
                    yield entry
                request.from_index = max(request.from_index, response.next_index)
                if end_index is not None and request.from_index >= end_index:
                    return
        finally:
            stream.cancel()

    def seals(
        self,
        *,
        item: str = "",
        report_digest: bytes = b"",
        test: str = "",
        laboratory: str = "",
        party: str = "",
    ) -> Iterator[FoundSeal]:
        """Return the seals of an item or of a report, of which one is given, in order.

        None that is acknowledged before the call is left out, by the node's word.

        Args:
            item: The item that they name.
            report_digest: SHA-256 of the canonical report.
            test: The test; empty: any.
            laboratory: The laboratory that they name; empty: any.
            party: The party that signed them; empty: any.

        Raises:
            ProofError: What the node gave is no such seal.
            ProtocolError, ConnectionError, TimeoutError: As for every call.
        """
        request = ledger_pb2.FindSealsRequest(
            item=item, report_digest=report_digest, test=test, laboratory=laboratory, party=party
        )
        while True:
            with node_errors(self.place, ANSWER_S):
                found = self._stub.FindSeals(request, timeout=ANSWER_S, metadata=FRESH)
            for each in found.seals:
                yield read_found_seal(each, request)
            if not found.next_index:
                return
            if found.next_index <= request.from_index:
                raise ProofError(f"{self.place} goes back to entry {found.next_index}")
            request.from_index = found.next_index

    def receipt(self, index: int) -> bytes:
        """Return the receipt of an event entry, verified; waits for a checkpoint over it.

        Raises:
            NotOnLedgerError: There is no such entry, or it is no event that the caller may read.
            ProofError: The node gave a receipt that does not hold.
            ProtocolError, ConnectionError, TimeoutError: As for every call.
        """
        self.checkpoint_over(index)
        request = ledger_pb2.GetReceiptsRequest(first_index=index, entry_count=1)
        with node_errors(self.place, ANSWER_S):
            receipts = list(self._stub.GetReceipts(request, timeout=ANSWER_S))
        if not receipts:
            raise NotOnLedgerError(self._why_no_receipt(index))
        self.check_receipt(receipts[0].proof, index)
        return receipts[0].proof

    def check_receipt(self, raw: bytes, index: int) -> ReceiptFindings:
        """Return what a receipt from the node proves of an entry.

        Raises:
            ProofError: It does not hold, or is of another entry.
        """
        try:
            findings = verify_receipt(raw, genesis_json=self.genesis_json, chain_id=self._chain_id)
        except FaultFound as error:
            raise ProofError(f"{self.place} gave a receipt that does not hold: {error}") from error
        if findings.index != index:
            raise ProofError(f"{self.place} gave the receipt of entry {findings.index}")
        return findings

    def _why_no_receipt(self, index: int) -> str:
        entry = self.entry(index)
        if entry.withheld:
            return f"entry {index} is an event for other parties; ask its author for the receipt"
        kind = entry.head.kind.name.lower().replace("_", " ")
        return f"entry {index} is a {kind}; only events have receipts"

    def export_snapshot(
        self,
        out: BinaryIO,
        first_height: int = 0,
        last_height: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> int:
        """Write a snapshot file and return its size; `lotmark verify` checks what is in it.

        Args:
            out: Where to.
            first_height: First block; 0: the whole ledger.
            last_height: Last block; 0: the newest with a checkpoint.
            progress: Called with the size so far and the whole size.

        Raises:
            ProofError: The node sent another size than it announced.
            ProtocolError, ConnectionError, TimeoutError: As for every call.
            OSError: `out` cannot be written.
        """
        request = ledger_pb2.ExportSnapshotRequest(
            first_height=first_height, last_height=last_height
        )
        size = file_size = 0
        with node_errors(self.place, SNAPSHOT_S):
            for piece in self._stub.ExportSnapshot(request, timeout=SNAPSHOT_S):
                file_size = file_size or piece.file_size
                out.write(piece.data)
                size += len(piece.data)
                if progress is not None:
                    progress(size, file_size)
        if size != file_size:
            raise ProofError(f"{self.place} sent {size} bytes of a snapshot of {file_size}")
        return size
