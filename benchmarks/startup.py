"""Wall time of whole processes: `nlm denoise` against a script that calls OpenCV.

    python benchmarks/startup.py

On a noisy 512x512 PNG, in turn, median of 9; the kernels cached, then with an empty cache.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from skimage import data

PLAIN = """
import sys
import cv2
import imageio.v3 as iio
import numpy as np

image = iio.imread(sys.argv[1])
iio.imwrite(sys.argv[2], cv2.fastNlMeansDenoising(np.ascontiguousarray(image), None, 20, 7, 21))
"""
ROUNDS = 9


def seconds(command: list[str], cache: Path) -> float:
    began = time.perf_counter()
    environment = os.environ | {"NLMEANS_CACHE_DIR": str(cache)}
    subprocess.run(command, check=True, env=environment, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    """Print the table."""
    nlm = shutil.which("nlm", path=str(Path(sys.executable).parent)) or "nlm"
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        noise = np.random.default_rng(0).normal(0, 20, (512, 512))
        noisy = np.clip(data.camera() + noise, 0, 255).astype(np.uint8)
        iio.imwrite(here / "in.png", noisy)
        files = [str(here / "in.png"), str(here / "out.png")]
        ours, plain = [nlm, "denoise", *files, "--h", "20"], [sys.executable, "-c", PLAIN, *files]
        cold = [seconds(ours, here / f"cache{k}") for k in range(3)]
        times = [(seconds(ours, here / "cache0"), seconds(plain, here)) for _ in range(ROUNDS)]
    warm, script = (statistics.median(column) for column in zip(*times, strict=True))
    print("| process | s |\n|---|---|")
    print(f"| script with OpenCV | {script:.2f} |")
    print(f"| nlm denoise, kernels cached | {warm:.2f} |")
    print(f"| its bound, 1.2 times the script + 0.6 | {1.2 * script + 0.6:.2f} |")
    print(f"| nlm denoise, first run | {statistics.median(cold):.2f} |")


if __name__ == "__main__":
    main()
