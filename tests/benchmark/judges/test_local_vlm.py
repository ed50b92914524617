"""The local judge with transformers' real classes at tiny size."""

import json
from pathlib import Path

import pytest

from benchmark.judges.judging import judge_run
from benchmark.judges.replies import ReplyCache
from benchmark.judges.verdicts import JudgeError
from benchmark.judges.vlm import LocalVisionChat, VlmJudge
from reason_edit.rating.study import Answer
from tests.reason_edit.rating.drawn_run import METHODS, write_run

TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endfor %} answer"
)


@pytest.fixture(scope="module")
def says_yes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LLaVA whose language head is zero: all words are equally likely, and greedy decoding takes the first, `yes`."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )

    folder = tmp_path_factory.mktemp("llava")
    words = ["yes", "no", "<unk>", "<s>", "</s>", "<image>", "answer", "picture"]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    fast.add_tokens(["<image>"], special_tokens=True)
    LlavaProcessor(
        image_processor=CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}),
        tokenizer=fast,
        patch_size=8,
        vision_feature_select_strategy="default",
        chat_template=TEMPLATE,
        num_additional_image_tokens=1,
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=16,
            patch_size=8,
        ),
        text_config=LlamaConfig(
            vocab_size=len(words),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            bos_token_id=3,
            eos_token_id=4,
            pad_token_id=4,
        ),
        image_token_index=5,
        vision_feature_layer=-1,
    )
    model = LlavaForConditionalGeneration(config)
    model.lm_head.weight.data.zero_()
    model.save_pretrained(folder)
    return folder


def test_a_local_model_answers_every_edit(says_yes: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", samples=2, methods=METHODS[:1])
    chat = LocalVisionChat(str(says_yes), device="cpu", max_new_tokens=1)
    judge = VlmJudge(chat, ReplyCache(tmp_path / "replies"))
    rows = judge_run(run, judge, "llava")
    assert [(r.answer, r.reply) for r in rows] == [(Answer.ALIGNED, "yes")] * 2
    assert judge.model.startswith(f"{says_yes}@")
    assert len(judge.model.rpartition("@")[2]) == 12


def test_a_local_model_that_babbles_gives_no_score(says_yes: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", samples=1, methods=METHODS[:1])
    chat = LocalVisionChat(str(says_yes), device="cpu", max_new_tokens=4)
    rows = judge_run(run, VlmJudge(chat, ReplyCache(tmp_path / "replies")), "llava")
    assert (rows[0].answer, rows[0].reason, rows[0].reply) == (None, "unreadable reply", "yes yes yes yes")


def test_missing_weights_are_refused_never_made_up(says_yes: Path, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    with pytest.raises(JudgeError, match="no such folder"):
        LocalVisionChat(str(tmp_path / "none"), device="cpu")
    broken = tmp_path / "broken"
    shutil.copytree(says_yes, broken)
    tensors = load_file(broken / "model.safetensors")
    lost = next(name for name in tensors if "vision" in name)
    save_file({k: v for k, v in tensors.items() if k != lost}, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(JudgeError, match="the weights lack"):
        LocalVisionChat(str(broken), device="cpu")
    (broken / "config.json").write_text(json.dumps({"model_type": "nothing-known"}))
    with pytest.raises(JudgeError, match="cannot be loaded"):
        LocalVisionChat(str(broken), device="cpu")
