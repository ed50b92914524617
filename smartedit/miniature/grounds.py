"""Grounds: what the things stand on."""

from collections.abc import Callable

from smartedit.miniature.canvas import Canvas
from smartedit.miniature.pen import Color, shade


def _boards(canvas: Canvas, stuff: str, base: Color) -> None:
    canvas.gradient(canvas.line, 1, shade(base, 1.12), shade(base, 0.94), stuff)
    depth, count = 1 - canvas.line, 5
    for k in range(1, count + 1):
        y = canvas.line + depth * (k / count) ** 1.5
        canvas.box(0, y - 0.004, 1, y, shade(base, 0.84))
        x = float(canvas.rng.uniform(0.05, 0.95))
        canvas.box(x, canvas.line + depth * ((k - 1) / count) ** 1.5, x + 0.005, y, shade(base, 0.84))


def _table(canvas: Canvas) -> None:
    base = ((200, 150, 100), (176, 126, 84), (222, 184, 138))[int(canvas.rng.integers(3))]
    _boards(canvas, "table", base)
    canvas.box(0, canvas.line, 1, canvas.line + 0.014, shade(base, 0.7))


def _floor(canvas: Canvas) -> None:
    _boards(canvas, "floor-wood", ((214, 170, 122), (186, 144, 108), (226, 196, 158))[int(canvas.rng.integers(3))])
    canvas.box(0, canvas.line - 0.022, 1, canvas.line + 0.004, (250, 246, 238))


def _perspective_checks(canvas: Canvas, stuff: str, light: Color, dark: Color) -> None:
    canvas.gradient(canvas.line, 1, light, light, stuff)
    depth, rows = 1 - canvas.line, 5
    edges = [canvas.line + depth * (k / rows) ** 1.4 for k in range(rows + 1)]
    for row in range(rows):
        y0, y1 = edges[row], edges[row + 1]
        w0, w1 = (0.09 + 0.1 * (y - canvas.line) / depth for y in (y0, y1))
        for k in range(-7, 7):
            if (k + row) % 2 == 0:
                canvas.polygon(
                    [(0.5 + k * w0, y0), (0.5 + (k + 1) * w0, y0), (0.5 + (k + 1) * w1, y1), (0.5 + k * w1, y1)], dark
                )


def _cloth(canvas: Canvas) -> None:
    dark = ((232, 178, 178), (178, 204, 226), (190, 218, 182))[int(canvas.rng.integers(3))]
    _perspective_checks(canvas, "cloth", (250, 244, 236), dark)
    canvas.box(0, canvas.line, 1, canvas.line + 0.012, shade(dark, 0.8))


def _tile_floor(canvas: Canvas) -> None:
    dark = ((186, 196, 204), (206, 190, 172))[int(canvas.rng.integers(2))]
    _perspective_checks(canvas, "floor-tile", (232, 232, 228), dark)


def _carpet(canvas: Canvas) -> None:
    base = ((196, 150, 160), (150, 166, 196), (166, 186, 156), (206, 182, 146))[int(canvas.rng.integers(4))]
    canvas.gradient(canvas.line, 1, base, shade(base, 0.9), "carpet")
    for k in range(70):
        x, y = float(canvas.rng.uniform(0, 1)), canvas.line + 0.02 + (1 - canvas.line) * (k / 70)
        canvas.oval(x, y, 0.012, 0.006, shade(base, 1.18 if k % 2 else 0.9))
    canvas.box(0, canvas.line - 0.02, 1, canvas.line + 0.004, (248, 244, 236))


def _grass(canvas: Canvas) -> None:
    canvas.gradient(canvas.line, 1, (150, 206, 104), (106, 172, 78), "grass")
    for k in range(60):
        x, y = float(canvas.rng.uniform(0, 1)), canvas.line + 0.03 + (0.97 - canvas.line) * (k / 60)
        canvas.polygon([(x, y), (x + 0.006, y - 0.03), (x + 0.012, y)], (92, 156, 68) if k % 3 else (168, 220, 120))


def _sand(canvas: Canvas) -> None:
    canvas.gradient(canvas.line, 1, (246, 226, 176), (232, 204, 148), "sand")
    for k in range(70):
        x, y = float(canvas.rng.uniform(0, 1)), canvas.line + 0.02 + (1 - canvas.line) * (k / 70)
        canvas.oval(x, y, 0.007, 0.004, (216, 186, 128) if k % 2 else (252, 240, 206))


def _snow(canvas: Canvas) -> None:
    canvas.gradient(canvas.line, 1, (226, 236, 246), (208, 222, 238), "snow")
    for k in range(7):
        x, y = float(canvas.rng.uniform(0, 1)), canvas.line + 0.04 + (0.9 - canvas.line) * (k / 7)
        canvas.oval(x, y, 0.16, 0.02, (242, 248, 253))


GROUNDS: dict[str, Callable[[Canvas], None]] = {
    "table": _table,
    "cloth": _cloth,
    "floor": _floor,
    "tile floor": _tile_floor,
    "carpet": _carpet,
    "grass": _grass,
    "sand": _sand,
    "snow": _snow,
}
