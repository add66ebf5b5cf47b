"""Gradients with respect to the image: of a class score, of a unit, of a channel; and saliency."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from coursekit.interpret.layers import (
    Position,
    Target,
    check_images,
    check_model,
    find_layer,
    forward,
    layer_output,
    scores,
    unit_value,
)
from coursekit.interpret.relu_rules import relu_rule


def input_gradient(
    model: nn.Module, images: Float[Tensor, "n c h w"], target: Target, rule: str = "gradient"
) -> Float[Tensor, "n c h w"]:
    """∂S/∂X for every image: how the score S before the softmax answers to a change of each pixel.

    Args:
        target: a class; classes (N,), one for each image; or a function from the model's output to N numbers.
        rule: what ReLUs do to the gradient, "gradient", "deconvnet" or "guided": see `relu_rule`.

    Raises:
        ValueError: a target outside the classes; an unknown rule, or one other than "gradient" for a net without ReLU;
            images that are not a finite batch (N, C, H, W) that the model can take; a model in training mode with
            dropout or batch normalization; a score that does not depend on the images.
    """
    return _checked_gradient(model, images, lambda x: scores(forward(model, x), target), rule)


def unit_gradient(
    model: nn.Module,
    images: Float[Tensor, "n c h w"],
    layer: str,
    channel: int,
    position: Position | None = None,
    rule: str = "gradient",
) -> Float[Tensor, "n c h w"]:
    """∂h/∂X for one unit h of a layer, or for the mean of a channel's units (Yosinski et al., ICML workshop 2015).

    With the rule "deconvnet" it is Zeiler and Fergus' projection of the unit into the image.

    Args:
        position: (row, column) of the unit in the channel's map; (N, 2), one for each image; None for the mean of the
            map. A layer with outputs (N, units) has no positions, and ``channel`` counts its units.

    Raises:
        ValueError: as `input_gradient`; no such layer; a channel or a position outside the layer's output.
    """
    find_layer(model, layer)

    def unit(x: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        return unit_value(layer_output(model, x, layer), layer, channel, position)

    return _checked_gradient(model, images, unit, rule)


def saliency(model: nn.Module, images: Float[Tensor, "n c h w"], target: Target) -> Float[Tensor, "n h w"]:
    """M_ij = max over channels c of |∂S/∂X_cij| (Simonyan, Vedaldi & Zisserman, ICLR workshop 2014).

    Raises:
        ValueError: as `input_gradient`.
    """
    return input_gradient(model, images, target).abs().amax(dim=1)


def value_and_gradient(
    images: Float[Tensor, "n c h w"], value: Callable[[Tensor], Tensor], rule: str = "gradient"
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n c h w"]]:
    """One number per image, and its gradient; the images of a batch do not touch one another."""
    with torch.enable_grad(), relu_rule(rule):
        x = images.detach().requires_grad_()
        found = value(x.clone())  # a copy, for the case that the model's first layer works in place
        total = found.sum()
        gradient = torch.autograd.grad(total, x, allow_unused=True)[0] if total.requires_grad else None
        if gradient is None:
            raise ValueError("no gradient reaches the images: the model or the target cuts the graph (detach, no_grad)")
    return found.detach(), gradient


def _checked_gradient(model: nn.Module, images: Tensor, value: Callable[[Tensor], Tensor], rule: str) -> Tensor:
    check_model(model)
    check_images(images)
    return value_and_gradient(images, value, rule)[1]
