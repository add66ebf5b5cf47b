"""Exercises of the lecture on filters and activations."""

from collections.abc import Callable

import torch
from torch import nn

from coursekit.exercises.checking import Exercises, Wrong, against
from coursekit.interpret import receptive_field

SIDE, WEIGHTS = 63, 200  # of the open exercise


def _field_side(kernels: list[int], strides: list[int]) -> int:
    jumps = [1]
    for stride in strides:
        jumps.append(jumps[-1] * stride)
    return 1 + sum((kernel - 1) * jump for kernel, jump in zip(kernels, jumps, strict=False))


def _top_images(maps: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    best = maps.flatten(2).max(dim=2).values.sort(dim=0, descending=True)
    return best.values[:k].T, best.indices[:k].T


def _wide_view(function: Callable[[], nn.Module]) -> str:
    """Work out the receptive field of the student's net, and see whether its output is the size that this implies."""
    model = function()
    if not isinstance(model, nn.Module):
        raise Wrong(f"expected a torch module, got {type(model).__name__}")
    layers = [name for name, module in model.named_modules() if name and not list(module.children())]
    if not layers:
        raise Wrong("the module holds no layers; put the convolutions into `nn.Sequential`")
    try:
        field = receptive_field(model.eval(), layers[-1], (1, 2 * SIDE, 2 * SIDE))
    except ValueError as error:
        raise Wrong(str(error)) from None
    weights = sum(p.numel() for p in model.parameters())
    if field.stride != (1, 1):
        raise Wrong(f"neighbouring units are {field.stride[0]} pixels apart; do without stride and pooling")
    if field.size != (SIDE, SIDE):
        raise Wrong(f"its units see {field.size[0]}×{field.size[1]} pixels, wanted {SIDE}×{SIDE}")
    if weights > WEIGHTS:
        raise Wrong(f"it has {weights} weights, wanted at most {WEIGHTS}: what does dilation cost?")
    return f"its units see {SIDE}×{SIDE} pixels with {weights} weights"


_maps = torch.randn(6, 3, 4, 5, generator=torch.Generator().manual_seed(1))
_maps[2, 0] += 10  # one image with all the largest values of channel 0

exercise = Exercises(
    field_side=against(
        _field_side,
        {
            "one layer": ([7], [1]),
            "two layers without stride": ([3, 3], [1, 1]),
            "AlexNet's first three windows": ([11, 3, 5], [4, 2, 1]),
            "a stride in the last layer": ([5, 2], [1, 2]),
            "eight layers": ([7, 2, 3, 3, 3, 3, 1, 3], [1, 2, 1, 2, 1, 2, 1, 1]),
        },
    ),
    top_images=against(
        _top_images,
        {
            "one image, k = 1": (_maps[:1], 1),
            "an image that holds all the largest values": (_maps, 3),
            "k = all": (_maps, 6),
            "negative activations": (-_maps.abs(), 2),
        },
    ),
    wide_view=_wide_view,
)
