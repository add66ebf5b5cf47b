"""Exercises of lecture 10: all optima of KL(q‖p), the ELBO on a grid, gradients in σ and with a baseline."""

import functools
import itertools
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, Normal

from coursekit.bayes import fit_gaussian, grid
from coursekit.exercises.checking import Answer, Exercise, Exercises, Wrong, by_cases, require_result

LINE = grid((-24, 24, 1921))
Density = Callable[[Tensor], Tensor]

UNBIASED = 1e-8  # relative: the exact mean over a quadrature differs by rounding only
VARIANCE = 26.0  # for x² and N(1, 1): 30 without a baseline, 24 with f at one other sample, 14 at best
HIGHER = 100.0  # what is added to x²: a baseline that follows f does not notice it, a constant is far off
TERMS, CALLS = 50, 4000  # that variance is measured from this many means of this many terms

NEAR = 0.03  # how close mean and standard deviation must be to an optimum
# Weights, means and standard deviations of mixtures, with means from which descents reach all optima.
MIXTURES = {
    "a density with one mode": ([0.5, 0.5], [-1.0, 1.0], [1.0, 1.0], [0.0]),
    "two modes that are far apart": ([0.5, 0.5], [-3.5, 3.5], [1.0, 1.0], [-3.5, 0.3, 3.5]),
    "two unequal modes": ([0.8, 0.2], [-1.0, 6.0], [1.0, 0.5], [-1.0, 0.3, 6.0]),
    "three modes": ([0.3, 0.5, 0.2], [-6.0, 0.0, 5.0], [0.7, 0.5, 1.0], [-6.0, -3.0, -0.5, 0.0, 2.0, 5.0]),
}


def elbo(log_joint: Tensor, q: Tensor, dz: float) -> Tensor:
    """∫ q log(p/q) from log p(x, z) (n,) and q(z) (n,) on a grid of spacing dz: E_q[log p] plus the entropy of q."""
    return dz * (torch.where(q > 0, q * log_joint, 0).sum() + torch.special.entr(q).sum())


def sigma_terms(slope: Density, noise: Tensor, mu: float, sigma: float) -> Tensor:
    """The terms f′(z) ∂z/∂σ for z = μ + σε, from the slope f′ and noise ε (n,)."""
    return slope(mu + sigma * noise) * noise


def score_gradient(values: Tensor, z: Tensor, mu: float, sigma: float) -> Tensor:
    """The terms (f(zᵢ) − bᵢ) (zᵢ − μ)/σ², where bᵢ is the mean of f over the other samples.

    The value minus that mean is n/(n − 1) times the value minus the mean of all.
    """
    n = len(values)
    return n / (n - 1) * (values - values.mean()) * (z - mu) / sigma**2


def check_score_gradient(answer: Answer) -> str:
    """The answer is unbiased, and the mean of n terms has a variance of at most 26/n for N(1, 1).

    That holds for x² and for x² + 100, so the baseline must come from the values, and not from the x² of the lecture.
    """
    # The mean over all samples of size n, by Gauss–Hermite quadrature: exact for polynomials.
    for name, f, gradient in (
        ("f = 1", torch.ones_like, lambda mu, _: 0.0),
        ("f = z", lambda z: z, lambda mu, _: 1.0),
        ("f = z²", torch.square, lambda mu, _: 2 * mu),
        ("f = 5 + z²", lambda z: 5 + z.square(), lambda mu, _: 2 * mu),
        # A regression of f on z is unbiased up to degree 2, and wrong here.
        ("f = z³", lambda z: z**3, lambda mu, sigma: 3 * mu**2 + 3 * sigma**2),
    ):
        for (mu, sigma), n in itertools.product([(1.0, 1.0), (-0.5, 2.0)], [2, 3]):
            mean = _mean_estimate(answer, f, mu, sigma, n)
            wanted = gradient(mu, sigma)
            if abs(mean - wanted) > UNBIASED * (1 + abs(wanted)):
                raise Wrong(
                    f"for {name}, N({mu:g}, {sigma:g}²) and {n} samples the mean of your estimate is {mean:.4g}, but "
                    f"the gradient is {wanted:g}: {_cause(mean, wanted, n)}"
                )

    # Only a baseline that follows f leaves the variance as it is when a constant is added to f.
    for name, constant, without in (("x²", 0.0, "30/n"), ("x² + 100", HIGHER, "10 830/n")):
        variance = _variance(answer, constant)
        if variance > VARIANCE:
            raise Wrong(
                f"it is unbiased, but for {name} and N(1, 1) the mean of n terms has variance {variance:.1f}/n; wanted "
                f"at most {VARIANCE:g}/n. Without a baseline it is {without}"
            )

    # Unbiased for as many terms as the variance is measured from, too, for an f that no other case uses.
    excess, error = _mean_excess(answer, lambda z: torch.sin(2 * z), 0.3)
    if abs(excess) > 6 * error + UNBIASED:
        wanted = 2 * math.cos(0.6) * math.exp(-2)  # ∂/∂μ E[sin 2z] for N(μ, 1)
        raise Wrong(
            f"for f = sin 2z, N(0.3, 1) and {TERMS} samples the mean of your estimate is {wanted + excess:.4f} ± "
            f"{error:.1g}, but the gradient is {wanted:.4f}"
        )
    return f"unbiased, and for x² and x² + 100 the mean of n terms has a variance of at most {VARIANCE:g}/n"


def _variance(answer: Answer, constant: float) -> float:
    """n times the variance of the mean of n terms, for x² + constant and N(1, 1).

    It is not the variance within a call: terms that are all equal would have none.
    """
    torch.manual_seed(0)
    means = []
    for z in 1 + torch.randn(CALLS, TERMS, dtype=torch.float64):
        given = z.square() + constant, z.clone(), 1.0, 1.0
        terms = require_result(answer(*given), (TERMS,), "one term for each sample")
        means.append(terms.double().mean())
    return TERMS * torch.stack(means).var().item()


def _mean_excess(answer: Answer, f: Density, mu: float) -> tuple[float, float]:
    """How far the mean estimate for N(mu, 1) is above the gradient, and the standard error of that.

    It is compared with unbiased terms from the same samples, which removes most of the noise.
    """
    torch.manual_seed(1)
    gaps = []
    for z in mu + torch.randn(CALLS, TERMS, dtype=torch.float64):
        terms = require_result(answer(f(z), z.clone(), mu, 1.0), (TERMS,), "one term for each sample")
        gaps.append(terms.double().mean() - score_gradient(f(z), z, mu, 1.0).mean())
    gap = torch.stack(gaps)
    return gap.mean().item(), (gap.std() / CALLS**0.5).item()


def _mean_estimate(answer: Answer, f: Density, mu: float, sigma: float, n: int) -> float:
    """E[mean of the terms] over all samples of size n."""
    total = 0.0
    for z, weight in _samples(n):
        at = mu + sigma * z
        terms = require_result(answer(f(at), at.clone(), mu, sigma), (n,), "one term for each sample")
        total += weight * terms.double().mean().item()
    return total


def _samples(n: int) -> Iterator[tuple[Tensor, float]]:
    """Samples of size n from N(0, 1) and their weights: every combination of six nodes."""
    from numpy.polynomial.hermite_e import hermegauss

    nodes, weights = hermegauss(6)
    weights = weights / weights.sum()
    for places in itertools.product(range(6), repeat=n):
        yield torch.tensor(nodes[list(places)]), math.prod(weights[list(places)])


def _cause(mean: float, wanted: float, n: int) -> str:
    """The likely reason why the mean is wrong."""
    if math.isclose(mean, wanted * (n - 1) / n, abs_tol=1e-6):
        return "the baseline of a sample must not contain its own value"
    if math.isclose(mean, -wanted, abs_tol=1e-6):
        return "look at the sign"
    return "does the score, the derivative of log q in μ, have the right mean and scale?"


def local_optima(log_p: Density) -> list[tuple[float, float]]:
    """Mean and standard deviation of every Gaussian that minimizes KL(q‖p) locally, from many starts."""
    starts = torch.linspace(-8, 8, 17, dtype=torch.float64)[:, None]
    fits = fit_gaussian(log_p, grid=LINE, starts=starts)
    return [(fit.mean.item(), fit.covariance.item() ** 0.5) for fit in fits]


def check_local_optima(answer: Answer) -> str:
    """The answer finds each local optimum of four mixtures once, and nothing else."""
    for name in MIXTURES:
        optima = _optima(name)
        got = answer(mixture(name).log_prob)
        if got is None or got is Ellipsis:
            raise Wrong("it returns nothing yet; end the function with `return …`")
        rows = torch.as_tensor([[float(number) for number in row] for row in got], dtype=torch.float64)
        rows = rows.reshape(0, 2) if rows.numel() == 0 else rows
        found = require_result(rows, (len(rows), 2), "a list of pairs (mean, standard deviation)")
        near = (found[:, None] - optima).abs().amax(dim=2) <= NEAR  # (found, optima)
        if len(found) and not near.any():
            raise Wrong(
                f"on {name} none of your answers is a local optimum of KL(q‖p) (within {NEAR:g}): which divergence do "
                "you minimize?"
            )
        if missing := int((~near.any(dim=0)).sum()):
            raise Wrong(
                f"on {name} it misses {missing} of {len(optima)} local optima. A descent ends in one of them: try "
                "starts in many places, narrow and wide"
            )
        if wrong := int((~near.any(dim=1)).sum()):
            m, s = found[~near.any(dim=1)][0].tolist()
            raise Wrong(f"on {name} {wrong} of its answers are no local optimum, such as mean {m:.3g} and sd {s:.3g}")
        if len(found) > len(optima):
            raise Wrong(f"on {name} it lists {len(found)} optima, but only {len(optima)} of them are different")
    return f"all local optima of {len(MIXTURES)} densities, each once"


def mixture(name: str) -> MixtureSameFamily:
    """One of the densities of the check."""
    weights, means, sds, _ = (torch.tensor(numbers, dtype=torch.float64) for numbers in MIXTURES[name])
    return MixtureSameFamily(Categorical(weights), Normal(means, sds))


@functools.cache
def _optima(name: str) -> Tensor:
    """The optima of one of the densities: mean and standard deviation (k, 2)."""
    starts = torch.tensor(MIXTURES[name][3], dtype=torch.float64)[:, None]
    fits = fit_gaussian(mixture(name).log_prob, grid=LINE, starts=starts)
    return torch.stack([torch.cat([fit.mean, fit.covariance[0].sqrt()]) for fit in fits])


def _on_a_line() -> dict[str, tuple[Tensor, Tensor, float]]:
    """Joint densities and approximations on a grid."""
    z = torch.linspace(-12, 12, 961, dtype=torch.float64)
    joint = Normal(z, 1.0).log_prob(torch.tensor(1.0)) + Normal(0.0, 1.0).log_prob(z)
    uniform = torch.where((z > -1.01) & (z < 1.99), torch.ones_like(z) / 3, 0)  # 120 points, from −1 to 1.975
    return {
        "a Gaussian q": (joint, Normal(0.3, 0.8).log_prob(z).exp(), 0.025),
        "the posterior": (joint, Normal(0.5, 0.5**0.5).log_prob(z).exp(), 0.025),
        "another grid": (joint[::2] - 3, Normal(-1.0, 1.5).log_prob(z[::2]).exp(), 0.05),
        "a q that is 0 in places": (joint, uniform, 0.025),
    }


def _slopes() -> dict[str, tuple[Density, Tensor, float, float]]:
    """Derivatives of functions, noise, and the mean and standard deviation of a Gaussian."""
    noise = torch.tensor([-1.7, -0.4, 0.3, 2.1], dtype=torch.float64)
    slopes: dict[str, Density] = {"x²": lambda z: 2 * z, "cos 2x": lambda z: -2 * torch.sin(2 * z)}
    return {
        f"{name}, N({mu:g}, {sigma:g}²)": (slope, noise, mu, sigma)
        for name, slope in slopes.items()
        for mu, sigma in ((1.3, 0.7), (-0.5, 2.0))
    }


exercise = Exercises(
    Exercise(local_optima, check_local_optima),
    by_cases(elbo, _on_a_line()),
    by_cases(sigma_terms, _slopes()),
    Exercise(score_gradient, check_score_gradient),
)
