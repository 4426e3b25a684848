"""Learned features of images, to be compared in place of patches; run by OpenCV."""

from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np

from nlmeans.denoisers.opencv import threads
from nlmeans.neighborhood import reflect

REACH = 4
"""How far from a pixel its features depend on the image: three convolutions see 9x9 pixels."""

STRIP = 256
"""Rows computed at a time; a megapixel of 16 channels in float32 takes 64 MB."""


def features(image: np.ndarray, sigma: float, workers: int | None) -> np.ndarray:
    """Features (y, x, D) over their h, of an image (y, x) with noise of sigma, 0 to 1 both.

    OpenCV's number of threads, which is global, is `workers` meanwhile.
    """
    around = reflect(image, (REACH, REACH))
    net, parts = _network(), []
    with threads(workers):
        for start in range(0, len(image), STRIP):
            noisy = around[start : start + STRIP + 2 * REACH]
            net.setInput(noisy[np.newaxis, np.newaxis], "noisy")
            net.setInput(np.full((1, 1, *noisy.shape), sigma, np.float32), "sigma")
            parts.append(np.moveaxis(net.forward()[0], 0, -1))
    return np.concatenate(parts)


def _network() -> Any:
    """The network, a new one each time, for it keeps its inputs and may be used by one thread."""
    import cv2

    return cv2.dnn.readNetFromONNX(np.frombuffer(_file(), np.uint8))


@lru_cache(maxsize=1)
def _file() -> bytes:
    return (files("nlmeans") / "learned" / "weights" / "features.onnx").read_bytes()
