"""The exercises on the variational autoencoder accept what is right in any form, and say what is wrong."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from coursekit.exercises import lecture13
from coursekit.exercises.lecture13 import exercise
from coursekit.generative import active_units, kl_to_prior

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


# --- the units in use


def codes(model, x):
    return model.encode(x)[0]


def samples(model, x):
    mean, log_variance = model.encode(x)
    return mean + (0.5 * log_variance).exp() * torch.randn_like(mean)


def lost(model, x, z, replace):
    """The nats that are lost, unit by unit, when its column of z is replaced."""
    told, nats = model.log_likelihood(x, z).mean(), []
    for j in range(z.shape[1]):
        other = z.clone()
        other[:, j] = replace(z[:, j])
        nats.append(told - model.log_likelihood(x, other).mean())
    return torch.stack(nats)


def shuffled(column):
    return column[torch.randperm(len(column))]


def slopes(model, x, z):
    """How much the drawing moves with each unit: (n, k)."""
    z = z.clone().requires_grad_()
    return torch.autograd.grad(model.decode(z).square().sum(), z)[0].abs()


def drawing(model, x):
    """Units whose means, from another image, change the drawing."""
    z = codes(model, x)
    moved = [torch.where(torch.arange(8) == j, z.roll(7, dims=0), z) for j in range(8)]
    return [bool((model.decode(it) - model.decode(z)).abs().mean() > 1e-3) for it in moved]


RIGHT_USED = {
    "codes of other images": lecture13.used,
    "shuffled codes": lambda m, x: lost(m, x, codes(m, x), shuffled) > 0.3,
    "the mean code": lambda m, x: lost(m, x, codes(m, x), torch.mean) > 0.3,
    "samples, shuffled": lambda m, x: lost(m, x, samples(m, x), shuffled) > 0.3,
    "changes of the drawing, a list": drawing,
    "slope times standard deviation": lambda m, x: slopes(m, x, codes(m, x)).mean(0) * codes(m, x).std(0) > 1e-3,
    "zeros and ones": lambda m, x: lecture13.used(m, x).int(),
    "NumPy": lambda m, x: lecture13.used(m, x).numpy(),
}


@pytest.mark.parametrize("answer", RIGHT_USED.values(), ids=RIGHT_USED)
def test_the_units_in_use_may_be_found_in_any_way(ask, answer):
    assert ask(exercise, "used", answer).startswith("✓ used: right on idle units, constant means, ")


@pytest.mark.parametrize(("seed", "alter"), list(enumerate(it for it, _ in lecture13.MODELS.values())))
def test_a_unit_in_use_is_worth_a_nat_and_the_others_nothing(seed, alter):
    model, wanted = lecture13._model(alter, seed)
    x = lecture13._digits()
    nats = lost(model, x, codes(model, x), lambda column: column.roll(1))
    assert all(it > 1 if in_use else it.abs() < 1e-3 for it, in_use in zip(nats, wanted, strict=True))


def kl_of_units(model, x):
    mean, log_variance = model.encode(x)
    return (0.5 * (log_variance.exp() + mean**2 - 1 - log_variance)).mean(dim=0)


def varies(model, x):
    return active_units(codes(model, x))


def heard(model):
    return model.decoder[0].weight.norm(dim=0) > 0


def upset(model, x):
    """Units whose samples move the drawing."""
    z = samples(model, x)
    moved = [torch.where(torch.arange(8) == j, z.roll(1, dims=0), z) for j in range(8)]
    return torch.stack([(model.decode(it) - model.decode(z)).abs().mean() for it in moved]) > 1e-3


WRONG_USED = {
    "active units": (varies, "units that the decoder ignores"),
    "the KL of a unit": (lambda m, x: kl_of_units(m, x) > 0.1, "constant means"),
    "weights of the decoder": (lambda m, x: heard(m), "constant means"),
    "active, and the decoder has weights": (lambda m, x: varies(m, x) & heard(m), "a dead end in the decoder"),
    "slopes of the decoder": (lambda m, x: slopes(m, x, codes(m, x)).mean(0) > 1e-3, "constant means"),
    "active, and a slope": (
        lambda m, x: varies(m, x) & (slopes(m, x, codes(m, x)).mean(0) > 1e-3),
        "a code on a small scale",
    ),
    "varies at all, and any slope": (
        lambda m, x: (codes(m, x).var(0) > 0) & (slopes(m, x, codes(m, x)).mean(0) > 0),
        "a whisper",
    ),
    "any loss": (lambda m, x: lost(m, x, codes(m, x), lambda column: column.roll(1)) > 0, "a whisper"),
    "KL, and a slope": (
        lambda m, x: (kl_of_units(m, x) > 0.1) & (slopes(m, x, codes(m, x)).mean(0) > 1e-3),
        "constant means",
    ),
    "zero for the code": (lambda m, x: lost(m, x, codes(m, x), torch.zeros_like) > 0.1, "constant means"),
    "the prior for the code": (lambda m, x: lost(m, x, codes(m, x), torch.randn_like) > 0.1, "constant means"),
    "samples that move the drawing": (upset, "constant means"),
    "zero for a sample": (
        lambda m, x: lost(m, x, samples(m, x), torch.zeros_like).abs() > 0.05,
        "constant means",
    ),
    "more than the mean unit": (
        lambda m, x: (it := lost(m, x, codes(m, x), shuffled)) > it.mean() / 2 - 1e-6,
        "a deaf decoder",
    ),
    "the first half": (lambda m, x: torch.arange(8) < 4, "idle units"),
    "all": (lambda m, x: torch.ones(8, dtype=torch.bool), "idle units"),
    "none": (lambda m, x: [False] * 8, "idle units"),
}


@pytest.mark.parametrize(("answer", "case"), WRONG_USED.values(), ids=WRONG_USED)
def test_units_that_only_seem_in_use_are_refused(ask, answer, case):
    assert ask(exercise, "used", answer).startswith(f"○ used is open: wrong on {case}: it calls unit ")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda m, x: None, "it returns nothing yet"),
        (lambda m, x: lost(m, x, codes(m, x), shuffled), "expected True or False for each unit, got numbers"),
        (lambda m, x: 4, r"expected one truth value for each of 8 units, got the shape ()"),
        (lambda m, x: codes(m, x) > 0, "expected one truth value for each of 8 units, got the shape (600, 8)"),
        (lambda m, x: m.nothing, "it raises AttributeError"),
    ],
)
def test_what_is_no_truth_value_for_each_unit_is_refused(ask, answer, message):
    assert message in ask(exercise, "used", answer)


def test_an_answer_may_spoil_its_model_and_images_but_wins_nothing(ask):
    def spoil(model, x):
        found = lecture13.used(model, x)
        model.decoder[0].weight.zero_()
        x.zero_()
        return found

    assert ask(exercise, "used", spoil).startswith("✓")
    assert ask(exercise, "used", lambda m, x: (spoil(m, x), spoil(m, x))[1]).startswith("○ used is open: wrong on")
