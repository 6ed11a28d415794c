"""Serinus installed into a test cluster as its users install it: images and the Helm chart."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.cluster import archives, images
from tests.cluster.cluster import Cluster
from tests.cluster.errors import ClusterError
from tests.cluster.progress import step

CHART = Path(__file__).parents[2] / "charts" / "serinus"
NAMESPACE = "serinus-system"
RELEASE = "serinus"
SETTINGS: Final[Mapping[str, str | bool]] = {
    "image.repository": "localhost/serinus-operator",
    "image.tag": "dev",
    "server.image.repository": "localhost/serinus-server",
    "server.image.tag": "dev",
    # As tests/cluster/addons/prometheus.yaml has it.
    "prometheus.scrapeInterval": "2s",
    "tokenReview.enabled": True,
}


def install(cluster: Cluster) -> None:
    """Build the images if need be, load them, and install or upgrade the chart; return when the operator is ready."""
    built = images.build()
    for archive in built:
        cluster.load_image(archive)
    _restricted_namespace(cluster)
    _upgrade(cluster, {**SETTINGS, "podAnnotations.image-digest": _operator_digest(built)})


@contextmanager
def upgraded(cluster: Cluster, settings: Mapping[str, str | bool]) -> Iterator[None]:
    """The release with some settings changed, until the block ends."""
    before = cluster.helm("get", "values", RELEASE, "--namespace", NAMESPACE, "--output", "json")
    values = json.loads(before)
    digest = values["podAnnotations"]["image-digest"]
    installed = {**SETTINGS, "podAnnotations.image-digest": digest}
    _upgrade(cluster, {**installed, **settings})
    try:
        yield
    finally:
        _upgrade(cluster, installed)


def uninstall(cluster: Cluster) -> None:
    """Remove the operator, and the definition of its resources with all of them."""
    cluster.helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found", "--wait")
    cluster.kubectl("delete", "crd", "inferenceservices.serinus.dev", "--ignore-not-found")
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")


def _upgrade(cluster: Cluster, settings: Mapping[str, str | bool]) -> None:
    flags = [part for name, value in settings.items() for part in ("--set-json", f"{name}={json.dumps(value)}")]
    command = ("upgrade", "--install", RELEASE, str(CHART), "--namespace", NAMESPACE, "--wait", "--timeout", "2m")
    with step(f"helm {command[0]} --install {RELEASE} charts/serinus"):
        try:
            cluster.helm(*command, *flags)
        except ClusterError as error:
            raise ClusterError(f"{error}\nThe operator's last words:\n{_last_words(cluster)}") from error


def _last_words(cluster: Cluster) -> str:
    try:
        return cluster.kubectl("logs", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=operator", "--tail=20")
    except ClusterError as error:
        return str(error)


def _operator_digest(built: Iterable[Path]) -> str:
    """What tells this image of the operator from the next, whose tag is the same."""
    archive = next(one for one in built if one.name.startswith("serinus-operator"))
    return archives.contents(archive).digest


def _restricted_namespace(cluster: Cluster) -> None:
    """The operator's namespace, in which nothing with more rights than the strictest standard may run."""
    cluster.kubectl("apply", "--server-side", "-f", "-", input=restricted_namespace(NAMESPACE))


def restricted_namespace(name: str) -> str:
    """The manifest of a namespace that enforces the `restricted` Pod Security Standard."""
    return (
        "apiVersion: v1\nkind: Namespace\n"
        f"metadata: {{name: {name}, labels: {{pod-security.kubernetes.io/enforce: restricted}}}}\n"
    )
