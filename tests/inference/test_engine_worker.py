"""An engine in its own process: the same scores, and none of its faults reach the caller."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lotmark_inference.admission_gate import try_engine
from lotmark_inference.engine_worker import WorkerEngine, WorkerLimits
from lotmark_inference.errors import EngineError, InputRefused, ModelRefused
from tests.inference.engines_in_memory import (
    BREAKS,
    DECLINES,
    DIES,
    GROWS,
    HANGS,
    HEIGHT,
    INPUT,
    MANIFEST,
    REFUSES,
    STICKS,
    WIDTH,
    FineEngine,
    SoundEngine,
    images,
    open_faulty,
    open_fine,
    open_late,
    open_refused,
    open_slow,
    open_sound,
)

DEADLINE_S = 20.0


def wait_until_gone(process_id: int) -> None:
    """Wait for a process that is not ours to be over."""
    deadline = time.monotonic() + DEADLINE_S
    while Path(f"/proc/{process_id}").exists():
        # A zombie that nobody has asked for is as gone as one can be.
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "Z":
            return
        assert time.monotonic() < deadline, f"process {process_id} still runs"
        os.sched_yield()


def telling(what: int) -> NDArray[np.uint8]:
    """Return a batch that tells a faulty engine to misbehave."""
    batch = images(1, 3)
    batch[0, 0, 0] = what
    return batch


@contextmanager
def faulty_worker(
    folder: Path, faults_max: int, limits: WorkerLimits | None = None
) -> Iterator[WorkerEngine]:
    worker = WorkerEngine(partial(open_faulty, folder, faults_max), INPUT, limits)
    try:
        yield worker
    finally:
        worker.close()


@pytest.fixture(scope="module")
def sound_worker() -> Iterator[WorkerEngine]:
    worker = WorkerEngine(open_sound, INPUT, WorkerLimits(batch_images_max=4))
    yield worker
    worker.close()


def lives(folder: Path) -> int:
    return (folder / "log").read_text().count("opened")


def test_scores_are_those_of_the_engine_itself_for_any_size_of_batch(
    sound_worker: WorkerEngine,
) -> None:
    for count in (1, 4, 11):
        batch = images(count, count)
        expected = SoundEngine().infer(batch)
        found = sound_worker.infer(batch)

        assert found.keys() == expected.keys()
        assert all(np.array_equal(found[name], expected[name]) for name in expected)
    assert sound_worker.identity == SoundEngine.identity
    assert sound_worker.process_id != os.getpid()


def test_outputs_stay_as_they_are_when_the_next_batch_is_inferred(
    sound_worker: WorkerEngine,
) -> None:
    first = sound_worker.infer(images(1, 2))["scores"]
    kept = first.copy()
    sound_worker.infer(images(2, 2))

    assert np.array_equal(first, kept)


def test_a_worker_outlives_the_thread_that_started_it() -> None:
    with ThreadPoolExecutor(1) as pool:
        worker = pool.submit(WorkerEngine, open_sound, INPUT).result()
    try:
        before = worker.process_id
        worker.infer(images(1, 1))

        assert worker.process_id == before
    finally:
        worker.close()


def test_a_batch_in_flight_when_the_worker_is_killed_is_tried_once_more(tmp_path: Path) -> None:
    with faulty_worker(tmp_path, faults_max=1) as worker:
        first = worker.process_id
        found = worker.infer(telling(DIES))

        assert np.array_equal(found["scores"], SoundEngine().infer(telling(DIES))["scores"])
        assert worker.process_id != first
        assert lives(tmp_path) == 2


def test_a_batch_that_kills_two_workers_is_an_engine_error_and_the_next_is_not(
    tmp_path: Path,
) -> None:
    with faulty_worker(tmp_path, faults_max=2) as worker:
        with pytest.raises(
            EngineError, match=r"worker died twice on a batch of 3 images: .* by signal 9; .*"
        ):
            worker.infer(telling(DIES))
        found = worker.infer(images(5, 2))

        assert np.array_equal(found["scores"], SoundEngine().infer(images(5, 2))["scores"])


def test_a_fault_that_the_port_does_not_know_ends_the_worker_not_the_caller(
    tmp_path: Path,
) -> None:
    with (
        faulty_worker(tmp_path, faults_max=2) as worker,
        pytest.raises(EngineError, match=r"worker died twice .* with exit code 1"),
    ):
        worker.infer(telling(BREAKS))


def test_a_worker_that_hangs_is_killed_and_the_batch_scored_by_the_next(tmp_path: Path) -> None:
    with faulty_worker(tmp_path, faults_max=1, limits=WorkerLimits(infer_s=0.5)) as worker:
        hung = worker.process_id
        assert hung is not None
        found = worker.infer(telling(HANGS))

        assert np.array_equal(found["scores"], SoundEngine().infer(telling(HANGS))["scores"])
        assert not Path(f"/proc/{hung}").exists()


# An image takes a tenth of what it may, so a batch of 11 takes longer than an image may.
SLOW = WorkerLimits(infer_s=0.5)
SLOW_IMAGE_S = 0.05


def test_a_slow_engine_whose_single_images_come_in_time_is_admitted() -> None:
    worker = WorkerEngine(partial(open_slow, SLOW_IMAGE_S), INPUT, SLOW)
    try:
        report = try_engine(worker, SoundEngine(), MANIFEST, dict(enumerate(images(1, 12))))
    finally:
        worker.close()

    assert report.is_admitted, report.findings


@pytest.mark.parametrize("count", [1, 11])
def test_a_batch_has_the_time_of_all_its_images(count: int) -> None:
    worker = WorkerEngine(partial(open_slow, 0.2), INPUT, WorkerLimits(infer_s=2.0))
    try:
        process_id = worker.process_id
        found = worker.infer(images(1, count))["scores"]

        assert np.array_equal(found, SoundEngine().infer(images(1, count))["scores"])
        assert worker.process_id == process_id
    finally:
        worker.close()


def test_an_engine_that_puts_off_much_until_its_first_batch_keeps_no_image_waiting() -> None:
    limits = WorkerLimits(infer_s=1.0, retries_hung=False)
    worker = WorkerEngine(partial(open_late, 2.0), INPUT, limits)
    try:
        found = worker.infer(images(1, 1))["scores"]
    finally:
        worker.close()

    assert np.array_equal(found, SoundEngine().infer(images(1, 1))["scores"])


def test_a_batch_that_hangs_is_tried_once_where_that_is_asked_for(tmp_path: Path) -> None:
    limits = WorkerLimits(infer_s=0.5, retries_hung=False)
    with faulty_worker(tmp_path, faults_max=2, limits=limits) as worker:
        with pytest.raises(EngineError, match=r"gave no answer within 1\.5 s and was killed"):
            worker.infer(telling(HANGS))
        assert worker.process_id is None
        died = worker.infer(telling(DIES))  # the second fault, and that is tried again

        assert np.array_equal(died["scores"], SoundEngine().infer(telling(DIES))["scores"])
        assert lives(tmp_path) == 3


def test_an_engine_that_fails_is_asked_once_and_its_worker_is_ended(tmp_path: Path) -> None:
    with faulty_worker(tmp_path, faults_max=9) as worker:
        before = worker.process_id
        with pytest.raises(EngineError, match=r"^the device is busy$"):
            worker.infer(telling(REFUSES))

        assert (tmp_path / "faults").stat().st_size == 1
        assert worker.process_id is None
        assert not Path(f"/proc/{before}").exists()
        assert "closed" in (tmp_path / "log").read_text()  # it gave back what it had


def test_an_engine_that_fails_for_ever_fails_one_batch(tmp_path: Path) -> None:
    limits = WorkerLimits(inferences_max=5)
    with faulty_worker(tmp_path, faults_max=1, limits=limits) as worker:
        for _ in range(3):
            worker.infer(images(1, 1))
        with pytest.raises(EngineError, match="an illegal address"):
            worker.infer(telling(STICKS))
        found = worker.infer(images(5, 2))

        assert np.array_equal(found["scores"], SoundEngine().infer(images(5, 2))["scores"])
        assert lives(tmp_path) == 2


@pytest.mark.parametrize("fault", [STICKS, DIES, REFUSES, BREAKS])
def test_whatever_an_engine_does_a_sound_batch_after_it_is_scored(
    fault: int, tmp_path: Path
) -> None:
    with faulty_worker(tmp_path, faults_max=2) as worker:
        with pytest.raises(EngineError):
            worker.infer(telling(fault))
        found = worker.infer(images(5, 2))

        assert np.array_equal(found["scores"], SoundEngine().infer(images(5, 2))["scores"])


def test_batches_that_are_declined_count_until_a_worker_is_replaced(tmp_path: Path) -> None:
    limits = WorkerLimits(inferences_max=2)
    with faulty_worker(tmp_path, faults_max=9, limits=limits) as worker:
        for _ in range(5):
            with pytest.raises(ModelRefused):
                worker.infer(telling(DECLINES))

        assert lives(tmp_path) == 3


def test_a_worker_is_replaced_after_so_many_inferences(tmp_path: Path) -> None:
    with faulty_worker(tmp_path, faults_max=0, limits=WorkerLimits(inferences_max=2)) as worker:
        for _ in range(5):
            worker.infer(images(1, 1))

        assert lives(tmp_path) == 3
    assert (tmp_path / "log").read_text().count("closed") == 3


def test_a_worker_that_grows_is_replaced_and_one_that_does_not_is_kept(tmp_path: Path) -> None:
    limits = WorkerLimits(rss_growth_max_mb=60)
    with faulty_worker(tmp_path, faults_max=2, limits=limits) as worker:
        for _ in range(3):
            worker.infer(images(1, 1))
        kept = lives(tmp_path)
        for _ in range(3):
            worker.infer(telling(GROWS))

        assert (kept, lives(tmp_path)) == (1, 2)


def test_an_engine_that_cannot_be_opened_is_refused_with_its_own_words() -> None:
    with pytest.raises(EngineError, match=r"^no usable GPU: none in this test$"):
        WorkerEngine(open_refused, INPUT)


@pytest.mark.parametrize(("rows", "columns"), [(128, 128), (1, 1), (61, 67), (1, 128 * 128)])
def test_a_full_batch_has_room_for_a_heat_map_as_fine_as_its_images(
    rows: int, columns: int
) -> None:
    image = replace(INPUT, height=128, width=128)
    batch = np.zeros((WorkerLimits().batch_images_max, 128, 128), np.uint8)
    worker = WorkerEngine(partial(open_fine, rows, columns), image)
    try:
        found = worker.infer(batch)["heat"]
    finally:
        worker.close()

    assert found.shape == (len(batch), rows, columns)
    assert np.array_equal(found, FineEngine(rows, columns).infer(batch)["heat"])


def test_outputs_beyond_their_room_are_refused_with_both_sizes() -> None:
    limits = WorkerLimits(batch_images_max=2)
    worker = WorkerEngine(partial(open_fine, HEIGHT + 1_000, WIDTH), INPUT, limits)
    try:
        with pytest.raises(
            EngineError, match=r"are 48772 numbers, and there is room for 896: .* fewer fields"
        ):
            worker.infer(images(1, 2))
    finally:
        worker.close()


@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((1, HEIGHT, WIDTH + 1), np.uint8),
        np.zeros((1, HEIGHT, WIDTH), np.float32),
        np.zeros((HEIGHT, WIDTH), np.uint8),
    ],
)
def test_a_batch_of_other_shape_or_type_never_reaches_the_worker(
    batch: NDArray[np.uint8], sound_worker: WorkerEngine
) -> None:
    with pytest.raises(InputRefused, match="the model takes"):
        sound_worker.infer(batch)


def test_a_closed_worker_is_gone_and_says_so() -> None:
    worker = WorkerEngine(open_sound, INPUT)
    process_id = worker.process_id
    worker.close()
    worker.close()

    assert not Path(f"/proc/{process_id}").exists()
    with pytest.raises(EngineError, match="closed"):
        worker.infer(images(1, 1))


PARENT = """
import sys
from functools import partial
from pathlib import Path
from lotmark_inference.engine_worker import WorkerEngine
from tests.inference.engines_in_memory import INPUT, open_faulty
from tests.inference.test_engine_worker import HANGS, telling
worker = WorkerEngine(partial(open_faulty, Path(sys.argv[1]), 1), INPUT)
print(worker.process_id, flush=True)
if sys.argv[2] == "hanging":
    worker.infer(telling(HANGS))
sys.stdin.read()
"""


@pytest.mark.parametrize("state", ["idle", "hanging"])
def test_no_worker_outlives_a_parent_that_is_killed(state: str, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    with subprocess.Popen(  # noqa: S603 - our own words
        [sys.executable, "-c", PARENT, str(tmp_path), state],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None
        process_id = int(parent.stdout.readline())
        deadline = time.monotonic() + DEADLINE_S
        while state == "hanging" and not (tmp_path / "faults").exists():
            assert time.monotonic() < deadline, "the engine was never asked"
            os.sched_yield()
        parent.send_signal(signal.SIGKILL)
    wait_until_gone(process_id)
