"""Noise whose level depends on the intensity, or on the place."""

import math

import numpy as np

from nlmeans.noise.blocks import LEAST, SIDE, Blocks, joint_variance

BINS = 16
"""Ranges of intensity a variance is found for."""

AGREE, MOST = 0.2, 0.6
"""A line is believed if this share of the bins, the second, is within the first part of it."""

FEWEST = 24
"""Blocks that a variance is found from: 24 x 21 coefficients have it within 6 %."""


def variance_of(blocks: Blocks) -> tuple[float, int]:
    """Variance of the noise in some blocks, and the number of flat ones that told it."""
    flat = blocks.flat(max(FEWEST, int(LEAST * len(blocks))))
    return joint_variance(blocks[flat].covariance()), len(flat)


def affine_variance(blocks: Blocks) -> tuple[float, float, float]:
    """Fit var = gain x + offset to the variances at levels x.

    Least squares weighted by the precision of each variance, then weighted down where texture
    lifts a variance above the line (Tukey's biweight), gain and offset >= 0.

    Returns
    -------
    gain, offset : float
    significance : float
        Gain over its standard error; 0 where too few bins agree with the line.
    """
    x = blocks.mean.mean(1)
    levels: list[float] = []
    found: list[float] = []
    weights: list[int] = []
    for part in np.array_split(np.argsort(x, kind="stable"), BINS):
        if len(part) < 2 * FEWEST:
            continue
        inside = blocks[part]
        flat = inside.flat(max(FEWEST, len(part) // 20))
        levels.append(float(x[part[flat]].mean()))
        found.append(joint_variance(inside[flat].covariance()))
        weights.append(len(flat))
    if len(levels) < BINS // 2 or max(found) <= 0:
        return 0.0, max(found, default=0.0), 0.0
    level, variance, number = np.array(levels), np.array(found), np.array(weights, float)
    gain, offset, error = 0.0, float(np.median(variance)), math.inf
    robust = rest = spread = np.ones_like(level)
    for _ in range(10):
        # A variance of n coefficients scatters by var sqrt(2/n); the model's says it without bias.
        expected = np.maximum(gain * level + offset, 1e-3 * variance.max())
        spread = np.maximum(expected / np.sqrt(number), 0.02 * expected)
        w = robust / spread**2
        gain, offset, error = _line(level, variance, w)
        rest = (variance - gain * level - offset) / spread
        scale = max(1.4826 * float(np.median(np.abs(rest))), 1.0)
        robust = np.maximum(1 - (rest / (4.685 * scale)) ** 2, 0) ** 2
        error *= scale
    # Texture may give an image a gain, too, but its variances lie off any line.
    agree = (np.abs(rest) * spread <= AGREE * (gain * level + offset)).mean()
    return gain, offset, gain / error if error > 0 and agree >= MOST else 0.0


def _line(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> tuple[float, float, float]:
    """Weighted least squares y = a x + b with a, b >= 0: a, b and the standard error of a."""
    total = w.sum()
    mx, my = (w * x).sum() / total, (w * y).sum() / total
    sxx = (w * (x - mx) ** 2).sum()
    if sxx <= 0:
        return 0.0, float(my), np.inf
    a = float((w * (x - mx) * (y - my)).sum() / sxx)
    b = float(my - a * mx)
    if a < 0:
        return 0.0, float(my), float(sxx**-0.5)
    if b < 0 < mx:
        return float((w * x * y).sum() / (w * x * x).sum()), 0.0, float((w * x * x).sum() ** -0.5)
    return a, b, float(sxx**-0.5)


def sigma_grid(
    blocks: Blocks, usable: np.ndarray, shape: tuple[int, int], stride: int
) -> np.ndarray:
    """Levels of noise on a grid of cells that covers an image (H, W), (rows, columns).

    Each cell has its own flat blocks, and is smoothed with its neighbors by their number.
    """
    from scipy.ndimage import gaussian_filter

    down, across = (len(range(0, n - SIDE + 1, stride)) for n in shape)
    rows, columns = (int(np.clip(n // 48, 1, 8)) for n in shape)
    index = np.arange(len(blocks))
    row, column = index // across % down, index % across
    cell = row * rows // down * columns + column * columns // across
    variance, weight = np.zeros(rows * columns), np.zeros(rows * columns)
    for k in range(rows * columns):
        inside = blocks[np.flatnonzero((cell == k) & usable)]
        if len(inside) >= FEWEST:
            variance[k], weight[k] = variance_of(inside)
            # A cell of texture has no more than the fewest blocks, whose level is no noise.
            weight[k] = (weight[k] / len(inside)) ** 2
    grid = (rows, columns)
    weight = weight.reshape(grid) + 1e-9 * (weight.reshape(grid) > 0)
    top = gaussian_filter(weight * variance.reshape(grid), 0.7, mode="nearest", truncate=8)
    norm = gaussian_filter(weight, 0.7, mode="nearest", truncate=8)
    smooth = np.divide(top, norm, out=np.zeros(grid), where=norm > 0)
    # Rounding errors, as of ramps, are no noise.
    return np.sqrt(np.where(smooth > 1e-28, smooth, 0))


def spread_over(grid: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A grid of cells as a map of pixels (H, W), linear between the centers of cells."""
    for axis, length in enumerate(shape):
        cells = grid.shape[axis]
        at = np.clip((np.arange(length) + 0.5) * cells / length - 0.5, 0, cells - 1)
        low = np.minimum(at.astype(int), max(cells - 2, 0))
        part = at - low
        grid = np.moveaxis(grid, axis, -1)
        high = np.minimum(low + 1, cells - 1)
        grid = np.moveaxis(grid[..., low] * (1 - part) + grid[..., high] * part, -1, axis)
    return grid
