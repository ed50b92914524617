"""Pictures and instructions only, for those who run their editor elsewhere: no masks, no labels."""

import json
from collections.abc import Iterable
from pathlib import Path

from reason_edit.files import atomic_path, write_text
from reason_edit.loading import read_image
from reason_edit.schema import EditSample

NOTE = """Edit every picture by its instruction in instructions.jsonl, and save the result under the same name
(<category>/<stem>.png) in a folder of your own. Then:

    smartedit-bench evaluate --dataset DATASET --method my-editor --outputs YOUR_FOLDER --run RUN
"""


class InputsError(ValueError):
    """A folder cannot take a data set's pictures."""


def export_inputs(samples: Iterable[EditSample], out: Path) -> int:
    """Write what an editor may see of a data set.

    Args:
        samples: The samples.
        out: The folder; pictures become `<category>/<stem>.png` (upright, RGB, without metadata), and
            `instructions.jsonl` has one object a line with `sample_id`, `image` and `instruction`.

    Returns:
        How many samples were written.

    Raises:
        ImageError: A picture cannot be decoded.
        InputsError: The folder holds pictures of other samples, which would be edited and handed in with these.
    """
    samples = list(samples)
    others = {p.relative_to(out).as_posix() for p in out.rglob("*.png") if not p.name.startswith(".")}
    others -= {f"{s.sample_id}.png" for s in samples}
    if others:
        raise InputsError(
            f"{out}: holds {len(others)} other pictures, e.g. {min(others)}; choose a new folder for --out"
        )
    lines = []
    for sample in samples:
        name = f"{sample.sample_id}.png"
        # Always written: a picture that is there already may be another data set's of the same name.
        image = read_image(sample.image)
        image.info.clear()
        with atomic_path(out / name) as temporary:
            image.save(temporary, format="PNG")
        record = {"sample_id": sample.sample_id, "image": name, "instruction": sample.instruction}
        lines.append(json.dumps(record, ensure_ascii=False))
    write_text(out / "HOW_TO_HAND_IN.txt", NOTE)
    write_text(out / "instructions.jsonl", "".join(line + "\n" for line in lines))
    return len(lines)
