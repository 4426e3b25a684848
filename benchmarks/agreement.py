"""Largest difference of the compiled engine from the reference, over every option of NL-means.

    python benchmarks/agreement.py

Images are floats on the scale 0-255: random ones of one to five channels, volumes, and crops of
the sample images. The promise is 1e-3 gray levels.
"""

from itertools import product
from pathlib import Path

import imageio.v3 as iio
import numpy as np

from nlmeans.affinity import PatchGaussian
from nlmeans.engines import get_engine
from nlmeans.neighborhood import Window
from nlmeans.operation import NonLocalMean

SAMPLES = Path(__file__).parents[1] / "sample_images"


def images() -> dict[str, np.ndarray]:
    """Images (*space, C) by name."""
    rng = np.random.default_rng(0)
    shapes = {"gray": (40, 37, 1), "RGB": (21, 30, 3), "5 channels": (15, 14, 5)}
    shapes |= {"volume": (7, 11, 12, 1), "volume of 2 channels": (5, 8, 9, 2), "1x1": (1, 1, 1)}
    found = {f"random, {name}": 255 * rng.random(shape) for name, shape in shapes.items()}
    found["camera"] = iio.imread(SAMPLES / "camera_noisy.png")[60:124, 90:154, np.newaxis]
    found["coffee"] = iio.imread(SAMPLES / "coffee_noisy.png")[60:108, 90:138]
    return found


def main() -> None:
    """Compare, and print the worst case of each image and dtype."""
    reference, compiled = get_engine("reference"), get_engine("numba")
    print("| image | dtype | cases | largest difference | at |\n|---|---|---|---|---|")
    for (name, image), dtype in product(images().items(), (np.float32, np.float64)):
        options = product(
            ("flat", "gaussian"),
            ("one", "max", "zero"),
            (2.0, 15.0, 60.0),
            (0.0, 15.0),
            (0, 1, 3),
            (1, 4),
        )
        worst, cases = (-1.0, ""), 0
        for kernel, center, h, sigma, patch, search in options:
            affinity = PatchGaussian(h, sigma, patch, kernel, center)
            operation = NonLocalMean(affinity, Window(search))
            x = image.astype(dtype)
            difference = compiled.average(operation, x) - reference.average(operation, x)
            setting = f"{kernel}, {center}, h {h:g}, sigma {sigma:g}, radii {patch}/{search}"
            worst = max(worst, (float(np.abs(difference).max()), setting))
            cases += 1
        print(f"| {name} | {np.dtype(dtype)} | {cases} | {worst[0]:.1e} | {worst[1]} |", flush=True)


if __name__ == "__main__":
    main()
