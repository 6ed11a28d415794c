"""`python -m benchmarks.operator`: create many services at once, make them ready, let them rest, and touch them."""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.operator import audit
from serinus.api import crd
from serinus.api.v1beta1 import GROUP, PLURAL
from tests.cluster.control_plane import ControlPlane, control_plane
from tests.cluster.operator_process import SETTINGS, OperatorProcess, operator_process
from tests.contract import api

USER: Final = "system:serviceaccount:default:operator"
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
    arguments = parser.parse_args()
    print(f"load before: {os.getloadavg()[0]:.2f}; {os.cpu_count()} cores")
    for services in arguments.services:
        show(run(services, arguments.settings))


def run(services: int, settings: dict[str, Any]) -> Result:
    """Measure with so many services, on a control plane of its own."""
    with control_plane() as server, tempfile.TemporaryDirectory() as directory:
        prepare(server)
        kubeconfig = server.kubeconfig_of("default", "operator")
        with operator_process(kubeconfig, Path(directory), SETTINGS | settings) as operator:
            operator.wait_until_ready()
            return measure(server, operator, services)


def prepare(server: ControlPlane) -> None:
    """Define the resource, and give the operator a name by which its requests are known."""
    server.kubectl("apply", "-f", str(crd.GENERATED_FILES[0]))
    server.kubectl("wait", "--for=condition=Established", "--timeout=30s", f"crd/{PLURAL}.{GROUP}")
    server.kubectl("create", "serviceaccount", "operator")
    server.kubectl("create", "clusterrolebinding", "operator", "--clusterrole=cluster-admin", f"--user={USER}")


def measure(server: ControlPlane, operator: OperatorProcess, services: int) -> Result:
    """Create, make ready, rest, and touch."""
    log = server.directory / "audit.log"
    names = [f"s{number:05}" for number in range(services)]
    time.sleep(2)
    idle = usage(operator)
    create(server, names)
    wait(lambda: len(audit.since_created(audit.read(log), USER)) == services and is_quiet(log), "children are made")
    written = usage(operator)
    make_ready(server)
    wait(lambda: ready(server) == services, "all services are ready")
    settled = audit.read(log)
    before = usage(operator)
    time.sleep(REST_SECONDS)
    after = usage(operator)
    asked = audit.read(log)
    touch(server, names)
    time.sleep(5)
    resync = audit.by_verb(audit.read(log)[len(asked) :], USER)
    latencies = audit.since_created(settled, USER).values()
    return Result(
        services=services,
        per_second=audit.throughput(settled, USER),
        p50=audit.percentile(latencies, 50),
        p99=audit.percentile(latencies, 99),
        requests={what: count / services for what, count in sorted(audit.by_verb(settled, USER).items())},
        resync_requests=resync.total(),
        kib_per_service=(after.resident_kib - idle.resident_kib) / services,
        resident_mib=after.resident_kib / 1024,
        cpu_ms_per_service=(written.cpu_seconds - idle.cpu_seconds) * 1000 / services,
        cpu_at_rest=(after.cpu_seconds - before.cpu_seconds) * 1000 / REST_SECONDS,
    )


def create(server: ControlPlane, names: Iterable[str]) -> None:
    """Create services, each with an autoscaler, as fast as the API server takes them."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda name: api.create(server.api, manifest(name)), names))


def manifest(name: str) -> dict[str, Any]:
    """An InferenceService with an autoscaler."""
    return {
        "apiVersion": "serinus.dev/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "model": {"uri": f"s3://models/{name}/1/model.onnx", "version": "1"},
            "autoscaling": {"minReplicas": 1, "maxReplicas": 3},
        },
    }


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


def ready(server: ControlPlane) -> int:
    """How many services are ready."""
    found = api.send(server.api, "GET", f"/apis/{GROUP}/v1beta1/namespaces/default/{PLURAL}")["items"]
    conditions = (one.get("status", {}).get("conditions", ()) for one in found)
    return sum(any((c["type"], c["status"]) == ("Ready", "True") for c in of) for of in conditions)


def touch(server: ControlPlane, names: Iterable[str]) -> None:
    """Have every service seen again, with nothing to do: somebody writes an annotation."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda name: annotate(server, name), names))


def annotate(server: ControlPlane, name: str) -> None:
    """Write an annotation that means nothing to the operator."""
    api.patch(server.api, manifest(name), {"metadata": {"annotations": {"example.com/touched": "1"}}})


def wait(condition: Any, what: str) -> None:  # noqa: ANN401 - a function
    """Wait until it holds, looking seldom, since looking costs, too."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"never: {what}")
        time.sleep(2)


def is_quiet(log: Path) -> bool:
    """Whether the operator has written nothing for two seconds."""
    last = max((one.ended for one in audit.read(log) if one.user == USER and one.verb != "watch"), default=0.0)
    return time.time() - last > 2


def usage(operator: OperatorProcess) -> Usage:
    """What the operator has used so far."""
    fields = Path(f"/proc/{operator.pid}/stat").read_text().rpartition(")")[2].split()
    status = Path(f"/proc/{operator.pid}/status").read_text()
    resident = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))
    return Usage((int(fields[11]) + int(fields[12])) / _TICKS, int(resident))


def show(result: Result) -> None:
    """Print a run."""
    print(f"\n{result.services} services")
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
