"""Kernel density estimation: a bump on every data point, its exact error for a Gaussian, and how to choose its width.

With a kernel K and a bandwidth h, the estimate of a density p on ℝᵈ from X₁ … Xₙ is

    p̂(x) = 1/n · Σᵢ h⁻ᵈ K((x − Xᵢ)/h).

Its expectation is the smoothed density p_h = p ∗ h⁻ᵈK(·/h), which exists even where p does not. Its mean integrated
squared error, MISE = E∫(p̂ − p)², is the squared bias ∫(p_h − p)² plus a variance of about ∫K² / (nhᵈ).
"""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from coursekit.validation import (
    require_choice,
    require_integer,
    require_number,
    require_points,
    require_samples,
)

Kernel = Literal["gaussian", "fourth-order"]
Rule = Literal["scott", "silverman"]

# A kernel is the inverse Fourier transform of Σⱼ cⱼ‖ω‖²ʲ · exp(−‖ω‖²/2), with these coefficients c.
TRANSFORMS: dict[Kernel, tuple[float, ...]] = {"gaussian": (1.0,), "fourth-order": (1.0, 0.5)}
BLOCK = 2**16  # distances that are held at a time: half a megabyte, which stays in the processor's cache
ROUNDING = 1e-11  # the largest relative rounding of a kernel that is accepted for the sake of speed


def kde(
    points: Float[Tensor, "m d"], data: Float[Tensor, "n d"], bandwidth: float, kernel: Kernel = "gaussian"
) -> Float[Tensor, " m"]:
    """Compute the kernel density estimate p̂(x) = 1/n · Σᵢ h⁻ᵈ K((x − Xᵢ)/h) at m points x.

    Args:
        points: the points x. The result can be differentiated with respect to them.
        data: the n points Xᵢ.
        bandwidth: h > 0, the same in all directions.
        kernel: "gaussian", K(u) = φ(u), the density of N(0, I); or "fourth-order", K(u) = (1 + (d − ‖u‖²)/2) φ(u). The
            latter has no second moments, so its bias falls as h⁴ instead of h², and it takes negative values.

    Returns:
        The estimate at each point: infinite where it exceeds the range of the dtype, which `log_kde` does not.

    Raises:
        TypeError: points or data is not a tensor of float32 or float64, or they differ in dtype; bandwidth is not a
            number.
        ValueError: points or data has another shape, no rows, or NaN; their rows differ in length; bandwidth ≤ 0; the
            kernel is unknown.

    Source:
        Silverman (1986), *Density estimation for statistics and data analysis*, section 4.2.

    >>> kde(torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0]]), bandwidth=0.5)  # N(0, 0.25) at 0 and 1
    tensor([0.7979, 0.1080])
    """
    require_choice(kernel, "kernel", get_args(Kernel))
    total, log_scale = _sums(points, data, bandwidth, kernel)
    return total * log_scale.exp()


def log_kde(points: Float[Tensor, "m d"], data: Float[Tensor, "n d"], bandwidth: float) -> Float[Tensor, " m"]:
    """Compute log p̂(x) for the Gaussian kernel, also where p̂ itself would be 0 or infinite in floating point.

    Args, errors:
        As for `kde`.

    >>> log_kde(torch.tensor([[100.0]]), torch.tensor([[0.0]]), bandwidth=1.0)
    tensor([-5000.9189])
    """
    total, log_scale = _sums(points, data, bandwidth)
    return total.log() + log_scale


def log_leave_one_out(data: Float[Tensor, "n d"], bandwidth: float) -> Float[Tensor, " n"]:
    """Compute log p̂₋ᵢ(Xᵢ), where p̂₋ᵢ is the Gaussian estimate from all points but Xᵢ.

    Raises:
        TypeError: data is not a tensor of float32 or float64, or bandwidth is not a number.
        ValueError: data is not of shape (n, d) with n ≥ 2, or has NaN; bandwidth ≤ 0.
    """
    require_points(data, "data", least=2)
    total, log_scale = _sums(data, data, bandwidth, leave_one_out=True)
    return total.log() + log_scale


def _sums(
    points: Float[Tensor, "m d"],
    data: Float[Tensor, "n d"],
    bandwidth: float,
    kernel: Kernel = "gaussian",
    leave_one_out: bool = False,
) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"]]:
    """Two factors of the estimate, total (m,) and the logarithm of scale (m,).

    Where points are far from the data or d is large, all kernels at a point can underflow, or h⁻ᵈ overflow. So the
    kernel at the nearest data point is taken out of each sum, and joined with h⁻ᵈ before anything is exponentiated.
    """
    require_samples(points, data, ("points", "data"))
    (m, d), n = points.shape, len(data)
    h = require_number(bandwidth, "bandwidth", above=0)

    # φ((x − Xᵢ)/h) ∝ exp(−qᵢ) with qᵢ = scale · ‖x − Xᵢ‖². A matrix product is the fastest way to find them, but it
    # cancels where the points are far apart and h is small: then take differences instead.
    scale = min(0.5 / h / h, torch.finfo(points.dtype).max)  # finite, so that 0 · scale is 0
    centre = data.mean(dim=0)
    x, y = points - centre, data - centre
    x2, y2 = x.square().sum(dim=1), y.square().sum(dim=1)  # (m,), (n,)
    by_product = scale * max(x2.max().item(), y2.max().item()) * torch.finfo(points.dtype).eps < ROUNDING

    # Written into tensors that exist before the blocks: small ones made in between would scatter over the freed blocks
    # and keep the memory from being used again.
    total, log_scale = points.new_empty(m), points.new_empty(m)
    rows = max(1, BLOCK // n)
    for start in range(0, m, rows):
        block = slice(start, start + rows)
        if by_product:  # qᵢ − shift = scale · (‖Xᵢ‖² − 2xᵀXᵢ)
            shift = scale * x2[block]  # (rows,)
            q = torch.addmm(y2, x[block], y.T, beta=scale, alpha=-2 * scale)  # (rows, n)
        else:
            shift = torch.zeros_like(x2[block])
            q = torch.cdist(points[block], data, compute_mode="donot_use_mm_for_euclid_dist").square() * scale
        if leave_one_out:
            q.diagonal(start).fill_(torch.inf)
        least = q.detach().amin(dim=1)  # (rows,): cancels in the end, and so do its gradients
        bumps = (least[:, None] - q).exp_()  # (rows, n): each kernel ÷ that of the nearest point
        if kernel == "fourth-order":
            bumps = (1 + d / 2 - shift[:, None] - q) * bumps
        total[block] = bumps.sum(dim=1)
        log_scale[block] = -least - shift
    if total.isnan().any() or log_scale.isnan().any():
        raise ValueError(f"points, data: their distances, in bandwidths, overflow {points.dtype} when squared")
    count = n - 1 if leave_one_out else n
    return total, log_scale - math.log(count) - d * math.log(h) - d / 2 * math.log(2 * math.pi)


def mise_gaussian(n: int, bandwidth: float, d: int = 1, kernel: Kernel = "gaussian") -> float:
    """Compute the exact mean integrated squared error E∫(p̂ − p)² for p = N(0, I) on ℝᵈ.

    By Parseval's theorem, with the Fourier transforms K̂ of the kernel and p̃(ω) = exp(−‖ω‖²/2) of p,

        MISE = (2π)⁻ᵈ ∫ [K̂(hω)² (1 − p̃(ω)²) / n + (K̂(hω) − 1)² p̃(ω)²] dω,

    variance and squared bias. Both are Gaussian integrals. For the Gaussian kernel they give

        MISE = (4π)^(−d/2) · [1/(nhᵈ) + (1 − 1/n)(1 + h²)^(−d/2) − 2(1 + h²/2)^(−d/2) + 1].

    Args:
        n: the number of data points.
        bandwidth: h > 0.
        d: the dimension.
        kernel: as for `kde`.

    Raises:
        TypeError: n or d is not an integer; bandwidth is not a number.
        ValueError: n or d < 1; bandwidth ≤ 0; the kernel is unknown.

    Source:
        Fryer (1976), *J. Inst. Math. Appl.* 18; Marron and Wand (1992), *Annals of Statistics* 20.

    >>> round(mise_gaussian(1000, bandwidth=0.272), 6)
    0.00103
    """
    n = require_integer(n, "n", low=1)
    d = require_integer(d, "d", low=1)
    require_choice(kernel, "kernel", get_args(Kernel))
    h = require_number(bandwidth, "bandwidth", above=0)
    c = TRANSFORMS[kernel]
    c2 = np.convolve(c, c).tolist()  # the coefficients of K̂²
    smoothed2 = _gaussian_integral(c2, 1 + h * h, h, d)  # ∫p_h²
    variance = (_gaussian_integral(c2, h * h, h, d) - smoothed2) / n
    bias2 = smoothed2 - 2 * _gaussian_integral(c, 1 + h * h / 2, h, d) + _gaussian_integral([1.0], 1.0, h, d)
    return variance + bias2


def _gaussian_integral(c: Sequence[float], a: float, h: float, d: int) -> float:
    """(2π)⁻ᵈ ∫ Σⱼ cⱼ‖hω‖²ʲ · exp(−a‖ω‖²) dω."""
    # E‖ω‖²ʲ for ω ~ N(0, I/2a) is (d/2)(d/2 + 1)…(d/2 + j − 1) / aʲ.
    moments = (math.prod((d / 2 + i) * h * h / a for i in range(j)) for j in range(len(c)))
    return (4 * math.pi * a) ** (-d / 2) * sum(cj * moment for cj, moment in zip(c, moments, strict=True))


def best_bandwidth(n: int, d: int = 1, kernel: Kernel = "gaussian") -> float:
    """Find the bandwidth with the smallest `mise_gaussian`.

    Raises:
        TypeError: n or d is not an integer.
        ValueError: n or d < 1; the kernel is unknown.

    >>> round(best_bandwidth(1000), 4)
    0.2723
    """
    from scipy.optimize import minimize_scalar

    n = require_integer(n, "n", low=1)
    d = require_integer(d, "d", low=1)
    require_choice(kernel, "kernel", get_args(Kernel))

    def log_mise(log_h: float) -> float:
        return math.log(mise_gaussian(n, math.exp(log_h), d, kernel))

    found = minimize_scalar(log_mise, bounds=(-6.0, 3.0), method="bounded", options={"xatol": 1e-8})
    return math.exp(found.x)


def rule_of_thumb(data: Float[Tensor, "n d"], rule: Rule) -> float:
    """Compute a bandwidth from the spread of the data: right for one Gaussian, too wide for several modes.

    With σ² the mean variance of the axes, Scott's rule is h = σ n^(−1/(d+4)), and Silverman's is
    h = σ (4/(d+2))^(1/(d+4)) n^(−1/(d+4)), which minimizes the asymptotic MISE of N(0, σ²I).

    Raises:
        TypeError: data is not a tensor of float32 or float64.
        ValueError: data is not of shape (n, d) with n ≥ 2, or has NaN; all rows are equal; the rule is unknown.

    Source:
        Scott (1992), *Multivariate density estimation*; Silverman (1986), section 4.3.

    >>> round(rule_of_thumb(torch.tensor([[-1.0], [0.0], [1.0]]), "scott"), 4)
    0.8027
    """
    require_choice(rule, "rule", get_args(Rule))
    require_points(data, "data", least=2)
    n, d = data.shape
    sigma = data.detach().double().var(dim=0).mean().sqrt().item()
    if sigma == 0:
        raise ValueError("data: expected rows that differ, got equal ones: their spread says nothing about a bandwidth")
    factor = 1.0 if rule == "scott" else 4 / (d + 2)
    return sigma * (factor / n) ** (1 / (d + 4))


def likelihood_cv(data: Float[Tensor, "n d"], bandwidth: float) -> float:
    """Compute the mean of log p̂₋ᵢ(Xᵢ), the likelihood of each point given all others: higher is better.

    It estimates ∫p log p̂ and so chooses the bandwidth whose p̂ is nearest to p in the Kullback-Leibler divergence. A
    point far from all others makes it choose a large one.

    Raises:
        TypeError, ValueError: as for `log_leave_one_out`.

    Source:
        Habbema, Hermans and van den Broek (1974), *COMPSTAT*; Duin (1976), *IEEE Trans. Computers* 25.
    """
    return log_leave_one_out(data, bandwidth).mean().item()


def least_squares_cv(data: Float[Tensor, "n d"], bandwidth: float) -> float:
    """Compute ∫p̂² − 2/n · Σᵢ p̂₋ᵢ(Xᵢ), an unbiased estimate of MISE − ∫p²: lower is better.

    Raises:
        TypeError, ValueError: as for `log_leave_one_out`.

    Source:
        Rudemo (1982), *Scand. J. Statistics* 9; Bowman (1984), *Biometrika* 71.
    """
    left_out = log_leave_one_out(data, bandwidth).exp().mean()
    # Two Gaussian kernels of bandwidth h make one of √2·h, so ∫p̂² is a mean over pairs of data.
    squared = kde(data, data, math.sqrt(2) * bandwidth).mean()
    return (squared - 2 * left_out).item()
