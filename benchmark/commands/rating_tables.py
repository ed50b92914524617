"""Ins-align on the screen: methods, paired tests, agreement, and raters to look at."""

import math

from rich.console import Console
from rich.table import Table

from benchmark.human_ratings import Aggregate

GROUPS = ("understanding", "reasoning", "overall")


def print_aggregate(result: Aggregate) -> None:
    """Print what `rate aggregate` found."""
    console = Console()
    console.print(_methods(result))
    if result.comparisons:
        console.print(_tests(result))
    agreement = result.agreement
    console.print(
        f"Agreement of {len(result.raters)} raters on {agreement.edits} edits: Krippendorff's alpha "
        f"{_number(agreement.alpha)} [{_number(agreement.alpha_low)}, {_number(agreement.alpha_high)}], Fleiss' kappa "
        f"{_number(agreement.kappa)} ({agreement.kappa_edits} edits), same answer {_number(agreement.observed)}",
        markup=False,
    )
    for profile in result.profiles:
        for concern in profile.concerns:
            console.print(f"Look at {profile.rater}: {concern}. Counted; `--without` leaves a rater out.", markup=False)
    if result.outdated:
        console.print(f"Left out, on pictures that these runs no longer have: {result.outdated} answers", markup=False)
    if result.without:
        console.print(f"Left out on request: {', '.join(result.without)}", markup=False)


def _methods(result: Aggregate) -> Table:
    found = {(s.method, s.group): s for s in result.summaries}
    groups = [g for g in GROUPS if any(key[1] == g for key in found)]
    table = Table("method", title=f"Ins-align ({result.protocol}), mean [95 % interval] n/N")
    for group in groups:
        table.add_column(group, justify="right")
    for method in sorted({m for m, _ in found}):
        cells = []
        for group in groups:
            s = found[method, group]
            cells.append(f"{_number(s.mean)} \\[{_number(s.low)}, {_number(s.high)}] {s.scored}/{s.total}")
        table.add_row(method, *cells)
    return table


def _tests(result: Aggregate) -> Table:
    table = Table("first", "second", "group", "difference", "p (Holm)", "n", title="Paired permutation tests")
    for c in result.comparisons:
        difference = f"{c.difference:+.3f} \\[{_number(c.low)}, {_number(c.high)}]"
        table.add_row(c.first, c.second, c.group, difference, _number(c.p_holm), f"{c.pairs}/{c.total}")
    return table


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"
