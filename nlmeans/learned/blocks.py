"""Neighborhoods that need no gather: a block of positions and what lies around it.

All positions of a block share their members, so that the scores of a block are one matrix product
and nothing is picked out by index. The cost is that the window of a position at the edge of its
block is off center: it reaches `halo` one way and `halo + size - 1` the other.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from nlmeans.validation import check_integer


@dataclass(frozen=True)
class Blocks:
    """N(i): the block that i lies in, and `halo` positions around it; reflected at the border.

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

    @property
    def span(self) -> int:
        """Members along each axis."""
        return self.size + 2 * self.halo

    def displacements(self, ndim: int) -> Tensor:
        """Number of the displacement from i to j for all pairs of a block, (size^d, span^d)."""
        reach = self.size + self.halo - 1
        axis = torch.arange(self.span) - self.halo - torch.arange(self.size)[:, None] + reach
        number = torch.zeros(1, 1, dtype=torch.long)
        for _ in range(ndim):
            number = number[:, None, :, None] * (2 * reach + 1) + axis[None, :, None, :]
            number = number.flatten(0, 1).flatten(1, 2)
        return number

    def split(self, x: Tensor) -> Tensor:
        """Positions of every block: (B, *space, D) to (B, *blocks, size^d, D)."""
        ndim = x.ndim - 2
        for axis in range(1, ndim + 1):
            x = x.unflatten(2 * axis - 1, (-1, self.size))
        return _gather_axes(x, ndim)

    def surround(self, x: Tensor) -> Tensor:
        """Members of every block: (B, *space, D) to (B, *blocks, span^d, D)."""
        ndim = x.ndim - 2
        x = reflect(x, self.halo)
        # A window is made of pieces that blocks share, so that slices serve in place of a gather.
        piece = math.gcd(self.size, self.halo) if self.halo else self.size
        step, pieces = self.size // piece, self.span // piece
        for axis in range(1, ndim + 1):
            at = 2 * axis - 1
            cut = x.unflatten(at, (-1, piece))
            count = (cut.shape[at] - pieces) // step + 1
            windows = [
                cut[(slice(None),) * at + (slice(k, k + step * (count - 1) + 1, step),)]
                for k in range(pieces)
            ]
            x = torch.cat(windows, at + 1)
        return _gather_axes(x, ndim)

    def join(self, x: Tensor, space: tuple[int, ...]) -> Tensor:
        """Undo `split`: (B, *blocks, size^d, D) to (B, *space, D)."""
        ndim = len(space)
        x = x.unflatten(ndim + 1, (self.size,) * ndim)
        order = [0, *(a for k in range(ndim) for a in (1 + k, 1 + ndim + k)), 2 * ndim + 1]
        return x.permute(order).reshape(x.shape[0], *space, x.shape[-1])


def reflect(x: Tensor, margin: int) -> Tensor:
    """Continue the axes of space of (B, *space, D) by reflection about the border position."""
    if margin == 0:
        return x
    ndim = x.ndim - 2
    first = x.movedim(-1, 1)  # (B, D, *space), as torch pads the last axes
    return functional.pad(first, (margin,) * (2 * ndim), mode="reflect").movedim(1, -1)


def _gather_axes(x: Tensor, ndim: int) -> Tensor:
    """(B, n_1, s_1, ..., n_d, s_d, D) to (B, n_1, ..., n_d, s_1 ... s_d, D)."""
    numbers = [1 + 2 * k for k in range(ndim)]
    inside = [2 + 2 * k for k in range(ndim)]
    return x.permute(0, *numbers, *inside, 2 * ndim + 1).flatten(1 + ndim, 2 * ndim)
