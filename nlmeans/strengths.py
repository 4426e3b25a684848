"""One image, several strengths: where the noise varies, in luma and chroma, at coarse scales.

Each function denoises an image with a method that has one strength, more than once, and puts the
results together. So every method can do it, and with one strength for all the result is that
of the method itself.
"""

import math
from collections.abc import Callable

import numpy as np

from nlmeans.color import opponent
from nlmeans.dtypes import working_dtype
from nlmeans.progress import Progress, part

Run = Callable[[np.ndarray, float, Progress | None], np.ndarray]
"""Denoise an image (*space, C) with a strength that is so many times the one settled."""

STEP = 1.1
"""Ratio of neighboring strengths of a map at most. On three photographs whose sigma rises from 5 to
40 over 256 pixels steps of 1.1 cost up to 0.06 dB against 1.05, of 1.2 up to 0.4, of 1.3 up to 1.2;
dividing the image by the map, for one run in all, cost 0.1 to 0.3 dB and fails at steps of it."""

WIDEST = 100.0
"""Strengths further below the largest of a map are taken for this part of it."""

KEPT = 0.8
"""Share of the frequencies of a coarse scale, along each axis, that go into the finer one; the
rest are cut off at neither (Facciolo et al., Sec. 3.2)."""

SMALLEST = 32
"""Pixels along an axis that a scale has at least."""


def with_map(
    image: np.ndarray, sigma: np.ndarray, run: Run, progress: Progress | None
) -> np.ndarray:
    """Denoise with a strength for each pixel.

    Parameters
    ----------
    image : ndarray, shape (*space, C)
        Noisy image.
    sigma : ndarray, shape (*space,)
        Strength, >= 0; where it is 0 the image is kept.
    run : callable
        The method at strength 1.
    progress : callable, optional
        As of `nlmeans.denoise`.

    Returns
    -------
    ndarray, shape (*space, C)
        Between the results of the two of a geometric series of strengths that are next to its own,
        a pixel has the mean weighted by the logarithm. One run for each of the series.
    """
    base = image.astype(working_dtype(image.dtype))
    highest = float(sigma.max())
    if highest == 0:
        return base
    lowest = max(float(sigma[sigma > 0].min()), highest / WIDEST)
    count = 1 + math.ceil(math.log(highest / lowest) / math.log(STEP) - 1e-9)
    levels = np.geomspace(lowest, highest, count)
    with np.errstate(divide="ignore"):
        place = np.interp(np.log(sigma), np.log(levels), np.arange(count))
    result = base.copy()
    for k, level in enumerate(levels):
        share = np.where(sigma > 0, np.maximum(1 - np.abs(place - k), 0), 0)
        change = run(image, float(level), part(progress, k / count, (k + 1) / count)) - base
        result += share[..., np.newaxis].astype(base.dtype) * change
    return result


def with_chroma(
    image: np.ndarray, chroma: float, run: Run, progress: Progress | None
) -> np.ndarray:
    """Denoise luma with strength 1 and chroma with another, in two runs.

    Luma is the first row of `color.opponent`: the mean of the channels is that of the one run, the
    differences between channels are those of the other.
    """
    colors = run(image, chroma, part(progress, 0.0, 0.5))
    luma = run(image, 1.0, part(progress, 0.5, 1.0))
    row = opponent(image.shape[-1])[0].astype(luma.dtype)
    return colors + ((luma - colors) @ row)[..., np.newaxis] * row


def with_scales(
    image: np.ndarray, strengths: tuple[float, ...], run: Run, progress: Progress | None
) -> np.ndarray:
    """Denoise an image at several scales, each of half the size, from the coarsest to the finest.

    A scale is the low frequencies of the discrete cosine transform. What is denoised at one takes
    the place of the low frequencies of the next finer one, after that has been denoised.

    Parameters
    ----------
    image : ndarray, shape (*space, C)
        Noisy image.
    strengths : tuple of float
        Strength at each scale, the finest first. Scales of an image that would be too small for
        them are left out.
    run : callable
        The method at strength 1.
    progress : callable, optional
        As of `nlmeans.denoise`.

    References
    ----------
    G. Facciolo, N. Pierazzo, J.-M. Morel, "Conservative scale recomposition for multiscale
    denoising (the devil is in the high frequency detail)", SIAM Journal on Imaging Sciences 10(3),
    2017.
    """
    from scipy.fft import dctn, idctn

    axes = tuple(range(image.ndim - 1))

    def spectrum(x: np.ndarray) -> np.ndarray:
        return dctn(x.astype(working_dtype(x.dtype), copy=False), axes=axes, norm="ortho")

    def low(size: tuple[int, ...]) -> tuple[slice, ...]:
        return tuple(slice(n) for n in size)

    pyramid = [image]
    frequencies = spectrum(image)
    size = image.shape[:-1]
    for _ in strengths[1:]:
        half = tuple((n + 1) // 2 for n in size)
        if min(half) < SMALLEST:
            break
        # An orthonormal transform of fewer pixels has smaller coefficients for the same values.
        scale = math.sqrt(math.prod(half) / math.prod(image.shape[:-1]))
        pyramid.append(idctn(frequencies[low(half)] * scale, axes=axes, norm="ortho"))
        size = half
    done, total = 0.0, sum(x.size for x in pyramid)
    coarser = None
    for x, strength in reversed(list(zip(pyramid, strengths, strict=False))):
        share = x.size / total
        y = run(x, strength, part(progress, done, min(done + share, 1.0)))
        done += share
        if coarser is not None:
            frequencies = spectrum(y)
            kept = low(tuple(math.ceil(KEPT * n) for n in coarser.shape[:-1]))
            scale = math.sqrt(math.prod(x.shape[:-1]) / math.prod(coarser.shape[:-1]))
            frequencies[kept] = spectrum(coarser)[kept] * scale
            y = idctn(frequencies, axes=axes, norm="ortho")
        coarser = y
    assert coarser is not None
    return coarser
