"""The exercises on WGANs accept what is right in any form, and say what is wrong."""

import pytest
import torch
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


@pytest.mark.parametrize("answer", [with_data, by_the_package, by_minimum_and_maximum])
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


def from_the_other_end(critic, real, fake, u):
    points = (fake + u * (real - fake)).requires_grad_()
    values = critic(points)
    [gradient] = torch.autograd.grad(values, points, torch.ones_like(values), create_graph=True)
    return torch.mean((gradient.pow(2).sum(1).sqrt() - 1) ** 2)


def point_by_point(critic, real, fake, u):
    total = 0.0
    for x, y, v in zip(real, fake, u, strict=True):
        point = (v * x + (1 - v) * y).requires_grad_()
        [gradient] = torch.autograd.grad(critic(point[None]).sum(), point, create_graph=True)
        total = total + (gradient.norm() - 1) ** 2
    return total / len(real)


def by_functorch(critic, real, fake, u):
    gradient = torch.func.vmap(torch.func.grad(lambda point: critic(point[None])[0, 0]))(u * real + (1 - u) * fake)
    return (gradient.norm(dim=1) - 1).square().mean()


@pytest.mark.parametrize("answer", [from_the_other_end, point_by_point, by_functorch])
def test_the_penalty_in_any_form(ask, answer):
    praise = "the value and its gradient by the weights, on a linear critic, a net, a steep net"
    assert ask(exercise, "penalty", answer) == f"✓ penalty: {praise}"


def by_gradient(critic, points, of, graph=True):
    [gradient] = torch.autograd.grad(critic(points).sum(), points, create_graph=graph)
    return of(gradient)


WRONG_PENALTIES = {
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
        "Slopes below 1 cost as much as slopes above 1",
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
    said = ask(exercise, "penalty", answer)
    assert "penalty is open" in said
    assert message in said


# --- ranking generators


def by_critics(real, fakes):
    """One critic with a penalty for each generator."""
    torch.manual_seed(0)
    estimates = []
    for fake in fakes:
        critic = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
        optimizer = torch.optim.Adam(critic.parameters(), 5e-3, (0.5, 0.9))
        for _ in range(300):
            x, y = real[torch.randint(len(real), (64,))], fake[torch.randint(len(fake), (64,))]
            # `norm` has gradient 0 at 0, where the root of a sum of squares gives NaN.
            cost = by_gradient(critic, between(x, y, torch.rand(64, 1)), lambda g: (g.norm(dim=1) - 1).square().mean())
            loss = critic(y).mean() - critic(x).mean() + 10 * cost
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        estimates.append((critic(real).mean() - critic(fake).mean()).item())
    return estimates


RIGHT_RANKS = {
    "the exact distance": lambda x, ys: [wasserstein(x, y).distance for y in ys],
    "its square, in float64": lambda x, ys: torch.tensor([wasserstein(x, y).distance ** 2 for y in ys]).double(),
    "a part of each sample": lambda x, ys: [wasserstein(x[:150], y[:150]).distance for y in ys],
    "the sliced distance": lambda x, ys: [sliced_wasserstein(x, y, 1) for y in ys],
    "critics": by_critics,
}


@pytest.mark.parametrize("answer", RIGHT_RANKS.values(), ids=RIGHT_RANKS)
def test_ranks_in_any_form(ask, answer):
    praise = "a Spearman correlation of at least 0.9 with the exact W₁ over eleven generators"
    assert ask(exercise, "rank_generators", answer) == f"✓ rank_generators: {praise}"


WRONG_RANKS = {
    "means": (lambda x, ys: (ys.mean(dim=1) - x.mean(dim=0)).norm(dim=1), "wanted at least 0.9"),
    "standard deviations": (lambda x, ys: (ys.std(dim=1) - x.std(dim=0)).norm(dim=1), "wanted at least 0.9"),
    "spread": (lambda x, ys: ys.norm(dim=2).mean(dim=1), "wanted at least 0.9"),
    "a narrow kernel": (
        lambda x, ys: [mmd2(x, y, rbf(0.1), unbiased=False) for y in ys],
        "wanted at least 0.9",
    ),
    "the nearest point": (
        lambda x, ys: [torch.cdist(y, x).amin(dim=1).mean() for y in ys],
        "wanted at least 0.9",
    ),
    "both marginals": (
        lambda x, ys: [sum(wasserstein(x[:, [i]], y[:, [i]]).distance for i in range(2)) for y in ys],
        "some also its marginals",
    ),
    "the order of the list": (lambda x, ys: torch.arange(len(ys)), "wanted at least 0.9"),
    "turned round": (lambda x, ys: [-wasserstein(x, y).distance for y in ys], "the ranks are turned round"),
    "all the same": (lambda x, ys: torch.ones(len(ys)), "all generators get the same number"),
    "one number": (lambda x, ys: wasserstein(x, ys[0]).distance, "expected one number for each generator"),
    "NaN": (lambda x, ys: torch.full((len(ys),), torch.nan), "NaN"),
    "nothing": (lambda x, ys: None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_RANKS.values(), ids=WRONG_RANKS)
def test_wrong_ranks_are_open(ask, answer, message):
    said = ask(exercise, "rank_generators", answer)
    assert "rank_generators is open" in said
    assert message in said
