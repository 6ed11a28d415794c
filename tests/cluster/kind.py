"""A cluster of kind, in Docker, through pytest-kind."""

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cluster import binaries, cache, commands
from tests.cluster.errors import ClusterError
from tests.cluster.progress import step

if TYPE_CHECKING:
    from pytest_kind import KindCluster

# kind and the Kubernetes it starts; pytest-kind fetches the program of this version.
KIND_VERSION = "v0.31.0"
NODE_IMAGE = "kindest/node:v1.35.0"


class KindProvider:
    """The kind cluster `name`."""

    addons = ("metrics-server.yaml", "prometheus.yaml", "object-store.yaml")
    variables: dict[str, str] = {}

    def __init__(self, name: str) -> None:
        self.name = name
        self.directory = cache.directory() / "clusters" / f"{name}-kind"
        self.kubeconfig = self.directory / "kubeconfig"
        self.tools = self.directory / "bin"

    def running(self) -> bool:
        """Return whether kind knows the cluster and its API answers."""
        if not (self.tools / "kubectl").exists() or not self.kubeconfig.exists():
            return False
        try:
            commands.run([self.tools / "kubectl", "--kubeconfig", self.kubeconfig, "get", "--raw", "/readyz"])
        except ClusterError:
            return False
        return True

    def up(self) -> None:
        """Create the cluster, unless kind has it, and give it the addons' image."""
        from tests.cluster import node_images

        binaries.client_tools(self.tools)
        with step(f"creating the kind cluster {self.name}"):
            self._cluster().create()
        self.load(node_images.addons())
        (self.directory / "addons-ready").unlink(missing_ok=True)

    def load(self, archive: Path) -> None:
        """Load the archive into the cluster's nodes; kind itself skips what they have."""
        with step(f"loading {archive.name} into kind"):
            commands.run([self._cluster().kind_path, "load", "image-archive", "--name", self.name, archive])

    def down(self) -> None:
        """Delete the cluster."""
        with step(f"deleting the kind cluster {self.name}"):
            cluster = self._cluster()
            cluster.ensure_kind()
            cluster.delete()
        shutil.rmtree(self.directory)

    def _cluster(self) -> "KindCluster":
        # Read by pytest-kind when it is imported.
        os.environ.setdefault("KIND_VERSION", KIND_VERSION)
        from pytest_kind import KindCluster

        self.directory.mkdir(parents=True, exist_ok=True)
        return KindCluster(
            self.name,
            kubeconfig=self.kubeconfig,
            image=NODE_IMAGE,
            kind_path=self.directory / f"kind-{KIND_VERSION}",
            kubectl_path=self.tools / "kubectl",
        )
