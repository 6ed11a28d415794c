"""What an image archive (docker-archive tar) holds, read without unpacking it."""

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.errors import ClusterError


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
