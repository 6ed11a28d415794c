"""One run of the model for one request, and how it ends."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

import onnxruntime

from serinus_server.model import Tensor

Done = Callable[["Job"], None]


class DeadlineExceededError(Exception):
    """The run did not finish within the time allowed."""


class Stop:
    """Stops a run of onnxruntime at its next operator once none of those it runs for wait any more."""

    __slots__ = ("_waiting", "options")

    def __init__(self, waiting: int) -> None:
        self.options = onnxruntime.RunOptions()
        self._waiting = waiting

    def leave(self) -> None:
        """One of them waits no more."""
        self._waiting -= 1
        if self._waiting <= 0:
            self.options.terminate = True


class Job:
    """One run: its inputs, and after `on_done` was called either `tensors` or `error`.

    `queue_seconds` and `run_seconds` tell where the time went. `feeds` are None once nobody waits.
    """

    __slots__ = (
        "error",
        "feeds",
        "finished",
        "on_done",
        "outputs",
        "queue_seconds",
        "run_seconds",
        "stop",
        "submitted",
        "tensors",
        "timeout",
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
        self.timeout = 0.0
        self.queue_seconds = 0.0
        self.run_seconds = 0.0
        self.timer: asyncio.TimerHandle | None = None
        self.stop: Stop | None = None

    @property
    def deadline(self) -> float:
        """When nobody waits any more, as `time.perf_counter()` has it."""
        return self.submitted + self.timeout

    def finish(self) -> None:
        """Tell the submitter, once."""
        if not self.finished:
            self._tell()

    def cancel(self) -> None:
        """Nobody waits any more: skip the run, or stop it at its next operator."""
        self.on_done = _nobody
        self._give_up()
        self._tell()

    def expire(self) -> None:
        """The deadline has come: stop the run and tell the submitter."""
        if not self.finished:
            self._give_up()
            self.error = DeadlineExceededError()
            self._tell()

    def _give_up(self) -> None:
        self.feeds = None
        if self.stop is not None:
            self.stop.leave()

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


def _nobody(_: Job) -> None:
    """Where a job's end is told once nobody waits for it."""
