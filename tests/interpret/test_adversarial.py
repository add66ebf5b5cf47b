"""Attacks reach the closed forms, what brute force finds, and never leave the box."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import nn

from coursekit.interpret.adversarial import attack_at_price, linear_attack, minimize_in_box, szegedy_attack


def logistic(weight, bias):
    """Two scores, 0 and w·x + b: logistic regression as a net."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(weight.numel(), 2)).double()
    with torch.no_grad():
        model[1].weight.copy_(torch.stack([torch.zeros_like(weight).flatten(), weight.flatten()]))
        model[1].bias.copy_(torch.tensor([0.0, bias]))
    return model


def other_answer(model, images):
    return 1 - model(images).argmax(dim=1)


def answers(model, images):
    with torch.no_grad():
        return model(images).argmax(dim=1)


@pytest.fixture
def weight():
    return 0.5 * torch.randn(1, 4, 4, dtype=torch.float64)


@pytest.fixture
def grey():
    """Images far from the bounds."""
    return 0.5 + 0.05 * torch.randn(5, 1, 4, 4, dtype=torch.float64)


@pytest.fixture
def inky():
    """Images with many pixels at the bounds."""
    return (1.5 * torch.rand(5, 1, 4, 4, dtype=torch.float64) - 0.25).clamp(0, 1)


def test_the_least_change_of_logistic_regression_is_the_margin_over_the_norm(weight, grey):
    scores = (weight * grey).sum(dim=(1, 2, 3)) - 0.1
    found = linear_attack(weight, -0.1, grey)
    torch.testing.assert_close(found.norms, scores.abs() / weight.norm())
    torch.testing.assert_close(found.perturbation, -(scores / weight.norm() ** 2)[:, None, None, None] * weight)
    torch.testing.assert_close(found.c, (weight.norm() / 2).expand(5))
    assert found.success.all()


def test_a_margin_is_met_and_no_more(weight, inky):
    scores = (weight * inky).sum(dim=(1, 2, 3)) - 0.1
    found = linear_attack(weight, -0.1, inky, margin=0.5)
    after = (weight * found.images).sum(dim=(1, 2, 3)) - 0.1
    torch.testing.assert_close(after, -0.5 * scores.sign())


def test_between_bounds_the_linear_attack_solves_the_quadratic_programme(weight, inky):
    found = linear_attack(weight, 0.2, inky)
    w = weight.flatten().numpy()
    for x, r in zip(inky.flatten(1).numpy(), found.perturbation.flatten(1).numpy(), strict=True):
        side = -np.sign(x @ w + 0.2)
        limit = {"type": "ineq", "fun": lambda r, side=side, x=x: side * ((x + r) @ w + 0.2)}
        best = minimize(
            lambda r: (r @ r, 2 * r),
            np.zeros(16),
            jac=True,
            method="SLSQP",
            bounds=list(zip(-x, 1 - x, strict=True)),
            constraints=limit,
            options={"ftol": 1e-14},
        )
        np.testing.assert_allclose(r, best.x, atol=1e-6)
    assert ((found.images == 0) | (found.images == 1)).any()


def test_an_answer_that_no_image_gives_is_flagged():
    images = torch.rand(2, 3)
    found = linear_attack(torch.ones(3), 1.0, images)  # the score is positive in all of [0, 1]³
    assert not found.success.any()
    assert found.c.isnan().all()
    assert (found.images == 0).all()


def test_after_the_attack_at_price_c_the_margin_is_log_of_norm_over_c_minus_one(weight, grey):
    weight = 4 * weight  # so that no change meets a bound
    model = logistic(weight, 0.1)
    for share in (0.1, 0.4, 0.49, 0.51, 0.6):
        c = share * weight.norm().item()
        attacked = attack_at_price(model, grey, other_answer(model, grey), c)
        margin = model(attacked).diff(dim=1)[:, 0] * (2 * other_answer(model, grey) - 1)
        expected = math.log(1 / share - 1)
        assert ((margin - expected).abs() < 1e-4).all()
        assert ((answers(model, attacked) == other_answer(model, grey)) == (share < 0.5)).all()


def test_steep_losses_that_are_flat_beyond_the_boundary_are_minimised_too():
    """There a first move ends where the slope says nothing, and a quasi-Newton move may aim at a corner of the box."""
    weight = 2 * torch.randn(1, 28, 28, dtype=torch.float64)
    model = logistic(weight, 0.0)
    images = 0.5 + 0.1 * torch.randn(50, 1, 28, 28, dtype=torch.float64).clamp(-1, 1)
    targets = other_answer(model, images)
    attacked = attack_at_price(model, images, targets, 0.1 * weight.norm().item())
    margin = model(attacked).diff(dim=1)[:, 0] * (2 * targets - 1)
    torch.testing.assert_close(margin, torch.full_like(margin, math.log(9)), atol=1e-4, rtol=0)


def test_a_change_that_costs_more_than_it_gains_is_not_made(weight, grey):
    model = logistic(weight, 0.1)
    assert torch.equal(attack_at_price(model, grey, other_answer(model, grey), 1.001 * weight.norm().item()), grey)


@pytest.mark.parametrize("where", ["grey", "inky"])
def test_the_search_comes_within_a_few_per_cent_of_the_least_change_of_a_linear_model(weight, where, request):
    images = request.getfixturevalue(where)
    model = logistic(weight, 0.1)
    found = szegedy_attack(model, images, other_answer(model, images))
    exact = linear_attack(weight, 0.1, images)
    ratio = found.norms / exact.norms
    assert ((ratio > 1 - 1e-6) & (ratio < 1.03)).all()
    torch.testing.assert_close(found.c, exact.c, rtol=0.02, atol=0)


def test_the_priced_problem_is_solved_as_scipy_solves_it(weight, inky):
    model = logistic(weight, 0.1)
    x, c = inky[:1], 0.3 * weight.norm().item()
    target = other_answer(model, x)

    def objective(z):
        point = torch.as_tensor(z).view(1, 1, 4, 4)
        return c * (point - x).norm().item() + nn.functional.cross_entropy(model(point), target).item()

    ours = attack_at_price(model, x, target, c)
    start = (x.flatten() + 0.1 * torch.rand(16)).clamp(0, 1).detach().numpy()
    theirs = minimize(objective, start, method="L-BFGS-B", bounds=[(0, 1)] * 16, options={"ftol": 1e-13})
    assert objective(ours.detach().flatten().numpy()) <= theirs.fun + 1e-7


def test_on_a_plane_the_search_finds_what_a_grid_finds():
    net = nn.Sequential(nn.Flatten(), nn.Linear(2, 12), nn.Tanh(), nn.Linear(12, 3)).double()
    with torch.no_grad():
        net[1].weight.mul_(6)
        net[1].bias.copy_(-0.5 * net[1].weight.sum(dim=1))
        net[3].weight.mul_(8)
    axis = torch.linspace(0, 1, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)  # (160801, 2)
    classes = answers(net, grid.view(-1, 1, 1, 2))
    assert classes.unique().tolist() == [0, 1, 2]
    x = torch.rand(12, 1, 1, 2, dtype=torch.float64)
    targets = (answers(net, x) + 1) % 3
    found = szegedy_attack(net, x, targets)
    pairs = zip(x.flatten(1), targets, strict=True)
    least = torch.stack([(grid[classes == target] - start).norm(dim=1).min() for start, target in pairs])
    least, norms = least[found.success], found.norms[found.success]
    assert (norms > least - 0.004).all()  # the grid's step is 0.0025
    # The loss of a net has other minima, where some searches may end.
    assert (norms < 1.05 * least + 0.004).sum() >= 9


def test_the_images_stay_in_the_box_change_their_answer_and_leave_the_model_alone(tiny, images, unchanged):
    with torch.no_grad():
        tiny.output.weight.mul_(20)  # so that every class is in reach
    targets = (answers(tiny, images) + 1) % 4
    with unchanged(tiny), torch.no_grad():
        found = szegedy_attack(tiny, images, targets)
    assert found.success.all()
    assert torch.equal(answers(tiny, found.images), targets)
    assert found.images.min() >= 0
    assert found.images.max() <= 1
    assert torch.equal(found.images - images, found.perturbation)
    torch.testing.assert_close(found.norms, found.perturbation.square().sum(dim=(1, 2, 3)).sqrt())


def test_many_images_are_attacked_as_one_by_one(tiny, images):
    with torch.no_grad():
        tiny.output.weight.mul_(20)
    targets = (answers(tiny, images) + 2) % 4
    together = szegedy_attack(tiny, images, targets, rounds=5)
    for i in range(3):
        alone = szegedy_attack(tiny, images[i : i + 1], targets[i : i + 1], rounds=5)
        assert alone.success == together.success[i]
        torch.testing.assert_close(alone.norms, together.norms[i : i + 1], rtol=1e-3, atol=0)


def test_the_answer_that_is_there_already_needs_no_change(tiny, images):
    found = szegedy_attack(tiny.float(), images.float(), answers(tiny.float(), images.float()))
    assert found.success.all()
    assert torch.equal(found.images, images.float())
    assert found.c.isinf().all()
    assert found.norms.tolist() == [0, 0, 0]


def test_a_target_that_cannot_be_reached_is_flagged_and_the_others_are_found(weight, grey):
    """Class 2 has the score −100 whatever the image."""
    model = logistic(weight, 0.1)
    head = nn.Linear(2, 3).double()
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
        head.bias.copy_(torch.tensor([0.0, 0.0, -100.0]))
    targets = other_answer(model, grey)
    targets[0] = 2
    found = szegedy_attack(nn.Sequential(model, head), grey, targets)
    assert found.success.tolist() == [False] + 4 * [True]
    assert found.c.isnan().tolist() == [True] + 4 * [False]


def test_a_net_that_ignores_the_image_is_flagged(grey):
    model = logistic(torch.zeros(1, 4, 4, dtype=torch.float64), 1.0)
    found = szegedy_attack(model, grey, 0)
    assert not found.success.any()
    assert torch.equal(found.images, grey)


def test_functions_are_minimised_in_the_box_each_by_itself():
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


def test_a_function_that_is_nan_further_on_is_minimised_as_far_as_it_goes():
    def function(z, rows):
        value = torch.where(z[:, 0] < 0.5, -z[:, 0], torch.nan)
        return value, -torch.ones_like(z)

    found = minimize_in_box(function, torch.zeros(1, 1), steps=100)
    assert 0.45 < found.item() < 0.5


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"images": torch.full((2, 2, 8, 8), 1.5).double()}, r"stays in \[0, 1\].*these go from 1.5 to 1.5"),
        ({"images": -torch.ones(2, 2, 8, 8).double()}, "these go from -1 to -1"),
        ({"images": torch.full((1, 2, 8, 8), torch.nan).double()}, "NaN"),
        ({"images": torch.rand(0, 2, 8, 8).double()}, "images: expected at least one element"),
        ({"images": torch.rand(2, 1, 8, 8).double()}, r"cannot take images of shape \(2, 1, 8, 8\)"),
        ({"targets": 4}, "target: expected an integer from 0 to 3, got 4"),
        ({"targets": torch.tensor([0, 1, -1])}, r"target: expected classes from 0 to 3, got \[-1\]"),
        ({"rounds": 0}, "expected rounds ≥ 1 and steps ≥ 1, got rounds=0"),
        ({"steps": 0}, "steps=0"),
    ],
)
def test_wrong_arguments_are_told(tiny, images, changed, message, unchanged):
    with unchanged(tiny), pytest.raises(ValueError, match=message):
        szegedy_attack(tiny, **({"images": images, "targets": 0} | changed))


def test_a_model_in_training_mode_is_refused(images):
    model = nn.Sequential(nn.Dropout(), nn.Flatten(), nn.Linear(128, 2)).double()
    with pytest.raises(ValueError, match="training mode, and with Dropout"):
        szegedy_attack(model, images, 0)


@pytest.mark.parametrize(("c", "steps"), [(-1.0, 5), (1.0, 0)])
def test_a_price_is_not_negative_and_steps_are_needed(tiny, images, c, steps):
    with pytest.raises(ValueError, match="expected a price c ≥ 0 and steps ≥ 1"):
        attack_at_price(tiny, images, 0, c, steps=steps)


@pytest.mark.parametrize(
    ("weight", "images", "margin", "message"),
    [
        (torch.zeros(3), torch.rand(2, 3), 0.0, "not all zero"),
        (torch.tensor([1.0, torch.nan, 0.0]), torch.rand(2, 3), 0.0, "expected a finite weight"),
        (torch.ones(3), torch.rand(2, 3), -1.0, "margin ≥ 0"),
        (torch.ones(3), 2 * torch.ones(2, 3), 0.0, "go from 2 to 2"),
        (torch.ones(3), torch.full((2, 3), torch.nan), 0.0, "go from nan to nan"),
        (torch.ones(3), torch.rand(0, 3), 0.0, r"expected floating-point images, got shape \(0, 3\)"),
    ],
)
def test_wrong_arguments_of_the_linear_attack_are_told(weight, images, margin, message):
    with pytest.raises(ValueError, match=message):
        linear_attack(weight, 0.0, images, margin=margin)
