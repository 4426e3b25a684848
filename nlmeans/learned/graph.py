"""Trained networks as ONNX graphs of any height and width.

Written out node by node, for the exporters of torch turn the cutting into blocks into chains of
shape arithmetic. Here it is `SpaceToDepth`, slices and one `Reshape`.
"""

import copy
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from nlmeans.engines.torch_blocks import Blocks
from nlmeans.errors import ParameterError
from nlmeans.learned.block import LARGEST_EXPONENT, NonLocalBlock
from nlmeans.learned.network import LARGEST_FEATURE, SEEN, Coarse, NonLocalNet, Residual
from nlmeans.learned.nl_means import Features

OPSET = 17
"""Of ONNX Runtime 1.12 (2022) and later."""


def to_onnx(net: NonLocalNet, about: dict[str, str]) -> Any:
    """An ONNX model: `noisy` (1, C, H, W) and `sigma` (1, 1, H, W) to `denoised`.

    Parameters
    ----------
    net : NonLocalNet
        With a block of distances and a halo half the size of its blocks.
    about : dict of str to str
        Metadata.

    Raises
    ------
    ParameterError
        If the non-local block is of a kind that no trained network has.
    """
    channels = net.shape.channels
    graph = _Graph()
    # Pixels of 2x2 become channels in torch's order by a convolution that only picks.
    pick = np.eye(4 * channels, dtype=np.float32).reshape(4 * channels, channels, 2, 2)
    seen = graph.clip("noisy", *SEEN)
    unshuffled = graph("Conv", seen, graph.constant(pick), strides=[2, 2], kernel_shape=[2, 2])
    level = graph("AveragePool", "sigma", kernel_shape=[2, 2], strides=[2, 2])
    first = graph.conv(graph("Concat", unshuffled, level, axis=1), net.head)
    x = _once(graph, first, net)
    for k in range(net.shape.passes - 1):
        again, gate = (
            graph.constant(_array(weight[k])[:, None, None]) for weight in (net.again, net.gates)
        )
        z = graph("Add", x, graph("Mul", again, first))
        z = graph.clip(z, -LARGEST_FEATURE, LARGEST_FEATURE)
        x = graph("Add", x, graph("Mul", gate, graph("Sub", _once(graph, z, net), z)))
    noise = graph("DepthToSpace", graph.conv(x, net.tail), blocksize=2, mode="CRD")
    graph("Sub", "noisy", graph("Mul", "sigma", noise), output="denoised")
    inputs = {"noisy": channels, "sigma": 1}
    return graph.model("non_local_net", inputs, {"denoised": channels}, about)


def _once(graph: "_Graph", x: str, net: NonLocalNet) -> str:
    """Nodes of one pass."""
    for module in (*net.before, net.block, *net.after):
        x = _module(graph, x, module)
    return x


def features_to_onnx(features: Features, about: dict[str, str]) -> Any:
    """An ONNX model: `noisy` and `sigma` (1, 1, H + 8, W + 8) to `features` (1, D, H, W), over h.

    Weights are kept in float32, few as they are.
    """
    graph = _Graph()

    def number(value: float) -> str:
        return graph.constant(np.full((1, 1, 1, 1), value, np.float32))

    unit = graph("Add", graph("Mul", "sigma", number(4)), number(1 / 64))
    shown = graph("Div", graph("Sub", "noisy", number(0.5)), unit)
    x = graph("Concat", shown, "sigma", axis=1)
    *first, last = features.convolutions
    for module in first:
        x = graph("Relu", x) if isinstance(module, nn.ReLU) else graph.conv(x, module, half=False)
    over_h = torch.exp(-features.log_h)
    with torch.no_grad():
        last = copy.deepcopy(last)
        last.weight *= over_h
        last.bias *= over_h
    graph.conv(x, last, half=False, output="features")
    inputs = {"noisy": 1, "sigma": 1}
    return graph.model("features", inputs, {"features": last.out_channels}, about)


class _Graph:
    """Nodes and constants, named by their number."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.known: dict[int, str] = {}

    def __call__(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node; returns the name of its output."""
        name = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def weights(self, weight: Any, which: Any = ..., *, half: bool = True) -> str:
        """Add weights, or some of them, once however often they are used.

        In half they are kept in float16, half the file, and unfolded when a session begins.
        """
        if id(weight) not in self.known:
            value = self.constant(_array(weight)[which].astype(np.float16 if half else np.float32))
            self.known[id(weight)] = self("Cast", value, to=TensorProto.FLOAT) if half else value
        return self.known[id(weight)]

    def constant(self, value: np.ndarray) -> str:
        """Add a constant; returns its name."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def integers(self, *values: int) -> str:
        """A constant of integers."""
        return self.constant(np.array(values, np.int64))

    def clip(self, x: str, low: float, high: float) -> str:
        """X, cut at two numbers."""
        return self("Clip", x, *(self.constant(np.array(b, np.float32)) for b in (low, high)))

    def conv(self, x: str, module: nn.Conv2d, *, half: bool = True, output: str = "") -> str:
        """A convolution of torch."""
        weight, bias = (self.weights(w, half=half) for w in (module.weight, module.bias))
        pads = [*module.padding, *module.padding]
        size, strides = list(module.kernel_size), list(module.stride)
        sizes: Any = {"kernel_shape": size, "strides": strides, "pads": pads}
        return self("Conv", x, weight, bias, output=output, **sizes)

    def linear(self, x: str, module: nn.Linear) -> str:
        """A linear map of the channels, as a 1x1 convolution."""
        weight = self("Unsqueeze", self.weights(module.weight), self.integers(2, 3))
        bias = self.weights(module.bias)
        return self("Conv", x, weight, bias, kernel_shape=[1, 1])

    def model(
        self, name: str, inputs: dict[str, int], outputs: dict[str, int], about: dict[str, str]
    ) -> Any:
        """All of it; inputs and outputs with their channels."""

        def images(channels: dict[str, int], *space: str) -> list[Any]:
            return [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, count, *space])
                for name, count in channels.items()
            ]

        space = ("height", "width")
        inside = space if "denoised" in outputs else ("inner_height", "inner_width")
        graph = helper.make_graph(
            self.nodes, name, images(inputs, *space), images(outputs, *inside), self.constants
        )
        # The version that came with the opset: runtimes refuse files from their future.
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8
        )
        helper.set_model_props(model, about)
        onnx.checker.check_model(model, full_check=True)
        return model


def _module(graph: _Graph, x: str, module: nn.Module) -> str:
    """Nodes of a part of the network."""
    if isinstance(module, nn.Identity):
        return x
    if isinstance(module, Residual):
        inside = graph("Relu", graph.conv(x, module.first))
        return graph("Add", x, graph.conv(inside, module.second))
    if isinstance(module, Coarse):
        inside = graph("Relu", graph.conv(x, module.down))
        inside = graph.conv(_module(graph, inside, module.inside), module.up)
        scales = graph.constant(np.array([1, 1, 2, 2], np.float32))
        larger = graph(
            "Resize", inside, "", scales,
            mode="nearest", nearest_mode="floor", coordinate_transformation_mode="asymmetric",
        )  # fmt: skip
        return graph("Add", x, larger)
    if isinstance(module, NonLocalBlock) and isinstance(module.neighborhood, Blocks):
        return _block(graph, x, module, module.neighborhood)
    raise ParameterError("net", "must be made of parts that have a graph", type(module).__name__)


def _block(graph: _Graph, x: str, block: NonLocalBlock, blocks: Blocks) -> str:
    """Nodes of a non-local block: of distances, all that can be learned, halo half of the size."""
    size, halo = blocks.size, blocks.halo
    learns_all = block.has_position and block.bandwidth is not None
    if block.pairwise != "distance" or not learns_all or 2 * halo != size:
        raise ParameterError(
            "net", "must compare distances, with a bandwidth, over blocks and half a block"
        )
    inner = block.g.out_features
    root, minus_half, one = (
        graph.constant(np.array(number, np.float32)) for number in (block.scale**0.5, -0.5, 1.0)
    )
    # One more feature for each, as `block.for_distance` has them.
    theta = graph("Mul", graph.linear(x, block.theta), root)
    with_one = graph("Pad", theta, graph.integers(0, 0, 0, 0, 0, 1, 0, 0), one)
    exponent = graph.clip(graph.linear(x, block.bandwidth), -LARGEST_EXPONENT, LARGEST_EXPONENT)
    with_one = graph("Mul", with_one, graph("Exp", exponent))
    norm = graph("ReduceSumSquare", theta, axes=[1])
    with_norm = graph("Concat", theta, graph("Mul", norm, minus_half), axis=1)
    # Channels last, so that what a block has of a position lies together, and windows are copied
    # in runs of halo^2 D numbers: transposing the windows took a fifth of the time.
    positions = _last(graph, graph("SpaceToDepth", with_one, blocksize=size))
    query = graph("Reshape", positions, graph.integers(-1, size**2, inner + 1))
    key, value = (
        graph("Reshape", _windows(graph, part, halo), graph.integers(-1, (2 * size) ** 2, count))
        for part, count in ((with_norm, inner + 1), (graph.linear(x, block.g), inner))
    )
    scores = graph("MatMul", query, graph("Transpose", key, perm=[0, 2, 1]))
    pairs = block.displacement.numpy()[:, _order(blocks)]
    position = graph.weights(block.position, pairs)
    f = graph("Softmax", graph("Add", scores, position), axis=-1)
    shape = graph("Concat", graph("Shape", positions, end=3), graph.integers(-1), axis=0)
    y = graph("Reshape", graph("MatMul", f, value), shape)  # (1, h, w, size^2 D)
    y = graph("Transpose", y, perm=[0, 3, 1, 2])
    y = graph("DepthToSpace", y, blocksize=size, mode="DCR")
    return graph("Add", x, graph.linear(y, block.w_z))


def _windows(graph: _Graph, x: str, halo: int) -> str:
    """Members of every block: (1, D, H, W) to (1, h, w, span^2 D), in the order of `_order`."""
    x = graph("Pad", x, graph.integers(0, 0, halo, halo, 0, 0, halo, halo), mode="reflect")
    # In cells of halo x halo a window is 4 x 4 of them, and the next one begins 2 further.
    cells = _last(graph, graph("SpaceToDepth", x, blocksize=halo))
    axes, steps = graph.integers(1, 2), graph.integers(2, 2)
    ends = [-3, -2, -1, np.iinfo(np.int64).max]
    slices = [
        graph("Slice", cells, graph.integers(i, j), graph.integers(ends[i], ends[j]), axes, steps)
        for i in range(4)
        for j in range(4)
    ]
    return graph("Concat", *slices, axis=3)


def _last(graph: _Graph, x: str) -> str:
    """(1, C, H, W) to (1, H, W, C)."""
    return graph("Transpose", x, perm=[0, 2, 3, 1])


def _order(blocks: Blocks) -> np.ndarray:
    """Members as `_windows` has them, by cells, as numbers of members row by row."""
    halo, span = blocks.halo, blocks.size + 2 * blocks.halo
    rows = np.arange(span**2).reshape(4, halo, 4, halo)
    return rows.transpose(0, 2, 1, 3).ravel()


def _array(weight: Any) -> np.ndarray:
    return weight.detach().cpu().numpy().astype(np.float32)
