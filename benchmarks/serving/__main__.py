"""Measures the server against a bare protocol and bare `session.run`, interleaved, one core each.

    python -m benchmarks.serving --models tiny small --connections 1 16 --seconds 3 --rounds 3

Needs two processors and wrk (`apt-get install wrk`). A reply of every server is compared with the
model's own output before it is measured, and every status counted while it is.
"""

import argparse
import json
import re
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime

from benchmarks.serving import models
from benchmarks.serving.contenders import PATH, PORT, Running, contenders

WRK_CORE = "1"
HEADER_LENGTH = "Inference-Header-Content-Length"


class Load(NamedTuple):
    """A request, sent over and over."""

    body: bytes
    headers: dict[str, str]


class Result(NamedTuple):
    """One measurement."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_seconds_per_1000: float


def main() -> None:
    """Measure and print a table for each model and encoding."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=models.SHAPES, default=["tiny", "small"])
    parser.add_argument("--encodings", nargs="+", choices=["json", "binary"], default=["json", "binary"])
    parser.add_argument("--connections", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = models.write(Path(folder))
        for name in options.models:
            x = np.random.default_rng(1).random(models.SHAPES[name]).astype(np.float32)
            print(f"\n{name}: bare session.run {_session_rate(paths[name], x):,.0f}/s")
            for encoding in options.encodings:
                _compare(paths[name], x, encoding, options)


def _compare(path: Path, x: np.ndarray[Any, Any], encoding: str, options: argparse.Namespace) -> None:
    load = _load(x, binary=encoding == "binary")
    expected = _session(path).run(["y"], {"x": x})[0]
    results: dict[tuple[str, int], list[Result]] = defaultdict(list)
    memory: dict[str, float] = {}
    for _ in range(options.rounds):
        for contender in contenders():
            with contender.serving(path, load.body, load.headers) as running:
                _require_equal(running.reply, expected, binary=encoding == "binary")
                for connections in options.connections:
                    results[contender.name, connections].append(_wrk(running, load, connections, options.seconds))
                memory[contender.name] = running.resident_mib()
    for connections in options.connections:
        print(f"\n{encoding}, {connections} connections")
        print(f"{'':24}{'requests/s':>12}{'P50 ms':>9}{'P99 ms':>9}{'CPU s/1000':>12}{'MiB':>7}{'of bare':>9}")
        medians = {name: _median(results[name, connections]) for name in memory}
        bare = medians["bare protocol"].requests_per_second
        for name, result in medians.items():
            print(
                f"{name:24}{result.requests_per_second:12,.0f}{result.p50_ms:9.2f}{result.p99_ms:9.2f}"
                f"{result.cpu_seconds_per_1000:12.3f}{memory[name]:7.0f}{result.requests_per_second / bare:9.0%}"
            )


def _load(x: np.ndarray[Any, Any], *, binary: bool) -> Load:
    entry: dict[str, Any] = {"name": "x", "datatype": "FP32", "shape": list(x.shape)}
    if not binary:
        return Load(json.dumps({"inputs": [{**entry, "data": x.ravel().tolist()}]}).encode(), {})
    entry["parameters"] = {"binary_data_size": x.nbytes}
    header = json.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}}).encode()
    return Load(header + x.tobytes(), {HEADER_LENGTH: str(len(header))})


def _wrk(running: Running, load: Load, connections: int, seconds: int) -> Result:
    """Load from the other core; its report is read."""
    headers = "".join(f"wrk.headers[{name!r}] = {text!r}\n" for name, text in load.headers.items())
    body = "".join(f"\\{byte:03d}" for byte in load.body)
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f'wrk.method = "POST"\nwrk.body = "{body}"\n{headers}')
        script.flush()
        command = ["taskset", "-c", WRK_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
        cpu = running.cpu_seconds()
        done = subprocess.run(
            [*command, "-s", script.name, f"http://127.0.0.1:{PORT}{PATH}"], capture_output=True, text=True, check=True
        )
        cpu = running.cpu_seconds() - cpu
    report = done.stdout
    if "Non-2xx" in report or "Socket errors" in report:
        raise RuntimeError(f"not every request was answered:\n{report}")
    requests = int(_found(r"(\d+) requests in", report))
    return Result(
        float(_found(r"Requests/sec:\s+([\d.]+)", report)),
        _milliseconds(_found(r"50%\s+(\S+)", report)),
        _milliseconds(_found(r"99%\s+(\S+)", report)),
        cpu / requests * 1000,
    )


def _found(pattern: str, report: str) -> str:
    match = re.search(pattern, report)
    if match is None:
        raise RuntimeError(f"wrk's report has no {pattern}:\n{report}")
    return match[1]


def _milliseconds(text: str) -> float:
    for unit, factor in (("us", 0.001), ("ms", 1.0), ("s", 1000.0)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    raise RuntimeError(f"{text} is no duration")


def _median(results: list[Result]) -> Result:
    return Result(*(statistics.median(values) for values in zip(*results, strict=True)))


def _require_equal(reply: bytes, expected: np.ndarray[Any, Any], *, binary: bool) -> None:
    if binary:
        values = np.frombuffer(reply[-expected.nbytes :], np.float32)
    else:
        values = np.array(json.loads(reply)["outputs"][0]["data"], np.float32)
    np.testing.assert_allclose(values, expected.ravel(), rtol=1e-4, atol=1e-6)


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _session_rate(path: Path, x: np.ndarray[Any, Any]) -> float:
    """How often the model alone runs in a second."""
    session, runs, started = _session(path), 0, time.perf_counter()
    while time.perf_counter() - started < 1:
        session.run(["y"], {"x": x})
        runs += 1
    return runs / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
