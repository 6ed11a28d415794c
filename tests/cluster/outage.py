"""A part of the platform that is gone for a while."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster.cluster import Cluster


@contextmanager
def outage(cluster: Cluster, namespace: str, deployment: str) -> Iterator[None]:
    """The Deployment has no pod until the block ends; then it has as many as before, and they are ready."""
    target = ("-n", namespace, f"deployment/{deployment}")
    spec = json.loads(cluster.kubectl("get", *target, "-o", "json"))["spec"]
    selector = ",".join(f"{key}={value}" for key, value in spec["selector"]["matchLabels"].items())
    cluster.kubectl("scale", *target, "--replicas=0")
    try:
        cluster.kubectl("wait", "-n", namespace, "pod", "-l", selector, "--for=delete", "--timeout=90s")
        yield
    finally:
        cluster.kubectl("scale", *target, f"--replicas={spec['replicas']}")
        cluster.kubectl("rollout", "status", *target, "--timeout=120s")
