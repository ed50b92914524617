"""How tools, toys and household things look."""

from smartedit.miniature.pen import Color, Pen, arc, oval, shade, smooth

STEEL: Color = (206, 214, 222)
INK: Color = (38, 34, 40)
WOOD: Color = (150, 98, 56)


def cup(pen: Pen, color: Color) -> None:
    """A mug with a handle and a hot drink."""
    pen.line(arc(0.24, 0.42, 0.2, 0.2, -80, 80, count=20), 0.085, shade(color, 0.82))
    pen.fill([(-0.38, 0.74), (0.26, 0.74), (0.22, 0.1), (0.14, 0.02), (-0.26, 0.02), (-0.34, 0.1)], color)
    pen.oval(-0.06, 0.74, 0.32, 0.075, shade(color, 1.5))
    pen.oval(-0.06, 0.735, 0.26, 0.05, (92, 58, 38))
    pen.box(-0.3, 0.2, -0.24, 0.6, shade(color, 1.55), 0.03)
    for x in (-0.18, 0.04):
        pen.line(
            smooth([(x, 0.8), (x + 0.05, 0.86), (x - 0.01, 0.92), (x + 0.04, 0.98)], closed=False),
            0.035,
            (236, 238, 242),
        )


def bottle(pen: Pen, color: Color) -> None:
    """A corked bottle with a paper label."""
    pen.box(-0.07, 0.9, 0.07, 1.0, (196, 148, 92), 0.02)
    body = [(-0.09, 0.92), (-0.09, 0.72), (-0.23, 0.56), (-0.24, 0.04), (-0.2, 0.0)]
    pen.fill([*body, *[(-x, y) for x, y in reversed(body)]], color)
    pen.box(-0.1, 0.86, 0.1, 0.92, shade(color, 0.7))
    pen.box(-0.24, 0.16, 0.24, 0.44, (250, 244, 226))
    pen.line([(-0.15, 0.35), (0.15, 0.35)], 0.04, shade(color, 0.7))
    pen.line([(-0.15, 0.26), (0.08, 0.26)], 0.03, (170, 160, 150))
    pen.line([(-0.15, 0.5), (-0.15, 0.56), (-0.04, 0.7)], 0.04, shade(color, 1.6))


def knife(pen: Pen, color: Color) -> None:
    """A kitchen knife with a broad blade, pointing up to the right."""
    pen.fill([(-0.16, 0.3), (-0.02, 0.16), (0.36, 0.56), (0.48, 0.8), (0.5, 1.0), (0.4, 0.9)], STEEL)
    pen.fill([(-0.02, 0.16), (0.36, 0.56), (0.48, 0.8), (0.5, 1.0), (0.36, 0.68), (-0.06, 0.22)], (248, 250, 252))
    pen.line([(-0.14, 0.22), (-0.4, -0.0 + 0.05)], 0.13, color)
    pen.line([(-0.17, 0.29), (-0.06, 0.17)], 0.06, (120, 126, 134))
    for t in (0.3, 0.7):
        pen.oval(-0.14 - 0.26 * t, 0.22 - 0.17 * t, 0.022, 0.022, STEEL)


def fork(pen: Pen, color: Color) -> None:
    """A fork standing upright, tines up."""
    for x in (-0.195, -0.065, 0.065, 0.195):
        pen.box(x - 0.028, 0.62, x + 0.028, 1.0, STEEL, 0.028)
    head = [(-0.223, 0.7), (-0.2, 0.56), (-0.06, 0.46), (0.06, 0.46), (0.2, 0.56), (0.223, 0.7), (0, 0.66)]
    pen.fill(smooth(head), STEEL)
    pen.box(-0.045, 0.36, 0.045, 0.52, (170, 178, 188))
    pen.box(-0.07, 0.0, 0.07, 0.42, color, 0.06)
    pen.box(-0.035, 0.06, -0.005, 0.36, shade(color, 1.5), 0.015)


def scissors(pen: Pen, color: Color) -> None:
    """Open scissors, blades up."""
    pen.fill([(-0.08, 0.36), (0.04, 0.36), (0.3, 0.98), (0.2, 0.94)], STEEL)
    pen.fill([(0.08, 0.36), (-0.04, 0.36), (-0.3, 0.98), (-0.2, 0.94)], shade(STEEL, 0.85))
    pen.line([(0.02, 0.44), (-0.12, 0.28)], 0.08, color)
    pen.line([(-0.02, 0.44), (0.12, 0.28)], 0.08, color)
    for side in (-1, 1):
        pen.line(oval(side * 0.21, 0.17, 0.13, 0.13, count=24), 0.085, color)
    pen.oval(0, 0.46, 0.04, 0.04, (90, 96, 104))


def clock(pen: Pen, color: Color) -> None:
    """An alarm clock with two bells that shows ten past ten."""
    for side in (-1, 1):
        pen.line([(side * 0.22, 0.16), (side * 0.34, 0.02)], 0.09, shade(color, 0.65))
        pen.oval(side * 0.26, 0.87, 0.17, 0.11, shade(color, 0.8), -side * 34)
    pen.line(arc(0, 0.88, 0.08, 0.08, 0, 180, count=12), 0.045, (90, 96, 104))
    pen.oval(0, 0.46, 0.42, 0.42, color)
    pen.oval(0, 0.46, 0.325, 0.325, (255, 253, 244))
    for k in range(12):
        x, y = oval(0, 0.46, 0.265, 0.265, count=13)[k]
        pen.oval(x, y, 0.03 if k % 3 == 0 else 0.017, 0.03 if k % 3 == 0 else 0.017, INK)
    pen.line([(0, 0.46), (-0.14, 0.57)], 0.055, INK)
    pen.line([(0, 0.46), (0.17, 0.62)], 0.04, INK)
    pen.oval(0, 0.46, 0.04, 0.04, (208, 46, 52))


def book(pen: Pen, color: Color) -> None:
    """A closed book that stands turned, its pages seen from the side."""
    dark = shade(color, 0.68)
    pen.fill([(0.24, 0.02), (0.44, 0.12), (0.44, 0.96), (0.24, 0.88)], (250, 246, 230))
    for k in range(1, 4):
        x = 0.24 + 0.05 * k
        pen.line([(x, 0.05 + 0.025 * k), (x, 0.87 + 0.025 * k)], 0.012, (196, 186, 166))
    pen.fill([(-0.34, 0.88), (-0.14, 0.98), (0.46, 0.98), (0.24, 0.88)], dark)
    pen.box(-0.38, 0.0, 0.26, 0.9, color, 0.03)
    pen.box(-0.38, 0.0, -0.25, 0.9, dark, 0.03)
    pen.box(-0.15, 0.56, 0.17, 0.76, (252, 236, 180), 0.02)
    pen.line([(-0.09, 0.69), (0.11, 0.69)], 0.03, dark)
    pen.line([(-0.09, 0.62), (0.06, 0.62)], 0.03, dark)
    pen.oval(0.01, 0.28, 0.09, 0.09, (252, 236, 180))


def plant(pen: Pen, color: Color) -> None:
    """A leafy plant in a pot."""
    green: Color = (70, 154, 72)
    leaves = ((-0.28, 0.62, 62), (0.28, 0.62, -62), (-0.16, 0.78, 26), (0.16, 0.78, -26), (0.0, 0.8, 0))
    for k, (x, y, turn) in enumerate(leaves):
        pen.line([(0, 0.38), (x * 0.6, y - 0.1)], 0.04, shade(green, 0.6))
        pen.oval(x, y, 0.085, 0.2, shade(green, 1.0 - 0.16 * (k % 2)), turn)
        (x0, y0), (x1, y1) = oval(x, y, 0.085, 0.15, turn, count=5)[1], oval(x, y, 0.085, 0.15, turn, count=5)[3]
        pen.line([(x0, y0), (x1, y1)], 0.018, shade(green, 1.35))
    pen.fill([(-0.24, 0.38), (0.24, 0.38), (0.17, 0.0), (-0.17, 0.0)], color)
    pen.box(-0.28, 0.32, 0.28, 0.44, shade(color, 0.82), 0.02)


def umbrella(pen: Pen, color: Color) -> None:
    """An open umbrella with a hooked handle."""
    pen.line([(0, 0.9), (0, 0.1), *arc(0.08, 0.1, 0.08, 0.09, 180, 350, count=12)], 0.05, WOOD)
    pen.line([(0, 0.94), (0, 0.99)], 0.04, INK)
    dome = arc(0, 0.5, 0.5, 0.45, 0, 180, count=30)
    scallops: list[tuple[float, float]] = []
    for k in range(4):
        scallops += arc(-0.375 + 0.25 * k, 0.5, 0.125, 0.08, 180, 0, count=10)
    pen.fill([*dome, *scallops], color)
    for start, end, tone in ((-0.25, 0.0, 1.35), (0.25, 0.5, 0.78)):
        rim = arc((start + end) / 2, 0.5, 0.125, 0.08, 180, 0, count=10)
        ridge = [(end * t, 0.5 + 0.45 * (1 - t**2) ** 0.5) for t in (1.0, 0.8, 0.6, 0.4, 0.2, 0.0)]
        back = [(start * t, 0.5 + 0.45 * (1 - t**2) ** 0.5) for t in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)]
        pen.fill([*rim, *ridge, *back], shade(color, tone))


def ball(pen: Pen, color: Color) -> None:
    """A beach ball of colored and white stripes."""
    white: Color = (252, 250, 244)
    pen.oval(0, 0.48, 0.47, 0.47, color)
    for start, end in ((-0.72, -0.24), (0.24, 0.72)):
        left = [(0.47 * start * x, 0.48 + 0.47 * y) for x, y in arc(0, 0, 1, 1, 90, -90, count=20)]
        right = [(0.47 * end * x, 0.48 + 0.47 * y) for x, y in arc(0, 0, 1, 1, -90, 90, count=20)]
        pen.fill([*left, *right], white)
    pen.oval(0, 0.87, 0.09, 0.05, shade(color, 0.75))
    pen.oval(-0.2, 0.7, 0.07, 0.05, (255, 255, 255), 35)


def car(pen: Pen, color: Color) -> None:
    """A small car that drives to the right."""
    pen.fill(
        smooth([(-0.3, 0.36), (-0.24, 0.62), (-0.12, 0.68), (0.1, 0.68), (0.2, 0.6), (0.3, 0.36)], per_segment=6), color
    )
    pen.fill([(-0.22, 0.4), (-0.18, 0.58), (-0.04, 0.61), (-0.04, 0.4)], (196, 228, 244))
    pen.fill([(0.01, 0.4), (0.01, 0.61), (0.1, 0.6), (0.22, 0.4)], (196, 228, 244))
    pen.fill(
        smooth(
            [
                (-0.49, 0.14),
                (-0.48, 0.36),
                (-0.3, 0.42),
                (0.22, 0.41),
                (0.44, 0.35),
                (0.5, 0.24),
                (0.48, 0.12),
                (0, 0.1),
            ]
        ),
        color,
    )
    pen.line([(-0.01, 0.38), (-0.01, 0.16)], 0.018, shade(color, 0.65))
    pen.line([(0.06, 0.31), (0.12, 0.31)], 0.025, shade(color, 0.55))
    pen.oval(0.45, 0.28, 0.04, 0.05, (255, 236, 130))
    pen.oval(-0.47, 0.29, 0.025, 0.045, (214, 60, 50))
    for x in (-0.27, 0.27):
        pen.oval(x, 0.13, 0.13, 0.13, (46, 46, 52))
        pen.oval(x, 0.13, 0.065, 0.065, STEEL)


def boat(pen: Pen, color: Color) -> None:
    """A toy sailing boat."""
    pen.line([(-0.02, 0.24), (-0.02, 0.98)], 0.045, WOOD)
    pen.fill([(0.03, 0.94), (0.03, 0.32), (0.42, 0.32)], (252, 248, 236))
    pen.fill([(-0.07, 0.86), (-0.07, 0.32), (-0.36, 0.32)], (238, 228, 208))
    pen.line([(0.07, 0.5), (0.28, 0.5)], 0.05, color)
    pen.fill([(-0.02, 1.0), (-0.02, 0.9), (-0.18, 0.95)], (208, 46, 52))
    pen.fill(
        smooth(
            [(-0.5, 0.27), (-0.36, 0.04), (-0.2, 0.0), (0.24, 0.0), (0.38, 0.06), (0.5, 0.27), (0.0, 0.25)],
            per_segment=6,
        ),
        color,
    )
    pen.line([(-0.45, 0.235), (0.45, 0.235)], 0.035, shade(color, 1.6))
