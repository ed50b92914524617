"""BIM: text features f and image features v inform each other (paper, section 4.2, Figure 4, Table 2)."""

import torch
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from segment_anything.modeling.transformer import Attention, TwoWayAttentionBlock
from torch import Tensor, nn
from torch.nn.functional import interpolate


class InteractionError(ValueError):
    """The module cannot be built or used with what it was given; the message names the size that is wrong."""


class FourierPositions(nn.Module):
    """Random Fourier features of the cell centres of a grid (released code)."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, width // 2))

    def forward(self, height: int, width: int) -> Tensor:
        """Encode the cells of a grid.

        Returns:
            [height * width, C], row by row, in the matrix' dtype.
        """
        matrix = self.positional_encoding_gaussian_matrix
        rows = (torch.arange(height, device=matrix.device, dtype=matrix.dtype) + 0.5) / height
        columns = (torch.arange(width, device=matrix.device, dtype=matrix.dtype) + 0.5) / width
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        angles = 2 * torch.pi * ((2 * torch.stack([x, y], dim=-1) - 1) @ matrix)
        return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(0, 1)


class TwoWayTransformer(nn.Module):
    """Blocks of self-attention, text-to-image attention, MLP and image-to-text attention.

    One block is Figure 4. The released code has two, and a last text-to-image attention behind them. The block is
    segment-anything's, which the released code also uses, so that names and numbers agree.
    """

    def __init__(
        self, width: int, *, heads: int, mlp_width: int, depth: int, final_attention: bool, first_residual: bool
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayAttentionBlock(width, heads, mlp_width, skip_first_layer_pe=i == 0 and not first_residual)
            for i in range(depth)
        )
        self.final_attn_token_to_image: Attention | None = None
        self.norm_final_attn: nn.LayerNorm | None = None
        if final_attention:
            self.final_attn_token_to_image = Attention(width, heads, downsample_rate=2)
            self.norm_final_attn = nn.LayerNorm(width)

    def forward(self, text: Tensor, image: Tensor, image_positions: Tensor) -> tuple[Tensor, Tensor]:
        """Let both sides attend to each other.

        Args:
            text: [B, N, C]; added again to every query, as its own position encoding.
            image: [B, P, C].
            image_positions: [P, C], added to the image side's keys and queries.

        Returns:
            The text side [B, N, C] and the image side [B, P, C].
        """
        q, k = text, image
        for layer in self.layers:
            q, k = layer(queries=q, keys=k, query_pe=text, key_pe=image_positions)
        if self.final_attn_token_to_image is not None and self.norm_final_attn is not None:
            q = self.norm_final_attn(q + self.final_attn_token_to_image(q=q + text, k=k + image_positions, v=k))
        return q, k


class ImageCrossAttention(nn.Module):
    """Table 2's SimpleCA: image features attend to text features, and nothing flows back."""

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.cross_attn_image_to_token = Attention(width, heads, downsample_rate=2)
        self.norm4 = nn.LayerNorm(width)

    def forward(self, text: Tensor, image: Tensor, image_positions: Tensor) -> Tensor:
        """Inform [B, P, C] image features by [B, N, C] text features."""
        informed: Tensor = self.norm4(image + self.cross_attn_image_to_token(q=image + image_positions, k=text, v=text))
        return informed


class Bim(ModelMixin, ConfigMixin):
    """f', v' = BIM(f, v) (Eq. 3). Both output layers start at zero, so that a new module changes nothing.

    Parameter names are those of the released weights.
    """

    @register_to_config
    def __init__(
        self,
        *,
        text_size: int = 768,
        hidden_size: int = 1024,
        output_size: int = 320,
        num_heads: int = 8,
        mlp_size: int = 2048,
        depth: int = 1,
        final_attention: bool = False,
        position_encoding: bool = False,
        first_self_attention_residual: bool = True,
        text_residual: float = 1.0,
        bidirectional: bool = True,
    ) -> None:
        """Build the module; see `smartedit.config.model.BimConfig` for the settings.

        Args:
            text_size: Width of f.
            hidden_size: Width of v and of the attention.
            output_size: Width of v', the UNet's first level.
            num_heads: Attention heads.
            mlp_size: Width of the pointwise MLP.
            depth: Blocks.
            final_attention: Whether a last text-to-image attention follows the blocks.
            position_encoding: Whether image cells carry Fourier features.
            first_self_attention_residual: Whether the first self-attention adds to f.
            text_residual: Factor on what is added to f.
            bidirectional: False for Table 2's SimpleCA.
        """
        super().__init__()
        if hidden_size % (2 * num_heads):
            raise InteractionError(f"hidden_size {hidden_size} is not a multiple of twice num_heads ({2 * num_heads})")
        self.pe_layer = FourierPositions(hidden_size) if position_encoding else None
        self.modulate_head = nn.Linear(text_size, hidden_size)
        self.modulate_transformer: TwoWayTransformer | ImageCrossAttention
        self.dimension_reduction_head_qformer_out: nn.Linear | None = None
        if bidirectional:
            self.modulate_transformer = TwoWayTransformer(
                hidden_size,
                heads=num_heads,
                mlp_width=mlp_size,
                depth=depth,
                final_attention=final_attention,
                first_residual=first_self_attention_residual,
            )
            self.dimension_reduction_head_qformer_out = nn.Linear(hidden_size, text_size)
            _start_at_zero(self.dimension_reduction_head_qformer_out)
        else:
            self.modulate_transformer = ImageCrossAttention(hidden_size, heads=num_heads)
        self.dimension_reduction_head_zeroconv = nn.Conv2d(hidden_size, output_size, 1)
        _start_at_zero(self.dimension_reduction_head_zeroconv)
        self.text_residual = text_residual

    def forward(
        self, text_features: Tensor, image_features: Tensor, latent_size: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Compute f' and v'.

        Args:
            text_features: f, [B, N, text_size].
            image_features: v, [B, P, hidden_size]; the P patches form a square, row by row.
            latent_size: Height and width of the latents that v' is added to.

        Returns:
            f' [B, N, text_size] and v' [B, output_size, height, width].

        Raises:
            InteractionError: The patches form no square, or v has another width.
        """
        update, image = self.interact(text_features, image_features)
        text = text_features if update is None else text_features + self.text_residual * update
        return text, self.to_latent_grid(image, latent_size)

    def interact(self, text_features: Tensor, image_features: Tensor) -> tuple[Tensor | None, Tensor]:
        """What is added to f before the residual factor (None in SimpleCA), and the informed patches [B, P, C]."""
        side = _side(image_features, self.modulate_head.out_features)
        q = self.modulate_head(text_features)
        positions = image_features.new_zeros(()) if self.pe_layer is None else self.pe_layer(side, side)
        if isinstance(self.modulate_transformer, ImageCrossAttention):
            return None, self.modulate_transformer(q, image_features, positions)
        q, k = self.modulate_transformer(q, image_features, positions)
        assert self.dimension_reduction_head_qformer_out is not None
        return self.dimension_reduction_head_qformer_out(q), k

    def to_latent_grid(self, image: Tensor, latent_size: tuple[int, int]) -> Tensor:
        """v': the informed patches at the latents' size and the UNet's width."""
        side = _side(image, self.modulate_head.out_features)
        grid = image.transpose(1, 2).unflatten(2, (side, side))
        resized = interpolate(grid, size=latent_size, mode="bilinear", align_corners=False)
        feature: Tensor = self.dimension_reduction_head_zeroconv(resized)
        return feature


def _side(image_features: Tensor, width: int) -> int:
    patches, channels = image_features.shape[1:]
    side: int = round(patches**0.5)
    if side * side != patches:
        raise InteractionError(f"{patches} image features form no square grid")
    if channels != width:
        raise InteractionError(f"image features are {channels} wide, the module was built for {width}")
    return side


def _start_at_zero(layer: nn.Linear | nn.Conv2d) -> None:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
