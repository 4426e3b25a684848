"""Train the denoising network: ``python -m nlmeans.learned.train --data DIR --out DIR``.

In the folder OUT are then `checkpoint.pt`, all that training goes on from; `log.csv` with the loss
and the PSNR on photographs held out; and `curve.png`, the same drawn, if matplotlib is installed.
It trains until it is stopped (Ctrl-C, SIGTERM), and goes on with --resume; --decay N then brings
the learning rate down to 0 in N more steps, and ends there. What is not said then is as before.
"""

import argparse
import contextlib
import csv
import io
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path
from types import FrameType
from typing import Any, get_args

import numpy as np
import torch

from nlmeans.errors import NLMeansError, ParameterError
from nlmeans.files.atomic import replace_file
from nlmeans.learned.block import Pairwise
from nlmeans.learned.data import Crops, hold_out, load_images
from nlmeans.learned.network import Shape
from nlmeans.learned.training import (
    LOSSES,
    SHAPES,
    AnyShape,
    Recipe,
    Training,
    read_checkpoint,
    read_trunk,
    shape_of,
)
from nlmeans.validation import check_choice, check_integer, check_number

HELD_OUT = 12
"""Photographs that are not trained on."""

VALIDATED = (15.0, 25.0, 50.0)
"""Noise levels that the network is tried on, in gray levels."""

LOG_EVERY, VALIDATE_EVERY = 100, 1000
"""Steps."""

SAVE_SECONDS = 240.0
"""Time that is lost at most when the machine stops."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    options = _parser().parse_args(arguments)
    try:
        _train(options)
    except NLMeansError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m nlmeans.learned.train", description=__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder of photographs, JPEG or PNG")
    add("--out", type=Path, required=True, help="folder for checkpoint, log and curve")
    add("--resume", action="store_true", help="go on from the checkpoint in OUT if there is one")
    add("--start-from", type=Path, help="while there is none, go on from this checkpoint")
    add("--trunk", type=Path, help="begin with what fits of a checkpoint or .safetensors file")
    add("--decay", type=int, help="bring the learning rate to 0 in so many steps, then stop")
    add("--steps", type=int, help="stop at this step, to be resumed")
    # None, so that what is not given can come from the checkpoint.
    add("--net", choices=tuple(SHAPES), help="nl_means: the features of NL-means  [network]")
    add("--channels", type=int, choices=(1, 3), help="1 for gray, 3 for RGB  [1]")
    add("--pairwise", help="f of the non-local block, or none  [distance]")
    add("--features", type=int, help="channels inside; nl_means: that are compared  [64; 8]")
    add("--halo", type=int, help="of the block's window  [4]")
    add("--passes", type=int, help="through the middle of the network  [1]")
    add("--hidden", type=int, help="nl_means: channels between its convolutions  [16]")
    add("--radius", type=int, help="nl_means: search radius  [10]")
    add("--crop", type=int, help="side of the crops of a step  [64]")
    add("--batch", type=int, help="number of crops of a step  [16]")
    add("--loss", choices=sorted(LOSSES), help="[absolute]")
    add("--rate", type=float, help="learning rate  [0.004]")
    add("--seed", type=int, help="[0]")
    add("--device", default="cpu", help="where: cpu, cuda, ...")
    add("--threads", type=int, help="on the cpu, each with its part of a batch")
    add("--precision", choices=("bfloat16", "float32"), help="default: bfloat16 if it is fast")
    return parser


def _train(options: argparse.Namespace) -> None:
    _check(options)
    options.out.mkdir(parents=True, exist_ok=True)
    checkpoint = options.out / "checkpoint.pt"
    if checkpoint.exists() and not options.resume:
        raise NLMeansError(f"{options.out} has a checkpoint: --resume goes on from it")
    start = checkpoint if checkpoint.exists() else options.start_from
    state = read_checkpoint(start) if start else None
    shape, recipe = _shape(options, state), _recipe(options, state)
    training = Training(
        shape,
        recipe,
        threads=_threads(recipe) if options.threads is None else options.threads,
        device=options.device,
        bfloat16=_bfloat16(options),
    )
    if state:
        training.load(state)
    elif options.trunk:
        training.adopt(read_trunk(options.trunk))
    if options.decay is not None:
        # What OUT has goes on as it began; what another folder has may be decayed once more.
        if not checkpoint.exists() or training.schedule.decay_steps is None:
            training.decay(options.decay)
        elif options.decay != training.schedule.decay_steps:
            rule = f"must be the {training.schedule.decay_steps} steps of the checkpoint"
            raise ParameterError("decay", rule, options.decay)
    _check_crop(recipe, shape)
    seen, held_out = hold_out(load_images(options.data, shape.channels), HELD_OUT, seed=0)
    crops = Crops(seen, recipe.seed)
    squares = [_middle(image, 256) for image in held_out]
    with _stoppable() as stopped:
        _advance(training, crops, squares, options, stopped)
    _save(training, options.out)


def _advance(
    training: Training,
    crops: Crops,
    squares: list[np.ndarray],
    options: argparse.Namespace,
    stopped: Callable[[], bool],
) -> None:
    """Train until there is a reason to stop, with a row of the log and a checkpoint at times."""
    saved = started = time.monotonic()
    while not (
        stopped()
        or training.schedule.finished(training.step)
        or (options.steps is not None and training.step >= options.steps)
    ):
        training.advance(crops)
        done = training.schedule.finished(training.step)
        if training.step % LOG_EVERY == 0 or done:
            rate = training.recipe.rate * training.schedule.factor(training.step)
            row = {"step": training.step, "loss": float(np.mean(training.recent)), "rate": rate}
            if training.step % VALIDATE_EVERY == 0 or done:
                psnr = training.validate(squares, VALIDATED)
                row |= {f"psnr_{s:.0f}": p for s, p in zip(VALIDATED, psnr, strict=True)}
            seconds = (time.monotonic() - started) / LOG_EVERY
            print(_line(row), f"{seconds:.3f} s/step", flush=True)  # noqa: T201
            training.log.append(row)
            training.recent, started = [], time.monotonic()
        if time.monotonic() - saved > SAVE_SECONDS:
            _save(training, options.out)
            saved = time.monotonic()


def _check(options: argparse.Namespace) -> None:
    """Refuse what is wrong whatever a checkpoint has."""
    least = {"features": 1, "halo": 0, "passes": 1, "hidden": 1, "radius": 1, "batch": 1}
    least |= {"decay": 1, "steps": 1, "threads": 1, "crop": 1, "seed": 0}
    for name, bound in least.items():
        if getattr(options, name) is not None:
            check_integer(name, getattr(options, name), least=bound)
    if options.rate is not None:
        check_number("rate", options.rate, above=0)
    if options.pairwise is not None:
        check_choice("pairwise", options.pairwise, (*get_args(Pairwise), "none"))
    if options.start_from and options.trunk:
        raise ParameterError("trunk", "must not be given with start_from, which has all weights")
    for name in ("start_from", "trunk"):
        path = getattr(options, name)
        if path is not None and not path.is_file():
            raise ParameterError(name, "must be a file", str(path))


def _check_crop(recipe: Recipe, shape: AnyShape) -> None:
    """Refuse crops that the network can not take."""
    if isinstance(shape, Shape):
        rule = f"must be a multiple of {shape.multiple} above {4 * shape.halo}"
        if recipe.crop % shape.multiple or recipe.crop <= 4 * shape.halo:
            raise ParameterError("crop", rule, recipe.crop)


def _threads(recipe: Recipe) -> int:
    """As many as a batch can be divided among, of those that torch would take."""
    return max(n for n in range(1, torch.get_num_threads() + 1) if recipe.batch % n == 0)


def _shape(options: argparse.Namespace, state: dict[str, Any] | None) -> AnyShape:
    """Sizes of the network: as given, which must be those of a checkpoint."""
    name = options.net or "network"
    kept = shape_of(state) if state else SHAPES[name]()
    if options.net and not isinstance(kept, SHAPES[name]):
        raise NLMeansError(f"the checkpoint has {kept}, not what is trained by --net {name}")
    for option in {f.name for s in SHAPES.values() for f in fields(s)} - {*asdict(kept)}:
        if getattr(options, option, None) is not None:
            raise ParameterError(option, f"is none of {kept}", getattr(options, option))
    shape = replace(kept, **_given(options, kept))
    if state and shape != kept:
        raise NLMeansError(f"the checkpoint has {kept}, another than {shape}")
    return shape


def _recipe(options: argparse.Namespace, state: dict[str, Any] | None) -> Recipe:
    """How to train: as given, the rest as before."""
    kept = Recipe(**state["recipe"]) if state else Recipe()
    return replace(kept, **_given(options, kept))


def _given(options: argparse.Namespace, names: AnyShape | Recipe) -> dict[str, Any]:
    """The options that are given, of those that a dataclass has."""
    values = {name: getattr(options, name, None) for name in asdict(names)}
    return {name: value for name, value in values.items() if value is not None}


def _bfloat16(options: argparse.Namespace) -> bool:
    """Whether to compute in bfloat16: as asked for, or where it is faster."""
    if options.precision is not None:
        return options.precision == "bfloat16"
    return options.device != "cpu" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


@contextlib.contextmanager
def _stoppable() -> Iterator[Callable[[], bool]]:
    """A function that tells whether Ctrl-C or SIGTERM has come, which end nothing by themselves."""
    stopped: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        stopped.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(stopped)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _save(training: Training, out: Path) -> None:
    training.save(out / "checkpoint.pt")
    text = io.StringIO()
    names = ["step", "loss", "rate", *(f"psnr_{s:.0f}" for s in VALIDATED)]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(training.log)
    replace_file(str(out / "log.csv"), text.getvalue().encode())
    try:
        from nlmeans.learned.curve import draw
    except ImportError:  # matplotlib is not installed: the table is there all the same
        return
    draw(training.log, out / "curve.png")


def _middle(image: np.ndarray, side: int) -> np.ndarray:
    """The middle of an image (C, H, W), at most side x side and a multiple of 32."""
    extent = [min(side, size // 32 * 32) for size in image.shape[1:]]
    corner = [(size - e) // 2 for size, e in zip(image.shape[1:], extent, strict=True)]
    box = tuple(slice(c, c + e) for c, e in zip(corner, extent, strict=True))
    return np.ascontiguousarray(image[:, *box])


def _line(row: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.5g}" for name, value in row.items())


if __name__ == "__main__":
    sys.exit(main())
