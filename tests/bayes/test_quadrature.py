import math

import pytest
import torch
from torch.distributions import Independent, MultivariateNormal, Normal

from coursekit.bayes import grid, kl_divergence, log_integral, moments, normalize


def gaussian(mean, sd):
    return Normal(torch.tensor(mean, dtype=torch.float64), torch.tensor(sd, dtype=torch.float64))


def test_a_gaussian_on_a_line():
    line = grid((-10, 14, 97))
    log_p, log_normalizer = normalize(lambda z: 3 + gaussian(2.0, 1.0).log_prob(z), line)
    assert log_normalizer == pytest.approx(3, abs=1e-12)
    mean, covariance = moments(log_p, line)
    assert mean.item() == pytest.approx(2, abs=1e-12)
    assert covariance.item() == pytest.approx(1, abs=1e-12)


def test_a_gaussian_in_a_plane():
    covariance = torch.tensor([[1.0, 0.6], [0.6, 2.0]], dtype=torch.float64)
    p = MultivariateNormal(torch.tensor([1.0, -1.0], dtype=torch.float64), covariance)
    plane = grid((-9, 11, 81), (-13, 11, 97))
    log_p, log_normalizer = normalize(p.log_prob, plane)
    assert log_normalizer == pytest.approx(0, abs=1e-12)
    mean, found = moments(log_p, plane)
    torch.testing.assert_close(mean, p.mean, rtol=0, atol=1e-12)
    torch.testing.assert_close(found, covariance, rtol=0, atol=1e-11)
    q = Independent(Normal(torch.zeros(2, dtype=torch.float64), 1.5), 1)
    expected = 0.5 * ((1 + 2 + 2) / 2.25 - 2 + 2 * math.log(2.25) - math.log(1.64))
    assert kl_divergence(log_p, q.log_prob(plane.points), plane).item() == pytest.approx(expected, abs=1e-10)


def test_kl_where_one_density_is_zero():
    line = grid((0, 1, 11))
    nothing_right = torch.where(line.points < 0.5, 0.0, -math.inf).double()
    flat = torch.zeros_like(nothing_right)
    assert kl_divergence(nothing_right, flat, line).item() == 0
    assert kl_divergence(flat, nothing_right, line) == math.inf


def test_a_grid_that_cuts_the_density_is_refused():
    """A prior of standard deviation 10 needs more than ±30."""
    p = gaussian(0.0, 10.0)
    with pytest.raises(ValueError, match=r"grid: it cuts the density off.*still 0.01 of its maximum.*widen the grid"):
        normalize(p.log_prob, grid((-30, 30, 601)))
    assert normalize(p.log_prob, grid((-100, 100, 601)))[1] == pytest.approx(0, abs=1e-12)


def test_a_coarse_grid_is_refused():
    with pytest.raises(ValueError, match=r"grid: it is too coarse.*use more points"):
        normalize(gaussian(0.05, 0.1).log_prob, grid((-10, 10, 101)))


@pytest.mark.usefixtures("without_annotations")
def test_wrong_arguments_are_told():
    line = grid((-1, 1, 5))
    with pytest.raises(ValueError, match=r"axes: expected one or two triples .*, got 3"):
        grid((-1, 1, 5), (-1, 1, 5), (-1, 1, 5))
    with pytest.raises(TypeError, match=r"axes: expected triples \(low, high, points\), got -1"):
        grid(-1, 1)
    with pytest.raises(ValueError, match="high: expected a number > 1, got 1"):
        grid((1, 1, 5))
    with pytest.raises(ValueError, match="points: expected an integer from 3 on, got 2"):
        grid((0, 1, 2))
    with pytest.raises(ValueError, match=r"log_density\(z\): 5 of 5 values are NaN"):
        normalize(lambda z: z * math.nan, line)
    with pytest.raises(ValueError, match="log_density: the density is zero at all points"):
        normalize(lambda z: torch.full_like(z, -math.inf), line)
    with pytest.raises(ValueError, match=r"log_density\(z\): expected shape \(5\), got \(5, 1\)"):
        normalize(lambda z: z[:, None], line)
    with pytest.raises(TypeError, match="log_f: expected a tensor, got list"):
        log_integral([0.0] * 5, line)
    with pytest.raises(ValueError, match=r"log_p: expected shape \(5\), got \(4,\)"):
        kl_divergence(line.points, line.points[:4], line)


def test_logarithms_that_are_nan_or_infinite_do_not_vanish_from_a_sum():
    line = grid((-9, 9, 91))
    log_q, log_p = Normal(0.5, 1.0).log_prob(line.points), Normal(0.0, 2.0).log_prob(line.points)
    for at, wrong in ((3, math.nan), (45, math.inf)):
        spoiled = log_q.clone()
        spoiled[at] = wrong
        for call in (
            lambda x: kl_divergence(x, log_p, line),
            lambda x: kl_divergence(log_q, x, line),
            lambda x: log_integral(x, line),
            lambda x: moments(x, line),
        ):
            with pytest.raises(ValueError, match=r"log_\w: 1 of 91 values are NaN or \+∞"):
                call(spoiled)


def test_single_precision_is_computed_in_double_precision():
    line = grid((-9, 9, 91))
    log_p = Normal(0.5, 1.0).log_prob(line.points).float()
    assert log_integral(log_p, line).dtype == torch.float64
    torch.testing.assert_close(moments(log_p, line)[0], torch.tensor([0.5]).double(), atol=1e-6, rtol=0)


def test_a_grid_is_one_that_grid_made(without_annotations):
    with pytest.raises(TypeError, match="grid: expected Grid, got Tensor"):
        log_integral(torch.zeros(3), torch.linspace(0, 1, 3))
    with pytest.raises(TypeError, match=r"log_density: expected a function, got float 0\.5"):
        normalize(0.5, grid((-1, 1, 5)))
    with pytest.raises(ValueError, match="high − low: expected a finite number, got inf"):
        grid((-1.5e308, 1.5e308, 9))
