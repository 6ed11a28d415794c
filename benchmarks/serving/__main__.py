"""Measures the server beside a bare protocol, bare `session.run` and other servers, in turns, on one core.

    python -m benchmarks.serving            # everything, half an hour
    python -m benchmarks.serving --quick    # the smallest and a slow model, a few minutes

Needs two processors, wrk (`apt-get install wrk`), for gRPC Go, and for the peers a package index.
"""

import argparse
import os
import signal
import statistics
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.serving import models, overload
from benchmarks.serving.alone import ALONE, Alone
from benchmarks.serving.contenders import BARE, PEER_ENCODINGS, SERINUS, Contender, Running, contenders, started
from benchmarks.serving.exchange import Tensor, ask_grpc, request, values
from benchmarks.serving.load import LOAD_CORE, Result, measure

ENCODINGS = ("json", "binary", "grpc")
_OVERLOADED = "conv"
_HEADER = f"{'':22}{'requests/s':>12}{'P50 ms':>9}{'P99 ms':>9}{'CPU s/1000':>12}{'of model':>10}{'load busy':>11}"


class Setting(NamedTuple):
    """What is measured under equal conditions."""

    model: str
    encoding: str
    connections: int


def main() -> None:
    """Measure and print."""
    options = _options()
    os.sched_setaffinity(0, {LOAD_CORE})
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers end as well
    ratios: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        served = models.write(Path(folder))
        for name in options.models:
            ratios += _compare(name, *served[name], options)
        if options.overload:
            overload.run(*served[_OVERLOADED], 5 * options.seconds)
    print(f"\n{'ratios':30}{'of model':>10}{'of bare':>9}{'by CPU':>9}{'of best peer':>15}")
    print("\n".join(ratios))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=models.NAMES)
    parser.add_argument("--encodings", nargs="+", choices=ENCODINGS, default=ENCODINGS)
    parser.add_argument("--connections", nargs="+", type=int)
    parser.add_argument("--peers", nargs="*", choices=PEER_ENCODINGS, default=list(PEER_ENCODINGS))
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--quick", action="store_true", help="one round of tiny and conv, 16 connections")
    parser.add_argument("--overload", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    options.models = options.models or (["tiny", "conv"] if options.quick else list(models.NAMES))
    options.connections = options.connections or ([16] if options.quick else [1, 8, 64])
    options.rounds = options.rounds or (1 if options.quick else 3)
    return options


def _compare(name: str, path: Path, x: Tensor, options: argparse.Namespace) -> list[str]:
    """Measure all servers with one model; the lines of the table of ratios."""
    results: dict[Setting, dict[str, list[Result]]] = defaultdict(lambda: defaultdict(list))
    with started(contenders(options.peers), path, request(x, "json")) as servers:
        alone = Alone(path)
        expected = alone.answer(x)
        for server in servers:
            server.resume()
            _require_equal(server, x, expected)
            server.pause()
        for _ in range(options.rounds):
            for encoding in options.encodings:
                sent = request(x, encoding)
                for connections in options.connections:
                    found = results[Setting(name, encoding, connections)]
                    found[ALONE].append(alone.measure(x, options.seconds))
                    for server in servers:
                        if encoding not in server.contender.encodings:
                            continue
                        server.resume()
                        result = measure(server, sent, encoding, connections, options.seconds)
                        server.pause()
                        if result is not None:
                            found[server.contender.name].append(result)
        print(f"\n{name}")
        for server in servers:
            size = f"{server.resident_mib():.0f} MiB"
            print(f"  {server.contender.name:22} ready after {server.ready_seconds:5.1f} s, {size:>9}")
        peers = [server.contender for server in servers if server.contender.is_peer]
    return [_report(setting, found, peers) for setting, found in results.items() if SERINUS in found]


def _report(setting: Setting, found: dict[str, list[Result]], peers: list[Contender]) -> str:
    """Print one setting's table; its line in the table of ratios."""
    medians = {name: _median(each) for name, each in found.items()}
    bare, ours, alone = medians.get(BARE), medians[SERINUS], medians[ALONE]
    print(f"\n{setting.model}, {setting.encoding}, {setting.connections} connections\n{_HEADER}")
    for name, result in medians.items():
        print(
            f"{name:22}{result.requests_per_second:12,.1f}{result.p50_ms:9.2f}{result.p99_ms:9.2f}"
            f"{result.cpu_seconds_per_1000:12.3f}{_share(result, alone):>10}{result.load_busy:11.0%}"
        )
    of_bare = _share(ours, bare) if bare else "-"
    by_cpu = f"{bare.cpu_seconds_per_1000 / ours.cpu_seconds_per_1000:.0%}" if bare else "-"
    rates = {peer.name: medians[peer.name].requests_per_second for peer in peers if peer.name in medians}
    best = max(rates, key=rates.__getitem__, default=None)
    of_best = f"{ours.requests_per_second / rates[best]:.1f}× {best}" if best else "-"
    return f"{', '.join(map(str, setting)):30}{_share(ours, alone):>10}{of_bare:>9}{by_cpu:>9}   {of_best}"


def _share(result: Result, whole: Result) -> str:
    return f"{result.requests_per_second / whole.requests_per_second:.0%}"


def _median(results: list[Result]) -> Result:
    return Result(*(statistics.median(each) for each in zip(*results, strict=True)))


def _require_equal(server: Running, x: Tensor, expected: Tensor) -> None:
    """Compare a reply in each encoding with the model's own output."""
    for encoding in server.contender.encodings:
        if encoding == "grpc":
            found = ask_grpc(server.grpc_port, x)
        else:
            found = values(server.ask(request(x, encoding)), encoding, expected.size)
        np.testing.assert_allclose(found, expected.ravel(), rtol=1e-4, atol=1e-6, err_msg=server.contender.name)


if __name__ == "__main__":
    main()
