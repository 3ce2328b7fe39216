"""What a client says of its clock: never more than the kernel and the jumps allow."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotmark.batch import ClockState
from lotmark.client.clock import (
    CACHE_S,
    STEP_MIN_US,
    STEP_REMEMBERED_S,
    UNCERTAINTY_MAX_US,
    Clock,
    KernelClock,
    kernel_clock,
)

GOOD = KernelClock(is_synchronised=True, error_max_us=800)
SECOND_NS = 1_000_000_000
START_NS = 1_768_204_800 * SECOND_NS


class Machine:
    """A machine whose clocks and kernel do as they are told."""

    def __init__(self, kernel: KernelClock | None) -> None:
        self.kernel = kernel
        self.running_ns = 5 * SECOND_NS
        self.offset_ns = START_NS
        self.asked_count = 0
        self.clock = Clock(
            ask_kernel=self.ask,
            realtime_ns=lambda: self.running_ns + self.offset_ns,
            running_ns=lambda: self.running_ns,
        )

    def ask(self) -> KernelClock | None:
        self.asked_count += 1
        return self.kernel

    def wait(self, seconds: float) -> None:
        self.running_ns += round(seconds * SECOND_NS)

    def step(self, step_us: int) -> None:
        self.offset_ns += step_us * 1_000


def test_a_disciplined_clock_is_synchronised_within_the_kernels_bound() -> None:
    machine = Machine(GOOD)
    reading = machine.clock.read()

    assert reading.state is ClockState.SYNCHRONISED
    assert reading.uncertainty_us == 800
    assert reading.time_ms == (START_NS + 5 * SECOND_NS) // 1_000_000


@pytest.mark.parametrize(
    ("kernel", "state", "uncertainty_us"),
    [
        (KernelClock(True, UNCERTAINTY_MAX_US), ClockState.SYNCHRONISED, UNCERTAINTY_MAX_US),
        (KernelClock(True, UNCERTAINTY_MAX_US + 1), ClockState.DEGRADED, UNCERTAINTY_MAX_US + 1),
        (KernelClock(False, 800), ClockState.DEGRADED, 800),
        (KernelClock(False, 16_000_000), ClockState.DEGRADED, 16_000_000),
        (KernelClock(False, 2**40), ClockState.DEGRADED, 2**32 - 1),
        (None, ClockState.UNKNOWN, 0),
    ],
)
def test_a_clock_is_as_good_as_the_kernel_says_and_worse_than_10_ms_is_degraded(
    kernel: KernelClock | None, state: ClockState, uncertainty_us: int
) -> None:
    reading = Machine(kernel).clock.read()

    assert (reading.state, reading.uncertainty_us) == (state, uncertainty_us)


def test_the_kernel_is_asked_once_a_second_and_its_bound_grows_in_between() -> None:
    machine = Machine(GOOD)
    readings = []
    for _ in range(10):
        readings.append(machine.clock.read().uncertainty_us)
        machine.wait(CACHE_S / 10)

    assert machine.asked_count == 1
    assert readings == [800 + 50 * count for count in range(10)], "500 ppm"
    assert machine.clock.read().uncertainty_us == 800
    assert machine.asked_count == 2


@pytest.mark.parametrize("kernel", [GOOD, None])
@pytest.mark.parametrize("step_us", [-7_200_000_000, -40_000, STEP_MIN_US, 3_600_000_000])
def test_a_clock_that_was_set_is_degraded_by_the_step_for_a_minute(
    kernel: KernelClock | None, step_us: int
) -> None:
    machine = Machine(kernel)
    before = machine.clock.read()
    machine.wait(0.1)
    machine.step(step_us)
    after = machine.clock.read()
    machine.wait(STEP_REMEMBERED_S - 1)
    later = machine.clock.read()
    machine.wait(2)

    for reading in (after, later):
        assert reading.state is ClockState.DEGRADED
        assert reading.uncertainty_us >= min(abs(step_us), 2**32 - 1)
    assert machine.clock.read().state is before.state


def test_the_larger_of_two_steps_counts() -> None:
    machine = Machine(GOOD)
    machine.clock.read()
    for step_us in (900_000, -5_000):
        machine.step(step_us)
        reading = machine.clock.read()
        assert reading.uncertainty_us == 900_000


@given(
    st.lists(
        st.tuples(st.floats(0, 100), st.integers(-STEP_MIN_US + 1, STEP_MIN_US - 1)), max_size=30
    )
)
def test_slewing_and_the_chance_between_two_readings_are_no_steps(
    waits: list[tuple[float, int]],
) -> None:
    machine = Machine(GOOD)
    for seconds, chance_us in waits:
        machine.wait(seconds)
        machine.offset_ns = START_NS + chance_us // 2 * 1_000
        assert machine.clock.read().state is ClockState.SYNCHRONISED


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has adjtimex")
def test_this_kernel_answers_with_a_bound() -> None:
    found = kernel_clock()

    assert found is not None
    assert found.error_max_us >= 0
    state = Clock().read().state
    assert state in (ClockState.SYNCHRONISED, ClockState.DEGRADED)
    assert (state is ClockState.DEGRADED) >= (not found.is_synchronised)


def test_a_system_without_adjtimex_says_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    reading = Clock().read()

    assert (reading.state, reading.uncertainty_us) == (ClockState.UNKNOWN, 0)
