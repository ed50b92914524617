"""SmartEdit: language model, QFormer, BIM and denoiser put together (paper, section 4.1; Eq. 3 and 4)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from smartedit.model.bim import Bim
from smartedit.model.mllm import ImageTextMllm
from smartedit.model.qformer import QFormer
from smartedit.model.sequences import Sequences
from smartedit.model.text import EmptyText
from smartedit.model.unet import SmartEditUNet


@dataclass(frozen=True, kw_only=True, slots=True)
class Conditions:
    """What the denoiser is told about an edit.

    Attributes:
        text_features: f', [B, n, C].
        image_feature: v', [B, first UNet width, h, w]; None in Table 2's plain model.
    """

    text_features: Tensor
    image_feature: Tensor | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SmartEditOutput:
    """One training pass.

    Attributes:
        noise: The predicted noise, [B, 4, h, w].
        logits: Scores of the next token, [B, L, vocabulary].
        conditions: f' before conditions were dropped, and v'.
    """

    noise: Tensor
    logits: Tensor
    conditions: Conditions


class SmartEdit(nn.Module):
    """The trainable model. The autoencoder stays outside: it is frozen, and its latents can be stored."""

    def __init__(
        self,
        *,
        mllm: ImageTextMllm,
        qformer: QFormer,
        bim: Bim | None,
        unet: SmartEditUNet,
        empty_text: EmptyText,
    ) -> None:
        """Put parts together.

        Args:
            mllm: The language model.
            qformer: Q_beta.
            bim: The interaction module; None for Table 2's plain model and for training before stage `full`.
            unet: The denoiser.
            empty_text: Features for the dropped condition.
        """
        super().__init__()
        self.mllm = mllm
        self.qformer = qformer
        self.bim = bim
        self.unet = unet
        self.empty_text = empty_text

    def forward(
        self,
        *,
        sequences: Sequences,
        pixel_values: Tensor | None,
        noisy_latents: Tensor,
        image_latents: Tensor,
        timesteps: Tensor,
        drop_text: Tensor | None = None,
        image_features: Tensor | None = None,
    ) -> SmartEditOutput:
        """One pass from tokens and pictures to predicted noise, through which both losses reach every part.

        Args:
            sequences: Request and answer with the picture spliced in.
            pixel_values: The picture for the image encoder, [B, 3, H, W].
            noisy_latents: z_t, [B, 4, h, w].
            image_latents: E(x), unscaled, zero where the condition is dropped; [B, 4, h, w].
            timesteps: t, [B].
            drop_text: [B], True where the empty text replaces f'.
            image_features: v, [B, P, C], kept from an earlier pass; in place of `pixel_values`.
        """
        read = self.mllm(
            sequences.input_ids,
            attention_mask=sequences.attention_mask,
            pixel_values=pixel_values,
            image_features=image_features,
        )
        size = (noisy_latents.shape[-2], noisy_latents.shape[-1])
        conditions = connect(
            self.qformer,
            self.bim,
            read.hidden_states,
            read.image_features,
            latent_size=size,
            img_mask=sequences.img_mask,
        )
        text = conditions.text_features
        if drop_text is not None:
            text = torch.where(drop_text[:, None, None], self.empty_text(len(text)).to(text.dtype), text)
        noise = predict_noise(self.unet, noisy_latents, image_latents, timesteps, text, conditions.image_feature)
        return SmartEditOutput(noise=noise, logits=self.mllm.logits(read.hidden_states), conditions=conditions)


def connect(
    qformer: QFormer,
    bim: Bim | None,
    hidden_states: Tensor,
    image_features: Tensor,
    *,
    latent_size: tuple[int, int],
    img_mask: Tensor | None = None,
) -> Conditions:
    """F = Q_beta(h);  f', v' = BIM(f, v)  (Eq. 3).

    Args:
        qformer: Q_beta.
        bim: The interaction module, or None.
        hidden_states: h, [B, L, D]; with `img_mask` those of all positions.
        image_features: v, [B, P, C].
        latent_size: Height and width of the latents.
        img_mask: [B, L], where the [IMG] tokens are; None when h holds nothing else.
    """
    f = qformer(hidden_states, img_mask)
    if bim is None:
        return Conditions(text_features=f, image_feature=None)
    text, feature = bim(f.to(bim.dtype), image_features.to(bim.dtype), latent_size)
    return Conditions(text_features=text, image_feature=feature)


def predict_noise(
    unet: SmartEditUNet,
    noisy_latents: Tensor,
    image_latents: Tensor,
    timesteps: Tensor,
    text_features: Tensor,
    image_feature: Tensor | None,
) -> Tensor:
    """eps_delta(t, concat[z_t, E(x)] + v', f')  (Eq. 4; v' is added behind the first convolution)."""
    sample = torch.cat([noisy_latents, image_latents], dim=1).to(unet.dtype)
    noise: Tensor = unet(sample, timesteps, text_features.to(unet.dtype), image_feature).sample
    return noise
