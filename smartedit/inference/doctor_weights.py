"""The values of a checkpoint's weights: broken numbers, and parts that no training has touched."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from smartedit.inference.doctor_tokens import layout_of
from smartedit.inference.findings import Finding, Grade
from smartedit.inference.memory import PARTS
from smartedit.model.released_files import WeightFiles, read_weight_files
from smartedit.model.tokenizer import TokenLayout

if TYPE_CHECKING:
    from torch import Tensor

TOPIC = "weights"
FLOAT16_MAX = 65504.0
_SHOWN = 5


def examine_weights(folder: Path) -> Iterator[Finding]:
    """Read every weight once, one at a time."""
    for part in PARTS:
        if (folder / part).is_dir():
            files = read_weight_files(folder / part)
            yield from _part(part, files)
    layout = layout_of(folder)
    if layout is not None:
        yield from _added_rows(read_weight_files(folder / "mllm"), layout)
    yield from _picture_channels(read_weight_files(folder / "unet"))


@dataclass(slots=True)
class _Tally:
    """What was seen of a part's weights."""

    broken: list[str] = field(default_factory=list)
    large: list[str] = field(default_factory=list)
    zero_heads: list[str] = field(default_factory=list)
    adapters: list[bool] = field(default_factory=list)
    norms: dict[str, list[bool]] = field(default_factory=dict)

    def look(self, name: str, tensor: "Tensor") -> None:
        """Take note of one weight."""
        if not tensor.is_floating_point() or not tensor.numel():
            return
        largest = float(tensor.abs().max())
        if not largest < float("inf"):
            self.broken.append(name)
        elif largest > FLOAT16_MAX:
            self.large.append(f"{name} ({largest:.3g})")
        if name.startswith("dimension_reduction_head_") and name.endswith("weight") and largest == 0:
            self.zero_heads.append(name)
        if ".lora_B." in name:
            self.adapters.append(largest == 0)
        if tensor.dim() == 1 and "norm" in name.lower():
            start = 0.0 if name.endswith("bias") else 1.0
            self.norms.setdefault(_group(name), []).append(bool((tensor == start).all()))


def _group(name: str) -> str:
    """The halves of the language model are trained apart."""
    halves = {".vision_tower.": " (image encoder)", ".language_model.": " (decoder)"}
    return next((half for piece, half in halves.items() if piece in name), "")


def _part(part: str, files: WeightFiles) -> Iterator[Finding]:
    tally, zero = _Tally(), True
    for name in files.entries:
        with files.open([name]) as read:
            tally.look(name, read[name])
            zero = zero and not bool(read[name].any())
    if tally.broken:
        fp16 = files.entries[tally.broken[0]].dtype == "float16"
        reason = "saved in float16 though values exceed 65504, or training diverged" if fp16 else "training diverged"
        yield _fault(f"{part}: {len(tally.broken)} weights hold NaN or infinity: {_some(tally.broken)}; {reason}")
    else:
        yield Finding(topic=TOPIC, grade=Grade.GOOD, text=f"{part}: all {len(files.entries)} weights are finite")
    if tally.large:
        text = f"{part}: {_some(tally.large)} overflow float16 (65504): load it in bfloat16 or float32"
        yield Finding(topic=TOPIC, grade=Grade.NOTE, text=text)
    if zero:
        yield _fault(f"{part}: all weights are zero")
        return
    if tally.zero_heads:
        yield _fault(
            f"{part}: {_some(tally.zero_heads)} still zero, as at the start of training: the module changes nothing; "
            "train the stage `full`, or take the checkpoint from its end"
        )
    if tally.adapters and all(tally.adapters):
        text = f"{part}: LoRA is untouched (B is zero in all {len(tally.adapters)} places)"
        yield Finding(topic=TOPIC, grade=Grade.NOTE, text=text)
    for half, fresh in tally.norms.items():
        if all(fresh):
            yield _fault(f"{part}{half}: all {len(fresh)} weights of norms are those of a new module: it is random")


def _added_rows(mllm: WeightFiles, layout: TokenLayout) -> Iterator[Finding]:
    """The [IMG] tokens' rows against what new rows start from: the mean of the old ones."""
    for what, ending in (("embedding", "embed_tokens.weight"), ("output layer", "lm_head.weight")):
        name = next((n for n in mllm.entries if n.endswith(ending)), None)
        if name is None or mllm.entries[name].shape[0] < layout.img_tokens.stop:
            continue
        with mllm.open([name]) as read:
            yield from _new_rows(what, read[name], layout)


def _new_rows(what: str, weight: "Tensor", layout: TokenLayout) -> Iterator[Finding]:
    old = weight[: min(layout.system_image, layout.image_start, layout.image_end, layout.first_img_token)].float()
    rows = weight[layout.img_tokens.start : layout.img_tokens.stop].float()
    mean, scale = old.mean(dim=0), float(old.std())
    untouched = [row for row in rows if float((row - mean).abs().max()) < 1e-3 * scale]
    alike = [row for row in rows[1:] if bool((row == rows[0]).all())]
    if untouched:
        yield _fault(
            f"{what}: {len(untouched)} of {len(rows)} [IMG] rows are still the mean of the others, where they started: "
            "the tokens were not trained"
        )
    elif alike:
        yield _fault(f"{what}: {len(alike) + 1} of {len(rows)} [IMG] rows are all the same")
    else:
        text = f"{what}: the {len(rows)} [IMG] rows have values of their own"
        yield Finding(topic=TOPIC, grade=Grade.GOOD, text=text)


def _picture_channels(unet: WeightFiles) -> Iterator[Finding]:
    """The UNet's channels for the source picture, which a text-to-image model does not have."""
    name = "conv_in.weight"
    if name not in unet.entries:
        return
    channels = unet.entries[name].shape[1]
    with unet.open([name]) as read:
        seen = bool(read[name][:, channels // 2 :].any())
    if not seen:
        yield _fault("unet: its channels for the source picture are zero: it was not trained to edit")


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _fault(text: str) -> Finding:
    return Finding(topic=TOPIC, grade=Grade.FAULT, text=text)
