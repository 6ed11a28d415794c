"""`serinus run`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.operator.contender import Contender, Manifest, let_in
from serinus.api import crd
from serinus.api.v1beta1 import GROUP, PLURAL
from tests.cluster.control_plane import ControlPlane
from tests.cluster.operator_process import SETTINGS, operator_process


def serinus(settings: dict[str, Any]) -> Contender:
    """The operator with these settings beside the least that it needs."""

    @contextmanager
    def process(server: ControlPlane, directory: Path) -> Iterator[int]:
        with operator_process(let_in(server), directory, SETTINGS | settings) as operator:
            operator.wait_until_ready()
            yield operator.pid

    return Contender(
        name="Serinus",
        children=frozenset(
            {
                "configmaps", "controllerrevisions", "deployments", "horizontalpodautoscalers", "poddisruptionbudgets",
                "services",
            }
        ),
        manifest=_manifest,
        prepare=_prepare,
        process=process,
    )  # fmt: skip


def _prepare(server: ControlPlane) -> None:
    server.kubectl("apply", "-f", str(crd.GENERATED_FILES[0]))
    server.kubectl("wait", "--for=condition=Established", "--timeout=30s", f"crd/{PLURAL}.{GROUP}")


def _manifest(name: str) -> Manifest:
    return {
        "apiVersion": "serinus.dev/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "model": {"uri": f"s3://models/{name}/1/model.onnx", "version": "1"},
            "autoscaling": {"minReplicas": 1, "maxReplicas": 3},
        },
    }
