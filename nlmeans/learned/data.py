"""Training data: crops of photographs, and noise of every level.

What a step sees is a function of the seed and the step's number alone, so that training that was
interrupted goes on exactly as if it had not been.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nlmeans.denoisers.units import MIDDLE_GRAY
from nlmeans.errors import ParameterError

SCALES = (1.0, 0.9, 0.8, 0.7, 0.6)
"""Photographs are also seen smaller: finer texture, and fainter traces of their JPEG coding."""

ORIGINALS = 0.8
"""Part of the crops that are of photographs as they are: with all, a short training in color gained
0.007 dB at sigma 25 over one with half, but on photographs of that scale alone."""

HIGHEST_NOISE = 75.0
"""Largest sigma that a network is trained for, in gray levels of 255."""

USUAL_NOISE = (10.0, 55.0)
"""Range that half of all sigma are drawn from, in gray levels: those that denoising is mostly asked
for. The other half are from 0 to `HIGHEST_NOISE`."""

STRETCHED = 0.125
"""Part of the crops that are shown with less or more contrast than the photograph has."""

CONTRASTS = (0.5, 2.0)
"""Range of their contrast, as a factor. `nlmeans.denoisers.units` shows any image with the contrast
of most photographs; one that is nearly all sky then goes far beyond black and white, where a
network that had never been there made up noise of 25 sigma."""

REPEATED = 0.04
"""Part of the crops that are a few pixels of the photograph over and over, as in weaves and
halftones. Photographs have nothing as regular as a chessboard of single pixels: in that, a network
that had seen photographs only found noise of 200 sigma."""

PERIODS = (2, 8)
"""Smallest and largest period of these, in pixels."""


@dataclass(frozen=True)
class Batch:
    """What one step trains on: clean crops and noise (B, C, H, W), sigma (B, 1, 1, 1).

    Crops are from 0 to 1, and sigma in the same units, 75 gray levels being 75 / 255; the noise
    is of unit variance.
    """

    clean: np.ndarray
    noise: np.ndarray
    sigma: np.ndarray


def load_images(folder: Path, channels: int) -> list[np.ndarray]:
    """Images of a folder by name, uint8 (C, H, W): RGB, or its luma 0.299 R + 0.587 G + 0.114 B.

    Raises
    ------
    ParameterError
        If there are fewer than two.
    """
    from PIL import Image

    if not folder.is_dir():
        raise ParameterError("data", "must be a folder", str(folder))
    images = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in (".jpg", ".jpeg", ".png"):
            with Image.open(path) as file:
                pixels = np.asarray(file.convert("RGB" if channels == 3 else "L"))
            images.append(np.moveaxis(np.atleast_3d(pixels), -1, 0))
    if len(images) < 2:
        raise ParameterError("data", "must be a folder of at least two images", str(folder))
    return images


def hold_out(
    images: Sequence[np.ndarray], count: int, seed: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Split off `count` images by lot, at most half: those left, and those held out."""
    count = min(count, len(images) // 2)
    order = np.random.default_rng(seed).permutation(len(images))
    return [images[k] for k in order[count:]], [images[k] for k in order[:count]]


class Crops:
    """Random crops of images, turned and mirrored, with fresh noise.

    Parameters
    ----------
    images : sequence of ndarray
        uint8 (C, H, W).
    seed : int
        Of everything that is drawn.
    """

    def __init__(self, images: Sequence[np.ndarray], seed: int) -> None:
        self.seed = seed
        self.smallest = min(min(image.shape[1:]) for image in images)
        self.scaled = [[_shrink(image, scale) for scale in SCALES] for image in images]

    def batch(self, step: int, size: int, count: int) -> Batch:
        """`count` crops of size x size for a step; an image that is smaller is an error."""
        if size > self.smallest:
            raise ParameterError("crop", f"must fit into images of {self.smallest} pixels", size)
        rng = np.random.default_rng((self.seed, step))
        clean = np.stack([self._crop(rng, size) for _ in range(count)]).astype(np.float32) / 255
        clean = _repeated(rng, _stretched(rng, clean))
        sigma = _levels(rng, count)[:, None, None, None] / 255
        return Batch(clean, rng.standard_normal(clean.shape, np.float32), sigma)

    def _crop(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """One crop (C, size, size)."""
        versions = self.scaled[rng.integers(len(self.scaled))]
        # If not the original, then one of the smaller ones that are large enough.
        smaller = [image for image in versions[1:] if min(image.shape[1:]) >= size]
        original = rng.random() < ORIGINALS or not smaller
        image = versions[0] if original else smaller[rng.integers(len(smaller))]
        y, x = (rng.integers(extent - size + 1) for extent in image.shape[1:])
        crop = np.rot90(image[:, y : y + size, x : x + size], int(rng.integers(4)), (1, 2))
        return crop[..., ::-1] if rng.random() < 0.5 else crop


def _levels(rng: np.random.Generator, count: int) -> np.ndarray:
    """Noise levels in gray levels, float32 (count,)."""
    # The power gives low levels, which differ most from each other, more than their share: of this
    # half, half are below 30 and a fifth above 56.
    of_all = HIGHEST_NOISE * rng.random(count, np.float32) ** 1.3
    low, high = USUAL_NOISE
    usual = low + (high - low) * rng.random(count, np.float32)
    return np.where(rng.random(count, np.float32) < 0.5, usual, of_all)


def _stretched(rng: np.random.Generator, clean: np.ndarray) -> np.ndarray:
    """Crops (B, C, H, W), some of them with another contrast around `MIDDLE_GRAY`."""
    count = len(clean)
    low, high = np.log(CONTRASTS)
    contrast = np.exp(low + (high - low) * rng.random((count, 1, 1, 1), np.float32))
    other = (clean - clean.mean((1, 2, 3), keepdims=True)) * contrast + MIDDLE_GRAY
    return np.where(rng.random((count, 1, 1, 1)) < STRETCHED, other, clean).astype(np.float32)


def _repeated(rng: np.random.Generator, clean: np.ndarray) -> np.ndarray:
    """Crops (B, C, H, W), some of them replaced by a few of their pixels, repeated.

    These have a tenth to all of the range from 0 to 1.
    """
    result = clean.copy()
    for number in np.flatnonzero(rng.random(len(clean)) < REPEATED):
        crop, size = clean[number], clean.shape[-1]
        height, width = rng.integers(PERIODS[0], PERIODS[1] + 1, 2)
        y, x = rng.integers(size - height + 1), rng.integers(size - width + 1)
        motif = crop[:, y : y + height, x : x + width]
        if np.ptp(motif) > 0:
            motif = 0.5 + rng.uniform(0.1, 1) * ((motif - motif.min()) / np.ptp(motif) - 0.5)
        rows, columns = np.arange(size) % height, np.arange(size) % width
        result[number] = motif[:, rows[:, None], columns]
    return result


def _shrink(image: np.ndarray, scale: float) -> np.ndarray:
    """Resize an image (C, H, W) by area."""
    if scale == 1:
        return image
    import cv2

    size = tuple(round(extent * scale) for extent in image.shape[:0:-1])
    return np.stack([cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in image])
