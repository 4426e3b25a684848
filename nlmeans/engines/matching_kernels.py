"""The compiled search for similar patches: the k nearest of 16 references, one in each lane.

The surroundings of a reference are copied into its lane, so that references may lie anywhere and
every load is aligned. What lies beyond the image is FAR from everything.
"""

import numpy as np

from nlmeans.engines.jit import inline, kernel, row_loop
from nlmeans.engines.lanes import LANES, as_integers, below, load, splat, store

FAR = np.float32(1e15)
"""Value of pixels beyond the image: its square, summed over a patch, is still finite."""

AT_ONCE = 4
"""Displacements along x whose distances are added up together, so that pixels are loaded once."""


@inline
def fill_window(image, top, left, sides, lane, window):
    """Copy the window of an image that starts at (top, left) into a lane, FAR outside the image."""
    height, width = image.shape
    at = lane
    for y in range(top, top + sides[0]):
        for x in range(left, left + sides[1]):
            inside = 0 <= y < height and 0 <= x < width
            window[at] = image[y, x] if inside else FAR
            at += LANES


@inline
def set_distances(window, side, patch, reach, distances):
    """Sum of squared differences of the patch in the middle of the window to every other in it.

    `window` is (y, x, lane) with rows of `side`; `distances` (dy, dx, lane), displacements from
    -reach on, its rows continued to whole steps by FAR. That of the patch to itself is below zero.
    """
    row_loop()
    zero = splat(np.float32(0.0))
    steps = (2 * reach + AT_ONCE) // AT_ONCE
    middle = (reach * side + reach) * LANES
    to = 0
    for dy in range(2 * reach + 1):
        for step in range(steps):
            s0, s1, s2, s3 = zero, zero, zero, zero
            for y in range(patch):
                here = middle + y * side * LANES
                there = ((dy + y) * side + step * AT_ONCE) * LANES
                w0, w1 = load(window, there), load(window, there + LANES)
                w2 = load(window, there + 2 * LANES)
                for x in range(0, patch * LANES, LANES):
                    value = load(window, here + x)
                    w3 = load(window, there + x + 3 * LANES)
                    d0, d1, d2, d3 = value - w0, value - w1, value - w2, value - w3
                    s0, s1, s2, s3 = s0 + d0 * d0, s1 + d1 * d1, s2 + d2 * d2, s3 + d3 * d3
                    w0, w1, w2 = w1, w2, w3
            store(distances, to, s0)
            store(distances, to + LANES, s1)
            store(distances, to + 2 * LANES, s2)
            store(distances, to + 3 * LANES, s3)
            to += AT_ONCE * LANES
        for beyond in range(steps * AT_ONCE - (2 * reach + 1)):
            store(distances, to - (beyond + 1) * LANES, splat(FAR))
    own = (reach * steps * AT_ONCE + reach) * LANES
    store(distances, own, splat(np.float32(-1.0)))


@inline
def set_thresholds(distances, count, k, thresholds):
    """The k-th smallest of the first `count` distances of each lane, by its bits.

    The bits of floats >= 0 are ordered as they are, and those of -1 come before all. Each pass
    over the distances settles one bit of the result for all lanes: 31 passes take a tenth of the
    time of a selection lane by lane.
    """
    row_loop()
    found = splat(np.int32(0))
    for bit in range(30, -1, -1):
        candidate = found | splat(np.int32(1 << bit))
        fewer = splat(np.int32(0))
        for at in range(0, count * LANES, LANES):
            fewer = fewer + below(as_integers(load(distances, at)), candidate)
        # Keep the bit where fewer than k are below the candidate.
        keep = below(fewer, splat(np.int32(k)))
        found = found | (keep * splat(np.int32(1 << bit)))
    store(thresholds, 0, found)


@inline
def collect(distances, reach, k, threshold, lane, members):
    """Displacements dy, dx of the k nearest of one lane, in the order of the window.

    Where several are as far as the k-th, the first.
    """
    across = (2 * reach + AT_ONCE) // AT_ONCE * AT_ONCE
    ties = k
    bits = distances.view(np.int32)
    for at in range(lane, (2 * reach + 1) * across * LANES, LANES):
        ties -= bits[at] < threshold
    found = 0
    for dy in range(2 * reach + 1):
        at = dy * across * LANES + lane
        for dx in range(2 * reach + 1):
            value = bits[at]
            if value <= threshold and found < k:
                if value == threshold:
                    if ties == 0:
                        at += LANES
                        continue
                    ties -= 1
                members[found, 0] = dy - reach
                members[found, 1] = dx - reach
                found += 1
            at += LANES


@kernel
def match_band(image, corners, patch, reach, k, window, distances, thresholds, members):
    """Set members, (reference, k, 2), to the displacements of the patches nearest to each.

    `image` is (y, x), `corners` the first pixel of each reference patch, whose side is `patch`.
    The others are scratch.
    """
    sides = (2 * reach + patch, 2 * reach + patch + AT_ONCE - 1)
    across = (2 * reach + AT_ONCE) // AT_ONCE * AT_ONCE
    for first in range(0, len(corners), LANES):
        lanes = min(LANES, len(corners) - first)
        for lane in range(lanes):
            y, x = corners[first + lane, 0], corners[first + lane, 1]
            fill_window(image, y - reach, x - reach, sides, lane, window)
        set_distances(window, sides[1], patch, reach, distances)
        set_thresholds(distances, (2 * reach + 1) * across, k, thresholds)
        for lane in range(lanes):
            collect(distances, reach, k, thresholds[lane], lane, members[first + lane])
