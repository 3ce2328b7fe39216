"""Files by which a party joins: the sponsor's invitation, and the answer, a join request.

Both are RFC 8785 JSON and hold no secret. What an invitation says is worth what its way was worth:
whoever joins compares the chain id with his sponsor.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from lotmark import canonical_json
from lotmark.c2sp_encoding import decode_base64, encode_base64
from lotmark.client.settings import NodeAddress, parse_node_address
from lotmark.errors import MalformedError
from lotmark.genesis import GENESIS_SIZE_MAX, Genesis, PartyRole, parse_genesis
from lotmark.genesis import chain_id as chain_id_of
from lotmark.governance import check_addition
from lotmark.json_fields import JsonFields
from lotmark.key_grant import BINDING_SIZE, check_party
from lotmark.v1 import governance_pb2

INVITATION_FORMAT = "lotmark/invite/v1"
REQUEST_FORMAT = "lotmark/join-request/v1"
FILE_SIZE_MAX = 2 * GENESIS_SIZE_MAX

_INVITATION_MEMBERS = ("format", "genesis", "nodes", "party", "role", "sponsor")
_REQUEST_MEMBERS = ("addition", "chain_id", "format")


def parse_role(name: str) -> PartyRole:
    """Return the role of a name in lower case.

    Raises:
        MalformedError: There is none.
    """
    for role in PartyRole:
        if role.name.lower() == name:
            return role
    allowed = " ".join(role.name.lower() for role in PartyRole)
    raise MalformedError(f"{name[:40]!a} is no role; use one of {allowed}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """What a party needs to join."""

    party: str
    role: PartyRole
    sponsor: str
    genesis: bytes
    nodes: Sequence[NodeAddress]  # whom it calls, one at least; the first that answers

    @property
    def chain_id(self) -> bytes:
        """The chain that the genesis founds."""
        return chain_id_of(self.genesis)

    def encode(self) -> bytes:
        """Return the file."""
        return canonical_json.dump(
            {
                "format": INVITATION_FORMAT,
                "party": self.party,
                "role": self.role.name.lower(),
                "sponsor": self.sponsor,
                "genesis": encode_base64(self.genesis),
                "nodes": [
                    {"name": f"{node.party}/{node.node}", "address": node.address}
                    for node in self.nodes
                ],
            }
        )


def parse_invitation(raw: bytes) -> tuple[Invitation, Genesis]:
    """Return an invitation and the genesis in it, both checked.

    Raises:
        ProtocolError: It is none, or of a later version, or its genesis breaks a rule.
    """
    fields = _fields(raw, INVITATION_FORMAT, _INVITATION_MEMBERS)
    nodes = tuple(
        parse_node_address(each.text("name"), each.text("address"))
        for each in fields.objects("nodes", ("address", "name"))
    )
    if not nodes:
        raise MalformedError("the invitation names no node that could be called")
    invitation = Invitation(
        party=fields.text("party"),
        role=parse_role(fields.text("role")),
        sponsor=fields.text("sponsor"),
        genesis=decode_base64(fields.text("genesis"), what="invitation.genesis"),
        nodes=nodes,
    )
    check_party(invitation.party)
    check_party(invitation.sponsor)
    genesis = parse_genesis(invitation.genesis)
    for node in nodes:
        if genesis.party(node.party) is None:
            raise MalformedError(f"the invitation names node {node.party}/{node.node}, of no party")
    return invitation, genesis


def format_join_request(chain_id: bytes, addition: governance_pb2.PartyAddition) -> bytes:
    """Return the file by which a party asks to join."""
    return canonical_json.dump(
        {
            "format": REQUEST_FORMAT,
            "chain_id": chain_id.hex(),
            "addition": encode_base64(addition.SerializeToString(deterministic=True)),
        }
    )


def parse_join_request(raw: bytes, chain_id: bytes) -> governance_pb2.PartyAddition:
    """Return what a party asks for, with every signature checked.

    Raises:
        ProtocolError: It is no request, of a later version or for another chain, or breaks a rule.
    """
    fields = _fields(raw, REQUEST_FORMAT, _REQUEST_MEMBERS)
    if (found := fields.hex("chain_id", size=BINDING_SIZE)) != chain_id:
        raise MalformedError(f"the request is for chain {found.hex()}, not {chain_id.hex()}")
    body = decode_base64(fields.text("addition"), what="request.addition")
    try:
        addition = governance_pb2.PartyAddition.FromString(body)
    except DecodeError as error:
        raise MalformedError("the request holds no party") from error
    check_addition(addition, chain_id)
    return addition


def _fields(raw: bytes, expected: str, members: tuple[str, ...]) -> JsonFields:
    value = canonical_json.load(raw, size_max=FILE_SIZE_MAX)
    found = value.get("format") if isinstance(value, dict) else None
    if found != expected:
        raise MalformedError(f"the file is of format {ascii(found)[:60]}, not {expected}")
    return JsonFields(value, members, place="file")
