"""Peak resident memory of `nlmeans.denoise` on a large gray float32 image, in a process of its own.

python benchmarks/memory.py [--megapixels 50] [--workers 2]
"""

import argparse
import json
import subprocess
import sys

CHILD = """
import json, resource, sys, time
import numpy as np
import nlmeans
side, workers, run = map(int, sys.argv[1:])
image = np.random.default_rng(0).random((side, side), dtype=np.float32)
nlmeans.denoise(image[:64, :64], h=0.1)
began = time.perf_counter()
if run:
    nlmeans.denoise(image, h=0.1, workers=workers)
seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"image": image.nbytes, "peak": peak, "seconds": seconds}))
"""


def measure(megapixels: float, workers: int, *, run: bool) -> dict[str, float]:
    """Peak of a process that makes the image, and denoises it if it is to run."""
    side = round((megapixels * 1e6) ** 0.5)
    command = [sys.executable, "-c", CHILD, str(side), str(workers), str(int(run))]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megapixels", type=float, default=50)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    print("| process | peak, MB | times the image | s |\n|---|---|---|---|")
    for name, run in (("imports, image, kernels", False), ("the same and denoise", True)):
        found = measure(arguments.megapixels, arguments.workers, run=run)
        times = found["peak"] / found["image"]
        print(f"| {name} | {found['peak'] / 1e6:.0f} | {times:.2f} | {found['seconds']:.2f} |")


if __name__ == "__main__":
    main()
