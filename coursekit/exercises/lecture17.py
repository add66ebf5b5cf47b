"""Exercises of lecture 17: the critic's clipped step, the gradient penalty, and estimates of W₁."""

import functools
import math
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from coursekit.distances import wasserstein
from coursekit.exercises.checking import Answer, Exercise, Exercises, Wrong, differs, require_result
from coursekit.nets import fully_connected

TOLERANCE = 1e-5
LARGEST_ERROR = 0.2  # the largest median relative error of an estimate of W₁
FEWEST_GRADIENTS = 50  # a loop over one batch of nets takes several hundred
NOT_ROUND = 5  # so many of the generators, the last ones


def clip_weights(critic: nn.Module, optimizer: Optimizer, c: float) -> None:
    """Make the optimizer's step, and leave every weight and bias of the critic in [−c, c]."""
    optimizer.step()
    with torch.no_grad():
        for weight in critic.parameters():
            weight.clamp_(-c, c)


def penalty(critic: nn.Module, real: Tensor, fake: Tensor, u: Tensor, one_sided: bool = False) -> Tensor:
    """E(‖∇f(x̂)‖ − 1)² at x̂ = u·real + (1 − u)·fake, or E max(0, ‖∇f(x̂)‖ − 1)²: (n, d) and u (n, 1) → a number."""
    between = (u * real + (1 - u) * fake).detach().requires_grad_()
    [gradient] = torch.autograd.grad(critic(between).sum(), between, create_graph=True)  # (n, d)
    excess = gradient.norm(dim=1) - 1
    return (excess.relu() if one_sided else excess).square().mean()


def estimate_w1(real: Tensor, fakes: Tensor) -> Tensor:
    """Data (n, 2) and samples of k generators (k, n, 2) → numbers (k,) near their W₁, each by a critic of its own."""
    estimates = []
    for fake in fakes:
        critic = fully_connected((2, 32, 32, 1))
        optimizer = torch.optim.Adam(critic.parameters(), 5e-3, (0.5, 0.9))
        for _ in range(300):
            x, y = (it[torch.randint(len(it), (64,))] for it in (real, fake))
            loss = critic(y).mean() - critic(x).mean() + 10 * penalty(critic, x, y, torch.rand(64, 1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        estimates.append((critic(real).mean() - critic(fake).mean()).item())
    return torch.tensor(estimates)


def check_clip_weights(answer: Answer) -> str:
    """After the call, the weights are those of an unclipped step, moved into [−c, c]."""
    cases = {
        "small steps": (torch.optim.SGD, 0.3, 0.01),
        "large steps": (torch.optim.SGD, 0.3, 5.0),
        "another c": (torch.optim.SGD, 0.02, 0.5),
        "RMSprop": (torch.optim.RMSprop, 0.3, 0.005),
    }
    for name, (kind, c, lr) in cases.items():
        critic, expected = _critic(), _critic()
        optimizer, wanted = (kind(net.parameters(), lr=lr) for net in (critic, expected))
        for net in (critic, expected):
            (net(-torch.ones(4, 2)).mean() - net(torch.tensor([[2.0, 1.0]])).mean()).backward()
        before = [w.detach().clone() for w in critic.parameters()]
        gradients = [w.grad.clone() for w in critic.parameters() if w.grad is not None]
        answer(critic, optimizer, c)
        clip_weights(expected, wanted, c)
        _compare_weights(name, c, before, gradients, critic, expected)
    return f"a step, and then all weights and biases in [−c, c], on {', '.join(cases)}"


def _compare_weights(
    name: str, c: float, before: list[Tensor], gradients: list[Tensor], critic: nn.Module, expected: nn.Module
) -> None:
    """Say what is wrong about the critic's weights, the likely reasons first."""
    after = [w.detach() for w in critic.parameters()]
    if all(torch.equal(a, b) for a, b in zip(before, after, strict=True)):
        raise Wrong(f"{name}: no weight of the critic has changed. Change them in place, as `w.data.clamp_(…)` does")
    kept = [w.grad for w in critic.parameters() if w.grad is not None]
    cleared = not any(w.any() for w in kept)  # after the step, as `zero_grad` does
    if not cleared and any(not torch.equal(a, b) for a, b in zip(gradients, kept, strict=False)):
        raise Wrong(f"{name}: it changes the gradients. The algorithm clips the weights, after a step along whole ones")
    if all(torch.equal(w, old.clamp(-c, c)) for w, old in zip(after, before, strict=True)):
        raise Wrong(f"{name}: the weights are clipped, but the optimizer made no step; call `optimizer.step()` first")
    largest = max(w.abs().max().item() for w in after)
    if largest > c * (1 + TOLERANCE):
        raise Wrong(
            f"{name}: after the call, a weight or bias is {largest:.3g}, wanted at most c = {c}. Clip after the step, "
            "and clip all of them"
        )
    for got, wanted in zip(after, expected.parameters(), strict=True):
        if difference := differs(wanted.detach(), got, TOLERANCE):
            raise Wrong(f"{name}: in [−c, c], but not the step of the optimizer, clipped: {difference}")


def check_penalty(answer: Answer) -> str:
    """In both forms, the value is right for critics of several kinds, and so is its gradient by the weights."""
    generator = torch.Generator().manual_seed(17)
    real, fake = torch.randn(2, 12, 2, generator=generator)
    u = torch.rand(12, 1, generator=generator)
    critics = {
        "a linear critic": _line(3.0, 4.0),
        "one with slope 0.5": _line(0.3, 0.4),
        "a net": _critic(),
        "a steep net": _critic(3.0),
    }
    for one_sided in (False, True):
        for name, critic in critics.items():
            case = f"{name}, {'one' if one_sided else 'two'}-sided"
            expected = penalty(critic, real, fake, u, one_sided)
            got = answer(critic, real.clone(), fake.clone(), u.clone(), one_sided)
            if any(w.grad is not None for w in critic.parameters()):
                raise Wrong(
                    f"{case}: it leaves gradients in the critic's weights, which the next step would add to its own. "
                    "Use `torch.autograd.grad`, which gives the gradient at x̂ alone"
                )
            if difference := differs(expected.detach(), got, TOLERANCE):
                reason = _likely_reason(answer, critic, real, fake, one_sided)
                raise Wrong(f"wrong on {case}: {difference}. {reason}")
            if expected.item() > 0:  # a penalty of 0 moves no weight, whatever its graph
                _compare_gradients(case, critic, expected, got)
    return f"the value and its gradient by the weights, two-sided and one-sided, on {', '.join(critics)}"


def _likely_reason(answer: Answer, critic: nn.Module, real: Tensor, fake: Tensor, one_sided: bool) -> str:
    """Why a penalty with a wrong value may be wrong: the numbers u, slopes below 1, or the norm."""

    def right(net: nn.Module, asked: float, meant: float) -> bool:
        """Whether the answer with u = ``asked`` at all points is the penalty with u = ``meant``."""
        given, wanted = (torch.full((len(real), 1), float(u)) for u in (asked, meant))
        got = answer(net, real.clone(), fake.clone(), given, one_sided)
        return not differs(penalty(net, real, fake, wanted, one_sided).detach(), got, TOLERANCE)

    line = _line(3.0, 4.0)
    if right(line, 1, 1) and not right(_line(0.3, 0.4), 1, 1):
        return (
            "One-sided, slopes below 1 cost nothing"
            if one_sided
            else "Two-sided, slopes below 1 cost as much as slopes above 1"
        )
    if right(critic, 0, 1) and right(critic, 1, 0):
        return "u and 1 − u are exchanged: u = 1 is the real point, u = 0 the fake one"
    if right(line, 1, 1) and not (right(critic, 0, 0) and right(critic, 1, 1)):
        return "Take the gradient at x̂ = u · real + (1 − u) · fake, with the u that is given"
    return "The norm is taken over each point's own gradient, (n, d) → (n,)"


def _compare_gradients(name: str, critic: nn.Module, expected: Tensor, got: object) -> None:
    """The penalty moves the weights as it should."""
    weights = list(critic.parameters())
    if not isinstance(got, Tensor) or not got.requires_grad:
        raise Wrong(
            f"right on {name}, but the critic cannot learn from it: the result is cut off from the weights. Pass "
            "`create_graph=True` to `torch.autograd.grad`, and keep tensors as they are"
        )
    wanted, found = (torch.autograd.grad(it, weights, allow_unused=True) for it in (expected, got))
    for a, b in zip(wanted, found, strict=True):
        if a is not None and (b is None or differs(a, b, TOLERANCE)):
            raise Wrong(f"right on {name}, but its gradient by the weights is not; pass `create_graph=True`")


def check_estimate_w1(answer: Answer) -> str:
    """The numbers have the size of the exact W₁, over all generators and over those that are not round."""
    real, fakes, exact = _generators()
    torch.manual_seed(17)  # the same verdict each time
    order = torch.randperm(len(fakes))
    with (
        patch("scipy.optimize.linear_sum_assignment", _refuse),
        patch("scipy.optimize._linprog._linprog_highs", _refuse),  # behind every imported name of linprog
        patch("torch.autograd.backward", wraps=torch.autograd.backward) as backward,
        patch("torch.autograd.grad", wraps=torch.autograd.grad) as grad,
    ):
        numbers = require_result(answer(real.clone(), fakes[order]), (len(fakes),), "one number for each generator")
    error = torch.empty(len(fakes), dtype=torch.float64)
    error[order] = ((numbers.double() - exact[order]) / exact[order]).abs()
    if error.max() < 1e-2:  # no trained critic is that near for all of them
        raise Wrong("that is W₁ itself, computed from all pairs of points: estimate it with a critic")
    for name, it in (("all generators", error), (f"the {NOT_ROUND} that are not round", error[-NOT_ROUND:])):
        if not it.median() <= LARGEST_ERROR:
            raise Wrong(
                f"the median relative error over {name} is {it.median():.2f}, wanted at most {LARGEST_ERROR}. A rank "
                "is not enough, and neither are the distances from the centre: look at where the points are"
            )
    if backward.call_count + grad.call_count < FEWEST_GRADIENTS:
        raise Wrong(
            f"near enough, but hardly anything was trained: it took fewer than {FEWEST_GRADIENTS} gradients. "
            "Estimate W₁ with a critic"
        )
    return f"a median relative error of at most {LARGEST_ERROR}, over all generators and over those that are not round"


def _refuse(*_: object, **__: object) -> None:
    """What stands in for the solvers behind `wasserstein` while an answer runs."""
    raise Wrong("that assigns points to points: estimate W₁ with a critic")


def _line(*slopes: float) -> nn.Module:
    """A linear critic with this gradient."""
    line = nn.Linear(len(slopes), 1)
    line.weight.data = torch.tensor([slopes])
    return line


def _critic(scale: float = 1.0) -> nn.Module:
    """The same net with one hidden layer each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(17)
        net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    with torch.no_grad():
        for weight in net.parameters():
            weight.mul_(scale)
    return net


@functools.cache
def _generators(n: int = 300) -> tuple[Tensor, Tensor, Tensor]:
    """N(0, I), models with its mean, the last ones not round, and their W₁: (n, 2), (k, n, 2), (k,)."""
    generator = torch.Generator().manual_seed(17)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def chosen(fraction: float) -> Tensor:
        return (torch.rand(n, 1, generator=generator) < fraction).expand(n, 2)

    def circle(angle: Tensor, radius: float) -> Tensor:
        return radius * torch.stack([angle.cos(), angle.sin()], dim=1)

    def around(radius: float) -> Tensor:
        return circle(2 * math.pi * torch.rand(n, generator=generator), radius)

    turn = torch.tensor([[0.8, 0.6], [-0.6, 0.8]])
    round_ones = [
        0.75 * normal(n, 2),
        1.5 * normal(n, 2),
        2.2 * normal(n, 2),
        0.05 * normal(n, 2),
        around(2**0.5),
        around(2.5),
        torch.where(chosen(0.1), around(20**0.5), 0.05 * normal(n, 2)),
        torch.where(chosen(0.03), around(12.0), normal(n, 2)),
    ]
    others = [
        normal(n, 2) * torch.tensor([1.4, 0.1]) @ turn,
        normal(n, 2) * torch.tensor([0.1, 1.0]) @ turn,
        torch.where(chosen(0.5), 3.0, -3.0) * torch.tensor([0.0, 1.0]) + 0.3 * normal(n, 2),
        circle(2 * math.pi / 3 * torch.randint(3, (n,), generator=generator), 2.0) + 0.3 * normal(n, 2),
        normal(n, 1).expand(n, 2),  # both marginals are right
    ]
    real = normal(n, 2)
    real = real - real.mean(dim=0)
    fakes = torch.stack([it - it.mean(dim=0) for it in (*round_ones, *others)])
    exact = torch.tensor([wasserstein(real, fake).distance for fake in fakes], dtype=torch.float64)
    return real, fakes, exact


exercise = Exercises(
    Exercise(clip_weights, check_clip_weights),
    Exercise(penalty, check_penalty),
    Exercise(estimate_w1, check_estimate_w1),
)
