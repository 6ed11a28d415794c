"""The Kubernetes cluster that the demo and the end-to-end tests run on; see README.md here."""

from tests.cluster.cluster import Cluster, ensure
from tests.cluster.errors import ClusterError

__all__ = ["Cluster", "ClusterError", "ensure"]
