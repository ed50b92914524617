"""Known shifts and zooms are found and undone; nothing is found where there is nothing."""

import cv2
import numpy as np
import pytest

from benchmark.metrics.background import compare, fill_edited, fill_source
from benchmark.metrics.pictures import SourceFrame, UInt8
from benchmark.metrics.registration import Registration, register
from benchmark.protocols import PROTOCOLS, Protocol
from tests.benchmark.drawn_runs import noisy, picture

AUTHORS, STRICT = PROTOCOLS["smartedit-v1"], PROTOCOLS["strict-v1"]


def frame(size: tuple[int, int] = (160, 120)) -> SourceFrame:
    weights = np.ones(size[::-1], np.float32)
    weights[40:80, 50:100] = 0
    return SourceFrame(image=picture(5, size), weights=weights, box=(50, 40, 100, 80))


def moved(image: UInt8, dx: float, dy: float, scale: float) -> UInt8:
    """The picture as an editor would return it that zooms about the centre and then shifts."""
    height, width = image.shape[:2]
    x, y = (width - 1) / 2, (height - 1) / 2
    matrix = np.array([[scale, 0, x - scale * x + dx], [0, scale, y - scale * y + dy]])
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def registered(source: SourceFrame, edited: UInt8, protocol: Protocol) -> tuple[float, Registration]:
    side = fill_source(source, protocol)
    raw = compare(side, fill_edited(side, edited, protocol), protocol).psnr
    return raw, register(source, edited, raw, protocol)


@pytest.mark.parametrize("protocol", [AUTHORS, STRICT], ids=lambda p: p.name)
@pytest.mark.parametrize(
    ("dx", "dy", "scale"), [(4, 0, 1), (-9, 6, 1), (0.5, -0.5, 1), (0, 0, 1.06), (3, -4, 1.12), (0, 0, 0.92)]
)
def test_a_known_movement_is_found_and_undone(dx: float, dy: float, scale: float, protocol: Protocol) -> None:
    source = frame()
    painted = source.image.copy()
    painted[45:75, 55:95] = (255, 0, 0)
    edited = noisy(moved(painted, dx, dy, scale), 1, spread=2)
    raw, found = registered(source, edited, protocol)
    assert found.dx == pytest.approx(dx, abs=0.15)
    assert found.dy == pytest.approx(dy, abs=0.15)
    assert found.scale == pytest.approx(scale, abs=0.003)
    assert found.psnr > raw + 1
    assert found.psnr > 33


@pytest.mark.parametrize("spread", [0.5, 4, 20, 40, 80])
def test_noise_alone_is_not_registered(spread: float) -> None:
    source = frame()
    raw, found = registered(source, noisy(source.image, 2, spread), STRICT)
    assert found == Registration(dx=0.0, dy=0.0, scale=1.0, psnr=raw)


@pytest.mark.parametrize("seed", range(4))
def test_registration_is_never_worse_than_none(seed: int) -> None:
    """Another picture altogether has no registration, and still scores as it did."""
    source = frame()
    raw, found = registered(source, picture(20 + seed, (160, 120)), AUTHORS)
    assert found.psnr >= raw


def test_flat_and_tiny_pictures_have_no_movement() -> None:
    flat = SourceFrame(image=np.full((64, 64, 3), 90, np.uint8), weights=np.ones((64, 64), np.float32), box=None)
    raw, found = registered(flat, np.full((64, 64, 3), 110, np.uint8), STRICT)
    assert found == Registration(dx=0.0, dy=0.0, scale=1.0, psnr=raw)
    dot = SourceFrame(image=np.zeros((1, 1, 3), np.uint8), weights=np.ones((1, 1), np.float32), box=None)
    raw, found = registered(dot, np.full((1, 1, 3), 9, np.uint8), STRICT)
    assert found.psnr == raw
