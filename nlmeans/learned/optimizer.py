"""Muon for the matrices of a network, Adam for the rest."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalized: every direction of a weight matrix moves by the same amount.

    A convolution counts as the matrix of its outputs by everything else. K. Jordan et al., "Muon:
    an optimizer for hidden layers in neural networks", 2024; its step is scaled to the size that
    Adam's would have (J. Liu et al., arXiv:2502.16982), so that both take the same learning rate.
    """

    def __init__(
        self, params: Sequence[Tensor], lr: float, momentum: float = 0.95, decay: float = 0.01
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Take a step."""
        for group in self.param_groups:
            alike: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}
            for weight in group["params"]:
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                momentum = state["momentum"].lerp_(weight.grad, 1 - group["momentum"])
                ahead = weight.grad.lerp(momentum, group["momentum"]).flatten(1)
                alike.setdefault(tuple(ahead.shape), []).append((weight, ahead))
            for (rows, columns), pairs in alike.items():
                moves = orthogonalized(torch.stack([ahead for _, ahead in pairs]))
                moves *= 0.2 * max(rows, columns) ** 0.5
                for (weight, _), move in zip(pairs, moves, strict=True):
                    weight.mul_(1 - group["lr"] * group["decay"])
                    weight.add_(move.reshape(weight.shape), alpha=-group["lr"])


def orthogonalized(matrices: Tensor) -> Tensor:
    """Bring the singular values of (N, rows, columns) near 1 by five Newton-Schulz steps."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.mT if tall else x
