"""NL-means with learned features in place of patches."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np

from nlmeans.affinity import PatchGaussian
from nlmeans.denoisers.base import check_two_axes
from nlmeans.denoisers.features import REACH, features
from nlmeans.denoisers.units import Units, units
from nlmeans.device import check_device, on_device
from nlmeans.dtypes import working_dtype
from nlmeans.engines import ENGINES, get_engine
from nlmeans.neighborhood import Window, per_axis
from nlmeans.operation import NonLocalMean
from nlmeans.progress import Progress
from nlmeans.validation import DTYPES, check_choice, check_number, check_work

SEARCH_RADIUS = 10
"""That the features were trained with."""


@dataclass(frozen=True, kw_only=True)
class LearnedNLMeans:
    """`NonLocalMean` with a `PatchGaussian` of single pixels that compares learned features.

    What is learned, by `nlmeans.learned.nl_means`, are the features and h; everything else is
    NL-means. Channels are averaged with the same weights, those of their mean.

    Parameters are those of `nlmeans.denoise`.
    """

    sigma: float | None = None
    search_radius: int | tuple[int, ...] | None = None
    engine: str = "numba"
    device: str | None = None
    units: Units | None = field(default=None, init=False)
    """As settled; None where there is nothing to be done."""

    summary: ClassVar[str] = "NL-means that compares learned features in place of patches"
    dtypes: ClassVar[tuple[str, ...]] = DTYPES

    def __post_init__(self) -> None:
        if self.sigma is not None:
            check_number("sigma", self.sigma, least=0, most=1e100)
        if self.search_radius is not None:
            per_axis("search_radius", self.search_radius, np.size(self.search_radius))
        check_choice("engine", self.engine, ENGINES)
        check_device(self.device, self.engine)

    @property
    def needs_sigma(self) -> bool:
        """Sigma is not given."""
        return self.sigma is None

    def settled(self, image: np.ndarray) -> Self:
        """The search radius that the features were trained with, and units of the image."""
        check_two_axes("learned-nlm", image)
        radius = SEARCH_RADIUS if self.search_radius is None else self.search_radius
        check_work(image.shape, per_axis("search_radius", radius, 2), (0, 0))
        sigma: Any = self.sigma
        choice = replace(self, sigma=float(sigma), search_radius=radius)
        # Of the mean of the channels, which the features are of.
        gray = image.mean(-1, dtype=np.float64, keepdims=True)
        level = float(sigma) / image.shape[-1] ** 0.5
        object.__setattr__(choice, "units", units(gray, level))  # settled once, never given
        return choice

    @property
    def operation(self) -> NonLocalMean:
        """The average, once settled."""
        settled: Any = self
        affinity = PatchGaussian(1.0, patch_radius=0, center="max")
        return NonLocalMean(affinity, Window(settled.search_radius))

    def halo(self, ndim: int) -> tuple[int, ...]:
        """Search radius and what the features see."""
        return tuple(m + REACH for m in self.operation.neighborhood.margin(ndim))

    def __call__(
        self, image: np.ndarray, *, workers: int | None = None, progress: Progress | None = None
    ) -> np.ndarray:
        """Denoise all channels with the weights of their mean."""
        base = image.astype(working_dtype(image.dtype), copy=False)
        if self.units is None:
            if progress is not None:
                progress(1.0)
            return base.copy()
        sigma: Any = self.sigma
        level = sigma / base.shape[-1] ** 0.5 * self.units.scale
        guide = features(self.units.shown(base.mean(-1)), level, workers)
        with on_device(self.device):
            return get_engine(self.engine).average(
                self.operation, base, guide=guide, workers=workers, progress=progress
            )
