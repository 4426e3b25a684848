"""Agreement of `nlmeans.compat` with OpenCV and scikit-image, on the sample images.

    python benchmarks/compat.py

Differences are in 8-bit gray levels. "camera, 20" is the clean picture with noise of sigma 20. For
scikit-image, whose results are not rounded, "equal" is within a thousandth of the range, 0.255, and
slow mode runs on the middle 96x96 pixels. The row of `nlmeans.denoise` shows what the plain formula
makes without the offset and the cutoff that `nlmeans.compat` takes for OpenCV.
"""

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import cv2
import imageio.v3 as iio
import numpy as np
from skimage import restoration

import nlmeans
from nlmeans import compat

SAMPLES = Path(__file__).parents[1] / "sample_images"

Row = tuple[str, str, str, np.ndarray, np.ndarray]


def sample(name: str, sigma: float = 0) -> np.ndarray:
    """A sample image, with noise added if sigma is given."""
    image = iio.imread(SAMPLES / f"{name}.png")
    return nlmeans.add_noise(image, sigma=sigma, rng=0) if sigma else image


def moved(image: np.ndarray, frames: int) -> list[np.ndarray]:
    """A clip: the image moves by a pixel a frame, under noise of sigma 20."""
    rng = np.random.default_rng(0)
    shifted = (
        np.roll(image, k, axis=(0, 1)) + rng.normal(0, 20, image.shape) for k in range(frames)
    )
    return [np.clip(np.rint(frame), 0, 255).astype(np.uint8) for frame in shifted]


def opencv_rows() -> Iterator[Row]:
    """What the four functions make of the sample images."""

    def row(name: str, image: str, settings: str, *args: object) -> Row:
        return name, image, settings, getattr(compat, name)(*args), getattr(cv2, name)(*args)

    gray = {"camera": sample("camera"), "camera_noisy": sample("camera_noisy")}
    gray["camera, 20"] = sample("camera", 20)
    for label, image in gray.items():
        for h in (0, 3, 10, 20, 40):
            yield row("fastNlMeansDenoising", label, f"h={h}", image, None, h)
    image = gray["camera, 20"]
    plain, theirs = nlmeans.denoise(image, h=20), cv2.fastNlMeansDenoising(image, None, 20)
    yield "nlmeans.denoise", "camera, 20", "h=20", plain, theirs
    for template, search in ((3, 21), (5, 11), (6, 34)):
        settings = f"h=20, sizes {template}, {search}"
        args = (image, None, 20, template, search)
        yield row("fastNlMeansDenoising", "camera, 20", settings, *args)

    color = {"coffee": sample("coffee"), "coffee_noisy": sample("coffee_noisy")}
    for label, image in color.items():
        bgr = np.ascontiguousarray(image[..., ::-1])
        yield row("fastNlMeansDenoising", label, "h=20", bgr, None, 20)
        yield row("fastNlMeansDenoising", label, "h=[10, 20, 40]", bgr, [10, 20, 40])
        for h, h_color in ((3, 3), (10, 10), (20, 20), (20, 10)):
            settings = f"h={h}, hColor={h_color}"
            yield row("fastNlMeansDenoisingColored", label, settings, bgr, None, h, h_color)

    clip = moved(sample("camera"), 5)
    for frames in (3, 5):
        settings = f"{frames} frames, h=20"
        yield row("fastNlMeansDenoisingMulti", "camera, 20", settings, clip, 2, frames, None, 20)
    clip = moved(sample("coffee")[..., ::-1], 3)
    settings = "3 frames, h=20, hColor=20"
    yield row("fastNlMeansDenoisingColoredMulti", "coffee, 20", settings, clip, 1, 3, None, 20, 20)


def scikit_image_rows() -> Iterator[Row]:
    """What the two modes make of the sample images, times 255."""
    for name, axis in (("camera_noisy", None), ("coffee_noisy", -1)):
        image = sample(name)
        top, left = (size // 2 - 48 for size in image.shape[:2])
        middle = image[top : top + 96, left : left + 96]
        level = (10 if axis is None else 20) / 255
        for fast, size in ((False, 3), (False, 7), (True, 3), (True, 7)):
            for h, sigma in ((1.0, 0.0), (0.8 if fast else 0.6, 1.0)):
                both = [
                    255 * function(image if fast else middle, size, 11, h * level, fast,
                                   sigma * level, channel_axis=axis)
                    for function in (compat.denoise_nl_means, restoration.denoise_nl_means)
                ]  # fmt: skip
                settings = f"patch_size={size}, h={h:g} noise, sigma={'noise' if sigma else 0}"
                yield f"denoise_nl_means, {'fast' if fast else 'slow'}", name, settings, *both


def main() -> None:
    """Compare, and print a row for each case."""
    print(f"OpenCV {cv2.__version__}, scikit-image {version('scikit-image')}\n")
    print("| function | image | settings | mean | equal | within 1 | within 2 | largest |")
    print("|---|---|---|---|---|---|---|---|")
    for rows in (opencv_rows(), scikit_image_rows()):
        for name, image, settings, ours, theirs in rows:
            apart = np.abs(ours.astype(float) - theirs)
            equal = 0 if ours.dtype == np.uint8 else 0.255
            shares = [f"{100 * (apart <= most).mean():.2f} %" for most in (equal, 1, 2)]
            print(
                f"| {name} | {image} | {settings} | {apart.mean():.4f} | "
                f"{' | '.join(shares)} | {apart.max():.3g} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
