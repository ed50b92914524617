"""What the scoring benchmark reads: a run with drawn pictures, and networks of real size with random weights."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from benchmark.records import EditRecord
from benchmark.runs import Run
from reason_edit.files import file_sha256
from reason_edit.schema import Category, EditSample
from reason_edit.tables import write_rows


def drawn(seed: int, side: int) -> npt.NDArray[np.uint8]:
    """A picture with detail at every scale, as a photograph has."""
    generator = np.random.default_rng(seed)
    total = np.zeros((side, side, 3), np.float32)
    for cells in (4, 16, 64, 256):
        layer = Image.fromarray(generator.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        total += np.asarray(layer.resize((side, side), Image.Resampling.BICUBIC), np.float32) / cells**0.5
    return (255 * total / total.max()).astype(np.uint8)


def write_run(folder: Path, count: int, methods: int) -> Run:
    """A run with sources and masks of 512 px and edits of 256 px."""
    run, samples, records = Run(folder / "run"), [], []
    folder.mkdir(parents=True)
    for i in range(count):
        image, mask = folder / f"{i:03d}.png", folder / f"{i:03d}_mask.jpg"
        pixels = drawn(i, 512)
        Image.fromarray(pixels).save(image)
        area = np.zeros((512, 512), np.uint8)
        area[100 : 260 + i, 150:300] = 255
        Image.fromarray(area).save(mask, quality=90)
        sample_id = f"{Category.COLOR}/{i:03d}"
        samples.append(
            EditSample(
                sample_id=sample_id,
                category=Category.COLOR,
                instruction="-",
                target_label=f"a red apple {i}",
                image=image,
                mask=mask,
            )
        )
        for m in range(methods):
            path = run.image_path(f"m{m}", sample_id)
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(1000 * m + i).normal(0, 5, (256, 256, 3))
            edit = np.asarray(Image.fromarray(pixels).resize((256, 256), Image.Resampling.BICUBIC)) + noise
            Image.fromarray(edit.clip(0, 255).astype(np.uint8)).save(path)
            records.append(
                EditRecord(
                    method=f"m{m}",
                    sample_id=sample_id,
                    image=path.relative_to(run.folder).as_posix(),
                    image_sha256=file_sha256(path),
                    seed=0,
                    response=None,
                    error=None,
                )
            )
    run.write_samples(samples)
    write_rows(run.edits_path, records, EditRecord)
    return run


def write_clip(folder: Path) -> None:
    """A CLIP ViT-L/14 with random weights, and CLIP's own vocabulary out of open_clip."""
    from open_clip.tokenizer import SimpleTokenizer
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    pieces = SimpleTokenizer()
    config = CLIPConfig(
        text_config={"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
                     "bos_token_id": 49406, "eos_token_id": 49407},
        vision_config={"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
                       "num_attention_heads": 16, "patch_size": 14},
        projection_dim=768,
    )  # fmt: skip
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessor().save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({names.get(k, k): v for k, v in pieces.encoder.items()}))
    merges = [" ".join(pair) for pair, _ in sorted(pieces.bpe_ranks.items(), key=lambda item: item[1])]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer"}))


def write_networks(folder: Path) -> None:
    """Random weights at real size, where both sides look for them."""
    from torchvision.models import SqueezeNet1_1_Weights, squeezenet1_1

    torch.manual_seed(0)
    cache = folder / "torch" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    torch.save(
        squeezenet1_1(weights=None).state_dict(), cache / SqueezeNet1_1_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    )
    write_clip(folder / "clip")
