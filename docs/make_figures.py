"""Draw the pictures of the README from the sample images: `python docs/make_figures.py`."""

from pathlib import Path

import imageio.v3 as iio
import numpy as np

import nlmeans

ROOT = Path(__file__).parents[1]


def before_after() -> None:
    """Noisy, denoised and clean, side by side."""
    clean = iio.imread(ROOT / "sample_images/coffee.png")
    noisy = iio.imread(ROOT / "sample_images/coffee_noisy.png")
    denoised, info = nlmeans.denoise(noisy, channel_axis=-1, return_info=True)
    for name, image in (("noisy", noisy), ("denoised", denoised)):
        print(f"{name}: {nlmeans.psnr(clean, image):.2f} dB")
    print(info)
    row = np.concatenate([noisy, denoised, clean], axis=1)
    iio.imwrite(ROOT / "docs/before_after.png", row)


if __name__ == "__main__":
    before_after()
