"""Images of nothing but static programs: those that a cluster itself runs are pause and the addons."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.cluster import archives, binaries, builders, cache
from tests.cluster.binaries import Module, Package

PAUSE_TAG = "localhost/serinus-test-pause:dev"
ADDONS_TAG = "localhost/serinus-test-addons:dev"
ADDONS = (binaries.COREDNS, binaries.METRICS_SERVER, binaries.PROMETHEUS, binaries.VERSITYGW)


def pause() -> Path:
    """Return the archive of the image that holds a pod's namespaces."""
    return of_programs(PAUSE_TAG, (binaries.PAUSE,), "/pause")


def addons() -> Path:
    """Return the archive of the image with DNS, metrics-server, Prometheus and the object store."""
    return of_programs(ADDONS_TAG, ADDONS, "/prometheus")


def of_programs(tag: str, programs: Sequence[Module | Package], entrypoint: str) -> Path:
    """Return the archive of an image of just `programs`, built unless the cache has it."""
    containerfile = "\n".join(
        [
            "FROM scratch",
            *(f"COPY {program.name} /{program.name}" for program in programs),
            f'ENTRYPOINT ["{entrypoint}"]\n',
        ]
    )
    key = cache.content_key(Path(), [], containerfile, *(program.key() for program in programs))
    files = [binaries.built(program) for program in programs]

    def build(archive: Path) -> None:
        with tempfile.TemporaryDirectory(dir=archive.parent) as context:
            (Path(context) / "Containerfile").write_text(containerfile)
            for file in files:
                os.link(file, Path(context) / file.name)
            builder = builders.find()
            builder.build(Path(context), Path(context) / "Containerfile", tag, {})
            builder.save(tag, archive)

    return archives.cached(tag, key, build)
