"""Exercises of lecture 1: receptive fields, and the images of the largest activations."""

import torch
from torch import Tensor, nn

from coursekit.exercises.checking import Answer, Exercise, Exercises, Wrong, by_cases, require_module
from coursekit.interpret import receptive_field

SIDE, WEIGHTS = 63, 200  # pixels that a unit must see, parameters that the net may have

MAPS = torch.randn(6, 3, 4, 5, generator=torch.Generator().manual_seed(1))  # (n, c, h, w)
MAPS[2, 0] += 10  # one image holds all the largest values of channel 0


def field_side(kernels: list[int], strides: list[int]) -> int:
    """The side of the receptive field of the last layer, in pixels.

    A step of one unit in layer l is a step of s₁ ⋯ sₗ₋₁ pixels (the jump), and each layer adds (kₗ − 1) jumps.
    """
    jumps = [1]
    for stride in strides:
        jumps.append(jumps[-1] * stride)
    return 1 + sum((kernel - 1) * jump for kernel, jump in zip(kernels, jumps, strict=False))


def top_images(maps: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """maps (n, c, h, w) → each channel's k largest values (c, k), largest first, and their images (c, k)."""
    best = maps.flatten(2).max(dim=2).values.sort(dim=0, descending=True)  # (n, c): one value from each image
    return best.values[:k].T, best.indices[:k].T


def wide_view() -> nn.Module:
    """A net from (n, 1, h, w) to (n, 1, i, j) whose units see 63×63 pixels, with 200 weights at most."""
    return nn.Sequential(*(nn.Conv2d(1, 1, 3, dilation=2**i, bias=False) for i in range(5)))


def check_wide_view(answer: Answer) -> str:
    """The units of the answer's last layer see 63×63 pixels, one pixel apart, with few weights."""
    model = require_module(answer())
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


exercise = Exercises(
    by_cases(
        field_side,
        {
            "one layer": ([7], [1]),
            "two layers without stride": ([3, 3], [1, 1]),
            "AlexNet's first three windows": ([11, 3, 5], [4, 2, 1]),
            "a stride in the last layer": ([5, 2], [1, 2]),
            "eight layers": ([7, 2, 3, 3, 3, 3, 1, 3], [1, 2, 1, 2, 1, 2, 1, 1]),
        },
    ),
    by_cases(
        top_images,
        {
            "one image, k = 1": (MAPS[:1], 1),
            "an image that holds all the largest values": (MAPS, 3),
            "k = all": (MAPS, 6),
            "negative activations": (-MAPS.abs(), 2),
        },
    ),
    Exercise(wide_view, check_wide_view),
)
