"""The configuration of a manifest: which data sets are read, from where, and in whose way."""

from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SourceConfig:
    """What every source has."""

    root: Path
    """Folder (or file) of the annotations, relative to the data root; the usual layouts below it are tried."""
    license: str | None = None
    """Short name of the license, where you know better than the built-in list."""
    terms: str | None = None
    """What else binds a user, where you know better than the built-in list."""
    check_pictures: bool = False
    """Decode every picture and leave out rows whose pictures are broken (slow: two files a pair)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ReferSource(SourceConfig):
    """RefCOCO, RefCOCO+ or RefCOCOg."""

    kind: Literal["refcoco", "refcoco+", "refcocog"]
    split: str = "train"
    """train, val, test, testA or testB; the authors train on train."""
    split_by: str | None = None
    """unc, google or umd; by default unc, for RefCOCOg umd."""
    images: Path | None = None
    """Folder of COCO train2014, relative to the data root."""
    overlap: Literal["union", "smartedit"] = "union"
    """Pixels that parts of one object share: kept, or lost as in the authors' code."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GrefcocoSource(SourceConfig):
    """gRefCOCO."""

    kind: Literal["grefcoco"]
    split: str = "train"
    """train, val, testA or testB."""
    images: Path | None = None
    """Folder of COCO train2014, relative to the data root."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CocostuffSource(SourceConfig):
    """COCO-Stuff 164k."""

    kind: Literal["cocostuff"]
    split: str = "train2017"
    """train2017 or val2017."""
    images: Path | None = None
    """Folder of the COCO pictures, relative to the data root."""
    labels: Path | None = None
    """The file labels.txt, relative to the data root."""
    coding: Literal["auto", "stuffthing", "stuff"] = "auto"
    """What the values of the maps mean; stuff is for the stuff-only maps, which auto finds by their value 183."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ReasonsegSource(SourceConfig):
    """LISA's ReasonSeg."""

    kind: Literal["reasonseg"]
    split: str = "train"
    """train, val or test; explanatory reads the answers in words that the training split comes with."""
    images: Path | None = None
    """Folder of the pictures where they do not lie beside the json files, relative to the data root."""
    masks: Path | None = None
    """Folder of mask pictures that replace the shapes, relative to the data root."""
    mask_threshold: int = Field(default=128, ge=1, le=255)
    """Grey value from which a mask picture is target; 255 is what the authors' code demands."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class InstructPix2PixSource(SourceConfig):
    """InstructPix2Pix."""

    kind: Literal["instructpix2pix"]
    split: str = "all"
    """all; or of folders and zip archives train, val, test (90 %, 5 %, 5 %). The authors train on all."""
    layout: Literal["auto", "folders", "zip", "hub"] = "auto"
    """Which form to read where several lie in one folder."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MagicbrushSource(SourceConfig):
    """MagicBrush."""

    kind: Literal["magicbrush"]
    split: str = "train"
    """train, dev or test."""
    images: Path | None = None
    """Where the pictures of the json forms lie, relative to the data root."""
    layout: Literal["auto", "hub", "sessions", "list"] = "auto"
    """Which form to read where several lie in one folder."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class LlavaSource(SourceConfig):
    """LLaVA-Instruct."""

    kind: Literal["llava"]
    split: str = "train"
    """train."""
    images: Path | None = None
    """Folder of COCO train2017, relative to the data root."""
    file: str = "llava_instruct_150k.json"
    """Name of the json file."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Cc12mSource(SourceConfig):
    """CC12M captions."""

    kind: Literal["cc12m"]
    split: str = "train"
    """train."""
    file: str = "cc12m.tsv"
    """Name of the tsv file."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SyntheticSource(SourceConfig):
    """SmartEdit's synthetic pairs, or pairs made with this toolkit."""

    kind: Literal["synthetic"]
    split: str = "train"
    """train."""
    images: Path | None = None
    """Where the pictures lie, relative to the data root; by default below the json file's folder."""
    file: str = "SyntheticData_info_new.json"
    """Name of the json file."""


Source = Annotated[
    ReferSource
    | GrefcocoSource
    | CocostuffSource
    | ReasonsegSource
    | InstructPix2PixSource
    | MagicbrushSource
    | LlavaSource
    | Cc12mSource
    | SyntheticSource,
    Field(discriminator="kind"),
]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ManifestConfig:
    """All sources of a manifest, in the order of its rows."""

    root: Path = Path(".")
    """The data root, relative to this file; image paths in the manifest and all paths below are relative to it."""
    sources: dict[str, Source] = field(default_factory=dict)
    """Sources by name; `kind` may be left out where it is the name."""

    @model_validator(mode="before")
    @classmethod
    def _kind_from_name(cls, values: Any) -> Any:
        content = (values.kwargs or {}) if hasattr(values, "kwargs") else values
        sources = content.get("sources") if isinstance(content, dict) else None
        if isinstance(sources, dict):
            named = {n: {"kind": n, **s} if isinstance(s, dict) else s for n, s in sources.items()}
            return {**content, "sources": named}
        return content
