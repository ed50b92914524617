"""The authors' alignment stage: text only, f against CLIP's features of the same caption."""

from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from smartedit.config.model import QFormerConfig, TextConfig
from smartedit.model.build import build_qformer, build_text_encoder
from smartedit.model.layout import place
from smartedit.model.text import encode_text
from smartedit.training.losses import alignment_loss, language_loss
from tests.smartedit.model.recipe import Reference, assert_close


@pytest.mark.parity
@torch.no_grad()
def test_features_and_losses(golden: Path) -> None:
    reference = Reference(golden, "stage1")
    llama, former, clip = (reference.meta[name] for name in ("llama", "qformer", "clip_text"))
    vocabulary = reference.meta["params"]["lm_head.weight"]["shape"][0]
    language = LlamaForCausalLM(LlamaConfig(**{**llama, "vocab_size": vocabulary}, tie_word_embeddings=False)).eval()
    qformer = build_qformer(
        QFormerConfig(
            num_queries=former["queries"],
            hidden_size=former["hidden_size"],
            intermediate_size=former["intermediate_size"],
            num_layers=former["layers"],
            num_heads=former["heads"],
        ),
        encoder_size=llama["hidden_size"],
    ).eval()
    text_encoder = build_text_encoder(
        TextConfig(
            vocab_size=clip["vocab_size"],
            intermediate_size=clip["intermediate_size"],
            num_layers=clip["layers"],
            num_heads=clip["heads"],
        ),
        hidden_size=clip["hidden_size"],
        num_tokens=former["queries"],
    )
    state = reference.recipe_state()
    qformer.load_state_dict(
        {place(n).name: v for n, v in state.items() if n.startswith("qformer.") or n == "query_tokens"}
    )
    prefix = "clip_text_model.text_model."
    text_encoder.load_state_dict({n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)})
    language.load_state_dict({n: v for n, v in state.items() if n.startswith(("model.", "lm_head."))})

    hidden = language.model(reference["in.input_ids"], attention_mask=reference["in.attention_mask"]).last_hidden_state
    f = qformer(hidden, reference["in.encoder_attention_mask"])
    captions = encode_text(text_encoder, reference["in.input_ids_clip_format"])
    assert_close(captions, reference["out.clip_text_feat"])
    assert_close(f, reference["out.query_output"])
    losses = (language_loss(language.lm_head(hidden), reference["in.labels"]), alignment_loss(f, captions))
    assert losses[0].item() == pytest.approx(reference.meta["losses"]["LM"], rel=2e-5)
    assert losses[1].item() == pytest.approx(reference.meta["losses"]["align_mse"], rel=2e-5)
    assert_close(sum(losses).view(1), reference["out.loss"])
