"""Pictures that fool a net: the least change after which it gives another answer.

`szegedy_attack` searches for it in any net, with `minimize_in_box`, an L-BFGS for many images at once; `linear_attack`
has it in closed form for logistic regression.
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
from coursekit.interpret.layers import check_model, forward, scores
from coursekit.validation import require_images


@dataclass(frozen=True)
class Attack:
    """Images in [0, 1] that should get another answer. Where ``success`` is False they do not: the last attempt."""

    images: Float[Tensor, " n *d"]  # in [0, 1]
    perturbation: Float[Tensor, " n *d"]  # r = images − originals
    success: Bool[Tensor, " n"]
    c: Float[Tensor, " n"]  # the price of ‖r‖ at which r was found; NaN without success, ∞ where r = 0 is enough

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
    """The least change r after which the model takes each image for its target, all images at once.

    For a price c,  min over r of  c‖r‖₂ + loss(x + r, y*)  subject to x + r ∈ [0, 1]^m, with the cross entropy as loss.
    The dearer the change, the smaller it is, until r no longer reaches the target: each image's largest c that still
    does is found by doubling or halving and then bisection, of log c. Source: Szegedy et al., ICLR 2014. (They write
    "the minimum c"; but a lower c only makes r larger.)

    An image that the model takes for its target already is left as it is. Nothing is certain for a net, whose loss is
    not convex: r is the least that was found.

    Args:
        targets: the class y* to be answered: one for all images, or one for each.
        rounds: how many prices are tried for an image, at most.
        steps: trials of L-BFGS for each price, at most.

    Raises:
        ValueError: images that are not a finite batch (N, C, H, W) in [0, 1] that the model can take; a target outside
            the classes; a model in training mode with dropout or batch normalization; rounds or steps < 1.
    """
    if rounds < 1 or steps < 1:
        raise ValueError(f"expected rounds ≥ 1 and steps ≥ 1, got {rounds=}, {steps=}")
    x, targets = _checked(model, images, targets)
    best = x.clone()  # the least change that reached its target, else the last attempt
    least = torch.where(_answers(model, x, targets), 0, x.new_tensor(torch.inf))  # its norm
    best_c = torch.where(least == 0, torch.inf, x.new_tensor(torch.nan))
    # For a linear model with two classes, where no bound is met, this first price is the answer.
    c = _norms(input_gradient(model, x, lambda output: _log_odds(output, targets))) / 2
    reached, missed = torch.zeros_like(c), torch.full_like(c, torch.inf)  # the dearest c that did, the cheapest not
    for _ in tqdm(range(rounds), "attack", delay=2, leave=False, disable=None):
        rows = ((least > 0) & (missed > 1.01 * reached)).nonzero()[:, 0]  # those still searched for
        if not len(rows):
            break
        z = _minimize(model, x[rows], targets[rows], c[rows], best[rows], steps)
        norm = _norms(z - x[rows])
        won = _answers(model, z, targets[rows])
        better = torch.where(won, norm < least[rows], least[rows].isinf())
        best[rows[better]] = z[better]
        better &= won
        least[rows[better]], best_c[rows[better]] = norm[better], c[rows[better]]
        reached[rows[won]], missed[rows[~won]] = c[rows[won]], c[rows[~won]]
        c = torch.where(missed.isinf(), 2 * c, torch.where(reached == 0, c / 2, (reached * missed).sqrt()))
    return Attack(best, best - x, least.isfinite(), best_c)


def attack_at_price(
    model: nn.Module,
    images: Float[Tensor, "n c h w"],
    targets: int | Int[Tensor, " n"],
    c: float,
    *,
    steps: int = 100,
) -> Float[Tensor, "n c h w"]:
    """x + r for the r that minimizes c‖r‖₂ + loss(x + r, y*) subject to x + r ∈ [0, 1]^m: the problem for one price c.

    For logistic regression where no bound is met, w·(x + r) + b = log(‖w‖/c − 1) in favour of the target: the answer
    changes if c < ‖w‖/2.

    Raises:
        ValueError: c < 0 or steps < 1; and as `szegedy_attack`.
    """
    if c < 0 or steps < 1:
        raise ValueError(f"expected a price c ≥ 0 and steps ≥ 1, got {c=}, {steps=}")
    x, targets = _checked(model, images, targets)
    return _minimize(model, x, targets, torch.full_like(x[:, 0, 0, 0], c), x, steps)


def linear_attack(
    weight: Float[Tensor, " *d"], bias: float, images: Float[Tensor, " n *d"], *, margin: float = 0.0
) -> Attack:
    """The least change of each image that takes logistic regression, P(y = 1 | x) = σ(w·x + b), to the other answer.

    Without bounds r = −(w·x + b) w/‖w‖², of norm |w·x + b|/‖w‖. With them the solution of the quadratic programme

        min ‖r‖₂²  subject to  s (w·(x + r) + b) ≥ margin,  x + r ∈ [0, 1]^m,   s = −sign(w·x + b),

    is x + r = clamp(x + t s w, 0, 1), by its Karush-Kuhn-Tucker conditions, with the least t ≥ 0 that meets the margin.
    The left side grows with t, so bisection finds it. The r found also solves `szegedy_attack`'s problem, for the price
    c = σ(−margin) ‖r‖/t; without bounds and at margin 0 that is ‖w‖/2.

    Args:
        weight: w, of an image's shape.
        margin: how far beyond the boundary, in log odds; 0 ends on it.

    Raises:
        ValueError: no images, NaN, pixels outside [0, 1]; a weight of another shape than the images', NaN or zero;
            margin < 0.
    """
    if weight.shape != images.shape[1:] or not weight.any() or not weight.isfinite().all() or margin < 0:
        raise ValueError(
            f"expected a finite weight of the images' shape {tuple(images.shape[1:])}, not all zero, and margin ≥ 0; "
            f"got shape {tuple(weight.shape)}, norm {weight.norm():.3g}, margin {margin}"
        )
    _check_pixels(images)
    x, w = images.flatten(1), weight.to(images).flatten()
    away = torch.where(x @ w + bias > 0, -1.0, 1.0).to(x)[:, None]  # s, (n, 1)

    def moved(t: Float[Tensor, "n 1"]) -> Float[Tensor, "n d"]:
        return (x + t * away * w).clamp(0, 1)

    def enough(t: Float[Tensor, "n 1"]) -> Bool[Tensor, "n 1"]:
        return away * ((moved(t) @ w)[:, None] + bias) >= margin

    smallest = w[w != 0].abs().min().clamp_min(torch.finfo(w.dtype).tiny).item()
    low, high = torch.zeros_like(away), torch.full_like(away, 1 / smallest)  # there all that counts is at a bound
    success = enough(high)[:, 0]
    while ((low < (t := (low + high) / 2)) & (t < high)).any():
        reached = enough(t)
        low, high = torch.where(reached, low, t), torch.where(reached, t, high)
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

    def priced(z: Float[Tensor, "m d"], rows: Int[Tensor, " m"]) -> tuple[Float[Tensor, " m"], Float[Tensor, "m d"]]:
        loss, slope = value_and_gradient(
            z.view(-1, *x.shape[1:]),
            lambda point: F.cross_entropy(forward(model, point), targets[rows], reduction="none"),  # (m,)
        )
        slope, here = slope.flatten(1), x[rows].flatten(1)  # (m, d) each
        r = z - here
        norm, price = r.norm(dim=1, keepdim=True), c[rows, None]  # (m, 1)
        # The norm has a kink at r = 0. There the gradient is the shortest subgradient: the steepest way down inside the
        # box, and 0 where ‖∇loss‖ ≤ c, since no change is then worth its price.
        inside = slope * free_coordinates(here, slope)
        at_kink = inside * (1 - price / inside.norm(dim=1, keepdim=True)).clamp_min(0).nan_to_num()
        gradient = torch.where(norm > 0, slope + price / norm * r, at_kink)
        return loss + c[rows] * norm[:, 0], gradient

    return minimize_in_box(priced, start.flatten(1), steps).view_as(x)


def _answers(model: nn.Module, z: Float[Tensor, "n c h w"], targets: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
    """Whether the target has the highest score, by a lead that rounding in another batch cannot take away."""
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


def _checked(model: nn.Module, images: Tensor, targets: int | Tensor) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W) and their targets (N,), or what is wrong with them."""
    check_model(model)
    require_images(images)
    _check_pixels(images)
    with torch.no_grad():
        scores(model, images, targets)
    return images.detach(), torch.as_tensor(targets, device=images.device).expand(len(images)).long()


def _check_pixels(images: Tensor) -> None:
    if not images.numel() or not images.is_floating_point():
        raise ValueError(f"expected floating-point images, got shape {tuple(images.shape)} of {images.dtype}")
    low, high = images.min().item(), images.max().item()
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"the attack stays in [0, 1], where images must lie, but these go from {low:.3g} to {high:.3g}"
        )
