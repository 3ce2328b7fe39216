"""The settings files that founding a consortium writes, with a comment on every line."""

import json
from collections.abc import Iterable

from lotmark_node.consortium.plan import PlannedClient, PlannedNode

# From PARTY/nodes/NODE and PARTY/clients/HOLDER to the folder that holds all parties.
_ABOVE = "../../.."
_ALIGNED_MAX = 60  # characters of a line beside which the comments of all others stand


def node_toml(node: PlannedNode) -> str:
    """Return the settings file of a node, which stands in PARTY/nodes/NODE."""
    return _toml(
        f"Node {node.name} of {node.party}. Paths are relative to this file.\n"
        "# An environment variable such as LOTMARK_LISTEN overrides its line.",
        [
            ("party", node.party, "who runs the node"),
            ("node", node.name, "its name in the genesis and in its certificate"),
            ("listen", node.address, "host:port to take calls on; port 0: any that is free"),
            ("data", "data", "folder of ledger and journal; it grows"),
            ("genesis", f"{_ABOVE}/genesis.json", "founding document; its hash is the chain id"),
            ("acceptances", f"{_ABOVE}/acceptances.json", "every party's signatures under it"),
            ("tls_certificate", "tls/cert.pem", "shown to whoever connects"),
            ("tls_key", "tls/key.pem", "its private key"),
            ("proposal_key", "keys/proposal.key", "signs blocks that this node proposes"),
            ("log_key", "keys/log.key", "signs checkpoints as the log"),
            ("cosign_key", "keys/cosign.key", "cosigns checkpoints for the party"),
            ("admit_key", "keys/admit.key", "signs answers to submitted batches"),
        ],
    )


def client_toml(client: PlannedClient, node: PlannedNode, chain_id: bytes) -> str:
    """Return the settings file of a client, which stands in PARTY/clients/HOLDER."""
    return _toml(
        f"Client {client.holder} of {client.party}. Paths are relative to this file.",
        [
            ("chain_id", chain_id.hex(), "the only chain to trust, whatever a node says"),
            ("party", client.party, "for whom it signs"),
            ("holder", client.holder, "its name in the genesis and in its certificate"),
            ("node_party", node.party, "whose node it calls"),
            ("node_name", node.name, "which one"),
            ("node_address", node.address, "host:port where that node listens"),
            ("batch_key", "batch.key", "signs batches of events; keep it secret"),
            ("certificate", "cert.pem", "shown to the node"),
            ("certificate_key", "key.pem", "its private key"),
            ("genesis", f"{_ABOVE}/genesis.json", "founding document; its hash is the chain id"),
        ],
    )


def _toml(title: str, lines: Iterable[tuple[str, str, str]]) -> str:
    # JSON writes strings of printable ASCII, and there are no others, as TOML does.
    settings = [(f"{key} = {json.dumps(value)}", comment) for key, value, comment in lines]
    column = max(len(setting) for setting, _ in settings if len(setting) <= _ALIGNED_MAX)
    body = "".join(f"{setting:<{column}}  # {comment}\n" for setting, comment in settings)
    return f"# {title}\n{body}"
