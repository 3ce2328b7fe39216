"""A welder watched by a real server: what it tells, and what it fails to tell."""

import asyncio
import time
from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path

import pytest
from asyncua import ua

from lotmark_adapters.observation import GapReason, Position, Quality
from lotmark_adapters.opcua.connection import connected
from lotmark_adapters.opcua.gap_signs import SignalWatch
from lotmark_adapters.opcua.settings import OpcuaSignal, Security
from lotmark_adapters.opcua.subscription import SILENT_KEEP_ALIVES_MAX, Subscription
from lotmark_adapters.trial.welder import COUNTER, CURRENT, FORCE, QUEUE_SIZE, SERIAL, Welder
from tests.adapters.opcua.watching import (
    SIGNALS,
    WAIT_S,
    Kept,
    Machine,
    refusal,
    watching,
    welder_settings,
)


def test_two_equal_welds_are_two_observations_with_the_welds_time(
    machine: Machine, tmp_path: Path
) -> None:
    async def scenario() -> None:
        kept = Kept()
        async with watching(welder_settings(machine.welder, tmp_path), kept) as until:
            await until(lambda: len(kept.observations) == 4)
            await machine.welder.weld(8.1, 2.4)
            await machine.welder.weld(8.1, 2.4)
            await machine.welder.next_part("ST2601120001235")
            await until(lambda: len(kept.observations) == 11)

        assert kept.values(CURRENT)[-2:] == ["8.1", "8.1"]
        assert kept.values(FORCE)[-2:] == ["2.4", "2.4"]
        assert kept.values(SERIAL)[-1] == "ST2601120001235"
        assert [each.sequence for each in kept.observations] == list(range(1, 12))
        assert len({each.made_us for each in kept.observations[4:10]}) == 2
        assert kept.gaps == []

    machine.runner.run(scenario())


def test_an_overrun_is_told_by_each_signal_and_counted_by_the_counter(
    machine: Machine, tmp_path: Path
) -> None:
    async def scenario() -> None:
        kept = Kept()
        async with watching(welder_settings(machine.welder, tmp_path), kept) as until:
            await until(lambda: len(kept.observations) == 4)
            await machine.welder.overrun(QUEUE_SIZE + 50)
            await until(lambda: len(kept.observations) == 4 + 3 * QUEUE_SIZE)

        bits = {gap.signal for gap in kept.gaps if gap.reason is GapReason.OVERFLOW_BIT}
        (jump,) = [gap for gap in kept.gaps if gap.reason is GapReason.COUNTER_JUMP]
        assert bits == {COUNTER, CURRENT, FORCE}
        # The first of the fifty that are missing is the one after what was told at first.
        first = int(kept.values(COUNTER)[0] or "") + 1
        assert (jump.first, jump.last, jump.count) == (first, first + 49, 50)
        assert len(kept.gaps) == 4

    machine.runner.run(scenario())


def test_after_a_cut_all_values_are_told_anew_behind_the_gap(
    machine: Machine, tmp_path: Path
) -> None:
    async def scenario() -> None:
        kept = Kept()
        async with watching(welder_settings(machine.welder, tmp_path), kept) as until:
            await until(lambda: len(kept.observations) == 4)
            assert kept.position is not None
            before = kept.position
            machine.welder.shut()
            weld = await machine.welder.weld(8.3)
            last = await machine.welder.weld(8.4)
            machine.welder.open()
            await until(lambda: len(kept.observations) == 8)

        lost, jump = kept.gaps
        assert kept.items[4:6] == [lost, jump]
        assert kept.reasons == [GapReason.STREAM_LOST, GapReason.COUNTER_JUMP]
        assert lost.instance == before.instance
        assert lost.next_instance == kept.position.instance != before.instance
        assert lost.last_seen_us == before.last_made_us
        assert jump.first == jump.last == weld.number
        assert kept.values(COUNTER)[-1] == str(last.number)
        assert kept.observations[4].sequence == 5  # numbered on

    machine.runner.run(scenario())


def test_a_short_stall_loses_nothing(machine: Machine, tmp_path: Path) -> None:
    async def scenario() -> None:
        kept = Kept()
        async with watching(welder_settings(machine.welder, tmp_path), kept) as until:
            await until(lambda: len(kept.observations) == 4)
            machine.welder.stall()
            welds = [await machine.welder.weld() for _ in range(20)]
            machine.welder.go_on()
            await until(lambda: len(kept.observations) == 64)

        assert kept.values(COUNTER)[1:] == [str(weld.number) for weld in welds]
        assert kept.gaps == []

    machine.runner.run(scenario())


def test_a_server_that_answers_nothing_is_lost_after_the_time_it_may_take(
    machine: Machine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        kept = Kept()
        settings = welder_settings(machine.welder, tmp_path, answer_s=0.3)
        async with watching(settings, kept) as until:
            await until(lambda: len(kept.observations) == 4)
            machine.welder.stall()
            await machine.welder.weld()
            await until(lambda: "opcua source unavailable" in caplog.messages)
            await machine.welder.weld()
            machine.welder.go_on()
            await until(lambda: GapReason.STREAM_LOST in kept.reasons)
            await until(lambda: kept.values(COUNTER)[-1] == str(machine.welder.made[-1].number))

    machine.runner.run(scenario())


def test_what_comes_faster_than_it_is_kept_is_dropped_and_counted(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lotmark_adapters.opcua.subscription.ITEMS_MAX", 100)

    async def scenario() -> None:
        kept = Kept()
        async with watching(welder_settings(machine.welder, tmp_path), kept) as until:
            await until(lambda: len(kept.observations) == 4)
            for _ in range(3):
                kept.hold()
                for _ in range(60):  # 180 values in one message
                    await machine.welder.weld()
                await until(lambda: kept.waits)
                kept.go_on()
                await until(lambda: not kept.waits)
            await machine.welder.weld(9.9)
            await until(lambda: kept.values(CURRENT)[-1] == "9.9")

        dropped = [gap for gap in kept.gaps if gap.reason is GapReason.CLIENT_QUEUE]
        assert dropped
        missing = sum(gap.count or 0 for gap in dropped)
        assert len(kept.observations) + missing == kept.observations[-1].sequence
        numbers = {each.sequence for each in kept.observations}
        for gap in dropped:
            assert numbers.isdisjoint(range(gap.first, gap.last + 1))
            assert gap.last - gap.first + 1 == gap.count
        assert set(kept.reasons) == {GapReason.CLIENT_QUEUE}  # and not a counter's jump as well

    machine.runner.run(scenario())


def test_a_server_with_nothing_to_tell_is_not_lost(machine: Machine, tmp_path: Path) -> None:
    async def scenario() -> None:
        kept = Kept()
        settings = welder_settings(machine.welder, tmp_path, answer_s=0.2)
        async with watching(settings, kept) as until:
            await until(lambda: len(kept.observations) == 4)
            await until(lambda: time.monotonic() > over)
            weld = await machine.welder.weld()
            await until(lambda: kept.values(COUNTER)[-1] == str(weld.number))
        assert kept.gaps == []

    # Longer than a subscription may be silent, were it not for what keeps it alive.
    over = time.monotonic() + 0.5 * SILENT_KEEP_ALIVES_MAX + 0.5
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lotmark_adapters.opcua.subscription.KEEP_ALIVE_S", 0.5)
        machine.runner.run(scenario())


def test_a_site_that_starts_again_says_since_when_it_saw_nothing(
    machine: Machine, tmp_path: Path
) -> None:
    async def scenario() -> None:
        settings = welder_settings(machine.welder, tmp_path)
        first, second = Kept(), Kept()
        async with watching(settings, first) as until:
            await until(lambda: len(first.observations) == 4)
        async with watching(settings, second, first.position) as until:
            await until(lambda: len(second.observations) == 4)

        assert first.position is not None
        (gap,) = second.gaps
        assert gap.reason is GapReason.SITE_RESTARTED
        assert gap.instance == first.position.instance
        assert gap.last_seen_us == first.position.last_made_us
        assert second.observations[0].sequence == first.position.next_sequence

    machine.runner.run(scenario())


def test_values_that_are_no_numbers_and_other_types_are_told_as_such(
    machine: Machine, tmp_path: Path
) -> None:
    def told(value: object, kind: ua.VariantType, code: int = 0) -> ua.DataValue:
        return ua.DataValue(ua.Variant(value, kind), ua.StatusCode(ua.UInt32(code)))

    async def scenario() -> None:
        kept = Kept()
        async with watching(welder_settings(machine.welder, tmp_path), kept) as until:
            await until(lambda: len(kept.observations) == 4)
            for value in (
                told(float("nan"), ua.VariantType.Double),
                told(float("-inf"), ua.VariantType.Double),
                told(2.5, ua.VariantType.Double, 0x4090_0000),
                told(0.0, ua.VariantType.Double, 0x8034_0000),
            ):
                await machine.welder.write(FORCE, value)
            for value in (told("broken", ua.VariantType.String), told(2.5, ua.VariantType.Double)):
                await machine.welder.forget_type(FORCE)
                await machine.welder.write(FORCE, value)
            await until(lambda: len(kept.observations) == 12)

        assert [(each.value, each.quality, each.status) for each in kept.observations[4:]] == [
            (None, Quality.BAD, "NaN"),
            (None, Quality.BAD, "-Infinity"),
            ("2.5", Quality.UNCERTAIN, "0x40900000"),
            (None, Quality.BAD, "0x80340000"),
            (None, Quality.BAD, "0x808A0000"),
            ("broken", Quality.GOOD, "type changed from Double to String"),
            (None, Quality.BAD, "0x808A0000"),
            ("2.5", Quality.GOOD, "type changed from String to Double"),
        ]

    machine.runner.run(scenario())


def test_a_time_further_apart_than_it_may_be_is_a_gap(machine: Machine, tmp_path: Path) -> None:
    watched = replace(SIGNALS[1], max_gap_ms=100)
    start = ua.DateTime.now(UTC) + timedelta(milliseconds=50)

    async def scenario() -> None:
        kept = Kept()
        settings = welder_settings(machine.welder, tmp_path, signals=(watched,))
        async with watching(settings, kept) as until:
            await until(lambda: len(kept.observations) == 1)
            for apart_ms in (0, 100, 201):
                when = start + timedelta(milliseconds=apart_ms)
                value = ua.Variant(float(apart_ms), ua.VariantType.Float)
                await machine.welder.write(CURRENT, ua.DataValue(value, SourceTimestamp=when))
            await until(lambda: len(kept.observations) == 4)

        gap = kept.gaps[-1]
        assert (gap.reason, gap.signal) == (GapReason.TIME_JUMP, CURRENT)
        assert gap.last_seen_us == kept.observations[2].made_us
        assert gap.resumed_us == kept.observations[3].made_us == gap.last_seen_us + 101_000

    machine.runner.run(scenario())


@pytest.mark.parametrize("security", Security)
def test_both_policies_connect(machine: Machine, tmp_path: Path, security: Security) -> None:
    async def scenario() -> None:
        kept = Kept()
        settings = welder_settings(machine.welder, tmp_path, security=security)
        async with watching(settings, kept) as until:
            await until(lambda: len(kept.observations) == 4)

    machine.runner.run(scenario())
    assert (tmp_path / "own" / "client-key.pem").stat().st_mode & 0o777 == 0o600


def test_nodes_that_do_not_exist_are_refused_by_name(machine: Machine, tmp_path: Path) -> None:
    signals = (*SIGNALS, OpcuaSignal(name="heat", node="ns=2;s=W07.Heat"))
    settings = welder_settings(machine.welder, tmp_path, signals=signals)

    refused = machine.runner.run(refusal(settings))

    assert refused.startswith("SourceRefused")
    assert "has no heat = ns=2;s=W07.Heat; `lotmark edge browse opc.tcp://" in refused


def test_a_server_that_was_never_there_is_waited_for(
    machine: Machine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        kept = Kept()
        machine.welder.shut()
        async with watching(welder_settings(machine.welder, tmp_path), kept) as until:
            await until(lambda: "opcua source unavailable" in caplog.messages)
            machine.welder.open()
            await until(lambda: len(kept.observations) == 4)
        assert kept.gaps == []  # before the first observation nothing is missing

    machine.runner.run(scenario())


def test_after_a_subscription_that_failed_halfway_a_counter_still_shows_what_is_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with Welder(tmp_path / "welder") as welder:
            kept = Kept()
            async with watching(welder_settings(welder, tmp_path), kept) as until:
                await until(lambda: len(kept.observations) == 4)
                await welder.weld()
                await until(lambda: kept.values(COUNTER)[-1] == "1")
                welder.watch_at_most(1)  # the counter, of which it tells on until it is left
                welder.cut()
                for failures in (2, 3):  # the first is the cut
                    await welder.weld()
                    await welder.weld()
                    await until(
                        lambda: caplog.messages.count("opcua source unavailable") >= failures  # noqa: B023
                    )
                welder.watch_at_most(None)
                await until(lambda: kept.values(COUNTER)[-1] == str(welder.made[-1].number))
                await welder.weld(9.9)
                await until(lambda: kept.values(CURRENT)[-1] == "9.9")

            seen = {int(value or "") for value in kept.values(COUNTER)} - {0}
            jumps = [gap for gap in kept.gaps if gap.reason is GapReason.COUNTER_JUMP]
            missing = {number for gap in jumps for number in range(gap.first, gap.last + 1)}
            assert jumps
            assert seen.isdisjoint(missing)
            assert seen | missing == {weld.number for weld in welder.made}

    asyncio.run(scenario())


def test_a_closed_subscription_takes_nothing_that_nobody_would_be_given(
    machine: Machine, tmp_path: Path
) -> None:
    async def scenario() -> None:
        settings = welder_settings(machine.welder, tmp_path)
        counters = [SignalWatch(SIGNALS[0]), SignalWatch(SIGNALS[0])]
        async with connected(settings) as client, asyncio.timeout(WAIT_S):
            closed, open_one = [Subscription(client, settings, [each]) for each in counters]
            for each in (closed, open_one):
                await each.open("then", 1)
                await each.monitor([ua.DataValue()])
                await each.wait()
                each.arrivals.report(Position(instance="", next_sequence=1))
            before = counters[0].count
            closed.close()
            for _ in range(3):  # each in a message of its own, and of both subscriptions
                await machine.welder.weld()
                await open_one.wait()
                open_one.arrivals.report(Position(instance="", next_sequence=1))

        assert counters[0].count == before
        assert counters[1].count == machine.welder.made[-1].number != before
        assert len(closed.arrivals) == 0

    machine.runner.run(scenario())


def test_of_a_message_in_parts_is_given_what_came_when_the_subscription_is_lost(
    machine: Machine, tmp_path: Path
) -> None:
    watch = SignalWatch(SIGNALS[0])

    async def scenario() -> None:
        settings = welder_settings(machine.welder, tmp_path)
        async with connected(settings) as client, asyncio.timeout(WAIT_S):
            subscription = Subscription(client, settings, [watch])
            await subscription.open("then", 1)
            item = ua.MonitoredItemNotification(ClientHandle=1, Value=ua.DataValue(ua.Variant(7)))
            part = ua.PublishResult(
                MoreNotifications=True,
                NotificationMessage=ua.NotificationMessage(
                    SequenceNumber=1,
                    NotificationData=[ua.DataChangeNotification(MonitoredItems=[item])],
                ),
            )
            subscription.take(part)
            before = len(subscription.arrivals)
            subscription.lose(GapReason.STREAM_LOST, "the connection is gone")
            after = len(subscription.arrivals)
            part.NotificationMessage.SequenceNumber += 1
            subscription.take(part)

        assert (before, after, len(subscription.arrivals)) == (0, 1, 2)

    machine.runner.run(scenario())


def test_a_server_that_is_refused_later_is_tried_again_and_its_gap_told(
    machine: Machine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        kept = Kept()
        settings = welder_settings(machine.welder, tmp_path)
        assert settings.trusted is not None
        trusted = settings.trusted / machine.welder.certificate.name
        async with watching(settings, kept) as until:
            await until(lambda: len(kept.observations) == 4)
            trusted.unlink()  # as where a server has got another one, which nobody trusts yet
            machine.welder.cut()
            await until(lambda: "opcua source refused" in caplog.messages)
            weld = await machine.welder.weld()
            welder_settings(machine.welder, tmp_path)
            await until(lambda: kept.values(COUNTER)[-1] == str(weld.number))

        assert kept.reasons == [GapReason.STREAM_LOST]

    machine.runner.run(scenario())
