"""Envoy Gateway in the test cluster, on demand: the Gateway API with a real Envoy behind it."""

import json
import os
import shutil
import string
import tempfile
from importlib.resources import files
from pathlib import Path

from tests.cluster import archives, base_image, binaries, builders, cache, commands, host
from tests.cluster.cluster import Cluster
from tests.cluster.progress import step

NAMESPACE = "gateway"
GATEWAY = "shared"
"""The Gateway that HTTPRoutes attach to."""

TAG = "localhost/serinus-test-gateway:dev"
RELEASE = "envoy-gateway"
MODULE = "github.com/envoyproxy/gateway"
MANIFEST = Path(__file__).parent / "addons" / "gateway.yaml"
READY_SECONDS = 180

_VALUES = {
    "deployment": {"envoyGateway": {"imagePullPolicy": "IfNotPresent"}},
    "config": {
        "envoyGateway": {
            "provider": {"type": "Kubernetes", "kubernetes": {"shutdownManager": {"image": TAG}}},
            "logging": {"level": {"default": "warn"}},
        }
    },
}


def install(cluster: Cluster) -> None:
    """Install Envoy Gateway and a Gateway for plain HTTP, and wait until it is programmed; quick when it is there."""
    cluster.load_image(_image())
    with step("installing Envoy Gateway"), tempfile.TemporaryDirectory() as work:
        chart = _chart(Path(work))
        values = Path(work) / "settings.json"
        values.write_text(json.dumps(_VALUES))
        cluster.helm(
            "upgrade", "--install", RELEASE, str(chart), "--namespace", NAMESPACE, "--create-namespace",
            "--values", str(values), "--wait", "--timeout", f"{READY_SECONDS}s",
        )  # fmt: skip
        cluster.kubectl("apply", "--server-side", "-f", "-", input=MANIFEST.read_text())
        cluster.kubectl(
            "wait", "-n", NAMESPACE, f"gateway/{GATEWAY}", "--for=condition=Programmed", f"--timeout={READY_SECONDS}s"
        )


def address(cluster: Cluster) -> str:
    """Where the Gateway takes requests, inside the cluster."""
    return cluster.kubectl(
        "get", "gateway", "-n", NAMESPACE, GATEWAY, "-o", "jsonpath={.status.addresses[0].value}"
    ).strip()  # fmt: skip


def _image() -> Path:
    """The archive of an image with Envoy and Envoy Gateway, built unless the cache has it."""
    program = binaries.ENVOY_GATEWAY
    envoy = Path(str(files("envoy"))) / "_bin" / "envoy"
    key = cache.content_key(envoy.parent, [envoy], program.key())
    built = binaries.built(program)

    def build(archive: Path) -> None:
        with tempfile.TemporaryDirectory(dir=archive.parent) as context:
            builder = builders.find()
            base = "debian:bookworm-slim"
            if isinstance(builder, builders.Buildah):
                base = base_image.build(builder, host.architecture())
            shutil.copy2(envoy, Path(context) / "envoy")
            os.link(built, Path(context) / program.name)
            containerfile = Path(context) / "Containerfile"
            containerfile.write_text(
                f"FROM {base}\nCOPY envoy {program.name} /usr/local/bin/\nUSER 65532:65532\n"
                f'ENTRYPOINT ["/usr/local/bin/{program.name}"]\nCMD ["server"]\n'
            )
            builder.build(Path(context), containerfile, TAG, {})
            builder.save(TAG, archive)

    return archives.cached(TAG, key, build)


def _chart(work: Path) -> Path:
    """A copy of the chart that the module holds, with its own template of values filled in."""
    version = binaries.ENVOY_GATEWAY.version
    shown = commands.run(
        ["go", "mod", "download", "-json", f"{MODULE}@{version}"], cwd=work, env={**os.environ, "GOFLAGS": "-mod=mod"}
    )
    chart = work / "chart"
    shutil.copytree(Path(json.loads(shown)["Dir"]) / "charts" / "gateway-helm", chart)
    for folder in (chart, *(path for path in chart.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    template = string.Template((chart / "values.tmpl.yaml").read_text())
    filled = template.substitute(GatewayImage=TAG, GatewayImagePullPolicy="IfNotPresent")
    (chart / "values.yaml").write_text(filled)
    return chart
