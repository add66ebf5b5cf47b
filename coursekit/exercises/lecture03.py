"""Exercises of lecture 3: rules at a ReLU, occlusion, and a map that points at the object."""

import copy
import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from coursekit import datasets
from coursekit.exercises.checking import Answer, Exercise, Exercises, Wrong, by_cases, require_result
from coursekit.exercises.trained import correctly_classified, trained_classifier
from coursekit.interpret import input_gradient, occlusion, pointing_game
from coursekit.nets import convnet

F_BELOW = torch.tensor([[1.0, -1.0], [2.0, -2.0]])  # the input of a ReLU
R_ABOVE = torch.tensor([[3.0, 4.0], [-5.0, -6.0]])  # the signal that comes down to it
IMAGE = torch.arange(48.0).reshape(3, 4, 4) / 48
WEIGHT = torch.linspace(-1, 1, 48).reshape(3, 4, 4)


def relu_backward(f: Tensor, R: Tensor, rule: str) -> Tensor:
    """What a ReLU with input f (…) passes down of the signal R (…), by rule "gradient", "deconvnet" or "guided"."""
    passes = {"gradient": f > 0, "deconvnet": R > 0, "guided": torch.minimum(f, R) > 0}[rule]
    return torch.where(passes, R, 0)


def occlusion_drops(score: Callable[[Tensor], Tensor], image: Tensor, window: int) -> Tensor:
    """What the score loses when each window of an image is set to 0.

    Args:
        score: (n, c, h, w) → (n,).
        image: (c, h, w), both sides multiples of the window.
        window: the side of the windows, which lie side by side.

    Returns:
        The drops, (h / window, w / window).
    """
    covered = occlusion(nn.Identity(), image[None], score, window, window)[0]
    return score(image[None])[0] - covered


def my_saliency(net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Maps (n, 32, 32) for images (n, 3, 32, 32) and their classes (n,): gradient × input."""
    # The input says which pixels stand out: our shapes are lighter than their background.
    return (input_gradient(net, images, labels) * images).sum(dim=1)


@functools.cache
def _net() -> nn.Module:
    """A net that has learned to name shapes."""
    shapes = datasets.shapes(1500)
    return trained_classifier(
        lambda: convnet(3, 32, 6, widths=(16, 32, 32)), shapes.images, shapes.labels, lr=5e-3, epochs=6
    )


def check_my_saliency(answer: Answer) -> str:
    """The largest value of the answer's maps lies on the shape in at least 85 % of the images."""
    # Images for which the net is right, so that there is a reason to find.
    test = datasets.shapes(200, seed=1)
    right = correctly_classified(_net(), test.images, test.labels, 100)
    images, labels, masks = test.images[right], test.labels[right], test.masks[right]
    maps = answer(copy.deepcopy(_net()), images.clone(), labels.clone())
    maps = require_result(maps, tuple(masks.shape), "one map for each image").float()
    fraction = pointing_game(maps, masks).mean().item()
    if fraction < 0.85:
        raise Wrong(
            f"the largest value lies on the shape in {fraction:.0%} of the images; wanted at least 85 %. Where a "
            "single pixel jumps, neighbours or the image itself may help"
        )
    return "it points at the shape itself in at least 85 % of the images"


exercise = Exercises(
    by_cases(relu_backward, {rule: (F_BELOW, R_ABOVE, rule) for rule in ("gradient", "deconvnet", "guided")}),
    by_cases(
        occlusion_drops,
        {
            "a linear score": (lambda x: (x * WEIGHT).sum(dim=(1, 2, 3)), IMAGE, 2),
            "a score that is not linear": (lambda x: x.square().amax(dim=(1, 2, 3)), IMAGE, 2),
            "a window over everything": (lambda x: x.sum(dim=(1, 2, 3)), IMAGE, 4),
        },
    ),
    Exercise(my_saliency, check_my_saliency),
)
