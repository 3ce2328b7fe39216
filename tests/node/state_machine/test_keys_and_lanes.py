"""When a registration, rotation, revocation or lane closure is in force."""

from dataclasses import replace

from lotmark.batch import ZERO_HASH
from lotmark.key_grant import NEVER, ROTATION_OVERLAP_MS, KeyPurpose
from lotmark.outcome import Outcome
from tests.node.ledger_in_memory import LedgerInMemory, measurement
from tests.node.state_machine.reading import batch_key, batch_outcomes, event_outcomes, key, lane
from tests.proto.sample_genesis import CREATED_MS, KEYS_UNTIL_MS, grant

MES, PRESS, CAMERA = "T1-STATOR/mes", "T1-STATOR/press-2", "T1-STATOR/aoi-cam07"


def test_a_registered_key_signs_from_the_next_block_on() -> None:
    ledger = LedgerInMemory()
    register = ledger.registration("T1-STATOR", KeyPurpose.BATCH, "press-2", event_types=(19,))
    early = ledger.batch(PRESS, [measurement(1)], sequence=1, previous=ZERO_HASH)

    same_block = ledger.block([ledger.batch(MES, [register]), early])
    next_block = ledger.block([ledger.batch(PRESS, [measurement(1)])])

    assert batch_outcomes(same_block) == [Outcome.ACCEPTED, Outcome.KEY_NOT_YET_VALID]
    assert batch_outcomes(next_block) == [Outcome.ACCEPTED]
    row = key(ledger, PRESS)
    assert row is not None
    assert (row.from_height, row.event_types, row.holder) == (2, (19,), "press-2")


def test_a_registered_key_waits_for_its_not_before_time() -> None:
    ledger = LedgerInMemory()
    granted, private = grant("T1-STATOR", KeyPurpose.BATCH, "press-2")
    from_ms = CREATED_MS + 50_000
    register = ledger.registration_of(replace(granted, not_before_ms=from_ms), private)
    ledger.block([ledger.batch(MES, [register])])
    made = ledger.batch(PRESS, [measurement(1)])

    assert batch_outcomes(ledger.block([made], time_ms=from_ms - 1)) == [Outcome.KEY_NOT_YET_VALID]
    assert batch_outcomes(ledger.block([made], time_ms=from_ms)) == [Outcome.ACCEPTED]


def test_a_revoked_key_signs_up_to_the_end_of_its_block() -> None:
    ledger = LedgerInMemory()
    revoke = ledger.revocation("T1-STATOR", batch_key(CAMERA), compromised_since_ms=CREATED_MS)

    same_block = ledger.block([ledger.batch(MES, [revoke]), ledger.batch(CAMERA, [measurement(1)])])
    next_block = ledger.block([ledger.batch(CAMERA, [measurement(2)])])

    assert batch_outcomes(same_block) == [Outcome.ACCEPTED] * 2
    assert batch_outcomes(next_block) == [Outcome.KEY_REVOKED]
    row = key(ledger, CAMERA)
    assert row is not None
    assert (row.revoked_height, row.compromised_since_ms) == (2, CREATED_MS)


def test_a_key_that_revokes_itself_finishes_its_batch() -> None:
    ledger = LedgerInMemory()
    revoke = ledger.revocation("T1-STATOR", batch_key(MES))

    effects = ledger.block([ledger.batch(MES, [revoke, measurement(1)])])

    assert event_outcomes(effects) == [Outcome.ACCEPTED] * 2
    assert batch_outcomes(ledger.block([ledger.batch(MES, [measurement(2)])])) == [
        Outcome.KEY_REVOKED
    ]


def test_a_rotated_key_is_accepted_thirty_days_more() -> None:
    ledger = LedgerInMemory()
    successor = ledger.registration(
        "T1-STATOR", KeyPurpose.BATCH, "press-2", replaces=batch_key(CAMERA)
    )
    ledger.block([ledger.batch(MES, [successor])], time_ms=CREATED_MS + 5)
    end_ms = CREATED_MS + 5 + ROTATION_OVERLAP_MS
    assert ROTATION_OVERLAP_MS == 30 * 86_400_000

    last = ledger.block(
        [ledger.batch(CAMERA, [measurement(1)]), ledger.batch(PRESS, [measurement(2)])],
        time_ms=end_ms - 1,
    )
    after = ledger.block([ledger.batch(CAMERA, [measurement(3)])], time_ms=end_ms)

    assert batch_outcomes(last) == [Outcome.ACCEPTED] * 2
    assert batch_outcomes(after) == [Outcome.KEY_EXPIRED]


def test_a_second_rotation_does_not_lengthen_the_time_of_the_first() -> None:
    ledger = LedgerInMemory()
    for number, holder in enumerate(("press-2", "press-3")):
        successor = ledger.registration(
            "T1-STATOR", KeyPurpose.BATCH, holder, replaces=batch_key(CAMERA)
        )
        effects = ledger.block(
            [ledger.batch(MES, [successor])], time_ms=CREATED_MS + number * 86_400_000
        )
        assert event_outcomes(effects) == [Outcome.ACCEPTED]

    row = key(ledger, CAMERA)
    assert row is not None
    assert row.not_after_ms == CREATED_MS + ROTATION_OVERLAP_MS


def test_a_rotation_does_not_outlive_the_old_key_s_own_end() -> None:
    ledger = LedgerInMemory()
    successor = ledger.registration(
        "T1-STATOR", KeyPurpose.BATCH, "press-2", replaces=batch_key(CAMERA)
    )
    ledger.block([ledger.batch(MES, [successor])], time_ms=KEYS_UNTIL_MS - 10)

    row = key(ledger, CAMERA)
    assert row is not None
    assert (row.not_after_ms, row.revoked_height) == (KEYS_UNTIL_MS, NEVER)


def test_a_closed_lane_takes_nothing_more_from_the_closing_event_on() -> None:
    ledger = LedgerInMemory()
    ledger.block([ledger.batch(CAMERA, [measurement(1)])])
    close = ledger.lane_closure("T1-STATOR", batch_key(CAMERA), 0)
    effects = ledger.block(
        [
            ledger.batch(CAMERA, [measurement(2)]),
            ledger.batch(MES, [close]),
            ledger.batch(CAMERA, [measurement(3)]),
            ledger.batch(CAMERA, [measurement(3)], lane=1),
        ]
    )
    assert batch_outcomes(effects) == [
        Outcome.ACCEPTED, Outcome.ACCEPTED, Outcome.LANE_CLOSED, Outcome.ACCEPTED,
    ]  # fmt: skip
    row = lane(ledger, CAMERA)
    assert (row.sequence, row.closed) == (2, True)


def test_a_batch_may_close_its_own_lane_and_counts_as_its_last() -> None:
    ledger = LedgerInMemory()
    close = ledger.lane_closure("T1-STATOR", batch_key(MES), 0)
    made = ledger.batch(MES, [measurement(1), close, measurement(2)])

    effects = ledger.block([made, ledger.batch(MES, [measurement(3)])])

    assert batch_outcomes(effects) == [Outcome.ACCEPTED, Outcome.LANE_CLOSED]
    assert event_outcomes(effects) == [Outcome.ACCEPTED] * 3
    row = lane(ledger, MES)
    assert (row.sequence, row.batch_id, row.closed) == (1, made.batch_id, True)


def test_a_lane_that_is_closed_before_its_first_batch_takes_none() -> None:
    ledger = LedgerInMemory()
    close = ledger.lane_closure("T1-STATOR", batch_key(CAMERA), 7)
    ledger.block([ledger.batch(MES, [close])])

    effects = ledger.block([ledger.batch(CAMERA, [measurement(1)], lane=7)])

    assert batch_outcomes(effects) == [Outcome.LANE_CLOSED]
    assert lane(ledger, CAMERA, 7).sequence == 0
