"""What a forward pass keeps for the backward pass, counted on tensors without memory at a model's real size."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks

from smartedit.model.smartedit import SmartEdit, connect, predict_noise
from smartedit.training.losses import language_loss

RECOMPUTED = ("LlamaDecoderLayer", "ResnetBlock2D", "BasicTransformerBlock")
"""Layers that transformers and diffusers compute a second time where they checkpoint."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Activations:
    """What a part keeps of a forward pass.

    Attributes:
        part: Which part of the model.
        bytes_a_row: Kept for each row.
        weight_bytes: Kept once: autocast's copies of trained weights.
        largest_layer: Bytes a row that the largest of its layers keeps until it is left behind, for layers that
            checkpointing computes again.
    """

    part: str
    bytes_a_row: int
    weight_bytes: int
    largest_layer: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PassSize:
    """The size of a row.

    Attributes:
        tokens: Positions of a sequence, patches included.
        patches: Patches of a picture.
        image_width: Width of v.
        latent_side: Side of a latent; None for a pass without the denoiser.
    """

    tokens: int
    patches: int
    image_width: int
    latent_side: int | None


def count_activations(model: SmartEdit, size: PassSize, *, half: bool) -> list[Activations]:
    """Run a model's parts on fake tensors and count what autograd keeps.

    Args:
        model: On the meta device, with `requires_grad` and gradient checkpointing as in training; it holds fake
            tensors afterwards and can be counted again.
        size: Of a row.
        half: Whether the pass runs under bfloat16 autocast.
    """
    # Fake tensors work in the mode that made them only.
    mode = getattr(next(model.parameters()), "fake_mode", None) or FakeTensorMode()
    with mode:
        _materialize(model)
        model.train()
        one, two = (_count(model, size, rows, half) for rows in (1, 2))
    return [
        Activations(
            part=part,
            bytes_a_row=two[part].total - one[part].total,
            weight_bytes=2 * one[part].total - two[part].total,
            largest_layer=two[part].largest - one[part].largest,
        )
        for part in one
    ]


def _materialize(model: nn.Module) -> None:
    """Give a meta model fake tensors on the CPU, whose attention kernels keep what those of a GPU do."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and parameter.device.type == "meta":
                empty = torch.empty(parameter.shape, dtype=parameter.dtype)
                module._parameters[name] = nn.Parameter(empty, requires_grad=parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None and buffer.device.type == "meta":
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)


class _Kept:
    """Counts storages that autograd keeps, each once, without the model's own."""

    def __init__(self, model: nn.Module) -> None:
        own = [*model.parameters(), *model.buffers()]
        self._own = {tensor.untyped_storage()._cdata for tensor in own}
        self._kept: dict[int, Any] = {}  # holds the storages, so that no other gets their address
        self.total = 0
        self.largest = 0
        self._before: list[int] = []

    def pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._own and storage._cdata not in self._kept:
            self._kept[storage._cdata] = storage
            self.total += storage.nbytes()
        return tensor

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """Within it saved tensors are counted, and those of single layers besides."""
        layers = [module for module in model.modules() if type(module).__name__ in RECOMPUTED]
        handles = [layer.register_forward_pre_hook(self._enter) for layer in layers]
        handles += [layer.register_forward_hook(self._leave) for layer in layers]
        try:
            with saved_tensors_hooks(self.pack, lambda tensor: tensor):
                yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, *_: Any) -> None:
        self._before.append(self.total)

    def _leave(self, *_: Any) -> None:
        self.largest = max(self.largest, self.total - self._before.pop())


def _count(model: SmartEdit, size: PassSize, rows: int, half: bool) -> dict[str, _Kept]:
    """What each part keeps of a pass of so many rows."""
    kept: dict[str, _Kept] = {}

    def part(name: str, module: nn.Module, run: Callable[[], Any]) -> Any:
        kept[name] = _Kept(model)
        with kept[name].watching(module):
            return run()

    mllm, length = model.mllm, size.tokens
    ids = torch.zeros(rows, length, dtype=torch.long)
    # In four dimensions, as transformers hands it to the layers: it looks into a flat one's values.
    mask = torch.ones(rows, 1, length, length, dtype=torch.bool)
    img_mask = torch.ones(rows, length, dtype=torch.bool)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        embedded = mllm.model.get_input_embeddings()(ids)
        hidden = part(
            "language model",
            mllm,
            lambda: mllm.decoder(inputs_embeds=embedded, attention_mask=mask, use_cache=False).last_hidden_state,
        )
        part(
            "logits and language loss",
            mllm,
            lambda: language_loss(mllm.logits(hidden), torch.zeros(rows, length, dtype=torch.long), num_labels=1.0),
        )
        if size.latent_side is None:
            part("QFormer", model.qformer, lambda: model.qformer(hidden, img_mask))
            return kept
        side = size.latent_side
        features = torch.zeros(rows, size.patches, size.image_width)
        name = "QFormer" if model.bim is None else "QFormer and BIM"
        conditions = part(
            name,
            model.qformer,
            lambda: connect(model.qformer, model.bim, hidden, features, latent_size=(side, side), img_mask=img_mask),
        )
        latents, timesteps = torch.zeros(rows, 4, side, side), torch.zeros(rows, dtype=torch.long)
        text, feature = conditions.text_features, conditions.image_feature
        part("UNet", model.unet, lambda: predict_noise(model.unet, latents, latents, timesteps, text, feature))
    return kept
