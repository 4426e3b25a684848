"""The compiled loops of NL-means.

**Lanes.** The image is cut into equal blocks, and up to 16 of them are filtered at once, one in
each lane of a vector: pixel (y, x) of the k-th block is at (y, x, k) of the bundle. What is shifted
by a pixel is shifted by a whole vector: every load is aligned, no sum crosses lanes, and the short
rows of volumes vectorize as well. (On plain rows most loads straddle two cache lines; adding the
values took 1.7 times as long, a whole image of 1 MP a quarter longer.)

**Offset-major.** For each displacement t of half the window, a weight w(i, i+t) = w(i+t, i) serves
both its ends. Eight rows at a time, and for seven neighboring displacements together, a sweep makes
the column sums of the squared differences over the patch height, the sums of those over the patch
width, the weights, and adds them up at both ends.

A block writes only its own pixels. Weights of pairs that straddle two blocks are computed in both,
so the result does not depend on how bundles are spread over threads.

Every image has four spatial axes here, (a, b, y, x), the leading ones of length 1 where it has
fewer. Each row loop is a small function on flat arrays and unsigned positions in them, because
those vectorize; loops inside one big function did not.
"""

from typing import NamedTuple

import numpy as np
from numba.core.types import IntegerLiteral
from numba.core.types import NamedTuple as NamedTupleType

from nlmeans.affinity import patch_gaussian_log
from nlmeans.engines.jit import (
    always_inline,
    exp2,
    inline,
    is_flat,
    kernel,
    relu,
    row_loop,
    unroll,
    weigh,
)

log_weight = inline(patch_gaussian_log)

# Rows per step of a sweep. Neighboring patches share all rows but one: for eight output rows and
# a patch height of 7, 14 difference rows do instead of 56 (four at a time took a third longer).
# A running sum would need two per row, but drifts: after a strong edge its rounding error swamps
# the distances of a flat region.
STEP = 8

# Displacements per step of a sweep, a third of a row of a 21x21 window. Adding the weights of
# several at once loads and stores the sums once: four took 0.74 ns a pixel and displacement in all,
# seven take 0.71.
GROUP = 7


STOP, DONE = 0, 1
"""Places in the state of a running bundle."""


class Patch(NamedTuple):
    """The patch and f, in the units of an unnormalized patch sum and of base 2."""

    plane_offsets: np.ndarray
    """Where its planes, one for each (c, a, b), lie relative to a position, for one lane."""
    plane_weights: np.ndarray
    taps_y: tuple[float, ...]
    taps_x: tuple[float, ...]
    """Weights along y and x, or True for each of a flat patch; lengths and type are known to
    the compiler."""
    floor: np.float32
    inverse_h2: np.float32


class Bundle(NamedTuple):
    """Blocks of an image, one in each lane, continued by a margin, and their sums over the window.

    Arrays are flat, in the order (c, a, b, y, x, lane).
    """

    lanes: int
    size: tuple[int, ...]
    """Of a block, (a, b, y, x)."""
    image: np.ndarray
    """Float32 or float64, with STEP - 1 spare rows at the end, which a sweep may read."""
    strides: tuple[int, ...]
    """Elements from one c, a, b, y and x of the image to the next."""
    origin: int
    """Where the first pixel of the blocks is."""
    numerator: np.ndarray
    """Sum of w * (x_j - x_i)."""
    denominator: np.ndarray
    """Sum of w, without the center."""
    largest: np.ndarray
    """Largest w but the center's; empty if the center rule needs none."""
    sum_strides: tuple[int, ...]
    """As `strides`, of the numerator; the other two are as its first channel."""
    column_sums: np.ndarray
    """Scratch: for each displacement of a group STEP rows, for all columns of i and patches."""
    weights: np.ndarray
    """Scratch: a row for each displacement of a group, then one of zeros."""


class Squares(NamedTuple):
    """The squared differences of an image to itself, shifted."""

    image: np.ndarray
    shift: np.uintp


def element(source, at):
    """Element of an array or of `Squares`, as float32."""
    if isinstance(source, Squares):
        d = np.float32(source.image[at] - source.image[at + source.shift])
        return d * d
    return source[at]


@unroll(element)
def _element(source, at):
    def square(source, at):
        d = np.float32(source.image[at] - source.image[at + source.shift])
        return d * d

    return square if isinstance(source, NamedTupleType) else lambda source, at: source[at]


def tap_sum(source, at, stride, taps):
    """Sum over p of taps[p] * element(at + p stride), added up from the last to the first."""
    total = weigh(taps[0], element(source, at))
    return total if len(taps) == 1 else tap_sum(source, at + stride, stride, taps[1:]) + total


@unroll(tap_sum)
def _tap_sum(source, at, stride, taps):
    def last(source, at, stride, taps):
        always_inline()
        return weigh(taps[0], element(source, at))

    def more(source, at, stride, taps):
        always_inline()
        rest = tap_sum(source, at + stride, stride, taps[1:])
        return rest + weigh(taps[0], element(source, at))

    return last if len(taps) == 1 else more


def tap_sum_forward(source, at, stride, taps):
    """`tap_sum`, added up from the first to the last."""
    return tap_sum(source, at, stride, taps)


@unroll(tap_sum_forward)
def _tap_sum_forward(source, at, stride, taps):
    last = len(taps) - 1

    def one(source, at, stride, taps):
        always_inline()
        return weigh(taps[0], element(source, at))

    def more(source, at, stride, taps):
        always_inline()
        before = tap_sum_forward(source, at, stride, taps[:-1])
        return before + weigh(taps[last], element(source, at + np.uintp(last) * stride))

    return more if last else one


def block_sum(source, at, stride, taps, k):
    """`tap_sum` of the k-th of STEP neighboring patches, `at + k stride`.

    For flat patches of STEP - 1 taps or more it is the sum of the patch of k = 0 from the k-th tap
    on, added up backward, and of what lies behind that patch, added up forward. Over all k these
    are the partial sums of two chains: 18 additions for eight patches of 7 taps instead of 48.
    """
    return tap_sum(source, at + np.uintp(k) * stride, stride, taps)


@unroll(block_sum)
def _block_sum(source, at, stride, taps, k):
    if not isinstance(k, IntegerLiteral):
        return None
    skip, length = k.literal_value, len(taps)

    def alone(source, at, stride, taps, k):
        always_inline()
        return tap_sum(source, at + np.uintp(skip) * stride, stride, taps)

    def behind(source, at, stride, taps, k):
        always_inline()
        return tap_sum_forward(source, at + np.uintp(length) * stride, stride, taps)

    def split(source, at, stride, taps, k):
        always_inline()
        within = tap_sum(source, at + np.uintp(skip) * stride, stride, taps[skip:])
        end = at + np.uintp(length) * stride
        return within + tap_sum_forward(source, end, stride, taps[:skip])

    if skip == 0 or not is_flat(taps) or length < STEP - 1:
        return alone
    return behind if skip == length else split


@inline
def set_column_sums(image, first, shift, stride, taps, scale, sums, to, step, n):
    """sums[to + k step + x] = scale * squared distance of two columns of the patch, k < STEP.

    The columns are those from `first` + k `stride` + x down, and `shift` from there. Written out,
    so that the compiler finds what the sums share; a loop, or a tuple of sums, would go through
    memory.
    """
    row_loop()
    squares = Squares(image, shift)
    for column in range(n):
        x = to + np.uintp(column)
        at = first + np.uintp(column)
        s0 = block_sum(squares, at, stride, taps, 0)
        s1 = block_sum(squares, at, stride, taps, 1)
        s2 = block_sum(squares, at, stride, taps, 2)
        s3 = block_sum(squares, at, stride, taps, 3)
        s4 = block_sum(squares, at, stride, taps, 4)
        s5 = block_sum(squares, at, stride, taps, 5)
        s6 = block_sum(squares, at, stride, taps, 6)
        s7 = block_sum(squares, at, stride, taps, 7)
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
def add_column_sums(image, first, shift, stride, taps, scale, sums, to, step, n):
    """Do what `set_column_sums` does for the further planes of the patch, adding."""
    row_loop()
    squares = Squares(image, shift)
    for column in range(n):
        x = to + np.uintp(column)
        at = first + np.uintp(column)
        s0 = block_sum(squares, at, stride, taps, 0)
        s1 = block_sum(squares, at, stride, taps, 1)
        s2 = block_sum(squares, at, stride, taps, 2)
        s3 = block_sum(squares, at, stride, taps, 3)
        s4 = block_sum(squares, at, stride, taps, 4)
        s5 = block_sum(squares, at, stride, taps, 5)
        s6 = block_sum(squares, at, stride, taps, 6)
        s7 = block_sum(squares, at, stride, taps, 7)
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
def row_weights(sums, start, stride, taps, floor, inverse_h2, weights, to, n):
    """weights[to + x] = f of the patch sum at start + x, for n elements; columns `stride` apart.

    Eight columns at a time, sharing additions as `set_column_sums` does, were slower: the loop is
    bound by its whole mix of instructions, and the inner loop over 16 lanes has to be entered anew.
    """
    row_loop()
    for k in range(n):
        x = np.uintp(k)
        distance = tap_sum(sums, start + x, stride, taps)
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
def spread(first, step, count, rest):
    """GROUP positions: first, first + step, ... for `count` displacements, then `rest`."""
    return (
        np.uintp(first),
        np.uintp(first + step if count > 1 else rest),
        np.uintp(first + 2 * step if count > 2 else rest),
        np.uintp(first + 3 * step if count > 3 else rest),
        np.uintp(first + 4 * step if count > 4 else rest),
        np.uintp(first + 5 * step if count > 5 else rest),
        np.uintp(first + 6 * step if count > 6 else rest),
    )


@inline
def add_row(bundle, row, row_step, here, there, there_step, to, count):
    """Add a row of the weights of a group of `count` displacements at one of their ends.

    `row` in the weights, `there` in the image are of the first displacement; those past the count
    get the row of zeros and any pixels.
    """
    n = np.uintp(bundle.size[3] * bundle.lanes)
    weights = bundle.weights
    rows = spread(row, row_step, count, len(weights) - bundle.size[3] * bundle.lanes)
    for c in range(len(bundle.numerator) // len(bundle.denominator)):
        skip = c * bundle.strides[0]
        others = spread(there + skip, there_step, count, there + skip)
        end = np.uintp(to + c * bundle.sum_strides[0])
        add_values(
            bundle.image, np.uintp(here + skip), others, weights, rows, bundle.numerator, end, n
        )
    add_weights(weights, rows, bundle.denominator, np.uintp(to), n)
    if len(bundle.largest):
        keep_largest(weights, rows, bundle.largest, np.uintp(to), n)


@inline
def sweep_step(bundle, patch, search_x, position, displacement, count, ends):
    """Weights of STEP rows for a group of displacements, added at their ends in the blocks.

    `position` is (a, b, y) of the first row of i, `displacement` the first of `count` neighboring
    ones along x; `ends` tells whether i, and whether j, lies in the planes of the blocks.
    """
    (a, b, top), (da, db, dy, dx), (forward, backward) = position, displacement, ends
    _, _, height, width = bundle.size
    _, stride_a, stride_b, stride_y, stride_x = bundle.strides
    _, sum_a, sum_b, sum_y, _ = bundle.sum_strides
    shift = da * stride_a + db * stride_b + dy * stride_y + dx * stride_x
    start = bundle.origin + a * stride_a + b * stride_b + top * stride_y
    corner = start - len(patch.taps_y) // 2 * stride_y - len(patch.taps_x) // 2 * stride_x
    sums, weights = bundle.column_sums, bundle.weights
    step = len(sums) // (GROUP * STEP)
    # A row of weights has room for all columns of i for which i or j is in the blocks.
    length = (width + 2 * search_x) * bundle.lanes
    lane, line = np.uintp(stride_x), np.uintp(stride_y)

    for g in range(count):
        left, right = min(0, -dx - g), max(width, width - dx - g)
        to, n = (
            np.uintp(g * STEP * step),
            np.uintp((right - left + len(patch.taps_x) - 1) * stride_x),
        )
        for k in range(len(patch.plane_offsets)):
            i = np.uintp(corner + left * stride_x + patch.plane_offsets[k] * bundle.lanes)
            way, scale = np.uintp(shift + g * stride_x), patch.plane_weights[k]
            if k == 0:
                set_column_sums(
                    bundle.image, i, way, line, patch.taps_y, scale, sums, to, np.uintp(step), n
                )
            else:
                add_column_sums(
                    bundle.image, i, way, line, patch.taps_y, scale, sums, to, np.uintp(step), n
                )

    for k in range(STEP):
        y = top + k
        here, there = forward and 0 <= y < height, backward and 0 <= y + dy < height
        if not (here or there):
            continue
        for g in range(count):
            left, right = min(0, -dx - g), max(width, width - dx - g)
            at, to = (g * STEP + k) * step, g * length + (left + search_x) * stride_x
            row_weights(
                sums, np.uintp(at), lane, patch.taps_x, patch.floor, patch.inverse_h2,
                weights, np.uintp(to), np.uintp((right - left) * stride_x),
            )  # fmt: skip
        i = start + k * stride_y
        # Of the pair whose i is in the first column; a row further the next displacement's.
        w = search_x * stride_x
        if here:
            to = a * sum_a + b * sum_b + y * sum_y
            add_row(bundle, w, length, i, i + shift, stride_x, to, count)
        if there:
            to = (a + da) * sum_a + (b + db) * sum_b + (y + dy) * sum_y
            # Of the pair whose j is in the first column.
            w -= dx * stride_x
            j = i + shift - dx * stride_x
            i -= dx * stride_x
            add_row(bundle, w, length - stride_x, j, i, -stride_x, to, count)


@kernel
def fill_bundle(source, corners, tables, scale, bundle):
    """Copy blocks of the image `source`, (a, b, y, x, c), times `scale`, with their margins.

    `tables` holds, for each axis, the position in the source for each position from the margin
    before its first block on; `corners`, for each lane, where its block starts there.
    """
    stride_c, stride_a, stride_b, stride_y, stride_x = bundle.strides
    size = (
        stride_c // stride_a,
        stride_a // stride_b,
        stride_b // stride_y,
        stride_y // stride_x,
    )
    for lane in range(bundle.lanes):
        for c in range(source.shape[4]):
            for a in range(size[0]):
                for b in range(size[1]):
                    for y in range(size[2]):
                        at = c * stride_c + a * stride_a + b * stride_b + y * stride_y + lane
                        row = source[
                            tables[0][corners[lane, 0] + a],
                            tables[1][corners[lane, 1] + b],
                            tables[2][corners[lane, 2] + y],
                        ]
                        for x in range(size[3]):
                            from_x = tables[3][corners[lane, 3] + x]
                            bundle.image[at + x * stride_x] = row[from_x, c] * scale


@kernel
def filter_bundle(bundle, patch, search, state):
    """Fill the sums of a bundle over the search window of radii `search` along (a, b, y, x).

    Rows are outside and the displacements (dy, dx) inside, so that what has to stay in the cache is
    the rows within reach of eight rows, not the bundle. `state`, read and written meanwhile by the
    calling thread as well, holds whether to STOP and how much is DONE.
    """
    size_a, size_b, height, _ = bundle.size
    _, search_b, search_y, search_x = search
    offset, offsets = 0, (search[0] + 1) * (2 * search_b + 1) - search_b
    for da in range(search[0] + 1):
        for db in range(-search_b if da else 0, search_b + 1):
            span_b = size_b + abs(db)
            for a in range(-da, size_a):
                for b in range(min(0, -db), max(size_b, size_b - db)):
                    forward = a >= 0 and 0 <= b < size_b
                    backward = a + da < size_a and 0 <= b + db < size_b
                    if not (forward or backward):
                        continue
                    first_dy = -search_y if da or db else 0
                    # From the first row whose j may be in the blocks, in whole steps.
                    above = (search_y + STEP - 1) // STEP * STEP
                    for y in range(-above, height - first_dy, STEP):
                        if state[STOP]:
                            return
                        plane = (a + da) * span_b + b - min(0, -db)
                        rows = (y + above) / (height - first_dy + above)
                        planes = (plane + rows) / ((size_a + da) * span_b)
                        state[DONE] = (offset + planes) / offsets
                        for dy in range(first_dy, search_y + 1):
                            # Rows of i for which i or j is in the blocks.
                            top = min(0 if forward else height, -dy if backward else height)
                            bottom = max(height if forward else 0, height - dy if backward else 0)
                            if y + STEP <= top or y >= bottom:
                                continue
                            first_dx = -search_x if da or db or dy else 1
                            for dx in range(first_dx, search_x + 1, GROUP):
                                count = min(GROUP, search_x + 1 - dx)
                                sweep_step(
                                    bundle, patch, search_x, (a, b, y), (da, db, dy, dx), count,
                                    (forward, backward),
                                )  # fmt: skip
            offset += 1


@kernel
def close_bundle(bundle, center, smallest, unit, source, corners, result):
    """Set result, (a, b, y, x, c), to source + unit * numerator / C, with f(x_i, x_i) by the rule.

    `center` is f(x_i, x_i), or negative for the largest of the other weights. Pixels whose other
    weights sum to less than `smallest` are kept, exactly, whatever the rule.
    """
    stride_c, stride_a, stride_b, stride_y, stride_x = bundle.sum_strides
    size_a, size_b, height, width = bundle.size
    shape = source.shape
    for lane in range(bundle.lanes):
        a0, b0, y0, x0 = corners[lane, 0], corners[lane, 1], corners[lane, 2], corners[lane, 3]
        for a in range(min(size_a, shape[0] - a0)):
            for b in range(min(size_b, shape[1] - b0)):
                for y in range(min(height, shape[2] - y0)):
                    for x in range(min(width, shape[3] - x0)):
                        at = a * stride_a + b * stride_b + y * stride_y + x * stride_x + lane
                        others = bundle.denominator[at]
                        own = bundle.largest[at] if center < 0 else center
                        factor = unit / (others + own) if others >= smallest else 0.0
                        for c in range(shape[4]):
                            p = source[a0 + a, b0 + b, y0 + y, x0 + x, c]
                            change = bundle.numerator[at + c * stride_c] * factor
                            result[a0 + a, b0 + b, y0 + y, x0 + x, c] = p + change
