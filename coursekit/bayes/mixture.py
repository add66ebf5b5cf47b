"""Variational mixture of Gaussians: mean field for labels, weights, means and precisions.

    π ~ Dirichlet(α₀, …, α₀),   Λₖ ~ Wishart(W₀, ν₀),   μₖ | Λₖ ~ N(m₀, (β₀Λₖ)⁻¹),
    zₙ ~ Categorical(π),        xₙ | zₙ = k ~ N(μₖ, Λₖ⁻¹).

q(z) q(π) ∏ₖ q(μₖ, Λₖ) has the same forms. A small α₀ makes empty components cheap, so spare ones are emptied.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.distributions import Dirichlet

from coursekit.bayes.checks import require_positive_definite
from coursekit.validation import require_integer, require_number, require_tensor


@dataclass(frozen=True)
class _Prior:
    concentration: float  # α₀
    mean: Float[Tensor, " d"]  # m₀
    mean_precision: float  # β₀
    inverse_scale: Float[Tensor, "d d"]  # W₀⁻¹
    degrees: float  # ν₀


@dataclass(frozen=True)
class _Factors:
    """q(π) and q(μₖ, Λₖ) of K components."""

    concentration: Float[Tensor, " K"]  # α
    mean: Float[Tensor, "K d"]  # m
    mean_precision: Float[Tensor, " K"]  # β
    inverse_scale: Float[Tensor, "K d d"]  # W⁻¹
    degrees: Float[Tensor, " K"]  # ν


@dataclass(frozen=True)
class MeanFieldMixture:
    """q(z) q(π) ∏ₖ q(μₖ, Λₖ) of a mixture of K Gaussians in d dimensions."""

    responsibilities: Float[Tensor, "n K"]  # q(zₙ = k)
    concentration: Float[Tensor, " K"]  # α of q(π) = Dirichlet(α)
    mean: Float[Tensor, "K d"]  # m of q(μₖ | Λₖ) = N(mₖ, (βₖΛₖ)⁻¹)
    mean_precision: Float[Tensor, " K"]  # β
    scale: Float[Tensor, "K d d"]  # W of q(Λₖ) = Wishart(Wₖ, νₖ)
    degrees: Float[Tensor, " K"]  # ν
    elbo: Float[Tensor, " steps"]  # after each update, of the components and of the labels in turn
    sweeps: int
    converged: bool

    @property
    def weights(self) -> Float[Tensor, " K"]:
        """E[π]."""
        return self.concentration / self.concentration.sum()

    @property
    def covariance(self) -> Float[Tensor, "K d d"]:
        """E[Λₖ]⁻¹."""
        return torch.linalg.inv(self.degrees[:, None, None] * self.scale)

    @property
    def counts(self) -> Int[Tensor, " K"]:
        """How many points belong to each component more than to any other."""
        return self.responsibilities.argmax(dim=1).bincount(minlength=len(self.mean))


def mean_field_mixture(
    x: Float[Tensor, "n d"],
    components: int,
    concentration: float = 1.0,
    *,
    mean_precision: float = 1.0,
    covariance: Float[Tensor, "d d"] | None = None,
    degrees: float | None = None,
    responsibilities: Float[Tensor, "n K"] | None = None,
    seed: int = 0,
    sweeps: int = 2000,
    tolerance: float = 1e-8,
) -> MeanFieldMixture:
    """Fit a mixture of K Gaussians by coordinate ascent on the ELBO.

    Two updates alternate: q(π) ∏ₖ q(μₖ, Λₖ) from the responsibilities, and the responsibilities from those,

        log rₙₖ = E[log πₖ] + ½ E[log|Λₖ|] − ½ d log 2π − ½ (d/βₖ + νₖ (xₙ − mₖ)ᵀWₖ(xₙ − mₖ)) + constant.

    The ELBO never falls. It may have many local maxima, and the result depends on the start.

    Args:
        x: n points (n, d).
        components: K ≥ 1.
        concentration: α₀ > 0. Below 1 spare components tend to be emptied.
        mean_precision: β₀ > 0. m₀ is the mean of x.
        covariance: W₀⁻¹ (d, d), positive definite; by default the covariance of x.
        degrees: ν₀ > d − 1, by default d.
        responsibilities: where to start (n, K), rows that sum to 1; by default the clusters of scikit-learn's k-means.
        seed: of k-means.
        sweeps: the most pairs of updates.
        tolerance: converged when a sweep raises the ELBO by at most this, in nats for each point.

    Raises:
        TypeError: a tensor is not one of float32 or float64; a number is expected and something else given.
        ValueError: x is empty, or holds NaN or infinity; K is not from 1 to n; shapes differ; covariance is not
            positive definite, or by default x lies in a subspace; a number is out of range; responsibilities are
            negative or do not sum to 1.

    Source: C. Bishop, Pattern Recognition and Machine Learning, 2006, section 10.2.
    """
    data = require_tensor(x, "x", "n d").detach().double()
    n, d = data.shape
    components = require_integer(components, "components", low=1, high=n)
    if covariance is None:
        centred = data - data.mean(dim=0)
        inverse_scale = require_positive_definite(centred.T @ centred / max(n - 1, 1), "covariance of x")
    else:
        require_tensor(covariance, "covariance", f"{d} {d}")
        inverse_scale = require_positive_definite(covariance, "covariance")
    prior = _Prior(
        require_number(concentration, "concentration", above=0),
        data.mean(dim=0),
        require_number(mean_precision, "mean_precision", above=0),
        inverse_scale,
        float(d) if degrees is None else require_number(degrees, "degrees", above=d - 1),
    )
    sweeps = require_integer(sweeps, "sweeps", low=1)
    tolerance = require_number(tolerance, "tolerance", above=0)
    r = _start(data, components, seed) if responsibilities is None else _checked(responsibilities, n, components)

    path: list[float] = []
    converged, sweep = False, 0
    while not converged and sweep < sweeps:
        sweep += 1
        q = _update_components(data, r, prior)
        log_rho = _expected_log_joint(data, q)  # (n, K)
        path.append(_elbo(r, log_rho, q, prior))
        r = log_rho.softmax(dim=1)
        path.append(_elbo(r, log_rho, q, prior))
        converged = sweep > 1 and path[-1] - path[-3] <= tolerance * n
    scale = torch.linalg.inv(q.inverse_scale)
    return MeanFieldMixture(
        r, q.concentration, q.mean, q.mean_precision, scale, q.degrees, data.new_tensor(path), sweep, converged
    )


def _update_components(x: Float[Tensor, "n d"], r: Float[Tensor, "n K"], prior: _Prior) -> _Factors:
    """q(π) and q(μₖ, Λₖ) from the responsibilities: the prior plus counts, means and scatters of the components."""
    counts = r.sum(dim=0)  # (K,)
    averages = r.T @ x / counts.clamp_min(torch.finfo(x.dtype).tiny)[:, None]  # (K, d)
    off = x[:, None] - averages  # (n, K, d)
    scatter = torch.einsum("nk,nki,nkj->kij", r, off, off)  # (K, d, d)

    beta = prior.mean_precision + counts
    mean = (prior.mean_precision * prior.mean + counts[:, None] * averages) / beta[:, None]
    pull = averages - prior.mean  # (K, d)
    weight = prior.mean_precision * counts / beta  # (K,)
    inverse_scale = prior.inverse_scale + scatter + torch.einsum("k,ki,kj->kij", weight, pull, pull)
    return _Factors(prior.concentration + counts, mean, beta, inverse_scale, prior.degrees + counts)


def _expected_log_joint(x: Float[Tensor, "n d"], q: _Factors) -> Float[Tensor, "n K"]:
    """E[log p(xₙ, zₙ = k | π, μ, Λ)]."""
    d = x.shape[1]
    log_pi = torch.digamma(q.concentration) - torch.digamma(q.concentration.sum())  # (K,)
    log_det = _digamma_sum(q.degrees, d) + d * math.log(2) - torch.logdet(q.inverse_scale)  # E log|Λₖ|, (K,)
    off = (x[:, None] - q.mean).unsqueeze(-1)  # (n, K, d, 1)
    distance = (off * torch.linalg.solve(q.inverse_scale, off)).sum(dim=(2, 3))  # (n, K)
    squares = d / q.mean_precision + q.degrees * distance
    return log_pi + 0.5 * (log_det - d * math.log(2 * math.pi) - squares)


def _elbo(r: Float[Tensor, "n K"], log_rho: Float[Tensor, "n K"], q: _Factors, prior: _Prior) -> float:
    """E[log p(x, z | π, μ, Λ)] + entropy of q(z) − KL of q(π) and of all q(μₖ, Λₖ) from their priors."""
    data = (r * log_rho).sum() - torch.xlogy(r, r).sum()
    flat = torch.full_like(q.concentration, prior.concentration)
    weights = torch.distributions.kl_divergence(Dirichlet(q.concentration), Dirichlet(flat))
    return (data - weights - (_kl_means(q, prior) + _kl_wishart(q, prior)).sum()).item()


def _kl_means(q: _Factors, prior: _Prior) -> Float[Tensor, " K"]:
    """E_Λ KL(N(mₖ, (βₖΛ)⁻¹) ‖ N(m₀, (β₀Λ)⁻¹))."""
    d = q.mean.shape[1]
    ratio = prior.mean_precision / q.mean_precision  # (K,)
    off = (q.mean - prior.mean).unsqueeze(-1)  # (K, d, 1)
    distance = q.degrees * (off * torch.linalg.solve(q.inverse_scale, off)).sum(dim=(1, 2))
    return 0.5 * (d * (ratio - 1 - ratio.log()) + prior.mean_precision * distance)


def _kl_wishart(q: _Factors, prior: _Prior) -> Float[Tensor, " K"]:
    """KL(Wishart(Wₖ, νₖ) ‖ Wishart(W₀, ν₀))."""
    d = q.mean.shape[1]
    nu0 = torch.tensor(prior.degrees, dtype=torch.float64)
    log_ratio = torch.logdet(q.inverse_scale) - torch.logdet(prior.inverse_scale)  # log|W₀|/|Wₖ|, (K,)
    same = prior.inverse_scale.expand_as(q.inverse_scale)  # for K = d, solve would take a matrix for K vectors
    trace = torch.linalg.solve(q.inverse_scale, same).diagonal(dim1=1, dim2=2).sum(dim=1)
    gammas = torch.mvlgamma(nu0 / 2, d) - torch.mvlgamma(q.degrees / 2, d)
    shape = 0.5 * (q.degrees - nu0) * _digamma_sum(q.degrees, d)
    return 0.5 * nu0 * log_ratio + 0.5 * q.degrees * (trace - d) + gammas + shape


def _digamma_sum(degrees: Float[Tensor, " K"], d: int) -> Float[Tensor, " K"]:
    """Σᵢ ψ((ν + 1 − i)/2) for i = 1 … d."""
    return torch.digamma((degrees[:, None] - torch.arange(d, dtype=torch.float64)) / 2).sum(dim=1)


def _start(x: Float[Tensor, "n d"], components: int, seed: int) -> Float[Tensor, "n K"]:
    """The clusters of k-means as responsibilities 0 and 1."""
    from sklearn.cluster import KMeans

    seed = require_integer(seed, "seed", low=0, high=2**32 - 1)  # of NumPy
    labels = KMeans(components, n_init=1, random_state=seed).fit_predict(x.numpy())
    return torch.nn.functional.one_hot(torch.as_tensor(labels).long(), components).double()


def _checked(responsibilities: Tensor, n: int, components: int) -> Float[Tensor, "n K"]:
    r = require_tensor(responsibilities, "responsibilities", f"{n} {components}").double()
    if r.min() < 0 or (r.sum(dim=1) - 1).abs().max() > 1e-6:
        raise ValueError("responsibilities: expected rows of numbers ≥ 0 that sum to 1")
    return r
