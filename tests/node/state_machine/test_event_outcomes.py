"""Every outcome of an event is reached, in the order of judgement; refused ones change nothing."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from lotmark.key_grant import KeyGrant, KeyPurpose, statement
from lotmark.outcome import Outcome
from lotmark.v1 import event_pb2, governance_pb2, quality_pb2
from lotmark_node.state_machine.tables import Table
from tests.node.governance_events import approval, hash_of, proposal, proposing
from tests.node.ledger_in_memory import LedgerInMemory, event, measurement, transformation
from tests.node.state_machine.reading import batch_key, event_outcomes, rows
from tests.proto.sample_genesis import CREATED_MS, grant, private_key

MES, ERP, CAMERA = "T1-STATOR/mes", "OEM-A/erp", "T1-STATOR/aoi-cam07"
SUBJECT, INPUT, OUTPUT, PARENT, CHILD, USED = range(1, 7)
ADD, DELETE, OBSERVE = range(1, 4)
NOT_STATE = (Table.LANE, Table.RECENT_BLOCK, Table.HEAD, Table.COUNTER, Table.QUOTA)

Make = Callable[[LedgerInMemory], bytes]


@dataclass(frozen=True)
class Case:
    """An event, and events that were accepted before it."""

    outcome: Outcome
    event: Make
    before: tuple[Make, ...] = ()
    holder: str = MES


def same(raw: bytes) -> Make:
    return lambda _: raw


def with_field(**fields: object) -> bytes:
    """Return a measurement with other values in its body."""
    message = event_pb2.Event.FromString(measurement(1))
    for name, value in fields.items():
        setattr(message.measurement, name, value)
    return message.SerializeToString(deterministic=True)


def with_audience(*parties: str) -> bytes:
    message = event_pb2.Event.FromString(measurement(1))
    message.audience.extend(parties)
    return message.SerializeToString(deterministic=True)


def with_nonce(raw: bytes, nonce: bytes) -> bytes:
    message = event_pb2.Event.FromString(raw)
    message.nonce = nonce.ljust(16)
    return message.SerializeToString(deterministic=True)


def aggregation(*items: tuple[str, int], action: int = ADD) -> bytes:
    body = quality_pb2.Aggregation(action=quality_pb2.RelationAction.ValueType(action))
    return event(aggregation=body, nonce="aggregation", items=items)


def lot(*items: tuple[str, int]) -> bytes:
    body = quality_pb2.LotCreated(product="04012345000016", quantity="400", unit="KGM")
    return event(lot_created=body, nonce="lot", items=items)


def identified(*items: tuple[str, int]) -> bytes:
    body = quality_pb2.ItemIdentified(also_known_as=["urn:uuid:1"])
    return event(item_identified=body, nonce="identified", items=items)


def association(*items: tuple[str, int]) -> bytes:
    body = quality_pb2.Association(action=quality_pb2.RELATION_ACTION_ADD)
    return event(association=body, nonce="association", items=items)


def registration(**fields: object) -> Make:
    """Return an event that registers T1-STATOR/press-2 by a grant with other fields."""

    def make(ledger: LedgerInMemory) -> bytes:
        granted, key = grant("T1-STATOR", KeyPurpose.BATCH, "press-2")
        return ledger.registration_of(replace(granted, **fields), key)  # type: ignore[arg-type]

    return make


def changed_registration(
    change: Callable[[governance_pb2.KeyRegistration], object],
) -> Make:
    """Return an event that registers T1-STATOR/press-2, changed after it was signed."""

    def make(ledger: LedgerInMemory) -> bytes:
        message = event_pb2.Event.FromString(
            ledger.registration("T1-STATOR", KeyPurpose.BATCH, "press-2")
        )
        change(message.key_registration)
        return message.SerializeToString(deterministic=True)

    return make


def _of_other_party(ledger: LedgerInMemory) -> bytes:
    """Return a registration for T1-STATOR that only the OEM's roots have signed."""
    granted, key = grant("OEM-A", KeyPurpose.BATCH, "press-2")
    theirs = event_pb2.Event.FromString(ledger.registration_of(granted, key))
    ours = event_pb2.Event.FromString(ledger.registration("T1-STATOR", KeyPurpose.BATCH, "press-2"))
    del ours.key_registration.roots[:]
    ours.key_registration.roots.extend(theirs.key_registration.roots)
    return ours.SerializeToString(deterministic=True)


def _by_unknown_party(ledger: LedgerInMemory) -> bytes:
    """Return a registration for a party that is no member, signed by its key alone."""
    key = private_key("stranger")
    granted = KeyGrant(
        key=key.public,
        party="STRANGER",
        purpose=KeyPurpose.BATCH,
        holder="x",
        not_before_ms=CREATED_MS,
        not_after_ms=CREATED_MS + 1,
    )
    known = replace(granted, party="OEM-A")
    message = event_pb2.Event.FromString(ledger.registration_of(known, key))
    body = message.key_registration
    body.grant.party = "STRANGER"
    body.possession = key.sign(statement(granted, ledger.chain_id))
    return message.SerializeToString(deterministic=True)


def revocation(party: str, key: bytes) -> Make:
    return lambda ledger: ledger.revocation(party, key)


def unsigned_revocation(ledger: LedgerInMemory) -> bytes:
    message = event_pb2.Event.FromString(ledger.revocation("T1-STATOR", batch_key(CAMERA)))
    del message.key_revocation.roots[1:]
    return message.SerializeToString(deterministic=True)


def closure(party: str, key: bytes, lane: int = 0) -> Make:
    return lambda ledger: ledger.lane_closure(party, key, lane)


def _closure_for_another_lane(ledger: LedgerInMemory) -> bytes:
    message = event_pb2.Event.FromString(ledger.lane_closure("T1-STATOR", batch_key(CAMERA), 0))
    message.lane_closure.lane = 1
    return message.SerializeToString(deterministic=True)


REGISTER = registration()


def _asked(ledger: LedgerInMemory, number: int = 0) -> governance_pb2.Proposal:
    """Return one proposal, whatever the block, told from others by when it ends."""
    quotas = governance_pb2.QuotaChange(
        events=10**6, bytes=10**9, signatures=10**6, state_keys=10**6
    )
    return proposal(ledger, CREATED_MS + 86_400_000 + number, change_quotas=quotas)


def _proposing_number(number: int) -> Make:
    return lambda ledger: proposing(ledger, _asked(ledger, number))


_proposing = _proposing_number(0)


CASES: dict[str, Case] = {
    "a measurement": Case(Outcome.ACCEPTED, same(measurement(1))),
    "an event of 16,385 bytes": Case(Outcome.EVENT_OVERSIZE, same(bytes(16_385))),
    "no protobuf": Case(Outcome.EVENT_MALFORMED, same(b"\xff")),
    "an unknown field": Case(Outcome.EVENT_MALFORMED, same(measurement(1) + b"\xf8\x07\x01")),
    "no body": Case(
        Outcome.EVENT_TYPE_UNKNOWN, same(event_pb2.Event(device="W07").SerializeToString())
    ),
    "nothing at all": Case(Outcome.EVENT_TYPE_UNKNOWN, same(b"")),
    "a field that breaks its rule": Case(Outcome.FIELD_INVALID, same(with_field(value="1e3"))),
    "a text that is not NFC": Case(
        Outcome.TEXT_FORBIDDEN,
        same(
            event(
                maintenance=quality_pb2.Maintenance(order="W1", work="x", remark="e\u0301"),
                nonce="text",
            )
        ),
    ),
    "a time in seconds": Case(
        Outcome.EVENT_TIME_ABSURD, same(measurement(1, time_ms=CREATED_MS // 1_000))
    ),
    "a type that the key may not sign": Case(
        Outcome.KEY_NOT_PERMITTED, same(transformation("p", ["a"], ["b"])), holder=CAMERA
    ),
    "a type that the key may sign": Case(Outcome.ACCEPTED, same(measurement(1)), holder=CAMERA),
    "an equal event": Case(Outcome.EVENT_DUPLICATE, same(measurement(1)), (same(measurement(1)),)),
    "an audience of members": Case(Outcome.ACCEPTED, same(with_audience("LAB-17025", "OEM-A"))),
    "an audience with a stranger": Case(
        Outcome.PARTY_UNKNOWN, same(with_audience("OEM-A", "STRANGER"))
    ),
    "a transformation": Case(Outcome.ACCEPTED, same(transformation("p", ["a", "b"], ["c"]))),
    "a lot": Case(Outcome.ACCEPTED, same(lot(("lot-1", SUBJECT)))),
    "a lot that names no item": Case(Outcome.RELATION_INVALID, same(lot())),
    "another name": Case(Outcome.ACCEPTED, same(identified(("lot-1", SUBJECT)))),
    "another name of no item": Case(Outcome.RELATION_INVALID, same(identified())),
    "a transformation without outputs": Case(
        Outcome.RELATION_INVALID, same(transformation("p", ["a"], []))
    ),
    "a transformation without inputs": Case(
        Outcome.RELATION_INVALID, same(transformation("p", [], ["b"]))
    ),
    "an aggregation": Case(Outcome.ACCEPTED, same(aggregation(("box", PARENT), ("u", CHILD)))),
    "an aggregation without children": Case(
        Outcome.RELATION_INVALID, same(aggregation(("box", PARENT)))
    ),
    "an aggregation into two": Case(
        Outcome.RELATION_INVALID,
        same(aggregation(("box", PARENT), ("crate", PARENT), ("u", CHILD))),
    ),
    "an association without a parent": Case(
        Outcome.RELATION_INVALID, same(association(("u", CHILD), ("v", SUBJECT)))
    ),
    "an association": Case(Outcome.ACCEPTED, same(association(("car", PARENT), ("u", CHILD)))),
    "a registration": Case(Outcome.ACCEPTED, REGISTER),
    "a registration of a node's key": Case(
        Outcome.GRANT_INVALID,
        lambda ledger: ledger.registration("LAB-17025", KeyPurpose.COSIGN, "n2"),
    ),
    "a registration of a root": Case(
        Outcome.GRANT_INVALID, lambda ledger: ledger.registration("OEM-A", KeyPurpose.ROOT, "r3")
    ),
    "a registration without possession": Case(
        Outcome.GRANT_INVALID,
        changed_registration(lambda body: body.ClearField("possession")),
    ),
    "a registration without a grant": Case(
        Outcome.GRANT_INVALID, changed_registration(lambda body: body.ClearField("grant"))
    ),
    "a registration of a small-order key": Case(
        Outcome.GRANT_INVALID,
        changed_registration(lambda body: setattr(body.grant, "key", bytes(32))),
    ),
    "a registration that ends before it begins": Case(
        Outcome.GRANT_INVALID, registration(not_after_ms=CREATED_MS)
    ),
    "a registration of an unknown purpose": Case(
        Outcome.GRANT_INVALID, changed_registration(lambda body: setattr(body.grant, "purpose", 7))
    ),
    "a grant changed after it was signed": Case(
        Outcome.GRANT_INVALID,
        changed_registration(lambda body: setattr(body.grant, "holder", "other")),
    ),
    "a registration for a party that is no member": Case(Outcome.PARTY_UNKNOWN, _by_unknown_party),
    "a registration by one root of two": Case(
        Outcome.ROOTS_INSUFFICIENT,
        changed_registration(lambda body: body.roots.__delitem__(slice(1, None))),
    ),
    "a registration by no root": Case(
        Outcome.ROOTS_INSUFFICIENT, changed_registration(lambda body: body.ClearField("roots"))
    ),
    "a registration by the roots of another party": Case(
        Outcome.ROOTS_INSUFFICIENT, _of_other_party
    ),
    "a registration with a root's signature twice": Case(
        Outcome.ROOTS_INSUFFICIENT,
        changed_registration(lambda body: body.roots[1].CopyFrom(body.roots[0])),
    ),
    "a registration with a false root signature": Case(
        Outcome.ROOTS_INSUFFICIENT,
        changed_registration(lambda body: setattr(body.roots[2], "signature", bytes(64))),
    ),
    "a registration with roots out of order": Case(
        Outcome.ROOTS_INSUFFICIENT,
        changed_registration(lambda body: body.roots.reverse()),
    ),
    "a second registration of a key": Case(
        Outcome.KEY_ALREADY_REGISTERED, registration(holder="press-3"), (REGISTER,)
    ),
    "a registration of a key of the genesis": Case(
        Outcome.KEY_ALREADY_REGISTERED,
        lambda ledger: ledger.registration("T1-STATOR", KeyPurpose.BATCH, "mes"),
    ),
    "a successor of a key": Case(Outcome.ACCEPTED, registration(replaces=batch_key(CAMERA))),
    "a successor of a key that nobody has": Case(
        Outcome.KEY_NOT_FOUND, registration(replaces=bytes(31) + b"\1")
    ),
    "a successor of another party's key": Case(
        Outcome.KEY_NOT_FOUND, registration(replaces=batch_key(ERP))
    ),
    "a successor of a key of another purpose": Case(
        Outcome.KEY_NOT_FOUND,
        registration(replaces=private_key("T1-STATOR/n1 PROPOSAL").public),
    ),
    "a revocation": Case(Outcome.ACCEPTED, revocation("T1-STATOR", batch_key(CAMERA))),
    "a revocation of a key that nobody has": Case(
        Outcome.KEY_NOT_FOUND, revocation("T1-STATOR", bytes(32))
    ),
    "a revocation of another party's key": Case(
        Outcome.KEY_NOT_FOUND, revocation("T1-STATOR", batch_key(ERP))
    ),
    "a revocation of the only key of a node": Case(
        Outcome.KEY_NEEDED,
        revocation("T1-STATOR", private_key("T1-STATOR/n1 PROPOSAL").public),
    ),
    "a proposal": Case(Outcome.ACCEPTED, _proposing),
    "a proposal of nothing": Case(
        Outcome.PROPOSAL_INVALID, lambda ledger: proposing(ledger, proposal(ledger))
    ),
    "a second proposal of the same": Case(
        Outcome.PROPOSAL_EXISTS,
        lambda ledger: proposing(ledger, _asked(ledger), "T1-STATOR"),
        (_proposing,),
    ),
    "an approval": Case(
        Outcome.ACCEPTED,
        lambda ledger: approval(ledger, hash_of(ledger, _asked(ledger)), "T1-STATOR"),
        (_proposing,),
    ),
    "an approval of nothing": Case(
        Outcome.PROPOSAL_UNKNOWN, lambda ledger: approval(ledger, bytes(32), "OEM-A")
    ),
    "a second approval": Case(
        Outcome.APPROVED_ALREADY,
        lambda ledger: approval(ledger, hash_of(ledger, _asked(ledger)), "OEM-A", nonce=b"2"),
        (_proposing,),
    ),
    "an approval of what is decided": Case(
        Outcome.PROPOSAL_CLOSED,
        lambda ledger: approval(ledger, hash_of(ledger, _asked(ledger)), "LAB-17025"),
        (
            _proposing,
            lambda ledger: approval(ledger, hash_of(ledger, _asked(ledger)), "T1-STATOR"),
        ),
    ),
    "a ninth open proposal": Case(
        Outcome.PROPOSALS_TOO_MANY, _proposing_number(8), tuple(map(_proposing_number, range(8)))
    ),
    "a second revocation": Case(
        Outcome.KEY_NOT_FOUND,
        lambda ledger: ledger.revocation("T1-STATOR", batch_key(CAMERA), compromised_since_ms=5),
        (revocation("T1-STATOR", batch_key(CAMERA)),),
    ),
    "a revocation by one root of two": Case(Outcome.ROOTS_INSUFFICIENT, unsigned_revocation),
    "a lane closure": Case(Outcome.ACCEPTED, closure("T1-STATOR", batch_key(CAMERA))),
    "a closure of a lane that never sent": Case(
        Outcome.ACCEPTED, closure("T1-STATOR", batch_key(CAMERA), 2**32 - 1)
    ),
    "a lane closure of another party": Case(
        Outcome.KEY_NOT_FOUND, closure("T1-STATOR", batch_key(ERP))
    ),
    "a second lane closure": Case(
        Outcome.KEY_NOT_FOUND,
        lambda ledger: with_nonce(ledger.lane_closure("T1-STATOR", batch_key(CAMERA), 0), b"again"),
        (closure("T1-STATOR", batch_key(CAMERA)),),
    ),
    "a lane closure that was signed for another lane": Case(
        Outcome.ROOTS_INSUFFICIENT, _closure_for_another_lane
    ),
}


def test_every_outcome_that_an_event_can_have_is_reached() -> None:
    reached = {case.outcome for case in CASES.values()}

    elsewhere = set(range(Outcome.OPERATOR_GRANT_INVALID, 200))  # test_operator_outcomes.py
    elsewhere.add(Outcome.BATCH_KEYS_TOO_MANY)  # test_batch_keys.py
    elsewhere |= set(range(Outcome.RULE_REFUSED, Outcome.PACKAGE_INVALID + 1))  # test_packages.py
    assert reached == {each for each in Outcome if 100 <= each < 200} - elsewhere | {0}


# Accepted, and found by the log and the provenance index alone.
LEAVE_NO_ROW = {
    "a measurement",
    "a type that the key may sign",
    "an audience of members",
    "another name",
}


@pytest.mark.parametrize("name", CASES)
def test_an_event_is_judged_and_a_refused_one_changes_no_row_but_counters(name: str) -> None:
    case = CASES[name]
    ledger = LedgerInMemory()
    for make in case.before:
        assert event_outcomes(ledger.block([ledger.batch(MES, [make(ledger)])])) == [0]
    tables = [table for table in Table if table not in NOT_STATE]
    before = rows(ledger, *tables), dict(rows(ledger, Table.LANE))

    effects = ledger.block([ledger.batch(case.holder, [case.event(ledger)])])

    assert event_outcomes(effects) == [case.outcome]
    assert (rows(ledger, *tables) == before[0]) == (
        case.outcome != Outcome.ACCEPTED or "lane" in name or name in LEAVE_NO_ROW
    )
    lanes = dict(rows(ledger, Table.LANE))
    del lanes[_lane_key(batch_key(case.holder))]
    before[1].pop(_lane_key(batch_key(case.holder)), None)
    assert (lanes == before[1]) == (case.outcome != Outcome.ACCEPTED or "lane" not in name)


def _lane_key(signer: bytes) -> bytes:
    return b"\x04\x00\x20" + signer + b"\x00\x04" + bytes(4)


# One event breaks two rules; the one that stands first in docs/protocol.md, section 6, counts.
ORDER: dict[str, tuple[Make, Outcome]] = {
    "size before form": (same(b"\xff" * 16_385), Outcome.EVENT_OVERSIZE),
    "form before body": (same(b"\xf8\x07\x01"), Outcome.EVENT_MALFORMED),
    "body before fields": (same(b"\x12\x01 "), Outcome.EVENT_TYPE_UNKNOWN),
    "fields before the key's types": (same(transformation("", ["a"], [])), Outcome.FIELD_INVALID),
    "the key's types before the effect": (
        same(transformation("p", ["a"], [])), Outcome.KEY_NOT_PERMITTED,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ORDER)
def test_the_first_broken_rule_is_the_outcome(name: str) -> None:
    make, outcome = ORDER[name]
    ledger = LedgerInMemory()

    assert event_outcomes(ledger.block([ledger.batch(CAMERA, [make(ledger)])])) == [outcome]


def test_the_key_s_types_stand_before_a_duplicate_and_a_duplicate_before_the_audience() -> None:
    ledger = LedgerInMemory()
    made = transformation("p", ["a"], ["b"])
    ledger.block([ledger.batch(MES, [made])])

    assert event_outcomes(ledger.block([ledger.batch(CAMERA, [made])])) == [
        Outcome.KEY_NOT_PERMITTED
    ]
    assert event_outcomes(ledger.block([ledger.batch(MES, [made])])) == [Outcome.EVENT_DUPLICATE]


def test_a_refused_event_may_come_again_and_be_accepted_then() -> None:
    ledger = LedgerInMemory()
    made = transformation("p", ["a"], ["b"])

    refused = ledger.block([ledger.batch(CAMERA, [made, made])])
    accepted = ledger.block([ledger.batch(MES, [made])])

    assert event_outcomes(refused) == [Outcome.KEY_NOT_PERMITTED] * 2
    assert event_outcomes(accepted) == [Outcome.ACCEPTED]


def test_refused_events_do_not_spoil_the_others_of_their_batch() -> None:
    ledger = LedgerInMemory()
    effects = ledger.block(
        [ledger.batch(MES, [measurement(1), b"\xff", measurement(1), measurement(2)])]
    )
    assert event_outcomes(effects) == [
        Outcome.ACCEPTED,
        Outcome.EVENT_MALFORMED,
        Outcome.EVENT_DUPLICATE,
        Outcome.ACCEPTED,
    ]
