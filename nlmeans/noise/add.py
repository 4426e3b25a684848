"""Adding noise to an image."""

from typing import Any

import numpy as np

from nlmeans.dtypes import from_float
from nlmeans.errors import ParameterError
from nlmeans.validation import check_array, check_number


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
