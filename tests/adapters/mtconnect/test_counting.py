"""Whatever an agent and its network do: observed + gaps = produced, number by number."""

import asyncio
import random
from collections.abc import Callable

import pytest

from lotmark_adapters.observation import GapReason
from lotmark_adapters.trial.agent import Agent
from lotmark_adapters.trial.agent_documents import Spoilt
from tests.adapters.mtconnect.kept_reports import KeptReports, until, watched

STEPS = 14
BUFFER_SIZE = 120
ITEMS = ("z_position", "z_load", "serial")


def feed_good(agent: Agent) -> None:
    for name in ("avail", "changed", "removed", *ITEMS):
        agent.observe(name, "UNAVAILABLE")
    agent.observe_entries("offsets", {"a": "1"})
    agent.observe("system", "", level="Normal")


async def trouble(agent: Agent, kept: KeptReports, chance: random.Random) -> None:
    """Do one of the things that go wrong, or nothing but observe."""

    def feed(count: int) -> None:
        for _ in range(count):
            agent.observe(chance.choice(ITEMS), str(chance.randrange(1_000)))

    async def restart_under_same_id() -> None:
        # Had it made as many again before it is asked, nobody could tell that they are others.
        feed(20)
        await until(lambda: kept.has_caught_up(agent), "all before the restart")
        agent.restart(keeps_id=True)
        await until(lambda: kept.has_caught_up(agent), "the second run under one id")

    async def stall() -> None:
        agent.stall()
        feed(chance.randrange(BUFFER_SIZE * 2))
        await asyncio.sleep(chance.random() * 0.4)  # the fault lasts that long; nothing is awaited
        agent.go_on()

    def poison() -> None:
        first = agent.next_sequence + chance.randrange(20)
        for sequence in range(first, first + chance.randrange(1, 6)):
            agent.poison(sequence, chance.choice(list(Spoilt)))
        feed(30)

    deeds: list[Callable[[], object]] = [
        lambda: feed(chance.randrange(60)),
        lambda: agent.burst(chance.randrange(BUFFER_SIZE * 3)),
        agent.restart,
        agent.cut,
        poison,
        lambda: agent.spoil_next(chance.choice(list(Spoilt)), chance.randrange(1, 5)),
        stall,
        restart_under_same_id,
    ]
    done = chance.choice(deeds)()
    if asyncio.iscoroutine(done):
        await done
    feed(chance.randrange(10))
    await asyncio.sleep(chance.random() * 0.05)  # so that some of it is read before the next


@pytest.mark.parametrize("seed", range(6))
def test_each_observation_is_seen_once_or_counted_missing_whatever_goes_wrong(seed: int) -> None:
    print(f"seed {seed}")  # noqa: T201 - shown with a failure
    chance = random.Random(seed)  # noqa: S311 - to be repeated, not secret

    async def scenario() -> None:
        kept = KeptReports()
        form = chance.choice([("2.7", 400), ("2.2", 404), ("1.4", 200)])
        async with Agent(
            buffer_size=BUFFER_SIZE, version=form[0], error_status=form[1], oversize=200_000
        ) as agent:
            for _ in range(3):  # the source is killed after each, and goes on from what was kept
                async with watched(agent.address, kept, document_size_max=100_000):
                    if kept.position is None:
                        await until(lambda: kept.position is not None, "the first report")
                    for _ in range(STEPS // 3):
                        await trouble(agent, kept, chance)
            async with watched(agent.address, kept, document_size_max=100_000):
                feed_good(agent)
                await until(lambda: kept.has_caught_up(agent), "all is accounted for")
            kept.check_account(agent)

    asyncio.run(scenario())


def test_a_burst_beyond_the_buffer_is_one_gap_of_exactly_what_was_lost() -> None:
    async def scenario() -> None:
        kept = KeptReports()
        async with Agent(buffer_size=500) as agent, watched(agent.address, kept):
            await until(lambda: kept.has_caught_up(agent), "start")
            before = agent.next_sequence
            agent.burst(2_000)
            await until(lambda: kept.has_caught_up(agent), "after the burst")
            kept.check_account(agent)
            (gap,) = kept.gaps
            assert (gap.reason, gap.first, gap.last) == (GapReason.OVERRUN, before, before + 1_499)
            assert gap.count == 1_500

    asyncio.run(scenario())


def test_what_a_new_instance_still_has_is_read_from_its_first_observation_on() -> None:
    async def scenario() -> None:
        kept = KeptReports()
        async with Agent(buffer_size=5_000) as agent:
            async with watched(agent.address, kept):
                await until(lambda: kept.has_caught_up(agent), "start")
            old, following = agent.instance, agent.next_sequence
            agent.burst(30)  # lost with the old instance, nobody can know how many
            agent.restart()
            agent.burst(3_000)
            async with watched(agent.address, kept):
                await until(lambda: kept.has_caught_up(agent), "the new instance")
            kept.check_account(agent)
            (gap,) = kept.gaps
            assert (gap.reason, gap.first, gap.last, gap.count) == (
                GapReason.INSTANCE_CHANGED, following, 0, None,
            )  # fmt: skip
            assert (gap.instance, gap.next_instance) == (old, agent.instance)

    asyncio.run(scenario())


def test_a_connection_that_is_lost_leaves_no_gap_while_the_agent_still_has_all() -> None:
    async def scenario() -> None:
        kept = KeptReports()
        async with Agent() as agent, watched(agent.address, kept):
            await until(lambda: kept.has_caught_up(agent), "start")
            for _ in range(5):
                agent.cut()
                agent.burst(50)
                await until(lambda: kept.has_caught_up(agent), "after the cut")
            agent.stall()
            agent.burst(50)
            await asyncio.sleep(0.5)  # more than two heartbeats
            agent.go_on()
            await until(lambda: kept.has_caught_up(agent), "after the stall")
            assert kept.gaps == []
            kept.check_account(agent)

    asyncio.run(scenario())


@pytest.mark.parametrize("kind", list(Spoilt))
def test_exactly_the_observations_that_nobody_can_read_are_given_up(kind: Spoilt) -> None:
    async def scenario() -> None:
        kept = KeptReports()
        async with Agent(oversize=200_000) as agent:
            agent.burst(100)
            bad = [agent.next_sequence + offset for offset in (3, 4, 5, 40)]
            for sequence in bad:
                agent.poison(sequence, kind)
            agent.burst(100)
            async with watched(agent.address, kept, document_size_max=100_000):
                await until(lambda: kept.has_caught_up(agent), "behind the poison")
            kept.check_account(agent)
            assert {gap.reason for gap in kept.gaps} == {GapReason.UNREADABLE}
            assert [(gap.first, gap.last) for gap in kept.gaps] == [
                (bad[0], bad[2]), (bad[3], bad[3]),
            ]  # fmt: skip

    asyncio.run(scenario())


def test_documents_spoilt_in_passing_cost_no_observation() -> None:
    async def scenario() -> None:
        kept = KeptReports()
        async with Agent() as agent, watched(agent.address, kept):
            await until(lambda: kept.has_caught_up(agent), "start")
            for kind in (Spoilt.TRUNCATED, Spoilt.MALFORMED, Spoilt.NO_XML, Spoilt.ENTITY_BOMB):
                agent.spoil_next(kind, 3)
                agent.burst(20)
                await until(lambda: kept.has_caught_up(agent), f"after {kind}")
            assert kept.gaps == []
            kept.check_account(agent)

    asyncio.run(scenario())


def test_an_agent_that_does_not_stream_is_polled() -> None:
    async def scenario() -> None:
        kept = KeptReports()
        async with Agent(streams=False) as agent, watched(agent.address, kept):
            for _ in range(5):
                agent.burst(30)
                await until(lambda: kept.has_caught_up(agent), "polled")
            kept.check_account(agent)
            assert kept.gaps == []

    asyncio.run(scenario())
