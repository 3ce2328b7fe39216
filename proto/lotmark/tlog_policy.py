"""Trust policies of C2SP: whose signatures make a checkpoint one to rely on.

    log example.com/log+09fadd6c+AZsfhHkc...        <- any one of the logs has signed, and
    witness X1 Wit1+9b3fb2d5+BFhZSmQj...
    witness X2 Wit2+38153445+BGVbwFJt...
    group X-witnesses any X1 X2                     <- of each group, so many of its members
    quorum X-witnesses                              <- stand behind the checkpoint

Groups refer to what is defined above them and nothing is a member twice, so a policy is a forest
that one pass from top to bottom decides. Names are octet strings to the format; here they are
strings in which every octet that is not UTF-8 stands as a surrogate escape.

Source: C2SP tlog-policy. Logs have keys of type 0x01, witnesses of type 0x04.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from lotmark import ed25519
from lotmark.c2sp_encoding import decode_decimal
from lotmark.checkpoint import Checkpoint, parse_checkpoint
from lotmark.cosignature import verify_cosignature
from lotmark.errors import MalformedError, ProofError, SignatureError
from lotmark.signed_note import (
    COSIGNATURE_ED25519,
    ED25519,
    Note,
    VerifierKey,
    format_vkey,
    parse_vkey,
)

POLICY_SIZE_MAX = 64 << 10
NO_QUORUM = "none"

# Everything but white space, control characters and surrogates that stand for no octet.
_ITEM = re.compile(r"[^\x00-\x20\x7f\ud800-\udc7f\udd00-\udfff]+")
_SPACES = re.compile(r"[ \t]+")
_FORBIDDEN_OCTET = re.compile(rb"[^\t\n\x20-\x7e\x80-\xff]")


@dataclass(frozen=True, slots=True)
class PolicyLog:
    """A log whose checkpoints may count; its key's name is its origin."""

    vkey: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class PolicyWitness:
    """Somebody whose cosignature may count."""

    name: str  # inside the policy only
    vkey: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class PolicyGroup:
    """Witnesses and groups of which `threshold` together count as one."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PolicyVerdict:
    """What a policy found behind a note."""

    checkpoint: Checkpoint
    cosigned: tuple[tuple[str, int], ...]  # witness by its name in the policy, and Unix time in s


@dataclass(frozen=True, slots=True)
class Policy:
    """Logs, witnesses and the quorum; complete and free of contradiction once it exists."""

    logs: tuple[PolicyLog, ...]
    witnesses: tuple[PolicyWitness, ...]
    groups: tuple[PolicyGroup, ...]  # each after the groups it has as members
    quorum: str  # a witness, a group, or NO_QUORUM

    def __post_init__(self) -> None:
        log_keys = [log.vkey for log in self.logs]
        witness_keys = [witness.vkey for witness in self.witnesses]
        _check_keys("log", log_keys, ED25519)
        _check_keys("witness", witness_keys, COSIGNATURE_ED25519)
        all_keys = [*log_keys, *witness_keys]
        _refuse_repeated("key name and id", (f"{key.name}+{key.key_id.hex()}" for key in all_keys))
        for url in (*(log.url for log in self.logs), *(item.url for item in self.witnesses)):
            if url is not None:
                _check_item("url", url)
        if self.quorum not in {NO_QUORUM, *_check_names(self.witnesses, self.groups)}:
            raise MalformedError(f"quorum {self.quorum!a} is neither a witness nor a group")

    def check(self, note: Note) -> PolicyVerdict:
        """Check that `note` is a checkpoint this policy relies on.

        Signatures of unknown keys say nothing. Every one of a known key must hold, even where the
        quorum is met without it: a note that somebody forged into is refused as a whole.

        Returns:
            The checkpoint, and who cosigned it when, in the order of the policy. A witness that
            cosigned twice counts once, with its earlier time.

        Raises:
            MalformedError: The note is no checkpoint.
            SignatureError: A signature of a known key does not hold, or no log of this policy
                signed under its own origin.
            ProofError: The quorum is not met; the message names who signed and who did not.
        """
        checkpoint = parse_checkpoint(note.text)
        self._check_log_signature(note, checkpoint.origin)
        times_s = self._cosignature_times(note)
        if not self._quorum_is_met(times_s):
            missing = [item.name for item in self.witnesses if item.name not in times_s]
            raise ProofError(
                f"quorum {self.quorum!a} is not met for size {checkpoint.size} of"
                f" {checkpoint.origin[:80]!a}: cosigned by {_listed(times_s)};"
                f" missing {_listed(missing)}"
            )
        names = [item.name for item in self.witnesses if item.name in times_s]
        return PolicyVerdict(checkpoint, tuple((name, times_s[name]) for name in names))

    def _check_log_signature(self, note: Note, origin: str) -> None:
        keys = {(log.vkey.name, log.vkey.key_id): log.vkey for log in self.logs}
        signed_as_itself = False
        for signature in note.signatures:
            if key := keys.get((signature.name, signature.key_id)):
                ed25519.verify(key.public_key, note.text.encode(), signature.signature)
                signed_as_itself |= key.name == origin
        if not signed_as_itself:
            raise SignatureError(
                f"no log of the policy signed this checkpoint as {origin[:80]!a};"
                f" its logs are {_listed(log.vkey.name for log in self.logs)}"
            )

    def _cosignature_times(self, note: Note) -> dict[str, int]:
        """Return when each witness cosigned, by its name in the policy."""
        witnesses = {(item.vkey.name, item.vkey.key_id): item for item in self.witnesses}
        times_s: dict[str, int] = {}
        for signature in note.signatures:
            if witness := witnesses.get((signature.name, signature.key_id)):
                time_s = verify_cosignature(note.text, signature, witness.vkey)
                times_s[witness.name] = min(time_s, times_s.get(witness.name, time_s))
        return times_s

    def _quorum_is_met(self, cosigners: Collection[str]) -> bool:
        satisfied = {NO_QUORUM, *cosigners}
        for group in self.groups:
            if sum(member in satisfied for member in group.members) >= group.threshold:
                satisfied.add(group.name)
        return self.quorum in satisfied


def _check_keys(what: str, keys: list[VerifierKey], kind: int) -> None:
    for key in keys:
        _check_item(f"{what} key", format_vkey(key))
        if key.kind != kind:
            raise MalformedError(
                f"{what} key {format_vkey(key)} has signature type {key.kind:#04x};"
                f" a {what} needs {kind:#04x}"
            )
    _refuse_repeated(f"{what} public key", (key.public_key.hex() for key in keys))


def _check_names(witnesses: tuple[PolicyWitness, ...], groups: tuple[PolicyGroup, ...]) -> set[str]:
    """Return all names, each defined once and before its use, and a member at most once."""
    defined: set[str] = set()
    items: list[PolicyWitness | PolicyGroup] = [*witnesses, *groups]
    for item in items:
        _check_item("name", item.name)
        if item.name == NO_QUORUM or item.name in defined:
            raise MalformedError(
                f"the name {item.name!a} is {'reserved' if item.name == NO_QUORUM else 'taken'}"
                " in the policy; choose another"
            )
        if isinstance(item, PolicyGroup):
            _check_group(item, defined)
        defined.add(item.name)
    _refuse_repeated("group member", (member for group in groups for member in group.members))
    return defined


def _check_group(group: PolicyGroup, defined: Collection[str]) -> None:
    for member in group.members:
        if member not in defined:
            raise MalformedError(
                f"member {member!a} of group {group.name!a} is not defined before it"
            )
    if not 1 <= group.threshold <= len(group.members):
        raise MalformedError(
            f"group {group.name!a} has {len(group.members)} members, of which it asks for"
            f" {group.threshold}; at least one and at most all are possible"
        )


def _refuse_repeated(what: str, values: Iterable[str]) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise MalformedError(f"{what} {value!a} stands twice in the policy")
        seen.add(value)


def _check_item(what: str, item: str) -> None:
    if not _ITEM.fullmatch(item):
        raise MalformedError(f"{what} {item!a} is empty or has a space or control character")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(ascii, names)) or "nobody"


def parse_policy(raw: bytes) -> Policy:
    """Return the policy of a policy file.

    Raises:
        MalformedError: It is too long, does not follow the format, or contradicts itself.
        SignatureError: It has a key that may not be registered.
    """
    if len(raw) > POLICY_SIZE_MAX:
        raise MalformedError(f"a policy has {len(raw)} bytes; at most {POLICY_SIZE_MAX} count")
    if octet := _FORBIDDEN_OCTET.search(raw):
        raise MalformedError(
            f"a policy has the octet 0x{octet[0].hex()} at {octet.start()}; of the control"
            " characters only tab and line feed are allowed"
        )
    logs: list[PolicyLog] = []
    witnesses: list[PolicyWitness] = []
    groups: list[PolicyGroup] = []
    quorums: list[str] = []
    # A file defines a name above the line that uses it, also where `Policy` has no such order.
    defined = {NO_QUORUM}
    for number, line in enumerate(raw.decode("utf-8", "surrogateescape").split("\n"), start=1):
        stripped = line.strip(" \t")
        if not stripped or stripped.startswith("#"):
            continue
        match _SPACES.split(stripped):
            case ["log", vkey, *url] if len(url) <= 1:
                logs.append(PolicyLog(parse_vkey(vkey), *url))
            case ["witness", name, vkey, *url] if len(url) <= 1:
                witnesses.append(PolicyWitness(name, parse_vkey(vkey), *url))
                defined.add(name)
            case ["group", name, threshold, *members] if defined.issuperset(members):
                groups.append(PolicyGroup(name, _threshold(threshold, members), tuple(members)))
                defined.add(name)
            case ["quorum", name] if name in defined:
                quorums.append(name)
            case _:
                raise MalformedError(
                    f"policy line {number} is no log, witness, group or quorum made of names"
                    f" defined above it: {line[:80]!a}"
                )
    if len(quorums) != 1:
        raise MalformedError(f"a policy has one quorum line, this one has {len(quorums)}")
    return Policy(tuple(logs), tuple(witnesses), tuple(groups), quorums[0])


def _threshold(text: str, members: Collection[str]) -> int:
    match text:
        case "any":
            return 1
        case "all":
            return len(members)
        case _:
            return decode_decimal(text, what="group threshold")


def format_policy(policy: Policy) -> bytes:
    """Return a policy file that `parse_policy` reads as `policy`, in this package's one layout."""
    lines: list[tuple[str | None, ...]] = [
        *(("log", format_vkey(log.vkey), log.url) for log in policy.logs),
        *(("witness", item.name, format_vkey(item.vkey), item.url) for item in policy.witnesses),
        *(("group", item.name, str(item.threshold), *item.members) for item in policy.groups),
        ("quorum", policy.quorum),
    ]
    text = "".join(" ".join(item for item in line if item is not None) + "\n" for line in lines)
    return text.encode("utf-8", "surrogateescape")
