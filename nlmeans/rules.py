"""Parameters of NL-means from the noise level: one table for each form, never mixed.

The offset form, f = exp(-max(D - 2 sigma^2, 0) / h^2), is the one that `sigma` selects. Its best
h is about half a sigma; that of the plain form, which `h` alone selects, is one to one and a half.
Carrying a number from one to the other leaves the noise in or blurs the image.
"""

import math
from typing import NamedTuple

import numpy as np


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


def offset_rule(sigma: float, image: np.ndarray) -> Rule:
    """Patch, window and h of pixelwise NL-means in the offset form.

    The published tables are for 8-bit photographs. An image may have any range, so what is looked
    up is sigma on a scale on which the image, less its noise, has the contrast of a photograph.
    That makes the choice independent of the unit, and costs nothing on those: mean PSNR over
    Set12 at sigma 15, 25 and 50 changes by -0.02, 0.00 and +0.01 dB.

    Parameters
    ----------
    sigma : float
        Standard deviation of the noise, >= 0, in the units of the image.
    image : ndarray, shape (*space, C)
        The noisy image.

    Returns
    -------
    Rule
        Radii, and h as a multiple of sigma.
    """
    # A standard deviation is known to 1 % from far fewer pixels than a large image has.
    step = max(1, int((image.size / 1e6) ** (1 / (image.ndim - 1))))
    sample = image[(slice(None, None, step),) * (image.ndim - 1)]
    contrast = math.sqrt(max(float(np.var(sample, dtype=np.float64)) - sigma**2, 0.0))
    levels = sigma * NATURAL_CONTRAST / contrast if contrast else math.inf if sigma else 0.0
    rows = _OFFSET_GRAY if image.shape[-1] == 1 else _OFFSET_CHANNELS
    return next(rule for most, rule in rows if levels <= most)
