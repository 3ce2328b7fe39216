"""What is no fault of an operator's signature, but what somebody who relies on it should know."""

from collections import defaultdict

from lotmark.operator_grant import assertion_from_message
from lotmark.v1 import operators_pb2
from lotmark.verify.operator_register import OperatorRegister
from lotmark.verify.report import Flag, time_text
from lotmark.webauthn import base64url


class OperatorFlags:
    """Looks at accepted operators' signatures one by one, in their order."""

    def __init__(self, register: OperatorRegister) -> None:
        """Begin before the first one; `register` is that of the end of the file."""
        self._register = register
        self._counters: dict[bytes, int] = {}
        self._seen: dict[tuple[str, bytes], list[int]] = defaultdict(list)  # -> count, first index

    def take(self, body: operators_pb2.OperatorSignature, *, index: int, time_ms: int) -> None:
        """Look at the next one, the event of entry `index` in the block of `time_ms`."""
        credential_id = body.credential_id
        assertion = assertion_from_message(body.assertion)
        counter, last = assertion.counter, self._counters.get(credential_id, 0)
        # An authenticator that does not count always says 0.
        if (counter or last) and credential_id in self._counters and counter <= last:
            self._tally("signature counter", credential_id, index)
        self._counters[credential_id] = max(counter, last)
        if assertion.may_be_copied:
            self._tally("synchronised credential", credential_id, index)
        since_ms = self._register.operators[credential_id].compromised_since_ms
        if since_ms and time_ms >= since_ms:
            self._tally("compromised credential", credential_id, index)

    def _tally(self, kind: str, credential_id: bytes, index: int) -> None:
        counted = self._seen[kind, credential_id] or [0, index]
        self._seen[kind, credential_id] = [counted[0] + 1, counted[1]]

    def flags(self) -> list[Flag]:
        """Return what was seen."""
        flags = []
        for (kind, credential_id), (count, first_index) in sorted(self._seen.items()):
            signed = "1 signature" if count == 1 else f"{count:,} signatures"
            text = (
                f"{signed} by {self._named(credential_id)} {self._meaning(kind, credential_id)}"
                f" (first: entry {first_index:,})"
            )
            flags.append(Flag(kind=kind, text=text, count=count, first_index=first_index))
        return [*flags, *self._shared_keys()]

    def _meaning(self, kind: str, credential_id: bytes) -> str:
        match kind:
            case "signature counter":
                return "with a counter that does not grow: a copy of the authenticator may be about"
            case "synchronised credential":
                return "with a credential that is copied between devices, so perhaps people"
            case _:
                since_ms = self._register.operators[credential_id].compromised_since_ms
                return f"disputed: may be in wrong hands since {time_text(since_ms)}"

    def _shared_keys(self) -> list[Flag]:
        """Return a flag for each key that is registered under several credential ids."""
        by_key: dict[bytes, list[bytes]] = defaultdict(list)
        for credential_id, registered in self._register.operators.items():
            by_key[registered.grant.relying_party.public_key].append(credential_id)
        return [
            Flag(
                kind="shared credential key",
                text=f"one key under {len(ids)} credential ids:"
                f" {', '.join(self._named(each) for each in sorted(ids))}",
                count=len(ids),
            )
            for _, ids in sorted(by_key.items())
            if len(ids) > 1
        ]

    def _named(self, credential_id: bytes) -> str:
        party = self._register.operators[credential_id].grant.party
        return f"operator {base64url(credential_id)} of {party}"
