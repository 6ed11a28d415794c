"""The test images as requests of the Open Inference Protocol, each with the label that is right."""

from __future__ import annotations

import json
from typing import NamedTuple

from examples.digits.dataset import Digits


class LabelledRequest(NamedTuple):
    """A request's JSON body, and the digit that the image shows."""

    body: str
    label: int


def labelled_requests(digits: Digits) -> list[LabelledRequest]:
    """Return a request for each test image, in order; pixels are written as whole numbers, which they are."""
    requests = []
    for image, label in zip(digits.test_images, digits.test_labels, strict=True):
        pixels = [int(pixel) for pixel in image]
        tensor = {"name": "pixels", "datatype": "FP32", "shape": [1, len(pixels)], "data": pixels}
        body = json.dumps({"inputs": [tensor], "outputs": [{"name": "label"}]}, separators=(",", ":"))
        requests.append(LabelledRequest(body, int(label)))
    return requests
