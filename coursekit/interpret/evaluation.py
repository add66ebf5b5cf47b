"""Do the maps tell the truth? They are compared with the net itself, with known masks, and with random weights."""

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from coursekit.interpret.layers import Target, check_model, forward, scores
from coursekit.interpret.occlusion import filled
from coursekit.validation import require_images, require_integer, require_mask, require_same_shape, require_tensor


class Curve(NamedTuple):
    """The scores of N images while their pixels are replaced, and the fractions of pixels replaced, from 0 to 1.

    ``torch.trapezoid(curve.scores, curve.fractions)`` is the area under each curve.
    """

    fractions: Float[Tensor, " points"]
    scores: Float[Tensor, "n points"]


def deletion_curve(
    model: nn.Module,
    images: Float[Tensor, "n c h w"],
    maps: Float[Tensor, "_ _ _"],
    target: Target,
    steps: int = 50,
    fill: float | Tensor = 0.0,
) -> Curve:
    """The score while pixels are replaced by ``fill``, the most important ones first, in ``steps`` + 1 points.

    The sooner the score falls, the better the map knows which pixels the score depends on. Petsiuk et al. take the
    probability of a class k: pass ``target=lambda output: output.softmax(1)[:, k]``.

    Args:
        maps: (N, H, W), one number for each pixel, the largest for the most important. Equal numbers count from top
            left to bottom right.
        target: a class; classes as an integer tensor (N,), one for each image; or a function from the model's output
            to N numbers.
        steps: how many times pixels are replaced, at most H·W; each time the same number of them, up to rounding.
        fill: a number, a colour (C, 1, 1), an image (C, H, W), or one for each image (N, C, H, W).

    Raises:
        TypeError: images or maps that are not float32 or float64; a target of another type, such as a list.
        ValueError: maps that are not one finite number for each pixel; steps outside 1 … H·W; a fill that does not fit
            the images; a target outside the classes; images that are not a batch (N, C, H, W) of finite numbers that
            the model can take; a model in training mode with dropout or batch normalization.

    Source: V. Petsiuk, A. Das and K. Saenko, RISE: randomized input sampling for explanation of black-box models,
    BMVC 2018.

    >>> image = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> total = lambda output: output.sum(dim=1)
    >>> deletion_curve(nn.Flatten(), image, image[0], total, steps=4).scores
    tensor([[10.,  6.,  3.,  1.,  0.]])
    """
    require_images(images)
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

    Everything else is as in `deletion_curve`. Petsiuk et al. start from the blurred image: pass it as ``fill``.
    """
    require_images(images)
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
    """The score while the pixels of ``before`` are replaced by those of ``after``, in the order of the maps."""
    check_model(model)
    n, _, height, width = before.shape
    pixels = height * width
    require_tensor(maps, "maps", f"{n} {height} {width}")
    steps = require_integer(steps, "steps", low=1, high=pixels)

    # The rank of every pixel: 0 for the most important one. The ranks invert the permutation that sorts the pixels.
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)  # (n, h·w)
    rank = order.argsort(dim=1).reshape(n, 1, height, width)

    # At every point the pixels of the lowest ranks have been replaced.
    counts = [round(pixels * step / steps) for step in range(steps + 1)]
    curve = [scores(model, torch.where(rank < count, after, before), target) for count in counts]  # (n,) each
    return Curve(torch.tensor(counts).to(before) / pixels, torch.stack(curve, dim=1))


def pointing_game(maps: Float[Tensor, "n h w"], masks: Bool[Tensor, "_ _ _"]) -> Float[Tensor, " n"]:
    """1 for each map whose largest value lies on the mask, 0 for the others. The mean is the accuracy.

    If several pixels share the largest value, the result is the fraction of them on the mask, so that a constant map
    scores as a random pixel does: the fraction of the image that the mask covers.

    Raises:
        TypeError: maps that are not float32 or float64; masks that are not boolean.
        ValueError: maps and masks of different shapes; a map with NaN or infinite values.

    Source: J. Zhang et al., Top-down neural attention by excitation backprop, ECCV 2016 (without their tolerance
    of 15 pixels around the mask).

    >>> mask = torch.tensor([[[True, False], [False, False]]])
    >>> pointing_game(torch.tensor([[[0.9, 0.1], [0.2, 0.3]]]), mask)
    tensor([1.])
    >>> pointing_game(torch.ones(1, 2, 2), mask)
    tensor([0.2500])
    """
    require_tensor(maps, "maps", "n h w")
    require_mask(masks, "masks", "n h w")
    require_same_shape(maps, masks, "maps and masks")
    largest = maps == maps.amax(dim=(1, 2), keepdim=True)  # (n, h, w)
    return (largest & masks).sum(dim=(1, 2)).to(maps) / largest.sum(dim=(1, 2))


def intersection_over_union(found: Bool[Tensor, "n h w"], masks: Bool[Tensor, "_ _ _"]) -> Float[Tensor, " n"]:
    """|found ∩ mask| / |found ∪ mask| for each pair: 1 for equal masks, also for empty ones, and 0 for disjoint masks.

    A map over pixels becomes a mask by a threshold, or by `segment`.

    Raises:
        TypeError: masks that are not boolean.
        ValueError: masks of different shapes.

    >>> intersection_over_union(torch.tensor([[[True, True, False]]]), torch.tensor([[[False, True, False]]]))
    tensor([0.5000])
    """
    require_mask(found, "found", "n h w")
    require_mask(masks, "masks", "n h w")
    require_same_shape(found, masks, "found and masks")
    union = (found | masks).sum(dim=(1, 2))
    return torch.where(union > 0, (found & masks).sum(dim=(1, 2)) / union, 1.0)


def cascading_randomization(
    model: nn.Module,
    images: Float[Tensor, "n c h w"],
    explain: Callable[[nn.Module, Tensor], Tensor],
    seed: int = 0,
) -> dict[str, float]:
    """How similar the maps stay to the original ones as the layers are randomized one by one, from the output down.

    In a copy of the model the layers lose what they learned (``reset_parameters``), in the reverse of the order in
    which they run, and after each of them the maps are computed anew. If the maps stay similar, the method that makes
    them ignores what the net has learned.

    Args:
        explain: a function from a model and images to maps (N, ...), such as
            ``lambda model, images: saliency(model, images, labels)``.
        seed: of the new weights. The state of the global generator is kept.

    Returns:
        For each layer with parameters, by its dotted name and in the order of the cascade, the mean over the images of
        the `rank_correlation` with the original map, from −1 to 1.

    Raises:
        TypeError: images or maps that are not float32 or float64.
        ValueError: no layer with parameters, or one that ``reset_parameters`` does not randomize; images that are not
            a batch (N, C, H, W) of finite numbers that the model can take; a model in training mode with dropout or
            batch normalization.

    Source: J. Adebayo et al., Sanity checks for saliency maps, NeurIPS 2018.
    """
    check_model(model)
    require_images(images)
    random = copy.deepcopy(model)
    similarity = {}
    with torch.random.fork_rng({x.device for x in random.parameters() if x.is_cuda}):
        torch.manual_seed(require_integer(seed, "seed"))
        # The maps (n, ...) before any layer is randomized.
        original = require_tensor(explain(random, images), "maps", f"{len(images)} ...")
        for name, layer in reversed(_layers_in_order(random, images)):
            reset = getattr(layer, "reset_parameters", None)
            if not callable(reset):
                raise ValueError(
                    f"{type(layer).__name__} ({name or 'the model itself'}) has parameters of its own, but no method "
                    "reset_parameters() that initializes them anew: add one"
                )
            before = {own: (p, p._version, p.clone()) for own, p in layer.named_parameters(recurse=False)}
            reset()
            kept = [
                f"{name} {own}".strip()
                for own, (p, version, old) in before.items()
                if getattr(layer, own) is p and p._version == version and torch.equal(p, old)
            ]
            if kept:
                raise ValueError(
                    f"{', '.join(kept)}: reset_parameters() leaves it as it was. Is the layer pruned, or are its "
                    "weights normalized? Make it a plain one first: torch.nn.utils.prune.remove, remove_weight_norm"
                )
            similarity[name] = rank_correlation(explain(random, images), original).mean().item()
    return similarity


@torch.no_grad()
def _layers_in_order(model: nn.Module, images: Float[Tensor, "n c h w"]) -> list[tuple[str, nn.Module]]:
    """The modules with parameters of their own, by name, in the order in which they first run."""
    names = {module: name for name, module in model.named_modules() if list(module.parameters(recurse=False))}

    # One forward pass notes every module at its first run.
    order: dict[nn.Module, None] = {}
    handles = [module.register_forward_hook(lambda module, *_: order.setdefault(module)) for module in names]
    forward(model, images[:1])
    for handle in handles:
        handle.remove()
    if not order:
        raise ValueError(f"{type(model).__name__} runs no layer with parameters, so there is nothing to randomize")
    return [(names[module], module) for module in order]


def rank_correlation(a: Float[Tensor, " n *d"], b: Float[Tensor, "..."]) -> Float[Tensor, " n"]:
    """Spearman's ρ of each pair of maps, the correlation of the ranks of their values, from −1 to 1.

    Equal values share the mean of their ranks. A constant map orders nothing, and its correlation is 0.

    Raises:
        TypeError: maps that are not float32 or float64.
        ValueError: different shapes; NaN or infinite values.

    >>> rank_correlation(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[30.0, 20.0, 10.0]]))
    tensor([-1.])
    """
    from scipy.stats import spearmanr

    require_tensor(a, "a", "n d ...")
    require_tensor(b, "b", "n d ...")
    require_same_shape(a, b, "a and b")
    pairs = zip(*(maps.detach().flatten(1).cpu().numpy() for maps in (a, b)), strict=True)  # two maps (d,) each
    rho = [0.0 if (x == x[0]).all() or (y == y[0]).all() else spearmanr(x, y).statistic for x, y in pairs]
    return torch.tensor(rho).to(a)
