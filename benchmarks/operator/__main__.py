"""`python -m benchmarks.operator`: create many services at once, make them ready, let them rest, and touch them."""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from benchmarks.operator import audit
from benchmarks.operator.contender import USER, Contender, Manifest
from benchmarks.operator.kserve_controller import KSERVE
from benchmarks.operator.serinus_operator import serinus
from serinus.adapters.kube import object_path
from tests.cluster.control_plane import ControlPlane, control_plane
from tests.contract import api

PATIENCE_SECONDS: Final = 600.0
REST_SECONDS: Final = 20.0
CLIENTS: Final = 8
"""Requests at the same time, of those who create services and make pods ready."""

_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """What the operator has used of the machine."""

    cpu_seconds: float
    resident_kib: int


@dataclass(frozen=True)
class Result:
    """One run."""

    services: int
    per_second: float
    p50: float
    p99: float
    requests: dict[str, float]
    """Per service, by verb and resource, from its creation until it is ready."""
    resync_requests: int
    kib_per_service: float
    resident_mib: float
    cpu_ms_per_service: float
    cpu_at_rest: float
    """In thousandths of a core."""


def main() -> None:
    """Run the benchmark for each number of services, and print a table."""
    parser = argparse.ArgumentParser(prog="benchmarks.operator", description=__doc__)
    parser.add_argument("--services", type=int, nargs="+", default=[100, 500, 1000], help="numbers of services")
    parser.add_argument("--settings", type=json.loads, default={}, help="settings of the operator, as JSON")
    parser.add_argument("--kserve", action="store_true", help="run KServe's controller, too, before each run")
    arguments = parser.parse_args()
    contenders = [*([KSERVE] if arguments.kserve else []), serinus(arguments.settings)]
    for services in arguments.services:
        for contender in contenders:
            print(f"\n{contender.name}, {services} services; load before: {os.getloadavg()[0]:.2f} of {os.cpu_count()}")
            show(run(contender, services))


def run(contender: Contender, services: int) -> Result:
    """Measure with so many services, on a control plane of its own."""
    with control_plane() as server, tempfile.TemporaryDirectory() as directory:
        contender.prepare(server)
        with contender.process(server, Path(directory)) as pid:
            return measure(server, contender, pid, services)


def measure(server: ControlPlane, contender: Contender, pid: int, services: int) -> Result:
    """Create, make ready, rest, and touch."""
    log = server.directory / "audit.log"
    manifests = [contender.manifest(f"s{number:05}") for number in range(services)]
    time.sleep(2)
    idle = usage(pid)
    create(server, manifests)
    wait(lambda: has_all(log, contender, services) and is_quiet(log), "children are made")
    written = usage(pid)
    make_ready(server)
    wait(lambda: is_quiet(log), "it has seen that all services are ready")
    settled = audit.read(log)
    before = usage(pid)
    time.sleep(REST_SECONDS)
    after = usage(pid)
    asked = audit.read(log)
    touch(server, manifests)
    time.sleep(5)
    resync = audit.by_verb(audit.read(log)[len(asked) :], USER)
    latencies = audit.since_created(settled, USER, contender.children).values()
    return Result(
        services=services,
        per_second=audit.throughput(settled, USER, contender.children),
        p50=audit.percentile(latencies, 50),
        p99=audit.percentile(latencies, 99),
        requests={what: count / services for what, count in sorted(audit.by_verb(settled, USER).items())},
        resync_requests=resync.total(),
        kib_per_service=(after.resident_kib - idle.resident_kib) / services,
        resident_mib=after.resident_kib / 1024,
        cpu_ms_per_service=(written.cpu_seconds - idle.cpu_seconds) * 1000 / services,
        cpu_at_rest=(after.cpu_seconds - before.cpu_seconds) * 1000 / REST_SECONDS,
    )


def create(server: ControlPlane, manifests: Iterable[Manifest]) -> None:
    """Create services as fast as the API server takes them, by a client that costs next to nothing."""
    pool_manager = server.api.rest_client.pool_manager
    headers = {
        "Authorization": server.api.configuration.auth_settings()["BearerToken"]["value"],
        "Content-Type": "application/json",
    }

    def write(manifest: Manifest) -> None:
        url = server.url + object_path(manifest).rpartition("/")[0]
        answer = pool_manager.request("POST", url, body=json.dumps(manifest), headers=headers)
        if answer.status != HTTPStatus.CREATED:
            raise RuntimeError(answer.data.decode())

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(write, manifests))


def make_ready(server: ControlPlane) -> None:
    """Say of all Deployments that their pods are ready, as the cluster's controllers and kubelets would."""
    found = api.send(server.api, "GET", "/apis/apps/v1/namespaces/default/deployments")["items"]

    def write(deployment: dict[str, Any]) -> None:
        replicas = deployment["spec"]["replicas"]
        counts = dict.fromkeys(("replicas", "readyReplicas", "availableReplicas", "updatedReplicas"), replicas)
        deployment = {"apiVersion": "apps/v1", "kind": "Deployment", **deployment}
        api.patch(server.api, deployment, {"status": counts}, part="status")

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(write, found))


def touch(server: ControlPlane, manifests: Iterable[Manifest]) -> None:
    """Have every service seen again, with nothing to do: somebody writes an annotation that means nothing."""
    change = {"metadata": {"annotations": {"example.com/touched": "1"}}}
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda manifest: api.patch(server.api, manifest, change), manifests))


def wait(condition: Any, what: str) -> None:  # noqa: ANN401 - a function
    """Wait until it holds, looking seldom, since looking costs, too."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"never: {what}")
        time.sleep(2)


def has_all(log: Path, contender: Contender, services: int) -> bool:
    """Whether each service has all its children."""
    return len(audit.since_created(audit.read(log), USER, contender.children)) == services


def is_quiet(log: Path) -> bool:
    """Whether the operator has asked for nothing for two seconds."""
    last = max((one.ended for one in audit.read(log) if one.user == USER and one.verb != "watch"), default=0.0)
    return time.time() - last > 2


def usage(pid: int) -> Usage:
    """What a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = Path(f"/proc/{pid}/status").read_text()
    resident = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))
    return Usage((int(fields[11]) + int(fields[12])) / _TICKS, int(resident))


def show(result: Result) -> None:
    """Print a run."""
    print(f"  until all children were written   {result.per_second:8.1f} services/s")
    print(f"  create to children, P50 and P99   {result.p50:8.2f} s {result.p99:8.2f} s")
    print(f"  operator's CPU per service        {result.cpu_ms_per_service:8.1f} ms")
    print(f"  resident memory per service       {result.kib_per_service:8.1f} KiB of {result.resident_mib:.0f} MiB")
    print(f"  CPU at rest                       {result.cpu_at_rest:8.1f} thousandths of a core")
    print(f"  requests in a no-op resync        {result.resync_requests:8}")
    print(f"  requests per service              {sum(result.requests.values()):8.2f}")
    for what, count in result.requests.items():
        print(f"    {what:40}{count:8.2f}")


if __name__ == "__main__":
    main()
