"""Telling noise that is correlated between pixels from texture, by its spectrum."""

import numpy as np

from nlmeans.noise.blocks import shrunk

BINS = 8
"""Ranges of intensity: cameras smooth dark and bright parts of a picture differently."""

CURVED = 0.25
"""Curvature of the spectrum, in the upper quartile of the bins, from which noise is called
correlated. 56 of the 57 development pairs of PolyU are above, and 23 of 144 clean photographs of
BSDS500 (training); 15 of these also have less in the finest octave than in the next, as have the
56. The threshold was set on these pairs, so their count is not one of unseen images."""

FLOOR = 1.3, 1.7
"""Noise over the standard deviation of a bin's flattest tenth of blocks, for one channel and for
several: the scatter of the blocks, and noise that is coarser than a block, as the chroma of cameras
is. Set on PolyU's development pairs: the median of strength over truth is 0.82 in gray and 0.93 in
color. With 1.7 for one channel that of smoothed noise (tests) was 1.4."""

DOUBTFUL = 0.25, 0.7
"""Shares of the contrast of an image between which what looks like correlated noise is more often
texture: 1 of PolyU's 56 and 12 of the 15 clean photographs are between. Above, an image shows
little but noise."""


def grid_phase(x: np.ndarray) -> tuple[int, int]:
    """Row and column that the 8 x 8 grid of a JPEG starts at in planes (C, P, H, W).

    A step is largest among its neighbors more often across the grid than elsewhere. Where there
    is no grid the answer is as good as any other.
    """
    channels, depth = x.shape[:2]
    phases = []
    for axis in (2, 3):
        lines = np.moveaxis(x[channels // 2, depth // 2], axis - 2, -1)
        lines = lines[:: max(1, len(lines) // 256), :4096].astype(np.float64)
        step = np.abs(np.diff(lines))
        largest = (step[:, 1:-1] > step[:, :-2]) & (step[:, 1:-1] > step[:, 2:])
        often = [largest[:, k::8].mean() for k in range(8)]
        # Step k is between pixels k and k + 1, and the first of `largest` is step 1.
        phases.append((int(np.argmax(often)) + 2) % 8)
    return phases[0], phases[1]


def correlated_noise(x: np.ndarray) -> tuple[bool, tuple[float, ...]]:
    """Whether the noise in flat parts is correlated, and its levels.

    Parameters
    ----------
    x : ndarray (n, C, 16, 16)
        Windows of an image, on the grid of its JPEG if it comes from one: over the edges of its
        blocks the finest octave has power again, and the curvature tells nothing.

    Returns
    -------
    correlated : bool
        False if nothing can be told.
    scales : tuple of float
        Standard deviation of all the noise at scales 1, 2 and 4, median over ranges of intensity.

    Notes
    -----
    Texture follows a power law, so that the logarithm of its variance is a straight line over
    octaves; so does white noise. Noise that was interpolated, smoothed or compressed is white at
    coarse scales and absent at the finest: its line bends. The level alone tells nothing: the
    flattest blocks of clean photographs hold as much as those of noisy ones.
    """
    mean, contrast = x.mean((1, 2, 3)), float(x.std())
    factor = FLOOR[x.shape[1] > 1]
    # By the mean of the channels 55 of PolyU's 57 pairs are told, by all of them 52.
    variance = _octaves(x.mean(1, keepdims=True))
    total, joint = variance.sum(1), _octaves(x).sum(1)
    # What is constant was clipped or masked, and its octaves are rounding errors.
    there = total > 1e-5 * total.mean()
    if there.sum() < 10 * BINS:
        return False, (0.0, 0.0, 0.0)
    mean, variance, total, joint = mean[there], variance[there], total[there], joint[there]
    curvatures, rises, floors, shares = [], [], [], []
    for part in np.array_split(np.argsort(mean, kind="stable"), BINS):
        quarter = np.quantile(total[part], 0.25)
        fine, middle, coarse = variance[part[total[part] <= quarter]].mean(0) + 1e-30
        curvatures.append(0.5 * np.log(middle * middle / (fine * coarse)))
        rises.append(middle / fine)
        floors.append(np.quantile(joint[part], 0.1))
        # Coarser than the third octave there is about as much as in it (PolyU).
        left = np.array([fine + middle + 2 * coarse, middle + 2 * coarse, 2 * coarse])
        shares.append(left / left[0])
    scales = factor * np.sqrt(np.median(floors) * np.median(shares, axis=0))
    correlated = (
        np.quantile(curvatures, 0.75) > CURVED
        and np.median(rises) > 1
        and not DOUBTFUL[0] < scales[0] / contrast < DOUBTFUL[1]
    )
    return bool(correlated), tuple(scales.tolist())


def _octaves(x: np.ndarray) -> np.ndarray:
    """Variance of windows in three octaves (n, 3), the finest first."""
    octaves = []
    for _ in range(3):
        half = shrunk(x)
        octaves.append(_power(x) - _power(half))
        x = half
    return np.maximum(np.stack(octaves, axis=1), 0)


def _power(x: np.ndarray) -> np.ndarray:
    """Mean square of each window."""
    flat = x.reshape(len(x), -1)
    return np.einsum("nk,nk->n", flat, flat) / flat.shape[1]
