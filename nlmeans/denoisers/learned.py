"""A trained network around a non-local block."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from nlmeans.denoisers import network
from nlmeans.dtypes import working_dtype
from nlmeans.errors import ParameterError
from nlmeans.neighborhood import Region, reflected
from nlmeans.progress import Progress
from nlmeans.rules import BELOW_ROUNDING, noise_in_levels
from nlmeans.validation import DTYPES, check_number, check_workers

TILE = 768
"""Side in pixels of what is computed at a time, at most. It takes 0.7 GB, most of it f of the
non-local block; tiles half as wide would take 1.3 times as long, for what lies around them."""

MIDDLE_GRAY = 115 / 255
"""Mean of the BSDS500 training images."""


class Units(NamedTuple):
    """How an image is shown to the network: (image - mean) * scale + `MIDDLE_GRAY`."""

    mean: float
    scale: float


@dataclass(frozen=True, kw_only=True)
class Learned:
    """The network of `nlmeans.learned`, trained for white noise on photographs.

    Parameters are those of `nlmeans.denoise`.
    """

    sigma: float | None = None
    units: Units | None = field(default=None, init=False)
    """As settled; None where there is nothing to be done."""

    summary: ClassVar[str] = "a small trained network around a non-local block"
    dtypes: ClassVar[tuple[str, ...]] = DTYPES

    def __post_init__(self) -> None:
        if self.sigma is not None:
            check_number("sigma", self.sigma, least=0, most=1e100)

    @property
    def needs_sigma(self) -> bool:
        """Sigma is not given."""
        return self.sigma is None

    def settled(self, image: np.ndarray) -> Self:
        """Check that the image has two axes and that something can run the network; its units."""
        if image.ndim != 3:
            raise ParameterError(
                "method",
                f"'learned' takes images of two axes, not {image.ndim - 1}; 'nlm' takes any",
            )
        network.check_runtime()
        sigma: Any = self.sigma
        choice = replace(self, sigma=float(sigma))
        object.__setattr__(choice, "units", _units(image, sigma))  # settled once, never given
        return choice

    def halo(self, ndim: int) -> tuple[int, ...]:
        """The reach of the network."""
        return (network.REACH,) * ndim

    def __call__(
        self, image: np.ndarray, *, workers: int | None = None, progress: Progress | None = None
    ) -> np.ndarray:
        """Denoise RGB as a whole, and channels of any other number each for itself."""
        base = image.astype(working_dtype(image.dtype))
        report = progress or (lambda fraction: None)
        if self.units is None:
            report(1.0)
            return base
        sigma: Any = self.sigma
        mean, scale = self.units
        x = np.moveaxis((base - mean) * scale + MIDDLE_GRAY, -1, 0).astype(np.float32)
        channels = len(x) if network.is_trained(len(x)) else 1
        run = network.load(channels, check_workers(workers), network.check_runtime())
        tiles = _tiles(x.shape[1:])
        jobs = [(c, tile) for c in range(0, len(x), channels) for tile in tiles]
        for number, (c, tile) in enumerate(jobs):
            change = _change(run, x[c : c + channels], sigma * scale, tile)
            box = (*(slice(*pair) for pair in tile), slice(c, c + channels))
            base[box] += np.moveaxis(change, 0, -1) / scale
            report((number + 1) / len(jobs))
        return base


def _units(image: np.ndarray, sigma: float) -> Units | None:
    """Units in which an image (*space, C) has the contrast of a photograph.

    The network knows no others. On Set12, whose images have their own contrast, it changes the
    mean PSNR by less than 0.01 dB.
    """
    low, high = float(image.min()), float(image.max())
    if low == high or sigma <= BELOW_ROUNDING * max(-low, high):
        return None  # nothing to see, or noise that is lost in float32
    level = min(noise_in_levels(sigma, image) / 255, network.HIGHEST_NOISE)
    return Units(float(image.mean(dtype=np.float64)), level / sigma)


def _tiles(space: tuple[int, ...]) -> list[Region]:
    """Tiles of nearly one size, which depend on the size of the image alone."""
    axes = []
    for size in space:
        count = -(-size // TILE)
        # The blocks of a tile must be blocks of the image.
        step = -(-size // (count * network.MULTIPLE)) * network.MULTIPLE
        axes.append([(start, min(start + step, size)) for start in range(0, size, step)])
    return [(rows, columns) for rows in axes[0] for columns in axes[1]]


def _change(run: network.Network, image: np.ndarray, sigma: float, tile: Region) -> np.ndarray:
    """What the network changes in a tile of an image (C, H, W)."""
    around, inside = [], []
    for axis, (start, stop) in enumerate(tile):
        size = image.shape[1 + axis]
        multiple = network.MULTIPLE
        margin = -(-network.REACH // multiple) * multiple
        whole = -(-size // multiple) * multiple
        first, last = max(start - margin, 0), min(-(-stop // multiple) * multiple + margin, whole)
        # Beyond its last pixels an image is reflected, until it is a whole number of blocks.
        around.append(reflected(size, whole - size)[whole - size :][first:last])
        inside.append(slice(start - first, stop - first))
    noisy = np.ascontiguousarray(image[:, around[0]][:, :, around[1]])
    denoised = run(noisy, np.full_like(noisy[:1], sigma))
    return (denoised - noisy)[:, inside[0], inside[1]]
