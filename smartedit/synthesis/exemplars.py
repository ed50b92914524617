"""The bank of cut-outs: clean things of the annotated pictures, or a folder of the user's own."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from reason_edit.files import atomic_path
from smartedit.config.synthesis import SynthesisConfig
from smartedit.seeding import seed_from
from smartedit.synthesis.records import Exemplar, PictureRow
from smartedit.synthesis.regions import bounding_box, clean_mask
from smartedit.synthesis.rules import box_area, check_box, covered
from smartedit.synthesis.stage import Pictures
from smartedit.tools.annotations import AnnotatedPicture, CocoAnnotations
from smartedit.tools.exemplar_inpainter import CutOut
from smartedit.tools.protocols import Box, Detection, GroundingRequest, SegmentationRequest, ToolError, ToolUnavailable

CUTOUTS_A_KIND = 24
"""Cut-outs kept a kind."""


def cut_out_exemplars(
    rows: Sequence[PictureRow], annotated: Mapping[str, AnnotatedPicture], root: Path, config: SynthesisConfig
) -> list[Exemplar]:
    """Cut clean things out of annotated pictures.

    A thing is clean when it is whole (away from the edge), uncovered, no reflection and large enough.

    Args:
        rows: The pictures of the run.
        annotated: Their annotations, by picture id.
        root: The run folder; cut-outs go to `exemplars/`.
        config: The rules that a chosen thing obeys, which cut-outs obey too.

    Returns:
        The bank, by kind and id; the same whatever the order of the pictures.
    """
    pictures = Pictures(root, rows)
    truth = CocoAnnotations(annotated)
    mirror_word = config.proposals.mirror_word
    found: dict[str, list[tuple[int, str, Box]]] = {}
    for row in rows:
        kinds = {t.kind for t in annotated[row.picture_id].things if not t.crowd}
        boxes = {kind: _boxes(truth, pictures, row.picture_id, kind) for kind in kinds}
        for kind in kinds - {mirror_word}:
            for i, box in enumerate(boxes[kind]):
                others = [b for k, bs in boxes.items() if k != mirror_word for b in bs if b is not box]
                if _is_clean(box, others, boxes.get(mirror_word, ()), row, config):
                    found.setdefault(kind, []).append(
                        (seed_from("exemplar", row.picture_id, kind, i), row.picture_id, box)
                    )
    bank: list[Exemplar] = []
    for kind in sorted(found):
        for number, (_, picture_id, box) in enumerate(sorted(found[kind])[:CUTOUTS_A_KIND]):
            exemplar = _cut_out(kind, number, pictures, picture_id, box, truth, root, config)
            if exemplar is not None:
                bank.append(exemplar)
    return bank


def _boxes(truth: CocoAnnotations, pictures: Pictures, picture_id: str, kind: str) -> list[Box]:
    try:
        found: list[Detection] = truth.ground([GroundingRequest(picture=pictures[picture_id], phrase=kind)])[0]
    except ToolError:
        return []
    return [detection.box for detection in found]


def _is_clean(
    box: Box, others: Sequence[Box], mirrors: Sequence[Box], row: PictureRow, config: SynthesisConfig
) -> bool:
    if min(box[2] - box[0], box[3] - box[1]) < 24:
        return False
    if any(covered(box, mirror) > 0.02 for mirror in mirrors):
        return False
    clear = all(covered(box, o) <= 0.02 or (covered(box, o) > 0.9 and box_area(o) > 3 * box_area(box)) for o in others)
    return clear and check_box(box, (), width=row.width, height=row.height, config=config.rules) is None


def _cut_out(
    kind: str,
    number: int,
    pictures: Pictures,
    picture_id: str,
    box: Box,
    truth: CocoAnnotations,
    root: Path,
    config: SynthesisConfig,
) -> Exemplar | None:
    picture = pictures[picture_id]
    try:
        mask = truth.segment([SegmentationRequest(picture=picture, box=box)])[0]
    except ToolError:
        return None
    mask = clean_mask(mask, config.region)
    if not mask.any():
        return None
    # Half a pixel of the outline is a blend with what lies behind: it becomes the soft edge.
    soft = cv2.GaussianBlur(cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) * 255, (0, 0), 0.8)
    soft[~mask] = 0
    x0, y0, x1, y1 = bounding_box(mask)
    rgba = np.dstack([np.asarray(picture.image), soft])[y0:y1, x0:x1]
    exemplar_id = f"{kind.replace(' ', '-')}-{number:02d}-{picture_id}"
    path = f"exemplars/{exemplar_id}.png"
    with atomic_path(root / path) as temporary:
        Image.fromarray(rgba).save(temporary, compress_level=4)
    license_name = pictures.rows[picture_id].license
    return Exemplar(exemplar_id=exemplar_id, kind=kind, path=path, picture_id=picture_id, license=license_name)


def bank_of_run(root: Path, exemplars: Sequence[Exemplar]) -> dict[str, list[CutOut]]:
    """The bank of a run, by kind, as the inpainter takes it."""
    bank: dict[str, list[CutOut]] = {}
    for e in exemplars:
        cutout = CutOut(exemplar_id=e.exemplar_id, path=root / e.path, picture_id=e.picture_id)
        bank.setdefault(e.kind, []).append(cutout)
    return bank


def exemplars_of_folder(folder: Path) -> list[Exemplar]:
    """A bank of the user's own: `<kind>/*.png` with transparency.

    Raises:
        ToolUnavailable: There is no such folder or no PNG in it.
    """
    files = sorted(file for file in folder.glob("*/*.png") if not file.name.startswith("."))
    if not files:
        raise ToolUnavailable(f"{folder}: no cut-outs; a bank holds <kind>/*.png, RGBA")
    for file in files:
        try:
            with Image.open(file) as picture:
                picture.load()
        except (OSError, SyntaxError, ValueError) as error:
            raise ToolUnavailable(f"{file}: no picture that can be read ({error}); mend or remove it") from error
    return [
        Exemplar(
            exemplar_id=f"{file.parent.name}-{file.stem}",
            kind=file.parent.name,
            path=str(file.resolve()),
            picture_id="",
            license="unknown",
        )
        for file in files
    ]
