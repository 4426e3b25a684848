"""The operation as it is written, in NumPy and float64: what the other engines must match.

It holds f for all pairs at once, 8 bytes for each position and member: a 64x64 image with a
21x21 window takes 14 MB, everywhere on the same image 134 MB.
"""

from collections.abc import Callable
from itertools import product

import numpy as np

from nlmeans.affinity import SMALLEST_SUM
from nlmeans.neighborhood import Region, check_region, extent, reflect
from nlmeans.operation import NonLocalMean

name = "reference"


def unsupported(operation: NonLocalMean) -> str | None:
    """Why this engine can not compute an operation; None, as it computes every one."""
    return None


def average(
    operation: NonLocalMean,
    image: np.ndarray,
    *,
    guide: np.ndarray | None = None,
    region: Region | None = None,
    workers: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> np.ndarray:
    """Compute y of a region of an image (*space, C), C being g's number of channels on return."""
    neighborhood = operation.neighborhood
    *space, _ = image.shape
    region = check_region(region, space)
    # The patches that cover a region may lie around positions outside it.
    everywhere = check_region(None, space)
    positions = everywhere if operation.patchwise else region
    margin, reach = neighborhood.margin(len(space)), operation.affinity.reach(len(space))
    weights = _weights(operation, image if guide is None else guide, positions)
    values = operation.values(reflect(image.astype(np.float64), tuple(np.add(margin, reach))))

    def mean(offset: tuple[int, ...]) -> np.ndarray:
        """Mean over j of what g has at j, or at an offset of the patch around it."""
        at = tuple(
            slice(r + o, r + o + size + 2 * m)
            for r, o, size, m in zip(reach, offset, space, margin, strict=True)
        )
        members = neighborhood.members(values[at], positions)
        return sum(w[..., np.newaxis] * g_j for w, g_j in zip(weights, members, strict=True))

    if not operation.patchwise:
        y = mean((0,) * len(space))
    else:
        total, count = np.zeros((*space, values.shape[-1])), np.zeros((*space, 1))
        for offset in product(*(range(-r, r + 1) for r in reach)):
            # The estimate of the patch around i is for i + offset, if the image goes so far.
            pairs = list(zip(offset, space, strict=True))
            there = tuple(slice(max(o, 0), size + min(o, 0)) for o, size in pairs)
            here = tuple(slice(max(-o, 0), size - max(o, 0)) for o, size in pairs)
            total[there] += mean(offset)[here]
            count[there] += 1
        y = (total / count)[tuple(slice(*pair) for pair in region)]
    if progress is not None:
        progress(1.0)
    return y


def _weights(operation: NonLocalMean, image: np.ndarray, region: Region) -> np.ndarray:
    """f / C of all members, (members, *extent)."""
    affinity, normalizer = operation.affinity, operation.normalizer
    neighborhood = operation.neighborhood
    *space, _ = image.shape
    margin, reach = neighborhood.margin(len(space)), affinity.reach(len(space))
    x = reflect(image.astype(np.float64), tuple(np.add(margin, reach)))
    around_region = tuple(
        slice(a + s, b + s + 2 * r) for (a, b), s, r in zip(region, margin, reach, strict=True)
    )
    query = affinity.query(x[around_region])  # (*extent, D)
    key = affinity.key(x)  # (*space + 2 margin, D)
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
    return normalizer.weights(f * (len(f) / is_member.sum(0)))


def _center(f: np.ndarray, is_center: np.ndarray, rule: str) -> np.ndarray:
    """Replace f(x_i, x_i) by the rule; a pixel that nothing else resembles is kept."""
    others = np.where(is_center, 0.0, f)
    center = {"one": 1.0, "max": others.max(0), "zero": 0.0}[rule]
    kept = others.sum(0) < SMALLEST_SUM
    return np.where(kept, is_center, np.where(is_center, center, others))
