"""Exercises of lecture 14: the best discriminator, the losses of both players, a penalty, and samples, not copies."""

import functools

import torch
from torch import Tensor, nn

from coursekit import datasets
from coursekit.exercises.checking import Answer, Exercise, Exercises, Wrong, by_cases, require_result
from coursekit.exercises.trained import trained_classifier
from coursekit.generative import (
    coverage,
    discriminator_loss,
    generator_loss,
    nearer_to_training,
    optimal_discriminator,
    real_gradient_penalty,
)

HALF, SAMPLES = 700, 500  # digits to learn from, as many held out, and samples that the check asks for
RAREST = 0.03  # of the samples at least are of each digit, as a classifier sees them
CONFIDENT, COVERED = 0.5, 0.6  # at least so much: the mixture below has 0.70 and 0.80, one Gaussian 0.21 and 0.28
FURTHER, NEARER = 0.25, 0.75  # between which the fraction nearer to training digits must lie: the mixture has 0.63
CLOSE, COPIED = 0.6, 0.1  # a copy is that much closer to training than to held-out digits; at most so many are copies
FOLLOWS = 0.9  # given the negatives of the digits, at least so many samples are nearer to these than to the digits


def optimal_d(p_data: Tensor, p_model: Tensor, share: float = 0.5) -> Tensor:
    """The best D where this share of the images is real, from both densities at the same points: (n,), (n,) → (n,)."""
    return optimal_discriminator(share * p_data, (1 - share) * p_model)


def gan_losses(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """From the logits of D, (n,) and (m,): −v, and the saturating and the non-saturating loss of G."""
    return discriminator_loss(real, fake), generator_loss(fake, "saturating"), generator_loss(fake)


def steepness(D: nn.Module, x: Tensor) -> Tensor:
    """The gradient penalty without its weight: ½ E‖∇s(x)‖² of the logit s at the data x (m, d)."""
    return real_gradient_penalty(D, x)


def check_steepness(answer: Answer) -> str:
    """The value, and its gradient by the weights of D, on a line and on a net."""
    torch.manual_seed(0)
    players = {"a line": nn.Linear(3, 1), "a net": nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))}
    for name, D in players.items():
        x = torch.randn(5, 3)
        got, want = answer(D, x), real_gradient_penalty(D, x)
        value = require_result(got, (), "one number")
        if abs(value.item() - want.item()) > 1e-5 * (1 + want.item()):
            raise Wrong(
                f"on {name}: expected {want.item():.4f}, got {value.item():.4f}. Each image has a gradient of its own "
                "(in that of a mean over the batch it is m times too small); sum its squares over the pixels, average "
                "over the images, halve"
            )
        if not (isinstance(got, Tensor) and got.requires_grad):
            raise Wrong("D cannot learn from it: the gradient needs create_graph=True")
        # A gradient by a weight that the penalty does not depend on, the bias of a line, is 0.
        mine, its = (
            torch.autograd.grad(it, list(D.parameters()), allow_unused=True, materialize_grads=True)
            for it in (got, want)
        )
        if any((a - b).abs().max() > 1e-4 for a, b in zip(mine, its, strict=True)):
            raise Wrong(f"on {name}: the value is right, its gradient by the weights of D is not")
    return "right on a line and on a net, and D can learn from it"


def my_generator(x: Tensor, n: int) -> Tensor:
    """Draw n new digits (n, 64) after learning from the digits x (m, 64), here with a mixture of Gaussians."""
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(10, reg_covar=3e-3, random_state=0).fit(x.double().numpy())
    drawn, _ = mixture.sample(n)  # (n, 64), sorted by component
    return torch.from_numpy(drawn).to(x).clamp(0, 1)


def check_my_generator(answer: Answer) -> str:
    """The samples look like digits to a classifier, cover digits that nobody showed them, and are no copies."""
    training, held_out = _digits()
    given = training.clone()
    drawn = require_result(answer(given, SAMPLES), (SAMPLES, 64), f"{SAMPLES} digits of 64 pixels").to(training)
    if not torch.equal(given, training):
        raise Wrong("it changes the digits that it learns from; return new ones instead")
    p = _classifier()(drawn).softmax(dim=1)  # (n, 10)
    confidence, rarest = p.amax(dim=1), p.argmax(dim=1).bincount(minlength=10).min().item() / len(p)
    confident = (confidence >= 0.9).double().mean().item()
    covered, nearer = coverage(held_out, drawn), nearer_to_training(drawn, training, held_out)
    # Every digit may also move by a pixel and have another brightness and contrast, or such copies would pass.
    alike = _in_one_contrast(drawn)
    to_training, to_held_out = (
        torch.cdist(alike, _in_one_contrast(_moved(it))).amin(dim=1) for it in (training, held_out)
    )  # (n,)
    closer = to_training < CLOSE * to_held_out
    copied = closer.double().mean().item()
    measured = f"confident {confident:.0%}, covered {covered:.0%}, nearer to training {nearer:.0%}"
    if nearer > NEARER:
        raise Wrong(
            f"{measured}: at most {NEARER:.0%} of the samples may be nearer to a training digit than to each of as "
            "many held-out digits. Copies are nearer, with noise or without, and so is a kernel density estimate of "
            "small width: try a larger one"
        )
    # The fraction above is an average: new samples that are nearer to held-out digits would hide copies in it.
    if copied > COPIED:
        raise Wrong(
            f"{measured}: {copied:.0%} of the samples lie on a training digit, moved by a pixel, dimmed or neither, or "
            f"very near it, wanted at most {COPIED:.0%}. Copies are not new digits, even where other samples are new"
        )
    leaked = (to_held_out < CLOSE * to_training).double().mean().item()
    if leaked > COPIED:
        raise Wrong(
            f"{measured}: {leaked:.0%} of the samples lie on a held-out digit or very near it. Learn from x alone"
        )
    if nearer < FURTHER:
        raise Wrong(
            f"{measured}: samples that know nothing of the held-out digits are about as near to either half, so at "
            f"least {FURTHER:.0%} must be nearer to a training digit. Learn from x alone"
        )
    if covered < COVERED:
        raise Wrong(
            f"{measured}: the samples cover too few of the held-out digits, wanted {COVERED:.0%}. Do they vary as "
            "much as real digits do, and in the same directions?"
        )
    if rarest < RAREST:
        raise Wrong(
            f"{measured}: a classifier finds one of the ten digits in {rarest:.0%} of the samples, wanted at least "
            f"{RAREST:.0%}. Does it leave a digit out (mode collapse)?"
        )
    if confident < CONFIDENT:
        raise Wrong(
            f"{measured}: a classifier is 90 % certain of too few samples, wanted {CONFIDENT:.0%}. A mixture of two "
            "digits is no digit, and blur costs certainty too"
        )
    # What it draws must come from x: from the negatives of the digits it learns to draw negatives.
    negatives = require_result(answer(1 - training, SAMPLES), (SAMPLES, 64), f"{SAMPLES} digits of 64 pixels")
    away = [torch.cdist(negatives.to(training), it).amin(dim=1) for it in (1 - training, training)]  # (n,) each
    if (away[0] < away[1]).double().mean() < FOLLOWS:
        raise Wrong(
            "given the negatives of the digits, 1 − x, it does not draw negatives: it does not learn from x. Draw what "
            "x teaches, and nothing else"
        )
    return (
        f"a classifier is certain of {CONFIDENT:.0%} of the samples or more, they cover {COVERED:.0%} of the held-out "
        f"digits or more, no digit is rarer than {RAREST:.0%}, at most {NEARER:.0%} are nearer to training "
        f"digits, and at most {COPIED:.0%} are copies, also moved by a pixel or dimmed"
    )


def _moved(rows: Tensor) -> Tensor:
    """Digits (m, 64), and each moved by a pixel in every direction → (9m, 64)."""
    wide = nn.functional.pad(rows.view(-1, 8, 8), (1, 1, 1, 1))
    return torch.cat([wide[:, i : i + 8, j : j + 8].flatten(1) for i in range(3) for j in range(3)])


def _in_one_contrast(rows: Tensor) -> Tensor:
    """Digits (m, 64) of mean 0 and length 1, so that their brightness and contrast do not matter."""
    rows = rows - rows.mean(dim=1, keepdim=True)
    return rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-6)


@functools.cache
def _digits() -> tuple[Tensor, Tensor]:
    """Digits to learn from and digits held out, (700, 64) each."""
    data = datasets.digits()
    whole = torch.cat([data.train.images, data.test.images]).flatten(1)
    return whole[:HALF], whole[HALF : 2 * HALF]


@functools.cache
def _classifier() -> nn.Module:
    """A net that tells the classes of 8 × 8 digits (n, 64) apart."""
    data = datasets.digits()
    net = trained_classifier(
        lambda: nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)),
        data.train.images.flatten(1),
        data.train.labels,
        lr=3e-3,
        epochs=15,
    )
    return net.requires_grad_(False)


X = torch.linspace(-4, 4, 41, dtype=torch.float64)
WIDE, SHIFTED = (torch.distributions.Normal(mean, std).log_prob(X).exp() for mean, std in ((0.0, 2.0), (1.5, 1.2)))
ONE = torch.distributions.Normal(0.0, 1.0).log_prob(X).exp()
REAL, FAKE = torch.tensor([2.0, -0.5, 0.3]), torch.tensor([-1.0, 0.4])

exercise = Exercises(
    by_cases(
        optimal_d,
        {
            "the same density twice": (ONE, ONE),
            "a wide model": (ONE, WIDE),
            "a shifted model": (ONE, SHIFTED),
            "a model where there are no data": (torch.tensor([0.0, 0.4]), torch.tensor([0.3, 0.0])),
            "one real image in ten": (ONE, SHIFTED, 0.1),
        },
        hints={"one real image in ten": "p(x | y) is weighted by P(y) in Bayes' rule"},
    ),
    by_cases(
        gan_losses,
        {
            "a D that knows nothing": (torch.zeros(3), torch.zeros(2)),
            "small logits": (REAL, FAKE),
            "a D that is sure": (REAL + 800, FAKE - 800),
            "a D that is wrong": (REAL - 800, FAKE + 800),
        },
    ),
    Exercise(steepness, check_steepness),
    Exercise(my_generator, check_my_generator),
)
