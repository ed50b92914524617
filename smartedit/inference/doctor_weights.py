"""The values of a checkpoint's weights: broken numbers, and parts that no training has touched."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from smartedit.inference.findings import Finding, Grade
from smartedit.inference.memory import PARTS
from smartedit.model.released_files import WeightFiles, read_weight_files

if TYPE_CHECKING:
    from torch import Tensor

TOPIC = "weights"
FLOAT16_MAX = 65504.0
_SHOWN = 5


def examine_weights(folder: Path) -> Iterator[Finding]:
    """Read every weight once, one at a time."""
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    for part in PARTS:
        if (folder / part).is_dir():
            files = read_weight_files(folder / part)
            yield from _part(part, files)
    mllm = read_weight_files(folder / "mllm")
    yield from _added_rows(mllm, index.get("num_img_tokens", 32))
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


def _added_rows(mllm: WeightFiles, num_img_tokens: int) -> Iterator[Finding]:
    """The [IMG] tokens' rows against what new rows start from: the mean of the old ones."""
    added = 3 + num_img_tokens
    for what, ending in (("embedding", "embed_tokens.weight"), ("output layer", "lm_head.weight")):
        name = next((n for n in mllm.entries if n.endswith(ending)), None)
        if name is None or mllm.entries[name].shape[0] <= added:
            continue
        with mllm.open([name]) as read:
            yield from _new_rows(what, read[name], added)


def _new_rows(what: str, weight: "Tensor", added: int) -> Iterator[Finding]:
    mean, rows = weight[:-added].float().mean(dim=0), weight[-added:].float()
    scale = float(weight[:-added].float().std())
    untouched = [i for i in range(3, added) if float((rows[i] - mean).abs().max()) < 1e-3 * scale]
    alike = [i for i in range(4, added) if bool((rows[i] == rows[3]).all())]
    if untouched:
        yield _fault(
            f"{what}: {len(untouched)} of {added - 3} [IMG] rows are still the mean of the others, where they started: "
            "the tokens were not trained"
        )
    elif alike:
        yield _fault(f"{what}: {len(alike) + 1} of {added - 3} [IMG] rows are all the same")
    else:
        text = f"{what}: the {added - 3} [IMG] rows have values of their own"
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
