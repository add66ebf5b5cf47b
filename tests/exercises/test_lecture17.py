"""The exercises on WGANs accept what is right in any form, and say what is wrong."""

import math
import warnings

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment, linprog
from scipy.sparse import eye_array, hstack, kron
from torch import nn

from coursekit.distances import mmd2, rbf, sliced_wasserstein, wasserstein
from coursekit.exercises.lecture17 import exercise
from coursekit.generative import clip_weights as clip_in_place

# --- the clipped step


def with_data(critic, optimizer, c):
    optimizer.step()
    for w in critic.parameters():
        w.data = w.data.clamp(-c, c)


def by_the_package(critic, optimizer, c):
    optimizer.step()
    clip_in_place(critic, c)


def by_minimum_and_maximum(critic, optimizer, c):
    optimizer.step()
    state = {name: w.clip(min=-c).clip(max=c) for name, w in critic.state_dict().items()}
    critic.load_state_dict(state)
    return critic


def and_clears_the_gradients(critic, optimizer, c):
    by_the_package(critic, optimizer, c)
    optimizer.zero_grad(set_to_none=False)


@pytest.mark.parametrize("answer", [with_data, by_the_package, by_minimum_and_maximum, and_clears_the_gradients])
def test_the_clipped_step_in_any_form(ask, answer):
    praise = "a step, and then all weights and biases in [−c, c], on small steps, large steps, another c, RMSprop"
    assert ask(exercise, "clip_weights", answer) == f"✓ clip_weights: {praise}"


def clips_gradients(critic, optimizer, c):
    for w in critic.parameters():
        w.grad.clamp_(-c, c)
    optimizer.step()


def clips_gradients_and_weights(critic, optimizer, c):
    clips_gradients(critic, optimizer, c)
    clip_in_place(critic, c)


def clips_the_norm_of_the_gradients(critic, optimizer, c):
    nn.utils.clip_grad_norm_(critic.parameters(), c)
    optimizer.step()


def clips_before_the_update(critic, optimizer, c):
    clip_in_place(critic, c)
    optimizer.step()


def makes_no_step(critic, optimizer, c):
    clip_in_place(critic, c)


def makes_two_steps(critic, optimizer, c):
    optimizer.step()
    optimizer.step()
    clip_in_place(critic, c)


def only_steps(critic, optimizer, c):
    optimizer.step()


def clips_a_copy(critic, optimizer, c):
    return [w.clamp(-c, c) for w in critic.parameters()]


def leaves_the_biases(critic, optimizer, c):
    optimizer.step()
    for name, w in critic.named_parameters():
        if "weight" in name:
            w.data.clamp_(-c, c)


def clips_above_only(critic, optimizer, c):
    optimizer.step()
    for w in critic.parameters():
        w.data.clamp_(max=c)


def rescales(critic, optimizer, c):
    optimizer.step()
    for w in critic.parameters():
        w.data *= min(1.0, c / w.data.abs().max().item())


def always_one_hundredth(critic, optimizer, c):
    optimizer.step()
    clip_in_place(critic, 0.01)


def ignores_the_optimizer(critic, optimizer, c):
    lr = optimizer.param_groups[0]["lr"]
    for w in critic.parameters():
        w.data = (w.data - lr * w.grad).clamp(-c, c)


def in_place_of_a_leaf(critic, optimizer, c):
    optimizer.step()
    for w in critic.parameters():
        w.clamp_(-c, c)


WRONG_STEPS = {
    "clips gradients": (clips_gradients, "it changes the gradients. The algorithm clips the weights"),
    "clips gradients and weights": (clips_gradients_and_weights, "it changes the gradients"),
    "clips the norm of the gradients": (clips_the_norm_of_the_gradients, "it changes the gradients"),
    "clips before the update": (clips_before_the_update, "Clip after the step, and clip all of them"),
    "makes no step": (makes_no_step, "the optimizer made no step"),
    "makes two steps": (makes_two_steps, "not the step of the optimizer, clipped"),
    "does not clip": (only_steps, "a weight or bias is"),
    "clips a copy": (clips_a_copy, "no weight of the critic has changed"),
    "leaves the biases": (leaves_the_biases, "clip all of them"),
    "clips above only": (clips_above_only, "a weight or bias is"),
    "rescales": (rescales, "not the step of the optimizer, clipped"),
    "another c": (always_one_hundredth, "not the step of the optimizer, clipped"),
    "ignores the optimizer": (ignores_the_optimizer, "RMSprop: in [−c, c], but not the step of the optimizer"),
    "in place of a leaf": (in_place_of_a_leaf, "it raises RuntimeError"),
    "nothing": (lambda critic, optimizer, c: None, "no weight of the critic has changed"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_STEPS.values(), ids=WRONG_STEPS)
def test_a_wrong_step_is_open(ask, answer, message):
    said = ask(exercise, "clip_weights", answer)
    assert "clip_weights is open" in said
    assert message in said


# --- the penalty


def between(real, fake, u):
    return (u * real + (1 - u) * fake).requires_grad_()


def from_the_other_end(critic, real, fake, u, one_sided=False):
    points = (fake + u * (real - fake)).requires_grad_()
    values = critic(points)
    [gradient] = torch.autograd.grad(values, points, torch.ones_like(values), create_graph=True)
    slopes = gradient.pow(2).sum(1).sqrt()
    return torch.mean((torch.clamp(slopes, min=1) - 1 if one_sided else slopes - 1) ** 2)


def point_by_point(critic, real, fake, u, one_sided):
    total = 0.0
    for x, y, v in zip(real, fake, u, strict=True):
        point = (v * x + (1 - v) * y).requires_grad_()
        [gradient] = torch.autograd.grad(critic(point[None]).sum(), point, create_graph=True)
        if not one_sided or gradient.norm() > 1:
            total = total + (gradient.norm() - 1) ** 2
    return total / len(real)


def by_functorch(critic, real, fake, u, one_sided):
    gradient = torch.func.vmap(torch.func.grad(lambda point: critic(point[None])[0, 0]))(u * real + (1 - u) * fake)
    excess = gradient.norm(dim=1) - 1
    return (torch.where(excess > 0, excess, 0 * excess) if one_sided else excess).square().mean()


def by_backward_to_the_points(critic, real, fake, u, one_sided):
    points = between(real, fake, u)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the reference cycle
        critic(points).sum().backward(create_graph=True, inputs=[points])
    excess = points.grad.norm(dim=1) - 1
    return (excess.clamp(min=0) if one_sided else excess).square().mean()


@pytest.mark.parametrize("answer", [from_the_other_end, point_by_point, by_functorch, by_backward_to_the_points])
def test_the_penalty_in_any_form(ask, answer):
    critics = "a linear critic, one with slope 0.5, a net, a steep net"
    praise = f"the value and its gradient by the weights, two-sided and one-sided, on {critics}"
    assert ask(exercise, "penalty", answer) == f"✓ penalty: {praise}"


def by_gradient(critic, points, of, graph=True):
    [gradient] = torch.autograd.grad(critic(points).sum(), points, create_graph=graph)
    return of(gradient)


def by_backward(critic, real, fake, u):
    """The right value and graph, and the gradient of the sum of f in the weights besides."""
    points = between(real, fake, u)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the reference cycle
        critic(points).sum().backward(create_graph=True)
    return (points.grad.norm(dim=1) - 1).square().mean()


WRONG_PENALTIES = {
    "backward": (by_backward, "it leaves gradients in the critic's weights"),
    "the norm over the batch": (
        lambda f, x, y, u: by_gradient(f, between(x, y, u), lambda g: (g.norm() - 1).square()),
        "The norm is taken over each point's own gradient",
    ),
    "the norm over the points": (
        lambda f, x, y, u: by_gradient(f, between(x, y, u), lambda g: (g.norm(dim=0) - 1).square().mean()),
        "wrong on a linear critic",
    ),
    "the gradient of the mean": (
        lambda f, x, y, u: by_gradient(f, between(x, y, u), lambda g: (g.norm(dim=1) / len(x) - 1).square().mean()),
        "wrong on a linear critic",
    ),
    "no graph": (
        lambda f, x, y, u: by_gradient(f, between(x, y, u), lambda g: (g.norm(dim=1) - 1).square().mean(), graph=False),
        "the critic cannot learn from it",
    ),
    "a number": (lambda f, x, y, u: from_the_other_end(f, x, y, u).item(), "the critic cannot learn from it"),
    "a detached value plus a constant of the weights": (
        lambda f, x, y, u: from_the_other_end(f, x, y, u).detach() + 0 * sum(w.sum() for w in f.parameters()),
        "but its gradient by the weights is not",
    ),
    "the square of the norm": (
        lambda f, x, y, u: by_gradient(f, between(x, y, u), lambda g: (g.square().sum(dim=1) - 1).square().mean()),
        "wrong on a linear critic",
    ),
    "at the data": (
        lambda f, x, y, u: by_gradient(f, x.requires_grad_(), lambda g: (g.norm(dim=1) - 1).square().mean()),
        "wrong on a net",
    ),
    "u and 1 − u exchanged": (lambda f, x, y, u: from_the_other_end(f, y, x, u), "u and 1 − u are exchanged"),
    "numbers of its own": (
        lambda f, x, y, u: from_the_other_end(f, x, y, torch.rand_like(u)),
        "with the u that is given",
    ),
    "only slopes above 1": (
        lambda f, x, y, u: by_gradient(f, between(x, y, u), lambda g: (g.norm(dim=1) - 1).clamp(min=0).square().mean()),
        "Two-sided, slopes below 1 cost as much as slopes above 1",
    ),
    "the sum": (lambda f, x, y, u: len(x) * from_the_other_end(f, x, y, u), "wrong on a linear critic"),
    "no square": (
        lambda f, x, y, u: by_gradient(f, between(x, y, u), lambda g: (g.norm(dim=1) - 1).abs().mean()),
        "wrong on a linear critic",
    ),
    "nothing": (lambda f, x, y, u: None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_PENALTIES.values(), ids=WRONG_PENALTIES)
def test_a_wrong_penalty_is_open(ask, answer, message):
    said = ask(exercise, "penalty", lambda f, x, y, u, one_sided: answer(f, x, y, u))
    assert "penalty is open" in said
    assert message in said


def one_sided_by(excess):
    """The right two-sided penalty, and the mean square of this function of slopes − 1 as the one-sided one."""

    def answer(f, x, y, u, one_sided):
        if not one_sided:
            return from_the_other_end(f, x, y, u)
        return by_gradient(f, between(x, y, u), lambda g: excess(g.norm(dim=1) - 1).square().mean())

    return answer


WRONG_ONE_SIDED = {
    "two-sided again": (one_sided_by(lambda it: it), "One-sided, slopes below 1 cost nothing"),
    "the absolute value": (one_sided_by(torch.abs), "One-sided, slopes below 1 cost nothing"),
    "the other side": (one_sided_by(lambda it: it.clamp(max=0)), "wrong on a linear critic, one-sided"),
    "of the mean slope": (one_sided_by(lambda it: it.mean().relu()), "wrong on a steep net, one-sided"),
    "cut off": (one_sided_by(lambda it: it.relu().detach()), "the critic cannot learn from it"),
    "all slopes": (one_sided_by(lambda it: it + 1), "wrong on a linear critic, one-sided"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_ONE_SIDED.values(), ids=WRONG_ONE_SIDED)
def test_a_wrong_one_sided_penalty_is_open(ask, answer, message):
    said = ask(exercise, "penalty", answer)
    assert "penalty is open" in said
    assert message in said


# --- estimating W₁


def assigned(x, y):
    """W₁ by a solver that was imported before the exercise was asked."""
    apart = torch.cdist(x.double(), y.double(), compute_mode="donot_use_mm_for_euclid_dist")
    return apart[linear_sum_assignment(apart.numpy())].mean()


def gain_of_the_best_potential(x, y):
    """The linear program of the notebook, with a name imported before the exercise was asked."""
    n, m = len(x), len(y)
    pairs = hstack([kron(eye_array(n), np.ones((m, 1))), -kron(np.ones((n, 1)), eye_array(m))])
    means = np.concatenate([np.full(n, -1 / n), np.full(m, 1 / m)])
    return -linprog(means, A_ub=pairs.tocsr(), b_ub=torch.cdist(x, y).flatten().numpy(), bounds=(None, None)).fun


def in_float32(x, y):
    apart = torch.cdist(x, y)
    return apart[linear_sum_assignment(apart.numpy())].mean()


def by_sinkhorn(x, y, width=0.05, rounds=100):
    """An entropic plan, without any critic."""
    apart = torch.cdist(x, y)
    a, b = torch.zeros(len(x)), torch.zeros(len(y))
    for _ in range(rounds):
        a = -width * torch.logsumexp((b - apart) / width - math.log(len(y)), dim=1)
        b = -width * torch.logsumexp((a[:, None] - apart) / width - math.log(len(x)), dim=0)
    return (((a[:, None] + b - apart) / width).exp() * apart).sum() / len(x) / len(y)


def by_sinkhorn_with_a_gradient(real, fakes):
    """Without any critic, and a gradient of nothing."""
    torch.zeros(1, requires_grad=True).sum().backward()
    return [by_sinkhorn(real, y) for y in fakes]


def by_linear_critics(real, fakes):
    """The best direction of 64: the critics are of slope 1, and see one direction each."""
    angle = torch.arange(64) * math.pi / 64
    along = torch.stack([angle.cos(), angle.sin()])  # (2, 64)
    return [((real @ along).sort(dim=0).values - (y @ along).sort(dim=0).values).abs().mean(dim=0).max() for y in fakes]


RIGHT_ESTIMATES = {
    "critics": exercise.by_name["estimate_w1"].solution,
    "in float64": lambda x, ys: exercise.by_name["estimate_w1"].solution(x, ys).double(),
}


@pytest.mark.parametrize("answer", RIGHT_ESTIMATES.values(), ids=RIGHT_ESTIMATES)
def test_estimates_in_any_form(ask, answer):
    praise = "a median relative error of at most 0.2, over all generators and over those that are not round"
    assert ask(exercise, "estimate_w1", answer) == f"✓ estimate_w1: {praise}"


def by_radii(x, ys):
    return (x.norm(dim=1).sort().values - ys.norm(dim=2).sort(dim=1).values).abs().mean(dim=1)


def by_marginals(x, ys):
    return (x.sort(dim=0).values - ys.sort(dim=1).values).abs().mean(dim=1)  # (k, 2)


TOO_FAR = "wanted at most 0.2"
ASSIGNS = "that assigns points to points"
UNTRAINED = "it took fewer than 50 gradients"

WRONG_ESTIMATES = {
    "the exact distance": (lambda x, ys: [assigned(x, y) for y in ys], "that is W₁ itself"),
    "the exact distance in float32": (lambda x, ys: [in_float32(x, y) for y in ys], "that is W₁ itself"),
    "assigned, a part of each sample": (lambda x, ys: [in_float32(x[:200], y[:200]) for y in ys], UNTRAINED),
    "the linear program": (lambda x, ys: [gain_of_the_best_potential(x[:30], y[:30]) for y in ys], ASSIGNS),
    "Sinkhorn's iterations": (lambda x, ys: [by_sinkhorn(x, y) for y in ys], UNTRAINED),
    "Sinkhorn's iterations and one step back": (by_sinkhorn_with_a_gradient, UNTRAINED),
    "by the package": (lambda x, ys: [wasserstein(x, y).distance for y in ys], ASSIGNS),
    "a part of each sample": (lambda x, ys: [wasserstein(x[:200], y[:200]).distance for y in ys], ASSIGNS),
    "sizes that differ": (lambda x, ys: [wasserstein(x[:30], y[:40]).distance for y in ys], ASSIGNS),
    "its square": (lambda x, ys: [assigned(x, y) ** 2 for y in ys], TOO_FAR),
    "the sliced distance": (lambda x, ys: [sliced_wasserstein(x, y, 1) for y in ys], TOO_FAR),
    "the sliced distance, rescaled": (
        lambda x, ys: [math.pi / 2 * sliced_wasserstein(x, y, 1) for y in ys],
        "over the 5 that are not round",
    ),
    "distances from the centre": (by_radii, "over the 5 that are not round"),
    "both marginals": (lambda x, ys: by_marginals(x, ys).sum(dim=1), TOO_FAR),
    "both marginals, as a vector": (lambda x, ys: by_marginals(x, ys).norm(dim=1), TOO_FAR),
    "means": (lambda x, ys: (ys.mean(dim=1) - x.mean(dim=0)).norm(dim=1), TOO_FAR),
    "standard deviations": (lambda x, ys: (ys.std(dim=1) - x.std(dim=0)).norm(dim=1), TOO_FAR),
    "a narrow kernel": (lambda x, ys: [mmd2(x, y, rbf(0.1), unbiased=False) for y in ys], TOO_FAR),
    "the nearest point": (lambda x, ys: [torch.cdist(y, x).amin(dim=1).mean() for y in ys], TOO_FAR),
    "one direction": (by_linear_critics, TOO_FAR),
    "the order of the list": (lambda x, ys: torch.arange(len(ys)), TOO_FAR),
    "turned round": (lambda x, ys: [-assigned(x, y) for y in ys], TOO_FAR),
    "all the same": (lambda x, ys: torch.ones(len(ys)), TOO_FAR),
    "one number": (lambda x, ys: assigned(x, ys[0]), "expected one number for each generator"),
    "NaN": (lambda x, ys: torch.full((len(ys),), torch.nan), "NaN"),
    "nothing": (lambda x, ys: None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_ESTIMATES.values(), ids=WRONG_ESTIMATES)
def test_wrong_estimates_are_open(ask, answer, message):
    said = ask(exercise, "estimate_w1", answer)
    assert "estimate_w1 is open" in said
    assert message in said
