"""The settings files that founding a consortium writes, with a comment on every line."""

import json
from collections.abc import Iterable, Mapping, Sequence

from lotmark_node.consortium.plan import PlannedClient, PlannedNode, PlannedWitness

# From PARTY/nodes/NODE, PARTY/witnesses/NAME and PARTY/clients/HOLDER to the folder of all parties.
_ABOVE = "../../.."
_METRICS = "/metrics, /healthz, /readyz over HTTP, for monitoring"
_ALIGNED_MAX = 60  # characters of a line beside which the comments of all others stand
_GENESIS = ("genesis", f"{_ABOVE}/genesis.json", "founding document; its hash is the chain id")
_ACCEPTANCES = (
    "acceptances",
    f"{_ABOVE}/acceptances.json",
    "every party's signatures under it",
)

Line = tuple[str, str, str]  # key, value, comment


def node_toml(
    node: PlannedNode,
    peers: Sequence[PlannedNode],
    witnesses: Sequence[PlannedWitness],
    *,
    metrics: str,
) -> str:
    """Return the settings file of a node, which stands in PARTY/nodes/NODE.

    Args:
        node: Whose file it is.
        peers: The other nodes.
        witnesses: Whom the node may ask for cosignatures.
        metrics: host:port where it answers monitoring.
    """
    free = "clients and peers have it in their settings" if peers else "port 0: any that is free"
    settings = _toml(
        f"Node {node.name} of {node.party}. Paths are relative to this file.\n"
        "# An environment variable such as LOTMARK_LISTEN overrides its line.",
        [
            ("party", node.party, "who runs the node"),
            ("node", node.name, "its name in the genesis and in its certificate"),
            ("listen", node.address, f"host:port to take calls on; {free}"),
            ("metrics_listen", metrics, _METRICS),
            ("data", "data", "folder of ledger and journal; it grows"),
            _GENESIS,
            _ACCEPTANCES,
            ("tls_certificate", "tls/cert.pem", "shown to whoever connects"),
            ("tls_key", "tls/key.pem", "its private key"),
            ("proposal_key", "keys/proposal.key", "signs blocks that this node proposes"),
            ("log_key", "keys/log.key", "signs checkpoints as the log"),
            ("cosign_key", "keys/cosign.key", "cosigns checkpoints for the party"),
            ("admit_key", "keys/admit.key", "signs answers to submitted batches"),
        ],
    )
    return (
        settings
        + _table(
            "peers",
            "every other voter; this node calls it there",
            {peer.full_name: peer.address for peer in peers},
        )
        + _table(
            "witnesses",
            "asked to cosign checkpoints",
            {witness.full_name: f"https://{witness.address}" for witness in witnesses},
        )
    )


def witness_toml(witness: PlannedWitness, *, metrics: str) -> str:
    """Return the settings file of a witness, which stands in PARTY/witnesses/NAME.

    Args:
        witness: Whose file it is.
        metrics: host:port where it answers monitoring.
    """
    return _toml(
        f"Witness {witness.name} of {witness.party}. Paths are relative to this file.",
        [
            ("party", witness.party, "for whom it cosigns"),
            ("node", witness.name, "its name in the genesis and in its certificate"),
            ("listen", witness.address, "host:port to take calls on"),
            ("metrics_listen", metrics, _METRICS),
            ("data", "data", "what it has cosigned last; never start an older copy"),
            _GENESIS,
            _ACCEPTANCES,
            ("tls_certificate", "tls/cert.pem", "shown to whoever connects"),
            ("tls_key", "tls/key.pem", "its private key"),
            ("cosign_key", "keys/cosign.key", "cosigns checkpoints for the party"),
        ],
    )


def client_toml(client: PlannedClient, nodes: Sequence[PlannedNode], chain_id: bytes) -> str:
    """Return the settings file of a client, which stands in PARTY/clients/HOLDER.

    Args:
        client: Whose file it is.
        nodes: Those that it calls, one at least; the first that answers.
        chain_id: Of its chain.
    """
    first, *others = nodes
    settings = _toml(
        f"Client {client.holder} of {client.party}. Paths are relative to this file.",
        [
            ("chain_id", chain_id.hex(), "the only chain to trust, whatever a node says"),
            ("party", client.party, "for whom it signs"),
            ("holder", client.holder, "its name in the genesis and in its certificate"),
            ("node_party", first.party, "whose node it calls"),
            ("node_name", first.name, "which one"),
            ("node_address", first.address, "host:port where that node listens"),
            ("batch_key", "batch.key", "signs batches of events; keep it secret"),
            ("certificate", "cert.pem", "shown to the node"),
            ("certificate_key", "key.pem", "its private key"),
            _GENESIS,
        ],
    )
    return settings + _table(
        "other_nodes",
        "called in this order where that node does not answer",
        {node.full_name: node.address for node in others},
    )


def _table(name: str, comment: str, lines: Mapping[str, str]) -> str:
    """Return a table, which must come after all single lines; nothing where it is empty."""
    if not lines:
        return ""
    body = "".join(f"{json.dumps(key)} = {json.dumps(value)}\n" for key, value in lines.items())
    return f"\n[{name}]  # {comment}\n{body}"


def _toml(title: str, lines: Iterable[Line]) -> str:
    # JSON writes strings of printable ASCII, and there are no others, as TOML does.
    settings = [(f"{key} = {json.dumps(value)}", comment) for key, value, comment in lines]
    column = max(len(setting) for setting, _ in settings if len(setting) <= _ALIGNED_MAX)
    body = "".join(f"{setting:<{column}}  # {comment}\n" for setting, comment in settings)
    return f"# {title}\n{body}"
