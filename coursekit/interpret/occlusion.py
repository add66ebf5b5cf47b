"""What a net loses when a part of its image is covered."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from coursekit.interpret.layers import Target, channel_of, check_model, find_layer, layer_output, scores
from coursekit.validation import require_images, require_integer, require_labels, require_number, require_tensor

Pair = tuple[int, int]
Extent = int | Pair


def occlusion(
    model: nn.Module,
    images: Float[Tensor, "n c h w"],
    target: Target,
    window: Extent,
    stride: Extent,
    fill: float | Tensor = 0.0,
    batch_size: int = 32,
) -> Float[Tensor, "n rows cols"]:
    """The score of an image while a window covers a part of it, for every position of the window.

    The window's top left corner moves in steps of ``stride`` from (0, 0). Where the last step would leave the image,
    the window ends at the edge instead. So every window is whole, every pixel is covered at least once, and there are
    ``rows`` = ⌈(H − window)/stride⌉ + 1 positions from top to bottom, and ``cols`` likewise.

    Args:
        target: a class; classes as an integer tensor (N,), one for each image; or a function from the model's output
            to one score for each image of the batch.
        window: height and width in pixels, or one number for both.
        stride: steps down and to the right, or one number for both; at most ``window``.
        fill: what the window shows: a number, a colour (C, 1, 1), or an image (C, H, W).
        batch_size: how many covered images the model gets at once. Memory grows with it.

    Raises:
        TypeError: images that are not float32 or float64; a target of another type, such as a list.
        ValueError: a window larger than the image; a stride that is 0 or skips pixels; a fill that does not fit the
            images; a target outside the classes; images that are not a batch (N, C, H, W) of finite numbers that the
            model can take; a model in training mode with dropout or batch normalization.

    Source: M. D. Zeiler and R. Fergus, Visualizing and understanding convolutional networks, ECCV 2014.

    >>> image = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> occlusion(nn.Flatten(), image, lambda output: output.sum(dim=1), window=1, stride=1)
    tensor([[[9., 8.],
             [7., 6.]]])
    """
    require_images(images)
    if isinstance(target, Tensor) and target.ndim:
        require_labels(target, "target", count=len(images))

    def score(covered: Tensor, which: Tensor) -> Tensor:
        # Every covered copy keeps the class of its image.
        own = target.to(which.device)[which] if isinstance(target, Tensor) and target.ndim else target
        return scores(model, covered, own)

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
    """The sum of one feature map while a window covers a part of the image, for every position of the window.

    Zeiler and Fergus show it for the strongest map of the last convolution. ``window``, ``stride``, ``fill``,
    ``batch_size`` and the result are those of `occlusion`.

    Args:
        layer: the layer's dotted name.
        channel: which of the layer's maps.

    Raises:
        ValueError: an unknown layer or channel; otherwise as `occlusion`.
    """
    require_images(images)
    find_layer(model, layer)
    check_model(model)
    layer_output(model, images[:1], layer)  # whose first axis must be that of the images, in any batch

    def strength(covered: Tensor, _which: Tensor) -> Tensor:
        maps = channel_of(layer_output(model, covered, layer), layer, channel)  # (batch, ...)
        return maps.reshape(len(maps), -1).sum(dim=1)

    return _sweep(model, images, strength, window, stride, fill, batch_size)


def spread_over_pixels(
    values: Float[Tensor, "n rows cols"], image_size: Pair, window: Extent, stride: Extent
) -> Float[Tensor, "n h w"]:
    """A map over pixels from one over windows: each pixel gets the mean of the windows that cover it.

    With the drops f(x) − occlusion(…) as ``values``, the map shows how much each place contributes to the score. For a
    linear score wᵀx and a window of one pixel it is w·x.

    Args:
        image_size: height and width of the images.
        window, stride: as given to `occlusion`.

    Raises:
        ValueError: ``values`` whose rows and columns are not the positions of the window.

    >>> spread_over_pixels(torch.tensor([[[1.0, 3.0]]]), (1, 3), window=(1, 2), stride=1)
    tensor([[[1., 2., 3.]]])
    """
    require_tensor(values, "values", "n rows cols")
    image_size, window = _pair(image_size, "image_size"), _pair(window, "window")
    starts = _starts(image_size, window, _pair(stride, "stride"))
    expected = (len(starts[0]), len(starts[1]))
    if values.shape[1:] != expected:
        raise ValueError(
            f"values: a window of {_by(window)} has {_by(expected)} positions in an image of {_by(image_size)}, "
            f"got shape {tuple(values.shape)}"
        )

    # A window covers a pixel if it does so along both axes: 0/1 matrices (h, rows) and (w, cols).
    down, across = (
        torch.stack([(pixel >= first) & (pixel < first + extent) for first in firsts], dim=1).to(values)
        for pixel, firsts, extent in zip(map(torch.arange, image_size), starts, window, strict=True)
    )
    # The sum over the windows that cover a pixel, divided by their number.
    return down @ values @ across.T / torch.outer(down.sum(dim=1), across.sum(dim=1))  # (n, h, w)


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
    """``value(covered, which)`` for every image and position, with at most ``batch_size`` covered images at a time.

    Args:
        value: a function from covered images (batch, C, H, W), and the indices (batch,) of the images that they cover,
            to numbers (batch,).
    """
    check_model(model)
    batch_size = require_integer(batch_size, "batch_size", low=1)
    height, width = _pair(window, "window")
    tops, lefts = _starts(_pair(images.shape[2:], "images"), (height, width), _pair(stride, "stride"))
    areas = [(..., slice(top, top + height), slice(left, left + width)) for top in tops for left in lefts]
    cover = filled(fill, images[:1])[0]  # (c, h, w)

    # Every pair of an image and an area is one job, with the number image · areas + area.
    values = []
    for jobs in torch.arange(len(images) * len(areas), device=images.device).split(batch_size):
        which = jobs // len(areas)  # (batch,)
        covered = images.index_select(0, which)  # (batch, c, h, w), copies that are freed once their values are known
        for copy, job in zip(covered, jobs.tolist(), strict=True):
            area = areas[job % len(areas)]
            copy[area] = cover[area]
        values.append(value(covered, which))
    return torch.cat(values).reshape(len(images), len(tops), len(lefts))


def filled(fill: float | Tensor, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """The fill in the shape of the images, without a copy of its numbers."""
    if not isinstance(fill, Tensor) or fill.ndim == 0:
        return images.new_tensor(require_number(fill, "fill")).expand(images.shape)
    pixels = require_tensor(fill, "fill").to(images)
    # A colour of shape (c,) would be taken for one row of pixels: the axes of the colour must be written out.
    lengths = zip(pixels.shape[::-1], images.shape[::-1], strict=False)
    if pixels.ndim not in (2, 3, 4) or any(length not in (1, wanted) for length, wanted in lengths):
        _, c, h, w = images.shape
        raise ValueError(
            f"fill: expected a number, or shape ({c}, 1, 1) or ({c}, {h}, {w}), got shape {tuple(pixels.shape)}"
        )
    return pixels.expand(images.shape)


def _pair(extent: Sequence[int] | int, name: str) -> Pair:
    """The extents down and across; one number stands for both."""
    pair = extent if isinstance(extent, Sequence) else (extent, extent)
    if len(pair) != 2:
        raise ValueError(f"{name}: expected one number or two, got {len(pair)}")
    return require_integer(pair[0], name), require_integer(pair[1], name)


def _starts(image_size: Pair, window: Pair, stride: Pair) -> tuple[list[int], list[int]]:
    """The windows' first rows and first columns."""
    if any(not 1 <= extent <= side for extent, side in zip(window, image_size, strict=True)):
        raise ValueError(f"window: expected 1×1 up to the image's {_by(image_size)}, got {_by(window)}")
    if any(not 1 <= step <= extent for step, extent in zip(stride, window, strict=True)):
        raise ValueError(
            f"stride: expected 1×1 up to the window's {_by(window)}, beyond which pixels are never covered, got "
            f"{_by(stride)}"
        )
    # Along one axis: whole steps as long as the window fits, then the window that ends with the image.
    tops, lefts = (
        [*range(0, side - extent, step), side - extent]
        for side, extent, step in zip(image_size, window, stride, strict=True)
    )
    return tops, lefts


def _by(extents: Sequence[int]) -> str:
    return "×".join(map(str, extents))
