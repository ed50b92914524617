"""Holds the decoder's projections in 8 or 4 bits by bitsandbytes; everything else keeps its dtype."""

import importlib.util
from typing import Any

from smartedit.inference.memory import Precision


class QuantizationError(ValueError):
    """Weights cannot be quantized here; the message says what to install."""


def quantize_decoder(mllm: Any, precision: Precision) -> None:
    """Replace the linear layers of the decoder, in place; their weights are quantized when the model is moved.

    Adapters, output layer, embeddings and the image side stay: they are small, or h depends on them directly.

    Args:
        mllm: The language model (`ImageTextMllm`), on the CPU.
        precision: `8-bit` (LLM.int8) or `4-bit` (nf4).

    Raises:
        QuantizationError: bitsandbytes is not installed.
    """
    if importlib.util.find_spec("bitsandbytes") is None:
        raise QuantizationError(f"{precision.value} needs bitsandbytes: pip install 'smartedit[quantized]'")
    from torch import nn

    layers = mllm.decoder.layers
    names = [n for n, m in layers.named_modules() if type(m) is nn.Linear and "lora_" not in n]
    for name in names:
        parent, _, child = name.rpartition(".")
        setattr(layers.get_submodule(parent), child, _quantized(layers.get_submodule(name), precision))


def _quantized(linear: Any, precision: Precision) -> Any:
    import bitsandbytes as bnb

    sizes = (linear.in_features, linear.out_features, linear.bias is not None)
    quantized: Any
    if precision is Precision.INT8:
        # The threshold is that of LLM.int8's paper; without one outliers are rounded too.
        quantized = bnb.nn.Linear8bitLt(*sizes, has_fp16_weights=False, threshold=6.0, device="meta")
        quantized.weight = bnb.nn.Int8Params(linear.weight.data, requires_grad=False, has_fp16_weights=False)
    else:
        dtype = linear.weight.dtype
        quantized = bnb.nn.Linear4bit(*sizes, compute_dtype=dtype, quant_type="nf4", device="meta")
        quantized.weight = bnb.nn.Params4bit(linear.weight.data, requires_grad=False, quant_type="nf4")
    if linear.bias is not None:
        quantized.bias = linear.bias
    return quantized
