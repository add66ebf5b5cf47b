"""The exercises on the variational autoencoder accept what is right in any form, and say what is wrong."""

import math
import re

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from coursekit.exercises import lecture13
from coursekit.exercises.lecture13 import exercise
from coursekit.generative import VAE, kl_to_prior

# --- the divergence from the prior


def by_torch(mean, log_variance):
    q, prior = Normal(mean, (0.5 * log_variance).exp()), Normal(torch.zeros_like(mean), torch.ones_like(mean))
    return kl_divergence(q, prior).sum(dim=1)


def by_determinant(mean, log_variance):
    covariances = torch.diag_embed(log_variance.exp())
    trace = covariances.diagonal(dim1=1, dim2=2).sum(dim=1)
    return 0.5 * (trace + (mean * mean).sum(1) - mean.shape[1] - covariances.logdet())


def by_loop(mean, log_variance):
    total = torch.zeros(len(mean))
    for j in range(mean.shape[1]):
        total = total + 0.5 * (log_variance[:, j].exp() + mean[:, j] ** 2 - 1 - log_variance[:, j])
    return total


KL_PRAISE = "right on q = prior, shifted means, other variances, both, five units"


@pytest.mark.parametrize("answer", [kl_to_prior, by_torch, by_determinant, by_loop])
def test_the_divergence_is_accepted_in_any_form(ask, answer):
    assert ask(exercise, "kl", answer) == f"✓ kl: {KL_PRAISE}"


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
    "− 3/2 for three units": lambda m, s: 0.5 * (s.exp() + m**2 - s).sum(dim=1) - 1.5,
    "in place": lambda m, s: 0.5 * (s.exp_() + m**2 - 1 - s.log()).sum(dim=1),
}


@pytest.mark.parametrize("answer", WRONG_KL.values(), ids=WRONG_KL)
def test_wrong_divergences_are_refused(ask, answer):
    assert ask(exercise, "kl", answer).startswith("○ kl is open: ")


def test_half_is_told_by_its_first_case(ask):
    said = ask(exercise, "kl", WRONG_KL["E29: without ½"])
    assert "right on q = prior; wrong on shifted means: " in said


def in_numpy(mean, log_variance):
    m, v = mean.numpy(), np.exp(log_variance.numpy())
    return -0.5 * (1 + np.log(v) - m**2 - v).sum(axis=1)


NO_SLOPE = {
    "NumPy": in_numpy,
    "NumPy, made a tensor": lambda m, s: torch.from_numpy(in_numpy(m, s)),
    "NumPy of detached tensors": lambda m, s: torch.from_numpy(in_numpy(m.detach(), s.detach())),
    "detached": lambda m, s: kl_to_prior(m, s).detach(),
    "numbers in a new tensor": lambda m, s: torch.tensor([it.item() for it in kl_to_prior(m, s)]),
    "without gradient": torch.no_grad()(kl_to_prior),
}


@pytest.mark.parametrize("answer", NO_SLOPE.values(), ids=NO_SLOPE)
def test_a_divergence_without_a_gradient_is_refused(ask, answer):
    assert f"{KL_PRAISE}; but it has no gradient, and the encoder learns through it" in ask(exercise, "kl", answer)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (lambda m, s: kl_to_prior(m.detach(), s), "mean"),
        (lambda m, s: kl_to_prior(m, s.detach()), "log-variance"),
        (lambda m, s: 0.5 * (s.exp().detach() + m**2 - 1 - s).sum(dim=1), "log-variance"),
    ],
    ids=["the mean", "the log-variance", "the variance"],
)
def test_a_divergence_that_is_detached_in_part_is_refused(ask, answer, name):
    assert f"{KL_PRAISE}; but its gradient in the {name} is wrong" in ask(exercise, "kl", answer)


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


def _shifted(w, by):
    return by + (w - by).exp().mean(dim=0).log()


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
    "one maximum for all images": (
        lambda w: w.max() + (w - w.max()).exp().mean(dim=0).log(),
        "wrong on images that differ by e⁹⁰⁰",
    ),
    "shifted by the mean": (lambda w: _shifted(w, w.mean(dim=0)), "wrong on samples of one image"),
    "shifted by the minimum": (lambda w: _shifted(w, w.min(dim=0).values), "wrong on samples of one image"),
    "shifted by the first sample": (lambda w: _shifted(w, w[0]), "wrong on samples of one image"),
    "shifted by the last sample": (lambda w: _shifted(w, w[-1]), "wrong on samples of one image"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_IWAE.values(), ids=WRONG_IWAE)
def test_wrong_bounds_are_refused(ask, answer, message):
    assert message in ask(exercise, "iwae", answer)


# --- a code brought to life


def sampled(model, x):
    mean, log_variance = model.encode(x)
    return mean, log_variance, mean + (0.5 * log_variance).exp() * torch.randn_like(mean)


def per_image(model, x):
    mean, log_variance, z = sampled(model, x)
    return kl_to_prior(mean, log_variance) - model.log_likelihood(x, z)


def plain(model, x, progress):
    return per_image(model, x).mean()


def warm_up(model, x, progress):
    mean, log_variance, z = sampled(model, x)
    weight = 0.1 if progress < 1 / 3 else 1.0
    return (weight * kl_to_prior(mean, log_variance) - model.log_likelihood(x, z)).mean()


def free_bits(model, x, progress):
    mean, log_variance, z = sampled(model, x)
    unit = 0.5 * (log_variance.exp() + mean**2 - 1 - log_variance).mean(dim=0)
    return unit.clamp(min=0.3).sum() - model.log_likelihood(x, z).mean()


def all_divided(model, x, progress):
    return plain(model, x, progress)[None] / 64


def warm_up_divided(model, x, progress):
    return warm_up(model, x, progress) / 64


@pytest.mark.parametrize("answer", [plain, warm_up, free_bits, all_divided, warm_up_divided, lecture13.revive])
def test_a_code_may_be_revived_in_any_way(ask, answer):
    active, nats = r"[4-8] of 8 units are active", r"−ELBO on the test digits is 2[56]\.\d nats"
    praise = rf"{active}, and {nats} \(wanted: 4 or more, at most 26\.4\)"
    assert re.fullmatch(f"✓ revive: {praise}", ask(exercise, "revive", answer))


def test_the_given_code_is_empty():
    _, test = lecture13._digits()
    active, nats = lecture13._quality(lecture13._collapsed(), test)
    assert active == 0
    assert nats > lecture13.NATS


def weighted(pixels=1.0, beta=1.0):
    def answer(model, x, progress):
        mean, log_variance, z = sampled(model, x)
        return (beta * kl_to_prior(mean, log_variance) - pixels * model.log_likelihood(x, z)).mean()

    return answer


def never_warm(model, x, progress):
    return weighted(beta=0.1)(model, x, progress)


def without_divergence(model, x, progress):
    return -model.log_likelihood(x, model.encode(x)[0]).mean()


def without_noise(model, x, progress):
    mean, log_variance = model.encode(x)
    return (kl_to_prior(mean, log_variance) - model.log_likelihood(x, mean)).mean()


def ignores_the_model(model, x, progress):
    return -VAE(64, 64, 8).elbo(x).mean()


def no_gradient(model, x, progress):
    return plain(model, x, progress).detach()


def infinite(model, x, progress):
    return plain(model, x, progress) * math.inf


@torch.no_grad()
def shifts_the_mean(model, x, progress):
    model.encoder[2].mean.bias += 3
    with torch.enable_grad():
        return plain(model, x, progress)


def other_weights(model, x, progress):
    model.load_state_dict(VAE(64, 64, 8).state_dict())
    return plain(model, x, progress)


def judges_itself(model, x, progress):
    model.encode = lambda x: (torch.randn(len(x), 8), torch.zeros(len(x), 8))
    model.elbo = lambda x, samples=1: torch.zeros(len(x))
    return sum(p.square().sum() for p in model.parameters())


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (weighted(pixels=1 / 64), "0 of 8 units are active on the test digits, wanted 4 or more"),
        (weighted(pixels=1 / 64, beta=64**-2), r"\d of 8 units are active, but −ELBO"),
        (weighted(beta=2), r"8 of 8 units are active, but −ELBO on the test digits is 26\.\d nats"),
        (never_warm, "8 of 8 units are active, but −ELBO"),
        (without_divergence, "8 of 8 units are active, but −ELBO"),
        (without_noise, "8 of 8 units are active, but −ELBO"),
        (weighted(pixels=-1.0), "after 10 epochs"),
        (ignores_the_model, "0 of 8 units are active"),
        (no_gradient, "the loss has no gradient"),
        (infinite, "the loss is NaN or infinite"),
        (shifts_the_mean, "it changes the weights itself"),
        (other_weights, "it changes the weights itself"),
        (judges_itself, "0 of 8 units are active"),
        (lambda model, x, progress: -model.elbo(x).mean(), "write the two terms yourself"),
        (lambda model, x, progress: -model.iwae(x, samples=1).mean(), "write the two terms yourself"),
        (
            lambda model, x, progress: per_image(model, x),
            "expected the loss of the batch, one number in a tensor",
        ),
        (lambda model, x, progress: 3.0, "expected the loss of the batch, one number in a tensor, got float"),
        (lambda model, x, progress: None, "it returns nothing yet"),
    ],
)
def test_what_does_not_revive_it_is_refused(ask, answer, message):
    assert re.match(f"○ revive is open: .*({message})", ask(exercise, "revive", answer))


def test_the_students_function_may_spoil_its_batch(ask):
    def spoil(model, x, progress):
        loss = plain(model, x.clone(), progress)
        x.zero_()
        return loss

    assert ask(exercise, "revive", spoil).startswith("✓")
