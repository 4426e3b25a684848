"""Poisson noise of few counts, which no transform makes Gaussian: rounds, first of large pixels."""

import math
from collections.abc import Callable

import numpy as np

from nlmeans.noise.models import Poisson, PoissonGaussian
from nlmeans.progress import Progress, part

Denoise = Callable[[np.ndarray, Progress | None], np.ndarray]
"""Denoise an image (*space, C) whose noise is Gaussian with sigma 1."""

SHARES = ((1.0, (1.0, 0.5, 0.25)), (4.0, (1.0, 0.5)))
"""Mean counts of a pixel below which there are rounds, and the part of the noisy image in each; the
rest is the estimate of the round before. Over 4 crops of Set12, mean PSNR of nlm and ridge: two
rounds add 1.3 dB at a peak of 4 counts and 0.3 at 8, and cost 0.04 at 15; the third adds 0.1 to 3.6
at 2 counts and fewer."""

ENOUGH = 2.0
"""Mean counts that pixels are joined for, in all rounds but the last."""


def mean_counts(image: np.ndarray, model: Poisson | PoissonGaussian) -> float:
    """Mean counts of a pixel."""
    return float(image.mean(dtype=np.float64)) / model.gain


def are_few(image: np.ndarray, model: Poisson | PoissonGaussian) -> bool:
    """Whether `in_rounds` is better than one."""
    return mean_counts(image, model) < SHARES[-1][0]


def in_rounds(
    image: np.ndarray, model: Poisson | PoissonGaussian, denoise: Denoise, progress: Progress | None
) -> np.ndarray:
    """Denoise an image of few counts.

    A round denoises lam y + (1 - lam) x^, y the image and x^ the estimate so far, whose noise is
    that of more counts: of the model with a gain of lam^2 times its own. At first the mean of
    each b x b pixels is denoised, b^2 times the counts.

    Parameters
    ----------
    image : ndarray, shape (*space, C)
        Noisy image, of which `are_few` holds.
    model : Poisson or PoissonGaussian
        Its noise.
    denoise : callable
        The method for Gaussian noise.
    progress : callable, optional
        As of `nlmeans.denoise`.

    References
    ----------
    L. Azzari, A. Foi, "Variance stabilization for noisy+estimate combination in iterative Poisson
    denoising", IEEE Signal Processing Letters 23(8), 2016.
    """
    counts = mean_counts(image, model)
    shares = next(shares for most, shares in SHARES if counts < most)
    counts = max(counts, 1e-3)
    side = min(math.ceil((ENOUGH / counts) ** (1 / (image.ndim - 1))), min(image.shape[:-1]))
    estimate = image.astype(np.float64)
    for number, share in enumerate(shares):
        last = number == len(shares) - 1
        size = 1 if last else side
        mixed = _joined(share * image + (1 - share) * estimate, size)
        of_round = PoissonGaussian(
            model.gain * share**2 / size ** (image.ndim - 1),
            model.sigma * share / size ** ((image.ndim - 1) / 2),
        )
        report = part(progress, number / len(shares), (number + 1) / len(shares))
        denoised = of_round.invert(denoise(of_round.stabilize(mixed), report))
        estimate = _parted(denoised, size, image.shape)
    return estimate


def _joined(image: np.ndarray, size: int) -> np.ndarray:
    """Means of size^d pixels; the last along an axis are of those that are left and repeated."""
    if size == 1:
        return image
    wanting = [(0, -n % size) for n in image.shape[:-1]]
    image = np.pad(image, [*wanting, (0, 0)], mode="symmetric")
    for axis in range(image.ndim - 1):
        shape = (*image.shape[:axis], -1, size, *image.shape[axis + 1 :])
        image = image.reshape(shape).mean(axis + 1)
    return image


def _parted(image: np.ndarray, size: int, shape: tuple[int, ...]) -> np.ndarray:
    """Pixels of their own again, between the means linearly."""
    if size == 1:
        return image
    for axis, length in enumerate(shape[:-1]):
        at = (np.arange(length) + 0.5) / size - 0.5
        at = np.clip(at, 0, image.shape[axis] - 1)
        low = np.minimum(at.astype(int), max(image.shape[axis] - 2, 0))
        high = np.minimum(low + 1, image.shape[axis] - 1)
        weight = (at - low).reshape([-1 if k == axis else 1 for k in range(image.ndim)])
        image = (1 - weight) * image.take(low, axis) + weight * image.take(high, axis)
    return image
