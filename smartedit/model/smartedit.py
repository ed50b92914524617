"""SmartEdit: language model, QFormer, BIM and denoiser put together (paper, section 4.1; Eq. 3 and 4)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

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
class Needed:
    """What the losses read of a pass; nothing else is computed.

    Attributes:
        scored: [B, L], the positions whose next token is scored, M in all.
        denoised: [N], the rows that are edited.
        length_groups: The language model reads so many groups of rows of like length, each without the others' padding.
    """

    scored: Tensor
    denoised: Tensor
    length_groups: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class SmartEditOutput:
    """One training pass.

    Attributes:
        noise: The predicted noise, [B, 4, h, w], or [N, 4, h, w] of the rows that were needed.
        logits: Scores of the next token, [B, L, vocabulary], or [M, vocabulary] of the positions that were needed.
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
        needed: Needed | None = None,
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
            needed: What the losses read; None to compute all of it.
        """
        groups = 1 if needed is None else needed.length_groups
        hidden, image_features = self._read(sequences, pixel_values, image_features, groups)
        scored, img_mask = hidden, sequences.img_mask
        if needed is not None:
            scored, rows = hidden[needed.scored], needed.denoised
            hidden, image_features, img_mask = hidden[rows], image_features[rows], img_mask[rows]
            noisy_latents, image_latents, timesteps = noisy_latents[rows], image_latents[rows], timesteps[rows]
            drop_text = None if drop_text is None else drop_text[rows]
        size = (noisy_latents.shape[-2], noisy_latents.shape[-1])
        conditions = connect(self.qformer, self.bim, hidden, image_features, latent_size=size, img_mask=img_mask)
        text = conditions.text_features
        if drop_text is not None:
            text = torch.where(drop_text[:, None, None], self.empty_text(len(text)).to(text.dtype), text)
        noise = predict_noise(self.unet, noisy_latents, image_latents, timesteps, text, conditions.image_feature)
        return SmartEditOutput(noise=noise, logits=self.mllm.logits(scored), conditions=conditions)

    def _read(
        self, sequences: Sequences, pixel_values: Tensor | None, image_features: Tensor | None, groups: int
    ) -> tuple[Tensor, Tensor]:
        """Hidden states, [B, L, D], zero at padding where there are several groups, and v, [B, P, C]."""
        if groups == 1:
            read = self.mllm(
                sequences.input_ids,
                attention_mask=sequences.attention_mask,
                pixel_values=pixel_values,
                image_features=image_features,
            )
            return read.hidden_states, read.image_features
        hidden, features, order = [], [], sequences.lengths.argsort(stable=True)
        for rows in order.tensor_split(min(groups, len(order))):
            part = sequences.rows(rows)
            read = self.mllm(
                part.input_ids,
                attention_mask=part.attention_mask,
                pixel_values=None if pixel_values is None else pixel_values[rows],
                image_features=None if image_features is None else image_features[rows],
            )
            missing = sequences.input_ids.shape[1] - part.input_ids.shape[1]
            hidden.append(pad(read.hidden_states, (0, 0, 0, missing)))
            features.append(read.image_features)
        back = order.argsort()
        return torch.cat(hidden)[back], torch.cat(features)[back]


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
