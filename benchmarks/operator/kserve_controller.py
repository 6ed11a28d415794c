"""KServe's controller in Standard mode, which makes a Deployment, a Service and an HPA for each service.

What a cluster with KServe has beside them is left out in its favour: its webhooks, and an Ingress or an HTTPRoute of
each service.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import yaml

from benchmarks.operator.contender import Contender, Manifest, let_in
from tests.cluster import binaries, commands
from tests.cluster.child import child
from tests.cluster.control_plane import ControlPlane
from tests.cluster.errors import ClusterError
from tests.cluster.operator_process import free_port

_NAMESPACE: Final = "kserve"
_RUNTIME: Final = "kserve-tritonserver"
_READY_SECONDS: Final = 60.0


def _prepare(server: ControlPlane) -> None:
    config = _module() / "config"
    server.kubectl("create", "namespace", _NAMESPACE)
    definitions = (config / "crd" / "full").rglob("serving.kserve.io_*.yaml")
    for path in definitions:
        server.kubectl("apply", "--server-side", "-f", str(path))
    # kubectl cannot wait for a condition of a definition that has no list of conditions yet.
    time.sleep(3)
    server.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
    server.kubectl("apply", "-f", "-", input=json.dumps(_settings(config)))
    server.kubectl("apply", "-f", str(config / "runtimes" / f"{_RUNTIME}.yaml"))


def _module() -> Path:
    found = commands.run(
        ["go", "list", "-m", "-f", "{{.Dir}}", "github.com/kserve/kserve"], cwd=binaries.HERE / binaries.KSERVE.name
    )
    return Path(found.strip())


def _settings(config: Path) -> Manifest:
    """Its own settings, in Standard mode and without an ingress."""
    settings: Manifest = yaml.safe_load((config / "configmap" / "inferenceservice.yaml").read_text())
    data = settings["data"]
    data["deploy"] = json.dumps({"defaultDeploymentMode": "Standard"})
    data["ingress"] = json.dumps(
        json.loads(data["ingress"]) | {"disableIngressCreation": True, "disableIstioVirtualHost": True}
    )
    return settings


def _manifest(name: str) -> Manifest:
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": name,
            "namespace": "default",
            "annotations": {
                "serving.kserve.io/deploymentMode": "Standard",
                "serving.kserve.io/autoscalerClass": "hpa",
            },
        },
        "spec": {
            "predictor": {
                "minReplicas": 1,
                "maxReplicas": 3,
                "model": {
                    "modelFormat": {"name": "onnx"},
                    "runtime": _RUNTIME,
                    "storageUri": f"s3://models/{name}/1",
                },
            }
        },
    }


@contextmanager
def _process(server: ControlPlane, directory: Path) -> Iterator[int]:
    certificates = directory / "k8s-webhook-server" / "serving-certs"
    certificates.mkdir(parents=True)
    # It opens the port of its webhooks, which nobody calls here.
    shutil.copy(server.directory / "apiserver.crt", certificates / "tls.crt")
    shutil.copy(server.directory / "apiserver.key", certificates / "tls.key")
    probes = free_port()
    command = [
        str(binaries.built(binaries.KSERVE)),
        f"--webhook-port={free_port()}",
        "--metrics-addr=0",
        f"--health-probe-addr=127.0.0.1:{probes}",
    ]
    environment = os.environ | {
        "KUBECONFIG": str(let_in(server)),
        "POD_NAMESPACE": _NAMESPACE,
        "TMPDIR": str(directory),
    }
    log = directory / "controller.log"
    with child(command, log, environment=environment) as process:
        _wait_until_ready(process, log)
        yield process.pid


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until its workers have begun, which they do once their caches are filled."""
    deadline = time.monotonic() + _READY_SECONDS
    while "Starting workers" not in log.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            raise ClusterError(f"KServe's controller did not become ready:\n{log.read_text()[-3000:]}")
        time.sleep(0.1)
    time.sleep(2)


KSERVE: Final = Contender(
    name="KServe",
    children=frozenset({"deployments", "services", "horizontalpodautoscalers"}),
    manifest=_manifest,
    prepare=_prepare,
    process=_process,
)
