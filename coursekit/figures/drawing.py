"""Pictures in grids, labelled rows of pictures, labelled curves, labelled points."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from torch import Tensor

from coursekit.figures.style import COLOURS, INK

DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")


def image_grid(
    ax: Axes,
    images: Float[Tensor, "n c h w"],
    columns: int | None = None,
    *,
    signed: bool | float = False,
) -> Axes:
    """Draw ``images`` (N, C, H, W) as one mosaic, row by row; C is 1 (grey) or 3 (colour).

    Values lie in [0, 1]; grey images are drawn as ink on paper, 0 white and 1 black. With ``signed`` they may be
    negative, which is right for filters and gradients: grey images then go from blue (negative) over white to red
    (positive), colour images have mid-grey for 0. ``signed=True`` scales every image by its own largest magnitude, a
    number draws that magnitude in full in all of them, so that they can be compared.
    """
    n, channels, height, width = images.shape
    if n == 0 or channels not in (1, 3):
        raise ValueError(f"expected at least one image of 1 or 3 channels, got shape {tuple(images.shape)}")
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    gap = _gap(width)
    canvas = torch.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), torch.nan)
    shown = images.detach().float().cpu()
    if signed:
        own = shown.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-12)
        shown = shown / (own if signed is True else signed)
    if signed and channels == 3:
        shown = (1 + shown) / 2
    for i, image in enumerate(shown):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        canvas[top : top + height, left : left + width] = image.permute(1, 2, 0)  # (C, H, W) -> (H, W, C)
    mosaic = canvas.numpy()
    if channels == 3:
        ax.imshow(np.nan_to_num(mosaic, nan=1.0).clip(0, 1))
    elif signed:
        ax.imshow(mosaic[..., 0], cmap="RdBu_r", vmin=-1, vmax=1)
    else:
        ax.imshow(mosaic[..., 0], vmin=0, vmax=1)
    ax.set_axis_off()
    return ax


def image_rows(
    ax: Axes,
    rows: Mapping[str, Float[Tensor, "n c h w"]],
    titles: Sequence[str] = (),
    *,
    signed: bool | float = False,
) -> Axes:
    """Draw images in labelled rows, the label at the left: originals above, what became of them below.

    ``titles`` stand above the columns. Colours and ``signed`` are those of `image_grid`.
    """
    stacks = list(rows.values())
    if len({stack.shape for stack in stacks}) != 1:
        raise ValueError(f"expected rows of one shape, got {[tuple(stack.shape) for stack in stacks]}")
    n, _, height, width = stacks[0].shape
    if titles and len(titles) != n:
        raise ValueError(f"expected one title for each of the {n} columns, got {len(titles)}")
    image_grid(ax, torch.cat(stacks), columns=n, signed=signed)
    down, across = height + _gap(width), width + _gap(width)
    for i, label in enumerate(rows):
        _beside(ax, label, (-0.5, i * down + height / 2), (-8, 0), ha="right", va="center")
    for j, title in enumerate(titles):
        _beside(ax, title, (j * across + width / 2, -0.5), (0, 5), ha="center", va="bottom")
    return ax


def heat_map(ax: Axes, image: Float[Tensor, "c h w"], heat: Float[Tensor, "a b"], limit: float | None = None) -> Axes:
    """Draw ``heat`` over a pale grey copy of ``image``, stretched to its size: blue negative, red positive.

    The colour is full at ±``limit``, the largest magnitude unless given, and the picture shines through where the heat
    is near 0. ``ax.images[-1]`` is what a colour bar wants.
    """
    height, width = image.shape[-2:]
    grey = image.detach().float().cpu().mean(dim=0).numpy()
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    ax.imshow(0.35 + 0.65 * grey, cmap="gray", vmin=0, vmax=1, extent=extent)
    values = heat.detach().float().cpu().numpy()
    limit = limit or max(abs(values).max(), 1e-12)
    strength = np.clip(abs(values) / limit, 0, 1) ** 0.7
    ax.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, alpha=0.9 * strength, extent=extent)
    ax.set_axis_off()
    return ax


def curves(ax: Axes, x: Sequence[float], lines: Mapping[str, Sequence[float]], *, markers: bool = True) -> Axes:
    """Draw labelled curves over ``x``; each differs in colour, dash and marker, and several get a legend."""
    for i, (name, y) in enumerate(lines.items()):
        style: dict[str, Any] = {"marker": MARKERS[i % len(MARKERS)]} if markers else {}
        ax.plot(x, y, color=COLOURS[i % len(COLOURS)], linestyle=DASHES[i % len(DASHES)], label=name, **style)
    if len(lines) > 1:
        ax.legend()
    ax.grid(axis="y")
    return ax


def points(ax: Axes, xy: Float[Tensor, "n 2"], labels: Int[Tensor, " n"], names: Sequence[str]) -> Axes:
    """Scatter the points (N, 2), each drawn as the name of its class where all names are one character long.

    Longer names become markers and colours with a legend.
    """
    xy, labels = xy.detach().cpu(), labels.cpu()
    glyphs = all(len(name) == 1 for name in names)
    for k in labels.unique().tolist():
        marker = f"${names[k]}$" if glyphs else MARKERS[k % len(MARKERS)]
        colour = COLOURS[k % len(COLOURS)]
        x, y = xy[labels == k].T  # (n_k,), (n_k,)
        ax.scatter(x, y, s=28, color=colour, marker=marker, alpha=0.8, linewidth=0, label=names[k])
    if not glyphs:
        ax.legend()
    return ax


def _beside(ax: Axes, text: str, place: tuple[float, float], offset: tuple[float, float], **align: Any) -> None:
    """Write beside a place of the picture, at a distance in points."""
    ax.annotate(text, place, offset, textcoords="offset points", fontsize=12, color=INK, **align)


def _gap(width: int) -> int:
    """Pixels between pictures of this width in a mosaic."""
    return max(1, round(0.12 * width))
