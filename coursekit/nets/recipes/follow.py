"""Following a recipe: from the data to the stored weights and their card."""

import hashlib
import math
import platform
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from coursekit.errors import CourseError
from coursekit.files import atomic_path, locked
from coursekit.nets.recipes.recipe import Recipe
from coursekit.nets.weights import Origin, WeightsCard
from coursekit.training import History, fit, load_checkpoint
from coursekit.training.parallel import is_first, joined, wait_for_all
from coursekit.validation import require_integer


@dataclass(frozen=True)
class _Run:
    """A recipe and what is chosen for one run of it."""

    recipe: Recipe
    folder: Path
    epochs: int
    seed: int
    device: torch.device

    @property
    def weights(self) -> Path:
        return self.folder / f"{self.recipe.name}.safetensors"

    @property
    def card(self) -> Path:
        return self.folder / f"{self.recipe.name}.json"

    @property
    def checkpoint(self) -> Path:
        return self.folder / f"{self.recipe.name}.checkpoint"


def train(
    recipe: Recipe,
    folder: Path,
    *,
    seed: int = 0,
    device: str = "auto",
    epochs: int | None = None,
    update: bool = False,
    resume: bool = False,
    report: Callable[[str], None] = print,
) -> WeightsCard:
    """Follow a recipe, write ``NAME.safetensors`` and its card ``NAME.json`` into ``folder``, and return the card.

    A run that was stopped goes on where it was, from ``NAME.checkpoint`` in the same folder. The weights are stored in
    half precision, and the measures on the card are those of the stored weights.

    Processes that ``torchrun`` started train together, see `coursekit.training.parallel`; the first one writes.

    Args:
        epochs: another number of them than the recipe's.
        update: replace weights that are in ``folder`` already.
        resume: only go on with a stopped run, never begin one.
        report: is called with the measures of every epoch, as a line of text.

    Raises:
        ValueError: there is no such device, or ``epochs`` or ``seed`` is out of range.
        CourseError: there are weights in ``folder`` already, or the checkpoint of another run, or none to resume;
            another run holds the folder; the data cannot be loaded; nothing can be written; a process was lost.
    """
    epochs = require_integer(recipe.epochs if epochs is None else epochs, "epochs", low=1)
    seed = require_integer(seed, "seed", low=0, high=2**32 - 1)
    first = _Run(recipe, folder, epochs, seed, torch.device("cpu"))
    with joined(device, first.checkpoint) as mine:
        run = replace(first, device=mine)
        if resume and not run.checkpoint.exists():
            raise CourseError(f"there is no stopped run to resume: {run.checkpoint} does not exist.")
        if not update:
            _require_free(run)
        data = recipe.load()
        _require_writable(folder)
        with _held(folder):
            wait_for_all()  # so that none finds what another one has written meanwhile
            torch.manual_seed(seed)
            net = recipe.build()
            history = _learn(run, net, data, report if is_first() else _silent)
            if is_first():
                _store(run, net, data, history.seconds)
            wait_for_all()
        return WeightsCard.read(run.card)


def _silent(text: str) -> None:
    pass


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Let no other run write to the folder during the block; of several processes the first holds it."""
    if not is_first():
        yield
        return
    with locked(folder) as free:
        if not free:
            raise CourseError(f"another run is writing to {folder}: wait for it, or choose another folder with --out.")
        yield


def _learn(run: _Run, net: nn.Module, data: Any, report: Callable[[str], None]) -> History:
    """Train the net from where it is: from its checkpoint, if there is one."""
    recipe = run.recipe
    samples = recipe.samples(data)
    steps = run.epochs * math.ceil(len(samples[0]) / recipe.batch_size)
    step, state = recipe.start(net, steps)
    if run.checkpoint.exists():
        report(f"{run.checkpoint} holds {_steps_done(run)} of {steps} steps: going on from there")

    def on_epoch_end(epoch: int, _: object) -> dict[str, float]:
        measured = recipe.measure(net, data)
        report(f"epoch {epoch} of {run.epochs}: {recipe.summary.format(**measured)}")
        return measured

    return fit(
        step,
        samples,
        epochs=run.epochs,
        batch_size=recipe.batch_size,
        seed=run.seed,
        device=run.device,
        state={**state, "planned": _Planned(run.epochs)},
        checkpoint=run.checkpoint,
        on_epoch_end=on_epoch_end,
    )


def _store(run: _Run, net: nn.Module, data: Any, seconds: float) -> None:
    """Write the weights in half precision and the card that describes them, and remove the checkpoint."""
    stored = {key: (x.half() if x.is_floating_point() else x).cpu().contiguous() for key, x in net.state_dict().items()}
    content = save(stored)
    net.load_state_dict(stored)  # so that what is measured are the stored weights
    card = WeightsCard(
        net=run.recipe.name,
        data=run.recipe.data,
        recipe={"about": run.recipe.about, **run.recipe.settings},
        epochs=run.epochs,
        seed=run.seed,
        parameters=sum(p.numel() for p in net.parameters()),
        measured={name: round(value, 4) for name, value in run.recipe.measure(net, data).items()},
        sha256=hashlib.sha256(content).hexdigest(),
        made_with=Origin(
            platform.python_version(),
            torch.__version__,
            run.device.type,
            torch.get_num_threads(),
            round(seconds / 60, 1),
        ),
    )
    try:
        with atomic_path(run.weights) as part:
            part.write_bytes(content)
        card.write(run.card)
    except OSError as error:
        raise CourseError(f"the weights cannot be written: {error}. The run is kept in {run.checkpoint}.") from error
    run.checkpoint.unlink()


@dataclass
class _Planned:
    """The number of epochs that a run was begun for, kept in its checkpoint: schedules depend on it."""

    epochs: int

    def state_dict(self) -> dict[str, int]:
        return {"epochs": self.epochs}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epochs = state["epochs"]


def _steps_done(run: _Run) -> int:
    """How many steps a stopped run has done; ``CourseError`` if it was begun for another number of epochs."""
    planned = _Planned(run.epochs)
    saved = load_checkpoint(run.checkpoint, {"planned": planned})
    if planned.epochs != run.epochs:
        raise CourseError(
            f"{run.checkpoint} is of a run of another number of epochs: finish that one, or delete it. "
            f"It was begun for {planned.epochs}."
        )
    return saved["history"]["steps"]


def _require_free(run: _Run) -> None:
    for path in (run.weights, run.card):
        if path.exists():
            raise CourseError(f"{path} is there already: choose another folder with --out, or replace it: --update.")


def _require_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise CourseError(f"nothing can be written to {folder}: {error.strerror}. Choose another: --out.") from error
