"""Who stands behind a checkpoint, by the policy in force at its size."""

from dataclasses import dataclass, replace

from lotmark.canonical_json import JsonValue
from lotmark.checkpoint import Checkpoint
from lotmark.errors import ProofError, SignatureError
from lotmark.finality_policy import Chain, quorum_count
from lotmark.signed_note import parse_note
from lotmark.tlog_policy import NO_QUORUM, parse_policy


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFindings:
    """A checkpoint whose every known signature holds."""

    checkpoint: Checkpoint
    cosigned: tuple[tuple[str, int], ...]  # "<party>/<node>" and Unix time in s
    is_final: bool  # the quorum has cosigned it
    quorum: int  # parties that make it final
    party_count: int  # parties that can cosign

    @property
    def parties(self) -> list[str]:
        """The parties that cosigned, ascending; each counts once."""
        return sorted({name.partition("/")[0] for name, _ in self.cosigned})

    @property
    def standing(self) -> str:
        """On whose word it stands, in words."""
        if not self.is_final:
            by = ", ".join(self.parties) or "nobody"
            return (
                f"not final: cosigned by {by}, {len(self.parties)} of {self.party_count} parties,"
                f" where {self.quorum} are needed"
            )
        if self.party_count == 1:
            return f"on the word of one party ({self.parties[0]})"
        return f"final, {len(self.parties)} of {self.party_count} parties"

    def to_json(self) -> dict[str, JsonValue]:
        """Return it for programs."""
        return {
            "final": self.is_final,
            "parties": self.parties,
            "quorum": self.quorum,
            "party_count": self.party_count,
            "root": self.checkpoint.root.hex(),
            "cosigned": [{"node": name, "time_s": str(time_s)} for name, time_s in self.cosigned],
        }


def check_checkpoint(chain: Chain, policy_text: bytes, raw_note: bytes) -> CheckpointFindings:
    """Check a checkpoint's signatures; whether they are a quorum the findings say.

    Args:
        chain: Whose checkpoint it is to be.
        policy_text: The policy that the close at its size names.
        raw_note: The signed note.

    Raises:
        MalformedError: It is no checkpoint.
        SignatureError: A signature of a known key does not hold, no voter signed it, or it is of
            another log.
    """
    policy = parse_policy(policy_text)
    note = parse_note(raw_note)
    verdict = replace(policy, quorum=NO_QUORUM).check(note)
    expected = chain.origin
    if verdict.checkpoint.origin != expected:
        raise SignatureError(
            f"the checkpoint is of {verdict.checkpoint.origin[:120]!a}, not of {expected}"
        )
    try:
        policy.check(note)
    except ProofError:
        is_final = False
    else:
        is_final = True
    party_count = len({witness.name.partition("/")[0] for witness in policy.witnesses})
    return CheckpointFindings(
        checkpoint=verdict.checkpoint,
        cosigned=verdict.cosigned,
        is_final=is_final,
        quorum=quorum_count(party_count),
        party_count=party_count,
    )
