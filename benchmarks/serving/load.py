"""Loads a server from the other core, with wrk or ghz, and reads their reports."""

import json
import re
import resource
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.serving.contenders import Running
from benchmarks.serving.exchange import GRPC_METHOD, PATH, Request
from serinus_server import grpc_api
from tests.cluster import binaries

LOAD_CORE = 1
_TIMEOUT_SECONDS = 60
_PROTO = Path(grpc_api.__file__).parent / "open_inference_grpc.proto"


class Result(NamedTuple):
    """One measurement. `load_busy` is the share of its core that the load generator used."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_seconds_per_1000: float
    load_busy: float


class _Report(NamedTuple):
    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float


def measure(server: Running, request: Request, encoding: str, connections: int, seconds: int) -> Result | None:
    """Load for so many seconds; None if nothing was answered in that time.

    Raises RuntimeError if a reply was no success.
    """
    cpu, own, begun = server.cpu_seconds(), _children_seconds(), time.perf_counter()
    load = _ghz if encoding == "grpc" else _wrk
    report = load(server, request, connections, seconds)
    if report.requests == 0:
        return None
    own, wall = _children_seconds() - own, time.perf_counter() - begun
    cpu = (server.cpu_seconds() - cpu) / report.requests * 1000
    return Result(report.requests / report.seconds, report.p50_ms, report.p99_ms, cpu, own / wall)


def _wrk(server: Running, request: Request, connections: int, seconds: int) -> _Report:
    headers = "".join(f"wrk.headers[{name!r}] = {text!r}\n" for name, text in request.headers.items())
    body = "".join(f"\\{byte:03d}" for byte in request.body)
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f'wrk.method = "POST"\nwrk.body = "{body}"\n{headers}')
        script.flush()
        options = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", f"{_TIMEOUT_SECONDS}s", "--latency"]
        report = _output("wrk", *options, "-s", script.name, f"http://127.0.0.1:{server.port}{PATH}")
    if "Non-2xx" in report or "Socket errors" in report:
        raise RuntimeError(f"{server.contender.name}: not every request was answered:\n{report}")
    counts = _found(r"(\d+) requests in ([\d.]+)s", report)
    if counts[1] == "0":
        return _Report(0, float(counts[2]), 0.0, 0.0)
    latencies = [_milliseconds(_found(rf"(?m)^\s+{share}%\s+(\S+)", report)[1]) for share in (50, 99)]
    return _Report(int(counts[1]), float(counts[2]), *latencies)


def _ghz(server: Running, request: Request, connections: int, seconds: int) -> _Report:
    with tempfile.NamedTemporaryFile("wb", suffix=".bin") as message:
        message.write(request.body)
        message.flush()
        options = ["--insecure", "--proto", str(_PROTO), "--call", GRPC_METHOD.replace("/", ".")]
        options += ["--binary-file", message.name, "--duration", f"{seconds}s", "--duration-stop", "wait"]
        options += ["--concurrency", str(connections), "--connections", str(connections), "--cpus", "1"]
        options += ["--timeout", f"{_TIMEOUT_SECONDS}s", "--format", "json"]
        report = json.loads(_output(str(binaries.built(binaries.GHZ)), *options, f"127.0.0.1:{server.grpc_port}"))
    if set(report["statusCodeDistribution"]) != {"OK"}:
        raise RuntimeError(f"{server.contender.name}: not every call was answered: {report['statusCodeDistribution']}")
    latencies = {each["percentage"]: each["latency"] / 1e6 for each in report["latencyDistribution"]}
    return _Report(report["count"], report["total"] / 1e9, latencies[50], latencies[99])


def _output(*command: str) -> str:
    pinned = ["taskset", "-c", str(LOAD_CORE), *command]
    return subprocess.run(pinned, capture_output=True, text=True, check=True).stdout


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _found(pattern: str, report: str) -> re.Match[str]:
    match = re.search(pattern, report)
    if match is None:
        raise RuntimeError(f"wrk's report has no {pattern}:\n{report}")
    return match


def _milliseconds(text: str) -> float:
    for unit, factor in (("us", 0.001), ("ms", 1.0), ("s", 1000.0)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    raise RuntimeError(f"{text} is no duration")
