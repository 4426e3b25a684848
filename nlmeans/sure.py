"""The error of a denoised image from the noisy one alone, and with it the best h.

For an estimate f(y) of an image from y, which is that image with white Gaussian noise,

    |f(y) - y|^2 / N - sigma^2 + 2 sigma^2 / N * sum over the N values of d f_i / d y_i

has the mean of the squared error: Stein's unbiased risk estimate. The sum, the divergence of f, has
a closed form for pixelwise NL-means; for everything else a small change of y shows it.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import product
from typing import Any, get_args

import numpy as np

from nlmeans.affinity import SMALLEST_SUM, Center, patch_gaussian_log
from nlmeans.errors import ParameterError
from nlmeans.neighborhood import per_axis
from nlmeans.validation import check_array, check_choice, check_number, check_work

TILE, TILES = 32, 36
"""Sides of the tiles that the closed form looks at, and C + 1 times their number: 16 of a gray
image. On six images of Set12 at sigma 10, half as many lost 0.01 to 0.04 of a gain of 0.06 dB."""

PROBE = 0.01
"""Size of the small change over sigma. On six images of Set12 0.1 made the risk 1 to 3 % too large
at sigma 10 and 6 to 10 % at 50, as f is not linear; 0.001 made it 3 % too small at sigma 10 and
half the h of the rule, as weights are float32. With 0.01 neither shows; the scatter is 2 to 6 %."""

FACTORS = (0.5, 0.7, 1.0, 1.4, 2.0)  # what is tried for the best h, over the h to start from


def nl_means_sure(
    image: Any,
    sigma: float,
    hs: Iterable[float],
    *,
    patch_radius: int | tuple[int, ...],
    search_radius: int | tuple[int, ...],
    center: Center,
    offset: float | None = None,
) -> np.ndarray:
    """Estimate the mean squared error of pixelwise NL-means with a flat patch, for several h.

    After D. Van De Ville, M. Kocher, "SURE-Based Non-Local Means", IEEE Signal Processing Letters
    16(11), 2009, with the offset and the center rules added. The mean is over pixels whose window,
    with its patches, lies in the image, as noise beyond the border is not independent: of these,
    up to 16384 in tiles, fewer in color. Takes O((2 s + 1)^2 C len(hs)) time for each.

    Parameters
    ----------
    image : array_like, shape (rows, columns, C)
        The noisy image, larger than a window with its patches.
    sigma, hs : float, iterable of float
        Noise level, 0 to 1e100, and filter strengths, 1e-100 to 1e100, in the units of the image.
    patch_radius, search_radius, center
        As of `nlmeans.affinity.PatchGaussian` and `nlmeans.neighborhood.Window`.
    offset : float, optional
        The sigma in f, from 0 to 1e100; 0 is the plain form. Default: that of the noise.

    Returns
    -------
    ndarray of float64, shape (len(hs),)
        Estimates, in squared units of the image; by chance they may be negative.

    Raises
    ------
    ParameterError
        If an argument breaks its rule.
    """
    y = check_array("image", image)
    sigma = check_number("sigma", sigma, least=0, most=1e100)
    offset = check_number("offset", sigma if offset is None else offset, least=0, most=1e100)
    scales = [1 / check_number("hs", h, least=1e-100, most=1e100) ** 2 for h in hs]
    patch = per_axis("patch_radius", patch_radius, 2)
    search = per_axis("search_radius", search_radius, 2)
    check_choice("center", center, get_args(Center))
    margin = [2 * (p + s) for p, s in zip(patch, search, strict=True)]
    interior = [size - m for size, m in zip(y.shape, margin, strict=False)]
    if y.ndim != 3 or min(interior) < 1:
        raise ParameterError("image", f"must have channels and exceed {margin} pixels", y.shape)
    check_work(y.shape, search, patch)
    channels = y.shape[-1]
    tiles = _tiles(interior, TILE, max(math.isqrt(TILES // (channels + 1)), 1))
    around = [y[a.start : a.stop + margin[0], b.start : b.stop + margin[1]] for a, b in tiles]
    x = np.ascontiguousarray(np.moveaxis(np.stack(around), -1, 0), np.float64)
    sums, nearest, slope_0 = _sums(x, patch, search, 2 * offset**2, scales)
    risks = []
    for scale, total in zip(scales, sums, strict=True):
        largest = np.exp(nearest * scale)
        total *= total[-1] >= SMALLEST_SUM  # else the pixel is kept: f_i = w_0 y_i, w_0 = 1
        w_0 = np.where(total[-1], largest if center == "max" else float(center == "one"), 1.0)
        C_i = w_0 + total[-1]
        change = total[:channels] / C_i  # f_i - y_i
        slope = total[-2] - (total[channels:-2] * change).sum(0)
        if center == "max":
            slope -= largest * (slope_0 * change).sum(0)
        slope *= 2 * scale / (channels * math.prod(2 * r + 1 for r in patch))
        divergence = (w_0 / C_i + slope / (channels * C_i)).mean()
        risks.append((change**2).mean() + sigma**2 * (2 * divergence - 1))
    return np.array(risks)


def _sums(
    x: np.ndarray, patch: Sequence[int], search: Sequence[int], floor: float, scales: list[float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums that the divergence needs, for tiles with what surrounds them, (C, tiles, y, x).

    With w_t = f(x_i, x_(i+t)), C_i their sum and n values in a patch, C_i df_i/dy_i is w_0 plus the
    sum over t of dw_t/dy_i (y_(i+t) - f_i). For t != 0, dw_t/dy_i is 2 w_t / (n h^2) times a slope,
    y_(i+t) - y_i + [t in the patch] (y_(i-t) - y_i), as the other patch, too, may hold y_i, there
    against y_(i-t); but 0 unless D > 2 sigma^2. For t = 0 and "max" it is that of the largest w_t.

    Returns for each 1 / h^2 the sums of w_t times y_(i+t) - y_i (C planes), slopes (C), products of
    both, added, and 1; the log of the largest w_t for h = 1; the slopes there.
    """
    from scipy.ndimage import uniform_filter

    def moved(t: Sequence[int], reach: Sequence[int]) -> np.ndarray:
        """What lies at t from the pixels and from those around them, as far as reach says."""
        each = zip(patch, search, reach, t, x.shape[2:], strict=True)
        rows, columns = (slice(p + s - r + o, n - p - s + r + o) for p, s, r, o, n in each)
        return x[:, :, rows, columns]

    patches, y_i = moved((0, 0), patch), moved((0, 0), (0, 0))
    rows, columns = (slice(r, n - r) for r, n in zip(patch, patches.shape[2:], strict=True))
    box = (1, *(2 * r + 1 for r in patch))
    terms = np.ones((2 * len(x) + 2, *y_i.shape[1:]))
    step, slope = terms[: len(x)], terms[len(x) : -2]
    weighted, sums = np.empty_like(terms), np.zeros((len(scales), *terms.shape))
    nearest, slope_0 = np.full(y_i.shape[1:], -np.inf), np.zeros_like(slope)
    for t in filter(any, product(*(range(-s, s + 1) for s in search))):
        difference = moved(t, patch) - patches
        distance = uniform_filter((difference**2).mean(0), box)[:, rows, columns]
        log_w = patch_gaussian_log(distance, floor, -1.0, lambda value: np.maximum(value, 0))
        step[...] = slope[...] = difference[:, :, rows, columns]
        if all(abs(o) <= r for o, r in zip(t, patch, strict=True)):
            slope += moved([-o for o in t], (0, 0)) - y_i
        slope *= log_w < 0
        np.sum(step * slope, 0, out=terms[-2])
        for total, scale in zip(sums, scales, strict=True):
            total += np.multiply(terms, np.exp(log_w * scale), out=weighted)
        np.copyto(slope_0, slope, where=log_w > nearest)
        np.maximum(nearest, log_w, out=nearest)
    return sums, nearest, slope_0


def monte_carlo_sure(
    denoise: Callable[[np.ndarray], np.ndarray],
    image: Any,
    sigma: float,
    *,
    rng: np.random.Generator | int,
    denoised: np.ndarray | None = None,
) -> float:
    """Estimate the mean squared error of any denoiser, by its answer to a small change.

    S. Ramani, T. Blu, M. Unser, "Monte-Carlo SURE", IEEE Transactions on Image Processing 17(9),
    2008, doi:10.1109/TIP.2008.2001404.

    Parameters
    ----------
    denoise : callable
        Denoises a float64 image, neither rounding nor clipping. It is called twice.
    image, sigma : array_like, shape (*space, C), float
        The noisy image and the standard deviation of its noise, from 0 to 1e100, in its units.
    rng : numpy.random.Generator or int
        Source of the change, or a seed; with the same one, denoisers compare more accurately.
    denoised : ndarray, shape (*space, C), optional
        The image denoised, if known, neither rounded nor clipped; saves one call.

    Returns
    -------
    float
        Estimate, in squared units of the image; by chance it may be negative.

    Raises
    ------
    ParameterError
        If an argument breaks its rule.
    """
    y = check_array("image", image).astype(np.float64)
    sigma = check_number("sigma", sigma, least=0, most=1e100)
    estimate = denoise(y) if denoised is None else denoised
    if np.shape(estimate) != y.shape:
        raise ParameterError("denoised", f"must have the shape {y.shape}", np.shape(estimate))
    # Of one size and random sign: exact where f_i depends on y_i alone, as normal numbers are not.
    change = PROBE * sigma * np.random.default_rng(rng).choice([-1.0, 1.0], y.shape)
    divergence = float((change * (denoise(y + change) - estimate)).sum() / ((change**2).sum() or 1))
    return float(((estimate - y) ** 2).mean()) + sigma**2 * (2 * divergence - 1)


def refined_h(
    image: Any, sigma: float, h: float, run: Callable[..., Any] | None = None, **pixelwise: Any
) -> tuple[float, float]:
    """The h of least estimated error, from half to twice a given one, and that error.

    Parameters
    ----------
    image, sigma : array_like, shape (*space, C), float
        As of `monte_carlo_sure`.
    h : float
        Filter strength to start from, from 1e-99 to 1e99, in the units of the image.
    run : callable, optional
        ``run(image, h=h)`` denoises a float64 image, neither rounding nor clipping. It is called
        ten times on the image or, if that has more than 65536 pixels, on each of up to four tiles.
    **pixelwise
        Without `run`: options of `nl_means_sure`, which is then taken.

    Returns
    -------
    h, risk : float
        Vertex of a parabola in log h through the best of five and its neighbors, or an end of the
        range; and the mean squared error estimated there, of the pixels looked at.

    Raises
    ------
    ParameterError
        If an argument breaks its rule.
    """
    y = check_array("image", image)
    hs = [factor * check_number("h", h, least=1e-99, most=1e99) for factor in FACTORS]
    if run is None:
        risks = nl_means_sure(y, sigma, hs, **pixelwise)
    else:
        each = 2 if y.ndim == 3 else 1  # tiles of a volume would be narrower than its windows
        tiles = _tiles(y.shape[:-1], int(65536 ** (1 / (y.ndim - 1))) // each, each)
        runs = [partial(run, h=one) for one in hs]
        risks = np.mean([[monte_carlo_sure(f, y[t], sigma, rng=0) for t in tiles] for f in runs], 1)
    best = int(np.argmin(risks))
    if best in (0, len(hs) - 1):
        return hs[best], float(risks[best])
    a, b, c = np.polyfit(np.log(FACTORS)[best - 1 : best + 2], risks[best - 1 : best + 2], 2)
    return h * math.exp(-b / (2 * a)), float(c - b**2 / (4 * a))


def _tiles(space: Sequence[int], side: int, each: int) -> list[tuple[slice, ...]]:
    """Boxes spread over a space, `each` along an axis if they fit; or all, if that is no more."""
    whole = math.prod(space) <= (side * each) ** len(space)

    def spread(size: int) -> list[slice]:
        one = size if whole else min(size, side)
        step = size // min(each, size // one)
        return [slice(a, a + one) for a in range((step - one) // 2, size - one + 1, step)]

    return list(product(*map(spread, space)))
