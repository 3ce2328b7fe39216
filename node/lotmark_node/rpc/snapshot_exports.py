"""Snapshot exports, one at a time: each reads the whole ledger and needs room for a copy of it."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

from lotmark.snapshot import write_snapshot
from lotmark.v1 import ledger_pb2
from lotmark_node.engine.errors import ExportRefused
from lotmark_node.engine.ledger_engine import LedgerEngine
from lotmark_node.engine.snapshot_source import LedgerSnapshotSource

PIECE_SIZE = 1 << 20


class SnapshotExports:
    """Writes snapshots of one ledger, on a thread of their own."""

    def __init__(self, engine: LedgerEngine, acceptances: bytes) -> None:
        self._engine = engine
        self._acceptances = acceptances
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="export")
        self._turn = asyncio.Lock()

    async def stream(
        self, request: ledger_pb2.ExportSnapshotRequest
    ) -> AsyncIterator[ledger_pb2.ExportSnapshotResponse]:
        """Write a snapshot to a file of its own, then return it piece by piece.

        Raises:
            ExportRefused: Another export is running, or the disk has no room.
            EngineError, ProtocolError: The heights have no snapshot.
        """
        if self._turn.locked():
            raise ExportRefused("another snapshot is being exported; try again when it is done")
        async with self._turn:
            loop = asyncio.get_running_loop()
            with tempfile.TemporaryFile(dir=self._engine.folder) as file:
                size = await loop.run_in_executor(self._thread, self._write, file, request)
                while piece := await loop.run_in_executor(self._thread, file.read, PIECE_SIZE):
                    yield ledger_pb2.ExportSnapshotResponse(data=piece, file_size=size)
                    size = 0  # said once

    def _write(self, file: BinaryIO, request: ledger_pb2.ExportSnapshotRequest) -> int:
        checkpoint = self._engine.checkpoint(final=True)
        try:
            write_snapshot(
                file,
                LedgerSnapshotSource(self._engine, checkpoint, self._acceptances),
                first_height=request.first_height or 1,
                last_height=request.last_height or checkpoint.head.height,
            )
            size = file.tell()
            file.seek(0)
        except OSError as error:
            raise ExportRefused(
                f"the node cannot write the snapshot: {error}; its disk needs room for a copy of"
                " the ledger"
            ) from error
        return size
