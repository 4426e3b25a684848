"""The denoising network: convolutions at half and quarter resolution around a non-local block."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from nlmeans.engines.torch_blocks import Blocks
from nlmeans.learned.block import SCORES, NonLocalBlock, Pairwise
from nlmeans.validation import check_choice

DISTANCE_SCALE = 16.0
"""Of squared distances, so that f differs from the first step on: random first layers leave the
embeddings of positions that differ by noise of sigma 25 alone 0.05 apart, log f being -0.4 then."""

SEEN = (-1.5, 2.5)
"""Range of what is looked at: black and white, and five standard deviations of the most noise. An
image stretched to the contrast of a photograph goes beyond where it has a bright star on a dark
sky; that is then a flat white for the network, in which it finds no noise."""

LARGEST_FEATURE = 16.0
"""Bound of what goes into a later pass. Of photographs with any noise, features stay below 9. Of an
image stretched to three times the contrast that a network had been trained for, the first pass
made features of 100, and the second, with the same weights, made of them what overflowed."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a `NonLocalNet`.

    Parameters
    ----------
    channels : int
        Of the image: 1 or 3.
    features : int
        Channels inside.
    inner : int
        Channels of the non-local block's embeddings.
    pairwise : str
        f of the non-local block; "none" leaves the block out.
    bandwidth : bool
        Whether it learns a bandwidth, where its f has one.
    size, halo : int
        Of its `Blocks`, in positions at half resolution.
    passes : int
        How often an image goes through what lies between the first and the last layer, with the
        same weights: more depth for no weights.
    """

    channels: int = 1
    features: int = 64
    inner: int = 32
    pairwise: str = "distance"
    bandwidth: bool = True
    size: int = 8
    halo: int = 4
    passes: int = 1

    @property
    def multiple(self) -> int:
        """What height and width must be a multiple of, in pixels."""
        return 2 * self.size


class Residual(nn.Module):
    """x + conv(relu(conv(x))), zero at the start."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(features, features, 3, padding=1)
        self.second = nn.Conv2d(features, features, 3, padding=1)
        _zero(self.second)

    def forward(self, x: Tensor) -> Tensor:
        """(B, features, H, W) to the same."""
        return x + self.second(functional.relu(self.first(x)))


class Coarse(nn.Module):
    """x plus what is seen at half its resolution: four convolutions for the cost of one."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(features, features, 3, stride=2, padding=1)
        self.inside = Residual(features)
        self.up = nn.Conv2d(features, features, 3, padding=1)
        _zero(self.up)

    def forward(self, x: Tensor) -> Tensor:
        """(B, features, H, W) to the same."""
        y = self.up(self.inside(functional.relu(self.down(x))))
        return x + functional.interpolate(y, scale_factor=2, mode="nearest")


class NonLocalNet(nn.Module):
    """x = y - sigma n(y, sigma): an estimate n of the noise, in units of its level.

    Where sigma is 0 the image is returned exactly. 2x2 pixels make the channels of one position,
    so that everything runs at half resolution or less; the non-local block compares features
    that have already been denoised in part by what lies around them.

    Parameters
    ----------
    shape : Shape
        Its sizes.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        features = shape.features
        self.head = nn.Conv2d(4 * shape.channels + 1, features, 3, padding=1)
        self.before = nn.Sequential(Residual(features), Coarse(features))
        self.block = _block(shape)
        self.after = nn.Sequential(Residual(features), Residual(features))
        self.tail = nn.Conv2d(features, 4 * shape.channels, 3, padding=1)
        if shape.passes > 1:
            # Of every later pass and channel: how much of the pass counts, and how much of what
            # the first layer saw goes into it again.
            self.gates = nn.Parameter(torch.full((shape.passes - 1, features), 0.5))
            self.again = nn.Parameter(torch.zeros(shape.passes - 1, features))

    def inside(self) -> list[nn.Module]:
        """Layers between the first and the last, for `Muon`."""
        return [self.before, self.block, self.after]

    def forward(self, y: Tensor, sigma: Tensor) -> Tensor:
        """Denoise.

        Parameters
        ----------
        y : Tensor, shape (B, C, H, W)
            Noisy images, black 0 and white 1; H and W multiples of `shape.multiple`, and more
            than twice the halo.
        sigma : Tensor, shape (B, 1, H, W)
            Standard deviation of the noise at every pixel, in the same units, 0 to 75/255.
        """
        level = functional.avg_pool2d(sigma, 2)
        seen = functional.pixel_unshuffle(y.clamp(*SEEN), 2)
        first = self.head(torch.cat([seen, level], 1))
        x = self._once(first)
        for k in range(self.shape.passes - 1):
            z = x + self.again[k, :, None, None] * first
            z = z.clamp(-LARGEST_FEATURE, LARGEST_FEATURE)
            x = x + self.gates[k, :, None, None] * (self._once(z) - z)
        return y - sigma * functional.pixel_shuffle(self.tail(x), 2).to(y.dtype)

    def _once(self, x: Tensor) -> Tensor:
        """One pass, (B, features, H, W) to the same."""
        return self.after(self.block(self.before(x)))


def in_color(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a gray `NonLocalNet` as those of one for RGB, to begin a training with.

    It does to the mean of R, G and B, whose noise has a level of sigma / sqrt(3), what the gray
    one does to an image; differences of R, G and B it leaves as they are.
    """
    head, tail = weights["head.weight"], weights["tail.weight"]
    return weights | {
        "head.weight": torch.cat([head[:, :-1].repeat(1, 3, 1, 1) / 3, head[:, -1:] / 3**0.5], 1),
        "tail.weight": tail.repeat(3, 1, 1, 1) / 3**0.5,
        "tail.bias": weights["tail.bias"].repeat(3) / 3**0.5,
    }


def with_more_passes(weights: dict[str, Tensor], passes: int) -> dict[str, Tensor]:
    """Weights of a `NonLocalNet` of several passes as those of one with more, to go on from.

    At first it does the same: the passes that are new are the second once more, before it, and
    count for nothing. Behind the last they would see what no pass has been trained for: features
    then grew until f overflowed.
    """
    gates, again = weights["gates"], weights["again"]
    more = passes - 1 - len(gates)
    return weights | {
        "gates": torch.cat([torch.zeros_like(gates[:1]).repeat(more, 1), gates]),
        "again": torch.cat([again[:1].repeat(more, 1), again]),
    }


def _block(shape: Shape) -> nn.Module:
    if shape.pairwise == "none":
        return nn.Identity()
    pairwise = cast(Pairwise, check_choice("pairwise", shape.pairwise, (*SCORES, "none")))
    exponential = SCORES[pairwise] == "exponential"
    return NonLocalBlock(
        shape.features,
        pairwise=pairwise,
        inner=shape.inner,
        neighborhood=Blocks(shape.size, shape.halo),
        position=exponential,
        bandwidth=exponential and shape.bandwidth,
        scale=DISTANCE_SCALE if pairwise == "distance" else None,
    )


def _zero(convolution: nn.Conv2d) -> None:
    nn.init.zeros_(convolution.weight)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
