import math

import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from coursekit.bayes import mean_field_gaussian
from coursekit.bayes.checks import require_positive_definite


def random_precision(d):
    root = torch.randn(d, d, dtype=torch.float64)
    return root @ root.T + 0.1 * torch.eye(d, dtype=torch.float64)


def equal_correlations(d, off):
    return (1 - off) * torch.eye(d, dtype=torch.float64) + off


def test_closed_form_and_underestimated_variance():
    mean, precision = torch.randn(4, dtype=torch.float64), random_precision(4)
    q = mean_field_gaussian(mean, precision, sweeps=100_000)
    assert q.converged
    torch.testing.assert_close(q.mean, mean, rtol=0, atol=1e-8)
    torch.testing.assert_close(q.variance, 1 / precision.diagonal())
    assert (q.variance < torch.linalg.inv(precision).diagonal()).all()


def test_gap_and_coverage_at_correlation_nine_tenths():
    rho = 0.9
    q = mean_field_gaussian(torch.zeros(2), torch.linalg.inv(equal_correlations(2, rho)), torch.tensor([2.0, -1.0]))
    assert q.elbo[-1].item() == pytest.approx(0.5 * math.log(1 - rho**2), abs=1e-12)
    covered = math.erf(1.96 * math.sqrt(q.variance[0].item()) / math.sqrt(2))
    assert covered == pytest.approx(0.61, abs=0.005)
    independent = mean_field_gaussian(torch.zeros(2), torch.eye(2), torch.tensor([2.0, -1.0]))
    assert independent.elbo[-1].item() == 0
    assert independent.sweeps == 2


def test_the_elbo_is_minus_the_kl_at_every_step():
    mean, precision = torch.randn(3, dtype=torch.float64), random_precision(3)
    q = mean_field_gaussian(mean, precision, torch.randn(3), sweeps=4)
    p = MultivariateNormal(mean, precision_matrix=precision)
    for m, elbo in zip(q.path, q.elbo, strict=True):
        kl = kl_divergence(MultivariateNormal(m, q.variance.diag()), p)
        assert elbo.item() == pytest.approx(-kl.item(), abs=1e-9)


def test_each_step_changes_one_mean_to_its_best():
    mean, precision = torch.randn(3, dtype=torch.float64), random_precision(3)
    q = mean_field_gaussian(mean, precision, torch.randn(3), sweeps=3)
    assert q.path.shape == (10, 3)
    assert not q.converged
    for step in range(9):
        before, after, i = q.path[step], q.path[step + 1], step % 3
        assert (before != after).nonzero().flatten().tolist() == [i]
        assert (precision @ (after - mean))[i].item() == pytest.approx(0, abs=1e-9)


def test_the_elbo_never_falls_from_two_hundred_starts():
    for _ in range(200):
        q = mean_field_gaussian(torch.randn(3), random_precision(3), 5 * torch.randn(3), sweeps=10)
        assert (q.elbo.diff() >= -1e-9 * q.elbo.abs().max()).all()


def test_simultaneous_updates_can_fall_at_every_step_in_three_dimensions():
    start = torch.tensor([1.0, 1.0, 1.0])
    q = mean_field_gaussian(torch.zeros(3), equal_correlations(3, 0.6), start, simultaneous=True, sweeps=29)
    assert not q.converged
    assert q.path.shape == (30, 3)
    assert (q.elbo.diff() < 0).all()
    for d, off in ((3, 0.4), (2, 0.6)):
        gentle = mean_field_gaussian(torch.zeros(d), equal_correlations(d, off), start[:d], simultaneous=True)
        assert gentle.converged
        assert (gentle.elbo.diff() >= 0).all()
    torch.testing.assert_close(gentle.mean, torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-10)


def test_divergence_ends_when_numbers_overflow():
    q = mean_field_gaussian(torch.zeros(9), equal_correlations(9, 0.9), torch.ones(9), simultaneous=True, sweeps=10**5)
    assert not q.converged
    assert q.sweeps < 10**4


@pytest.mark.usefixtures("without_annotations")
def test_wrong_arguments_are_told():
    zeros, eye = torch.zeros(2), torch.eye(2)
    with pytest.raises(ValueError, match="precision: expected a positive-definite matrix, got the eigenvalues -1 to 3"):
        mean_field_gaussian(zeros, torch.tensor([[1.0, 2.0], [2.0, 1.0]]))
    with pytest.raises(ValueError, match="precision: expected a positive-definite matrix, got the eigenvalues 0 to 2"):
        mean_field_gaussian(zeros, torch.ones(2, 2))
    with pytest.raises(ValueError, match=r"precision: expected a symmetric matrix, got entries that differ by 0.5"):
        mean_field_gaussian(zeros, torch.tensor([[1.0, 0.5], [0.0, 1.0]]))
    with pytest.raises(ValueError, match=r"precision: expected shape \(2, 2\), got \(3, 3\)"):
        mean_field_gaussian(zeros, torch.eye(3))
    with pytest.raises(ValueError, match=r"covariance: expected a square matrix, got shape \(2, 3\)"):
        require_positive_definite(torch.ones(2, 3), "covariance")
    with pytest.raises(ValueError, match=r"start: expected shape \(2\), got \(3,\)"):
        mean_field_gaussian(zeros, eye, torch.zeros(3))
    with pytest.raises(TypeError, match=r"precision: expected a tensor, got ndarray; torch.as_tensor"):
        mean_field_gaussian(zeros, eye.numpy())
    with pytest.raises(TypeError, match="mean: expected a tensor, got list"):
        mean_field_gaussian([0.0, 0.0], eye)
    with pytest.raises(TypeError, match="mean: expected float32 or float64, got int64"):
        mean_field_gaussian(zeros.long(), eye)
    with pytest.raises(ValueError, match="mean: 1 of 2 numbers are NaN or infinite"):
        mean_field_gaussian(torch.tensor([0.0, math.nan]), eye)
    with pytest.raises(ValueError, match="sweeps: expected an integer from 1 on, got 0"):
        mean_field_gaussian(zeros, eye, sweeps=0)


def test_the_order_of_updates_is_a_truth_value(without_annotations):
    with pytest.raises(TypeError, match="simultaneous: expected True or False, got str 'off'"):
        mean_field_gaussian(torch.zeros(2), torch.eye(2), simultaneous="off")
