"""Exercises of lecture 8: a kernel density estimate, its exact error, its height, a bandwidth from the data alone."""

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from coursekit.density import kde, least_squares_cv, rule_of_thumb
from coursekit.exercises.checking import Answer, Exercise, Exercises, Wrong, by_cases, require_result

WORST = 1.7  # the median ISE of the answer's bandwidths, as a multiple of the best
SETS = 15  # data sets of each density
SIZES = (150, 300, 450)  # points in a data set, in turn


def kernel_density(points: Tensor, data: Tensor, h: float) -> Tensor:
    """The Gaussian kernel density estimate of data (n, d) at points (m, d), with bandwidth h: (m,)."""
    log_kernels = -torch.cdist(points, data).square() / (2 * h * h)  # (m, n)
    return log_kernels.exp().mean(dim=1) / (math.sqrt(2 * math.pi) * h) ** points.shape[1]


def mise(n: int, h: float, d: int) -> float:
    """The exact MISE for N(0, I) on ℝᵈ, n points and a Gaussian kernel of bandwidth h."""

    def overlap(variance: float) -> float:  # ∫ of the product of two Gaussians whose variances add up to this
        return (2 * math.pi * variance) ** (-d / 2)

    smoothed = 2 + 2 * h * h  # two data points, each with its kernel
    return (overlap(2 * h * h) - overlap(smoothed)) / n + overlap(smoothed) - 2 * overlap(2 + h * h) + overlap(2)


def height_at_peak(h: float, d: int) -> float:
    """The mean of the estimate at the peak of N(0, I) on ℝᵈ, as a multiple of the peak."""
    return (1 + h * h) ** (-d / 2)


def my_bandwidth(data: Tensor) -> float:
    """A bandwidth for data (n, 1): the best by least-squares cross-validation, from Silverman's rule downwards."""
    silverman = rule_of_thumb(data, "silverman")
    candidates = [silverman * 0.85**k for k in range(-3, 20)]
    return min(candidates, key=lambda h: least_squares_cv(data, h))


@dataclass(frozen=True)
class Modes:
    """An equal mixture of Gaussians on the line, with these centres and one standard deviation."""

    centres: tuple[float, ...]
    sd: float

    def scaled(self, factor: float) -> "Modes":
        """The density of ``factor`` times its points."""
        return Modes(tuple(factor * centre for centre in self.centres), factor * self.sd)

    def moved(self, by: float) -> "Modes":
        """The density of its points, each moved by ``by``."""
        return Modes(tuple(centre + by for centre in self.centres), self.sd)

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Points (n, 1)."""
        centres = torch.tensor(self.centres, dtype=torch.float64)
        which = torch.randint(len(centres), (n,), generator=generator)
        noise = torch.randn(n, generator=generator, dtype=torch.float64)
        return (centres[which] + self.sd * noise)[:, None]

    def ise(self, data: Tensor, h: float) -> float:
        """The integrated squared error ∫(p̂ − p)², exact: all its parts are overlaps of Gaussians."""
        centres = torch.tensor(self.centres, dtype=torch.float64)[:, None]
        estimate2 = kde(data, data, math.sqrt(2) * h).mean()
        both = kde(data, centres, math.hypot(self.sd, h)).mean()
        density2 = kde(centres, centres, math.sqrt(2) * self.sd).mean()
        return (estimate2 - 2 * both + density2).item()


DENSITIES = {
    "one mode": Modes((0.0,), 1.0),
    "two modes": Modes((-3.0, 3.0), 0.5),
    "four modes": Modes((-3.0, -1.0, 1.0, 3.0), 0.15),
}


def check_my_bandwidth(answer: Answer) -> str:
    """The median ISE over data sets is at most WORST times that of the best bandwidth, for each of three densities."""
    found = []
    for name, samples in _judged().items():
        ratios = []
        for density, data, best in samples:
            h = require_result(answer(data.clone()), (), "one number").double().item()
            if h <= 0:
                raise Wrong(f"expected a bandwidth > 0, got {h:.3g} for data of {name}")
            ratios.append(density.ise(data, h) / best)
        found.append((sorted(ratios)[len(ratios) // 2], name))
    worst, name = max(found)
    if worst > WORST:
        raise Wrong(
            f"on data of {name}, the median of ∫(p̂ − p)² ÷ its least value is {worst:.1f}; wanted at most {WORST}. "
            "If your rule knows only the spread of the data, it takes modes for spread: which quantity can be computed "
            "without p and tells whether h is too large or too small? If it tries a grid of bandwidths: the data sets "
            "have scales from 0.001 to 1000 and lie anywhere, so the grid must follow their spread about their mean."
        )
    return f"on three densities the median of ∫(p̂ − p)² ÷ its least value is at most {WORST}"


@functools.cache
def _judged() -> dict[str, list[tuple[Modes, Tensor, float]]]:
    """For each density, data sets with their own densities and the least ISE of any bandwidth on each.

    Each data set has a scale of its own, from 0.001 to 1000, and a place of its own: no fixed bandwidth will do, the
    distance from 0 tells nothing, and the spread does not tell which of the densities it comes from.
    """
    generator = torch.Generator().manual_seed(8)

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * torch.rand(1, generator=generator, dtype=torch.float64).item()

    judged: dict[str, list[tuple[Modes, Tensor, float]]] = {}
    for name, density in DENSITIES.items():
        judged[name] = []
        for k in range(SETS):
            scale = 10 ** uniform(-3, 3)
            own = density.scaled(scale).moved(scale * uniform(-100, 100))
            data = own.draw(SIZES[k % len(SIZES)], generator)
            bandwidths = [own.sd * 0.85**k for k in range(20)]
            judged[name].append((own, data, min(own.ise(data, h) for h in bandwidths)))
    return judged


LINE = torch.linspace(-1, 2, 7, dtype=torch.float64)[:, None]  # (7, 1)
PLANE = torch.tensor([[0.0, 0.0], [1.0, 0.5], [-0.5, 2.0], [0.3, -0.7]], dtype=torch.float64)
SPACE = torch.tensor([[0.2, 0.1, -0.3], [1.0, -1.0, 0.5]], dtype=torch.float64)

exercise = Exercises(
    by_cases(
        kernel_density,
        {
            "one dimension": (LINE, LINE[::3] + 0.1, 0.5),
            "two dimensions": (PLANE, PLANE[:3].flip(0), 0.4),
            "three dimensions": (SPACE, torch.cat([SPACE, SPACE + 0.2]), 0.7),
        },
        hints={"two dimensions": "each axis contributes its own factor 1/h and its own factor 1/√(2π)"},
    ),
    by_cases(
        mise,
        {
            "one dimension": (20, 0.5, 1),
            "two dimensions": (5, 0.4, 2),
            "three dimensions": (3, 0.9, 3),
            "many points": (10**6, 0.5, 1),
        },
        hints={
            "one dimension": (
                "are all four terms there? n of the n² pairs are a point with itself, N(0; 0, 2h² I); "
                "the other n(n − 1) have (2 + 2h²) I; ∫p̂p counts twice"
            ),
            "two dimensions": "which powers are right on a line only?",
        },
    ),
    by_cases(
        height_at_peak,
        {"one dimension": (0.5, 1), "three dimensions": (0.9, 3), "ten dimensions": (0.65, 10)},
        hints={"one dimension": "the kernel has the variance h² and p the variance 1; divide by p(0)"},
    ),
    Exercise(my_bandwidth, check_my_bandwidth),
)
