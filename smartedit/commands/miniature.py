"""`smartedit miniature`: writes drawn data sets."""

from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Write drawn data sets: a miniature Reason-Edit and training corpora.", no_args_is_help=True)


def _fail(error: Exception, out: Path) -> typer.Exit:
    if isinstance(error, OSError):
        where = error.filename or out
        typer.echo(f"error: {where}: {error.strerror}; mend that and run the command again, it goes on", err=True)
    else:
        typer.echo(f"error: {error}", err=True)
    return typer.Exit(1)


@app.command("reason-edit")
def reason_edit(
    out: Annotated[Path, typer.Argument(help="Folder to write; new, empty, or unfinished.")],
    seed: Annotated[int, typer.Option(help="Another seed gives other scenes.")] = 0,
    size: Annotated[int, typer.Option(min=32, max=1024, help="Pixels of a picture's side.")] = 128,
    seen_clues: Annotated[
        bool, typer.Option("--seen-clues", help="Reasoning by clues that training data use.")
    ] = False,
) -> None:
    """Write 219 drawn samples in the layout of Reason-Edit; exact targets lie in OUT/answers."""
    from smartedit.miniature.benchmark_set import write_reason_edit

    try:
        write_reason_edit(out, seed=seed, size=size, seen_clues=seen_clues)
    except (ValueError, OSError) as error:
        raise _fail(error, out) from error
    typer.echo(f"wrote {out}")


@app.command("contact-sheet")
def contact_sheet(
    folder: Annotated[Path, typer.Argument(help="A miniature Reason-Edit.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The picture to write.")],
    columns: Annotated[int, typer.Option(min=1, help="Samples in a row.")] = 5,
    side: Annotated[int, typer.Option(min=32, help="Pixels of each picture.")] = 128,
    most: Annotated[int | None, typer.Option(min=1, help="Samples of each category; all if left out.")] = None,
) -> None:
    """Draw one picture with the source, target and instruction of every sample."""
    from smartedit.miniature.contact_sheet import write_contact_sheet

    try:
        write_contact_sheet(folder, out, columns=columns, side=side, most=most)
    except (ValueError, OSError) as error:
        raise _fail(error, out) from error
    typer.echo(f"wrote {out}")


@app.command("corpora")
def corpora(
    out: Annotated[Path, typer.Argument(help="Folder to write; new, empty, or unfinished.")],
    scenes: Annotated[int, typer.Option(min=1, help="COCO pictures; the other sets are sized by it.")] = 1000,
    seed: Annotated[int, typer.Option(help="Another seed gives other scenes.")] = 0,
    size: Annotated[int, typer.Option(min=32, max=1024, help="Pixels of a picture's side.")] = 128,
    synthetic: Annotated[int, typer.Option(min=1, max=9999, help="Pairs of the synthetic set.")] = 476,
    only: Annotated[list[str] | None, typer.Option(help="Write this data set only; repeat for several.")] = None,
) -> None:
    """Write drawn training data in the layouts of COCO, RefCOCO, ReasonSeg, InstructPix2Pix and the others."""
    from smartedit.miniature.corpora import write_corpora
    from smartedit.miniature.stock import Stock

    stock = Stock(seed=seed, count=scenes, size=size, synthetic=synthetic)
    try:
        write_corpora(out, stock, only or (), lambda name: typer.echo(f"{name} is complete", err=True))
    except (ValueError, OSError) as error:
        raise _fail(error, out) from error
    typer.echo(f"wrote {out}")


@app.command("catalog")
def catalog(
    out: Annotated[Path, typer.Option("--out", "-o", help="The picture to write.")],
    size: Annotated[int, typer.Option(min=16, max=1024, help="Pixels of the side that scenes are drawn at.")] = 64,
    zoom: Annotated[int, typer.Option(min=1, help="Pixels of the sheet for each of them.")] = 3,
) -> None:
    """Draw every kind of thing on one picture."""
    from smartedit.miniature.catalog import write_catalog

    try:
        write_catalog(out, size=size, zoom=zoom)
    except (ValueError, OSError) as error:
        raise _fail(error, out) from error
    typer.echo(f"wrote {out}")


@app.command("fit")
def fit(
    work: Annotated[Path, typer.Argument(help="Folder for drawings, states and finished parts; about 6 GB.")],
    weights: Annotated[Path, typer.Option("--weights", "-o", help="Where the parts that ship are written.")],
    processes: Annotated[
        int, typer.Option(min=1, help="Processes that draw; with two, two parts are trained at once.")
    ] = 2,
    amount: Annotated[
        float,
        typer.Option(
            help="By what scenes, texts and steps are multiplied (short trainings: by its root); 0.05 tries it all."
        ),
    ] = 1.0,
    bf16: Annotated[
        bool, typer.Option("--bf16", help="Long trainings in bfloat16; see `lscpu`: amx_bf16 or avx512_bf16.")
    ] = False,
    pack: Annotated[bool, typer.Option("--pack", help="Only write the parts that WORK holds finished.")] = False,
) -> None:
    """Draw, train and write all weights that ship; hours on a CPU. The same command goes on where it was stopped."""
    import logging

    from smartedit.commands.plain_errors import plain_words

    logging.getLogger("smartedit.miniature.fit").setLevel(logging.INFO)
    with plain_words():
        from smartedit.miniature.fit.chain import finished_parts, fit_miniature
        from smartedit.miniature.fit.recipe import Recipe, in_bf16, scaled
        from smartedit.miniature.fit.shipping import ship

        if pack and (amount != 1.0 or bf16):
            raise ValueError("--pack writes what WORK holds, and takes no --amount and no --bf16")
        if amount != 1.0 and weights.resolve() == Path(str(resources.files("smartedit.weights"))).resolve():
            raise ValueError(f"--weights {weights}: are those that ship; name another folder for --amount {amount:g}")
        if pack:
            parts = finished_parts(work)
            if not parts:
                raise ValueError(f"{work}: holds no finished part of `miniature fit`; name its WORK folder")
            sizes = ship(parts, weights)
        else:
            recipe = scaled(Recipe(), amount) if amount != 1.0 else Recipe()
            chosen = in_bf16(recipe) if bf16 else recipe
            sizes = fit_miniature(
                work, weights, chosen, processes=processes, on_part=lambda name: typer.echo(f"{name} ...", err=True)
            )
    for name, size in sizes.items():
        typer.echo(f"{weights / name}: {size / 1e6:.2f} MB")
    typer.echo(f"in all {sum(sizes.values()) / 1e6:.2f} MB")
