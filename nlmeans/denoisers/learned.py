"""A trained network around a non-local block."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np

from nlmeans.denoisers import network
from nlmeans.denoisers.base import Preset, check_two_axes
from nlmeans.denoisers.units import Units, units
from nlmeans.device import check_device, on_device
from nlmeans.dtypes import working_dtype
from nlmeans.neighborhood import Region, reflected
from nlmeans.progress import Progress
from nlmeans.validation import DTYPES, check_choice, check_number, check_workers

TILE = 1024
"""Side in pixels of what is computed at a time, at most. With what lies around it, it takes
up to 3.5 GB, a third of it f of the non-local block; tiles half as wide would compute 1.5 times as
much."""

LARGEST_CHANGE = 8.0
"""Of a pixel, in sigma. White noise is above 6 in one of 500 million pixels; a network that takes
away more is wrong, and with this bound never far off."""

PRESETS: dict[Preset, str] = {
    "balanced": "one run",
    "best": "the mean of runs on the eight turned and mirrored images, eight times as long",
}
"""How much to spend, and what on."""

Symmetry = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Learned:
    """The network of `nlmeans.learned`, trained for white noise on photographs.

    Parameters are those of `nlmeans.denoise`.
    """

    sigma: float | None = None
    preset: Preset | None = None
    device: str | None = None
    units: Units | None = field(default=None, init=False)
    """As settled; None where there is nothing to be done."""

    summary: ClassVar[str] = "a small trained network around a non-local block"
    dtypes: ClassVar[tuple[str, ...]] = DTYPES

    def __post_init__(self) -> None:
        if self.sigma is not None:
            check_number("sigma", self.sigma, least=0, most=1e100)
        if self.preset is not None:
            check_choice("preset", self.preset, PRESETS)
        check_device(self.device)

    @property
    def needs_sigma(self) -> bool:
        """Sigma is not given."""
        return self.sigma is None

    def settled(self, image: np.ndarray) -> Self:
        """Check that the image has two axes and that something can run the network; its units."""
        check_two_axes("learned", image)
        network.check_runtime(self.device)
        sigma: Any = self.sigma
        choice = replace(self, sigma=float(sigma), preset=self.preset or "balanced")
        object.__setattr__(choice, "units", units(image, sigma))  # settled once, never given
        return choice

    def halo(self, ndim: int) -> tuple[int, ...]:
        """The reach of the network that sees farthest."""
        return (max(network.reach(c) for c in network.NAMES if network.is_trained(c)),) * ndim

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
        scale = self.units.scale
        x = np.moveaxis(self.units.shown(base), -1, 0)
        channels = len(x) if network.is_trained(len(x)) else 1
        with on_device(self.device):
            runtime = network.check_runtime(self.device)
            run = network.load(channels, check_workers(workers), runtime, self.device)
            symmetries = _SYMMETRIES if self.preset == "best" else _SYMMETRIES[:1]
            jobs = [
                (forward, back, slice(c, c + channels))
                for forward, back in symmetries
                for c in range(0, len(x), channels)
            ]
            for number, (forward, back, some) in enumerate(jobs):
                seen = forward(x[some])
                if np.ptp(seen) == 0:  # an alpha of 255, say: nothing to see
                    report((number + 1) / len(jobs))
                    continue
                change = np.empty_like(seen)
                tiles = _tiles(seen.shape[1:])
                for done, tile in enumerate(tiles, 1):
                    box = tuple(slice(*pair) for pair in tile)
                    change[:, *box] = _change(run, seen, sigma * scale, tile)
                    report((number + done / len(tiles)) / len(jobs))
                # In the image's dtype: float32 may not hold the units of a float64 image.
                change = np.moveaxis(back(change), 0, -1).astype(base.dtype)
                base[..., some] += change / (scale * len(symmetries))
        return base


def _symmetry(turns: int, mirrored: bool) -> tuple[Symmetry, Symmetry]:
    """One of the eight symmetries of the square for images (C, H, W), and its inverse."""

    def forward(x: np.ndarray) -> np.ndarray:
        turned = np.rot90(x, turns, (1, 2))
        return turned[..., ::-1] if mirrored else turned

    def back(x: np.ndarray) -> np.ndarray:
        return np.rot90(x[..., ::-1] if mirrored else x, -turns, (1, 2))

    return forward, back


_SYMMETRIES = [_symmetry(turns, mirrored) for mirrored in (False, True) for turns in range(4)]
"""The first changes nothing."""


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
    """What the network changes in a tile of an image (C, H, W), at most `LARGEST_CHANGE`."""
    around, inside = [], []
    for axis, (start, stop) in enumerate(tile):
        size = image.shape[1 + axis]
        multiple = network.MULTIPLE
        margin = -(-network.reach(len(image)) // multiple) * multiple
        whole = -(-size // multiple) * multiple
        first, last = max(start - margin, 0), min(-(-stop // multiple) * multiple + margin, whole)
        # Beyond its last pixels an image is reflected, until it is a whole number of blocks.
        around.append(reflected(size, whole - size)[whole - size :][first:last])
        inside.append(slice(start - first, stop - first))
    noisy = np.ascontiguousarray(image[:, around[0]][:, :, around[1]])
    denoised = run(noisy, np.full_like(noisy[:1], sigma))
    most = np.float32(LARGEST_CHANGE * sigma)
    return (denoised - noisy)[:, inside[0], inside[1]].clip(-most, most)
