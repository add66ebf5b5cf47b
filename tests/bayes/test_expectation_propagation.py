import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from coursekit.bayes import TiltedMoments, clutter_sites, expectation_propagation, sample_clutter

ZERO, ONE = torch.zeros(1), torch.ones(1, 1)


def gaussian_factors(y, noise):
    """The factors N(yᵢ; a, noise)."""

    def tilted_moments(i, mean, variance):
        total = variance + noise
        log_z = -0.5 * (y[i].item() - mean) ** 2 / total - 0.5 * math.log(2 * math.pi * total)
        return TiltedMoments(log_z, mean + variance * (y[i].item() - mean) / total, variance * noise / total)

    return tilted_moments


def clutter_ep(y, **options):
    prior = torch.full((1, 1), 100.0)
    return expectation_propagation(clutter_sites(y), torch.ones(len(y), 1), ZERO, prior, **options)


@pytest.mark.parametrize("damping", [1.0, 0.5])
def test_exact_for_gaussian_factors(damping):
    """Linear regression: posterior and evidence are known."""
    x = torch.randn(9, 3, dtype=torch.float64)
    y = torch.randn(9, dtype=torch.float64)
    root = torch.randn(3, 3, dtype=torch.float64)
    prior_mean, prior_covariance = torch.randn(3, dtype=torch.float64), root @ root.T + torch.eye(3)
    q = expectation_propagation(gaussian_factors(y, 0.5), x, prior_mean, prior_covariance, damping=damping)
    assert q.converged
    assert q.skipped == 0
    precision = prior_covariance.inverse() + x.T @ x / 0.5
    mean = precision.inverse() @ (prior_covariance.inverse() @ prior_mean + x.T @ y / 0.5)
    torch.testing.assert_close(q.mean, mean, rtol=0, atol=1e-8)
    torch.testing.assert_close(q.covariance, precision.inverse(), rtol=0, atol=1e-8)
    marginal = MultivariateNormal(x @ prior_mean, x @ prior_covariance @ x.T + 0.5 * torch.eye(9))
    assert q.log_evidence == pytest.approx(marginal.log_prob(y).item(), abs=1e-8)
    torch.testing.assert_close(q.sites.precision, torch.full((9,), 2.0, dtype=torch.float64), rtol=0, atol=1e-7)
    torch.testing.assert_close(q.sites.shift, 2 * y, rtol=0, atol=1e-7)


def test_one_sweep_is_exact_for_gaussian_factors():
    y = torch.randn(5)
    one, many = (
        expectation_propagation(gaussian_factors(y, 2.0), torch.ones(5, 1), ZERO, ONE, sweeps=n) for n in (1, 50)
    )
    assert not one.converged  # one sweep cannot know
    assert many.sweeps == 2
    assert one.mean.item() == pytest.approx(many.mean.item(), abs=1e-12)
    assert one.log_evidence == pytest.approx(many.log_evidence, abs=1e-12)


def test_at_the_fixed_point_site_times_cavity_has_the_tilted_moments():
    y = sample_clutter(2.0, 20)
    q = clutter_ep(y)
    assert q.converged
    tilted = clutter_sites(y)
    mean, variance = q.mean.item(), q.covariance.item()
    for i in range(20):
        precision = 1 / variance - q.sites.precision[i].item()
        shift = mean / variance - q.sites.shift[i].item()
        moments = tilted(i, shift / precision, 1 / precision)
        assert moments.mean == pytest.approx(mean, abs=1e-8)
        assert moments.variance == pytest.approx(variance, rel=1e-8)


def test_the_sites_and_the_prior_make_q_and_its_evidence():
    q = clutter_ep(sample_clutter(2.0, 20))
    theta = torch.linspace(-100, 100, 200_001, dtype=torch.float64)
    log_prior = -0.5 * theta**2 / 100 - 0.5 * math.log(2 * math.pi * 100)
    log_sites = q.sites.log_scale.sum() + q.sites.shift.sum() * theta - 0.5 * q.sites.precision.sum() * theta**2
    total = (log_prior + log_sites).logsumexp(0).item() + math.log(1e-3)
    assert q.log_evidence == pytest.approx(total, abs=1e-7)


def test_the_fixed_point_depends_neither_on_order_nor_on_damping():
    y = sample_clutter(2.0, 20)
    q = clutter_ep(y)
    others = [clutter_ep(y[torch.randperm(20)]) for _ in range(3)] + [clutter_ep(y, damping=0.4)]
    for other in others:
        assert other.converged
        assert other.mean.item() == pytest.approx(q.mean.item(), abs=1e-8)
        assert other.covariance.item() == pytest.approx(q.covariance.item(), abs=1e-8)
        assert other.log_evidence == pytest.approx(q.log_evidence, abs=1e-8)
    first, second = (clutter_ep(order, sweeps=1) for order in (y, y.flip(0)))
    assert abs(first.mean - second.mean).item() > 0.01


def test_the_history_holds_every_step():
    y = sample_clutter(2.0, 6)
    q = clutter_ep(y, sweeps=4, tolerance=1e-300)
    assert [(step.sweep, step.site) for step in q.history] == [(s, i) for s in range(1, 5) for i in range(6)]
    first = q.history[0]
    assert (first.cavity_mean, first.cavity_variance) == pytest.approx((0, 100))
    assert first.tilted == clutter_sites(y)(0, first.cavity_mean, first.cavity_variance)
    assert (first.mean, first.variance) == pytest.approx((first.tilted.mean, first.tilted.variance))
    assert q.history[-1].mean == pytest.approx(q.mean.item(), abs=1e-10)
    assert q.history[-1].variance == pytest.approx(q.covariance.item(), rel=1e-10)


def test_the_evidence_of_one_sweep_is_the_product_of_the_normalizers():
    q = clutter_ep(sample_clutter(2.0, 12), sweeps=1)
    assert q.log_evidence == pytest.approx(sum(step.tilted.log_normalizer for step in q.history), abs=1e-9)


def test_a_negative_cavity_is_skipped_and_told():
    """Five observations, not damped: some data sets have steps without a cavity, and do not settle."""
    results = [clutter_ep(sample_clutter(2.0, 5, seed=seed), sweeps=60) for seed in range(20)]
    troubled = [q for q in results if q.skipped]
    assert troubled
    for q in troubled:
        skipped = [step for step in q.history if step.tilted is None]
        assert len(skipped) == q.skipped
        assert all(step.cavity_variance < 0 or step.cavity_variance == math.inf for step in skipped)
        assert q.covariance.item() > 0
        if q.history[-5:] and any(step.tilted is None for step in q.history[-5:]):
            assert not q.converged
    assert any(not q.converged for q in troubled)


def test_damping_settles_what_full_steps_do_not():
    y = sample_clutter(2.0, 20, seed=1)
    assert not clutter_ep(y).converged
    assert clutter_ep(y, damping=0.2, sweeps=1000).converged


def test_a_site_may_have_a_negative_precision_while_q_stays_proper():
    q = clutter_ep(sample_clutter(2.0, 200))
    assert (q.sites.precision < 0).any()
    assert q.converged
    assert q.covariance.item() > 0


@pytest.mark.usefixtures("without_annotations")
def test_wrong_arguments_are_told():
    sites = gaussian_factors(torch.zeros(1), 1.0)
    with pytest.raises(ValueError, match=r"damping: expected a number > 0 and ≤ 1, got 1.5"):
        expectation_propagation(sites, ONE, ZERO, ONE, damping=1.5)
    with pytest.raises(ValueError, match="sweeps: expected an integer from 1 on, got 0"):
        expectation_propagation(sites, ONE, ZERO, ONE, sweeps=0)
    with pytest.raises(ValueError, match="tolerance: expected a number > 0, got 0"):
        expectation_propagation(sites, ONE, ZERO, ONE, tolerance=0)
    with pytest.raises(ValueError, match="prior_covariance: expected a positive-definite matrix"):
        expectation_propagation(sites, ONE, ZERO, -ONE)
    with pytest.raises(ValueError, match=r"prior_covariance: expected shape \(1, 1\), got \(2, 2\)"):
        expectation_propagation(sites, ONE, ZERO, torch.eye(2))
    with pytest.raises(ValueError, match=r"prior_mean: expected shape \(1\), got \(2,\)"):
        expectation_propagation(sites, ONE, torch.zeros(2), ONE)
    with pytest.raises(ValueError, match="projections: expected rows that are not zero, got zeros in row 0"):
        expectation_propagation(sites, torch.zeros(1, 1), ZERO, ONE)
    with pytest.raises(TypeError, match="projections: expected a tensor, got list"):
        expectation_propagation(sites, [[1.0]], ZERO, ONE)
    with pytest.raises(ValueError, match="tilted_moments: expected finite moments and a positive variance for site 0"):
        expectation_propagation(lambda i, m, v: TiltedMoments(0.0, m, -1.0), ONE, ZERO, ONE)
    with pytest.raises(ValueError, match="tilted_moments: expected finite moments and a positive variance for site 0"):
        expectation_propagation(lambda i, m, v: TiltedMoments(math.nan, m, v), ONE, ZERO, ONE)


def test_tilted_moments_are_a_function(without_annotations):
    with pytest.raises(TypeError, match="tilted_moments: expected a function, got tuple"):
        expectation_propagation((0.0, 0.0, 1.0), torch.ones(1, 1), torch.zeros(1), torch.eye(1))
