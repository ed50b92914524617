"""Aligns SmartEdit with the text encoder once more, now with a picture before each order and clues in some of them.

The paper's alignment stage reads captions without pictures; a 7B model that was taught with pictures says the same with
one in front. The miniature's language model does not: behind a picture what the QFormer made of its [IMG] states was
farther from the text encoder's features than the mean of all orders is. So between `joint` and `full` the parts that
`joint` trains, all but the UNet, learn to say an order in the text space while a picture is looked at; an order with a
clue means the plain one.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from smartedit.miniature.fit.clip import normalized
from smartedit.miniature.fit.muon import MuonWithAdamW
from smartedit.miniature.fit.pairs import SPACE, Pairs, batches
from smartedit.miniature.fit.precision import precision
from smartedit.miniature.fit.schedule import Journal, Plan, cosine, resume, save_state
from smartedit.miniature.fit.texts import with_clue
from smartedit.miniature.fit.tokenizers import clip_ids
from smartedit.model.prompts import Prompts, encode_edit
from smartedit.model.sequences import IGNORED, Sequences, pad, splice
from smartedit.model.text import encode_text
from smartedit.model.tokenizer import TokenLayout
from smartedit.seeding import numpy_generator
from smartedit.training.alignment import Alignment
from smartedit.training.losses import alignment_loss, language_loss
from smartedit.training.stages import EMBEDDING, HEAD, added_tokens, choose_groups, forget_old_rows, to_train_mode

TRAINED = ("token_rows", "lora", "qformer")
QUERIES = "query_tokens"
"""Of the QFormer: rows of their own, no matrix."""


def fit_picture_alignment(
    pipeline: Any, text_encoder: Any, words: Any, prompts: Prompts, pairs: Pairs, plan: Plan, out: Path
) -> None:
    """Train the [IMG] tokens, LoRA and QFormer of a SmartEdit pipeline in place.

    Args:
        pipeline: With LoRA, as stage `joint` leaves it.
        text_encoder: What is aligned to, frozen.
        words: Its tokenizer.
        prompts: The words around an order.
        pairs: Pictures and orders.
        plan: Steps, batch, learning rate and seed.
        out: Where states and the journal lie.
    """
    module, layout = Alignment(pipeline.mllm, pipeline.qformer), pipeline.layout
    trained = choose_groups(module, TRAINED, what="the alignment behind pictures")
    optimizer = MuonWithAdamW(module, learning_rate=plan.learning_rate, ends=(EMBEDDING, HEAD, QUERIES))
    step, journal = resume(out, module, optimizer), Journal(out, plan)
    to_train_mode(module, trained)
    for chosen in batches(len(pairs.instructions), size=plan.batch_size, steps=plan.steps, start=step, seed=plan.seed):
        torch.manual_seed(plan.seed * 10**6 + step)
        for group in optimizer.param_groups:
            group["lr"] = cosine(step, plan)
        rng = numpy_generator(SPACE, plan.seed, "picture alignment", step)
        orders = [pairs.instructions[k] for k in chosen]
        sequences = _sequences([with_clue(order, rng) for order in orders], pipeline, prompts, layout, rng)
        with precision(bf16=plan.bf16):
            features, logits = module(sequences, normalized(pairs.pictures[pairs.before[chosen]]))
        expected = encode_text(text_encoder, clip_ids(words, orders, features.shape[1]))
        assert sequences.targets is not None
        distance, language = alignment_loss(features, expected), language_loss(logits, sequences.targets)
        optimizer.zero_grad()
        (distance + language).backward()
        forget_old_rows(trained, added_tokens(layout))
        nn.utils.clip_grad_norm_(list(trained.values()), 1.0)
        optimizer.step()
        step += 1
        journal.note(step, alignment=distance.item(), language=language.item())
        if step % plan.save_every == 0 or step == plan.steps:
            save_state(out, module, optimizer, step)
    module.eval()


def _sequences(
    orders: Sequence[str], pipeline: Any, prompts: Prompts, layout: TokenLayout, rng: np.random.Generator
) -> Sequences:
    encoded = [
        encode_edit(
            pipeline.tokenizer,
            layout,
            prompts,
            order,
            phrasing=int(rng.integers(len(prompts.phrasings))),
            max_tokens=pipeline.config.max_text_tokens,
        )
        for order in orders
    ]
    return splice(
        pad([row.input_ids for row in encoded], layout.pad),
        img_tokens=layout.img_tokens,
        pad_id=layout.pad,
        num_patches=pipeline.mllm.num_patches,
        targets=pad([row.targets for row in encoded], IGNORED),
    )
