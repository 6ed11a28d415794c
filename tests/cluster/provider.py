"""What a cluster to test on has to offer."""

from pathlib import Path
from typing import Protocol


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
