"""``coursekit train``: train a net of the course by its recipe."""

import math
from pathlib import Path
from typing import Annotated

import typer

from coursekit.course import DEVICES
from coursekit.course.lectures import lectures
from coursekit.errors import CourseError, unknown


def train(
    name: Annotated[
        str | None, typer.Argument(metavar="RECIPE", help="What to train; without it, the recipes are listed.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Random seed; the course's weights have 0.")] = 0,
    device: Annotated[str, typer.Option(metavar="[auto|cpu|cuda|mps]", help="Where to compute.")] = "auto",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Times through the data; without it, as the recipe says.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where to put the weights; without it, with the course's own.")
    ] = None,
    update: Annotated[bool, typer.Option("--update", help="Replace weights that are there already.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Only go on with a stopped run; without it, one is begun if none is there.")
    ] = False,
) -> None:
    """Train a net of the lectures and keep its weights, with a card that says how they came about.

    After Ctrl-C, a crash or a kill the same command goes on where it was stopped. Several processes train together by
    torchrun --nproc-per-node=2 -m coursekit train RECIPE.
    """
    if name is None:
        _list()
        return
    if device not in DEVICES:
        raise typer.BadParameter(unknown("device", device, DEVICES))

    from tqdm import tqdm

    from coursekit.nets import recipes, weights

    if name not in recipes.RECIPES:
        raise typer.BadParameter(unknown("recipe", name, recipes.RECIPES))
    recipe = recipes.RECIPES[name]
    folder = out or weights.weights_folder()
    tell = typer.echo if recipes.is_first() else _silent
    tell(f"{name}: {recipe.about}. Ctrl-C stops; the same command goes on.")
    try:
        card = recipes.train(
            recipe,
            folder,
            seed=seed,
            device=device,
            epochs=epochs,
            update=update,
            resume=resume,
            report=tqdm.write,
        )
    except KeyboardInterrupt as interrupt:
        typer.echo("Interrupted. The same command goes on from here.")
        raise typer.Exit(130) from interrupt
    tell(f"{recipe.summary.format(**card.measured)}. Weights: {folder / name}.safetensors")


def _silent(text: str) -> None:
    pass


def _list() -> None:
    """The recipes with what came of them and how long they took; and how long notebooks train at profile full."""
    from rich.console import Console
    from rich.table import Table

    from coursekit.nets import recipes, weights

    table = Table(
        "Recipe", "What", "Epochs", "Measured", "Minutes", "On", box=None, header_style="bold", pad_edge=False
    )
    for name, recipe in recipes.RECIPES.items():
        try:
            card = weights.card(name)
        except CourseError:  # not trained yet
            result = ("–", "–", "–")
        else:
            by, threads = card.made_with, card.made_with.threads
            result = (
                recipe.summary.format(**card.measured),
                f"{by.minutes:g}",
                f"{threads} thread{'s' if threads > 1 else ''}" if by.device == "cpu" else by.device,
            )
        table.add_row(name, recipe.about, str(recipe.epochs), *result)
    Console().print(table)
    typer.echo("\nMeasures and minutes are those of the weights that come with the course.")
    full = ", ".join(f"{it.number} {math.ceil(it.seconds['full'] / 60)}" for it in lectures() if it.seconds.get("full"))
    typer.echo(
        "Everything else is trained in the notebooks: coursekit run NUMBER --profile full. "
        f"Minutes on one CPU core: {full}."
    )
