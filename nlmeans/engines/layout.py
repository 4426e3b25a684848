"""How the compiled core cuts an image into blocks, and puts them into bundles."""

import math
from itertools import product

import numpy as np
from numpy.typing import DTypeLike

from nlmeans.engines.kernels import GROUP, STEP, Bundle
from nlmeans.neighborhood import reflected

AXES = 4
"""Spatial axes of the kernels, (a, b, y, x)."""

LANES = 16
"""Blocks in a bundle, one in each lane of a vector: 16 floats are 512 bits, or two of 256."""

BLOCK = {1: 512, 2: 128, 3: 32, 4: 16}
"""Longest side of a block, by the number of axes longer than 1.

Longer, fewer weights are computed twice, on both sides of a border; shorter, a bundle stays in the
cache.
"""

SHORTEST = 16
"""Sides are not halved below this to get more blocks: too many weights would be computed twice."""


class Layout:
    """How one image is cut up.

    Parameters
    ----------
    shape : tuple of int
        (a, b, y, x, c) of the image.
    search, reach : tuple of int
        Search and patch radius along (a, b, y, x).
    """

    def __init__(
        self, shape: tuple[int, ...], search: tuple[int, ...], reach: tuple[int, ...]
    ) -> None:
        *self.space, self.channels = shape
        self.block = blocks_for(self.space)
        self.search_x, self.reach_x = search[3], reach[3]
        after = [s + r for s, r in zip(search, reach, strict=True)]
        # Above, a sweep begins a whole number of steps before the first row.
        before = [*after[:2], -(-search[2] // STEP) * STEP + reach[2], after[3]]
        self.before = before
        self.padded = [sum(sizes) for sizes in zip(before, self.block, after, strict=True)]
        self.tables = tuple(
            reflected(size, max(b, a + block))[max(b, a + block) - b :]
            for size, block, b, a in zip(self.space, self.block, before, after, strict=True)
        )

    def bundles(self) -> list[np.ndarray]:
        """Corners of the blocks of each bundle, (lanes, 4)."""
        starts = [range(0, n, b) for n, b in zip(self.space, self.block, strict=True)]
        corners = np.array(list(product(*starts)), np.int64)
        return [corners[k : k + LANES] for k in range(0, len(corners), LANES)]

    def strides(self, lanes: int) -> tuple[int, ...]:
        """Elements from one (c, a, b, y, x) of a bundle's image to the next."""
        return tuple(lanes * math.prod(self.padded[k:]) for k in range(5))

    def bundle(self, lanes: int, dtype: np.dtype, *, with_largest: bool) -> Bundle:
        """Room for a bundle."""
        strides = self.strides(lanes)
        sum_strides = tuple(lanes * math.prod(self.block[k:]) for k in range(5))
        spare = (STEP - 1) * strides[3]
        return Bundle(
            lanes,
            self.block,
            _aligned(self.channels * strides[0] + spare, dtype),
            strides,
            int(np.dot(self.before, strides[1:])),
            _aligned(self.channels * sum_strides[0], dtype),
            _aligned(sum_strides[0]),
            _aligned(sum_strides[0] if with_largest else 0),
            sum_strides,
            _aligned(GROUP * STEP * lanes * (self.block[3] + self.search_x + 2 * self.reach_x)),
            _aligned(lanes * (GROUP * (self.block[3] + 2 * self.search_x) + self.block[3])),
        )


def _aligned(size: int, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Zeros that start at a cache line, as vectors must not straddle two (NumPy: 16 bytes)."""
    dtype = np.dtype(dtype)
    room = np.zeros(size * dtype.itemsize + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size * dtype.itemsize].view(dtype)


def blocks_for(space: list[int]) -> tuple[int, ...]:
    """Size of the blocks, from the image alone, so that the result depends on nothing else.

    Small enough for two bundles, so that two threads have work, if the image is large enough; and
    as equal as possible.
    """
    longest = BLOCK[max(1, sum(size > 1 for size in space))]
    block = [min(size, longest) for size in space]

    def counts() -> list[int]:
        return [-(-size // side) for size, side in zip(space, block, strict=True)]

    while math.prod(counts()) < 2 * LANES and max(block) >= 2 * SHORTEST:
        axis = block.index(max(block))
        block[axis] = -(-block[axis] // 2)
    return tuple(-(-size // count) for size, count in zip(space, counts(), strict=True))
