"""Noise: adding it to an image, and estimating its level in one."""

from typing import Any

import numpy as np

from nlmeans.dtypes import from_float
from nlmeans.errors import ParameterError
from nlmeans.validation import check_array, check_channel_axis, check_number


def add_noise(image: Any, sigma: float, *, rng: np.random.Generator | int | None) -> np.ndarray:
    """Add white Gaussian noise.

    Parameters
    ----------
    image : array_like
        Image of any shape with two axes or more.
    sigma : float
        Standard deviation, >= 0, in the units of the image.
    rng : numpy.random.Generator, int or None
        Source of the noise, or a seed for one; None draws a new seed from the system.

    Returns
    -------
    ndarray
        Noisy image, dtype and shape as given. Floats are not clipped; integers are rounded and
        clipped to the range of their dtype, so that noise in black and white is cut off: for
        comparisons with published tables convert to float first.

    Raises
    ------
    ParameterError
        If sigma is negative or the image not usable.
    """
    x = check_array("image", image)
    sigma = check_number("sigma", sigma, least=0)
    try:
        generator = np.random.default_rng(rng)
    except (TypeError, ValueError):
        raise ParameterError(
            "rng", "must be a numpy.random.Generator, a seed that is not negative, or None", rng
        ) from None
    noise = generator.normal(0.0, sigma, x.shape)
    return from_float(x.astype(np.float64) + noise, x.dtype)


def estimate_sigma(image: Any, *, channel_axis: int | None = None) -> float:
    """Standard deviation of white Gaussian noise in an image.

    The median absolute value that a mask of second differences along the last two axes of space
    leaves, scaled: smooth parts and edges along an axis vanish, noise stays.

    Parameters
    ----------
    image : array_like
        Image of two to four spatial axes; at least 3 pixels along the last two.
    channel_axis : int, optional
        Axis that counts channels; their noise is taken to be of one level.

    Returns
    -------
    float
        In the units of the image; 0 where an image is too small or has no noise. Texture is
        taken for noise: on natural images without any, 1 to 2 gray levels of 255 are found.

    Raises
    ------
    ParameterError
        If the image is not usable.

    References
    ----------
    J. Immerkaer, "Fast noise variance estimation", Computer Vision and Image Understanding
    64(2), 1996 (the mask); the median in place of the mean ignores the minority of pixels that
    lie on texture.
    """
    x = check_array("image", image)
    axis = check_channel_axis("image", x, channel_axis)
    space = np.moveaxis(x, axis, 0) if axis is not None else x
    if min(space.shape[-2:]) < 3:
        return 0.0
    # The mask [1 -2 1]' [1 -2 1] turns unit white noise into noise of standard deviation 6.
    second = np.diff(np.diff(space.astype(np.float64), 2, axis=-1), 2, axis=-2)
    # For a normal variable the median of |x| is 0.67449 standard deviations.
    return float(np.median(np.abs(second))) / (0.6744897501960817 * 6)
