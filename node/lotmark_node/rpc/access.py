"""Who may call what: role by RPC. `docs/access.md` shows this table; a test compares the two."""

from collections.abc import Sequence
from dataclasses import dataclass

import grpc

from lotmark.genesis import PartyRole

_ALL = frozenset(PartyRole)
_AUTHORS = _ALL - {PartyRole.REGULATOR}
_INSPECTORS = frozenset({PartyRole.REGULATOR})  # and the node's own party

ACCESS: dict[str, frozenset[PartyRole]] = {
    "SubmitStream": _AUTHORS,
    "Submit": _AUTHORS,
    "GetLaneState": _ALL,
    "GetEntry": _ALL,
    "GetInclusionProof": _ALL,
    "GetReceipts": _ALL,
    "GetCheckpoint": _ALL,
    "GetGovernance": _ALL,
    "GetConsistencyProof": _ALL,
    "Subscribe": _ALL,
    "FindSeals": _ALL,
    "ExportSnapshot": _INSPECTORS,
    "GetLedger": _ALL,
    "GetNodeStatus": _ALL,
    "TraceBack": _ALL,
    "TraceForward": _ALL,
    "ItemHistory": _ALL,
    "FindEvents": _ALL,
    "SuspectWindow": _ALL,
    "VerifyRaw": _ALL,
    "GetItemProof": _ALL,
    "ListPackages": _ALL,
    "GetPackage": _ALL,
    "ListClaims": _ALL,
    "GetClaim": _ALL,
    "GetBalances": _ALL,
    "GetStatement": _ALL,
    "StreamRuleReceipts": _ALL,
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as the certificate says."""

    party: str
    node: str
    role: PartyRole
    own: bool  # of the party that runs this node

    def may_read(self, audience: Sequence[str]) -> bool:
        """Tell whether an event with this audience is shown to the caller."""
        return not audience or self.own or self.party in audience


def refusal(caller: Caller, rpc: str) -> tuple[grpc.StatusCode, str] | None:
    """Return why a caller may not call, or None where it may."""
    roles = ACCESS[rpc]
    if caller.role in roles or caller.own:
        return None
    allowed = ", ".join(sorted(role.name.lower() for role in roles))
    return (
        grpc.StatusCode.PERMISSION_DENIED,
        f"{caller.party} has role {caller.role.name.lower()}; {rpc} is for {allowed}"
        " and the party that runs the node",
    )
