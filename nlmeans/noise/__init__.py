"""Noise: adding it to an image, and estimating it in one."""

from nlmeans.noise.add import add_noise
from nlmeans.noise.estimate import (
    NoiseEstimate,
    estimate_noise,
    estimate_sigma,
    estimate_sigma_map,
)

__all__ = ["NoiseEstimate", "add_noise", "estimate_noise", "estimate_sigma", "estimate_sigma_map"]
