"""The compiled loops of NL-means.

**Lanes.** The image is cut into equal blocks, and 16 of them are filtered at once, one in each lane
of a vector: pixel (y, x) of the k-th block is at (y, x, k) of the bundle. What is shifted by one
pixel is shifted by a whole vector: every load is aligned, no sum crosses lanes, and neighboring
sums of a row share their terms in registers. A position is that of a vector's first element.

**Offset-major.** For each displacement t of half the window, a weight w(i, i+t) = w(i+t, i) serves
both its ends. Eight rows at a time, and for seven neighboring displacements together, a sweep goes
along the rows in tiles: the column sums of the squared differences over the patch height, the sums
of those over the patch width, the weights, and those added up at both ends.

**Patchwise**, the weights are summed first, at the pixels of the blocks and of the patches around
them. A second sweep makes them once more, divides each by the sums of its two ends, and adds it for
all pixels of a patch at once: the weight of x_j at a pixel is the sum over a patch of such
quotients, one more box filter for each end.

A block writes only its own pixels. Weights of pairs that straddle two blocks are computed in both,
so the result does not depend on how bundles are spread over threads.

Every image has four spatial axes here, (a, b, y, x), the leading ones of length 1 where it has
fewer.
"""

from typing import NamedTuple

import numpy as np
from numba.core.types import NamedTuple as NamedTupleType

from nlmeans.affinity import patch_gaussian_log
from nlmeans.engines.jit import (
    always_inline,
    inline,
    is_flat,
    is_true,
    kernel,
    literal,
    row_loop,
    unroll,
)
from nlmeans.engines.lanes import (
    LANES,
    exp2,
    keep,
    load,
    maximum,
    narrow,
    relu,
    splat,
    store,
    weigh,
    widen,
)

log_weight = inline(patch_gaussian_log)

# Rows per step of a sweep. Neighboring patches share all rows but one: for eight output rows and
# a patch height of 7, 14 difference rows do instead of 56.
# A running sum would need two per row, but drifts: after a strong edge its rounding error swamps
# the distances of a flat region.
STEP = 8

# Displacements per step of a sweep, a third of a row of a 21x21 window. Adding the weights of
# several at once loads and stores the sums once.
GROUP = 7

# Columns per step of a sweep, a multiple of 8. What is written for a tile is read again while it is
# in the cache; wider, fewer columns of the patch are summed twice, at the ends of two tiles.
TILE = 32

# Rows per step of the second sweep of patchwise means. It needs the weights of as many more as a
# patch is high: for a height of 7, 24 rows for 16, and 16 for 8.
SPREAD = 2 * STEP

# A row of the weights of one displacement: a tile, and before it the last columns of the tile
# before, which the other ends of the pairs need.
LINE = (TILE + GROUP - 1) * LANES

# Elements of the image before and after those of a bundle: a sweep goes on to a multiple of 8
# columns, and reads pixels of a whole group of displacements where it has fewer.
SPARE = 2 * 8 * LANES

STOP, DONE = 0, 1
"""Places in the state of a running bundle."""


class Patch(NamedTuple):
    """The patch and f, in the units of an unnormalized patch sum and of base 2."""

    plane_offsets: np.ndarray
    """Where its planes, one for each (c, a, b), lie relative to a position."""
    plane_weights: np.ndarray
    taps_y: tuple[float, ...]
    taps_x: tuple[float, ...]
    """Weights along y and x, or True for each of a flat patch; lengths and type are known to
    the compiler."""
    box_y: tuple[bool, ...]
    box_x: tuple[bool, ...]
    """The same of the flat patch."""
    floor: np.float32
    minus_inverse_h2: np.float32
    """Makes a patch sum the logarithm to base 2 of a weight, in units of 2**-23 as `exp2`."""
    cutoff: np.float32 | bool
    """Such a logarithm, below which weights are 0; True for none."""


class Bundle(NamedTuple):
    """Blocks of an image, one in each lane, continued by a margin, and their sums over the window.

    Arrays are flat, in the order (c, a, b, y, x, lane).
    """

    size: tuple[int, ...]
    """Of a block, (a, b, y, x)."""
    image: np.ndarray
    """What is compared: float32 or float64, with spare rows at the end, which a sweep may read."""
    values: np.ndarray
    """What is averaged; the same array without a guide."""
    strides: tuple[int, ...]
    """Elements from one c, a, b, y and x of the image to the next."""
    origin: int
    """Where the first pixel of the blocks is."""
    inside: np.ndarray | bool
    """As a channel of the image: 1 for pixels that may be averaged, else 0. True if all may."""
    inverse: np.ndarray | bool
    """As a channel of the image: 1 / C. True unless this is the second sweep."""
    spread: tuple[int, ...]
    """How far from its middle a patch counts, along (a, b, y, x), in the second sweep."""
    numerator: np.ndarray | bool
    """Sum of w * (x_j - x_i). True where weights are summed alone."""
    denominator: np.ndarray
    """Sum of w, without the center."""
    largest: np.ndarray
    """Largest w but the center's; empty if the center rule needs none."""
    sum_strides: tuple[int, ...]
    """As `strides`, of the numerator; the other two are as its first channel."""
    column_sums: np.ndarray
    """Scratch: for each displacement of a group STEP rows of a tile and the patches at its ends."""
    weights: np.ndarray
    """Scratch: for each displacement of a group a LINE."""
    past: np.ndarray
    """Scratch: for each of STEP rows and displacement of a group the last columns of a tile."""


class Squares(NamedTuple):
    """The squared differences of an image to itself, shifted."""

    image: np.ndarray
    shift: int


def element(source, at):
    """Vector of an array or of `Squares`, as float32."""
    if isinstance(source, Squares):
        d = narrow(load(source.image, at) - load(source.image, at + source.shift))
        return d * d
    return load(source, at)


@unroll(element)
def _element(source, at):
    def square(source, at):
        d = narrow(load(source.image, at) - load(source.image, at + source.shift))
        return d * d

    return square if isinstance(source, NamedTupleType) else lambda source, at: load(source, at)


def tap_sum(source, at, stride, taps, first):
    """Sum over p of taps[p] * element(at + (first + p) stride), added up from the last.

    `first` is a literal, not part of `at`, here and below: only for positions of one form does the
    compiler see which elements two sums share.
    """
    total = weigh(taps[0], element(source, at + first * stride))
    if len(taps) == 1:
        return total
    return tap_sum(source, at, stride, taps[1:], first + 1) + total


@unroll(tap_sum)
def _tap_sum(source, at, stride, taps, first):
    p, rest = literal(first), literal(first) + 1

    def last(source, at, stride, taps, first):
        always_inline()
        return weigh(taps[0], element(source, at + p * stride))

    def more(source, at, stride, taps, first):
        always_inline()
        total = tap_sum(source, at, stride, taps[1:], rest)
        return total + weigh(taps[0], element(source, at + p * stride))

    return last if len(taps) == 1 else more


def tap_sum_forward(source, at, stride, taps, first):
    """`tap_sum`, added up from the first to the last."""
    return tap_sum(source, at, stride, taps, first)


@unroll(tap_sum_forward)
def _tap_sum_forward(source, at, stride, taps, first):
    last, p = len(taps) - 1, literal(first) + len(taps) - 1

    def one(source, at, stride, taps, first):
        always_inline()
        return weigh(taps[0], element(source, at + p * stride))

    def more(source, at, stride, taps, first):
        always_inline()
        before = tap_sum_forward(source, at, stride, taps[:-1], first)
        return before + weigh(taps[last], element(source, at + p * stride))

    return more if last else one


def pair_sum(source, at, stride, taps, first):
    """Sum of an even number of elements, by pairs, so that sums two further on find them made."""
    return tap_sum(source, at, stride, taps, first)


@unroll(pair_sum)
def _pair_sum(source, at, stride, taps, first):
    p, q, rest = literal(first), literal(first) + 1, literal(first) + 2

    def last(source, at, stride, taps, first):
        always_inline()
        return element(source, at + p * stride) + element(source, at + q * stride)

    def more(source, at, stride, taps, first):
        always_inline()
        pair = element(source, at + p * stride) + element(source, at + q * stride)
        return pair + pair_sum(source, at, stride, taps[2:], rest)

    return last if len(taps) == 2 else more


def block_sum(source, at, stride, taps, k):
    """`tap_sum` of the k-th of STEP neighboring patches, `at + k stride`.

    The order of the additions is such that the sums for all k share as many as possible. For flat
    patches of STEP - 1 taps or more it is the sum of the patch of k = 0 from the k-th tap on, added
    up backward, and of what lies behind that patch, added up forward. Over all k these are the
    partial sums of two chains: 18 additions for eight patches of 7 taps instead of 48. For 3 and 5
    taps, those of k and k + 1 share all but their ends: 12 and 17 instead of 16 and 32.
    """
    return tap_sum(source, at, stride, taps, k)


@unroll(block_sum)
def _block_sum(source, at, stride, taps, k):
    skip, length = literal(k), len(taps)
    second, last = skip + 1, skip + length - 1

    def alone(source, at, stride, taps, k):
        always_inline()
        return tap_sum(source, at, stride, taps, k)

    def behind(source, at, stride, taps, k):
        always_inline()
        return tap_sum_forward(source, at, stride, taps, length)

    def split(source, at, stride, taps, k):
        always_inline()
        within = tap_sum(source, at, stride, taps[skip:], k)
        return within + tap_sum_forward(source, at, stride, taps[:skip], length)

    def even(source, at, stride, taps, k):
        always_inline()
        rest = pair_sum(source, at, stride, taps[1:], second)
        return element(source, at + skip * stride) + rest

    def odd(source, at, stride, taps, k):
        always_inline()
        rest = pair_sum(source, at, stride, taps[1:], k)
        return rest + element(source, at + last * stride)

    if not is_flat(taps) or length == 1:
        return alone
    if length < STEP - 1:
        return odd if skip % 2 else even
    if skip == 0:
        return alone
    return behind if skip == length else split


@inline
def set_column_sums(image, first, shift, stride, patch, sums, to, n):
    """sums[k, x] = squared distance of two columns of the patch, k < STEP.

    The columns are those from `first` + k `stride` + x down, and `shift` from there, in each plane
    of the patch. Written out, so that the compiler finds what the sums share; a loop, or a tuple of
    sums, would go through memory.
    """
    row_loop()
    squares = Squares(image, shift)
    taps = patch.taps_y
    for x in range(0, n * LANES, LANES):
        at = first + x + patch.plane_offsets[0]
        scale = patch.plane_weights[0]
        s0 = weigh(scale, block_sum(squares, at, stride, taps, 0))
        s1 = weigh(scale, block_sum(squares, at, stride, taps, 1))
        s2 = weigh(scale, block_sum(squares, at, stride, taps, 2))
        s3 = weigh(scale, block_sum(squares, at, stride, taps, 3))
        s4 = weigh(scale, block_sum(squares, at, stride, taps, 4))
        s5 = weigh(scale, block_sum(squares, at, stride, taps, 5))
        s6 = weigh(scale, block_sum(squares, at, stride, taps, 6))
        s7 = weigh(scale, block_sum(squares, at, stride, taps, 7))
        for plane in range(1, len(patch.plane_offsets)):
            at = first + x + patch.plane_offsets[plane]
            scale = patch.plane_weights[plane]
            s0 += weigh(scale, block_sum(squares, at, stride, taps, 0))
            s1 += weigh(scale, block_sum(squares, at, stride, taps, 1))
            s2 += weigh(scale, block_sum(squares, at, stride, taps, 2))
            s3 += weigh(scale, block_sum(squares, at, stride, taps, 3))
            s4 += weigh(scale, block_sum(squares, at, stride, taps, 4))
            s5 += weigh(scale, block_sum(squares, at, stride, taps, 5))
            s6 += weigh(scale, block_sum(squares, at, stride, taps, 6))
            s7 += weigh(scale, block_sum(squares, at, stride, taps, 7))
        step = len(sums) // (GROUP * STEP)
        store(sums, to + x, s0)
        store(sums, to + x + step, s1)
        store(sums, to + x + 2 * step, s2)
        store(sums, to + x + 3 * step, s3)
        store(sums, to + x + 4 * step, s4)
        store(sums, to + x + 5 * step, s5)
        store(sums, to + x + 6 * step, s6)
        store(sums, to + x + 7 * step, s7)


def allowed(weight, inside, here, there):
    """Weight of a pair, 0 if one end is not inside."""
    return weight if inside is True else weight * load(inside, here) * load(inside, there)


@unroll(allowed)
def _allowed(weight, inside, here, there):
    if is_true(inside):
        return lambda weight, inside, here, there: weight
    return lambda weight, inside, here, there: weight * (load(inside, here) * load(inside, there))


def cut(weight, log, cutoff):
    """Weight, or 0 if its logarithm is below the cutoff."""
    return weight if cutoff is True else keep(weight, log, splat(cutoff))


@unroll(cut)
def _cut(weight, log, cutoff):
    if is_true(cutoff):
        return lambda weight, log, cutoff: weight
    return lambda weight, log, cutoff: keep(weight, log, splat(cutoff))


@inline
def set_weight(distance, patch, inside, here, shift, weights, to):
    """weights[to] = f of a patch sum, whose pair is `here` and `shift` from there."""
    always_inline()
    log = log_weight(distance, splat(patch.floor), splat(patch.minus_inverse_h2), relu)
    weight = cut(exp2(log), log, patch.cutoff)
    store(weights, to, allowed(weight, inside, here, here + shift))


@inline
def set_weights(sums, start, patch, inside, here, shift, weights, to, n):
    """`set_weight` for a row of n columns, a multiple of 8, from all the first positions on."""
    always_inline()
    taps = patch.taps_x
    for x in range(0, n * LANES, 8 * LANES):
        at = start + x
        s0 = block_sum(sums, at, LANES, taps, 0)
        s1 = block_sum(sums, at, LANES, taps, 1)
        s2 = block_sum(sums, at, LANES, taps, 2)
        s3 = block_sum(sums, at, LANES, taps, 3)
        s4 = block_sum(sums, at, LANES, taps, 4)
        s5 = block_sum(sums, at, LANES, taps, 5)
        s6 = block_sum(sums, at, LANES, taps, 6)
        s7 = block_sum(sums, at, LANES, taps, 7)
        set_weight(s0, patch, inside, here + x, shift, weights, to + x)
        set_weight(s1, patch, inside, here + x + LANES, shift, weights, to + x + LANES)
        set_weight(s2, patch, inside, here + x + 2 * LANES, shift, weights, to + x + 2 * LANES)
        set_weight(s3, patch, inside, here + x + 3 * LANES, shift, weights, to + x + 3 * LANES)
        set_weight(s4, patch, inside, here + x + 4 * LANES, shift, weights, to + x + 4 * LANES)
        set_weight(s5, patch, inside, here + x + 5 * LANES, shift, weights, to + x + 5 * LANES)
        set_weight(s6, patch, inside, here + x + 6 * LANES, shift, weights, to + x + 6 * LANES)
        set_weight(s7, patch, inside, here + x + 7 * LANES, shift, weights, to + x + 7 * LANES)


@inline
def add_differences(numerator, bundle, here, there, start, to, n, step, line):
    """See `add_sums`."""
    always_inline()
    image, weights, denominator = bundle.values, bundle.weights, bundle.denominator
    for x in range(0, n * LANES, LANES):
        center = load(image, here + x)
        total, count = load(numerator, to + x), load(denominator, to + x)
        for g in range(GROUP):
            w = load(weights, start + x + g * line)
            total += widen(w, center) * (load(image, there + x + g * step) - center)
            count += w
        store(numerator, to + x, total)
        store(denominator, to + x, count)
    for c in range(1, len(numerator) // len(denominator)):
        i, j, end = (
            here + c * bundle.strides[0],
            there + c * bundle.strides[0],
            to + c * bundle.sum_strides[0],
        )
        for x in range(0, n * LANES, LANES):
            center = load(image, i + x)
            total = load(numerator, end + x)
            for g in range(GROUP):
                w = load(weights, start + x + g * line)
                total += widen(w, center) * (load(image, j + x + g * step) - center)
            store(numerator, end + x, total)


@inline
def add_weights(bundle, start, to, n, line):
    """See `add_sums`."""
    always_inline()
    for x in range(0, n * LANES, LANES):
        count = load(bundle.denominator, to + x)
        for g in range(GROUP):
            count += load(bundle.weights, start + x + g * line)
        store(bundle.denominator, to + x, count)


def add_sums(numerator, bundle, here, there, start, to, n, step, line):
    """Add w, and unless the numerator is True w * (x_j - x_i), as `add_end` says."""
    if numerator is True:
        add_weights(bundle, start, to, n, line)
    else:
        add_differences(numerator, bundle, here, there, start, to, n, step, line)


@unroll(add_sums)
def _add_sums(numerator, bundle, here, there, start, to, n, step, line):
    def weights(numerator, bundle, here, there, start, to, n, step, line):
        always_inline()
        add_weights(bundle, start, to, n, line)

    def both(numerator, bundle, here, there, start, to, n, step, line):
        always_inline()
        add_differences(numerator, bundle, here, there, start, to, n, step, line)

    return weights if is_true(numerator) else both


@inline
def add_end(bundle, here, there, start, to, n, step, line):
    """Add to n positions from `to` on, for a group of displacements, w * (x_j - x_i) and w.

    `here` is the first of the positions in the image and `there` the other end of its first pair,
    `start` the weight of that. For the next displacement those are `step` and `line` further on.

    Differences, not values: then y_i = x_i + numerator / C_i keeps constants and h -> 0 exact,
    and the rounding error is relative to the contrast, not to the level.
    """
    always_inline()
    add_sums(bundle.numerator, bundle, here, there, start, to, n, step, line)
    if len(bundle.largest):
        for x in range(0, n * LANES, LANES):
            most = load(bundle.largest, to + x)
            for g in range(GROUP):
                most = maximum(most, load(bundle.weights, start + x + g * line))
            store(bundle.largest, to + x, most)


@inline
def move_history(source, start, line, target, to, target_line, count):
    """Copy what `add_end` needs at j of the weights before a tile: g columns for the g-th line."""
    always_inline()
    for g in range(1, count):
        for x in range((GROUP - 1 - g) * LANES, (GROUP - 1) * LANES, LANES):
            store(target, to + g * target_line + x, load(source, start + g * line + x))


@inline
def add_tile(bundle, patch, shift, tile, ends, count):
    """Make weights of a tile's column sums and add them at both ends of the pairs.

    Row by row, so that the weights of a row, 10 kB, stay in the first cache: with those of all rows
    at once, everything took a tenth longer.
    """
    row_loop()
    start, column, n = tile
    (rows_i, i, end_i, first_i, n_i), (rows_j, j, end_j, first_j, n_j) = ends
    sums, weights, past = bundle.column_sums, bundle.weights, bundle.past
    stride, sum_stride = bundle.strides[3], bundle.sum_strides[3]
    size = len(sums) // GROUP
    history = (GROUP - 1) * LANES
    for k in range(min(rows_i[0], rows_j[0]), max(rows_i[1], rows_j[1])):
        for g in range(count):
            set_weights(
                sums, g * size + k * (size // STEP), patch, bundle.inside, start + k * stride,
                shift + g * LANES, weights, g * LINE + history, n,
            )  # fmt: skip
        if rows_i[0] <= k < rows_i[1]:
            here, w = i + k * stride, history + (first_i - column) * LANES
            add_end(bundle, here, here + shift, w, end_i + k * sum_stride, n_i, LANES, LINE)
        move_history(past, k * GROUP * history, history, weights, 0, LINE, count)
        if rows_j[0] <= k < rows_j[1]:
            here, w = j + k * stride, history + (first_j - column) * LANES
            add_end(
                bundle, here, here - shift, w, end_j + k * sum_stride, n_j, -LANES, LINE - LANES
            )
        move_history(weights, TILE * LANES, LINE, past, k * GROUP * history, history, count)


@inline
def sweep_step(bundle, patch, position, displacement, count, ends):
    """Weights of STEP rows for a group of displacements, added at their ends in the blocks.

    `position` is (a, b, y) of the first row of i, `displacement` the first of `count` neighboring
    ones along x; `ends` tells whether i, and whether j, lies in the planes of the blocks.
    """
    (a, b, top), (da, db, dy, dx), (forward, backward) = position, displacement, ends
    _, _, height, width = bundle.size
    _, stride_a, stride_b, stride_y, _ = bundle.strides
    _, sum_a, sum_b, sum_y, _ = bundle.sum_strides
    shift = da * stride_a + db * stride_b + dy * stride_y + dx * LANES
    start = bundle.origin + a * stride_a + b * stride_b + top * stride_y
    corner = start - len(patch.taps_y) // 2 * stride_y - len(patch.taps_x) // 2 * LANES
    sums, weights = bundle.column_sums, bundle.weights
    # Columns of i for which i or any j is in the blocks.
    left, right = min(0, 1 - dx - count), max(width, width - dx)
    if count < GROUP:
        weights[:] = 0

    # Rows, of the STEP, of i and of j that are in the blocks.
    rows_i = (max(0, -top), min(STEP, height - top) if forward else 0)
    rows_j = (max(0, -top - dy), min(STEP, height - top - dy) if backward else 0)
    end_i = a * sum_a + b * sum_b + top * sum_y
    end_j = (a + da) * sum_a + (b + db) * sum_b + (top + dy) * sum_y

    for column in range(left, right, TILE):
        n = min(TILE, (right - column + 7) // 8 * 8)
        for g in range(count):
            set_column_sums(
                bundle.image, corner + column * LANES, shift + g * LANES, stride_y, patch, sums,
                g * (len(sums) // GROUP), n + len(patch.taps_x) - 1,
            )  # fmt: skip
        # The columns of i, and those of i of the first displacement whose j, are in the blocks.
        first_i, first_j = max(column, 0), max(column, -dx)
        n_i, n_j = min(column + n, width) - first_i, min(column + n, width - dx) - first_j
        end_of_i = (rows_i, start + first_i * LANES, end_i + first_i * LANES, first_i, n_i)
        end_of_j = (
            rows_j,
            start + shift + first_j * LANES,
            end_j + (first_j + dx) * LANES,
            first_j,
            n_j,
        )
        tile = (start + column * LANES, column, n)
        add_tile(bundle, patch, shift, tile, (end_of_i, end_of_j), count)


@inline
def set_quotients(bundle, patch, here, shift, line, row, n, quotients, first):
    """quotients[row] += w / C of i, and in its second half w / C of j, for a row of n columns.

    `line` is where the column sums of the row are; the `first` of several planes of a patch sets.
    """
    row_loop()
    set_weights(bundle.column_sums, line, patch, bundle.inside, here, shift, bundle.weights, 0, n)
    half = len(quotients) // 2
    for x in range(0, n * LANES, LANES):
        w = load(bundle.weights, x)
        u, v = w * load(bundle.inverse, here + x), w * load(bundle.inverse, here + shift + x)
        if not first:
            u += load(quotients, row + x)
            v += load(quotients, row + half + x)
        store(quotients, row + x, u)
        store(quotients, row + half + x, v)


@inline
def set_box_columns(quotients, first, stride, taps, sums, n):
    """sums[k, x] = sum of a column of quotients over the height of a patch, k < STEP."""
    row_loop()
    step = len(sums) // (GROUP * STEP)
    for x in range(0, n * LANES, LANES):
        at = first + x
        store(sums, x, block_sum(quotients, at, stride, taps, 0))
        store(sums, x + step, block_sum(quotients, at, stride, taps, 1))
        store(sums, x + 2 * step, block_sum(quotients, at, stride, taps, 2))
        store(sums, x + 3 * step, block_sum(quotients, at, stride, taps, 3))
        store(sums, x + 4 * step, block_sum(quotients, at, stride, taps, 4))
        store(sums, x + 5 * step, block_sum(quotients, at, stride, taps, 5))
        store(sums, x + 6 * step, block_sum(quotients, at, stride, taps, 6))
        store(sums, x + 7 * step, block_sum(quotients, at, stride, taps, 7))


@inline
def add_box_row(bundle, taps, line, n, skip, count, here, shift, to):
    """Add box * (x_j - x_i) to `count` columns of a row of n, leaving out the first `skip`."""
    row_loop()
    sums, box, image = bundle.column_sums, bundle.weights, bundle.values
    for x in range(0, n * LANES, 8 * LANES):
        at = line + x
        store(box, x, block_sum(sums, at, LANES, taps, 0))
        store(box, x + LANES, block_sum(sums, at, LANES, taps, 1))
        store(box, x + 2 * LANES, block_sum(sums, at, LANES, taps, 2))
        store(box, x + 3 * LANES, block_sum(sums, at, LANES, taps, 3))
        store(box, x + 4 * LANES, block_sum(sums, at, LANES, taps, 4))
        store(box, x + 5 * LANES, block_sum(sums, at, LANES, taps, 5))
        store(box, x + 6 * LANES, block_sum(sums, at, LANES, taps, 6))
        store(box, x + 7 * LANES, block_sum(sums, at, LANES, taps, 7))
    for c in range(len(bundle.numerator) // len(bundle.denominator)):
        i, end = here + c * bundle.strides[0], to + c * bundle.sum_strides[0]
        for x in range(skip * LANES, (skip + count) * LANES, LANES):
            center = load(image, i + x)
            change = widen(load(box, x), center) * (load(image, i + shift + x) - center)
            store(bundle.numerator, end + x, load(bundle.numerator, end + x) + change)


@inline
def spread_step(bundle, patch, quotients, position, displacement, ends):
    """Weights over C of SPREAD rows and all that cover them, added for whole patches at both ends.

    Arguments as of `sweep_step`, but that there is one displacement.
    """
    (a, b, top), (da, db, dy, dx), (forward, backward) = position, displacement, ends
    _, _, height, width = bundle.size
    _, stride_a, stride_b, stride_y, _ = bundle.strides
    _, sum_a, sum_b, sum_y, _ = bundle.sum_strides
    beyond_a, beyond_b, beyond_y, beyond_x = bundle.spread
    shift = da * stride_a + db * stride_b + dy * stride_y + dx * LANES
    start = bundle.origin + a * stride_a + b * stride_b + top * stride_y
    sums = bundle.column_sums
    line = len(sums) // (GROUP * STEP)
    rows = (SPREAD + 2 * beyond_y + STEP - 1) // STEP * STEP
    row = len(quotients) // (2 * rows)
    left, right = min(0, -dx), max(width, width - dx)
    to_i = a * sum_a + b * sum_b + top * sum_y
    to_j = (a + da) * sum_a + (b + db) * sum_b + (top + dy) * sum_y
    for column in range(left, right, TILE):
        n = min(TILE, (right - column + 7) // 8 * 8)
        wide = (n + 2 * beyond_x + 7) // 8 * 8
        for plane_a in range(-beyond_a, beyond_a + 1):
            for plane_b in range(-beyond_b, beyond_b + 1):
                corner = (
                    start + plane_a * stride_a + plane_b * stride_b - beyond_y * stride_y
                    + (column - beyond_x) * LANES
                )  # fmt: skip
                before = len(patch.taps_y) // 2 * stride_y + len(patch.taps_x) // 2 * LANES
                first = plane_a == -beyond_a and plane_b == -beyond_b
                for step in range(0, rows, STEP):
                    here = corner + step * stride_y
                    set_column_sums(
                        bundle.image, here - before, shift, stride_y, patch, sums, 0,
                        wide + len(patch.taps_x) - 1,
                    )  # fmt: skip
                    for k in range(STEP):
                        set_quotients(
                            bundle, patch, here + k * stride_y, shift, k * line, (step + k) * row,
                            wide, quotients, first,
                        )  # fmt: skip
        here, skip_i, skip_j = start + column * LANES, max(0, -column), max(0, -dx - column)
        count_i = min(n, width - column) - skip_i
        count_j = min(n, width - dx - column) - skip_j
        for step in range(0, SPREAD, STEP):
            if forward:
                set_box_columns(
                    quotients, step * row, row, patch.box_y, sums, n + len(patch.box_x) - 1
                )
                for k in range(max(0, -top - step), min(STEP, height - top - step)):
                    at = step + k
                    add_box_row(
                        bundle, patch.box_x, k * line, n, skip_i, count_i,
                        here + at * stride_y, shift, to_i + at * sum_y + column * LANES,
                    )  # fmt: skip
            if backward:
                set_box_columns(
                    quotients, (rows + step) * row, row, patch.box_y, sums,
                    n + len(patch.box_x) - 1,
                )  # fmt: skip
                for k in range(max(0, -top - dy - step), min(STEP, height - top - dy - step)):
                    at = step + k
                    add_box_row(
                        bundle, patch.box_x, k * line, n, skip_j, count_j,
                        here + at * stride_y + shift, -shift,
                        to_j + at * sum_y + (column + dx) * LANES,
                    )  # fmt: skip


def row_of_displacements(inverse, bundle, patch, position, displacement, last, ends):
    """Deal with displacements (da, db, dy) from dx to `last` for a step of rows."""
    da, db, dy, first = displacement
    if inverse is True:
        for dx in range(first, last + 1, GROUP):
            count = min(GROUP, last + 1 - dx)
            sweep_step(bundle, patch, position, (da, db, dy, dx), count, ends)
    else:
        for dx in range(first, last + 1):
            spread_step(bundle, patch, bundle.past, position, (da, db, dy, dx), ends)


@unroll(row_of_displacements)
def _row_of_displacements(inverse, bundle, patch, position, displacement, last, ends):
    def sweep(inverse, bundle, patch, position, displacement, last, ends):
        da, db, dy, first = displacement
        for dx in range(first, last + 1, GROUP):
            count = min(GROUP, last + 1 - dx)
            sweep_step(bundle, patch, position, (da, db, dy, dx), count, ends)

    def spread(inverse, bundle, patch, position, displacement, last, ends):
        da, db, dy, first = displacement
        for dx in range(first, last + 1):
            spread_step(bundle, patch, bundle.past, position, (da, db, dy, dx), ends)

    return sweep if is_true(inverse) else spread


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
    for lane in range(len(corners)):
        for c in range(source.shape[4]):
            for a in range(size[0]):
                for b in range(size[1]):
                    for y in range(size[2]):
                        at = SPARE + c * stride_c + a * stride_a + b * stride_b + y * stride_y
                        row = source[
                            tables[0][corners[lane, 0] + a],
                            tables[1][corners[lane, 1] + b],
                            tables[2][corners[lane, 2] + y],
                        ]
                        for x in range(size[3]):
                            from_x = tables[3][corners[lane, 3] + x]
                            bundle.image[at + x * stride_x + lane] = row[from_x, c] * scale


@kernel
def filter_bundle(bundle, patch, search, rows_at_once, part, state):
    """Fill the sums of a bundle over the search window of radii `search` along (a, b, y, x).

    Rows are outside and the displacements (dy, dx) inside, so that what has to stay in the cache is
    the rows within reach of eight rows, not the bundle. `state`, read and written meanwhile by the
    calling thread as well, holds whether to STOP and how much is DONE: of the whole, this is the
    `part`, from where to how much.
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
                    above = (search_y + rows_at_once - 1) // rows_at_once * rows_at_once
                    for y in range(-above, height - first_dy, rows_at_once):
                        if state[STOP]:
                            return
                        plane = (a + da) * span_b + b - min(0, -db)
                        rows = (y + above) / (height - first_dy + above)
                        planes = (plane + rows) / ((size_a + da) * span_b)
                        state[DONE] = part[0] + part[1] * (offset + planes) / offsets
                        for dy in range(first_dy, search_y + 1):
                            # Rows of i for which i or j is in the blocks.
                            top = min(0 if forward else height, -dy if backward else height)
                            bottom = max(height if forward else 0, height - dy if backward else 0)
                            if y + rows_at_once <= top or y >= bottom:
                                continue
                            first_dx = -search_x if da or db or dy else 1
                            row_of_displacements(
                                bundle.inverse, bundle, patch, (a, b, y), (da, db, dy, first_dx),
                                search_x, (forward, backward),
                            )  # fmt: skip
            offset += 1


@kernel
def close_bundle(bundle, center, smallest, unit, source, corners, region, result):
    """Set result, (a, b, y, x, c), to source + unit * numerator / C, with f(x_i, x_i) by the rule.

    The result is that of a region, (start, stop) for each axis. `center` is f(x_i, x_i), or
    negative for the largest of the other weights. Pixels whose other weights sum to less than
    `smallest` are kept, exactly, whatever the rule.
    """
    stride_c, stride_a, stride_b, stride_y, _ = bundle.sum_strides
    size_a, size_b, height, width = bundle.size
    for lane in range(len(corners)):
        corner, start = corners[lane], corners[lane] - region[:, 0]
        for a in range(min(size_a, region[0, 1] - corner[0])):
            for b in range(min(size_b, region[1, 1] - corner[1])):
                for y in range(min(height, region[2, 1] - corner[2])):
                    row = source[corner[0] + a, corner[1] + b, corner[2] + y]
                    out = result[start[0] + a, start[1] + b, start[2] + y]
                    for x in range(min(width, region[3, 1] - corner[3])):
                        at = a * stride_a + b * stride_b + y * stride_y + x * LANES + lane
                        others = bundle.denominator[at]
                        own = bundle.largest[at] if center < 0 else center
                        factor = unit / (others + own) if others >= smallest else 0.0
                        for c in range(source.shape[4]):
                            change = bundle.numerator[at + c * stride_c] * factor
                            out[start[3] + x, c] = row[corner[3] + x, c] + change


@kernel
def set_inverse(bundle, center, smallest, corners, space, inverse):
    """Set `inverse`, as the image, to 1 / C where a position has a patch in the image, else to 0.

    The sums are those of blocks that begin `spread` before their corners. C is 0, too, where the
    pixel is kept: then its whole patch is.
    """
    _, stride_a, stride_b, stride_y, _ = bundle.sum_strides
    _, image_a, image_b, image_y, _ = bundle.strides
    size_a, size_b, height, width = bundle.size
    for lane in range(len(corners)):
        for a in range(size_a):
            for b in range(size_b):
                for y in range(height):
                    at = a * stride_a + b * stride_b + y * stride_y + lane
                    to = bundle.origin + a * image_a + b * image_b + y * image_y + lane
                    inside = True
                    for axis, n in ((0, a), (1, b), (2, y)):
                        i = corners[lane, axis] - bundle.spread[axis] + n
                        inside = inside and 0 <= i < space[axis]
                    for x in range(width):
                        i = corners[lane, 3] - bundle.spread[3] + x
                        others = bundle.denominator[at + x * LANES]
                        own = bundle.largest[at + x * LANES] if center < 0 else center
                        used = inside and 0 <= i < space[3] and others >= smallest
                        inverse[to + x * LANES] = 1 / (others + own) if used else 0.0


@kernel
def close_patches(bundle, unit, source, corners, region, space, result):
    """Set result to source + unit * numerator / number of patches of the image that cover it."""
    stride_c, stride_a, stride_b, stride_y, _ = bundle.sum_strides
    size_a, size_b, height, width = bundle.size
    for lane in range(len(corners)):
        corner, start = corners[lane], corners[lane] - region[:, 0]
        for a in range(min(size_a, region[0, 1] - corner[0])):
            for b in range(min(size_b, region[1, 1] - corner[1])):
                for y in range(min(height, region[2, 1] - corner[2])):
                    row = source[corner[0] + a, corner[1] + b, corner[2] + y]
                    out = result[start[0] + a, start[1] + b, start[2] + y]
                    planes = 1
                    for axis, n in ((0, a), (1, b), (2, y)):
                        planes *= covering(corner[axis] + n, space[axis], bundle.spread[axis])
                    for x in range(min(width, region[3, 1] - corner[3])):
                        at = a * stride_a + b * stride_b + y * stride_y + x * LANES + lane
                        count = planes * covering(corner[3] + x, space[3], bundle.spread[3])
                        for c in range(source.shape[4]):
                            change = unit * bundle.numerator[at + c * stride_c] / count
                            out[start[3] + x, c] = row[corner[3] + x, c] + change


@inline
def covering(position, size, radius):
    """Positions of an axis within a radius of one."""
    return min(position + radius, size - 1) - max(position - radius, 0) + 1
