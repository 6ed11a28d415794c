"""The InferenceServices that the end-to-end tests apply: the digits service, judged in seconds instead of minutes."""

from typing import Any

from tests.cluster.object_store import CREDENTIALS
from tests.cluster.traffic import IMAGE

SERVICE = "digits"

Manifest = dict[str, Any]


def digits(version: str, *, replicas: int = 2, model: Manifest | None = None, **spec: Any) -> Manifest:  # noqa: ANN401 - parts of a spec
    """The service at a version. `model` is merged into spec.model; `spec` replaces other parts of the spec."""
    return {
        "apiVersion": "serinus.dev/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": SERVICE},
        "spec": {
            "model": {
                "uri": f"s3://models/digits/{version}/model.onnx",
                "version": version,
                "credentials": {"secretName": CREDENTIALS},
                **(model or {}),
            },
            "resources": {
                "requests": {"cpu": "100m", "memory": "128Mi"},
                "limits": {"cpu": "1", "memory": "256Mi"},
            },
            "autoscaling": {"minReplicas": replicas},
            "canary": canary(),
            **spec,
        },
    }


def canary(*weights: int, seconds: int = 10) -> Manifest:
    """A policy with a step for each weight (50% alone if none is given), looked at as often as the scrapes allow."""
    return {
        "steps": [{"weightPercent": weight, "duration": f"{seconds}s"} for weight in weights or (50,)],
        "analysis": {
            "interval": "8s",
            "latency": [{"percentile": 95, "threshold": "100ms"}],
            "errors": {"threshold": "1%"},
            "minRequests": 50,
        },
        "deadline": "10m",
    }


def restricted_pod(container: str, **more: Any) -> Manifest:  # noqa: ANN401 - parts of a container
    """The spec of a pod of one container, from an image that is there, as the test namespaces allow it."""
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": container, "image": IMAGE, "securityContext": security, **more}],
    }
