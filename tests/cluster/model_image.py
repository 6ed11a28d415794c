"""An image that holds a model and nothing else, for pods to mount."""

import shutil
import tempfile
from pathlib import Path

from tests.cluster import archives, builders, cache
from tests.cluster.cluster import Cluster

CONTAINERFILE = "FROM scratch\nCOPY model.onnx /digits/model.onnx\n"


def load(cluster: Cluster, model: Path, tag: str) -> None:
    """Give the cluster's nodes the image `tag` with the model at digits/model.onnx."""
    key = cache.content_key(model.parent, [model], tag, CONTAINERFILE)

    def build(archive: Path) -> None:
        with tempfile.TemporaryDirectory() as context:
            shutil.copyfile(model, Path(context) / "model.onnx")
            (Path(context) / "Containerfile").write_text(CONTAINERFILE)
            builder = builders.find()
            builder.build(Path(context), Path(context) / "Containerfile", tag, {})
            builder.save(tag, archive)

    cluster.load_image(archives.cached(tag, key, build))
