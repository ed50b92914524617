"""Which timesteps are drawn, and where the denoiser's errors count how much."""

import pytest
import torch
from torch import Tensor

from smartedit.config.loading import ConfigError
from smartedit.config.model import load_model_config
from smartedit.training.losses import Timesteps, diffusion_loss, draw, emphasis_on_changes


def test_timesteps_are_uniform_unless_asked_otherwise() -> None:
    def drawn(**asked: float) -> Tensor:
        timesteps = Timesteps(total=1000, **asked)
        return draw((4000, 1, 1, 1), timesteps=timesteps, generator=torch.Generator().manual_seed(0)).timesteps

    uniform, early, last = drawn(), drawn(power=0.5), drawn(last_share=0.5)
    assert uniform.min() >= 0 and uniform.max() <= 999
    assert uniform.float().mean().item() == pytest.approx(500, abs=20)
    assert early.max() <= 999 and early.float().mean().item() == pytest.approx(667, abs=15)
    assert (last == 999).float().mean().item() == pytest.approx(0.5, abs=0.03)
    assert torch.equal(last[last != 999], uniform[last != 999])
    assert bool((drawn(last_share=1.0) == 999).all())


def test_errors_count_more_where_pictures_differ() -> None:
    source, target = torch.zeros(2, 4, 8, 8), torch.zeros(2, 4, 8, 8)
    target[0, :, 2, 2] = 1
    assert emphasis_on_changes(source, target, 1.0) is None
    emphasis = emphasis_on_changes(source, target, 4.0)
    assert emphasis is not None
    assert emphasis.shape == (2, 1, 8, 8)
    torch.testing.assert_close(emphasis.mean(dim=(1, 2, 3)), torch.ones(2))
    torch.testing.assert_close(emphasis[1], torch.ones(1, 8, 8))
    assert emphasis[0, 0, 1:4, 1:4].min().item() == pytest.approx(4 * emphasis[0, 0, 6, 6].item())
    error, is_edit = torch.rand(2, 4, 8, 8), torch.tensor([True, True])
    plain = diffusion_loss(error, torch.zeros_like(error), is_edit)
    torch.testing.assert_close(diffusion_loss(error, torch.zeros_like(error), is_edit, torch.ones(2, 1, 8, 8)), plain)


def test_noise_cannot_be_predicted_where_there_is_noise_alone() -> None:
    with pytest.raises(ConfigError, match="v_prediction"):
        load_model_config("smartedit-7b", ["model.scheduler.rescale_betas_zero_snr=true"])
