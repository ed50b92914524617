"""How each metric is shown: its title, direction, digits and place."""

from dataclasses import dataclass

from benchmark.protocols import METRICS

JUDGE_PREFIX = "judge:"
"""Metrics of a model that judges carry this prefix, so that they never stand in the column of the human Ins-align."""


def is_opinion(metric: str) -> bool:
    """Whether people or a judging model gave the score, which they do under a protocol of their own."""
    return metric == "ins_align" or metric.startswith(JUDGE_PREFIX)


def minus(number: str) -> str:
    """A printed number with a minus sign in place of a hyphen."""
    return number.replace("-", "−")


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricColumn:
    """A metric as a table shows it.

    Attributes:
        name: The metric in `scores.parquet`.
        title: What a person reads.
        higher_is_better: Which end is good; None where neither is.
        digits: Decimals of a mean.
        interval_digits: Decimals of an interval's ends.
        unit: Appended to the title.
    """

    name: str
    title: str
    higher_is_better: bool | None
    digits: int = 3
    interval_digits: int = 3
    unit: str = ""

    @property
    def heading(self) -> str:
        """Title with unit and an arrow that points to the good end."""
        arrow = {True: " ↑", False: " ↓", None: ""}[self.higher_is_better]
        return f"{self.title}{f' ({self.unit})' if self.unit else ''}{arrow}"

    def format(self, value: float) -> str:
        """A mean with this metric's digits."""
        return minus(f"{value:.{self.digits}f}")

    def format_interval(self, low: float, high: float) -> str:
        """An interval with this metric's digits; empty where it is not known."""
        return "" if low != low else minus(f"[{low:.{self.interval_digits}f}, {high:.{self.interval_digits}f}]")


PAPER_METRICS = ("background_psnr", "background_ssim", "background_lpips", "clip_score", "ins_align")
"""The columns of the paper's Table 1, in its order."""

REGISTRATION = ("background_psnr_registered", "registration_dx", "registration_dy", "registration_scale")

DIGITS = {"background_mse": 5, "registration_dx": 2, "registration_dy": 2, "registration_scale": 4}
INTERVAL_DIGITS = {"background_psnr": 2, "background_psnr_registered": 2, "clip_score": 2, **DIGITS}

COLUMNS = {
    name: MetricColumn(
        name=name,
        title=metric.title,
        higher_is_better={"higher": True, "lower": False, "neither": None}[metric.better],
        digits=DIGITS.get(name, 3),
        interval_digits=INTERVAL_DIGITS.get(name, 3),
        unit=metric.unit,
    )
    for name, metric in METRICS.items()
} | {"ins_align": MetricColumn(name="ins_align", title="Ins-align", higher_is_better=True)}


def column_of(metric: str) -> MetricColumn:
    """How a metric is shown; one that is not known here is shown under its own name, a judge under the judge's."""
    if metric in COLUMNS:
        return COLUMNS[metric]
    if metric.startswith(JUDGE_PREFIX):
        return MetricColumn(name=metric, title=f"judge {metric.removeprefix(JUDGE_PREFIX)}", higher_is_better=True)
    return MetricColumn(name=metric, title=metric.replace("_", " "), higher_is_better=None)


def main_columns(metrics: set[str]) -> list[MetricColumn]:
    """The columns of the main table: the paper's that were measured (or asked for), then one for each judge."""
    judges = sorted(m for m in metrics if m.startswith(JUDGE_PREFIX))
    return [COLUMNS[m] for m in PAPER_METRICS if m in metrics] + [column_of(m) for m in judges]


def further_columns(metrics: set[str]) -> list[MetricColumn]:
    """Everything that is neither in the main table nor in the one on registration."""
    main = {c.name for c in main_columns(metrics)}
    return [column_of(m) for m in sorted(metrics - main) if m not in REGISTRATION]
