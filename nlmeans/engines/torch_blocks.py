"""Blocks of positions, and windows around them, as tensors: cut and joined without a gather."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from nlmeans.neighborhood import reflected
from nlmeans.validation import check_integer

Sizes = tuple[int, ...]
"""One for each axis of space."""


@dataclass(frozen=True)
class Blocks:
    """N(i): the block that i lies in and `halo` positions around it, reflected at the border.

    A neighborhood that costs less than `nlmeans.neighborhood.Window`: all positions of a block
    share their members, so that no score is computed in vain. In return the window of a position
    at the edge of its block is off center, by half the size at most.

    Parameters
    ----------
    size : int
        Positions of a block along each axis, >= 1; every axis of space must be a multiple of it.
    halo : int
        Positions around it on each side, >= 0, fewer than an axis has.

    Raises
    ------
    ParameterError
        If one of them is not such an integer.
    """

    size: int = 8
    halo: int = 4

    def __post_init__(self) -> None:
        check_integer("size", self.size, least=1)
        check_integer("halo", self.halo, least=0)

    def margin(self, ndim: int) -> Sizes:
        """The halo, per axis."""
        return (self.halo,) * ndim


def displacements(size: Sizes, halo: Sizes) -> Tensor:
    """From every position of a block to every one of its window: (prod size, prod window, d)."""
    position, member = (
        torch.cartesian_prod(*axes).reshape(-1, len(size))
        for axes in (
            [torch.arange(s) for s in size],
            [torch.arange(-h, s + h) for s, h in zip(size, halo, strict=True)],
        )
    )
    return member - position[:, None]


def split(x: Tensor, size: Sizes) -> Tensor:
    """Positions of every block: (B, *space, D) to (B, *blocks, prod size, D)."""
    for axis, s in enumerate(size):
        x = x.unflatten(1 + 2 * axis, (-1, s))
    return _blocks_first(x, len(size))


def surround(x: Tensor, size: Sizes, halo: Sizes) -> Tensor:
    """Members of every block: (B, *space + 2 halo, D) to (B, *blocks, prod (size + 2 halo), D)."""
    for axis, (s, h) in enumerate(zip(size, halo, strict=True)):
        at = 1 + 2 * axis
        # A window is put together of pieces that blocks have in common: slices instead of a gather.
        piece = math.gcd(s, h)
        step, pieces = s // piece, (s + 2 * h) // piece
        cut = x.unflatten(at, (-1, piece))
        stop = cut.shape[at] - pieces + 1
        windows = [cut[(slice(None),) * at + (slice(k, k + stop, step),)] for k in range(pieces)]
        x = torch.cat(windows, at + 1)
    return _blocks_first(x, len(size))


def join(x: Tensor, size: Sizes) -> Tensor:
    """Undo `split`: (B, *blocks, prod size, D) to (B, *space, D)."""
    ndim = len(size)
    x = x.unflatten(1 + ndim, size)
    pairs = [(1 + axis, 1 + ndim + axis) for axis in range(ndim)]
    x = x.permute(0, *(axis for pair in pairs for axis in pair), 1 + 2 * ndim)
    for axis in range(ndim):
        x = x.flatten(1 + axis, 2 + axis)
    return x


def reflect(x: Tensor, margin: Sizes) -> Tensor:
    """Continue the axes of space of (B, *space, D), by `nlmeans.neighborhood.reflect`'s rule."""
    ndim = len(margin)
    if ndim <= 3 and all(m < n for m, n in zip(margin, x.shape[1:], strict=False)):
        pad = [m for m in reversed(margin) for _ in range(2)]
        return functional.pad(x.movedim(-1, 1), pad, mode="reflect").movedim(1, -1)
    for axis, m in enumerate(margin):
        index = torch.from_numpy(reflected(x.shape[1 + axis], m)).to(x.device)
        x = x.index_select(1 + axis, index)
    return x


def _blocks_first(x: Tensor, ndim: int) -> Tensor:
    """(B, n_1, s_1, ..., n_d, s_d, D) to (B, n_1, ..., n_d, s_1 ... s_d, D)."""
    numbers, inside = range(1, 2 * ndim, 2), range(2, 2 * ndim + 1, 2)
    return x.permute(0, *numbers, *inside, 1 + 2 * ndim).flatten(1 + ndim, 2 * ndim)
