"""Exercises of lecture 15: count the modes that a sample reaches, damp a game, and fool a metric."""

from collections.abc import Callable

import torch
from torch import Tensor

from coursekit.datasets import ring
from coursekit.exercises.checking import TOLERANCE, Answer, Exercise, Exercises, Wrong, by_cases, require_result
from coursekit.generative import frechet_distance
from coursekit.generative import mode_coverage as covered

Slopes = Callable[[float, float], tuple[float, float]]  # (g, d) -> ∂v/∂g, ∂v/∂d

STEPS, ETA = 500, 0.1  # of the games v = (g − a)(d − b)
SHORTEST, LONGEST = 0.5, 2.5  # steps that are accepted, in units of η times the distance from the solution
MOST_LEFT = 0.5  # of the first distance, after all steps


def mode_coverage(samples: Tensor, modes: Tensor, std: float) -> tuple[int, float]:
    """Points (n, 2), centres (k, 2) → the number of captured modes, and the fraction of points within 3σ of a mode."""
    distance, nearest = torch.cdist(samples, modes).min(dim=1)
    good = distance <= 3 * std
    return len(nearest[good].unique()), good.double().mean().item()


def damped_game(slopes: Slopes, g: float, d: float, eta: float, steps: int) -> list[tuple[float, float]]:
    """The places (g, d) on the way to the solution of a game, the beginning included: extragradient."""
    path = [(g, d)]
    for _ in range(steps):
        by_g, by_d = slopes(g, d)
        by_g, by_d = slopes(g - eta * by_g, d + eta * by_d)  # where both would be after the step
        g, d = g - eta * by_g, d + eta * by_d
        path.append((g, d))
    return path


def fool(real: Tensor) -> Tensor:
    """Points (n, 2) of eight modes → as many points with their mean and covariance, hardly one of them near a mode."""
    noise = torch.randn_like(real)
    noise = (noise - noise.mean(dim=0)) @ torch.linalg.inv(torch.linalg.cholesky(noise.T.cov())).T
    return real.mean(dim=0) + noise @ torch.linalg.cholesky(real.T.cov()).T


def check_damped_game(answer: Answer) -> str:
    """In three games v = (g − a)(d − b), the path comes nearer to (a, b) by steps of about η times the distance."""
    for g, d, a, b in ((1.0, 0.0, 0.0, 0.0), (0.6, -0.8, 1.0, 1.0), (-0.3, 2.0, 0.5, -1.0)):

        def slopes(g: float, d: float, a: float = a, b: float = b) -> tuple[float, float]:
            return d - b, g - a

        found = answer(slopes, g, d, ETA, STEPS)
        path = require_result(found, (STEPS + 1, 2), "the beginning and the place (g, d) after each step").double()
        path = path - path.new_tensor([a, b])
        radius = path.norm(dim=1)
        if (path[0] - path.new_tensor([g - a, d - b])).abs().max() > TOLERANCE:
            raise Wrong(f"the first place of the path is not the beginning, ({g}, {d})")
        lengths = path.diff(dim=0).norm(dim=1) / (ETA * radius[:-1])
        for length in (lengths.min().item(), lengths.max().item()):
            if not SHORTEST <= length <= LONGEST:
                raise Wrong(
                    f"a step has {length:.3g} times the length η · √(∂v/∂g² + ∂v/∂d²); a step of another size is no "
                    "remedy: a smaller one only slows the spiral down"
                )
        if not radius[-1] <= MOST_LEFT * radius[0]:
            raise Wrong(
                f"after {STEPS} steps, the distance from the solution ({a}, {b}) is {radius[-1] / radius[0]:.3g} times "
                f"that of the beginning; wanted at most {MOST_LEFT}. Which slopes do the players meet where they go?"
            )
    return f"in three games, {STEPS} steps at least halve the distance from the solution"


def check_fool(answer: Answer) -> str:
    """The Fréchet distance is as small as between two samples of the data, and no more than a tenth is any good."""
    n = 2500
    for seed in (0, 1, 2):
        data = ring(n, seed)
        real, other = data.points, ring(n, 100 + seed).points
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            fake = require_result(answer(real.clone()), (n, 2), "as many points as in the data").to(real)
        floor = frechet_distance(real, other).item()
        distance = frechet_distance(real, fake).item()
        if distance > floor:
            raise Wrong(
                f"the Fréchet distance is {distance:.2g}, and {floor:.2g} between two samples of the data; wanted no "
                "more than that. It sees the mean and the covariance only"
            )
        found = covered(fake, data.modes, data.std)
        if found.high_quality > 0.1:
            raise Wrong(
                f"{found.high_quality:.0%} of the points are within 3σ of a mode: an honest sampler fools nobody. "
                "Wanted at most 10 %"
            )
    return "the Fréchet distance calls it as good as the data, and at most 10 % of the points are near a mode"


_modes = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
_near = torch.tensor([[0.25, 0.25], [4.0, 0.29], [3.8, 0.1], [2.0, 2.0], [0.1, 3.9]])

exercise = Exercises(
    by_cases(
        mode_coverage,
        {
            "three modes": (_near, _modes, 0.1),
            "points at the corner of the square around a mode": (_near[:1], _modes, 0.1),
            "a wide mode": (_near, _modes, 0.5),
            "modes that are near each other": (_near[:3] * torch.tensor([1.0, 0.1]), _modes / 8, 0.1),
            "points far from all modes": (_near + 20, _modes, 0.1),
            "twenty times one mode": (0.01 * torch.arange(40.0).view(20, 2), _modes, 0.2),
        },
    ),
    Exercise(damped_game, check_damped_game),
    Exercise(fool, check_fool),
)
