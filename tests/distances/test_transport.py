"""Transport distances equal POT's and SciPy's, and closed forms."""

import math
import warnings

import numpy as np
import pytest
import scipy.stats
import torch

from coursekit.distances import gaussian_w2, sliced_wasserstein, wasserstein, wasserstein_1d

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # POT tells about back ends that it does not find
    import ot

F64 = torch.float64


def cloud(*shape):
    return torch.randn(*shape, dtype=F64)


def law(n):
    return torch.rand(n, dtype=F64).softmax(0)


@pytest.mark.parametrize("p", [1, 2, 3])
@pytest.mark.parametrize(("n", "m", "weighted"), [(40, 40, False), (30, 45, False), (20, 20, True), (1, 5, False)])
def test_the_exact_distance_is_that_of_pot(n, m, weighted, p):
    x, y = cloud(n, 3), cloud(m, 3) + 0.5
    a, b = (law(n), law(m)) if weighted else (torch.full((n,), 1 / n, dtype=F64), torch.full((m,), 1 / m, dtype=F64))
    found = wasserstein(x, y, p, x_weights=a if weighted else None, y_weights=b if weighted else None)
    cost = torch.cdist(x, y) ** p
    assert found.distance == pytest.approx(ot.emd2(a.numpy(), b.numpy(), cost.numpy()) ** (1 / p), rel=1e-7)
    torch.testing.assert_close(found.plan.sum(1), a, atol=1e-9, rtol=0)
    torch.testing.assert_close(found.plan.sum(0), b, atol=1e-9, rtol=0)
    assert (found.plan >= 0).all()
    assert (found.plan * cost).sum().item() ** (1 / p) == pytest.approx(found.distance)


def test_a_point_without_mass_does_not_count():
    x, y = cloud(4, 2), cloud(3, 2)
    weights = torch.tensor([0.5, 0.0, 0.25, 0.25], dtype=F64)
    kept = [0, 2, 3]
    whole, part = wasserstein(x, y, x_weights=weights), wasserstein(x[kept], y, x_weights=weights[kept])
    assert whole.distance == pytest.approx(part.distance)


def test_on_a_line_it_is_scipys():
    x, y, a, b = cloud(30), cloud(50) + 1, law(30), law(50)
    reference = scipy.stats.wasserstein_distance(x, y, a, b)
    assert wasserstein_1d(x, y, x_weights=a, y_weights=b).item() == pytest.approx(reference, rel=1e-12)
    assert wasserstein(x[:, None], y[:, None], x_weights=a, y_weights=b).distance == pytest.approx(reference, rel=1e-7)
    exact = wasserstein(x[:, None], y[:, None], 2).distance
    assert wasserstein_1d(x, y, 2).item() == pytest.approx(exact, rel=1e-7)


def test_a_shift_costs_its_length():
    x, shift = cloud(25, 4), torch.tensor([1.0, -2.0, 0.0, 2.0], dtype=F64)
    assert wasserstein(x, x + shift).distance == pytest.approx(3)
    assert wasserstein_1d(x[:, 0], x[:, 0] + 2, 3).item() == pytest.approx(2)
    sliced = sliced_wasserstein(x, x + shift, directions=20_000).item()
    assert sliced == pytest.approx(3 / math.sqrt(4), rel=0.02)  # E(θᵀv)² = ‖v‖²/d


def test_sliced_takes_samples_of_two_sizes_and_repeats_itself():
    x, y = cloud(20, 3), cloud(33, 3) + 1
    assert sliced_wasserstein(x, y, seed=1) == sliced_wasserstein(x, y, seed=1) != sliced_wasserstein(x, y, seed=2)
    generator = torch.Generator().manual_seed(1)
    theta = torch.randn(3, 100, generator=generator, dtype=F64)
    theta = theta / theta.norm(dim=0)
    each = [wasserstein_1d(x @ t, y @ t, 2) ** 2 for t in theta.T]
    torch.testing.assert_close(sliced_wasserstein(x, y, seed=1), torch.stack(each).mean().sqrt())


def test_gradients():
    x, y = cloud(5).requires_grad_(), cloud(7).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: wasserstein_1d(x, y, 2), (x, y))
    x, y = cloud(5, 2).requires_grad_(), cloud(5, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: sliced_wasserstein(x, y, directions=3), (x, y))


def test_gaussians():
    a, b = np.random.default_rng(0).normal(size=(2, 4, 4))
    c1, c2 = torch.from_numpy(a @ a.T), torch.from_numpy(b @ b.T)
    m1, m2 = cloud(4), cloud(4)
    reference = ot.gaussian.bures_wasserstein_distance(m1.numpy(), m2.numpy(), c1.numpy(), c2.numpy())
    assert gaussian_w2(m1, c1, m2, c2).item() == pytest.approx(float(reference), rel=1e-9)
    assert gaussian_w2(m1, c1, m1, c1).item() == pytest.approx(0, abs=1e-6)
    singular = torch.diag(torch.tensor([1.0, 0.0], dtype=F64))
    zero = torch.zeros(2, dtype=F64)
    assert gaussian_w2(zero, singular, zero, 0 * singular).item() == pytest.approx(1)


X = torch.zeros(3, 2)


@pytest.mark.parametrize(
    ("call", "kind", "said"),
    [
        (lambda: wasserstein([[0.0]], X), TypeError, "x: expected a tensor, got list"),
        (lambda: wasserstein(X.numpy(), X), TypeError, "x: expected a tensor, got ndarray"),
        (lambda: wasserstein(X.long(), X), TypeError, "x: expected float32 or float64, got int64"),
        (lambda: wasserstein(X[:, 0], X), ValueError, r"x\[:, None\] has shape \(3, 1\)"),
        (lambda: wasserstein(X, torch.zeros(3, 4)), ValueError, "x, y: expected rows of one length, got 2 and 4"),
        (lambda: wasserstein(X, X.double()), TypeError, "x, y: expected one dtype, got float32 and float64"),
        (lambda: wasserstein(X, X * math.nan), ValueError, "y: 6 of 6 numbers are NaN"),
        (lambda: wasserstein(X, X, 0.5), ValueError, "p: expected a number ≥ 1, got 0.5"),
        (lambda: wasserstein(X, X, x_weights=torch.ones(3)), ValueError, "x_weights: expected a sum of 1, got 3"),
        (lambda: wasserstein(X, X, y_weights=torch.ones(2) / 2), ValueError, r"y_weights: expected shape \(3\)"),
        (
            lambda: wasserstein(X, X, y_weights=torch.tensor([-1.0, 1.0, 1.0])),
            ValueError,
            "y_weights: expected probabilities ≥ 0, got -1",
        ),
        (lambda: wasserstein_1d(X, X[:, 0]), ValueError, r"x: expected shape \(n\), got \(3, 2\)"),
        (lambda: sliced_wasserstein(X, X, directions=0), ValueError, "directions: expected an integer from 1 on"),
        (lambda: gaussian_w2(X[0], X, X[0], X[:2]), ValueError, r"covariance1: expected shape \(2, 2\), got \(3, 2\)"),
        (
            lambda: gaussian_w2(X[0], torch.tensor([[1.0, 1.0], [0.0, 1.0]]), X[0], X[:2]),
            ValueError,
            "covariance1: expected a symmetric matrix",
        ),
        (
            lambda: gaussian_w2(X[0], X[:2], X[0], -torch.eye(2)),
            ValueError,
            "covariance2: expected no negative eigenvalue, got -1",
        ),
    ],
)
def test_wrong_arguments(without_annotations, call, kind, said):
    with pytest.raises(kind, match=said):
        call()


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e6])
@pytest.mark.parametrize("p", [1, 2, 3])
def test_the_linear_program_does_not_depend_on_the_scale(scale, p):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8, 2, generator=generator, dtype=torch.float64)
    y = torch.randn(9, 2, generator=generator, dtype=torch.float64)
    expected = wasserstein(x, y, p).distance
    assert wasserstein(scale * x, scale * y, p).distance / scale == pytest.approx(expected, rel=1e-9)


def test_weights_that_round_to_one_are_made_one():
    weights = torch.full((3,), 1 / 3 + 1e-4)
    x, y = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([5.0, 6.0, 7.0])
    assert wasserstein_1d(x, y, x_weights=weights, y_weights=weights).item() == pytest.approx(5, rel=1e-6)


@pytest.mark.parametrize("p", [1, 1.5, 2, 7])
@pytest.mark.parametrize("distance", [wasserstein_1d, sliced_wasserstein])
def test_at_equal_samples_distance_and_gradient_are_0(distance, p):
    x = torch.rand(5, generator=torch.Generator().manual_seed(0))
    x = (x if distance is wasserstein_1d else x[:, None]).requires_grad_()
    value = distance(x, x.detach(), p)
    assert value.item() == 0
    assert torch.equal(torch.autograd.grad(value, x)[0], torch.zeros_like(x))


@pytest.mark.parametrize(("shift", "p"), [(1e-3, 300), (1e25, 30), (1e-30, 9)])
def test_no_power_of_a_distance_over_or_underflows(shift, p):
    x = shift * torch.arange(3, dtype=torch.float64) / 10
    assert wasserstein_1d(x, x + shift, p).item() == pytest.approx(shift)
    assert sliced_wasserstein(x[:, None], x[:, None] + shift, p).item() == pytest.approx(shift)
    assert wasserstein(x[:, None], x[:, None] + shift, p).distance == pytest.approx(shift)


def test_a_gradient_through_matrix_roots_is_an_error_and_not_nan():
    mean = torch.zeros(2, requires_grad=True)
    assert not gaussian_w2(mean, torch.eye(2), mean, torch.eye(2)).requires_grad
