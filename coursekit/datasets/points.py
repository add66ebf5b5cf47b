"""Points of the plane whose law is known: Gaussians on a ring or a grid, and two parallel lines."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from coursekit.validation import require_integer, require_number


@dataclass(frozen=True)
class ModesOfThePlane:
    """Points of a mixture of Gaussians of equal weight, and what is true about them."""

    points: Float[Tensor, "n 2"]
    modes: Float[Tensor, "k 2"]  # the centres
    std: float  # of each mode, in both directions


def ring(n: int = 2500, seed: int = 0, *, modes: int = 8, radius: float = 1.0, std: float = 0.01) -> ModesOfThePlane:
    """Points around modes on a circle; the defaults are those of PacGAN (Lin et al. 2018).

    Args:
        n: the number of points.
        seed: another one gives other points.
        modes: the number of modes, equally spaced.
        radius: of the circle.
        std: the standard deviation of a mode.

    Raises:
        TypeError: n, modes or seed is not an integer; radius or std is not a number.
        ValueError: n or modes < 1; radius < 0; std ≤ 0; the seed is out of range.

    >>> ring(100).modes.norm(dim=1).round(decimals=3)
    tensor([1., 1., 1., 1., 1., 1., 1., 1.])
    """
    modes = require_integer(modes, "modes", low=1)
    radius = require_number(radius, "radius", low=0)
    angle = 2 * math.pi * torch.arange(modes) / modes
    return _around(radius * torch.stack([angle.cos(), angle.sin()], dim=1), n, seed, std)


def grid(n: int = 2500, seed: int = 0, *, side: int = 5, spacing: float = 2.0, std: float = 0.05) -> ModesOfThePlane:
    """Points around modes on a square grid with its centre at 0; the defaults are those of PacGAN (Lin et al. 2018).

    Args:
        n, seed, std: as for `ring`.
        side: modes along a side.
        spacing: between neighbours.

    Raises:
        TypeError, ValueError: as for `ring`; spacing ≤ 0.

    >>> grid(100).modes.shape
    torch.Size([25, 2])
    """
    side = require_integer(side, "side", low=1)
    spacing = require_number(spacing, "spacing", above=0)
    along = spacing * (torch.arange(side) - (side - 1) / 2)
    return _around(torch.cartesian_prod(along, along), n, seed, std)


def parallel_lines(theta: float, n: int = 2500, seed: int = 0) -> tuple[Float[Tensor, "n 2"], Float[Tensor, "n 2"]]:
    """Points (0, Z) and (θ, Z′) of two upright lines, with Z and Z′ uniform on [0, 1] (Arjovsky et al. 2017).

    Raises:
        TypeError: theta is not a number; n or seed is not an integer.
        ValueError: theta is infinite; n < 1; the seed is out of range.

    >>> data, model = parallel_lines(0.5, n=3)
    >>> data[:, 0], model[:, 0]
    (tensor([0., 0., 0.]), tensor([0.5000, 0.5000, 0.5000]))
    """
    theta = require_number(theta, "theta")
    n = require_integer(n, "n", low=1)
    heights = torch.rand(2, n, generator=torch.Generator().manual_seed(require_integer(seed, "seed", low=0)))
    places = torch.tensor([0.0, float(theta)])[:, None].expand(2, n)
    data, model = torch.stack([places, heights], dim=2)  # (2, n, 2)
    return data, model


def _around(modes: Float[Tensor, "k 2"], n: int, seed: int, std: float) -> ModesOfThePlane:
    n = require_integer(n, "n", low=1)
    std = require_number(std, "std", above=0)
    generator = torch.Generator().manual_seed(require_integer(seed, "seed", low=0))
    which = torch.randint(len(modes), (n,), generator=generator)
    return ModesOfThePlane(modes[which] + std * torch.randn(n, 2, generator=generator), modes, std)
