"""Gradients of class scores, units and channels with respect to the image, and saliency maps."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from coursekit.interpret.layers import (
    Position,
    Target,
    check_model,
    find_layer,
    layer_output,
    scores,
    unit_value,
)
from coursekit.interpret.relu_rules import Rule, relu_rule
from coursekit.validation import require_images


def input_gradient(
    model: nn.Module, images: Float[Tensor, "n c h w"], target: Target, rule: Rule = "gradient"
) -> Float[Tensor, "n c h w"]:
    """∂S/∂X for every image X: how the score S before the softmax responds to a change of each pixel.

    Args:
        target: a class; classes as an integer tensor (N,), one for each image; or a function from the model's output
            to N numbers.
        rule: the backward rule of the ReLUs, see `relu_rule`.

    Raises:
        TypeError: images that are not float32 or float64; a target of another type, such as a list.
        ValueError: a target outside the classes; an unknown rule, or one other than "gradient" for a net without ReLU;
            images that are not a batch (N, C, H, W) of finite numbers that the model can take; a model in training
            mode with dropout or batch normalization; a score that does not depend on the images.

    >>> w = torch.tensor([1.0, -2.0, 3.0, 0.0])
    >>> input_gradient(nn.Flatten(), torch.zeros(1, 1, 2, 2), lambda output: output @ w)
    tensor([[[[ 1., -2.],
              [ 3.,  0.]]]])
    """
    check_model(model)
    require_images(images)
    return value_and_gradient(images, lambda x: scores(model, x, target), rule)[1]


def unit_gradient(
    model: nn.Module,
    images: Float[Tensor, "n c h w"],
    layer: str,
    channel: int,
    position: Position | None = None,
    rule: Rule = "gradient",
) -> Float[Tensor, "n c h w"]:
    """∂h/∂X for one unit h of a layer, or for the mean h of a channel's map.

    With the rule "deconvnet" it is Zeiler and Fergus' projection of the unit onto the image.

    Args:
        layer: the layer's dotted name.
        channel: in a layer with outputs (N, units) the number of the unit.
        position: (row, column) of the unit in the channel's map; an integer tensor (N, 2), one for each image; or None
            for the mean of the map. In a layer with outputs (N, units) only None.

    Raises:
        ValueError: an unknown layer; a channel or a position outside the layer's output; otherwise as
            `input_gradient`.

    Source: J. Yosinski et al., Understanding neural networks through deep visualization, ICML workshop 2015.
    """
    check_model(model)
    require_images(images)
    find_layer(model, layer)

    def unit(x: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        return unit_value(layer_output(model, x, layer), layer, channel, position)

    return value_and_gradient(images, unit, rule)[1]


def saliency(model: nn.Module, images: Float[Tensor, "n c h w"], target: Target) -> Float[Tensor, "n h w"]:
    """M_ij = max over channels c of |∂S/∂X_cij|.

    Args:
        target: as for `input_gradient`.

    Raises:
        TypeError, ValueError: as `input_gradient`.

    Source: K. Simonyan, A. Vedaldi and A. Zisserman, Deep inside convolutional networks, ICLR workshop 2014.
    """
    return input_gradient(model, images, target).abs().amax(dim=1)


def value_and_gradient(
    images: Float[Tensor, "n c h w"], value: Callable[[Tensor], Tensor], rule: Rule = "gradient"
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n c h w"]]:
    """One number for each image, and its gradient with respect to that image.

    Args:
        value: a function from images (N, C, H, W) to numbers (N,), each of which depends on its own image only.

    Raises:
        ValueError: values that do not depend on the images.
    """
    with torch.enable_grad(), relu_rule(rule):
        x = images.detach().requires_grad_()
        values = value(x.clone())  # (n,); a clone, because the first layer may work in place

        # Each value depends on its own image only, so the gradient of the sum holds the gradient of each.
        total = values.sum()
        gradient = torch.autograd.grad(total, x, allow_unused=True)[0] if total.requires_grad else None
        if gradient is None:
            raise ValueError("no gradient reaches the images: the model or the target cuts the graph (detach, no_grad)")
    return values.detach(), gradient
