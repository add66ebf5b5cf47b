"""Small nets that the checks of open exercises train: always the same, from a seed of their own."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coursekit.training import Descent, fit


def trained_classifier(
    build: Callable[[], nn.Module], images: Tensor, labels: Tensor, *, lr: float, epochs: int
) -> nn.Module:
    """A net of ``build`` that has learned the ``labels`` (n,) of ``images`` (n, c, h, w), in evaluation mode.

    A lecture keeps its net with ``functools.cache``, and hands a copy to the student's function, which may change it.
    """
    with torch.random.fork_rng():  # the student's random numbers stay as they are
        torch.manual_seed(0)
        net = build()
    step = Descent(net, lambda x, y: F.cross_entropy(net(x), y), lr=lr)
    fit(step, (images, labels), epochs=epochs, batch_size=64, device="cpu", progress=False)
    return net


def correctly_classified(net: nn.Module, images: Tensor, labels: Tensor, count: int) -> Tensor:
    """The indices of the first ``count`` images (n, c, h, w) that the net gives their label (n,)."""
    with torch.no_grad():
        return (net(images).argmax(dim=1) == labels).nonzero()[:count, 0]
