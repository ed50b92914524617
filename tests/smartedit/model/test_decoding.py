"""The authors' token-by-token decode, and that one pass gives the same states."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from smartedit.model.decoding import decode_answer, gather_img_states, greedy_agreement, read_answer
from smartedit.model.prefix import common_prefix, read_prefix
from smartedit.model.sequences import IMAGE_PATCH, Sequences, pad, splice
from smartedit.model.smartedit import connect
from tests.smartedit.model.conftest import TrainingSetup
from tests.smartedit.model.recipe import HALF_TOLERANCE, Reference, assert_close

pytestmark = pytest.mark.parity


@dataclass
class Decode:
    reference: Reference
    setup: TrainingSetup
    pixels: Tensor

    def sequences(self, answer: list[int]) -> Sequences:
        ids = [*self.reference.meta["prompt_input_ids_before_removing_placeholder"], *answer]
        return splice(torch.tensor([ids]), img_tokens=self.setup.img_tokens, pad_id=0, num_patches=256)

    @property
    def scripted(self) -> list[int]:
        return self.reference.meta["scripted_tokens"]


@pytest.fixture(scope="module")
@torch.no_grad()
def decode(golden: Path, training_setup: TrainingSetup) -> Decode:
    reference = Reference(golden, "decode")
    pixels = reference.recipe("in.decode_img", **reference.meta["recipe_inputs"]["in.decode_img"])
    return Decode(reference=reference, setup=training_setup, pixels=pixels)


@torch.no_grad()
def test_reading_the_prompt(decode: Decode) -> None:
    mllm, sequences = decode.setup.model.mllm, decode.sequences([])
    seen_embeddings: list[Tensor] = []
    hook = mllm.decoder.register_forward_pre_hook(
        lambda _, args, kwargs: seen_embeddings.append(kwargs["inputs_embeds"]), with_kwargs=True
    )
    states = mllm(sequences.input_ids, attention_mask=sequences.attention_mask, pixel_values=decode.pixels)
    hook.remove()
    assert_close(seen_embeddings[0][0, ::8], decode.reference["out.inputs_embeds_strided"])
    assert_close(states.hidden_states[0, ::8], decode.reference["out.prefill_last_hidden_strided"])
    assert_close(mllm.logits(states.hidden_states[0, -1]), decode.reference["out.prefill_last_logits"])


def test_token_by_token(decode: Decode) -> None:
    script, argmax = iter(decode.scripted), []

    def follow_the_script(scores: Tensor) -> int:
        argmax.append(int(scores.argmax()))
        return next(script)

    answer = decode_answer(
        decode.setup.model.mllm,
        decode.sequences([]),
        decode.pixels,
        img_tokens=decode.setup.img_tokens,
        eos=decode.setup.reference.meta["llama"]["eos_token_id"],
        choose=follow_the_script,
    )
    assert answer.complete
    assert answer.token_ids == decode.scripted
    assert len(argmax) == decode.reference.meta["n_llm_calls"]
    assert argmax == decode.reference.meta["unscripted_argmax_at_each_scripted_step"]
    assert_close(answer.img_states[None], decode.reference["out.img_token_states"])


def test_free_run(decode: Decode) -> None:
    expected = decode.reference.meta["greedy_free_run_16_tokens"]
    answer = decode_answer(
        decode.setup.model.mllm,
        decode.sequences([]),
        decode.pixels,
        img_tokens=decode.setup.img_tokens,
        eos=decode.setup.reference.meta["llama"]["eos_token_id"],
        max_new_tokens=len(expected),
    )
    assert answer.token_ids == expected
    assert not answer.complete  # here one pass over a given answer is not what the free decode gives


@torch.no_grad()
def test_one_pass_gives_the_same_states_and_conditions(decode: Decode) -> None:
    model, reference = decode.setup.model, decode.reference
    sequences = decode.sequences(decode.scripted)
    read = read_answer(model.mllm, sequences, decode.pixels)
    states = gather_img_states(read.hidden_states, sequences.img_mask)
    assert_close(states, reference["out.img_token_states"])
    f = model.qformer(states)
    assert_close(f, reference["out.qformer_out"])
    half = f.half()  # the authors round f between QFormer and BIM, and what BIM adds to it
    text = half + model.bim.text_residual * model.bim.interact(half.float(), read.image_features)[0].half()
    assert_close(text, reference["out.both_condition_embeddings_fp16"], HALF_TOLERANCE)
    conditions = connect(model.qformer, model.bim, states, read.image_features, latent_size=(32, 32))
    strided = conditions.image_feature[:, ::10, ::4, ::4]
    assert_close(strided, reference["out.modulated_image_feature_strided"], HALF_TOLERANCE)
    assert_close(conditions.text_features, reference["out.both_condition_embeddings_fp16"], HALF_TOLERANCE)


@torch.no_grad()
def test_padding_and_neighbours_do_not_move_the_states(decode: Decode) -> None:
    model = decode.setup.model
    ids = [*decode.reference.meta["prompt_input_ids_before_removing_placeholder"], *decode.scripted]
    longer = [*ids[:50], *ids[40:]]
    rows = torch.tensor([[*ids, *[0] * (len(longer) - len(ids))], longer])
    both = splice(rows, img_tokens=decode.setup.img_tokens, pad_id=0, num_patches=256)
    hidden = read_answer(model.mllm, both, decode.pixels.repeat(2, 1, 1, 1)).hidden_states
    assert_close(gather_img_states(hidden, both.img_mask)[:1], decode.reference["out.img_token_states"])


@torch.no_grad()
def test_words_before_the_picture_are_read_once(decode: Decode) -> None:
    mllm = decode.setup.model.mllm
    other = [*decode.scripted[:3], *decode.scripted[5:]]
    single = decode.sequences(decode.scripted)
    rows = [
        [*decode.reference.meta["prompt_input_ids_before_removing_placeholder"], *a] for a in (decode.scripted, other)
    ]
    both = splice(pad(rows, 0), img_tokens=decode.setup.img_tokens, pad_id=0, num_patches=256)
    words = common_prefix(both)
    assert words.tolist() == decode.reference.meta["prompt_input_ids_before_removing_placeholder"][: len(words)]
    assert single.input_ids[0, len(words)] == IMAGE_PATCH
    prefix = read_prefix(mllm, words)
    for _ in range(2):  # what a pass reads is not added to it
        hidden = read_answer(mllm, both, decode.pixels.repeat(2, 1, 1, 1), prefix).hidden_states
        assert hidden.shape[1] == both.input_ids.shape[1] - len(words)
        states = gather_img_states(hidden, both.behind(len(words)).img_mask)
        assert_close(states[:1], decode.reference["out.img_token_states"])
    assert prefix.get_seq_length() == len(words)


@torch.no_grad()
def test_agreement_says_that_this_model_would_not_give_this_answer(decode: Decode) -> None:
    mllm, sequences = decode.setup.model.mllm, decode.sequences(decode.scripted)
    hidden = mllm(
        sequences.input_ids, attention_mask=sequences.attention_mask, pixel_values=decode.pixels
    ).hidden_states
    argmax = decode.reference.meta["unscripted_argmax_at_each_scripted_step"]
    hits = [a == s for a, s in zip(argmax, decode.scripted, strict=True) if s in decode.setup.img_tokens]
    assert greedy_agreement(mllm, sequences, hidden).tolist() == pytest.approx([sum(hits) / len(hits)])
    assert sum(hits) < len(hits)
