"""The Go programs of the test cluster, each built once from modules pinned to versions."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import cache, commands, host
from tests.cluster.progress import step

HERE = Path(__file__).parent
FLAGS = ("-trimpath", "-buildvcs=false")
STRIP = "-s -w"

KUBERNETES_VERSION = "v1.35.4"
KUBERNETES_COMPONENTS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
)


@dataclass(frozen=True)
class Module:
    """A program built from a module of our own below this folder, locked by its go.sum."""

    name: str
    package: str = "."
    tags: str = ""
    stamp: str = ""

    def key(self) -> str:
        """Return the key of what the program is built from."""
        return cache.content_key(HERE, [HERE / self.name], self.package, self.tags, self.stamp, *FLAGS)

    def build(self, target: Path) -> None:
        """Build the program as the file `target`."""
        flags = [*FLAGS, "-ldflags", f"{STRIP} {self.stamp}".strip(), "-tags", self.tags]
        commands.run(["go", "build", *flags, "-o", target, self.package], cwd=HERE / self.name, env=_environment())


@dataclass(frozen=True)
class Package:
    """A program built by `go install` from a published module."""

    name: str
    package: str
    version: str

    def key(self) -> str:
        """Return the key of what the program is built from."""
        return cache.content_key(HERE, [], self.package, self.version, STRIP, *FLAGS)

    def build(self, target: Path) -> None:
        """Build the program as the file `target`."""
        with tempfile.TemporaryDirectory(dir=target.parent) as bin_directory:
            commands.run(
                ["go", "install", *FLAGS, "-ldflags", STRIP, f"{self.package}@{self.version}"],
                env={**_environment(), "GOBIN": bin_directory},
            )
            (Path(bin_directory) / self.package.rsplit("/", 1)[-1]).rename(target)


KUBERNETES = Module(
    "kubernetes",
    stamp=f"-X k8s.io/component-base/version.gitVersion={KUBERNETES_VERSION}"
    f" -X k8s.io/client-go/pkg/version.gitVersion={KUBERNETES_VERSION}",
)
PAUSE = Module("pause")
KSTATUS = Module("kstatus")
# Of all its ways to discover targets only Kubernetes is compiled in.
PROMETHEUS = Module(
    "prometheus",
    package="github.com/prometheus/prometheus/cmd/prometheus",
    tags="remove_all_sd,enable_kubernetes_sd",
)
# The peer in the operator's benchmark.
KSERVE = Module("kserve", package="github.com/kserve/kserve/cmd/manager")
PROMETHEUS_ADAPTER = Module("prometheus-adapter", package="sigs.k8s.io/prometheus-adapter/cmd/adapter")
# Debian's containerd mounts no images as volumes.
CONTAINERD = Package("containerd", "github.com/containerd/containerd/v2/cmd/containerd", "v2.2.1")
CONTAINERD_SHIM = Package(
    "containerd-shim-runc-v2", "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2", "v2.2.1"
)
CTR = Package("ctr", "github.com/containerd/containerd/v2/cmd/ctr", "v2.2.1")
HELM = Package("helm", "helm.sh/helm/v3/cmd/helm", "v3.22.0")
COREDNS = Package("coredns", "github.com/coredns/coredns", "v1.15.0")
METRICS_SERVER = Package("metrics-server", "sigs.k8s.io/metrics-server/cmd/metrics-server", "v0.9.0")
VERSITYGW = Package("versitygw", "github.com/versity/versitygw/cmd/versitygw", "v1.8.0")
H2SPEC = Package("h2spec", "github.com/summerwind/h2spec/cmd/h2spec", "v2.2.1+incompatible")
GHZ = Package("ghz", "github.com/bojand/ghz/cmd/ghz", "v0.120.0")
ENVOY_GATEWAY = Package("envoy-gateway", "github.com/envoyproxy/gateway/cmd/envoy-gateway", "v1.9.1")


def _environment() -> dict[str, str]:
    # The toolchain that is installed, never one that Go would fetch by itself; static programs,
    # since some run in images that hold nothing else.
    return {**os.environ, "GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOWORK": "off"}


def built(program: Module | Package) -> Path:
    """Return the file of `program`, building it first unless the cache has it."""
    folder = cache.directory() / "binaries" / f"{program.name}-{program.key()}"
    target = folder / program.name
    if target.exists():
        cache.mark_used(folder)
        return target
    with cache.locked(folder.name):
        if not target.exists():
            host.require_go()
            folder.mkdir(parents=True, exist_ok=True)
            partial = folder / f"{program.name}.partial"
            with step(f"building {program.name} (once; then it is cached)"):
                program.build(partial)
            partial.rename(target)
            cache.forget_unused(folder.parent)
    cache.mark_used(folder)
    return target


def link(programs: dict[str, Path], directory: Path) -> None:
    """Make `directory` hold symbolic links of the given names to the given programs."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, program in programs.items():
        (directory / name).unlink(missing_ok=True)
        (directory / name).symlink_to(program)


def client_tools(directory: Path) -> None:
    """Put kubectl and helm into `directory`: those on PATH, else built ones."""
    found: dict[str, Path] = {}
    for name, program in (("kubectl", KUBERNETES), ("helm", HELM)):
        there = shutil.which(name)
        found[name] = Path(there) if there else built(program)
    link(found, directory)
