"""LLaVA-Instruct conversations about the COCO pictures, and CC12M captions; here held-out clues may occur."""

from pathlib import Path
from typing import Any

from reason_edit.files import write_bytes
from smartedit.miniature.captions import caption
from smartedit.miniature.formats.coco import image_id, name_2017
from smartedit.miniature.formats.files import write_json
from smartedit.miniature.kinds import with_article
from smartedit.miniature.knowledge import clues
from smartedit.miniature.questions import conversation
from smartedit.miniature.stock import Stock

LLAVA, CC12M = Path("LLaVA/llava_instruct_150k.json"), Path("cc12m.tsv")
CAPTIONS_A_SCENE = 3

KNOWLEDGE = (
    "{kind}, the {clue}.",
    "The {clue}: {kind}.",
    "A drawing of {kind}, which is the {clue}.",
    "What is the {clue}? It is {kind}.",
)
"""Captions that say what is known about a kind."""


def write_llava(out: Path, stock: Stock) -> None:
    """Write one conversation of two to six questions a picture; `<image>` stands before or behind the first one."""
    records: list[dict[str, Any]] = []
    for number in range(stock.count):
        rng = stock.rng("llava", number)
        turns = conversation(stock.scene(number), rng, turns=int(rng.integers(2, 7)))
        talk = [
            part
            for turn in turns
            for part in ({"from": "human", "value": turn.question}, {"from": "gpt", "value": turn.answer})
        ]
        first = talk[0]["value"]
        talk[0]["value"] = f"<image>\n{first}" if rng.random() < 0.5 else f"{first}\n<image>"
        records.append({"id": f"{image_id(number):012d}", "image": name_2017(number), "conversations": talk})
    write_json(out / LLAVA, records)


def write_cc12m(out: Path, stock: Stock) -> None:
    """Write captions of the scenes and of other ones, and what is known about every kind."""
    captions = [
        caption(scene, stock.rng("cc12m", number, k))
        for number in range(stock.count)
        for k, scene in enumerate(
            [stock.scene(number), *(stock.scene("cc12m", number, k) for k in range(1, CAPTIONS_A_SCENE))]
        )
    ]
    for clue in clues():
        for template in KNOWLEDGE:
            text = template.format(kind=with_article(clue.kind), clue=clue.text)
            captions.append(text[0].upper() + text[1:])
    order = stock.rng("cc12m", "order").permutation(len(captions))
    lines = [f"miniature:{k:08d}\t{captions[int(k)]}\n" for k in order]
    write_bytes(out / CC12M, "".join(lines).encode())
