"""How each metric is shown: its title, direction, digits and place."""

from dataclasses import dataclass

JUDGE_PREFIX = "judge:"
"""Metrics of a model that judges carry this prefix, so that they never stand in the column of the human Ins-align."""


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


PAPER_COLUMNS = (
    MetricColumn(name="background_psnr", title="PSNR", higher_is_better=True, interval_digits=2, unit="dB"),
    MetricColumn(name="background_ssim", title="SSIM", higher_is_better=True),
    MetricColumn(name="background_lpips", title="LPIPS", higher_is_better=False),
    MetricColumn(name="clip_score", title="CLIP", higher_is_better=True, interval_digits=2),
    MetricColumn(name="ins_align", title="Ins-align", higher_is_better=True),
)
"""The columns of the paper's Table 1, in its order."""

FURTHER_COLUMNS = (
    MetricColumn(name="background_mse", title="MSE", higher_is_better=False, digits=5, interval_digits=5),
    MetricColumn(
        name="background_psnr_registered", title="PSNR, registered", higher_is_better=True, interval_digits=2, unit="dB"
    ),
    MetricColumn(
        name="registration_dx", title="shift x", higher_is_better=None, digits=2, interval_digits=2, unit="px"
    ),
    MetricColumn(
        name="registration_dy", title="shift y", higher_is_better=None, digits=2, interval_digits=2, unit="px"
    ),
    MetricColumn(name="registration_scale", title="scale", higher_is_better=None, digits=4, interval_digits=4),
)
REGISTRATION = ("background_psnr_registered", "registration_dx", "registration_dy", "registration_scale")

COLUMNS = {column.name: column for column in (*PAPER_COLUMNS, *FURTHER_COLUMNS)}


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
    return [c for c in PAPER_COLUMNS if c.name in metrics] + [column_of(m) for m in judges]


def further_columns(metrics: set[str]) -> list[MetricColumn]:
    """Everything that is neither in the main table nor in the one on registration."""
    main = {c.name for c in main_columns(metrics)}
    return [column_of(m) for m in sorted(metrics - main) if m not in REGISTRATION]
