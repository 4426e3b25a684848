"""What the non-local block is worth: short trainings of equal cost, with and without it.

    python benchmarks/ablations.py DATA --out DIR [--minutes 5] [--only NAME ...] [--seed 0]

DATA is a folder with BSDS500_train431, to train on, and Set12. Every variant of the network gets
as many minutes of processor time, as many threads, crops and seeds; the learning rate goes to 0
over the second half of them. Steps are as many as fit in, so that a variant that takes longer for
a step gets fewer; what a step takes is measured once, for all variants side by side, before any is
trained. DIR keeps that and checkpoints, so that a run may be cut off and go on; done variants are
skipped. `python benchmarks/render.py` puts the table into README.md.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cases import Case, Images

import nlmeans
from nlmeans.files.atomic import replace_file
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
ROUNDS = 20
"""Steps of each variant that a step's cost is the median of, after a fourth as many."""


def new_training(name: str, seed: int) -> Training:
    recipe = Recipe(rate=1e-3, seed=seed)
    return Training(Shape(**VARIANTS[name]), recipe, threads=THREADS, bfloat16=True)


def measured_costs(crops: Crops) -> dict[str, float]:
    """Seconds of processor time of a step of each variant, in turns, a step of each a round.

    With each measured at the start of its own training, the first came out 29 % too dear, and got
    no more steps than a variant that takes 1.4 times as long for one.
    """
    trainings = {name: new_training(name, crops.seed) for name in VARIANTS}
    costs: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for number in range(ROUNDS + ROUNDS // 4):
        for name, training in trainings.items():
            began = time.process_time()
            training.advance(crops)
            if number >= ROUNDS // 4:
                costs[name].append(time.process_time() - began)
    return {name: statistics.median(seconds) for name, seconds in costs.items()}


def kept_costs(crops: Crops, path: Path) -> dict[str, float]:
    """The costs that a file has, so that a run that goes on has those it began with."""
    if not path.exists():
        write(path, measured_costs(crops))
    return json.loads(path.read_text())


def write(path: Path, content: dict[str, Any]) -> None:
    replace_file(str(path), (json.dumps(content, indent=1) + "\n").encode())


def trained(name: str, steps: int, crops: Crops, checkpoint: Path) -> Training:
    """A variant after its steps, from its checkpoint if there is one."""
    training = new_training(name, crops.seed)
    if checkpoint.exists():
        training.load(read_checkpoint(checkpoint))
    else:
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


def measured(name: str, cost: float, crops: Crops, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train and try a variant, a step of which takes `cost` seconds."""
    file = f"{name.replace(' ', '-')}-{arguments.minutes:g}-{crops.seed}.pt"
    training = trained(name, int(60 * arguments.minutes / cost), crops, arguments.out / file)
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
        "minutes": arguments.minutes, "seed": crops.seed, "psnr": values,
    }  # fmt: skip


def main() -> None:
    """Train what is not done yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the sets")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints")
    parser.add_argument("--minutes", type=float, default=5, help="of processor time")
    parser.add_argument("--only", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--seed", type=int, default=0, help="of weights, crops and noise")
    parser.add_argument("--json", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = json.loads(arguments.json.read_text())["rows"] if arguments.json.exists() else []
    done = {row["variant"]: row for row in rows}
    seen, _ = hold_out(load_images(arguments.data / "BSDS500_train431", 1), HELD_OUT, seed=0)
    crops = Crops(seen, seed=arguments.seed)
    costs = kept_costs(crops, arguments.out / "costs.json")
    for name in arguments.only:
        found = done.get(name, {})
        if (found.get("minutes"), found.get("seed")) == (arguments.minutes, arguments.seed):
            continue
        done[name] = measured(name, costs[name], crops, arguments)
        print(done[name], flush=True)
        kept = [done[variant] for variant in VARIANTS if variant in done]
        write(arguments.json, {"rows": kept})


if __name__ == "__main__":
    main()
