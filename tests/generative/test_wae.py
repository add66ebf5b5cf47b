"""The training step of Wasserstein autoencoders: its losses, who moves, its two penalties, and bad input."""

import re

import pytest
import torch
from torch import nn

from coursekit.distances import imq, mmd2
from coursekit.generative import WAE, latent_mmd2
from coursekit.training import fit


def nets(latent=2):
    torch.manual_seed(0)
    return nn.Linear(5, latent), nn.Linear(latent, 5)


def step(**options):
    encoder, decoder = nets()
    return WAE(encoder, decoder, 2, **options)


def game(discriminator=None, **options):
    return step(penalty="gan", discriminator=discriminator or nn.Linear(2, 1), **options)


def curved():
    return nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1))


def weights(net):
    return nn.utils.parameters_to_vector(net.parameters()).detach().clone()


def test_latent_mmd2_has_the_kernel_of_the_paper():
    codes, draws = torch.randn(20, 3), 2 * torch.randn(30, 3)
    assert torch.equal(latent_mmd2(codes, draws, sigma=2.0), mmd2(codes, draws, imq(2 * 3 * 4.0)))


def test_latent_mmd2_tells_spread_codes_from_codes_of_the_prior():
    torch.manual_seed(0)
    draws = torch.randn(500, 3)
    assert abs(latent_mmd2(torch.randn(500, 3), draws)) < 0.01 < latent_mmd2(3 * torch.randn(500, 3), draws)


def test_the_losses_are_sums_over_pixels_and_means_over_images():
    wae = step(weight=3.0)
    x = torch.randn(8, 5)
    with torch.no_grad():
        z = wae.encoder(x)
        error = (x - wae.decoder(z)).square().sum() / 8
    torch.manual_seed(1)
    penalty = latent_mmd2(z, torch.randn_like(z))
    torch.manual_seed(1)
    losses = wae(x)
    assert losses["reconstruction"].item() == pytest.approx(error.item())
    assert losses["penalty"].item() == pytest.approx(penalty.item(), abs=1e-6)


def test_a_weight_of_zero_is_an_autoencoder():
    wae = step(weight=0.0, lr=1e-2)
    encoder, decoder = nets()
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 1e-2)
    for x in torch.randn(4, 8, 5):
        wae(x)
        optimizer.zero_grad()
        (x - decoder(encoder(x))).square().sum(dim=1).mean().backward()
        optimizer.step()
    torch.testing.assert_close(weights(wae.encoder), weights(encoder))
    torch.testing.assert_close(weights(wae.decoder), weights(decoder))


def test_the_penalty_moves_the_encoder_and_not_the_decoder():
    x = torch.randn(8, 5)
    with_penalty, without = (step(weight=it) for it in (5.0, 0.0))
    with_penalty(x)
    without(x)
    assert torch.equal(with_penalty.decoder.weight.grad, without.decoder.weight.grad)
    assert not torch.equal(with_penalty.encoder.weight.grad, without.encoder.weight.grad)


def test_the_discriminator_has_no_gradient_of_the_encoders_loss():
    wae = game(weight=5.0)
    wae(torch.randn(8, 5))
    z = torch.randn(8, 2)
    gradient = wae.discriminator.weight.grad.clone()
    nn.functional.softplus(-wae.discriminator(z)).mean().backward()
    assert not torch.equal(wae.discriminator.weight.grad, gradient)  # only then does it change


def test_r1_and_the_own_learning_rate_change_the_discriminator_only_through_its_steps():
    x = torch.randn(8, 5)
    ends = []
    for options in ({}, {"r1": 10.0}, {"discriminator_lr": 0.1}):
        torch.manual_seed(3)
        wae = game(**options)
        for _ in range(2):  # the first step of Adam has the size of the learning rate, whatever the gradient
            wae(x)
        ends.append(weights(wae.discriminator))
    assert not torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


MAKERS = {
    "mmd": lambda: step(weight=20.0, lr=5e-2),
    "gan": lambda: game(curved(), weight=20.0, r1=0.5, lr=1e-2),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_training_brings_the_codes_towards_the_prior(make):
    wae = make()
    torch.manual_seed(0)
    x = 4 + torch.randn(512, 2) @ torch.randn(2, 5)
    before = latent_mmd2(wae.encoder(x), torch.randn(512, 2)).item()
    fit(wae, x, epochs=60, batch_size=64, device="cpu", progress=False)
    assert latent_mmd2(wae.encoder(x), torch.randn(512, 2)).item() < before / 3


def test_the_state_holds_all_nets_and_optimizers():
    assert set(step().state) == {"encoder", "decoder", "optimizer"}
    assert set(game().state) == {"encoder", "decoder", "optimizer", "discriminator", "discriminator optimizer"}


BAD = {
    "latent: expected an integer from 1 on, got 0": {"latent": 0},
    "weight: expected a number ≥ 0": {"weight": -1.0},
    "r1: expected a number ≥ 0": {"r1": -1.0},
    "sigma: expected a number > 0": {"sigma": 0.0},
    "lr: expected a number > 0": {"lr": 0.0},
    "discriminator_lr: expected a number > 0": {"discriminator_lr": 0.0},
    'the penalty "gan" needs one': {"penalty": "gan"},
    'and "mmd" has no use for it': {"discriminator": nn.Linear(2, 1)},
    "unknown penalty 'kl': there are mmd, gan": {"penalty": "kl"},
}


@pytest.mark.parametrize(("message", "options"), BAD.items(), ids=BAD)
def test_bad_arguments(without_annotations, message, options):
    encoder, decoder = nets()
    with pytest.raises(ValueError, match=re.escape(message)):
        WAE(encoder, decoder, **({"latent": 2} | options))


def test_a_net_must_be_a_module():
    with pytest.raises(TypeError, match="encoder"):
        WAE(torch.sin, nn.Linear(2, 5), 2)


def test_codes_and_outputs_have_the_shape_they_should():
    encoder, decoder = nets()
    with pytest.raises(ValueError, match=re.escape("the encoder gives codes of shape (8, 2), expected (8, 3)")):
        WAE(encoder, decoder, 3)(torch.randn(8, 5))
    with pytest.raises(ValueError, match=re.escape("the decoder gives outputs of shape (8, 4), expected (8, 5)")):
        WAE(encoder, nn.Linear(2, 4), 2)(torch.randn(8, 5))


def test_one_image_is_no_batch_for_an_unbiased_estimate():
    with pytest.raises(ValueError, match="expected at least 2 rows, got 1"):
        step()(torch.randn(1, 5))


def test_latent_mmd2_needs_a_spread():
    with pytest.raises(ValueError, match="sigma: expected a number > 0"):
        latent_mmd2(torch.randn(4, 2), torch.randn(4, 2), sigma=0.0)


def test_a_frozen_decoder_stays_and_the_encoder_learns():
    encoder, decoder = nets()
    decoder.requires_grad_(False)
    kept, before = decoder.weight.clone(), encoder.weight.clone()
    WAE(encoder, decoder, 2)(torch.randn(8, 5))
    assert torch.equal(decoder.weight, kept)
    assert not torch.equal(encoder.weight, before)


def test_outputs_are_floating_point_numbers_that_carry_a_gradient():
    class Rounded(nn.Linear):
        def forward(self, z):
            return super().forward(z).round().int()

    encoder, _ = nets()
    x = torch.rand(5, next(encoder.parameters()).shape[1])
    with pytest.raises(TypeError, match=r"decoder\(z\): expected floating-point numbers, got int32"):
        WAE(encoder, Rounded(2, x.shape[1]), latent=2)(x)


def test_codes_are_rows(without_annotations):
    with pytest.raises(ValueError, match=r"codes: expected shape \(n, k\), got \(4,\)"):
        latent_mmd2(torch.rand(4), torch.rand(4, 1))
