"""The operation in PyTorch: on any device, and differentiable.

On torch's default device, in float32, for float64 images in float64. NL-means goes over the
displacements of the window, the other affinities over blocks of positions, where their scores are
matrix products; everywhere, over a part of the positions at a time. What is differentiated is
computed a second time in place of being kept, so that memory does not grow with the pairs.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nlmeans.affinity import Concatenation, DotProduct, EmbeddedGaussian, Gaussian, PatchGaussian
from nlmeans.dtypes import working_dtype
from nlmeans.engines.torch_features import features, is_known
from nlmeans.engines.torch_pairs import Score
from nlmeans.engines.torch_pairs import mean as mean_of_pairs
from nlmeans.engines.torch_patches import over_image, over_window, whole_patches
from nlmeans.engines.unit import in_units, unit_near
from nlmeans.neighborhood import Everywhere, Region, Window, check_region
from nlmeans.normalizer import Count, Sum
from nlmeans.operation import NonLocalMean, check_supported

name = "torch"

SCORES: dict[type, Score] = {
    Gaussian: "exponential",
    EmbeddedGaussian: "exponential",
    DotProduct: "product",
    Concatenation: "sum",
}
"""The affinities of the non-local block."""


def unsupported(operation: NonLocalMean) -> str | None:
    """Why this engine can not compute an operation; None if it can."""
    affinity: Any = operation.affinity
    embeddings = [operation.values]
    if type(affinity) in SCORES:
        embeddings += [affinity.theta, affinity.phi]
    elif type(affinity) is not PatchGaussian:
        return f"it does not know the affinity {type(affinity).__name__}"
    normalizer = Sum if affinity.exponential else Count
    if type(operation.normalizer) is not normalizer:
        return f"it divides this affinity by {normalizer.__name__} only"
    if type(operation.neighborhood) not in (Window, Everywhere):
        return f"it does not know the neighborhood {type(operation.neighborhood).__name__}"
    for embedding in embeddings:
        if not is_known(embedding):
            return f"it does not know the embedding {type(embedding).__name__}"
    if operation.patchwise and not (
        type(affinity) is PatchGaussian and type(operation.neighborhood) is Window
    ):
        return "it averages whole patches in NL-means over a window only"
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
    dtype = working_dtype(image.dtype)

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(array.astype(dtype)).to(torch.get_default_device())

    with torch.no_grad(), _threads(workers):
        compared = None if guide is None else tensor(guide)
        y = mean(operation, tensor(image), guide=compared, region=region, progress=progress)
    return y.cpu().numpy()


def mean(
    operation: NonLocalMean,
    image: Tensor,
    *,
    guide: Tensor | None = None,
    region: Region | None = None,
    progress: Callable[[float], None] | None = None,
) -> Tensor:
    """`average` of a tensor (*space, C), differentiable.

    With respect to the image, the guide, and what is a tensor in the operation: the matrices of
    its `Linear` embeddings and the weight of a `Concatenation`.
    """
    check_supported(name, unsupported(operation))
    affinity: Any = operation.affinity
    neighborhood: Any = operation.neighborhood
    report = progress or (lambda fraction: None)
    box = check_region(region, image.shape[:-1])
    inside = tuple(slice(*pair) for pair in box)
    compared = image if guide is None else guide
    margin = neighborhood.margin(len(box))
    values = features(operation.values, image, margin)
    if type(affinity) in SCORES:
        y = _embedded(affinity, neighborhood, values, compared)[inside]
    else:
        least, most = (float(x) for x in torch.aminmax(compared.detach()))
        wide = np.dtype(np.float64 if compared.dtype == torch.float64 else np.float32)
        unit = unit_near(affinity.h, least, most, wide)
        affinity, values, compared = in_units(affinity, unit), values / unit, compared / unit
        if isinstance(neighborhood, Everywhere):
            y = over_image(affinity, values, compared, box, report)
        elif operation.patchwise:
            y = whole_patches(affinity, neighborhood, values, compared, report)[inside]
        else:
            y = over_window(affinity, neighborhood, values, compared, box, report)
        y = y * unit
    report(1.0)
    return y


def _embedded(
    affinity: Any, neighborhood: Window | Everywhere, values: Tensor, guide: Tensor
) -> Tensor:
    """y of all positions for the affinities of the non-local block."""
    query = features(affinity.theta, guide)
    key = features(affinity.phi, guide, neighborhood.margin(guide.ndim - 1))
    if isinstance(affinity, Concatenation):
        # w_f . [theta, phi] is a sum of two numbers, one of i and one of j.
        weight = torch.as_tensor(affinity.weight).to(guide)[:, None]
        split = query.shape[-1]
        query, key = query @ weight[:split], key @ weight[split:]
    score = SCORES[type(affinity)]
    return mean_of_pairs(score, query[None], key[None], values[None], neighborhood)[0]


@contextmanager
def _threads(workers: int | None) -> Iterator[None]:
    """At most so many threads, as long as it lasts."""
    before = torch.get_num_threads()
    if workers is not None:
        torch.set_num_threads(workers)
    try:
        yield
    finally:
        torch.set_num_threads(before)
