"""What a net loses when a part of its image is covered (Zeiler and Fergus, ECCV 2014)."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from coursekit.interpret.layers import (
    Target,
    channel_of,
    check_images,
    check_model,
    find_layer,
    forward,
    layer_output,
    scores,
)

Extent = int | tuple[int, int]


def occlusion(
    model: nn.Module,
    images: Float[Tensor, "n c h w"],
    target: Target,
    window: Extent,
    stride: Extent,
    fill: float | Tensor = 0.0,
    batch_size: int = 32,
) -> Float[Tensor, "n rows cols"]:
    """The score of an image while a window covers a part of it, for every place of the window.

    The window's top left corner moves in steps of ``stride`` from (0, 0). Where the last step would leave the image,
    the window ends with the image instead, so that every window is whole and every pixel is covered at least once:
    ``rows`` = ⌈(H − window)/stride⌉ + 1, and ``cols`` likewise. `spread_over_pixels` makes a map of it.

    Args:
        target: a class; classes (N,), one for each image; or a function from the model's output to its scores.
        window: height and width in pixels, or one number for both.
        stride: steps down and to the right, or one number for both; at most ``window``.
        fill: what the window shows: a number, a colour (C, 1, 1), or a picture (C, H, W).
        batch_size: how many covered images the model gets at once. Memory grows with it.

    Raises:
        ValueError: a window larger than the image; a stride that is 0 or skips pixels; a fill that does not fit an
            image; a target outside the classes; images that are not a finite batch (N, C, H, W) that the model can
            take; a model in training mode with dropout or batch normalization.

    Source: M. D. Zeiler and R. Fergus, Visualizing and understanding convolutional networks, ECCV 2014.
    """

    def score(covered: Tensor, which: Tensor) -> Tensor:
        own = target.to(which.device)[which] if isinstance(target, Tensor) and target.ndim else target
        return scores(forward(model, covered), own)

    if isinstance(target, Tensor) and target.ndim and target.shape != images.shape[:1]:
        raise ValueError(f"expected one class per image, shape ({len(images)},), got {tuple(target.shape)}")
    return _sweep(model, images, score, window, stride, fill, batch_size)


def occluded_activation(
    model: nn.Module,
    images: Float[Tensor, "n c h w"],
    layer: str,
    channel: int,
    window: Extent,
    stride: Extent,
    fill: float | Tensor = 0.0,
    batch_size: int = 32,
) -> Float[Tensor, "n rows cols"]:
    """The sum of one feature map while a window covers a part of the image, for every place of the window.

    Zeiler and Fergus show it for the strongest map of the last convolution. ``window``, ``stride``, ``fill`` and the
    result are those of `occlusion`; ``layer`` is a dotted name, and ``channel`` counts its maps.

    Raises:
        ValueError: no such layer or channel; otherwise as `occlusion`.
    """
    find_layer(model, layer)

    def strength(covered: Tensor, _which: Tensor) -> Tensor:
        maps = channel_of(layer_output(model, covered, layer), layer, channel)  # (batch, ...)
        return maps.reshape(len(maps), -1).sum(dim=1)

    return _sweep(model, images, strength, window, stride, fill, batch_size)


def spread_over_pixels(
    values: Float[Tensor, "n rows cols"], image_size: tuple[int, int], window: Extent, stride: Extent
) -> Float[Tensor, "n h w"]:
    """A map over pixels from one over windows: each pixel gets the mean of the windows that cover it.

    With the drop f(x) − occlusion(…) as ``values`` it is the map of what the score owes to each place. For a linear
    score wᵀx and a window of one pixel that is w·x.

    Raises:
        ValueError: ``values`` do not have as many rows and columns as the window has places.
    """
    tops, lefts, window = _places(image_size, window, stride)
    if values.shape[1:] != (len(tops), len(lefts)):
        raise ValueError(
            f"a window of {_by(window)} has {_by((len(tops), len(lefts)))} places in an image of {_by(image_size)}, "
            f"but values have shape {tuple(values.shape)}"
        )
    down, across = (
        torch.stack([(i >= start) & (i < start + extent) for start in starts], dim=1).to(values)  # (pixels, places)
        for i, starts, extent in zip(map(torch.arange, image_size), (tops, lefts), window, strict=True)
    )
    return down @ values @ across.T / torch.outer(down.sum(dim=1), across.sum(dim=1))


@torch.no_grad()
def _sweep(
    model: nn.Module,
    images: Float[Tensor, "n c h w"],
    value: Callable[[Tensor, Tensor], Tensor],
    window: Extent,
    stride: Extent,
    fill: float | Tensor,
    batch_size: int,
) -> Float[Tensor, "n rows cols"]:
    """``value(covered images, their numbers)`` for every image and place, a batch of covered copies at a time."""
    check_model(model)
    check_images(images)
    n = len(images)
    tops, lefts, (height, width) = _places(images.shape[2:], window, stride)
    cover = filled(fill, images[:1])[0]
    places = [(top, left) for top in tops for left in lefts]
    found = []
    for part in torch.arange(n * len(places), device=images.device).split(batch_size):
        which = part // len(places)
        covered = images.index_select(0, which)  # copies: nothing is left of them when their scores are known
        for copy, place in zip(covered, part.tolist(), strict=True):
            top, left = places[place % len(places)]
            area = (slice(None), slice(top, top + height), slice(left, left + width))
            copy[area] = cover[area]
        found.append(value(covered, which))
    return torch.cat(found).reshape(n, len(tops), len(lefts))


def filled(fill: float | Tensor, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """The fill as images of that shape, without a copy of its numbers."""
    pixels = torch.as_tensor(fill, dtype=images.dtype, device=images.device)
    if not pixels.isfinite().all():
        raise ValueError("the fill is NaN or infinite")
    try:
        return pixels.expand(images.shape)
    except RuntimeError:
        _, channels, height, width = images.shape
        raise ValueError(
            f"expected a fill that fits the images: a number, or shape ({channels}, 1, 1) or "
            f"({channels}, {height}, {width}), got shape {tuple(pixels.shape)}"
        ) from None


def _places(image_size: Sequence[int], window: Extent, stride: Extent) -> tuple[list[int], list[int], tuple[int, int]]:
    """The windows' tops and lefts, and their height and width."""
    window, stride = ((x, x) if isinstance(x, int) else x for x in (window, stride))
    if any(not 1 <= extent <= side for extent, side in zip(window, image_size, strict=True)):
        raise ValueError(f"expected a window from 1×1 up to the image's {_by(image_size)}, got {_by(window)}")
    if any(not 1 <= step <= extent for step, extent in zip(stride, window, strict=True)):
        raise ValueError(
            f"expected a stride from 1 up to the window's {_by(window)}, beyond which pixels are never covered, "
            f"got {_by(stride)}"
        )
    tops, lefts = (
        [*range(0, side - extent, step), side - extent]
        for side, extent, step in zip(image_size, window, stride, strict=True)
    )
    return tops, lefts, window


def _by(extents: Sequence[int]) -> str:
    return "×".join(map(str, extents))
