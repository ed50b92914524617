"""Trains the miniature's language model: LLaVA's classes on drawn pictures' questions, knowledge and plain talk."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from smartedit.config.model import MllmConfig
from smartedit.miniature.fit.clip import normalized
from smartedit.miniature.fit.looks import Looks
from smartedit.miniature.fit.muon import MuonWithAdamW
from smartedit.miniature.fit.pairs import SPACE, Pairs
from smartedit.miniature.fit.precision import precision
from smartedit.miniature.fit.schedule import Journal, Plan, cosine, is_finished, resume, save_finished, save_state
from smartedit.miniature.fit.texts import Exchange, described, echoed, knowledge, said_back
from smartedit.miniature.stock import Stock
from smartedit.model.build import build_mllm
from smartedit.model.mllm import ImageTextMllm
from smartedit.model.prompts import Prompts
from smartedit.model.sequences import IGNORED, Sequences, pad, splice
from smartedit.model.tokenizer import TokenLayout
from smartedit.seeding import numpy_generator
from smartedit.training.losses import language_loss
from smartedit.training.stages import EMBEDDING, HEAD

PROMPT_WEIGHT = 0.2
"""Weight of what the person says; the answer has weight 1. So the model also learns which clues belong to a kind."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Talk:
    """How exchanges become tokens.

    Attributes:
        tokenizer: LLaMA's, with the [IMG] tokens.
        layout: Where they are.
        prompts: Gives the system message.
        num_patches: Patches of a picture.
    """

    tokenizer: Any
    layout: TokenLayout
    prompts: Prompts
    num_patches: int

    def rows(self, exchanges: Sequence[Exchange], *, with_picture: bool) -> tuple[list[list[int]], list[int]]:
        """Token ids, and how many of each row are the request's."""
        layout, tokenize = self.layout, self.tokenizer
        rows, lengths = [], []
        for exchange in exchanges:
            opening = f"{self.prompts.system} USER: "
            asked = f"{opening}{exchange.question} ASSISTANT:"
            if with_picture:
                first, second = opening, f"{exchange.question} ASSISTANT:"
                picture = [layout.image_start, layout.first_img_token, layout.image_end]
                head = [*_ids(tokenize, first), *picture, *_ids(tokenize, second)]
            else:
                head = _ids(tokenize, asked)
            rows.append([layout.bos, *head, *_ids(tokenize, exchange.answer), layout.eos])
            lengths.append(1 + len(head))
        return rows, lengths

    def sequences(self, exchanges: Sequence[Exchange], *, with_picture: bool) -> Sequences:
        """Padded rows; targets are all tokens, those of the request negative by `_asked`."""
        rows, lengths = self.rows(exchanges, with_picture=with_picture)
        ids, targets = pad(rows, self.layout.pad), pad(rows, IGNORED)
        asked = torch.arange(ids.shape[1])[None] < torch.tensor(lengths)[:, None]
        marked = torch.where(asked & (targets != IGNORED), -1000 - targets, targets)
        if with_picture:
            return splice(
                ids,
                img_tokens=self.layout.img_tokens,
                pad_id=self.layout.pad,
                num_patches=self.num_patches,
                targets=marked,
            )
        mask = targets != IGNORED
        return Sequences(input_ids=ids, attention_mask=mask, img_mask=torch.zeros_like(mask), targets=marked)


def _ids(tokenizer: Any, text: str) -> list[int]:
    found: list[int] = tokenizer(text, add_special_tokens=False).input_ids
    return found


def _talk_losses(logits: Tensor, marked: Tensor, added: range) -> tuple[Tensor, Tensor]:
    """Loss of the answers and of the requests; the picture's own tokens are not asked for."""
    own = marked <= -1000
    spoken = torch.where(own, -1000 - marked, torch.full_like(marked, IGNORED))
    spoken = spoken.masked_fill((spoken >= added.start) & (spoken < added.stop), IGNORED)
    return language_loss(logits, marked.masked_fill(own, IGNORED)), language_loss(logits, spoken)


def exchanges(stock: Stock, step: int, count: int) -> list[Exchange]:
    """The text-only exchanges of one step."""
    found = []
    for k in range(count):
        rng = numpy_generator(SPACE, stock.seed, "talk", step, k)
        choice = rng.random()
        if choice < 0.6:
            found.append(knowledge(rng))
        elif choice < 0.88:
            found.append(described(stock.scene(SPACE, "talk", int(rng.integers(20000))), rng))
        else:
            found.append(echoed(_any_words(rng)))
    return found


def _any_words(rng: np.random.Generator) -> str:
    exchange = knowledge(rng)
    return exchange.question if rng.random() < 0.5 else exchange.answer


def fit_language(
    looks: Looks,
    pairs: Pairs,
    vision: nn.Module,
    talk: Talk,
    config: MllmConfig,
    stock: Stock,
    plans: Sequence[Plan],
    out: Path,
) -> ImageTextMllm:
    """Train words alone first, then words and pictures in turn, then orders to be said back beside both.

    The picture encoder stays frozen, as in LLaVA. The last part teaches what every large language model brings along:
    to repeat, in other words, what was asked for. Without it there is nothing in the [IMG] tokens' states that LoRA
    could turn into an order's meaning.

    Args:
        looks: Pictures with questions.
        pairs: Pictures with orders.
        vision: CLIP's trained vision tower.
        talk: Tokens.
        config: Sizes; LoRA is left to SmartEdit's stages.
        stock: Scenes for talk.
        plans: Of the three parts.
        out: Where the finished model is written.
    """
    if is_finished(out):
        finished: ImageTextMllm = ImageTextMllm.from_pretrained(out)
        return finished
    torch.manual_seed(plans[0].seed)
    mllm: ImageTextMllm = build_mllm(replace(config, lora=None))
    mllm.train()
    tower = mllm.model.model.vision_tower
    tower.load_state_dict(vision.state_dict())
    tower.requires_grad_(False)
    for number, plan in enumerate(plans):
        steps = _steps(looks if number else None, pairs if number == 2 else None, talk, stock, plan)
        fit_talk(mllm, steps, talk.layout, plan, out / f"part{number}")
    save_finished(mllm.eval(), out)
    return mllm


Step = tuple[Sequences, Tensor | None]
"""Rows and their pictures."""


def fit_talk(mllm: ImageTextMllm, rows: Callable[[int], Step], layout: TokenLayout, plan: Plan, out: Path) -> None:
    """Train all parameters that require gradients to answer.

    Args:
        mllm: In training mode; changed in place.
        rows: Gives those of a step.
        layout: The picture's own tokens, which are not asked for.
        plan: Steps, batch, learning rate and seed.
        out: Where states and the journal lie.
    """
    trained = [p for p in mllm.parameters() if p.requires_grad]
    optimizer = MuonWithAdamW(mllm, learning_rate=plan.learning_rate, ends=(EMBEDDING, HEAD))
    first, journal = resume(out, mllm, optimizer), Journal(out, plan)
    added = range(layout.system_image, layout.vocab_size)
    for step in range(first, plan.steps):
        sequences, pixels = rows(step)
        for group in optimizer.param_groups:
            group["lr"] = cosine(step, plan)
        assert sequences.targets is not None
        with precision(bf16=plan.bf16):
            output = mllm(sequences.input_ids, attention_mask=sequences.attention_mask, pixel_values=pixels)
            logits = mllm.logits(output.hidden_states)
        answers, requests = _talk_losses(logits.float(), sequences.targets, added)
        loss = answers + PROMPT_WEIGHT * requests
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        journal.note(
            step + 1, **{"seen" if pixels is not None else "said": answers.item(), "requests": requests.item()}
        )
        if (step + 1) % plan.save_every == 0 or step + 1 == plan.steps:
            save_state(out, mllm, optimizer, step + 1)


def _steps(looks: Looks | None, pairs: Pairs | None, talk: Talk, stock: Stock, plan: Plan) -> Callable[[int], Step]:
    """Text only; with pictures, every third step stays text, so that what was read is not forgotten."""

    def rows(step: int) -> Step:
        seed = plan.seed * 10**6 + step
        if looks is None or step % 3 == 2:
            said = exchanges(stock, seed, plan.batch_size)
            if pairs is not None:
                said = [*said[::2], *(order for order, _ in _orders(pairs, talk, plan, step, plan.batch_size // 2))]
            return talk.sequences(said, with_picture=False), None
        half = plan.batch_size // 2
        rng = numpy_generator(SPACE, plan.seed, "seen", step)
        chosen = rng.integers(len(looks.questions), size=half)
        asked = [looks.questions[k][int(rng.integers(len(looks.questions[k])))] for k in chosen]
        seen = [(Exchange(question=q, answer=a), looks.pictures[k]) for (q, a), k in zip(asked, chosen, strict=True)]
        if pairs is not None:
            # Of five rows three are orders; one asks what the picture shows, one, beside it, what a clue means.
            told = exchanges(stock, seed, half)
            ordered = _orders(pairs, talk, plan, step, half)
            seen = [seen[k] if k % 5 == 0 else (told[k], seen[k][1]) if k % 5 == 1 else ordered[k] for k in range(half)]
        pictures = np.stack([picture for _, picture in seen])
        return talk.sequences([exchange for exchange, _ in seen], with_picture=True), normalized(pictures)

    return rows


def _orders(pairs: Pairs, talk: Talk, plan: Plan, step: int, count: int) -> list[tuple[Exchange, NDArray[np.uint8]]]:
    rng = numpy_generator(SPACE, plan.seed, "orders", step)
    found = []
    for k in rng.integers(len(pairs.instructions), size=count):
        phrasings = talk.prompts.phrasings
        request = phrasings[int(rng.integers(len(phrasings)))].request
        found.append((said_back(pairs.instructions[k], request, rng), pairs.pictures[pairs.before[k]]))
    return found
