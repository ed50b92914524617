"""Keys and values of a text that stays the same over the denoising steps: made in the first, kept for the others."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from diffusers.utils.torch_utils import is_compiled_module
from torch import Tensor, nn


@contextmanager
def text_projected_once(unet: nn.Module) -> Iterator[None]:
    """Let every cross-attention of a denoiser project the text in its first call and keep what came of it.

    All calls within must be given the same text. The numbers are the same, as what is kept is what was computed. A
    compiled denoiser is left as it is: its graph holds the projections.

    Args:
        unet: The denoiser, whose cross-attentions are called `attn2`, as in diffusers.
    """
    attentions: list[Any] = [module for name, module in unet.named_modules() if name.endswith("attn2")]
    projections = [] if _compiled(unet) else [p for a in attentions for p in (a.to_k, a.to_v)]
    # Somebody may have put a `forward` on the module itself, as offloading does; it is wrapped and comes back.
    own = [vars(projection).get("forward") for projection in projections]
    try:
        for projection in projections:
            projection.forward = _kept(projection.forward)
        yield
    finally:
        for projection, forward in zip(projections, own, strict=True):
            del projection.forward
            if forward is not None:
                projection.forward = forward


def _kept(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    made: list[Tensor] = []

    def call(*arguments: Any, **settings: Any) -> Tensor:
        if not made:
            made.append(forward(*arguments, **settings))
        return made[0]

    return call


def _compiled(unet: nn.Module) -> bool:
    parts = (getattr(module, "_compiled_call_impl", None) for module in unet.modules())
    return is_compiled_module(unet) or any(part is not None for part in parts)
