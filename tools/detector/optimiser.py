"""Muon for the dense convolutions, AdamW for everything else.

No colour or texture belongs to a class, so that at first no direction of a weight matrix promises much. In a
trial a classifier of single shapes was still at chance after 300 steps of AdamW (3e-3) or SGD (0.05); with
Muon it had left it by step 100.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

MUON_RATE = 0.02
ADAM_RATE = 2e-3
MOMENTUM = 0.95
DECAY = 0.02


def orthogonal(matrix: Tensor, rounds: int = 5) -> Tensor:
    """About the nearest matrix with singular values of one, by a quintic Newton-Schulz iteration."""
    x = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = x / (x.norm() + 1e-7)
    for _ in range(rounds):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x if matrix.shape[0] <= matrix.shape[1] else x.T


class Muon(torch.optim.Optimizer):
    """Momentum made orthogonal at every step, so that all directions of a weight matrix move alike.

    A convolution counts as a matrix (outputs, inputs x kernel). (The idea: Jordan et al. 2024.)
    """

    def __init__(self, weights: list[nn.Parameter], lr: float, decay: float) -> None:
        super().__init__(weights, {"lr": lr, "decay": decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                gradient = weight.grad.reshape(len(weight), -1)
                velocity = self.state[weight].setdefault("velocity", torch.zeros_like(gradient))
                velocity.mul_(MOMENTUM).add_(gradient)
                update = orthogonal(gradient.add(velocity, alpha=MOMENTUM))
                scale = max(1.0, update.shape[0] / update.shape[1]) ** 0.5
                weight.mul_(1 - group["lr"] * group["decay"])
                weight.sub_(update.reshape(weight.shape), alpha=group["lr"] * scale)


def make_optimisers(model: nn.Module) -> list[torch.optim.Optimizer]:
    """Muon for dense convolutions that a norm follows; AdamW for the others, norms and biases."""
    dense = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.groups == 1 and m.bias is None]
    matrices = [m.weight for m in dense]
    taken = {id(weight) for weight in matrices}
    rest = [p for p in model.parameters() if id(p) not in taken]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": DECAY},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [Muon(matrices, MUON_RATE, DECAY), torch.optim.AdamW(groups, lr=ADAM_RATE)]
