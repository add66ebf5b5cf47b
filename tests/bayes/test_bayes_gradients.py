import math

import pytest
import torch
from torch.distributions import Bernoulli, Independent, MultivariateNormal, Normal

from coursekit.bayes import reparameterized_gradient, score_gradient

N = 300_000


def doubles(*numbers):
    return tuple(torch.tensor(number, dtype=torch.float64) for number in numbers)


ONE = doubles(1.0, 1.0)


def spread(gradient):
    """The variance of the samples, and the standard error of that variance."""
    off = (gradient - gradient.mean()).square()
    return off.mean().item(), (off.std() / math.sqrt(len(off))).item()


def test_variances_of_the_two_estimators_for_the_square():
    score = score_gradient(torch.square, Normal, ONE, N)[0]
    path = reparameterized_gradient(torch.square, Normal, ONE, N)[0]
    for gradient, variance in ((score, 30), (path, 4)):
        value, error = spread(gradient)
        assert abs(value - variance) <= 4 * error
        assert error < 0.05 * variance
        assert abs(gradient.mean() - 2) <= 4 * math.sqrt(variance / N)


@pytest.mark.parametrize(("baseline", "variance"), [(4.0, 14), (3.0, 15), (5.0, 15), (2.0, 18), (0.0, 30)])
def test_a_constant_baseline_changes_the_variance_alone(baseline, variance):
    """f = x², μ = σ = 1: E[((1 + ε)² − b)² ε²] − 4 = 14 + (b − 4)²."""
    gradient = score_gradient(torch.square, Normal, ONE, N, baseline=baseline)[0]
    value, error = spread(gradient)
    assert abs(value - variance) <= 4 * error
    assert abs(gradient.mean() - 2) <= 4 * math.sqrt(variance / N)


def test_leave_one_out_is_unbiased_with_few_samples():
    """With its own value in its baseline a sample would shrink the estimate by (n − 1)/n, here from 2 to 4/3."""
    values = torch.stack([score_gradient(torch.square, Normal, ONE, 3, "leave-one-out")[0].mean() for _ in range(1000)])
    error = values.std() / math.sqrt(len(values))
    assert abs(values.mean() - 2) <= 3 * error
    assert abs(values.mean() - 4 / 3) > 3 * error


def test_leave_one_out_has_less_variance_than_no_baseline():
    gradient = score_gradient(torch.square, Normal, ONE, N, "leave-one-out")[0]
    value, error = spread(gradient)
    assert abs(value - 18) <= 4 * error  # as with the constant E[f] = 2


@pytest.mark.parametrize("omega", [0.5, 1.0, 1.5, 3.0])
def test_for_the_cosine_the_order_turns_round(omega):
    """E cos(2ω(1 + ε)) = cos(2ω) exp(−2ω²) gives both variances in closed form."""

    def f(z):
        return torch.cos(omega * z)

    path = reparameterized_gradient(f, Normal, ONE, N)[0]
    score = score_gradient(f, Normal, ONE, N)[0]
    truth = -omega * math.sin(omega) * math.exp(-(omega**2) / 2)
    double = math.cos(2 * omega) * math.exp(-2 * omega**2)
    expected = {
        "path": omega**2 * (1 - double) / 2 - truth**2,
        "score": (1 + (1 - 4 * omega**2) * double) / 2 - truth**2,  # E[ε² cos(2ωz)] = (1 − 4ω²) E cos(2ωz)
    }
    for gradient, name in ((path, "path"), (score, "score")):
        value, error = spread(gradient)
        assert abs(value - expected[name]) <= 4 * error
        assert abs(gradient.mean() - truth) <= 4 * gradient.std() / math.sqrt(N)
    assert (spread(path)[0] < spread(score)[0]) == (omega <= 1)


def test_no_absolute_value_belongs_into_the_reparameterized_gradient():
    """Erratum E26: the truth for σ is 2σ = 1.4, the printed form gives 2μ√(2/π) = 2.0745."""
    in_mean, in_scale = reparameterized_gradient(torch.square, Normal, doubles(1.3, 0.7), N)
    assert in_mean.mean().item() == pytest.approx(2.6, abs=0.02)
    assert in_scale.mean().item() == pytest.approx(1.4, abs=0.02)
    noise = torch.randn(N, dtype=torch.float64)
    printed = (2 * (1.3 + 0.7 * noise) * noise.abs()).mean().item()
    assert printed == pytest.approx(2 * 1.3 * math.sqrt(2 / math.pi), abs=0.02)


def test_the_score_has_mean_zero():
    gradient = score_gradient(torch.ones_like, Normal, doubles(0.3, 2.0), N)
    for part in gradient:
        assert abs(part.mean()) <= 4 * part.std() / math.sqrt(N)


def test_samples_agree_with_one_backward_pass_each():
    seed = 3
    torch.manual_seed(seed)
    gradients = score_gradient(torch.square, Normal, doubles(0.5, 2.0), 4)
    torch.manual_seed(seed)
    z = Normal(*(p.expand(4) for p in doubles(0.5, 2.0))).sample()
    for i in range(4):
        phi = [p.requires_grad_() for p in doubles(0.5, 2.0)]
        scores = torch.autograd.grad(Normal(*phi).log_prob(z[i]), phi)
        for gradient, score in zip(gradients, scores, strict=True):
            assert gradient[i].item() == pytest.approx((z[i] ** 2 * score).item(), abs=1e-12)


def test_vectors_and_matrices_as_parameters():
    mean, factor = torch.tensor([1.0, -1.0]).double(), torch.tensor([[1.0, 0.0], [0.5, 2.0]]).double()

    def family(mean, factor):
        return MultivariateNormal(mean, scale_tril=factor)

    def f(z):
        return z.square().sum(dim=-1)

    for estimator in (score_gradient, reparameterized_gradient):
        in_mean, in_factor = estimator(f, family, (mean, factor), 50_000)
        assert in_mean.shape == (50_000, 2)
        assert in_factor.shape == (50_000, 2, 2)
        torch.testing.assert_close(in_mean.mean(dim=0), 2 * mean, rtol=0, atol=0.5)
        torch.testing.assert_close(in_factor.mean(dim=0).tril(), 2 * factor, rtol=0, atol=0.5)


def test_a_discrete_variable_has_a_score_gradient():
    """E f = p f(1) + (1 − p) f(0), so the derivative in p is f(1) − f(0)."""
    (gradient,) = score_gradient(lambda z: 3 * z + 1, Bernoulli, doubles(0.3), N)
    assert gradient.mean().item() == pytest.approx(3, abs=0.05)
    with pytest.raises(ValueError, match="family: Bernoulli cannot be reparameterized; use score_gradient"):
        reparameterized_gradient(lambda z: 3 * z, Bernoulli, doubles(0.3), 10)


def test_independent_makes_one_vector_of_a_batch():
    def family(mean, scale):
        return Independent(Normal(mean, scale), 1)

    gradient = score_gradient(lambda z: z.sum(dim=1), family, (torch.zeros(3), torch.ones(3)), N)[0]
    assert gradient.shape == (N, 3)
    torch.testing.assert_close(gradient.mean(dim=0), torch.ones(3), rtol=0, atol=0.03)


def test_parameters_that_require_a_gradient_keep_none():
    mean = torch.tensor(1.0, requires_grad=True)
    gradient = score_gradient(torch.square, Normal, (mean, torch.tensor(1.0)), 10)
    assert mean.grad is None
    assert not gradient[0].requires_grad


@pytest.mark.usefixtures("without_annotations")
def test_wrong_arguments_are_told():
    vector = (torch.zeros(3), torch.ones(3))
    with pytest.raises(ValueError, match="samples: expected an integer from 1 on, got 0"):
        score_gradient(torch.square, Normal, ONE, 0)
    with pytest.raises(ValueError, match="samples: expected an integer from 2 on, got 1"):
        score_gradient(torch.square, Normal, ONE, 1, "leave-one-out")
    with pytest.raises(ValueError, match="unknown baseline 'leave-one-in': did you mean leave-one-out"):
        score_gradient(torch.square, Normal, ONE, 10, "leave-one-in")
    with pytest.raises(TypeError, match="baseline: expected a number, got list"):
        score_gradient(torch.square, Normal, ONE, 10, [1.0])
    with pytest.raises(TypeError, match=r"parameters: expected a tensor, got float 1.0"):
        reparameterized_gradient(torch.square, Normal, (1.0, 1.0), 10)
    with pytest.raises(TypeError, match="parameters: expected float32 or float64, got int64"):
        reparameterized_gradient(torch.square, Normal, (torch.tensor(1), torch.tensor(1)), 10)
    with pytest.raises(ValueError, match=r"batch shape \(3,\); torch.distributions.Independent makes one vector"):
        score_gradient(lambda z: z.sum(dim=1), Normal, vector, 10)
    assert score_gradient(lambda z: z.sum(dim=1), lambda m, s: Independent(Normal(m, s), 1), vector, 10)[0].shape == (
        10,
        3,
    )
    with pytest.raises(ValueError, match=r"f\(z\): expected shape \(10\), got \(\)"):
        score_gradient(torch.sum, Normal, ONE, 10)
    with pytest.raises(ValueError, match=r"f\(z\): .* values are NaN or \+∞"):
        reparameterized_gradient(torch.sqrt, Normal, doubles(0.0, 1.0), 100)
    with pytest.raises(ValueError, match="f: expected a differentiable function; use score_gradient for others"):
        reparameterized_gradient(lambda z: (z > 0).double(), Normal, ONE, 10)
