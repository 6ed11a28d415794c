"""A cluster that the user names by kubeconfig or context."""

import hashlib
import os
import shlex
import shutil
from pathlib import Path

from tests.cluster import binaries, cache, commands, node_images
from tests.cluster.errors import ClusterError
from tests.cluster.progress import step

KUBECONFIG = "SERINUS_TEST_KUBECONFIG"
CONTEXT = "SERINUS_TEST_CONTEXT"
LOAD_COMMAND = "SERINUS_TEST_LOAD_COMMAND"


def named() -> bool:
    """Return whether the user names a cluster."""
    return bool(os.environ.get(KUBECONFIG) or os.environ.get(CONTEXT))


class ExistingProvider:
    """The cluster of one context of one kubeconfig. It stays when the tests are done with it."""

    addons = ("prometheus.yaml", "object-store.yaml")

    def __init__(self, source: Path, context: str | None, load_command: str | None) -> None:
        name = hashlib.sha256(f"{source}\n{context}".encode()).hexdigest()[:8]
        self.variables: dict[str, str] = {}
        self.source = source
        self.context = context
        self.load_command = load_command
        self.directory = cache.directory() / "clusters" / f"existing-{name}"
        self.kubeconfig = self.directory / "kubeconfig"
        self.tools = self.directory / "bin"

    @classmethod
    def from_environment(cls) -> "ExistingProvider":
        """Return the cluster that SERINUS_TEST_KUBECONFIG and SERINUS_TEST_CONTEXT name."""
        file = os.environ.get(KUBECONFIG) or os.environ.get("KUBECONFIG") or "~/.kube/config"
        return cls(Path(file).expanduser(), os.environ.get(CONTEXT), os.environ.get(LOAD_COMMAND))

    def running(self) -> bool:
        """Return whether the cluster was prepared before and answers."""
        if not self.kubeconfig.exists():
            return False
        try:
            self._kubectl("get", "--raw", "/readyz")
        except ClusterError:
            return False
        return True

    def up(self) -> None:
        """Check that the cluster answers and has CPU metrics, and give it the addons' image.

        Raises ClusterError when it has not.
        """
        binaries.client_tools(self.tools)
        self.directory.chmod(0o700)
        select = ["--context", self.context] if self.context else []
        view = ["config", "view", "--raw", "--minify", "--flatten", *select]
        self.kubeconfig.write_text(commands.run([self.tools / "kubectl", "--kubeconfig", self.source, *view]))
        try:
            self._kubectl("get", "apiservice", "v1beta1.metrics.k8s.io")
        except ClusterError as error:
            raise ClusterError(f"the named cluster does not answer or has no metrics-server: {error}") from error
        self.load(node_images.addons())
        (self.directory / "addons-ready").unlink(missing_ok=True)

    def load(self, archive: Path) -> None:
        """Run the user's command with the archive as its last argument.

        Raises ClusterError when there is no such command.
        """
        if not self.load_command:
            raise ClusterError(
                f"{LOAD_COMMAND} must say how an image archive gets to the named cluster's nodes, for example "
                "'minikube image load' or 'k3s ctr images import'; the archive's path is added to it"
            )
        with step(f"loading {archive.name} with {self.load_command!r}"):
            commands.run([*shlex.split(self.load_command), archive])

    def down(self) -> None:
        """Delete the addons' namespaces; the cluster stays."""
        if self.kubeconfig.exists():
            with step("removing the test addons from the named cluster"):
                self._kubectl("delete", "namespace", "monitoring", "object-store", "--ignore-not-found")
            shutil.rmtree(self.directory)

    def _kubectl(self, *arguments: str) -> str:
        return commands.run([self.tools / "kubectl", "--kubeconfig", self.kubeconfig, *arguments])
