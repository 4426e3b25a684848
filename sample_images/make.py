"""Make the sample images from images that scikit-image ships.

    python sample_images/make.py

Writes clean and noisy PNG files beside itself. The noise is white and Gaussian, seeded, added in
float and then rounded and clipped to the depth of the file, as a camera would. README.md lists
the sources and their licences.
"""

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import skimage.data
from skimage.transform import downscale_local_mean

import nlmeans
from nlmeans.dtypes import from_float

HERE = Path(__file__).parent


def halved(image: np.ndarray) -> np.ndarray:
    """Average 2x2 pixels, which keeps the files small and lowers the sources' own noise."""
    factors = (2, 2) if image.ndim == 2 else (2, 2, 1)
    return downscale_local_mean(image.astype(np.float64), factors)


def save(name: str, image: np.ndarray) -> None:
    """Write a PNG."""
    iio.imwrite(HERE / f"{name}.png", image)
    print(f"{name}.png {image.dtype} {image.shape}")


def main() -> None:
    """Make every sample."""
    gray = from_float(halved(skimage.data.camera()), np.dtype(np.uint8))
    save("camera", gray)
    save("camera_noisy", nlmeans.add_noise(gray, 10, rng=1))

    color = from_float(halved(skimage.data.coffee()), np.dtype(np.uint8))
    save("coffee", color)
    save("coffee_noisy", nlmeans.add_noise(color, 20, rng=2))

    # The mean of 2x2 values of 8 bits has 10 bits, so the 16-bit file is no mere copy.
    deep = from_float(257 * halved(skimage.data.cell()), np.dtype(np.uint16))
    save("cell16", deep)
    save("cell16_noisy", nlmeans.add_noise(deep, 257 * 8, rng=3))


if __name__ == "__main__":
    main()
