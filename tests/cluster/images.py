"""The project's own images, built only when something that goes into them has changed."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import archives, base_image, builders, cache, host

ROOT = Path(__file__).parents[2]
BASE_IMAGE = "SERINUS_TEST_BASE_IMAGE"


@dataclass(frozen=True)
class Image:
    """An image of the project: its tag, build context and the files of the context that go in."""

    tag: str
    context: Path
    containerfile: Path
    inputs: tuple[Path, ...]


IMAGES = (
    Image(
        tag="localhost/serinus-server:dev",
        context=ROOT / "runtime_image",
        containerfile=ROOT / "runtime_image" / "Containerfile",
        inputs=(ROOT / "runtime_image",),
    ),
    Image(
        tag="localhost/serinus-operator:dev",
        context=ROOT,
        containerfile=ROOT / "operator" / "Containerfile",
        inputs=tuple(ROOT / name for name in ("pyproject.toml", "operator", "templates", "README.md", "LICENSE")),
    ),
)


def build(architecture: str | None = None, images: Sequence[Image] = IMAGES) -> list[Path]:
    """Return the docker-archive tars of `images` for an architecture (this machine's), made unless they are cached."""
    plan = _plan(architecture or host.architecture())
    return [_cached(image, plan) for image in images]


def build_anew(archive: Path, image: Image, architecture: str, *, base: str | None = None) -> None:
    """Write an archive of `image` from nothing that is cached; `base` is for where no other need be at hand."""
    plan = _plan(architecture, base)
    with archives.alone(image.tag):
        _build(image, plan, archive, "--no-cache")


@dataclass(frozen=True)
class _Plan:
    """What builds, for which architecture, and on which bases."""

    builder: builders.Builder
    architecture: str
    arguments: Mapping[str, str]


def _plan(architecture: str, base: str | None = None) -> _Plan:
    """Choose the base images: the user's, else the Containerfile's own where a registry is at hand."""
    builder = builders.find()
    named = os.environ.get(BASE_IMAGE)
    if named:
        bases = {"BASE_IMAGE": base or named, "BUILD_IMAGE": named}
    elif isinstance(builder, builders.Buildah):
        bases = {
            "BASE_IMAGE": base or base_image.build(builder, architecture),
            "BUILD_IMAGE": base_image.build(builder, host.architecture()),
        }
    else:
        bases = {}
    # docker knows it by itself.
    machine = {} if builder.name == "docker" else {"BUILDPLATFORM": f"linux/{host.architecture()}"}
    return _Plan(builder, architecture, bases | machine)


def _cached(image: Image, plan: _Plan) -> Path:
    key = cache.content_key(
        ROOT, image.inputs, plan.builder.name, builders.TIMESTAMP, plan.architecture,
        *(f"{name}={value}" for name, value in plan.arguments.items()),
    )  # fmt: skip
    return archives.cached(image.tag, key, lambda archive: _build(image, plan, archive))


def _build(image: Image, plan: _Plan, archive: Path, *options: str) -> None:
    platform = ("--platform", f"linux/{plan.architecture}")
    plan.builder.build(image.context, image.containerfile, image.tag, plan.arguments, *platform, *options)
    plan.builder.save(image.tag, archive)
