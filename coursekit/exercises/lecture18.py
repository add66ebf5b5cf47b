"""Exercises of lecture 18: a kernel for codes, the unbiased MMD², a weight that suits the data, a density of codes."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from coursekit import distances
from coursekit.exercises.checking import NOTHING_YET, Answer, Exercise, Exercises, Wrong, by_cases
from coursekit.generative.measures import nearer_to_training
from coursekit.generative.wae import WAE, latent_mmd2
from coursekit.nets import fully_connected

POINTS, TIMES = 200, 150  # the size of a data set, and the updates of a training
MMD_LIMIT, ERROR_LIMIT = 0.01, 1.5  # MMD² of the codes, and the error as a multiple of that with λ = 0
OF_GAUSSIAN, COPIES = 1 / 3, 0.65  # MMD² as a part of the fitted Gaussian's, and the share of near copies

NO_GRADIENT = "no gradient passes through it; stay with tensors, without .item(), .detach() and NumPy"

Train = Callable[[float], tuple[float, float]]


def imq(squared: Tensor, dimensions: int, sigma: float) -> Tensor:
    """The kernel C/(C + ‖z − z′‖²) at squared distances, with C = 2kσ² for codes of k numbers."""
    c = 2 * dimensions * sigma**2
    return c / (c + squared)


def mmd2(codes: Tensor, draws: Tensor, kernel: Callable[[Tensor], Tensor]) -> Tensor:
    """The unbiased estimate of MMD² between codes (n, k) and draws (m, k); kernel: squared distances → values."""
    n, m = len(codes), len(draws)
    within_codes, between, within_draws = (
        kernel(torch.cdist(a, b).square()) for a, b in ((codes, codes), (codes, draws), (draws, draws))
    )
    within = [
        (it.sum() - it.diagonal().sum()) / (size * (size - 1)) for it, size in ((within_codes, n), (within_draws, m))
    ]
    return within[0] - 2 * between.mean() + within[1]


def choose_weight(train: Train) -> float:
    """A λ with codes near the prior, MMD² ≤ 0.01, and an error of at most 1.5 times that with λ = 0."""
    plain = train(0.0)[0]
    for weight in (10 * plain * 4.0**k for k in range(12)):
        error, mmd = train(weight)
        if mmd <= MMD_LIMIT and error <= ERROR_LIMIT * plain:
            return weight
    return weight


def new_codes(codes: Tensor, n: int) -> Tensor:
    """Draws (n, k) from a density of the codes (N, k): each from a Gaussian fitted to a code and its neighbours."""
    start = codes[torch.randint(len(codes), (n,))]
    near = codes[torch.cdist(start, codes).topk(min(40, len(codes)), largest=False).indices]  # (n, 40, k)
    middle = near.mean(dim=1, keepdim=True)
    steps = torch.randn(near.shape[:2], dtype=codes.dtype)[:, :, None] * (near - middle)
    return middle[:, 0] + steps.sum(dim=1) / math.sqrt(near.shape[1])


def fitted_gaussian(codes: Tensor, n: int) -> Tensor:
    """The poorest density: draws (n, k) from one Gaussian with the mean and the covariance of the codes."""
    return codes.mean(dim=0) + torch.randn(n, codes.shape[1]) @ torch.linalg.cholesky(codes.T.cov()).T


def make_train(scale: float) -> Train:
    """A function λ → (error, MMD²) of a WAE that is trained on a curved sheet in six dimensions, ``scale`` times."""

    def train(weight: float | Tensor | np.generic) -> tuple[float, float]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(18)
            u = torch.rand(POINTS, 2) * 2 - 1  # the two numbers that make a point
            mixed = torch.cat([u, (2 * u).sin(), u.square()], dim=1) @ torch.randn(6, 6) / math.sqrt(6)
            x = scale * (mixed + 0.05 * torch.randn(POINTS, 6))
            encoder = nn.Sequential(_Scaled(1 / scale), fully_connected((6, 32, 2)))
            decoder = nn.Sequential(fully_connected((2, 32, 6)), _Scaled(scale))
            step = WAE(encoder, decoder, 2, weight=float(weight), lr=1e-2)
            for _ in range(TIMES):
                step(x)
            with torch.no_grad():
                codes = encoder(x)
                error = (decoder(codes) - x).square().sum(dim=1).mean().item()
                return error, latent_mmd2(codes, torch.randn(2000, 2)).item()

    return train


class _Scaled(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


def check_weight(answer: Answer) -> str:
    """On data in two units of measurement, so far apart that no constant fits both, λ passes both tests."""
    for unit, scale in (("the unit of the data", 1.0), ("a unit a thousand times as small", 1000.0)):
        train = make_train(scale)
        weight = answer(train)
        if isinstance(weight, Tensor | np.generic):
            weight = weight.item()
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < math.inf:
            raise Wrong(f"expected a number λ ≥ 0, got {weight!r}")
        plain, (error, mmd) = train(0.0)[0], train(weight)
        ratio = error / plain
        got = f"in {unit}, λ = {weight:.3g} leaves MMD² at {mmd:.3g} and the error at {ratio:.3g} times that of λ = 0"
        if ratio > ERROR_LIMIT:
            raise Wrong(f"{got}; wanted at most {ERROR_LIMIT} times. The codes no longer tell the data apart: lower λ")
        if mmd > MMD_LIMIT:
            raise Wrong(f"{got}; wanted an MMD² of at most {MMD_LIMIT}. Raise λ. The error counts in squared units")
    return f"MMD² at most {MMD_LIMIT} at an error of at most {ERROR_LIMIT} times that of λ = 0, in both units"


def check_new_codes(answer: Answer) -> str:
    """New codes from five clusters in the plane are near codes that the answer never saw, and are no copies."""
    torch.manual_seed(18)
    angles = 2 * math.pi / 5 * torch.arange(5)
    centres = 3 * torch.stack([angles.cos(), angles.sin()], dim=1)
    codes, held_out = (centres[torch.randint(5, (400,))] + 0.4 * torch.randn(400, 2) for _ in range(2))

    def distance(made: Tensor) -> float:
        return distances.mmd2(made, held_out, distances.imq(0.5)).item()  # notices more than the means of clusters

    of_gaussian = distance(fitted_gaussian(codes, 1000))
    drawn: list[Tensor] = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002, the generator that students may use
        got = answer(codes.clone(), 1000)
        if got is None:
            raise Wrong(NOTHING_YET)
        if not isinstance(got, Tensor) or got.shape != (1000, 2):
            shape = tuple(got.shape) if isinstance(got, Tensor) else got
            raise Wrong(f"expected a tensor of 1000 codes of 2 numbers, shape (1000, 2), got {shape!r}")
        drawn.append(got.detach().float())
        if not drawn[-1].isfinite().all():
            raise Wrong("a code is not finite: does a covariance come from too few codes?")
    if torch.equal(drawn[0], drawn[1]):
        raise Wrong("two calls return the same codes; draw new ones each time")
    ratio = max(distance(made) for made in drawn) / of_gaussian
    copies = max(nearer_to_training(made, codes, held_out) for made in drawn)
    if copies > COPIES:
        raise Wrong(f"{copies:.0%} of the codes are nearer to a given code than to any held-out one: copies, not draws")
    if ratio > OF_GAUSSIAN:
        raise Wrong(f"MMD² to held-out codes is {ratio:.2f} times the fitted Gaussian's; wanted at most a third")
    flat = "right in the plane, but not for codes of 3 numbers; take their length from codes.shape[1]"
    solid = torch.cat([codes.repeat(5, 1) + 0.1 * torch.randn(2000, 2), 0.4 * torch.randn(2000, 1)], dim=1)
    try:
        got = answer(solid, 7)
    except Exception as error:  # so it would end in the notebook, whose codes have eight numbers
        raise Wrong(f"{flat} ({error})") from error
    if not isinstance(got, Tensor) or got.shape != (7, 3):
        raise Wrong(flat)
    return "MMD² to held-out codes is at most a third of the fitted Gaussian's, and the codes are no copies"


def learnable(exercise: Exercise, at: Callable[[Answer, Tensor], Tensor], start: Tensor) -> Exercise:
    """The same exercise, whose answer must also pass the right gradient on: the encoder learns through it.

    Args:
        exercise: judges the values of an answer.
        at: calls an answer at a tensor, and keeps its other arguments fixed.
        start: where the gradient is compared with that of the solution.
    """

    def check(answer: Answer) -> str:
        praise = exercise.check(answer)
        slopes: list[Tensor] = []
        for function in (exercise.solution, answer):
            z = start.clone().requires_grad_()
            try:
                value = at(function, z)
            except Exception as error:  # NumPy refuses a tensor that a gradient passes through
                raise Wrong(f"right numbers, but {NO_GRADIENT}") from error
            if not isinstance(value, Tensor) or not value.requires_grad:
                raise Wrong(f"right numbers, but {NO_GRADIENT}")
            slopes.append(torch.autograd.grad(value.sum(), z)[0])
        if not torch.allclose(slopes[0], slopes[1], rtol=1e-4, atol=1e-6):  # nor is NaN, of a root at 0, close
            raise Wrong("right numbers, but a wrong gradient: is a part detached, or is there a root of 0?")
        return praise

    return Exercise(exercise.solution, check)


_SQUARED = torch.tensor([0.0, 1.0, 16.0, 400.0], dtype=torch.float64)
_Z = torch.tensor([[0.0, 1.0], [2.0, -1.0], [0.5, 0.5], [3.0, 3.0]], dtype=torch.float64)
_NEAR = torch.tensor([[0.1, 0.9], [1.9, -1.0], [0.6, 0.4]], dtype=torch.float64)  # here the estimate is negative


def _three_kernels(squared: Tensor) -> Tensor:
    return distances.imq(4.0)(squared) + 2 * distances.imq(1.0)(squared)  # 3 at 0, as sums of kernels are not 1 there


exercise = Exercises(
    learnable(
        by_cases(
            imq,
            {
                "eight dimensions": (_SQUARED, 8, 1.0),
                "two dimensions": (_SQUARED, 2, 1.0),
                "a wide prior": (_SQUARED, 8, 3.0),
                "a narrow prior": (_SQUARED[:2], 1, 0.5),
            },
        ),
        lambda kernel, squared: kernel(squared, 8, 1.0),
        _SQUARED,
    ),
    learnable(
        by_cases(
            mmd2,
            {
                "unequal sizes": (_Z, 2 * _Z[:3] + 1, distances.rbf(1.0)),
                "more draws": (_Z[:2], _Z + 5, distances.imq(4.0)),
                "near samples": (_Z[:3], _NEAR, distances.imq(4.0)),
                "a sum of kernels": (_Z, 2 * _Z[:3] + 1, _three_kernels),
            },
        ),
        lambda estimate, codes: estimate(codes, _NEAR, distances.imq(4.0)),
        _Z,
    ),
    Exercise(choose_weight, check_weight),
    Exercise(new_codes, check_new_codes),
)
