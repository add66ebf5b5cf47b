"""Variational autoencoders against closed forms, torch.distributions, `bayes.elbo` and scikit-learn."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from coursekit import bayes
from coursekit.generative import (
    VAE,
    ConvolutionalVAE,
    LatentGaussianModel,
    LinearVAE,
    active_units,
    bernoulli_log_likelihood,
    gaussian_log_likelihood,
    kl_to_prior,
)
from coursekit.training import Descent, fit

BITS = (torch.rand(6, 12, generator=torch.Generator().manual_seed(1)) < 0.5).double()


def vae(likelihood="bernoulli"):
    return VAE(12, hidden=16, latent=3, likelihood=likelihood).double()


def points(n=300, seed=0):
    """Points around (1, 2, 3, 0, 0, 0) with the variances 8, 4, 2, 1, ½, ¼ along random directions."""
    g = torch.Generator().manual_seed(seed)
    axes = torch.linalg.qr(torch.randn(6, 6, generator=g, dtype=torch.float64)).Q
    spread = torch.tensor([8, 4, 2, 1, 0.5, 0.25]).double().sqrt()
    return torch.randn(n, 6, generator=g, dtype=torch.float64) * spread @ axes.T + torch.tensor([1.0, 2, 3, 0, 0, 0])


# --- the terms of the bound


def test_the_divergence_is_that_of_torch():
    mean, log_variance = torch.randn(2, 5, 4, dtype=torch.float64)
    q, prior = Normal(mean, (0.5 * log_variance).exp()), Normal(torch.zeros_like(mean), torch.ones_like(mean))
    torch.testing.assert_close(kl_to_prior(mean, log_variance), kl_divergence(q, prior).sum(dim=1))


def test_a_bernoulli_likelihood_is_summed_over_the_pixels():
    logits = torch.randn(6, 3, 4, dtype=torch.float64)
    x = BITS.view(6, 3, 4)
    expected = Bernoulli(logits=logits).log_prob(x).sum(dim=(1, 2))
    torch.testing.assert_close(bernoulli_log_likelihood(x, logits), expected)


def test_a_gaussian_likelihood_is_that_of_torch():
    x, mean, log_variance = torch.randn(3, 5, 4, dtype=torch.float64)
    expected = Normal(mean, (0.5 * log_variance).exp()).log_prob(x).sum(dim=1)
    torch.testing.assert_close(gaussian_log_likelihood(x, mean, log_variance), expected)


def test_a_fixed_variance_makes_it_a_scaled_squared_error():
    x, a, b = torch.randn(3, 5, 4, dtype=torch.float64)
    log_variance = torch.full_like(x, math.log(0.3))
    difference = gaussian_log_likelihood(x, a, log_variance) - gaussian_log_likelihood(x, b, log_variance)
    torch.testing.assert_close(difference, ((x - b).square().sum(dim=1) - (x - a).square().sum(dim=1)) / 0.6)


def test_units_are_active_that_vary_with_x():
    mean = torch.tensor([[1.0, 5.0, 0.05], [-1.0, 5.0, -0.05]])  # variances 2, 0 and 0.005
    assert active_units(mean).tolist() == [True, False, False]
    assert active_units(mean, above=0.004).tolist() == [True, False, True]


# --- the bound


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_the_elbo_agrees_with_one_that_samples_the_divergence_too(likelihood):
    model, x = vae(likelihood), BITS[:1]
    mean, log_variance = model.encode(x)
    q = Independent(Normal(mean, (0.5 * log_variance).exp()), 1)
    prior = Normal(torch.zeros(3).double(), torch.ones(3).double())

    def log_joint(z):  # (samples, 1, 3) -> (samples, 1)
        fits = model.log_likelihood(x.expand(len(z), -1), z[:, 0])
        return (fits + prior.log_prob(z[:, 0]).sum(dim=1))[:, None]

    estimate = bayes.elbo(log_joint, q, 4000)
    assert (estimate.value - model.elbo(x, 4000)).abs() < 5 * estimate.standard_error


def test_a_row_does_not_depend_on_the_others():
    model = LinearVAE(12, 2).double()
    torch.testing.assert_close(model.exact_elbo(BITS)[2:3], model.exact_elbo(BITS[2:3]))
    assert vae().elbo(BITS).shape == vae().iwae(BITS, 3).shape == (6,)


def test_one_importance_sample_gives_the_elbo_on_average():
    model = LinearVAE(6, 2).double()
    x = points(1).repeat(40_000, 1)
    with torch.no_grad():
        one, exact = model.iwae(x, 1), model.exact_elbo(x[:1])
    assert (one.mean() - exact).abs() < 5 * one.std() / 200


def test_more_importance_samples_come_closer_to_the_evidence():
    model = LinearVAE(6, 3).double()  # not trained, so that q is far from the posterior
    x = points(2000)
    with torch.no_grad():
        bounds = [model.exact_elbo(x), model.iwae(x, 10), model.iwae(x, 100), model.log_evidence(x)]
    for lower, upper in pairwise(bounds):
        gap = upper - lower
        assert gap.mean() > 3 * gap.std() / len(x) ** 0.5


def test_importance_weights_far_below_the_smallest_number_do_not_vanish():
    model = VAE(6, hidden=4, latent=2, likelihood="gaussian").double()
    assert model.iwae(1000 + points(3), 5).isfinite().all()


def test_both_nets_get_a_gradient():
    for model in (vae(), vae("gaussian")):
        (-model.elbo(BITS, samples=2).mean()).backward()
        for name, p in model.named_parameters():
            assert p.grad is not None, name
            assert p.grad.abs().sum() > 0, name


def test_training_reduces_the_cost_of_repeated_bits():
    x = (torch.rand(256, 8) < 0.5).float().repeat_interleave(3, dim=1)  # (256, 24)
    model = VAE(24, hidden=32, latent=8)
    fit(
        Descent(model, lambda b: -model.elbo(b).mean(), lr=3e-3),
        x,
        epochs=60,
        batch_size=32,
        device="cpu",
        progress=False,
    )
    nats = -model.elbo(x, 20).mean().item()
    assert 8 * math.log(2) < nats < 0.8 * 24 * math.log(2)  # eight free bits; all 24 pixels taken one by one


# --- the nets


def test_the_heads_share_all_but_the_last_layer():
    names = {name for name, _ in vae("gaussian").named_parameters()}
    layers = {name.rsplit(".", 1)[0] for name in names}
    encoder = {"encoder.0", "encoder.2.mean", "encoder.2.log_variance"}
    assert layers == encoder | {"decoder.0", "decoder.2.mean", "decoder.2.log_variance"}


def test_several_hidden_layers_are_mirrored_in_the_decoder():
    model = VAE(12, hidden=[8, 5], latent=3)
    widths = [tuple(w.shape) for name, w in model.named_parameters() if name.endswith("weight")]
    assert widths == [(8, 12), (5, 8), (3, 5), (3, 5), (5, 3), (8, 5), (12, 8)]
    assert model.elbo(BITS.float()).shape == (len(BITS),)


def test_the_activation_follows_every_hidden_layer_of_both_nets():
    model = VAE(12, hidden=[8, 5], latent=3, activation=nn.SiLU)
    for net in (model.encoder, model.decoder):
        assert [type(layer) for layer in net[:-1]] == [nn.Linear, nn.SiLU] * 2
    assert not any(isinstance(module, nn.ReLU) for module in model.modules())


def test_generated_images_are_probabilities():
    images = ConvolutionalVAE(4, size=8).generate(3)
    assert images.shape == (3, 1, 8, 8)
    assert (images > 0).all()
    assert (images < 1).all()
    assert not images.requires_grad


def test_a_gaussian_decoder_generates_its_mean():
    model = vae("gaussian")
    torch.manual_seed(3)
    generated = model.generate(4)
    torch.manual_seed(3)
    torch.testing.assert_close(generated, model.decoder(torch.randn(4, 3, dtype=torch.float64))[0])


def test_a_convolutional_one_takes_images():
    model = ConvolutionalVAE(4, size=8)
    x = torch.rand(5, 1, 8, 8)
    assert model.elbo(x).shape == (5,)
    mean, log_variance = model.encode(x)
    assert mean.shape == log_variance.shape == (5, 4)


def test_under_autocast_the_bound_is_in_full_precision():
    model, x = VAE(12, hidden=16, latent=3), BITS.float()
    with torch.autocast("cpu", torch.bfloat16):
        value = model.elbo(x)
    assert value.dtype == torch.float32
    torch.manual_seed(0)
    assert value.isfinite().all()


# --- the linear model


@pytest.mark.parametrize("k", [1, 3, 5])
def test_at_the_optimum_it_is_the_probabilistic_pca_of_sklearn(k):
    from sklearn.decomposition import PCA

    x = points()
    model = LinearVAE(6, k).double()
    model.set_to_ppca(x)
    score = PCA(k).fit(x.numpy()).score(x.numpy())
    assert model.log_evidence(x).mean().item() == pytest.approx(score, abs=1e-4)  # its covariance divides by n − 1
    torch.testing.assert_close(model.exact_elbo(x), model.log_evidence(x))


def test_the_optimum_is_stationary():
    model = LinearVAE(6, 3).double()
    model.set_to_ppca(points())
    model.exact_elbo(points()).mean().backward()
    assert max(p.grad.abs().max().item() for p in model.parameters()) < 1e-10


def test_the_exact_elbo_is_the_mean_of_sampled_ones():
    model, x = LinearVAE(6, 3).double(), points(4)
    with torch.no_grad():
        values = torch.stack([model.elbo(x) for _ in range(4000)])
        gap = (values.mean(dim=0) - model.exact_elbo(x)).abs()
    assert (gap < 5 * values.std(dim=0) / 4000**0.5).all()


@pytest.mark.parametrize(("variance", "units"), [(0.7, 4), (1.4, 3), (2.8, 2), (5.6, 1), (11.0, 0)])
def test_units_above_the_noise_are_active(variance, units):
    model, x = LinearVAE(6, 4).double(), points(500)
    model.set_to_ppca(x, variance)
    assert active_units(model.encode(x)[0]).sum() == units


# --- bad arguments


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (2 * BITS, ValueError, r"x: expected numbers in \[0, 1\], got 0 to 2"),
        (BITS - 0.5, ValueError, r"x: expected numbers in \[0, 1\], got -0.5 to 0.5"),
        (BITS.long(), TypeError, "x: expected float32 or float64, got int64"),
        (BITS.half(), TypeError, "x: expected float32 or float64, got float16"),
        (BITS.float(), TypeError, "x and the weights: expected one dtype, got float32 and float64"),
        (np.zeros((2, 12)), TypeError, "x: expected a tensor, got ndarray"),
        ([[0.0] * 12], TypeError, "x: expected a tensor, got list"),
        (torch.where(BITS > 0, math.nan, 0.0), ValueError, "numbers are NaN or infinite"),
        (BITS[:, :5], ValueError, r"x: expected shape \(n, 12\), got \(6, 5\)"),
        (BITS.view(6, 1, 3, 4), ValueError, r"x: expected shape \(n, 12\), got \(6, 1, 3, 4\)"),
        (BITS[:0], ValueError, "x: expected at least one element"),
    ],
)
@pytest.mark.parametrize("method", [VAE.encode, VAE.elbo, lambda model, x: model.iwae(x, 2)])
def test_data_that_make_no_sense_are_refused(without_annotations, method, x, error, message):
    with pytest.raises(error, match=message):
        method(vae(), x)


def test_a_gaussian_decoder_takes_any_real_numbers():
    assert vae("gaussian").elbo(10 * BITS - 3).isfinite().all()


@pytest.mark.parametrize("samples", [0, -1, 1.5, "two", True])
def test_numbers_of_samples_that_make_no_sense_are_refused(without_annotations, samples):
    for call in (vae().elbo, vae().iwae):
        with pytest.raises((TypeError, ValueError), match="samples: expected an integer"):
            call(BITS, samples)
    with pytest.raises((TypeError, ValueError), match="n: expected an integer"):
        vae().generate(samples)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: VAE(0, 4, 2), "input_dim: expected an integer from 1 on, got 0"),
        (lambda: VAE(4, 4.0, 2), "hidden: expected an integer, got float 4.0"),
        (lambda: VAE(4, [8, 4.0], 2), "widths: expected an integer, got float 4.0"),
        (lambda: VAE(4, [], 2), "widths: expected at least 1, got 0"),
        (lambda: VAE(4, 4, 0), "latent: expected an integer from 1 on, got 0"),
        (lambda: VAE(4, 4, 2, "bernouli"), "unknown likelihood 'bernouli': did you mean bernoulli"),
        (lambda: VAE(4, 4, 2, activation="relu"), "activation: expected a function, got str"),
        (lambda: LinearVAE(4, 4), "latent: expected an integer from 1 to 3, got 4"),
        (lambda: ConvolutionalVAE(2, size=30), "size: expected a multiple of 4, got 30"),
        (lambda: LinearVAE(6, 4).set_to_ppca(points(4)), "x: expected more than 4 rows, got 4"),
        (lambda: LinearVAE(6, 4).set_to_ppca(points(), -1.0), "variance: expected a number > 0, got -1.0"),
        (lambda: active_units(torch.zeros(1, 3)), "mean: expected at least two rows, got 1"),
        (lambda: active_units(torch.zeros(2, 3), -1), "above: expected a number ≥ 0, got -1"),
        (lambda: vae().decode(torch.zeros(2, 5).double()), r"z: expected shape \(n, 3\), got \(2, 5\)"),
    ],
)
def test_settings_that_make_no_sense_are_refused(without_annotations, build, message):
    with pytest.raises((TypeError, ValueError), match=message):
        build()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kl_to_prior(torch.zeros(4, 3), torch.zeros(4, 1)), "mean, log_variance: expected one shape"),
        (lambda: kl_to_prior(torch.zeros(4, 3, 2), torch.zeros(4, 3, 2)), "mean: expected shape"),
        (lambda: bernoulli_log_likelihood(torch.zeros(2, 3), torch.zeros(2, 1)), "x, logits: expected one shape"),
        (lambda: bernoulli_log_likelihood([0.0], torch.zeros(2, 1)), "x: expected a tensor"),
        (
            lambda: gaussian_log_likelihood(torch.zeros(2, 1, 3), torch.zeros(2, 3), torch.zeros(2, 3)),
            "x, mean: expected one shape",
        ),
        (lambda: LatentGaussianModel(nn.Identity(), nn.Identity(), (3,), 2, "bernouli"), "unknown likelihood"),
        (lambda: LatentGaussianModel(None, nn.Identity(), (3,), 2, "gaussian"), "encoder: expected Module"),
        (lambda: LatentGaussianModel(nn.Identity(), nn.Identity(), (3,), 0, "gaussian"), "latent: expected an integer"),
    ],
)
def test_terms_and_nets_that_do_not_fit_are_refused(without_annotations, call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


@pytest.mark.parametrize("log_variance", [-140.0, -100.0, 0.0, 100.0, 140.0])
def test_a_variance_beyond_single_precision_is_none_of_the_likelihoods_concern(log_variance):
    spread = torch.full((2, 3), log_variance, requires_grad=True)
    x = (math.exp(0.5 * log_variance) * torch.ones(2, 3)).requires_grad_()  # one standard deviation off
    value = gaussian_log_likelihood(x, torch.zeros(2, 3), spread)
    expected = -1.5 * (1 + log_variance + math.log(2 * math.pi))
    torch.testing.assert_close(value, torch.full((2,), expected))
    gradient, _ = torch.autograd.grad(value.sum(), [spread, x])
    torch.testing.assert_close(gradient, torch.zeros(2, 3), atol=1e-5, rtol=0)


def test_the_evidence_wants_the_precision_of_the_weights():
    with pytest.raises(TypeError, match="x and the weights: expected one dtype, got float64 and float32"):
        LinearVAE(4, 1).log_evidence(torch.rand(3, 4).double())
