"""Walls and views: what stands behind the ground."""

from collections.abc import Callable

from smartedit.miniature.canvas import Canvas
from smartedit.miniature.pen import Color, shade

WALL_COLORS: tuple[Color, ...] = (
    (233, 222, 200),
    (196, 219, 228),
    (207, 224, 200),
    (236, 208, 204),
    (216, 208, 232),
    (247, 230, 184),
    (190, 214, 206),
    (242, 220, 190),
)
"""What `Backdrop.tint` chooses from."""


def _plain(canvas: Canvas) -> None:
    canvas.gradient(0, canvas.line, shade(canvas.color, 1.25), canvas.color, "wall-other")


def _striped(canvas: Canvas) -> None:
    _plain(canvas)
    width = float(canvas.rng.uniform(0.05, 0.08))
    for k in range(round(1 / width / 2) + 1):
        canvas.box((2 * k + 0.5) * width, 0, (2 * k + 1.5) * width, canvas.line, shade(canvas.color, 0.93))


def _dotted(canvas: Canvas) -> None:
    _plain(canvas)
    step = float(canvas.rng.uniform(0.1, 0.13))
    for row in range(6):
        for column in range(12):
            y = (row + 0.5) * step * 0.8
            if y < canvas.line - 0.02:
                canvas.oval((column + 0.5 * (row % 2)) * step, y, 0.017, 0.017, shade(canvas.color, 0.87))


def _brick(canvas: Canvas) -> None:
    canvas.gradient(0, canvas.line, (214, 196, 180), (206, 188, 172), "wall-brick")
    height, width = 0.066, 0.15
    for row in range(10):
        for column in range(-1, 8):
            tone = shade((198, 128, 104), float(canvas.rng.uniform(0.9, 1.2)))
            x, y = (column + 0.5 * (row % 2)) * width, row * height
            if y < canvas.line:
                canvas.box(x + 0.006, y + 0.005, x + width - 0.006, min(y + height - 0.006, canvas.line), tone)


def _tiles(canvas: Canvas) -> None:
    canvas.gradient(0, canvas.line, shade(canvas.color, 0.86), shade(canvas.color, 0.82), "wall-tile")
    step = 0.11
    for row in range(6):
        for column in range(10):
            tone = shade(canvas.color, float(canvas.rng.uniform(1.2, 1.6)))
            x, y = column * step, row * step
            if y < canvas.line:
                canvas.box(x + 0.005, y + 0.005, x + step - 0.005, min(y + step - 0.005, canvas.line), tone)


def _planks(canvas: Canvas) -> None:
    canvas.gradient(0, canvas.line, (206, 168, 122), (190, 150, 106), "wall-wood")
    for k in range(9):
        tone = shade((206, 166, 120), float(canvas.rng.uniform(0.92, 1.22)))
        canvas.box(k * 0.12 + 0.004, 0, k * 0.12 + 0.116, canvas.line, tone)


def _window(canvas: Canvas) -> None:
    _plain(canvas)
    x, top, bottom = float(canvas.rng.uniform(0.2, 0.62)), 0.04, canvas.line - 0.08
    canvas.box(x - 0.15, top, x + 0.15, bottom, (250, 248, 242), "window-other")
    canvas.box(x - 0.13, top + 0.02, x - 0.008, bottom - 0.02, (170, 212, 240), "window-other")
    canvas.box(x + 0.008, top + 0.02, x + 0.13, bottom - 0.02, (170, 212, 240), "window-other")
    canvas.oval(x - 0.06, (top + bottom) / 2, 0.05, 0.025, (244, 250, 254))
    curtain = shade(canvas.color, 0.78)
    canvas.polygon([(x - 0.2, 0.01), (x - 0.1, 0.01), (x - 0.17, bottom + 0.02), (x - 0.21, bottom + 0.02)], curtain)
    canvas.polygon([(x + 0.2, 0.01), (x + 0.1, 0.01), (x + 0.17, bottom + 0.02), (x + 0.21, bottom + 0.02)], curtain)


def _sky(canvas: Canvas) -> None:
    canvas.gradient(0, canvas.line, (136, 196, 240), (214, 236, 248), "sky-other")
    for _ in range(3):
        x, y = float(canvas.rng.uniform(0.05, 0.95)), float(canvas.rng.uniform(0.05, 0.2))
        for dx, dy, r in ((-0.06, 0.01, 0.035), (0, -0.01, 0.05), (0.06, 0.012, 0.036)):
            canvas.oval(x + dx, y + dy, r * 1.3, r * 0.8, (250, 252, 254), "clouds")


def _hills(canvas: Canvas) -> None:
    _sky(canvas)
    for tone in ((150, 200, 138), (124, 186, 116)):
        x = float(canvas.rng.uniform(0, 1))
        canvas.oval(
            x,
            canvas.line + 0.06,
            float(canvas.rng.uniform(0.4, 0.6)),
            float(canvas.rng.uniform(0.16, 0.24)),
            tone,
            "hill",
        )


def _seaside(canvas: Canvas) -> None:
    _sky(canvas)
    canvas.gradient(canvas.line - 0.15, canvas.line, (62, 142, 200), (104, 186, 216), "sea")
    for k in range(6):
        x, y = float(canvas.rng.uniform(0, 0.9)), canvas.line - 0.13 + 0.02 * k
        canvas.box(x, y, x + 0.1, y + 0.006, (190, 226, 240))


def _mountains(canvas: Canvas) -> None:
    _sky(canvas)
    for k in range(3):
        x, peak = (
            0.15 + 0.35 * k + float(canvas.rng.uniform(-0.1, 0.1)),
            canvas.line - float(canvas.rng.uniform(0.18, 0.28)),
        )
        canvas.polygon([(x - 0.3, canvas.line), (x, peak), (x + 0.3, canvas.line)], (152, 172, 196), "mountain")
        canvas.polygon(
            [
                (x - 0.09, peak + 0.08),
                (x, peak),
                (x + 0.09, peak + 0.08),
                (x + 0.03, peak + 0.06),
                (x - 0.03, peak + 0.09),
            ],
            (250, 252, 255),
        )


def _fence(canvas: Canvas) -> None:
    _sky(canvas)
    for k in range(4):
        x = 0.1 + 0.27 * k + float(canvas.rng.uniform(-0.05, 0.05))
        canvas.oval(x, canvas.line - 0.17, 0.12, 0.12, (112, 172, 104), "tree")
    for y in (0.13, 0.05):
        canvas.box(0, canvas.line - y, 1, canvas.line - y + 0.03, (236, 226, 208), "fence")
    for k in range(11):
        x = k * 0.1
        canvas.polygon(
            [
                (x, canvas.line),
                (x, canvas.line - 0.17),
                (x + 0.03, canvas.line - 0.2),
                (x + 0.06, canvas.line - 0.17),
                (x + 0.06, canvas.line),
            ],
            (250, 244, 230),
            "fence",
        )


WALLS: dict[str, Callable[[Canvas], None]] = {
    "plain": _plain,
    "striped": _striped,
    "dotted": _dotted,
    "brick": _brick,
    "tiles": _tiles,
    "planks": _planks,
    "window": _window,
    "hills": _hills,
    "seaside": _seaside,
    "mountains": _mountains,
    "fence": _fence,
}
