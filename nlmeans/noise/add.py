"""Adding noise to an image."""

from typing import Any

import numpy as np

from nlmeans.dtypes import from_float
from nlmeans.errors import ParameterError
from nlmeans.noise.models import NOISE_MODELS, noise_model
from nlmeans.validation import check_array, check_choice, check_number


def add_noise(
    image: Any,
    sigma: float | None = None,
    *,
    noise: str = "gaussian",
    gain: float | None = None,
    rng: np.random.Generator | int | None,
) -> np.ndarray:
    """Add noise, white and Gaussian or of another model.

    Parameters
    ----------
    image : array_like
        Clean image x of any shape with two axes or more; not negative unless for Gaussian noise.
    sigma : float, optional
        Standard deviation, >= 0, in the units of the image, for "speckle" relative to it and at
        most 1. Needed by all models but "poisson"; 0 is no noise.
    noise : {"gaussian", "poisson", "poisson-gaussian", "rician", "speckle"}, optional
        x + N(0, sigma^2); gain * Poisson(x / gain); both of them; the magnitude of x with
        N(0, sigma^2) added to its real and imaginary parts; x times a gamma variable of mean 1
        and standard deviation sigma.
    gain : float, optional
        "poisson" and "poisson-gaussian": units of the image for one count, above 0. For a peak of
        p counts in an image of maximum m it is m / p.
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
        If a parameter is out of its range, missing or not one of the model, or the image not
        usable.
    """
    x = check_array("image", image)
    check_choice("noise", noise, NOISE_MODELS)
    if noise != "poisson":
        sigma = check_number("sigma", sigma, least=0)
    # These models divide by sigma. "poisson-gaussian" does not, and has noise left.
    nothing = sigma == 0 and gain is None and noise in ("gaussian", "rician", "speckle")
    model = None if nothing else noise_model(noise, sigma=sigma, gain=gain)
    try:
        generator = np.random.default_rng(rng)
    except (TypeError, ValueError):
        raise ParameterError(
            "rng", "must be a numpy.random.Generator, a seed that is not negative, or None", rng
        ) from None
    y = x.astype(np.float64)
    return from_float(y if model is None else model.draw(y, generator), x.dtype)
