import math
from statistics import median

import pytest
import torch
from scipy.integrate import quad

from coursekit.bayes import (
    clutter_log_joint,
    clutter_posterior,
    clutter_sites,
    grid,
    kl_divergence,
    normalize,
    sample_clutter,
)

METHODS = ("ep", "adf", "laplace", "vb")
PUBLISHED = {  # medians of 20 data sets: error of the log evidence, KL(p‖q)
    20: {"ep": (0.0013, 0.0031), "laplace": (0.025, 0.0082), "vb": (0.29, 0.14)},
    200: {"ep": (2.4e-5, 1.1e-5), "laplace": (0.0025, 4.1e-5), "vb": (0.315, 0.126)},
}


@pytest.fixture(scope="module", params=[20, 200])
def table(request):
    """Exact and approximate posteriors of 20 data sets."""
    sets = [sample_clutter(2.0, request.param, seed=seed) for seed in range(20)]
    exact = [clutter_posterior(y, "quadrature") for y in sets]
    return request.param, sets, exact, {m: [clutter_posterior(y, m) for y in sets] for m in METHODS}


def errors(approximations, exact):
    return [abs(q.log_evidence - p.log_evidence) for q, p in zip(approximations, exact, strict=True)]


def test_medians_are_within_a_factor_of_two_of_the_published_ones(table):
    n, sets, exact, results = table
    line = grid((-110, 110, 8001))
    posteriors = [normalize(lambda theta, y=y: clutter_log_joint(theta, y), line)[0] for y in sets]
    for method, (log_evidence, kl) in PUBLISHED[n].items():
        assert 0.5 <= median(errors(results[method], exact)) / log_evidence <= 2, method
        divergences = []
        for log_p, q in zip(posteriors, results[method], strict=True):
            log_q = -0.5 * (line.points - q.mean) ** 2 / q.variance - 0.5 * math.log(2 * math.pi * q.variance)
            divergences.append(kl_divergence(log_p, log_q, line).item())
        assert 0.5 <= median(divergences) / kl <= 2, method
    assert median(errors(results["adf"], exact)) > 1
    assert 10 * median(errors(results["ep"], exact)) < median(errors(results["laplace"], exact))


def test_vb_is_a_lower_bound_and_ep_is_none(table):
    _, _, exact, results = table
    assert all(q.log_evidence <= p.log_evidence for q, p in zip(results["vb"], exact, strict=True))
    assert sum(q.log_evidence > p.log_evidence for q, p in zip(results["ep"], exact, strict=True)) >= 10


def test_the_elbo_of_vb_never_falls(table):
    for q in table[3]["vb"]:
        assert q.converged
        assert q.log_evidence == q.elbo[-1]
        assert (torch.tensor(q.elbo, dtype=torch.float64).diff() >= -1e-10).all()


def test_with_many_observations_ep_always_settles(table):
    n, _, _, results = table
    unsettled = sum(not q.converged for q in results["ep"])
    assert unsettled == 0 if n == 200 else unsettled <= 2


def test_ep_does_not_minimize_the_divergence():
    """Erratum E32: the minimizer of KL(p‖q) has the moments of p, a fixed point of EP has others, except for n = 1."""
    y = sample_clutter(2.0, 20, seed=3)
    ep, exact = clutter_posterior(y), clutter_posterior(y, "quadrature")
    assert ep.converged
    assert abs(ep.mean - exact.mean) > 1e-5
    for seed in range(5):
        one = sample_clutter(2.0, 1, seed=seed)
        ep, exact = clutter_posterior(one), clutter_posterior(one, "quadrature")
        assert ep.mean == pytest.approx(exact.mean, abs=1e-9)
        assert ep.variance == pytest.approx(exact.variance, rel=1e-9)
        assert ep.log_evidence == pytest.approx(exact.log_evidence, abs=1e-9)


@pytest.mark.parametrize(("w", "a", "prior_variance"), [(0.5, 10.0, 100.0), (0.1, 3.0, 4.0), (0.9, 50.0, 1e4)])
def test_quadrature_is_the_sum_over_all_labels(w, a, prior_variance):
    """With n = 4 the posterior is a mixture of 16 Gaussians."""
    y = sample_clutter(2.0, 4, w, a)
    logs, means, variances = [], [], []
    for code in range(16):
        signal = torch.tensor([bool(code >> i & 1) for i in range(4)])
        s, k = y[signal], int(signal.sum())
        precision = k + 1 / prior_variance
        means.append(s.sum().item() / precision)
        variances.append(1 / precision)
        quadratic = (s.square().sum().item() - precision * means[-1] ** 2) / 2
        log = k * math.log(1 - w) + (4 - k) * math.log(w) - k / 2 * math.log(2 * math.pi) - quadratic
        log -= 0.5 * math.log(prior_variance * precision)
        logs.append(log - 0.5 * sum(v**2 / a + math.log(2 * math.pi * a) for v in y[~signal].tolist()))
    logs, means, variances = torch.tensor([logs, means, variances], dtype=torch.float64)
    weights = logs.softmax(0)
    mean = (weights * means).sum().item()
    found = clutter_posterior(y, "quadrature", w, a, prior_variance)
    assert found.log_evidence == pytest.approx(logs.logsumexp(0).item(), abs=1e-11)
    assert found.mean == pytest.approx(mean, abs=1e-10)
    assert found.variance == pytest.approx((weights * (variances + (means - mean) ** 2)).sum().item(), rel=1e-10)


def test_quadrature_with_far_observations_and_many_of_them():
    far = clutter_posterior(torch.tensor([1e3, -1e3]), "quadrature")
    assert far.converged
    assert far.mean == pytest.approx(0, abs=1e-6)  # both are background
    many = clutter_posterior(sample_clutter(2.0, 1000), "quadrature")
    assert abs(many.mean - 2) < 5 * math.sqrt(many.variance)


@pytest.mark.parametrize(("mean", "variance"), [(0.0, 100.0), (1.9, 0.1), (-5.0, 2.0)])
def test_tilted_moments_are_those_of_factor_times_cavity(mean, variance):
    y = torch.tensor([2.5])

    def tilted(theta):
        prior = math.exp(-0.5 * (theta - mean) ** 2 / variance) / math.sqrt(2 * math.pi * variance)
        signal = math.exp(-0.5 * (2.5 - theta) ** 2) / math.sqrt(2 * math.pi)
        return prior * (0.7 * signal + 0.3 * math.exp(-0.5 * 2.5**2 / 8) / math.sqrt(2 * math.pi * 8))

    reach = 12 * math.sqrt(variance)

    def integral(f):
        return quad(f, mean - reach, mean + reach, points=[mean, 2.5], limit=300, epsabs=1e-13)[0]

    z = integral(tilted)
    m = integral(lambda theta: theta * tilted(theta)) / z
    v = integral(lambda theta: (theta - m) ** 2 * tilted(theta)) / z
    found = clutter_sites(y, w=0.3, a=8.0)(0, mean, variance)
    assert found.log_normalizer == pytest.approx(math.log(z), abs=1e-9)
    assert found.mean == pytest.approx(m, abs=1e-8)
    assert found.variance == pytest.approx(v, rel=1e-8)


def test_a_far_observation_does_not_underflow():
    moments = clutter_sites(torch.tensor([1e4]))(0, 0.0, 1.0)
    assert all(map(math.isfinite, moments))
    assert (moments.mean, moments.variance) == pytest.approx((0, 1))


def test_laplace_stands_at_a_maximum():
    y = sample_clutter(2.0, 20)
    q = clutter_posterior(y, "laplace")
    theta = torch.tensor(q.mean, dtype=torch.float64, requires_grad=True)

    def height(t):
        return clutter_log_joint(t[None], y)[0]

    (slope,) = torch.autograd.grad(height(theta), theta)
    assert slope.item() == pytest.approx(0, abs=1e-9)
    curvature = torch.autograd.functional.hessian(height, theta.detach())
    assert q.variance == pytest.approx(-1 / curvature.item(), rel=1e-9)
    everywhere = clutter_log_joint(torch.linspace(-20, 20, 4001), y)
    assert height(theta) >= everywhere.max()


def test_adf_depends_on_the_order_and_ep_does_not():
    y = sample_clutter(2.0, 20)
    for method, differs in (("adf", True), ("ep", False)):
        first, second = clutter_posterior(y, method), clutter_posterior(y.flip(0), method)
        assert (abs(first.mean - second.mean) > 1e-8) == differs
        assert (abs(first.log_evidence - second.log_evidence) > 1e-8) == differs
    assert clutter_posterior(y, "adf").ep.sweeps == 1


def test_float32_is_computed_in_float64():
    y = sample_clutter(2.0, 20).float()
    assert clutter_posterior(y).mean == clutter_posterior(y.double()).mean


def test_samples_are_signal_and_background():
    y = sample_clutter(3.0, 40_000, w=0.25, a=4.0)
    assert y.dtype == torch.float64
    assert y.mean().item() == pytest.approx(0.75 * 3, abs=0.05)
    assert y.square().mean().item() == pytest.approx(0.75 * 10 + 0.25 * 4, abs=0.2)
    assert torch.equal(sample_clutter(3.0, 5, seed=1), sample_clutter(3.0, 5, seed=1))


@pytest.mark.usefixtures("without_annotations")
def test_wrong_arguments_are_told():
    y = torch.zeros(3)
    with pytest.raises(ValueError, match="unknown method 'laplas': did you mean laplace"):
        clutter_posterior(y, "laplas")
    with pytest.raises(TypeError, match=r"method: expected one of 'ep', .*, got int 1"):
        clutter_posterior(y, 1)
    for w in (0, 1, -0.5):
        with pytest.raises(ValueError, match=f"w: expected a number > 0 and < 1, got {w}"):
            clutter_posterior(y, w=w)
    with pytest.raises(ValueError, match="a: expected a number > 0, got 0"):
        clutter_posterior(y, a=0)
    with pytest.raises(ValueError, match="prior_variance: expected a number > 0, got -1"):
        clutter_posterior(y, prior_variance=-1)
    with pytest.raises(TypeError, match=r"y: expected a tensor, got list; torch.as_tensor"):
        clutter_posterior([0.0, 1.0])
    with pytest.raises(TypeError, match="y: expected a tensor, got ndarray"):
        clutter_posterior(y.numpy())
    with pytest.raises(TypeError, match="y: expected float32 or float64, got int64"):
        clutter_posterior(y.long())
    with pytest.raises(ValueError, match=r"y: expected shape \(n\), got \(3, 1\)"):
        clutter_posterior(y[:, None])
    with pytest.raises(ValueError, match=r"y: expected at least one element, got shape \(0,\)"):
        clutter_posterior(y[:0])
    with pytest.raises(ValueError, match="y: 3 of 3 numbers are NaN or infinite"):
        clutter_posterior(y * math.nan)
    with pytest.raises(ValueError, match="damping: expected a number > 0 and ≤ 1, got 0"):
        clutter_posterior(y, damping=0)
    with pytest.raises(ValueError, match="n: expected an integer from 1 on, got 0"):
        sample_clutter(2.0, 0)
    with pytest.raises(TypeError, match=r"theta: expected a tensor, got float 2.0"):
        clutter_log_joint(2.0, y)


@pytest.mark.parametrize("method", ["adf", "vb", "laplace", "quadrature"])
def test_methods_without_sweeps_refuse_wrong_ones_all_the_same(method, without_annotations):
    with pytest.raises(ValueError, match="sweeps: expected an integer from 1 on, got 0"):
        clutter_posterior(torch.tensor([1.0, 2.0]), method, sweeps=0)
    with pytest.raises(TypeError, match="damping: expected a number, got NoneType"):
        clutter_posterior(torch.tensor([1.0, 2.0]), method, damping=None)
