"""What a cluster to test on has to offer, and which one is taken."""

import os
from pathlib import Path
from typing import Protocol

from tests.cluster import host

CONTEXT = "SERINUS_TEST_CONTEXT"
KUBECONFIG = "SERINUS_TEST_KUBECONFIG"
NAME = "SERINUS_TEST_CLUSTER"


class Provider(Protocol):
    """One way to come by a cluster. Addons and tools are put in by `tests.cluster.Cluster`."""

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig that `up` leaves behind."""

    @property
    def tools(self) -> Path:
        """The folder with kubectl and helm that `up` leaves behind."""

    @property
    def addons(self) -> tuple[str, ...]:
        """The manifests of tests/cluster/addons that the cluster lacks."""

    @property
    def variables(self) -> dict[str, str]:
        """Values for the $names in those manifests."""

    def running(self) -> bool:
        """Return whether the cluster is up and was made from the files as they are now."""

    def up(self) -> None:
        """Bring the cluster up, anew if it is already there."""

    def load(self, archive: Path) -> None:
        """Make the images of a docker-archive tar known to the cluster's nodes."""

    def down(self) -> None:
        """Take away what `up` brought."""


def choose() -> Provider:
    """Return the cluster that the user names, else kind where Docker runs, else the embedded one."""
    from tests.cluster.embedded import EmbeddedProvider
    from tests.cluster.existing import ExistingProvider
    from tests.cluster.kind import KindProvider

    if os.environ.get(KUBECONFIG) or os.environ.get(CONTEXT):
        return ExistingProvider.from_environment()
    name = cluster_name()
    return KindProvider(name) if host.docker_runs() else EmbeddedProvider(name)


def cluster_name() -> str:
    """Return the name of this checkout's cluster, or the one the user gives."""
    from tests.cluster.addressing import default_name

    return os.environ.get(NAME) or default_name(Path(__file__).parents[2])
