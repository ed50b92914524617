"""How the things to eat look."""

from smartedit.miniature.pen import Color, Pen, arc, oval, shade, smooth

LEAF: Color = (88, 168, 62)
STEM: Color = (104, 72, 44)


def apple(pen: Pen, color: Color) -> None:
    """An apple with a stem and a leaf."""
    outline = [(0.0, 0.76), (-0.18, 0.84), (-0.38, 0.74), (-0.44, 0.46), (-0.3, 0.12), (-0.12, 0.02), (0.0, 0.06)]
    outline += [(-x, y) for x, y in reversed(outline[1:-1])]
    pen.fill(smooth(outline), color)
    pen.fill(smooth([(-0.09, 0.76), (0.0, 0.69), (0.09, 0.76), (0.0, 0.74)]), shade(color, 0.6))
    pen.line(smooth([(0.0, 0.72), (0.0, 0.86), (0.06, 0.97)], closed=False), 0.06, STEM)
    pen.fill(smooth([(0.04, 0.86), (0.16, 0.98), (0.34, 0.96), (0.22, 0.83)]), LEAF)
    pen.oval(-0.24, 0.56, 0.07, 0.13, shade(color, 1.6), -18)


def orange(pen: Pen, color: Color) -> None:
    """A round orange, a slice of it leaning in front."""
    pen.oval(-0.06, 0.47, 0.43, 0.43, color)
    for x, y in ((-0.3, 0.4), (-0.2, 0.25), (-0.24, 0.66), (0.0, 0.72), (0.12, 0.62), (-0.08, 0.55)):
        pen.oval(x, y, 0.017, 0.017, shade(color, 0.78))
    pen.oval(-0.06, 0.88, 0.05, 0.03, STEM)
    pen.fill(smooth([(-0.04, 0.88), (0.08, 1.0), (0.28, 0.97), (0.14, 0.86)]), LEAF)
    pen.oval(-0.26, 0.62, 0.06, 0.1, shade(color, 1.6), -30)
    pen.oval(0.24, 0.25, 0.26, 0.26, shade(color, 0.86))
    pen.oval(0.24, 0.25, 0.225, 0.225, (255, 240, 206))
    for k in range(6):
        wedge = [(0.24, 0.25), *arc(0.24, 0.25, 0.195, 0.195, k * 60 + 7, k * 60 + 53, count=6)]
        pen.fill(wedge, shade(color, 1.15))


def banana(pen: Pen, color: Color) -> None:
    """Two bananas of one bunch."""
    for bend, tone in ((0.12, shade(color, 0.82)), (0.0, color)):
        outer = arc(0.02, 0.78 - bend * 0.3, 0.5, 0.75 - bend, 190, 318, count=24)
        inner = arc(0.06, 0.9 - bend * 0.5, 0.42, 0.56 - bend, 318, 196, count=24)
        pen.fill([*outer, *inner], tone)
    pen.fill([(-0.5, 0.66), (-0.38, 0.68), (-0.36, 0.88), (-0.46, 0.9)], STEM)
    pen.fill(oval(0.38, 0.33, 0.05, 0.06, 30), STEM)
    pen.line(arc(0.03, 0.84, 0.46, 0.67, 200, 308, count=24), 0.02, shade(color, 0.72))


def carrot(pen: Pen, color: Color) -> None:
    """A carrot with its green leaves."""
    for tip in ((0.3, 1.0), (0.44, 0.98), (0.5, 0.84), (0.4, 0.9)):
        pen.line(
            smooth([(0.22, 0.68), ((0.22 + tip[0]) / 2 + 0.01, (0.68 + tip[1]) / 2 + 0.03), tip], closed=False),
            0.07,
            LEAF,
        )
    pen.fill(
        smooth(
            [
                (0.1, 0.76),
                (0.26, 0.74),
                (0.32, 0.6),
                (0.14, 0.38),
                (-0.16, 0.14),
                (-0.46, 0.0),
                (-0.36, 0.22),
                (-0.12, 0.54),
            ]
        ),
        color,
    )
    for x, y, length in (
        (0.0, 0.58, 0.1),
        (0.16, 0.48, -0.1),
        (-0.16, 0.42, 0.08),
        (-0.04, 0.3, -0.09),
        (-0.28, 0.24, 0.06),
    ):
        pen.line([(x, y), (x + length, y - length * 0.8)], 0.03, shade(color, 0.7))


def cake(pen: Pen, color: Color) -> None:
    """A birthday cake on a plate with three burning candles."""
    pen.oval(0, 0.07, 0.5, 0.065, (226, 232, 238))
    pen.box(-0.4, 0.08, 0.4, 0.52, (232, 186, 120), 0.05)
    pen.box(-0.4, 0.24, 0.4, 0.32, (255, 246, 228))
    drips = [(-0.42, 0.66), (0.42, 0.66), (0.42, 0.46)]
    for k in range(5):
        x = 0.42 - k * 0.168
        drips += arc(x - 0.042, 0.46, 0.042, 0.1, 0, -180, count=8)
        drips += arc(x - 0.126, 0.46, 0.042, 0.05, 0, 180, count=8)
    pen.fill(drips, color)
    pen.oval(0, 0.65, 0.42, 0.07, shade(color, 1.3))
    for x, tone in ((-0.22, (90, 160, 226)), (0.0, (250, 210, 70)), (0.22, (120, 190, 90))):
        pen.box(x - 0.035, 0.64, x + 0.035, 0.86, tone)
        pen.fill(smooth([(x, 1.0), (x - 0.05, 0.91), (x, 0.86), (x + 0.05, 0.91)]), (255, 150, 40))
        pen.oval(x, 0.905, 0.022, 0.032, (255, 236, 130))


def donut(pen: Pen, color: Color) -> None:
    """An upright donut with icing and sprinkles."""
    pen.oval(0, 0.46, 0.47, 0.46, (222, 168, 98))
    wave = [
        ((0.42 + 0.03 * (k % 2)) * x, 0.47 + (0.41 + 0.03 * (k % 2)) * y)
        for k, (x, y) in enumerate(oval(0, 0, 1, 1, count=25)[:-1])
    ]
    pen.fill(smooth(wave, per_segment=4), color)
    sprinkles = ((255, 240, 120), (110, 200, 250), (255, 255, 255), (140, 220, 110))
    for k in range(14):
        (x, y), (dx, dy) = oval(0, 0.47, 0.29, 0.28, count=15)[k], oval(0, 0, 0.035, 0.035, count=9)[(k * 3) % 8]
        pen.line(
            [(x - dx, y - dy), (x + dx, y + dy)],
            0.036,
            sprinkles[k % 4] if sum(color) < 690 else shade(sprinkles[k % 4], 0.7),
        )
    pen.oval(0, 0.47, 0.175, 0.17, (196, 138, 74))
    pen.oval(0, 0.47, 0.14, 0.135, (66, 44, 34))
