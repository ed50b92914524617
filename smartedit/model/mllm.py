"""The multimodal language model: picture and instruction in, hidden states out (paper, section 4.1; Eq. 2 and 3)."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from torch import Tensor, nn

from smartedit.model.sequences import IMAGE_PATCH

_UNSUITABLE = {
    "paligemma": "it attends within the prompt in both directions, so that one pass is not the decode",
    "qwen2_vl": "it gives patches positions in three dimensions",
    "qwen2_5_vl": "it gives patches positions in three dimensions",
    "qwen3_vl": "it gives patches positions in three dimensions",
}
"""Families that would load and compute something else than they were trained for."""


class MllmError(ValueError):
    """The language model cannot be built or used with what it was given; the message names the size that is wrong."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MllmOutput:
    """What the language model makes of sequences and pictures.

    Attributes:
        hidden_states: [B, L, D], after the last norm.
        image_features: v = E_phi(x), [B, P, C], before the projector; None where no picture was given.
        cache: Keys and values for the next call, where they were asked for.
    """

    hidden_states: Tensor
    image_features: Tensor | None
    cache: Any = None


class Mllm(Protocol):
    """What SmartEdit needs of a multimodal language model; `ImageTextMllm` gives it for transformers' models."""

    def __call__(
        self, input_ids: Tensor, *, attention_mask: Tensor, pixel_values: Tensor | None = None, cache: Any = None
    ) -> MllmOutput:
        """Read sequences whose `IMAGE_PATCH` positions are filled from the pictures, in order.

        Args:
            input_ids: [B, L].
            attention_mask: [B, L], False at padding; with a cache as long as what was read so far.
            pixel_values: [B, 3, H, W], normalized as the encoder expects; None behind the first call of a decode.
            cache: Keys and values of earlier calls, which this call appends to.
        """
        ...

    def logits(self, hidden_states: Tensor) -> Tensor:
        """Scores of the next token, [..., vocabulary]."""
        ...


class ImageTextMllm(ModelMixin, ConfigMixin):
    """An image-text model of transformers as SmartEdit's language model, with LoRA by peft.

    Works with the models that put projected patches into a causal decoder's sequence (LLaVA, InternVL ...): what they
    share is `get_image_features`, a decoder that takes embeddings, and an output layer. It does not suit models that
    attend within the prompt in both directions (PaliGemma) or place patches in more than one dimension (Qwen2-VL), and
    refuses those that are known.
    """

    @register_to_config
    def __init__(
        self,
        *,
        architecture: dict[str, Any],
        linear_projector: bool = False,
        feature_layer: int = -2,
        lora_rank: int = 0,
        lora_alpha: int = 0,
        lora_dropout: float = 0.0,
        lora_targets: tuple[str, ...] = ("q_proj", "v_proj"),
    ) -> None:
        """Build the model with random weights.

        Args:
            architecture: The model's configuration in transformers' form, `model_type` included.
            linear_projector: One linear layer as projector, as in LLaVA 1.1; otherwise the model's own.
            feature_layer: The hidden state of the image encoder that is v, counted from the last.
            lora_rank: Rank of the adapters; 0 for none.
            lora_alpha: Their scale.
            lora_dropout: Dropout before the first factor.
            lora_targets: The adapted projections of the decoder.

        Raises:
            MllmError: The family does not fit.
        """
        super().__init__()
        from transformers import AutoConfig, AutoModelForImageTextToText

        settings = dict(architecture)
        _check_family(settings["model_type"])
        config = AutoConfig.for_model(settings.pop("model_type"), **settings)
        self.model = AutoModelForImageTextToText.from_config(config)
        _untie(self.model)
        if linear_projector:
            self.model.model.multi_modal_projector = nn.Linear(config.vision_config.hidden_size, self.hidden_size)
        if lora_rank:
            self.add_lora(rank=lora_rank, alpha=lora_alpha, dropout=lora_dropout, targets=lora_targets)
        self.feature_layer = feature_layer

    @classmethod
    def around(cls, model: Any, *, feature_layer: int = -2) -> "ImageTextMllm":
        """Take a loaded model of transformers as it is, without copying its weights."""
        _check_family(model.config.model_type)
        _untie(model)
        with torch.device("meta"):
            mllm: ImageTextMllm = cls(architecture=model.config.to_dict(), feature_layer=feature_layer)
        mllm.model = model
        return mllm

    def add_lora(self, *, rank: int, alpha: int, dropout: float, targets: tuple[str, ...]) -> None:
        """Put adapters into the decoder's projections; the other parameters keep their values."""
        from peft import LoraConfig, inject_adapter_in_model

        adapter = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=list(targets), bias="none")
        inject_adapter_in_model(adapter, self.decoder)
        self.register_to_config(lora_rank=rank, lora_alpha=alpha, lora_dropout=dropout, lora_targets=targets)

    @property
    def decoder(self) -> Any:
        """The language model without its output layer."""
        return self.model.get_decoder()

    @property
    def hidden_size(self) -> int:
        """D, the width of the hidden states."""
        return int(self.model.config.get_text_config().hidden_size)

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding."""
        return int(self.model.get_input_embeddings().weight.shape[0])

    @property
    def image_size(self) -> int:
        """Side of the pictures that the encoder takes, in pixels."""
        size = self.model.config.vision_config.image_size
        return int(size if isinstance(size, int) else size[0])

    @property
    def num_patches(self) -> int:
        """Places that a picture takes in a sequence."""
        config = self.model.config
        patch = config.vision_config.patch_size
        side = self.image_size // int(patch if isinstance(patch, int) else patch[0])
        shrink = float(getattr(config, "downsample_ratio", 1.0))  # InternVL merges neighbouring patches
        return int(side * side * shrink * shrink)

    def forward(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor,
        pixel_values: Tensor | None = None,
        image_features: Tensor | None = None,
        cache: Any = None,
    ) -> MllmOutput:
        """Read sequences and pictures; see `Mllm.__call__`.

        Args:
            input_ids: [B, L].
            attention_mask: [B, L].
            pixel_values: [B, 3, H, W].
            image_features: v, [B, P, C], kept from an earlier call; in place of `pixel_values`.
            cache: Keys and values of earlier calls.

        Raises:
            MllmError: Patches and their places differ in number, or this family's v cannot be kept.
        """
        is_patch = input_ids == IMAGE_PATCH
        embeddings: Tensor = self.model.get_input_embeddings()(input_ids.masked_fill(is_patch, 0))
        projected = None
        if image_features is not None:
            projected = self._project(image_features)
        elif pixel_values is not None:
            image_features, projected = self.look(pixel_values)
        if projected is not None:
            places, patches = int(is_patch.sum()), projected.shape[:-1].numel()
            if places != patches:
                raise MllmError(f"the sequences have {places} places for {patches} projected patches")
            embeddings = embeddings.masked_scatter(is_patch[..., None], projected.to(embeddings.dtype))
        output = self.decoder(
            inputs_embeds=embeddings,
            attention_mask=attention_mask,
            past_key_values=cache,
            use_cache=cache is not None,
        )
        return MllmOutput(hidden_states=output.last_hidden_state, image_features=image_features, cache=cache)

    @property
    def keeps_features(self) -> bool:
        """Whether the projector reads v and nothing else of the picture, so that v can be kept (LLaVA)."""
        config = self.model.config
        return bool(
            config.model_type == "llava"
            and config.vision_feature_layer == self.feature_layer
            and config.vision_feature_select_strategy == "default"
        )

    def _project(self, image_features: Tensor) -> Tensor:
        if not self.keeps_features:
            raise MllmError(
                f"the projector of {self.model.config.model_type} models reads more than v: give pixel_values "
                "(training.cache=false)"
            )
        projector = self.model.model.multi_modal_projector
        projected: Tensor = projector(image_features.to(next(projector.parameters()).dtype))
        return projected

    def look(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """v, and v_mu(x) behind the projector: what BIM and what the language model reads of the pictures."""
        encoder_dtype = next(p for n, p in self.model.named_parameters() if "vision" in n).dtype
        seen = self.model.get_image_features(pixel_values.to(encoder_dtype), output_hidden_states=True)
        features = seen.hidden_states[self.feature_layer]
        side = int(features.shape[1] ** 0.5)
        features = features[:, features.shape[1] - side * side :]  # class tokens stand before the patches
        projected = seen.pooler_output
        return features, projected if isinstance(projected, Tensor) else torch.stack(list(projected))

    def logits(self, hidden_states: Tensor) -> Tensor:
        """Scores of the next token; see `Mllm.logits`."""
        head = self.model.get_output_embeddings()
        scores: Tensor = head(hidden_states.to(head.weight.dtype))
        return scores


def _check_family(model_type: str) -> None:
    if model_type in _UNSUITABLE:
        raise MllmError(f"models of type {model_type} do not fit: {_UNSUITABLE[model_type]}")


def _untie(model: Any) -> None:
    """Give the output layer its own weights: the [IMG] tokens have an embedding and an output row each."""
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if head.weight is embedding.weight:
        head.weight = nn.Parameter(embedding.weight.detach().clone())
    model.config.tie_word_embeddings = False
    model.config.get_text_config().tie_word_embeddings = False


def extend_vocabulary(mllm: ImageTextMllm, size: int, *, first: int | None = None) -> None:
    """Make room for the added tokens; their rows start as the mean of the old ones, as in the released code.

    Args:
        mllm: The model, changed in place.
        size: Tokens in all.
        first: The first of those that are added now, where rows behind the old tokens may be padding; None where all
            present rows are old.
    """
    old = mllm.vocab_size if first is None else min(first, mllm.vocab_size)
    if size <= old:
        return
    if size > mllm.vocab_size:
        mllm.model.resize_token_embeddings(size, mean_resizing=False)
    with torch.no_grad():
        for layer in (mllm.model.get_input_embeddings(), mllm.model.get_output_embeddings()):
            layer.weight[old:size] = layer.weight[:old].mean(dim=0)
    mllm.register_to_config(architecture=mllm.model.config.to_dict())
