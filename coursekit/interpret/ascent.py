"""Activation maximization: images that excite a class or a unit most, by gradient ascent, with regularizers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from tqdm import tqdm

from coursekit.interpret.gradients import value_and_gradient
from coursekit.interpret.layers import check_model, layer_output, scores, unit_value
from coursekit.validation import require_function, require_images, require_integer, require_number, require_tensor

Regularizer = Callable[[Tensor, Tensor, int], Tensor]  # (images, gradient, step) -> images


@dataclass(frozen=True)
class Unit:
    """A unit as an objective: one channel of a layer at ``position`` (row, column), or its mean over all positions."""

    layer: str
    channel: int
    position: tuple[int, int] | None = None


Objective = int | Int[Tensor, "_"] | Unit | Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Ascent:
    """The result of `activation_maximization`.

    Attributes:
        images: after the last step.
        history: S(X) − λ‖X‖² of each image, at the start and after each step.
    """

    images: Float[Tensor, "n c h w"]
    history: Float[Tensor, "points n"]


def activation_maximization(
    model: nn.Module,
    objective: Objective,
    start: Float[Tensor, "n c h w"],
    *,
    steps: int = 200,
    lr: float = 1.0,
    penalty: float = 0.0,
    regularizers: Sequence[Regularizer] = (),
) -> Ascent:
    """Maximize S(X) − λ‖X‖² by gradient ascent from the images ``start``, each image on its own.

    A step is X ← X + lr (∂S/∂X − 2λX): the penalty has a gradient too (erratum E04). The pixels may leave [0, 1].

    Args:
        model: in evaluation mode, if it has dropout or batch normalization.
        objective: S, one number for each image: the score of a class; of one class for each image, (N,); the value of
            a `Unit`; or a function from the model's output to N numbers.
        start: the initial images.
        steps: of the ascent.
        lr: the learning rate.
        penalty: λ ≥ 0.
        regularizers: applied to the images after every step, in this order: `decay`, `blur`, `clip_small_norm`,
            `clip_small_contribution`, or any function (images, gradient, step) -> images.

    Raises:
        TypeError: start is not a tensor of float32 or float64; a number is expected and something else given.
        ValueError: a number is out of range; the images diverge; start is not a batch of finite images that the model
            accepts; there is no such class, layer or unit; the model is in training mode with dropout or batch
            normalization; the objective does not depend on the images.

    Sources: Simonyan, Vedaldi & Zisserman, ICLR workshop 2014; units, and regularizers between the steps: Yosinski et
    al., ICML workshop 2015.
    """
    check_model(model)
    require_images(start, "start")
    steps = require_integer(steps, "steps", low=1)
    lr = require_number(lr, "lr", above=0)
    penalty = require_number(penalty, "penalty", low=0)

    x = start.detach()  # (n, c, h, w)
    history: list[Tensor] = []
    for step in tqdm(range(steps + 1), "ascent", delay=2, leave=False, disable=None):
        # The value and the gradient of S; after the last step they serve the history only.
        score, gradient = value_and_gradient(x, partial(_score, model, objective))  # (n,), (n, c, h, w)
        history.append(score - penalty * x.square().sum(dim=(1, 2, 3)))
        if not (history[-1].isfinite().all() and gradient.isfinite().all()):
            limit = f" and below 1/penalty = {1 / penalty:.3g}" if penalty else ""
            raise ValueError(f"lr: the images diverge by step {step}; take lr below {lr:g}{limit}")

        # An ascent step, then the regularizers.
        if step < steps:
            x = x + lr * (gradient - 2 * penalty * x)
            for regularize in regularizers:
                x = require_function(regularize, "regularizers")(x, gradient, step)
    return Ascent(x, torch.stack(history))


def decay(fraction: float) -> Regularizer:
    """Shrink the image, X ← (1 − θ)X, to prevent extreme pixel values.

    With learning rate lr this acts like the penalty λ ≈ θ/2lr.

    >>> shrink = decay(0.5)
    >>> shrink(torch.tensor([[[[2.0, -1.0]]]]), torch.zeros(1, 1, 1, 2), 0)
    tensor([[[[ 1.0000, -0.5000]]]])

    Raises:
        ValueError: the fraction θ is not in [0, 1).
    """
    fraction = require_number(fraction, "fraction", low=0, below=1)
    return lambda x, gradient, step: (1 - fraction) * x


def blur(sigma: float, every: int = 1) -> Regularizer:
    """Blur the image with a Gaussian of standard deviation ``sigma`` pixels, every so many steps.

    This damps high frequencies.

    Raises:
        ValueError: sigma ≤ 0 or every < 1.
    """
    sigma = require_number(sigma, "sigma", above=0)
    every = require_integer(every, "every", low=1)
    return lambda x, gradient, step: gaussian_blur(x, sigma) if step % every == every - 1 else x


def clip_small_norm(fraction: float) -> Regularizer:
    """Set the given fraction of the pixels to 0: those with the smallest norm over the colours.

    Raises:
        ValueError: the fraction is not in [0, 1).
    """
    fraction = require_number(fraction, "fraction", low=0, below=1)
    return lambda x, gradient, step: _clip_lowest(x, x.norm(dim=1), fraction)


def clip_small_contribution(fraction: float) -> Regularizer:
    """Set the given fraction of the pixels to 0: those that contribute least to S.

    To first order, setting pixel (i, j) to 0 changes S by |Σ_c X_cij ∂S/∂X_cij|.

    Raises:
        ValueError: the fraction is not in [0, 1).
    """
    fraction = require_number(fraction, "fraction", low=0, below=1)
    return lambda x, gradient, step: _clip_lowest(x, (x * gradient).sum(dim=1).abs(), fraction)


def gaussian_blur(images: Float[Tensor, "n c h w"], sigma: float) -> Float[Tensor, "n c h w"]:
    """Convolve every channel with a Gaussian of standard deviation ``sigma`` pixels, truncated at 3σ.

    Beyond its edges the image continues with its edge pixels.

    Raises:
        TypeError: images is not a tensor of float32 or float64.
        ValueError: images is not a batch (N, C, H, W); sigma ≤ 0.
    """
    require_tensor(images, "images", "n c h w", finite=False)  # NaN stays NaN, and the ascent reports divergence
    sigma = require_number(sigma, "sigma", above=0)
    radius = int(3 * sigma) + 1
    offsets = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    kernel = torch.softmax(-offsets.square() / (2 * sigma**2), dim=0)  # (2 radius + 1,), sums to 1

    # The Gaussian is separable: convolve the rows, then the columns.
    channels = images.shape[1]
    padded = F.pad(images, [radius] * 4, mode="replicate")  # (n, c, h + 2 radius, w + 2 radius)
    rows = F.conv2d(padded, kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    return F.conv2d(rows, kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)  # (n, c, h, w)


def _score(model: nn.Module, objective: Objective, images: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
    """S for every image."""
    if isinstance(objective, Unit):
        output = layer_output(model, images, objective.layer)
        return unit_value(output, objective.layer, objective.channel, objective.position)
    return scores(model, images, objective)


def _clip_lowest(
    x: Float[Tensor, "n c h w"], weight: Float[Tensor, "n h w"], fraction: float
) -> Float[Tensor, "n c h w"]:
    """Set the pixels of lowest weight to 0."""
    count = int(fraction * weight[0].numel())
    lowest = weight.flatten(1).argsort(dim=1)[:, :count]  # (n, count)
    kept = torch.ones_like(weight.flatten(1)).scatter(1, lowest, 0)  # (n, hw)
    return x * kept.view_as(weight)[:, None]
