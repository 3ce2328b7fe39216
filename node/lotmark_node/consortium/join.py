"""What a party makes for itself when it joins: roots, CA, a client with its key, and a request."""

from dataclasses import dataclass
from pathlib import Path

from lotmark.certificates import make_ca, make_leaf
from lotmark.ed25519 import PrivateKey
from lotmark.genesis import Genesis
from lotmark.governing_events import addition
from lotmark.invitation import Invitation, format_join_request
from lotmark.key_file import write_key_file, write_new_file
from lotmark.key_grant import KeyGrant, KeyPurpose, check_grant
from lotmark_node.consortium.found import CERTIFICATE_DAYS, KEY_DAYS, new_content
from lotmark_node.consortium.plan import PlannedClient, PlannedNode
from lotmark_node.consortium.settings_texts import client_toml

REQUEST_FILE = "join-request.lotmark"

_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Joining:
    """What a party that wants to join has in its folder."""

    folder: Path
    client: Path  # settings
    request: Path


def make_joining(
    folder: Path,
    invitation: Invitation,
    genesis: Genesis,
    *,
    holder: str,
    root_count: int,
    threshold: int,
    passphrase: bytes | None,
    now_ms: int,
) -> Joining:
    """Make a party's keys, and the request that its sponsor proposes.

    Args:
        folder: Where to; it is made, or is there and empty.
        invitation: Of the sponsor.
        genesis: That of the invitation.
        holder: The name of its first client.
        root_count: How many root keys it has.
        threshold: How many of them speak for it.
        passphrase: What seals the root keys; None: nothing does.
        now_ms: From when on keys and certificates are valid.

    Raises:
        PlanError: The folder is not empty.
        ProtocolError: A name or a number is not possible.
        OSError: A folder cannot be made.
    """
    party, chain_id = invitation.party, invitation.chain_id
    roots = [PrivateKey.generate() for _ in range(root_count)]
    ca = make_ca(party, genesis.consortium, now_ms=now_ms)
    leaf = make_leaf(
        *ca,
        chain_id=chain_id,
        party=party,
        node=holder,
        addresses=[],
        days=CERTIFICATE_DAYS,
        now_ms=now_ms,
    )
    key = PrivateKey.generate()
    grant = KeyGrant(
        key=key.public,
        party=party,
        purpose=KeyPurpose.BATCH,
        holder=holder,
        not_before_ms=now_ms - _DAY_MS,
        not_after_ms=now_ms + KEY_DAYS * _DAY_MS,
    )
    check_grant(grant)
    asked = addition(
        chain_id,
        party=party,
        role=invitation.role,
        threshold=threshold,
        roots=roots,
        ca_pem=ca[0].decode("ascii"),
        keys=[(grant, key)],
    )
    with new_content(folder) as work:
        for number, root in enumerate(roots, start=1):
            write_key_file(_folder(work / "roots") / f"root-{number}.key", root, passphrase)
        write_new_file(_folder(work / "ca") / "ca.pem", ca[0], mode=0o644)
        write_new_file(work / "ca" / "ca.key", ca[1])
        client = _folder(_folder(work / "clients") / holder)
        write_new_file(client / "cert.pem", leaf[0], mode=0o644)
        write_new_file(client / "key.pem", leaf[1])
        write_key_file(client / "batch.key", key)
        write_new_file(work / "genesis.json", invitation.genesis, mode=0o644)
        text = _client_text(invitation, holder, chain_id)
        write_new_file(client / "client.toml", text.encode("ascii"), mode=0o644)
        request = format_join_request(chain_id, asked)
        write_new_file(work / REQUEST_FILE, request, mode=0o644)
    return Joining(
        folder=folder,
        client=folder / "clients" / holder / "client.toml",
        request=folder / REQUEST_FILE,
    )


def _client_text(invitation: Invitation, holder: str, chain_id: bytes) -> str:
    nodes = [
        PlannedNode(party=node.party, name=node.node, address=node.address)
        for node in invitation.nodes
    ]
    text = client_toml(PlannedClient(party=invitation.party, holder=holder), nodes, chain_id)
    # In a party's own folder the genesis is one level nearer than in a consortium's.
    return text.replace('"../../../genesis.json"', '"../../genesis.json"')


def _folder(path: Path) -> Path:
    path.mkdir(mode=0o700, exist_ok=True)
    return path
