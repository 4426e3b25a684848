"""The units in which trained networks know images: those of photographs, black 0 and white 1."""

from typing import NamedTuple

import numpy as np

from nlmeans.rules import BELOW_ROUNDING, noise_in_levels

MIDDLE_GRAY = 115 / 255
"""Mean of the BSDS500 training images."""

HIGHEST_NOISE = 75 / 255
"""Largest sigma that the networks were trained for."""


class Units(NamedTuple):
    """How an image is shown to a network: (image - mean) * scale + `MIDDLE_GRAY`."""

    mean: float
    scale: float

    def shown(self, image: np.ndarray) -> np.ndarray:
        """An image of floats as the network sees it, in float32."""
        return ((image - self.mean) * self.scale + MIDDLE_GRAY).astype(np.float32)


def units(image: np.ndarray, sigma: float) -> Units | None:
    """Units in which an image (*space, C) has the contrast of a photograph.

    The networks know no others. On Set12, whose images have their own contrast, it changes the
    mean PSNR of the method "learned" by less than 0.01 dB. None if there is nothing to see, or
    noise that is lost in float32.
    """
    low, high = float(image.min()), float(image.max())
    if low == high or sigma <= BELOW_ROUNDING * max(-low, high):
        return None
    level = min(noise_in_levels(sigma, image) / 255, HIGHEST_NOISE)
    return Units(float(image.mean(dtype=np.float64)), level / sigma)
