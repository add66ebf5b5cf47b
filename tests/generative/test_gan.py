"""The step of a GAN is the lecture's algorithm, its losses are those of the formulas, and bad settings are named."""

import copy
import math

import pytest
import torch
from torch import nn

from coursekit.generative import (
    GAN,
    WGAN,
    discriminator_loss,
    generator_loss,
    optimal_discriminator,
    real_gradient_penalty,
)
from coursekit.training import TrainingDiverged, fit

F64 = torch.float64


def nets(latent=2, d=3):
    return nn.Linear(latent, d), nn.Sequential(nn.Linear(d, 8), nn.Tanh(), nn.Linear(8, 1))


def test_the_losses_are_those_of_the_formulas():
    real, fake = torch.randn(7, dtype=F64), torch.randn(5, dtype=F64)
    d = torch.sigmoid
    torch.testing.assert_close(discriminator_loss(real, fake), -d(real).log().mean() - (1 - d(fake)).log().mean())
    torch.testing.assert_close(generator_loss(fake, "saturating"), (1 - d(fake)).log().mean())
    torch.testing.assert_close(generator_loss(fake), -d(fake).log().mean())


@pytest.mark.parametrize("logit", [-800.0, 800.0])
def test_they_stay_finite_where_d_is_sure(logit):
    s = torch.tensor([logit], requires_grad=True)
    for loss in (generator_loss(s), generator_loss(s, "saturating"), discriminator_loss(s, s)):
        [gradient] = torch.autograd.grad(loss, s)
        assert loss.isfinite()
        assert gradient.isfinite().all()


def test_saturating_has_the_derivative_minus_d_and_the_other_d_minus_one():
    s = torch.linspace(-3, 3, 7, dtype=F64, requires_grad=True)
    d = torch.sigmoid(s.detach())
    [saturating] = torch.autograd.grad(7 * generator_loss(s, "saturating"), s)
    [other] = torch.autograd.grad(7 * generator_loss(s), s)
    torch.testing.assert_close(saturating, -d)
    torch.testing.assert_close(other, d - 1)


def test_k_updates_of_d_for_each_one_of_g():
    generator, discriminator = nets()
    game = GAN(generator, discriminator, noise=2, k=3)
    moved = {"g": 0, "d": 0}
    for _ in range(12):
        before = [next(net.parameters()).clone() for net in (generator, discriminator)]
        game(torch.randn(16, 3))
        for name, net, old in zip(moved, (generator, discriminator), before, strict=True):
            moved[name] += not torch.equal(next(net.parameters()), old)
    assert moved == {"g": 4, "d": 12}  # after every third batch


def test_one_step_by_hand():
    """With plain gradient descent, the two updates are the two lines of the algorithm."""
    generator, discriminator = nets()
    real, (first, second) = torch.randn(6, 3), torch.randn(2, 6, 2)
    g, d = copy.deepcopy(generator), copy.deepcopy(discriminator)

    v = torch.sigmoid(d(real)).log().mean() + (1 - torch.sigmoid(d(g(first)))).log().mean()
    for weight, slope in zip(d.parameters(), torch.autograd.grad(v, list(d.parameters())), strict=True):
        weight.data += 0.1 * slope  # D ascends
    v = (1 - torch.sigmoid(d(g(second)))).log().mean()
    for weight, slope in zip(g.parameters(), torch.autograd.grad(v, list(g.parameters())), strict=True):
        weight.data -= 0.1 * slope  # G descends, against the new D

    noise = iter([first, second])
    plain = torch.optim.SGD(generator.parameters(), 0.1), torch.optim.SGD(discriminator.parameters(), 0.1)
    GAN(generator, discriminator, noise=lambda n: next(noise), loss="saturating", optimizers=plain)(real)
    for net, expected in ((discriminator, d), (generator, g)):
        for weight, wanted in zip(net.parameters(), expected.parameters(), strict=True):
            torch.testing.assert_close(weight, wanted)


def test_the_penalty_is_half_the_squared_gradient_at_the_data():
    _, discriminator = nets()
    discriminator, real, step = discriminator.double(), torch.randn(4, 3, dtype=F64), 1e-6
    with torch.no_grad():
        slopes = [
            (discriminator(real + e) - discriminator(real - e)) / (2 * step) for e in step * torch.eye(3, dtype=F64)
        ]
    expected = torch.cat(slopes, dim=1).square().sum(dim=1).mean() / 2
    torch.testing.assert_close(real_gradient_penalty(discriminator, real), expected)
    assert not real.requires_grad


def test_a_penalized_step_by_hand():
    _, discriminator = nets()
    d, real, z = copy.deepcopy(discriminator), torch.randn(6, 3), torch.randn(6, 2)
    generator = nn.Linear(2, 3)
    with torch.no_grad():
        fake = generator(z)
    loss = discriminator_loss(d(real), d(fake)) + 5 * real_gradient_penalty(d, real)
    for weight, slope in zip(
        d.parameters(), torch.autograd.grad(loss, list(d.parameters()), allow_unused=True), strict=True
    ):
        weight.data -= 0.1 * (0 if slope is None else slope)
    plain = torch.optim.SGD(generator.parameters(), 0.1), torch.optim.SGD(discriminator.parameters(), 0.1)
    game = GAN(generator, discriminator, noise=lambda n: z, penalty=5.0, optimizers=plain)
    said = game(real)
    for weight, wanted in zip(discriminator.parameters(), d.parameters(), strict=True):
        torch.testing.assert_close(weight, wanted)
    assert said["discriminator"] < loss  # what is shown is the game without the penalty


def test_it_learns_a_shift():
    """Data at 3 ± 0.5, G = z + b: b goes to 3."""

    class Shift(nn.Module):
        def __init__(self):
            super().__init__()
            self.b = nn.Parameter(torch.zeros(1))

        def forward(self, z):
            return 0.5 * z + self.b

    generator = Shift()
    discriminator = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))
    game = GAN(generator, discriminator, noise=1, lr=1e-2)
    fit(game, 3 + 0.5 * torch.randn(2000, 1), epochs=20, batch_size=64, device="cpu", progress=False)
    assert abs(generator.b.item() - 3) < 0.5


@pytest.mark.parametrize("make", [lambda g, d: GAN(g, d, noise=2, k=3), lambda g, d: WGAN(g, d, noise=2)])
def test_a_run_that_stopped_goes_on_in_turn(make, tmp_path):
    """Five batches an epoch, and G moves after every third or fifth: one epoch and one more are two epochs."""
    data, whole = torch.randn(40, 3), nets()
    parts = copy.deepcopy(whole)
    settings = {"batch_size": 8, "device": "cpu", "progress": False}
    fit(make(*whole), data, epochs=2, **settings)
    for epochs in (1, 2):
        fit(make(*parts), data, epochs=epochs, checkpoint=tmp_path / "game.safetensors", **settings)
    for a, b in zip(
        (p for net in whole for p in net.parameters()), (p for net in parts for p in net.parameters()), strict=True
    ):
        assert torch.equal(a, b)


def test_a_game_that_diverges_is_stopped():
    generator, discriminator = nets()
    game = GAN(generator, discriminator, noise=2)
    with torch.no_grad():
        discriminator[0].weight.fill_(math.inf)
    with pytest.raises(TrainingDiverged):
        fit(game, torch.randn(64, 3), epochs=1, device="cpu", progress=False)


def test_the_best_discriminator():
    p, q = torch.tensor([0.2, 0.0, 0.0], dtype=F64), torch.tensor([0.6, 0.1, 0.0], dtype=F64)
    torch.testing.assert_close(optimal_discriminator(p, q), torch.tensor([0.25, 0.0, 0.5], dtype=F64))


G, D = nets()


@pytest.mark.parametrize(
    ("call", "kind", "said"),
    [
        (lambda: GAN(G, D, noise=2, k=0), ValueError, "k: expected an integer from 1 on, got 0"),
        (lambda: GAN(G, D, noise=0), ValueError, "noise: expected an integer from 1 on, got 0"),
        (lambda: GAN(G, D, noise="normal"), TypeError, "noise: expected an integer"),
        (lambda: GAN(G, D, noise=2, loss="hinge"), ValueError, "unknown loss 'hinge'"),
        (lambda: GAN(G, D, noise=2, penalty=0.0), ValueError, "penalty: expected a number > 0"),
        (lambda: GAN(G, 3, noise=2), TypeError, "discriminator: expected Module, got int"),
        (lambda: GAN(G, D, noise=2, lr=0.0), ValueError, "lr: expected a number > 0"),
        (lambda: GAN(G, D, noise=2, lr=1.0, optimizers=(1, 2)), ValueError, "give lr or optimizers, not both"),
        (lambda: GAN(G, D, noise=2, optimizers=(1, 2)), TypeError, r"optimizers\[0\]: expected Optimizer, got int"),
        (lambda: optimal_discriminator(-torch.ones(2), torch.ones(2)), ValueError, "p_data: expected a density ≥ 0"),
    ],
)
def test_wrong_settings(without_annotations, call, kind, said):
    with pytest.raises(kind, match=said):
        call()


def test_a_generator_with_a_frozen_layer_learns_with_the_others():
    generator, discriminator = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 1)), nn.Linear(1, 1)
    generator[0].requires_grad_(False)
    frozen, free = generator[0].weight.clone(), generator[1].weight.clone()
    GAN(generator, discriminator, noise=2)(torch.randn(8, 1))
    assert torch.equal(generator[0].weight, frozen)
    assert not torch.equal(generator[1].weight, free)


@pytest.mark.parametrize(
    ("optimizers", "message"),
    [
        (lambda g, d: (d, g), r"optimizers\[0\]: expected one of the generator's parameters"),
        (lambda g, d: (g, g), r"optimizers\[1\]: expected one of the opponent's parameters"),
        (lambda g, d: g, "optimizers: expected a pair"),
        (lambda g, d: (g, d, g), "optimizers: expected a pair"),
    ],
)
def test_optimizers_of_other_nets_are_refused(without_annotations, optimizers, message):
    nets = nn.Linear(2, 1), nn.Linear(1, 1)
    given = optimizers(*(torch.optim.SGD(net.parameters(), 0.1) for net in nets))
    with pytest.raises((TypeError, ValueError), match=message):
        GAN(*nets, noise=2, optimizers=given)


def test_noise_of_another_number_of_rows_is_refused():
    game = GAN(nn.Linear(2, 1), nn.Linear(1, 1), noise=lambda n: torch.randn(3, 2))
    with pytest.raises(ValueError, match=r"noise\(n\): expected n = 16 rows, got 3"):
        game(torch.randn(16, 1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: discriminator_loss(torch.ones(3), torch.ones(3, dtype=torch.int64)), "fake: expected floating-point"),
        (lambda: generator_loss([0.0]), "fake: expected a tensor"),
        (lambda: optimal_discriminator(torch.ones(3), torch.ones(3, 1)), "expected one shape"),
        (lambda: optimal_discriminator(torch.ones(3), torch.ones(3).double()), "p_data, p_model"),
    ],
)
def test_logits_and_densities_that_make_no_sense_are_refused(without_annotations, call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_samples_have_the_shape_of_the_data():
    generator, _ = nets()
    first = nn.Sequential(generator, nn.Flatten(0), nn.Unflatten(0, (-1, 1)))  # (3n, 1)
    for game in (GAN(first, nn.Linear(1, 1), noise=2), WGAN(first, nn.Linear(1, 1), noise=2)):
        with pytest.raises(ValueError, match=r"real, generator\(z\): expected one shape, got \(4, 1\) and \(12, 1\)"):
            game(torch.rand(4, 1))


def test_a_discriminator_gives_one_logit_for_each_point():
    generator, _ = nets()
    with pytest.raises(ValueError, match=r"discriminator\(x\): expected one number for each point, got shape \(4, 2\)"):
        GAN(generator, nn.Linear(3, 2), noise=2)(torch.rand(4, 3))
    with pytest.raises(ValueError, match=r"discriminator\(x\): expected one number for each point"):
        real_gradient_penalty(nn.Linear(3, 5), torch.rand(4, 3))
