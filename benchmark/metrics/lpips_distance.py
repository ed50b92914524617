"""LPIPS with a SqueezeNet backbone (Zhang et al. 2018), split so that a source picture's features serve all methods."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from benchmark.metrics.pictures import Float32

if TYPE_CHECKING:
    import torch

SMALLEST_SIDE = 32
"""Pictures below this side in pixels leave SqueezeNet without a feature map."""


class SqueezeLpips:
    """The `lpips` package's linear heads on SqueezeNet 1.1 features.

    Channels are normalised by `sqrt(sum of squares + 1e-8)`, as torchmetrics does for the authors;
    the `lpips` package's own form differs where features are nearly zero.
    """

    def __init__(self, backbone: "Mapping[str, torch.Tensor]", device: str) -> None:
        """Build the network.

        Args:
            backbone: torchvision's SqueezeNet 1.1 state dict; only the `features.*` keys are used.
            device: A torch device.

        Raises:
            ValueError: A weight is missing or has another shape.
        """
        import warnings

        import lpips
        import torch

        # The package draws random backbone weights first; they are all replaced below, and the global state is kept.
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network = lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False)
        wanted = set(_flat_names(network.net))
        missing = sorted(k for k in wanted if k not in backbone)
        if missing:
            raise ValueError(f"no SqueezeNet 1.1 weights: {', '.join(missing[:3])} and {len(missing)} keys in all lack")
        for name, module in _layers(network.net):
            prefix = f"features.{name}."
            state = {k.removeprefix(prefix): v.float() for k, v in backbone.items() if k.startswith(prefix)}
            try:
                module.load_state_dict(state)
            except RuntimeError as error:
                raise ValueError(f"no SqueezeNet 1.1 weights: {error}") from error
        self.network = network.eval().requires_grad_(False).to(device)
        self.device = device

    def to(self, device: str) -> Self:
        """Move it to a torch device."""
        self.network.to(device)
        self.device = device
        return self

    def features(self, pictures: Sequence[Float32]) -> "list[torch.Tensor]":
        """The normalised features of a batch.

        Args:
            pictures: float32, H x W x 3 each, in [0, 1], all of one size.

        Returns:
            One tensor for each of the seven layers, B x C x h x w.
        """
        import torch

        batch = torch.from_numpy(np.stack(pictures)).to(self.device).permute(0, 3, 1, 2).contiguous()
        with torch.inference_mode():
            layers = self.network.net(self.network.scaling_layer(batch * 2 - 1))
            return [x / torch.sqrt(x.square().sum(dim=1, keepdim=True) + 1e-8) for x in layers]

    def distances(
        self,
        source: "Sequence[torch.Tensor]",
        edited: "Sequence[torch.Tensor]",
        weights: Sequence[Float32] | None,
    ) -> list[float]:
        """The distances of a batch.

        Args:
            source: Features of the source pictures.
            edited: Features of the edited pictures.
            weights: float32, H x W each; what every layer's map, enlarged to the picture, is averaged with. None
                averages each map as it is.

        Returns:
            One distance for each pair, at least 0.
        """
        import torch
        import torch.nn.functional as functional

        with torch.inference_mode():
            total = torch.zeros(source[0].shape[0], device=source[0].device)
            share = None if weights is None else torch.from_numpy(np.stack(weights)).to(self.device)
            for head, one, other in zip(self.network.lins, source, edited, strict=True):
                layer = head((one - other).square())
                if share is None:
                    total += layer.mean(dim=(1, 2, 3))
                else:
                    spread = functional.interpolate(layer, size=share.shape[1:], mode="bilinear", align_corners=False)
                    total += (spread[:, 0] * share).sum(dim=(1, 2)) / share.sum(dim=(1, 2))
        return [float(v) for v in total.cpu()]


def _layers(slices: Any) -> list[tuple[str, Any]]:
    """The backbone's modules by torchvision's number; the package keeps it inside its slices."""
    return [(name, module) for part in slices.children() for name, module in part.named_children()]


def _flat_names(slices: Any) -> list[str]:
    return [f"features.{name}.{key}" for name, module in _layers(slices) for key in module.state_dict()]
