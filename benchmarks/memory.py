"""Peak resident memory of `nlmeans.denoise` on a large float32 image, in a process of its own.

    python benchmarks/memory.py [--megapixels 50] [--workers 2] [--method nlm] [--channels 1]

The image is denoised twice: what a runtime keeps from the first time may add to the second.
"""

import argparse
import json
import subprocess
import sys

CHILD = """
import json, resource, sys, time
import numpy as np
import nlmeans
side, workers, runs, channels = map(int, sys.argv[1:5])
given = {"method": sys.argv[5], "channel_axis": -1}
given |= {"h": 0.1} if given["method"] == "nlm" else {"sigma": 0.1}
image = np.random.default_rng(0).random((side, side, channels), dtype=np.float32)
nlmeans.denoise(image[:64, :64], **given)
began = time.perf_counter()
for _ in range(runs):
    nlmeans.denoise(image, workers=workers, **given)
seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"image": image.nbytes, "peak": peak, "seconds": seconds}))
"""


def measure(runs: int, arguments: argparse.Namespace) -> dict[str, float]:
    """Peak of a process that makes the image, and denoises it so many times."""
    side = round((arguments.megapixels * 1e6) ** 0.5)
    numbers = map(str, (side, arguments.workers, runs, arguments.channels))
    command = [sys.executable, "-c", CHILD, *numbers, arguments.method]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megapixels", type=float, default=50)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--method", default="nlm", choices=("nlm", "ridge", "learned"))
    parser.add_argument("--channels", type=int, default=1)
    arguments = parser.parse_args()
    print("| process | peak, MB | times the image | s in all |\n|---|---|---|---|")
    for name, runs in (("imports, image, kernels", 0), ("once", 1), ("twice", 2)):
        found = measure(runs, arguments)
        times = found["peak"] / found["image"]
        print(f"| {name} | {found['peak'] / 1e6:.0f} | {times:.2f} | {found['seconds']:.2f} |")


if __name__ == "__main__":
    main()
