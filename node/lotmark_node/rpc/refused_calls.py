"""Calls that end before they begin: counted by reason, and logged within a bound."""

import logging
from collections import Counter
from enum import StrEnum

from lotmark_node.engine.refusal_log import RefusalLog

logger = logging.getLogger(__name__)


class RefusedFor(StrEnum):
    """Why a call is refused."""

    IDENTITY = "identity"  # the certificate is none of a member
    ACCESS = "access"  # the member may not make this call


class RefusedCalls:
    """Refused calls since the start; on the event loop's thread, and any thread may read.

    Attributes:
        counts: By reason and RPC.
    """

    def __init__(self) -> None:
        self.counts: Counter[tuple[RefusedFor, str]] = Counter()
        self._log = RefusalLog(logger, "call refused")

    def add(self, reason: RefusedFor, rpc: str, *, peer: str, text: str) -> None:
        """Take note of a call.

        Args:
            reason: Why it is refused.
            rpc: The method's name.
            peer: The address it came from, as gRPC names it.
            text: What the caller is told.
        """
        self.counts[reason, rpc] += 1
        self._log.add(reason=reason.value, rpc=rpc, peer=peer, text=text)
