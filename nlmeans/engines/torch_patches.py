"""NL-means for tensors: over a window displacement by displacement, or over the whole image."""

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from nlmeans.affinity import SMALLEST_SUM, PatchGaussian, patch_gaussian_log
from nlmeans.engines.torch_blocks import Sizes, reflect
from nlmeans.engines.torch_features import features
from nlmeans.neighborhood import Region, Window, extent

Progress = Callable[[float], None]

PAIRS_AT_ONCE = 1 << 22
"""Pairs of NL-means everywhere whose f is in memory at once, 16 MB in float32."""


class Others(NamedTuple):
    """Sums over all members but the pixel itself, each (*extent, channels)."""

    weighted: Tensor
    """Of f g."""
    total: Tensor
    """Of f."""
    largest: Tensor
    """Largest f."""

    def plus(self, others: "Others") -> "Others":
        """Of these members and more."""
        largest = torch.maximum(self.largest, others.largest)
        return Others(self.weighted + others.weighted, self.total + others.total, largest)


def over_window(
    affinity: PatchGaussian,
    window: Window,
    values: Tensor,
    guide: Tensor,
    region: Region,
    progress: Progress,
) -> Tensor:
    """y of a region; the values g, (*space + 2 margin, C), reach beyond the border."""
    walk = _Walk(affinity, window, guide, region)
    sums = _summed(walk, values, progress)
    return _mean(sums, *_center(affinity, sums), values[walk.box(walk.margin)])


def whole_patches(
    affinity: PatchGaussian, window: Window, values: Tensor, guide: Tensor, progress: Progress
) -> Tensor:
    """The same of the whole image, whole patches being averaged."""
    walk = _Walk(affinity, window, guide, tuple((0, size) for size in guide.shape[:-1]))
    inside = values[walk.box(walk.margin)]
    sums = _summed(walk, values, lambda fraction: progress(fraction / 2))
    center, kept = _center(affinity, sums)
    factor = torch.where(kept, 0, 1 / torch.where(kept, 1, sums.total + center))

    # The patch around i puts w g at i + offset for all offsets: seen from there, g is the same
    # for all patches, and their w are summed over.
    def row(first: int, guide: Tensor, values: Tensor, factor: Tensor) -> Tensor:
        result = torch.zeros_like(inside)
        for shift, f in walk.row(first, guide):
            result = result + _spread(f * factor, walk.reach) * values[walk.box(shift)]
        return result

    itself = torch.where(kept, 1, center * factor)
    y = _spread(itself, walk.reach) * inside
    for first in range(walk.rows):
        y = y + _checkpointed(row, first, walk.guide, values, factor)
        progress((1 + (first + 1) / (walk.rows + 1)) / 2)
    return y / _spread(torch.ones_like(factor), walk.reach)


def over_image(
    affinity: PatchGaussian, values: Tensor, guide: Tensor, region: Region, progress: Progress
) -> Tensor:
    """y of a region, all positions of the image being members."""
    patches = features(affinity.patch, guide)
    box = tuple(slice(*pair) for pair in region)
    key, value = patches.flatten(0, -2), values.flatten(0, -2)
    query = patches[box].flatten(0, -2)
    place = torch.arange(len(key), device=key.device)
    number = place.reshape(values.shape[:-1])[box].flatten()

    def part(query: Tensor, number: Tensor, key: Tensor, value: Tensor) -> Tensor:
        # Of differences: |a|^2 + |b|^2 - 2 a.b of gray levels up to 255 would be rounded at
        # 255^2 2^-23 = 0.008, which for a small h is too much.
        distance = torch.cdist(query, key, compute_mode="donot_use_mm_for_euclid_dist") ** 2
        f = _f(affinity, distance) * (place != number[:, None])
        sums = Others(f @ value, f.sum(1, keepdim=True), f.amax(1, keepdim=True))
        return _mean(sums, *_center(affinity, sums), value[number])

    rows = max(1, PAIRS_AT_ONCE // len(key))
    done: list[Tensor] = []
    for start in range(0, len(query), rows):
        some = slice(start, start + rows)
        done.append(_checkpointed(part, query[some], number[some], key, value))
        progress(start / len(query))
    return torch.cat(done).reshape(*extent(region), -1)


class _Walk:
    """f of a region for all displacements of a window, without the pixel itself."""

    def __init__(
        self, affinity: PatchGaussian, window: Window, guide: Tensor, region: Region
    ) -> None:
        ndim = guide.ndim - 1
        self.affinity, self.region = affinity, region
        self.margin, self.reach = window.margin(ndim), affinity.reach(ndim)
        self.rows = 2 * self.margin[0] + 1
        self.guide = reflect(guide[None], tuple(np.add(self.margin, self.reach).tolist()))[0]
        self.patch_weights = affinity.patch.axis_weights(self.reach)
        outside = 0.0 if window.border == "exclude" else 1.0
        pad = [0, 0, *(m for m in reversed(self.margin) for _ in range(2))]
        self.inside = functional.pad(torch.ones_like(guide[..., :1]), pad, value=outside)

    def box(
        self, shift: tuple[int, ...], reach: tuple[int, ...] | None = None
    ) -> tuple[slice, ...]:
        """Where the region lies, moved by a shift, in what goes `margin` beyond the image."""
        reach = (0,) * len(shift) if reach is None else reach
        return tuple(
            slice(a + k, b + k + 2 * r)
            for k, (a, b), r in zip(shift, self.region, reach, strict=True)
        )

    def row(self, first: int, guide: Tensor) -> Iterator[tuple[Sizes, Tensor]]:
        """Shift, counted from 0, and f (*extent, 1) for all that begin with `first`."""
        here = guide[self.box(self.margin, self.reach)]
        for rest in product(*(range(2 * m + 1) for m in self.margin[1:])):
            shift = (first, *rest)
            if shift != self.margin:
                difference = here - guide[self.box(shift, self.reach)]
                distance = (difference**2).mean(-1, keepdim=True)
                for axis, weights in enumerate(self.patch_weights):
                    distance = _weighted_sum(distance, axis, weights)
                yield shift, _f(self.affinity, distance) * self.inside[self.box(shift)]


def _summed(walk: _Walk, values: Tensor, progress: Progress) -> Others:
    """Sums over the displacements of a walk."""
    itself = values[walk.box(walk.margin)]

    def row(first: int, guide: Tensor, values: Tensor) -> Others:
        sums = Others(torch.zeros_like(itself), *[torch.zeros_like(itself[..., :1])] * 2)
        for shift, f in walk.row(first, guide):
            sums = sums.plus(Others(f * values[walk.box(shift)], f, f))
        return sums

    sums = None
    for first in range(walk.rows):
        more = _checkpointed(row, first, walk.guide, values)
        sums = more if sums is None else sums.plus(more)
        progress((first + 1) / (walk.rows + 1))
    assert sums is not None  # a window has at least one row
    return sums


def _f(affinity: PatchGaussian, distance: Tensor) -> Tensor:
    """f of a distance D."""
    log_f = patch_gaussian_log(distance, 2 * affinity.sigma**2, -1 / affinity.h**2, torch.relu)
    f = torch.exp(log_f)
    return torch.where(log_f < math.log(affinity.cutoff), 0, f) if affinity.cutoff > 0 else f


def _center(affinity: PatchGaussian, sums: Others) -> tuple[Tensor, Tensor]:
    """f of the pixel itself, and whether it is to be kept, as nothing resembles it."""
    rules = {"one": torch.ones_like, "max": lambda largest: largest, "zero": torch.zeros_like}
    return rules[affinity.center](sums.largest), sums.total < SMALLEST_SUM


def _mean(sums: Others, center: Tensor, kept: Tensor, itself: Tensor) -> Tensor:
    """y. Of a pixel that is kept nothing is divided by 0, so that gradients are finite."""
    y = (sums.weighted + center * itself) / torch.where(kept, 1, sums.total + center)
    return torch.where(kept, itself, y)


def _weighted_sum(x: Tensor, axis: int, weights: np.ndarray) -> Tensor:
    """Weighted sum of as many neighbors along an axis, which is shorter for it."""
    size = x.shape[axis] - len(weights) + 1
    parts = [float(weight) * x.narrow(axis, k, size) for k, weight in enumerate(weights)]
    return torch.stack(parts).sum(0) if len(parts) > 1 else parts[0]


def _spread(x: Tensor, reach: Sizes) -> Tensor:
    """Sum over the box around every position of (*space, C), 0 beyond the border."""
    pad = [0, 0, *(r for r in reversed(reach) for _ in range(2))]
    x = functional.pad(x, pad)
    for axis, r in enumerate(reach):
        x = _weighted_sum(x, axis, np.ones(2 * r + 1))
    return x


def _checkpointed(function: Callable[..., Any], *arguments: object) -> Any:
    """Call a function; what it computes on the way is computed again to be differentiated."""
    if not torch.is_grad_enabled():
        return function(*arguments)
    return checkpoint(function, *arguments, use_reentrant=False)
