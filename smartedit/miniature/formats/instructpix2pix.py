"""InstructPix2Pix pairs: prompt folders, zip archives, the hub's Parquet shards, and a saved dataset."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from smartedit.miniature.captions import caption
from smartedit.miniature.drawing import draw
from smartedit.miniature.edits import PlainEdit, any_edit
from smartedit.miniature.formats.files import (
    jpeg,
    png,
    shards,
    write_hub_table,
    write_json,
    write_once,
    write_saved_dataset,
    write_zip,
)
from smartedit.miniature.scenes import Scene
from smartedit.miniature.stock import Stock, until_it_works

FOLDERS, ARCHIVES = Path("clip-filtered-dataset"), Path("clip-filtered-zip")
HUB, SAVED = Path("InstructPix2PixCLIPFiltered_HF/data"), Path("InstructPix2PixCLIPFiltered_saved")
PROMPTS_A_SHARD, PROMPTS_A_FILE = 500, 1000
FEATURES = {
    "original_prompt": "string",
    "original_image": "image",
    "edit_prompt": "string",
    "edited_prompt": "string",
    "edited_image": "image",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """An edit in words, and the scenes that it was made in.

    Attributes:
        name: Folder name.
        source: Caption before the edit.
        edit: The instruction.
        target: Caption after the edit.
        pairs: Seed, scene before and scene after, one to three of them.
    """

    name: str
    source: str
    edit: str
    target: str
    pairs: tuple[tuple[str, Scene, Scene], ...]


def prompt(stock: Stock, number: int) -> Prompt:
    """One prompt; its further pairs show the same things on other backdrops."""
    edit: PlainEdit = until_it_works(
        lambda attempt: any_edit(
            stock.scene("instructpix2pix", number, attempt), stock.rng("instructpix2pix", number, attempt)
        )
    )
    rng = stock.rng("instructpix2pix", number, "pairs")
    pairs = [(str(int(rng.integers(1 << 31))), edit.before, edit.after)]
    while edit.before.backdrop == edit.after.backdrop and len(pairs) < 3 and rng.random() < 0.3:
        backdrop = replace(edit.before.backdrop, tint=int(rng.integers(8)), seed=int(rng.integers(1 << 31)))
        before, after = (replace(scene, backdrop=backdrop) for scene in (edit.before, edit.after))
        pairs.append((str(int(rng.integers(1 << 31))), before, after))
    words = [caption(scene, stock.rng("instructpix2pix", number, "caption")) for scene in (edit.before, edit.after)]
    return Prompt(
        name=f"{132 + 13 * number:07d}", source=words[0], edit=edit.instruction, target=words[1], pairs=tuple(pairs)
    )


def _members(stock: Stock, item: Prompt) -> Iterator[tuple[str, bytes]]:
    """The files of a prompt's folder. The makers' CLIP similarities are left out: nobody measured any here."""
    words = {"input": item.source, "edit": item.edit, "output": item.target, "url": ""}
    yield "prompt.json", json.dumps(words).encode()
    yield "metadata.jsonl", "".join(json.dumps({"seed": int(seed)}) + "\n" for seed, _, _ in item.pairs).encode()
    for seed, before, after in item.pairs:
        yield f"{seed}_0.jpg", jpeg(draw(before, stock.size).image, quality=100)
        yield f"{seed}_1.jpg", jpeg(draw(after, stock.size).image, quality=100)


def write(out: Path, stock: Stock) -> None:
    """Write the folders and, with the same content, the archives."""
    seeds = []
    for number, run in enumerate(shards(stock.count, PROMPTS_A_SHARD)):
        archived: list[tuple[str, bytes]] = []
        for k in run:
            item = prompt(stock, k)
            files = list(_members(stock, item))
            for name, content in files:
                write_once(out / FOLDERS / item.name / name, content)
            archived += [(f"{item.name}/{name}", content) for name, content in files]
            seeds.append([item.name, [seed for seed, _, _ in item.pairs]])
        write_zip(out / ARCHIVES / f"shard-{number:02d}.zip", archived)
    write_json(out / ARCHIVES / "seeds.json", seeds)
    write_json(out / FOLDERS / "seeds.json", seeds)


def _shard_name(number: int, count: int) -> str:
    return f"train-{number:05d}-of-{count:05d}-57cebf95b4a9170c.parquet"


def last_shard(stock: Stock) -> str:
    """The Parquet shard that is written last."""
    count = len(shards(stock.count, PROMPTS_A_FILE))
    return (HUB / _shard_name(count - 1, count)).as_posix()


def write_hub(out: Path, stock: Stock) -> None:
    """Write the same pairs as Parquet shards."""
    runs = shards(stock.count, PROMPTS_A_FILE)
    for number, run in enumerate(runs):
        path = out / HUB / _shard_name(number, len(runs))
        if path.is_file():
            continue
        write_hub_table(path, _rows(stock, run), FEATURES)


def write_saved(out: Path, stock: Stock) -> None:
    """Write the same pairs as `save_to_disk` does."""
    write_saved_dataset(out / SAVED, _rows(stock, range(stock.count)), FEATURES)


def _rows(stock: Stock, numbers: range) -> Iterator[dict[str, str | bytes]]:
    for item in (prompt(stock, number) for number in numbers):
        for _, before, after in item.pairs:
            yield {
                "original_prompt": item.source,
                "original_image": png(draw(before, stock.size).image),
                "edit_prompt": item.edit,
                "edited_prompt": item.target,
                "edited_image": png(draw(after, stock.size).image),
            }
