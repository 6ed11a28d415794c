"""Does it pay to run several requests as one? Measured once, after the warm-up.

It can only where the first dimension of every input is open and every output keeps it, and where a row's
result does not depend on its neighbours: both are tried with rows that differ. It pays where a row of a
batch takes clearly less time than a row alone, stacking and splitting included.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Final

import numpy as np
import onnxruntime

from serinus_server.model import Runnable, Signature, Tensor, TensorSpec
from serinus_server.running import split, stacked
from serinus_server.warm_up import WarmUp

_SIZES: Final = (8, 32)
_PAYS_BELOW: Final = 0.7
_HOPELESS_ABOVE: Final = 0.9
"""A batch whose rows gain less: a larger one will not pay either, and takes memory that a pod may not have."""

_MEASURE_SECONDS: Final = 0.1
_MAX_RUNS: Final = 10
_MAX_BATCH_SECONDS: Final = 0.5
_TRIED_ROWS: Final = 3
_RELATIVE, _ABSOLUTE = 1e-3, 1e-5  # another order of summation, as batches of another size have it


@dataclass(frozen=True)
class Batching:
    """Whether to batch, and why. `max_rows` is 1 where it does not pay; `row_seconds` is a row's share of a batch."""

    max_rows: int
    row_seconds: float
    explanation: str

    @property
    def pays(self) -> bool:
        """Whether requests are run together."""
        return self.max_rows > 1


def measure(session: Runnable, signature: Signature, warmed: WarmUp) -> Batching:
    """Try batches of the warm-up's inputs."""
    required = [spec for spec in signature.inputs.values() if not spec.optional]
    if not required or any(not spec.shape or isinstance(spec.shape[0], int) for spec in required):
        return off("an input has no open first dimension")
    outputs = list(signature.outputs)
    row = {spec.name: warmed.feeds[spec.name][:1] for spec in required}
    if not _rows_are_independent(session, outputs, required, row):
        return off("an output does not keep the rows apart")
    alone = _seconds(partial(session.run, outputs, row))
    row_seconds = _try_batches(session, outputs, row, alone)
    if not row_seconds:
        return off(f"a row takes {_microseconds(alone)}, too long to try")
    size, best = min(row_seconds.items(), key=itemgetter(1))
    figures = f"a row takes {_microseconds(best)} in a batch of {size}, {_microseconds(alone)} alone"
    if best >= _PAYS_BELOW * alone:
        return off(figures)
    return Batching(size, best, f"up to {size} rows: {figures}")


def _try_batches(session: Runnable, outputs: list[str], row: Mapping[str, Tensor], alone: float) -> dict[int, float]:
    """Sizes of batches -> the seconds that a row takes in one."""
    row_seconds: dict[int, float] = {}
    for size in _SIZES:
        if alone * size > _MAX_BATCH_SECONDS:
            break
        row_seconds[size] = _seconds(partial(_run_batch, session, outputs, [row] * size)) / size
        if row_seconds[size] > _HOPELESS_ABOVE * alone:
            break
    _give_memory_back(session, outputs, row)
    return row_seconds


def _give_memory_back(session: Runnable, outputs: Sequence[str], row: Mapping[str, Tensor]) -> None:
    """Let go of what the batches needed, which onnxruntime would keep for ever."""
    options = onnxruntime.RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    session.run(outputs, row, options)


def off(reason: str) -> Batching:
    """No batches, for a reason."""
    return Batching(1, 0.0, f"off: {reason}")


def _run_batch(session: Runnable, outputs: list[str], feeds: Sequence[Mapping[str, Tensor]]) -> list[list[Tensor]]:
    return split(session.run(outputs, stacked(feeds)), [1] * len(feeds))


def _rows_are_independent(
    session: Runnable,
    outputs: list[str],
    specs: Sequence[TensorSpec],
    row: Mapping[str, Tensor],
) -> bool:
    generator = np.random.default_rng(0)
    feeds = [{spec.name: _varied(row[spec.name], generator) for spec in specs} for _ in range(_TRIED_ROWS)]
    try:
        together = _run_batch(session, outputs, feeds)
        alone = [session.run(outputs, each) for each in feeds]
    except Exception:  # the bindings' exceptions have no common base of their own
        return False
    return all(
        _alike(one, other)
        for ours, theirs in zip(together, alone, strict=True)
        for one, other in zip(ours, theirs, strict=True)
    )


def _varied(tensor: Tensor, generator: np.random.Generator) -> Tensor:
    """Other values of the same shape, near to those that the model takes."""
    chosen = generator.integers(0, 2, tensor.shape)
    if tensor.dtype.kind == "O":
        return np.where(chosen, tensor, "")
    if tensor.dtype.kind == "f":
        return generator.random(tensor.shape).astype(tensor.dtype)
    return chosen.astype(tensor.dtype)


def _alike(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    if one.dtype.kind != "f":
        return bool((one == other).all())
    return np.allclose(one, other, rtol=_RELATIVE, atol=_ABSOLUTE, equal_nan=True)


def _seconds(once: Callable[[], object]) -> float:
    """The least duration of a few: what else the machine does only adds to it."""
    least, spent, runs = float("inf"), 0.0, 0
    while runs < _MAX_RUNS and spent < _MEASURE_SECONDS:
        started = time.perf_counter()
        once()
        seconds = time.perf_counter() - started
        least, spent, runs = min(least, seconds), spent + seconds, runs + 1
    return least


def _microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:.3g} µs"
