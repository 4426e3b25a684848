"""The non-local block for networks, and the training of a denoising network around it; needs torch.

`NonLocalBlock` is `nlmeans.operation.NonLocalMean` as a module; `python -m nlmeans.learned.train`
trains the network that the method "learned" runs, with ONNX Runtime without any of this code.
"""

from nlmeans.engines.torch_blocks import Blocks
from nlmeans.learned.block import NonLocalBlock

__all__ = ["Blocks", "NonLocalBlock"]
