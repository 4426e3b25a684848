"""Image denoising by one idea, the weighted non-local average.

    y_i = 1/C_i * sum over j in N(i) of f(x_i, x_j) * g(x_j)

`denoise` is the door; `nlmeans.operation` is the idea; README.md and ARCHITECTURE.md tell the rest.
"""

from nlmeans.denoisers import METHODS
from nlmeans.errors import FileError, MetadataWarning, NLMeansError, ParameterError
from nlmeans.metrics import mse, psnr, ssim
from nlmeans.noise import (
    NoiseEstimate,
    add_noise,
    estimate_noise,
    estimate_sigma,
    estimate_sigma_map,
)
from nlmeans.pipeline import DenoiseInfo, denoise

__version__ = "0.1.0"

__all__ = [
    "METHODS",
    "DenoiseInfo",
    "FileError",
    "MetadataWarning",
    "NLMeansError",
    "NoiseEstimate",
    "ParameterError",
    "add_noise",
    "denoise",
    "estimate_noise",
    "estimate_sigma",
    "estimate_sigma_map",
    "mse",
    "psnr",
    "ssim",
]
