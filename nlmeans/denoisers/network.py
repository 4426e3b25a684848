"""The trained networks, run by ONNX Runtime or by torch, whichever is installed."""

import json
from collections.abc import Callable
from functools import lru_cache
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

import numpy as np

from nlmeans.device import NEEDS_TORCH
from nlmeans.errors import ParameterError

Network = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Noisy image (C, H, W) and sigma (1, H, W) to the image denoised: float32, 0 black and 1 white."""

MULTIPLE = 16
"""Height and width must be multiples of it: the non-local block's 8, at half resolution."""

NAMES = {1: "gray", 3: "color"}
"""Weights by number of channels."""


@lru_cache(maxsize=2)
def shape(channels: int) -> dict[str, Any]:
    """Sizes of the network for so many channels: `nlmeans.learned.network.Shape`, as it tells."""
    data = _weights(channels, "safetensors").read_bytes()
    # The format begins with the length of its header.
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return json.loads(header["__metadata__"]["shape"])


def reach(channels: int) -> int:
    """How far from a pixel its result depends on the image.

    In positions of 2x2 pixels: 1 for the first layer and 1 for the last, and for each pass 9 for
    what precedes the non-local block, 11 for the block and 4 for what follows.
    """
    return 2 * (2 + 24 * shape(channels).get("passes", 1)) + 1


def is_trained(channels: int) -> bool:
    """Whether there is a network for images of so many channels."""
    return channels in NAMES and _weights(channels, "safetensors").is_file()


def check_runtime(device: str | None = None) -> str:
    """Name of the module that is to run the networks; for a device of torch's, that is torch.

    Raises
    ------
    ParameterError
        If there is none.
    """
    if device is None and find_spec("onnxruntime") is not None:
        return "onnxruntime"
    if find_spec("torch") is not None and find_spec("safetensors") is not None:
        return "torch"
    if device is not None:
        raise ParameterError("device", NEEDS_TORCH, device)
    raise ParameterError(
        "method",
        "'learned' needs ONNX Runtime or PyTorch, which pip install 'nlmeans[learned]' or "
        "'nlmeans[torch]' installs",
    )


@lru_cache(maxsize=4)
def load(channels: int, threads: int, runtime: str, device: str | None) -> Network:
    """The network for so many channels, to be run on so many threads.

    With torch on the device that is its default one; `device` tells networks on several apart.
    """
    if runtime == "onnxruntime":
        return _onnxruntime(channels, threads)
    return _torch(channels, threads)


def _weights(channels: int, suffix: str):  # type: ignore[no-untyped-def]
    return files("nlmeans") / "learned" / "weights" / f"{NAMES[channels]}.{suffix}"


def _onnxruntime(channels: int, threads: int) -> Network:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Waiting threads sleep: spinning, they took the processor from everybody else.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # A pattern is for one size of image: the second run of a size would move into a new allocation,
    # beside that of the first. For 1 MP it took 2.7 GB, not 1.4, and 2.4 s, not 1.6.
    options.enable_mem_pattern = False
    session = onnxruntime.InferenceSession(
        _weights(channels, "onnx").read_bytes(), options, providers=["CPUExecutionProvider"]
    )

    def run(noisy: np.ndarray, sigma: np.ndarray) -> np.ndarray:
        return session.run(["denoised"], {"noisy": noisy[None], "sigma": sigma[None]})[0][0]

    return run


def _torch(channels: int, threads: int) -> Network:
    import torch
    from safetensors.torch import load as load_weights

    from nlmeans.learned.network import NonLocalNet, Shape

    net = NonLocalNet(Shape(**shape(channels))).eval().requires_grad_(False)
    net.load_state_dict(load_weights(_weights(channels, "safetensors").read_bytes()))
    device = torch.get_default_device()
    net.to(device, torch.float32, memory_format=torch.channels_last)

    def run(noisy: np.ndarray, sigma: np.ndarray) -> np.ndarray:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            tensors = (torch.from_numpy(array[None]).to(device) for array in (noisy, sigma))
            with torch.inference_mode():
                return net(*tensors).cpu().numpy()[0]
        finally:
            torch.set_num_threads(before)

    return run
