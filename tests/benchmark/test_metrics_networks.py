"""CLIP and LPIPS from local weights; what is missing or broken is an error at once, and nothing random ever scores."""

import json
import re
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from benchmark.hub import answers
from benchmark.metrics.clip_models import clip_scores
from benchmark.networks import NetworkError, Unavailable, find_clip, find_lpips, find_networks, pick_device
from benchmark.protocols import PROTOCOLS
from tests.benchmark.drawn_runs import picture

CROPS = [Image.fromarray(picture(i, size)) for i, size in enumerate([(40, 60), (64, 64), (1, 1), (3, 90)])]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SqueezeNet with seeded weights, as torchvision keeps it."""
    from torchvision.models import squeezenet1_1

    with torch.random.fork_rng():
        torch.manual_seed(1)
        path = tmp_path_factory.mktemp("lpips") / "squeezenet1_1.pth"
        torch.save(squeezenet1_1(weights=None).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transformers CLIP of real classes at a tiny size, with a byte-level tokenizer."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    folder = tmp_path_factory.mktemp("clip")
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    letters = [*"abcdefghijklmnopqrstuvwxyz"]
    vocabulary = letters + [f"{c}</w>" for c in letters] + ["<|startoftext|>", "<|endoftext|>"]
    config = CLIPConfig(
        text_config={**tower, "vocab_size": len(vocabulary), "max_position_embeddings": 77,
                     "bos_token_id": len(vocabulary) - 2, "eos_token_id": len(vocabulary) - 1},
        vision_config={**tower, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(2)
        CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "pad_token": "<|endoftext|>"})
    )
    return folder


@pytest.fixture
def tiny_open_clip(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A tiny architecture made known to open_clip, and a file of seeded weights for it."""
    name = "ViT-tiny-for-this-test"
    tower = {"layers": 1, "width": 64, "heads": 1}
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "patch_size": 8, "layers": 1, "width": 64},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, **tower},
    }
    (tmp_path / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / f"{name}.json")
    with torch.random.fork_rng():
        torch.manual_seed(3)
        torch.save(open_clip.create_model(name).state_dict(), tmp_path / "weights.pt")
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    shutil.copy(tmp_path / "weights.pt", tmp_path / "open_clip_pytorch_model.bin")
    yield name, tmp_path / "weights.pt"
    (tmp_path / f"{name}.json").unlink()


def unit(features: torch.Tensor) -> Any:
    return pytest.approx(torch.ones(features.shape[:-1]).numpy(), abs=1e-5)


def test_clip_gives_unit_features_and_scores_from_0_to_100(clip_folder: Path) -> None:
    clip = find_clip(str(clip_folder)).load()
    crops = clip.crop_features(CROPS)
    label = clip.label_feature("a red apple", False)
    assert crops.norm(dim=-1).numpy() == unit(crops)
    assert label.norm(dim=-1).numpy() == unit(label)
    assert torch.equal(label, clip.label_feature("  a red apple \n", False))
    scores = clip_scores(torch.stack([label, -label]), torch.stack([label, label]))
    assert scores == [pytest.approx(100, abs=1e-3), 0.0]


def test_a_crop_s_feature_hardly_depends_on_its_batch(clip_folder: Path) -> None:
    clip = find_clip(str(clip_folder)).load()
    alone = torch.cat([clip.crop_features([crop]) for crop in CROPS])
    assert torch.allclose(clip.crop_features(CROPS), alone, atol=1e-5)


def test_a_long_label_is_cut_with_or_without_its_end(clip_folder: Path) -> None:
    clip = find_clip(str(clip_folder)).load()
    long = "apple pear " * 40
    cut, kept = clip.label_feature(long, False), clip.label_feature(long, True)
    assert not torch.allclose(cut, kept, atol=1e-3)
    assert torch.equal(cut, clip.label_feature(long + "and much more", False))


def test_open_clip_loads_a_file_and_a_folder_alike(tiny_open_clip: tuple[str, Path]) -> None:
    name, weights = tiny_open_clip
    from_file = find_clip(f"open_clip:{name}@{weights}").load()
    from_folder = find_clip(f"open_clip:{weights.parent}").load()
    one, other = (clip.crop_features(CROPS) for clip in (from_file, from_folder))
    assert one.norm(dim=-1).numpy() == unit(one)
    assert torch.equal(one, other)
    assert torch.equal(from_file.label_feature("a cat", True), from_folder.label_feature("a cat", True))


@pytest.mark.parametrize(
    "own",
    [
        {"mean": (0.5, 0.5, 0.5), "std": (0.4, 0.4, 0.4)},
        {"resize_mode": "squash", "interpolation": "bilinear"},
        {"quick_gelu": True},
    ],
)
def test_a_tag_of_open_clip_reads_pictures_as_its_weights_were_trained(
    tiny_open_clip: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, own: dict[str, Any]
) -> None:
    """A file says nothing of it; the same weights by file score otherwise, and never under the same hash."""
    name, weights = tiny_open_clip
    tag = {**open_clip.get_pretrained_cfg("ViT-B-32", "laion2b_e16"), "file": str(weights), **own}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, name, {"trained": tag})
    monkeypatch.setattr("benchmark.networks.hub_answers", lambda repository: True)
    by_tag, by_file = find_clip(f"open_clip:{name}@trained"), find_clip(f"open_clip:{name}@{weights}")
    model, _, transform = open_clip.create_model_and_transforms(
        name, pretrained="trained", force_quick_gelu="quick_gelu" in own
    )
    with torch.inference_mode():
        expected = model.eval().encode_image(torch.stack([transform(crop) for crop in CROPS]), normalize=True)
    ours = by_tag.load().crop_features(CROPS)
    assert torch.equal(ours, expected)
    assert not torch.allclose(ours, by_file.load().crop_features(CROPS), atol=1e-4)
    assert by_tag.sha256 != by_file.sha256


@pytest.mark.parametrize(
    ("named", "stored"),
    [("", "open_clip_model.safetensors"), ("", "open_clip_pytorch_model.bin"), ("mine.pt", "mine.pt")],
)
def test_a_tag_whose_weights_are_cached_needs_no_hub(
    tiny_open_clip: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, stored: str
) -> None:
    """Most tags of open_clip name a repository and leave the file to its habit."""
    name, weights = tiny_open_clip
    cache = tmp_path / "hub" / "models--nobody--tiny"
    (cache / "snapshots" / "abc").mkdir(parents=True)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("abc")
    shutil.copy(weights, cache / "snapshots" / "abc" / stored)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, name, {"cached": {"hf_hub": f"nobody/tiny/{named}"}})
    assert find_clip(f"open_clip:{name}@cached").name == f"open_clip:{name}@cached"


def test_lpips_is_zero_for_equal_pictures_and_follows_the_weights(backbone: Path) -> None:
    lpips = find_lpips(str(backbone)).load()
    pixels = [picture(i).astype(np.float32) / 255 for i in range(4)]
    one, other = lpips.features(pixels[:2]), lpips.features(pixels[2:])
    assert lpips.distances(one, one, None) == [0.0, 0.0]
    whole = np.ones((64, 64), np.float32)
    left = whole.copy()
    left[:, 32:] = 0
    spread = lpips.distances(one, other, [whole, whole])
    halves = [lpips.distances(one, other, [w, w]) for w in (left, 1 - left)]
    assert all(d > 0 for d in spread)
    assert spread == pytest.approx(np.mean(halves, axis=0).tolist(), rel=1e-5)
    assert halves[0] != pytest.approx(halves[1], rel=1e-3)


@pytest.mark.parametrize("strength", [1.0, 1e-3])
def test_lpips_by_name_is_that_of_torchmetrics_even_where_features_vanish(
    backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strength: float
) -> None:
    """Both read torchvision's weights from the torch hub cache."""
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
    from torchvision.models import SqueezeNet1_1_Weights

    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    state = torch.load(backbone)
    state["features.0.weight"], state["features.0.bias"] = (
        state[f"features.0.{n}"] * strength for n in ("weight", "bias")
    )
    torch.save(state, cache / str(SqueezeNet1_1_Weights.IMAGENET1K_V1.url).rpartition("/")[2])
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    lpips, reference = find_lpips("squeezenet1_1").load(), LearnedPerceptualImagePatchSimilarity(net_type="squeeze")
    pixels = [picture(i).astype(np.float32) / 255 for i in range(2)]
    tensors = [torch.from_numpy(p).permute(2, 0, 1)[None] * 2 - 1 for p in pixels]
    ours = lpips.distances(lpips.features(pixels[:1]), lpips.features(pixels[1:]), None)
    assert ours == pytest.approx([float(reference(*tensors))], rel=1e-5)


def test_lpips_in_one_batch_is_lpips_one_by_one(backbone: Path) -> None:
    lpips = find_lpips(str(backbone)).load()
    pixels = [picture(i).astype(np.float32) / 255 for i in range(6)]
    together = lpips.distances(lpips.features(pixels[:3]), lpips.features(pixels[3:]), None)
    alone = [
        lpips.distances(lpips.features([a]), lpips.features([b]), None)[0]
        for a, b in zip(pixels[:3], pixels[3:], strict=True)
    ]
    assert together == pytest.approx(alone, rel=1e-5)


def test_loading_leaves_the_global_random_state_alone(
    backbone: Path, clip_folder: Path, tiny_open_clip: tuple[str, Path]
) -> None:
    before = torch.random.get_rng_state()
    find_lpips(str(backbone)).load()
    find_clip(str(clip_folder)).load()
    find_clip(f"open_clip:{tiny_open_clip[0]}@{tiny_open_clip[1]}").load()
    assert torch.equal(before, torch.random.get_rng_state())


def test_hashes_follow_the_content(backbone: Path, clip_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(clip_folder, tmp_path / "clip")
    assert find_clip(str(tmp_path / "clip")).sha256 == find_clip(str(clip_folder)).sha256
    config = tmp_path / "clip" / "preprocessor_config.json"
    config.write_text(config.read_text().replace('"do_center_crop": true', '"do_center_crop": false'))
    assert find_clip(str(tmp_path / "clip")).sha256 != find_clip(str(clip_folder)).sha256


def test_weights_that_lack_a_tensor_are_refused(backbone: Path, clip_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(clip_folder, tmp_path / "clip")
    weights = load_file(tmp_path / "clip" / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, tmp_path / "clip" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(NetworkError, match=r"cannot be loaded \(the weights of visual_projection\.weight"):
        find_clip(str(tmp_path / "clip")).load()
    state = torch.load(backbone)
    del state["features.3.squeeze.weight"]
    torch.save(state, tmp_path / "cut.pth")
    with pytest.raises(NetworkError, match=r"cut\.pth: cannot be loaded \(no SqueezeNet 1\.1 weights: features\.3"):
        find_lpips(str(tmp_path / "cut.pth")).load()
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(NetworkError, match=r"text\.safetensors: cannot be loaded"):
        find_lpips(str(tmp_path / "text.safetensors")).load()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", "{}", "cannot be loaded"),
        ("model.safetensors", "no weights", "cannot be loaded (Error while deserializing header"),
        ("preprocessor_config.json", "[", "preprocessor_config.json' is not a valid JSON file"),
    ],
)
def test_a_clip_that_was_named_and_is_broken_is_known_when_it_is_found(
    clip_folder: Path, tmp_path: Path, file: str, content: str, message: str
) -> None:
    shutil.copytree(clip_folder, tmp_path / "clip")
    (tmp_path / "clip" / file).write_text(content)
    with pytest.raises(NetworkError, match=re.escape(message)):
        find_networks(PROTOCOLS["miniature-v1"], clip_model=str(tmp_path / "clip"))


def test_a_clip_without_weights_or_words_is_refused(
    clip_folder: Path, tiny_open_clip: tuple[str, Path], tmp_path: Path
) -> None:
    """Both libraries would go on: one with random weights, the other with every word unknown."""
    folder = tiny_open_clip[1].parent
    (folder / "open_clip_pytorch_model.bin").unlink()
    with pytest.raises(NetworkError, match=r"Required pretrained weights .* could not be loaded"):
        find_clip(f"open_clip:{folder}").load()
    shutil.copytree(clip_folder, tmp_path / "clip")
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / "clip" / name).unlink()
    with pytest.raises(NetworkError, match=r"the tokenizer knows no words; put its tokenizer\.json"):
        find_clip(str(tmp_path / "clip")).load()


@pytest.mark.parametrize(("content", "kind"), [("no weights", "UnpicklingError"), ("", "EOFError")])
def test_a_file_of_open_clip_that_holds_no_weights_is_known_when_it_is_found(
    tiny_open_clip: tuple[str, Path], content: str, kind: str
) -> None:
    name, weights = tiny_open_clip
    weights.write_text(content)
    with pytest.raises(NetworkError, match=rf"cannot be loaded \({kind}\); its file of weights is broken"):
        find_networks(PROTOCOLS["miniature-v1"], clip_model=f"open_clip:{name}@{weights}")


def test_networks_that_were_named_are_loaded_once(clip_folder: Path, backbone: Path, tmp_path: Path) -> None:
    """They stay what they were when they were found, though their files go or change in the hours of editing."""
    folder, file = shutil.copytree(clip_folder, tmp_path / "clip"), shutil.copy(backbone, tmp_path / "lpips.pth")
    networks = find_networks(PROTOCOLS["miniature-v1"], clip_model=str(folder), lpips_backbone=str(file), device="cpu")
    shutil.rmtree(folder)
    file.unlink()
    assert not isinstance(networks.clip, Unavailable) and not isinstance(networks.lpips, Unavailable)
    assert networks.clip.load() is networks.clip.load()
    assert networks.lpips.load() is networks.lpips.load()


def test_what_was_named_and_is_not_there_is_an_error_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    messages = {
        "nobody/no-such-clip": "no such folder, not cached, and the hub does not answer; give a local folder",
        str(tmp_path): "holds no config.json; give the folder of a transformers CLIP model",
        "open_clip:ViT-L-14@nothing": "nothing is no file, and no weights of ViT-L-14; there are openai",
        "open_clip:ViT-L-14@openai": "not cached and the hub does not answer; give a file: open_clip:ARCH@FILE",
        "open_clip:No-Such@x": "open_clip knows no architecture No-Such",
        "open_clip:nowhere": "no folder with an open_clip_config.json",
    }
    for name, message in messages.items():
        with pytest.raises(NetworkError) as caught:
            find_networks(PROTOCOLS["miniature-v1"], clip_model=name)
        assert message in str(caught.value)
    with pytest.raises(NetworkError, match=r"nowhere\.pth: there is no such file; give a \.safetensors or \.pth"):
        find_networks(PROTOCOLS["miniature-v1"], lpips_backbone="nowhere.pth")
    text = tmp_path / "text.pth"
    text.write_text("no weights")
    with pytest.raises(NetworkError, match=r"text\.pth: cannot be loaded .*; give a \.safetensors or \.pth file"):
        find_networks(PROTOCOLS["miniature-v1"], lpips_backbone=str(text))
    with pytest.raises(NetworkError, match="not in the torch hub cache, its host does not answer; put squeezenet1_1"):
        find_networks(PROTOCOLS["miniature-v1"], lpips_backbone="squeezenet1_1")


def test_a_protocol_s_own_network_that_is_not_there_is_unavailable_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    networks = find_networks(PROTOCOLS["smartedit-v1"])
    assert isinstance(networks.clip, Unavailable)
    assert isinstance(networks.lpips, Unavailable)
    assert networks.clip.reason.startswith("not available: CLIP openai/clip-vit-large-patch14: no such folder")
    assert networks.lpips.reason.startswith("not available: LPIPS backbone squeezenet1_1")
    small = find_networks(replace(PROTOCOLS["miniature-v1"], clip_model=None))
    assert small.clip == Unavailable(
        reason="not available: no trained small network ships for miniature-v1; name one with --clip-model"
    )


def test_a_host_that_never_answers_is_given_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x"
        begin = time.monotonic()
        assert not answers(url, seconds=0.2)
        assert time.monotonic() - begin < 5
    assert not answers(url, seconds=0.2)


def test_an_unknown_device_is_refused() -> None:
    assert pick_device("cpu") == "cpu"
    with pytest.raises(NetworkError, match="--device warp: not usable here"):
        pick_device("warp")
