"""Runs the model: on the spot where that is quickest, otherwise on a few threads; together where that pays.

Handing a run to a thread and back costs about 0.1 ms, and two threads that run a microsecond model only
fight for the GIL; so a model that answers within `BRIEF_SECONDS` runs on the event loop itself. A longer
one would stall everything else there, so it gets threads: onnxruntime releases the GIL while it runs. Where there
is one processor, a thread has nowhere to run beside the loop; there a run of up to `TURN_SECONDS` takes turns with
what else the loop does. That waits for one run at most while requests are being turned away, and otherwise for a few.

Nobody waits for company: a batch is what has come while the threads were busy, or within one turn of the loop.
"""

import asyncio
import contextlib
import math
import os
import sys
import threading
from collections import deque
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from time import perf_counter
from typing import Final

from serinus_server.batching import Batching
from serinus_server.job import DeadlineExceededError, Job
from serinus_server.metrics import Metrics
from serinus_server.model import Model
from serinus_server.running import group, run
from serinus_server.warm_up import WarmUp

BRIEF_SECONDS: Final = 0.0005
TURN_SECONDS: Final = 0.004
"""Whoever is to be turned away should know within 5 ms, be it after a run that has begun."""

_LOOKS_BETWEEN_TURNS: Final = 8
"""Rounds of the loop between two turns. In each it accepts one connection, whose request it reads two or three rounds
later: with a single round, clients that connect anew would come in no faster than runs are made."""

_LONG_TURN_SECONDS: Final = 0.012
"""A run leaves the caches empty, and all that is done for a request costs several times what it costs right after
another one's: so a turn makes several runs, for as long as nobody has to be turned away, who should know soon."""

_LONG_TURN_SHARE: Final = 3
"""A turn takes at most this part of those in line: with few of them an early answer matters more."""

_HURRY_SECONDS: Final = 1.0
"""How long after one request was turned away the next one is likely to be."""

_WEIGHT_TO_CHANGE: Final = 16
_WEIGHT_PER_SECOND: Final = 160
_SMOOTHING: Final = 0.1
_PROMISED: Final = 0.8
"""How much of a timeout is given to the runs that are ahead and to the request's own."""

_NICENESS: Final = 5
"""How far the threads that run a model step back behind the loop where they share a processor: what the loop does is
short, and everyone waits for it, such as those who are to be turned away at once."""


class Executor:
    """Runs jobs of one model. All methods belong to the event loop's thread."""

    def __init__(
        self, model: Model, warm_up: WarmUp | None, batching: Batching, threads: int, metrics: Metrics
    ) -> None:
        self._model = model
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._threads = threads
        self._queue: SimpleQueue[Job] = SimpleQueue()
        self._started: list[threading.Thread] = []
        self._line: deque[Job] = deque()
        self._waiting = 0
        self._mean_job_seconds = warm_up.run_seconds if warm_up else 0.0
        self._brief_elements = _elements_within(BRIEF_SECONDS, warm_up)
        self._loop_seconds = BRIEF_SECONDS if threads > 1 else TURN_SECONDS
        self._loop_elements = _elements_within(self._loop_seconds, warm_up)
        self._on_loop = self._loop_elements > 0
        self._against = 0
        self._turn_began = 0.0
        self._hurry_until = 0.0
        self._first_deadline = math.inf  # of those in line
        self._batches = batching.pays
        self._max_rows = batching.max_rows
        self._loop_rows = max(1, min(batching.max_rows, int(self._loop_seconds / max(batching.row_seconds, 1e-9))))
        self._inputs = sum(not spec.optional for spec in model.signature.inputs.values()) if batching.pays else 0

    @property
    def execution(self) -> str:
        """How requests about as large as the warm-up's are run."""
        if not self._on_loop:
            return f"{self._threads} threads"
        return "inline" if self._brief_elements else "inline, in turns"

    def submit(self, job: Job, timeout: float) -> None:
        """Run a job within `timeout` seconds; `job.on_done` is called once, perhaps before this returns."""
        job.timeout = timeout
        elements = _elements(job)
        if self._on_loop and elements <= self._brief_elements and not self._batches:
            self._run_on_loop([[job]])
            job.finish()
            return
        self._waiting += 1
        if self._on_loop and elements <= self._loop_elements:
            self._take_turn(job)
            return
        if not self._started:
            self._start_threads()
        job.timer = self._loop.call_later(timeout, job.expire)
        self._queue.put(job)

    def can_answer_within(self, timeout: float) -> bool:
        """Whether a job submitted now would be done in time, judged by the recent ones.

        Runs swing, and one that is not done in time was in vain: so some of the time is kept in reserve. With nothing
        ahead the answer is yes: how long runs took before need not be how long they take now.
        """
        turns = self._waiting / self._threads + 1 if self._waiting else 0
        return turns * self._mean_job_seconds <= timeout * _PROMISED

    def hurry(self) -> None:
        """Requests are being turned away: keep the loop free for them for a while."""
        self._hurry_until = perf_counter() + _HURRY_SECONDS

    def _take_turn(self, job: Job) -> None:
        self._line.append(job)
        self._first_deadline = min(self._first_deadline, job.deadline)
        if len(self._line) == 1:
            self._turn_began = perf_counter()
            self._loop.call_soon(self._run_turn)

    def _look_around(self, looks: int) -> None:
        """Let the loop go round so many times, then run the next in line."""
        if looks > 1:
            self._loop.call_soon(self._look_around, looks - 1)
        else:
            self._loop.call_soon(self._run_turn)

    def _run_turn(self) -> None:
        """Run the first in line, with those that can run along; the others wait until the loop has looked around."""
        self._expire_overdue()
        groups = self._next_in_line(self._most_in_turn())
        if self._line:
            self._look_around(_LOOKS_BETWEEN_TURNS)
        self._run_on_loop(groups)
        done = [job for jobs in groups for job in jobs]
        if done:
            self._waiting -= len(done)
            began, self._turn_began = self._turn_began, perf_counter()
            self._learn(self._turn_began - began, len(done))  # with what the loop did meanwhile: all wait for it
        for job in done:
            job.finish()

    def _expire_overdue(self) -> None:
        """Tell those in line whose time is over, which then are passed over; a timer for each would cost more."""
        now = perf_counter()
        if now < self._first_deadline:
            return
        for job in list(self._line):  # an answer may let the next request of its connection into the line
            if now >= job.deadline:
                job.expire()
        self._first_deadline = min((job.deadline for job in self._line if not job.finished), default=math.inf)

    def _most_in_turn(self) -> int:
        """How many jobs a turn goes on for; at least one that somebody waits for."""
        if perf_counter() < self._hurry_until:
            return 1
        most = int(_LONG_TURN_SECONDS / max(self._mean_job_seconds, 1e-6))
        return max(1, min(most, len(self._line) // _LONG_TURN_SHARE))

    def _next_in_line(self, most: int) -> list[list[Job]]:
        """Those to run now, in groups that run as one, until there are as many as `most`."""
        groups: list[list[Job]] = []
        while self._line and most > 0:
            jobs = self._next_group()
            if jobs:
                groups.append(jobs)
                most -= len(jobs)
        return groups

    def _next_group(self) -> list[Job]:
        """The first in line and those that run along, without those nobody waits for any more."""
        line = self._line
        jobs = [line.popleft() for _ in range(min(len(line), self._loop_rows))]
        live = [job for job in jobs if not job.finished]
        self._waiting -= len(jobs) - len(live)
        first, *others = group(live, self._inputs, self._loop_rows) if len(live) > 1 else [live]
        for members in reversed(others):
            line.extendleft(reversed(members))
        return first

    def _run_on_loop(self, groups: Sequence[Sequence[Job]]) -> None:
        """Run one group after the other, and only then do what there is to do for each: see `_LONG_TURN_SECONDS`."""
        for jobs in groups:
            run(jobs, self._model, stoppable=False)
        for jobs in groups:
            self._metrics.ran_together(len(jobs))
            seconds = jobs[0].run_seconds
            if self._on_loop:  # one of 0.1 s is reason enough by itself
                speaks_against = seconds > self._loop_seconds * len(jobs)
                self._reconsider(speaks_against, 1 + int(seconds * _WEIGHT_PER_SECOND))
            for job in jobs:
                if job.queue_seconds + job.run_seconds > job.timeout:
                    job.error = DeadlineExceededError()

    def _reconsider(self, speaks_against: bool, weight: int = 1) -> None:
        """Change the way of running once several runs in a row speak against the present one.

        The warm-up's values need not be like the requests'; a single slow run may be the scheduler's doing.
        """
        self._against = self._against + weight if speaks_against else 0
        if self._against >= _WEIGHT_TO_CHANGE:
            self._on_loop = not self._on_loop
            self._against = 0

    def _start_threads(self) -> None:
        for number in range(self._threads):
            thread = threading.Thread(target=self._work, name=f"run-{number}", daemon=True)
            thread.start()
            self._started.append(thread)

    def _work(self) -> None:
        _step_back()
        while True:
            jobs = [self._queue.get()]
            if self._batches:
                jobs += self._share_of_queue()
            for members in group(jobs, self._inputs, self._max_rows) if len(jobs) > 1 else [jobs]:
                run(members, self._model, stoppable=True)
                with contextlib.suppress(RuntimeError):  # the loop has closed: a run outlived its request
                    self._loop.call_soon_threadsafe(self._ran, members)

    def _share_of_queue(self) -> list[Job]:
        """What else waits, but for what the other threads can take at the same time."""
        jobs: list[Job] = []
        with contextlib.suppress(Empty):
            for _ in range(min(self._queue.qsize() // self._threads, self._max_rows)):
                jobs.append(self._queue.get_nowait())  # noqa: PERF401 - keeps what came before Empty
        return jobs

    def _ran(self, jobs: Sequence[Job]) -> None:
        """A thread has run them."""
        self._waiting -= len(jobs)
        share = jobs[0].run_seconds / len(jobs)
        if share:  # otherwise nobody waited any more, and nothing was run
            self._learn(jobs[0].run_seconds, len(jobs))
            self._metrics.ran_together(len(jobs))
            if self._loop_elements and not self._on_loop:
                self._reconsider(share < self._loop_seconds)
        for job in jobs:
            job.finish()

    def _learn(self, seconds: float, jobs: int) -> None:
        """So many jobs took the one who waits that long."""
        self._mean_job_seconds += _SMOOTHING * (seconds / jobs - self._mean_job_seconds)


def _step_back() -> None:
    """Let this thread alone be scheduled behind the others, where that can be had: only Linux has it for threads."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):  # a sandbox may forbid it
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICENESS)


def is_brief(warm_up: WarmUp | None) -> bool:
    """Whether a model runs on the event loop wherever it is, by its warm-up; without one it does not."""
    return warm_up is not None and warm_up.run_seconds < BRIEF_SECONDS


def _elements_within(seconds: float, warm_up: WarmUp | None) -> int:
    """How large a request may be to run within that time, if time grows with its size; 0 for a slower model."""
    if warm_up is None or warm_up.run_seconds >= seconds:
        return 0
    return int(max(1, warm_up.elements) * seconds / max(warm_up.run_seconds, 1e-6))


def _elements(job: Job) -> int:
    elements = 0
    for tensor in (job.feeds or {}).values():
        elements += tensor.size
    return elements
