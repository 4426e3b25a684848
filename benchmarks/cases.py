"""What the contenders of benchmarks/quality.py are compared on: sets, kinds of noise, levels."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import imageio.v3 as iio
import numpy as np

import nlmeans

COLOR_SETS = ("CBSD68", "Kodak24", "PolyU_dev57")
SETS = {
    "Set12": "Set12",
    "BSD68": "BSD68",
    "CBSD68": "CBSD68",
    "Kodak24": "Kodak24, FFDNet's 500x500 crops",
    "PolyU_dev57": "PolyU_dev57",
    "volume_MNI152": "volume_MNI152, middle 96 voxels a side",
}
"""Their names in tables."""

WHITE = 255.0
CROP = 96
"""Voxels a side of the middle of a volume that is used: the slower tools take minutes for it."""


@dataclass(frozen=True)
class Noise:
    """A kind of noise: where it is added, and at which levels unless others are asked for."""

    title: str
    unit: str
    sets: tuple[str, ...]
    levels: tuple[float | None, ...]


WHITE_SETS = ("Set12", "BSD68", "CBSD68", "Kodak24")
NOISES = {
    "awgn": Noise("white Gaussian noise", "sigma", WHITE_SETS, (15, 25, 50)),
    "clipped": Noise(
        "white noise clipped and rounded to 8 bits", "sigma", ("Set12", "CBSD68"), (15, 25, 50)
    ),
    "real": Noise("camera noise, no options", "", ("PolyU_dev57",), (None,)),
    "clean": Noise("no noise, no options", "", ("Kodak24",), (None,)),
    "poisson": Noise("Poisson noise", "peak", ("Set12",), (1, 4, 30)),
    "poisson-gaussian": Noise(
        "Poisson noise and Gaussian noise of sigma 25.5", "peak", ("Set12",), (4, 30)
    ),
    "rician": Noise("Rician noise", "sigma", ("volume_MNI152",), (15,)),
    "speckle": Noise("speckle", "sigma", ("Set12",), (0.25, 0.5)),
}


@dataclass(frozen=True)
class Case:
    """A set with one kind of noise at one level.

    Parameters
    ----------
    set, noise : str
        Of `SETS` and `NOISES`.
    level : float or None
        Sigma, for speckle relative; for Poisson noise the counts of white, 255.
    """

    set: str
    noise: str
    level: float | None

    @property
    def peak(self) -> float | None:
        """Counts of white."""
        return self.level if NOISES[self.noise].unit == "peak" else None

    @property
    def sigma(self) -> float | None:
        """Standard deviation of the Gaussian noise or parameter of the model."""
        if self.noise == "poisson-gaussian":
            return WHITE / 10  # as in the tables of Makitalo and Foi, 2013
        return None if self.peak else self.level

    @property
    def gain(self) -> float | None:
        """Gray levels a count."""
        return WHITE / self.peak if self.peak else None

    @property
    def modeled(self) -> bool:
        """Whether the noise is one that denoisers have to be told of."""
        return self.noise in ("poisson", "poisson-gaussian", "rician", "speckle")


class Given(NamedTuple):
    """What a contender may be told about a noisy image."""

    noise: str
    sigma: float | None
    gain: float | None
    rms: float
    """Of the noise as it came out, for what takes white noise of any strength."""
    axis: int | None
    """Of the channels."""


class Pair(NamedTuple):
    """A clean and a noisy image, both on the scale 0-255."""

    clean: np.ndarray
    noisy: np.ndarray
    given: Given


@dataclass(frozen=True)
class Images:
    """The images of a case, read and made noisy one by one.

    Parameters
    ----------
    case : Case
        What they are.
    folder : Path
        The folder that has one of the set's name.
    most : int, optional
        Take the first of them only.
    """

    case: Case
    folder: Path
    most: int | None = None

    @cached_property
    def paths(self) -> list[Path]:
        """Files in the order of their names; of pairs the noisy ones."""
        pattern = {"PolyU_dev57": "*_real.JPG", "volume_MNI152": "*.nii.gz"}
        found = sorted((self.folder / self.case.set).glob(pattern.get(self.case.set, "*.png")))
        if not found:
            raise FileNotFoundError(f"no images in {self.folder / self.case.set}")
        return found[: self.most]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Pair:
        path, case = self.paths[index], self.case
        axis = -1 if case.set in COLOR_SETS else None
        if case.noise == "real":
            noisy = iio.imread(path)
            clean = iio.imread(path.with_name(path.name.replace("_real", "_mean")))
        else:
            clean = volume(path) if case.set == "volume_MNI152" else iio.imread(path)
            noisy = noised(clean, case, index)
        rms = float(np.sqrt(nlmeans.mse(clean, noisy)))
        return Pair(clean, noisy, Given(case.noise, case.sigma, case.gain, rms, axis))


def volume(path: Path) -> np.ndarray:
    """The middle of a NIfTI volume, scaled to 0-255."""
    import nibabel

    whole: Any = nibabel.load(path)
    x = np.asarray(whole.dataobj).astype(np.float32)
    x = x[tuple(slice(max(0, n // 2 - CROP // 2), n // 2 + CROP // 2) for n in x.shape)]
    return x * (WHITE / x.max())


def noised(clean: np.ndarray, case: Case, seed: int) -> np.ndarray:
    """Noisy image number `seed` of the protocol, see benchmarks/quality.py."""
    x = clean.astype(np.float64)
    if case.noise == "clean":
        return clean
    if case.modeled:
        noisy = nlmeans.add_noise(x, case.sigma, noise=case.noise, gain=case.gain, rng=seed)
        return noisy.astype(np.float32)
    noisy = x + np.random.default_rng(seed).normal(0, case.sigma, x.shape)
    return eight_bit(noisy) if case.noise == "clipped" else noisy.astype(np.float32)


def eight_bit(image: np.ndarray) -> np.ndarray:
    """Clipped and rounded."""
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
