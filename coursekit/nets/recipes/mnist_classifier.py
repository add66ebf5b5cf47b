"""A small convolutional net that reads the digits of MNIST; it judges what generators draw."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coursekit import datasets
from coursekit.datasets import ImageDataset
from coursekit.nets.convolutional import convnet
from coursekit.nets.recipes.classification import measure
from coursekit.nets.recipes.recipe import Recipe, Step
from coursekit.training import Descent
from coursekit.training.history import Losses

WIDTHS = (16, 32)
KERNEL = 5
LEARNING_RATE = 2e-3


def build() -> nn.Sequential:
    """The net before training."""
    return convnet(1, 28, 10, widths=WIDTHS, kernel=KERNEL)


def start(net: nn.Module, steps: int) -> tuple[Step, dict[str, Any]]:
    """Adam on the cross-entropy; its rate falls to 0 in a straight line."""
    optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(net(images), labels)

    descent = Descent(net, loss, optimizer=optimizer, precision="float32")

    def step(images: Tensor, labels: Tensor) -> Losses:
        losses = descent(images, labels)
        schedule.step()
        return losses

    return step, {"net": net, "optimizer": optimizer, "schedule": schedule}


RECIPE = Recipe[nn.Sequential, ImageDataset](
    name="mnist_classifier",
    about="a convolutional net that reads digits, 28 938 parameters",
    data="mnist",
    load=datasets.mnist,
    samples=lambda data: (data.train.images, data.train.labels),
    build=build,
    start=start,
    epochs=8,
    batch_size=64,
    measure=measure,
    summary="{test_accuracy:.2%} of the test images correctly classified",
    settings={"widths": WIDTHS, "kernel": KERNEL, "learning_rate": LEARNING_RATE},
)
