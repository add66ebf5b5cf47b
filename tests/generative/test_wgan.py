"""The WGAN's step clips or penalizes, counts its critic steps, and estimates no more than K · W₁."""

import pytest
import torch
from torch import nn

from coursekit.distances import wasserstein_1d
from coursekit.generative import WGAN, clip_weights, gradient_penalty
from coursekit.training import fit

F64 = torch.float64


def nets(d=1):
    return nn.Linear(2, d), nn.Sequential(nn.Linear(d, 16), nn.ReLU(), nn.Linear(16, 1))


def test_clipping_is_of_the_weights_and_in_place():
    critic = nn.Linear(3, 1)
    with torch.no_grad():
        critic.weight.copy_(torch.tensor([[0.005, -3.0, 0.02]]))
        critic.bias.fill_(1.0)
    clip_weights(critic, 0.01)
    torch.testing.assert_close(critic.weight.data, torch.tensor([[0.005, -0.01, 0.01]]))
    assert critic.bias.item() == pytest.approx(0.01)


def test_a_clipped_linear_critic_reaches_c_times_the_difference_of_means():
    """E39: c‖Δμ‖₁ = .0600 ≤ K · W = .0648 for Δμ = (1, −2, 3) and c = .01."""
    shift = torch.tensor([1.0, -2.0, 3.0])
    critic = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(critic.parameters(), lr=0.1)
    for _ in range(20):
        optimizer.zero_grad()
        (-critic(shift) + critic(torch.zeros(3))).backward()
        optimizer.step()
        clip_weights(critic, 0.01)
    estimate = (critic(shift) - critic(torch.zeros(3))).item()
    assert estimate == pytest.approx(0.06, abs=1e-6)
    assert estimate <= 0.01 * 3**0.5 * shift.norm().item()


def test_the_penalty_by_hand():
    """f(x) = aᵀx has the gradient a everywhere: the penalty is (‖a‖ − 1)², and not that of a norm over the batch."""
    critic = nn.Linear(2, 1)
    with torch.no_grad():
        critic.weight.copy_(torch.tensor([[3.0, 4.0]]))
    penalty = gradient_penalty(critic, torch.randn(10, 2), torch.randn(10, 2))
    assert penalty.item() == pytest.approx(16)
    [gradient] = torch.autograd.grad(penalty, critic.weight)
    torch.testing.assert_close(gradient, 2 * 4 * critic.weight.data / 5)


def test_the_penalty_looks_between_pairs():
    seen = []

    class Spy(nn.Module):
        def forward(self, x):
            seen.append(x.detach())
            return (x * x).sum(dim=1)

    gradient_penalty(Spy(), torch.zeros(50, 1), torch.arange(50.0)[:, None])
    [between] = seen
    assert ((between[:, 0] >= 0) & (between[:, 0] <= torch.arange(50.0))).all()


def test_n_critic_updates_of_f_for_each_one_of_g():
    generator, critic = nets()
    game = WGAN(generator, critic, noise=2)
    moved = 0
    for _ in range(20):
        before = generator.weight.clone()
        game(torch.randn(8, 1))
        moved += not torch.equal(before, generator.weight)
        assert all(weight.abs().max() <= 0.01 for weight in critic.parameters())
    assert moved == 4  # after every fifth batch


def test_a_penalized_critic_is_a_little_too_steep():
    """Among critics of one slope a, a · W₁ − λ(a − 1)² is largest at a = 1 + W₁/2λ: the estimate exceeds W₁."""
    torch.manual_seed(0)
    generator, critic = nets()
    for weight in generator.parameters():
        nn.init.zeros_(weight)  # all mass at 0
    still = torch.optim.SGD(generator.parameters(), lr=0.0)
    climbing = torch.optim.Adam(critic.parameters(), 5e-3)
    game = WGAN(generator, critic, noise=2, penalty=10.0, optimizers=(still, climbing))
    data = 2 + 0.3 * torch.randn(512, 1)
    history = fit(game, data, epochs=150, batch_size=64, device="cpu", progress=False)
    exact = wasserstein_1d(data[:, 0], torch.zeros(512)).item()
    assert history.losses["estimate"][-50:].mean() == pytest.approx(exact * (1 + exact / 20), rel=0.03)


G, C = nets()


@pytest.mark.parametrize(
    ("call", "kind", "said"),
    [
        (lambda: WGAN(G, C, 2, n_critic=0), ValueError, "n_critic: expected an integer from 1 on, got 0"),
        (lambda: WGAN(G, C, 2, clip=0.0), ValueError, "clip: expected a number > 0, got 0"),
        (lambda: WGAN(G, C, 2, penalty=-1.0), ValueError, "penalty: expected a number > 0"),
        (lambda: WGAN(G, C, 2, clip=0.1, penalty=10.0), ValueError, "give one of them"),
        (lambda: WGAN(G, None, 2), TypeError, "critic: expected Module, got NoneType"),
        (lambda: clip_weights(C, -0.1), ValueError, "c: expected a number > 0"),
        (lambda: gradient_penalty(C, torch.ones(3, 1), torch.ones(4, 1)), ValueError, "real, fake: expected one shape"),
    ],
)
def test_wrong_settings(without_annotations, call, kind, said):
    with pytest.raises(kind, match=said):
        call()


def test_a_critic_gives_one_number_for_each_point():
    generator, critic = nets()
    average = nn.Sequential(critic, nn.Flatten(0), nn.Unflatten(0, (1, 8)), nn.AvgPool1d(8), nn.Flatten(0))  # (1,)
    for call in (
        lambda: gradient_penalty(average, torch.rand(8, 1), torch.rand(8, 1)),
        lambda: WGAN(generator, average, noise=2)(torch.rand(8, 1)),
    ):
        with pytest.raises(ValueError, match=r"discriminator\(x\): expected shape \(8, \.\.\.\), got \(1,\)"):
            call()


def test_the_penalty_refuses_integers(without_annotations):
    _, critic = nets()
    for real, fake in ((torch.rand(3, 1), torch.ones(3, 1).long()), (torch.ones(3, 1).byte(), torch.rand(3, 1))):
        with pytest.raises(TypeError, match=r"(real|fake): expected floating-point numbers"):
            gradient_penalty(critic, real, fake)
