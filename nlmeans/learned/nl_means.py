"""NL-means that compares learned features in place of patches, to be trained end to end."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nlmeans.affinity import PatchGaussian
from nlmeans.denoisers.features import REACH
from nlmeans.denoisers.learned_nlm import SEARCH_RADIUS
from nlmeans.engines import torch_engine
from nlmeans.engines.torch_blocks import reflect
from nlmeans.neighborhood import Window
from nlmeans.operation import NonLocalMean


@dataclass(frozen=True)
class NLMeansShape:
    """Sizes of a `LearnedNLMeans`.

    Parameters
    ----------
    hidden : int
        Channels between the convolutions.
    features : int
        Channels that are compared.
    radius : int
        Search radius.
    """

    hidden: int = 16
    features: int = 8
    radius: int = SEARCH_RADIUS

    channels = 1
    """Of the images, which are gray."""


class Features(nn.Module):
    """What pixels are compared by: three convolutions of the image in units of its noise.

    They see 9x9 pixels. In units of the noise a difference means the same at every level, as it
    does in D / h^2 with h in proportion to sigma.
    """

    reach = REACH

    def __init__(self, shape: NLMeansShape) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(2, shape.hidden, 5),
            nn.ReLU(),
            nn.Conv2d(shape.hidden, shape.hidden, 3),
            nn.ReLU(),
            nn.Conv2d(shape.hidden, shape.features, 3),
        )
        # So that at first features of noise alone, of which three random layers leave 0.03, are as
        # far apart as patches of NL-means are in units of its h.
        self.log_h = nn.Parameter(torch.tensor(-3.0))

    def forward(self, y: Tensor, sigma: Tensor) -> Tensor:
        """Features over h, (B, D, H, W) of noisy images and sigma (B, 1, H + 2 reach, ...)."""
        x = torch.cat([(y - 0.5) / (4 * sigma + 1 / 64), sigma], 1)
        return self.convolutions(x) * torch.exp(-self.log_h)


class LearnedNLMeans(nn.Module):
    """NL-means with f = exp(-mean (e_i - e_j)^2 / h^2), e being `Features`, which are learned.

    That is `nlmeans.affinity.PatchGaussian` of single pixels with the features as guide, and any
    engine can compute it; the weight of the pixel itself is the largest of the others.

    Parameters
    ----------
    shape : NLMeansShape
        Its sizes.
    """

    def __init__(self, shape: NLMeansShape) -> None:
        super().__init__()
        self.shape = shape
        self.features = Features(shape)
        self.operation = NonLocalMean(
            PatchGaussian(1.0, patch_radius=0, center="max"), Window((0, *(shape.radius,) * 2))
        )

    def inside(self) -> list[nn.Module]:
        """Layers for `Muon`: none, so small are they."""
        return []

    def forward(self, y: Tensor, sigma: Tensor) -> Tensor:
        """Denoise (B, 1, H, W) with sigma (B, 1, H, W), in float32 whatever else is."""
        with torch.autocast(y.device.type, enabled=False):
            around = (Features.reach,) * 2
            wide = [reflect(x.movedim(1, -1), around).movedim(-1, 1) for x in (y, sigma)]
            guide = self.features(*wide).movedim(1, -1)
            # A batch is a volume whose windows are as thin as one image.
            image = y.movedim(1, -1)
            return torch_engine.mean(self.operation, image, guide=guide).movedim(-1, 1)
