"""Exercises of lecture 15: count the modes that a sample reaches, damp a game, and fool a metric."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from coursekit.datasets import ring
from coursekit.exercises.checking import TOLERANCE, Answer, Exercise, Exercises, Wrong, by_cases, require_result
from coursekit.generative import frechet_distance
from coursekit.generative import mode_coverage as covered

Slopes = Callable[[float, float], tuple[float, float]]  # (g, d) -> ∂v/∂g, ∂v/∂d

STEPS, ETA = 500, 0.1
MOST_CALLS = STEPS + 2  # of the slopes: one a step, and a little for the first and the last
SHORTEST, LONGEST = 0.35, 2.5  # steps that are accepted, in units of η times the distance from the solution
ARRIVED = 1e-6  # of the first distance: a step from so near has no direction to judge
MOST_LEFT = 0.5  # of the first distance, after all steps of a bilinear game
MOST_LEFT_DIRAC = 0.95  # the field of the Dirac game is flatter
FOOLED = 200  # times nearer than another sample of the data: a slight blur is not


def mode_coverage(samples: Tensor, modes: Tensor, std: float) -> tuple[int, float]:
    """Points (n, 2), centres (k, 2) → the number of captured modes, and the fraction of points within 3σ of a mode."""
    distance, nearest = torch.cdist(samples, modes).min(dim=1)
    good = distance <= 3 * std
    return len(nearest[good].unique()), good.double().mean().item()


def damped_game(slopes: Slopes, g: float, d: float, eta: float, steps: int) -> list[tuple[float, float]]:
    """The places (g, d) on the way to the solution of a game, the beginning included: optimistic steps."""
    path, before = [(g, d)], slopes(g, d)
    for _ in range(steps):
        now = slopes(g, d)
        # the slopes change from here to the next place as they did from the last place to here
        g, d = g - eta * (2 * now[0] - before[0]), d + eta * (2 * now[1] - before[1])
        before = now
        path.append((g, d))
    return path


def fool(real: Tensor) -> Tensor:
    """Points (n, 2) of eight modes → as many points with their mean and covariance, hardly one of them near a mode."""
    noise = torch.randn_like(real)
    noise = (noise - noise.mean(dim=0)) @ torch.linalg.inv(torch.linalg.cholesky(noise.T.cov())).T
    return real.mean(dim=0) + noise @ torch.linalg.cholesky(real.T.cov()).T


def bilinear(a: float, b: float) -> Slopes:
    """The game v = (g − a)(d − b)."""
    return lambda g, d: (d - b, g - a)


def dirac(a: float, b: float) -> Slopes:
    """The game v = log σ(0) + log(1 − σ((d − b)(g − a))): a GAN of two points, moved to the solution (a, b)."""

    def slopes(g: float, d: float) -> tuple[float, float]:
        x = (d - b) * (g - a)
        s = torch.sigmoid(x) if isinstance(x, Tensor) else (1 + math.tanh(x / 2)) / 2
        return -s * (d - b), -s * (g - a)

    return slopes


def radii(answer: Answer, slopes: Slopes, start: tuple[float, float], solution: tuple[float, float]) -> Tensor:
    """Play a game: the distance from the solution before each step and at the end, and the length of each step."""
    calls = 0

    def counted(g: float, d: float) -> tuple[float, float]:
        nonlocal calls
        calls += 1
        return slopes(g, d)

    found = answer(counted, *start, ETA, STEPS)
    path = require_result(found, (STEPS + 1, 2), "the beginning and the place (g, d) after each step").double()
    if (path[0] - path.new_tensor(start)).abs().max() > TOLERANCE:
        raise Wrong(f"the first place of the path is not the beginning, {start}")
    if calls > MOST_CALLS:
        raise Wrong(f"{STEPS} steps ask for the slopes {calls} times; wanted once a step. Keep those of the last step")
    lengths = path.diff(dim=0, append=path[-1:]).norm(dim=1)
    return torch.stack([(path - path.new_tensor(solution)).norm(dim=1), lengths])  # (2, STEPS + 1)


def check_damped_game(answer: Answer) -> str:
    """The path comes nearer to the solution of bilinear games and a Dirac game, with one call of the slopes a step."""
    for g, d, a, b in ((1.0, 0.0, 0.0, 0.0), (0.6, -0.8, 1.0, 1.0), (-0.3, 2.0, 0.5, -1.0)):
        radius, length = radii(answer, bilinear(a, b), (g, d), (a, b))
        far = radius[:-1] > ARRIVED * radius[0]
        ratios = length[:-1][far] / (ETA * radius[:-1][far])
        for ratio in (ratios.min().item(), ratios.max().item()):
            if not SHORTEST <= ratio <= LONGEST:
                raise Wrong(
                    f"a step has {ratio:.3g} times the length η · √(∂v/∂g² + ∂v/∂d²); wanted {SHORTEST} to {LONGEST}. "
                    "A smaller one only slows the spiral down; a pull toward 0 misses a solution that lies elsewhere"
                )
        require_nearer(radius, MOST_LEFT, f"the solution ({a}, {b})")
    radius, _ = radii(answer, dirac(2.0, -1.5), (3.0, -1.5), (2.0, -1.5))
    require_nearer(radius, MOST_LEFT_DIRAC, "the solution (2.0, -1.5) of a Dirac game")
    return (
        f"{STEPS} steps, one call of slopes each, at least halve the distance from the solution of three bilinear "
        "games, and shorten that of a Dirac game"
    )


def require_nearer(radius: Tensor, most_left: float, solution: str) -> None:
    """The last distance is at most the given part of the first one."""
    left = (radius[-1] / radius[0]).item()
    if not left <= most_left:
        raise Wrong(
            f"after {STEPS} steps, the distance from {solution} is {left:.3g} times that of the beginning; wanted at "
            f"most {most_left}. Which slopes do the players meet where they go?"
        )


def check_fool(answer: Answer) -> str:
    """The Fréchet distance is far smaller than between two samples of the data, and at most a tenth is any good."""
    n = 2500
    for seed in (0, 1, 2):
        data = ring(n, seed)
        real, other = data.points, ring(n, 100 + seed).points
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            fake = require_result(answer(real.clone()), (n, 2), "as many points as in the data").to(real)
        floor = frechet_distance(real.double(), other.double()).item()
        distance = frechet_distance(real.double(), fake.double()).item()
        if not distance <= floor / FOOLED:
            raise Wrong(
                f"the Fréchet distance is {distance:.2g}, and {floor:.2g} between two samples of the data; wanted at "
                "most a two-hundredth of that. It sees the mean and the covariance only: match both exactly"
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
