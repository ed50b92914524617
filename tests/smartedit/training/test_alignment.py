"""Stage `align` reads the system message once, and neither its losses nor its gradients show it."""

from pathlib import Path
from typing import Any

import pytest
import torch

from smartedit.config.model import ModelConfig
from smartedit.config.training import StageName
from smartedit.training.alignment import Alignment
from smartedit.training.build import build_trainee
from tests.smartedit.training.tiny_stages import settings


@pytest.fixture
def align(start: Path, manifest: Path, model_config: ModelConfig, text_encoder: Path) -> Any:
    built = build_trainee(
        StageName.ALIGN,
        start=start,
        manifest=manifest,
        model=model_config,
        training=settings("align"),
        text_encoder=text_encoder,
    )
    return built.trainee


def losses_and_gradients(align: Any, module: Alignment, batch: Any) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    for parameter in align.trained.values():
        parameter.grad = None
    losses = align.losses(module, batch, None, None, align.count_labels(batch))
    sum(losses.values()).backward()
    added = torch.tensor(list(align.added_tokens))
    gradients = {}
    for name, parameter in align.trained.items():
        is_rows = name.endswith(("embed_tokens.weight", "lm_head.weight"))
        gradients[name] = (parameter.grad[added] if is_rows else parameter.grad).clone()
    return {name: float(loss) for name, loss in losses.items()}, gradients


def test_fixed_words_are_read_once_and_change_nothing(align: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, whole = align.rows, Alignment(align.module.mllm, align.module.qformer)
    fixed = dataset.fixed_tokens()
    rows = [dataset[i] for i in range(8)]
    text = dataset.tokenizer.decode(fixed)
    # The released system message goes on with <img>, an added token, whose row is trained.
    assert text.endswith("The assistant can generate") and not set(fixed) & set(align.added_tokens)
    assert all(
        row.input_ids[: len(fixed)] == fixed and row.targets[: len(fixed) + 1].count(-100) > len(fixed) for row in rows
    )
    lengths: list[int] = []
    embed = align.module.mllm.model.get_input_embeddings()
    embed.register_forward_hook(lambda module, args, output: lengths.append(args[0].shape[1]))
    for chosen in (rows[:4], rows[4:]):
        batch = dataset.collate(chosen)
        length = batch.sequences.input_ids.shape[1]
        expected, theirs = losses_and_gradients(align, whole, batch)
        found, ours = losses_and_gradients(align, align.module, batch)
        assert found == pytest.approx(expected, rel=1e-5)
        assert ours.keys() == theirs.keys()
        for name, gradient in theirs.items():
            assert torch.allclose(ours[name], gradient, rtol=1e-3, atol=1e-6), name
        assert lengths[0] == length and lengths[-1] == length - len(fixed)
        assert lengths.count(len(fixed)) == (1 if chosen == rows[:4] else 0)
        lengths.clear()
    other = dataset.collate(rows[:4])
    other.sequences.input_ids[0, 1] += 1
    assert losses_and_gradients(align, align.module, other)[0] == losses_and_gradients(align, whole, other)[0]
