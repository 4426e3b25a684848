"""NL-means."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, get_args

import numpy as np

from nlmeans.affinity import Center, PatchGaussian, PatchKernel
from nlmeans.denoisers.base import Preset, Progress
from nlmeans.engines import ENGINES, get_engine
from nlmeans.errors import ParameterError
from nlmeans.neighborhood import Window, per_axis
from nlmeans.operation import NonLocalMean
from nlmeans.rules import PLAIN_DEFAULT, offset_rule
from nlmeans.validation import DTYPES, check_choice, check_number, check_work

Radius = int | tuple[int, ...]
PRESETS: dict[Preset, str] = {
    "fast": "pixelwise, one pass: a gray megapixel takes a tenth of a second on one core"
}
"""How much to spend, and what on, with its cost for the default 7x7 patch and 21x21 window."""


@dataclass(frozen=True, kw_only=True)
class NLMeans:
    """NL-means: `NonLocalMean` with a `PatchGaussian` over a `Window`.

    Parameters are those of `nlmeans.denoise`.
    """

    h: float | None = None
    sigma: float | None = None
    patch_radius: Radius | None = None
    search_radius: Radius | None = None
    patch_kernel: PatchKernel = "flat"
    center: Center | None = None
    preset: Preset = "fast"
    engine: str = "numba"

    summary: ClassVar[str] = "average over similar patches of a search window"
    dtypes: ClassVar[tuple[str, ...]] = DTYPES

    def __post_init__(self) -> None:
        for name in ("h", "sigma"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), least=0, most=1e100)
        if self.h is not None and 0 < self.h < 1e-100:
            raise ParameterError("h", "must be 0 or at least 1e-100", self.h)
        for name in ("patch_radius", "search_radius"):
            if getattr(self, name) is not None:
                per_axis(name, getattr(self, name), np.size(getattr(self, name)))
        check_choice("patch_kernel", self.patch_kernel, get_args(PatchKernel))
        check_choice("center", self.center or "one", get_args(Center))
        check_choice("preset", self.preset, PRESETS)
        check_choice("engine", self.engine, ENGINES)

    @property
    def needs_sigma(self) -> bool:
        """Neither h nor sigma is given."""
        return self.h is None and self.sigma is None

    def settled(self, image: np.ndarray) -> Self:
        """With h alone the plain form and its customary sizes; with sigma the offset form's."""
        rule = PLAIN_DEFAULT if self.sigma is None else offset_rule(self.sigma, image)
        center: Center = "one" if self.sigma is None else "max"
        h = self.h if self.h is not None else rule.h_over_sigma * (self.sigma or 0)
        choice = replace(
            self,
            h=float(h),
            sigma=float(self.sigma or 0),
            patch_radius=rule.patch_radius if self.patch_radius is None else self.patch_radius,
            search_radius=rule.search_radius if self.search_radius is None else self.search_radius,
            center=center if self.center is None else self.center,
        )
        operation = choice.operation(h=1.0)
        ndim = image.ndim - 1
        check_work(image.shape, operation.neighborhood.margin(ndim), operation.affinity.reach(ndim))
        return choice

    def operation(self, h: float) -> NonLocalMean:
        """The average that these settings, once settled, stand for."""
        settled: Any = self
        affinity = PatchGaussian(
            h, settled.sigma, settled.patch_radius, settled.patch_kernel, settled.center
        )
        return NonLocalMean(affinity, Window(settled.search_radius))

    def halo(self, ndim: int) -> tuple[int, ...]:
        """Search radius plus patch radius."""
        operation = self.operation(h=1.0)
        reach, margin = operation.affinity.reach(ndim), operation.neighborhood.margin(ndim)
        return tuple(map(sum, zip(reach, margin, strict=True)))

    def __call__(
        self, image: np.ndarray, *, workers: int | None = None, progress: Progress | None = None
    ) -> np.ndarray:
        """Denoise; h = 0 is the limit in which only equal patches are averaged: no change."""
        if not self.h:
            if progress is not None:
                progress(1.0)
            return image.copy()
        engine = get_engine(self.engine)
        operation = self.operation(self.h)
        if reason := engine.unsupported(operation):
            raise ParameterError("engine", f"{self.engine!r} can not compute this: {reason}")
        return engine.average(operation, image, workers=workers, progress=progress)
