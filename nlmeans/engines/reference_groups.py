"""Averages over groups as they are written, in NumPy and float64, one reference patch at a time."""

from collections.abc import Callable

import numpy as np

from nlmeans.groups import Groups, ridge_weights


def match(
    guide: np.ndarray,
    groups: Groups,
    *,
    workers: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> np.ndarray:
    """Members of every group, as displacements (references, k, 2), in the order of rows."""
    p, reach = groups.patch_size, groups.search_radius
    patches = np.lib.stride_tricks.sliding_window_view(guide.astype(np.float64), (p, p))
    members = []
    for y, x in groups.corners(guide.shape):
        top, left = max(y - reach, 0), max(x - reach, 0)
        window = patches[top : y + reach + 1, left : x + reach + 1]
        distance = ((window - patches[y, x]) ** 2).sum((-2, -1))
        distance[y - top, x - left] = -1  # the reference is a member, whatever equals it
        nearest = np.argsort(distance, axis=None, kind="stable")[: groups.members]
        found = np.unravel_index(np.sort(nearest), distance.shape)
        members.append(np.stack(found, 1) + np.array([top - y, left - x]))
    return np.array(members, np.int8)


def group_mean(
    values: np.ndarray,
    features: np.ndarray | None,
    members: np.ndarray,
    groups: Groups,
    noise: np.ndarray,
    *,
    partial: bool = False,
    workers: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> np.ndarray:
    """See `numba_groups.group_mean`."""
    p = groups.patch_size
    x = (values if features is None else features).astype(np.float64)
    change = np.zeros((1 + partial, *values.shape))
    weight = np.zeros(values.shape)
    for corner, found, (a, b, part) in zip(
        groups.corners(values.shape), members, noise, strict=True
    ):
        boxes = [(slice(y, y + p), slice(x, x + p)) for y, x in corner + found.astype(np.int64)]
        theta = ridge_weights(np.stack([x[box].ravel() for box in boxes]), a, b)
        y = np.stack([values[box].astype(np.float64).ravel() for box in boxes])
        share = 1 / np.clip((theta**2).sum(1), 1 / len(boxes), 1)
        for box, w, difference in zip(boxes, share, theta @ y - y, strict=True):
            change[0][box] += w * difference.reshape(p, p)
            if partial:
                change[1][box] += part * w * difference.reshape(p, p)
            weight[box] += w
    return change / weight
