"""Steady traffic to a service, from a pod in the cluster, and what became of each request."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster.cluster import Cluster

SCRIPT = Path(__file__).parent / "open_loop.py"
IMAGE = "localhost/serinus-server:dev"
"""An image that is in the cluster anyway and has a Python."""

CONNECTIONS = 16
START_SECONDS = 60
MAXIMUM_SECONDS = 1200


@dataclass(frozen=True)
class Exchange:
    """A request's body, and what the first element of the reply's first output should be; None: anything."""

    body: str
    label: int | str | None = None


@dataclass(frozen=True)
class Gateway:
    """Where to connect to, and what host to ask for, to reach a service."""

    address: str
    host: str


@dataclass(frozen=True)
class VersionTally:
    """The replies of one model version since the traffic began; latencies are of the last 10 s, times Unix seconds."""

    status: Mapping[int, int] = field(default_factory=dict)
    right: int = 0
    p50_ms: float | None = None
    p95_ms: float | None = None
    first_failure: float | None = None
    last_reply: float | None = None

    @property
    def replies(self) -> int:
        """All replies, good and bad."""
        return sum(self.status.values())

    @property
    def succeeded(self) -> int:
        """Replies of status 200."""
        return self.status.get(200, 0)

    @property
    def failed(self) -> int:
        """Replies of any other status."""
        return self.replies - self.succeeded

    @property
    def accuracy(self) -> float | None:
        """The share of right answers among the replies that succeeded."""
        return self.right / self.succeeded if self.succeeded else None


@dataclass(frozen=True)
class Totals:
    """All since the traffic began. `lost` requests had no reply; `troubles` says how the first of them failed."""

    sent: int = 0
    lost: int = 0
    troubles: Sequence[str] = ()
    versions: Mapping[str, VersionTally] = field(default_factory=dict)
    final: bool = False

    def of(self, version: str) -> VersionTally:
        """The tally of a version, all 0 if it has not answered yet."""
        return self.versions.get(version, VersionTally())


class Traffic:
    """A pod that sends `exchanges` in turn, `rate` a second, until it is stopped."""

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        service: str,
        rate: float,
        via: Gateway | None = None,
        authorities: str | None = None,
    ) -> None:
        """With `authorities`, in PEM, it speaks TLS to the service, and takes certificates of these alone."""
        self._cluster = cluster
        self._namespace = namespace
        self._service = service
        self._rate = rate
        own = f"{service}.{namespace}.svc"
        self._way = via or Gateway(address=own if authorities is None else f"{own}:443", host=own)
        self._authorities = authorities
        self._name = f"traffic-{service}"
        self.totals = Totals()
        self._said = ""

    def start(self, exchanges: Sequence[Exchange]) -> None:
        """Create the pod and return once it sends."""
        self._cluster.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(self._script(exchanges)))
        self._cluster.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(self._pod()))
        wait = ("wait", "-n", self._namespace, f"pod/{self._name}", "--for=condition=Ready")
        self._cluster.kubectl(*wait, f"--timeout={START_SECONDS}s")
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        deadline = time.monotonic() + START_SECONDS
        while not self.totals.sent:
            if time.monotonic() > deadline:
                raise AssertionError(f"the pod {self._name} sends nothing")
            time.sleep(0.1)

    def stop(self) -> Totals:
        """Send no more, wait for the replies that are due, and return the final counts."""
        self._cluster.kubectl("delete", "pod", "-n", self._namespace, self._name, "--wait=false", "--ignore-not-found")
        self._reader.join(START_SECONDS)
        self._cluster.kubectl("wait", "-n", self._namespace, f"pod/{self._name}", "--for=delete", "--timeout=60s")
        if not self.totals.final:
            raise AssertionError(f"the pod {self._name} ended without its final counts; it said: {self._said}")
        return self.totals

    def _read(self) -> None:
        program = str(self._cluster.provider.tools / "kubectl")
        command = [program, "logs", "-f", "-n", self._namespace, self._name]
        environment = {**os.environ, **self._cluster.environment}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                # Among the counts may be what Python itself says on standard error.
                if line.startswith("{"):
                    self.totals = _totals(line)
                else:
                    self._said += line

    def _script(self, exchanges: Sequence[Exchange]) -> dict[str, Any]:
        content = [{"body": exchange.body, "label": exchange.label} for exchange in exchanges]
        files = {"open_loop.py": SCRIPT.read_text(), "exchanges.json": json.dumps(content)}
        if self._authorities is not None:
            files["authorities.pem"] = self._authorities
        metadata = {"name": self._name, "namespace": self._namespace}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": files}

    def _pod(self) -> dict[str, Any]:
        command = ["/opt/serinus/bin/python", "/traffic/open_loop.py", "/traffic/exchanges.json"]
        command += [self._way.address, self._way.host]
        command += [f"/v2/models/{self._service}/infer", str(self._rate), str(MAXIMUM_SECONDS), str(CONNECTIONS)]
        if self._authorities is not None:
            command.append("/traffic/authorities.pem")
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": {
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "restartPolicy": "Never",
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": 65532,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [
                    {
                        "name": "traffic",
                        "image": IMAGE,
                        "imagePullPolicy": "IfNotPresent",
                        "command": command,
                        # Without a share of its own it gets no processor on a busy node, and sends nothing.
                        "resources": {"requests": {"cpu": "250m", "memory": "64Mi"}},
                        "volumeMounts": [{"name": "traffic", "mountPath": "/traffic"}],
                        "securityContext": {
                            "allowPrivilegeEscalation": False,
                            "readOnlyRootFilesystem": True,
                            "capabilities": {"drop": ["ALL"]},
                        },
                    }
                ],
                "volumes": [{"name": "traffic", "configMap": {"name": self._name}}],
            },
        }


@contextmanager
def flowing(
    cluster: Cluster,
    namespace: str,
    service: str,
    exchanges: Sequence[Exchange],
    rate: float,
    via: Gateway | None = None,
    authorities: str | None = None,
) -> Iterator[Traffic]:
    """Traffic from the beginning to the end of the block, or until it is stopped in it."""
    traffic = Traffic(cluster, namespace, service, rate, via, authorities)
    traffic.start(exchanges)
    try:
        yield traffic
    finally:
        if not traffic.totals.final:
            traffic.stop()


def _totals(line: str) -> Totals:
    content = json.loads(line)
    versions = {
        version: VersionTally(
            {int(code): count for code, count in tally["status"].items()},
            tally["right"],
            tally["p50_ms"],
            tally["p95_ms"],
            tally["first_failure"],
            tally["last_reply"],
        )
        for version, tally in content["versions"].items()
    }
    return Totals(content["sent"], content["lost"], content["troubles"], versions, content["final"])
