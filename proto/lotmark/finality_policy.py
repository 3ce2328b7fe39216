"""By whose cosignatures a checkpoint is final: the C2SP tlog-policy that follows from the keys.

One party's dishonesty must not make two histories final, so a quorum shares two parties with every
other quorum: of its own policy, and of one that has a party more or less. `docs/decisions/0007` and
`docs/decisions/0017` say why.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lotmark.key_grant import NEVER, KeyPurpose
from lotmark.signed_note import COSIGNATURE_ED25519, ED25519, format_vkey, verifier_key
from lotmark.state_rows import RowReader, node_keys

Node = tuple[str, str]  # party and node


@dataclass(frozen=True, slots=True)
class Chain:
    """What names in checkpoints are made of."""

    id: bytes
    consortium: str

    @property
    def origin(self) -> str:
        """The first line of the chain's checkpoints, which is the name of its log keys too."""
        return f"lotmark.invalid/{self.consortium}/{self.id.hex()}"

    def cosigner_name(self, party: str, node: str) -> str:
        """Return the name under which a node cosigns checkpoints."""
        return f"lotmark.invalid/{self.consortium}/{party}/{node}"


def quorum_count(party_count: int) -> int:
    """Return how many parties must cosign for a checkpoint to be final.

    It is the smallest q with 2q > n + 1: any two sets of q parties then share two at least, so
    that one dishonest party alone cannot make two histories final. A single party has no such q
    and cosigns alone.
    """
    return min(party_count, (party_count + 1) // 2 + 1)


def policy_of_keys(
    chain: Chain,
    log_keys: Mapping[Node, Iterable[bytes]],
    cosign_keys: Mapping[Node, Iterable[bytes]],
) -> bytes:
    """Return the text of the policy in which these keys count.

    Args:
        chain: Whose checkpoints are judged.
        log_keys: Of each voter.
        cosign_keys: Of each node that cosigns, one at least.
    """
    lines = [
        f"log {_vkey(chain.origin, ED25519, key)}"
        for _, keys in sorted(log_keys.items())
        for key in sorted(keys)
    ]
    witnesses: list[tuple[str, str, str]] = []  # name, party, vkey
    for (party, node), unordered in cosign_keys.items():
        keys = sorted(unordered)
        for key in keys:
            # A node that changes its key has two for a while; a policy's names are unique.
            name = f"{party}/{node}" if len(keys) == 1 else f"{party}/{node}/{key.hex()}"
            vkey = _vkey(chain.cosigner_name(party, node), COSIGNATURE_ED25519, key)
            witnesses.append((name, party, vkey))
    groups: dict[str, list[str]] = {}
    # By name, not by (party, node): "A-B/x" stands before "A/x".
    for name, party, vkey in sorted(witnesses):
        lines.append(f"witness {name} {vkey}")
        groups.setdefault(party, []).append(name)
    parties = sorted(groups)
    lines += [f"group {party} any {' '.join(groups[party])}" for party in parties]
    lines.append(f"group final {quorum_count(len(parties))} {' '.join(parties)}")
    lines.append("quorum final")
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def policy_of_rows(chain: Chain, rows: RowReader) -> bytes:
    """Return the text of the policy that the keys of a state make: those that are not revoked."""
    log_keys: dict[Node, list[bytes]] = {}
    cosign_keys: dict[Node, list[bytes]] = {}
    for key, row in node_keys(rows):
        if row.revoked_height != NEVER:
            continue
        if row.purpose == KeyPurpose.LOG:
            log_keys.setdefault((row.party, row.holder), []).append(key)
        elif row.purpose == KeyPurpose.COSIGN:
            cosign_keys.setdefault((row.party, row.holder), []).append(key)
    return policy_of_keys(chain, log_keys, cosign_keys)


def _vkey(name: str, kind: int, key: bytes) -> str:
    return format_vkey(verifier_key(name, kind, key))
