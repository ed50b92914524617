"""The sizes and checkpoints of SmartEdit; the defaults are the paper's 7B model (CVPR 2024, sections 4 and 5.1)."""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from smartedit.config.loading import ConfigError, load_tree, parse_override

_STRICT = ConfigDict(extra="forbid")


class Projector(StrEnum):
    """How image features enter the language model."""

    LINEAR = "linear"
    MLP = "mlp"


class Interaction(StrEnum):
    """How text and image features meet: the rows of Table 2."""

    PLAIN = "plain"
    SIMPLE_CROSS_ATTENTION = "simple_cross_attention"
    BIDIRECTIONAL = "bidirectional"


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class LanguageConfig:
    """The LLaMA inside LLaVA."""

    vocab_size: int = 32000
    """Rows of the vocabulary before the added tokens."""
    hidden_size: int = 4096
    """Width D of the hidden states; 5120 at 13B."""
    intermediate_size: int = 11008
    """Width of the gated feed-forward."""
    num_layers: int = 32
    """Decoder layers; 40 at 13B."""
    num_heads: int = 32
    """Attention heads; 40 at 13B."""
    max_positions: int = 2048
    """Longest sequence in tokens, image patches included."""
    rms_norm_eps: float = 1e-6
    """Epsilon of the RMS norms."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class VisionConfig:
    """The image encoder E_phi: CLIP ViT-L/14."""

    hidden_size: int = 1024
    """Width of the image features v."""
    intermediate_size: int = 4096
    """Width of the feed-forward."""
    num_layers: int = 24
    """Layers of the encoder."""
    num_heads: int = 16
    """Attention heads."""
    image_size: int = 224
    """Side of the square picture in pixels; 336 for LLaVA 1.5."""
    patch_size: int = 14
    """Side of a patch in pixels."""
    feature_layer: int = -2
    """The hidden state that is v, counted from the last; -2 in LLaVA."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class LoraConfig:
    """Low-rank adaptation of the language model (section 5.1)."""

    rank: int = 16
    """The paper's "dim"; the released code and weights have 8."""
    alpha: int = 27
    """Scale; the released code and weights have 16."""
    dropout: float = 0.05
    """Dropout before the first factor (released code; the paper does not say)."""
    target_modules: tuple[str, ...] = ("q_proj", "v_proj")
    """Adapted projections (released code; the paper does not say)."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class MllmConfig:
    """The multimodal language model that reads picture and instruction."""

    checkpoint: str | None = None
    """A LLaVA (or other image-text) checkpoint of transformers to start from; None for random weights."""
    tokenizer: str | None = None
    """A folder or name with the tokenizer; None to take it from the checkpoint."""
    projector: Projector = Projector.LINEAR
    """Linear in LLaVA 1.1 (the paper's FC layer), an MLP in LLaVA 1.5."""
    num_img_tokens: int = 32
    """r, the number of [IMG] tokens (section 5.1)."""
    max_text_tokens: int = 256
    """Longest text in tokens; with the 256 patches this fills the 512 positions of the released code."""
    language: LanguageConfig = Field(default_factory=LanguageConfig)
    vision: VisionConfig = Field(default_factory=VisionConfig)
    lora: LoraConfig | None = Field(default_factory=LoraConfig)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class QFormerConfig:
    """The QFormer Q_beta between the language model and the CLIP text space (sections 4.1 and 5.1)."""

    num_queries: int = 77
    """n, the learnable queries; also CLIP's text length."""
    hidden_size: int = 768
    """Width of f; the CLIP text width of Stable Diffusion 1.5."""
    intermediate_size: int = 3072
    """Width of the feed-forward."""
    num_layers: int = 6
    """Layers."""
    num_heads: int = 12
    """Attention heads."""
    cross_attention_frequency: int = 2
    """Every which layer looks at the hidden states h (released code; the paper does not say)."""
    dropout: float = 0.1
    """Dropout in training (released code)."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class BimConfig:
    """The bidirectional interaction module (section 4.2)."""

    interaction: Interaction = Interaction.BIDIRECTIONAL
    """Which row of Table 2."""
    hidden_size: int = 1024
    """Width inside; must equal the width of the image features v."""
    mlp_size: int = 2048
    """Width of the pointwise MLP."""
    num_heads: int = 8
    """Attention heads."""
    depth: int = 1
    """Blocks; one in Figure 4, two in the released code."""
    final_attention: bool = False
    """A last attention from text to image after the blocks; only in the released code."""
    position_encoding: bool = False
    """Random Fourier features added to the image features; only in the released code."""
    first_self_attention_residual: bool = True
    """Whether the first self-attention adds to f; the released code replaces f instead."""
    text_residual: float = 1.0
    """f' = f + text_residual * (what the module adds); 0.5 in the released code."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class UNetConfig:
    """The denoiser: Stable Diffusion 1.5's UNet with eight input channels."""

    checkpoint: str | None = None
    """A UNet of diffusers (4 or 8 input channels), or a pipeline that has one; None for random weights."""
    sample_size: int = 32
    """Side of the latent; 32 for 256 pixels."""
    block_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    """Channels of the levels; the first is the width of v'."""
    attention_levels: tuple[bool, ...] = (True, True, True, False)
    """Which levels attend to f'."""
    layers_per_block: int = 2
    """Residual layers of a level."""
    num_heads: int = 8
    """Attention heads (diffusers calls it attention_head_dim in this model)."""
    norm_groups: int = 32
    """Groups of the group norms."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class VaeConfig:
    """The image autoencoder E and its decoder, frozen."""

    checkpoint: str | None = None
    """An AutoencoderKL of diffusers, or a pipeline that has one; None for random weights."""
    block_channels: tuple[int, ...] = (128, 256, 512, 512)
    """Channels of the levels; four levels make latents an eighth of the picture."""
    layers_per_block: int = 2
    """Residual layers of a level."""
    latent_channels: int = 4
    """Channels of a latent."""
    norm_groups: int = 32
    """Groups of the group norms."""
    scaling_factor: float = 0.18215
    """Factor on the latents z; the image condition E(x) is not scaled."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TextConfig:
    """CLIP's text encoder: the target of the alignment stage, and the features of the empty text."""

    checkpoint: str | None = None
    """A CLIP text model of transformers, or a pipeline that has one; None for random weights."""
    vocab_size: int = 49408
    """Rows of the vocabulary."""
    intermediate_size: int = 3072
    """Width of the feed-forward."""
    num_layers: int = 12
    """Layers."""
    num_heads: int = 12
    """Attention heads."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class SchedulerConfig:
    """The noise schedule, in diffusers' words."""

    beta_start: float = 0.00085
    beta_end: float = 0.012
    beta_schedule: str = "scaled_linear"
    num_train_timesteps: int = 1000
    prediction_type: str = "epsilon"
    rescale_betas_zero_snr: bool = False
    """Whether nothing of the picture is left at the last timestep (S. Lin and others, 2023); not with `epsilon`."""

    def __post_init__(self) -> None:
        if self.rescale_betas_zero_snr and self.prediction_type == "epsilon":
            raise ValueError(
                "scheduler.rescale_betas_zero_snr needs prediction_type v_prediction: at the last timestep there is "
                "noise alone, and it says nothing of the picture"
            )


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class SamplingConfig:
    """How a picture is sampled (released code; the paper gives no numbers)."""

    image_size: int = 256
    """Side of the square that a picture is resized to, in pixels."""
    num_inference_steps: int = 100
    """Denoising steps."""
    guidance_scale: float = 7.5
    """s_T, the strength of the instruction."""
    image_guidance_scale: float = 1.5
    """s_I, the strength of the source picture."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class ModelConfig:
    """The whole model; the defaults are the paper's SmartEdit-7B."""

    mllm: MllmConfig = Field(default_factory=MllmConfig)
    qformer: QFormerConfig = Field(default_factory=QFormerConfig)
    bim: BimConfig = Field(default_factory=BimConfig)
    unet: UNetConfig = Field(default_factory=UNetConfig)
    vae: VaeConfig = Field(default_factory=VaeConfig)
    text: TextConfig = Field(default_factory=TextConfig)
    scheduler: SchedulerConfig = Field(default_factory=SchedulerConfig)
    sampling: SamplingConfig = Field(default_factory=SamplingConfig)
    weights: str | None = None
    """The trained pipeline of these sizes: weights that ship, a folder or a hub id; None where there is none."""
    prompts: str | None = None
    """A TOML file of phrasings, or the name of a set that ships; None for the released chat format with ours."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="ignore"))
class _ModelSection:
    """What is read of a preset here; its other sections belong to other stages."""

    model: ModelConfig = Field(default_factory=ModelConfig)


def load_model_config(source: str | Path | None = None, overrides: Sequence[str] = ()) -> ModelConfig:
    """Read the `[model]` section of a preset or TOML file.

    Args:
        source: A preset's name or a TOML file; None for the defaults (the paper's 7B model).
        overrides: Texts like `model.mllm.lora.rank=8`.

    Raises:
        ConfigError: Unknown preset, file or key, a wrong type, or an override outside `model`.
    """
    for override in overrides:
        if parse_override(override)[0][0] != "model":
            raise ConfigError(
                f"--set {override!r}: settings of the model start with model., for example model.bim.depth=2"
            )
    return load_tree(_ModelSection, source=source, overrides=overrides).model


def as_released(config: ModelConfig) -> ModelConfig:
    """The same sizes in the form of the released code and weights, which differ from the paper.

    LoRA 8/16 instead of 16/27; a BIM of two blocks with position encodings, a final attention and a halved residual.
    """
    lora = config.mllm.lora and replace(config.mllm.lora, rank=8, alpha=16)
    bim = replace(
        config.bim,
        interaction=Interaction.BIDIRECTIONAL,
        depth=2,
        final_attention=True,
        position_encoding=True,
        first_self_attention_residual=False,
        text_residual=0.5,
    )
    return replace(config, mllm=replace(config.mllm, lora=lora), bim=bim)
