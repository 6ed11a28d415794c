"""What the embedded cluster needs of the machine: root and some Debian packages."""

import os
import platform
import re
import shutil
import subprocess

from tests.cluster import cache, commands
from tests.cluster.errors import ClusterError
from tests.cluster.progress import step

# The program that shows that a package is there, and the package.
NODE_PACKAGES = {
    "runc": "runc",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
    "nft": "nftables",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "unshare": "util-linux",
    "sysctl": "procps",
    "openssl": "openssl",
}
BUILD_PACKAGES = {"buildah": "buildah", "mmdebstrap": "mmdebstrap"}
# What runs programs of other architectures, which only the base image made of Debian packages needs.
EMULATION_PACKAGES = {
    "qemu-aarch64-static": "qemu-user-static",
    "update-binfmts": "binfmt-support",
    "arch-test": "arch-test",
}
MINIMUM_GO = (1, 26)
APT_WAITS_SECONDS = 300
# Debian keeps administrators' programs where a plain user's PATH does not look.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def architecture() -> str:
    """Return this machine's architecture as images name it."""
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def require_root() -> None:
    """Raise ClusterError unless the user is root."""
    if os.geteuid() != 0:
        raise ClusterError(
            "the embedded cluster needs root (it makes network namespaces and mounts): run as root, "
            "start Docker for kind, or name a cluster with SERINUS_TEST_KUBECONFIG"
        )


def require_go() -> None:
    """Raise ClusterError unless a new enough Go is there."""
    wanted = ".".join(map(str, MINIMUM_GO))
    if not shutil.which("go"):
        raise ClusterError(f"Go {wanted} or newer is needed to build the test cluster's programs: install it")
    version = commands.run(["go", "env", "GOVERSION"]).strip()
    found = re.match(r"go(\d+)\.(\d+)", version)
    if not found or (int(found[1]), int(found[2])) < MINIMUM_GO:
        raise ClusterError(f"Go {wanted} or newer is needed to build the test cluster's programs, not {version}")


def require_packages(programs: dict[str, str]) -> None:
    """Install the Debian packages whose programs are missing, one process at a time.

    Raises ClusterError, naming the packages, where that is not possible.
    """
    if not _missing(programs):
        return
    with cache.locked("debian-packages"):
        missing = _missing(programs)  # another process may have installed them meanwhile
        if missing:
            _install(missing)


def _missing(programs: dict[str, str]) -> list[str]:
    return sorted({package for name, package in programs.items() if not shutil.which(name, path=SEARCH_PATH)})


def _install(packages: list[str]) -> None:
    install = f"apt-get install --no-install-recommends {' '.join(packages)}"
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise ClusterError(f"the test cluster needs more packages; as root: {install}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt_get = ["apt-get", "-q", "-o", f"DPkg::Lock::Timeout={APT_WAITS_SECONDS}"]
    with step(f"installing the Debian packages {' '.join(packages)}"):
        commands.run([*apt_get, "update"], env=environment)
        commands.run([*apt_get, "install", "-y", "--no-install-recommends", *packages], env=environment)


def docker_runs() -> bool:
    """Return whether a Docker daemon answers."""
    if not shutil.which("docker"):
        return False
    answer = subprocess.run(["docker", "info"], capture_output=True, check=False, stdin=subprocess.DEVNULL)
    return answer.returncode == 0
