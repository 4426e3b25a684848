"""The average for tensors: y_i = 1/C_i sum over j in N(i) of f(q_i, k_j) v_j, given q, k and v.

What the torch engine and the non-local block share. q is (B, *space, D); k and v reach beyond the
border as far as the neighborhood's margin. The samples of a batch never meet. Differentiable with
respect to all of them.
"""

from collections.abc import Callable
from itertools import pairwise as neighbors
from math import prod
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from nlmeans.engines.torch_blocks import (
    Blocks,
    Sizes,
    displacements,
    join,
    split,
    surround,
)
from nlmeans.neighborhood import Everywhere, Window

Score = Literal["exponential", "product", "sum"]
"""f: exp(q . k), C being its sum; q . k; or relu(q + k) of q and k with D = 1; C counting."""

PAIRS_AT_ONCE = 1 << 24
"""Pairs whose f is in memory at once, 64 MB in float32, where it has to be there at all."""


def mean(
    score: Score,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    neighborhood: Everywhere | Window | Blocks,
    position: Tensor | None = None,
) -> Tensor:
    """Compute y, (B, *space, C).

    With `Blocks`, `position` may give log f a term for where j lies from i, in the order of
    `torch_blocks.displacements`.
    """
    space = query.shape[1:-1]
    if isinstance(neighborhood, Everywhere):
        flat = (tensor.flatten(1, -2) for tensor in (query, key, value))
        return _of_all(score, *flat).unflatten(1, space)
    if isinstance(neighborhood, Window):
        return _in_window(score, query, key, value, neighborhood)
    size, halo = (neighborhood.size,) * len(space), neighborhood.margin(len(space))
    key, value = (surround(tensor, size, halo) for tensor in (key, value))
    return join(_of_members(score, split(query, size), key, value, position), size)


def _of_all(score: Score, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """(B, n, D), (B, m, D), (B, m, C) to (B, n, C), without an n x m matrix in memory."""
    if score == "exponential":
        # As one head, with equally many features, which lie side by side in memory: else it falls
        # back to the whole matrix.
        size = max(key.shape[-1], value.shape[-1])
        q, k, v = (
            functional.pad(t, (0, size - t.shape[-1])).contiguous()[:, None]
            for t in (query, key, value)
        )
        y = functional.scaled_dot_product_attention(q, k, v, scale=1.0)
        return y[:, 0, :, : value.shape[-1]]
    if score == "product":
        return query @ (key.mT @ (value / key.shape[1]))  # (q k) v = q (k v)
    rows = max(1, PAIRS_AT_ONCE // max(1, len(key) * key.shape[1]))
    parts = query.split(rows, 1)
    return torch.cat([_again(_of_members, score, part, key, value) for part in parts], 1)


def _of_members(
    score: Score, query: Tensor, key: Tensor, value: Tensor, position: Tensor | None = None
) -> Tensor:
    """(..., n, D), (..., m, D), (..., m, C) to (..., n, C), with the n x m matrix.

    The position's term is added to log f; for the scores that are counted it is 0 or minus
    infinity, which is not a member.
    """
    f = torch.relu(query + key.mT) if score == "sum" else query @ key.mT
    if score == "exponential":
        return torch.softmax(f if position is None else f + position, -1) @ value
    if position is None:
        return f @ (value / key.shape[-2])
    member = (position == 0).to(f.dtype)
    return (f * member / member.sum(-1, keepdim=True)) @ value


def _in_window(score: Score, query: Tensor, key: Tensor, value: Tensor, window: Window) -> Tensor:
    """By strips of blocks, the pairs of a block that are too far apart masked."""
    space = query.shape[1:-1]
    radius = window.margin(len(space))
    # Half of the pairs of a block are masked where its size is the window's radius; smaller
    # blocks waste less and copy more.
    size = tuple(min(max(4, r), 16, n) for r, n in zip(radius, space, strict=True))
    whole = tuple(-(-n // s) * s for n, s in zip(space, size, strict=True))
    none = (0,) * len(space)
    missing = tuple(w - n for w, n in zip(whole, space, strict=True))
    offset = displacements(size, radius).to(query.device)
    too_far = (offset.abs() > torch.tensor(radius, device=query.device)).any(-1)
    position = torch.zeros(too_far.shape, dtype=query.dtype, device=query.device)
    position = position.masked_fill(too_far, -torch.inf)

    inside = torch.ones(1, *space, 1, dtype=query.dtype, device=query.device)
    inside = _pad(inside, radius, radius, 0 if window.border == "exclude" else 1)
    # Positions that fill the last blocks are nobody's members, but must have some: themselves.
    inside = _pad(inside, none, missing, 1)
    key, value = (_pad(tensor, none, missing) for tensor in (key, value))
    query = _pad(query, none, missing)

    def strip(query: Tensor, key: Tensor, value: Tensor, inside: Tensor) -> Tensor:
        key, value, members = (surround(t, size, radius) for t in (key, value, inside))
        term = torch.where(members.mT > 0, position, -torch.inf)
        return join(_of_members(score, split(query, size), key, value, term), size)

    pairs = query.shape[0] * prod(whole[1:]) // prod(size[1:]) * too_far.numel()
    step = size[0] * max(1, PAIRS_AT_ONCE // max(1, pairs))
    cuts = neighbors([*range(0, whole[0], step), whole[0]])
    rows = [
        _again(
            strip,
            query[:, a:b],
            *(tensor[:, a : b + 2 * radius[0]] for tensor in (key, value, inside)),
            again=step < whole[0],
        )
        for a, b in cuts
    ]
    return torch.cat(rows, 1)[(slice(None), *(slice(n) for n in space))]


def _again(function: Callable[..., Tensor], *arguments: object, again: bool = True) -> Tensor:
    """Call a function whose intermediate results are computed again to be differentiated."""
    if not (again and torch.is_grad_enabled()):
        return function(*arguments)
    return checkpoint(function, *arguments, use_reentrant=False)


def _pad(x: Tensor, before: Sizes, after: Sizes, value: float = 0) -> Tensor:
    """Continue the axes of space of (B, *space, D) by a constant."""
    ends = zip(reversed(before), reversed(after), strict=True)
    return functional.pad(x, [0, 0, *(n for pair in ends for n in pair)], value=value)
