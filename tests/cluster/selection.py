"""Which cluster the tests run on."""

import os
from pathlib import Path

from tests.cluster import existing, host
from tests.cluster.addressing import default_name
from tests.cluster.embedded import EmbeddedProvider
from tests.cluster.kind import KindProvider
from tests.cluster.provider import Provider

NAME = "SERINUS_TEST_CLUSTER"
CHECKOUT = Path(__file__).parents[2]


def choose() -> Provider:
    """Return the cluster that the user names, else kind where Docker runs, else the embedded one."""
    if existing.named():
        return existing.ExistingProvider.from_environment()
    return KindProvider(cluster_name()) if host.docker_runs() else EmbeddedProvider(cluster_name())


def cluster_name() -> str:
    """Return the name of this checkout's own cluster: the one the user gives, or one made of its path."""
    return os.environ.get(NAME) or default_name(CHECKOUT)
