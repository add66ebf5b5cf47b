"""Adversarial images: the smallest change of an image after which a net gives another answer.

`szegedy_attack` searches for it in any net, with `minimize_in_box`. For logistic regression `linear_attack` computes
it exactly.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from tqdm import tqdm

from coursekit.interpret.box_lbfgs import free_coordinates, minimize_in_box
from coursekit.interpret.gradients import input_gradient, value_and_gradient
from coursekit.interpret.layers import check_model, forward
from coursekit.validation import (
    require_images,
    require_integer,
    require_labels,
    require_number,
    require_tensor,
    require_unit_range,
)


@dataclass(frozen=True)
class Attack:
    """The result of an attack on n images.

    Attributes:
        images: the attacked images, with all pixels in [0, 1].
        perturbation: r = images − originals.
        success: whether the answer is the wanted one. Where it is False, ``images`` holds the last attempt.
        c: the price of ‖r‖ at which r was found; NaN without success, ∞ where r = 0 is enough.
    """

    images: Float[Tensor, " n *d"]
    perturbation: Float[Tensor, " n *d"]
    success: Bool[Tensor, " n"]
    c: Float[Tensor, " n"]

    @property
    def norms(self) -> Float[Tensor, " n"]:
        """‖r‖₂ of every image."""
        return _norms(self.perturbation)


def szegedy_attack(
    model: nn.Module,
    images: Float[Tensor, "n c h w"],
    targets: int | Int[Tensor, " n"],
    *,
    rounds: int = 12,
    steps: int = 30,
) -> Attack:
    """Find the smallest change r after which the model answers with each image's target, for all images at once.

    For a price c, solve  min over r of  c‖r‖₂ + loss(x + r, y*)  subject to x + r ∈ [0, 1]^m,  where the loss is the
    cross entropy. A larger c makes r smaller, until x + r no longer reaches the target. The search therefore looks for
    each image's largest c that still does: it doubles or halves c, then bisects log c. (The paper says "the minimum c",
    but a smaller c only makes r larger.)

    An image that the model already assigns to its target stays as it is. The loss of a net is not convex, so the r
    found need not be the smallest that exists.

    Args:
        model: in evaluation mode, if it has dropout or batch normalization; gives scores (n, classes).
        images: originals, with pixels in [0, 1].
        targets: the wanted answer y*: one class for all images, or one for each.
        rounds: the most prices to try for an image.
        steps: the most trials of L-BFGS for a price.

    Raises:
        TypeError: images is not a tensor of float32 or float64; targets, rounds or steps are not integers.
        ValueError: images is not a batch of finite images in [0, 1] that the model accepts; a target is not a class;
            the model is in training mode with dropout or batch normalization; rounds or steps < 1.

    Source: Szegedy et al., ICLR 2014.
    """
    x, targets = _require_images_and_targets(model, images, targets)
    rounds = require_integer(rounds, "rounds", low=1)
    steps = require_integer(steps, "steps", low=1)

    # The best image so far: the smallest change that reached the target, else the last attempt.
    best = x.clone()  # (n, c, h, w)
    best_norm = torch.where(_answers(model, x, targets), 0, x.new_tensor(torch.inf))  # (n,), ∞ without success
    best_c = torch.where(best_norm == 0, torch.inf, x.new_tensor(torch.nan))  # (n,)

    # The bracket of c: the largest that reached the target, and the smallest that missed it. The first c is the answer
    # for a linear model with two classes, if no bound is active.
    c = _norms(input_gradient(model, x, lambda output: _log_odds(output, targets))) / 2  # (n,)
    reached, missed = torch.zeros_like(c), torch.full_like(c, torch.inf)
    for _ in tqdm(range(rounds), "attack", delay=2, leave=False, disable=None):
        # Search on for images that need a change, until their bracket is within 1 %.
        rows = ((best_norm > 0) & (missed > 1.01 * reached)).nonzero()[:, 0]  # (m,)
        if not len(rows):
            break
        z = _minimize(model, x[rows], targets[rows], c[rows], best[rows], steps)  # (m, c, h, w)
        norm, success = _norms(z - x[rows]), _answers(model, z, targets[rows])  # (m,) each

        # Keep a smaller successful change, or any attempt while none has succeeded.
        better = torch.where(success, norm < best_norm[rows], best_norm[rows].isinf())
        best[rows[better]] = z[better]
        better &= success
        best_norm[rows[better]], best_c[rows[better]] = norm[better], c[rows[better]]

        # Narrow the bracket: double or halve c while one end is open, then take the geometric mean.
        reached[rows[success]], missed[rows[~success]] = c[rows[success]], c[rows[~success]]
        c = torch.where(missed.isinf(), 2 * c, torch.where(reached == 0, c / 2, (reached * missed).sqrt()))
    return Attack(best, best - x, best_norm.isfinite(), best_c)


def attack_at_price(
    model: nn.Module,
    images: Float[Tensor, "n c h w"],
    targets: int | Int[Tensor, " n"],
    c: float,
    *,
    steps: int = 100,
) -> Float[Tensor, "n c h w"]:
    """Find x + r for the r that minimizes c‖r‖₂ + loss(x + r, y*) subject to x + r ∈ [0, 1]^m, for one price c.

    For logistic regression, where no bound is active, w·(x + r) + b = log(‖w‖/c − 1) in favour of the target: the
    answer changes if c < ‖w‖/2.

    Args:
        model, images, targets: as for `szegedy_attack`.
        c: the price, ≥ 0.
        steps: the most trials of L-BFGS.

    Raises:
        TypeError, ValueError: as `szegedy_attack`; c is negative or not finite.
    """
    x, targets = _require_images_and_targets(model, images, targets)
    c = require_number(c, "c", low=0)
    steps = require_integer(steps, "steps", low=1)
    return _minimize(model, x, targets, torch.full_like(x[:, 0, 0, 0], c), x, steps)


def linear_attack(
    weight: Float[Tensor, " *d"], bias: float, images: Float[Tensor, " n *d"], *, margin: float = 0.0
) -> Attack:
    """Find the smallest change of each image after which logistic regression gives the other answer.

    The model is P(y = 1 | x) = σ(w·x + b). Without bounds r = −(w·x + b) w/‖w‖², of norm |w·x + b|/‖w‖. With bounds, r
    solves the quadratic programme

        min ‖r‖₂²  subject to  s (w·(x + r) + b) ≥ margin,  x + r ∈ [0, 1]^m,   s = −sign(w·x + b).

    By its Karush-Kuhn-Tucker conditions, x + r = clamp(x + t s w, 0, 1) for the smallest t ≥ 0 that meets the margin.
    The left side grows with t, so bisection finds t. This r also solves the problem of `szegedy_attack` for the price
    c = σ(−margin) ‖r‖/t; without bounds and with margin 0, that is ‖w‖/2.

    Args:
        weight: w, of the shape of one image.
        bias: b.
        images: originals (n, …), with pixels in [0, 1].
        margin: the log odds to reach beyond the boundary, ≥ 0; with 0 the attack ends on the boundary.

    Raises:
        TypeError: weight or images is not a tensor of float32 or float64; bias or margin is not a number.
        ValueError: a pixel is outside [0, 1]; there is no image; weight has another shape than an image, is all zeros,
            or holds NaN or infinity; bias is not finite; margin is negative or not finite.

    Both pixels move along w, to the boundary x₁ + x₂ = 1:

    >>> linear_attack(torch.ones(2), -1.0, torch.tensor([[0.75, 0.5]])).images
    tensor([[0.6250, 0.3750]])

    A pixel stops at its bound, and the other moves on alone:

    >>> linear_attack(torch.ones(2), -1.0, torch.tensor([[0.0, 0.5]]), margin=0.75).images
    tensor([[0.7500, 1.0000]])
    """
    require_unit_range(require_tensor(images, "images", "n d ..."), "images")
    require_tensor(weight, "weight", " ".join(map(str, images.shape[1:])))
    if not weight.any():
        raise ValueError("weight: expected a number other than 0")
    bias = require_number(bias, "bias")
    margin = require_number(margin, "margin", low=0)

    x, w = images.flatten(1), weight.to(images).flatten()  # (n, d), (d,)
    s = torch.where(x @ w + bias > 0, -1.0, 1.0).to(x)[:, None]  # (n, 1), the sign of the other answer

    def moved(t: Float[Tensor, "n 1"]) -> Float[Tensor, "n d"]:
        return (x + t * s * w).clamp(0, 1)

    def meets_margin(t: Float[Tensor, "n 1"]) -> Bool[Tensor, "n 1"]:
        return s * ((moved(t) @ w)[:, None] + bias) >= margin

    # At the upper end every pixel with a weight is at a bound: what is not reached there cannot be reached.
    smallest = w[w != 0].abs().min().clamp_min(torch.finfo(w.dtype).tiny).item()
    low, high = torch.zeros_like(s), torch.full_like(s, 1 / smallest)  # (n, 1) each
    success = meets_margin(high)[:, 0]

    # Bisect until no number is left between the two ends.
    while ((low < (t := (low + high) / 2)) & (t < high)).any():
        met = meets_margin(t)
        low, high = torch.where(met, low, t), torch.where(met, t, high)

    attacked = moved(high)
    r = attacked - x
    c = _norms(r) / high[:, 0] / (1 + math.exp(margin))
    return Attack(attacked.view_as(images), r.view_as(images), success, torch.where(success, c, torch.nan))


def _minimize(
    model: nn.Module,
    x: Float[Tensor, "n c h w"],
    targets: Int[Tensor, " n"],
    c: Float[Tensor, " n"],
    start: Float[Tensor, "n c h w"],
    steps: int,
) -> Float[Tensor, "n c h w"]:
    """z = x + r that minimizes c‖r‖ + loss(z, y*) in the box, from ``start``."""

    def objective(z: Float[Tensor, "m d"], rows: Int[Tensor, " m"]) -> tuple[Float[Tensor, " m"], Float[Tensor, "m d"]]:
        loss, gradient = value_and_gradient(
            z.view(-1, *x.shape[1:]),
            lambda images: F.cross_entropy(forward(model, images), targets[rows], reduction="none"),  # (m,)
        )
        gradient, original, price = gradient.flatten(1), x[rows].flatten(1), c[rows, None]  # (m, d) twice, (m, 1)
        r = z - original
        norm = r.norm(dim=1, keepdim=True)  # (m, 1)

        # The norm has a kink at r = 0, where every vector of length ≤ 1 is a subgradient. The shortest subgradient of
        # the sum inside the box gives the steepest descent. It is 0 if ‖∇loss‖ ≤ c: no change is worth its price.
        inside = gradient * free_coordinates(original, gradient)
        at_kink = inside * (1 - price / inside.norm(dim=1, keepdim=True)).clamp_min(0).nan_to_num()
        total = torch.where(norm > 0, gradient + price / norm * r, at_kink)
        return loss + c[rows] * norm[:, 0], total

    return minimize_in_box(objective, start.flatten(1), steps).view_as(x)


def _answers(model: nn.Module, z: Float[Tensor, "n c h w"], targets: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """Whether the target has the highest score, by more than rounding could change in a batch of another size."""
    with torch.no_grad():
        output = forward(model, z)
    lead = output.gather(1, targets[:, None])[:, 0] - _others(output, targets).amax(dim=1)
    return lead > torch.finfo(z.dtype).eps ** 0.5 * output.abs().amax(dim=1)


def _log_odds(output: Float[Tensor, "n k"], targets: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """log p/(1 − p) for the probability p of each target."""
    return output.gather(1, targets[:, None])[:, 0] - _others(output, targets).logsumexp(dim=1)


def _others(output: Float[Tensor, "n k"], targets: Int[Tensor, " n"]) -> Float[Tensor, "n k"]:
    """The scores, with −∞ in place of the target's."""
    return output.scatter(1, targets[:, None], -torch.inf)


def _norms(r: Float[Tensor, " n *d"]) -> Float[Tensor, " n"]:
    return r.flatten(1).norm(dim=1)


def _require_images_and_targets(
    model: nn.Module, images: Tensor, targets: int | Tensor
) -> tuple[Float[Tensor, "n c h w"], Int[Tensor, " n"]]:
    """Images in [0, 1] that the model accepts, and one class for each."""
    check_model(model)
    n = len(require_images(images, unit_range=True))
    with torch.no_grad():
        output = require_tensor(forward(model, images), "the model's output", f"{n} classes")
    classes = output.shape[1]
    if classes < 2:
        raise ValueError("the model's output: expected scores of at least two classes, got one")
    if isinstance(targets, Tensor) and targets.ndim:
        require_labels(targets, "targets", count=n, classes=classes)
    else:
        targets = require_integer(targets, "targets", low=0, high=classes - 1)
    return images.detach(), torch.as_tensor(targets, device=images.device).expand(n).long()
