"""The local filters that NL-means is compared with: they average what is near, not what is alike.

Computed by SciPy with the border rule of the rest (its mode "mirror"), on any number of axes.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from nlmeans.dtypes import working_dtype
from nlmeans.progress import Progress
from nlmeans.validation import DTYPES, check_integer, check_number


@dataclass(frozen=True, kw_only=True)
class _Local:
    """A filter of SciPy, applied to each channel; it needs to know nothing about the noise."""

    dtypes: ClassVar[tuple[str, ...]] = DTYPES
    needs_sigma: ClassVar[bool] = False

    def settled(self, image: np.ndarray) -> Self:
        """Nothing is left open."""
        return self

    def halo(self, ndim: int) -> tuple[int, ...]:
        """The reach of the filter, along every axis."""
        return (self._reach(),) * ndim

    def __call__(
        self, image: np.ndarray, *, workers: int | None = None, progress: Progress | None = None
    ) -> np.ndarray:
        """Filter one channel after the other, on one thread."""
        x = image.astype(working_dtype(image.dtype), copy=False)
        y = np.empty_like(x)
        for c in range(x.shape[-1]):
            y[..., c] = self._filter(x[..., c])
            if progress is not None:
                progress((c + 1) / x.shape[-1])
        return y

    def _reach(self) -> int:
        raise NotImplementedError

    def _filter(self, channel: np.ndarray) -> Any:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class _Box(_Local):
    """A filter over all positions within a radius along each axis."""

    radius: int = 1

    largest: ClassVar[int]

    def __post_init__(self) -> None:
        check_integer("radius", self.radius, least=0, most=self.largest)

    def _reach(self) -> int:
        return self.radius


@dataclass(frozen=True, kw_only=True)
class Mean(_Box):
    """Mean over a box of 2 radius + 1 pixels along each axis."""

    summary: ClassVar[str] = "mean of a box around the pixel"
    largest: ClassVar[int] = 500

    def _filter(self, channel: np.ndarray) -> Any:
        from scipy.ndimage import uniform_filter

        return uniform_filter(channel, 2 * self.radius + 1, mode="mirror")


@dataclass(frozen=True, kw_only=True)
class Median(_Box):
    """Median over a box of 2 radius + 1 pixels along each axis."""

    summary: ClassVar[str] = "median of a box around the pixel"
    # Time and memory grow with the box: 1001x1001 pixels ran out of memory on a small image.
    largest: ClassVar[int] = 50

    def _filter(self, channel: np.ndarray) -> Any:
        from scipy.ndimage import median_filter

        return median_filter(channel, 2 * self.radius + 1, mode="mirror")


@dataclass(frozen=True, kw_only=True)
class Gaussian(_Local):
    """Mean weighted by a Gaussian of the distance, `std` in pixels, cut off at 4 std."""

    std: float = 1.0

    summary: ClassVar[str] = "mean weighted by the distance to the pixel"

    def __post_init__(self) -> None:
        check_number("std", self.std, least=0, most=500)

    def _reach(self) -> int:
        return int(4 * self.std + 0.5)

    def _filter(self, channel: np.ndarray) -> Any:
        from scipy.ndimage import gaussian_filter

        return gaussian_filter(channel, self.std, mode="mirror", truncate=4.0)
