"""Synthetic images with a shape on each: its class, its place and its pixels are known."""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from coursekit.validation import require_choice, require_integer, require_number

from .labelled import SegmentedImages

SHAPE_CLASSES = ("circle", "square", "triangle", "cross", "ring", "star")
BACKGROUND_LIMIT = 0.45  # no channel of a background is above it
SHAPE_LIMIT = 0.7  # at least two channels of a shape are above it
WAVES = 9  # the background has up to WAVES − 1 half-waves along each side


def shapes(n: int = 4000, size: int = 32, seed: int = 0, radius: tuple[float, float] = (0.22, 0.34)) -> SegmentedImages:
    """Images of one coloured shape each on a textured background, for nets whose reasons can be checked.

    Class, place, radius, rotation and colours are drawn independently, so that neither the
    colour nor the background tells the class. The background mixes two dark colours by a smooth random field. The shape
    has one light colour; two of its channels at least are 0.25 above all of the background. A ring's hole lies outside
    its mask.

    Image i depends on ``seed`` and i alone: a larger ``n`` keeps the first images, another ``size`` draws the same ones
    finer or coarser, and another ``seed`` gives others, for testing.

    Args:
        n: the number of images.
        size: pixels per side, at least 16: fewer do not tell a star from a circle.
        seed: another one gives other images.
        radius: the least and the greatest radius of a shape, as fractions of the side, at most 0.5. With the default
            the centre of the image lies on most shapes; with (0.16, 0.24) on one in four.

    Returns:
        Images (n, 3, size, size) with labels, masks and boxes.

    >>> data = shapes(3, size=16)
    >>> [data.classes[label] for label in data.labels]
    ['triangle', 'cross', 'circle']
    >>> top, left, bottom, right = data.boxes[2]
    >>> data.images[2, :, top:bottom, left:right].shape
    torch.Size([3, 8, 9])
    """
    n = require_integer(n, "n", low=1)
    size = require_integer(size, "size", low=16)
    seed = require_integer(seed, "seed", low=0)
    radius = _require_radius(radius)
    # Row i holds all random numbers of image i.
    counts = [1, 2, 1, 1, 5, 6, WAVES**2]
    chance = torch.rand(n, sum(counts), generator=torch.Generator().manual_seed(seed))
    kind, place, scale, turn, colour, darks, waves = chance.split(counts, dim=1)  # (n, count) each

    # The outline: a pixel belongs to the shape if its centre lies inside.
    labels = (len(SHAPE_CLASSES) * kind[:, 0]).long()
    distance = _distances(labels, place, radius[0] + (radius[1] - radius[0]) * scale, turn, size)  # (n, size, size)
    masks = distance <= 0
    coverage = (0.5 - distance).clamp(0, 1)[:, None]  # the fraction of each pixel that the shape covers: soft edges

    # The shape's colour over the background, pixel by pixel.
    light = _light_colours(colour)[:, :, None, None]  # (n, 3, 1, 1)
    images = torch.lerp(_backgrounds(darks, waves, size), light, coverage)  # (n, 3, size, size)
    return SegmentedImages(images, labels, SHAPE_CLASSES, masks, _bounding_boxes(masks))


def signed_distance(name: str, u: Float[Tensor, "*n"], v: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """The distance of (u, v) from the outline of a shape in the unit circle, negative inside; exact near its edges."""
    require_choice(name, "name", SHAPE_CLASSES)
    r = torch.hypot(u, v)
    if name == "circle":
        return r - 0.9
    if name == "square":
        return torch.maximum(u.abs(), v.abs()) - 0.7
    if name == "triangle":
        return torch.maximum(v, (3**0.5 * u.abs() - v) / 2) - 0.5
    if name == "cross":
        along, across = torch.maximum(u.abs(), v.abs()), torch.minimum(u.abs(), v.abs())
        return torch.maximum(along - 0.95, across - 0.28)
    if name == "ring":
        return (r - 0.73).abs() - 0.22
    # A star is a wedge of 36°, repeated ten times; every other one is mirrored.
    tenth = math.pi / 5
    wedge = ((torch.atan2(v, u) / tenth + 1).remainder(2) - 1).abs() * tenth  # 0 at a tip, π/5 between two tips
    inner = 0.42  # the radius between two tips
    edge_u, edge_v = inner * math.cos(tenth) - 1, inner * math.sin(tenth)
    return ((r * wedge.cos() - 1) * -edge_v + r * wedge.sin() * edge_u) / -math.hypot(edge_u, edge_v)


def _require_radius(radius: tuple[float, float]) -> tuple[float, float]:
    if not isinstance(radius, tuple | list) or len(radius) != 2:
        raise TypeError(f"radius: expected the least and the greatest radius, got {radius!r}")
    least = require_number(radius[0], "radius", above=0, high=0.5)
    return least, require_number(radius[1], "radius", low=least, high=0.5)


def _distances(
    labels: Int[Tensor, " n"],
    place: Float[Tensor, "n 2"],
    radius: Float[Tensor, "n 1"],
    turn: Float[Tensor, "n 1"],
    size: int,
) -> Float[Tensor, "n size size"]:
    """The distance of every pixel's centre from the outline of the shape, in pixels and negative inside."""
    radius = radius[:, :, None]  # (n, 1, 1); the side of the image is 1
    centre = radius[:, 0] + (1 - 2 * radius[:, 0]) * place  # (n, 2); the whole shape lies on the image
    angle = 2 * math.pi * turn[:, :, None]
    side = _pixel_centres(size)
    x, y = side - centre[:, :1, None], side[:, None] - centre[:, 1:, None]  # (n, 1, size), (n, size, 1)
    # Turned and scaled, so that the shape lies in the unit circle.
    u = (x * angle.cos() + y * angle.sin()) / radius  # (n, size, size)
    v = (y * angle.cos() - x * angle.sin()) / radius
    distance = torch.empty(len(labels), size, size)
    for k, name in enumerate(SHAPE_CLASSES):
        distance[labels == k] = signed_distance(name, u[labels == k], v[labels == k])
    return distance * radius * size


def _light_colours(chance: Float[Tensor, "n 5"]) -> Float[Tensor, "n 3"]:
    """Two channels above SHAPE_LIMIT and one of any strength: cyan, yellow, white, …"""
    colours = SHAPE_LIMIT + (1 - SHAPE_LIMIT) * chance[:, :3]
    free = (3 * chance[:, 3]).long()  # (n,), which channel is free
    colours[torch.arange(len(colours)), free] = chance[:, 4]
    return colours


def _backgrounds(
    chance: Float[Tensor, "n 6"], waves: Float[Tensor, "n k2"], size: int
) -> Float[Tensor, "n 3 size size"]:
    """Two dark colours, mixed by a random sum of cosines up to a highest frequency, squashed into (0, 1)."""
    first, second = (BACKGROUND_LIMIT * chance)[:, :, None, None].chunk(2, dim=1)  # (n, 3, 1, 1)
    k = torch.arange(WAVES)
    cosines = torch.cos(math.pi * _pixel_centres(size)[:, None] * k)  # (size, k)
    strength = torch.hypot(k[:, None].float(), k.float()).clamp_min(1).pow(-0.5)  # longer waves are stronger
    field = cosines @ ((2 * waves.reshape(-1, WAVES, WAVES) - 1) * strength) @ cosines.T  # (n, size, size)
    return torch.lerp(first, second, torch.sigmoid(1.5 * field)[:, None])


def _pixel_centres(size: int) -> Float[Tensor, " size"]:
    """The places of the pixels along a side of length 1."""
    return (torch.arange(size) + 0.5) / size


def _bounding_boxes(masks: Bool[Tensor, "n size size"]) -> Int[Tensor, "n 4"]:
    """Top, left, bottom, right of the true pixels; the last two are one beyond them."""
    size = masks.shape[-1]
    rows, columns = masks.any(dim=2).byte(), masks.any(dim=1).byte()  # (n, size)
    return torch.stack(
        [
            rows.argmax(dim=1),
            columns.argmax(dim=1),
            size - rows.flip(1).argmax(dim=1),
            size - columns.flip(1).argmax(dim=1),
        ],
        dim=1,
    )
