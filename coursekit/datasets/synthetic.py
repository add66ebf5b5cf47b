"""Drawn pictures, of which everything is known: what is on them, and where."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

SHAPES = ("circle", "square", "triangle", "cross", "ring", "star")
WAVES = 9  # the ground has up to WAVES − 1 half-waves along each side
GROUND, INK = 0.45, 0.7  # all channels of a ground are below the one, two channels of a shape above the other


@dataclass(frozen=True, eq=False, repr=False)
class ShapeSet:
    """Pictures of one shape each, and what is true of them.

    Images are float32 in [0, 1], labels int64 in 0 … ``len(classes)`` − 1. A mask is true where the centre of a pixel
    lies inside the shape (a ring's hole is outside), and ``top, left, bottom, right = box`` frames it as a slice does:
    ``mask[top:bottom, left:right]`` holds the whole shape and no empty margin.
    """

    images: Float[Tensor, "n 3 size size"]
    labels: Int[Tensor, " n"]
    boxes: Int[Tensor, "n 4"]
    masks: Bool[Tensor, "n size size"]
    classes: tuple[str, ...]

    def __repr__(self) -> str:
        n, *shape = self.images.shape
        return f"shapes: {n} images of {'×'.join(map(str, shape))}, {len(self.classes)} classes"


def shapes(n: int = 4000, size: int = 32, seed: int = 0) -> ShapeSet:
    """``n`` coloured shapes on a textured ground, drawn with soft edges: for nets whose reasons can be checked.

    Class, place, radius (0.22 to 0.34 of the side), rotation and colours are drawn independently, so that neither
    colour nor ground tells the class. The ground mixes two dark colours by a smooth random field; the shape has one
    light colour, in two of its channels at least 0.25 above all of the ground.

    Picture i depends on ``seed`` and i alone: a larger ``n`` keeps the first pictures, another ``size`` draws the same
    ones finer or coarser, and another ``seed`` gives others, for testing.

    Raises:
        ValueError: ``n`` is not positive, or ``size`` is less than 16, too few pixels to tell a star from a circle.
    """
    if n < 1:
        raise ValueError(f"expected n ≥ 1 pictures, got n={n}")
    if size < 16:
        raise ValueError(f"expected size ≥ 16, fewer pixels do not show the shapes, got size={size}")
    counts = [1, 2, 1, 1, 5, 6, WAVES**2]
    chance = torch.rand(n, sum(counts), generator=torch.Generator().manual_seed(seed))  # row i is all of picture i
    kind, place, scale, turn, colour, ground, waves = chance.split(counts, dim=1)

    labels = (len(SHAPES) * kind[:, 0]).long()
    radius = (0.22 + 0.12 * scale)[:, :, None]  # (n, 1, 1), the side of the picture is 1
    centre = radius[:, 0] + (1 - 2 * radius[:, 0]) * place  # (n, 2)
    angle = 2 * math.pi * turn[:, :, None]
    side = (torch.arange(size) + 0.5) / size
    x, y = side - centre[:, :1, None], side[:, None] - centre[:, 1:, None]  # (n, 1, size), (n, size, 1)
    u = (x * angle.cos() + y * angle.sin()) / radius  # (n, size, size), the shape lies in the unit circle
    v = (y * angle.cos() - x * angle.sin()) / radius
    distance = torch.empty(n, size, size)
    for k, name in enumerate(SHAPES):
        distance[labels == k] = signed_distance(name, u[labels == k], v[labels == k])
    masks = distance <= 0
    cover = (0.5 - distance * radius * size).clamp(0, 1)[:, None]  # the share of each pixel that the shape fills

    first, second = (GROUND * ground).chunk(2, dim=1)  # (n, 3)
    ink = INK + (1 - INK) * colour[:, :3]
    ink[torch.arange(n), (3 * colour[:, 3]).long()] = colour[:, 4]  # one channel of any strength: cyan, yellow, …
    mixture = _smooth_field(waves.reshape(n, WAVES, WAVES), side)[:, None]  # (n, 1, size, size), in (0, 1)
    images = torch.lerp(first[:, :, None, None], second[:, :, None, None], mixture)
    images = torch.lerp(images, ink[:, :, None, None], cover)
    return ShapeSet(images, labels, _boxes(masks), masks, SHAPES)


def signed_distance(name: str, u: Float[Tensor, "*n"], v: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """How far (u, v) lies from the outline of a shape in the unit circle, negative inside; exact beside its edges."""
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
    tenth = math.pi / 5  # a star is a wedge of this angle, ten times, every other one mirrored
    wedge = ((torch.atan2(v, u) / tenth + 1).remainder(2) - 1).abs() * tenth  # 0 at a tip, π/5 between two tips
    between = 0.42  # the radius there
    edge_u, edge_v = between * math.cos(tenth) - 1, between * math.sin(tenth)
    return ((r * wedge.cos() - 1) * -edge_v + r * wedge.sin() * edge_u) / -math.hypot(edge_u, edge_v)


def _smooth_field(waves: Float[Tensor, "n k k"], side: Float[Tensor, " size"]) -> Float[Tensor, "n size size"]:
    """A random sum of cosines up to a highest frequency, squashed into (0, 1)."""
    k = torch.arange(WAVES)
    cosines = torch.cos(math.pi * side[:, None] * k)  # (size, k)
    strength = torch.hypot(k[:, None].float(), k.float()).clamp_min(1).pow(-0.5)  # longer waves are stronger
    field = cosines @ ((2 * waves - 1) * strength) @ cosines.T
    return torch.sigmoid(1.5 * field)


def _boxes(masks: Bool[Tensor, "n size size"]) -> Int[Tensor, "n 4"]:
    """Top, left, bottom, right of what is true; the last two are one beyond it."""
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
