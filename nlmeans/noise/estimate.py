"""Estimating the noise of an image."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from nlmeans.noise.blocks import SIDE, Blocks, joint_variance, planes, shrunk, windows
from nlmeans.noise.sample import Sample, least_flat, take_sample, whole_windows
from nlmeans.noise.spectrum import correlated_noise, grid_phase
from nlmeans.noise.varying import affine_variance, sigma_grid, spread_over
from nlmeans.validation import check_array, check_channel_axis

SIGNIFICANT = 10.0
"""Standard errors that the gain must be above 0. Of 62 photographs of BSDS500 (training) none with
white noise of sigma 5 passes for its texture, and with 5 in place of 10 one; with noise of
variance x 85 % do."""


@dataclass(frozen=True)
class NoiseEstimate:
    """What is known of the noise in an image, in the units of the image.

    Parameters
    ----------
    sigma : float
        Standard deviation of white Gaussian noise, jointly over the channels: the level in flat
        parts. 0 where an image is too small or has no noise.
    sigma_channels : tuple of float
        The same, of each channel.
    standard_error : float
        Of sigma, by the number of blocks it is from; texture may add to it.
    blocks : int
        Number of the flat blocks that sigma is from.
    strength : float
        What to denoise with: sigma of white noise; if it depends on the signal, the root of its
        mean variance over the image; if it is not `white`, the standard deviation of all of it.
    scales : tuple of float
        The same at scales 1, 2 and 4, that is of the means of so many pixels squared; of white
        noise strength / scale.
    white : bool
        False if the noise is correlated between pixels.
    levels : tuple of float
        `sigma` as it is found at scales 1, 2 and 4, as far as the image is large enough; of white
        noise sigma / scale, of texture more.
    gain, offset_variance : float
        a and b >= 0 of the variance a x + b at the level x.
    signal_dependent : bool
        Whether the gain is significant. If not, gain and offset_variance mean little.
    variation : float
        Largest level of `estimate_sigma_map` over the smallest; about 1 of uniform noise.
    """

    sigma: float
    sigma_channels: tuple[float, ...]
    standard_error: float
    blocks: int
    strength: float
    scales: tuple[float, ...]
    white: bool
    levels: tuple[float, ...]
    gain: float
    offset_variance: float
    signal_dependent: bool
    variation: float


def estimate_noise(image: Any, *, channel_axis: int | None = None) -> NoiseEstimate:
    """Noise of an image.

    Parameters
    ----------
    image : array_like
        Image of two to four spatial axes. Noise is looked for along the two longest, in blocks of
        8 x 8; an image with 3 to 7 pixels along one has `sigma` alone, from second differences.
    channel_axis : int, optional
        Axis that counts channels.

    Returns
    -------
    NoiseEstimate

    Raises
    ------
    ParameterError
        If the image is not usable.

    Notes
    -----
    White noise: blocks are sorted by the energy of their low DCT frequencies, and the high
    frequencies tell the noise of those whose low ones hold no more than it [1]_; of several
    channels the differences are taken, which hold little texture. Blocks with saturated values
    are left out or corrected, and blocks that are constant, if all have the one value of a mask.

    Correlated noise: see `nlmeans.noise.spectrum`. Noise that is red, of more power the coarser
    the scale as that of natural images is, can not be told from texture and is not found, nor is
    noise of more than a quarter of the contrast, unless the image shows little else.

    A time independent of the size for images above a megapixel or so.

    References
    ----------
    .. [1] N. Ponomarenko, V. Lukin, M. Zriakhov, A. Kaarna, J. Astola, "An automatic approach to
       lossy compression of AVIRIS images", IGARSS 2007 (blocks); M. Lebrun, M. Colom, A. Buades,
       J.-M. Morel, "Secrets of image denoising cuisine", Acta Numerica 21, 2012.
    .. [2] A. Foi, M. Trimeche, V. Katkovnik, K. Egiazarian, "Practical Poissonian-Gaussian noise
       modeling and fitting for single-image raw-data", IEEE TIP 17(10), 2008 (the model).

    Examples
    --------
    >>> import numpy as np, nlmeans
    >>> noisy = nlmeans.add_noise(np.full((64, 64), 100.0), 5, rng=0)
    >>> estimate = nlmeans.noise.estimate_noise(noisy)
    >>> round(estimate.sigma), estimate.white
    (5, True)
    """
    x, axis = _checked(image, channel_axis)
    channels = 1 if axis is None else x.shape[axis]
    sample = take_sample(x, axis)
    if sample is None:
        sigma = _tiny_sigma(x, axis)
        return NoiseEstimate(
            sigma=sigma,
            sigma_channels=(sigma,) * channels,
            standard_error=sigma,
            blocks=0,
            strength=sigma,
            scales=(sigma, sigma / 2, sigma / 4),
            white=True,
            levels=(sigma,),
            gain=0.0,
            offset_variance=sigma**2,
            signal_dependent=False,
            variation=1.0,
        )
    unit = sample.unit
    found = sample.found()
    sigma, covariance, number = _white(found)
    gain, offset, significance = affine_variance(found)
    signal_dependent = significance > SIGNIFICANT
    mean = float(sample.blocks.mean.mean())
    white_strength = math.sqrt(max(gain * mean + offset, 0.0)) if signal_dependent else sigma
    # What texture adds is in all channels and much the same.
    excess = float(np.trace(covariance)) / channels - sigma**2
    each = np.sqrt(np.maximum(np.diag(covariance) - excess, 0)) * unit
    coefficients = number * sample.blocks.coefficients.shape[2] * max(channels - 1, 1)
    independent = coefficients * min(1.0, sample.stride**2 / SIDE**2)
    correlated, scales = _correlated(sample)
    white = not correlated or scales[0] <= white_strength
    if white:
        scales = (white_strength, white_strength / 2, white_strength / 4)
    levels = [sigma, *_coarse_levels(sample)]
    grid = sigma_grid(sample.blocks, sample.usable, sample.x.shape[2:], sample.stride)
    return NoiseEstimate(
        sigma=sigma * unit,
        sigma_channels=tuple(each.tolist()),
        standard_error=sigma / math.sqrt(2 * independent) * unit,
        blocks=number,
        strength=scales[0] * unit,
        scales=tuple(scale * unit for scale in scales),
        white=white,
        levels=tuple(level * unit for level in levels),
        gain=gain * unit,
        offset_variance=offset * unit * unit,
        signal_dependent=signal_dependent,
        variation=float(grid.max() / grid.min()) if grid.min() > 0 else 1.0,
    )


def estimate_sigma(image: Any, *, channel_axis: int | None = None) -> float:
    """Standard deviation of white Gaussian noise in an image.

    Parameters
    ----------
    image : array_like
        Image of two to four spatial axes; at least 3 pixels along the two longest.
    channel_axis : int, optional
        Axis that counts channels; their noise is taken to be of one level.

    Returns
    -------
    float
        `NoiseEstimate.sigma` of `estimate_noise`, in the units of the image; 0 where an image is
        too small or has no noise.

    Raises
    ------
    ParameterError
        If the image is not usable.
    """
    x, axis = _checked(image, channel_axis)
    sample = take_sample(x, axis)
    return _tiny_sigma(x, axis) if sample is None else _white(sample.found())[0] * sample.unit


def estimate_sigma_map(image: Any, *, channel_axis: int | None = None) -> np.ndarray:
    """Standard deviation of white noise at each pixel, where it varies slowly over the image.

    Parameters
    ----------
    image : array_like
        As of `estimate_sigma`.
    channel_axis : int, optional
        Axis that counts channels.

    Returns
    -------
    ndarray
        float64, of the shape of the image without the channel axis, smooth over some 50 pixels
        along its two longest axes and constant along others. What a region of texture hides
        is taken from around it. 0 where nothing is known.

    Raises
    ------
    ParameterError
        If the image is not usable.
    """
    x, axis = _checked(image, channel_axis)
    space = tuple(n for k, n in enumerate(x.shape) if k != axis)
    sample = take_sample(x, axis)
    if sample is None:
        return np.zeros(space)
    shape = sample.x.shape[2:]
    grid = sigma_grid(sample.blocks, sample.usable, shape, sample.stride)
    longest = sorted(sorted(range(len(space)), key=lambda k: (space[k], k))[-2:])
    pixels = spread_over(grid, shape) * sample.unit
    others = [k for k in range(len(space)) if k not in longest]
    return np.broadcast_to(np.expand_dims(pixels, others), space).copy()


def _checked(image: Any, channel_axis: int | None) -> tuple[np.ndarray, int | None]:
    x = check_array("image", image)
    return x, check_channel_axis("image", x, channel_axis)


def _tiny_sigma(image: np.ndarray, axis: int | None) -> float:
    """Level in an image too small for blocks, by the median of second differences; else 0."""
    x = planes(image, axis)
    if not 3 <= min(x.shape[2:]) < SIDE:
        return 0.0
    # The mask [1 -2 1]' [1 -2 1] makes noise of standard deviation 6 of that of 1 (Immerkaer
    # 1996), and the median of |x| is 0.67449 standard deviations.
    second = np.diff(np.diff(x.astype(np.float64), 2, axis=-1), 2, axis=-2)
    return float(np.median(np.abs(second))) / (0.6744897501960817 * 6)


def _white(found: Blocks) -> tuple[float, np.ndarray, int]:
    """Level of white noise in usable blocks, its covariance, and how many blocks were flat."""
    flat = found.flat(least_flat(found))
    covariance = found[flat].covariance()
    variance = joint_variance(covariance)
    # Ramps and stripes leave rounding errors, some 1e-16 of the largest value.
    variance = variance if variance > 1e-28 else 0.0
    return math.sqrt(variance), covariance, len(flat)


def _correlated(sample: Sample) -> tuple[bool, tuple[float, ...]]:
    """`correlated_noise` of a sample."""
    if min(sample.x.shape[2:]) < 3 * SIDE:
        return False, (0.0, 0.0, 0.0)
    row, column = grid_phase(sample.x)
    on_grid = sample.x[..., row:, column:]
    return correlated_noise(whole_windows(sample, windows(on_grid, 2 * SIDE, 4_000, step=SIDE)[0]))


def _coarse_levels(sample: Sample) -> list[float]:
    """Levels at scales 2 and 4, as far as the image goes."""
    levels = []
    for scale in (2, 4):
        if min(sample.x.shape[2:]) >= SIDE * scale:
            w = whole_windows(sample, windows(sample.x, SIDE * scale, 16_000 // scale**2)[0])
            while w.shape[-1] > SIDE:
                w = shrunk(w)
            blocks = Blocks.of(w)
            flat = blocks.flat(least_flat(blocks))
            levels.append(math.sqrt(joint_variance(blocks[flat].covariance())))
    return levels
