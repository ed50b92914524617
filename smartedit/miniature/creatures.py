"""How the animals and the teddy bear look; each faces right unless flipped."""

from smartedit.miniature.pen import Color, Pen, arc, oval, shade, smooth

INK: Color = (38, 34, 40)
CREAM: Color = (252, 246, 232)
PINK: Color = (240, 150, 160)


def _eye(pen: Pen, x: float, y: float, radius: float) -> None:
    pen.oval(x, y, radius * 1.25, radius * 1.35, (255, 255, 255))
    pen.oval(x + radius * 0.2, y, radius * 0.85, radius, INK)
    pen.oval(x + radius * 0.45, y + radius * 0.4, radius * 0.3, radius * 0.3, (255, 255, 255))


def cat(pen: Pen, color: Color) -> None:
    """A sitting cat, its tail in the air behind it."""
    dark = shade(color, 0.72)
    tail = smooth([(-0.16, 0.08), (-0.4, 0.1), (-0.44, 0.3), (-0.33, 0.44), (-0.36, 0.58)], closed=False)
    pen.line(tail, 0.1, dark)
    pen.fill(smooth([(-0.24, 0.02), (-0.27, 0.2), (-0.14, 0.48), (0.12, 0.5), (0.24, 0.2), (0.26, 0.02)]), color)
    pen.oval(0.02, 0.24, 0.12, 0.18, shade(color, 1.45))
    pen.oval(-0.11, 0.05, 0.1, 0.055, shade(color, 1.2))
    pen.oval(0.16, 0.05, 0.1, 0.055, shade(color, 1.2))
    for side in (-1, 1):
        pen.fill([(0.04 + side * 0.28, 0.98), (0.04 + side * 0.29, 0.66), (0.04 + side * 0.04, 0.84)], color)
        pen.fill([(0.04 + side * 0.245, 0.9), (0.04 + side * 0.25, 0.74), (0.04 + side * 0.12, 0.83)], PINK)
    pen.oval(0.04, 0.66, 0.29, 0.22, color)
    for x in (-0.06, 0.04, 0.14):
        pen.line([(x, 0.87), (x, 0.79)], 0.035, dark)
    _eye(pen, -0.08, 0.68, 0.055)
    _eye(pen, 0.15, 0.68, 0.055)
    pen.oval(0.045, 0.575, 0.11, 0.065, CREAM)
    pen.fill([(0.0, 0.62), (0.09, 0.62), (0.045, 0.575)], PINK)
    pen.line([(0.045, 0.58), (0.045, 0.545)], 0.018, INK)
    for side in (-1, 1):
        for rise in (-0.03, 0.04):
            pen.line([(0.045 + side * 0.13, 0.58 + rise * 0.4), (0.045 + side * 0.33, 0.58 + rise)], 0.014, INK)


def dog(pen: Pen, color: Color) -> None:
    """A standing dog with a hanging ear, a red collar and its tongue out."""
    dark = shade(color, 0.62)
    pen.line(smooth([(-0.34, 0.46), (-0.45, 0.56), (-0.44, 0.7)], closed=False), 0.085, color)
    for x, tone in ((-0.22, dark), (0.18, dark), (-0.32, color), (0.08, color)):
        pen.box(x - 0.06, 0.0, x + 0.06, 0.34, tone, 0.05)
    pen.fill(
        smooth([(-0.4, 0.34), (-0.38, 0.52), (-0.1, 0.55), (0.14, 0.6), (0.22, 0.4), (0.1, 0.24), (-0.3, 0.24)]), color
    )
    pen.fill(smooth([(0.04, 0.5), (0.02, 0.8), (0.16, 0.94), (0.3, 0.86), (0.34, 0.72), (0.24, 0.54)]), color)
    pen.fill(
        smooth([(0.2, 0.56), (0.22, 0.74), (0.4, 0.74), (0.5, 0.66), (0.46, 0.56), (0.32, 0.52)]), shade(color, 1.45)
    )
    pen.oval(0.46, 0.69, 0.06, 0.05, INK)
    pen.fill(smooth([(0.3, 0.54), (0.4, 0.55), (0.4, 0.42), (0.33, 0.42)]), (232, 84, 96))
    pen.line([(0.26, 0.57), (0.44, 0.56)], 0.022, INK)
    _eye(pen, 0.23, 0.8, 0.052)
    pen.fill(smooth([(0.1, 0.92), (-0.06, 0.88), (-0.1, 0.64), (-0.02, 0.52), (0.09, 0.64)]), dark)
    pen.line([(0.0, 0.49), (0.23, 0.46)], 0.07, (206, 44, 48))
    pen.oval(0.15, 0.43, 0.04, 0.04, (250, 208, 70))


def bird(pen: Pen, color: Color) -> None:
    """A plump bird with a beak and a wing."""
    dark = shade(color, 0.68)
    for x in (-0.05, 0.09):
        pen.line([(x, 0.24), (x, 0.03)], 0.045, (236, 140, 40))
        pen.line([(x - 0.07, 0.02), (x + 0.09, 0.02)], 0.04, (236, 140, 40))
    pen.fill([(-0.22, 0.42), (-0.5, 0.62), (-0.47, 0.44), (-0.5, 0.34)], dark)
    pen.fill(
        smooth(
            [
                (-0.36, 0.42),
                (-0.2, 0.62),
                (-0.02, 0.86),
                (0.18, 0.96),
                (0.34, 0.82),
                (0.33, 0.5),
                (0.16, 0.2),
                (-0.16, 0.19),
            ]
        ),
        color,
    )
    pen.oval(0.12, 0.36, 0.17, 0.15, shade(color, 1.55), 30)
    pen.fill([(0.3, 0.84), (0.5, 0.74), (0.31, 0.67)], (246, 158, 44))
    pen.line([(0.32, 0.755), (0.47, 0.745)], 0.018, shade((246, 158, 44), 0.6))
    pen.fill(smooth([(-0.34, 0.36), (-0.2, 0.56), (0.04, 0.56), (0.08, 0.4), (-0.1, 0.3)]), dark)
    for k in range(2):
        pen.line([(-0.24 + 0.1 * k, 0.38 + 0.01 * k), (-0.1 + 0.1 * k, 0.46)], 0.022, shade(color, 0.5))
    _eye(pen, 0.19, 0.79, 0.06)
    pen.line(smooth([(0.1, 0.95), (0.07, 1.0), (0.0, 0.99)], closed=False), 0.035, dark)


def sheep(pen: Pen, color: Color) -> None:
    """A woolly sheep."""
    face: Color = (74, 64, 66) if sum(color) > 330 else (214, 196, 178)
    for x in (-0.27, -0.14, 0.08, 0.2):
        pen.box(x - 0.045, 0.0, x + 0.045, 0.3, face, 0.03)
    curl = shade(color, 0.86)
    puffs = [
        (-0.32, 0.46),
        (-0.28, 0.62),
        (-0.12, 0.7),
        (0.06, 0.7),
        (0.2, 0.6),
        (0.22, 0.42),
        (0.1, 0.3),
        (-0.08, 0.27),
        (-0.24, 0.32),
    ]
    for x, y in puffs:
        pen.oval(x, y, 0.15, 0.145, color)
    pen.oval(-0.05, 0.48, 0.28, 0.22, color)
    for x, y in [*puffs[::2], (-0.06, 0.5)]:
        pen.line(arc(x, y, 0.085, 0.08, 20, 190, count=12), 0.026, curl)
    pen.oval(0.2, 0.66, 0.05, 0.11, shade(face, 0.8), 65)
    pen.fill(smooth([(0.18, 0.74), (0.2, 0.54), (0.33, 0.4), (0.45, 0.46), (0.44, 0.62), (0.36, 0.76)]), face)
    for x, y in ((0.2, 0.78), (0.31, 0.82)):
        pen.oval(x, y, 0.1, 0.085, color)
    _eye(pen, 0.34, 0.63, 0.045)
    pen.line([(0.36, 0.465), (0.43, 0.49)], 0.02, shade(face, 0.5 if sum(face) > 330 else 1.5))


def elephant(pen: Pen, color: Color) -> None:
    """An elephant with a raised trunk."""
    dark = shade(color, 0.78)
    pen.line(smooth([(-0.42, 0.56), (-0.48, 0.46), (-0.47, 0.34)], closed=False), 0.035, dark)
    for x, tone in ((-0.2, dark), (0.12, dark), (-0.33, color), (0.0, color)):
        pen.box(x - 0.085, 0.0, x + 0.085, 0.38, tone, 0.04)
        for k in (-0.045, 0.0, 0.045):
            pen.oval(x + k, 0.018, 0.02, 0.018, CREAM)
    pen.fill(
        smooth([(-0.43, 0.4), (-0.4, 0.66), (-0.16, 0.78), (0.1, 0.72), (0.18, 0.44), (0.06, 0.24), (-0.34, 0.24)]),
        color,
    )
    trunk = smooth([(0.3, 0.62), (0.37, 0.44), (0.39, 0.26), (0.46, 0.2), (0.49, 0.32)], closed=False)
    pen.line(trunk, 0.1, color)
    pen.oval(0.2, 0.7, 0.2, 0.2, color)
    pen.fill(smooth([(0.27, 0.52), (0.33, 0.5), (0.44, 0.46), (0.38, 0.41), (0.28, 0.44)]), (255, 252, 240))
    pen.fill(smooth([(0.12, 0.9), (-0.14, 0.92), (-0.24, 0.66), (-0.12, 0.42), (0.06, 0.46), (0.13, 0.66)]), dark)
    pen.fill(
        smooth([(0.06, 0.83), (-0.1, 0.84), (-0.16, 0.66), (-0.09, 0.51), (0.02, 0.53), (0.07, 0.67)]), (226, 172, 178)
    )
    _eye(pen, 0.26, 0.74, 0.045)


def teddy_bear(pen: Pen, color: Color) -> None:
    """A sitting teddy bear with a bow, seen from the front, waving one arm."""
    light, dark = shade(color, 1.45), shade(color, 0.72)
    for side in (-1, 1):
        pen.oval(side * 0.21, 0.9, 0.1, 0.095, color)
        pen.oval(side * 0.21, 0.9, 0.055, 0.05, light)
    pen.oval(-0.27, 0.36, 0.085, 0.16, dark, -35)
    pen.oval(0.31, 0.5, 0.085, 0.17, dark, -40)
    pen.oval(0.0, 0.28, 0.25, 0.27, color)
    pen.oval(0.0, 0.27, 0.15, 0.18, light)
    for side in (-1, 1):
        pen.oval(side * 0.22, 0.11, 0.13, 0.115, dark)
        pen.oval(side * 0.23, 0.11, 0.08, 0.075, light)
    pen.oval(0.0, 0.72, 0.27, 0.23, color)
    pen.oval(0.0, 0.65, 0.12, 0.095, light)
    pen.oval(0.0, 0.69, 0.05, 0.036, INK)
    pen.line([(0.0, 0.68), (0.0, 0.62)], 0.018, INK)
    pen.line(arc(0, 0.64, 0.055, 0.03, 200, 340, count=10), 0.018, INK)
    for side in (-1, 1):
        pen.oval(side * 0.11, 0.77, 0.037, 0.042, INK)
        pen.oval(side * 0.11 + 0.012, 0.785, 0.012, 0.012, (255, 255, 255))
        pen.fill([(0, 0.505), (side * 0.13, 0.57), (side * 0.13, 0.44)], (208, 46, 52))
    pen.fill(oval(0, 0.505, 0.035, 0.035), (160, 30, 38))
