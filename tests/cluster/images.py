"""The project's own images, built only when something that goes into them has changed."""

import os
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import archives, base_image, builders, cache

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


def build() -> list[Path]:
    """Return the docker-archive tars of the project's images, building those that are not cached."""
    builder = builders.find()
    arguments = _build_arguments(builder)
    return [_archive(image, builder, arguments) for image in IMAGES]


def _build_arguments(builder: builders.Builder) -> dict[str, str]:
    """Return the base image: the user's choice, else the Containerfile's own where a registry is at hand."""
    named = os.environ.get(BASE_IMAGE)
    if named:
        return {"BASE_IMAGE": named}
    return {"BASE_IMAGE": base_image.build(builder)} if isinstance(builder, builders.Buildah) else {}


def _archive(image: Image, builder: builders.Builder, arguments: dict[str, str]) -> Path:
    def build(archive: Path) -> None:
        builder.build(image.context, image.containerfile, image.tag, arguments)
        builder.save(image.tag, archive)

    key = cache.content_key(ROOT, image.inputs, builder.name, *(f"{k}={v}" for k, v in arguments.items()))
    return archives.cached(image.tag, key, build)
