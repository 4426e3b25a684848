"""Models of noise, each with the way to white Gaussian noise of standard deviation 1 and back."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from nlmeans.errors import ParameterError
from nlmeans.noise.base import LARGEST, NoiseModel, Pointwise, in_pieces, positive
from nlmeans.noise.stabilize import (
    anscombe,
    anscombe_inverse,
    rician_inverse,
    rician_stabilized,
    rician_std,
)
from nlmeans.validation import check_choice, check_number

MOST_COUNTS = 1e18
"""NumPy draws Poisson numbers below 2^63."""

TINY = 1e-30
"""Any value that is rounded to 0 in float16, and is none of the smallest in float32."""


@dataclass(frozen=True)
class Gaussian(Pointwise):
    """Additive white noise: y = x + N(0, sigma^2).

    Parameters
    ----------
    sigma : float
        Standard deviation, above 0, in the units of the image.
    """

    sigma: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", check_number("sigma", self.sigma, above=0, most=1e100))

    def _std(self, x: np.ndarray) -> np.ndarray:
        return np.full(x.shape, self.sigma)

    def _stabilized(self, y: np.ndarray) -> np.ndarray:
        return y / self.sigma

    def _inverted(self, d: np.ndarray) -> np.ndarray:
        return d * self.sigma

    def _drawn(self, x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        return x + generator.normal(0.0, self.sigma, x.shape)


class _Counts(Pointwise):
    """Counts times a gain, and Gaussian noise or none."""

    gain: float
    sigma: float

    def _std(self, x: np.ndarray) -> np.ndarray:
        return np.sqrt(self.gain * x + self.sigma**2)

    def _stabilized(self, y: np.ndarray) -> np.ndarray:
        return anscombe(y / self.gain, self.sigma / self.gain)

    def _inverted(self, d: np.ndarray) -> np.ndarray:
        return self.gain * anscombe_inverse(d, self.sigma / self.gain)

    def _drawn(self, x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        if x.max(initial=0) / self.gain > MOST_COUNTS:
            raise ParameterError(
                "gain", f"must leave at most {MOST_COUNTS:g} counts in a pixel", self.gain
            )
        return self.gain * generator.poisson(x / self.gain)


@dataclass(frozen=True)
class Poisson(_Counts):
    r"""Shot noise: y = gain * Poisson(x / gain), with the variance gain * x.

    `PoissonGaussian` with sigma 0, for images without negative values; its notes hold here.

    Parameters
    ----------
    gain : float
        Units of the image for one count, above 0. An image of peak p counts and maximum m has
        the gain m / p.

    Notes
    -----
    Stabilized by the Anscombe transformation, :math:`2 \sqrt{y/a + 3/8} - 2 \sqrt{3/8}` with the
    gain a.

    References
    ----------
    M. Makitalo, A. Foi, "Optimal inversion of the Anscombe transformation in low-count Poisson
    image denoising", IEEE Transactions on Image Processing 20(1), 2011.
    """

    gain: float

    not_negative = "Poisson noise"
    sigma = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "gain", positive("gain", self.gain))


@dataclass(frozen=True)
class PoissonGaussian(_Counts):
    r"""Shot noise and read-out noise: y = gain * Poisson(x / gain) + N(0, sigma^2).

    The variance is gain * x + sigma^2. Black has to be at 0: subtract the offset of a camera.

    Parameters
    ----------
    gain : float
        Units of the image for one count, above 0. An image of peak p counts and maximum m has
        the gain m / p.
    sigma : float
        Standard deviation of the Gaussian part, >= 0, in the units of the image.

    Notes
    -----
    Stabilized by the generalized Anscombe transformation

    .. math:: f(y) = 2 \sqrt{\max(0, y/a + 3/8 + (\sigma/a)^2)} - 2 \sqrt{3/8 + (\sigma/a)^2},

    a the gain. The second term is a constant that makes f(0) = 0, so that float32 does not round
    the noise away where sigma is thousands of gains; f goes over into y / sigma there.

    The standard deviation of f(y) is within 2 % of 1 from x = 5 gains on. Below, it goes up to 1.1
    at x = 0 with a sigma of 1.8 gains, and down where counts are few and sigma is small: without
    any, to 0.85 at one count and to 0 at none.

    What is inverted is E[f(y) | x], the sum over k of
    :math:`(x/a)^k e^{-x/a} / k! \; E[f(a k + N(0, \sigma^2))]`, tabulated for x up to 100 gains in
    about 5 ms for each new ratio of sigma to gain, and above :math:`(D/2)^2 - 1/8 - (\sigma/a)^2`
    for :math:`D = d + 2 \sqrt{3/8 + (\sigma/a)^2}`.

    References
    ----------
    M. Makitalo, A. Foi, "Optimal inversion of the generalized Anscombe transformation for
    Poisson-Gaussian noise", IEEE Transactions on Image Processing 22(1), 2013.
    """

    gain: float
    sigma: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "gain", positive("gain", self.gain))
        sigma = check_number("sigma", self.sigma, least=0, most=LARGEST)
        object.__setattr__(self, "sigma", sigma)

    def draw(self, x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Noisy values of a clean image, which can not be negative, unlike a noisy one."""
        return Poisson(self.gain).draw(x, generator) + generator.normal(0.0, self.sigma, x.shape)


@dataclass(frozen=True)
class Rician(Pointwise):
    r"""Magnitudes of complex values with noise: y = \|x + N(0, sigma^2) + i N(0, sigma^2)\|.

    Parameters
    ----------
    sigma : float
        Standard deviation of the real and of the imaginary part, above 0, in the units of the
        image; that of y is 0.655 sigma where x is 0 and goes to sigma.

    Notes
    -----
    Stabilized by a numeric f with :math:`f' = 1 / \mathrm{std}(y | x)` where :math:`y = E[y | x]`,
    refined until the standard deviation of f(y) is within 0.97 to 1.06 for all x, and 0.5 % from
    x = 4 sigma on. The inverse of E[f(y) | x] also takes away that magnitudes are larger on average
    than x, by 1.25 sigma at x = 0. One set of tables, made in 20 ms, serves all sigma.

    References
    ----------
    A. Foi, "Noise estimation and removal in MR imaging: the variance-stabilization approach",
    ISBI 2011.
    """

    sigma: float

    not_negative = "Rician noise"

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", positive("sigma", self.sigma))

    def _std(self, x: np.ndarray) -> np.ndarray:
        return self.sigma * rician_std(x / self.sigma)

    def _stabilized(self, y: np.ndarray) -> np.ndarray:
        return rician_stabilized(y / self.sigma)

    def _inverted(self, d: np.ndarray) -> np.ndarray:
        return self.sigma * rician_inverse(d)

    def _drawn(self, x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        real = x + generator.normal(0.0, self.sigma, x.shape)
        return np.hypot(real, generator.normal(0.0, self.sigma, x.shape))


@dataclass(frozen=True)
class Speckle(Pointwise):
    r"""Multiplicative noise: y = x * n, n gamma-distributed with mean 1 and variance sigma^2.

    The intensity of coherent light, radar or ultrasound, averaged over L = 1 / sigma^2 looks. The
    gamma law is what L averaged exponential intensities follow; a lognormal one has no such origin
    and nearly the same density where sigma is small.

    Parameters
    ----------
    sigma : float
        Standard deviation of n, above 0, at most 1: that of a single look.

    Notes
    -----
    Stabilized by the logarithm over its standard deviation,
    :math:`\log(y) / \sqrt{\psi_1(L)}`, for all x exactly. As
    :math:`E[\log n] = \psi(L) - \log L`, the inverse is :math:`\exp(d \sqrt{\psi_1(L)} -
    \psi(L) + \log L)`. The noise is Gaussian for many looks; for one look it has a long tail to
    dark values.

    A 0 has no logarithm, and no probability either: it is what a quantizer made of a value below
    half a step. The density of such small values goes with :math:`y^{L-1}`, so that the mean of
    their logarithms is that of half a step times :math:`e^{-1/L}`, which a 0 is taken for. A step
    is 1 for integer dtypes, the smallest positive value for floats.

    References
    ----------
    H. Arsenault, G. April, "Properties of speckle integrated with a finite aperture and
    logarithmically transformed", Journal of the Optical Society of America 66(11), 1976.
    """

    sigma: float

    not_negative = "speckle"

    def __post_init__(self) -> None:
        sigma = check_number("sigma", positive("sigma", self.sigma), most=1)
        object.__setattr__(self, "sigma", sigma)

    def stabilize(self, y: Any) -> np.ndarray:
        """Logarithm over its standard deviation, zeros as the notes of the class say."""
        y = np.asarray(y)
        self._check(y)
        step = 1.0
        if y.dtype.kind == "f":
            step = float(np.min(y, where=y > 0, initial=np.inf))
        # An image of zeros alone has no step and stays near 0.
        floor = step / 2 * np.exp(-(self.sigma**2)) if step < np.inf else TINY
        return in_pieces(lambda piece: self._stabilized(np.where(piece == 0, floor, piece)), y)

    def _std(self, x: np.ndarray) -> np.ndarray:
        return self.sigma * x

    def _stabilized(self, y: np.ndarray) -> np.ndarray:
        return np.log(y) / self._log_moments()[1]

    def _inverted(self, d: np.ndarray) -> np.ndarray:
        mean, std = self._log_moments()
        return np.exp(d * std - mean)

    def _drawn(self, x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        return x * generator.gamma(self.sigma**-2, self.sigma**2, x.shape)

    def _log_moments(self) -> tuple[float, float]:
        """Mean and standard deviation of log(n)."""
        from scipy import special

        looks = self.sigma**-2
        mean = special.digamma(looks) - np.log(looks)
        return float(mean), float(np.sqrt(special.polygamma(1, looks)))


NOISE_MODELS: dict[str, Callable[..., NoiseModel]] = {
    "gaussian": Gaussian,
    "poisson": Poisson,
    "poisson-gaussian": PoissonGaussian,
    "rician": Rician,
    "speckle": Speckle,
}
"""Each model by its name; the fields of the dataclass are the parameters it takes."""


def noise_model(name: str, *, sigma: float | None = None, gain: float | None = None) -> NoiseModel:
    """Noise model of a name, its parameters checked.

    Parameters
    ----------
    name : {"gaussian", "poisson", "poisson-gaussian", "rician", "speckle"}
        The model.
    sigma : float, optional
        For all but "poisson": its `sigma`.
    gain : float, optional
        For "poisson" and "poisson-gaussian": units of the image for one count.

    Returns
    -------
    NoiseModel

    Raises
    ------
    ParameterError
        If a parameter is missing, out of its range, or not one of the model.
    """
    model = NOISE_MODELS[check_choice("noise", name, NOISE_MODELS)]
    takes = [field.name for field in fields(model)]  # type: ignore[arg-type]
    given = {"sigma": sigma, "gain": gain}
    for parameter, value in given.items():
        if parameter not in takes and value is not None:
            raise ParameterError(
                parameter,
                f"is not a parameter of {name} noise, which takes {', '.join(takes)}",
                value,
            )
    return model(**{parameter: given[parameter] for parameter in takes})
