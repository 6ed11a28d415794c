"""Building container images with docker, podman or buildah, whichever is there."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from tests.cluster import cache, commands, host

# 2020-01-01, of all files and images: a time that moved would make another digest of the same content.
TIMESTAMP = "1577836800"
_DATED = ("--timestamp", TIMESTAMP)


class Builder(Protocol):
    """A program that builds images from a Containerfile."""

    name: str

    def build(self, context: Path, containerfile: Path, tag: str, arguments: Mapping[str, str], *options: str) -> None:
        """Build the image `tag` from `containerfile` with the build arguments and further options given."""

    def save(self, tag: str, archive: Path) -> None:
        """Write the image `tag` as a docker-archive tar, named by `tag`."""


def find() -> Builder:
    """Return the first builder that works here; buildah is installed where none is."""
    if host.docker_runs():
        return DockerLike("docker")
    if shutil.which("podman"):
        return DockerLike("podman")
    return buildah()


def buildah() -> "Buildah":
    """Return buildah, installing its package if it is missing."""
    host.require_packages(host.BUILD_PACKAGES)
    return Buildah()


def _build_options(arguments: Mapping[str, str]) -> list[str]:
    options = [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
    # Behind a proxy that inspects TLS, pip in the build has to trust what pip out here trusts.
    authorities = os.environ.get("PIP_CERT")
    return [*options, "--secret", f"id=ca,src={authorities}"] if authorities else options


class DockerLike:
    """docker or podman, whose command lines agree as far as we use them."""

    def __init__(self, name: str) -> None:
        self.name = name

    def build(self, context: Path, containerfile: Path, tag: str, arguments: Mapping[str, str], *options: str) -> None:
        """Build the image `tag`."""
        # docker takes the image's time from this argument; it dates files only in archives that a build writes itself.
        dated = ["--build-arg", f"SOURCE_DATE_EPOCH={TIMESTAMP}"] if self.name == "docker" else _DATED
        command = [self.name, "build", "--quiet", "--tag", tag, "--file", str(containerfile), *dated, *options]
        commands.run([*command, *_build_options(arguments), str(context)], env={**os.environ, "DOCKER_BUILDKIT": "1"})

    def save(self, tag: str, archive: Path) -> None:
        """Write the image `tag` as a docker-archive tar, named by `tag`."""
        archive.unlink(missing_ok=True)
        commands.run([self.name, "save", "--output", str(archive), tag])


class Buildah:
    """buildah without a daemon, with a store of its own in the cache."""

    name = "buildah"

    def build(self, context: Path, containerfile: Path, tag: str, arguments: Mapping[str, str], *options: str) -> None:
        """Build the image `tag`; layers are cached between builds."""
        self._run(
            "bud", "--quiet", "--layers", "--tag", tag, "--file", str(containerfile), *_DATED, *options,
            *_build_options(arguments), str(context),
        )  # fmt: skip

    def save(self, tag: str, archive: Path) -> None:
        """Write the image `tag` as a docker-archive tar, named by `tag`."""
        archive.unlink(missing_ok=True)
        self._run("push", "--quiet", tag, f"docker-archive:{archive}:{tag}")

    def has(self, tag: str) -> bool:
        """Return whether the store has the image `tag`."""
        return tag in self._run("images", "--format", "{{.Name}}:{{.Tag}}").split()

    def import_root(self, archive: Path, tag: str, architecture: str) -> None:
        """Make the image `tag` of a tar of a root file system."""
        container = self._run("from", "--arch", architecture, "scratch").strip()
        self._run("add", "--quiet", container, str(archive), "/")
        self._run("commit", "--quiet", *_DATED, container, tag)
        self._run("rm", container)

    def _run(self, *arguments: str) -> str:
        store = cache.directory() / "buildah"
        # chroot needs no privilege beyond root's, and so works inside other containers too.
        environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
        with cache.locked("buildah"):
            options = ["--root", str(store / "root"), "--runroot", str(store / "run"), "--storage-driver", _driver()]
            return commands.run(["buildah", *options, *arguments], env=environment)


def _driver() -> str:
    # overlay is many times faster than copying (vfs), but cannot lie on another overlay.
    kind = commands.run(["stat", "--file-system", "--format=%T", str(cache.directory())]).strip()
    return "vfs" if kind == "overlayfs" else "overlay"
