"""Exercises of the lecture on what made a net decide."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from coursekit import datasets
from coursekit.exercises.checking import Exercises, Wrong, against, check_shape
from coursekit.interpret import occlusion, pointing_game
from coursekit.nets import convnet
from coursekit.training import Descent, fit


def _relu_backward(f: torch.Tensor, r: torch.Tensor, rule: str) -> torch.Tensor:
    passes = {"gradient": f > 0, "deconvnet": r > 0, "guided": torch.minimum(f, r) > 0}[rule]
    return torch.where(passes, r, 0)


def _occlusion_drops(score: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor, window: int) -> torch.Tensor:
    covered = occlusion(nn.Identity(), image[None], score, window, window)[0]
    return score(image[None])[0] - covered


def _my_saliency(function: Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]) -> str:
    """Maps for shapes that a small net names rightly; what they point at is compared with the masks."""
    lesson, test = datasets.shapes(1500), datasets.shapes(200, seed=1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = convnet(3, 32, 6, widths=(16, 32, 32))
    step = Descent(net, lambda x, y: F.cross_entropy(net(x), y), lr=5e-3)
    fit(step, (lesson.images, lesson.labels), epochs=6, batch_size=64, device="cpu", progress=False)
    right = test[net(test.images).argmax(dim=1) == test.labels][:100]

    maps = function(net, right.images.clone(), right.labels.clone())
    check_shape(maps, right.masks.shape, "one map for each picture,")
    if not maps.isfinite().all():
        raise Wrong("the maps hold NaN or infinite values")
    share = pointing_game(maps.detach(), right.masks).mean().item()
    if share < 0.85:
        raise Wrong(
            f"the largest value lies on the shape in {share:.0%} of the pictures; wanted at least 85 %. Where a single "
            "pixel jumps, neighbours or the picture itself may help"
        )
    return "it points at the shape itself in at least 85 % of the pictures"


_f = torch.tensor([[1.0, -1.0], [2.0, -2.0]])
_r = torch.tensor([[3.0, 4.0], [-5.0, -6.0]])
_image = torch.arange(48.0).reshape(3, 4, 4) / 48
_weight = torch.linspace(-1, 1, 48).reshape(3, 4, 4)

exercise = Exercises(
    relu_backward=against(_relu_backward, {rule: (_f, _r, rule) for rule in ("gradient", "deconvnet", "guided")}),
    occlusion_drops=against(
        _occlusion_drops,
        {
            "a linear score": (lambda x: (x * _weight).sum(dim=(1, 2, 3)), _image, 2),
            "a score that is not linear": (lambda x: x.square().amax(dim=(1, 2, 3)), _image, 2),
            "a window over everything": (lambda x: x.sum(dim=(1, 2, 3)), _image, 4),
        },
    ),
    my_saliency=_my_saliency,
)
