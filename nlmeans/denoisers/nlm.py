"""NL-means."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self, get_args

import numpy as np

from nlmeans.affinity import Center, PatchGaussian, PatchKernel
from nlmeans.color import compared
from nlmeans.denoisers.base import Preset
from nlmeans.device import check_device, on_device
from nlmeans.engines import ENGINES, Engine, get_engine
from nlmeans.errors import ParameterError
from nlmeans.neighborhood import Window, per_axis
from nlmeans.operation import NonLocalMean
from nlmeans.progress import Progress, part
from nlmeans.rules import (
    CHROMA_WEIGHT,
    PLAIN_DEFAULT,
    SecondPass,
    offset_rule,
    second_pass,
)
from nlmeans.validation import DTYPES, check_choice, check_number, check_work

Radius = int | tuple[int, ...]
PRESETS: dict[Preset, str] = {
    "fast": "pixel by pixel, a tenth of a second for a gray megapixel on one core",
    "balanced": "whole patches, four times as long",
    "best": "two passes, the second with the weights of the first estimate, eight times as long",
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
    preset: Preset | None = None
    engine: str = "numba"
    device: str | None = None
    second: SecondPass | None = field(default=None, init=False)
    """The second pass, as settled; None if there is none."""

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
        if self.center is not None:
            check_choice("center", self.center, get_args(Center))
        if self.preset is not None:
            check_choice("preset", self.preset, PRESETS)
        check_choice("engine", self.engine, ENGINES)
        check_device(self.device, self.engine)

    @property
    def needs_sigma(self) -> bool:
        """Neither h nor sigma is given."""
        return self.h is None and self.sigma is None

    def settled(self, image: np.ndarray) -> Self:
        """With h alone the plain form and its customary sizes; with sigma the offset form's."""
        sigma = float(self.sigma or 0)
        preset: Preset = self.preset or ("fast" if self.sigma is None else "balanced")
        if preset == "best" and self.sigma is None:
            raise ParameterError("preset", "must go with sigma, not h alone, to be best", preset)
        rule = PLAIN_DEFAULT
        if self.sigma is not None:
            rule = offset_rule(sigma, image, patchwise=preset != "fast")
        center: Center = "one" if self.sigma is None else "max"
        choice = replace(
            self,
            h=float(self.h if self.h is not None else rule.h_over_sigma * sigma),
            sigma=sigma,
            patch_radius=rule.patch_radius if self.patch_radius is None else self.patch_radius,
            search_radius=rule.search_radius if self.search_radius is None else self.search_radius,
            center=center if self.center is None else self.center,
            preset=preset,
        )
        if preset == "best":
            object.__setattr__(choice, "second", second_pass(image))  # never given
        operation = choice.operation(h=1.0)
        ndim = image.ndim - 1
        check_work(image.shape, operation.neighborhood.margin(ndim), operation.affinity.reach(ndim))
        return choice

    def operation(self, h: float) -> NonLocalMean:
        """The average of the first pass that these settings, once settled, stand for."""
        settled: Any = self
        affinity = PatchGaussian(
            h, settled.sigma, settled.patch_radius, settled.patch_kernel, settled.center
        )
        window = Window(settled.search_radius)
        return NonLocalMean(affinity, window, patchwise=self.preset != "fast")

    def _second_operation(self, h: float) -> NonLocalMean:
        """The average of the second pass; an axis without patch or window keeps it."""
        settled: Any = self
        most = settled.second.patch_radius
        ndim = max(np.size(settled.patch_radius), np.size(settled.search_radius))
        first = per_axis("patch_radius", settled.patch_radius, ndim)
        patch = tuple(min(r, most) for r in first)
        radius = patch if ndim > 1 else patch[0]
        affinity = PatchGaussian(h, 0.0, radius, settled.patch_kernel, "max")
        return NonLocalMean(affinity, Window(settled.search_radius), patchwise=True)

    def halo(self, ndim: int) -> tuple[int, ...]:
        """Search radius plus patch radius, and as much again for each patch and pass."""
        operations = [self.operation(h=1.0)]
        if self.second is not None:
            operations.append(self._second_operation(h=1.0))
        halo = np.zeros(ndim, int)
        for operation in operations:
            patch = np.multiply(operation.affinity.reach(ndim), 1 + operation.patchwise)
            halo += operation.neighborhood.margin(ndim) + patch
        return tuple(halo.tolist())

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
        with on_device(self.device):
            return self._average(engine, operation, image, workers, progress)

    def _average(
        self,
        engine: Engine,
        operation: NonLocalMean,
        image: np.ndarray,
        workers: int | None,
        progress: Progress | None,
    ) -> np.ndarray:
        """One pass or two."""
        guide = self._compared(image)
        if self.second is None or not self.sigma:
            return engine.average(operation, image, guide=guide, workers=workers, progress=progress)
        first, second = part(progress, 0.0, 0.5), part(progress, 0.5, 1.0)
        pilot = engine.average(operation, image, guide=guide, workers=workers, progress=first)
        guide = self._compared(pilot)
        operation = self._second_operation(self.second.h_over_sigma * self.sigma)
        mixed = pilot + self.second.noise * (image - pilot)
        guide = pilot if guide is None else guide
        return engine.average(operation, mixed, guide=guide, workers=workers, progress=second)

    def _compared(self, image: np.ndarray) -> np.ndarray | None:
        """What patches are compared by: RGB with a known sigma by luma and chroma."""
        if not self.sigma or image.shape[-1] != 3:
            return None
        return compared(image, CHROMA_WEIGHT)
