"""The operation as it is written, in NumPy and float64: what the other engines must match.

It holds f for all pairs at once, 8 bytes for each position and member: a 64x64 image with a
21x21 window takes 14 MB, everywhere on the same image 134 MB.
"""

from collections.abc import Callable

import numpy as np

from nlmeans.affinity import SMALLEST_WEIGHT
from nlmeans.neighborhood import crop, reflect
from nlmeans.operation import NonLocalMean

name = "reference"


def unsupported(operation: NonLocalMean) -> str | None:
    """Why this engine can not compute an operation; None, as it computes every one."""
    return None


def average(
    operation: NonLocalMean,
    image: np.ndarray,
    *,
    workers: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> np.ndarray:
    """Compute y of an image (*space, C), C being g's number of channels on return."""
    affinity, neighborhood = operation.affinity, operation.neighborhood
    *space, _ = image.shape
    margin = neighborhood.margin(len(space))
    reach = affinity.reach(len(space))
    x = reflect(image.astype(np.float64), tuple(np.add(margin, reach)))

    query = affinity.query(crop(x, margin))  # (*space, D)
    key = affinity.key(x)  # (*space + 2 margin, D)
    g = operation.values(crop(x, reach))  # (*space + 2 margin, C')

    score = np.stack(
        [
            np.broadcast_to(affinity.score(query, key_j), space)
            for key_j in neighborhood.members(key, tuple(space))
        ]
    )  # (members, *space)
    # Softmax does not change with a common factor of f; this one keeps exp from overflowing.
    f = np.exp(score - score.max(0)) if affinity.exponential else score
    if affinity.center is not None:
        f = _center(f, neighborhood.is_center(tuple(space)), affinity.center)
    weights = operation.normalizer.weights(f)

    y = np.zeros((*space, g.shape[-1]))
    for weight, g_j in zip(weights, neighborhood.members(g, tuple(space)), strict=True):
        y += weight[..., np.newaxis] * g_j
    return y


def _center(f: np.ndarray, is_center: np.ndarray, rule: str) -> np.ndarray:
    """Replace f(x_i, x_i) by the rule; a pixel that nothing else resembles is kept."""
    if rule == "one":
        return f
    others = np.where(is_center | (f < SMALLEST_WEIGHT), 0.0, f)
    largest = others.max(0)
    center = largest if rule == "max" else np.zeros_like(largest)
    return np.where(is_center, np.where(largest == 0, 1.0, center), others)
