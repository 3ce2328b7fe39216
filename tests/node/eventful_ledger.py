"""A small ledger in which something of everything happens, for those who read or verify one."""

from functools import cache

from lotmark.batch import ClockState
from lotmark.key_grant import KeyPurpose
from lotmark.outcome import Outcome
from tests.node.ledger_in_memory import (
    LedgerInMemory,
    measurement,
    measurements,
    rebuilt,
    transformation,
)
from tests.proto.sample_genesis import private_key

DEVICE = "T1-STATOR/aoi-cam07"
ROTATED_KEY = private_key("T1-STATOR/press-2 BATCH").public
EVENTFUL_HEIGHT = 9


@cache
def eventful_ledger() -> LedgerInMemory:
    """Return the ledger, which callers leave as it is."""
    ledger = LedgerInMemory()
    _accept(ledger)
    _refuse(ledger)
    _register_and_revoke(ledger)
    ledger.block([])
    ledger.block([ledger.batch("OEM-A/erp", [transformation("assemble", ["M1"], ["CAR1"])])])
    assert ledger.height == EVENTFUL_HEIGHT, f"the ledger has height {ledger.height}"
    return ledger


def _accept(ledger: LedgerInMemory) -> None:
    ledger.block(
        [
            ledger.batch(DEVICE, measurements(0, 5)),
            ledger.batch("T1-STATOR/mes", [transformation("wind", ["W1", "W2"], ["ST1"])]),
        ]
    )
    ledger.block(
        [
            ledger.batch(
                DEVICE,
                measurements(5, 3),
                clock=ClockState.SYNCHRONISED,
                clock_uncertainty_us=2_000,
            ),
            ledger.batch("OEM-A/erp", [transformation("mount", ["ST1"], ["M1"])], lane=4),
        ],
        voter="T1-STATOR/n1",
        term=2,
        counter=1,
    )


def _refuse(ledger: LedgerInMemory) -> None:
    """Add a block of batches and events of which most are refused."""
    first = ledger.batch("LAB-17025/lims", [measurement(100)])
    reused = ledger.batch("LAB-17025/lims", [measurement(101)], sequence=1, previous=bytes(32))
    forged = ledger.batch("LAB-17025/lims", [measurement(102)], key=private_key("nobody"))
    signed = ledger.batch("LAB-17025/lims", [measurement(103)])
    unsigned = rebuilt(signed, signature=bytes(64))
    ahead = ledger.batch("LAB-17025/lims", [measurement(104)], sequence=9)
    forbidden = ledger.batch(
        DEVICE, [measurement(105), measurement(0), transformation("wind", ["W1"], ["ST2"])]
    )
    unknown_schema = ledger.batch("OEM-A/erp", [measurement(106)], schema=7, lane=4)
    effects = ledger.block(
        [first, reused, forged, unsigned, ahead, forbidden, unknown_schema, first]
    )
    assert [result.outcome for result in effects.results.batches] == [
        Outcome.ACCEPTED,
        Outcome.SEQUENCE_REUSED,
        Outcome.KEY_UNKNOWN,
        Outcome.SIGNATURE_INVALID,
        Outcome.SEQUENCE_AHEAD,
        Outcome.ACCEPTED,
        Outcome.SCHEMA_UNKNOWN,
        Outcome.BATCH_DUPLICATE,
    ]
    assert effects.results.batches[1].evidence, "both headers are on record"
    assert list(effects.results.batches[5].event_outcomes) == [
        Outcome.ACCEPTED,
        Outcome.EVENT_DUPLICATE,
        Outcome.KEY_NOT_PERMITTED,
    ]


def _register_and_revoke(ledger: LedgerInMemory) -> None:
    register = ledger.registration("T1-STATOR", KeyPurpose.BATCH, "press-2", event_types=(19,))
    ledger.block([ledger.batch("T1-STATOR/mes", [register])])
    ledger.block([ledger.batch("T1-STATOR/press-2", measurements(200, 2), previous=bytes(32))])
    old = private_key("OEM-A/erp BATCH").public
    successor = ledger.registration("OEM-A", KeyPurpose.BATCH, "erp-2", replaces=old)
    revoke = ledger.revocation("T1-STATOR", ROTATED_KEY, compromised_since_ms=ledger.state.time_ms)
    ledger.block([ledger.batch("OEM-A/erp", [successor]), ledger.batch("T1-STATOR/mes", [revoke])])
    late = ledger.batch("T1-STATOR/press-2", measurements(202, 1), sequence=2)
    effects = ledger.block([late, ledger.batch("OEM-A/erp-2", measurements(300, 2))])
    assert [result.outcome for result in effects.results.batches] == [
        Outcome.KEY_REVOKED,
        Outcome.ACCEPTED,
    ]
