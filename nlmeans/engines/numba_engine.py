"""The fast engine for NL-means: compiled loops over tiles, tiles over a pool of threads."""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import product

import numpy as np

from nlmeans.affinity import SMALLEST_SUM, PatchGaussian
from nlmeans.dtypes import working_dtype
from nlmeans.embedding import Identity
from nlmeans.engines.kernels import STEP, Patch, Tile, Volume, filter_tile, padded
from nlmeans.neighborhood import Window, reflected
from nlmeans.normalizer import Sum
from nlmeans.operation import NonLocalMean
from nlmeans.validation import check_workers

name = "numba"

AXES = 4
"""Spatial axes of the kernels, (a, b, y, x)."""

TILE = (1, 8, 64, 1024)
"""Longest tile along (a, b, y, x): two planes of it, with sums, stay within 1 MB of cache.

Fixed, whatever the number of workers, so that the result does not depend on it.
"""


def unsupported(operation: NonLocalMean) -> str | None:
    """Why this engine can not compute an operation; None if it can."""
    if not isinstance(operation.affinity, PatchGaussian):
        return f"the affinity is {type(operation.affinity).__name__}, not PatchGaussian"
    if not isinstance(operation.neighborhood, Window):
        return "the neighborhood is not a Window"
    if not isinstance(operation.normalizer, Sum) or not isinstance(operation.values, Identity):
        return "the normalizer is not Sum or the values are not Identity"
    return None


def average(
    operation: NonLocalMean,
    image: np.ndarray,
    *,
    workers: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> np.ndarray:
    """Compute y of an image (*space, C), in float64 for a float64 image and else in float32.

    Holds one continued copy of the image and the result, and for each worker the sums of a tile.
    """
    affinity = operation.affinity
    assert isinstance(affinity, PatchGaussian)  # `unsupported` said so
    dtype = working_dtype(image.dtype)
    *space, channels = image.shape
    lead = (1,) * (AXES - len(space))
    search = (0,) * len(lead) + operation.neighborhood.margin(len(space))
    reach = (0,) * len(lead) + affinity.reach(len(space))
    x = image.reshape(*lead, *image.shape)

    unit = _unit(x, affinity.h, dtype)
    volume = _volume(x, tuple(np.add(search, reach)), unit, dtype)
    patch = _patch(affinity, volume, reach, channels, unit)
    y = np.empty(x.shape, dtype)

    def run(low: tuple[int, ...], high: tuple[int, ...]) -> None:
        tile = _tile(low, high, channels, affinity.center, dtype)
        filter_tile(volume, patch, search, tile)
        part = tuple(map(slice, low, high))
        y[part] = _close(tile, affinity.center, x[part], unit)

    _run_all(run, list(_tiles(x.shape[:-1])), check_workers(workers), progress)
    return y.reshape(image.shape)


def _unit(x: np.ndarray, h: float, dtype: np.dtype) -> float:
    """A power of two, which costs no digit, in units of which no square overflows or vanishes.

    Near h; but near the largest value where that is so far from h that all weights are 0 or 1.
    """
    peak = math.frexp(max(float(x.max()), -float(x.min())))[1]
    limit = 1000 if dtype == np.float64 else 120
    exponent = min(max(math.frexp(h)[1], peak - 40), peak + 40)
    return 2.0 ** min(max(exponent, -limit), limit)


def _volume(x: np.ndarray, margin: tuple[int, ...], unit: float, dtype: np.dtype) -> Volume:
    """Continue the image and lay it out planar, in one copy."""
    *space, channels = x.shape
    shape = [size + 2 * m for size, m in zip(space, margin, strict=True)]
    shape[-1] = padded(shape[-1])
    flat = np.zeros(channels * math.prod(shape) + (STEP - 1) * shape[-1], dtype)
    planar = flat[: channels * math.prod(shape)].reshape(channels, *shape)
    inside = tuple(slice(m, m + size) for size, m in zip(space, margin, strict=True))
    np.multiply(
        np.moveaxis(x, -1, 0), 1 / unit, out=planar[:, *inside], dtype=dtype, casting="unsafe"
    )
    for axis, (size, m) in enumerate(zip(space, margin, strict=True)):
        along = np.moveaxis(planar, axis + 1, 0)
        source = m + reflected(size, m)
        along[:m] = along[source[:m]]
        along[m + size : 2 * m + size] = along[source[m + size :]]
    strides = tuple(stride // dtype.itemsize for stride in planar.strides[:-1])
    return Volume(flat, strides, int(np.dot(margin, (*strides[1:], 1))))


def _patch(
    affinity: PatchGaussian, volume: Volume, reach: tuple[int, ...], channels: int, unit: float
) -> Patch:
    """Lay out patch and formula for the kernels: sums, not means, and powers of 2, not of e."""
    flat = affinity.patch_kernel == "flat"
    *planes, along_y, along_x = affinity.patch.axis_weights(reach)
    offsets, weights = [], []
    for c, a, b in product(range(channels), *(range(2 * r + 1) for r in reach[:2])):
        offsets.append(int(np.dot((c, a - reach[0], b - reach[1]), volume.strides[:3])))
        weights.append(1.0 if flat else planes[0][a] * planes[1][b])
    if flat:
        along_y, along_x = np.ones_like(along_y), np.ones_like(along_x)
    n = channels * (math.prod(2 * r + 1 for r in reach) if flat else 1)
    # The bounds are where all weights are 1 or, but for equal patches, 0.
    sigma, h = min(affinity.sigma / unit, 1e15), min(max(affinity.h / unit, 1e-15), 1e15)
    return Patch(
        np.array(offsets, np.int64),
        np.array(weights, np.float32),
        tuple(along_y.astype(np.float32)),
        tuple(along_x.astype(np.float32)),
        np.float32(n * 2 * sigma**2),
        np.float32(math.log2(math.e) / (n * h**2)),
    )


def _tile(
    low: tuple[int, ...], high: tuple[int, ...], channels: int, center: str, dtype: np.dtype
) -> Tile:
    """Room for the sums of a tile."""
    *planes, width = np.subtract(high, low).tolist()
    shape = (*planes, padded(width))
    size = math.prod(shape)
    return Tile(
        low,
        high,
        strides=(size, *(math.prod(shape[k:]) for k in (1, 2, 3))),
        numerator=np.zeros(channels * size, dtype),
        denominator=np.zeros(size, np.float32),
        largest=np.zeros(size if center == "max" else 0, np.float32),
    )


def _close(tile: Tile, center: str, x: np.ndarray, unit: float) -> np.ndarray:
    """y = x + numerator / C, with f(x_i, x_i) by the center rule."""
    others = tile.denominator
    total = others + (tile.largest if center == "max" else np.float32(center == "one"))
    # Kept pixels, too, must come back exactly, and f is never quite 0 in the kernels.
    factor = np.divide(1, total, out=np.zeros_like(total), where=others >= SMALLEST_SUM)
    *space, channels = x.shape
    shape = (*space[:-1], padded(space[-1]))
    difference = tile.numerator.reshape(channels, *shape) * factor.reshape(shape)
    difference *= unit
    return np.moveaxis(difference[..., : space[-1]], 0, -1) + x


def _tiles(space: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Corners of the tiles that cover the image."""
    for low in product(*(range(0, size, tile) for size, tile in zip(space, TILE, strict=True))):
        yield low, tuple(map(min, np.add(low, TILE).tolist(), space))


def _run_all(
    run: Callable[[tuple[int, ...], tuple[int, ...]], None],
    tiles: list[tuple[tuple[int, ...], tuple[int, ...]]],
    workers: int,
    progress: Callable[[float], None] | None,
) -> None:
    """Run every tile; the kernels release the GIL. An error or Ctrl-C drops those not begun."""
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(run, low, high) for low, high in tiles]
        try:
            for done, future in enumerate(as_completed(futures), 1):
                future.result()
                if progress is not None:
                    progress(done / len(futures))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
