"""`smartedit-bench judge`: models as judges, and how far they agree with people."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from smartedit.commands.plain_errors import plain_errors


class RunFirst(TyperGroup):
    """Takes `judge RUN ...` for `judge run RUN ...`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in where the first word is none."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=RunFirst,
    help="Let a model judge the edits of a run: `judge RUN --judge vlm`; its numbers never stand for people's.",
    no_args_is_help=True,
)


@app.command()
@plain_errors
def run(
    run: Annotated[Path, typer.Argument(help="A run folder with edits.")],
    judge: Annotated[str, typer.Option(help="zero-shot, vlm, exact (the miniature only), or package.module:factory.")],
    model: Annotated[
        str | None, typer.Option(help="vlm: pinned model id, folder or hub id. zero-shot: a CLIP folder or hub id.")
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(help="vlm: base address of an OpenAI-compatible server, for example http://host:8000/v1."),
    ] = None,
    api_key_env: Annotated[str | None, typer.Option(help="Environment variable that holds the endpoint's key.")] = None,
    name: Annotated[str | None, typer.Option(help="What tables call the judge; its kind by default.")] = None,
    method: Annotated[
        list[str] | None, typer.Option("--method", help="Judge only this method; may be repeated.")
    ] = None,
    vocabulary: Annotated[Path | None, typer.Option(help="zero-shot: further labels, one a line.")] = None,
    lowest_psnr: Annotated[float | None, typer.Option(help="zero-shot: dB that a kept background reaches.")] = None,
    cache: Annotated[Path | None, typer.Option(help="vlm: folder of raw replies; may be shared between runs.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="vlm: questions at once.")] = 4,
    timeout: Annotated[float, typer.Option(min=1, help="vlm: seconds for a reply.")] = 120.0,
    attempts: Annotated[int, typer.Option(min=1, max=20, help="vlm: attempts for a reply.")] = 6,
    max_tokens: Annotated[int, typer.Option(min=1, help="vlm: length of a reply.")] = 16,
    token_field: Annotated[str, typer.Option(help="vlm: max_tokens, or max_completion_tokens.")] = "max_tokens",
    device: Annotated[str, typer.Option(help="auto (cuda, mps, cpu) or a torch device.")] = "auto",
) -> None:
    """Judge the edits of a run; a refusal, a time-out or an unreadable reply is no score."""
    from collections import Counter

    from benchmark.commands.exact_judge import build_exact_judge
    from benchmark.commands.progress import progress_bar
    from benchmark.judges.build import JUDGES, JudgeOptions, build_judge, default_name
    from benchmark.judges.judging import judge_run
    from benchmark.runs import Run

    options = JudgeOptions(
        model=model,
        endpoint=endpoint,
        api_key_env=api_key_env,
        vocabulary=vocabulary,
        lowest_psnr=lowest_psnr,
        cache=cache,
        concurrency=concurrency,
        timeout=timeout,
        attempts=attempts,
        max_tokens=max_tokens,
        token_field=token_field,
        device=device,
    )
    opened = Run(run)
    opened.settings()
    judges = {**JUDGES, "exact": build_exact_judge}
    built = build_judge(judge, opened, options, judges)
    label = name if name is not None else default_name(judge, judges)
    with progress_bar("judge") as advance:
        rows = judge_run(
            opened,
            built,
            label,
            methods=method,
            details={"kind": judge},
            progress=lambda done, total: advance(label, done, total),
        )
    for one in sorted({r.method for r in rows}):
        own = [r for r in rows if r.method == one]
        answers = Counter(r.answer.value for r in own if r.answer is not None)
        missing = Counter(r.reason for r in own if r.answer is None)
        count = sum(answers.values())
        share = f"{answers['aligned'] / count:.3f}" if count else "–"
        typer.echo(f"{one}\tjudge {label}\t{share}\tn = {count}/{len(own)}")
        for reason, times in missing.most_common(3):
            typer.echo(f"\tno score on {times}: {reason}")
    typer.echo(f"judge {label}: {built.model} under {built.protocol}; compare it with people: judge agreement {run}")


@app.command()
@plain_errors
def agreement(
    run: Annotated[Path, typer.Argument(help="A run folder with ratings and judgements.")],
    judge: Annotated[list[str] | None, typer.Option(help="Only this judge; may be repeated.")] = None,
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap draws.")] = 2000,
) -> None:
    """Compare judges with people on the same edits: accuracy, Cohen's kappa, bias; by category and method."""
    from rich.console import Console
    from rich.table import Table

    from benchmark.human_ratings import left_out
    from benchmark.judges.agreement import Estimate, store_agreement
    from benchmark.judges.judging import judges_of
    from benchmark.judges.verdicts import JudgeError
    from benchmark.runs import Run

    def cell(estimate: Estimate, sign: str = "") -> str:
        if estimate.value != estimate.value:
            return "–"
        return f"{estimate.value:{sign}.3f} \\[{estimate.low:{sign}.3f}, {estimate.high:{sign}.3f}]"

    opened = Run(run)
    opened.settings()  # No run folder: that is told first.
    names = judge or judges_of(opened)
    if not names:
        raise JudgeError(f"{run}: no judge has judged this run; `smartedit-bench judge RUN --judge ...`")
    for name in names:
        columns = ("edits", "accuracy", "kappa", "bias", "n", "no answer", "people split")
        table = Table(*columns, title=f"judge {name} and people")
        for part in store_agreement(opened, name, resamples=resamples):
            numbers = [str(part.edits), str(part.unanswered), str(part.undecided)]
            table.add_row(part.part, cell(part.accuracy), cell(part.kappa), cell(part.bias, "+"), *numbers)
        Console().print(table)
    if without := left_out(opened):
        typer.echo(f"Left out, as from Ins-align: {', '.join(without)}")
