"""What the non-local block is worth: short trainings of equal cost, with and without it.

    python benchmarks/ablations.py DATA --out DIR [--minutes 5] [--only NAME ...]

DATA is a folder with BSDS500_train431, to train on, and Set12. Every variant of the network gets
as many minutes of processor time, as many threads, crops and seeds; the learning rate goes to 0
over the second half of them. Steps are as many as fit in, so that a variant that takes longer for
a step gets fewer. DIR keeps checkpoints, so that a run may be cut off and go on; done variants
are skipped. `python benchmarks/render.py` puts the table into README.md.
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cases import Case, Images

import nlmeans
from nlmeans.learned.data import Crops, hold_out, load_images
from nlmeans.learned.network import Shape
from nlmeans.learned.schedule import Schedule
from nlmeans.learned.train import HELD_OUT
from nlmeans.learned.training import Recipe, Training, read_checkpoint

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "ablations.json"
VARIANTS: dict[str, dict[str, Any]] = {
    "no block": {"pairwise": "none"},
    "distance, 16 x 16": {},
    "distance, one bandwidth": {"bandwidth": False},
    "Gaussian": {"pairwise": "gaussian"},
    "embedded Gaussian": {"pairwise": "embedded_gaussian"},
    "dot product": {"pairwise": "dot_product"},
    "concatenation": {"pairwise": "concatenation"},
    "distance, 8 x 8": {"halo": 0},
    "distance, 24 x 24": {"halo": 8},
}
"""Changes of the network's shape, by their names in the table; sides of the window in positions."""

SIGMAS = (15.0, 25.0, 50.0)
BARBARA = "09.png"
THREADS = 2
TIMED = 12
"""Steps that a step's cost is measured by, the median of them, after as many."""


def cost_of_a_step(training: Training, crops: Crops) -> float:
    """Seconds of processor time."""
    costs = []
    for _ in range(2 * TIMED):
        began = time.process_time()
        training.advance(crops)
        costs.append(time.process_time() - began)
    return statistics.median(costs[TIMED:])


def trained(changes: dict[str, Any], crops: Crops, seconds: float, checkpoint: Path) -> Training:
    """A variant after its time, from its checkpoint if there is one."""

    def new() -> Training:
        recipe = Recipe(rate=1e-3)
        return Training(Shape(**changes), recipe, threads=THREADS, bfloat16=True)

    training = new()
    if checkpoint.exists():
        training.load(read_checkpoint(checkpoint))
    else:
        steps = int(seconds / cost_of_a_step(new(), crops))
        training.schedule = Schedule(
            warmup=min(500, steps // 10), decay_from=steps // 2, decay_steps=steps - steps // 2
        )
    saved = time.monotonic()
    while not training.schedule.finished(training.step):
        training.advance(crops)
        if time.monotonic() - saved > 60 or training.schedule.finished(training.step):
            training.save(checkpoint)
            saved = time.monotonic()
    return training


def psnr(training: Training, images: Images) -> list[float]:
    """PSNR in dB of every image, cut to a multiple of the blocks."""
    found = []
    net = training.average
    for pair in images:
        height, width = (n // 16 * 16 for n in pair.clean.shape)
        clean, noisy = (x[:height, :width].astype(np.float32) for x in (pair.clean, pair.noisy))
        y = torch.from_numpy(noisy / 255)[None, None]
        with torch.no_grad():
            x = net(y, torch.full_like(y, (pair.given.sigma or 0) / 255))[0, 0].numpy()
        found.append(nlmeans.psnr(clean, np.clip(255 * x, 0, 255), data_range=255))
    return found


def measured(name: str, crops: Crops, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train and try a variant."""
    checkpoint = arguments.out / f"{name.replace(' ', '-')}-{arguments.minutes:g}.pt"
    training = trained(VARIANTS[name], crops, 60 * arguments.minutes, checkpoint)
    values: dict[str, float] = {}
    for sigma in SIGMAS:
        images = Images(Case("Set12", "awgn", sigma), arguments.data)
        single = psnr(training, images)
        values[f"Set12 {sigma:g}"] = round(statistics.fmean(single), 4)
        if sigma == 25:
            number = [path.name for path in images.paths].index(BARBARA)
            values["Barbara 25"] = round(single[number], 4)
    weights = sum(weight.numel() for weight in training.net.parameters())
    return {
        "variant": name, "weights": weights, "steps": training.step,
        "minutes": arguments.minutes, "psnr": values,
    }  # fmt: skip


def main() -> None:
    """Train what is not done yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the sets")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints")
    parser.add_argument("--minutes", type=float, default=5, help="of processor time")
    parser.add_argument("--only", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--json", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = json.loads(arguments.json.read_text())["rows"] if arguments.json.exists() else []
    done = {row["variant"]: row for row in rows}
    seen, _ = hold_out(load_images(arguments.data / "BSDS500_train431", 1), HELD_OUT, seed=0)
    crops = Crops(seen, seed=0)
    for name in arguments.only:
        if name in done and done[name]["minutes"] == arguments.minutes:
            continue
        done[name] = measured(name, crops, arguments)
        print(done[name], flush=True)
        kept = [done[variant] for variant in VARIANTS if variant in done]
        new = arguments.json.with_name(arguments.json.name + ".new")
        new.write_text(json.dumps({"rows": kept}, indent=1) + "\n")
        os.replace(new, arguments.json)


if __name__ == "__main__":
    main()
