"""Do the maps tell the truth? Maps over pixels against the net itself, against known masks, against random weights."""

import copy
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from coursekit.interpret.layers import Target, check_images, check_model, forward, scores
from coursekit.interpret.occlusion import filled

Curve = tuple[Float[Tensor, " points"], Float[Tensor, "n points"]]


def deletion_curve(
    model: nn.Module,
    images: Float[Tensor, "n c h w"],
    maps: Float[Tensor, "_ _ _"],
    target: Target,
    steps: int = 50,
    fill: float | Tensor = 0.0,
) -> Curve:
    """The score while pixels are replaced by ``fill``, those first that the map holds for the most important.

    The sooner the score falls, the better the map knows what it rests on. Returns the fractions of pixels replaced,
    (steps + 1,), from 0 to 1, and the scores (N, steps + 1); ``torch.trapezoid(scores, fractions)`` is the area under
    the curve. Equal values of the map go from top left to bottom right. Petsiuk et al. take the softmax's
    probability: pass ``target=lambda output: output.softmax(1)[:, k]``.

    Args:
        maps: one number for each pixel, the largest for the most important.
        target: a class; classes (N,), one for each image; or a function from the model's output to N numbers.
        steps: how many times pixels are replaced, at most H·W; each time the same share, up to rounding.
        fill: a number, a colour (C, 1, 1), a picture (C, H, W), or one for each image (N, C, H, W).

    Raises:
        ValueError: maps that are not one finite number for each pixel; steps outside 1 … H·W; a fill that does not fit;
            a target outside the classes; images that are not a finite batch (N, C, H, W) that the model can take; a
            model in training mode with dropout or batch normalization.

    Source: V. Petsiuk, A. Das and K. Saenko, RISE: randomized input sampling for explanation of black-box models,
    BMVC 2018.
    """
    check_images(images)
    return _replacement_curve(model, images, filled(fill, images), maps, target, steps)


def insertion_curve(
    model: nn.Module,
    images: Float[Tensor, "n c h w"],
    maps: Float[Tensor, "_ _ _"],
    target: Target,
    steps: int = 50,
    fill: float | Tensor = 0.0,
) -> Curve:
    """The score while the image appears on ``fill``, its most important pixels first: the sooner it rises, the better.

    Everything else is as for `deletion_curve`. Petsiuk et al. start from the blurred image: pass it as ``fill``.
    """
    check_images(images)
    return _replacement_curve(model, filled(fill, images), images, maps, target, steps)


@torch.no_grad()
def _replacement_curve(
    model: nn.Module,
    before: Float[Tensor, "n c h w"],
    after: Float[Tensor, "n c h w"],
    maps: Float[Tensor, "_ _ _"],
    target: Target,
    steps: int,
) -> Curve:
    """The score on the way from the images ``before`` to those ``after``, the largest values of the maps first."""
    check_model(model)
    n, _, height, width = before.shape
    if maps.shape != (n, height, width):
        raise ValueError(f"expected one map for each image, shape {(n, height, width)}, got {tuple(maps.shape)}")
    if not maps.isfinite().all():
        raise ValueError("the maps hold NaN or infinite values, which give no order of the pixels")
    pixels = height * width
    if not 1 <= steps <= pixels:
        raise ValueError(f"expected steps from 1 to the number of pixels, {pixels}, got {steps}")
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)
    rank = order.argsort(dim=1).reshape(n, 1, height, width)  # 0 for the most important pixel
    counts = [round(pixels * step / steps) for step in range(steps + 1)]
    curve = [scores(forward(model, torch.where(rank < count, after, before)), target) for count in counts]
    return torch.tensor(counts).to(before) / pixels, torch.stack(curve, dim=1)


def pointing_game(maps: Float[Tensor, "n h w"], masks: Bool[Tensor, "_ _ _"]) -> Float[Tensor, " n"]:
    """1 for each map whose largest value lies on the mask, 0 for the others; the mean is the accuracy.

    Where several pixels are the largest, the share of them that lies on the mask: a map without any preference wins as
    often as a random pixel. Chance is the mask's share of the image.

    Raises:
        ValueError: maps and masks of different shapes, or a map with NaN.

    Source: J. Zhang et al., Top-down neural attention by excitation backprop, ECCV 2016 (without their tolerance
    of 15 pixels around the mask).
    """
    _check_same_shape(maps, masks)
    if maps.isnan().any():
        raise ValueError("the maps hold NaN, which has no largest value")
    largest = maps == maps.amax(dim=(1, 2), keepdim=True)
    return (largest & masks).sum(dim=(1, 2)).to(maps) / largest.sum(dim=(1, 2))


def intersection_over_union(found: Bool[Tensor, "n h w"], masks: Bool[Tensor, "_ _ _"]) -> Float[Tensor, " n"]:
    """|found ∩ mask| / |found ∪ mask| for each pair: 1 if they are equal (also if both are empty), 0 if disjoint.

    A map over pixels is cut at a threshold first, or given to `segment`.

    Raises:
        ValueError: different shapes.
    """
    _check_same_shape(found, masks)
    union = (found | masks).sum(dim=(1, 2))
    return torch.where(union > 0, (found & masks).sum(dim=(1, 2)) / union, 1.0)


def cascading_randomization(
    model: nn.Module,
    images: Float[Tensor, "n c h w"],
    explain: Callable[[nn.Module, Tensor], Tensor],
    seed: int = 0,
) -> dict[str, float]:
    """How like the original maps are those of nets with ever fewer trained layers, from the output down to the input.

    The layers lose what they learned one after the other (``reset_parameters`` on a copy of the model), in the reverse
    of the order in which they run. After each, the maps are made anew. A method whose maps stay alike does not look at
    what the net has learned.

    Args:
        explain: a function from a model and images to maps (N, ...), such as
            ``lambda model, images: saliency(model, images, labels)``.
        seed: of the new weights; the global generator is left alone.

    Returns:
        For each layer with parameters, by its dotted name and in the order of the cascade, the mean over the images of
        the `rank_correlation` with the original map, in −1 … 1.

    Raises:
        ValueError: no layer with parameters, or one without ``reset_parameters``; images that are not a finite batch
            (N, C, H, W) that the model can take; a model in training mode with dropout or batch normalization.

    Source: J. Adebayo et al., Sanity checks for saliency maps, NeurIPS 2018.
    """
    check_model(model)
    check_images(images)
    random = copy.deepcopy(model)
    devices = {x.device for x in random.parameters() if x.is_cuda}
    similarity = {}
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        original = explain(random, images)
        for name, layer in reversed(_layers_in_order(random, images)):
            if not hasattr(layer, "reset_parameters"):
                raise ValueError(
                    f"{type(layer).__name__} ({name or 'the model itself'}) has parameters of its own, but no method "
                    "reset_parameters() that would initialize them anew: add one"
                )
            layer.reset_parameters()
            similarity[name] = rank_correlation(explain(random, images), original).mean().item()
    return similarity


@torch.no_grad()
def _layers_in_order(model: nn.Module, images: Float[Tensor, "n c h w"]) -> list[tuple[str, nn.Module]]:
    """The modules with parameters of their own, by name, in the order in which they first run."""
    order: dict[nn.Module, None] = {}
    names = {module: name for name, module in model.named_modules() if list(module.parameters(recurse=False))}
    handles = [module.register_forward_hook(lambda module, *_: order.setdefault(module)) for module in names]
    forward(model, images[:1])
    for handle in handles:
        handle.remove()
    if not order:
        raise ValueError(f"{type(model).__name__} runs no layer with parameters, so there is nothing to randomize")
    return [(names[module], module) for module in order]


@torch.no_grad()
def rank_correlation(a: Float[Tensor, " n *d"], b: Float[Tensor, "..."]) -> Float[Tensor, " n"]:
    """Spearman's ρ of each pair of maps: the correlation of the ranks of their values, in −1 … 1.

    Equal values share the mean of their ranks. A constant map has no order, and its correlation is 0.

    Raises:
        ValueError: different shapes, or NaN.
    """
    _check_same_shape(a, b)
    if a.isnan().any() or b.isnan().any():
        raise ValueError("the maps hold NaN, which has no rank")
    ranks = []
    for values in (a.flatten(1), b.flatten(1)):
        in_order = values.sort(dim=1).values
        smaller, not_larger = (torch.searchsorted(in_order, values, right=right) for right in (False, True))
        rank = (smaller + not_larger).double()  # twice the mean rank, up to a constant
        ranks.append(rank - rank.mean(dim=1, keepdim=True))
    length = (ranks[0].norm(dim=1) * ranks[1].norm(dim=1)).clamp_min(1e-300)
    return ((ranks[0] * ranks[1]).sum(dim=1) / length).to(a.dtype)


def _check_same_shape(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape:
        raise ValueError(f"expected two batches of the same shape, got {tuple(a.shape)} and {tuple(b.shape)}")
