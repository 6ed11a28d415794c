"""A cluster of kind, in Docker, through pytest-kind."""

import shutil
from pathlib import Path

import pytest_kind.cluster
from pytest_kind import KindCluster

from tests.cluster import binaries, cache, commands, node_images
from tests.cluster.errors import ClusterError
from tests.cluster.progress import step

KIND_VERSION = "v0.31.0"
NODE_IMAGE = "kindest/node:v1.35.0@sha256:452d707d4862f52530247495d180205e029056831160e22870e37e3f6c1ac31f"


class KindProvider:
    """The kind cluster `name`."""

    addons = ("metrics-server.yaml", "prometheus.yaml", "object-store.yaml")

    def __init__(self, name: str) -> None:
        self.name = name
        self.variables: dict[str, str] = {}
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

    def _cluster(self) -> KindCluster:
        # Which kind it fetches, pytest-kind asks this variable of its own.
        pytest_kind.cluster.KIND_VERSION = KIND_VERSION
        self.directory.mkdir(parents=True, exist_ok=True)
        return KindCluster(
            self.name,
            kubeconfig=self.kubeconfig,
            image=NODE_IMAGE,
            kind_path=self.directory / f"kind-{KIND_VERSION}",
            kubectl_path=self.tools / "kubectl",
        )
