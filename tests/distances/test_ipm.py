"""Integral probability metrics: each family gives the distance that it should, and its witness reaches it."""

import math

import pytest
import torch

from coursekit.distances import ipm, rbf, total_variation, wasserstein_1d

F64 = torch.float64
GRID = torch.linspace(-6, 8, 401, dtype=F64)


def normal(mean, std):
    density = torch.distributions.Normal(mean, std).log_prob(GRID).exp()
    return density / density.sum()


P, Q = normal(0.0, 1.0), normal(1.5, 1.2)


def test_lipschitz_functions_give_w1():
    found = ipm(P, Q, GRID, "lipschitz")
    assert found.value == pytest.approx(wasserstein_1d(GRID, GRID, x_weights=P, y_weights=Q).item(), rel=1e-8)
    assert (found.function.diff().abs() <= GRID.diff() + 1e-9).all()
    assert (found.function @ (P - Q)).item() == pytest.approx(found.value)


def test_bounded_functions_give_twice_the_total_variation():
    found = ipm(P, Q, GRID, "bounded")
    assert found.value == pytest.approx(2 * total_variation(P, Q).item(), rel=1e-10)
    assert found.value == pytest.approx(1.0169, abs=1e-3)
    assert found.function.abs().max() <= 1


def test_the_ball_of_a_kernel_gives_the_mmd():
    found = ipm(P, normal(1.0, 1.0), GRID, "kernel", rbf(1.0))
    assert found.value == pytest.approx(math.sqrt(0.177268), abs=1e-4)
    gram = rbf(1.0)((GRID[:, None] - GRID).square())
    rates = (P - normal(1.0, 1.0)) / found.value  # f = K rates
    torch.testing.assert_close(found.function, gram @ rates)
    assert (rates @ gram @ rates).item() == pytest.approx(1)  # ‖f‖²


@pytest.mark.parametrize(("family", "kernel"), [("lipschitz", None), ("bounded", None), ("kernel", rbf(1.0))])
def test_no_distance_from_itself(family, kernel):
    assert ipm(P, P, GRID, family, kernel).value == pytest.approx(0, abs=1e-12)


def test_one_point():
    one = torch.ones(1)
    assert ipm(one, one, torch.zeros(1), "lipschitz").value == 0


@pytest.mark.parametrize(
    ("call", "kind", "said"),
    [
        (lambda: ipm(P, Q, GRID, "lipshitz"), ValueError, "unknown family 'lipshitz': did you mean lipschitz?"),
        (lambda: ipm(P, Q, GRID.flip(0), "bounded"), ValueError, "grid: expected points from left to right"),
        (lambda: ipm(P, Q, GRID, "kernel"), ValueError, "kernel: missing for the family 'kernel'"),
        (lambda: ipm(P, Q, GRID, "bounded", rbf(1)), ValueError, "kernel: not used for the family 'bounded'"),
        (lambda: ipm(2 * P, Q, GRID, "bounded"), ValueError, "p: expected a sum of 1, got 2"),
        (lambda: ipm(P[:9] / P[:9].sum(), Q, GRID, "bounded"), ValueError, "p, q: expected one shape"),
        (lambda: ipm(P, Q, GRID.float(), "bounded"), TypeError, "p, grid: expected one dtype"),
        (lambda: ipm(P.numpy(), Q, GRID, "bounded"), TypeError, "p: expected a tensor, got ndarray"),
    ],
)
def test_wrong_arguments(without_annotations, call, kind, said):
    with pytest.raises(kind, match=said):
        call()


def test_a_small_difference_has_a_small_distance():
    p = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    q = p + 1e-8 * torch.tensor([1.0, -3.0, 2.0], dtype=torch.float64)
    grid = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)
    assert ipm(p, q, grid, "lipschitz").value == pytest.approx(1e-8 * (1 + 2), rel=1e-6)
    p.requires_grad_()
    assert ipm(p, q, grid, "lipschitz").value > 0


def test_a_kernel_is_a_function(without_annotations):
    p = torch.tensor([0.5, 0.5])
    with pytest.raises(TypeError, match="kernel: expected a function of squared distances"):
        ipm(p, p, torch.tensor([0.0, 1.0]), "kernel", kernel="rbf")
