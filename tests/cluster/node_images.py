"""The images that a cluster itself runs, each nothing but static programs: pause and the addons."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.cluster import binaries, builders, cache
from tests.cluster.binaries import Module, Package
from tests.cluster.progress import step

PAUSE_TAG = "localhost/serinus-test-pause:dev"
ADDONS_TAG = "localhost/serinus-test-addons:dev"
ADDONS = (binaries.COREDNS, binaries.METRICS_SERVER, binaries.PROMETHEUS, binaries.VERSITYGW)


def pause() -> Path:
    """Return the archive of the image that holds a pod's namespaces."""
    return _archive(PAUSE_TAG, (binaries.PAUSE,), "/pause")


def addons() -> Path:
    """Return the archive of the image with DNS, metrics-server, Prometheus and the object store."""
    return _archive(ADDONS_TAG, ADDONS, "/prometheus")


def _archive(tag: str, programs: Sequence[Module | Package], entrypoint: str) -> Path:
    """Return the archive of an image of just `programs`, built unless the cache has it."""
    name = tag.rpartition("/")[2].partition(":")[0]
    containerfile = "\n".join(
        [
            "FROM scratch",
            *(f"COPY {program.name} /{program.name}" for program in programs),
            f'ENTRYPOINT ["{entrypoint}"]\n',
        ]
    )
    key = cache.content_key(Path(), [], containerfile, *(program.key() for program in programs))
    target = cache.directory() / "images" / f"{name}-{key}.tar"
    files = [binaries.built(program) for program in programs]
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with step(f"building the image {tag}"), tempfile.TemporaryDirectory(dir=target.parent) as context:
            (Path(context) / "Containerfile").write_text(containerfile)
            for file in files:
                os.link(file, Path(context) / file.name)
            builder = builders.find()
            builder.build(Path(context), Path(context) / "Containerfile", tag, {})
            partial = target.with_suffix(".partial")
            builder.save(tag, partial)
            partial.rename(target)
        cache.forget_unused(target.parent)
    cache.mark_used(target)
    return target
