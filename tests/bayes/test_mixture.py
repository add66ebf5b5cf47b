import math

import numpy as np
import pytest
import torch
from scipy.stats import wishart
from sklearn.cluster import KMeans
from sklearn.mixture import BayesianGaussianMixture

from coursekit.bayes import mean_field_mixture, normal_gamma_posterior
from coursekit.bayes.mixture import _Factors, _kl_wishart, _Prior


def three_clusters(n=150, seed=0):
    generator = torch.Generator().manual_seed(seed)
    centres = torch.tensor([[-4.0, 0.0], [4.0, 0.0], [0.0, 5.0]], dtype=torch.float64)
    noise = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    return centres[torch.arange(n) % 3] + noise


def test_agrees_with_scikit_learn():
    x = three_clusters(60)
    theirs = BayesianGaussianMixture(
        n_components=4,
        weight_concentration_prior_type="dirichlet_distribution",
        weight_concentration_prior=0.5,
        mean_precision_prior=0.7,
        degrees_of_freedom_prior=3.5,
        covariance_prior=np.diag([1.0, 2.0]),
        reg_covar=0.0,
        tol=1e-13,
        max_iter=5000,
        random_state=0,
    ).fit(x.numpy())
    labels = KMeans(4, n_init=1, random_state=np.random.RandomState(0)).fit_predict(x.numpy())
    start = torch.nn.functional.one_hot(torch.as_tensor(labels).long(), 4).double()
    ours = mean_field_mixture(
        x,
        4,
        0.5,
        mean_precision=0.7,
        covariance=torch.tensor([[1.0, 0.0], [0.0, 2.0]]),
        degrees=3.5,
        responsibilities=start,
        sweeps=5000,
        tolerance=1e-15,
    )
    for mine, name in (
        (ours.concentration, "weight_concentration_"),
        (ours.mean, "means_"),
        (ours.mean_precision, "mean_precision_"),
        (ours.degrees, "degrees_of_freedom_"),
        (ours.covariance, "covariances_"),
        (ours.weights, "weights_"),
    ):
        np.testing.assert_allclose(mine.numpy(), getattr(theirs, name), atol=1e-5, err_msg=name)


def test_the_elbo_never_falls_and_is_a_bound():
    for seed in range(5):
        for concentration in (0.001, 1.0, 10.0):
            fit = mean_field_mixture(three_clusters(60, seed), 5, concentration, seed=seed)
            assert fit.converged
            assert len(fit.elbo) == 2 * fit.sweeps
            assert (fit.elbo.diff() >= -1e-9 * fit.elbo.abs().max()).all()


def test_one_component_in_one_dimension_is_normal_gamma():
    """The labels are certain, so the ELBO is the log evidence. Wishart(W, ν) is Gamma(ν/2, 1/(2W))."""
    x = torch.randn(12, 1, dtype=torch.float64)
    fit = mean_field_mixture(
        x, 1, mean_precision=0.8, covariance=torch.tensor([[1.7]], dtype=torch.float64), degrees=2.5
    )
    exact = normal_gamma_posterior(x[:, 0], mu0=x.mean().item(), lambda0=0.8, a0=1.25, b0=0.85)
    assert fit.elbo[-1].item() == pytest.approx(exact.log_evidence, abs=1e-10)
    assert fit.degrees.item() / 2 == pytest.approx(exact.shape, abs=1e-12)
    assert (1 / fit.scale).item() / 2 == pytest.approx(exact.rate, abs=1e-10)


def test_the_elbo_is_below_the_evidence_of_two_components():
    """Four points have 2⁴ labellings: their exact evidence is a sum over them."""
    x = torch.tensor([[-1.0], [-0.5], [1.0], [3.0]], dtype=torch.float64)
    options = {"mean_precision": 0.5, "covariance": torch.tensor([[1.0]]), "degrees": 2.0}
    total = []
    for code in range(16):
        z = torch.tensor([code >> i & 1 for i in range(4)])
        counts = z.bincount(minlength=2).double()
        log_labels = torch.lgamma(torch.tensor(2.0)) - torch.lgamma(torch.tensor(6.0)) + torch.lgamma(1 + counts).sum()
        parts = [
            normal_gamma_posterior(x[z == k, 0], mu0=x.mean().item(), lambda0=0.5, a0=1.0, b0=0.5).log_evidence
            for k in (0, 1)
            if counts[k]
        ]
        total.append(log_labels.double() + sum(parts))
    evidence = torch.stack(total).logsumexp(0).item()
    fit = mean_field_mixture(x, 2, 1.0, **options)
    assert fit.elbo[-1] < evidence
    assert fit.elbo[-1] > evidence - 2


def test_divergence_of_wishart_distributions_for_as_many_components_as_dimensions():
    root = torch.randn(2, 2, 2, dtype=torch.float64)
    inverse_scale = root @ root.mT + torch.eye(2)
    q = _Factors(torch.ones(2), torch.zeros(2, 2), torch.ones(2), inverse_scale, torch.tensor([4.0, 7.5]).double())
    prior = _Prior(1.0, torch.zeros(2), 1.0, torch.tensor([[1.0, 0.3], [0.3, 2.0]]).double(), 3.0)
    divergences = _kl_wishart(q, prior).tolist()
    for k, degrees in enumerate((4.0, 7.5)):
        ours = wishart(degrees, torch.linalg.inv(inverse_scale[k]).numpy())
        theirs = wishart(3.0, torch.linalg.inv(prior.inverse_scale).numpy())
        samples = ours.rvs(4_000, random_state=k).transpose(1, 2, 0)
        log_ratio = ours.logpdf(samples) - theirs.logpdf(samples)
        assert abs(log_ratio.mean() - divergences[k]) <= 4 * log_ratio.std() / math.sqrt(4_000)


def test_a_small_concentration_empties_spare_components():
    for seed in range(3):
        x = three_clusters(300, seed)
        assert (mean_field_mixture(x, 6, 0.001, seed=seed).counts >= 3).sum() == 3
        assert (mean_field_mixture(x, 6, 10.0, seed=seed, tolerance=1e-5).counts >= 3).sum() > 3


def test_responsibilities_weights_and_means_of_clear_clusters():
    fit = mean_field_mixture(three_clusters(), 3)
    torch.testing.assert_close(fit.responsibilities.sum(dim=1), torch.ones(150, dtype=torch.float64))
    torch.testing.assert_close(fit.weights, torch.full((3,), 1 / 3, dtype=torch.float64), rtol=0, atol=0.02)
    assert sorted(fit.mean[:, 0].round().tolist()) == [-4, 0, 4]
    assert fit.counts.tolist() == [50, 50, 50]


def test_too_few_sweeps_are_told():
    assert not mean_field_mixture(three_clusters(), 6, 0.001, sweeps=2).converged


@pytest.mark.usefixtures("without_annotations")
def test_wrong_arguments_are_told():
    x = three_clusters(30)
    with pytest.raises(ValueError, match="components: expected an integer from 1 to 30, got 31"):
        mean_field_mixture(x, 31)
    with pytest.raises(ValueError, match="concentration: expected a number > 0, got 0"):
        mean_field_mixture(x, 2, 0)
    with pytest.raises(ValueError, match="degrees: expected a number > 1, got 1"):
        mean_field_mixture(x, 2, degrees=1)
    with pytest.raises(ValueError, match=r"covariance: expected shape \(2, 2\), got \(3, 3\)"):
        mean_field_mixture(x, 2, covariance=torch.eye(3))
    with pytest.raises(ValueError, match="covariance of x: expected a positive-definite matrix"):
        mean_field_mixture(torch.stack([x[:, 0], x[:, 0]], dim=1), 2)
    with pytest.raises(ValueError, match="covariance: expected a positive-definite matrix"):
        mean_field_mixture(x, 2, covariance=-torch.eye(2))
    with pytest.raises(ValueError, match=r"responsibilities: expected shape \(30, 2\), got \(30, 3\)"):
        mean_field_mixture(x, 2, responsibilities=torch.ones(30, 3) / 3)
    with pytest.raises(ValueError, match="responsibilities: expected rows of numbers ≥ 0 that sum to 1"):
        mean_field_mixture(x, 2, responsibilities=torch.ones(30, 2))
    with pytest.raises(TypeError, match="x: expected a tensor, got ndarray"):
        mean_field_mixture(x.numpy(), 2)
    with pytest.raises(ValueError, match=r"x: expected shape \(n, d\), got \(30,\)"):
        mean_field_mixture(x[:, 0], 2)
    with pytest.raises(ValueError, match="x: 1 of 60 numbers are NaN"):
        mean_field_mixture(torch.where(torch.arange(60).reshape(30, 2) == 7, math.nan, x), 2)
    with pytest.raises(ValueError, match="seed: expected an integer from 0 to 4294967295, got -1"):
        mean_field_mixture(x, 2, seed=-1)


def test_data_with_a_gradient_and_numpy_numbers_are_fitted_like_any(without_annotations):
    x = three_clusters(30)
    plain = mean_field_mixture(x, 3, seed=2, sweeps=3)
    fancy = mean_field_mixture(x.clone().requires_grad_(), torch.tensor(3), seed=np.int64(2), sweeps=3)
    torch.testing.assert_close(fancy.mean, plain.mean, rtol=0, atol=0)
