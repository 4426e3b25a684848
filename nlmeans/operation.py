"""The operation that the project is about, as one frozen value.

    y_i = 1/C_i * sum over j in N(i) of f(x_i, x_j) * g(x_j)

An engine computes it; nothing here loops over pixels.
"""

from dataclasses import dataclass, field

from nlmeans.affinity import Affinity
from nlmeans.embedding import Embedding, Identity
from nlmeans.errors import ParameterError
from nlmeans.neighborhood import Everywhere, Neighborhood
from nlmeans.normalizer import Count, Normalizer, Sum


@dataclass(frozen=True)
class NonLocalMean:
    """A weighted non-local average, defined by four choices.

    Parameters
    ----------
    affinity : Affinity
        f. `nlmeans.affinity.PatchGaussian` makes it NL-means.
    neighborhood : Neighborhood, optional
        N(i). Default: `Everywhere`.
    normalizer : Normalizer, optional
        C_i. Default: `Sum` for the exponential affinities, `Count` for the others.
    values : Embedding, optional
        g. Default: the pixel itself.
    patchwise : bool, optional
        Average whole patches, of the reach of the affinity, with the weights of the pixels in their
        middle. A pixel is then the mean of what all patches of the image that cover it have for it:
        IPOL 2011, Sec. 3.

    Raises
    ------
    ParameterError
        If the normalizer is `Sum` while f can be negative, or not `Sum` while patchwise.

    References
    ----------
    A. Buades, B. Coll, J.-M. Morel, "Non-Local Means Denoising", IPOL 1, 2011,
    doi:10.5201/ipol.2011.bcm_nlm (patchwise).

    X. Wang, R. Girshick, A. Gupta, K. He, "Non-local Neural Networks", CVPR 2018, Eq. (1).

    Examples
    --------
    >>> from nlmeans.affinity import PatchGaussian
    >>> from nlmeans.neighborhood import Window
    >>> nl_means = NonLocalMean(PatchGaussian(h=10.0, patch_radius=3), Window(10))
    """

    affinity: Affinity
    neighborhood: Neighborhood = field(default_factory=Everywhere)
    normalizer: Normalizer = None  # type: ignore[assignment]  # never stays None
    values: Embedding = field(default_factory=Identity)
    patchwise: bool = False

    def __post_init__(self) -> None:
        exponential = self.affinity.exponential
        if self.normalizer is None:
            object.__setattr__(self, "normalizer", Sum() if exponential else Count())
        elif isinstance(self.normalizer, Sum) and not exponential:
            raise ParameterError(
                "normalizer", "must be Count for an affinity whose sum can vanish", self.affinity
            )
        if self.patchwise and not isinstance(self.normalizer, Sum):
            raise ParameterError("patchwise", "must go with the normalizer Sum", self.normalizer)


def check_supported(engine: str, reason: str | None) -> None:
    """Refuse an operation that an engine can not compute, for a reason.

    Raises
    ------
    ParameterError
        If there is one.
    """
    if reason is not None:
        raise ParameterError("engine", f"{engine!r} can not compute this: {reason}")
