"""Stage export: the chosen set in three layouts over one copy of the pictures, with masks linked to instructions.

SET/samples.parquet                                       one row a sample, all scores and provenance
SET/SyntheticData/SyntheticData_info_new.json             the authors' layout
SET/SyntheticData/OriginalImg/<Category>/<id>/<id>.png    mask/<id>_<kind>(<score>).png
SET/SyntheticData/TargetImg/<Category>/<id>/<id>.png
SET/huggingface/train-00000-of-00001.parquet              `datasets.load_dataset` reads the folder
SET/DATA_CARD.md  rejections.parquet
"""

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from reason_edit.schema import Category
from reason_edit.tables import write_rows
from smartedit.synthesis.data_card import data_card
from smartedit.synthesis.finish import selected_rows
from smartedit.synthesis.records import (
    BoxRow,
    Candidate,
    EditedPair,
    Grounding,
    Instructions,
    PictureRow,
    QualityScores,
    Region,
    Rejection,
)
from smartedit.synthesis.run_folder import RunFolder, RunFolderError
from smartedit.synthesis.select import Selected
from smartedit.tools.protocols import Operation

CATEGORY_FOLDERS: dict[Category, str] = {
    Category.LEFT_RIGHT: "Left-Right",
    Category.RELATIVE_SIZE: "Relative-Size",
    Category.MIRROR: "Mirror",
    Category.COLOR: "Color",
    Category.MULTIPLE_OBJECTS: "Multiple-Objects",
    Category.REASONING: "Reasoning",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class SyntheticSample:
    """One sample of the set; paths start at the set's folder.

    Attributes:
        sample_id: `"0000"`, `"0001"`, ...
        category: The category of Reason-Edit that it practises.
        operation: Replace, remove or add.
        instructions: Different wordings of the same edit.
        source: The picture before.
        target: The picture after.
        mask: The thing that all instructions point at; 0 and 255.
        kind: What the thing is.
        replacement: What took its place or came beside it.
        referring: How it is singled out.
        attribute: The word that does it.
        clue: The knowledge that it takes.
        box: The thing's box in pixels.
        source_label: What is there before.
        target_label: What should be there after.
        color: The thing's measured color.
        license: Licence of the source picture.
        url: Where the source picture is from.
        original: The source picture's file.
        original_sha256: Hash of that file.
        candidate_id: The candidate in the run's tables.
        pair_id: The pair in the run's tables.
        seed: The seed of the draw.
        grounder: The tool that found the thing, and its confidence.
        grounding_score: Confidence.
        inpainter: The tool that made the target.
        origin: The model, or the exemplar.
        writer: The tool that wrote the instructions.
        reviewed: Whether a reviewer kept it.
        scores: Everything that was measured.
    """

    sample_id: str
    category: Category
    operation: Operation
    instructions: tuple[str, ...]
    source: str
    target: str
    mask: str
    kind: str
    replacement: str | None
    referring: str
    attribute: str
    clue: str | None
    box: BoxRow
    source_label: str
    target_label: str | None
    color: str
    license: str
    url: str | None
    original: str
    original_sha256: str
    candidate_id: str
    pair_id: str
    seed: int
    grounder: str
    grounding_score: float
    inpainter: str
    origin: str
    writer: str
    reviewed: bool
    scores: QualityScores


def export(root: Path, out: Path | None = None) -> Path:
    """Write the chosen set, whole or not at all.

    Args:
        root: The run folder, selected.
        out: The set's folder; None for `set` in the run folder. What is there is replaced at the end.

    Returns:
        The set's folder.
    """
    folder = RunFolder(root)
    out = out or root / "set"
    _refuse_what_is_no_set(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.tmp-"))
    try:
        building.chmod(0o755)
        samples = _samples(folder, building)
        write_rows(building / "samples.parquet", samples, SyntheticSample)
        write_rows(building / "rejections.parquet", folder.all_rejections(), Rejection)
        _write_authors_layout(building, samples)
        _write_hugging_face(building, samples)
        (building / "DATA_CARD.md").write_text(data_card(folder, samples), encoding="utf-8")
        if out.exists():
            old = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.old-"))
            out.replace(old / "set")
            building.replace(out)
            shutil.rmtree(old)
        else:
            building.replace(out)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return out


def _refuse_what_is_no_set(out: Path) -> None:
    """Only a set is replaced."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / "samples.parquet").is_file() or not (out / "DATA_CARD.md").is_file():
        raise RunFolderError(f"{out}: holds something else than an exported set; name a new folder as --out")


def _samples(folder: RunFolder, out: Path) -> list[SyntheticSample]:
    candidates = {c.candidate_id: c for c in folder.all_rows("propose", Candidate)}
    groundings = {g.candidate_id: g for g in folder.all_rows("ground", Grounding)}
    regions = {r.candidate_id: r for r in folder.all_rows("segment", Region)}
    said = {i.candidate_id: i for i in folder.all_rows("instruct", Instructions)}
    pairs = {p.pair_id: p for p in folder.all_rows("inpaint", EditedPair)}
    scores = {s.pair_id: s for s in folder.all_rows("score", QualityScores)}
    pictures = {p.picture_id: p for p in folder.pictures()}
    grounder = folder.settings().config.grounder.name
    samples = []
    for chosen in selected_rows(folder.root):
        candidate = candidates[chosen.candidate_id]
        samples.append(
            _sample(
                folder,
                out,
                chosen,
                candidate,
                groundings[chosen.candidate_id],
                regions[chosen.candidate_id],
                said[chosen.candidate_id],
                pairs[chosen.pair_id],
                scores[chosen.pair_id],
                pictures[candidate.picture_id],
                grounder,
            )
        )
    return samples


def _sample(
    folder: RunFolder,
    out: Path,
    chosen: Selected,
    candidate: Candidate,
    grounding: Grounding,
    region: Region,
    said: Instructions,
    pair: EditedPair,
    scores: QualityScores,
    picture: PictureRow,
    grounder: str,
) -> SyntheticSample:
    number, name = chosen.sample_id, CATEGORY_FOLDERS[chosen.category]
    original = f"SyntheticData/OriginalImg/{name}/{number}"
    paths = {
        "source": f"{original}/{number}.png",
        "target": f"SyntheticData/TargetImg/{name}/{number}/{number}.png",
        "mask": f"{original}/mask/{number}_{candidate.kind.replace(' ', '-')}({grounding.score:.2f}).png",
    }
    for path, source in zip(paths.values(), (picture.path, pair.target, region.mask), strict=True):
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder.root / source, out / path)
    return SyntheticSample(
        sample_id=number,
        category=chosen.category,
        operation=candidate.operation,
        instructions=said.texts,
        source=paths["source"],
        target=paths["target"],
        mask=paths["mask"],
        kind=candidate.kind,
        replacement=candidate.replacement,
        referring=grounding.referring,
        attribute=grounding.attribute,
        clue=candidate.clue,
        box=grounding.box,
        source_label=said.source_label,
        target_label=said.target_label,
        color=region.color,
        license=picture.license,
        url=picture.url,
        original=picture.original,
        original_sha256=picture.original_sha256,
        candidate_id=candidate.candidate_id,
        pair_id=pair.pair_id,
        seed=pair.seed,
        grounder=grounder,
        grounding_score=grounding.score,
        inpainter=pair.tool,
        origin=pair.origin,
        writer=said.writer,
        reviewed=chosen.reviewed,
        scores=scores,
    )


def _write_authors_layout(out: Path, samples: list[SyntheticSample]) -> None:
    """`SyntheticData_info_new.json` as SmartEdit's loader reads it, with the paths that its scripts expect.

    The authors' loader reads the first three keys; category and mask are what their file lacks.
    """
    info = {
        s.sample_id: {
            "origin_img_path": f"./dataset/{s.source}",
            "target_img_path": f"./dataset/{s.target}",
            "instruction": list(s.instructions),
            "category": s.category.value,
            "mask_path": f"./dataset/{s.mask}",
        }
        for s in samples
    }
    path = out / "SyntheticData/SyntheticData_info_new.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(info, indent=1) + "\n", encoding="utf-8")


def _write_hugging_face(out: Path, samples: list[SyntheticSample]) -> None:
    """A Parquet file with pictures inside, typed so that `datasets` decodes them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    picture_type = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    texts = ("sample_id", "category", "operation", "kind", "replacement", "referring", "license", "target_label")
    columns: dict[str, pa.Array] = {
        name: pa.array([None if (v := getattr(s, name)) is None else str(v) for s in samples], pa.string())
        for name in texts
    }
    columns["instructions"] = pa.array([list(s.instructions) for s in samples], pa.list_(pa.string()))
    for name in ("source", "target", "mask"):
        values = [{"bytes": (out / getattr(s, name)).read_bytes(), "path": getattr(s, name)} for s in samples]
        columns[name] = pa.array(values, picture_type)
    features: dict[str, object] = {name: {"dtype": "string", "_type": "Value"} for name in texts}
    features["instructions"] = {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"}
    features |= {name: {"_type": "Image"} for name in ("source", "target", "mask")}
    table = pa.table(columns).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path = out / "huggingface/train-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(table, path, compression="zstd", row_group_size=64)
