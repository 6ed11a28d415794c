"""The running test cluster, as tests, the demo and the command line use it."""

import os
import re
import secrets
import string
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import archives, cache, commands
from tests.cluster.errors import ClusterError
from tests.cluster.progress import step
from tests.cluster.provider import Provider
from tests.cluster.selection import choose, cluster_name

MANIFESTS = Path(__file__).parent / "addons"
READY_SECONDS = 120
BUCKET = "models"
REGION = "us-east-1"
STORE_URL = "http://object-store.object-store.svc:9000"


class Cluster:
    """A cluster with DNS, metrics-server, Prometheus and an object store in it.

    `kubectl` and `helm` return what the program prints and raise ClusterError when it fails.
    """

    def __init__(self, provider: Provider) -> None:
        self.provider = provider

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of a cluster administrator."""
        return self.provider.kubeconfig

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which kubectl, helm and other clients find this cluster."""
        path = os.pathsep.join([str(self.provider.tools), os.environ.get("PATH", os.defpath)])
        return {"KUBECONFIG": str(self.kubeconfig), "PATH": path}

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002
        """Run kubectl with `input` on its standard input."""
        return self._run("kubectl", *arguments, stdin=input)

    def helm(self, *arguments: str) -> str:
        """Run helm."""
        return self._run("helm", *arguments)

    def load_image(self, archive: Path) -> None:
        """Make the images of a docker-archive tar usable in pods; quick when they already are."""
        archives.contents(archive)
        self.provider.load(archive)

    @contextmanager
    def port_forward(self, namespace: str, service: str, port: int) -> Iterator[str]:
        """Forward a free port of the loopback interface to one pod of a Service; yield the base URL."""
        program = str(self.provider.tools / "kubectl")
        command = [program, "port-forward", "-n", namespace, f"service/{service}", f":{port}"]
        with subprocess.Popen(
            command,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            try:
                assert process.stdout is not None
                assert process.stderr is not None
                found = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
                if found is None:
                    raise ClusterError(f"port-forward to {namespace}/{service}:{port}: {process.stderr.read()}")
                yield f"http://127.0.0.1:{found[1]}"
            finally:
                process.kill()

    def down(self) -> None:
        """Take the cluster away."""
        with cache.locked(cluster_name()):
            self.provider.down()

    def install_addons(self) -> None:
        """Install what the cluster lacks of its addons and wait until all of it is ready, once."""
        done = self.kubeconfig.parent / "addons-ready"
        if done.exists():
            return
        with step("installing " + ", ".join(name.removesuffix(".yaml") for name in self.provider.addons)):
            for name in self.provider.addons:
                manifest = (MANIFESTS / name).read_text()
                self.kubectl("apply", "-f", "-", input=_substitute(manifest, self.provider.variables))
            self._make_credentials()
        with step("waiting for the addons"):
            self._wait_for_addons()
            self._make_bucket()
        done.touch()

    def _run(self, program: str, *arguments: str, stdin: str | None = None) -> str:
        environment = {**os.environ, **self.environment}
        return commands.run([self.provider.tools / program, *arguments], env=environment, stdin=stdin)

    def _make_credentials(self) -> None:
        """Give the object store random credentials, unless it has some."""
        if self.kubectl("get", "secret", "-n", "object-store", "root-credentials", "--ignore-not-found"):
            return
        values = {
            "AWS_ACCESS_KEY_ID": secrets.token_hex(10),
            "AWS_SECRET_ACCESS_KEY": secrets.token_hex(20),
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": STORE_URL,
            "AWS_ALLOW_HTTP": "true",
        }
        # On standard input: what stands on a command line, others can read.
        lines = "\n".join(f"  {name}: {value!r}" for name, value in values.items())
        self.kubectl(
            "apply", "-f", "-",
            input="apiVersion: v1\nkind: Secret\n"
            f"metadata: {{name: root-credentials, namespace: object-store}}\nstringData:\n{lines}\n",
        )  # fmt: skip

    def _wait_for_addons(self) -> None:
        timeout = f"--timeout={READY_SECONDS}s"
        for namespace in ("kube-system", "monitoring", "object-store"):
            self.kubectl("wait", "-n", namespace, "--for=condition=Available", "deployment", "--all", timeout)
        self.kubectl("wait", "--for=condition=Available", "apiservice", "v1beta1.metrics.k8s.io", timeout)

    def _make_bucket(self) -> None:
        store = ("exec", "-n", "object-store", "deployment/object-store", "--", "/versitygw")
        if BUCKET not in self.kubectl(*store, "admin", "list-buckets").split():
            owner = self.kubectl(
                "get", "secret", "-n", "object-store", "root-credentials",
                "-o", "go-template={{.data.AWS_ACCESS_KEY_ID|base64decode}}",
            )  # fmt: skip
            self.kubectl(*store, "admin", "create-bucket", "--bucket", BUCKET, "--owner", owner)


def ensure() -> Cluster:
    """Return the test cluster, brought up first if it does not run; progress goes to stderr."""
    cluster = Cluster(choose())
    # Several test runs may ask at once: one brings the cluster up, the others wait for it.
    with cache.locked(cluster_name()):
        if not cluster.provider.running():
            cluster.provider.up()
        cluster.install_addons()
    return cluster


def running() -> Cluster:
    """Return the test cluster; raises ClusterError when it does not run."""
    cluster = Cluster(choose())
    if not cluster.provider.running():
        raise ClusterError("the test cluster is not up: `make cluster` brings it up")
    return cluster


def _substitute(manifest: str, variables: dict[str, str]) -> str:
    return string.Template(manifest).substitute(variables) if variables and "$dns" in manifest else manifest
