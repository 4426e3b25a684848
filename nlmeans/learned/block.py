"""The non-local block of Wang et al., as a module for any network."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from nlmeans.engines.torch_blocks import Blocks, displacements, reflect
from nlmeans.engines.torch_pairs import Score, mean
from nlmeans.errors import ParameterError
from nlmeans.neighborhood import Everywhere, Window
from nlmeans.validation import check_choice, check_integer, check_number

Pairwise = Literal["gaussian", "embedded_gaussian", "dot_product", "concatenation", "distance"]

SCORES: dict[Pairwise, Score] = {
    "gaussian": "exponential",
    "embedded_gaussian": "exponential",
    "dot_product": "product",
    "concatenation": "sum",
    "distance": "exponential",
}
"""How each pairwise function is computed."""

LARGEST_EXPONENT = 5.0
"""Bound of w . x_i + b of a bandwidth. A trained one has 3 at most; one of 88 would overflow, and
with distances 150 times what they were only the nearest member counts already."""


class NonLocalBlock(nn.Module):
    r"""The non-local block, z = W_z y + x: Eq. (6) of Wang et al. [1]_.

    y_i = 1/C_i sum over j in N(i) of f(x_i, x_j) W_g x_j is `nlmeans.operation.NonLocalMean`,
    the operation that with fixed embeddings of patches is NL-means. W_z starts at zero and the
    block as the identity, so that it can be put into a trained network.

    Parameters
    ----------
    channels : int
        C of the input (B, C, *space), >= 1.
    dimension : {1, 2, 3}, optional
        Axes of space: sequence, image, or clip (T, H, W), of which every position of every frame
        is a member. Samples of a batch never meet.
    pairwise : {"gaussian", "embedded_gaussian", "dot_product", "concatenation", "distance"}
        f: Eq. (2) to (5) of [1]_; or that of NL-means, exp(-|theta(x_i) - theta(x_j)|^2 / 2), of
        learned features in place of patches, which has no phi.
    inner : int, optional
        D, the channels of theta, phi and g; default half of C, at least 1.
    neighborhood : Everywhere, Window or Blocks, optional
        N(i). `Everywhere` is that of [1]_; `Window` is that of NL-means; `Blocks` costs least.
    subsample : int, optional
        Side of the max pooling before phi and g, 1 for none; with `Everywhere` only.
    position : bool, optional
        With `Blocks` and an exponential f: learn a factor of f for where j lies from i, as
        log f, zero at the start.
    bandwidth : bool, optional
        With an exponential f: learn a factor of log f for every i, exp(w . x_i + b), 1 at the
        start; the exponent is cut at -5 and 5. As h is in NL-means: how much alike is alike, there.
    scale : float, optional
        Factor of theta . phi, or of the squared distance, >= 0; default D^-1/2, which the authors'
        code has ahead of the softmax, 1 in the paper's equations. "concatenation" has none.

    Raises
    ------
    ParameterError
        If an argument breaks its rule.

    Notes
    -----
    For N positions with M members each, O(N M D) time. Memory in floats, beside O(N D): with
    `Everywhere` nothing that grows with N M; with `Blocks` of size s and halo h in d dimensions
    N (s + 2 h)^d for f, and D (1 + 2 h / s)^d N each for phi and g.

    References
    ----------
    .. [1] X. Wang, R. Girshick, A. Gupta, K. He, "Non-local Neural Networks", CVPR 2018.
    """

    def __init__(
        self,
        channels: int,
        *,
        dimension: int = 2,
        pairwise: Pairwise = "embedded_gaussian",
        inner: int | None = None,
        neighborhood: Everywhere | Window | Blocks = Everywhere(),  # noqa: B008 - frozen and empty
        subsample: int = 1,
        position: bool = False,
        bandwidth: bool = False,
        scale: float | None = None,
    ) -> None:
        super().__init__()
        check_integer("channels", channels, least=1)
        check_integer("dimension", dimension, least=1, most=3)
        check_choice("pairwise", pairwise, get_args(Pairwise))
        inner = max(1, channels // 2) if inner is None else check_integer("inner", inner, least=1)
        check_integer("subsample", subsample, least=1)
        if subsample > 1 and not isinstance(neighborhood, Everywhere):
            raise ParameterError("subsample", "must be 1 for a window", subsample)
        exponential = SCORES[pairwise] == "exponential"
        if position and not (isinstance(neighborhood, Blocks) and exponential):
            raise ParameterError("position", "must go with Blocks and an exponential pairwise")
        if bandwidth and not exponential:
            raise ParameterError("bandwidth", "must go with an exponential pairwise", pairwise)
        if scale is not None:
            check_number("scale", scale, least=0)
            if pairwise == "concatenation":
                raise ParameterError("scale", "must not be given for concatenation", scale)
        if not isinstance(neighborhood, Everywhere | Window | Blocks):
            rule = "must be an Everywhere, Window or Blocks"
            raise ParameterError("neighborhood", rule, neighborhood)
        neighborhood.margin(dimension)  # checks that it has a radius for each axis
        self.dimension, self.subsample = dimension, subsample
        self.pairwise: Pairwise = pairwise
        self.neighborhood = neighborhood
        self.scale = inner**-0.5 if scale is None else scale
        has_phi = pairwise not in ("gaussian", "distance")
        self.theta = nn.Identity() if pairwise == "gaussian" else nn.Linear(channels, inner)
        self.phi = nn.Linear(channels, inner) if has_phi else nn.Identity()
        self.g = nn.Linear(channels, inner)
        self.w_z = nn.Linear(inner, channels)
        nn.init.zeros_(self.w_z.weight)
        for layer in (self.theta, self.phi, self.g, self.w_z):
            if isinstance(layer, nn.Linear):  # a bias alone could make all f of a relu 0
                nn.init.zeros_(layer.bias)
        if pairwise == "concatenation":
            self.w_f = nn.Parameter(torch.randn(2, inner) * inner**-0.5)
        self.bandwidth = nn.Linear(channels, 1) if bandwidth else None
        if self.bandwidth is not None:
            nn.init.zeros_(self.bandwidth.weight)
            nn.init.zeros_(self.bandwidth.bias)
        self.has_position = position
        if position and isinstance(neighborhood, Blocks):
            number = _numbered(neighborhood, dimension)
            self.register_buffer("displacement", number, persistent=False)
            self.position = nn.Parameter(torch.zeros(int(number.max()) + 1))

    def forward(self, x: Tensor) -> Tensor:
        """Z of x, both (B, C, *space)."""
        if x.ndim != self.dimension + 2:
            raise ParameterError("x", f"must have {self.dimension + 2} axes", tuple(x.shape))
        size = self.neighborhood.size if isinstance(self.neighborhood, Blocks) else 1
        if any(n % size for n in x.shape[2:]):
            raise ParameterError(
                "x", f"must have a multiple of {size} positions along each axis", tuple(x.shape)
            )
        last = x.movedim(1, -1)  # (B, *space, C), so that the maps are of the last axis
        pooled = last if self.subsample == 1 else _max_pool(x, self.subsample).movedim(1, -1)
        to_key = self.theta if self.pairwise == "distance" else self.phi
        query, key = self.theta(last), to_key(pooled)
        value = self.g(pooled).to(query.dtype)  # under autocast theta may be x itself, in float32
        factor = None
        if self.bandwidth is not None:
            exponent = self.bandwidth(last).clamp(-LARGEST_EXPONENT, LARGEST_EXPONENT)
            factor = exponent.exp().to(query.dtype)
        # Scores and their softmax stay in the dtype of the embeddings, and copies of the windows
        # with them: autocast would have both in float32, twice the memory.
        with torch.autocast(x.device.type, enabled=False):
            y = self._average(query, key, value, factor)
        return x + self.w_z(y).movedim(-1, 1)

    def _average(
        self, query: Tensor, key: Tensor, value: Tensor, factor: Tensor | None = None
    ) -> Tensor:
        """y, (B, *space, D), of theta, phi and g, each so, and a factor of log f (B, *space, 1)."""
        if self.pairwise == "concatenation":
            # w_f . [theta, phi] is a sum of two numbers, one of i and one of j.
            of_theta, of_phi = self.w_f.to(query.dtype)[:, :, None]
            query, key = query @ of_theta, key @ of_phi
        elif self.pairwise == "distance":
            query, key = (x * self.scale**0.5 for x in (query, key))
            if query.dtype.itemsize < 4:
                # Differences stay what they are, and |theta|^2 gets small: of the 100 it may be,
                # the 8 bits of bfloat16 drop 0.25. In float32 it would change the last digits with
                # what else is in the image.
                middle = key.mean(tuple(range(1, key.ndim - 1)), keepdim=True)
                query, key = query - middle, key - middle
            query, key = for_distance(query, key)
        elif self.scale != 1:
            query = query * self.scale
        if factor is not None:
            query = query * factor
        margin = self.neighborhood.margin(self.dimension)
        key, value = reflect(key, margin), reflect(value, margin)
        position = self.position[self.displacement].to(query.dtype) if self.has_position else None
        return mean(SCORES[self.pairwise], query, key, value, self.neighborhood, position)


def for_distance(query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    """One more feature each, (..., D) to (..., D + 1), so that q . k is -|q - k|^2 / 2 + |q|^2 / 2.

    The last term is of i alone: as a factor of all f(x_i, x_j) it cancels in y_i.
    """
    half = -key.square().sum(-1, keepdim=True) / 2
    return torch.cat([query, torch.ones_like(query[..., :1])], -1), torch.cat([key, half], -1)


def _numbered(blocks: Blocks, dimension: int) -> Tensor:
    """A number for every displacement between i and j, (positions, members) of a block."""
    size, halo = (blocks.size,) * dimension, (blocks.halo,) * dimension
    reach = blocks.size + blocks.halo - 1
    place = torch.tensor([(2 * reach + 1) ** k for k in reversed(range(dimension))])
    return ((displacements(size, halo) + reach) * place).sum(-1)


def _max_pool(x: Tensor, side: int) -> Tensor:
    """Largest of every `side`^d positions; those left over at the end make smaller groups."""
    pool = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[x.ndim - 3]
    return pool(x, side, ceil_mode=True)
