import math

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal, Normal

from coursekit.bayes import fit_gaussian, grid, kl_divergence, moments, normalize

LINE = grid((-20, 20, 801))


def two_modes(a):
    """½ N(−a, 1) + ½ N(a, 1)."""
    centres = torch.tensor([-a, a], dtype=torch.float64)
    return MixtureSameFamily(Categorical(torch.ones(2)), Normal(centres, torch.ones_like(centres)))


def bishop():
    """Two long modes side by side, as in Bishop's figure 10.3."""
    means = torch.tensor([[-2.0, -2.0], [2.0, 2.0]], dtype=torch.float64)
    covariance = torch.tensor([[1.0, -0.6], [-0.6, 1.0]], dtype=torch.float64).expand(2, 2, 2)
    return MixtureSameFamily(Categorical(torch.ones(2)), MultivariateNormal(means, covariance))


PLANE = grid((-9, 9, 91), (-9, 9, 91))


@pytest.mark.parametrize("divergence", ["reverse", "forward"])
@pytest.mark.parametrize("covariance", ["full", "diagonal", "isotropic"])
def test_a_gaussian_of_the_family_is_found(divergence, covariance):
    v = torch.eye(2, dtype=torch.float64)
    if covariance != "isotropic":
        v[1, 1] = 2
    if covariance == "full":
        v[0, 1] = v[1, 0] = 0.8
    p = MultivariateNormal(torch.tensor([0.5, -1.0], dtype=torch.float64), v)
    (fit,) = fit_gaussian(
        lambda z: 5 + p.log_prob(z), divergence, grid=grid((-9, 10, 77), (-12, 10, 89)), covariance=covariance
    )
    assert fit.converged
    torch.testing.assert_close(fit.mean, p.mean, rtol=0, atol=1e-6)
    torch.testing.assert_close(fit.covariance, v, rtol=0, atol=1e-6)
    assert fit.divergence == pytest.approx(0, abs=1e-9)


def test_forward_optimum_has_the_moments_of_p_and_reverse_has_not():
    p = two_modes(2.0)
    mean, variance = moments(normalize(p.log_prob, LINE)[0], LINE)
    (forward,) = fit_gaussian(p.log_prob, "forward", grid=LINE)
    assert forward.mean.item() == pytest.approx(mean.item(), abs=1e-6)
    assert forward.covariance.item() == pytest.approx(variance.item(), abs=1e-6)
    (reverse,) = fit_gaussian(p.log_prob, "reverse", grid=LINE)
    assert abs(reverse.covariance.item() - variance.item()) > 0.5


def test_reverse_optima_of_two_modes():
    """Erratum E33: q covers both modes until they are far apart."""
    (covering,) = fit_gaussian(two_modes(2.0).log_prob, grid=LINE)
    assert covering.mean.item() == pytest.approx(0, abs=1e-4)
    assert math.sqrt(covering.covariance.item()) == pytest.approx(2.05, abs=0.01)
    best, second, third = fit_gaussian(two_modes(3.0).log_prob, grid=LINE)
    assert sorted([best.mean.item(), second.mean.item()]) == pytest.approx([-2.98, 2.98], abs=0.01)
    assert math.sqrt(best.covariance.item()) == pytest.approx(1.02, abs=0.01)
    assert best.divergence == pytest.approx(second.divergence, abs=1e-8)
    assert third.mean.item() == pytest.approx(0, abs=1e-4)
    assert all(fit.converged for fit in (covering, best, second, third))


@pytest.mark.parametrize(
    ("a", "count", "covering_wins"), [(2.4, 1, True), (2.5, 3, True), (2.8, 3, True), (3.0, 3, False)]
)
def test_where_the_optima_appear_and_win(a, count, covering_wins):
    fits = fit_gaussian(two_modes(a).log_prob, grid=LINE)
    assert len(fits) == count
    assert (abs(fits[0].mean.item()) < 0.1) == covering_wins


def test_the_divergence_is_what_quadrature_gives():
    p = two_modes(3.0)
    log_p = normalize(p.log_prob, LINE)[0]
    for fit in fit_gaussian(p.log_prob, "reverse", grid=LINE):
        log_q = fit.distribution().log_prob(LINE.points)
        assert fit.divergence == pytest.approx(kl_divergence(log_q, log_p, LINE).item(), abs=1e-7)
    (fit,) = fit_gaussian(p.log_prob, "forward", grid=LINE)
    assert fit.divergence == pytest.approx(
        kl_divergence(log_p, fit.distribution().log_prob(LINE.points), LINE).item(), abs=1e-9
    )


def test_a_single_start_finds_a_single_mode():
    fits = fit_gaussian(two_modes(4.0).log_prob, grid=LINE, starts=torch.tensor([[4.0]]))
    assert pytest.approx(fits[0].mean.item(), abs=0.01) == 4.0
    assert all(fit.mean.item() > -0.01 for fit in fits)


def test_three_panels_of_bishops_figure():
    p = bishop()
    (covering,) = fit_gaussian(p.log_prob, "forward", grid=PLANE)
    torch.testing.assert_close(covering.covariance, torch.tensor([[5.0, 3.4], [3.4, 5.0]]).double(), rtol=0, atol=1e-5)
    fits = fit_gaussian(p.log_prob, "reverse", grid=PLANE)
    assert fits[0].divergence == pytest.approx(math.log(2), abs=0.01)
    assert fits[1].divergence == pytest.approx(fits[0].divergence, abs=1e-6)
    centres = sorted(fit.mean[0].item() for fit in fits[:2])
    assert centres == pytest.approx([-2, 2], abs=0.05)
    assert all(fit.converged for fit in fits)
    assert isinstance(fits[0].distribution(), MultivariateNormal)


def test_a_saddle_point_is_left_on_both_sides():
    """By symmetry the gradient in the mean vanishes at 0, where an isotropic q is at a saddle point."""
    fits = fit_gaussian(bishop().log_prob, grid=PLANE, covariance="isotropic", starts=torch.zeros(1, 2))
    assert sorted(fit.mean[0].item() for fit in fits) == pytest.approx([-2, 2], abs=0.01)
    assert all(fit.converged for fit in fits)


@pytest.mark.usefixtures("without_annotations")
def test_wrong_arguments_are_told():
    p = two_modes(1.0)
    with pytest.raises(ValueError, match="unknown divergence 'revers': did you mean reverse"):
        fit_gaussian(p.log_prob, "revers", grid=LINE)
    with pytest.raises(ValueError, match="unknown covariance 'diag': did you mean diagonal"):
        fit_gaussian(p.log_prob, grid=LINE, covariance="diag")
    with pytest.raises(TypeError, match="grid: expected Grid, got tuple"):
        fit_gaussian(p.log_prob, grid=(-20, 20, 801))
    with pytest.raises(ValueError, match=r"starts: expected shape \(k, 1\), got \(1, 2\)"):
        fit_gaussian(p.log_prob, grid=LINE, starts=torch.zeros(1, 2))
    with pytest.raises(TypeError, match="starts: expected a tensor, got list"):
        fit_gaussian(p.log_prob, grid=LINE, starts=[[0.0]])
    with pytest.raises(ValueError, match=r"log_density\(z\): .* values are NaN"):
        fit_gaussian(torch.sqrt, grid=LINE)
    with pytest.raises(ValueError, match=r"log_density: the density is zero at points where q is not"):
        fit_gaussian(lambda z: torch.where(z > 0, 4 * z.abs().log() - z * 4, -math.inf), grid=LINE)
    with pytest.raises(ValueError, match="log_density: expected a function that torch can differentiate"):
        fit_gaussian(lambda z: p.log_prob(z).detach(), grid=LINE)
    with pytest.raises(ValueError, match="grid: it cuts the density off"):
        fit_gaussian(p.log_prob, grid=grid((-3, 3, 101)))


def test_starts_may_carry_a_gradient():
    p = Normal(torch.tensor(2.0).double(), 0.5)
    line = grid((-3, 7, 401))
    [fit] = fit_gaussian(p.log_prob, grid=line, starts=torch.tensor([[1.0]], requires_grad=True))
    torch.testing.assert_close(fit.mean, torch.tensor([2.0]).double(), atol=1e-5, rtol=0)
