"""Runs jobs, alone or as one batch. Belongs to no thread: everything comes as arguments."""

import time
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import onnxruntime

from serinus_server.job import Job, Stop
from serinus_server.model import Model, Tensor


def run(jobs: Sequence[Job], model: Model, *, stoppable: bool) -> None:
    """Run jobs of one group and keep what came in each; those nobody waits for are skipped. Never raises.

    `stoppable` runs can be ended from another thread. A batch that fails is run again job by job, so that
    each gets its own result or error.
    """
    if len(jobs) == 1:
        _run_alone(jobs[0], model, stoppable=stoppable)
        return
    started = time.perf_counter()
    feeds = {job: job.feeds for job in jobs}
    live = {job: tensors for job, tensors in feeds.items() if tensors is not None}
    stop = Stop(len(live)) if stoppable else None
    for job in live:
        job.queue_seconds = started - job.submitted
        job.stop = stop
    if len(live) > 1 and _run_batch(live, model, stop.options if stop else None):
        seconds = time.perf_counter() - started
        for job in live:
            job.run_seconds = seconds
        return
    for job in live:
        _run_alone(job, model, stoppable=stoppable)


def _run_alone(job: Job, model: Model, *, stoppable: bool) -> None:
    started = time.perf_counter()
    job.queue_seconds = started - job.submitted
    job.stop = Stop(1) if stoppable else None
    feeds = job.feeds
    if feeds is None:
        return
    try:
        job.tensors = model.run(feeds, job.outputs, job.stop.options if job.stop else None)
    except Exception as error:  # the bindings' exceptions have no common base of their own
        job.error = error.with_traceback(None)
    job.run_seconds = time.perf_counter() - started


def _run_batch(live: Mapping[Job, Mapping[str, Tensor]], model: Model, options: onnxruntime.RunOptions | None) -> bool:
    """Whether it worked."""
    first = next(iter(live))
    feeds = list(live.values())
    try:
        results = split(model.run(stacked(feeds), first.outputs, options), [rows(each) for each in feeds])
    except Exception:  # whose fault it was shows when they run alone
        return False
    for job, tensors in zip(live, results, strict=True):
        job.tensors = tensors
    return True


def stacked(feeds: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Inputs of several requests as those of one, row under row."""
    return {name: np.concatenate([each[name] for each in feeds]) for name in feeds[0]}


def split(outputs: Sequence[Tensor], sizes: Sequence[int]) -> list[list[Tensor]]:
    """The outputs of each request, from those of all.

    Raises ValueError if an output does not have a row for each row.
    """
    total = sum(sizes)
    if any(output.ndim == 0 or output.shape[0] != total for output in outputs):
        raise ValueError("an output of a batch does not have the batch's rows")
    results = []
    start = 0
    for size in sizes:
        results.append([output[start : start + size] for output in outputs])
        start += size
    return results


def rows(feeds: Mapping[str, Tensor]) -> int:
    """How many rows a request has, going by its first input."""
    for tensor in feeds.values():
        return int(tensor.shape[0]) if tensor.ndim else 0
    return 0


def group(jobs: Sequence[Job], inputs: int, max_rows: int) -> list[list[Job]]:
    """Which jobs run as one: those of equal inputs but for the rows, and equal outputs, up to `max_rows`.

    `inputs` is how many inputs the model needs; a request that brings optional ones runs alone. So does one
    that nobody waits for, which is then skipped.
    """
    groups: list[list[Job]] = []
    open_groups: dict[Hashable, tuple[list[Job], int]] = {}
    for job in jobs:
        feeds = job.feeds or {}
        key = _kind(feeds, job.outputs, inputs)
        size = rows(feeds)
        members, filled = open_groups.get(key, ([], max_rows))
        if key is None or filled + size > max_rows:
            members, filled = [], 0
            groups.append(members)
        members.append(job)
        open_groups[key] = members, filled + size
    return groups


def _kind(feeds: Mapping[str, Tensor], outputs: Sequence[str], inputs: int) -> Hashable:
    """Equal for requests that can run together; None for one that must run alone."""
    size = rows(feeds)
    if size == 0 or len(feeds) != inputs or any(tensor.ndim == 0 or len(tensor) != size for tensor in feeds.values()):
        return None
    return tuple(sorted((name, tensor.shape[1:]) for name, tensor in feeds.items())), tuple(outputs)
