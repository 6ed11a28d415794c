"""Serinus installed into a test cluster as its users install it: images and the Helm chart."""

from pathlib import Path

from tests.cluster import archives, images
from tests.cluster.cluster import Cluster
from tests.cluster.progress import step

CHART = Path(__file__).parents[2] / "charts" / "serinus"
NAMESPACE = "serinus-system"
RELEASE = "serinus"
SCRAPE_INTERVAL = "2s"
"""That of tests/cluster/addons/prometheus.yaml."""


def install(cluster: Cluster) -> None:
    """Build the images if need be, load them, and install or upgrade the chart; return when the operator is ready."""
    built = images.build()
    for archive in built:
        cluster.load_image(archive)
    _restricted_namespace(cluster)
    operator_digest = next(
        archives.contents(archive).digest for archive in built if archive.name.startswith("serinus-operator")
    )
    values = {
        "image.repository": "localhost/serinus-operator",
        "image.tag": "dev",
        "server.image.repository": "localhost/serinus-server",
        "server.image.tag": "dev",
        "prometheus.scrapeInterval": SCRAPE_INTERVAL,
        # The tag stays the same when the image changes, and the pod has to be made anew all the same.
        "podAnnotations.image-digest": operator_digest,
    }
    settings = [part for name, value in values.items() for part in ("--set-string", f"{name}={value}")]
    with step(f"helm upgrade --install {RELEASE} charts/serinus"):
        cluster.helm(
            "upgrade", "--install", RELEASE, str(CHART), "--namespace", NAMESPACE, "--wait", "--timeout", "2m",
            *settings,
        )  # fmt: skip


def uninstall(cluster: Cluster) -> None:
    """Remove the operator, and the definition of its resources with all of them."""
    cluster.helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found", "--wait")
    cluster.kubectl("delete", "crd", "inferenceservices.serinus.dev", "--ignore-not-found")
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")


def _restricted_namespace(cluster: Cluster) -> None:
    """The operator's namespace, in which nothing with more rights than the strictest standard may run."""
    cluster.kubectl("apply", "--server-side", "-f", "-", input=restricted_namespace(NAMESPACE))


def restricted_namespace(name: str) -> str:
    """The manifest of a namespace that enforces the `restricted` Pod Security Standard."""
    return (
        "apiVersion: v1\nkind: Namespace\n"
        f"metadata: {{name: {name}, labels: {{pod-security.kubernetes.io/enforce: restricted}}}}\n"
    )
