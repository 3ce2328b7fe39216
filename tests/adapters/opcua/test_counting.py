"""Every weld that was made is observed, or lies in a gap: over all that goes wrong at random."""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from lotmark_adapters.observation import GapReason, Observation, SourceGap
from lotmark_adapters.trial.welder import COUNTER, CURRENT, QUEUE_SIZE, Weld, Welder
from tests.adapters.opcua.watching import Kept, watching, welder_settings

STEPS = 7


@pytest.mark.parametrize("seed", [7, 2026])
def test_observed_and_missing_make_what_was_produced(seed: int, tmp_path: Path) -> None:
    async def scenario() -> tuple[Kept, list[Weld]]:
        chance, kept = random.Random(seed), Kept()  # noqa: S311 - a scripted fault
        async with Welder(tmp_path / "welder") as welder:
            settings = welder_settings(welder, tmp_path, answer_s=0.4)
            async with watching(settings, kept) as until:

                async def settle() -> None:
                    last = await welder.weld(9.9)
                    await until(lambda: kept.values(COUNTER)[-1:] == [str(last.number)])
                    await until(lambda: kept.values(CURRENT)[-1:] == ["9.9"])

                await until(lambda: len(kept.observations) == 4)
                faults = ["weld", "overrun", "cut", "stall", "outage"]
                script = [chance.choice(faults) for _ in range(STEPS)]
                script[STEPS // 2] = "restart"
                for fault in script:
                    await _do(fault, welder, chance)
                    if chance.random() < 0.5:
                        await settle()
                await settle()
            return kept, list(welder.made)

    kept, made = asyncio.run(scenario())

    _account([each for each in kept.items if _is_of_counter(each)], made)
    assert GapReason.INSTANCE_CHANGED in kept.reasons


async def _do(fault: str, welder: Welder, chance: random.Random) -> None:
    match fault:
        case "weld":
            for _ in range(chance.randrange(1, 60)):
                await welder.weld(8 + chance.randrange(9) / 10)
                if chance.random() < 0.2:
                    await asyncio.sleep(0)  # whoever else is ready goes first
        case "overrun":
            await welder.overrun(QUEUE_SIZE + chance.randrange(1, 200))
        case "cut":
            await welder.weld()
            welder.cut()
            await welder.weld()
        case "stall":
            welder.stall()
            await welder.weld()
            await asyncio.sleep(chance.choice([0.05, 0.6]))  # less, or more, than it may take
            await welder.weld()
            welder.go_on()
        case "outage":
            welder.shut()
            for _ in range(chance.randrange(1, 300)):
                await welder.weld()
            welder.open()
        case "restart":
            await welder.weld()
            await welder.restart()
            for _ in range(chance.randrange(1, 5)):
                await welder.weld()


def _is_of_counter(item: object) -> bool:
    match item:
        case Observation(signal=signal) | SourceGap(signal=signal):
            return signal in (COUNTER, "")
    return False


def _account(items: Sequence[object], made: Sequence[Weld]) -> None:
    """Check that every weld is accounted for exactly once, from what was told alone."""
    restarts = [
        at
        for at, item in enumerate(items)
        if isinstance(item, SourceGap)
        and item.signal == COUNTER
        and item.reason is GapReason.INSTANCE_CHANGED
    ]
    assert len(restarts) == 1
    runs = (items[: restarts[0]], items[restarts[0] :])
    for run, told in enumerate(runs, 1):
        produced = [weld.number for weld in made if weld.run == run]
        seen = {int(item.value or "") for item in told if isinstance(item, Observation)} - {
            0
        }  # before the first weld
        counted = [
            number
            for item in told
            if isinstance(item, SourceGap) and item.count is not None
            for number in range(item.first, item.last + 1)
        ]
        assert len(counted) == len(set(counted))
        assert seen.isdisjoint(counted)
        accounted = seen | set(counted)
        rest = set(produced) - accounted
        if run == 1:  # what the gap of the restart says: all from its first number on
            change = items[restarts[0]]
            assert isinstance(change, SourceGap)
            assert rest == set(range(change.first, produced[-1] + 1))
        else:  # and that what the machine began with is not known
            assert rest == set(range(1, min(accounted)))
        assert accounted <= set(produced)
