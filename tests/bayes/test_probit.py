import math

import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm
from torch.distributions import MultivariateNormal

from coursekit.bayes import probit_log_joint, probit_posterior, probit_sites


def labelled(n, d, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    noise = torch.randn(n, generator=generator, dtype=torch.float64)
    return x, (x.sum(dim=1) * scale > noise).long()


@pytest.mark.parametrize(("mean", "variance"), [(0.0, 1.0), (-3.0, 0.5), (2.0, 10.0)])
def test_tilted_moments_are_those_of_factor_times_cavity(mean, variance):
    sd = math.sqrt(variance)

    def integral(f):
        return quad(lambda a: f(a) * norm.cdf(a) * norm.pdf(a, mean, sd), mean - 12 * sd, mean + 12 * sd, limit=200)[0]

    z = integral(lambda a: 1.0)
    m = integral(lambda a: a) / z
    v = integral(lambda a: (a - m) ** 2) / z
    found = probit_sites()(0, mean, variance)
    assert found.log_normalizer == pytest.approx(math.log(z), abs=1e-8)
    assert found.mean == pytest.approx(m, abs=1e-7)
    assert found.variance == pytest.approx(v, rel=1e-7)


def test_extreme_cavities_neither_underflow_nor_lose_their_variance():
    for mean in (-1e3, -50.0, 50.0):
        moments = probit_sites()(0, mean, 1.0)
        assert all(map(math.isfinite, moments))
        assert 0 < moments.variance <= 1


def test_one_observation_is_exact():
    x, y = labelled(1, 2)
    q, exact = probit_posterior(x, y), probit_posterior(x, y, "quadrature")
    torch.testing.assert_close(q.mean, exact.mean, rtol=0, atol=1e-9)
    torch.testing.assert_close(q.covariance, exact.covariance, rtol=0, atol=1e-9)
    assert q.log_evidence == pytest.approx(exact.log_evidence, abs=1e-9)
    assert exact.log_evidence == pytest.approx(math.log(0.5), abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("n", "d"), [(30, 1), (30, 2)])
def test_the_mean_of_ep_is_far_better_than_the_mode(n, d, seed):
    x, y = labelled(n, d, seed)
    exact = probit_posterior(x, y, "quadrature")
    ep, laplace = probit_posterior(x, y, "ep"), probit_posterior(x, y, "laplace")
    assert ep.converged
    assert laplace.converged
    assert 10 * (ep.mean - exact.mean).norm() < (laplace.mean - exact.mean).norm()
    assert abs(ep.log_evidence - exact.log_evidence) < 0.05
    torch.testing.assert_close(ep.covariance, exact.covariance, rtol=0.15, atol=0.01)


def test_quadrature_holds_separable_labels_with_a_vague_prior():
    """All labels are 1, so the posterior is skewed and has the tail of the prior."""
    x = torch.ones(40, 1, dtype=torch.float64)
    found = probit_posterior(x, torch.ones(40).long(), "quadrature", prior_variance=25.0)

    def density(b):
        return norm.cdf(b) ** 40 * norm.pdf(b, 0, 5)

    z = quad(density, -5, 80, points=[2.0], limit=300)[0]
    m = quad(lambda b: b * density(b), -5, 80, points=[2.0], limit=300)[0] / z
    assert found.log_evidence == pytest.approx(math.log(z), abs=1e-7)
    assert found.mean.item() == pytest.approx(m, abs=1e-6)


def test_five_dimensions_against_importance_sampling():
    x, y = labelled(40, 5, seed=2)
    ep, laplace = probit_posterior(x, y), probit_posterior(x, y, "laplace")
    proposal = MultivariateNormal(ep.mean, 1.5 * ep.covariance)
    z = proposal.sample((100_000,))
    log_weights = probit_log_joint(z, x, y) - proposal.log_prob(z)
    weights = log_weights.softmax(dim=0)
    effective = 1 / weights.square().sum()
    assert effective > 20_000
    mean = weights @ z
    noise = 4 * ep.covariance.diagonal().max().sqrt() / effective.sqrt()
    assert (ep.mean - mean).norm() < 0.2 * (laplace.mean - mean).norm() + noise
    log_evidence = log_weights.logsumexp(dim=0).item() - math.log(len(z))
    assert abs(ep.log_evidence - log_evidence) < 0.1


def test_laplace_stands_at_the_maximum():
    x, y = labelled(25, 3)
    q = probit_posterior(x, y, "laplace", prior_variance=4.0)

    def height(beta):
        return probit_log_joint(beta[None], x, y, 4.0)[0]

    assert torch.autograd.functional.jacobian(height, q.mean).abs().max() < 1e-8
    torch.testing.assert_close(torch.linalg.inv(-torch.autograd.functional.hessian(height, q.mean)), q.covariance)


def test_all_methods_stand_large_inputs_and_vague_priors():
    for scale, prior_variance in ((1e4, 1.0), (1.0, 1e4), (1e-3, 1e4)):
        x, y = labelled(12, 2)
        for labels in (y, 1 - y, torch.arange(12) % 2):
            ep = probit_posterior(scale * x, labels, "ep", prior_variance)
            laplace = probit_posterior(scale * x, labels, "laplace", prior_variance)
            assert ep.converged
            assert laplace.converged
            assert abs(ep.log_evidence - laplace.log_evidence) < 3


def test_quadrature_refuses_what_it_cannot_resolve():
    x = torch.randn(20, 2)
    with pytest.raises(ValueError, match="method: the posterior is too far from a Gaussian for quadrature"):
        probit_posterior(x, (x[:, 0] > 0).long(), "quadrature", prior_variance=1e8)


def test_the_fixed_point_does_not_depend_on_the_order_and_adf_does():
    x, y = labelled(30, 3)
    order = torch.randperm(30)
    for method, differs in (("ep", False), ("adf", True)):
        first, second = probit_posterior(x, y, method), probit_posterior(x[order], y[order], method)
        assert ((first.mean - second.mean).abs().max() > 1e-8) == differs


def test_turning_all_labels_turns_the_mean():
    x, y = labelled(20, 2)
    a, b = probit_posterior(x, y), probit_posterior(x, 1 - y)
    torch.testing.assert_close(a.mean, -b.mean, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("without_annotations")
def test_wrong_arguments_are_told():
    x, y = labelled(4, 3)
    with pytest.raises(ValueError, match="unknown method 'quadratur': did you mean quadrature"):
        probit_posterior(x, y, "quadratur")
    with pytest.raises(ValueError, match="method: quadrature is possible with d ≤ 2 only, got d = 3"):
        probit_posterior(x, y, "quadrature")
    with pytest.raises(ValueError, match=r"y: expected one class for each item, shape \(4,\), got \(3,\)"):
        probit_posterior(x, y[:3])
    with pytest.raises(ValueError, match=r"y: expected classes from 0 to 1, got \[-1\]"):
        probit_posterior(x, torch.tensor([-1, 0, 1, 1]))
    with pytest.raises(TypeError, match=r"y: expected integers, got float64; y.long"):
        probit_posterior(x, y.double())
    with pytest.raises(TypeError, match="x: expected a tensor, got ndarray"):
        probit_posterior(x.numpy(), y)
    with pytest.raises(ValueError, match="x: 1 of 12 numbers are NaN"):
        probit_posterior(torch.where(torch.arange(12).reshape(4, 3) == 0, math.nan, x), y)
    with pytest.raises(ValueError, match="prior_variance: expected a number > 0, got 0"):
        probit_posterior(x, y, prior_variance=0)
    with pytest.raises(ValueError, match=r"beta: expected shape \(m, 3\), got \(1, 2\)"):
        probit_log_joint(torch.zeros(1, 2), x, y)


@pytest.mark.parametrize("method", ["adf", "laplace", "quadrature"])
def test_methods_without_sweeps_refuse_wrong_ones_all_the_same(method):
    with pytest.raises(ValueError, match="damping: expected a number > 0 and ≤ 1, got 2"):
        probit_posterior(torch.ones(2, 1), torch.tensor([0, 1]), method, damping=2)
