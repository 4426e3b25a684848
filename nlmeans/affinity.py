"""f, the affinity of two positions.

An affinity turns the features around a position into a query (for i) and a key (for j) and
scores the pair. For the exponential family the score is log f, for the others f itself. The
scores are written with operators that every array library has, and the one formula that the
compiled core shares, `patch_gaussian_log`, with its primitive passed in.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from nlmeans.embedding import Embedding, Identity, Patch
from nlmeans.errors import ParameterError
from nlmeans.neighborhood import crop
from nlmeans.validation import check_choice, check_number

Center = Literal["one", "max", "zero"]
PatchKernel = Literal["flat", "gaussian"]

SMALLEST_SUM = 2.0**-90
"""Where the weights of all others sum to less, about 1e-27, NL-means keeps the pixel."""


def patch_gaussian_log(
    distance: Any, floor: Any, minus_inverse_h2: Any, relu: Callable[[Any], Any]
) -> Any:
    """Log f of NL-means, -max(D - 2 sigma^2, 0) / h^2, for scalars and arrays of any library.

    `distance` is D and `floor` its expectation 2 sigma^2 for two patches that differ by noise
    alone; scaling both by n and -1 / h^2 by 1/n changes nothing, so a sum serves as a mean.
    """
    return relu(distance - floor) * minus_inverse_h2


class Affinity(Protocol):
    """f(x_i, x_j), as score(query(x_i), key(x_j))."""

    exponential: ClassVar[bool]
    """Whether the score is log f (True) or f itself."""

    @property
    def center(self) -> Center | None:
        """The rule that replaces f(x_i, x_i); None leaves it as the affinity gives it."""

    def reach(self, ndim: int) -> tuple[int, ...]:
        """How far around a position its features extend, per spatial axis."""

    def query(self, image: np.ndarray) -> np.ndarray:
        """Features of i: (*space + 2 reach, C) to (*space, D)."""

    def key(self, image: np.ndarray) -> np.ndarray:
        """Features of j: (*space + 2 reach, C) to (*space, D)."""

    def score(self, query: np.ndarray, key: np.ndarray) -> np.ndarray:
        """Score of (..., D) against (..., D), broadcast over the leading axes."""


@dataclass(frozen=True)
class PatchGaussian:
    r"""f = exp(-max(D - 2 sigma^2, 0) / h^2): the affinity of NL-means.

    D is the mean over patch positions b (weighted by the patch kernel) and over channels of
    ``(x(i+b) - x(j+b))^2``. With sigma = 0 this is Eq. (2) of Buades, Coll, Morel, "A non-local
    algorithm for image denoising", CVPR 2005; the offset 2 sigma^2 is that of the same authors'
    "Non-Local Means Denoising", IPOL 1, 2011, doi:10.5201/ipol.2011.bcm_nlm.

    Parameters
    ----------
    h : float
        Filter strength, in the units of the image; from 1e-100 to 1e100, so that squares exist.
    sigma : float, optional
        Standard deviation of the noise, in the units of the image; from 0 to 1e100.
    patch_radius : int or tuple of int, optional
        r of a patch of 2 r + 1 positions, for all spatial axes or one per axis.
    patch_kernel : {"flat", "gaussian"}, optional
        Weights of the patch positions: equal, or the Gaussian of the 2005 paper with a standard
        deviation of r / 2 along each axis.
    center : {"one", "max", "zero"}, optional
        f(x_i, x_i): 1, as the formula has it; the largest of the other weights (IPOL 2011); or
        0. Where the others sum to less than `SMALLEST_SUM`, the pixel is kept whatever the rule.
    cutoff : float, optional
        f below it is 0; 0 <= cutoff < 1.

    Raises
    ------
    ParameterError
        If a value breaks its rule.
    """

    h: float
    sigma: float = 0.0
    patch_radius: int | tuple[int, ...] = 3
    patch_kernel: PatchKernel = "flat"
    center: Center = "one"
    cutoff: float = 0.0

    exponential: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_number("h", self.h, least=1e-100, most=1e100)
        check_number("sigma", self.sigma, least=0, most=1e100)
        check_choice("center", self.center, ("one", "max", "zero"))
        if check_number("cutoff", self.cutoff, least=0) >= 1:
            raise ParameterError("cutoff", "must be below 1", self.cutoff)
        self.patch  # noqa: B018 - checks radius and kernel

    @property
    def patch(self) -> Patch:
        """The patch vector that D is a squared distance of."""
        return Patch(self.patch_radius, self.patch_kernel)

    def reach(self, ndim: int) -> tuple[int, ...]:
        """Patch radius per axis."""
        return self.patch.reach(ndim)

    def query(self, image: np.ndarray) -> np.ndarray:
        """Patch vectors, scaled so that D is the squared distance of two."""
        return self.patch(image)

    key = query

    def score(self, query: np.ndarray, key: np.ndarray) -> np.ndarray:
        """Log f, minus infinity where f is cut off."""
        distance = ((query - key) ** 2).sum(-1)
        log_f = patch_gaussian_log(
            distance, 2 * self.sigma**2, -1 / self.h**2, lambda value: np.maximum(value, 0)
        )
        if self.cutoff > 0:
            log_f = np.where(log_f < math.log(self.cutoff), -np.inf, log_f)
        return log_f


@dataclass(frozen=True)
class _Embedded:
    """Query and key of the affinities of the non-local block.

    Parameters
    ----------
    theta, phi : Embedding
        Embedding of i and of j.
    """

    theta: Embedding
    phi: Embedding

    center: ClassVar[Center | None] = None

    def reach(self, ndim: int) -> tuple[int, ...]:
        """The wider reach of the two embeddings, per axis."""
        return tuple(map(max, self.theta.reach(ndim), self.phi.reach(ndim)))

    def query(self, image: np.ndarray) -> np.ndarray:
        """theta(x)."""
        return self._embed(self.theta, image)

    def key(self, image: np.ndarray) -> np.ndarray:
        """phi(x)."""
        return self._embed(self.phi, image)

    def _embed(self, embedding: Embedding, image: np.ndarray) -> np.ndarray:
        """Embed, after cutting off the margin that only the other embedding needs."""
        ndim = image.ndim - 1
        unused = np.subtract(self.reach(ndim), embedding.reach(ndim))
        return embedding(crop(image, tuple(unused)))


@dataclass(frozen=True)
class EmbeddedGaussian(_Embedded):
    """f = exp(theta(x_i) . phi(x_j)): Eq. (3) of Wang et al.

    X. Wang, R. Girshick, A. Gupta, K. He, "Non-local Neural Networks", CVPR 2018.

    Parameters
    ----------
    theta, phi : Embedding
        Embedding of i and of j, with the same number of features.
    """

    exponential: ClassVar[bool] = True

    def score(self, query: np.ndarray, key: np.ndarray) -> np.ndarray:
        """Log f."""
        return (query * key).sum(-1)


@dataclass(frozen=True)
class Gaussian(EmbeddedGaussian):
    """f = exp(x_i . x_j): Eq. (2) of Wang et al., the embeddings being the identity."""

    theta: Embedding = Identity()  # noqa: RUF009 - frozen and empty
    phi: Embedding = Identity()  # noqa: RUF009


@dataclass(frozen=True)
class DotProduct(_Embedded):
    """f = theta(x_i) . phi(x_j): Eq. (4) of Wang et al.

    Parameters
    ----------
    theta, phi : Embedding
        Embedding of i and of j, with the same number of features.
    """

    exponential: ClassVar[bool] = False

    def score(self, query: np.ndarray, key: np.ndarray) -> np.ndarray:
        """Return f."""
        return (query * key).sum(-1)


@dataclass(frozen=True)
class Concatenation(_Embedded):
    """f = relu(w_f . [theta(x_i), phi(x_j)]): Eq. (5) of Wang et al.

    Parameters
    ----------
    theta, phi : Embedding
        Embedding of i and of j.
    weight : ndarray, shape (D_theta + D_phi,)
        w_f, first the part that meets theta(x_i).
    """

    weight: np.ndarray

    exponential: ClassVar[bool] = False

    def score(self, query: np.ndarray, key: np.ndarray) -> np.ndarray:
        """Return f."""
        split = query.shape[-1]
        joint = query @ self.weight[:split] + key @ self.weight[split:]
        return np.maximum(joint, 0)
