"""The digits data set as the examples use it: one fixed split, and the amount of ink of an image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

Images = NDArray[np.float32]
Labels = NDArray[np.int64]

PIXELS = 64
"""Pixels of one image: 8 by 8, each a whole number from 0 (paper) to 16 (ink)."""


class Digits(NamedTuple):
    """Handwritten digits, split once: images are `[n, 64]` float32, labels `[n]` int64 in 0..9."""

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels


def load() -> Digits:
    """Return the data set that ships with scikit-learn, always split in the same way (70 : 30)."""
    data = load_digits()
    split = train_test_split(
        data.data.astype(np.float32),
        data.target.astype(np.int64),
        test_size=0.3,
        random_state=0,
        stratify=data.target,
    )
    train_images, test_images, train_labels, test_labels = split
    return Digits(train_images, train_labels, test_images, test_labels)


def ink(images: Images) -> NDArray[np.float32]:
    """Return the sum of each image's pixels, `[n]`: whole numbers, hence exact in float32."""
    sums: NDArray[np.float32] = images.sum(axis=1, dtype=np.float32)
    return sums
