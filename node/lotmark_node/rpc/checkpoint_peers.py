"""The other cosigners as checkpoints are shown to them: voters over gRPC, witnesses over HTTPS."""

import asyncio
import concurrent.futures
import logging
from collections.abc import Mapping, Sequence

from lotmark.certificates import tls_name
from lotmark.errors import ProtocolError
from lotmark.signed_note import Note, format_note, parse_note
from lotmark.tlog_policy import Policy
from lotmark_node.engine.errors import PeerUnreachable
from lotmark_node.engine.gathering import SHARE_MAX_S, CheckpointPeer
from lotmark_node.engine.log_tree import LogTree
from lotmark_node.rpc.grpc_peers import GrpcPeers
from lotmark_node.witness.client import WitnessClient
from lotmark_node.witness.errors import WitnessError

logger = logging.getLogger(__name__)


class VoterPeer:
    """Another voter."""

    is_voter = True

    def __init__(self, name: str, peers: GrpcPeers, loop: asyncio.AbstractEventLoop) -> None:
        self.name = name
        self._peers = peers
        self._loop = loop

    def share(self, note: bytes) -> bytes | None:
        """As `CheckpointPeer` promises."""
        asking = asyncio.run_coroutine_threadsafe(
            self._peers.share(self.name, note, SHARE_MAX_S), self._loop
        )
        try:
            return asking.result(SHARE_MAX_S + 1)
        except (TimeoutError, concurrent.futures.CancelledError) as error:
            raise PeerUnreachable(f"{self.name} answers no checkpoint in time") from error


class WitnessPeer:
    """A witness: it has no ledger, so it is given a consistency proof with each checkpoint."""

    is_voter = False

    def __init__(self, name: str, client: WitnessClient, tree: LogTree) -> None:
        self.name = name
        self._client = client
        self._tree = tree

    def share(self, note: bytes) -> bytes | None:
        """As `CheckpointPeer` promises."""
        try:
            shown = parse_note(note)
            signatures = self._client.submit(shown, self._tree.consistency_path)
        except (WitnessError, ProtocolError) as error:
            raise PeerUnreachable(f"{self.name} does not cosign: {error}") from error
        known = set(shown.signatures)
        added = tuple(each for each in signatures if each not in known)
        return format_note(Note(shown.text, (*shown.signatures, *added)))


def checkpoint_peers(
    ca_certificates: Mapping[str, str],
    chain_id: bytes,
    policy: Policy,
    *,
    peers: GrpcPeers | None,
    witnesses: Mapping[str, str],
    tree: LogTree,
    loop: asyncio.AbstractEventLoop,
) -> Sequence[CheckpointPeer]:
    """Return whom a node asks for cosignatures.

    Args:
        ca_certificates: Each member's, PEM.
        chain_id: The chain's.
        policy: Names the witnesses' keys.
        peers: The other voters; None: there are none.
        witnesses: URL of each witness, by "<party>/<witness>"; one that the policy does not name
            is left out until the node starts again.
        tree: This node's log.
        loop: On which the voters are called.
    """
    found: list[CheckpointPeer] = []
    if peers is not None:
        found += [VoterPeer(name, peers, loop) for name in peers.names]
    for name, url in witnesses.items():
        party_id, _, node = name.partition("/")
        # A node with two keys has the key behind each name.
        vkeys = [
            witness.vkey
            for witness in policy.witnesses
            if witness.name == name or witness.name.startswith(f"{name}/")
        ]
        if not vkeys or party_id not in ca_certificates:
            logger.warning("a witness is not in the policy", extra={"witness": name})
            continue
        client = WitnessClient(
            url,
            vkeys,
            ca_pem=ca_certificates[party_id],
            server_name=tls_name(party_id, node, chain_id),
            timeout_s=SHARE_MAX_S,
        )
        found.append(WitnessPeer(name, client, tree))
    return found
