"""Image archives (docker-archive tars): kept in the cache, and read without unpacking them."""

import json
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import cache
from tests.cluster.errors import ClusterError
from tests.cluster.progress import step


@dataclass(frozen=True)
class Contents:
    """The names (repository:tag) of an archive's images, and the digest that tells their content."""

    names: tuple[str, ...]
    digest: str


def contents(archive: Path) -> Contents:
    """Return what `archive` holds; raises ClusterError when it is no image archive."""
    try:
        with tarfile.open(archive) as tar:
            file = tar.extractfile("manifest.json")
            manifest = json.load(file) if file else []
    except (tarfile.TarError, KeyError, OSError, ValueError) as error:
        raise ClusterError(f"{archive} is not an image archive as `docker save` writes them: {error}") from error
    names = tuple(name for image in manifest for name in image["RepoTags"] or ())
    return Contents(names, " ".join(image["Config"].removesuffix(".json") for image in manifest))


@contextmanager
def alone(tag: str) -> Iterator[None]:
    """Let nobody else build the image `tag`: the builder knows what it has built by its tag, which checkouts share."""
    with cache.locked(f"image-{_name(tag)}"):
        yield


def cached(tag: str, key: str, build: Callable[[Path], None]) -> Path:
    """Return the archive of the image `tag` that is kept under `key`; `build` writes it unless it is there."""
    target = cache.directory() / "images" / f"{_name(tag)}-{key}.tar"
    if not target.exists():
        with alone(tag):
            _build_unless_there(target, tag, build)
    cache.mark_used(target)
    return target


def _name(tag: str) -> str:
    return tag.rpartition("/")[2].partition(":")[0]


def _build_unless_there(target: Path, tag: str, build: Callable[[Path], None]) -> None:
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    with step(f"building the image {tag}"):
        build(partial)
    partial.rename(target)
    cache.forget_unused(target.parent)
