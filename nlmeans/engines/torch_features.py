"""`nlmeans.embedding` for tensors."""

from functools import singledispatch
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nlmeans.embedding import Identity, Linear, Patch, PatchKey, PatchQuery
from nlmeans.engines.torch_blocks import Sizes, reflect


def features(embedding: Any, image: Tensor, margin: Sizes | None = None) -> Tensor:
    """Features (*space + 2 margin, D) of an image (*space, C), which goes on beyond its border."""
    around = embedding.reach(image.ndim - 1)
    if margin is not None:
        around = tuple(m + r for m, r in zip(margin, around, strict=True))
    return _embed(embedding, reflect(image[None], around)[0])


def is_known(embedding: Any) -> bool:
    """Whether there is a form of the embedding for tensors."""
    return type(embedding) in _embed.registry


@singledispatch
def _embed(embedding: Any, image: Tensor) -> Tensor:
    """(*space + 2 reach, C) to (*space, D)."""
    raise NotImplementedError(type(embedding).__name__)


@_embed.register
def _identity(embedding: Identity, image: Tensor) -> Tensor:
    return image


@_embed.register
def _linear(embedding: Linear, image: Tensor) -> Tensor:
    return image @ torch.as_tensor(embedding.matrix).to(image).mT


@_embed.register
def _patch(embedding: Patch, image: Tensor) -> Tensor:
    ndim = image.ndim - 1
    window = image / image.shape[-1] ** 0.5
    for axis, weights in enumerate(embedding.axis_weights(embedding.reach(ndim))):
        root = torch.as_tensor(np.sqrt(weights)).to(image)
        window = window.unfold(axis, len(weights), 1) * root  # (*space, C, *patch)
    return window.flatten(ndim)


@_embed.register
def _patch_query(embedding: PatchQuery, image: Tensor) -> Tensor:
    patch = _patch(embedding.patch, image)
    return torch.cat([2 * patch / embedding.h**2, torch.ones_like(patch[..., :1])], -1)


@_embed.register
def _patch_key(embedding: PatchKey, image: Tensor) -> Tensor:
    patch = _patch(embedding.patch, image)
    return torch.cat([patch, -(patch**2).sum(-1, keepdim=True) / embedding.h**2], -1)
