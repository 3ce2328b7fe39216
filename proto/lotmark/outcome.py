"""The closed table of outcomes: what became of a batch or event, and what its author does next.

Codes 1 to 99 are of a batch as a whole, 100 to 199 of one event, both on the log. Codes from 200
are admission's own: such a batch is not on the log. Codes 1 to 12 leave the lane's sequence where
it was, codes 20 to 99 consume the number, so that an outbox never stalls.
"""

from dataclasses import dataclass
from enum import IntEnum


class Outcome(IntEnum):
    """Every outcome there is."""

    ACCEPTED = 0

    CHAIN_UNKNOWN = 1
    KEY_UNKNOWN = 2
    KEY_PARTY_MISMATCH = 3
    KEY_PURPOSE_WRONG = 4
    KEY_NOT_YET_VALID = 5
    KEY_EXPIRED = 6
    KEY_REVOKED = 7
    SIGNATURE_INVALID = 8
    LANE_CLOSED = 9
    SEQUENCE_AHEAD = 10
    SEQUENCE_REUSED = 11
    BATCH_DUPLICATE = 12
    PREVIOUS_MISMATCH = 20
    SCHEMA_UNKNOWN = 21
    COUNT_MISMATCH = 22
    ROOT_MISMATCH = 23
    TIME_ABSURD = 24
    QUOTA_EXCEEDED = 25

    EVENT_OVERSIZE = 100
    EVENT_MALFORMED = 101
    EVENT_TYPE_UNKNOWN = 102
    FIELD_INVALID = 103
    TEXT_FORBIDDEN = 104
    EVENT_TIME_ABSURD = 105
    KEY_NOT_PERMITTED = 106
    EVENT_DUPLICATE = 107
    PARTY_UNKNOWN = 108
    RELATION_INVALID = 109
    GRANT_INVALID = 110
    ROOTS_INSUFFICIENT = 111
    KEY_ALREADY_REGISTERED = 112
    KEY_NOT_FOUND = 113

    KEY_NEEDED = 120
    PROPOSAL_INVALID = 121
    PROPOSAL_EXISTS = 122
    PROPOSAL_UNKNOWN = 123
    PROPOSAL_CLOSED = 124
    APPROVED_ALREADY = 125
    PROPOSALS_TOO_MANY = 126
    BATCH_KEYS_TOO_MANY = 127
    RULE_REFUSED = 130
    PACKAGE_CHANGE_INVALID = 131
    PACKAGE_PROPOSALS_TOO_MANY = 132
    PACKAGE_PART_UNKNOWN = 133
    PACKAGE_INVALID = 134
    OPERATOR_GRANT_INVALID = 140
    CREDENTIAL_ALREADY_REGISTERED = 141
    CREDENTIAL_UNKNOWN = 142
    CREDENTIAL_NOT_YET_VALID = 143
    CREDENTIAL_EXPIRED = 144
    CREDENTIAL_REVOKED = 145
    MEANING_NOT_PERMITTED = 146
    ASSERTION_MALFORMED = 147
    CHALLENGE_MISMATCH = 148
    ORIGIN_MISMATCH = 149
    USER_NOT_VERIFIED = 150
    ASSERTION_SIGNATURE_INVALID = 151

    BATCH_MALFORMED = 200
    BATCH_OVERSIZE = 201
    MESSAGE_OVERSIZE = 202
    WAITING_FOR_PREDECESSOR = 203
    STORAGE_FULL = 204
    STOPPING = 205
    NO_LEADER = 206


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an outcome says to its author."""

    status: str  # name of the gRPC status code
    text: str
    remedy: str


MEANINGS: dict[Outcome, Meaning] = {
    Outcome.ACCEPTED: Meaning("OK", "accepted", "nothing to do"),
    Outcome.CHAIN_UNKNOWN: Meaning(
        "FAILED_PRECONDITION",
        "the batch header names another chain",
        "compare the pinned chain id of the client with `lotmark log head`",
    ),
    Outcome.KEY_UNKNOWN: Meaning(
        "PERMISSION_DENIED", "the signer key is not on the ledger", "register the key first"
    ),
    Outcome.KEY_PARTY_MISMATCH: Meaning(
        "PERMISSION_DENIED",
        "the key belongs to another party than the header names",
        "sign with a key of your own party",
    ),
    Outcome.KEY_PURPOSE_WRONG: Meaning(
        "PERMISSION_DENIED", "the key may not sign batches", "sign with a key of purpose batch"
    ),
    Outcome.KEY_NOT_YET_VALID: Meaning(
        "FAILED_PRECONDITION",
        "the key is not in force yet",
        "wait until its registration's block is closed and its not-before time has come",
    ),
    Outcome.KEY_EXPIRED: Meaning(
        "PERMISSION_DENIED", "the key's validity has ended", "register a successor key"
    ),
    Outcome.KEY_REVOKED: Meaning(
        "PERMISSION_DENIED",
        "the key was revoked",
        "sign the waiting events again with another key, in a new lane",
    ),
    Outcome.SIGNATURE_INVALID: Meaning(
        "UNAUTHENTICATED", "the batch signature does not hold", "sign the header bytes as sent"
    ),
    Outcome.LANE_CLOSED: Meaning(
        "FAILED_PRECONDITION", "the lane was closed by its party", "go on in another lane"
    ),
    Outcome.SEQUENCE_AHEAD: Meaning(
        "FAILED_PRECONDITION",
        "batches before this one are missing",
        "send the missing batches first; GetLaneState tells where the lane stands",
    ),
    Outcome.SEQUENCE_REUSED: Meaning(
        "ALREADY_EXISTS",
        "this number was used for other bytes",
        "never sign two batches with one number; go on from GetLaneState",
    ),
    Outcome.BATCH_DUPLICATE: Meaning(
        "ALREADY_EXISTS", "this batch is on the log already", "nothing to do: the first one counts"
    ),
    Outcome.PREVIOUS_MISMATCH: Meaning(
        "FAILED_PRECONDITION",
        "the header names another previous batch than the lane holds",
        "take the previous batch id from GetLaneState and sign the events again",
    ),
    Outcome.SCHEMA_UNKNOWN: Meaning(
        "FAILED_PRECONDITION", "the schema number is not in force", "use schema 1"
    ),
    Outcome.COUNT_MISMATCH: Meaning(
        "INVALID_ARGUMENT",
        "the header's event count is not the number of events carried",
        "sign the events as sent, 1 to 256 of them",
    ),
    Outcome.ROOT_MISMATCH: Meaning(
        "INVALID_ARGUMENT",
        "the header's root is not the RFC 6962 root of the events carried",
        "sign the events as sent",
    ),
    Outcome.TIME_ABSURD: Meaning(
        "INVALID_ARGUMENT",
        "the batch's time is outside the years 2000 to 2099",
        "set the clock of the signing device",
    ),
    Outcome.QUOTA_EXCEEDED: Meaning(
        "RESOURCE_EXHAUSTED",
        "the party's quota for this minute is used up",
        "send again in the next minute, or ask for a higher quota",
    ),
    Outcome.EVENT_OVERSIZE: Meaning(
        "INVALID_ARGUMENT",
        "the event has more than 16,384 bytes",
        "keep the raw data in a file and put its digest into the event",
    ),
    Outcome.EVENT_MALFORMED: Meaning(
        "INVALID_ARGUMENT",
        "the event is not canonical protobuf of its schema",
        "serialise with a generated class of lotmark.v1.Event, without unknown fields",
    ),
    Outcome.EVENT_TYPE_UNKNOWN: Meaning(
        "INVALID_ARGUMENT", "the event has no body that this schema knows", "set one body"
    ),
    Outcome.FIELD_INVALID: Meaning(
        "INVALID_ARGUMENT",
        "a field breaks its rule",
        "check the event with `lotmark submit --check`, which names the field",
    ),
    Outcome.TEXT_FORBIDDEN: Meaning(
        "INVALID_ARGUMENT",
        "a text is too long, holds characters outside Unicode 14 or controls, or is not NFC",
        "shorten the text, normalise it to NFC and remove the characters",
    ),
    Outcome.EVENT_TIME_ABSURD: Meaning(
        "INVALID_ARGUMENT",
        "the event's time is missing, ends before it begins, or is outside 2000 to 2099",
        "set the clock of the device",
    ),
    Outcome.KEY_NOT_PERMITTED: Meaning(
        "PERMISSION_DENIED",
        "the key may not sign events of this type",
        "sign with a key that may, or register one",
    ),
    Outcome.EVENT_DUPLICATE: Meaning(
        "ALREADY_EXISTS", "an equal event is on the log", "nothing to do: the first one counts"
    ),
    Outcome.PARTY_UNKNOWN: Meaning(
        "INVALID_ARGUMENT", "the event names a party that is no member", "use a member's id"
    ),
    Outcome.RELATION_INVALID: Meaning(
        "INVALID_ARGUMENT",
        "the items' roles do not make a relation of this event type",
        "name the lot made as SUBJECT, a transformation's inputs and outputs, an aggregation's or"
        " association's parent and child",
    ),
    Outcome.GRANT_INVALID: Meaning(
        "INVALID_ARGUMENT",
        "the key grant or the roots break a rule, or the possession does not hold",
        "make the request again with the new key at hand; a node's key replaces one of that node,"
        " is valid now and for 30 days more, and is one of 4 that are not revoked",
    ),
    Outcome.ROOTS_INSUFFICIENT: Meaning(
        "PERMISSION_DENIED",
        "the party's roots have not signed as its threshold asks",
        "have as many roots sign as the threshold says",
    ),
    Outcome.KEY_ALREADY_REGISTERED: Meaning(
        "ALREADY_EXISTS", "the key is registered already", "make a new key"
    ),
    Outcome.KEY_NOT_FOUND: Meaning(
        "NOT_FOUND", "the party has no such key or lane in force", "name a key of the party"
    ),
    Outcome.KEY_NEEDED: Meaning(
        "FAILED_PRECONDITION",
        "it is the node's only key in force for its purpose",
        "register its successor first, then revoke it in a later block",
    ),
    Outcome.PROPOSAL_INVALID: Meaning(
        "INVALID_ARGUMENT",
        "the proposal breaks a rule, or could not be carried out as things are",
        "compare it with `lotmark party list` and docs/protocol.md, section 6",
    ),
    Outcome.PROPOSAL_EXISTS: Meaning(
        "ALREADY_EXISTS", "the proposal is on the ledger already", "approve it instead"
    ),
    Outcome.PROPOSAL_UNKNOWN: Meaning(
        "NOT_FOUND",
        "there is no proposal with this hash",
        "take the hash from `lotmark governance list`",
    ),
    Outcome.PROPOSAL_CLOSED: Meaning(
        "FAILED_PRECONDITION",
        "the proposal has expired or is decided",
        "propose it again with a later end if it is still wanted",
    ),
    Outcome.APPROVED_ALREADY: Meaning(
        "ALREADY_EXISTS", "the party has approved the proposal already", "nothing to do"
    ),
    Outcome.PROPOSALS_TOO_MANY: Meaning(
        "FAILED_PRECONDITION",
        "the party has 8 open proposals, or all parties together 64",
        "wait until some are decided or expire",
    ),
    Outcome.BATCH_KEYS_TOO_MANY: Meaning(
        "FAILED_PRECONDITION",
        "events have registered 4,096 batch keys of the party that are not revoked, or 65,536 in"
        " all",
        "revoke keys that are not used any more, expired ones too; after 65,536 go on with those"
        " that the party has",
    ),
    Outcome.RULE_REFUSED: Meaning(
        "FAILED_PRECONDITION",
        "a rule of a package in force refuses the event",
        "read its rule receipt, which stands before the block's close: it says why",
    ),
    Outcome.PACKAGE_CHANGE_INVALID: Meaning(
        "INVALID_ARGUMENT",
        "the change of packages breaks a rule, or does not fit what is in force",
        "compare it with `lotmark contract status`: a version is the one in force plus 1",
    ),
    Outcome.PACKAGE_PROPOSALS_TOO_MANY: Meaning(
        "FAILED_PRECONDITION",
        "the party has 4 open proposals about packages, or all parties together 16; or two packages"
        " were checked in the block already",
        "wait until some are decided or expire; send a part again in the next block",
    ),
    Outcome.PACKAGE_PART_UNKNOWN: Meaning(
        "NOT_FOUND",
        "no open proposal waits for this part of a package",
        "propose the package first; a part that came already need not come again",
    ),
    Outcome.PACKAGE_INVALID: Meaning(
        "INVALID_ARGUMENT",
        "the package that its parts make is not the one proposed, or is refused by the checks that"
        " every node makes; its proposal is void",
        "run `lotmark contract lint` and `lotmark contract test`, which show the place, and propose"
        " it again",
    ),
    Outcome.OPERATOR_GRANT_INVALID: Meaning(
        "INVALID_ARGUMENT",
        "the operator's grant breaks a rule, or the credential's assertion over it does not hold",
        "write the grant again with `lotmark operator grant` and let the operator sign it",
    ),
    Outcome.CREDENTIAL_ALREADY_REGISTERED: Meaning(
        "ALREADY_EXISTS",
        "the operator's credential is registered already",
        "make a new credential on the authenticator",
    ),
    Outcome.CREDENTIAL_UNKNOWN: Meaning(
        "NOT_FOUND",
        "the credential is not on the ledger, or not one of that party",
        "register the credential first; `lotmark operator list` shows those there are",
    ),
    Outcome.CREDENTIAL_NOT_YET_VALID: Meaning(
        "FAILED_PRECONDITION",
        "the credential is not in force yet",
        "wait until its registration's block is closed and its not-before time has come",
    ),
    Outcome.CREDENTIAL_EXPIRED: Meaning(
        "PERMISSION_DENIED",
        "the credential's validity has ended",
        "register a new credential of the operator",
    ),
    Outcome.CREDENTIAL_REVOKED: Meaning(
        "PERMISSION_DENIED",
        "the credential was revoked",
        "let the operator sign with another credential that is registered",
    ),
    Outcome.MEANING_NOT_PERMITTED: Meaning(
        "PERMISSION_DENIED",
        "the credential may not sign with this meaning",
        "let an operator sign whose credential may",
    ),
    Outcome.ASSERTION_MALFORMED: Meaning(
        "INVALID_ARGUMENT",
        "the assertion is no webauthn.get of ES256 without extensions, as browsers write it",
        "ask the authenticator again, with alg -7 and no extensions",
    ),
    Outcome.CHALLENGE_MISMATCH: Meaning(
        "INVALID_ARGUMENT",
        "the operator signed something else: another event, meaning or chain",
        "take the challenge from `lotmark operator challenge` and let the operator sign that",
    ),
    Outcome.ORIGIN_MISMATCH: Meaning(
        "PERMISSION_DENIED",
        "the operator signed on another page than the credential is registered for",
        "sign on the page whose origin and relying party id stand in the registration",
    ),
    Outcome.USER_NOT_VERIFIED: Meaning(
        "PERMISSION_DENIED",
        "the authenticator did not verify that it was the user who signed",
        'ask with userVerification "required", and set a PIN or biometrics on the authenticator',
    ),
    Outcome.ASSERTION_SIGNATURE_INVALID: Meaning(
        "UNAUTHENTICATED",
        "the assertion's signature is not by the credential's key",
        "send authenticator data, client data and signature of one and the same assertion",
    ),
    Outcome.BATCH_MALFORMED: Meaning(
        "INVALID_ARGUMENT", "the bytes are no batch", "build batches as docs/protocol.md says"
    ),
    Outcome.BATCH_OVERSIZE: Meaning(
        "INVALID_ARGUMENT", "the batch has more than 1,048,576 bytes", "send fewer events at once"
    ),
    Outcome.MESSAGE_OVERSIZE: Meaning(
        "INVALID_ARGUMENT",
        "the message has more than 256 batches or 4 MiB",
        "split it into several messages",
    ),
    Outcome.WAITING_FOR_PREDECESSOR: Meaning(
        "UNAVAILABLE",
        "batches before this one did not arrive in time",
        "send the missing ones, then this one again; close a lost lane",
    ),
    Outcome.STORAGE_FULL: Meaning(
        "RESOURCE_EXHAUSTED",
        "the node's disk is full: events are refused, reads go on",
        "make room on the disk; the node goes on by itself",
    ),
    Outcome.STOPPING: Meaning(
        "UNAVAILABLE", "the node is stopping", "send to another node, or again later"
    ),
    Outcome.NO_LEADER: Meaning(
        "UNAVAILABLE",
        "the voters this node can reach have no leader, so nothing is ordered",
        "send to another node, or again later",
    ),
}

CONSUMES_NUMBER_FROM = 20  # a refused batch from this code on moves its lane


def describe(outcome: Outcome) -> str:
    """Return one line for a person: the name, what it means, what to do."""
    meaning = MEANINGS[outcome]
    return f"{outcome.name}: {meaning.text}. {meaning.remedy[0].upper()}{meaning.remedy[1:]}."
