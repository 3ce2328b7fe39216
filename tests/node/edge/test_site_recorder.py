"""What becomes of observations, gaps and records: events, files, and an answer to why."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lotmark.v1 import event_pb2, quality_pb2
from lotmark_adapters.observation import (
    GapReason,
    Position,
    Quality,
    Report,
    SourceGap,
    SourceRecord,
)
from lotmark_node.edge.errors import PolicyRefused
from lotmark_node.edge.kept_file import check_against_event
from lotmark_node.edge.memory_records import Session
from lotmark_node.edge.site_recorder import TURN_FILES_MAX
from lotmark_node.edge.site_settings import Anchor, Policy, PolicyRule, When
from lotmark_node.edge.source_context import LATE_MAX_US
from tests.node.edge.trial_site import (
    RULES,
    START_US,
    STATOR,
    WELDER,
    Kept,
    TrialSite,
    observed,
    report,
    site_settings,
)


@pytest.fixture
def site(tmp_path: Path) -> TrialSite:
    return TrialSite(site_settings(tmp_path))


def test_a_policy_is_on_record_before_anything_it_decides(site: TrialSite) -> None:
    site.take(observed(1, "current", "9.1"))

    first, second = site.outbox.events()
    assert first.anchoring_policy.policy == "line-3"
    assert first.anchoring_policy.version == 4
    assert b'"signals":"W07/note"' in first.anchoring_policy.document
    assert second.WhichOneof("body") == "measurement"


def test_a_policy_goes_on_record_once_however_often_the_site_starts(site: TrialSite) -> None:
    for _ in range(3):
        site.hand_on()
        site.again()
    site.hand_on()

    assert len(site.outbox.events("anchoring_policy")) == 1


def test_a_version_of_a_policy_with_other_rules_is_refused_with_the_next_number(
    site: TrialSite,
) -> None:
    with pytest.raises(PolicyRefused, match=r"line-3/4 is on record with other rules.*version 5"):
        site.again(policy=Policy(name="line-3", version=4, rules=RULES[:2]))


def test_a_version_before_the_one_on_record_is_refused(site: TrialSite) -> None:
    with pytest.raises(PolicyRefused, match=r"line-3/3 is older than version 4.*version 5"):
        site.again(policy=Policy(name="line-3", version=3, rules=RULES))


def test_a_new_version_closes_the_windows_of_the_old_one_first(site: TrialSite) -> None:
    site.take(observed(1, "current", "8.1"))
    site.again(policy=Policy(name="line-3", version=5, rules=RULES))
    site.hand_on()

    _, window, policy = site.outbox.events()
    assert window.observation_window.policy == "line-3/4"
    assert policy.anchoring_policy.version == 5
    assert site.memory.open_windows() == []


def test_a_number_in_full_says_what_of_which_part_it_is(site: TrialSite) -> None:
    site.take(
        observed(3, "ns=2;s=Current", "9.10", made_us=START_US),
        observed(4, "ns=2;s=Weld", "137", made_us=START_US),
        observed(5, "ns=2;s=Serial", "ST26/1", made_us=START_US),
    )

    (event,) = site.outbox.events("measurement")
    assert event.device == "line-3/W07"
    assert [(each.id, each.role) for each in event.items] == [
        (STATOR + "ST26%2F1", event_pb2.ITEM_ROLE_SUBJECT),
        (WELDER, event_pb2.ITEM_ROLE_USED),
    ]
    assert event.time == event_pb2.TimeInterval(
        start_ms=START_US // 1000, end_ms=START_US // 1000, uncertainty_us=1_000_000
    )
    assert event.measurement == quality_pb2.Measurement(
        feature="weld_137.current",
        value="9.10",
        unit="kA",
        lower_limit="7.6",
        upper_limit="8.8",
        verdict=quality_pb2.VERDICT_NONCONFORMING,
        certificate="DCC-88-12",
        calibration=quality_pb2.CALIBRATION_STATE_VALID,
    )


def test_a_value_that_a_source_tells_again_behind_a_gap_is_measured_once(site: TrialSite) -> None:
    site.take(observed(1, "current", "9.1", made_us=START_US))
    lost = SourceGap(reason=GapReason.STREAM_LOST)
    for sequence in (2, 3):
        again = observed(sequence, "current", "9.1", made_us=START_US)
        site.recorder.take("W07", report([again], gaps=[lost]))
    site.take(observed(4, "current", "9.1", made_us=START_US), observed(5, "current", "9.1"))

    assert len(site.outbox.events("measurement")) == 2
    assert sum(site.kept_sequences().values()) == 5


def test_two_values_of_one_time_are_two_measurements(site: TrialSite) -> None:
    for sequence in (1, 2):
        site.take(observed(sequence, "current", f"9.{sequence}", made_us=START_US))

    assert len(site.outbox.events("measurement")) == 2


def test_text_in_full_is_a_window_of_one(site: TrialSite) -> None:
    site.take(observed(1, "note", "tip dressed"), observed(2, "note", None))

    first, second = site.outbox.events("observation_window")
    assert first.observation_window.observation_count == 1
    assert first.observation_window.minimum == ""
    assert second.observation_window.first_sequence == 2
    assert sorted(str(file.observations[0].value) for file in site.files()) == [
        "None",
        "tip dressed",
    ]


def test_a_window_tells_count_bounds_and_root_of_its_file(site: TrialSite) -> None:
    values = ["8.10", "8.1", "7.9", "8.75", "8.2"]
    site.take(*(observed(at, "current", value) for at, value in enumerate(values, 1)))

    (event,) = site.outbox.events("observation_window")
    body = event.observation_window
    assert (body.source, body.observation_count) == ("W07/current", 5)
    assert (body.minimum, body.maximum, body.unit) == ("7.9", "8.75", "kA")
    assert (body.first_sequence, body.last_sequence, body.policy) == (1, 5, "line-3/4")
    content = site.store.read(event.files[0].sha256)
    assert len(content) == event.files[0].size
    assert check_against_event(content, event).header.rule == 3


def test_another_part_another_window(site: TrialSite) -> None:
    site.take(
        observed(1, "serial", "A"),
        observed(2, "current", "8.1"),
        observed(3, "serial", "B"),
        observed(4, "current", "8.2"),
    )
    site.close_all()

    assert [each.items[0].id[-1] for each in site.outbox.events("observation_window")] == ["A", "B"]


def test_an_observation_that_comes_late_is_of_the_part_of_its_time(site: TrialSite) -> None:
    site.take(observed(1, "serial", "A"), observed(2, "serial", "B"))
    site.take(observed(3, "current", "9.1", made_us=START_US + 150_000))

    (event,) = site.outbox.events("measurement")
    assert event.items[0].id == STATOR + "A"


def test_after_a_gap_no_part_is_known_until_the_source_tells_it_again(site: TrialSite) -> None:
    site.take(observed(1, "serial", "A"), observed(2, "weld", "7"), observed(3, "current", "8.1"))
    gap = SourceGap(reason=GapReason.OVERRUN, instance="1", first=4, last=9, count=6)
    site.recorder.take("W07", report([observed(10, "current", "9.1")], gaps=[gap]))
    site.again()
    site.take(observed(11, "current", "9.2"))

    assert [each.WhichOneof("body") for each in site.outbox.events()] == [
        "anchoring_policy",
        "observation_window",
        "gap",
        "measurement",
        "measurement",
    ]
    for event in site.outbox.events("measurement"):
        assert [each.id for each in event.items] == [WELDER]
        assert event.measurement.feature == "weld_?.current"


class Told(Kept):
    """An outbox that counts also what comes twice."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def submit(self, events: Sequence[bytes]) -> None:
        self.count += len(events)
        super().submit(events)


def test_a_measurement_does_not_wait_for_very_many_files_of_windows(tmp_path: Path) -> None:
    outbox = Told()
    site = TrialSite(site_settings(tmp_path), outbox)
    count = 3 * TURN_FILES_MAX
    rules = (PolicyRule(signals="*", when=When.ALWAYS, anchor=Anchor.WINDOW), *RULES)
    site.again(policy=Policy(name="line-3", version=5, rules=(RULES[1], *rules)))
    site.take(*(observed(each, f"signal {each}", "8.1") for each in range(1, count + 1)))
    lost = SourceGap(reason=GapReason.STREAM_LOST)
    site.recorder.take("W07", report([], gaps=[lost]))  # it closes all windows

    places = site.recorder.take("W07", report([observed(count + 1, "current", "9.1")]))
    assert not site.recorder.hand_on_next(places), "all that came of it is handed on"
    assert len(site.outbox.events("measurement")) == 1
    assert site.outbox.events("observation_window") == []

    own = site.recorder.take("W07", report([], gaps=[lost]))  # with a file, behind the others
    assert site.recorder.hand_on_next(own)
    assert len(site.outbox.events("observation_window")) == TURN_FILES_MAX
    site.hand_on()
    windows = site.outbox.events("observation_window")
    assert all(site.store.path(each.files[0].sha256).exists() for each in windows)
    assert (len(windows), site.recorder.standing().pending_count) == (count, 0)
    assert len(outbox.raw) == count + 5, "two policies, two gaps and a measurement beside them"
    assert outbox.count == len(outbox.raw), "each once"


def test_a_gap_goes_on_record_with_all_that_is_known_of_it(site: TrialSite) -> None:
    gap = SourceGap(
        reason=GapReason.INSTANCE_CHANGED,
        signal="ns=2;s=Current",
        instance="sub 1",
        next_instance="2",
        first=4,
        last_seen_us=START_US,
        resumed_us=START_US + 5_000_000,
        count=0,
    )
    site.recorder.take("W07", report([], gaps=[gap]))
    site.hand_on()

    (event,) = site.outbox.events("gap")
    body = event.gap
    assert (body.source, body.reason) == ("W07/current", "instance_changed")
    assert body.instance.startswith("sub_1~")
    assert (body.next_instance, body.first_sequence, body.last_sequence) == ("2", 4, 0)
    assert (body.missing_count, body.HasField("missing_count")) == (0, True)
    assert (event.time.start_ms, event.time.end_ms) == (
        START_US // 1000,
        START_US // 1000 + 5_000,
    )


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"instance": "2"}, "the source was started anew"),
        ({"made_us": START_US + 61_000_000}, "its time is over"),
    ],
)
def test_a_window_ends_where(site: TrialSite, changed: dict[str, object], why: str) -> None:
    site.take(observed(1, "current", "8.1"))
    instance = str(changed.pop("instance", "1"))
    site.take(observed(2, "current", "8.2", **changed), instance=instance)  # type: ignore[arg-type]
    site.close_all()

    windows = site.outbox.events("observation_window")
    assert [each.observation_window.observation_count for each in windows] == [1, 1], why


def test_a_window_ends_where_the_state_of_its_gauge_changes(site: TrialSite) -> None:
    valid = quality_pb2.CALIBRATION_STATE_VALID, quality_pb2.CALIBRATION_STATE_EXPIRED
    site.kill()
    site.calibration = lambda _, made_us: ("C-1", valid[made_us > START_US + 250_000])
    site.open()
    site.take(*(observed(at, "current", "8.1") for at in range(1, 5)))
    site.close_all()

    bodies = [each.observation_window for each in site.outbox.events("observation_window")]
    assert [(each.observation_count, each.calibration) for each in bodies] == [
        (2, quality_pb2.CALIBRATION_STATE_VALID),
        (2, quality_pb2.CALIBRATION_STATE_EXPIRED),
    ]


def test_a_window_whose_time_is_over_is_closed_without_another_observation(
    site: TrialSite,
) -> None:
    site.take(observed(1, "current", "8.1"))
    site.clock.now_us = START_US + 59_000_000
    site.recorder.close_windows(due_only=True)
    assert len(site.memory.open_windows()) == 1

    site.clock.now_us = START_US + 61_000_000
    site.recorder.close_windows(due_only=True)
    site.hand_on()
    assert site.memory.open_windows() == []
    assert len(site.outbox.events("observation_window")) == 1


@pytest.mark.parametrize(("set_by_s", "is_closed"), [(-59, False), (-61, True), (3_600, True)])
def test_a_clock_that_is_set_keeps_no_window_open(
    site: TrialSite, set_by_s: int, *, is_closed: bool
) -> None:
    first = observed(1, "current", "8.1")
    site.take(first)
    site.clock.now_us = first.captured_us + set_by_s * 1_000_000
    site.recorder.close_windows(due_only=True)

    assert (site.memory.open_windows() == []) is is_closed


@pytest.mark.parametrize(("set_by_s", "windows"), [(-59, 1), (-61, 2), (61, 2)])
def test_an_observation_after_the_clock_was_set_goes_into_another_window(
    site: TrialSite, set_by_s: int, windows: int
) -> None:
    first, second = (observed(at, "current", "8.1") for at in (1, 2))
    captured_us = first.captured_us + set_by_s * 1_000_000
    site.take(first)
    site.take(replace(second, captured_us=captured_us))
    site.close_all()

    assert len(site.outbox.events("observation_window")) == windows


@pytest.mark.parametrize("made_us", [0, 5, 2**62])
def test_a_gauge_is_judged_at_the_time_that_the_event_bears(site: TrialSite, made_us: int) -> None:
    states = {START_US // 1_000_000: ("C-1", quality_pb2.CALIBRATION_STATE_VALID)}
    site.kill()
    site.calibration = lambda _, at_us: states.get(
        at_us // 1_000_000, ("C-1", quality_pb2.CALIBRATION_STATE_EXPIRED)
    )
    site.open()
    # A clock that was never set: what it says cannot stand in an event.
    site.take(replace(observed(1, "current", "9.1"), made_us=made_us))

    (event,) = site.outbox.events("measurement")
    assert event.measurement.calibration == quality_pb2.CALIBRATION_STATE_VALID
    assert event.time.start_ms // 1_000 == START_US // 1_000_000


def test_of_parts_long_done_only_those_are_remembered_that_late_observations_can_be_of(
    site: TrialSite,
) -> None:
    for part in range(1, 40):
        made_us = START_US + part * LATE_MAX_US // 2
        site.take(observed(part, "serial", f"P{part}", made_us=made_us))
    (source,) = site.memory.sources()

    assert [value for _, _, value in json.loads(source.context)] == ["P37", "P38", "P39"]


def test_what_no_rule_fits_is_kept_and_not_on_record(site: TrialSite) -> None:
    site.take(observed(1, "serial", "A"), observed(2, "unheard of", "1"))
    site.close_all()

    assert len(site.outbox.events()) == 1  # the policy
    assert sorted(file.header.signal[:11] for file in site.files()) == ["serial", "unheard_of~"]
    assert {(file.header.rule, file.header.anchor) for file in site.files()} == {(0, "local")}


def test_a_report_that_comes_again_is_not_taken_twice(site: TrialSite) -> None:
    gap = SourceGap(reason=GapReason.OVERRUN, first=1, last=1, count=1)
    told = report([observed(2, "current", "9.1"), observed(3, "current", "8.1")], gaps=[gap])
    for _ in range(2):
        site.recorder.take("W07", told)
    site.hand_on()

    assert len(site.outbox.events("measurement")) == 1
    assert len(site.outbox.events("gap")) == 1
    assert set(site.kept_sequences().values()) == {1}


@pytest.mark.parametrize("is_conforming", [True, False, None])
def test_a_record_goes_on_record_by_its_salted_digest(
    tmp_path: Path, is_conforming: bool | None
) -> None:
    rule = PolicyRule(signals="W07/result", when=When.NONCONFORMING, anchor=Anchor.DIGEST)
    site = TrialSite(site_settings(tmp_path, rules=[rule]))
    record = SourceRecord(
        kind="vision_result",
        record="R 1",
        signal="result",
        made_us=START_US,
        media_type="application/json",
        content=b"{}",
        is_conforming=is_conforming,
    )
    position = Position(instance="1", next_sequence=1)
    site.recorder.take("W07", Report(position=position, records=[record]))
    site.hand_on()

    (path,) = (tmp_path / "evidence").glob("??/*")
    assert path.read_bytes() == b"{}"
    events = site.outbox.events("source_record")
    assert len(events) == (is_conforming is False)
    for event in events:
        assert event.source_record.verdict == quality_pb2.VERDICT_NONCONFORMING
        (decided,) = site.memory.decided_of(event.files[0].sha256)
        assert decided.file.hex() == path.parent.name + path.name
        assert event.files[0].sha256 != decided.file


@pytest.mark.parametrize(
    "value", ["", "\x00\ud800\x7f", "é" * 2_000, "9" * 40, "1e5", "-0", "NaN", "8.1\n"]
)
def test_whatever_a_source_tells_is_kept_and_makes_events_that_keep_the_rules(
    site: TrialSite, value: str
) -> None:
    site.take(
        observed(1, "serial", value),
        observed(2, "weld", value),
        replace(observed(3, "current", value), status=value, unit=value),
        replace(observed(4, "note", value), made_us=-5, quality=Quality.BAD),
        replace(observed(5, value or "x", "1"), unit=value),
        replace(observed(6, "current", "9.9"), made_us=2**52),
        instance=value.replace("\ud800", ""),
    )
    site.close_all()

    assert sum(site.kept_sequences().values()) == 6
    assert len(site.outbox.events("measurement")) == 1


def test_a_run_begins_with_counts_of_nought_and_ends_with_its_own(site: TrialSite) -> None:
    site.take(observed(1, "current", "8.1"), observed(2, "current", "8.1"))
    first, second = Session(b"1" * 16, is_closed=False), Session(b"2" * 16, is_closed=False)
    site.recorder.put([], session=first)
    site.take(observed(3, "current", "8.1"))
    (source,) = site.recorder.standing().sources
    assert (source.observation_count, source.position.next_sequence) == (1, 4)

    site.again()
    assert site.recorder.standing().last_session == first
    site.recorder.put([], session=replace(first, is_closed=True))
    site.recorder.put([], session=second)
    standing = site.recorder.standing()
    assert standing.last_session == second
    assert standing.sources[0].observation_count == 0
    assert standing.event_count == 1  # the policy


def test_a_unit_that_nobody_knows_is_called_agreed_between_the_parties(tmp_path: Path) -> None:
    rule = PolicyRule(signals="*", when=When.ALWAYS, anchor=Anchor.FULL)
    site = TrialSite(site_settings(tmp_path, rules=[rule]))
    site.take(observed(1, "weld", "1"), replace(observed(2, "weld", "2"), unit="mm"))

    assert [each.measurement.unit for each in site.outbox.events("measurement")] == ["ZZ", "mm"]
