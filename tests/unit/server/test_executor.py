"""Where a run happens: on the loop while runs are short, on threads when they are not, and back."""

import asyncio
import gc
import time
import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from serinus_server.admission import Admission
from serinus_server.batching import off
from serinus_server.board import Board
from serinus_server.executor import Executor
from serinus_server.inference import Inference
from serinus_server.job import DeadlineExceededError, Job
from serinus_server.metrics import Metrics, counters_needed
from serinus_server.model import Model, Tensor
from serinus_server.readiness import Readiness
from serinus_server.refusal import Refusal
from serinus_server.warm_up import WarmUp

ONE = {"x": np.zeros(1, np.float32)}


class TimedModel:
    """Stands for a model whose runs take a given time."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def run(self, feeds: Mapping[str, Tensor], _outputs: Sequence[str], _options: object) -> list[Tensor]:
        time.sleep(self.seconds)
        return list(feeds.values())


async def run(executor: Executor, feeds: Mapping[str, Tensor] = ONE, timeout: float = 5) -> tuple[Job, bool]:
    """Submit a job and wait for it; also tells whether it had run before submit() returned."""
    done: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
    executor.submit(Job(feeds, ["y"], done.set_result), timeout)
    inline = done.done()
    return await done, inline


def scenario(run_seconds: float = 0.00001, threads: int = 2) -> tuple[TimedModel, Executor]:
    model = TimedModel()
    warmed, metrics = WarmUp(ONE, run_seconds), Metrics("m", "", "1")
    return model, Executor(cast(Model, cast(Any, model)), warmed, off("not here"), threads, metrics)


def test_short_runs_stay_on_the_loop() -> None:
    async def check() -> None:
        _, executor = scenario()
        assert (await run(executor))[1]
        assert executor.execution == "inline"
        large = {"x": np.zeros(51, np.float32)}  # 50 warm-ups make 0.5 ms
        assert not (await run(executor, large))[1]
        assert executor.execution == "inline"

    asyncio.run(check())


def test_long_runs_go_to_threads() -> None:
    async def check() -> None:
        model, executor = scenario(run_seconds=0.001)
        model.seconds = 0.4
        started = time.monotonic()
        finished = await asyncio.gather(run(executor), run(executor))
        assert time.monotonic() - started < 0.75  # two at a time
        assert not any(inline for _, inline in finished)
        assert all(job.run_seconds >= 0.4 and job.error is None for job, _ in finished)

    asyncio.run(check())


def test_runs_that_turn_out_long_move_and_come_back() -> None:
    async def check() -> None:
        model, executor = scenario()
        model.seconds = 0.12
        assert (await run(executor))[1]
        assert not (await run(executor))[1]  # one of 0.12 s was enough
        model.seconds = 0.0
        # 16 in a row; on a busy machine the scheduler makes some of them long, and the count starts anew.
        threaded = 0
        while not (await run(executor))[1]:
            threaded += 1
            assert threaded < 5_000
        assert threaded >= 15
        model.seconds = 0.001
        for _ in range(17):
            await run(executor)
        assert not (await run(executor))[1]

    asyncio.run(check())


def test_a_finished_job_is_freed_without_the_collector() -> None:
    """Its tensors may be large, and whoever waits for a job usually holds on to it."""

    async def check() -> None:
        class Waiting:
            def __init__(self) -> None:
                self.job = Job(ONE, ["y"], self.told)

            def told(self, job: Job) -> None:
                assert job is self.job

        _, executor = scenario()
        gc.disable()
        try:
            waiting = Waiting()
            freed = weakref.ref(waiting)
            executor.submit(waiting.job, 5)
            del waiting
            assert freed() is None
        finally:
            gc.enable()

    asyncio.run(check())


def test_waiting_is_foreseen_and_deadlines_hold() -> None:
    async def check() -> None:
        model, executor = scenario(run_seconds=0.05)
        model.seconds = 0.05
        jobs = [asyncio.ensure_future(run(executor, timeout=0.12)) for _ in range(8)]
        await asyncio.sleep(0)
        # Four turns of two are ahead, and its own: 0.25 s, for which four fifths of the timeout are enough.
        assert not executor.can_answer_within(0.31)
        assert executor.can_answer_within(0.32)
        finished = [job for job, _ in await asyncio.gather(*jobs)]
        late = [job for job in finished if isinstance(job.error, DeadlineExceededError)]
        assert len(late) >= 3  # of four turns of two, two at most end in time
        assert finished[0].error is None
        while not executor.can_answer_within(0):  # a lone request is always tried
            await asyncio.sleep(0.01)

    asyncio.run(check())


def in_turns(run_seconds: float) -> Executor:
    model, executor = scenario(run_seconds, threads=1)
    model.seconds = run_seconds
    assert executor.execution == "inline, in turns"
    return executor


def test_on_one_processor_runs_take_turns_with_the_loop() -> None:
    async def check() -> None:
        executor = in_turns(0.002)
        finished: list[Job] = []
        looks: Counter[int] = Counter()

        def look_around() -> None:
            looks[len(finished)] += 1
            if len(finished) < 3:
                asyncio.get_running_loop().call_soon(look_around)

        for _ in range(3):
            executor.submit(Job(ONE, ["y"], finished.append), 5)
        assert not executor.can_answer_within(0.0099)  # three ahead and its own are 8 ms, four fifths of 10
        asyncio.get_running_loop().call_soon(look_around)
        while len(finished) < 3:
            await asyncio.sleep(0)
        # Whoever connects is accepted in one round, and its request is read two or three rounds later.
        assert looks[1] >= 4
        assert looks[2] >= 4

    asyncio.run(check())


def test_who_waits_for_a_turn_waits_for_what_the_loop_does_as_well() -> None:
    async def check() -> None:
        executor = in_turns(0.001)
        finished: list[Job] = []

        def be_busy() -> None:
            time.sleep(0.001)
            if len(finished) < 30:
                asyncio.get_running_loop().call_soon(be_busy)

        for _ in range(30):
            executor.submit(Job(ONE, ["y"], finished.append), 5)
        be_busy()
        while len(finished) < 30:
            await asyncio.sleep(0)
        executor.submit(Job(ONE, ["y"], finished.append), 5)
        # A run took 1 ms, and so did each round of the loop before it: two turns take far more than 4 ms.
        assert not executor.can_answer_within(0.004 / 0.8)

    asyncio.run(check())


async def jobs_of_turns(executor: Executor, jobs: int) -> list[int]:
    """Submit so many jobs at once; how many of them each turn brought to their end."""
    finished: list[Job] = []
    turns: list[int] = []
    for _ in range(jobs):
        executor.submit(Job(ONE, ["y"], finished.append), 5)
    while len(finished) < jobs:
        await asyncio.sleep(0)
        if len(finished) > sum(turns):
            turns.append(len(finished) - sum(turns))
    return turns


def test_a_turn_takes_a_third_of_a_long_line_unless_that_is_too_long() -> None:
    async def check() -> None:
        # Of the first turn, which goes by the warm-up; what the later ones go by takes longer on a busy machine.
        assert (await jobs_of_turns(in_turns(0.001), 9))[0] == 3
        assert (await jobs_of_turns(in_turns(0.001), 2))[0] == 1
        assert (await jobs_of_turns(in_turns(0.0039), 12))[0] == 3  # four would take more than 12 ms

    asyncio.run(check())


def test_while_somebody_is_turned_away_each_run_is_a_turn_of_its_own() -> None:
    async def check() -> None:
        executor = in_turns(0.001)
        readiness = Readiness(Board(counters_needed()))
        readiness.ready(cast(Model, None), executor)
        full = Inference(readiness, Admission(0, 0), Metrics("m", "", "1"), 5.0)
        assert isinstance(full.admit(1), Refusal)
        assert await jobs_of_turns(executor, 9) == [1] * 9

    asyncio.run(check())


def test_a_job_whose_time_ends_in_line_is_not_run() -> None:
    async def check() -> None:
        executor = in_turns(0.002)
        finished: list[Job] = []
        jobs = [Job(ONE, ["y"], finished.append) for _ in range(30)]
        for number, job in enumerate(jobs):
            executor.submit(job, 0.03 if number == 19 else 5)  # a turn takes six, so its turn comes after 36 ms
        while len(finished) < 30:
            await asyncio.sleep(0)
        late = jobs.pop(19)
        assert isinstance(late.error, DeadlineExceededError)
        assert late.run_seconds == 0
        assert all(job.error is None and job.run_seconds > 0 for job in jobs)

    asyncio.run(check())


def test_who_asks_again_when_told_that_its_time_is_over_is_run_in_the_same_line() -> None:
    """A connection's next request may have come already, and be submitted from within the first one's answer."""

    async def check() -> None:
        executor = in_turns(0.002)
        finished: list[Job] = []

        def ask_again(job: Job) -> None:
            finished.append(job)
            executor.submit(Job(ONE, ["y"], finished.append), 5)

        executor.submit(Job(ONE, ["y"], ask_again), 0.0)
        for _ in range(5):
            executor.submit(Job(ONE, ["y"], finished.append), 5)
        while len(finished) < 7:
            await asyncio.sleep(0)
        assert isinstance(finished[0].error, DeadlineExceededError)
        assert [job.error for job in finished[1:]] == [None] * 6
        assert executor.can_answer_within(0)  # nobody is left in line

    asyncio.run(check())
