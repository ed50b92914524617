"""The audit, measured: copies that it finds, strangers that it suspects, and a million rows against 219 pictures.

python benchmarks/audit_speed.py copies FOLDER [FOLDER ...]   # folders of pictures; the drawn benchmark is one
python benchmarks/audit_speed.py million [--rows 1000000]
"""

import argparse
import io
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image, ImageEnhance, ImageOps

from reason_edit.tables import write_arrow
from smartedit.data.agreement import AGREEMENT, best_agreement
from smartedit.data.audit import AuditOptions, audit_manifest
from smartedit.data.audit_inside import CROP_BITS, SURE
from smartedit.data.audit_work import INSIDE_THRESHOLD
from smartedit.data.columns import SCHEMA as MANIFEST_SCHEMA
from smartedit.data.columns import columns_to_batch
from smartedit.data.duplicates import Pairs, Prints, crop_distance, find_exact, find_near, find_near_inside, same_groups
from smartedit.data.fingerprint_cache import HASHES, SCHEMA, SHARD, _keys, find_pictures_of, shard_folder
from smartedit.data.fingerprints import Views, fingerprint, views
from smartedit.data.manifest import Manifest
from smartedit.data.row_groups import RowGroupWriter

LONGEST = 512


def say(text: str) -> None:
    """One line on standard output."""
    sys.stdout.write(text + "\n")


def copies(picture: Image.Image, generator: np.random.Generator) -> Iterator[tuple[str, Image.Image]]:
    """Planted copies of a picture, by kind."""
    width, height = picture.size
    yield "half size", picture.resize((max(8, width // 2), max(8, height // 2)), Image.Resampling.BICUBIC)
    yield "256 x 256", picture.resize((256, 256), Image.Resampling.LANCZOS)
    yield "JPEG quality 30", jpeg(picture, 30)
    x, y = generator.uniform(0, 0.05, 2)
    box = tuple(round(v) for v in (width * x, height * y, width * (x + 0.95), height * (y + 0.95)))
    yield "crop 5 %, anywhere", picture.crop(box)  # type: ignore[arg-type]
    box = tuple(round(v) for v in (width * 0.05, height * 0.05, width * 0.95, height * 0.95))
    yield "crop 5 % of every side", picture.crop(box)  # type: ignore[arg-type]
    yield "mirrored", ImageOps.mirror(picture)
    turned = np.array(picture.convert("HSV"))
    turned[..., 0] += generator.integers(40, 216, dtype=np.uint8)
    yield "hue turned", Image.fromarray(turned, "HSV").convert("RGB")
    yield "grey", picture.convert("L").convert("RGB")
    yield "channels swapped", Image.fromarray(np.asarray(picture)[..., [2, 0, 1]])
    yield "brighter by 20 %", ImageEnhance.Brightness(picture).enhance(1.2)
    yield "gamma 0.6", picture.point([round(255 * (i / 255) ** 0.6) for i in range(256)] * 3)
    half = picture.resize((max(8, width // 2), max(8, height // 2)), Image.Resampling.BILINEAR)
    yield "mirrored, half size, JPEG 60", jpeg(ImageOps.mirror(half), 60)
    yield (
        "mirrored, cropped 5 %, hue turned",
        ImageOps.mirror(
            Image.fromarray(turned, "HSV").convert("RGB").crop(box)  # type: ignore[arg-type]
        ),
    )


def jpeg(picture: Image.Image, quality: int) -> Image.Image:
    """A picture as it comes out of a JPEG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def prints_of(pictures: list[Image.Image]) -> Prints:
    """Fingerprints in columns."""
    found = [fingerprint(picture) for picture in pictures]
    usable = np.array([not f.is_plain for f in found])
    return Prints(
        pixels=np.array([f.pixels for f in found], dtype="V32"),
        **{name: np.stack([np.frombuffer(getattr(f, name), dtype=np.uint64) for f in found]) for name in HASHES},
        is_usable=usable,
        is_read=np.ones(len(found), dtype=bool),
    )


def measure_copies(folder: Path, most: int, only: str) -> None:
    """Recall by kind of copy, and false alarms between different pictures of a folder."""
    names = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    names = [p for p in names if "mask" not in p.name.lower() and "answers" not in p.parts][:most]
    pictures = []
    for name in names:
        picture = Image.open(name).convert("RGB")
        picture.thumbnail((LONGEST, LONGEST))
        pictures.append(picture)
    asked = [views(picture) for picture in pictures]
    planted: dict[str, list[Image.Image]] = {}
    for number, picture in enumerate(pictures):
        for kind, copy in copies(picture, np.random.default_rng(number)):
            if only in kind:
                planted.setdefault(kind, []).append(copy)
    say(f"{folder}: {len(pictures)} pictures")
    for kind, made in planted.items():
        pairs = find_near(asked, prints_of(made))
        own = [b for a, b in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True) if a == b]
        near = sum(best_agreement(pictures[i], made[i]) >= AGREEMENT for i in own)
        sure, looked = inside_pairs([*pictures, *made], [*asked, *map(views, made)], len(made))
        shares = [count / len(made) for count in (len(own), near, sure, sure + looked)]
        words = ("suspected", "found", "inside by hashes", "inside with a look")
        say(f"  {kind:36s} " + "  ".join(f"{w} {share:6.1%}" for w, share in zip(words, shares, strict=True)))
    pairs = find_near(asked, prints_of(pictures))
    others = [(a, b) for a, b in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True) if a != b]
    alarms = [(a, b) for a, b in others if best_agreement(pictures[a], pictures[b]) >= AGREEMENT]
    count = len(pictures) * (len(pictures) - 1)
    say(f"  strangers: {count} ordered pairs, {len(others)} suspected, {len(alarms)} found")
    sure, looked = inside_pairs(pictures, asked, None)
    say(f"  strangers inside: {count // 2} pairs, {sure} found by hashes, {looked} more with a look")
    for a, b in alarms:
        say(f"    {names[a].relative_to(folder)} and {names[b].relative_to(folder)}")


def inside_pairs(pictures: list[Image.Image], seen: list[Views], apart: int | None) -> tuple[int, int]:
    """How many pairs the search inside finds by hashes alone and by a second look, as `find_inside` does.

    Args:
        pictures: The pictures.
        seen: Their views.
        apart: Only pairs whose numbers differ by so many; None for all.
    """
    inside = find_near_inside(prints_of(pictures), np.arange(len(pictures)), INSIDE_THRESHOLD).pairs
    sure = looked = 0
    for a, b, bits in zip(inside.first.tolist(), inside.second.tolist(), inside.distance.tolist(), strict=True):
        if apart is not None and b - a != apart:
            continue
        if bits <= SURE:
            sure += 1
        elif crop_distance(seen[a], seen[b]) <= CROP_BITS:
            looked += best_agreement(pictures[a], pictures[b]) >= AGREEMENT
    return sure, looked


def measure_million(rows: int, samples: int = 219) -> None:
    """The search alone, with random hashes and planted near ones."""
    generator = np.random.default_rng(0)
    hashes = {name: generator.integers(0, 2**64, (rows, 2), dtype=np.uint64) for name in HASHES}
    luma, edges = hashes["luma"], hashes["edges"]
    prints = Prints(
        pixels=generator.integers(0, 256, (rows, 32), dtype=np.uint8).view("V32")[:, 0],
        **hashes,
        is_usable=np.ones(rows, dtype=bool),
        is_read=np.ones(rows, dtype=bool),
    )
    planted = generator.choice(rows, samples, replace=False)
    queries = []
    for row in planted:
        others = generator.integers(0, 2**64, (2, 5, 2), dtype=np.uint64)
        flips = np.uint64(0xFF), np.uint64(0x0F)
        queries.append(
            Views(
                luma=np.concatenate([[luma[row] ^ flips[0]], others[0]]),
                edges=np.concatenate([[edges[row] ^ flips[1]], others[1]]),
            )
        )
    say(f"{rows} rows against {samples}")
    searches: dict[str, Callable[[], Pairs]] = {
        "near": lambda: find_near(queries, prints),
        "exact": lambda: find_exact([prints.pixels[row].tobytes() for row in planted], prints),
        "inside": lambda: find_near_inside(prints, np.unique(same_groups(prints)), INSIDE_THRESHOLD).pairs,
    }
    for name, search in searches.items():
        started, used = time.perf_counter(), time.process_time()
        found = search()
        seconds, cpu = time.perf_counter() - started, time.process_time() - used
        say(f"  {name:8s} {seconds:6.1f} s wall, {cpu:6.1f} CPU s, {len(found.first)} pairs")


def measure_audit(rows: int, benchmark: Path) -> None:
    """A whole audit of a manifest whose fingerprints are known: random ones, in a manifest over one Parquet file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "pictures.parquet").touch()
        write_manifest(folder, rows)
        manifest = Manifest(folder / "manifest.parquet")
        pictures = find_pictures_of(manifest)
        keys = _keys(pictures.refs, folder)
        generator = np.random.default_rng(0)
        for start in range(0, len(keys), SHARD):
            part = keys[start : start + SHARD]
            columns = [
                pa.FixedSizeBinaryArray.from_buffers(
                    pa.binary(width), len(part), [None, pa.py_buffer(generator.bytes(width * len(part)))]
                )
                for width in (32, *(16 for _ in HASHES))
            ]
            values = [part, *columns, pa.array([False] * len(part))]
            write_arrow(shard_folder(folder / "cache") / f"{start}.parquet", pa.table(values, schema=SCHEMA))
        started, used = time.perf_counter(), time.process_time()
        found = audit_manifest(manifest, benchmark, AuditOptions(cache=folder / "cache"))
        seconds, cpu = time.perf_counter() - started, time.process_time() - used
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        say(f"audit of {rows} rows against {found.samples}: {seconds:.0f} s, {cpu:.0f} CPU s, {peak:.0f} MB")


def write_manifest(folder: Path, rows: int) -> None:
    """A manifest of edits over the rows of one Parquet file."""
    words = np.array(["red", "green", "blue", "small", "big", "left", "right", "wooden", "shiny", "old"])
    shared = {"source": "pairs", "task": "edit", "split": "train", "license": "none", "terms": "none"}
    struct = MANIFEST_SCHEMA.field("image").type
    with RowGroupWriter(folder / "manifest.parquet", MANIFEST_SCHEMA) as writer:
        for start in range(0, rows, 65_536):
            numbers = np.arange(start, min(start + 65_536, rows))
            count, digits = len(numbers), pa.array(numbers).cast(pa.string())
            places = {
                "storage": pa.repeat("parquet", count),
                "path": pa.repeat("pictures.parquet", count),
                "member": pa.nulls(count, pa.string()),
                "row": pa.array(numbers),
                "column": pa.repeat("a", count),
            }
            cells = [places[field.name].cast(field.type) for field in struct]
            said = pc.binary_join_element_wise(
                "make thing",
                pa.array(numbers % 9973).cast(pa.string()),
                "look",
                pa.array(words[numbers % 10]),
                pa.array(words[numbers // 10 % 10]),
                " ",
            )
            columns = {
                "example_id": pc.binary_join_element_wise("pairs/", digits, ""),
                "image": pa.StructArray.from_arrays(cells, fields=list(struct)),
                "instructions": pa.ListArray.from_arrays(pa.array(np.arange(count + 1), pa.int32()), said),
            }
            writer.add(columns_to_batch(count, shared | columns))
        metadata = {"schema_version": "1", "root": ".", "sources": '["pairs"]', "label_names": "{}"}
        metadata |= {"counts": f'{{"pairs": {{"edit": {rows}}}}}'}
        writer.add_metadata({f"smartedit.{name}": value for name, value in metadata.items()})


def main() -> None:
    """Run one of the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    copying = commands.add_parser("copies")
    copying.add_argument("folders", nargs="+", type=Path)
    copying.add_argument("--most", type=int, default=60, help="pictures of a folder")
    copying.add_argument("--only", default="", help="only copies whose name holds this, for example crop")
    commands.add_parser("million").add_argument("--rows", type=int, default=1_000_000)
    auditing = commands.add_parser("audit")
    auditing.add_argument("benchmark", type=Path)
    auditing.add_argument("--rows", type=int, default=1_000_000)
    arguments = parser.parse_args()
    if arguments.what == "million":
        measure_million(arguments.rows)
    if arguments.what == "audit":
        measure_audit(arguments.rows, arguments.benchmark)
    for folder in getattr(arguments, "folders", ()):
        measure_copies(folder, arguments.most, arguments.only)


if __name__ == "__main__":
    main()
