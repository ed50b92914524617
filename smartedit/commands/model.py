"""`smartedit edit`, `convert` and `doctor`: use a model, make one of the released files, and look into one."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smartedit.commands.plain_errors import plain_words
from smartedit.config.loading import ConfigError, preset_names
from smartedit.config.model import load_model_config

if TYPE_CHECKING:
    from rich.progress import Progress

    from smartedit.inference.findings import Finding
    from smartedit.inference.memory import Precision

PRECISIONS = "float32, bfloat16, float16, 8-bit or 4-bit; if left out, bfloat16 on a GPU and float32 on the CPU."


def edit(
    image: Annotated[Path, typer.Argument(help="The picture to edit, of any format and shape.")],
    instruction: Annotated[str, typer.Argument(help="What to change, in plain words.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The picture to write: .png, .jpg or .webp.")],
    model: Annotated[
        str, typer.Option(help="A checkpoint's folder, owner/name on the hub, or a preset.")
    ] = "miniature",
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps; the checkpoint's own if left out.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Strength of the instruction.")] = None,
    image_guidance: Annotated[float | None, typer.Option(help="Strength of the source picture.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives another picture.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = "auto",
    precision: Annotated[str | None, typer.Option(help=PRECISIONS)] = None,
    offload: Annotated[
        bool | None, typer.Option(help="Keep one part at a time on the device; decided by what fits if left out.")
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Also write OUT-compare.png, before beside after.")
    ] = False,
    show_answer: Annotated[
        bool, typer.Option("--show-answer", help="Let the model answer in words, and print them; slower.")
    ] = False,
    keep_unedited: Annotated[
        bool, typer.Option("--keep-unedited", help="Put the original back where little changed (compositing).")
    ] = False,
    square: Annotated[
        bool, typer.Option("--square", help="Squash into the trained square, as the authors do.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it is there.")] = False,
) -> None:
    """Edit a picture by an instruction."""
    with plain_words(), _progress() as progress:
        from smartedit.inference.editing import EditSettings, Request, edit_file

        settings = EditSettings(
            num_inference_steps=steps,
            guidance_scale=guidance,
            image_guidance_scale=image_guidance,
            seed=seed,
            square=square,
            keep_original=keep_unedited,
            speak=show_answer,
            compare=compare,
            overwrite=overwrite,
        )
        request = Request(image=image, instruction=instruction, out=out)
        request.check(settings)
        loading = progress.add_task(f"loading {model}", total=None)
        from smartedit.inference.loading import LoadSettings, load_pipeline, quiet_libraries

        quiet_libraries()
        pipeline = load_pipeline(model, LoadSettings(device=device, precision=_precision(precision), offload=offload))
        progress.remove_task(loading)
        denoising = progress.add_task("editing", total=steps or pipeline.config.num_inference_steps)
        edited = edit_file(pipeline, request, settings, model, lambda: progress.advance(denoising))
    if edited.answer is not None:
        typer.echo(f"answer: {''.join(c if c.isprintable() else ' ' for c in edited.answer)}")
        typer.echo(f"of its [IMG] tokens the model would say {edited.agreement:.0%} itself")
    for path in edited.paths:
        typer.echo(f"wrote {path}")
    if keep_unedited:
        typer.echo("composited: the original was put back where little changed")


def convert(
    vicuna: Annotated[Path, typer.Option(help="Vicuna v1.1: config.json and tokenizer.")],
    llava: Annotated[Path, typer.Option(help="LLaVA v1.1, whole or as the published difference to LLaMA.")],
    instruct_diffusion: Annotated[Path, typer.Option(help="InstructDiffusion in diffusers' form.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The checkpoint's folder.")],
    released: Annotated[
        Path | None, typer.Option(help="The authors' folder: LLM-N, embeddings_qformer, unet-N, modulate-N.")
    ] = None,
    stage1: Annotated[
        Path | None, typer.Option(help="In its place: the authors' first training stage, to train on from.")
    ] = None,
    clip: Annotated[Path | None, typer.Option(help="CLIP ViT-L/14, where the LLaVA folder does not hold it.")] = None,
    llama: Annotated[Path | None, typer.Option(help="LLaMA, where LLaVA is a difference.")] = None,
    step: Annotated[int | None, typer.Option(help="N; the last whole one if left out.")] = None,
    merge_lora: Annotated[bool, typer.Option("--merge-lora", help="Multiply LoRA into the projections.")] = False,
    dtype: Annotated[
        str | None, typer.Option(help="float32, bfloat16 or float16 for all; as released if left out.")
    ] = None,
    prompts: Annotated[Path | None, typer.Option(help="TOML with the words that the model was trained with.")] = None,
    sizes: Annotated[str, typer.Option(help="Preset or TOML with the sizes of QFormer and BIM.")] = "smartedit-7b",
) -> None:
    """Make a checkpoint of the authors' released files; the same command goes on where it was killed."""
    with plain_words(), _progress() as progress:
        if dtype not in {None, "float32", "bfloat16", "float16"}:
            raise ConfigError(f"--dtype {dtype}: there are float32, bfloat16 and float16")
        if (released is None) == (stage1 is None):
            raise ConfigError("name the authors' folder as --released, or their first stage's file as --stage1")
        from smartedit.inference.conversion import ConversionSettings, convert_released, convert_stage1
        from smartedit.inference.loading import quiet_libraries
        from smartedit.model.released_sources import ReleasedFolders

        quiet_libraries()
        folders = ReleasedFolders(
            released=released or Path(),
            vicuna=vicuna,
            llava=llava,
            instruct_diffusion=instruct_diffusion,
            clip=clip,
            llama=llama,
        )
        settings = ConversionSettings(
            step=step, merge_lora=merge_lora, dtype=dtype, prompts=prompts, sizes=load_model_config(sizes)
        )
        writing = progress.add_task("converting", total=None)

        def show(done: int, total: int) -> None:
            progress.update(writing, completed=done, total=total)

        if stage1 is None:
            converted = convert_released(folders, out, settings, show)
        else:
            converted = convert_stage1(stage1, folders, out, settings, show)
    for note in converted.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"wrote {converted.folder} ; look into it with `smartedit doctor {converted.folder}`")


def doctor(
    model: Annotated[
        str, typer.Argument(help="A checkpoint's folder, owner/name on the hub, or a preset with weights.")
    ],
    hashes: Annotated[bool, typer.Option(help="Hash every file.")] = True,
    values: Annotated[bool, typer.Option(help="Look at every weight's values.")] = True,
    run: Annotated[bool, typer.Option(help="Make one edit.")] = True,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = "auto",
    precision: Annotated[str | None, typer.Option(help=PRECISIONS)] = None,
) -> None:
    """Look into a checkpoint: files, vocabulary, weights, memory, one edit. Exits with 1 if something is wrong."""
    with plain_words():
        from smartedit.inference.doctor import Examination, examine
        from smartedit.inference.loading import LoadSettings, find_model, quiet_libraries

        quiet_libraries()
        load = LoadSettings(device=device, precision=_precision(precision))
        if model in preset_names() and not Path(model).exists():
            model = load_model_config(model).weights or model
        folder = Path(model) if Path(model).exists() else find_model(model)
        diagnosis = examine(folder, Examination(hashes=hashes, values=values, run=run, load=load))
    _print_findings(diagnosis.findings)
    count = len(diagnosis.faults)
    verdict = f"{count} fault{'s' * (count > 1)}" if count else "nothing wrong"
    typer.echo(f"{folder}: {verdict}")
    if count:
        raise typer.Exit(1)


def _print_findings(findings: "Iterable[Finding]") -> None:
    from smartedit.inference.findings import Grade

    colors = {Grade.GOOD: typer.colors.GREEN, Grade.NOTE: typer.colors.BLUE, Grade.FAULT: typer.colors.RED}
    for finding in findings:
        grade = typer.style(f"{finding.grade.value:5}", fg=colors[finding.grade])
        typer.echo(f"{grade} {finding.topic:10} {finding.text}")


def _precision(name: str | None) -> "Precision | None":
    from smartedit.inference.memory import Precision

    if name is None:
        return None
    if name not in set(Precision):
        raise ConfigError(f"--precision {name}: there are {', '.join(Precision)}")
    return Precision(name)


@contextmanager
def _progress() -> "Iterator[Progress]":
    """A bar on the error stream, so that the output stream holds results only."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield progress
