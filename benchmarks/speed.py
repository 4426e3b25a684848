"""Speed of nlmeans beside OpenCV, scikit-image and dipy, in one process, in turn.

    python benchmarks/speed.py [--volume brain.nii.gz]

Gray and RGB, 8-bit and float32, 0.25 to 16 MP, patch 7x7, window 21x21, h = 20, on one thread and
on all. The pictures are the sample images mirrored to size, with white Gaussian noise of sigma 20
(seed 0), clipped and rounded; float32 is the same without clipping and rounding. OpenCV takes
8-bit images only and gets the 8-bit one in every case. scikit-image has one thread, and is timed
up to 1 MP. After an untimed run of each, contenders take turns; ratios are taken round by round.

The volume gets noise of sigma 15; patch 3x3x3, window 11x11x11. Each tool gets the best of a few h
(of sigma for dipy) by PSNR on a crop, on which the slower two are timed, too; nlmeans has its rule.

Writes speed.json after each case, then speed.md and speed.png, into benchmarks/results.
Needs matplotlib, and dipy and nibabel for the volume: `pip install --group bench`.
"""

import argparse
import json
import os
import platform
import statistics
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import imageio.v3 as iio
import numpy as np
from render import markdown
from skimage.restoration import denoise_nl_means

import nlmeans
from nlmeans.denoisers.base import Preset
from nlmeans.engines.jit import inline
from nlmeans.engines.lanes import LANES, load, store
from nlmeans.engines.layout import aligned
from nlmeans.timing import interleaved

ROOT = Path(__file__).parents[1]
SIZES = {0.25: 512, 1: 1024, 4: 2048, 16: 4096}
H = SIGMA = 20
PAIRS = 220
"""Displacements of half a 21x21 window."""

# Vector operations for a pixel and displacement of patch 7 in float32, each of LANES numbers.
# Additions: differences 14/8 (14 rows for 8 patches), column sums 18/8, row sums 18/8, in the
# weight 5 (offset, two comparisons, conversion, fraction), at both ends 2 (difference, weight).
ADDITIONS = 14 / 8 + 18 / 8 + 18 / 8 + 5 + 2 * 2
# Multiplications, fused with an addition where one follows: squares 14/8, scale, polynomial 5, at
# both ends 1.
MULTIPLICATIONS = 14 / 8 + 1 + 5 + 2


def picture(kind: str, dtype: str, megapixels: float) -> np.ndarray:
    """A noisy picture of a sample image, mirrored to size."""
    name = {"gray": "camera", "RGB": "coffee"}[kind]
    clean = iio.imread(ROOT / "sample_images" / f"{name}.png").astype(np.float32)
    side = SIZES[megapixels]
    margin = [(0, side - n) for n in clean.shape[:2]] + [(0, 0)] * (clean.ndim - 2)
    clean = np.pad(clean, margin, "symmetric")
    noisy = nlmeans.add_noise(clean, sigma=SIGMA, rng=0).astype(np.float32)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8) if dtype == "uint8" else noisy


def contenders(
    kind: str, dtype: str, megapixels: float, threads: int
) -> dict[str, Callable[[], Any]]:
    """What runs on one case, by name."""
    image, eight = picture(kind, dtype, megapixels), picture(kind, "uint8", megapixels)
    axis = -1 if kind == "RGB" else None
    cv2.setNumThreads(threads)
    options: dict[str, Any] = {"h": H, "channel_axis": axis, "workers": threads}
    found: dict[str, Callable[[], Any]] = {
        "nlmeans": lambda: nlmeans.denoise(image, preset="fast", **options),
        "nlmeans, center max": lambda: nlmeans.denoise(image, center="max", **options),
    }
    if kind == "gray":
        found["OpenCV"] = lambda: cv2.fastNlMeansDenoising(eight, None, H, 7, 21)
    else:
        found["OpenCV"] = lambda: cv2.fastNlMeansDenoisingColored(eight, None, H, H, 7, 21)
    if megapixels <= 1 and threads == 1:
        scaled = image.astype(np.float32)
        found["scikit-image"] = lambda: denoise_nl_means(
            scaled, patch_size=7, patch_distance=10, h=H, fast_mode=True, channel_axis=axis
        )
    return found


def time_case(
    kind: str, dtype: str, megapixels: float, threads: int, rounds: int
) -> dict[str, Any]:
    """Time one case; scikit-image, which takes seconds, twice."""
    found = contenders(kind, dtype, megapixels, threads)
    slow = {name: found.pop(name) for name in ("scikit-image",) if name in found}
    count = rounds if megapixels <= 1 else max(2, rounds // 2)
    seconds = interleaved(found, count)
    if slow:
        with_ours = interleaved({"nlmeans": found["nlmeans"], **slow}, 2)
        seconds["scikit-image"] = with_ours["scikit-image"]
    case = {"kind": kind, "dtype": dtype, "megapixels": megapixels, "threads": threads}
    return case | {"seconds": seconds}


def brain(path: str | None) -> np.ndarray:
    """The volume of a NIfTI or npy file, or balls of several levels."""
    if path is None:
        rng, grid = np.random.default_rng(0), np.indices((64, 96, 96))
        volume = np.zeros((64, 96, 96), np.float32)
        for _ in range(60):
            middle = (rng.random(3) * volume.shape).reshape(3, 1, 1, 1)
            volume[((grid - middle) ** 2).sum(0) < rng.uniform(4, 20) ** 2] = rng.uniform(0, 255)
        return volume
    if path.endswith(".npy"):
        return np.load(path).astype(np.float32)
    import nibabel

    return np.asarray(nibabel.load(path).dataobj).astype(np.float32)


def time_volume(path: str | None, threads: int, rounds: int) -> dict[str, Any]:
    """Speed per voxel and PSNR (range 255) of each tool on a noisy volume, sigma 15 given."""
    import dipy.denoise.nlmeans

    clean, sigma = brain(path), 15
    noisy = nlmeans.add_noise(clean, sigma=sigma, rng=0).astype(np.float32)
    middle = tuple(slice(n // 2 - min(n, 72) // 2, n // 2 + min(n, 72) // 2) for n in clean.shape)
    part, clean_part = noisy[middle].copy(), clean[middle]

    def ours(x: np.ndarray, preset: Preset) -> np.ndarray:
        sizes = {"patch_radius": 1, "search_radius": 5}
        return nlmeans.denoise(x, sigma=sigma, preset=preset, workers=threads, **sizes)

    def skimage(x: np.ndarray, h: float) -> np.ndarray:
        return denoise_nl_means(x, patch_size=3, patch_distance=5, h=h, sigma=sigma, fast_mode=True)

    def dipys(x: np.ndarray, given: float, method: str) -> np.ndarray:
        return dipy.denoise.nlmeans.nlmeans(
            x.astype(np.float64), sigma=given, patch_radius=1, block_radius=5, rician=False,
            num_threads=threads, method=method,
        )  # fmt: skip

    def quality(result: np.ndarray, reference: np.ndarray) -> float:
        return float(nlmeans.psnr(reference, result.astype(np.float32), data_range=255))

    tools: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "nlmeans": lambda x: ours(x, "fast"),
        "nlmeans, whole patches": lambda x: ours(x, "balanced"),
    }
    chosen = dict.fromkeys(tools, "h by rule")
    grids: dict[str, tuple[Callable[..., np.ndarray], str]] = {
        "scikit-image": (skimage, "h"),
        "dipy classic": (lambda x, s: dipys(x, s, "classic"), "sigma"),
        "dipy blockwise": (lambda x, s: dipys(x, s, "blockwise"), "sigma"),
    }
    for name, (run, parameter) in grids.items():
        ratios = (0.3, 0.4, 0.5, 0.7) if parameter == "h" else (0.6, 0.7, 0.8, 0.9, 1.0)
        found = {k: quality(run(part, k * sigma), clean_part) for k in ratios}
        best = max(found, key=found.__getitem__)
        chosen[name] = f"{parameter} = {best} sigma"
        tools[name] = lambda x, run=run, k=best: run(x, k * sigma)
    on_part = {name: (lambda run=run: run(part)) for name, run in tools.items()}
    seconds = interleaved(on_part, rounds)
    whole = interleaved({"nlmeans": lambda: ours(noisy, "fast")}, rounds)["nlmeans"]
    return {
        "shape": clean.shape, "crop": part.shape, "threads": threads, "settings": chosen,
        "seconds": seconds, "seconds_whole": whole,
        "psnr": {name: quality(run(part), clean_part) for name, run in tools.items()},
        "psnr_noisy": quality(part, clean_part),
        "psnr_whole": {
            "nlmeans": quality(ours(noisy, "fast"), clean), "noisy": quality(noisy, clean),
        },
    }  # fmt: skip


@inline
def _chains(numbers, n):
    """8 independent chains of additions, and 8 of fused multiplications and additions."""
    a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = load(numbers, 0)
    m0 = m1 = m2 = m3 = m4 = m5 = m6 = m7 = load(numbers, 0)
    x = load(numbers, LANES)
    for _ in range(n):
        a0, a1, a2, a3 = a0 + x, a1 + x, a2 + x, a3 + x
        a4, a5, a6, a7 = a4 + x, a5 + x, a6 + x, a7 + x
        m0, m1, m2, m3 = m0 * x + x, m1 * x + x, m2 * x + x, m3 * x + x
        m4, m5, m6, m7 = m4 * x + x, m5 * x + x, m6 * x + x, m7 * x + x
    total = a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7 + m0 + m1 + m2 + m3 + m4 + m5 + m6 + m7
    store(numbers, 2 * LANES, total)


def roofline(cases: list[dict[str, Any]]) -> dict[str, float]:
    """Fraction of the time of 1 MP, gray, float32, one thread that the arithmetic alone needs."""
    count = 1_000_000
    numbers = aligned(3 * LANES)
    numbers[LANES : 2 * LANES] = 0.5
    least = min(interleaved({"peak": lambda: _chains(numbers, count)}, 9)["peak"])
    rate = 16 * count / least
    vectors = 1024**2 * PAIRS / LANES
    case = next(
        c for c in cases
        if (c["kind"], c["dtype"], c["megapixels"], c["threads"]) == ("gray", "float32", 1, 1)
    )  # fmt: skip
    taken = statistics.median(case["seconds"]["nlmeans"])
    needed = vectors * (ADDITIONS + MULTIPLICATIONS) / rate
    return {
        "vector_operations_per_second": rate,
        "operations_per_pair": ADDITIONS + MULTIPLICATIONS,
        "needed_seconds": needed,
        "taken_seconds": taken,
        "fraction": needed / taken,
    }


def machine() -> dict[str, Any]:
    """What it ran on."""
    model = platform.processor()
    if os.path.exists("/proc/cpuinfo"):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), model)
    packages = ("nlmeans", "numpy", "numba", "opencv-python", "scikit-image")
    return {
        "processor": model,
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
        "date": date.today().isoformat(),
    }


def plot(results: dict[str, Any], path: Path) -> None:
    """Megapixels a second against size, 8-bit gray and RGB, one thread and all."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    for axis, kind in zip(axes, ("gray", "RGB"), strict=True):
        lines: dict[str, list[tuple[float, float]]] = {}
        for case in results["cases"]:
            if (case["kind"], case["dtype"]) == (kind, "uint8"):
                for name, seconds in case["seconds"].items():
                    label = f"{name}, {case['threads']} thread{'s' * (case['threads'] > 1)}"
                    speed = SIZES[case["megapixels"]] ** 2 / 1e6 / statistics.median(seconds)
                    lines.setdefault(label, []).append((case["megapixels"], speed))
        for label, points in lines.items():
            style = "-" if label.startswith("nlmeans") else "--"
            axis.loglog(*zip(*sorted(points), strict=True), style, marker="o", label=label)
        axis.set(title=f"{kind}, uint8, patch 7x7, window 21x21", xlabel="megapixels")
        axis.grid(alpha=0.3, which="both")
        axis.legend(fontsize=7)
    axes[0].set_ylabel("megapixels a second")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Run, save after each case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="gray,RGB,volume", help="kinds, with commas")
    parser.add_argument("--sizes", default="0.25,1,4,16", help="megapixels, with commas")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--volume", help="a NIfTI or npy file; default: synthetic")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    kinds = arguments.only.split(",")
    sizes = [float(size) for size in arguments.sizes.split(",")]
    threads = sorted({1, os.cpu_count() or 1})
    results: dict[str, Any] = {"machine": machine(), "rounds": arguments.rounds, "cases": []}

    def save() -> None:
        text = json.dumps(results, indent=1)
        (arguments.output / "speed.json").write_text(text + "\n")

    for kind, size, dtype, count in product(
        [k for k in kinds if k != "volume"], sizes, ("uint8", "float32"), threads
    ):
        results["cases"].append(time_case(kind, dtype, size, count, arguments.rounds))
        save()
        medians = {k: statistics.median(v) for k, v in results["cases"][-1]["seconds"].items()}
        print(kind, size, dtype, count, {k: round(v, 4) for k, v in medians.items()}, flush=True)
    if "gray" in kinds and 1 in sizes:
        results["roofline"] = roofline(results["cases"])
    if "volume" in kinds:
        results["volume"] = time_volume(arguments.volume, threads[-1], 3)
    save()
    (arguments.output / "speed.md").write_text(markdown(results))
    if results["cases"]:
        plot(results, arguments.output / "speed.png")
    print(markdown(results))


if __name__ == "__main__":
    main()
