"""A package's life on the ledger: proposed, brought, checked, approved, in force, suspended."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from lotmark.outcome import Outcome
from lotmark.state_rows import ProposalStatus
from lotmark.v1 import contracts_pb2
from lotmark_node.state_machine.contract_rows import (
    VersionRow,
    open_package_proposals,
    package_proposal,
    package_row,
    parse_version_row,
    version_rows,
)
from lotmark_node.state_machine.ledger_state import load_state
from lotmark_node.state_machine.tables import Table
from tests.node.governance_events import DAY_MS, roots_of, rotation
from tests.node.ledger_in_memory import LedgerInMemory
from tests.node.package_events import (
    ERP,
    PARTIES,
    activation,
    approval,
    bring_into_force,
    contract_event,
    hash_of,
    parts_of,
    proposing,
    put,
)
from tests.node.ruled_ledger import POST, package_files, receipts_of
from tests.node.state_machine.reading import event_outcomes, rows

FILES = package_files()
VERSION_2 = package_files({"version": 2, "title": "Bills among parties, again"})


def outcomes(ledger: LedgerInMemory, *events: bytes, holder: str = ERP) -> list[Outcome]:
    return event_outcomes(ledger.block([ledger.batch(holder, events)]))


def bill(number: str, amount: int = 100, to: str = "T1-STATOR") -> bytes:
    return contract_event("bill", number=number, to=to, amount=amount)


def status(ledger: LedgerInMemory, hashed: bytes) -> ProposalStatus:
    row = package_proposal(ledger.rows, hashed)
    assert row is not None
    return row.status


def named(name: str, change: str) -> Callable[[LedgerInMemory], contracts_pb2.PackageChange]:
    def make(ledger: LedgerInMemory) -> contracts_pb2.PackageChange:
        asked = contracts_pb2.PackageChange(expires_ms=ledger.state.time_ms + DAY_MS)
        getattr(asked, change).name = name
        return asked

    return make


def test_a_package_is_executed_from_the_block_after_its_last_approval() -> None:
    ledger = LedgerInMemory()
    change = activation(ledger, FILES)
    hashed = hash_of(ledger, change)
    put(ledger, proposing(ledger, change), *parts_of(FILES), bill("before"))
    put(ledger, approval(ledger, hashed, "LAB-17025"))
    last = [approval(ledger, hashed, "T1-STATOR"), bill("with the last approval")]
    assert not receipts_of(ledger.block([ledger.batch(ERP, last)]))

    effects = ledger.block([ledger.batch(ERP, [bill("after")])])

    assert [(each["rule"], each["status"]) for each in receipts_of(effects)] == [("post", "done")]
    assert status(ledger, hashed) is ProposalStatus.ACTIVATED


def test_a_package_waits_for_its_height() -> None:
    ledger = LedgerInMemory()
    change = activation(ledger, FILES, from_height=6)
    hashed = hash_of(ledger, change)
    approvals = [approval(ledger, hashed, party) for party in PARTIES if party != "OEM-A"]
    put(ledger, proposing(ledger, change), *parts_of(FILES), *approvals)

    executed = []
    while ledger.height < 7:
        effects = ledger.block([ledger.batch(ERP, [bill(f"of {ledger.height}")])])
        executed.append((ledger.height, len(receipts_of(effects))))

    assert executed == [(2, 0), (3, 0), (4, 0), (5, 0), (6, 1), (7, 1)]


def test_without_its_parts_or_an_approval_nothing_comes_into_force() -> None:
    ledger = LedgerInMemory()
    change = activation(ledger, FILES)
    hashed = hash_of(ledger, change)
    put(ledger, proposing(ledger, change), approval(ledger, hashed, "LAB-17025"))
    put(ledger, approval(ledger, hashed, "T1-STATOR"))
    assert status(ledger, hashed) is ProposalStatus.OPEN, "all have approved, but nothing is there"

    put(ledger, *parts_of(FILES))

    assert status(ledger, hashed) is ProposalStatus.ACTIVATED


def test_what_was_not_decided_in_time_expires_and_leaves_no_parts() -> None:
    ledger = LedgerInMemory()
    change = activation(ledger, FILES, lifetime_ms=2 * 60 * 60 * 1000)
    hashed = hash_of(ledger, change)
    put(ledger, proposing(ledger, change), *parts_of(FILES))
    assert rows(ledger, Table.PACKAGE_PART)

    ledger.block(time_ms=change.expires_ms)

    assert status(ledger, hashed) is ProposalStatus.EXPIRED
    assert not rows(ledger, Table.PACKAGE_PART)
    assert outcomes(ledger, approval(ledger, hashed, "LAB-17025")) == [Outcome.PROPOSAL_CLOSED]


@pytest.mark.parametrize(
    "damaged",
    [
        package_files({"rules": ["post", "other"]}),
        package_files({"unknown": 1}),
        package_files({"accounts": {"other": ["debit"]}}),
        package_files(post={**POST, "let": [{"total": "billed + event.nothing"}]}),
        package_files({"events": {"measurement": {"nothing": "int"}}}, post={**POST, "on": "bill"}),
        package_files(
            {"events": {"contract_event": {"number": "string(20)"}}}, post={**POST, "on": "bill"}
        ),
        FILES | {"tests/bad.json": b'{"title": "none", "steps": [{"event": "bill"}]}'},
        FILES | {"README.md": b"no file of a package"},
        FILES | {"rules/post.json": b"[" * 10_000},
    ],
)
def test_a_package_that_is_not_sound_is_void_with_its_last_part(damaged: dict[str, bytes]) -> None:
    ledger = LedgerInMemory()
    change = activation(ledger, damaged)
    hashed = hash_of(ledger, change)

    found = outcomes(ledger, proposing(ledger, change), *parts_of(damaged))

    assert found[-1] == Outcome.PACKAGE_INVALID
    assert status(ledger, hashed) is ProposalStatus.VOID
    assert not rows(ledger, Table.PACKAGE_PART), "nothing of it is kept"
    assert not package_row(ledger.rows, "bills")


@dataclass(frozen=True)
class Case:
    """An event about a package in force, and what becomes of it."""

    outcome: Outcome
    make: Callable[[LedgerInMemory], bytes]


def _proposed(
    files: dict[str, bytes] = VERSION_2,
    *,
    outcome: Outcome = Outcome.PACKAGE_CHANGE_INVALID,
    lifetime_ms: int = DAY_MS,
    **fields: object,
) -> Case:
    return Case(
        outcome,
        lambda ledger: proposing(
            ledger, activation(ledger, files, lifetime_ms=lifetime_ms, **fields)
        ),
    )


def _changed(name: str, change: str, outcome: Outcome) -> Case:
    return Case(outcome, lambda ledger: proposing(ledger, named(name, change)(ledger)))


def _nothing(ledger: LedgerInMemory) -> bytes:
    return proposing(ledger, contracts_pb2.PackageChange(expires_ms=ledger.state.time_ms + DAY_MS))


def _signed_by_others(ledger: LedgerInMemory) -> bytes:
    return proposing(ledger, activation(ledger, VERSION_2), roots=roots_of("LAB-17025"))


CASES = {
    "the next version": _proposed(outcome=Outcome.ACCEPTED),
    "the version there is": _proposed(FILES, report=bytes(32), report_last_height=1),
    "the version after the next": _proposed(version=3),
    "version 0": _proposed(version=0),
    "a name that is none": _proposed(name="Bills!"),
    "no parts": _proposed(parts=[]),
    "25 parts": _proposed(parts=[bytes(32)] * 25),
    "a part's hash of 31 bytes": _proposed(parts=[bytes(31)]),
    "a report without heights": _proposed(report=bytes(32)),
    "heights without a report": _proposed(report_last_height=3),
    "heights that fall": _proposed(report=bytes(32), report_first_height=3, report_last_height=2),
    "an end in a minute": _proposed(lifetime_ms=60_000),
    "an end in a year": _proposed(lifetime_ms=365 * DAY_MS),
    "no change": Case(Outcome.PACKAGE_CHANGE_INVALID, _nothing),
    "roots of another party": Case(Outcome.ROOTS_INSUFFICIENT, _signed_by_others),
    "a stop": _changed("bills", "suspend", Outcome.ACCEPTED),
    "a stop of what is not there": _changed("bill", "suspend", Outcome.PACKAGE_CHANGE_INVALID),
    "going on without a stop": _changed("bills", "resume", Outcome.PACKAGE_CHANGE_INVALID),
    "an unknown proposal": Case(
        Outcome.PROPOSAL_UNKNOWN, lambda ledger: approval(ledger, bytes(32), "OEM-A")
    ),
    "an unknown part": Case(
        Outcome.PACKAGE_PART_UNKNOWN, lambda _: parts_of({"manifest.json": b"{}"})[0]
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_an_event_about_packages_is_judged(name: str) -> None:
    ledger = LedgerInMemory()
    bring_into_force(ledger, FILES)
    case = CASES[name]
    before = rows(ledger, Table.PACKAGE_PROPOSAL)

    assert outcomes(ledger, case.make(ledger)) == [case.outcome]
    assert (rows(ledger, Table.PACKAGE_PROPOSAL) == before) == (case.outcome != Outcome.ACCEPTED)


def test_a_party_approves_once_and_only_under_the_roots_it_has() -> None:
    ledger = LedgerInMemory()
    change = activation(ledger, FILES)
    hashed = hash_of(ledger, change)
    new_roots = roots_of("OEM-A new")
    put(ledger, proposing(ledger, change, "T1-STATOR"))
    put(ledger, rotation(ledger, "OEM-A", new_roots, threshold=2))

    assert outcomes(ledger, approval(ledger, hashed, "OEM-A")) == [Outcome.ROOTS_INSUFFICIENT]
    put(ledger, approval(ledger, hashed, "OEM-A", roots=new_roots))
    again = approval(ledger, hashed, "OEM-A", roots=new_roots)
    ledger.block(time_ms=ledger.state.time_ms + 1)
    assert outcomes(ledger, again)[0] in {Outcome.APPROVED_ALREADY, Outcome.EVENT_DUPLICATE}
    assert outcomes(ledger, approval(ledger, bytes(32), "OEM-A", roots=new_roots)) == [
        Outcome.PROPOSAL_UNKNOWN
    ]


def test_an_approval_names_exact_bytes() -> None:
    ledger = LedgerInMemory()
    one, other = (
        activation(ledger, FILES),
        activation(ledger, FILES, report=b"r" * 32, report_last_height=1),
    )
    put(ledger, proposing(ledger, one), proposing(ledger, other), *parts_of(FILES))
    put(ledger, approval(ledger, hash_of(ledger, one), "LAB-17025"))
    put(ledger, approval(ledger, hash_of(ledger, other), "T1-STATOR"))

    assert {status(ledger, hash_of(ledger, each)) for each in (one, other)} == {ProposalStatus.OPEN}


def test_of_two_proposals_of_a_version_the_second_is_void() -> None:
    ledger = LedgerInMemory()
    changes = [activation(ledger, FILES, from_height=height) for height in (0, 5)]
    put(ledger, *[proposing(ledger, each) for each in changes], *parts_of(FILES))
    hashes = [hash_of(ledger, each) for each in changes]
    put(ledger, *[approval(ledger, each, "LAB-17025") for each in hashes])
    put(ledger, *[approval(ledger, each, "T1-STATOR") for each in hashes])

    assert [status(ledger, each) for each in hashes] == [
        ProposalStatus.ACTIVATED,
        ProposalStatus.VOID,
    ]


def test_open_proposals_are_bounded() -> None:
    ledger = LedgerInMemory()
    changes = [activation(ledger, FILES, from_height=100 + at) for at in range(5)]

    found = outcomes(ledger, *[proposing(ledger, each) for each in changes])

    assert found == [0, 0, 0, 0, Outcome.PACKAGE_PROPOSALS_TOO_MANY]
    assert len(open_package_proposals(ledger.rows)) == 4


def test_who_approves_later_is_bound_from_then_on() -> None:
    ledger = LedgerInMemory()
    change = activation(ledger, FILES)
    hashed = hash_of(ledger, change)
    put(ledger, proposing(ledger, change), *parts_of(FILES))
    put(ledger, *[approval(ledger, hashed, party) for party in ("LAB-17025", "T1-STATOR")])
    assert version_rows(ledger.rows, "bills")[0][1].approvals == (
        "OEM-A",
        "LAB-17025",
        "T1-STATOR",
    )
    assert outcomes(ledger, approval(ledger, hashed, "T1-STATOR")) != [Outcome.ACCEPTED]


def test_a_majority_stops_a_package_and_all_let_it_go_on() -> None:
    ledger = LedgerInMemory()
    bring_into_force(ledger, FILES)
    stop = named("bills", "suspend")(ledger)
    put(ledger, proposing(ledger, stop))
    assert receipts_of(ledger.block([ledger.batch(ERP, [bill("1")])])), "one party is no majority"

    put(ledger, approval(ledger, hash_of(ledger, stop), "T1-STATOR"))
    assert not receipts_of(ledger.block([ledger.batch(ERP, [bill("2")])]))

    resume = named("bills", "resume")(ledger)
    hashed = hash_of(ledger, resume)
    put(ledger, proposing(ledger, resume), approval(ledger, hashed, "T1-STATOR"))
    assert not receipts_of(ledger.block([ledger.batch(ERP, [bill("3")])]))
    put(ledger, approval(ledger, hashed, "LAB-17025"))
    assert receipts_of(ledger.block([ledger.batch(ERP, [bill("4")])]))


def test_the_next_version_takes_the_place_of_the_one_in_force() -> None:
    ledger = LedgerInMemory()
    bring_into_force(ledger, FILES)
    put(ledger, bill("1"))
    bring_into_force(ledger, VERSION_2)

    (receipt,) = receipts_of(ledger.block([ledger.batch(ERP, [bill("2", 50)])]))

    assert receipt["version"] == "2"
    assert receipt["because"] == [{"step": "total", "value": "150"}], "what was kept is shared"
    (receipt,) = receipts_of(
        ledger.block(
            [
                ledger.batch(
                    ERP, [contract_event("bill", "x", number="1", to="T1-STATOR", amount=100)]
                )
            ]
        )
    )
    assert receipt["status"] == "duplicate", "so is what has fired"


def test_a_restart_finds_the_same_packages_and_results() -> None:
    ledger = LedgerInMemory()
    bring_into_force(ledger, FILES)
    bring_into_force(ledger, VERSION_2)
    put(ledger, bill("1"))
    before = ledger.state

    ledger.state = load_state(ledger.rows, ledger.position(), chain=before.chain)

    assert [each.package.hash for each in ledger.state.packages.versions] == [
        each.package.hash for each in before.packages.versions
    ]
    assert receipts_of(ledger.block([ledger.batch(ERP, [bill("2")])]))[0]["version"] == "2"


def test_a_version_s_row_holds_the_approvals_of_more_parties_than_a_byte_counts() -> None:
    parties = tuple(f"P-{number}" for number in range(300))
    row = VersionRow(package_hash=bytes(32), proposal=bytes(32), from_height=7, approvals=parties)

    assert parse_version_row(row.encode()) == row


def test_a_block_checks_two_packages_and_the_next_one_two_more() -> None:
    ledger = LedgerInMemory()
    packages = [package_files({"name": f"bills-{at}"}) for at in range(4)]
    put(ledger, *[proposing(ledger, activation(ledger, files)) for files in packages])
    parts = [part for files in packages for part in parts_of(files)]
    assert len(parts) == 4

    too_many = Outcome.PACKAGE_PROPOSALS_TOO_MANY
    assert outcomes(ledger, *parts) == [0, 0, too_many, too_many]
    assert outcomes(ledger, *parts[2:]) == [0, 0]
