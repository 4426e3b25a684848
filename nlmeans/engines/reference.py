"""The operation as it is written, in NumPy and float64: what the other engines must match.

It holds f for all pairs at once, 8 bytes for each position and member: a 64x64 image with a
21x21 window takes 14 MB, everywhere on the same image 134 MB.
"""

from collections.abc import Callable

import numpy as np

from nlmeans.affinity import SMALLEST_SUM
from nlmeans.neighborhood import Region, check_region, crop, extent, reflect
from nlmeans.operation import NonLocalMean

name = "reference"


def unsupported(operation: NonLocalMean) -> str | None:
    """Why this engine can not compute an operation; None, as it computes every one."""
    return None


def average(
    operation: NonLocalMean,
    image: np.ndarray,
    *,
    region: Region | None = None,
    workers: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> np.ndarray:
    """Compute y of a region of an image (*space, C), C being g's number of channels on return."""
    affinity, normalizer = operation.affinity, operation.normalizer
    neighborhood = operation.neighborhood
    *space, _ = image.shape
    region = check_region(region, space)
    margin = neighborhood.margin(len(space))
    reach = affinity.reach(len(space))
    x = reflect(image.astype(np.float64), tuple(np.add(margin, reach)))

    around_region = tuple(
        slice(a + s, b + s + 2 * r) for (a, b), s, r in zip(region, margin, reach, strict=True)
    )
    query = affinity.query(x[around_region])  # (*extent, D)
    key = affinity.key(x)  # (*space + 2 margin, D)
    g = operation.values(crop(x, reach))  # (*space + 2 margin, C')

    score = np.stack(
        [
            np.broadcast_to(affinity.score(query, key_j), extent(region))
            for key_j in neighborhood.members(key, region)
        ]
    )  # (members, *extent)
    is_member = np.broadcast_to(neighborhood.is_member(tuple(space), region), score.shape)
    score = np.where(is_member, score, -np.inf if affinity.exponential else 0)
    f = score
    if affinity.exponential:
        # Where a common factor of f cancels, this one keeps exp from overflowing.
        f = np.exp(score - score.max(0) if normalizer.homogeneous else score)
    if affinity.center is not None:
        f = _center(f, neighborhood.is_center(tuple(space), region), affinity.center)
    # The factor is for a normalizer that counts: what is not a member must not count.
    weights = normalizer.weights(f * (len(f) / is_member.sum(0)))

    y = np.zeros((*extent(region), g.shape[-1]))
    for k, g_j in enumerate(neighborhood.members(g, region)):
        y += weights[k][..., np.newaxis] * g_j
        if progress is not None:
            progress((k + 1) / len(weights))
    return y


def _center(f: np.ndarray, is_center: np.ndarray, rule: str) -> np.ndarray:
    """Replace f(x_i, x_i) by the rule; a pixel that nothing else resembles is kept."""
    others = np.where(is_center, 0.0, f)
    center = {"one": 1.0, "max": others.max(0), "zero": 0.0}[rule]
    kept = others.sum(0) < SMALLEST_SUM
    return np.where(kept, is_center, np.where(is_center, center, others))
