"""The cost of a ReLU rule: `input_gradient` compared with a plain forward and backward pass to the image."""

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from coursekit.interpret import input_gradient
from coursekit.interpret.relu_rules import RULES
from coursekit.nets.recipes import RECIPES

from .harness import Figure, interleave

BATCH, CLASS, TARGET = 32, 3, 1.1
ROUNDS = {"convnetjs": 150, "residual": 20}


def plain(net: nn.Module, images: Tensor) -> Callable[[], object]:
    """The gradient as written without the package."""

    def run() -> Tensor:
        x = images.clone().requires_grad_()
        return torch.autograd.grad(net(x)[:, CLASS].sum(), x)[0]

    return run


def measure() -> Iterator[Figure]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images = torch.rand(BATCH, 3, 32, 32)
    for name, rounds in ROUNDS.items():
        net = RECIPES[name].build().eval()
        contenders = {rule: lambda net=net, rule=rule: input_gradient(net, images, CLASS, rule) for rule in RULES}
        seconds = interleave(contenders | {"plain": plain(net, images)}, rounds, time.process_time)
        for rule in RULES:
            value = min(seconds[rule]) / min(seconds["plain"])  # the work is always the same: disturbances only add
            yield Figure(
                f"{rule}, {name}, {BATCH} images ÷ plain forward and backward pass",
                f"{value:.3f}",
                f"≤ {TARGET}",
                value <= TARGET,
                f"{1e3 * min(seconds[rule]):.1f} and {1e3 * min(seconds['plain']):.1f} ms at best",
            )
