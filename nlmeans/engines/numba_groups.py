"""Averages over groups, compiled: bands of reference patches over threads."""

import threading
from collections.abc import Callable

import numpy as np

from nlmeans.engines.lanes import LANES
from nlmeans.engines.layout import aligned
from nlmeans.engines.matching_kernels import AT_ONCE, match_band
from nlmeans.engines.pool import in_order
from nlmeans.engines.ridge_kernels import TILE, Room, add_groups
from nlmeans.groups import Groups
from nlmeans.validation import check_workers

BAND = 256
"""Groups of a task at least: whole rows of reference patches."""


def match(
    guide: np.ndarray,
    groups: Groups,
    *,
    workers: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> np.ndarray:
    """Members of every group of an image (y, x), as displacements (references, k, 2), int8.

    Takes O(p^2 r^2) for each group with a search radius r, and 24 bytes for each pixel of the
    window in each thread.
    """
    guide = np.ascontiguousarray(guide, np.float32)
    corners = groups.corners(guide.shape)
    members = np.empty((len(corners), groups.members, 2), np.int8)
    p, reach = groups.patch_size, groups.search_radius
    side = 2 * reach + 1
    local = threading.local()

    def run(band: slice) -> None:
        if not hasattr(local, "room"):
            window = aligned((side - 1 + p) * (side - 1 + p + AT_ONCE - 1) * LANES)
            distances = aligned(side * _whole(side, AT_ONCE) * LANES)
            local.room = (window, distances, aligned(LANES, np.int32))
        match_band(guide, corners[band], p, reach, groups.members, *local.room, members[band])

    for _ in in_order(run, _bands(corners), check_workers(workers), progress):
        pass
    return members


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
    """Change of an image (y, x) by the weighted means over its groups, aggregated.

    A patch counts with the inverse of the squared norm of its row of theta, which is its variance,
    from 1/k to 1. Bands are added up in their order, so that the result does not depend on the
    number of threads.

    Parameters
    ----------
    values : ndarray, shape (y, x)
        The image whose patches are averaged.
    features : ndarray, shape (y, x), or None
        The image whose patches the weights are for; None for `values`.
    members : ndarray, shape (references, k, 2)
        What `match` found.
    groups : Groups
        What it found them for.
    noise : ndarray, shape (references, 3)
        a and b of `ridge_weights` for each group, and the part of the change that `partial` takes.
    partial : bool, optional
        Aggregate the change a second time, of each group only its part.

    Returns
    -------
    ndarray, shape (1, y, x) or (2, y, x), float32
        The change, and with `partial` the other one.
    """
    values = np.ascontiguousarray(values, np.float32)
    pilot = None if features is None else np.ascontiguousarray(features, np.float32)
    height, width = values.shape
    corners = groups.corners(values.shape)
    noise = np.ascontiguousarray(noise, np.float32)
    p, reach = groups.patch_size, groups.search_radius
    change = np.zeros((1 + partial, height, width), np.float32)
    weight = np.zeros((height, width), np.float32)
    local = threading.local()

    def run(band: slice) -> tuple[slice, np.ndarray, np.ndarray]:
        if not hasattr(local, "room"):
            local.room = _room(groups, with_pilot=pilot is not None)
        top = max(0, int(corners[band.start, 0]) - reach)
        bottom = min(height, int(corners[band.stop - 1, 0]) + reach + p)
        part = np.zeros((1 + partial, bottom - top, width), np.float32)
        shares = np.zeros((bottom - top, width), np.float32)
        add_groups(
            values if pilot is None else pilot, values, corners[band], members[band], p,
            noise[band], top, local.room, part, shares,
        )  # fmt: skip
        return slice(top, bottom), part, shares

    for rows, part, shares in in_order(run, _bands(corners), check_workers(workers), progress):
        change[:, rows] += part
        weight[rows] += shares
    return change / _over_patch(weight, p)


def _bands(corners: np.ndarray) -> list[slice]:
    """Whole rows of reference patches, BAND or more at a time."""
    across = int(np.count_nonzero(corners[:, 0] == corners[0, 0]))
    size = -(-BAND // across) * across
    return [slice(k, min(k + size, len(corners))) for k in range(0, len(corners), size)]


def _room(groups: Groups, *, with_pilot: bool) -> Room:
    """Scratch for 16 groups."""
    k = _whole(groups.members, TILE)
    n = _whole(groups.patch_size**2, TILE)
    return Room(
        aligned(k * n * LANES), aligned(k * n * LANES if with_pilot else 0),
        aligned(k * k * LANES), aligned(k * TILE * LANES), aligned(TILE * TILE * LANES),
        aligned(k * LANES), aligned(k * LANES), aligned(n * LANES), aligned(n * LANES),
        aligned(3 * LANES),
    )  # fmt: skip


def _whole(size: int, step: int) -> int:
    """Size, rounded up to whole steps."""
    return -(-size // step) * step


def _over_patch(weight: np.ndarray, p: int) -> np.ndarray:
    """Give every pixel the sum of what stands at the first pixels of the patches that cover it."""
    for axis in range(2):
        total = np.zeros_like(weight)
        for shift in range(p):
            size = weight.shape[axis] - shift
            there, here = [slice(None)] * 2, [slice(None)] * 2
            there[axis], here[axis] = slice(shift, None), slice(size)
            total[tuple(there)] += weight[tuple(here)]
        weight = total
    return weight
