"""The pixels that a unit can see, and the patches that excite it most."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from coursekit.interpret.layers import check_model, layer_output
from coursekit.validation import require_images, require_integer

Pair = tuple[int, int]


@dataclass(frozen=True)
class ReceptiveField:
    """The rectangle of pixels that each unit of a layer can see. Every pair is (vertical, horizontal), in pixels.

    The unit in row i and column j of the layer's map sees ``size`` pixels from ``start`` + (i, j)·``stride`` on.
    Padding makes ``start`` negative, because the first units see beyond the edge of the image. The rectangle is an
    upper bound in two cases: dilation leaves holes in it; and where a pooling layer drops the last rows or columns, the
    padding of a later layer takes their place, so that the last units see less.
    """

    size: Pair
    stride: Pair
    start: Pair
    image_size: Pair
    map_size: Pair  # rows and columns of the layer's map

    def box(self, row: int, column: int) -> tuple[int, int, int, int]:
        """(top, left, bottom, right) of what the unit sees of the image: ``image[:, top:bottom, left:right]``."""
        y, x = self.corner(row, column)
        (height, width), (h, w) = self.size, self.image_size
        return min(max(y, 0), h), min(max(x, 0), w), min(max(y + height, 0), h), min(max(x + width, 0), w)

    def corner(self, row: int, column: int) -> Pair:
        """(top, left) of the unit's rectangle, negative where it begins beyond the edge of the image."""
        rows, columns = self.map_size
        row = require_integer(row, "row", low=0, high=rows - 1)
        column = require_integer(column, "column", low=0, high=columns - 1)
        return self.start[0] + row * self.stride[0], self.start[1] + column * self.stride[1]


def receptive_field(model: nn.Module, layer: str, image_size: int | tuple[int, ...]) -> ReceptiveField:
    """The receptive field of a layer's units, by arithmetic, whatever the weights are.

    A window of k pixels with stride s, padding p and dilation d turns (start, size, stride) into

        (start − p·stride, size + (k − 1)·d·stride, stride·s),

    and where branches meet, the unit sees the union of what they see. One image of zeros goes through the model, and
    every operation that it meets updates these numbers: convolution, pooling, zero padding, and all that treats each
    place separately. After any other operation (flatten, a mean over places, attention, upsampling) a unit may see the
    whole image, and there is no receptive field.

    Args:
        layer: the layer's dotted name.
        image_size: of the images that the model takes: a number for square ones, (h, w), or (c, h, w). Without c they
            get the input channels of the model's first ``nn.Conv2d``.

    Raises:
        ValueError: an unknown layer; a layer without receptive field; an image that the model cannot take; a model in
            training mode with dropout or batch normalization.

    Source: A. Araujo, W. Norris and J. Sim, Computing receptive fields of convolutional neural networks, Distill 2019.

    >>> model = nn.Sequential(nn.Conv2d(1, 1, kernel_size=3, stride=2), nn.Conv2d(1, 1, kernel_size=3))
    >>> field = receptive_field(model, "1", 15)
    >>> field.size, field.stride, field.map_size
    ((7, 7), (2, 2), (5, 5))
    >>> field.box(1, 0)
    (2, 0, 9, 7)
    """
    check_model(model)
    channels, height, width = _image_shape(model, image_size)
    weights = next(model.parameters(), torch.empty(0))  # they decide the dtype and the device
    image = torch.zeros(1, channels, height, width, dtype=weights.dtype, device=weights.device)
    with torch.no_grad(), _FollowGrids(image) as followed:
        output = layer_output(model, image, layer)  # (1, C, rows, columns)
    grid = followed.grids.get(output, "a constant")
    if isinstance(grid, str):
        raise ValueError(
            f"layer {layer!r} has no receptive field: the path to it contains {grid}, after which a unit may see the "
            "whole image, or nothing of it. Choose an earlier layer"
        )
    y, x = grid
    return ReceptiveField(
        size=(y.size, x.size),
        stride=(y.stride, x.stride),
        start=(y.start, x.start),
        image_size=(height, width),
        map_size=(output.shape[2], output.shape[3]),
    )


@dataclass(frozen=True, eq=False, repr=False)
class TopPatches:
    """The k images that excite each of a layer's C channels most, the strongest first, and the places where they do."""

    values: Float[Tensor, "c k"]
    image: Int[Tensor, "c k"]  # index of the image
    row: Int[Tensor, "c k"]  # place in the layer's map
    column: Int[Tensor, "c k"]
    field: ReceptiveField
    images: Float[Tensor, "n _ h w"]

    def patches(self, channel: int) -> Float[Tensor, "k _ i j"]:
        """The pixels that the channel saw, one receptive field for each image; 0 beyond the edge of the image."""
        k, colours = self.values.shape[1], self.images.shape[1]
        patches = self.images.new_zeros(k, colours, *self.field.size)
        places = zip(*(part[channel].tolist() for part in (self.image, self.row, self.column)), strict=True)
        for patch, (image, row, column) in zip(patches, places, strict=True):
            top, left, bottom, right = self.field.box(row, column)  # inside the image
            y, x = self.field.corner(row, column)
            patch[:, top - y : bottom - y, left - x : right - x] = self.images[image, :, top:bottom, left:right]
        return patches


@torch.no_grad()
def top_patches(
    model: nn.Module, layer: str, images: Float[Tensor, "n c h w"], k: int = 9, batch_size: int = 256
) -> TopPatches:
    """The k patches that excite each channel of a layer most, at most one from each image.

    The strongest places of one image are mostly neighbours and show the same thing, so only the best of them counts.
    After every batch only the best patches so far are kept, so that memory does not grow with the number of images.

    Args:
        layer: the layer's dotted name.
        k: at most the number of images.

    Raises:
        TypeError: images that are not float32 or float64.
        ValueError: fewer images than k; a layer without receptive field (see `receptive_field`); images that are not a
            batch (N, C, H, W) of finite numbers that the model can take; a model in training mode with dropout or
            batch normalization.

    Source: M. D. Zeiler and R. Fergus, Visualizing and understanding convolutional networks, ECCV 2014.
    """
    require_images(images)
    k = require_integer(k, "k", low=1, high=len(images))
    batch_size = require_integer(batch_size, "batch_size", low=1)
    field = receptive_field(model, layer, tuple(images.shape[1:]))

    best: list[Tensor] = []  # values, image and place, each (at most k, C)
    for start, batch in zip(range(0, len(images), batch_size), images.split(batch_size), strict=True):
        # For every image of the batch, the place where it excites each channel most.
        values, place = layer_output(model, batch, layer).flatten(2).max(dim=2)  # (n, C) each
        image = torch.arange(start, start + len(batch), device=place.device)[:, None].expand_as(place)
        # Of these images and those kept so far, the k best for each channel.
        found = [values, image, place]
        if best:
            found = [torch.cat(pair) for pair in zip(best, found, strict=True)]
        order = found[0].topk(min(k, len(found[0])), dim=0).indices
        best = [part.gather(0, order) for part in found]

    values, image, place = (part.T.contiguous() for part in best)  # (C, k) each
    columns = field.map_size[1]
    return TopPatches(values, image, place // columns, place % columns, field, images)


class _Window(NamedTuple):
    """A sliding window along one axis."""

    kernel: int
    stride: int
    padding: int = 0
    dilation: int = 1


class _Axis(NamedTuple):
    """Along one axis, unit i of a map sees ``size`` pixels of the image from ``start`` + i·``stride`` on."""

    start: int
    size: int
    stride: int

    def after(self, window: _Window) -> "_Axis":
        """The axis of a layer that slides the window over this one."""
        return _Axis(
            start=self.start - window.padding * self.stride,
            size=self.size + (window.kernel - 1) * window.dilation * self.stride,
            stride=self.stride * window.stride,
        )

    def union(self, other: "_Axis") -> "_Axis":
        """The axis of a layer that combines this one with another of the same stride, place by place."""
        start = min(self.start, other.start)
        end = max(self.start + self.size, other.start + other.size)
        return _Axis(start, end - start, self.stride)


Grid = tuple[_Axis, _Axis]  # vertical and horizontal

# Operations that treat each place separately, but do not have PyTorch's tag "pointwise".
_PLACEWISE = {
    "aten::native_batch_norm",
    "aten::cudnn_batch_norm",
    "aten::miopen_batch_norm",
    "aten::hardswish",
    "aten::hardswish_",
    "aten::_prelu_kernel",
    "aten::_to_copy",
    "aten::alias",
    "aten::detach",
    "aten::cat",
    "aten::split",
    "aten::slice",
}


class _FollowGrids(TorchDispatchMode):
    """Inside the block ``grids`` holds the grid of every tensor that is computed from the image.

    After an operation that mixes places it holds the name of that operation instead. The mode sees the operations that
    PyTorch runs, not the modules that call them, so functional calls, modules used twice and branches need no special
    care.
    """

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.grids = WeakTensorKeyDictionary()
        self.grids[image] = (_Axis(0, 1, 1), _Axis(0, 1, 1))  # a pixel sees itself

    def __torch_dispatch__(self, operation: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        arguments = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        inputs = [(self.grids[x], x.shape[-2:]) for x in arguments if x in self.grids]
        result = operation(*args, **(kwargs or {}))
        if inputs:
            for output in tree_leaves(result):
                if isinstance(output, Tensor):
                    self.grids[output] = _grid_after(operation, args, inputs, output)
        return result


def _grid_after(operation: Any, args: tuple, inputs: list[tuple[Grid | str, torch.Size]], output: Tensor) -> Grid | str:
    """The grid of an operation's output, from the grids and map sizes of those inputs that depend on the image."""
    name = operation._schema.name
    grids: list[Grid] = []
    for grid, _ in inputs:
        if isinstance(grid, str):  # an earlier operation mixed places
            return grid
        grids.append(grid)
    (y, x), *others = grids

    # A window slides over one map.
    if not others and (windows := _windows(name, args)):
        return y.after(windows[0]), x.after(windows[1])

    # Maps of equal size and stride are combined place by place.
    placewise = torch.Tag.pointwise in operation.tags or name in _PLACEWISE
    same_size = all(size == output.shape[-2:] for _, size in inputs)
    same_stride = all((y.stride, x.stride) == (other_y.stride, other_x.stride) for other_y, other_x in others)
    if not (placewise and same_size and same_stride):
        return f"an operation ({name.removeprefix('aten::')})"
    for other_y, other_x in others:
        y, x = y.union(other_y), x.union(other_x)
    return y, x


def _windows(name: str, args: tuple) -> tuple[_Window, _Window] | None:
    """The windows along both axes, if the operation slides a window over its first argument."""
    # Each setting (kernel, stride, padding, dilation) is a pair, or one number in a list for both axes.
    match name, args:
        case "aten::convolution", (_, weight, _, stride, padding, dilation, False, *_) if weight.ndim == 4:
            settings = [weight.shape[2:], stride, padding, dilation]
        case "aten::max_pool2d_with_indices" | "aten::avg_pool2d", (_, kernel, *rest):
            settings = [kernel, rest[0] if rest and rest[0] else kernel, rest[1] if len(rest) > 1 else (0, 0)]
            if name == "aten::max_pool2d_with_indices" and len(rest) > 2:
                settings.append(rest[2])
        case "aten::constant_pad_nd", (_, (left, _, top, _), *_):
            settings = [(1, 1), (1, 1), (top, left)]
        case _:
            return None
    vertical, horizontal = zip(*(s if len(s) == 2 else [*s, *s] for s in settings), strict=True)
    return _Window(*vertical), _Window(*horizontal)


def _image_shape(model: nn.Module, image_size: Sequence[int] | int) -> tuple[int, int, int]:
    """(c, h, w) of the images that the model takes."""
    size = image_size if isinstance(image_size, Sequence) else (image_size, image_size)
    if len(size) not in (2, 3):
        raise ValueError(f"image_size: expected a number, (h, w) or (c, h, w), got {image_size}")
    *channels, height, width = (require_integer(side, "image_size", low=1) for side in size)
    if channels:
        return channels[0], height, width
    first = next((m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    if first is None:
        raise ValueError(f"{type(model).__name__} holds no nn.Conv2d: pass image_size as (c, h, w)")
    return first, height, width
