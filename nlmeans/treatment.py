"""What the noise of an image calls for around a method that knows white Gaussian noise only."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nlmeans.dtypes import working_dtype
from nlmeans.errors import ParameterError
from nlmeans.noise import few_counts
from nlmeans.noise.estimate import NoiseEstimate, estimate_noise
from nlmeans.noise.fit import check_parameters, fitted_noise_model
from nlmeans.noise.models import NOISE_MODELS, Poisson, PoissonGaussian, noise_model
from nlmeans.progress import Progress
from nlmeans.strengths import Run, with_chroma, with_map, with_scales
from nlmeans.validation import check_choice, check_number

MOST_SCALES = 8
"""An image of 8192 pixels has 64 at the last."""

Sigma = float | tuple[float, ...] | np.ndarray


@dataclass(frozen=True)
class Noise:
    """The noise that is to be taken away, as given or found; nothing is left open.

    Parameters
    ----------
    model : str
        Name of the noise model.
    sigma : float, tuple of float, ndarray or None
        Of the model, or one for each channel or pixel; None where h alone says how strong.
    gain : float or None
        Of the model.
    scales : tuple of float or None
        Of correlated noise, sigma at each scale.
    estimate : NoiseEstimate or None
        What it was chosen by, if it was not given.
    """

    model: str = "gaussian"
    sigma: Sigma | None = None
    gain: float | None = None
    scales: tuple[float, ...] | None = None
    estimate: NoiseEstimate | None = None

    def method_sigma(self) -> float | None:
        """Sigma of the image that the method gets to see, at strength 1."""
        if self.scales is not None or np.ndim(self.sigma) > 0 or self.model != "gaussian":  # type: ignore[arg-type]
            return 1.0
        return self.sigma  # type: ignore[return-value]


def check_noise(*, noise: str | None, sigma: Any, gain: Any, scales: Any) -> None:
    """Check what is given of the noise, as far as that does not depend on the image.

    Raises
    ------
    ParameterError
        If something is out of its range or does not go together.
    """
    name = "gaussian" if noise is None else check_choice("noise", noise, NOISE_MODELS)
    if scales is not None:
        _check_scales(name, sigma, gain, scales)
    elif name != "gaussian":
        if np.ndim(sigma) > 0:
            rule = f"must be one number for {name} noise"
            raise ParameterError("sigma", rule, np.shape(sigma))
        check_parameters(name, sigma=sigma, gain=gain)
    elif gain is not None:
        raise ParameterError("gain", "must go with noise 'poisson' or 'poisson-gaussian'", gain)


def given_noise(
    image: np.ndarray, *, noise: str | None, sigma: Any, gain: Any, scales: Any
) -> Noise:
    """What is given of the noise of an image (*space, C), as `check_noise` found it good.

    The missing parameters of a model are found in the image; sigma may stay None if there is no
    model.

    Raises
    ------
    ParameterError
        If sigma does not go with the shape of the image, or the image not with the model.
    """
    if scales is not None:
        return Noise(scales=tuple(map(float, scales)))
    if noise in (None, "gaussian"):
        return Noise(sigma=_check_sigma(sigma, image.shape))
    model = fitted_noise_model(noise, image, sigma=sigma, gain=gain)
    if model is None:
        return Noise(sigma=0.0)
    name = next(name for name, kind in NOISE_MODELS.items() if kind is type(model))
    return Noise(name, **asdict(model))  # type: ignore[call-overload]


def estimated_noise(image: np.ndarray, *, white_only: bool) -> Noise:
    """Choose for an image (*space, C) of which nothing is known.

    Parameters
    ----------
    image : ndarray, shape (*space, C)
        Noisy image.
    white_only : bool
        Whether one sigma is all that the method can use.
    """
    estimate = estimate_noise(image, channel_axis=-1)
    if white_only:
        return Noise(sigma=estimate.strength, estimate=estimate)
    if not estimate.white:
        return Noise(scales=estimate.scales, estimate=estimate)
    if estimate.signal_dependent:
        gain, sigma = estimate.gain, estimate.offset_variance**0.5
        return Noise("poisson-gaussian", sigma, gain, estimate=estimate)
    return Noise(sigma=estimate.strength, estimate=estimate)


def treated(
    image: np.ndarray, noise: Noise, chroma: float | None, run: Run, progress: Progress | None
) -> np.ndarray:
    """Denoise an image (*space, C): stabilize, denoise at all strengths, and back.

    Parameters
    ----------
    image : ndarray, shape (*space, C)
        Noisy image.
    noise : Noise
        What `given_noise` or `estimated_noise` said of it.
    chroma : float or None
        Strength for chroma, luma being 1; None for 1.
    run : callable
        The method for the sigma of `Noise.method_sigma`, at a strength.
    progress : callable, optional
        As of `nlmeans.denoise`.
    """

    def colored(x: np.ndarray, strength: float, report: Progress | None) -> np.ndarray:
        if chroma is None or chroma == 1:
            return run(x, strength, report)
        return with_chroma(x, chroma, lambda z, s, r: run(z, s * strength, r), report)

    if noise.scales is not None:
        return with_scales(image, noise.scales, colored, progress)
    if isinstance(noise.sigma, np.ndarray):
        return with_map(image, noise.sigma, colored, progress)
    if isinstance(noise.sigma, tuple):
        unit = np.array(noise.sigma, working_dtype(image.dtype))
        return colored(image / unit, 1.0, progress) * unit
    if noise.model == "gaussian":
        return colored(image, 1.0, progress)
    parameters = {"sigma": noise.sigma, "gain": noise.gain}
    model = noise_model(noise.model, **{k: v for k, v in parameters.items() if v is not None})
    if isinstance(model, Poisson | PoissonGaussian) and few_counts.are_few(image, model):
        return few_counts.in_rounds(image, model, lambda z, r: colored(z, 1.0, r), progress)
    return model.invert(colored(model.stabilize(image), 1.0, progress))


def check_chroma(chroma: Any, channels: int) -> float | None:
    """Strength for chroma, >= 0, of an image that has any."""
    if chroma is None:
        return None
    value = check_number("chroma", chroma, least=0, most=1e6)
    if channels == 1:
        raise ParameterError("chroma", "must not be given for an image without channels", chroma)
    return value


def _check_scales(name: str, sigma: Any, gain: Any, scales: Any) -> None:
    if name != "gaussian":
        raise ParameterError("scales", "must go with Gaussian noise", name)
    for other, value in (("sigma", sigma), ("gain", gain)):
        if value is not None:
            raise ParameterError(other, "must not be given with scales, which say it", value)
    if np.ndim(scales) != 1 or not 1 <= len(scales) <= MOST_SCALES:
        raise ParameterError("scales", f"must be a sequence of 1 to {MOST_SCALES} numbers", scales)
    for level in scales:
        check_number("scales", level, least=0, most=1e100)


def _check_sigma(sigma: Any, shape: tuple[int, ...]) -> Sigma | None:
    """One number, one for each channel, or one for each pixel."""
    if sigma is None or np.ndim(sigma) == 0:
        return sigma  # the method checks it
    *space, channels = shape
    values = np.asarray(sigma, dtype=np.float64)
    if not np.isfinite(values).all() or values.min(initial=0) < 0 or values.max(initial=0) > 1e100:
        raise ParameterError("sigma", "must be finite and at least 0 everywhere")
    if values.shape == (channels,) and channels > 1:
        if not values.all():
            raise ParameterError("sigma", "must be above 0 for each channel", sigma)
        return tuple(values.tolist())
    if values.shape == tuple(space):
        return values
    raise ParameterError(
        "sigma",
        f"must be one number, one for each channel, or a map of shape {tuple(space)}",
        sigma,
    )
