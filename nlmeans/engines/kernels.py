"""The compiled loops of NL-means.

Offset-major: the outer loop runs over the displacements t of half the window, and each weight
w(i, i+t) = w(i+t, i) serves both its ends. For one displacement, a sweep down a tile makes, four
rows at a time, the column sums of the squared differences over the patch height, then for each
row the sums over the patch width and the weights, and adds them up at both ends.

A tile writes only its own output. Weights of pairs that straddle two tiles are computed in both,
by the same operations, so the result does not depend on how tiles are spread over threads.

Every image has four spatial axes here, (a, b, y, x), the leading ones of length 1 where it has
fewer. Rows are contiguous; each row loop is a small function of its own on one-dimensional
slices, because those vectorize and the loops inside one big function did not.
"""

from typing import NamedTuple

import numpy as np

from nlmeans.affinity import patch_gaussian_log
from nlmeans.engines.jit import exp2, inline, kernel, relu, weigh

log_weight = inline(patch_gaussian_log)

# Rows per step of a sweep. Neighboring patches share all rows but one: for four output rows and
# a patch height of 7, ten difference rows do instead of 28. A running sum would need two per row,
# but drifts: after a strong edge its rounding error swamps the distances of a flat region.
STEP = 4


class Volume(NamedTuple):
    """The image as the kernels see it: flat, (C, a, b, y, x), continued beyond its borders."""

    image: np.ndarray
    """Float32 or float64, with STEP - 1 spare rows at the end, which a sweep may read."""
    strides: tuple[int, ...]
    """Elements from one c, a, b and y to the next."""
    origin: int
    """Where the first position inside the borders is."""


class Patch(NamedTuple):
    """The patch and f, in the units of an unnormalized patch sum and of base 2."""

    plane_offsets: np.ndarray
    """Where its planes, one for each (c, a, b), lie relative to a position."""
    plane_weights: np.ndarray
    taps_y: tuple[float, ...]
    taps_x: tuple[float, ...]
    """Weights along y and x, or True for each tap of a flat patch; the compiler knows both the
    lengths of the tuples and the type of their members."""
    floor: np.float32
    inverse_h2: np.float32


class Tile(NamedTuple):
    """The output positions [low, high) along (a, b, y, x) and their sums over the window."""

    low: tuple[int, ...]
    high: tuple[int, ...]
    numerator: np.ndarray
    """Sum of w * (x_j - x_i), (C, a, b, y, x)."""
    denominator: np.ndarray
    """Sum of w, without the center, (a, b, y, x)."""
    largest: np.ndarray
    """Largest w but the center's, (a, b, y, x); x = 0 where the center rule needs none."""


@inline
def column_sums(first, second, stride, taps, scale, fresh, sums):
    """sums[k, x] (+)= scale * sum over p of taps[p] * (first[k+p, x] - second[k+p, x])^2, k = 0..3.

    `first` and `second` start at the top row of the patch; rows are `stride` apart. `taps` is a
    tuple, so that the compiler knows the patch height and unrolls the loop over p.
    """
    height = len(taps)
    row0, row1, row2, row3 = sums
    for x in range(len(row0)):
        s0 = s1 = s2 = s3 = np.float32(0.0)
        for p in range(height + STEP - 1):
            at = np.uintp(p) * stride + np.uintp(x)
            d = np.float32(first[at] - second[at])
            d = d * d
            if p < height:
                s0 += weigh(taps[p], d)
            if 1 <= p < height + 1:
                s1 += weigh(taps[p - 1], d)
            if 2 <= p < height + 2:
                s2 += weigh(taps[p - 2], d)
            if p >= 3:
                s3 += weigh(taps[p - 3], d)
        if fresh:
            row0[x] = scale * s0
            row1[x] = scale * s1
            row2[x] = scale * s2
            row3[x] = scale * s3
        else:
            row0[x] += scale * s0
            row1[x] += scale * s1
            row2[x] += scale * s2
            row3[x] += scale * s3


@inline
def row_weights(sums, taps, floor, inverse_h2, weights):
    """weights[x] = f of the patch sums, sum over p of taps[p] * sums[x+p]."""
    for x in range(len(weights)):
        total = np.float32(0.0)
        for p in range(len(taps)):
            total += weigh(taps[p], sums[np.uintp(x) + np.uintp(p)])
        weights[x] = exp2(log_weight(total, floor, inverse_h2, relu))


@inline
def add_differences(weights, here, there, numerator):
    """numerator += w * (x_j - x_i).

    Differences, not values: then y_i = x_i + numerator / C_i keeps constants and h -> 0 exact,
    and the rounding error is relative to the contrast, not to the level.
    """
    for x in range(len(weights)):
        numerator[x] += weights[x] * (there[x] - here[x])


@inline
def add_weights(weights, denominator):
    """C_i += w, without the center."""
    for x in range(len(weights)):
        denominator[x] += weights[x]


@inline
def keep_largest(weights, largest):
    """Track the largest weight but the center's, for the center rule "max"."""
    for x in range(len(weights)):
        largest[x] = max(largest[x], weights[x])


@inline
def add_row(volume, tile, weights, here, shift, at):
    """Add one row of weights w(i, i + shift) at the end i, flat position `here`, tile row `at`."""
    a, b, y = at
    n = len(weights)
    for c in range(len(tile.numerator)):
        i = here + c * volume.strides[0]
        j = i + shift
        add_differences(
            weights, volume.image[i : i + n], volume.image[j : j + n], tile.numerator[c, a, b, y]
        )
    add_weights(weights, tile.denominator[a, b, y])
    if tile.largest.shape[3]:
        keep_largest(weights, tile.largest[a, b, y])


@inline
def sweep(volume, patch, tile, plane, displacement, ends, sums, weights):
    """All weights of one displacement between one pair of planes, added at their ends in the tile.

    `plane` is (a, b) of i and `ends` tells whether i, and whether j, lies in the tile's planes.
    """
    (a, b), (da, db, dy, dx), (forward, backward) = plane, displacement, ends
    (a0, b0, y0, x0), (_, _, y1, x1) = tile.low, tile.high
    _, stride_a, stride_b, stride_y = volume.strides
    shift = da * stride_a + db * stride_b + dy * stride_y + dx
    start = volume.origin + a * stride_a + b * stride_b
    height, width = len(patch.taps_y), len(patch.taps_x)

    # Rows and columns of i for which i or j is in the tile.
    top = min(y0 if forward else y1, y0 - dy if backward else y1)
    bottom = max(y1 if forward else y0, y1 - dy if backward else y0)
    left, right = min(x0, x0 - dx), max(x1, x1 - dx)
    n = right - left
    row = weights[:n]
    wide = n + width - 1
    block = (sums[0, :wide], sums[1, :wide], sums[2, :wide], sums[3, :wide])
    for y_block in range(top, bottom, STEP):
        corner = start + (y_block - height // 2) * stride_y + left - width // 2
        for k in range(len(patch.plane_offsets)):
            i = corner + patch.plane_offsets[k]
            column_sums(
                volume.image[i:], volume.image[i + shift :], np.uintp(stride_y),
                patch.taps_y, patch.plane_weights[k], k == 0, block,
            )  # fmt: skip
        for k in range(min(STEP, bottom - y_block)):
            y = y_block + k
            row_weights(block[k], patch.taps_x, patch.floor, patch.inverse_h2, row)
            i = start + y * stride_y + x0
            if forward and y0 <= y < y1:
                ends_here = row[x0 - left : x1 - left]
                add_row(volume, tile, ends_here, i, shift, (a - a0, b - b0, y - y0))
            if backward and y0 <= y + dy < y1:
                ends_there = row[x0 - dx - left : x1 - dx - left]
                at = (a + da - a0, b + db - b0, y + dy - y0)
                add_row(volume, tile, ends_there, i + shift - dx, -shift, at)


@kernel
def filter_tile(volume, patch, search, tile):
    """Fill the sums of a tile over the search window, whose radii along (a, b, y, x) are `search`.

    The planes are outside and the displacements (dy, dx) inside, so that a tile of two planes is
    what has to stay in the cache.
    """
    (a0, b0, _, x0), (a1, b1, _, x1) = tile.low, tile.high
    widest = x1 - x0 + search[3]
    sums = np.empty((STEP, widest + len(patch.taps_x) - 1), np.float32)
    weights = np.empty(widest, np.float32)
    for da in range(search[0] + 1):
        for db in range(-search[1] if da else 0, search[1] + 1):
            for a in range(a0 - da, a1):
                for b in range(min(b0, b0 - db), max(b1, b1 - db)):
                    ends = (a >= a0 and b0 <= b < b1, a + da < a1 and b0 <= b + db < b1)
                    if not (ends[0] or ends[1]):
                        continue
                    for dy in range(-search[2] if da or db else 0, search[2] + 1):
                        for dx in range(-search[3] if da or db or dy else 1, search[3] + 1):
                            t = (da, db, dy, dx)
                            sweep(volume, patch, tile, (a, b), t, ends, sums, weights)
