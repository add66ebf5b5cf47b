"""Exercises of lecture 13: the divergence from the prior, the importance-weighted bound, and a code brought to life."""

import copy
import functools
import math

import torch
from torch import Tensor, nn

from coursekit import datasets
from coursekit.exercises.checking import Answer, Exercise, Exercises, Wrong, by_cases, require_module
from coursekit.generative import VAE, active_units, kl_to_prior
from coursekit.training import Descent, fit

HIDDEN, LATENT = 64, 8
ACTIVE, NATS = 4, 26.5  # what a revived code must reach on the test digits: active units, and −ELBO at most


def kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(μ, diag σ²) ‖ N(0, I)) of each row: (n, k), (n, k) → (n,)."""
    return (0.5 * (log_variance.exp() + mean**2) - 0.5 - 0.5 * log_variance).sum(dim=1)


def iwae(log_weights: Tensor) -> Tensor:
    """log (1/K) Σₖ wₖ from log wₖ: (K, n) → (n,)."""
    largest = log_weights.max(dim=0).values  # (n,), taken out so that nothing overflows
    return largest + (log_weights - largest).exp().mean(dim=0).log()


def revive(model: VAE, x: Tensor) -> nn.Module:
    """Train a collapsed VAE on x (n, 64) until its code is in use again, with a weight of the KL that grows to 1."""
    for weight, epochs in ((0.1, 10), (1.0, 20)):

        def loss(batch: Tensor, weight: float = weight) -> Tensor:
            mean, log_variance = model.encode(batch)  # (n, k) each
            z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
            return (weight * kl_to_prior(mean, log_variance) - model.log_likelihood(batch, z)).mean()

        fit(Descent(model, loss, lr=3e-3), x, epochs=epochs, batch_size=64, device="cpu", progress=False)
    return model


def check_revive(answer: Answer) -> str:
    """The answer's weights, in a fresh VAE, have active units that carry information about the test digits."""
    train, test = _digits()
    with torch.random.fork_rng(devices=[]):  # the student's random numbers stay as they are
        torch.manual_seed(0)
        got = require_module(answer(copy.deepcopy(_collapsed()), train.clone()))
    # Only the weights count: a model with another `elbo` would judge itself.
    judged = VAE(64, HIDDEN, LATENT)
    try:
        judged.load_state_dict(got.state_dict())
    except RuntimeError:
        raise Wrong(f"expected the weights of a VAE(64, {HIDDEN}, {LATENT}), as the one given to you") from None
    if not all(p.isfinite().all() for p in judged.parameters()):
        raise Wrong("a weight is NaN or infinite")
    active, nats = _quality(judged, test)
    if active < ACTIVE:
        raise Wrong(
            f"{active} of {LATENT} units are active on the test digits, wanted at least {ACTIVE}. A unit is active if "
            "its mean varies with x; a mean that is the same for every x says nothing, however large its KL"
        )
    if nats > NATS:
        raise Wrong(
            f"{active} of {LATENT} units are active, but −ELBO on the test digits is {nats:.1f} nats; wanted at most "
            f"{NATS}. The decoder must use the code: is the cross-entropy summed over the pixels?"
        )
    return f"at least {ACTIVE} of {LATENT} units are active, and −ELBO on the test digits is at most {NATS} nats"


@torch.no_grad()
def _quality(model: VAE, test: Tensor) -> tuple[int, float]:
    """The number of active units and −ELBO, of 20 samples, on the test digits (n, 64)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        nats = -model.elbo(test, samples=20).mean().item()
    nats = nats if math.isfinite(nats) else math.inf
    return int(active_units(model.encode(test)[0]).sum()), nats


@functools.cache
def _digits() -> tuple[Tensor, Tensor]:
    data = datasets.digits()
    return data.train.images.flatten(1), data.test.images.flatten(1)


@functools.cache
def _collapsed() -> VAE:
    """A VAE that has learned from the mean of the cross-entropy over the pixels instead of the sum."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = VAE(64, HIDDEN, LATENT)

    def loss(x: Tensor) -> Tensor:
        mean, log_variance = model.encode(x)
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        return (kl_to_prior(mean, log_variance) - model.log_likelihood(x, z) / x.shape[1]).mean()

    fit(Descent(model, loss, lr=3e-3), _digits()[0], epochs=15, batch_size=64, device="cpu", progress=False)
    return model


MEAN, LOG_VARIANCE = (
    torch.tensor([[0.0, 1.5, -2.0], [0.3, 0.0, 1.0]]),
    torch.tensor([[0.0, -1.0, 0.7], [1.2, -3.0, 0.0]]),
)
WEIGHTS = torch.tensor([[-1.0, 0.5], [-3.0, 2.0], [0.2, -1.5]])

exercise = Exercises(
    by_cases(
        kl,
        {
            "q = prior": (torch.zeros(2, 3), torch.zeros(2, 3)),
            "shifted means": (MEAN, torch.zeros(2, 3)),
            "other variances": (torch.zeros(2, 3), LOG_VARIANCE),
            "both": (MEAN, LOG_VARIANCE),
        },
    ),
    by_cases(
        iwae,
        {
            "one sample": (WEIGHTS[:1],),
            "equal weights": (torch.full((4, 2), -0.7),),
            "three samples": (WEIGHTS,),
            "weights as small as e⁻⁹⁰⁰": (WEIGHTS - 900,),
            "weights as large as e⁹⁰⁰": (WEIGHTS + 900,),
        },
    ),
    Exercise(revive, check_revive),
)
