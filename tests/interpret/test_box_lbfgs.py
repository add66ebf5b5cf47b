"""L-BFGS in a box finds known minima, inside the box and on its faces, for every function by itself."""

import pytest
import torch
from scipy.optimize import minimize

from coursekit.interpret.box_lbfgs import free_coordinates, minimize_in_box


def test_functions_are_minimized_in_the_box_each_by_itself():
    """Rosenbrock's valley, whose minimum (1, 1) is a corner, and bowls with the minimum inside, beside and beyond."""
    centres = torch.tensor([[0.3, 0.6], [-0.5, 0.5], [2.0, -3.0]], dtype=torch.float64)

    def function(z, rows):
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            u, v = z.T
            valley = 100 * (v - u**2) ** 2 + (1 - u) ** 2
            bowls = [((z - centre) ** 2 * torch.tensor([1.0, 40.0])).sum(dim=1) for centre in centres]
            value = torch.stack([valley, *bowls])[rows, torch.arange(len(rows))]
            return value.detach(), torch.autograd.grad(value.sum(), z)[0]

    found = minimize_in_box(function, torch.full((4, 2), 0.2, dtype=torch.float64), steps=200)
    expected = torch.cat([torch.ones(1, 2), centres.clamp(0, 1)]).double()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_a_function_that_is_nan_further_on_is_minimized_as_far_as_it_goes():
    def function(z, rows):
        value = torch.where(z[:, 0] < 0.5, -z[:, 0], torch.nan)
        return value, -torch.ones_like(z)

    found = minimize_in_box(function, torch.zeros(1, 1), steps=100)
    assert 0.45 < found.item() < 0.5


def quadratics(n, d):
    """n convex quadratics ½zᵀAz − bᵀz of condition up to a few thousand, whose minima are partly outside the box."""
    root = torch.randn(n, d, d, dtype=torch.float64)
    a, b = root @ root.mT + 0.1 * torch.eye(d), 5 * torch.randn(n, d, dtype=torch.float64)

    def function(z, rows):
        product = torch.einsum("mij,mj->mi", a[rows], z)
        return (z * (0.5 * product - b[rows])).sum(dim=1), product - b[rows]

    return function


def test_quadratics_are_minimized_as_scipy_minimizes_them():
    function = quadratics(5, 12)
    found = minimize_in_box(function, torch.full((5, 12), 0.5, dtype=torch.float64), steps=500)
    values, _ = function(found, torch.arange(5))
    for i in range(5):

        def alone(z, i=i):
            value, gradient = function(torch.as_tensor(z)[None], torch.tensor([i]))
            return value.item(), gradient[0].numpy()

        theirs = minimize(alone, 12 * [0.5], jac=True, method="L-BFGS-B", bounds=12 * [(0, 1)], options={"ftol": 1e-15})
        assert values[i].item() <= theirs.fun + 1e-8
    assert ((found == 0) | (found == 1)).any()
    assert ((found > 0) & (found < 1)).any()


def test_at_the_minimum_no_free_coordinate_has_a_gradient():
    function = quadratics(5, 12)
    found = minimize_in_box(function, torch.rand(5, 12, dtype=torch.float64), steps=500)
    _, gradient = function(found, torch.arange(5))
    assert gradient[free_coordinates(found, gradient)].abs().max() < 1e-4


def test_a_function_does_not_depend_on_the_others():
    function = quadratics(4, 6)
    start = torch.rand(4, 6, dtype=torch.float64)
    together = minimize_in_box(function, start, steps=40)
    for i in range(4):
        alone = minimize_in_box(lambda z, rows, i=i: function(z, rows + i), start[i : i + 1], steps=40)
        torch.testing.assert_close(alone, together[i : i + 1], rtol=0, atol=1e-6)


def test_the_start_stays_as_it_was_and_a_minimum_is_left_at_once():
    calls = []

    def bowl(z, rows):
        calls.append(len(rows))
        return (z - 0.5).square().sum(dim=1), 2 * (z - 0.5)

    start = torch.full((3, 2), 0.5)
    found = minimize_in_box(bowl, start, steps=100)
    assert torch.equal(found, start)
    assert found is not start
    assert calls == [3, 3]


def test_coordinates_are_free_unless_minus_the_gradient_leaves_the_box():
    z = torch.tensor([[0.0, 0.0, 0.5, 1.0, 1.0]])
    gradient = torch.tensor([[1.0, -1.0, 1.0, 1.0, -1.0]])
    assert free_coordinates(z, gradient).tolist() == [[False, True, True, True, False]]


@pytest.mark.parametrize(
    ("start", "options", "message"),
    [
        (torch.rand(3), {}, r"start: expected shape \(n, d\), got \(3,\)"),
        (torch.rand(0, 3), {}, r"start: expected at least one element, got shape \(0, 3\)"),
        (torch.full((2, 3), 1.5), {}, r"start: expected numbers in \[0, 1\], got 1.5 to 1.5"),
        (torch.full((2, 3), torch.nan), {}, "start: 6 of 6 numbers are NaN or infinite"),
        (torch.rand(2, 3), {"steps": 0}, "steps: expected an integer from 1 on, got 0"),
        (torch.rand(2, 3), {"memory": 0}, "memory: expected an integer from 1 on, got 0"),
        (torch.zeros(2, 3).long(), {}, "start: expected float32 or float64, got int64"),
        ([[0.0, 0.0]], {}, "start: expected a tensor, got list"),
        (torch.rand(2, 3), {"steps": 2.5}, r"steps: expected an integer, got float 2\.5"),
    ],
)
def test_wrong_arguments_are_told(start, options, message, without_annotations):
    with pytest.raises((TypeError, ValueError), match=message):
        minimize_in_box(lambda z, rows: (z.sum(dim=1), torch.ones_like(z)), start, **{"steps": 5} | options)
