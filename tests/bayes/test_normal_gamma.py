import math

import pytest
import torch
from torch.distributions import Gamma, Normal

from coursekit.bayes import grid, kl_divergence, mean_field_normal_gamma, moments, normal_gamma_posterior, normalize

PRIOR = {"mu0": 0.5, "lambda0": 2.0, "a0": 3.0, "b0": 1.5}


def data(n=8):
    return 1 + 0.7 * torch.randn(n, dtype=torch.float64)


def log_joint(x, mu, tau):
    """log p(x, μ, τ) with PRIOR."""
    likelihood = Normal(mu[..., None], tau[..., None].rsqrt()).log_prob(x).sum(dim=-1)
    prior = Normal(torch.tensor(0.5, dtype=torch.float64), (2 * tau).rsqrt()).log_prob(mu)
    return likelihood + prior + Gamma(*torch.tensor([3.0, 1.5], dtype=torch.float64)).log_prob(tau)


def test_exact_posterior_and_evidence_agree_with_quadrature():
    x = data()
    plane = grid((-3, 4, 201), (-4, 4, 201))  # μ and log τ

    def log_density(z):
        return log_joint(x, z[:, 0], z[:, 1].exp()) + z[:, 1]

    log_p, log_evidence = normalize(log_density, plane)
    posterior = normal_gamma_posterior(x, **PRIOR)
    assert posterior.log_evidence == pytest.approx(log_evidence, abs=1e-8)
    mean, covariance = moments(log_p, plane)
    assert posterior.mean == pytest.approx(mean[0].item(), abs=1e-8)
    assert posterior.mean_marginal().variance.item() == pytest.approx(covariance[0, 0].item(), abs=1e-7)
    tau = plane.points[:, 1].exp()
    assert posterior.precision_marginal().mean.item() == pytest.approx((log_p.softmax(0) @ tau).item(), abs=1e-7)


def test_the_elbo_is_below_the_evidence_by_the_kl():
    x = data(4)
    q, exact = mean_field_normal_gamma(x, **PRIOR), normal_gamma_posterior(x, **PRIOR)
    plane = grid((-4, 5, 241), (-6, 4, 241))
    mu, log_tau = plane.points.T
    log_p = log_joint(x, mu, log_tau.exp()) + log_tau - exact.log_evidence
    log_q = q.mean_marginal().log_prob(mu) + q.precision_marginal().log_prob(log_tau.exp()) + log_tau
    gap = kl_divergence(log_q, log_p, plane).item()
    assert gap > 1e-3
    assert q.elbo[-1] == pytest.approx(exact.log_evidence - gap, abs=1e-7)


@pytest.mark.parametrize("prior", [PRIOR, {}, {"a0": 1.0}, {"lambda0": 0.1, "b0": 2.0}])
def test_the_elbo_never_falls(prior):
    for n in (2, 5, 50):
        for start in (1e-3, 1.0, 1e3):
            q = mean_field_normal_gamma(data(n), **prior, start=start)
            assert q.converged
            assert len(q.elbo) == len(q.path) == 2 * q.sweeps
            assert (torch.tensor(q.elbo).double().diff() >= -1e-9 * (1 + abs(q.elbo[-1]))).all()


def test_without_hyperparameters_the_mean_square_has_denominator_n():
    """a = (n + 1)/2 gives 1/E[τ] = S/n; a = n/2 would give S/(n − 1)."""
    x = data(6)
    q, exact = mean_field_normal_gamma(x), normal_gamma_posterior(x)
    squares = (x - x.mean()).square().sum().item()
    assert q.shape == 3.5
    assert q.rate / q.shape == pytest.approx(squares / 6, rel=1e-9)
    assert exact.precision_marginal().mean.item() == pytest.approx(6 / squares, rel=1e-12)
    assert q.mean == exact.mean == pytest.approx(x.mean().item(), abs=1e-12)
    assert math.isnan(exact.log_evidence)


def test_both_marginals_are_too_narrow():
    x = data(6)
    q, exact = mean_field_normal_gamma(x, **PRIOR), normal_gamma_posterior(x, **PRIOR)
    assert q.mean_marginal().variance < exact.mean_marginal().variance
    assert q.precision_marginal().variance < exact.precision_marginal().variance


def test_too_few_sweeps_are_told():
    q = mean_field_normal_gamma(data(), start=1e-6, sweeps=1)
    assert not q.converged


@pytest.mark.usefixtures("without_annotations")
@pytest.mark.parametrize("function", [normal_gamma_posterior, mean_field_normal_gamma])
def test_wrong_arguments_are_told(function):
    with pytest.raises(ValueError, match="x: with b0=0 the posterior is improper unless two observations differ"):
        function(torch.full((3,), 0.1))
    with pytest.raises(ValueError, match="x: with b0=0 the posterior is improper"):
        function(torch.tensor([2.0]), lambda0=1.0, a0=1.0)
    with pytest.raises(ValueError, match="lambda0: expected a number ≥ 0, got -1"):
        function(torch.randn(3), lambda0=-1)
    with pytest.raises(TypeError, match="x: expected a tensor, got list"):
        function([1.0, 2.0])
    with pytest.raises(TypeError, match="x: expected float32 or float64, got int64"):
        function(torch.arange(3))
    with pytest.raises(ValueError, match=r"x: expected at least one element, got shape \(0,\)"):
        function(torch.empty(0))
    with pytest.raises(ValueError, match="x: 1 of 2 numbers are NaN or infinite"):
        function(torch.tensor([1.0, math.inf]))


def test_a_start_at_zero_is_refused():
    with pytest.raises(ValueError, match="start: expected a number > 0, got 0"):
        mean_field_normal_gamma(torch.randn(3), start=0)
