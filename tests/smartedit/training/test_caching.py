"""What the cache of frozen encoders keeps, does not keep, and computes anew."""

import logging
import pickle
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from smartedit.training.caching import Encoder, EncoderCache, Kept, KeptBatch, weights_digest

PLENTY = 10**9


@dataclass
class Counted:
    """An encoder that counts the pictures it was given."""

    layer: nn.Conv2d
    calls: int = 0

    def __call__(self, pixels: Tensor) -> Tensor:
        assert pixels.shape[0] == 1
        self.calls += 1
        return self.layer(pixels)


def counted(seed: int) -> tuple[Counted, Encoder]:
    torch.manual_seed(seed)
    layer = nn.Conv2d(3, 2, 2, stride=2).requires_grad_(False)
    encode = Counted(layer)
    return encode, Encoder(encode=encode, digest=weights_digest([layer]))


def batch_of(seeds: list[int], targets: list[int]) -> SimpleNamespace:
    """Pictures by seed."""

    def pictures(numbers: list[int]) -> Tensor:
        return torch.stack([torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(n)) for n in numbers])

    return SimpleNamespace(source=pictures(seeds), target=pictures(targets), pixel_values=pictures(seeds))


def moments_of(
    cache: EncoderCache, batch: SimpleNamespace, drawn: frozenset[str] = frozenset()
) -> tuple[Tensor, Tensor, KeptBatch]:
    """Source and target moments as the loop gets them, and what the cache had of them."""
    rows = [
        SimpleNamespace(source=batch.source[i], target=batch.target[i], pixel_values=batch.pixel_values[i], drawn=drawn)
        for i in range(len(batch.source))
    ]
    keys = [cache.keys(row) for row in rows]
    kept = cache.read(keys)
    seen = cache.complete(batch, keys, kept, "cpu")
    return seen.source_moments, seen.target_moments, kept


def opened(folder: Path, encoder: Encoder, limit: int = PLENTY, processes: int = 1) -> EncoderCache:
    return EncoderCache(folder, autoencoder=encoder, vision=None, limit=limit, processes=processes)


def test_kept_values_are_the_encoders_to_the_bit_and_each_picture_is_encoded_once(tmp_path: Path) -> None:
    encode, encoder = counted(0)
    batch = batch_of([1, 2, 1], [3, 4, 5])
    wanted = encode.layer(batch.source[1:2])[0]
    source, target, kept = moments_of(opened(tmp_path, encoder), batch)
    assert kept.source.found == (False, False, False)
    assert encode.calls == 5  # Six pictures, one of them twice.
    assert torch.equal(source[1], wanted)
    assert torch.equal(source[0], source[2])
    again = moments_of(opened(tmp_path, encoder), batch)
    assert encode.calls == 5
    assert again[2].source.found == (True, True, True)
    assert torch.equal(again[0], source)
    assert torch.equal(again[1], target)


def test_a_batch_that_is_kept_in_part_keeps_its_order(tmp_path: Path) -> None:
    encode, encoder = counted(0)
    cache = opened(tmp_path, encoder)
    moments_of(cache, batch_of([1], [2]))
    source, target, kept = moments_of(cache, batch_of([7, 1, 8], [9, 2, 1]))
    assert kept.source.found == (False, True, False)
    assert kept.target.found == (False, True, True)  # A picture is one picture, whichever side of a pair it is on.
    assert encode.calls == 5
    pictures = batch_of([7, 1, 8], [9, 2, 1])
    for value, picture in zip((*source, *target), (*pictures.source, *pictures.target), strict=True):
        assert torch.equal(value, encode.layer(picture[None])[0])


def test_other_weights_do_not_find_each_others_values(tmp_path: Path) -> None:
    batch = batch_of([1, 2], [3, 4])
    first, second = counted(0), counted(1)
    one = moments_of(opened(tmp_path, first[1]), batch)
    other = moments_of(opened(tmp_path, second[1]), batch)
    assert other[2].source.found == (False, False)
    assert second[0].calls == 4
    assert not torch.equal(one[0], other[0])
    assert weights_digest([first[0].layer]) != weights_digest([first[0].layer], "another setting")


def test_a_damaged_value_is_computed_anew_and_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    encode, encoder = counted(0)
    batch = batch_of([1, 2], [3, 4])
    source, _, _ = moments_of(opened(tmp_path, encoder), batch)
    damaged = sorted(tmp_path.rglob("*.safetensors"))[:2]
    damaged[0].write_bytes(damaged[0].read_bytes()[:-5])
    damaged[1].write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        again, _, _ = moments_of(opened(tmp_path, encoder), batch)
    assert torch.equal(again, source)
    assert encode.calls == 4 + 2
    assert all(any(str(path) in line and "computed anew" in line for line in caplog.messages) for path in damaged)
    moments_of(opened(tmp_path, encoder), batch)
    assert encode.calls == 4 + 2  # They have been mended.


def test_beyond_its_limit_nothing_is_kept_and_nothing_changes(tmp_path: Path) -> None:
    _, encoder = counted(0)
    batch = batch_of([1, 2, 3], [4, 5, 6])
    whole = moments_of(opened(tmp_path / "whole", encoder), batch)
    size = next((tmp_path / "whole").rglob("*.safetensors")).stat().st_size
    for _ in range(2):  # The second time the limit is reached by what was there before.
        part = moments_of(opened(tmp_path / "part", encoder, limit=2 * size), batch)
        assert torch.equal(part[0], whole[0])
        assert torch.equal(part[1], whole[1])
    files = list((tmp_path / "part").rglob("*.safetensors"))
    assert len(files) == 2
    assert sum(file.stat().st_size for file in files) <= 2 * size


def test_the_limit_counts_what_other_weights_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, encoder = counted(0)
    batch = batch_of([1, 2], [3, 4])
    moments_of(opened(tmp_path, encoder), batch)
    files = list(tmp_path.rglob("*.safetensors"))
    limit = sum(file.stat().st_size for file in files)
    _, other = counted(1)
    moments_of(opened(tmp_path, other, limit=limit), batch)
    assert list(tmp_path.rglob("*.safetensors")) == files
    assert "nothing more is kept" in caplog.text and other.digest in caplog.text


def test_processes_of_a_run_share_the_limit(tmp_path: Path) -> None:
    _, encoder = counted(0)
    moments_of(opened(tmp_path, encoder), batch_of([0], [0]))
    size = next(tmp_path.rglob("*.safetensors")).stat().st_size
    caches = [opened(tmp_path, encoder, limit=5 * size, processes=2) for _ in range(2)]
    for number, cache in enumerate(caches):
        moments_of(cache, batch_of([10 * number + k for k in range(1, 4)], [10 * number + k for k in range(4, 7)]))
    assert len(list(tmp_path.rglob("*.safetensors"))) == 5


def test_pictures_that_are_drawn_for_a_visit_are_not_kept(tmp_path: Path) -> None:
    encode, encoder = counted(0)
    batch = batch_of([1, 2, 1], [3, 4, 5])
    whole = moments_of(opened(tmp_path / "whole", encoder), batch)
    encode.calls = 0
    for calls in (3 + 2, 3):  # Sources are found the second time.
        source, target, _ = moments_of(opened(tmp_path / "part", encoder), batch, frozenset({"target"}))
        assert torch.equal(source, whole[0]) and torch.equal(target, whole[1])
        assert encode.calls == calls
        encode.calls = 0
    assert len(list((tmp_path / "part").rglob("*.safetensors"))) == 2


@pytest.mark.parametrize("call", ["replace", "mkdir"])
def test_a_full_disk_stops_the_keeping_and_not_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, call: str
) -> None:
    encode, encoder = counted(0)
    cache = opened(tmp_path, encoder)

    def full(path: Path, *arguments: object, **options: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, call, full)
    with caplog.at_level(logging.WARNING):
        source, _, _ = moments_of(cache, batch_of([1, 2], [3, 4]))
    assert torch.equal(source[0], encode.layer(batch_of([1], [1]).source)[0])
    assert [line for line in caplog.messages if "nothing more is kept" in line] == caplog.messages
    assert len(caplog.messages) == 1
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_workers_get_the_cache_without_the_encoders(tmp_path: Path) -> None:
    _, encoder = counted(0)
    cache = opened(tmp_path, encoder)
    batch = batch_of([1], [2])
    source, _, _ = moments_of(cache, batch)
    row = SimpleNamespace(source=batch.source[0], target=batch.target[0], pixel_values=None, drawn=frozenset())
    read = pickle.loads(pickle.dumps(cache)).read([cache.keys(row)])
    assert isinstance(read.source, Kept)
    assert read.source.values is not None
    assert torch.equal(read.source.values, source)
