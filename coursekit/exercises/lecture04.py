"""Exercises of the lecture on generating and fooling."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from coursekit import datasets
from coursekit.exercises.checking import Exercises, Wrong, against, check_shape
from coursekit.nets import convnet
from coursekit.training import Descent, fit


def _ascent_step(x: torch.Tensor, slope: torch.Tensor, lr: float, penalty: float) -> torch.Tensor:
    return x + lr * (slope - 2 * penalty * x)


def _least_change(x: torch.Tensor, w: torch.Tensor, b: float, margin: float) -> torch.Tensor:
    log_odds = x @ w + b
    return torch.outer((-margin * log_odds.sign() - log_odds) / (w @ w), w)


def _my_attack(function: Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]) -> str:
    """Attack digits that a small net reads correctly; their distance to other digits is the yardstick."""
    data = datasets.digits()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = convnet(1, 8, 10, widths=(16,))
    step = Descent(net, lambda x, y: F.cross_entropy(net(x), y), lr=1e-2)
    fit(step, (data.train.images, data.train.labels), epochs=5, batch_size=64, device="cpu", progress=False)
    right = data.test[net(data.test.images).argmax(dim=1) == data.test.labels][:50]
    images, labels = right.images, right.labels

    attacked = function(net, images.clone(), labels.clone())
    check_shape(attacked, images.shape, "pictures of")
    attacked = attacked.detach()
    low, high = attacked.min().item(), attacked.max().item()
    if not (low >= 0 and high <= 1):
        raise Wrong(f"pixels must stay in [0, 1]; these go from {low:.3g} to {high:.3g}")
    if kept := int((net(attacked).argmax(dim=1) == labels).sum()):
        raise Wrong(f"the net still reads {kept} of the {len(images)} digits correctly")
    distances = torch.cdist(images.flatten(1), data.train.images.flatten(1))
    nearest = distances.masked_fill(data.train.labels == labels[:, None], torch.inf).amin(dim=1)
    share = ((attacked - images).flatten(1).norm(dim=1) / nearest).mean().item()
    if share > 0.4:
        raise Wrong(
            f"every answer changed, by {share:.0%} of the way to the nearest digit with another label; wanted at most "
            "40 %. Many small steps, each with a new gradient, stop earlier than one big one"
        )
    return "every answer changed, by at most 40 % of the way to the nearest digit with another label"


_x = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0], [2.0, 2.0, -1.0]])
_w = torch.tensor([2.0, -1.0, 0.5])

exercise = Exercises(
    ascent_step=against(
        _ascent_step,
        {
            "no penalty": (_x, torch.ones(3, 3), 0.5, 0.0),
            "no slope": (_x, torch.zeros(3, 3), 0.5, 0.1),
            "both": (_x, _x.flip(0), 0.2, 0.7),
        },
    ),
    least_change=against(
        _least_change,
        {
            "positive log odds": (_x[:1], _w, 0.5, 0.0),
            "both signs": (_x, _w, 0.5, 0.0),
            "a margin": (_x, _w, -0.5, 0.3),
        },
    ),
    my_attack=_my_attack,
)
