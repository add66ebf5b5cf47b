"""What a recipe is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torch import Tensor, nn

from coursekit.training.history import Losses

Net = TypeVar("Net", bound=nn.Module)
Data = TypeVar("Data")
Step = Callable[..., Losses]


@dataclass(frozen=True)
class Recipe(Generic[Net, Data]):
    """Everything that makes one trained thing: `train` follows it.

    Attributes:
        name: of the recipe, of its file, and of the files with the weights.
        about: what is trained, in a line.
        data: the name of the data set.
        load: brings the data set.
        samples: the tensors of the data that `coursekit.training.fit` cuts into batches.
        build: makes the net; several nets that learn together are parts of one module.
        start: for the net and the number of steps of the run, the training step and, by name, the modules,
            optimizers and schedules that a checkpoint must hold.
        epochs: how often to go through the data.
        batch_size: samples in a step.
        measure: how good the net is, by name, after each epoch and for the card.
        summary: these measures in a line, a format string: ``"{test_accuracy:.2%} of the test images"``.
        settings: for the card, the numbers that the functions above use.
    """

    name: str
    about: str
    data: str
    load: Callable[[], Data]
    samples: Callable[[Data], tuple[Tensor, ...]]
    build: Callable[[], Net]
    start: Callable[[Net, int], tuple[Step, dict[str, Any]]]
    epochs: int
    batch_size: int
    measure: Callable[[Net, Data], dict[str, float]]
    summary: str
    settings: dict[str, Any]
