"""The model without any server: the limit of what a server can answer on the same core."""

import os
import time
from pathlib import Path

import numpy as np
import onnxruntime

from benchmarks.serving.contenders import SERVER_CORE
from benchmarks.serving.exchange import Tensor
from benchmarks.serving.load import LOAD_CORE, Result

ALONE = "session.run alone"


class Alone:
    """A session in this process, as the servers have it: one thread, no spinning."""

    def __init__(self, model: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])

    def answer(self, x: Tensor) -> Tensor:
        """The model's output for x."""
        output: Tensor = self._session.run(["y"], {"x": x})[0]
        return output

    def measure(self, x: Tensor, seconds: int) -> Result:
        """Run over and over on the servers' core, which must be free meanwhile."""
        durations: list[float] = []
        os.sched_setaffinity(0, {SERVER_CORE})
        try:
            begun, cpu = time.perf_counter(), time.process_time()
            while (elapsed := time.perf_counter() - begun) < seconds:
                self.answer(x)
                durations.append(time.perf_counter() - begun - elapsed)
        finally:
            os.sched_setaffinity(0, {LOAD_CORE})
        cpu = time.process_time() - cpu
        median, p99 = np.percentile(durations, [50, 99]) * 1000
        return Result(len(durations) / elapsed, median, p99, cpu / len(durations) * 1000, 0.0)
