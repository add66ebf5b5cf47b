"""Which pixels a unit can see, and the patches that excite it most."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from coursekit.interpret.layers import check_images, check_model, layer_output

Pair = tuple[int, int]


@dataclass(frozen=True)
class ReceptiveField:
    """The square of pixels that each unit of a layer can see; every pair is (vertical, horizontal), in pixels.

    The unit in row i and column j of the layer's map sees ``size`` pixels from ``start`` + (i, j)·``stride`` on. Where
    padding was added, ``start`` is negative: such a unit looks over the edge of the image. With dilation the square
    has holes that the unit does not see; and where a pooling left out the last pixels, padding behind it stands in
    their place, so that the last units see less than their square.
    """

    size: Pair
    stride: Pair
    start: Pair
    image_size: Pair
    map_size: Pair  # rows and columns of the layer's map

    def box(self, row: int, column: int) -> tuple[int, int, int, int]:
        """(top, left, bottom, right) of what the unit sees of the image: ``image[:, top:bottom, left:right]``."""
        if not (0 <= row < self.map_size[0] and 0 <= column < self.map_size[1]):
            rows, columns = self.map_size
            raise ValueError(f"no unit at row {row}, column {column}: the map has {rows} rows and {columns} columns")
        first = [self.start[a] + i * self.stride[a] for a, i in enumerate((row, column))]
        top, left = (min(max(first[a], 0), self.image_size[a]) for a in (0, 1))
        bottom, right = (min(max(first[a] + self.size[a], 0), self.image_size[a]) for a in (0, 1))
        return top, left, bottom, right


def receptive_field(model: nn.Module, layer: str, image_size: int | tuple[int, ...]) -> ReceptiveField:
    """The receptive field of a layer's units, by arithmetic, whatever the weights are.

    A window of k pixels with stride s, padding p and dilation d turns (start, size, stride) into
    (start − p·stride, size + (k − 1)·d·stride, stride·s); where branches meet, the union counts. One image of zeros
    goes through the model, and the arithmetic is done beside every operation it meets: convolution, pooling, zero
    padding, and all that treats each place by itself. After anything else (flatten, a mean over places, attention,
    upsampling) a unit may see the whole image, and there is no receptive field to speak of.

    Args:
        layer: the layer's dotted name.
        image_size: of the images that the model takes: a number for square ones, (h, w) or (c, h, w); without c, as
            many channels as the model's first ``nn.Conv2d`` wants.

    Raises:
        ValueError: no such layer; no receptive field; an image that the model cannot take; a model in training mode
            with dropout or batch normalization.

    Source: A. Araujo, W. Norris and J. Sim, Computing receptive fields of convolutional neural networks, Distill 2019.
    """
    check_model(model)
    weights = next(model.parameters(), torch.empty(0))
    image = torch.zeros(1, *_image_shape(model, image_size), dtype=weights.dtype, device=weights.device)
    with torch.no_grad(), _Followed(image) as followed:
        output = layer_output(model, image, layer)
    grid = followed.grids.get(output, "a constant")
    if isinstance(grid, str):
        raise ValueError(
            f"layer {layer!r} has no receptive field: on the way to it there is {grid}, after which a unit may see "
            "the whole image, or none of it. Choose an earlier layer"
        )
    start, size, stride = zip(*grid, strict=True)
    return ReceptiveField(size, stride, start, tuple(image.shape[2:]), tuple(output.shape[2:]))


@dataclass(frozen=True, eq=False, repr=False)
class TopPatches:
    """For each of a layer's C channels the k images that excite it most, the strongest first, and where they do."""

    values: Float[Tensor, "c k"]
    image: Int[Tensor, "c k"]  # index of the image
    row: Int[Tensor, "c k"]  # place in the layer's map
    column: Int[Tensor, "c k"]
    field: ReceptiveField
    images: Float[Tensor, "n _ h w"]

    def patches(self, channel: int) -> Float[Tensor, "k _ i j"]:
        """The pixels that the channel saw, one receptive field each; 0 where it looked over the edge of the image."""
        k = self.values.shape[1]
        found = self.images.new_zeros(k, self.images.shape[1], *self.field.size)
        places = zip(*(part[channel].tolist() for part in (self.image, self.row, self.column)), strict=True)
        for patch, (image, row, column) in zip(found, places, strict=True):
            top, left, bottom, right = self.field.box(row, column)
            y, x = (self.field.start[a] + i * self.field.stride[a] for a, i in enumerate((row, column)))
            patch[:, top - y : bottom - y, left - x : right - x] = self.images[image, :, top:bottom, left:right]
        return found


@torch.no_grad()
def top_patches(
    model: nn.Module, layer: str, images: Float[Tensor, "n c h w"], k: int = 9, batch_size: int = 256
) -> TopPatches:
    """The k patches that excite each channel of a layer most, at most one from an image.

    One from an image, because the strongest places of one image are mostly neighbours and show the same thing. Batches
    are looked at one after the other and only the best so far are kept, so that memory does not grow with ``images``.

    Raises:
        ValueError: fewer images than k; a layer without receptive field (see `receptive_field`); images that the model
            cannot take; a model in training mode with dropout or batch normalization.

    Source: M. Zeiler and R. Fergus, Visualizing and understanding convolutional networks, ECCV 2014.
    """
    check_images(images)
    if not 1 <= k <= len(images):
        raise ValueError(f"expected 1 ≤ k ≤ {len(images)}, the number of images (one patch each), got k={k}")
    field = receptive_field(model, layer, tuple(images.shape[1:]))
    best = None  # (values, image, place), each (k or fewer, C)
    for first, batch in zip(range(0, len(images), batch_size), images.split(batch_size), strict=True):
        values, places = layer_output(model, batch, layer).flatten(2).max(dim=2)  # (n, C): the best place of each image
        numbers = torch.arange(first, first + len(batch), device=values.device)[:, None].expand_as(places)
        found = (values, numbers, places)
        if best is not None:
            found = tuple(torch.cat(pair) for pair in zip(best, found, strict=True))
        values, order = found[0].topk(min(k, len(found[0])), dim=0)
        best = (values, found[1].gather(0, order), found[2].gather(0, order))
    values, image, place = (part.T.contiguous() for part in best)
    columns = field.map_size[1]
    return TopPatches(values, image, place // columns, place % columns, field, images)


class _Axis(NamedTuple):
    """Along one axis: unit i of a map sees ``size`` pixels of the image from ``start`` + i·``stride`` on."""

    start: int
    size: int
    stride: int

    def windowed(self, kernel: int, stride: int, padding: int, dilation: int = 1) -> "_Axis":
        return _Axis(
            self.start - padding * self.stride, self.size + (kernel - 1) * dilation * self.stride, self.stride * stride
        )

    def joined(self, other: "_Axis") -> "_Axis":
        start = min(self.start, other.start)
        return _Axis(start, max(self.start + self.size, other.start + other.size) - start, self.stride)


Grid = tuple[_Axis, _Axis] | str  # or the operation after which nothing is known

# What treats each place by itself without bearing PyTorch's tag "pointwise".
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


class _Followed(TorchDispatchMode):
    """Inside the block every tensor that comes from the image has its grid in ``grids``.

    It sees the operations that PyTorch runs, not the modules that ask for them: so functional calls, modules used
    twice, and branches need no special care.
    """

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.grids = WeakTensorKeyDictionary()
        self.grids[image] = (_Axis(0, 1, 1), _Axis(0, 1, 1))

    def __torch_dispatch__(self, operation: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        arguments = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        inputs = [(self.grids[x], x.shape[-2:]) for x in arguments if x in self.grids]
        result = operation(*args, **(kwargs or {}))
        if inputs:
            for output in tree_leaves(result):
                if isinstance(output, Tensor):
                    self.grids[output] = _grid_after(operation, args, inputs, output)
        return result


def _grid_after(operation: Any, args: tuple, inputs: list[tuple[Grid, torch.Size]], output: Tensor) -> Grid:
    """The grid of what an operation gives for inputs with these grids and map sizes."""
    name = operation._schema.name
    for grid, _ in inputs:
        if isinstance(grid, str):
            return grid
    first, *others = (grid for grid, _ in inputs)
    if not others and (windows := _windows(name, args)):
        return tuple(axis.windowed(*window) for axis, window in zip(first, windows, strict=True))
    aligned = all(a.stride == b.stride for grid in others for a, b in zip(first, grid, strict=True))
    placewise = torch.Tag.pointwise in operation.tags or name in _PLACEWISE
    if not (placewise and aligned and all(size == output.shape[-2:] for _, size in inputs)):
        return f"an operation ({name.removeprefix('aten::')})"
    for grid in others:
        first = tuple(a.joined(b) for a, b in zip(first, grid, strict=True))
    return first


def _windows(name: str, args: tuple) -> list[tuple[int, ...]] | None:
    """(kernel, stride, padding, dilation) for each axis, if the operation slides a window over its first argument."""
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
    return list(zip(*(s if len(s) == 2 else [*s, *s] for s in settings), strict=True))


def _image_shape(model: nn.Module, image_size: int | tuple[int, ...]) -> tuple[int, ...]:
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    if len(size) not in (2, 3) or min(size) < 1:
        raise ValueError(f"expected image_size as a number, (h, w) or (c, h, w), all at least 1, got {image_size}")
    if len(size) == 3:
        return size
    channels = next((m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    if channels is None:
        raise ValueError(f"{type(model).__name__} holds no nn.Conv2d: pass image_size as (c, h, w)")
    return (channels, *size)
