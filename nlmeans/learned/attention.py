"""The average over members, for tensors: y_i = 1/C_i sum over j of f(q_i, k_j) v_j."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

Pairwise = Literal["gaussian", "embedded_gaussian", "dot_product", "concatenation"]

EXPONENTIAL: tuple[Pairwise, ...] = ("gaussian", "embedded_gaussian")
"""The functions whose scores are log f, so that C, the sum of f, makes a softmax of them."""

PAIRS_AT_ONCE = 1 << 24
"""Pairs whose f is in memory at once, 64 MB in float32, where it has to be there at all."""


def average(pairwise: Pairwise, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Average over all members: (..., n, D), (..., m, D), (..., m, C) to (..., n, C).

    For "concatenation" query and key are w_f's products with both, D = 1: its f is
    relu(query + key). No n x m matrix is held: the exponential functions go through
    `scaled_dot_product_attention`, the dot product is associative, and the concatenation is
    formed for a part of the queries at a time, again so when it is differentiated.
    """
    if pairwise in EXPONENTIAL:
        return functional.scaled_dot_product_attention(query, key, value, scale=1.0)
    if pairwise == "dot_product":
        return query @ (key.mT @ value / key.shape[-2])
    pairs = query[..., 0, 0].numel() * key.shape[-2]
    rows = max(1, PAIRS_AT_ONCE // max(pairs, 1))
    return torch.cat(
        [
            checkpoint(_concatenated, part, key, value, use_reentrant=False)
            for part in query.split(rows, -2)
        ],
        -2,
    )


def weighted(
    pairwise: Pairwise, query: Tensor, key: Tensor, value: Tensor, position: Tensor
) -> Tensor:
    """`average` with a score (n, m) added for where j lies from i: minus infinity for never.

    Holds the n x m matrix, so it is for blocks. For the functions that count their members
    `position` must be 0 or minus infinity, and those of minus infinity are not counted.
    """
    if pairwise in EXPONENTIAL:
        return torch.softmax(query @ key.mT + position, -1) @ value
    member = (position == 0).to(query.dtype)
    f = query @ key.mT if pairwise == "dot_product" else torch.relu(query + key.mT)
    return (f * member) @ value / member.sum(-1, keepdim=True)


def _concatenated(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return torch.relu(query + key.mT) @ value / key.shape[-2]
