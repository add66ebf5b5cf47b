"""The exercises on the variational autoencoder accept what is right in any form, and say what is wrong."""

import math
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from coursekit.exercises import lecture13
from coursekit.exercises.lecture13 import exercise
from coursekit.generative import VAE, kl_to_prior
from coursekit.training import Descent, fit

# --- the divergence from the prior


def by_torch(mean, log_variance):
    q, prior = Normal(mean, (0.5 * log_variance).exp()), Normal(torch.zeros_like(mean), torch.ones_like(mean))
    return kl_divergence(q, prior).sum(dim=1)


def by_determinant(mean, log_variance):
    covariances = torch.diag_embed(log_variance.exp())
    trace = covariances.diagonal(dim1=1, dim2=2).sum(dim=1)
    return 0.5 * (trace + (mean * mean).sum(1) - mean.shape[1] - covariances.logdet())


def in_numpy(mean, log_variance):
    m, v = mean.numpy(), np.exp(log_variance.numpy())
    return -0.5 * (1 + np.log(v) - m**2 - v).sum(axis=1)


@pytest.mark.parametrize("answer", [kl_to_prior, by_torch, by_determinant, in_numpy])
def test_the_divergence_is_accepted_in_any_form(ask, answer):
    praise = "✓ kl: right on q = prior, shifted means, other variances, both"
    assert ask(exercise, "kl", answer) == praise


WRONG_KL = {
    "E29: without ½": lambda m, s: 2 * kl_to_prior(m, s),
    "the sign": lambda m, s: -kl_to_prior(m, s),
    "log-variance for variance": lambda m, s: 0.5 * (s + m**2 - 1 - s.abs().clamp_min(1e-9).log()).sum(dim=1),
    "log-variance for log of the s.d.": lambda m, s: kl_to_prior(m, 2 * s),
    "no − 1": lambda m, s: 0.5 * (s.exp() + m**2 - s).sum(dim=1),
    "no mean": lambda m, s: kl_to_prior(0 * m, s),
    "mean not squared": lambda m, s: 0.5 * (s.exp() + m - 1 - s).sum(dim=1),
    "mean of the units": lambda m, s: 0.5 * (s.exp() + m**2 - 1 - s).mean(dim=1),
    "mean of the rows": lambda m, s: kl_to_prior(m, s).mean(),
    "one number for each unit": lambda m, s: 0.5 * (s.exp() + m**2 - 1 - s),
    "the other direction": lambda m, s: 0.5 * ((1 + m**2) / s.exp() - 1 + s).sum(dim=1),
    "in place": lambda m, s: 0.5 * (s.exp_() + m**2 - 1 - s.log()).sum(dim=1),
}


@pytest.mark.parametrize("answer", WRONG_KL.values(), ids=WRONG_KL)
def test_wrong_divergences_are_refused(ask, answer):
    assert ask(exercise, "kl", answer).startswith("○ kl is open: ")


def test_half_is_told_by_its_first_case(ask):
    said = ask(exercise, "kl", WRONG_KL["E29: without ½"])
    assert "right on q = prior; wrong on shifted means: " in said


# --- the importance-weighted bound

RIGHT_IWAE = {
    "logsumexp": lambda w: torch.logsumexp(w, dim=0) - math.log(len(w)),
    "logaddexp": lambda w: torch.stack([_added(column) for column in w.T]),
    "double precision, one column at a time": lambda w: torch.stack(
        [(column.double() - column.max()).exp().mean().log() + column.max() for column in w.T]
    ),
}


def _added(column):
    total = column[0]
    for w in column[1:]:
        total = torch.logaddexp(total, w)
    return total - math.log(len(column))


@pytest.mark.parametrize("answer", RIGHT_IWAE.values(), ids=RIGHT_IWAE)
def test_the_bound_is_accepted_in_any_form(ask, answer):
    assert ask(exercise, "iwae", answer).startswith("✓ iwae: right on one sample, ")


WRONG_IWAE = {
    "mean of the logarithms": (lambda w: w.mean(dim=0), "wrong on three samples"),
    "the maximum": (lambda w: w.max(dim=0).values, "wrong on three samples"),
    "sum, not mean": (lambda w: w.logsumexp(dim=0), "wrong on equal weights"),
    "the other axis": (lambda w: w.logsumexp(dim=1) - math.log(w.shape[1]), "wrong on one sample"),
    "no logarithm": (lambda w: w.exp().mean(dim=0), "wrong on one sample"),
    "one number": (lambda w: (w.logsumexp(dim=0) - math.log(len(w))).mean(), "wrong on one sample"),
    "underflow": (lambda w: w.exp().mean(dim=0).log(), "wrong on weights as small as e⁻⁹⁰⁰"),
    "underflow hidden": (lambda w: (w.exp().mean(dim=0) + 1e-30).log(), "wrong on weights as small as e⁻⁹⁰⁰"),
    "overflow": (lambda w: (w + 900).exp().mean(dim=0).log() - 900, "wrong on one sample"),
    "overflow of large weights only": (
        lambda w: (w - w.min()).exp().mean(dim=0).log() + w.min() if w.max() < 100 else w.exp().mean(dim=0).log(),
        "wrong on weights as large as e⁹⁰⁰",
    ),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_IWAE.values(), ids=WRONG_IWAE)
def test_wrong_bounds_are_refused(ask, answer, message):
    assert message in ask(exercise, "iwae", answer)


# --- a code brought to life


def sampled(model, x):
    mean, log_variance = model.encode(x)
    return mean, log_variance, mean + (0.5 * log_variance).exp() * torch.randn_like(mean)


def descended(model, x, loss, epochs=30):
    fit(Descent(model, loss, lr=3e-3), x, epochs=epochs, batch_size=64, device="cpu", progress=False)
    return model


def summed(model, x):
    return descended(model, x, lambda b: -model.elbo(b).mean())


def free_bits(model, x):
    def loss(b):
        mean, log_variance, z = sampled(model, b)
        unit = 0.5 * (log_variance.exp() + mean**2 - 1 - log_variance).mean(dim=0)
        return unit.clamp(min=0.5).sum() - model.log_likelihood(b, z).mean()

    return descended(model, x, loss)


def started_anew(model, x):
    return summed(VAE(64, 64, 8), x)


@pytest.mark.parametrize("answer", [summed, free_bits, started_anew])
def test_a_code_may_be_revived_in_any_way(ask, answer):
    praise = "at least 4 of 8 units are active, and −ELBO on the test digits is at most 26.5 nats"
    assert ask(exercise, "revive", answer) == f"✓ revive: {praise}"


def test_the_given_code_is_empty():
    _, test = lecture13._digits()
    active, nats = lecture13._quality(lecture13._collapsed(), test)
    assert active == 0
    assert nats > lecture13.NATS


@torch.no_grad()
def shift_the_mean(model, x):
    model.encoder[2].mean.bias += 3
    return model


@torch.no_grad()
def stretch_the_mean(model, x):
    model.encoder[2].mean.weight *= 1e4
    return model


@torch.no_grad()
def random_code(model, x):
    model.encoder[2].mean.reset_parameters()
    return model


def without_divergence(model, x):
    return descended(model, x, lambda b: -model.log_likelihood(b, model.encode(b)[0]).mean())


def mean_for_longer(model, x):
    def loss(b):
        mean, log_variance, z = sampled(model, b)
        return (kl_to_prior(mean, log_variance) - model.log_likelihood(b, z) / 64).mean()

    return descended(model, x, loss)


class JudgesItself(VAE):
    """A VAE that says of itself what the check wants to hear."""

    def elbo(self, x, samples=1):
        return torch.zeros(len(x))

    def encode(self, x):
        return torch.randn(len(x), 8), torch.zeros(len(x), 8)


def tampered(model, x):
    return JudgesItself(64, 64, 8)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda model, x: model, "0 of 8 units are active"),
        (shift_the_mean, "0 of 8 units are active"),
        (stretch_the_mean, "8 of 8 units are active, but −ELBO"),
        (random_code, "−ELBO on the test digits is|units are active on the test digits"),
        (without_divergence, "units are active, but −ELBO"),
        (mean_for_longer, "0 of 8 units are active"),
        (tampered, "−ELBO on the test digits is|units are active on the test digits"),
        (lambda model, x: VAE(64, 64, 9), r"expected the weights of a VAE\(64, 64, 8\)"),
        (lambda model, x: nn.Linear(2, 2), r"expected the weights of a VAE\(64, 64, 8\)"),
        (lambda model, x: 3, "expected a torch module, got int 3"),
        (lambda model, x: None, "it returns nothing yet"),
    ],
)
def test_what_does_not_revive_it_is_refused(ask, answer, message):
    assert re.match(f"○ revive is open: .*({message})", ask(exercise, "revive", answer))


def test_weights_that_are_not_finite_are_refused(ask):
    @torch.no_grad()
    def broken(model, x):
        model.decoder[0].bias.fill_(math.nan)
        return model

    assert "a weight is NaN or infinite" in ask(exercise, "revive", broken)


def test_the_students_function_may_spoil_its_copies(ask):
    @torch.no_grad()
    def spoil(model, x):
        x.zero_()
        for p in model.parameters():
            p.zero_()
        return model

    assert "0 of 8 units are active" in ask(exercise, "revive", spoil)
    assert ask(exercise, "revive", summed).startswith("✓")
