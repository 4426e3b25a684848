"""Weights of a training for use: ``python -m nlmeans.learned.export --checkpoint FILE --out DIR``.

Writes `gray.safetensors` and `gray.onnx` (for RGB `color...`, for NL-means `features...`), the
moving average of the weights, and `gray.md`, a card that says how they were trained. Whoever has
them needs nothing else of it.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save

from nlmeans.denoisers.network import NAMES
from nlmeans.errors import NLMeansError
from nlmeans.files.atomic import replace_file
from nlmeans.learned.graph import features_to_onnx, to_onnx
from nlmeans.learned.network import NonLocalNet, Shape
from nlmeans.learned.schedule import Schedule
from nlmeans.learned.train import HELD_OUT
from nlmeans.learned.training import AVERAGE, AnyShape, build, read_checkpoint, shape_of


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m nlmeans.learned.export", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the weights")
    options = parser.parse_args(arguments)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        state = read_checkpoint(options.checkpoint)
        for suffix, data in (packed(state) | {"md": card(state).encode()}).items():
            replace_file(str(options.out / f"{_name(shape_of(state))}.{suffix}"), data)
    except (NLMeansError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _name(shape: AnyShape) -> str:
    """Of the files."""
    return NAMES[shape.channels] if isinstance(shape, Shape) else "features"


def packed(state: dict[str, Any]) -> dict[str, bytes]:
    """Contents of both files, by suffix."""
    net = build(shape_of(state)).eval().requires_grad_(False)
    weights = {name: weight.contiguous() for name, weight in state["average"].items()}
    if isinstance(net, NonLocalNet):
        # Weights of 11 bits: what that changes in an image is far below a gray level.
        weights = {name: weight.half() for name, weight in weights.items()}
    net.load_state_dict(weights)
    about = {
        "shape": json.dumps(asdict(net.shape)),
        "recipe": json.dumps(state["recipe"]),
        "step": str(state["step"]),
        "before": str(state.get("before", 0)),
    }
    if isinstance(net, NonLocalNet):
        graph = to_onnx(net, about)
    else:
        graph = features_to_onnx(net.features, about)
    return {
        "safetensors": save(weights, metadata=about),
        "onnx": graph.SerializeToString(),
    }


NETWORK = """\
# The network `{name}`

`nlmeans.learned.network.NonLocalNet`, {weights:,} weights, for images of {channels} channel(s):
convolutions at half and quarter resolution around a non-local block ({pairwise}, blocks of {size}
with a halo of {halo}); passes through all of it but the first and the last layer, with the same
weights: {passes}. It returns the image less sigma times an estimate of the noise; of an image
without noise, the image.
"""

FEATURES = """\
# The features of `learned-nlm`

`nlmeans.learned.nl_means.Features`, {weights:,} weights with h, for gray images: three
convolutions, {hidden} channels between them, make {features} features, which NL-means compares in
place of patches. Trained end to end, with a search radius of {radius}.
"""

TRAINING = """
- Data: photographs, all but {held_out} of them, whole and at 0.9 to 0.6 of their size; turned,
  mirrored; some with another contrast, some a few of their pixels repeated; white Gaussian noise
  drawn anew for every crop, sigma from 0 to 75 of 255 levels, half of them from 10 to 55.
- Training: {steps:,} steps with {optimizers}{begun}.
  The last ones: {batch} crops of {crop} x {crop}, loss "{loss}", seed {seed},
  learning rate {rate:g}{decay}.
  Weights are the moving average of those of all steps, {average:g} of it kept by each{rounded}.
- PSNR on the photographs that were held out, middle 256 x 256, noise not clipped:
  {psnr}.
- For: white noise of a known level on photographs. Not for: correlated noise, such as that of
  camera JPEGs, which looks like texture to it.
"""


def card(state: dict[str, Any]) -> str:
    """What to know about the weights of a checkpoint, as Markdown."""
    shape, recipe, schedule = shape_of(state), state["recipe"], Schedule(**state["schedule"])
    measured = [row for row in state["log"] if any(key.startswith("psnr") for key in row)]
    last = measured[-1] if measured else {}
    values = [
        f"{last[key]:.2f} dB at sigma {key.removeprefix('psnr_')}" for key in last if "psnr" in key
    ]
    decayed = schedule.decay_steps and schedule.finished(state["step"])
    large, before = isinstance(shape, Shape), state.get("before", 0)
    return ((NETWORK if large else FEATURES) + TRAINING).format(
        name=_name(shape),
        optimizers="Muon and Adam" if large else "Adam",
        rounded=", rounded to 11 bits" if large else "",
        weights=sum(weight.numel() for weight in state["average"].values()),
        steps=state["step"],
        begun=f", begun with weights of {before:,} steps" if before else "",
        held_out=HELD_OUT,
        average=AVERAGE,
        decay=f", decaying to 0 over the last {schedule.decay_steps:,} steps" if decayed else "",
        psnr=", ".join(values) + f" (step {last['step']:,})" if values else "not measured",
        **(asdict(shape) | recipe),
    )


if __name__ == "__main__":
    sys.exit(main())
