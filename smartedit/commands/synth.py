"""`smartedit synth`: the data factory without Prefect, stage by stage or from pictures to set."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from smartedit.commands.plain_errors import plain_words

app = typer.Typer(no_args_is_help=True, help="Make synthetic editing pairs from pictures.")

RunArgument = Annotated[Path, typer.Argument(help="The run folder.")]
PresetOption = Annotated[str | None, typer.Option("--preset", "--config", help="A preset's name or a TOML file.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="One setting, section.key=value; may be repeated.")]
ShortOption = Annotated[bool, typer.Option("--allow-short", help="Succeed though a quota is not met.")]


@app.callback()
def speak() -> None:
    """Let the stages say on the error stream how far they are."""
    logging.getLogger("smartedit.synthesis").setLevel(logging.INFO)


@app.command()
def run(
    pictures: Annotated[Path, typer.Argument(help="A folder of pictures.")],
    out: Annotated[Path, typer.Option("--run", help="The run folder; the same command resumes it.")],
    annotations: Annotated[Path | None, typer.Option(help="A COCO detection file for the pictures.")] = None,
    preset: PresetOption = None,
    setting: SetOption = None,
    allow_short: ShortOption = False,
) -> None:
    """From a folder of pictures to the finished set."""
    with plain_words():
        from smartedit.config.synthesis import load_synthesis
        from smartedit.synthesis.pipeline import prepare, work
        from smartedit.synthesis.run_folder import STAGES

        overrides = list(setting or [])
        if annotations is not None:
            overrides.append(f"pictures.annotations={str(annotations.resolve())!r}")
        shards = prepare(pictures, out, load_synthesis(preset, overrides))
        for shard in range(shards):
            for stage in STAGES:
                work(out, stage, shard)
        _finish(out, allow_short=allow_short)


@app.command()
def stage(
    out: RunArgument,
    name: Annotated[str, typer.Argument(help="propose, ground, segment, inpaint, instruct or score.")],
    shard: Annotated[int | None, typer.Option(help="Only this shard.")] = None,
) -> None:
    """Do one stage of a run that was started."""
    with plain_words():
        from smartedit.synthesis.pipeline import work
        from smartedit.synthesis.run_folder import STAGES, RunFolder, RunFolderError

        if name not in STAGES:
            raise RunFolderError(f"no stage {name!r}; stages are {', '.join(STAGES)}")
        for number in range(RunFolder(out).shards()) if shard is None else [shard]:
            work(out, name, number)


@app.command()
def select(out: RunArgument, setting: SetOption = None, allow_short: ShortOption = False) -> None:
    """Choose the set anew, with review decisions and other thresholds or quotas (`--set quotas.color=20`)."""
    with plain_words():
        from smartedit.synthesis.finish import change_selection

        if setting:
            change_selection(out, setting)
        _finish(out, allow_short=allow_short)


@app.command()
def review(
    out: RunArgument,
    everything: Annotated[bool, typer.Option("--all", help="All scored pairs instead of the chosen set.")] = False,
    limit: Annotated[int | None, typer.Option(help="The first so many.")] = None,
) -> None:
    """Write the review sheet; put the decisions.json that it saves into the run folder, then `synth select`."""
    with plain_words():
        from smartedit.synthesis.review import write_review_sheet

        typer.echo(str(write_review_sheet(out, everything=everything, limit=limit)))


@app.command()
def export(
    out: RunArgument,
    target: Annotated[Path | None, typer.Option("--out", help="Where the set goes; RUN/set if not given.")] = None,
) -> None:
    """Write the chosen set: Parquet and PNG, the authors' layout, a datasets folder, DATA_CARD.md."""
    with plain_words():
        from smartedit.synthesis.export import export as write_set

        typer.echo(str(write_set(out, target)))


@app.command()
def funnel(out: RunArgument) -> None:
    """Show how many candidates reached each stage and why the others did not."""
    with plain_words():
        from smartedit.synthesis.funnel import funnel_markdown, measure_funnel
        from smartedit.synthesis.run_folder import RunFolder

        typer.echo(funnel_markdown(measure_funnel(RunFolder(out))))


def _finish(out: Path, *, allow_short: bool) -> None:
    from smartedit.synthesis.export import export as write_set
    from smartedit.synthesis.finish import choose, need_quotas
    from smartedit.synthesis.review import write_review_sheet

    chosen = choose(out)
    path = write_set(out)
    sheet = write_review_sheet(out)
    typer.echo(f"{chosen.count} samples in {path}; review sheet {sheet}")
    need_quotas(chosen, allow_short=allow_short)
