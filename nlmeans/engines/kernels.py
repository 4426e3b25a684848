"""The compiled loops of NL-means.

Offset-major: the outer loops run over the displacements t of half the window, and each weight
w(i, i+t) = w(i+t, i) serves both its ends. A sweep down a tile makes, eight rows at a time and for
four neighboring displacements together, the column sums of the squared differences over the patch
height, the sums of those over the patch width, the weights, and adds them up at both ends.

A tile writes only its own output. Weights of pairs that straddle two tiles are computed in both,
by the same operations, so the result does not depend on how tiles are spread over threads.

Every image has four spatial axes here, (a, b, y, x), the leading ones of length 1 where it has
fewer. Rows are contiguous; each row loop is a small function on flat arrays and unsigned positions
in them, because those vectorize. Slices in their place cost a third of the time on rows of 1000
pixels, and loops inside one big function did not vectorize.
"""

from typing import NamedTuple

import numpy as np

from nlmeans.affinity import patch_gaussian_log
from nlmeans.engines.jit import always_inline, exp2, inline, kernel, relu, row_loop, unroll

log_weight = inline(patch_gaussian_log)

# Rows per step of a sweep. Neighboring patches share all rows but one: for eight output rows and
# a patch height of 7, 14 difference rows do instead of 56 (four rows at a time cost half as much
# again). A running sum would need two per row, but drifts: after a strong edge its rounding error
# swamps the distances of a flat region.
STEP = 8

# Displacements per step of a sweep. Adding the weights of four at once loads and stores the sums
# once instead of four times: 0.09 ns a weight and end instead of 0.16.
GROUP = 4


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
    """Weights along y and x; the lengths of the tuples are known to the compiler."""
    floor: np.float32
    inverse_h2: np.float32


class Tile(NamedTuple):
    """The output positions [low, high) along (a, b, y, x) and their sums over the window.

    The sums are flat, with the strides of an image (C, a, b, y, x).
    """

    low: tuple[int, ...]
    high: tuple[int, ...]
    strides: tuple[int, ...]
    """Elements from one c, a, b and y to the next."""
    numerator: np.ndarray
    """Sum of w * (x_j - x_i)."""
    denominator: np.ndarray
    """Sum of w, without the center; as the numerator, but for one channel."""
    largest: np.ndarray
    """Largest w but the center's, as the denominator; empty if the center rule needs none."""


def column_sum(image, first, second, stride, taps):
    """Sum over p of taps[p] * (image[first + p stride] - image[second + p stride])^2."""
    d = np.float32(image[first] - image[second])
    square = taps[0] * (d * d)
    if len(taps) == 1:
        return square
    return square + column_sum(image, first + stride, second + stride, stride, taps[1:])


@unroll(column_sum)
def _column_sum(image, first, second, stride, taps):
    def last(image, first, second, stride, taps):
        always_inline()
        d = np.float32(image[first] - image[second])
        return taps[0] * (d * d)

    def more(image, first, second, stride, taps):
        always_inline()
        d = np.float32(image[first] - image[second])
        rest = column_sum(image, first + stride, second + stride, stride, taps[1:])
        return taps[0] * (d * d) + rest

    return last if len(taps) == 1 else more


def row_sum(sums, at, taps):
    """Sum over p of taps[p] * sums[at + p]."""
    if len(taps) == 1:
        return taps[0] * sums[at]
    return taps[0] * sums[at] + row_sum(sums, at + np.uintp(1), taps[1:])


@unroll(row_sum)
def _row_sum(sums, at, taps):
    def last(sums, at, taps):
        always_inline()
        return taps[0] * sums[at]

    def more(sums, at, taps):
        always_inline()
        return taps[0] * sums[at] + row_sum(sums, at + np.uintp(1), taps[1:])

    return last if len(taps) == 1 else more


@inline
def set_column_sums(image, first, second, stride, taps, scale, sums, step, n):
    """sums[k step + x] = scale * `column_sum` of row k and column x, for STEP rows.

    Written out, the compiler sees that the eight sums share most of their terms; a loop, or a
    tuple of sums, would go through memory.
    """
    row_loop()
    for k in range(n):
        x = np.uintp(k)
        i, j = first + x, second + x
        s0 = column_sum(image, i, j, stride, taps)
        i += stride
        j += stride
        s1 = column_sum(image, i, j, stride, taps)
        i += stride
        j += stride
        s2 = column_sum(image, i, j, stride, taps)
        i += stride
        j += stride
        s3 = column_sum(image, i, j, stride, taps)
        i += stride
        j += stride
        s4 = column_sum(image, i, j, stride, taps)
        i += stride
        j += stride
        s5 = column_sum(image, i, j, stride, taps)
        i += stride
        j += stride
        s6 = column_sum(image, i, j, stride, taps)
        i += stride
        j += stride
        s7 = column_sum(image, i, j, stride, taps)
        sums[x] = scale * s0
        x += step
        sums[x] = scale * s1
        x += step
        sums[x] = scale * s2
        x += step
        sums[x] = scale * s3
        x += step
        sums[x] = scale * s4
        x += step
        sums[x] = scale * s5
        x += step
        sums[x] = scale * s6
        x += step
        sums[x] = scale * s7


@inline
def add_column_sums(image, first, second, stride, taps, scale, sums, step, n):
    """Do what `set_column_sums` does for the further planes of the patch, adding."""
    row_loop()
    for k in range(n):
        x = np.uintp(k)
        i, j = first + x, second + x
        s0 = column_sum(image, i, j, stride, taps)
        i += stride
        j += stride
        s1 = column_sum(image, i, j, stride, taps)
        i += stride
        j += stride
        s2 = column_sum(image, i, j, stride, taps)
        i += stride
        j += stride
        s3 = column_sum(image, i, j, stride, taps)
        i += stride
        j += stride
        s4 = column_sum(image, i, j, stride, taps)
        i += stride
        j += stride
        s5 = column_sum(image, i, j, stride, taps)
        i += stride
        j += stride
        s6 = column_sum(image, i, j, stride, taps)
        i += stride
        j += stride
        s7 = column_sum(image, i, j, stride, taps)
        sums[x] += scale * s0
        x += step
        sums[x] += scale * s1
        x += step
        sums[x] += scale * s2
        x += step
        sums[x] += scale * s3
        x += step
        sums[x] += scale * s4
        x += step
        sums[x] += scale * s5
        x += step
        sums[x] += scale * s6
        x += step
        sums[x] += scale * s7


@inline
def row_weights(sums, start, taps, floor, inverse_h2, weights, to, n):
    """weights[to + x] = f of the patch sum at start + x, for n positions."""
    row_loop()
    for k in range(n):
        x = np.uintp(k)
        distance = row_sum(sums, start + x, taps)
        weights[to + x] = exp2(log_weight(distance, floor, inverse_h2, relu))


@inline
def add_values(image, here, there, weights, rows, numerator, to, n):
    """numerator += w * (x_j - x_i) for a row of i and for the displacements of a group.

    Differences, not values: then y_i = x_i + numerator / C_i keeps constants and h -> 0 exact,
    and the rounding error is relative to the contrast, not to the level. `here`, `to` and, for
    each displacement, `there` and `rows` are flat positions of the first i.
    """
    row_loop()
    for k in range(n):
        x = np.uintp(k)
        center = image[here + x]
        total = center - center
        for g in range(GROUP):
            total += weights[rows[g] + x] * (image[there[g] + x] - center)
        numerator[to + x] += total


@inline
def add_weights(weights, rows, denominator, to, n):
    """C_i += w, without the center."""
    row_loop()
    for k in range(n):
        x = np.uintp(k)
        total = np.float32(0.0)
        for g in range(GROUP):
            total += weights[rows[g] + x]
        denominator[to + x] += total


@inline
def keep_largest(weights, rows, largest, to, n):
    """Track the largest weight but the center's, for the center rule "max"."""
    row_loop()
    for k in range(n):
        x = np.uintp(k)
        most = largest[to + x]
        for g in range(GROUP):
            most = max(most, weights[rows[g] + x])
        largest[to + x] = most


@inline
def add_row(volume, tile, weights, row, here, there, to):
    """Add a row of the weights of a group at one of their ends: flat positions of the first i."""
    n = np.uintp(tile.high[3] - tile.low[3])
    rows = (np.uintp(row[0]), np.uintp(row[1]), np.uintp(row[2]), np.uintp(row[3]))
    for c in range(len(tile.numerator) // len(tile.denominator)):
        skip = c * volume.strides[0]
        j = (
            np.uintp(there[0] + skip),
            np.uintp(there[1] + skip),
            np.uintp(there[2] + skip),
            np.uintp(there[3] + skip),
        )
        end = np.uintp(to + c * tile.strides[0])
        add_values(volume.image, np.uintp(here + skip), j, weights, rows, tile.numerator, end, n)
    add_weights(weights, rows, tile.denominator, np.uintp(to), n)
    if len(tile.largest):
        keep_largest(weights, rows, tile.largest, np.uintp(to), n)


@inline
def group_rows(first, step, count, zero):
    """Where the weights of each displacement of a group start; past its count, a row of zeros."""
    return (
        first,
        first + step if count > 1 else zero,
        first + 2 * step if count > 2 else zero,
        first + 3 * step if count > 3 else zero,
    )


@inline
def group_ends(first, step, count):
    """Where the other ends of each displacement of a group start; past its count, the last."""
    return (
        first,
        first + step * min(1, count - 1),
        first + step * min(2, count - 1),
        first + step * min(3, count - 1),
    )


@inline
def sweep(volume, patch, search_x, tile, plane, displacement, count, ends, sums, weights):
    """All weights of a group of displacements between two planes, added at their ends in the tile.

    `plane` is (a, b) of i, `displacement` the first of `count` neighboring ones along x, and
    `ends` tells whether i, and whether j, lies in the tile's planes.
    """
    (a, b), (da, db, dy, dx), (forward, backward) = plane, displacement, ends
    (a0, b0, y0, x0), (_, _, y1, x1) = tile.low, tile.high
    _, stride_a, stride_b, stride_y = volume.strides
    shift = da * stride_a + db * stride_b + dy * stride_y + dx
    start = volume.origin + a * stride_a + b * stride_b
    height, width = len(patch.taps_y), len(patch.taps_x)
    stride = np.uintp(stride_y)
    step = len(sums) // STEP
    length = len(weights) // (GROUP * STEP + 1)
    zero = len(weights) - length
    here = tile.strides[1] * (a - a0) + tile.strides[2] * (b - b0) - tile.strides[3] * y0
    there = here + tile.strides[1] * da + tile.strides[2] * db + tile.strides[3] * dy

    # Rows of i for which i or j is in the tile.
    top = min(y0 if forward else y1, y0 - dy if backward else y1)
    bottom = max(y1 if forward else y0, y1 - dy if backward else y0)
    for y_block in range(top, bottom, STEP):
        for g in range(count):
            left, right = min(x0, x0 - dx - g), max(x1, x1 - dx - g)
            corner = start + (y_block - height // 2) * stride_y + left - width // 2
            wide = np.uintp(right - left + width - 1)
            for k in range(len(patch.plane_offsets)):
                i = np.uintp(corner + patch.plane_offsets[k])
                j = np.uintp(corner + patch.plane_offsets[k] + shift + g)
                scale = patch.plane_weights[k]
                if k == 0:
                    set_column_sums(
                        volume.image, i, j, stride, patch.taps_y, scale, sums, np.uintp(step), wide
                    )
                else:
                    add_column_sums(
                        volume.image, i, j, stride, patch.taps_y, scale, sums, np.uintp(step), wide
                    )
            for k in range(min(STEP, bottom - y_block)):
                to = (k * GROUP + g) * length + left - x0 + search_x
                row_weights(
                    sums, np.uintp(k * step), patch.taps_x, patch.floor, patch.inverse_h2,
                    weights, np.uintp(to), np.uintp(right - left),
                )  # fmt: skip
        for k in range(min(STEP, bottom - y_block)):
            y = y_block + k
            i = start + y * stride_y + x0
            j = i + shift
            # Of the pair whose i is at x0, for the first displacement; a row further each other.
            w = k * GROUP * length + search_x
            if forward and y0 <= y < y1:
                rows = group_rows(w, length, count, zero)
                add_row(
                    volume,
                    tile,
                    weights,
                    rows,
                    i,
                    group_ends(j, 1, count),
                    here + y * tile.strides[3],
                )
            if backward and y0 <= y + dy < y1:
                rows = group_rows(w - dx, length - 1, count, zero)
                ends_i = group_ends(i - dx, -1, count)
                add_row(volume, tile, weights, rows, j - dx, ends_i, there + y * tile.strides[3])


@inline
def padded(width):
    """A row length of at least `width` in whole vectors, so that rows do not start a page apart."""
    length = (width + 15) // 16 * 16
    return length + 16 if length % 1024 == 0 else length


@kernel
def filter_tile(volume, patch, search, tile):
    """Fill the sums of a tile over the search window, whose radii along (a, b, y, x) are `search`.

    The planes are outside and the displacements (dy, dx) inside, so that a tile of two planes is
    what has to stay in the cache.
    """
    (a0, b0, _, x0), (a1, b1, _, x1) = tile.low, tile.high
    widest = x1 - x0 + 2 * search[3]
    sums = np.empty(STEP * padded(widest + len(patch.taps_x)), np.float32)
    weights = np.zeros((GROUP * STEP + 1) * padded(widest + GROUP), np.float32)
    for da in range(search[0] + 1):
        for db in range(-search[1] if da else 0, search[1] + 1):
            for a in range(a0 - da, a1):
                for b in range(min(b0, b0 - db), max(b1, b1 - db)):
                    ends = (a >= a0 and b0 <= b < b1, a + da < a1 and b0 <= b + db < b1)
                    if not (ends[0] or ends[1]):
                        continue
                    for dy in range(-search[2] if da or db else 0, search[2] + 1):
                        first = -search[3] if da or db or dy else 1
                        for dx in range(first, search[3] + 1, GROUP):
                            count = min(GROUP, search[3] + 1 - dx)
                            t = (da, db, dy, dx)
                            sweep(
                                volume,
                                patch,
                                search[3],
                                tile,
                                (a, b),
                                t,
                                count,
                                ends,
                                sums,
                                weights,
                            )
