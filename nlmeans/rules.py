"""Parameters of NL-means from the noise level: one table for each form, never mixed.

The offset form, f = exp(-max(D - 2 sigma^2, 0) / h^2), is the one that `sigma` selects. Its best
h is about half a sigma; that of the plain form, which `h` alone selects, is one to one and a half.
Carrying a number from one to the other leaves the noise in or blurs the image.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from nlmeans.groups import Groups


class Rule(NamedTuple):
    """What a noise level calls for."""

    patch_radius: int
    search_radius: int
    h_over_sigma: float


PLAIN_DEFAULT = Rule(patch_radius=3, search_radius=10, h_over_sigma=1.0)
"""Sizes for a given h: OpenCV's defaults 7 and 21, so that equal h mean the same on gray images."""

OPENCV_H_OVER_SIGMA = 0.9
"""h of OpenCV's NL-means on gray images: of 0.8, 0.9, ... 1.2 the best for sigma 25 on Set12
(benchmarks/quality.py); for 15 it is 1, for 50 it is 0.8."""

OPENCV_COLORED_H_OVER_SIGMA = (0.5, 0.65)
"""h and hColor of its colored form, which filters lightness and colors apart: of a grid from 0.3 to
2 the best mean over sigma 10, 20 and 40 on 12 crops of the BSDS500 training images."""

BELOW_ROUNDING = 1e-6
"""Noise that is less than this part of the largest value is lost in float32 already."""

NATURAL_CONTRAST = 50.0
"""Standard deviation of the gray levels of a photograph: mean over the BSDS500 training images."""

# Patch sizes and 21x21 window: Buades, Coll, Morel, IPOL 2011, doi:10.5201/ipol.2011.bcm_nlm, whose
# 35x35 window above sigma 30 is not taken: on Set12 at 50 it cost 0.1 dB and 2.8 times the time.
# Their h, 0.3 to 0.55 sigma, is for averages of whole patches. For single pixels the best of 0.4,
# 0.5, ... 0.9 was chosen by mean PSNR over 12 crops of the BSDS500 training images, sigma
# 5, 10, ... 75; 0.1 off the best costs less than 0.2 dB. Rows: sigma up to, in 8-bit gray levels.
_OFFSET_GRAY = (
    (7.0, Rule(1, 10, 0.5)),
    (15.0, Rule(1, 10, 0.7)),
    (30.0, Rule(2, 10, 0.65)),
    (45.0, Rule(3, 10, 0.5)),
    (75.0, Rule(4, 10, 0.5)),
    (math.inf, Rule(5, 10, 0.5)),
)
_OFFSET_CHANNELS = (
    (7.0, Rule(1, 10, 0.5)),
    (25.0, Rule(1, 10, 0.6)),
    (55.0, Rule(2, 10, 0.5)),
    (math.inf, Rule(3, 10, 0.4)),
)

# RGB, whose patches are compared in luma and chroma: h as above, on 11 crops.
_OFFSET_RGB = (
    (7.0, Rule(1, 10, 0.5)),
    (42.0, Rule(1, 10, 0.8)),
    (math.inf, Rule(2, 10, 0.65)),
)

# The same for whole patches, h the best of 0.3, 0.4 ... 0.7 with every patch radius from 1 to 5.
_PATCHWISE_GRAY = (
    (7.0, Rule(2, 10, 0.3)),
    (12.0, Rule(2, 10, 0.4)),
    (20.0, Rule(2, 10, 0.55)),
    (30.0, Rule(3, 10, 0.47)),
    (math.inf, Rule(4, 10, 0.4)),
)
_PATCHWISE_CHANNELS = (
    (7.0, Rule(1, 10, 0.3)),
    (20.0, Rule(1, 10, 0.5)),
    (35.0, Rule(2, 10, 0.45)),
    (math.inf, Rule(3, 10, 0.4)),
)
_PATCHWISE_RGB = (
    (7.0, Rule(1, 10, 0.5)),
    (42.0, Rule(1, 10, 0.7)),
    (math.inf, Rule(2, 10, 0.5)),
)

# Volumes: 3x3x3 patches and an 11x11x11 window, of Coupe et al., IEEE TMI 27(4), 2008, for single
# voxels and for whole patches. With the radii of images, 2 and 10, 72 voxels a side took 60 s, not
# 1.4, for 0.7 dB less at sigma 15. h is the best of 0.3, 0.4 ... 0.8 by mean PSNR over sigma 5, 10,
# 15, 30 and 50 on a T1 brain, the one of the README's table; 0.1 off it costs 0.3 dB at most.
_OFFSET_VOLUME = Rule(1, 5, 0.7)
_PATCHWISE_VOLUME = Rule(1, 5, 0.6)

CHROMA_WEIGHT = 0.4
"""What differences in chroma count in the patches of RGB images, those in luma counting 1. Of 0.4,
0.6 and 1, the last of which is the plain mean over the channels, with the best h for each: 30.44,
30.40 and 29.89 dB on crops of the BSDS500 training images with noise of 25."""


def offset_rule(sigma: float, image: np.ndarray, *, patchwise: bool = False) -> Rule:
    """Patch, window and h of NL-means in the offset form.

    The published tables are for 8-bit photographs. An image may have any range, so what is looked
    up is sigma on a scale on which the image, less its noise, has the contrast of a photograph.
    That makes the choice independent of the unit, and costs nothing on those: mean PSNR over
    Set12 at sigma 15, 25 and 50 changes by -0.02, 0.00 and +0.01 dB. Volumes have one rule for any
    sigma.

    Parameters
    ----------
    sigma : float
        Standard deviation of the noise, >= 0, in the units of the image.
    image : ndarray, shape (*space, C)
        The noisy image, or volume.

    Returns
    -------
    Rule
        Radii, and h as a multiple of sigma.
    """
    if image.ndim > 3:
        return _PATCHWISE_VOLUME if patchwise else _OFFSET_VOLUME
    levels = noise_in_levels(sigma, image)
    gray, rgb, channels = (
        (_PATCHWISE_GRAY, _PATCHWISE_RGB, _PATCHWISE_CHANNELS)
        if patchwise
        else (_OFFSET_GRAY, _OFFSET_RGB, _OFFSET_CHANNELS)
    )
    rows: Sequence[tuple[float, Rule]] = {1: gray, 3: rgb}.get(image.shape[-1], channels)
    return next(rule for most, rule in rows if levels <= most)


class SecondPass(NamedTuple):
    """NL-means once more, with the weights of a first estimate."""

    patch_radius: int
    h_over_sigma: float
    noise: float
    """Part of the noise that is given back to the first estimate before it is averaged. With less,
    what the first pass took for noise is lost; with all, what resembles nothing else is noisy."""


# The best mean PSNR over crops of the BSDS500 training images (11 gray, 6 RGB) of patch radii 0 and
# 1, h of 0.2, 0.25 ... 0.5 sigma and parts of 0.55, 0.7, 0.85 and 1, at sigma from 5 to 75. With
# one setting for all levels no level loses more than 0.1 dB to the best for it alone.
SECOND_PASS_GRAY = SecondPass(1, 0.25, 0.7)
SECOND_PASS_RGB = SecondPass(0, 0.45, 0.7)
SECOND_PASS_CHANNELS = SecondPass(0, 0.4, 0.7)


def second_pass(image: np.ndarray) -> SecondPass:
    """Settings of the second pass for an image (*space, C)."""
    return {1: SECOND_PASS_GRAY, 3: SECOND_PASS_RGB}.get(image.shape[-1], SECOND_PASS_CHANNELS)


def noise_in_levels(sigma: float, image: np.ndarray) -> float:
    """Sigma on a scale on which the image (*space, C), less its noise, is a photograph's."""
    # A standard deviation is known to 1 % from far fewer pixels than a large image has.
    step = max(1, int((image.size / 1e6) ** (1 / (image.ndim - 1))))
    sample = image[(slice(None, None, step),) * (image.ndim - 1)]
    contrast = math.sqrt(max(float(np.var(sample, dtype=np.float64)) - sigma**2, 0.0))
    return sigma * NATURAL_CONTRAST / contrast if contrast else math.inf if sigma else 0.0


class RidgeRule(NamedTuple):
    """Groups of the two estimates of the method "ridge"."""

    first: Groups
    second: Groups
    rounds: int
    """Of the iterated form; 0 for two steps."""
    added_noise: float
    """Variance of the noise that the first estimate is for in addition to that of the image, as a
    part of it (alpha of `nlmeans.groups.ridge_weights`). More makes it smoother, which rounds
    prefer."""

    @property
    def search_radius(self) -> int:
        """The same for both."""
        return self.first.search_radius

    def searching(self, radius: int) -> "RidgeRule":
        """The same with another search radius."""
        first, second = (replace(g, search_radius=radius) for g in (self.first, self.second))
        return self._replace(first=first, second=second)


# Patches and members of NL-Ridge are those of its authors but for what was better on Set12, or as
# good in less time. Search radius 24, not 18: +0.02 dB. First step: 24 members up to sigma 15,
# +0.005 dB; references 3 apart, not 4, +0.02 dB. Second step: patches of 8 above 15, +0.01 dB; 72
# members up to 35, not 90, -0.008 dB in 0.8 times the time. (Its references 3 apart, not 4, would
# add 0.004 dB and take 1.5 times as long.)
_RIDGE = (
    (15.0, RidgeRule(Groups(7, 24, 24, 3), Groups(7, 55, 24, 4), 0, 0.05)),
    (35.0, RidgeRule(Groups(9, 18, 24, 3), Groups(8, 72, 24, 4), 0, 0.05)),
    (math.inf, RidgeRule(Groups(11, 20, 24, 3), Groups(8, 90, 24, 4), 0, 0.05)),
)
_RIDGE_BEST = (
    (10.0, RidgeRule(Groups(9, 16, 32, 3), Groups(6, 64, 32, 3), 6, 0.25)),
    (30.0, RidgeRule(Groups(11, 16, 32, 3), Groups(6, 64, 32, 3), 9, 0.25)),
    (math.inf, RidgeRule(Groups(13, 16, 32, 3), Groups(6, 64, 32, 3), 11, 0.25)),
)


def ridge_rule(levels: float, preset: str) -> RidgeRule:
    """Groups for a noise level as of `noise_in_levels`."""
    rows = _RIDGE_BEST if preset == "best" else _RIDGE
    return next(rule for most, rule in rows if levels <= most)
