"""Luma and chroma: an orthonormal change of the channels, which keeps white noise white.

The discrete cosine transform along the channels. Of RGB it makes the opponent colors (1, 1, 1),
(1, 0, -1) and (1, -2, 1), each divided by its norm: a luma with most of the picture and two chromas
with little but the noise. It serves any number of channels.
"""

import math

import numpy as np


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
