"""The compiled algebra of ridge weights: theta of 16 groups at once, one in each vector lane.

A group is k patches of n numbers, here a matrix (k, n, lane) as a flat array. All sizes are
multiples of 4, rows and columns beyond a group's own being zero, because the products go along in
tiles of 4x4: eight loads for sixteen multiplications. Every matrix is dealt with in place, and all
products but the last are of rows with rows.

    Q = G G' + a I = L L'     W = L^-1     Q^-1 = W' W     theta = I - b Q^-1 + b / (a k) 1 1'

G are the features of the group less their mean, so that 1, the vector of ones, is an eigenvector
of Q with the value a: the last term makes every row of theta sum to 1.
"""

from typing import NamedTuple

import numpy as np

from nlmeans.engines.jit import inline, kernel, row_loop
from nlmeans.engines.lanes import LANES, inverse_root, load, maximum, splat, store

TILE = 4
"""Rows and columns of a tile: its 16 sums and the eight factors fit the 32 registers of AVX-512."""


class Room(NamedTuple):
    """Scratch for 16 groups, every array flat and with the lane last."""

    group: np.ndarray
    """Patches, (k, n), whose mean is what is averaged."""
    pilot: np.ndarray
    """The same of the features, or empty if those are the group itself."""
    q: np.ndarray
    """Q and all that becomes of it, (k, k)."""
    rows: np.ndarray
    """A tile's columns of a product, (k, 4)."""
    tile: np.ndarray
    """Of a product, (4, 4)."""
    roots: np.ndarray
    """Inverse of the diagonal of L, (k,)."""
    norms: np.ndarray
    """Squared norms of the rows of theta, (k,)."""
    mean: np.ndarray
    """Of the patches, (n,)."""
    mean_of_pilot: np.ndarray
    """The same of the features."""
    noise: np.ndarray
    """a, b and b / (a k), (3,)."""


@inline
def set_product(a, at_a, row_a, step_a, b, at_b, row_b, step_b, count, out, at, row):
    """Set a tile of `out` to the sums over `count` steps of products of 4 rows with 4 rows.

    `at` is where the tile begins in `out` and `row` how far its rows are apart; `at_a`, `row_a` and
    `step_a` are the same for the first factor and how far its elements are apart along the sum.
    """
    row_loop()
    zero = splat(np.float32(0.0))
    c00, c01, c02, c03 = zero, zero, zero, zero
    c10, c11, c12, c13 = zero, zero, zero, zero
    c20, c21, c22, c23 = zero, zero, zero, zero
    c30, c31, c32, c33 = zero, zero, zero, zero
    for _ in range(count):
        b0, b1 = load(b, at_b), load(b, at_b + row_b)
        b2, b3 = load(b, at_b + 2 * row_b), load(b, at_b + 3 * row_b)
        x = load(a, at_a)
        c00, c01, c02, c03 = c00 + x * b0, c01 + x * b1, c02 + x * b2, c03 + x * b3
        x = load(a, at_a + row_a)
        c10, c11, c12, c13 = c10 + x * b0, c11 + x * b1, c12 + x * b2, c13 + x * b3
        x = load(a, at_a + 2 * row_a)
        c20, c21, c22, c23 = c20 + x * b0, c21 + x * b1, c22 + x * b2, c23 + x * b3
        x = load(a, at_a + 3 * row_a)
        c30, c31, c32, c33 = c30 + x * b0, c31 + x * b1, c32 + x * b2, c33 + x * b3
        at_a += step_a
        at_b += step_b
    store(out, at, c00)
    store(out, at + LANES, c01)
    store(out, at + 2 * LANES, c02)
    store(out, at + 3 * LANES, c03)
    at += row
    store(out, at, c10)
    store(out, at + LANES, c11)
    store(out, at + 2 * LANES, c12)
    store(out, at + 3 * LANES, c13)
    at += row
    store(out, at, c20)
    store(out, at + LANES, c21)
    store(out, at + 2 * LANES, c22)
    store(out, at + 3 * LANES, c23)
    at += row
    store(out, at, c30)
    store(out, at + LANES, c31)
    store(out, at + 2 * LANES, c32)
    store(out, at + 3 * LANES, c33)


@inline
def set_gram(g, k, n, a, q):
    """Q = G G' + a I, its lower triangle of tiles; `a` has a number for each lane."""
    row = k * LANES
    for i in range(0, k, TILE):
        for j in range(0, i + 1, TILE):
            set_product(
                g, i * n * LANES, n * LANES, LANES, g, j * n * LANES, n * LANES, LANES, n,
                q, i * row + j * LANES, row,
            )  # fmt: skip
    for i in range(k):
        at = i * row + i * LANES
        store(q, at, load(q, at) + load(a, 0))


@inline
def factor(q, k, a, tile, roots):
    """Q = L L', L in the lower triangle but for its diagonal, whose inverse is in `roots`.

    No square of a diagonal element can be below a: where rounding says so, where the noise is far
    below the contrast, it is a.
    """
    row, least = k * LANES, load(a, 0)
    for i in range(0, k, TILE):
        for j in range(0, i + 1, TILE):
            at = i * row + j * LANES
            set_product(q, i * row, row, LANES, q, j * row, row, LANES, j, tile, 0, TILE * LANES)
            for r in range(TILE):
                for c in range(TILE):
                    if i == j and c > r:
                        continue
                    end = at + r * row + c * LANES
                    value = load(q, end) - load(tile, (r * TILE + c) * LANES)
                    for d in range(c):
                        left = load(q, at + r * row + d * LANES)
                        value = value - left * load(q, j * row + c * row + (j + d) * LANES)
                    if i == j and r == c:
                        store(roots, (i + r) * LANES, inverse_root(maximum(value, least)))
                    else:
                        store(q, end, value * load(roots, (j + c) * LANES))


@inline
def invert_factor(q, k, tile, roots):
    """W = L^-1, transposed into the upper triangle, with its diagonal; L in the lower is lost.

    Row by row: W_IJ = -L_II^-1 sum over J <= M < I of L_IM W_MJ.
    """
    row = k * LANES
    zero = splat(np.float32(0.0))
    for i in range(0, k, TILE):
        for j in range(0, i, TILE):
            set_product(
                q, i * row + j * LANES, row, LANES, q, j * row + j * LANES, row, LANES, i - j,
                tile, 0, TILE * LANES,
            )  # fmt: skip
            for c in range(TILE):
                end = (j + c) * row + i * LANES  # of W_IJ transposed
                for r in range(TILE):
                    value = zero - load(tile, (r * TILE + c) * LANES)
                    for d in range(r):
                        left = load(q, (i + r) * row + (i + d) * LANES)
                        value = value - left * load(q, end + d * LANES)
                    store(q, end + r * LANES, value * load(roots, (i + r) * LANES))
        for c in range(TILE):
            end = (i + c) * row + i * LANES
            store(q, end + c * LANES, load(roots, (i + c) * LANES))
            for r in range(c + 1, TILE):
                value = zero
                for d in range(c, r):
                    left = load(q, (i + r) * row + (i + d) * LANES)
                    value = value - left * load(q, end + d * LANES)
                store(q, end + r * LANES, value * load(roots, (i + r) * LANES))
        for r in range(TILE):
            for d in range(r):
                store(q, (i + r) * row + (i + d) * LANES, zero)


@inline
def set_inverse(q, k, tile):
    """Q^-1 = W' W from W, all of it."""
    row = k * LANES
    for i in range(0, k, TILE):
        for j in range(0, i + 1, TILE):
            set_product(
                q, i * row + i * LANES, row, LANES, q, j * row + i * LANES, row, LANES, k - i,
                tile, 0, TILE * LANES,
            )  # fmt: skip
            for r in range(TILE):
                for c in range(TILE):
                    value = load(tile, (r * TILE + c) * LANES)
                    store(q, (i + r) * row + (j + c) * LANES, value)
                    store(q, (j + c) * row + (i + r) * LANES, value)


@inline
def set_norms(q, k, members, b, share, norms):
    """Squared norms of the rows of theta, of the `members` of a group; `share` is b / (a k)."""
    row_loop()
    one, zero = splat(np.float32(1.0)), splat(np.float32(0.0))
    strength, mean = load(b, 0), load(share, 0)
    for i in range(members):
        total = zero
        for j in range(members):
            value = mean - strength * load(q, (i * k + j) * LANES)
            if i == j:
                value = value + one
            total = total + value * value
        store(norms, i * LANES, total)


@inline
def center(v, members, n, mean):
    """Subtract from the patches of a group their mean, which is kept."""
    row_loop()
    share = splat(np.float32(1.0 / members))
    row = n * LANES
    for p in range(0, row, LANES):
        total = load(v, p)
        for i in range(1, members):
            total = total + load(v, p + i * row)
        total = total * share
        store(mean, p, total)
        for i in range(members):
            store(v, p + i * row, load(v, p + i * row) - total)


@inline
def apply(q, k, v, n, b, rows):
    """V = V - b Q^-1 V. Scratch `rows` holds k times 4."""
    strength = load(b, 0)
    row = n * LANES
    for p in range(0, n, TILE):
        for i in range(0, k, TILE):
            set_product(
                q, i * k * LANES, k * LANES, LANES, v, p * LANES, LANES, row, k,
                rows, i * TILE * LANES, TILE * LANES,
            )  # fmt: skip
        for i in range(k):
            for c in range(TILE):
                at = i * row + (p + c) * LANES
                store(v, at, load(v, at) - strength * load(rows, (i * TILE + c) * LANES))


@inline
def gather(image, corner, members, patch, n, lane, group):
    """Copy the patches of a group from an image (y, x) into its lane of (k, n, lane).

    Less one of their values: so a constant stays a constant, and digits are kept for the contrast.
    """
    base = image[corner[0], corner[1]]
    for i in range(len(members)):
        at = i * n * LANES + lane
        y, x = corner[0] + members[i, 0], corner[1] + members[i, 1]
        for dy in range(patch):
            for dx in range(patch):
                group[at] = image[y + dy, x + dx] - base
                at += LANES


@inline
def scatter(room, values, corner, members, patch, n, lane, part, top, change, weight):
    """Add what the patches of a group become to the sums, each with the inverse of its norm."""
    k = len(members)
    base = values[corner[0], corner[1]]
    for i in range(k):
        norm = min(max(room.norms[i * LANES + lane], np.float32(1 / k)), np.float32(1.0))
        share = np.float32(1.0) / norm
        y, x = corner[0] + members[i, 0], corner[1] + members[i, 1]
        weight[y - top, x] += share
        at, of_mean = i * n * LANES + lane, lane
        for dy in range(patch):
            for dx in range(patch):
                value = room.group[at] + room.mean[of_mean] - (values[y + dy, x + dx] - base)
                change[0, y + dy - top, x + dx] += share * value
                if len(change) > 1:
                    change[1, y + dy - top, x + dx] += part * share * value
                at += LANES
                of_mean += LANES


@kernel
def add_groups(features, values, corners, members, patch, noise, top, room, change, weight):
    """Add what the patches of groups become to the sums of a band of rows from `top` on.

    `features` and `values` are images (y, x), `corners` the first pixels of the reference patches,
    `members` (reference, k, 2) the displacements of their groups, and `noise` (reference, 3) their
    a, b and part. `change` (1 or 2, y, x) receives share * (y^ - y), the second one times the
    part, and `weight` (y, x) the share at the first pixel of a patch.
    """
    k = members.shape[1]
    k4, n4 = (k + TILE - 1) // TILE * TILE, (patch * patch + TILE - 1) // TILE * TILE
    a, b, share = room.noise[:LANES], room.noise[LANES : 2 * LANES], room.noise[2 * LANES :]
    for first in range(0, len(corners), LANES):
        lanes = min(LANES, len(corners) - first)
        for lane in range(LANES):
            one = first + min(lane, lanes - 1)  # idle lanes repeat the last group
            gather(values, corners[one], members[one], patch, n4, lane, room.group)
            if len(room.pilot):
                gather(features, corners[one], members[one], patch, n4, lane, room.pilot)
            a[lane], b[lane] = noise[one, 0], noise[one, 1]
            share[lane] = b[lane] / (a[lane] * k)
        center(room.group, k, n4, room.mean)
        if len(room.pilot):
            center(room.pilot, k, n4, room.mean_of_pilot)
            set_gram(room.pilot, k4, n4, a, room.q)
        else:
            set_gram(room.group, k4, n4, a, room.q)
        factor(room.q, k4, a, room.tile, room.roots)
        invert_factor(room.q, k4, room.tile, room.roots)
        set_inverse(room.q, k4, room.tile)
        set_norms(room.q, k4, k, b, share, room.norms)
        apply(room.q, k4, room.group, n4, b, room.rows)
        for lane in range(lanes):
            one = first + lane
            scatter(
                room, values, corners[one], members[one], patch, n4, lane, noise[one, 2], top,
                change, weight,
            )  # fmt: skip
