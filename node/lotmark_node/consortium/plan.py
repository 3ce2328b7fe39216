"""What a consortium shall be when it is founded: its parties, and who works for each of them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from lotmark.errors import MalformedError, ProtocolError
from lotmark.genesis import PartyRole
from lotmark.key_grant import EVENT_TYPE_MAX, ROOTS_MAX, check_node, check_party
from lotmark.network_address import split_address
from lotmark.v1 import event_pb2

_ROOTS = re.compile(r"([1-9][0-9]{0,2})/([1-9][0-9]{0,2})")

EVENT_TYPES: dict[str, int] = {
    field.name: field.number
    for field in event_pb2.Event.DESCRIPTOR.oneofs_by_name["body"].fields
    if field.number <= EVENT_TYPE_MAX
}

METRICS_PORTS_ABOVE = 1_000
EPHEMERAL_PORT_MIN = 32_768  # from here on Linux gives ports out


class PlanError(ProtocolError):
    """A consortium cannot be founded like this; the message says what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedParty:
    """An organisation, and how many of its root keys shall speak for it."""

    id: str
    role: PartyRole
    root_threshold: int = 1
    root_count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedNode:
    """A node that orders, keeps and cosigns everything."""

    party: str
    name: str
    address: str  # host:port: it listens there, and clients and other nodes call it there

    @property
    def full_name(self) -> str:
        """Its name in the consortium, "<party>/<node>"."""
        return f"{self.party}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedWitness:
    """A cosigner that orders and keeps nothing: it checks that the log only grows."""

    party: str
    name: str
    address: str  # host:port: it listens there, and nodes call it there

    @property
    def full_name(self) -> str:
        """Its name in the consortium, "<party>/<witness>"."""
        return f"{self.party}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedClient:
    """A device or system that signs batches."""

    party: str
    holder: str
    event_types: tuple[int, ...] = ()  # ascending; empty: every type

    @property
    def full_name(self) -> str:
        """Its name in the consortium, "<party>/<holder>"."""
        return f"{self.party}/{self.holder}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsortiumPlan:
    """A whole consortium."""

    name: str
    parties: tuple[PlannedParty, ...]
    nodes: tuple[PlannedNode, ...]
    clients: tuple[PlannedClient, ...]
    witnesses: tuple[PlannedWitness, ...] = ()

    @property
    def servers(self) -> tuple[PlannedNode | PlannedWitness, ...]:
        """All that take calls."""
        return self.nodes + self.witnesses

    def metrics_address(self, server: PlannedNode | PlannedWitness) -> str:
        """Return where a server answers monitoring: on loopback, 1,000 ports above its own.

        Port 0, any that is free, where that one is another server's or of those that the system
        gives out by itself.
        """
        ports = {split_address(each.address)[1] for each in self.servers}
        port = split_address(server.address)[1]
        above = port + METRICS_PORTS_ABOVE
        usable = port and above < EPHEMERAL_PORT_MIN and above not in ports
        return f"127.0.0.1:{above if usable else 0}"

    def nodes_for(self, client: PlannedClient) -> list[PlannedNode]:
        """Return the nodes in the order in which a client calls them: its own party's first."""
        return sorted(self.nodes, key=lambda node: node.party != client.party)


def check_plan(plan: ConsortiumPlan) -> None:
    """Check what the founding document does not: its own rules are checked when it is made.

    Raises:
        PlanError: Something stands twice, belongs to no party, or no node is there.
        MalformedError: A name or an address is none.
    """
    for party in plan.parties:
        check_party(party.id)
        if not 1 <= party.root_threshold <= party.root_count <= ROOTS_MAX:
            raise PlanError(
                f"{party.id} cannot speak by {party.root_threshold} of {party.root_count} root"
                f" keys; use 1/1 to {ROOTS_MAX}/{ROOTS_MAX}, the first number not the larger"
            )
    if not plan.nodes:
        raise PlanError("no node is planned; a ledger needs one at least, such as OEM-A/n1")
    for server in plan.servers:
        check_node(server.name)
        _, port = split_address(server.address)
        if port == 0 and plan.nodes != (server,):
            raise PlanError(
                f"{server.full_name} is to listen at {server.address}, but others must know its"
                " port beforehand; give every witness, and each of several nodes, a port of its own"
            )
    for client in plan.clients:
        # Narrower than a holder may be: the name stands in a certificate and names a folder.
        try:
            check_node(client.holder)
        except MalformedError as error:
            raise PlanError(
                f"client {client.holder[:40]!a} of {client.party[:40]!a} is not a client's name;"
                " use 1 to 31 of a-z, 0-9 and, not first, a hyphen"
            ) from error
    _check_names(plan)
    _refuse_repeated([server.address for server in plan.servers], "address")


def _check_names(plan: ConsortiumPlan) -> None:
    """Check that every name stands once and is of a party."""
    ids = [party.id for party in plan.parties]
    _refuse_repeated(ids, "party")
    # All have a certificate under their name, so that one could pass for another.
    kinds: dict[str, str] = {}
    for kind, members in (
        ("node", plan.nodes),
        ("witness", plan.witnesses),
        ("client", plan.clients),
    ):
        names = [member.full_name for member in members]
        _refuse_repeated(names, kind)
        for name in names:
            if (owner := name.partition("/")[0]) not in ids:
                raise PlanError(f"{name} belongs to no party; add the party {owner[:40]!a}")
            if name in kinds:
                raise PlanError(
                    f"{name} is a {kinds[name]} and a {kind}; give the {kind} another name"
                )
            kinds[name] = kind


def _refuse_repeated(names: Iterable[str], what: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise PlanError(f"{what} {name[:80]!a} is planned twice; leave one out")
        seen.add(name)


def parse_party(text: str) -> PlannedParty:
    """Return the party that a person writes as ``OEM-A:oem``, or ``OEM-A:oem:2/3`` for its roots.

    Raises:
        PlanError: It is written otherwise, or there is no such role.
    """
    party_id, _, rest = text.partition(":")
    role_name, colon, roots = rest.partition(":")
    roles = {role.name.lower(): role for role in PartyRole}
    if role_name not in roles:
        raise PlanError(
            f"party {text[:80]!a} has no role; write ID:ROLE with one of {', '.join(roles)}"
        )
    counted = _ROOTS.fullmatch(roots) if colon else _ROOTS.fullmatch("1/1")
    if counted is None:
        raise PlanError(
            f"party {text[:80]!a} has roots {roots[:40]!a}; write such as 2/3, two of three keys"
        )
    return PlannedParty(
        id=party_id,
        role=roles[role_name],
        root_threshold=int(counted[1]),
        root_count=int(counted[2]),
    )


def parse_node(text: str) -> PlannedNode:
    """Return the node that a person writes as ``OEM-A/n1@127.0.0.1:7401``.

    Raises:
        PlanError: It is written otherwise.
    """
    party, name, address = _split_member(text, "node", "OEM-A/n1@127.0.0.1:7401")
    return PlannedNode(party=party, name=name, address=address)


def parse_witness(text: str) -> PlannedWitness:
    """Return the witness that a person writes as ``LAB-17025/w1@127.0.0.1:7404``.

    Raises:
        PlanError: It is written otherwise.
    """
    party, name, address = _split_member(text, "witness", "LAB-17025/w1@127.0.0.1:7404")
    return PlannedWitness(party=party, name=name, address=address)


def _split_member(text: str, kind: str, example: str) -> tuple[str, str, str]:
    full_name, at, address = text.partition("@")
    party, slash, name = full_name.partition("/")
    if not (at and slash):
        raise PlanError(f"{kind} {text[:80]!a} is not PARTY/NAME@HOST:PORT, such as {example}")
    return party, name, address


def parse_client(text: str) -> PlannedClient:
    """Return the client that a person writes as ``OEM-A/erp``, or ``T1/cam:measurement,gap``.

    Raises:
        PlanError: It is written otherwise, or names an event type that does not exist.
    """
    name, colon, listed = text.partition(":")
    party, slash, holder = name.partition("/")
    if not slash:
        raise PlanError(
            f"client {text[:80]!a} is not PARTY/NAME or PARTY/NAME:TYPE,TYPE, such as OEM-A/erp"
        )
    types = listed.split(",") if colon else []
    for event_type in types:
        if event_type not in EVENT_TYPES:
            raise PlanError(
                f"client {name[:80]!a} may not send {event_type[:40]!a}, which is no event type;"
                f" use some of {', '.join(EVENT_TYPES)}"
            )
    numbers = tuple(sorted({EVENT_TYPES[event_type] for event_type in types}))
    return PlannedClient(party=party, holder=holder, event_types=numbers)


DEFAULT_NAME = "stator-line"
DEFAULT_PARTIES = ("OEM-A:oem", "T1-STATOR:supplier", "T2-CU-JX:supplier", "LAB-17025:laboratory")
DEFAULT_NODE = "n1@127.0.0.1:7401"
NETWORK_NODES = (
    "OEM-A/n1@127.0.0.1:7401",
    "T1-STATOR/n1@127.0.0.1:7402",
    "T2-CU-JX/n1@127.0.0.1:7403",
)
NETWORK_WITNESSES = ("LAB-17025/w1@127.0.0.1:7404",)
DEFAULT_CLIENT = "erp"
DEFAULT_CLIENTS = (
    "OEM-A/erp",
    "T1-STATOR/line-l3",
    "T1-STATOR/aoi-cam07:measurement,observation_window,inference_result,gap",
    "T1-STATOR/edge-l3:measurement,observation_window,calibration,gap,clock_quality,site_session,"
    "anchoring_policy,source_record",
    "T1-STATOR/review",
    "T2-CU-JX/erp",
    "LAB-17025/lims",
)


def make_plan(
    name: str,
    parties: Iterable[str],
    nodes: Iterable[str],
    clients: Iterable[str],
    witnesses: Iterable[str] = (),
) -> ConsortiumPlan:
    """Return a plan from what a person wrote; what is empty gets a default.

    Without parties it is the four of a stator line. Without nodes the first party runs one.
    Without clients each party of an own list has an ERP. Without witnesses there is none.

    Raises:
        PlanError: Something is written otherwise than it must be.
    """
    own_parties = tuple(parties)
    planned = tuple(parse_party(text) for text in own_parties or DEFAULT_PARTIES)
    some_clients = (
        tuple(f"{party.id}/{DEFAULT_CLIENT}" for party in planned)
        if own_parties
        else DEFAULT_CLIENTS
    )
    return ConsortiumPlan(
        name=name,
        parties=planned,
        nodes=tuple(
            parse_node(text) for text in tuple(nodes) or (f"{planned[0].id}/{DEFAULT_NODE}",)
        ),
        clients=tuple(parse_client(text) for text in tuple(clients) or some_clients),
        witnesses=tuple(parse_witness(text) for text in witnesses),
    )
