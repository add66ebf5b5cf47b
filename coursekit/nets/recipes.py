"""The recipes that trained the course's CIFAR-10 nets; ``coursekit train`` follows them."""

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.torch import save
from torch import Tensor

from coursekit.datasets import ImageSet
from coursekit.errors import CourseError, unknown
from coursekit.files import atomic_path
from coursekit.nets.weights import NETS, accuracy
from coursekit.training import Descent, fit, load_checkpoint, resolve_device
from coursekit.training.device import Precision


@dataclass(frozen=True)
class Recipe:
    """Stochastic gradient descent with Nesterov momentum .9."""

    about: str
    # (epoch, learning rate), from 0 to the last epoch; straight lines between
    schedule: tuple[tuple[float, float], ...]
    weight_decay: float = 0.0
    smoothing: float = 0.0  # of the labels
    shift: int = 4  # pixels by which a training image is moved at most, either way; half of them are mirrored
    batch_size: int = 128
    precision: Precision = "float32"

    @property
    def epochs(self) -> int:
        return int(self.schedule[-1][0])


@dataclass
class Rate:
    """The learning rate of a step: on straight lines between (``steps``, ``rates``). Checkpoints hold its fields."""

    steps: list[float]
    rates: list[float]

    def __call__(self, step: int) -> float:
        return float(np.interp(step, self.steps, self.rates))


RECIPES = {
    "convnetjs": Recipe(
        "the net of the ConvNetJS demo, 22 466 parameters",
        schedule=((0, 0.002), (7.5, 0.05), (30, 0.0)),
        shift=2,
    ),
    "residual": Recipe(
        "a residual net with a stem of 64 filters of 7×7, 0.9 M parameters",
        schedule=((0, 0.004), (6, 0.1), (24, 0.0), (28, 0.05), (40, 0.0)),
        weight_decay=5e-4,
        smoothing=0.1,
        precision="bf16",
    ),
}


def places(name: str, folder: Path, *, update: bool = False) -> tuple[Path, Path, Path]:
    """Where a recipe puts its weights, their card and the checkpoint of a run that was stopped.

    Raises:
        ValueError: the recipe is unknown.
        CourseError: weights or card are there already, and not to be replaced (``update``).
    """
    if name not in RECIPES:
        raise ValueError(unknown("recipe", name, RECIPES))
    weights, card, checkpoint = (folder / f"{name}.{kind}" for kind in ("safetensors", "json", "checkpoint"))
    for path in (weights, card):
        if path.exists() and not update:
            raise CourseError(f"{path} is there already: choose another folder with --out, or replace it: --update.")
    return weights, card, checkpoint


def train(
    name: str,
    data: ImageSet,
    folder: Path,
    *,
    seed: int = 0,
    device: str = "auto",
    epochs: int | None = None,
    update: bool = False,
    report: Callable[[str], None] = print,
) -> dict:
    """Follow a recipe and write ``name.safetensors`` and its card ``name.json`` into ``folder``; returns the card.

    A run that was stopped goes on where it was, from ``name.checkpoint`` in the same folder. The weights are stored
    in half precision, and the accuracy in the card is that of the stored weights.

    Args:
        data: colour images of 32×32 pixels in ten classes.
        epochs: another number of them than the recipe's; the schedule is stretched to them.
        update: replace weights that lie in ``folder`` already.
        report: is told of every epoch, in a line of text.

    Raises:
        ValueError: the recipe is unknown, or there is no epoch.
        CourseError: weights lie in ``folder`` already, or the checkpoint of another run, or nothing can be written.
    """
    weights, card_file, checkpoint = places(name, folder, update=update)
    recipe = RECIPES[name]
    epochs = recipe.epochs if epochs is None else epochs
    if epochs < 1:
        raise ValueError(f"expected at least one epoch, got {epochs}")
    where = resolve_device(device)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise CourseError(f"nothing can be written to {folder}: {error.strerror}. Choose another: --out.") from error
    torch.manual_seed(seed)
    net = NETS[name]().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0, momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay)
    steps = epochs * -(-len(data.images) // recipe.batch_size)
    knots = [(steps * epoch / recipe.epochs, rate) for epoch, rate in recipe.schedule]
    wanted, rate = (Rate(*map(list, zip(*knots, strict=True))) for _ in range(2))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    if checkpoint.exists():
        before = load_checkpoint(checkpoint, {"schedule": schedule})["history"]["steps"]
        if rate != wanted:  # it is the checkpoint's now
            raise CourseError(f"{checkpoint} is of a run of another number of epochs: finish that one, or delete it.")
        report(f"{checkpoint} holds {before} of {steps} steps: going on from there")
    descent = Descent(
        net,
        lambda x, y: F.cross_entropy(net(x).float(), y, label_smoothing=recipe.smoothing),
        optimizer=optimizer,
        precision=recipe.precision,
    )

    def step(images: Tensor, labels: Tensor) -> Tensor:
        loss = descent(augment(images, recipe.shift).contiguous(memory_format=torch.channels_last), labels)
        schedule.step()
        return loss

    def on_epoch_end(epoch: int, _: object) -> dict[str, float]:
        right = accuracy(net, data.test_images, data.test_labels)
        report(f"epoch {epoch} of {epochs}: {right:.2%} of the test images right")
        return {"test accuracy": right}

    history = fit(
        step,
        (data.images, data.labels),
        epochs=epochs,
        batch_size=recipe.batch_size,
        seed=seed,
        device=where,
        state={"net": net, "optimizer": optimizer, "schedule": schedule},
        checkpoint=checkpoint,
        on_epoch_end=on_epoch_end,
    )
    stored = {key: (x.half() if x.is_floating_point() else x).cpu().contiguous() for key, x in net.state_dict().items()}
    net.load_state_dict(stored)
    content = save(stored)
    card = {
        "net": name,
        "data": data.name,
        "recipe": asdict(recipe),
        "epochs": epochs,
        "seed": seed,
        "parameters": sum(p.numel() for p in net.parameters()),
        "test_accuracy": round(accuracy(net, data.test_images, data.test_labels), 4),
        "sha256": hashlib.sha256(content).hexdigest(),
        "made_with": {
            "torch": torch.__version__,
            "device": where.type,
            "threads": torch.get_num_threads(),
            "minutes": round(history.seconds / 60, 1),
        },
    }
    try:
        with atomic_path(weights) as part:
            part.write_bytes(content)
        with atomic_path(card_file) as part:
            part.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")
    except OSError as error:
        raise CourseError(f"the weights cannot be written: {error}. The run is kept in {checkpoint}.") from error
    checkpoint.unlink()
    return card


def augment(images: Float[Tensor, "n c h w"], shift: int) -> Float[Tensor, "n c h w"]:
    """Each image mirrored or not, and moved by up to ``shift`` pixels either way; edges are continued by reflection."""
    n, c, h, w = images.shape
    device = images.device
    mirrored = torch.rand(n, 1, 1, 1, device=device) < 0.5
    padded = F.pad(torch.where(mirrored, images.flip(3), images), [shift] * 4, mode="reflect")
    rows, columns = torch.randint(0, 2 * shift + 1, (2, n, 1), device=device) + torch.arange(max(h, w), device=device)
    sample = torch.arange(n, device=device)[:, None, None, None]
    channel = torch.arange(c, device=device)[:, None, None]
    return padded[sample, channel, rows[:, None, :h, None], columns[:, None, None, :w]]
