"""The unit that NL-means is computed in, so that squares of any image fit into its float dtype."""

import math
from dataclasses import replace

import numpy as np

from nlmeans.affinity import PatchGaussian


def unit_near(h: float, lowest: float, highest: float, dtype: np.dtype) -> float:
    """A power of two, which costs no digit, in units of which no square overflows or vanishes.

    Near h; but near the largest value of what is compared, which goes from `lowest` to `highest`,
    where that is so far from h that all weights are 0 or 1.
    """
    peak = math.frexp(max(highest, -lowest))[1]
    limit = 1000 if dtype == np.float64 else 120
    exponent = min(max(math.frexp(h)[1], peak - 40), peak + 40)
    return 2.0 ** min(max(exponent, -limit), limit)


def in_units(affinity: PatchGaussian, unit: float) -> PatchGaussian:
    """The same affinity of images in other units.

    h and sigma stay within bounds beyond which all weights are 1 or, but for equal patches, 0.
    """
    h = min(max(affinity.h / unit, 1e-15), 1e15)
    return replace(affinity, h=h, sigma=min(affinity.sigma / unit, 1e15))
