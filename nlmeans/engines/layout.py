"""How the compiled core cuts an image into blocks, and puts them into bundles."""

import math
from collections.abc import Sequence
from functools import reduce
from itertools import product

import numpy as np
from numpy.typing import DTypeLike

from nlmeans.engines.kernels import GROUP, LINE, SPARE, SPREAD, STEP, TILE, Bundle
from nlmeans.engines.lanes import LANES
from nlmeans.neighborhood import Region, extent, reflected

AXES = 4
"""Spatial axes of the kernels, (a, b, y, x)."""

BLOCK = {1: 512, 2: 128, 3: 64, 4: 16}
"""Longest side of a block, by the number of axes longer than 1.

Longer, fewer weights are computed twice, on both sides of a border; shorter, a bundle stays in the
cache.
"""

SHORTEST = 16
"""Sides are not cut below this to get more blocks."""


class Layout:
    """How one image is cut up.

    Parameters
    ----------
    shape : tuple of int
        (a, b, y, x, c) of the image.
    search, reach : tuple of int
        Search and patch radius along (a, b, y, x).
    region : tuple of (int, int)
        The part, (start, stop) along (a, b, y, x), that is cut up.
    spread : tuple of int
        How far from its middle a patch counts, along (a, b, y, x): its radius for patchwise means,
        else 0.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        search: tuple[int, ...],
        reach: tuple[int, ...],
        region: Region,
        spread: tuple[int, ...] = (0, 0, 0, 0),
    ) -> None:
        *self.space, self.channels = shape
        self.region = region
        self.block = blocks_for(extent(region), search)
        self.reach_x = reach[3]
        self.spread = spread
        after = [sum(radii) for radii in zip(search, reach, spread, strict=True)]
        # Above, a sweep begins a whole number of steps before the first row.
        self.step = SPREAD if any(spread) else STEP
        beyond = -search[2] % self.step
        before = [*after[:2], after[2] + beyond, after[3]]
        self.before = before
        self.padded = [sum(sizes) for sizes in zip(before, self.block, after, strict=True)]
        self.tables = tuple(
            reflected(size, max(b, a + block))[max(b, a + block) - b :]
            for size, block, b, a in zip(self.space, self.block, before, after, strict=True)
        )

    def bundles(self) -> list[np.ndarray]:
        """Corners of the blocks of each bundle, (lanes, 4)."""
        starts = [range(*pair, b) for pair, b in zip(self.region, self.block, strict=True)]
        corners = np.array(list(product(*starts)), np.int64)
        return [corners[k : k + LANES] for k in range(0, len(corners), LANES)]

    def strides(self) -> tuple[int, ...]:
        """Elements from one (c, a, b, y, x) of a bundle's image to the next."""
        return tuple(LANES * math.prod(self.padded[k:]) for k in range(5))

    def inside(self, corners: np.ndarray) -> np.ndarray:
        """1 for what lies in the image of the blocks with their margins, else 0."""
        strides = self.strides()
        result = aligned(strides[0] + self._spare_rows() * strides[3] + 2 * SPARE)
        lanes = result[SPARE : SPARE + strides[0]].reshape(*self.padded, LANES)
        for lane, corner in enumerate(corners):
            axes = zip(self.space, self.before, self.padded, corner, strict=True)
            along = [np.arange(n) + c - m for _, m, n, c in axes]
            masks = [(p >= 0) & (p < size) for p, size in zip(along, self.space, strict=True)]
            lanes[..., lane] = reduce(np.multiply.outer, masks)
        return result

    def bundle(
        self, dtype: np.dtype, *, with_largest: bool = False, guide_channels: int | None = None
    ) -> Bundle:
        """Room for a bundle."""
        strides = self.strides()
        rest = self._spare_rows() * strides[3] + 2 * SPARE
        values = aligned(self.channels * strides[0] + rest, dtype)
        image = values
        if guide_channels is not None:
            image = aligned(guide_channels * strides[0] + rest, dtype)
        sum_strides = self._sum_strides(self.block)
        return Bundle(
            self.block,
            image,
            values,
            strides,
            SPARE + int(np.dot(self.before, strides[1:])),
            True,
            True,
            (0, 0, 0, 0),
            aligned(self.channels * sum_strides[0], dtype),
            aligned(sum_strides[0]),
            aligned(sum_strides[0] if with_largest else 0),
            sum_strides,
            aligned(GROUP * STEP * (TILE + 2 * self.reach_x) * LANES),
            aligned(GROUP * LINE),
            aligned(STEP * GROUP * (GROUP - 1) * LANES),
        )

    def first_sweep(self, bundle: Bundle, *, with_largest: bool) -> Bundle:
        """The bundle for the sums of weights, of the blocks and the patches around them."""
        size = tuple(n + 2 * r for n, r in zip(self.block, self.spread, strict=True))
        sum_strides = self._sum_strides(size)
        return bundle._replace(
            size=size,
            origin=bundle.origin - int(np.dot(self.spread, bundle.strides[1:])),
            numerator=True,
            denominator=aligned(sum_strides[0]),
            largest=aligned(sum_strides[0] if with_largest else 0),
            sum_strides=sum_strides,
        )

    def second_sweep(self, bundle: Bundle) -> Bundle:
        """The bundle for means of whole patches."""
        rows = -(-(SPREAD + 2 * self.spread[2]) // STEP) * STEP
        wide = -(-(TILE + 2 * self.spread[3]) // 8) * 8
        return bundle._replace(
            inverse=aligned(bundle.strides[0] + self._spare_rows() * bundle.strides[3] + 2 * SPARE),
            spread=self.spread,
            largest=aligned(0),
            column_sums=aligned(GROUP * STEP * (wide + 2 * self.reach_x) * LANES),
            past=aligned(2 * rows * wide * LANES),
        )

    def _sum_strides(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Elements from one (c, a, b, y, x) of sums over blocks of a size to the next."""
        return tuple(LANES * math.prod(size[k:]) for k in range(5))

    def _spare_rows(self) -> int:
        """Rows after those of a bundle that a sweep may read: it goes on to whole steps."""
        return self.step + STEP


def aligned(size: int, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Zeros that start at a cache line, as vectors must not straddle two (NumPy: 16 bytes)."""
    dtype = np.dtype(dtype)
    room = np.zeros(size * dtype.itemsize + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size * dtype.itemsize].view(dtype)


def blocks_for(space: Sequence[int], search: Sequence[int]) -> tuple[int, ...]:
    """Size of the blocks: of the cuts into equal blocks, the quickest on two threads.

    From image and window alone, so that the result depends on nothing else. A bundle takes as
    long as one of its blocks with the weights it computes beyond its border, however few of its
    lanes are used.
    """
    longest = BLOCK[max(1, sum(size > 1 for size in space))]
    # Along each axis half the window on average; rows by whole steps; columns by eights and for all
    # displacements of a group.
    beyond = [
        s / 2 + extra for s, extra in zip(search, (0, 0, STEP / 2, 4 + GROUP / 2), strict=True)
    ]
    ways = []
    for size in space:
        fewest = -(-size // longest)
        most = max(fewest, min(fewest + LANES, size // SHORTEST))
        ways.append(sorted({-(-size // count) for count in range(fewest, most + 1)}))

    def seconds(block: tuple[int, ...]) -> tuple[float, float]:
        count = math.prod(-(-size // side) for size, side in zip(space, block, strict=True))
        each = math.prod(side + extra for side, extra in zip(block, beyond, strict=True))
        bundles = -(-count // LANES)
        return -(-bundles // 2) * each, bundles * each

    return min(product(*ways), key=seconds)
