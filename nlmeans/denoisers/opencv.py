"""OpenCV's NL-means, to compare with: `fastNlMeansDenoising` and `fastNlMeansDenoisingColored`.

OpenCV takes 8-bit images only; other dtypes are refused here, never squeezed into 8 bits. RGB is
handed over in its BGR order and comes back as RGB. `fastNlMeansDenoisingColored` filters L and
(a, b) of an 8-bit Lab image apart, so even a vanishing h moves colors by a few gray levels.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from nlmeans.errors import ParameterError
from nlmeans.progress import Progress
from nlmeans.rules import OPENCV_COLORED_H_OVER_SIGMA, OPENCV_H_OVER_SIGMA
from nlmeans.validation import check_integer, check_number, check_work, check_workers


@dataclass(frozen=True, kw_only=True)
class OpenCV:
    """OpenCV's NL-means on an 8-bit gray or RGB image.

    Parameters
    ----------
    h : float, optional
        Its `h`, >= 0, in gray levels: f = exp(-D / h^2), of the lightness for RGB. With 0 there
        is nothing to do, and OpenCV, which would divide by it, is not called.
    sigma : float, optional
        Standard deviation of the noise, >= 0; gives h where h is not given.
    h_color : float, optional
        Its `hColor`, > 0, RGB only. Default: h if that is given, else from sigma.
    patch_radius, search_radius : int, optional
        Its window sizes are 2 radius + 1. Default: 3 and 10, OpenCV's 7 and 21.
    """

    h: float | None = None
    sigma: float | None = None
    h_color: float | None = None
    patch_radius: int = 3
    search_radius: int = 10

    summary: ClassVar[str] = "OpenCV's NL-means, 8-bit gray or RGB only"
    dtypes: ClassVar[tuple[str, ...]] = ("uint8",)

    def __post_init__(self) -> None:
        for name in ("h", "sigma"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), least=0)
        if self.h_color is not None:
            check_number("h_color", self.h_color, above=0)
        check_integer("patch_radius", self.patch_radius, least=0)
        check_integer("search_radius", self.search_radius, least=0)

    @property
    def needs_sigma(self) -> bool:
        """Neither h nor sigma is given."""
        return self.h is None and self.sigma is None

    def settled(self, image: np.ndarray) -> Self:
        """h from sigma, h_color from h."""
        *space, channels = image.shape
        if len(space) != 2 or channels not in (1, 3):
            raise ParameterError(
                "method",
                f"'opencv' takes gray and RGB images of two axes, not {channels} channels on "
                f"{len(space)} axes; 'nlm' takes any",
            )
        if channels == 1 and self.h_color is not None:
            raise ParameterError("h_color", "must not be given for a gray image", self.h_color)
        check_work(image.shape, (self.search_radius,) * 2, (self.patch_radius,) * 2)
        if channels == 1:
            h = self.h if self.h is not None else OPENCV_H_OVER_SIGMA * (self.sigma or 0)
            return replace(self, h=float(h))
        lightness, color = (ratio * (self.sigma or 0) for ratio in OPENCV_COLORED_H_OVER_SIGMA)
        if self.h is not None:
            lightness = color = self.h
        h_color = color if self.h_color is None else self.h_color
        return replace(self, h=float(lightness), h_color=float(h_color) or None)

    def halo(self, ndim: int) -> tuple[int, ...]:
        """Search radius plus patch radius."""
        return (self.search_radius + self.patch_radius,) * ndim

    def __call__(
        self, image: np.ndarray, *, workers: int | None = None, progress: Progress | None = None
    ) -> np.ndarray:
        """Denoise; OpenCV's number of threads, which is global, is `workers` meanwhile."""
        if not self.h:
            if progress is not None:
                progress(1.0)
            return image.copy()
        import cv2

        h: Any = self.h
        h_color: Any = self.h_color
        sizes = (2 * self.patch_radius + 1, 2 * self.search_radius + 1)
        with threads(workers):
            if image.shape[-1] == 1:
                gray = np.ascontiguousarray(image[..., 0])
                result = cv2.fastNlMeansDenoising(gray, None, h, *sizes)[..., np.newaxis]
            else:
                bgr = np.ascontiguousarray(image[..., ::-1])
                result = cv2.fastNlMeansDenoisingColored(bgr, None, h, h_color, *sizes)
                result = result[..., ::-1]
        if progress is not None:
            progress(1.0)
        return result


@contextmanager
def threads(workers: int | None) -> Iterator[None]:
    """OpenCV's number of threads, which is global, as long as it lasts."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(check_workers(workers))
    try:
        yield
    finally:
        cv2.setNumThreads(before)
