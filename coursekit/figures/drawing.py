"""Panels, grids of images, labelled rows of images and of maps, heat maps, dot plots, labelled curves and points."""

import math
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from torch import Tensor

from coursekit.figures.style import COLOURS, INK
from coursekit.validation import (
    require_flag,
    require_images,
    require_instance,
    require_integer,
    require_labels,
    require_number,
    require_tensor,
)

DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")


def panels(*titles: str, width: float = 11, height: float = 3.5, share_y: bool = False) -> tuple[Figure, list[Axes]]:
    """A figure with one panel for each title, side by side: width and height in inches.

    >>> import matplotlib.pyplot as plt
    >>> figure, (left, right) = panels("input", "reconstruction")
    >>> right.get_title(loc="left")
    'reconstruction'
    >>> plt.close(figure)
    """
    import matplotlib.pyplot as plt

    if not titles:
        raise ValueError("expected one title for each panel, got none")
    for title in titles:
        require_instance(title, "titles", str)
    width, height = require_number(width, "width", above=0), require_number(height, "height", above=0)
    share_y = require_flag(share_y, "share_y")
    figure, axes = plt.subplots(1, len(titles), figsize=(width, height), sharey=share_y, squeeze=False)
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title)
    return figure, list(axes[0])


def image_grid(
    ax: Axes,
    images: Float[Tensor, "n c h w"],
    columns: int | None = None,
    *,
    signed: bool | float = False,
) -> Axes:
    """Draw ``images`` (N, C, H, W) as one mosaic, row by row; C is 1 (grey) or 3 (colour).

    Values are expected in [0, 1] and clipped to it; grey images are drawn as ink on paper, 0 white and 1 black. With
    ``signed`` they may be negative, as in filters and gradients: grey images then go from blue (negative) over white
    to red (positive), and colour images have mid-grey for 0.

    Args:
        columns: how many images a row has; about √N unless given.
        signed: True scales every image by its own largest magnitude. A number is the magnitude that is drawn in full
            in all images, so that they can be compared.

    >>> import matplotlib.pyplot as plt
    >>> figure, ax = plt.subplots()
    >>> image_grid(ax, torch.rand(6, 1, 8, 8), columns=3).images[0].get_array().shape  # two rows, gaps of one pixel
    (17, 26)
    >>> plt.close(figure)
    """
    require_images(images)
    n, channels = images.shape[:2]
    if channels not in (1, 3):
        raise ValueError(f"images: expected 1 or 3 channels, got shape {tuple(images.shape)}")
    columns = math.ceil(math.sqrt(n)) if columns is None else require_integer(columns, "columns", low=1)
    canvas = _mosaic(_scaled(images.detach().float().cpu(), signed), columns)
    if channels == 3:
        ax.imshow(np.nan_to_num(canvas, nan=1.0).clip(0, 1))
    elif signed:
        ax.imshow(canvas[..., 0], cmap="RdBu_r", vmin=-1, vmax=1)
    else:
        ax.imshow(canvas[..., 0], vmin=0, vmax=1)
    ax.set_axis_off()
    return ax


def image_rows(
    ax: Axes,
    rows: Mapping[str, Float[Tensor, "n c h w"]],
    titles: Sequence[str] = (),
    *,
    signed: bool | float = False,
) -> Axes:
    """Draw images in labelled rows, for example originals above and their reconstructions below.

    Args:
        rows: by label, which is drawn at the left, images of the same number and shape in each row.
        titles: one for each column, drawn above it.
        signed: as in `image_grid`, like the colours.
    """
    stacks = [require_images(stack, f"rows[{label!r}]") for label, stack in rows.items()]
    if len({stack.shape for stack in stacks}) != 1:
        raise ValueError(f"expected rows of one shape, got {[tuple(stack.shape) for stack in stacks]}")
    n, _, height, width = stacks[0].shape
    _require_titles(titles, n, "columns")
    image_grid(ax, torch.cat(stacks), columns=n, signed=signed)
    _label(ax, height, width, left=list(rows), above=titles)
    return ax


def heat_map(ax: Axes, image: Float[Tensor, "c h w"], heat: Float[Tensor, "a b"], limit: float | None = None) -> Axes:
    """Draw ``heat`` over a pale grey copy of ``image`` and stretched to its size: blue negative, red positive.

    The colour is full at ±``limit``, and the image shows through where the heat is near 0. ``limit`` is the largest
    magnitude unless given, or if it is 0. ``ax.images[-1]`` is the heat, for a colour bar.
    """
    require_tensor(image, "image", "c h w")
    require_tensor(heat, "heat", "a b")
    limit = None if limit is None else require_number(limit, "limit", low=0)
    height, width = image.shape[-2:]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    grey = image.detach().float().cpu().mean(dim=0).numpy()  # (h, w)
    ax.imshow(0.35 + 0.65 * grey, cmap="gray", vmin=0, vmax=1, extent=extent)
    values = heat.detach().float().cpu().numpy()  # (a, b)
    limit = limit or max(abs(values).max(), 1e-12)
    opacity = 0.9 * np.clip(abs(values) / limit, 0, 1) ** 0.7
    ax.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, alpha=opacity, extent=extent)
    ax.set_axis_off()
    return ax


def map_table(
    ax: Axes,
    images: Float[Tensor, "n c h w"],
    maps: Mapping[str, Float[Tensor, "_ _ _"]],
    titles: Sequence[str] = (),
    *,
    across: bool = False,
    limits: Mapping[str, float] | None = None,
) -> Axes:
    """Draw images and, beside them in a table, maps over their pixels: blue negative, red positive.

    The images stand in the first row and each method's maps in a row below it; or, with ``across``, the images stand
    in the first column and each method's maps in a column of their own. All maps of a method share a scale: the colour
    is full at ± its limit, which is written beside them. Unless given, the limit is the 99.5 % quantile of their
    magnitudes, or where that is 0 their maximum, or 1 if all of them are 0. A colour bar stands at the right.

    Args:
        images: in [0, 1], grey or in colour.
        maps: by the name of the method, one map for each image.
        titles: one for each image.
        limits: of some of the methods.

    Raises:
        TypeError: a map that is no tensor; titles that are not a list of texts.
        ValueError: images of other than 1 or 3 channels; maps of another number or size than the images; titles of
            another number; a limit that is not positive, or of a method without maps.
    """
    require_images(images)
    n, channels, height, width = images.shape
    if channels not in (1, 3):
        raise ValueError(f"images: expected 1 or 3 channels, got shape {tuple(images.shape)}")
    across = require_flag(across, "across")
    limits = {} if limits is None else limits
    if unknown := limits.keys() - maps.keys():
        raise ValueError(f"limits: expected names of maps, got {sorted(unknown)}")
    _require_titles(titles, n, "images")

    # Every map as colours, at the scale of its method.
    stacks = [images.detach().float().cpu().expand(-1, 3, -1, -1)]  # (n, 3, h, w) each
    scales = [""]
    for name, values in maps.items():
        require_tensor(values, f"maps[{name!r}]", f"{n} {height} {width}")
        values = values.detach().float().cpu()  # (n, h, w)
        size = values.abs().numpy()
        limit = limits[name] if name in limits else (np.quantile(size, 0.995).item() or size.max().item() or 1.0)
        limit = require_number(limit, f"limits[{name!r}]", above=0)
        coloured = colormaps["RdBu_r"]((0.5 + 0.5 * values / limit).clamp(0, 1).numpy())[..., :3]  # (n, h, w, 3)
        stacks.append(torch.as_tensor(coloured).float().permute(0, 3, 1, 2))
        scales.append(f"±{limit:.2g}")

    names, titles = ["input", *maps], list(titles) or [""] * n
    if across:
        image_grid(ax, torch.stack(stacks, dim=1).flatten(0, 1), columns=len(stacks))
        above = [f"{name}\n{scale}" for name, scale in zip(names, scales, strict=True)]
        _label(ax, height, width, left=titles, above=above)
    else:
        image_grid(ax, torch.cat(stacks), columns=n)
        _label(ax, height, width, left=names, above=titles, right=scales)
    scale_bar = ScalarMappable(Normalize(-1, 1), "RdBu_r")
    bar = ax.figure.colorbar(scale_bar, ax=ax, ticks=(-1, 0, 1), shrink=0.5, aspect=25, pad=0.02 if across else 0.1)
    bar.ax.set_yticklabels(["−", "0", "+"])
    return ax


def curves(ax: Axes, x: Sequence[float], lines: Mapping[str, Sequence[float]], *, markers: bool = True) -> Axes:
    """Draw labelled curves over ``x``. Each has its own colour, dash and marker; several curves get a legend."""
    markers = require_flag(markers, "markers")
    for i, (name, y) in enumerate(lines.items()):
        ax.plot(
            x,
            y,
            color=COLOURS[i % len(COLOURS)],
            linestyle=DASHES[i % len(DASHES)],
            marker=MARKERS[i % len(MARKERS)] if markers else "None",
            label=name,
        )
    if len(lines) > 1:
        ax.legend()
    ax.grid(axis="y")
    return ax


def dots(ax: Axes, series: Mapping[str, Mapping[str, Shaped[Tensor, " _"]]]) -> Axes:
    """Compare means row by row: a dot at the mean of each sample, with a bar of two standard errors to either side.

    Args:
        series: by name, the samples of that series by row: numbers, or truth values, the mean of which is a fraction.
            Each series has its own colour and marker; several get a legend, and the dots of a row are joined by a line.
            Rows are drawn from top to bottom in the order in which they first appear.

    >>> import matplotlib.pyplot as plt
    >>> figure, ax = plt.subplots()
    >>> ax = dots(ax, {"net": {"occlusion": torch.tensor([0.8, 0.9]), "noise": torch.tensor([0.1, 0.3])}})
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['occlusion', 'noise']
    >>> plt.close(figure)
    """
    checked = {
        name: {row: _sample(it, f"series[{name!r}][{row!r}]") for row, it in samples.items()}
        for name, samples in series.items()
    }
    rows = list(dict.fromkeys(row for samples in checked.values() for row in samples))
    if not rows:
        raise ValueError("series: expected at least one sample, got none")
    for row in rows:
        means = [samples[row].mean().item() for samples in checked.values() if row in samples]
        ax.plot([min(means), max(means)], [rows.index(row)] * 2, color="#c4c9d0", linewidth=3, zorder=1)
    for i, (name, samples) in enumerate(checked.items()):
        values = list(samples.values())
        errors = [2 * it.std().item() / len(it) ** 0.5 if len(it) > 1 else 0.0 for it in values]
        ax.errorbar(
            [it.mean().item() for it in values],
            [rows.index(row) for row in samples],
            xerr=errors,
            fmt=MARKERS[i % len(MARKERS)],
            color=COLOURS[i % len(COLOURS)],
            markersize=8,
            elinewidth=1.6,
            label=name,
        )
    ax.set_yticks(range(len(rows)), rows)
    ax.invert_yaxis()
    ax.grid(axis="x")
    if len(checked) > 1:
        ax.legend()
    return ax


def _sample(value: Any, name: str) -> Float[Tensor, " n"]:
    """A sample of real numbers or truth values in double precision."""
    sample = require_instance(value, name, Tensor).detach()
    return require_tensor(sample if sample.is_complex() else sample.double(), name, "n").cpu()


def points(ax: Axes, xy: Float[Tensor, "n 2"], labels: Int[Tensor, " n"], names: Sequence[str]) -> Axes:
    """Scatter the points (N, 2), each drawn as the name of its class if all names are single characters.

    Longer names become markers and colours with a legend.
    """
    require_tensor(xy, "xy", "n 2")
    require_labels(labels, "labels", count=len(xy), classes=len(names))
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


def _scaled(images: Float[Tensor, "n c h w"], signed: bool | float) -> Float[Tensor, "n c h w"]:
    """The values to draw: grey ones between −1 and 1 if they are signed, all others between 0 and 1."""
    if not signed and isinstance(signed, bool):
        return images
    largest = (
        images.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-12)  # (n, 1, 1, 1)
        if isinstance(signed, bool)
        else require_number(signed, "signed", above=0)
    )
    scaled = images / largest
    return (1 + scaled) / 2 if images.shape[1] == 3 else scaled


def _mosaic(images: Float[Tensor, "n c h w"], columns: int) -> Float[np.ndarray, "height width c"]:
    """The images side by side, row by row, with NaN in the gaps and in the places that are left over."""
    n, channels, height, width = images.shape
    rows = math.ceil(n / columns)
    gap = _gap(width)
    canvas = torch.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), torch.nan)
    for i, image in enumerate(images):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        canvas[top : top + height, left : left + width] = image.permute(1, 2, 0)  # (C, H, W) -> (H, W, C)
    return canvas.numpy()


def _gap(width: int) -> int:
    """Pixels between images of this width in a mosaic."""
    return max(1, round(0.12 * width))


def _require_titles(titles: Any, count: int, what: str) -> None:
    """No titles, or a list with a text for each of the columns or images."""
    if isinstance(titles, str) or not all(isinstance(title, str) for title in titles):
        raise TypeError(f"titles: expected a list of texts, got {titles!r}")
    if titles and len(titles) != count:
        raise ValueError(f"expected one title for each of the {count} {what}, got {len(titles)}")


def _label(
    ax: Axes, height: int, width: int, *, left: Sequence[str], above: Sequence[str], right: Sequence[str] = ()
) -> None:
    """Write beside the rows and above the columns of a mosaic of images of this size."""
    down, across = height + _gap(width), width + _gap(width)  # from one image to the next
    end = len(above) * across - _gap(width) - 0.5  # the right edge of the last column
    for i, (before, after) in enumerate(zip_longest(left, right, fillvalue="")):
        _write(ax, before, (-0.5, i * down + height / 2), (-8, 0), "right", "center")
        if right:
            _write(ax, after, (end, i * down + height / 2), (6, 0), "left", "center")
    for j, text in enumerate(above):
        _write(ax, text, (j * across + width / 2, -0.5), (0, 5), "center", "bottom")


def _write(
    ax: Axes,
    text: str,
    place: tuple[float, float],
    offset: tuple[float, float],
    horizontal: Literal["left", "center", "right"],
    vertical: Literal["center", "bottom"],
) -> None:
    """Write beside a place of the image, at a distance in points."""
    ax.annotate(text, place, offset, textcoords="offset points", fontsize=12, color=INK, ha=horizontal, va=vertical)
