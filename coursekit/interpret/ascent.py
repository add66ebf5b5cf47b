"""Pictures that a class or a unit likes best, by gradient ascent in the image; and the regularizers that tame them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from tqdm import tqdm

from coursekit.interpret.gradients import value_and_gradient
from coursekit.interpret.layers import Target, check_model, layer_output, scores, unit_value
from coursekit.validation import require_images

Regularizer = Callable[[Tensor, Tensor, int], Tensor]  # (images, gradient, step) -> images


@dataclass(frozen=True)
class Unit:
    """One unit of a layer as an objective: the channel at ``position`` (row, column), or its mean over all places."""

    layer: str
    channel: int
    position: tuple[int, int] | None = None


@dataclass(frozen=True)
class Ascent:
    """Where the ascent arrived, and how it went."""

    images: Float[Tensor, "n c h w"]
    history: Float[Tensor, "points n"]  # S(X) − λ‖X‖² of the start, and after each step


def activation_maximization(
    model: nn.Module,
    objective: int | Int[Tensor, " n"] | Unit | Callable[[Tensor], Tensor],
    start: Float[Tensor, "n c h w"],
    *,
    steps: int = 200,
    lr: float = 1.0,
    penalty: float = 0.0,
    between: Sequence[Regularizer] = (),
) -> Ascent:
    """Climb S(X) − λ‖X‖² from the images ``start``, all of them at once, each towards its own maximum.

    A step is X ← X + lr (∂S/∂X − 2λX): the penalty has a gradient too (erratum E04). The pixels of X are free to leave
    [0, 1]. Sources: Simonyan, Vedaldi & Zisserman, ICLR workshop 2014; for units, with regularizers between the
    steps, Yosinski et al., ICML workshop 2015.

    Args:
        objective: S, the number per image to make large: a class's score; each image's own class's, (N,); a `Unit`; or
            a function from the model's output to N numbers.
        penalty: λ ≥ 0.
        between: what is done to the images after every step, in this order: `decay`, `blur`, `clip_small_norm`,
            `clip_small_contribution`, or any function (images, gradient, step) -> images.

    Raises:
        ValueError: steps < 1, lr ≤ 0 or λ < 0; the values ran away to infinity; and as `input_gradient`.
    """
    check_model(model)
    require_images(start, "start")
    if steps < 1 or lr <= 0 or penalty < 0:
        raise ValueError(f"expected steps ≥ 1, lr > 0 and penalty ≥ 0, got {steps=}, {lr=}, {penalty=}")

    x = start.detach()
    history: list[Tensor] = []
    for step in tqdm(range(steps + 1), "ascent", delay=2, leave=False, disable=None):
        score, gradient = value_and_gradient(x, partial(_score, model, objective))
        history.append(score - penalty * x.square().sum(dim=(1, 2, 3)))
        if not (history[-1].isfinite().all() and gradient.isfinite().all()):
            limit = f" and below 1/penalty = {1 / penalty:.3g}" if penalty else ""
            raise ValueError(f"the ascent ran away to infinity by step {step}: take lr below {lr:g}{limit}")
        if step < steps:
            x = x + lr * (gradient - 2 * penalty * x)
            for regularize in between:
                x = regularize(x, gradient, step)
    return Ascent(x, torch.stack(history))


def decay(share: float) -> Regularizer:
    """X ← (1 − θ)X: extreme pixel values are kept from growing. With a step lr it acts as the penalty λ ≈ θ/2lr."""
    _check_share(share)
    return lambda x, gradient, step: (1 - share) * x


def blur(sigma: float, every: int = 1) -> Regularizer:
    """Every k-th step X is blurred by a Gaussian of standard deviation ``sigma`` pixels: high frequencies die out."""
    if sigma <= 0 or every < 1:
        raise ValueError(f"expected sigma > 0 and every ≥ 1, got {sigma=}, {every=}")
    return lambda x, gradient, step: gaussian_blur(x, sigma) if step % every == every - 1 else x


def clip_small_norm(share: float) -> Regularizer:
    """The given share of the pixels, those of smallest norm over the colours, is set to 0."""
    _check_share(share)
    return lambda x, gradient, step: _clip_lowest(x, x.norm(dim=1), share)


def clip_small_contribution(share: float) -> Regularizer:
    """The given share of the pixels, those whose removal would change S least, is set to 0.

    To first order, setting pixel (i, j) to 0 changes S by |Σ_c X_cij ∂S/∂X_cij|.
    """
    _check_share(share)
    return lambda x, gradient, step: _clip_lowest(x, (x * gradient).sum(dim=1).abs(), share)


def gaussian_blur(images: Float[Tensor, "n c h w"], sigma: float) -> Float[Tensor, "n c h w"]:
    """Every channel convolved with a Gaussian of standard deviation ``sigma`` pixels; the edge pixels are continued."""
    radius = int(3 * sigma) + 1
    offsets = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    kernel = torch.softmax(-offsets.square() / (2 * sigma**2), dim=0)  # (2 radius + 1), sums to 1
    channels = images.shape[1]
    padded = F.pad(images, [radius] * 4, mode="replicate")
    rows = F.conv2d(padded, kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    return F.conv2d(rows, kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)


def _score(model: nn.Module, objective: Target | Unit, images: Tensor) -> Float[Tensor, " n"]:
    """S for every image."""
    if isinstance(objective, Unit):
        output = layer_output(model, images, objective.layer)
        return unit_value(output, objective.layer, objective.channel, objective.position)
    return scores(model, images, objective)


def _clip_lowest(x: Float[Tensor, "n c h w"], weight: Float[Tensor, "n h w"], share: float) -> Tensor:
    count = int(share * weight[0].numel())
    lowest = weight.flatten(1).argsort(dim=1)[:, :count]  # (n, count)
    kept = torch.ones_like(weight.flatten(1)).scatter(1, lowest, 0)
    return x * kept.view_as(weight)[:, None]


def _check_share(share: float) -> None:
    if not 0 <= share < 1:
        raise ValueError(f"expected a share of the pixels or of their value, 0 ≤ share < 1, got {share}")
