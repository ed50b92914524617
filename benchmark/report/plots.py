"""Plots as inline SVG: they take their colors from the page, scale with it and need no script."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from benchmark.report.columns import MetricColumn, main_columns
from benchmark.report.content import MethodInfo, ReportContent
from benchmark.statistics import OVERALL, REASONING, UNDERSTANDING, Summary

PALETTE = ("#3b6fd4", "#d9730d", "#2f9e6e", "#b3419b", "#a8811c", "#d2414c", "#2f9fc4", "#7b5bd6", "#78818f", "#6a9e1f")
"""Colors of the methods, readable on light and dark."""

WIDTH, LEFT, RIGHT, TOP, ROW = 380, 128, 26, 30, 34


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear axis from values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The pixel of a value; infinity lies at the end."""
        if math.isinf(value):
            return self.end
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, count: int = 4) -> list[float]:
        """Round values inside the axis."""
        raw = (self.high - self.low) / count
        magnitude = 10 ** math.floor(math.log10(raw))
        step = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if m * magnitude >= raw * 0.999)
        first = math.ceil(self.low / step)
        return [k * step for k in range(first, math.floor(self.high / step + 1e-9) + 1)]


def scale_of(values: Sequence[float], start: float, end: float) -> Scale:
    """An axis that holds all finite values with a margin."""
    finite = [v for v in values if math.isfinite(v)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    margin = (high - low) * 0.08 or abs(high) * 0.05 or 1.0
    return Scale(low - margin, high + margin, start, end)


def method_colors(methods: Sequence[MethodInfo]) -> dict[str, str]:
    """A color for each method."""
    return {method.label: PALETTE[i % len(PALETTE)] for i, method in enumerate(methods)}


def interval_plots(content: ReportContent, protocol: str) -> list[Markup]:
    """For each metric of the main table: every method's mean with its interval, both scenarios."""
    return [
        _interval_plot(content, protocol, column)
        for column in main_columns(content.metrics(protocol))
        if any(s.scored for key, s in content.summaries.items() if key[0] == protocol and key[3] == column.name)
    ]


def _summaries(content: ReportContent, protocol: str, column: MetricColumn, method: str) -> list[tuple[str, Summary]]:
    found = [
        (g.name, content.summaries.get((protocol, method, g.name, column.name))) for g in (UNDERSTANDING, REASONING)
    ]
    return [(name, s) for name, s in found if s and s.scored and not math.isnan(s.mean)]


def _interval_plot(content: ReportContent, protocol: str, column: MetricColumn) -> Markup:
    rows = [(m, _summaries(content, protocol, column, m.label)) for m in content.methods]
    values = [v for _, found in rows for _, s in found for v in (s.mean, s.low, s.high) if not math.isnan(v)]
    infinite = any(math.isinf(v) for v in values)
    height = TOP + ROW * len(rows) + 26
    axis = scale_of(values, LEFT, WIDTH - RIGHT - (26 if infinite else 0))
    colors = method_colors(content.methods)
    parts = [_text(0, 14, column.heading, "plot-title")]
    for tick in axis.ticks():
        x = axis(tick)
        parts.append(_line(x, TOP - 4, x, height - 22, "grid"))
        parts.append(_text(x, height - 8, f"{tick:g}", "tick", anchor="middle"))
    if infinite:
        parts.append(_line(WIDTH - RIGHT, TOP - 4, WIDTH - RIGHT, height - 22, "grid dashed"))
        parts.append(_text(WIDTH - RIGHT, height - 8, "∞", "tick", anchor="middle"))
    for place, (method, found) in enumerate(rows):
        y = TOP + ROW * place + ROW / 2
        parts.append(_text(LEFT - 10, y + 4, _short(method.label), "label", anchor="end", title=method.label))
        if not found:
            parts.append(_text(LEFT + 6, y + 4, "not available", "tick"))
        for name, summary in found:
            offset = y - 6 if name == UNDERSTANDING.name else y + 6
            x = WIDTH - RIGHT if math.isinf(summary.mean) else axis(summary.mean)
            parts.append(_mark(x, offset, axis, summary, colors[method.label], hollow=name == REASONING.name))
    return _svg(WIDTH, height, parts, f"{column.title} of every method with 95 % intervals, both scenarios")


def _mark(x: float, y: float, axis: Scale, summary: Summary, color: str, *, hollow: bool) -> Markup:
    label = f"{summary.method}, {summary.group}: {summary.mean:.3f} [{summary.low:.3f}, {summary.high:.3f}]"
    label += f", n = {summary.scored}/{summary.total}" + (f", {summary.infinite} infinite" if summary.infinite else "")
    fill = 'class="hollow"' if hollow else f'fill="{color}"'
    bar = Markup("")
    if not math.isnan(summary.low):
        bar = _line(axis(summary.low), y, axis(summary.high), y, "bar", color)
    return Markup('<g><title>{}</title>{}<circle cx="{:.1f}" cy="{:.1f}" r="4.5" stroke="{}" {}/></g>').format(
        label, bar, x, y, color, Markup(fill)
    )


@dataclass(frozen=True, slots=True)
class _Point:
    """A method in the trade-off plot."""

    label: str
    color: str
    across: Summary
    up: Summary


def trade_off_plot(content: ReportContent, protocol: str) -> Markup | None:
    """Background PSNR against CLIP score over the whole benchmark: who keeps the background and makes the edit."""
    colors = method_colors(content.methods)
    points = []
    for method in content.methods:
        across, up = (
            content.summaries.get((protocol, method.label, OVERALL.name, m)) for m in ("background_psnr", "clip_score")
        )
        if across and up and across.scored and up.scored:
            points.append(_Point(method.label, colors[method.label], across, up))
    if len(points) < 2:
        return None
    width, height = 560, 380
    psnr = [v for p in points for v in (p.across.mean, p.across.low, p.across.high) if not math.isnan(v)]
    clip = [v for p in points for v in (p.up.mean, p.up.low, p.up.high) if not math.isnan(v)]
    infinity = width - 40
    infinite = any(math.isinf(v) for v in psnr)
    across_axis = scale_of(psnr, 56, infinity - (44 if infinite else 0))
    up_axis = scale_of(clip, height - 50, 34)
    parts = [_text(0, 14, "Trade-off over the whole benchmark", "plot-title")]
    for tick in across_axis.ticks(5):
        parts.append(_line(across_axis(tick), 30, across_axis(tick), height - 46, "grid"))
        parts.append(_text(across_axis(tick), height - 30, f"{tick:g}", "tick", anchor="middle"))
    for tick in up_axis.ticks(5):
        parts.append(_line(52, up_axis(tick), width - 20, up_axis(tick), "grid"))
        parts.append(_text(46, up_axis(tick) + 4, f"{tick:g}", "tick", anchor="end"))
    if infinite:
        parts.append(_line(infinity, 30, infinity, height - 46, "grid dashed"))
        parts.append(_text(infinity, height - 30, "∞", "tick", anchor="middle"))
    parts.append(_text((56 + infinity) / 2, height - 8, "background kept: PSNR (dB) →", "axis", anchor="middle"))
    parts.append(_text(0, 0, "edit made: CLIP →", "axis", anchor="middle", turn=(12, height / 2)))
    parts += _points(points, across_axis, up_axis, infinity)
    return _svg(width, height, parts, "Background PSNR against CLIP score of every method, with 95 % intervals")


def _points(points: Sequence[_Point], across: Scale, up: Scale, infinity: float) -> list[Markup]:
    """Dots with their intervals and labels; a label that would lie on another moves down."""
    parts: list[Markup] = []
    taken: list[tuple[float, float]] = []
    for point in points:
        x = infinity if math.isinf(point.across.mean) else across(point.across.mean)
        y = up(point.up.mean)
        if not math.isnan(point.across.low):
            parts.append(_line(across(point.across.low), y, across(point.across.high), y, "bar", point.color))
        if not math.isnan(point.up.low):
            parts.append(_line(x, up(point.up.low), x, up(point.up.high), "bar", point.color))
        title = f"{point.label}: {point.across.mean:.2f} dB, CLIP {point.up.mean:.2f}"
        parts.append(
            Markup('<circle cx="{:.1f}" cy="{:.1f}" r="6" fill="{}"><title>{}</title></circle>').format(
                x, y, point.color, title
            )
        )
        place = y - 9
        while any(abs(place - other) < 13 and abs(x - where) < 130 for where, other in taken):
            place += 13
        taken.append((x, place))
        right = x < infinity * 0.7
        parts.append(_text(x + (9 if right else -9), place, point.label, "label", anchor="start" if right else "end"))
    return parts


def _short(label: str, limit: int = 18) -> str:
    return label if len(label) <= limit else label[: limit - 1] + "…"


def _svg(width: float, height: float, parts: Sequence[Markup], title: str) -> Markup:
    head = Markup('<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(width, height, title)
    return head + Markup("").join(parts) + Markup("</svg>")


def _line(x1: float, y1: float, x2: float, y2: float, kind: str, color: str = "") -> Markup:
    stroke = Markup(' stroke="{}"').format(color) if color else ""
    return Markup('<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" class="{}"{}/>').format(
        x1, y1, x2, y2, kind, stroke
    )


def _text(
    x: float,
    y: float,
    text: str,
    kind: str,
    anchor: str = "start",
    title: str = "",
    turn: tuple[float, float] | None = None,
) -> Markup:
    move = Markup(' transform="translate({:.1f} {:.1f}) rotate(-90)"').format(*turn) if turn else ""
    tooltip = Markup("<title>{}</title>").format(title) if title and title != text else ""
    return Markup('<text x="{:.1f}" y="{:.1f}" class="{}" text-anchor="{}"{}>{}{}</text>').format(
        x, y, kind, anchor, move, escape(text), tooltip
    )
