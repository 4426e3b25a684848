"""Noise: adding it to an image, and estimating it in one."""

from nlmeans.noise.add import add_noise
from nlmeans.noise.estimate import estimate_sigma

__all__ = ["add_noise", "estimate_sigma"]
