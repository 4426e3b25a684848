"""Weights of a training for use: ``python -m nlmeans.learned.export --checkpoint FILE --out DIR``.

Writes `gray.safetensors` and `gray.onnx` (for RGB `color...`): the moving average of the weights,
with how they were trained as metadata. Whoever has them needs nothing else of the training.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save

from nlmeans.denoisers.network import NAMES
from nlmeans.files.atomic import replace_file
from nlmeans.learned.graph import to_onnx
from nlmeans.learned.network import NonLocalNet, Shape
from nlmeans.learned.training import read_checkpoint


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m nlmeans.learned.export", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the weights")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    state = read_checkpoint(options.checkpoint)
    shape = Shape(**state["shape"])
    for suffix, data in packed(state).items():
        replace_file(str(options.out / f"{NAMES[shape.channels]}.{suffix}"), data)
    return 0


def packed(state: dict[str, Any]) -> dict[str, bytes]:
    """Contents of both files, by suffix."""
    net = NonLocalNet(Shape(**state["shape"])).eval().requires_grad_(False)
    # Weights of 11 bits: what that changes in an image is far below a gray level.
    halves = {name: weight.half().contiguous() for name, weight in state["average"].items()}
    net.load_state_dict(halves)
    about = {
        "shape": json.dumps(asdict(net.shape)),
        "recipe": json.dumps(state["recipe"]),
        "step": str(state["step"]),
    }
    return {
        "safetensors": save(halves, metadata=about),
        "onnx": to_onnx(net, about).SerializeToString(),
    }


if __name__ == "__main__":
    sys.exit(main())
