"""Train the four versions of the digits model: `python -m examples.digits.train FOLDER`.

| version | file | what is to be known of it |
|---|---|---|
| 1 | 1/model.onnx | a plain logistic regression |
| 2 | 2/model.onnx | a small neural network: clearly more accurate |
| 3 | 3/model.onnx | version 2, but images with much ink take 0.15 s of CPU |
| 4 | 4/model.onnx | version 2, but requests for the images with the most ink fail |

All of them take `pixels` (FP32 `[-1, 64]`) and give `label` (INT64 `[-1]`) and `probabilities`
(FP32 `[-1, 10]`).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler

from examples.digits import dataset, flaws

OPSET = 18
SLOW_SECONDS = 0.15
"""CPU time of version 3 for a dense image: half more than the latency threshold of the example manifests."""

SLOW_INK_QUANTILE = 0.8
FAILING_INK_QUANTILE = 0.9


class Model(NamedTuple):
    """One trained version, and how it does on the test images."""

    version: str
    path: Path
    accuracy: float
    """Share of all test images that are answered, and rightly so (0..1)."""
    failing: list[int]
    """Positions of the test images for which the model fails."""


def train(folder: Path, *, slow_seconds: float = SLOW_SECONDS) -> list[Model]:
    """Train versions 1 to 4, write each to `folder/<version>/model.onnx`, and try each on the test images.

    The weights depend on nothing but the data; the length of version 3's loop depends on this machine,
    so that a dense image takes it `slow_seconds` here.
    """
    digits = dataset.load()
    train_ink = dataset.ink(digits.train_images)
    dense = float(np.quantile(train_ink, SLOW_INK_QUANTILE))
    densest = float(np.quantile(train_ink, FAILING_INK_QUANTILE))
    plain = _export(_fit(LogisticRegression(C=0.01, max_iter=500), digits))
    better = better_model(digits)
    trips = flaws.trips_lasting(slow_seconds, better)
    graphs = {
        "1": plain,
        "2": better,
        "3": flaws.slow_on_dense_images(better, ink_above=dense, trips=trips),
        "4": flaws.failing_on_dense_images(better, ink_up_to=densest),
    }
    # The length of version 3's loop has no part in what it predicts: it is tried with a short one.
    tried = graphs | {"3": flaws.slow_on_dense_images(better, ink_above=dense, trips=1)}
    models = []
    for version, graph in graphs.items():
        path = folder / version / "model.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(graph.SerializeToString(deterministic=True))
        labels = predict(tried[version], digits.test_images)
        accuracy = float(np.mean(labels == digits.test_labels))
        models.append(Model(version, path, accuracy, np.flatnonzero(labels < 0).tolist()))
    return models


def better_model(digits: dataset.Digits) -> onnx.ModelProto:
    """Return version 2: a small neural network, which says the same each time it is trained."""
    return _export(_fit(MLPClassifier((64,), max_iter=1000, random_state=0), digits))


def predict(model: onnx.ModelProto, images: dataset.Images) -> NDArray[np.int64]:
    """Return the label of each image (`[n]`), asked for one by one; -1 where the model fails."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # a failing image is an answer here, not a message
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    labels = np.full(len(images), -1, dtype=np.int64)
    for position, image in enumerate(images):
        try:
            labels[position] = session.run(["label"], {"pixels": image[None]})[0][0]
        except ort.capi.onnxruntime_pybind11_state.InvalidArgument:
            continue
    return labels


def _fit(classifier: LogisticRegression | MLPClassifier, digits: dataset.Digits) -> Pipeline:
    return make_pipeline(MinMaxScaler(), classifier).fit(digits.train_images, digits.train_labels)


def _export(pipeline: Pipeline) -> onnx.ModelProto:
    return convert_sklearn(
        pipeline,
        name="digits",
        initial_types=[("pixels", FloatTensorType([None, dataset.PIXELS]))],
        final_types=None,
        options={"zipmap": False, "output_class_labels": False},
        target_opset=OPSET,
    )


def main() -> None:
    """Train into the folder named on the command line and print a line for each version."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.digits.train", description="Train the four versions of the digits model."
    )
    parser.add_argument("folder", type=Path, help="where <version>/model.onnx is written")
    for model in train(parser.parse_args().folder):
        failing = f", fails on {len(model.failing)} test images" if model.failing else ""
        print(f"version {model.version}: accuracy {model.accuracy:.1%}{failing}  {model.path}")


if __name__ == "__main__":
    main()
