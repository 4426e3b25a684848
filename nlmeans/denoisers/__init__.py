"""Denoising methods: one protocol, one registry.

To add one, write a frozen dataclass that keeps the protocol and name it in `METHODS`.
"""

from nlmeans.denoisers.base import Denoiser
from nlmeans.denoisers.learned import Learned
from nlmeans.denoisers.learned_nlm import LearnedNLMeans
from nlmeans.denoisers.local import Gaussian, Mean, Median
from nlmeans.denoisers.nlm import NLMeans
from nlmeans.denoisers.opencv import OpenCV
from nlmeans.denoisers.ridge import Ridge

METHODS: dict[str, type[Denoiser]] = {
    "nlm": NLMeans,
    "ridge": Ridge,
    "learned": Learned,
    "learned-nlm": LearnedNLMeans,
    "opencv": OpenCV,
    "mean": Mean,
    "median": Median,
    "gaussian": Gaussian,
}

__all__ = ["METHODS", "Denoiser"]
