"""Blocks of an image and what their noise looks like, for the estimates of `estimate.py`."""

import math
from dataclasses import dataclass

import numpy as np

SIDE = 8
"""Side of a block, as of Ponomarenko et al.; halves of it fit into a corner of a natural image."""

HIGHEST = 9
"""A DCT coefficient (i, j) counts as high from i + j = 9 on: 21 of 64 (Ponomarenko). From 10 on
there are 15, and the error on 48 photographs of BSDS500 (training) is 0.22 in place of 0.28 at
sigma 5 and 0.25 in place of 0.24 at 25."""

LEAST = 0.005
"""Share of the blocks that is taken for flat in any image (Ponomarenko's half percent)."""


def _dct() -> np.ndarray:
    """Orthonormal DCT of a block, (64, 64): the constant first, then low to high frequencies."""
    k = np.arange(SIDE)
    rows = np.cos(np.pi * k[:, None] * (2 * k + 1) / (2 * SIDE)) * math.sqrt(2 / SIDE)
    rows[0] /= math.sqrt(2)
    order = np.argsort(np.add.outer(k, k), axis=None, kind="stable")
    return np.kron(rows, rows)[order]


DCT = _dct()
HIGH = int((np.add.outer(np.arange(SIDE), np.arange(SIDE)) < HIGHEST).sum())
"""Index of the first high coefficient."""


def planes(image: np.ndarray, axis: int | None) -> np.ndarray:
    """A view (C, P, H, W) of an image: its two longest axes of space last, the others as one."""
    x = image[np.newaxis] if axis is None else np.moveaxis(image, axis, 0)
    longest = sorted(sorted(range(1, x.ndim), key=lambda k: (x.shape[k], k))[-2:])
    x = np.moveaxis(x, longest, (-2, -1))
    return x.reshape(x.shape[0], -1, *x.shape[-2:])


def windows(x: np.ndarray, side: int, count: int, *, step: int = 0) -> tuple[np.ndarray, int]:
    """About `count` windows (n, C, side, side) at most of planes (C, P, H, W), and their stride.

    The stride is a multiple of `step`, or odd, so that windows fall on all phases of the 8 x 8
    grid of a JPEG.
    """
    channels, depth, height, width = x.shape
    stride = step or 1
    every = min(max(math.ceil(depth * height * width / (max(stride, 3) ** 2 * count)), 1), depth)
    rows, columns = height - side + 1, width - side + 1
    while math.ceil(depth / every) * math.ceil(rows / stride) * math.ceil(columns / stride) > count:
        stride += step or 2
    view = np.lib.stride_tricks.sliding_window_view(x[:, ::every], (side, side), axis=(2, 3))
    view = np.moveaxis(view[:, :, ::stride, ::stride], 0, 3)
    return view.reshape(-1, channels, side, side).astype(np.float64), stride


def shrunk(x: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels of windows (n, C, side, side)."""
    rows = x[..., ::2, :] + x[..., 1::2, :]
    return (rows[..., ::2] + rows[..., 1::2]) / 4


@dataclass(frozen=True)
class Blocks:
    """What is known of n blocks of C channels.

    Parameters
    ----------
    mean : ndarray (n, C)
        Their mean values.
    low, high : ndarray (n,)
        Mean square of the low and high DCT coefficients, over the channels, too. Of white noise
        both are its variance, and they are independent: choosing by `low` does not bias `high`.
    coefficients : ndarray (n, C, 21)
        The high coefficients.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    coefficients: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray) -> "Blocks":
        """Blocks of windows (n, C, 8, 8)."""
        n, channels = x.shape[:2]
        c = (x.reshape(n * channels, -1) @ DCT.T).reshape(n, channels, -1)
        low, high = c[:, :, 1:HIGH], c[:, :, HIGH:]
        return cls(
            c[:, :, 0] / SIDE,
            np.einsum("ncj,ncj->n", low, low) / (channels * (HIGH - 1)),
            np.einsum("ncj,ncj->n", high, high) / (channels * (SIDE**2 - HIGH)),
            high,
        )

    def __getitem__(self, index: np.ndarray) -> "Blocks":
        return Blocks(self.mean[index], self.low[index], self.high[index], self.coefficients[index])

    def __len__(self) -> int:
        return len(self.low)

    def flat(self, least: int) -> np.ndarray:
        """Indices of the blocks whose low coefficients hold no more than the noise.

        The noise is the mean of `high` over these same blocks; the smallest such set of `least`
        blocks or more.
        """
        order = np.argsort(self.low, kind="stable")
        low, total = self.low[order], np.cumsum(self.high[order])
        number = min(least, len(order))
        while number < len(order):
            more = int(np.searchsorted(low, total[number - 1] / number, side="right"))
            if more <= number:
                break
            number = more
        return order[:number]

    def covariance(self) -> np.ndarray:
        """Covariance (C, C) of the noise between the channels, from all blocks."""
        h = np.moveaxis(self.coefficients, 1, 0).reshape(self.mean.shape[1], -1)
        return h @ h.T / h.shape[1]


def joint_variance(covariance: np.ndarray) -> float:
    """Variance of white noise, jointly over C channels, of their covariance over flat blocks.

    The differences between channels (chroma) hold little texture; what noise of independent
    channels has in them is on average that of the channels, be these alike or not. Texture in all
    channels can only add to their sum (luma).
    """
    channels = len(covariance)
    trace = float(np.trace(covariance))
    if channels == 1:
        return trace
    luma = float(covariance.sum()) / channels
    chroma = (trace - luma) / (channels - 1)
    # Gray stored as RGB, or chroma stored coarsely, is no noise without chroma: clean photographs
    # have a hundredth of the luma's variance and more.
    if luma < chroma or chroma < 0.01 * luma:
        return trace / channels
    return chroma
