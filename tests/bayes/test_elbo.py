import math

import pytest
import torch
from torch.distributions import Bernoulli, Categorical, Independent, Normal, kl_divergence

from coursekit.bayes import elbo, grid, log_integral
from coursekit.bayes import kl_divergence as kl_on_grid

X = 1.0


def log_joint(z):
    """x|z ~ N(z, 1), z ~ N(0, 1): the posterior is N(x/2, 1/2), and x ~ N(0, 2)."""
    return Normal(z, 1).log_prob(torch.as_tensor(X, dtype=z.dtype)) + Normal(0, 1).log_prob(z)


LOG_EVIDENCE = -0.25 * X**2 - 0.5 * math.log(4 * math.pi)


def normal(mean, sd):
    return Normal(torch.tensor(mean, dtype=torch.float64), torch.tensor(sd, dtype=torch.float64))


@pytest.mark.parametrize(("mean", "sd"), [(0.5, 0.5**0.5), (0.0, 1.0), (-1.0, 0.3), (2.0, 2.0)])
def test_elbo_and_kl_add_up_to_the_log_evidence(mean, sd):
    q = normal(mean, sd)
    estimate = elbo(log_joint, q, 40_000)
    gap = estimate.value + kl_divergence(q, normal(X / 2, 0.5**0.5)) - LOG_EVIDENCE
    assert abs(gap) <= 4 * estimate.standard_error + 1e-12


def test_identity_by_quadrature_holds_for_a_hundred_q():
    line = grid((-30, 30, 3001))
    z = line.points
    log_p = log_joint(z)
    assert log_integral(log_p, line).item() == pytest.approx(LOG_EVIDENCE, abs=1e-12)
    for mean, log_sd in torch.randn(100, 2, dtype=torch.float64).tolist():
        log_q = normal(mean, math.exp(0.3 * log_sd)).log_prob(z)
        bound = -kl_on_grid(log_q, log_p, line)  # ∫ q log(p(x, z)/q)
        gap = kl_on_grid(log_q, normal(X / 2, 0.5**0.5).log_prob(z), line)
        assert (bound + gap).item() == pytest.approx(LOG_EVIDENCE, abs=1e-10)
        assert bound < LOG_EVIDENCE


def test_standard_error_is_that_of_the_mean():
    q = normal(0.0, 1.0)
    values = torch.stack([elbo(log_joint, q, 50).value for _ in range(400)])
    errors = torch.stack([elbo(log_joint, q, 50).standard_error for _ in range(400)])
    assert values.std() == pytest.approx(errors.square().mean().sqrt().item(), rel=0.15)


def test_with_the_posterior_every_sample_is_the_log_evidence():
    estimate = elbo(log_joint, normal(X / 2, 0.5**0.5), 5)
    assert estimate.value.item() == pytest.approx(LOG_EVIDENCE, abs=1e-12)
    assert estimate.standard_error.item() < 1e-12


def test_the_value_is_differentiable():
    """L(μ, σ) = −½[(x − μ)² + μ²] − σ² + log σ + constant."""
    mean, sd = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.2, 0.6))
    elbo(log_joint, Normal(mean, sd), 40_000).value.backward()
    assert mean.grad.item() == pytest.approx(X - 2 * 0.2, abs=0.03)
    assert sd.grad.item() == pytest.approx(1 / 0.6 - 2 * 0.6, abs=0.05)


def test_a_batch_has_one_elbo_for_each_entry():
    x = torch.tensor([-1.0, 0.0, 2.0], dtype=torch.float64)
    q = Independent(Normal(torch.stack([x / 2, x / 2], dim=1), 0.5**0.5), 1)  # batch 3, event 2

    def two_copies(z):
        return (Normal(z, 1).log_prob(x[:, None]) + Normal(0, 1).log_prob(z)).sum(dim=-1)

    estimate = elbo(two_copies, q, 4)
    assert estimate.value.shape == estimate.standard_error.shape == (3,)
    torch.testing.assert_close(estimate.value, 2 * (-0.25 * x**2 - 0.5 * math.log(4 * math.pi)), rtol=0, atol=1e-6)


def test_a_discrete_q_is_sampled_without_gradient():
    table = torch.tensor([0.1, 0.3, 0.2]).log()
    q = Categorical(torch.tensor([1 / 6, 1 / 2, 1 / 3], requires_grad=True))
    estimate = elbo(lambda z: table[z], q, 50)
    assert estimate.value.item() == pytest.approx(math.log(0.6), abs=1e-6)


def test_where_the_joint_is_zero_the_bound_is_minus_infinity():
    def on_the_right(z):
        return torch.where(z > 0, -z, -math.inf)

    assert elbo(on_the_right, normal(0.0, 1.0), 50).value == -math.inf


def test_one_sample_has_no_standard_error():
    estimate = elbo(log_joint, normal(0.0, 1.0), 1)
    assert estimate.value.isfinite()
    assert estimate.standard_error.isnan()


@pytest.mark.usefixtures("without_annotations")
def test_wrong_arguments_are_told():
    q = normal(0.0, 1.0)
    with pytest.raises(ValueError, match="samples: expected an integer from 1 on, got 0"):
        elbo(log_joint, q, 0)
    with pytest.raises(TypeError, match=r"samples: expected an integer, got float 2.5"):
        elbo(log_joint, q, 2.5)
    with pytest.raises(TypeError, match="q: expected Distribution, got function"):
        elbo(log_joint, log_joint, 10)
    with pytest.raises(ValueError, match=r"log_joint\(z\): .* values are NaN or \+∞"):
        elbo(torch.sqrt, q, 100)
    with pytest.raises(ValueError, match=r"log_joint\(z\): expected shape \(10\), got \(\)"):
        elbo(torch.sum, q, 10)
    with pytest.raises(TypeError, match=r"log_joint\(z\): expected a tensor, got float 1.0"):
        elbo(lambda z: 1.0, q, 10)
    with pytest.raises(TypeError, match=r"log_joint\(z\): expected float32 or float64, got int64"):
        elbo(lambda z: z.long(), Bernoulli(torch.tensor(0.5)), 10)
