"""The test cluster's Prometheus, as it fails."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster.cluster import Cluster

_NAMESPACE = "monitoring"
_DEPLOYMENT = "deployment/prometheus"


@contextmanager
def taken_away(cluster: Cluster) -> Iterator[None]:
    """No Prometheus in the cluster until the block ends. The one after it knows nothing of the time before."""
    cluster.kubectl("scale", "-n", _NAMESPACE, _DEPLOYMENT, "--replicas=0")
    try:
        cluster.kubectl("wait", "-n", _NAMESPACE, "pod", "-l", "app=prometheus", "--for=delete", "--timeout=60s")
        yield
    finally:
        cluster.kubectl("scale", "-n", _NAMESPACE, _DEPLOYMENT, "--replicas=1")
        cluster.kubectl("rollout", "status", "-n", _NAMESPACE, _DEPLOYMENT, "--timeout=60s")
