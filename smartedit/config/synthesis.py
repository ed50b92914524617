"""Configuration of the data factory: pictures, rules, tools, thresholds and quotas."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from smartedit.config.loading import ConfigError, load_tree

STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PicturesConfig:
    """Which pictures are taken in."""

    annotations: str | None = None
    """A COCO detection file for the pictures; None where there is no ground truth."""
    vocabulary: tuple[str, ...] = ()
    """Kinds to look for; empty for every annotated kind, or every kind of the knowledge table."""
    min_side: int = Field(default=128, ge=8)
    """Shorter pictures are rejected; pixels of the shorter side."""
    max_side: int = Field(default=1024, ge=64)
    """Larger pictures are scaled down to this longer side."""
    max_megapixels: float = Field(default=120.0, gt=0)
    """Pictures with more are rejected before they are decoded."""
    duplicate_distance: int = Field(default=8, ge=0, le=64)
    """Pictures whose 64-bit difference hashes differ in at most so many bits, and whose thumbnails agree, are one."""
    limit: int | None = Field(default=None, ge=1)
    """Take the first so many pictures by name; None for all."""
    license: str = "unknown"
    """Licence of pictures for which the annotations name none."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ProposalsConfig:
    """Which edits are proposed."""

    knowledge: str = "world"
    """What is known of things: the table that ships ("world") or a TOML file."""
    per_picture: int = Field(default=4, ge=1)
    """At most so many candidates of one category in a picture."""
    remove_share: float = Field(default=0.3, ge=0, le=1)
    """Share of removals."""
    add_share: float = Field(default=0.1, ge=0, le=1)
    """Share of additions; the rest are replacements."""
    size_ratio: float = Field(default=4.0, ge=1)
    """A replacement's usual size differs from the thing's by at most this factor."""
    mirror_word: str = "mirror"
    """What a mirror is called by the grounder."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RulesConfig:
    """When one thing among several is singled out beyond doubt."""

    min_score: float = Field(default=0.0, ge=0, le=1)
    """Detections below are not counted."""
    min_area: float = Field(default=0.004, ge=0, le=1)
    """Smallest box of the chosen thing, share of the picture."""
    max_area: float = Field(default=0.5, ge=0, le=1)
    """Largest box, share of the picture."""
    border: float = Field(default=0.005, ge=0, le=0.5)
    """A chosen box must stay this far from the edge, share of the side."""
    max_overlap: float = Field(default=0.1, ge=0, le=1)
    """Largest share of the chosen box that another known thing may cover."""
    same_box: float = Field(default=0.85, ge=0, le=1)
    """Boxes with at least this intersection over union are one thing that was found twice."""
    position_gap: float = Field(default=0.08, ge=0, le=1)
    """Least horizontal distance of centres between left, middle and right, share of the width."""
    middle_range: float = Field(default=0.35, ge=0, le=0.5)
    """The middle one of three lies this far from the centre of the two outer ones at most, share of their distance."""
    size_ratio: float = Field(default=1.5, ge=1)
    """Least ratio of areas between bigger and smaller."""
    color_share: float = Field(default=0.55, ge=0, le=1)
    """Least share of the mask that its named color covers."""
    max_of: int = Field(default=5, ge=2)
    """Most things of a kind among which one is pointed out."""
    mirror_inside: float = Field(default=0.8, ge=0, le=1)
    """Share of a box that must lie in the mirror's box to be a reflection."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GrounderConfig:
    """Which tool finds things."""

    name: str = "annotations"
    """annotations, groundingdino, grounding-dino-hf, or `package.module:factory`."""
    model: str | None = None
    """Checkpoint path or hub name."""
    model_config: str | None = None
    """groundingdino-py: the model's configuration file; None for the Swin-T one that the package holds."""
    text_encoder: str | None = None
    """groundingdino-py: folder or hub name of its BERT; None for what the configuration file names."""
    short_side: int = Field(default=800, ge=32)
    """Shorter side that GroundingDINO works at, pixels."""
    box_threshold: float = Field(default=0.35, ge=0, le=1)
    """Least confidence of a box."""
    text_threshold: float = Field(default=0.25, ge=0, le=1)
    """Least confidence of a word."""
    device: str = "cpu"
    """Where the model runs."""
    batch_size: int = Field(default=16, ge=1)
    """Phrases of a picture that are looked for in one call, and share a caption."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SegmenterConfig:
    """Which tool cuts things out."""

    name: str = "annotations"
    """annotations, sam, sam-hf, or `package.module:factory`."""
    model: str | None = None
    """Checkpoint path or hub name."""
    model_type: str = "vit_h"
    """segment-anything: vit_h, vit_l or vit_b."""
    device: str = "cpu"
    """Where the model runs."""
    batch_size: int = Field(default=8, ge=1)
    """Requests in one call."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RegionConfig:
    """How a mask becomes the region that may change."""

    hole: float = Field(default=0.02, ge=0, le=1)
    """Holes up to this share of the mask are closed."""
    speck: float = Field(default=0.05, ge=0, le=1)
    """Parts smaller than this share of the largest are dropped."""
    dilate: float = Field(default=0.03, ge=0, le=0.5)
    """How far the region reaches beyond the mask, share of the picture's longer side."""
    shadow: float = Field(default=0.1, ge=0, le=1)
    """How far the region reaches below and beside the thing's foot, where its shadow lies, share of its height."""
    feather: float = Field(default=1.5, ge=0)
    """Standard deviation of the soft edge inside the region, pixels."""
    replace_shape: Literal["mask", "box"] = "box"
    """Where a replacement may change pixels: in the thing's outline, or in its box, with room for another shape."""
    max_fraction: float = Field(default=0.5, gt=0, le=1)
    """Largest region, share of the picture."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class InpainterConfig:
    """Which tool fills a region."""

    name: str = "exemplar"
    """exemplar, opencv, diffusion, or `package.module:factory`."""
    model: str | None = None
    """diffusion: path or hub name of the pipeline."""
    pipeline: str = "AutoPipelineForInpainting"
    """diffusion: the class in diffusers, for example StableDiffusionInpaintPipeline or FluxFillPipeline."""
    steps: int = Field(default=30, ge=1)
    """diffusion: sampling steps."""
    guidance_scale: float = Field(default=7.5, ge=0)
    """diffusion: scale of classifier-free guidance."""
    resolution: int = Field(default=512, ge=8)
    """diffusion: the longer side that the model works at, pixels."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """diffusion: precision of the weights."""
    remove_prompt: str = "empty background, nothing there"
    """diffusion: what is asked for where something is removed."""
    negative_prompt: str = "blurry, deformed, text, watermark"
    """diffusion: what is kept away, where the pipeline takes such a prompt."""
    bank: str | None = None
    """exemplar: a folder `<kind>/*.png` of cut-outs; None to cut them out of the annotated pictures."""
    radius: int = Field(default=4, ge=1)
    """opencv: radius of the neighbourhood, pixels."""
    device: str = "cpu"
    """Where the model runs."""
    batch_size: int = Field(default=4, ge=1)
    """Requests in one call."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class WriterConfig:
    """Which tool writes instructions."""

    name: str = "template"
    """template, endpoint, transformers, or `package.module:factory`."""
    model: str | None = None
    """endpoint: the model's name there; transformers: a path or hub name."""
    url: str | None = None
    """endpoint: the address of an OpenAI-compatible API, for example http://127.0.0.1:8000/v1."""
    api_key_variable: str | None = None
    """endpoint: the environment variable that holds the key."""
    cache: str | None = None
    """Folder of answers; None for `answers` in the run folder."""
    count: int = Field(default=4, ge=1)
    """Instructions a sample."""
    extra_clues: int = Field(default=0, ge=0)
    """Further clues a thing that a language model makes up and the grounder has to confirm."""
    timeout: float = Field(default=60.0, gt=0)
    """endpoint: seconds to wait for an answer."""
    retries: int = Field(default=3, ge=0)
    """endpoint: further tries, with growing pauses."""
    give_up_after: int = Field(default=5, ge=1)
    """endpoint: so many samples in a row without any connection end the run, to be resumed."""
    max_new_tokens: int = Field(default=256, ge=8)
    """Longest answer."""
    device: str = "cpu"
    """Where a local model runs."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ScorerConfig:
    """Which tools judge pairs; without any, their columns are NaN."""

    clip: str | None = None
    """Path or hub name of a CLIP model."""
    regrounder: GrounderConfig | None = None
    """A detector that looks for the new and the old thing in the target; ground truth cannot."""
    device: str = "cpu"
    """Where CLIP runs."""
    batch_size: int = Field(default=16, ge=1)
    """Requests in one call."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ThresholdsConfig:
    """What a pair must reach; a limit on a column that is NaN lets the pair pass and is counted as not measured."""

    clip_target: float | None = None
    """Least cosine with the target text."""
    clip_source_drop: float | None = None
    """Least fall of the likeness to the source text."""
    clip_direction: float | None = None
    """Least directional similarity; InstructPix2Pix used 0.2."""
    target_found: float | None = 0.3
    """Least confidence of the new thing."""
    source_left: float | None = 0.3
    """Most confidence of the old thing."""
    background_error: float | None = 0.0
    """Largest difference outside the region, 8-bit levels."""
    changed_in_mask: float | None = 0.25
    """Least share of the mask that changed."""
    changed_fraction: float | None = 0.4
    """Largest share of the picture that changed."""
    seam_energy: float | None = 3.0
    """Largest step at the region's edge, relative to the source."""
    fill_texture: float | None = 0.3
    """Least texture of what fills a removed thing's place, relative to its surroundings."""
    near_duplicate: int | None = 4
    """Two pairs of one source whose targets differ in at most so many hash bits are one."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class QuotasConfig:
    """How many pairs of each category are wanted; 476 in all, as in the paper, whose split is not published."""

    left_right: int = Field(default=100, ge=0)
    """Pairs that need left, middle or right."""
    relative_size: int = Field(default=76, ge=0)
    """Pairs that need bigger or smaller."""
    mirror: int = Field(default=60, ge=0)
    """Pairs that need in or outside the mirror."""
    color: int = Field(default=80, ge=0)
    """Pairs that need a color."""
    multiple_objects: int = Field(default=60, ge=0)
    """Pairs that name one of several kinds."""
    reasoning: int = Field(default=100, ge=0)
    """Pairs that need knowledge of the world."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SelectionConfig:
    """Which pairs make the set."""

    thresholds: ThresholdsConfig = ThresholdsConfig()
    """Limits on the score columns."""
    quotas: QuotasConfig = QuotasConfig()
    """Pairs a category."""
    per_source: int = Field(default=3, ge=1)
    """At most so many pairs of one picture in a category."""
    review_required: bool = False
    """Only pairs that a reviewer kept."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SynthesisConfig:
    """The data factory."""

    pictures: PicturesConfig = PicturesConfig()
    """What comes in."""
    proposals: ProposalsConfig = ProposalsConfig()
    """What is proposed."""
    rules: RulesConfig = RulesConfig()
    """What counts as singled out."""
    grounder: GrounderConfig = GrounderConfig()
    """Finds things."""
    segmenter: SegmenterConfig = SegmenterConfig()
    """Cuts things out."""
    region: RegionConfig = RegionConfig()
    """Where pixels may change."""
    replacer: InpainterConfig = InpainterConfig()
    """Fills regions with new things."""
    remover: InpainterConfig = InpainterConfig(name="opencv")
    """Fills regions with what is behind."""
    writer: WriterConfig = WriterConfig()
    """Says edits in words."""
    scorer: ScorerConfig = ScorerConfig()
    """Judges pairs."""
    selection: SelectionConfig = SelectionConfig()
    """Chooses pairs."""
    draws: int = Field(default=1, ge=1)
    """Targets a candidate, of which the best is selected."""
    pictures_per_shard: int = Field(default=16, ge=1)
    """Pictures that are worked on, and redone after an interruption, together."""


def load_synthesis(source: str | Path | None = None, overrides: Sequence[str] = ()) -> SynthesisConfig:
    """The factory's configuration.

    Args:
        source: A preset (`synthesis_preset_names`), the path of a TOML file, or None for the defaults.
        overrides: `a.b=value` texts.

    Returns:
        The checked tree.

    Raises:
        ConfigError: Unknown preset or key, broken TOML, or a value out of range.
    """
    if source is None or Path(source).suffix == ".toml":
        return load_tree(SynthesisConfig, source=source, overrides=overrides)
    if source not in synthesis_preset_names():
        names = ", ".join(synthesis_preset_names())
        raise ConfigError(f"no synthesis preset {str(source)!r}; presets are {names}, files end in .toml")
    with resources.as_file(resources.files("smartedit.presets.synthesis") / f"{source}.toml") as path:
        return load_tree(SynthesisConfig, source=path, overrides=overrides)


def synthesis_preset_names() -> list[str]:
    """The names of the factory's presets."""
    folder = resources.files("smartedit.presets.synthesis")
    return sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml"))
