"""Parameters of NL-means from the noise level: one table for each form, never mixed.

The offset form, f = exp(-max(D - 2 sigma^2, 0) / h^2), is the one that `sigma` selects. Its
optimal h is about half a sigma; that of the plain form, which `h` alone selects, is one to one and
a half. Carrying a number from one to the other blurs the image or leaves the noise in.
"""

from typing import NamedTuple


class Rule(NamedTuple):
    """What a noise level calls for."""

    patch_radius: int
    search_radius: int
    h_over_sigma: float


PLAIN_DEFAULT = Rule(patch_radius=3, search_radius=10, h_over_sigma=1.0)
"""Sizes for a given h: OpenCV's defaults 7 and 21, so that equal h mean equal results."""

OPENCV_H_OVER_SIGMA = 1.0


def offset_rule(sigma: float, channels: int) -> Rule:
    """Patch, window and h of pixelwise NL-means in the offset form, for a noise level."""
    return Rule(2, 10, 0.7)
