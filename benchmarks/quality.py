"""Quality and speed of nlmeans beside other tools, on sets of standard images.

    python benchmarks/quality.py DATA                       # all but BM3D
    python benchmarks/quality.py DATA --contender BM3D --set Set12 --sigma 25
    python benchmarks/quality.py DATA --noise real --redo "nlm default"

DATA is a folder with a folder of images for each set. Every row is written when it is done, and
rows that the file has are skipped, so that a run may be cut off and go on. --redo names contenders
whose rows are dropped and measured again; to go on with that, leave it out. Then
`python benchmarks/render.py` puts the tables into README.md, and
`python benchmarks/quality_plot.py` draws. Volumes need nibabel, `pip install --group bench`, the
trained network ONNX Runtime, `pip install ".[learned]"`. BM3D,
`pip install --group bench-bm3d`, is free for non-commercial use only: it is no dependency of
nlmeans, and is imported only if it is asked for.

The protocol of published tables: files in order of their names; to image k the noise
`numpy.random.default_rng(k).normal(0, sigma, shape)` is added in float on the scale 0-255, neither
clipped nor rounded ("awgn"), or clipped and rounded ("clipped"); the PSNR is that of the result
clipped to [0, 255], without border crop; SSIM is `nlmeans.ssim`; both are means over images. Tools
that take 8-bit images only get the noisy image clipped and rounded, and the table says so.

Where a tool has to be told more than sigma, it gets the setting of a grid with the best mean PSNR:
the best that one setting for all images can do. It is chosen on 12 images, spread evenly over a set
that has more, but on all for OpenCV on real noise. nlmeans has its own rules.

Other kinds: "real", pairs of a camera's JPEG and the mean of many; "clean", where the PSNR is that
of the result to the input, and an unchanged image counts as 100 dB; models of noise from
`nlmeans.add_noise(clean, rng=k)`, white being `peak` counts for Poisson noise, with sigma 25.5 for
"poisson-gaussian", speckle with a relative sigma. There a method is told the model, or "gaussian"
with the best of 5 multiples of the rms noise of each image. A volume is its middle 96 voxels a
side; patch 3x3x3, window 11x11x11 for all.

The speed is the median over images of megapixels a second of the call alone, with 2 threads, after
a run on a corner of the first image; the least time of up to three runs of a fast one.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from cases import NOISES, SETS, Case, Images, Pair, eight_bit
from contenders import NAMES, NOISY, Contender, Settings, contenders
from speed import machine

import nlmeans
from nlmeans.files.atomic import replace_file

ROOT = Path(__file__).parents[1]
TRIED = 12
"""Images of a set that settings are chosen on."""
ENOUGH = 0.3
"""Seconds after which a run is not repeated."""
UNCHANGED = 100.0
"""PSNR in dB of equal images, in a mean."""

Row = dict[str, Any]


def call(contender: Contender, pair: Pair, settings: Settings) -> Callable[[], np.ndarray]:
    """What is timed: a contender on an image, in the form it takes."""
    noisy = eight_bit(pair.noisy) if contender.eight_bit else pair.noisy
    return lambda: contender.run(noisy, pair.given, settings)


def timed(run: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    """Result and seconds, the least of up to three runs."""
    times: list[float] = []
    while len(times) < 3 and sum(times) < ENOUGH:
        began = time.perf_counter()
        result = run()
        times.append(time.perf_counter() - began)
    return result, min(times)


def clipped(result: np.ndarray) -> np.ndarray:
    return np.clip(result.astype(np.float64), 0, 255)


def psnr(pair: Pair, result: np.ndarray) -> float:
    return min(nlmeans.psnr(pair.clean, clipped(result), data_range=255), UNCHANGED)


def chosen(contender: Contender, images: Images) -> Settings:
    """The settings with the best mean PSNR; of equal ones the first."""
    if len(contender.settings) == 1:
        return contender.settings[0]
    count = len(images) if contender.try_all else min(TRIED, len(images))
    tried = [k * len(images) // count for k in range(count)]
    total = dict.fromkeys(range(len(contender.settings)), 0.0)
    for index in tried:
        pair = images[index]
        for number, settings in enumerate(contender.settings):
            total[number] += psnr(pair, call(contender, pair, settings)())
    return contender.settings[max(total, key=total.__getitem__)]


def corner(pair: Pair) -> Pair:
    """A small part of an image, to run before the clock does; all of a few channels."""
    part = (slice(64),) * pair.clean.ndim
    return pair._replace(clean=pair.clean[part], noisy=np.ascontiguousarray(pair.noisy[part]))


def measured(contender: Contender, images: Images) -> Row:
    """Run a contender at its best settings over all images."""
    call(contender, corner(images[0]), contender.settings[0])()
    settings = chosen(contender, images)
    values, similarities, speeds = [], [], []
    for index in range(len(images)):
        pair = images[index]
        result, seconds = timed(call(contender, pair, settings))
        axis = pair.given.axis
        pixels = pair.clean.size / (1 if axis is None else pair.clean.shape[axis])
        speeds.append(pixels / 1e6 / seconds)
        values.append(psnr(pair, result))
        clean = pair.clean.astype(np.float64)
        similarity = nlmeans.ssim(clean, clipped(result), channel_axis=axis, data_range=255)
        similarities.append(similarity)
    case = images.case
    return {
        "set": case.set, "noise": case.noise, "sigma": case.sigma, "peak": case.peak,
        "contender": contender.name, "settings": settings, "blind": contender.blind,
        "eight_bit": contender.eight_bit and case.noise == "awgn", "images": len(images),
        "psnr": round(statistics.fmean(values), 4), "psnr_least": round(min(values), 4),
        "ssim": round(statistics.fmean(similarities), 5),
        "mp_per_s": None if contender is NOISY else float(f"{statistics.median(speeds):.4g}"),
        "versions": versions(contender.package),
    }  # fmt: skip


@cache
def versions(package: str) -> dict[str, str]:
    return {name: version(name) for name in dict.fromkeys(("nlmeans", "numpy", package))}


def key(row: Row) -> tuple[Any, ...]:
    """What tells rows of one file apart."""
    return tuple(row[name] for name in ("set", "noise", "sigma", "peak", "contender"))


class Results:
    """The rows of a JSON file, which is rewritten with each new one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        found = json.loads(path.read_text())["rows"] if path.exists() else []
        self.rows: dict[tuple[Any, ...], Row] = {key(row): row for row in found}

    def has(self, case: Case, contender: Contender, count: int) -> bool:
        """Whether this is done, on as many images."""
        row = self.rows.get((case.set, case.noise, case.sigma, case.peak, contender.name))
        return row is not None and row["images"] == count

    def drop(self, case: Case, contender: Contender) -> None:
        """Forget a row; the file has it until the next is added."""
        self.rows.pop((case.set, case.noise, case.sigma, case.peak, contender.name), None)

    def add(self, row: Row) -> None:
        """Put a row in its place, and write all; a file is never half written."""
        self.rows[key(row)] = row
        rows = sorted(self.rows.values(), key=lambda row: json.dumps(key(row)))
        lines = ",\n".join("  " + json.dumps(row) for row in rows)
        head = json.dumps(machine())
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = f'{{\n "machine": {head},\n "rows": [\n{lines}\n ]\n}}\n'
        replace_file(str(self.path), text.encode())


def cases(arguments: argparse.Namespace) -> Iterator[Case]:
    """What is asked for."""
    for noise in arguments.noise:
        kind = NOISES[noise]
        levels = arguments.sigma if arguments.sigma and kind.unit else kind.levels
        for name in kind.sets:
            if name in arguments.set:
                yield from (Case(name, noise, level) for level in levels)


def run(arguments: argparse.Namespace) -> None:
    """Measure whatever is asked for and not done yet."""
    results = Results(arguments.json)
    names = arguments.contender or arguments.redo
    todo = [
        (case, contender)
        for case in cases(arguments)
        for contender in contenders(case)
        if (contender.name in names if names else not contender.optional)
    ]
    for case, contender in todo:
        if contender.name in arguments.redo:
            results.drop(case, contender)
    for case, contender in todo:
        images = Images(case, arguments.data, arguments.images)
        if results.has(case, contender, len(images)):
            continue
        began = time.perf_counter()
        row = measured(contender, images)
        results.add(row)
        print(
            f"{case.set} {case.noise} {case.level or ''} {contender.name} {row['settings']}: "
            f"{row['psnr']:.2f} dB, {row['ssim']:.4f}, {row['mp_per_s']} MP/s; "
            f"{time.perf_counter() - began:.0f} s",
            flush=True,
        )


def main(words: list[str] | None = None) -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the sets")
    parser.add_argument("--set", nargs="+", default=SETS, choices=SETS, metavar="SET")
    parser.add_argument(
        "--noise", nargs="+", default=NOISES, choices=NOISES, metavar="KIND", help=", ".join(NOISES)
    )
    parser.add_argument(
        "--sigma",
        type=float,
        nargs="+",
        help="levels of a kind of noise in the place of its own: sigmas or peaks",
    )
    parser.add_argument(
        "--contender", nargs="+", default=[], choices=NAMES, metavar="NAME", help="these only"
    )
    parser.add_argument(
        "--redo", nargs="+", default=[], choices=NAMES, metavar="NAME", help="these only, again"
    )
    parser.add_argument("--images", type=int, help="the first of each set only, for a try")
    default = ROOT / "benchmarks" / "results" / "quality.json"
    parser.add_argument("--json", type=Path, default=default)
    run(parser.parse_args(words))


if __name__ == "__main__":
    main()
