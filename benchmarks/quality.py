"""PSNR of NL-means, ours and others', on a set of standard images with white Gaussian noise.

    python benchmarks/quality.py DATA --set Set12 --sigma 15 25 50

DATA is a folder with a folder of clean gray images for each set. The protocol of published
tables: files in order of their names; to image k the noise
`numpy.random.default_rng(k).normal(0, sigma, shape)` is added in float on the scale 0-255, neither
clipped nor rounded; the result is clipped to [0, 255] for the PSNR, without border crop; the mean
over images is given. Tools that take 8-bit images only get the noisy image clipped and rounded,
which costs them a little and is marked. Every contender is run with each of its settings below, and
the one with the best mean counts: the best that one setting for all images can do.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import imageio.v3 as iio
import numpy as np

import nlmeans

Settings = dict[str, float]


@dataclass(frozen=True)
class Contender:
    """A tool, and the settings it may choose from."""

    name: str
    run: Callable[[np.ndarray, float, Settings], np.ndarray]
    """Takes the noisy float image, sigma and one of the settings."""
    settings: tuple[Settings, ...] = ({},)
    eight_bit: bool = False


def nlm(noisy: np.ndarray, sigma: float, settings: Settings) -> np.ndarray:
    """Ours, told sigma and nothing else."""
    return nlmeans.denoise(noisy, sigma=sigma)


def opencv(noisy: np.ndarray, sigma: float, settings: Settings) -> np.ndarray:
    """OpenCV at its window sizes 7 and 21; h is a multiple of sigma."""
    import cv2

    return cv2.fastNlMeansDenoising(noisy, None, settings["h/sigma"] * sigma, 7, 21)


def scikit_image(noisy: np.ndarray, sigma: float, settings: Settings) -> np.ndarray:
    """Run scikit-image's fast mode, told sigma, over the same 21x21 window."""
    from skimage.restoration import denoise_nl_means

    return denoise_nl_means(
        noisy,
        patch_size=int(settings["patch"]),
        patch_distance=10,
        h=settings["h/sigma"] * sigma,
        sigma=sigma,
        fast_mode=True,
        preserve_range=True,
    )


def grid(**choices: tuple[float, ...]) -> tuple[Settings, ...]:
    """Every combination of the choices."""
    settings: tuple[Settings, ...] = ({},)
    for name, values in choices.items():
        settings = tuple({**one, name: value} for one in settings for value in values)
    return settings


CONTENDERS = (
    Contender("nlmeans nlm", nlm),
    Contender("OpenCV", opencv, grid(**{"h/sigma": (0.8, 0.9, 1.0, 1.1, 1.2)}), eight_bit=True),
    Contender(
        "scikit-image", scikit_image, grid(patch=(5, 7), **{"h/sigma": (0.5, 0.6, 0.7, 0.8)})
    ),
)


@dataclass(frozen=True)
class Row:
    """The best of one contender at one noise level."""

    set: str
    sigma: float
    contender: str
    settings: Settings
    psnr: float
    seconds: float


def noisy_images(images: list[np.ndarray], sigma: float) -> Iterator[np.ndarray]:
    """Yield the noisy images of the protocol."""
    for k, clean in enumerate(images):
        noise = np.random.default_rng(k).normal(0, sigma, clean.shape)
        yield (clean + noise).astype(np.float32)


def best(contender: Contender, name: str, images: list[np.ndarray], sigma: float) -> Row:
    """Run a contender with each of its settings over a set."""
    rows = []
    for settings in contender.settings:
        values, seconds = [], 0.0
        for clean, noisy in zip(images, noisy_images(images, sigma), strict=True):
            given = (
                np.clip(np.rint(noisy), 0, 255).astype(np.uint8) if contender.eight_bit else noisy
            )
            start = time.perf_counter()
            result = contender.run(given, sigma, settings)
            seconds += time.perf_counter() - start
            result = np.clip(result.astype(np.float64), 0, 255)
            values.append(nlmeans.psnr(clean, result, data_range=255))
        rows.append(Row(name, sigma, contender.name, settings, float(np.mean(values)), seconds))
    return max(rows, key=lambda row: row.psnr)


def table(rows: list[Row]) -> str:
    """Render Markdown: a line for each contender, a column for each noise level."""
    sigmas = sorted({row.sigma for row in rows})
    lines = [f"| {rows[0].set}, PSNR in dB | " + " | ".join(f"{s:g}" for s in sigmas) + " |"]
    lines.append("|---" * (len(sigmas) + 1) + "|")
    for contender in CONTENDERS:
        cells = []
        for sigma in sigmas:
            row = next(r for r in rows if (r.contender, r.sigma) == (contender.name, sigma))
            chosen = ", ".join(f"{name} {value:g}" for name, value in row.settings.items())
            cells.append(f"{row.psnr:.2f}" + (f" ({chosen})" if chosen else ""))
        note = " (8-bit input)" if contender.eight_bit else ""
        lines.append(f"| {contender.name}{note} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the sets")
    parser.add_argument("--set", default="Set12", help="name of a set of gray images")
    parser.add_argument("--sigma", type=float, nargs="+", default=[15, 25, 50])
    parser.add_argument("--json", type=Path, help="write the rows to this file, too")
    arguments = parser.parse_args()
    paths = sorted((arguments.data / arguments.set).glob("*.png"))
    if not paths:
        parser.error(f"no PNG images in {arguments.data / arguments.set}")
    images = [iio.imread(path).astype(np.float64) for path in paths]
    rows = [best(c, arguments.set, images, s) for s in arguments.sigma for c in CONTENDERS]
    print(table(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


if __name__ == "__main__":
    main()
