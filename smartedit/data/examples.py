"""The row of a training manifest, whatever data set it comes from, and the row of what was left out."""

from dataclasses import dataclass
from enum import StrEnum


class Task(StrEnum):
    """What a training example teaches."""

    EDIT = "edit"
    SEGMENT = "segment"
    ANSWER = "answer"
    CAPTION = "caption"


class Storage(StrEnum):
    """Where the bytes of a picture lie."""

    FILE = "file"
    ZIP = "zip"
    PARQUET = "parquet"
    ARROW = "arrow"


class Speaker(StrEnum):
    """Who says a turn of a conversation."""

    HUMAN = "human"
    ASSISTANT = "assistant"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageRef:
    """Where a picture lies; a manifest copies no pixels.

    Attributes:
        storage: A picture file, a member of a zip archive, or a cell of a Parquet or Arrow file.
        path: The file, relative to the manifest's data root, with forward slashes.
        member: Name inside the archive (zip only).
        row: Row number in the whole file, from 0 (Parquet and Arrow only).
        column: Column that holds the picture's bytes or its `{bytes, path}` struct (Parquet and Arrow only).
    """

    storage: Storage = Storage.FILE
    path: str
    member: str | None = None
    row: int | None = None
    column: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskRle:
    """A mask in COCO's compressed run-length encoding, column by column.

    Attributes:
        height: Rows of the mask, in pixels.
        width: Columns of the mask, in pixels.
        counts: COCO's compressed run lengths, as pycocotools writes them.
    """

    height: int
    width: int
    counts: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """One turn of a conversation; `<image>` stands where the picture goes."""

    speaker: Speaker
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingExample:
    """One row of a training manifest.

    Attributes:
        example_id: Unique in the manifest and stable: the source's name and the data set's own ids.
        source: Name of the source in the configuration, for example `refcoco`.
        task: What the row teaches.
        image: The source picture; None for captions and conversations without one.
        target: The edited picture (`edit` only; a segmentation target is painted, not stored).
        mask_rle: The region to paint (`segment`); None where `mask_image` is a label map. An all-zero mask means that
            what is asked for is not in the picture, and the target equals the source.
        ignore_rle: Region that an evaluation leaves out (ReasonSeg), None where there is none.
        mask_image: A picture that holds the region: COCO-Stuff's label map, or the hole mask of an edit.
        label_ids: Values present in the label map that `mask_image` points to, ascending; parallel to `phrases`.
        phrases: Names or expressions of the object to paint, one is drawn for a visit (`segment`).
        instructions: What a person asks for, one is drawn for a visit: edit instructions, or the questions that stand
            before a request to paint (ReasonSeg).
        conversation: Turns of questions and answers (`answer`).
        caption: Description of a picture (`caption`).
        category: The data set's own class: the object category, or the kind of edit.
        split: The data set's split.
        license: Short name of the license of the annotations.
        terms: What else binds a user of the row, in a sentence.
    """

    example_id: str
    source: str
    task: Task
    image: ImageRef | None = None
    target: ImageRef | None = None
    mask_rle: MaskRle | None = None
    ignore_rle: MaskRle | None = None
    mask_image: ImageRef | None = None
    label_ids: tuple[int, ...] = ()
    phrases: tuple[str, ...] = ()
    instructions: tuple[str, ...] = ()
    conversation: tuple[Turn, ...] = ()
    caption: str | None = None
    category: str | None = None
    split: str
    license: str
    terms: str


class Reason(StrEnum):
    """Why a record of a data set did not become a row."""

    ALL_CROWD = "all_crowd"
    BAD_ARCHIVE = "bad_archive"
    BAD_CONVERSATION = "bad_conversation"
    BAD_ENCODING = "bad_encoding"
    BAD_JSON = "bad_json"
    BAD_LINE = "bad_line"
    BAD_POLYGON = "bad_polygon"
    BAD_RECORD = "bad_record"
    BAD_RLE = "bad_rle"
    DUPLICATE_ID = "duplicate_id"
    EMPTY_MASK = "empty_mask"
    EMPTY_TEXT = "empty_text"
    LABEL_MAP_MODE = "label_map_mode"
    LABEL_VALUE = "label_value"
    MISSING_ANNOTATION = "missing_annotation"
    MISSING_FIELD = "missing_field"
    MISSING_FOLDER = "missing_folder"
    MISSING_IMAGE = "missing_image"
    NOT_LISTED = "not_listed"
    PATH_OUTSIDE_ROOT = "path_outside_root"
    SIZE_MISMATCH = "size_mismatch"
    UNREADABLE_FILE = "unreadable_file"
    UNREADABLE_IMAGE = "unreadable_image"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejection:
    """A record of a data set that was left out, and why.

    Attributes:
        source: Name of the source in the configuration.
        record_id: The data set's own id of the record, for example a ref id, a file stem or a line number.
        reason: The kind of fault.
        detail: The fault in a sentence, with the offending value.
    """

    source: str
    record_id: str
    reason: Reason
    detail: str
