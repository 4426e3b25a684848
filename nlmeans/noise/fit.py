"""Parameters of a noise model, from an image."""

from dataclasses import fields
from typing import Any

import numpy as np

from nlmeans.errors import ParameterError
from nlmeans.noise.base import NoiseModel
from nlmeans.noise.estimate import estimate_noise, estimate_sigma
from nlmeans.noise.models import NOISE_MODELS, noise_model
from nlmeans.validation import check_choice

ROUNDS = 12
"""Most steps to the fixed point; 3 to 6 are usual."""

CLOSE = 0.005
"""The parameter is found when the noise is 1 to within this; an estimate is no better."""


def check_parameters(name: str, *, sigma: Any, gain: Any) -> list[str]:
    """Check the parameters that are given of a noise model; return the names of the others."""
    model = NOISE_MODELS[check_choice("noise", name, NOISE_MODELS)]
    given = {"sigma": sigma, "gain": gain}
    missing = [field.name for field in fields(model) if given[field.name] is None]  # type: ignore[arg-type]
    noise_model(name, **given | dict.fromkeys(missing, 1.0))
    return missing


def fitted_noise_model(
    name: str, image: np.ndarray, *, sigma: float | None = None, gain: float | None = None
) -> NoiseModel | None:
    """Noise model of a name, with the parameters that are not given found in the image.

    A single parameter is the one with which the noise of the stabilized image is 1, as far as
    `estimate_sigma` can tell, found by fixed-point iteration. Gain and sigma of "poisson-gaussian"
    are those of `estimate_noise`.

    Parameters
    ----------
    name : str
        Name of the model.
    image : ndarray, shape (*space, C)
        Noisy image.
    sigma, gain : float, optional
        Parameters, as of `noise_model`.

    Returns
    -------
    NoiseModel or None
        None for an image without noise.

    Raises
    ------
    ParameterError
        If the model does not take a parameter, or the image is none for it.

    References
    ----------
    A. Foi, "Noise estimation and removal in MR imaging: the variance-stabilization approach",
    ISBI 2011, Sec. 3 (the iteration, for Rician noise).
    """
    missing = check_parameters(name, sigma=sigma, gain=gain)
    given = {"sigma": sigma, "gain": gain}
    if not missing:
        return noise_model(name, **given)
    if name == "gaussian":
        found = estimate_sigma(image, channel_axis=-1)
        return noise_model(name, sigma=found) if found > 0 else None
    if name == "poisson-gaussian":
        return _poisson_gaussian(image, given)
    return _fixed_point(name, missing[0], image)


def _poisson_gaussian(image: np.ndarray, given: dict[str, Any]) -> NoiseModel | None:
    estimate = estimate_noise(image, channel_axis=-1)
    found = {"gain": estimate.gain, "sigma": estimate.offset_variance**0.5}
    chosen = {name: found[name] if value is None else value for name, value in given.items()}
    if chosen["gain"] > 0:
        return noise_model("poisson-gaussian", **chosen)
    return noise_model("gaussian", sigma=estimate.sigma) if estimate.sigma > 0 else None


def _fixed_point(name: str, parameter: str, image: np.ndarray) -> NoiseModel | None:
    # The noise of 2 sqrt(y / gain) goes with the root of the gain that it really has.
    power = 2 if parameter == "gain" else 1
    mean = float(np.mean(image, dtype=np.float64))
    start = estimate_sigma(image, channel_axis=-1)
    if not (start > 0 and mean > 0):
        if image.min() < 0:  # no model of these takes that, and says so
            noise_model(name, **{parameter: 1.0}).stabilize(image)
        if name == "poisson" and np.ptp(image) > 0:  # so few counts that most blocks are dark
            raise ParameterError(parameter, "can not be estimated from this image; give it", None)
        return None
    value = {"poisson": start**2 / mean, "rician": start, "speckle": min(start / mean, 1.0)}[name]
    for _ in range(ROUNDS):
        model = noise_model(name, **{parameter: value})
        left = estimate_sigma(model.stabilize(image), channel_axis=-1)
        if abs(left - 1) < CLOSE or left == 0:
            break
        value *= left**power
        if name == "speckle":
            value = min(value, 1.0)
    return noise_model(name, **{parameter: value})
