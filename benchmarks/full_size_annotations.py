"""Writes annotations of the real data sets' sizes (random content, empty picture files) for `manifest_speed.py`."""

import argparse
import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

REFERENCES, EXPRESSIONS, PICTURES_2014, OBJECTS = 50_000, 142_210, 19_994, 196_771
GREF_EXPRESSIONS, GREF_REFERENCES = 278_232, 210_000
PAIRS, SHARDS = 313_010, 262
CONVERSATIONS, PICTURES_2017 = 157_712, 118_287
CAPTIONS = 12_423_374
WORDS = np.array([w for line in __doc__.split() for w in (line.strip("`.,()"),) if w] + list("abcdefgh"))
"""Random texts are made of these words."""


def texts(rng: np.random.Generator, count: int, words: int) -> list[str]:
    """Random sentences of about so many words."""
    picked = rng.choice(WORDS, size=(count, words))
    return [" ".join(row) for row in picked.tolist()]


def empty_pictures(folder: Path, names: Iterator[str]) -> None:
    """Empty files of these names, once."""
    if not folder.is_dir():
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).touch()


def polygon(rng: np.random.Generator, width: int, height: int) -> list[float]:
    """A star-shaped polygon of COCO's usual detail."""
    points = int(rng.integers(12, 60))
    angles = np.sort(rng.uniform(0, 2 * np.pi, points))
    radius = rng.uniform(0.5, 1.0, points) * rng.uniform(10, 120)
    x = rng.uniform(0, width) + radius * np.cos(angles)
    y = rng.uniform(0, height) + radius * np.sin(angles)
    return np.stack([x.clip(0, width), y.clip(0, height)], 1).round(2).reshape(-1).tolist()


def instances(rng: np.random.Generator) -> dict[str, object]:
    """A COCO instances file of the size that comes with RefCOCO."""
    images = [
        {"id": i, "file_name": f"COCO_train2014_{i:012d}.jpg", "height": 480, "width": 640, "license": 1}
        for i in range(PICTURES_2014)
    ]
    annotations = [
        {
            "id": i,
            "image_id": i % PICTURES_2014,
            "category_id": 1 + i % 80,
            "iscrowd": 0,
            "area": 1.0,
            "bbox": [0.0, 0.0, 9.0, 9.0],
            "segmentation": [polygon(rng, 640, 480) for _ in range(2 if i % 8 == 0 else 1)],
        }
        for i in range(OBJECTS)
    ]
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": f"c{i}"} for i in range(1, 91)],
    }


def references(rng: np.random.Generator, count: int, expressions: int, multiple: bool) -> list[dict[str, object]]:
    """References with as many sentences in all as the data set has; all of split train, which is the slowest."""
    sentences = iter(texts(rng, expressions, 4))
    records: list[dict[str, object]] = []
    for i in range(count):
        picture = i % PICTURES_2014
        own = [picture + k * PICTURES_2014 for k in range(OBJECTS // PICTURES_2014)]
        chosen = [own[int(rng.integers(len(own)))] for _ in range(1 + i % 3 // 2)]
        ann: object = ([-1] if i % 10 == 0 else sorted(set(chosen))) if multiple else chosen[0]
        number = expressions // count + (1 if i < expressions % count else 0)
        record = {"ref_id": i, "image_id": picture, "ann_id": ann, "category_id": 1, "split": "train"}
        record["sentences"] = [
            {"sent": text, "raw": text, "sent_id": i, "tokens": text.split()}
            for text in (next(sentences) for _ in range(number))
        ]
        records.append(record)
    return records


def write_references(out: Path, rng: np.random.Generator) -> None:
    """RefCOCO and gRefCOCO, and the empty pictures of COCO train2014."""
    empty_pictures(out / "coco/train2014", (f"COCO_train2014_{i:012d}.jpg" for i in range(82_783)))
    content = json.dumps(instances(rng))
    for name in ("refcoco", "grefcoco"):
        (out / name).mkdir(parents=True, exist_ok=True)
        (out / name / "instances.json").write_text(content)
    with (out / "refcoco/refs(unc).p").open("wb") as file:
        pickle.dump(references(rng, REFERENCES, EXPRESSIONS, multiple=False), file, protocol=2)
    records = references(rng, GREF_REFERENCES, GREF_EXPRESSIONS, multiple=True)
    (out / "grefcoco/grefs(unc).json").write_text(json.dumps(records))


def write_pairs(out: Path, rng: np.random.Generator) -> None:
    """InstructPix2Pix in 262 Parquet shards; the pictures are some random bytes each."""
    folder = out / "instructpix2pix/data"
    folder.mkdir(parents=True, exist_ok=True)
    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    for shard in range(SHARDS):
        count = PAIRS // SHARDS + (1 if shard < PAIRS % SHARDS else 0)
        cells = [{"bytes": rng.bytes(200), "path": None} for _ in range(count)]
        columns = {
            "original_prompt": pa.array(texts(rng, count, 12)),
            "original_image": pa.array(cells, picture),
            "edit_prompt": pa.array(texts(rng, count, 8)),
            "edited_prompt": pa.array(texts(rng, count, 12)),
            "edited_image": pa.array(cells, picture),
        }
        pq.write_table(pa.table(columns), folder / f"train-{shard:05d}-of-{SHARDS:05d}.parquet", row_group_size=600)


def write_conversations(out: Path, rng: np.random.Generator) -> None:
    """LLaVA-Instruct of 158k records and about 229 MB."""
    empty_pictures(out / "coco/train2017", (f"{i:012d}.jpg" for i in range(PICTURES_2017)))
    (out / "llava").mkdir(parents=True, exist_ok=True)
    with (out / "llava/llava_instruct_150k.json").open("w") as file:
        for i in range(CONVERSATIONS):
            rounds = (1, 1, 5)[i % 3]
            said = texts(rng, 2 * rounds, 25 if rounds > 1 else 70)
            said[0] = f"<image>\n{said[0]}" if i % 2 else f"{said[0]}\n<image>"
            turns = [{"from": "gpt" if k % 2 else "human", "value": text} for k, text in enumerate(said)]
            record = {"id": f"{i % 81_479:012d}", "image": f"{i % 81_479:012d}.jpg", "conversations": turns}
            file.write(("[" if i == 0 else ",") + json.dumps(record))
        file.write("]")


def write_captions(out: Path, rng: np.random.Generator, captions: int) -> None:
    """CC12M: one block of random lines over and over, each line about 200 bytes."""
    block = 200_000
    lines = [f"https://example.invalid/{rng.bytes(30).hex()}.jpg\t{text}\n" for text in texts(rng, block, 18)]
    content = "".join(lines).encode()
    with (out / "cc12m.tsv").open("wb") as file:
        for _ in range(captions // block):
            file.write(content)
        file.write("".join(lines[: captions % block]).encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--captions", type=int, default=CAPTIONS)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    options.out.mkdir(parents=True, exist_ok=True)
    write_references(options.out, rng)
    write_pairs(options.out, rng)
    write_conversations(options.out, rng)
    write_captions(options.out, rng, options.captions)


if __name__ == "__main__":
    main()
