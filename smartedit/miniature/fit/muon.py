"""Muon (K. Jordan and others, 2024): momentum whose singular values are all made one, for matrices and kernels."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

ITERATION = (3.4445, -4.7750, 2.0315)
"""Coefficients of the Newton-Schulz iteration of Muon's authors."""
ITERATIONS = 5
RMS = 0.2
"""Root mean square of an update at learning rate 1, about that of AdamW, whose rates fit (J. Liu and others, 2025)."""


class Muon(torch.optim.Optimizer):
    """`torch.optim.Muon` takes matrices only; here a kernel [out, in, h, w] counts as a matrix [out, in h w]."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        *,
        learning_rate: float,
        weight_decay: float = 0.01,
        momentum: float = 0.95,
    ) -> None:
        """Take parameters of at least two dimensions."""
        super().__init__(parameters, {"lr": learning_rate, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move every parameter along its orthogonalized Nesterov momentum."""
        assert closure is None
        for group in self.param_groups:
            rate, momentum = group["lr"], group["momentum"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                state["momentum"].lerp_(parameter.grad, 1 - momentum)
                update = parameter.grad.lerp(state["momentum"], momentum).flatten(1)
                scale = RMS * max(update.shape) ** 0.5
                parameter.mul_(1 - rate * group["weight_decay"])
                parameter.add_(orthogonal(update).view_as(parameter), alpha=-rate * scale)


def orthogonal(matrix: Tensor) -> Tensor:
    """About U V^T of a matrix U S V^T: singular values between 0.7 and 1.2.

    Every step of the iteration multiplies by a polynomial in the Gram matrix of the shorter side; all of them commute,
    so only that small matrix is iterated, and the long one multiplied twice.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    scaled = matrix / (matrix.norm() + 1e-7)
    gram = scaled.T @ scaled if tall else scaled @ scaled.T
    a, b, c = ITERATION
    factor = gram
    for step in range(ITERATIONS):
        polynomial = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        polynomial.diagonal().add_(a)
        factor = polynomial @ factor if step else polynomial
        if step < ITERATIONS - 1:
            gram = polynomial @ gram @ polynomial
    result: Tensor = scaled @ factor if tall else factor @ scaled
    return result


class MuonWithAdamW:
    """Muon for a network's inner matrices and kernels, AdamW for its vectors, first and last layer."""

    def __init__(self, network: nn.Module, *, learning_rate: float, ends: tuple[str, ...]) -> None:
        """Sort the parameters.

        Args:
            network: Its parameters that require gradients are trained.
            learning_rate: Of both.
            ends: Parts of the names of the first and last layers.
        """
        named = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
        inner = [p for name, p in named if p.ndim >= 2 and not any(end in name for end in ends)]
        chosen = {id(p) for p in inner}
        others = [p for _, p in named if id(p) not in chosen]
        # Decay would also move the rows of an embedding that have no gradient.
        adamw = torch.optim.AdamW(others, lr=learning_rate, weight_decay=0.0, betas=(0.9, 0.98))
        self._both = (Muon(inner, learning_rate=learning_rate), adamw)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Groups of both, for a schedule."""
        return [group for optimizer in self._both for group in optimizer.param_groups]

    def step(self) -> None:
        """One step of both."""
        for optimizer in self._both:
            optimizer.step()

    def zero_grad(self) -> None:
        """Forget gradients."""
        for optimizer in self._both:
            optimizer.zero_grad()

    def state_dict(self) -> list[dict[str, Any]]:
        """States of both."""
        return [optimizer.state_dict() for optimizer in self._both]

    def load_state_dict(self, states: list[Mapping[str, Any]]) -> None:
        """Take up states of both."""
        for optimizer, state in zip(self._both, states, strict=True):
            optimizer.load_state_dict(dict(state))
