"""The simple RNN that predicts the next character of Python source, trained on the standard library."""

from typing import Any

import torch
from torch import Tensor

from coursekit import datasets
from coursekit.datasets import TextDataset
from coursekit.datasets.text import PRINTABLE
from coursekit.nets.recipes.recipe import Recipe, Step
from coursekit.recurrent.char_model import CharModel
from coursekit.training import Descent
from coursekit.training.history import Losses

HIDDEN = 256
WINDOW = 65  # characters: 64 predictions
LEARNING_RATE = 3e-3
WARM_UP = 50  # steps
CLIP = 1.0


def build() -> CharModel:
    """The model before training."""
    return CharModel(PRINTABLE, HIDDEN, "RNN")


def start(model: CharModel, steps: int) -> tuple[Step, dict[str, Any]]:
    """Adam with clipped gradients; its rate rises for a few steps and then falls to 0 in a straight line."""
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / WARM_UP, max(1 - step / steps, 0.0))
    )
    descent = Descent(model, model.loss, optimizer=optimizer, clip=CLIP, precision="float32")

    def step(batch: Tensor) -> Losses:
        losses = descent(batch)
        schedule.step()
        return losses

    return step, {"model": model, "optimizer": optimizer, "schedule": schedule}


def measure(model: CharModel, data: TextDataset) -> dict[str, float]:
    """Nats per character on the validation text."""
    return {"validation_loss": model.cross_entropy(data.validation, streams=50)}


RECIPE = Recipe[CharModel, TextDataset](
    name="char_rnn",
    about="a simple RNN with 256 hidden units that predicts Python source",
    data="stdlib_text",
    load=datasets.stdlib_text,
    samples=lambda data: (build().windows(data.train, WINDOW),),
    build=build,
    start=start,
    epochs=20,
    batch_size=32,
    measure=measure,
    summary="{validation_loss:.3f} nats per character of unseen modules",
    settings={"hidden": HIDDEN, "window": WINDOW, "learning_rate": LEARNING_RATE, "warm_up": WARM_UP, "clip": CLIP},
)
