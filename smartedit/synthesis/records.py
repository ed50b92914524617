"""The rows that the stages of the data factory hand to each other, keyed by ids; paths start at the run folder."""

from dataclasses import dataclass
from enum import StrEnum

from reason_edit.schema import Category
from smartedit.tools.protocols import Operation


class Rule(StrEnum):
    """How one thing among several is singled out."""

    LEFT = "left"
    MIDDLE = "middle"
    RIGHT = "right"
    BIGGER = "bigger"
    SMALLER = "smaller"
    COLOR = "color"
    IN_MIRROR = "in_mirror"
    OUTSIDE_MIRROR = "outside_mirror"
    KIND = "kind"
    CLUE = "clue"


@dataclass(frozen=True, kw_only=True, slots=True)
class BoxRow:
    """A box in pixels."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """`(x0, y0, x1, y1)`."""
        return self.x0, self.y0, self.x1, self.y1


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureRow:
    """A picture that was taken in: decoded, upright, RGB, not too large.

    Attributes:
        picture_id: Its id; from its path below the folder of pictures.
        path: The normalised PNG.
        original: The file that it was made from, relative to the folder of pictures.
        original_sha256: Hash of that file's bytes.
        original_width: Width of the stored pixels before any scaling, for coordinates of annotations.
        original_height: Height, likewise.
        width: Width of the PNG.
        height: Height of the PNG.
        perceptual_hash: 64-bit difference hash as 16 hex digits.
        license: Where the annotations name one for the picture, else the configured one.
        url: Where the picture is from, if that is known.
    """

    picture_id: str
    path: str
    original: str
    original_sha256: str
    original_width: int
    original_height: int
    width: int
    height: int
    perceptual_hash: str
    license: str
    url: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """An edit that might be made.

    Attributes:
        candidate_id: `<picture>.<category>.<short hash of the rest>`.
        picture_id: The picture.
        category: The category of Reason-Edit that it practises.
        operation: Replace, remove or add.
        rule: How the thing is singled out.
        kind: The thing, for example "apple".
        clue: What only world knowledge connects with the thing; for reasoning only.
        clue_origin: Where the clue is from: "table" or the language model's name.
        rivals: Kinds that the clue would fit just as well; none of them may be in the picture.
        context: The other kinds that were seen in the picture when it was proposed.
        replacement: The kind that takes its place or is put beside it.
        variant: Which of several like it this is, where the rule leaves a choice (the second color that occurs once).
    """

    candidate_id: str
    picture_id: str
    category: Category
    operation: Operation
    rule: Rule
    kind: str
    clue: str | None
    clue_origin: str | None
    rivals: tuple[str, ...]
    context: tuple[str, ...]
    replacement: str | None
    variant: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Grounding:
    """The thing that a candidate means, found.

    Attributes:
        candidate_id: The candidate.
        picture_id: Its picture.
        box: The chosen thing.
        score: The detector's confidence in it.
        of: How many things of the kind there are.
        others: Boxes of everything else that was found.
        referring: How it is singled out, without an article: "left apple".
        attribute: The word that does it ("left", "red"); empty when the kind or a clue does.
        place: For an addition, where it goes relative to the thing.
        free_box: For an addition, the free place.
    """

    candidate_id: str
    picture_id: str
    box: BoxRow
    score: float
    of: int
    others: tuple[BoxRow, ...]
    referring: str
    attribute: str
    place: str | None
    free_box: BoxRow | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Region:
    """Where an edit belongs.

    Attributes:
        candidate_id: The candidate.
        mask: PNG (0 and 255) of the thing itself; of the free place for an addition.
        region: PNG of the pixels that may change: the mask cleaned, grown and shaped by configuration.
        mask_fraction: Share of the picture that the mask covers.
        region_fraction: Share that the region covers.
        color: The name of the thing's dominant color, measured in its mask.
    """

    candidate_id: str
    mask: str
    region: str
    mask_fraction: float
    region_fraction: float
    color: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Exemplar:
    """A thing cut out of a picture, to be pasted into another.

    Attributes:
        exemplar_id: Its id.
        kind: What it is.
        path: RGBA PNG, cropped to the thing.
        picture_id: The picture that it is from; empty for a bank of the user's own.
        license: The licence of that picture.
    """

    exemplar_id: str
    kind: str
    path: str
    picture_id: str
    license: str


@dataclass(frozen=True, kw_only=True, slots=True)
class EditedPair:
    """A target picture.

    Attributes:
        pair_id: `<candidate>.<draw>`.
        candidate_id: The candidate.
        draw: Which of the several draws for the candidate this is, from 0.
        target: The PNG.
        seed: The seed of the draw.
        tool: The inpainter's configured name.
        origin: The model, or the exemplar that was pasted.
    """

    pair_id: str
    candidate_id: str
    draw: int
    target: str
    seed: int
    tool: str
    origin: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Instructions:
    """How an edit is said.

    Attributes:
        candidate_id: The candidate.
        texts: Different instructions for the same edit.
        source_label: What is there before ("an apple"), for scores.
        target_label: What should be there afterwards ("an orange"); None after a removal.
        writer: The writer's configured name.
    """

    candidate_id: str
    texts: tuple[str, ...]
    source_label: str
    target_label: str | None
    writer: str


@dataclass(frozen=True, kw_only=True, slots=True)
class QualityScores:
    """What was measured on a pair; NaN where a tool is not configured or a column does not apply.

    Attributes:
        pair_id: The pair.
        candidate_id: Its candidate.
        clip_target: cos(target crop, target text); NaN after a removal.
        clip_source_drop: By how much the crop's likeness to the source text fell.
        clip_direction: Directional similarity of the change.
        target_found: Best confidence of the new thing inside the region; 0 when it is not found, NaN after a removal.
        source_left: Best confidence of the old thing inside the region after the edit, 0 when it is gone.
        background_error: Largest difference outside the region, 8-bit levels; 0 means that it was kept exactly.
        changed_in_mask: Share of the mask's pixels that moved by more than 12 levels.
        changed_fraction: Share of the picture's pixels that moved by more than 12 levels.
        seam_energy: Mean step across the region's edge in the target over that in the source; 1 is as in the source.
        fill_texture: After a removal, the fine texture of what fills the place over that of the ring around it; near 0
            where the fill is a smear. NaN for other operations.
        source_hash: Difference hash of the source.
        target_hash: Difference hash of the target within the region's box.
    """

    pair_id: str
    candidate_id: str
    clip_target: float
    clip_source_drop: float
    clip_direction: float
    target_found: float
    source_left: float
    background_error: float
    changed_in_mask: float
    changed_fraction: float
    seam_energy: float
    fill_texture: float
    source_hash: str
    target_hash: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejection:
    """Something that did not make it.

    Attributes:
        key: The id of the picture file, candidate or pair.
        candidate_id: The candidate, where there is one.
        category: Its category, where there is one.
        stage: Where it ended.
        reason: One of a small set of words, to count by.
        detail: The measured values or the error's text.
    """

    key: str
    candidate_id: str | None
    category: Category | None
    stage: str
    reason: str
    detail: str
