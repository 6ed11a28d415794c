"""The service whose rollbacks are measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.cluster import Cluster, installation, object_store
from tests.cluster.inference_service import InferenceServiceHandle

NAMESPACE = "benchmark-rollback"
SERVICE = "digits"
STABLE = "good"
INTERVAL_SECONDS = 8
"""Four scrapes of the test cluster's Prometheus."""


@contextmanager
def prepared(cluster: Cluster) -> Iterator[InferenceServiceHandle]:
    """The service, not yet applied, in a namespace of its own that goes at the end of the block."""
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=120s")
    cluster.kubectl("apply", "--server-side", "-f", "-", input=installation.restricted_namespace(NAMESPACE))
    object_store.grant_access(cluster, NAMESPACE)
    try:
        yield InferenceServiceHandle(cluster, NAMESPACE, SERVICE)
    finally:
        cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def manifest(version: str) -> dict[str, Any]:
    """The service at a version, with two pods, of which the new version gets half of the requests at once."""
    return {
        "apiVersion": "serinus.dev/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": SERVICE},
        "spec": {
            "model": {
                "uri": f"s3://models/rollback/{version}/model.onnx",
                "version": version,
                "credentials": {"secretName": object_store.CREDENTIALS},
            },
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}},
            "autoscaling": {"minReplicas": 2},
            "canary": {
                "steps": [{"weightPercent": 50, "duration": "1m"}],
                "analysis": {"interval": f"{INTERVAL_SECONDS}s", "errors": {"threshold": "1%"}, "minRequests": 100},
                "deadline": "10m",
            },
        },
    }
