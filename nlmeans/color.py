"""Luma and chroma: an orthonormal change of the channels, which keeps white noise white.

The discrete cosine transform along the channels. Of RGB it makes the opponent colors (1, 1, 1),
(1, 0, -1) and (1, -2, 1), each divided by its norm: a luma with most of the picture and two chromas
with little but the noise. It serves any number of channels.
"""

import math

import numpy as np

from nlmeans.dtypes import working_dtype


def opponent(channels: int) -> np.ndarray:
    """Orthonormal matrix (C, C) whose first row makes luma and whose others make chroma.

    Examples
    --------
    >>> (opponent(3)[0] ** 2).round(3).tolist()
    [0.333, 0.333, 0.333]
    """
    rows = [
        [math.cos(math.pi * k * (2 * c + 1) / (2 * channels)) for c in range(channels)]
        for k in range(channels)
    ]
    matrix = np.array(rows)
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def compared(image: np.ndarray, chroma_weight: float) -> np.ndarray:
    """Luma and weighted chroma of an image (*space, C), to compare patches by.

    The mean over the channels of squared differences is then a weighted mean of those of luma and
    chroma, and of white noise alone the same as it was.
    """
    channels = image.shape[-1]
    weights = np.full(channels, chroma_weight)
    weights[0] = 1.0
    weights /= math.sqrt(float(np.mean(weights**2)))
    matrix = opponent(channels) * weights[:, np.newaxis]
    return image.astype(working_dtype(image.dtype), copy=False) @ matrix.T.astype(
        working_dtype(image.dtype)
    )
