"""How the course's classifiers of CIFAR-10 are trained: stochastic gradient descent with Nesterov momentum 0.9."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from coursekit import datasets
from coursekit.datasets import ImageDataset
from coursekit.nets.recipes.recipe import Recipe, Step
from coursekit.nets.weights import accuracy
from coursekit.training import Descent
from coursekit.training.history import Losses
from coursekit.validation import require_integer


@dataclass(frozen=True)
class Settings:
    """The numbers of a recipe for a classifier.

    Attributes:
        schedule: pairs (epoch, learning rate) from 0 to the last epoch; the rate is linear between them.
        weight_decay: of all parameters.
        smoothing: of the labels.
        shift: pixels by which a training image is moved at most, in each direction; half of the images are mirrored.
        batch_size: images in a step.
        precision: that of `coursekit.training.Descent`.
    """

    schedule: tuple[tuple[float, float], ...]
    weight_decay: float = 0.0
    smoothing: float = 0.0
    shift: int = 4
    batch_size: int = 128
    precision: Literal["auto", "float32", "bf16"] = "float32"


def cifar10_classifier(
    name: str, about: str, build: Callable[[], nn.Module], settings: Settings
) -> Recipe[nn.Module, ImageDataset]:
    """The recipe of a net that gives ten scores for an image of CIFAR-10."""
    return Recipe(
        name=name,
        about=about,
        data="cifar10",
        load=datasets.cifar10,
        samples=lambda data: (data.train.images, data.train.labels),
        build=build,
        start=lambda net, steps: start(net, steps, settings),
        epochs=int(settings.schedule[-1][0]),
        batch_size=settings.batch_size,
        measure=measure,
        summary="{test_accuracy:.2%} of the test images correctly classified",
        settings=asdict(settings),
    )


def start(net: nn.Module, steps: int, settings: Settings) -> tuple[Step, dict[str, Any]]:
    """The step for a run of ``steps`` steps, to which the schedule is stretched, and what a checkpoint must hold."""
    optimizer = torch.optim.SGD(
        net.parameters(), lr=1.0, momentum=0.9, nesterov=True, weight_decay=settings.weight_decay
    )
    epochs, rates = zip(*settings.schedule, strict=True)
    knots = [steps * epoch / epochs[-1] for epoch in epochs]
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: float(np.interp(step, knots, rates)))

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(net(images).float(), labels, label_smoothing=settings.smoothing)

    descent = Descent(net, loss, optimizer=optimizer, precision=settings.precision)

    def step(images: Tensor, labels: Tensor) -> Losses:
        augmented = augment(images, settings.shift).contiguous(memory_format=torch.channels_last)
        losses = descent(augmented, labels)
        schedule.step()
        return losses

    return step, {"net": net, "optimizer": optimizer, "schedule": schedule}


def measure(net: nn.Module, data: ImageDataset) -> dict[str, float]:
    """The fraction of the test images that the net classifies correctly."""
    return {"test_accuracy": accuracy(net, data.test.images, data.test.labels)}


def augment(images: Float[Tensor, "n c h w"], shift: int) -> Float[Tensor, "n c h w"]:
    """Mirror each image or not, and move it by up to ``shift`` pixels in each direction; edges are reflected."""
    n, c, h, w = images.shape
    shift = require_integer(shift, "shift", low=0, high=min(h, w) - 1)
    device = images.device
    mirrored = torch.rand(n, 1, 1, 1, device=device) < 0.5
    padded = F.pad(torch.where(mirrored, images.flip(3), images), [shift] * 4, mode="reflect")
    # Every image is cut out of its padded copy at a place of its own.
    corner = torch.randint(0, 2 * shift + 1, (2, n, 1), device=device)
    rows, columns = corner + torch.arange(max(h, w), device=device)  # (n, max(h, w)) each
    sample = torch.arange(n, device=device)[:, None, None, None]
    channel = torch.arange(c, device=device)[:, None, None]
    return padded[sample, channel, rows[:, None, :h, None], columns[:, None, None, :w]]
