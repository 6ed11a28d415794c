"""Runs the model: on the spot where that is quickest, otherwise on a few threads.

Handing a run to a thread and back costs about 0.1 ms, and two threads that run a microsecond model only
fight for the GIL; so a model that answers within `INLINE_SECONDS` runs on the event loop itself. A longer
one would stall everything else there, so it gets threads: onnxruntime releases the GIL while it runs.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from queue import SimpleQueue
from typing import Final

import onnxruntime

from serinus_server.model import Model, Tensor
from serinus_server.warm_up import WarmUp

INLINE_SECONDS: Final = 0.0005
_WEIGHT_TO_CHANGE: Final = 16
_WEIGHT_PER_SECOND: Final = 160
_SMOOTHING: Final = 0.1

Done = Callable[["Job"], None]


class DeadlineExceededError(Exception):
    """The run did not finish within the time allowed."""


class Job:
    """One run: its inputs, and after `on_done` was called either `tensors` or `error`.

    `queue_seconds` and `run_seconds` tell where the time went.
    """

    __slots__ = (
        "_options",
        "error",
        "feeds",
        "finished",
        "on_done",
        "outputs",
        "queue_seconds",
        "run_seconds",
        "submitted",
        "tensors",
        "timer",
    )

    def __init__(self, feeds: Mapping[str, Tensor], outputs: Sequence[str], on_done: Done) -> None:
        self.feeds: Mapping[str, Tensor] | None = feeds
        self.outputs = outputs
        self.on_done = on_done
        self.tensors: list[Tensor] = []
        self.error: Exception | None = None
        self.finished = False
        self.submitted = time.perf_counter()
        self.queue_seconds = 0.0
        self.run_seconds = 0.0
        self.timer: asyncio.TimerHandle | None = None
        self._options: onnxruntime.RunOptions | None = None

    def run(self, model: Model, options: onnxruntime.RunOptions | None = None) -> None:
        """Run the model and keep what came; never raises."""
        feeds = self.feeds
        started = time.perf_counter()
        self.queue_seconds = started - self.submitted
        if feeds is None:
            return
        self._options = options
        try:
            self.tensors = model.run(feeds, self.outputs, options)
        except Exception as error:  # the bindings' exceptions have no common base of their own
            self.error = error.with_traceback(None)
        self.run_seconds = time.perf_counter() - started

    def finish(self) -> None:
        """Tell the submitter, once."""
        if not self.finished:
            self._tell()

    def cancel(self) -> None:
        """Nobody waits any more: skip the run, or stop it at its next operator."""
        self.on_done = _nobody
        self._stop()
        self._tell()

    def expire(self) -> None:
        """The deadline has come: stop the run and tell the submitter."""
        if not self.finished:
            self._stop()
            self.error = DeadlineExceededError()
            self._tell()

    def _stop(self) -> None:
        self.feeds = None
        if self._options is not None:
            self._options.terminate = True

    def _tell(self) -> None:
        """Call `on_done` and let go of everything: what it holds mostly holds this job, too."""
        self.finished = True
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        on_done, self.on_done = self.on_done, _nobody
        on_done(self)
        self.feeds = None
        self.tensors = []


class Executor:
    """Runs jobs of one model. All methods belong to the event loop's thread."""

    def __init__(self, model: Model, warm_up: WarmUp | None, threads: int) -> None:
        self._model = model
        self._loop = asyncio.get_running_loop()
        self._threads = threads
        self._queue: SimpleQueue[Job] = SimpleQueue()
        self._started: list[threading.Thread] = []
        self._waiting = 0
        self._mean_run_seconds = warm_up.run_seconds if warm_up else 0.0
        self._inline_elements = _inline_elements(warm_up)
        self._inline = self._inline_elements > 0
        self._against = 0

    @property
    def runs_inline(self) -> bool:
        """Whether requests about as large as the warm-up's run on the event loop."""
        return self._inline

    def submit(self, job: Job, timeout: float) -> None:
        """Run a job within `timeout` seconds; `job.on_done` is called once, perhaps before this returns."""
        if self._inline and _elements(job) <= self._inline_elements:
            self._run_inline(job, timeout)
            return
        if not self._started:
            self._start_threads()
        self._waiting += 1
        job.timer = self._loop.call_later(timeout, job.expire)
        self._queue.put(job)

    def expected_wait(self) -> float:
        """Seconds until a job submitted now would start, judged by the recent ones."""
        return self._waiting * self._mean_run_seconds / self._threads

    def _run_inline(self, job: Job, timeout: float) -> None:
        job.run(self._model)
        # A run of 0.1 s on the loop is reason enough by itself.
        self._reconsider(job.run_seconds > INLINE_SECONDS, 1 + int(job.run_seconds * _WEIGHT_PER_SECOND))
        if job.run_seconds > timeout:
            job.error = DeadlineExceededError()
        job.finish()

    def _reconsider(self, speaks_against: bool, weight: int = 1) -> None:
        """Change the way of running once several runs in a row speak against the present one.

        The warm-up's values need not be like the requests'; a single slow run may be the scheduler's doing.
        """
        self._against = self._against + weight if speaks_against else 0
        if self._against >= _WEIGHT_TO_CHANGE:
            self._inline = not self._inline
            self._against = 0

    def _start_threads(self) -> None:
        for number in range(self._threads):
            thread = threading.Thread(target=self._work, name=f"run-{number}", daemon=True)
            thread.start()
            self._started.append(thread)

    def _work(self) -> None:
        while True:
            job = self._queue.get()
            job.run(self._model, onnxruntime.RunOptions())
            with contextlib.suppress(RuntimeError):  # the loop has closed: a run outlived its request
                self._loop.call_soon_threadsafe(self._ran, job)

    def _ran(self, job: Job) -> None:
        self._waiting -= 1
        if job.run_seconds:
            self._mean_run_seconds += _SMOOTHING * (job.run_seconds - self._mean_run_seconds)
            if self._inline_elements and not self._inline:
                self._reconsider(job.run_seconds < INLINE_SECONDS)
        job.finish()


def _nobody(_: Job) -> None:
    """Where a job's end is told once nobody waits for it."""


def _inline_elements(warm_up: WarmUp | None) -> int:
    """How large a request may be to run inline, if time grows with its size; 0 for a slow model."""
    if warm_up is None or warm_up.run_seconds >= INLINE_SECONDS:
        return 0
    return int(max(1, warm_up.elements) * INLINE_SECONDS / max(warm_up.run_seconds, 1e-6))


def _elements(job: Job) -> int:
    elements = 0
    for tensor in (job.feeds or {}).values():
        elements += tensor.size
    return elements
