"""The exercises on generative adversarial networks accept what is right in any form, and say what is wrong."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture

from coursekit import datasets
from coursekit.exercises.lecture14 import exercise, my_generator
from coursekit.generative import discriminator_loss, generator_loss

# --- the best discriminator

RIGHT_D = {
    "from the odds": lambda p, q, a=0.5: torch.where(p > 0, 1 / (1 + (1 - a) * q / (a * p)), torch.zeros_like(p)),
    "the sigmoid of the log-ratio": lambda p, q, a=0.5: (p.log() - q.log() + math.log(a / (1 - a))).sigmoid(),
    "softmax": lambda p, q, a=0.5: torch.stack([a * p, (1 - a) * q]).log().softmax(dim=0)[0],
    "1 − the other": lambda p, q, a=0.5: 1 - (1 - a) * q / (a * p + (1 - a) * q),
    "NumPy": lambda p, q, a=0.5: a * p.numpy() / (a * p.numpy() + (1 - a) * q.numpy()),
}
FORMS = "the same density twice, a wide model, a shifted model, a model where there are no data"


@pytest.mark.parametrize("answer", RIGHT_D.values(), ids=RIGHT_D)
def test_the_best_discriminator_in_any_form(ask, answer):
    assert ask(exercise, "optimal_d", answer) == f"✓ optimal_d: right on {FORMS}, one real image in ten"


WRONG_D = {
    "swapped": (lambda p, q, a=0.5: q / (p + q), "right on the same density twice; wrong on a wide model"),
    "½": (lambda p, q, a=0.5: torch.full_like(p, 0.5), "right on the same density twice; wrong on a wide model"),
    "the ratio": (lambda p, q, a=0.5: p / q, "wrong on the same density twice"),
    "the log-ratio": (lambda p, q, a=0.5: p.log() - q.log(), "wrong on the same density twice"),
    "the sigmoid of the ratio": (lambda p, q, a=0.5: (p / q).sigmoid(), "wrong on the same density twice"),
    "the sigmoid of the difference": (lambda p, q, a=0.5: (p - q).sigmoid(), "wrong on a wide model"),
    "a decision": (lambda p, q, a=0.5: (p > q).double(), "wrong on the same density twice"),
    "the mixture": (lambda p, q, a=0.5: (p + q) / 2, "wrong on the same density twice"),
    "in place": (lambda p, q, a=0.5: p.div_(p + q), "it changes its argument in place"),
    "nothing": (lambda p, q, a=0.5: None, "it returns nothing yet"),
    "the share ignored": (lambda p, q, a=0.5: p / (p + q), f"right on {FORMS}; wrong on one real image in ten"),
    "the share of the fakes": (lambda p, q, a=0.5: (1 - a) * p / ((1 - a) * p + a * q), "weighted by P(y) in Bayes"),
    "D of a half, times the share": (lambda p, q, a=0.5: 2 * a * p / (p + q), "wrong on one real image in ten"),
    "no share to pass": (lambda p, q: p / (p + q), f"right on {FORMS}; on one real image in ten it raises"),
    "no share to leave out": (lambda p, q, a: a * p / (a * p + (1 - a) * q), "on the same density twice it raises"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_D.values(), ids=WRONG_D)
def test_a_wrong_discriminator_is_open(ask, answer, message):
    assert message in ask(exercise, "optimal_d", answer)


# --- the losses

PRAISE = "right on a D that knows nothing, small logits, a D that is sure, a D that is wrong"


def by_cross_entropy(real, fake):
    loss = F.binary_cross_entropy_with_logits
    ones, zeros = torch.ones_like(fake), torch.zeros_like(fake)
    return loss(real, torch.ones_like(real)) + loss(fake, zeros), -loss(fake, zeros), loss(fake, ones)


RIGHT_LOSSES = {
    "softplus": lambda r, f: (
        F.softplus(-r).mean() + F.softplus(f).mean(),
        -F.softplus(f).mean(),
        F.softplus(-f).mean(),
    ),
    "logsigmoid": lambda r, f: (
        -F.logsigmoid(r).mean() - F.logsigmoid(-f).mean(),
        F.logsigmoid(-f).mean(),
        -F.logsigmoid(f).mean(),
    ),
    "cross-entropy": by_cross_entropy,
    "logaddexp": lambda r, f: [
        np.logaddexp(0, -r.numpy()).mean() + np.logaddexp(0, f.numpy()).mean(),
        -np.logaddexp(0, f.numpy()).mean(),
        np.logaddexp(0, -f.numpy()).mean(),
    ],
}


@pytest.mark.parametrize("answer", RIGHT_LOSSES.values(), ids=RIGHT_LOSSES)
def test_losses_in_any_form(ask, answer):
    assert ask(exercise, "gan_losses", answer) == f"✓ gan_losses: {PRAISE}"


def through_probabilities(real, fake):
    d_real, d_fake = real.sigmoid(), fake.sigmoid()
    return -d_real.log().mean() - (1 - d_fake).log().mean(), (1 - d_fake).log().mean(), -d_fake.log().mean()


def clamped(real, fake):
    d_real, d_fake = real.sigmoid().clamp(1e-7, 1 - 1e-7), fake.sigmoid().clamp(1e-7, 1 - 1e-7)
    return -d_real.log().mean() - (1 - d_fake).log().mean(), (1 - d_fake).log().mean(), -d_fake.log().mean()


def right(real, fake):
    return discriminator_loss(real, fake), generator_loss(fake, "saturating"), generator_loss(fake)


WRONG_LOSSES = {
    "−∞ at logit −800": (
        through_probabilities,
        "right on a D that knows nothing, small logits; wrong on a D that is sure",
    ),
    "clamped": (clamped, "right on a D that knows nothing, small logits; wrong on a D that is sure"),
    "the losses of G swapped": (lambda r, f: [right(r, f)[i] for i in (0, 2, 1)], "value 2: "),
    "the sign of D": (lambda r, f: (-right(r, f)[0], *right(r, f)[1:]), "value 1: "),
    "the sign of the saturating loss": (lambda r, f: (right(r, f)[0], -right(r, f)[1], right(r, f)[2]), "value 2: "),
    "real for fake": (lambda r, f: right(f, r), "right on a D that knows nothing; wrong on small logits"),
    "half": (lambda r, f: (right(r, f)[0] / 2, *right(r, f)[1:]), "value 1: "),
    "probabilities for logits": (lambda r, f: right(r.sigmoid(), f.sigmoid()), "wrong on a D that knows nothing"),
    "sums": (lambda r, f: (F.softplus(-r).sum() + F.softplus(f).sum(), *right(r, f)[1:]), "value 1: "),
    "the loss of D only": (lambda r, f: discriminator_loss(r, f), "expected 3 values"),
    "nothing": (lambda r, f: None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_LOSSES.values(), ids=WRONG_LOSSES)
def test_wrong_losses_are_open(ask, answer, message):
    assert message in ask(exercise, "gan_losses", answer)


# --- the gradient penalty


def by_grad(D, x, *, inner=lambda s: s.sum(), keep=True, squared=lambda slope: slope.square().sum(dim=1).mean() / 2):
    x = x.clone().requires_grad_()
    [slope] = torch.autograd.grad(inner(D(x)), x, create_graph=keep)
    return squared(slope)


def image_by_image(D, x):
    rows = [row.clone().requires_grad_() for row in x]
    slopes = [torch.autograd.grad(D(row), row, create_graph=True)[0] for row in rows]
    return torch.stack(slopes).square().sum() / 2 / len(x)


def by_vmap(D, x):
    return torch.func.vmap(torch.func.grad(lambda row: D(row)[0]))(x).square().sum(dim=1).mean() / 2


def by_jacobian(D, x):
    whole = torch.autograd.functional.jacobian(lambda it: D(it)[:, 0], x, create_graph=True)  # (m, m, d)
    return whole.diagonal().square().sum() / 2 / len(x)


def of_the_mean_times_m(D, x):
    return by_grad(D, x, inner=torch.mean) * len(x) ** 2


@pytest.mark.parametrize("answer", [by_grad, image_by_image, by_vmap, by_jacobian, of_the_mean_times_m])
def test_the_penalty_in_any_form(ask, answer):
    assert ask(exercise, "steepness", answer) == "✓ steepness: right on a line and on a net, and D can learn from it"


VALUE, NO_GRAPH = "on a line: expected 0.", "D cannot learn from it"
WRONG_PENALTIES = {
    "of the mean": (lambda D, x: by_grad(D, x, inner=torch.mean), "m times too small"),
    "no ½": (lambda D, x: by_grad(D, x, squared=lambda it: it.square().sum(dim=1).mean()), VALUE),
    "of D, not its logit": (lambda D, x: by_grad(lambda it: D(it).sigmoid(), x), VALUE),
    "the norm without its square": (lambda D, x: by_grad(D, x, squared=lambda it: it.norm(dim=1).mean() / 2), VALUE),
    "a mean over the pixels": (lambda D, x: by_grad(D, x, squared=lambda it: it.square().mean() / 2), VALUE),
    "a sum over the images": (lambda D, x: by_grad(D, x, squared=lambda it: it.square().sum() / 2), VALUE),
    "one number an image": (
        lambda D, x: by_grad(D, x, squared=lambda it: it.square().sum(dim=1) / 2),
        "expected one number",
    ),
    "no graph": (lambda D, x: by_grad(D, x, keep=False), NO_GRAPH),
    "detached": (lambda D, x: by_grad(D, x).detach(), NO_GRAPH),
    "a number": (lambda D, x: by_grad(D, x).item(), NO_GRAPH),
    "another graph": (
        lambda D, x: by_grad(D, x).detach() + 0 * D(x).sum(),
        "its gradient by the weights of D is not",
    ),
    "nothing": (lambda D, x: None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_PENALTIES.values(), ids=WRONG_PENALTIES)
def test_a_wrong_penalty_is_open(ask, answer, message):
    assert message in ask(exercise, "steepness", answer)


# --- a generator


def choose(x, n):
    return x[torch.randint(len(x), (n,))]


def more_components(x, n):
    drawn, _ = GaussianMixture(15, reg_covar=3e-3, random_state=1).fit(x.double().numpy()).sample(n)
    return drawn.clip(0, 1)


def gaussians_around_centres(x, n):
    clusters = KMeans(20, n_init=1, random_state=0).fit(x.numpy())
    place = torch.from_numpy(clusters.labels_)
    rows = [x[place == k] for k in range(20)]
    laws = [torch.distributions.MultivariateNormal(it.mean(dim=0), it.T.cov() + 3e-3 * torch.eye(64)) for it in rows]
    of = torch.multinomial(place.bincount().double(), n, replacement=True).bincount(minlength=20)
    return torch.cat([law.sample((int(m),)) for law, m in zip(laws, of, strict=True)]).clamp(0, 1)


@pytest.mark.parametrize("answer", [my_generator, more_components, gaussians_around_centres])
def test_honest_generators_are_accepted(ask, answer):
    praise = (
        "a classifier is certain of 50% of the samples or more, they cover 60% of the held-out digits or more, "
        "no digit is rarer than 3%, at most 75% are nearer to training digits, and at most 10% are copies, "
        "also moved by a pixel or dimmed"
    )
    assert ask(exercise, "my_generator", answer) == f"✓ my_generator: {praise}"


def all_digits():
    """The digits that the check divides into those to learn from and those held out: (1797, 64)."""
    data = datasets.digits()
    return torch.cat([data.train.images, data.test.images]).flatten(1)


def labels_of(x):
    """The labels of the digits to learn from, which come first."""
    data = datasets.digits()
    return torch.cat([data.train.labels, data.test.labels])[: len(x)]


def class_means(x, n):
    labels = labels_of(x)
    return choose(torch.stack([x[labels == k].mean(dim=0) for k in range(10)]), n)


def one_gaussian(x, n):
    law = torch.distributions.MultivariateNormal(x.mean(dim=0), x.T.cov() + 1e-4 * torch.eye(64))
    return law.sample((n,)).clamp(0, 1)


def prototypes(x, n):
    centres = KMeans(100, n_init=1, random_state=0).fit(x.numpy()).cluster_centers_
    return choose(torch.from_numpy(centres), n)


def between_neighbours(x, n):
    start = torch.randint(len(x), (n,))
    partner = torch.cdist(x, x).topk(2, largest=False).indices[start, 1]
    return x[start].lerp(x[partner], torch.rand(n, 1))


def held_out(x, n):
    return choose(all_digits()[len(x) :], n)


def moved_by_a_pixel(rows):
    wide = F.pad(rows.view(-1, 8, 8), (1, 1, 1, 1))
    up, down, left, right = wide[:, 2:, 1:-1], wide[:, :-2, 1:-1], wide[:, 1:-1, 2:], wide[:, 1:-1, :-2]
    each = torch.stack([it.flatten(1) for it in (up, down, left, right)])
    return each[torch.randint(4, (len(rows),)), torch.arange(len(rows))]


def copies_among_a_mixture(fraction, change=moved_by_a_pixel):
    """Copies that are changed, which a comparison pixel by pixel lets pass, and honest samples."""

    def generator(x, n):
        copies = round(fraction * n)
        honest = my_generator(x, n)[torch.randperm(n)[: n - copies]]
        return torch.cat([change(choose(x, copies)), honest])

    return generator


def ignores_x(rows):
    """A mixture of the course's digits in these rows, whatever it is given: no copies, but not learned from x."""

    def generator(x, n):
        return my_generator(all_digits()[rows], n)

    return generator


def nine_digits(x, n):
    """Mode collapse: a mixture that never learned the digit 0."""
    return my_generator(x[labels_of(x) != 0], n)


def copies_among_centres(fraction, noise=0.0):
    """Copies, mixed with ten centres, which are nearer to held-out digits as often as not."""

    def generator(x, n):
        copies = round(fraction * n)
        centres = torch.from_numpy(KMeans(10, n_init=1, random_state=0).fit(x.numpy()).cluster_centers_)
        return torch.cat([choose(x, copies) + noise * torch.randn(copies, 64), choose(centres, n - copies)])

    return generator


HIDDEN = "Copies are not new digits, even where other samples are new"
COPIES, NARROW, NO_DIGITS = "Copies are nearer", "cover too few", "A mixture of two digits is no digit"
WRONG_GENERATORS = {
    "memory": (choose, COPIES),
    "ten memorised digits": (lambda x, n: choose(x[:10], n), COPIES),
    "memory with noise": (lambda x, n: choose(x, n) + 0.1 * torch.randn(n, 64), COPIES),
    "100 prototypes": (prototypes, COPIES),
    "between neighbours": (between_neighbours, COPIES),
    "30 % copies among centres": (copies_among_centres(0.3), HIDDEN),
    "20 % copies among centres": (copies_among_centres(0.2), HIDDEN),
    "35 % copies with noise 0.05": (copies_among_centres(0.35, 0.05), HIDDEN),
    "35 % copies with noise 0.1": (copies_among_centres(0.35, 0.1), HIDDEN),
    "20 % moved copies among a mixture": (copies_among_a_mixture(0.2), HIDDEN),
    "40 % moved copies among a mixture": (copies_among_a_mixture(0.4), HIDDEN),
    "30 % dimmed copies among a mixture": (copies_among_a_mixture(0.3, lambda it: 0.7 * it), HIDDEN),
    "20 % dim copies among a mixture": (copies_among_a_mixture(0.2, lambda it: 0.5 * it), HIDDEN),
    "30 % pale copies among a mixture": (copies_among_a_mixture(0.3, lambda it: 0.7 * it + 0.2), HIDDEN),
    "a mixture of the held-out digits": (ignores_x(slice(700, 1400)), "it does not learn from x"),
    "a mixture of all digits": (ignores_x(slice(0, 1400)), "it does not learn from x"),
    "the held-out digits": (held_out, "Learn from x alone"),
    "half held-out digits, half a Gaussian": (
        lambda x, n: torch.cat([held_out(x, n // 2), one_gaussian(x, n - n // 2)]),
        "Learn from x alone",
    ),
    "nine digits": (nine_digits, "leave a digit out"),
    "class means": (class_means, NARROW),
    "class means with noise": (lambda x, n: class_means(x, n) + 0.1 * torch.randn(n, 64), NARROW),
    "a Gaussian": (one_gaussian, NARROW),
    "noise": (lambda x, n: torch.rand(n, 64), NARROW),
    "the mean of two digits": (lambda x, n: (choose(x, n) + choose(x, n)) / 2, NO_DIGITS),
    "in place": (lambda x, n: choose(x.mul_(0.9), n), "it changes the digits that it learns from"),
    "too few": (lambda x, n: x[:3], "expected 500 digits of 64 pixels"),
    "NaN": (lambda x, n: choose(x, n) * torch.nan, "NaN or infinite"),
    "nothing": (lambda x, n: None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_GENERATORS.values(), ids=WRONG_GENERATORS)
def test_generators_that_are_none_are_open(ask, answer, message):
    torch.manual_seed(0)
    assert message in ask(exercise, "my_generator", answer)
