"""prometheus-adapter in the test cluster, on demand: autoscalers then go by what Prometheus knows of pods, too."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import binaries, node_images
from tests.cluster.cluster import Cluster
from tests.cluster.progress import step

TAG = "localhost/serinus-test-prometheus-adapter:dev"
MANIFEST = Path(__file__).parent / "addons" / "custom-metrics.yaml"
READY_SECONDS = 120


@contextmanager
def installed(cluster: Cluster) -> Iterator[None]:
    """The adapter, ready, until the context ends."""
    program = binaries.PROMETHEUS_ADAPTER
    cluster.load_image(node_images.of_programs(TAG, (program,), f"/{program.name}"))
    manifest = MANIFEST.read_text()
    with step("installing prometheus-adapter"):
        cluster.kubectl("apply", "--server-side", "-f", "-", input=manifest)
    try:
        for started in ("deployment/prometheus-adapter", "apiservice/v1beta2.custom.metrics.k8s.io"):
            timeout = f"--timeout={READY_SECONDS}s"
            cluster.kubectl("wait", "-n", "monitoring", started, "--for=condition=Available", timeout)
        yield
    finally:
        cluster.kubectl("delete", "--wait=false", "-f", "-", input=manifest)
