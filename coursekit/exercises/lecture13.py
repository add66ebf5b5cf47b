"""Exercises of lecture 13: the divergence from the prior, the importance-weighted bound, and the units in use."""

import copy
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coursekit import datasets
from coursekit.exercises.checking import NOTHING_YET, TOLERANCE, Answer, Exercise, Exercises, Wrong, by_cases, differs
from coursekit.generative import VAE

IMAGES = 600  # digits that a model is judged on
TRUE, UNITS = 4, 8  # units in use, and in all
HEARD, HIDDEN = 2 * TRUE, 16  # hidden units of the decoder that reach the pixels, and all of them


def kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(μ, diag σ²) ‖ N(0, I)) of each row: (n, k), (n, k) → (n,)."""
    return (0.5 * (log_variance.exp() + mean**2) - 0.5 - 0.5 * log_variance).sum(dim=1)


def iwae(log_weights: Tensor) -> Tensor:
    """log (1/K) Σₖ wₖ from log wₖ: (K, n) → (n,)."""
    largest = log_weights.max(dim=0).values  # (n,), taken out so that nothing overflows
    return largest + (log_weights - largest).exp().mean(dim=0).log()


def used(model: VAE, x: Tensor) -> Tensor:
    """Which units tell the decoder something about the images (n, d): (k,), True or False."""
    mean = model.encode(x)[0]  # (n, k)
    told = model.log_likelihood(x, mean).mean()
    lost = []
    for j in range(mean.shape[1]):
        other = mean.clone()
        other[:, j] = mean[:, j].roll(1)  # unit j tells of another image, all the others of this one
        lost.append(told - model.log_likelihood(x, other).mean())
    return torch.stack(lost) > 0.1


def check_kl(answer: Answer) -> str:
    """It is right on every case and hands the gradient on, through which the encoder learns."""
    praise = by_cases(kl, KL_CASES).check(answer)
    theirs, ours = ([it.clone().requires_grad_() for it in (MEAN, LOG_VARIANCE)] for _ in range(2))
    try:
        got = answer(*theirs)
    except RuntimeError:  # NumPy cannot read a tensor that needs a gradient
        got = None
    if not isinstance(got, Tensor) or not got.requires_grad:
        raise Wrong(
            f"{praise}; but it has no gradient, and the encoder learns through it: use torch alone, without detach(), "
            "item(), torch.tensor() or NumPy"
        )
    slopes = torch.autograd.grad(got.sum(), theirs, allow_unused=True)
    wanted = torch.autograd.grad(kl(*ours).sum(), ours)
    for name, right, slope in zip(("mean", "log-variance"), wanted, slopes, strict=True):
        if slope is None or differs(right, slope, TOLERANCE):
            raise Wrong(f"{praise}; but its gradient in the {name} is wrong: is a part of it detached?")
    return praise


def check_used(answer: Answer) -> str:
    """It finds the units in use of every model."""
    for seed, (name, (alter, hint)) in enumerate(MODELS.items()):
        model, wanted = _model(alter, seed)
        got = _truths(answer(model, _digits().clone()), name)
        for unit, (said, right) in enumerate(zip(got, wanted, strict=True)):
            if said != right:
                verdict = "not in use, but it is" if right else "in use, but it is not"
                raise Wrong(f"wrong on {name}: it calls unit {unit} {verdict}. {hint}")
    return f"right on {', '.join(MODELS)}"


def _truths(got: object, name: str) -> list[bool]:
    """The answer, one truth value for each unit."""
    if got is None or got is Ellipsis:
        raise Wrong(NOTHING_YET)
    values = got.detach().numpy() if isinstance(got, Tensor) else np.array(got)
    if values.shape != (UNITS,):
        raise Wrong(f"on {name}: expected one truth value for each of {UNITS} units, got the shape {values.shape}")
    if values.dtype != bool and not np.isin(values, (0, 1)).all():
        raise Wrong(f"on {name}: expected True or False for each unit, got numbers: where is the line between them?")
    return [bool(it) for it in values]


def _model(alter: Callable[[Any], set[int]], seed: int) -> tuple[VAE, list[bool]]:
    """An altered model with its units in random order, and which of them are in use."""
    model: Any = copy.deepcopy(_built())  # the parts of its nets have no types
    order = torch.randperm(UNITS, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        in_use = alter(model)
        for head in (model.encoder[2].mean, model.encoder[2].log_variance):
            head.weight.copy_(head.weight[order])
            head.bias.copy_(head.bias[order])
        model.decoder[0].weight.copy_(model.decoder[0].weight[:, order])
    return model, [it in in_use for it in order.tolist()]


@functools.cache
def _digits() -> Tensor:
    return datasets.digits().train.images.flatten(1)[:IMAGES]


@functools.cache
@torch.no_grad()
def _built() -> VAE:
    """A VAE whose first 4 units are principal components, each worth 1 nat or more; the rest are the prior.

    Its nets are linear, each number in two hidden units: a = relu(a) − relu(−a).
    """
    x = _digits()
    model: Any = VAE(64, HIDDEN, UNITS).requires_grad_(False)
    for parameter in model.parameters():
        parameter.zero_()
    p = x.mean(dim=0).clamp(0.02, 0.98)
    _, sizes, axes = torch.linalg.svd(x - p, full_matrices=False)
    axes, spread = axes[:TRUE], sizes[:TRUE, None] / len(x) ** 0.5  # (4, 64), (4, 1)
    narrow, heads = model.encoder[0], model.encoder[2]
    narrow.weight[:HEARD] = torch.cat([axes / spread, -axes / spread])
    narrow.bias.copy_(-narrow.weight @ p)
    for unit in range(TRUE):
        heads.mean.weight[unit, unit], heads.mean.weight[unit, unit + TRUE] = 1.0, -1.0
    heads.log_variance.bias[:TRUE] = -2.0
    first, last = model.decoder[0], model.decoder[2]
    first.weight[:HEARD, :TRUE] = torch.cat([torch.eye(TRUE), -torch.eye(TRUE)])
    pixels = (axes * spread).T / (p * (1 - p)).clamp(min=0.1)[:, None]  # (64, 4): a Newton step from the mean image
    last.weight[:, :HEARD] = torch.cat([pixels, -pixels], dim=1)
    last.bias.copy_(p.logit())
    built: VAE = model
    return built


# What is done to a model whose first TRUE units are in use; it returns the units in use afterwards.


def _as_trained(model: Any) -> set[int]:
    return set(range(TRUE))


def _constant(model: Any) -> set[int]:
    """The decoder listens to the idle units and counts on their constant mean."""
    heads, first = model.encoder[2], model.decoder[0]
    heads.mean.bias[TRUE:] = 3.0
    heads.log_variance.bias[TRUE:] = -4.0
    first.weight[:, TRUE:] = first.weight[:, :TRUE]
    first.bias -= 3.0 * first.weight[:, TRUE:].sum(dim=1)
    return set(range(TRUE))


def _noise(model: Any) -> set[int]:
    """The decoder listens a little to the noise of the idle units."""
    first = model.decoder[0]
    first.weight[:, TRUE:] = 0.3 * first.weight[:, :TRUE]
    return set(range(TRUE))


def _unheard(model: Any) -> set[int]:
    """The idle units repeat what the others say, but the decoder has no weights for them."""
    mean = model.encoder[2].mean
    mean.weight[TRUE:], mean.bias[TRUE:] = mean.weight[:TRUE], mean.bias[:TRUE]
    model.encoder[2].log_variance.bias[TRUE:] = -2.0
    return set(range(TRUE))


def _dead_end(model: Any) -> set[int]:
    """As before, and the decoder's first layer hears them, in hidden units with no way to the pixels."""
    in_use = _unheard(model)
    model.decoder[0].weight[HEARD:, TRUE:] = 2.0
    return in_use


def _small_scale(model: Any) -> set[int]:
    """The units in use speak softly, to a decoder that listens closely."""
    heads, first = model.encoder[2], model.decoder[0]
    heads.mean.weight[:TRUE] *= 0.01
    heads.mean.bias[:TRUE] *= 0.01
    heads.log_variance.bias[:TRUE] += 2 * math.log(0.01)
    first.weight[:, :TRUE] *= 100
    return set(range(TRUE))


def _whisper(model: Any) -> set[int]:
    """The idle units say a little, to a decoder that hears a little: far less than a thousandth of a nat."""
    mean, first = model.encoder[2].mean, model.decoder[0]
    mean.weight[TRUE:] = 0.005 * mean.weight[:TRUE]
    first.weight[:, TRUE:] = 0.005 * first.weight[:, :TRUE]
    return set(range(TRUE))


def _deaf(model: Any) -> set[int]:
    """The decoder hears nothing."""
    model.decoder[0].weight.zero_()
    return set()


MODELS = {
    "idle units": (_as_trained, "Those not in use are the prior for every image."),
    "constant means": (_constant, "A mean that is the same for every image tells nothing, whatever it costs."),
    "noise that the decoder hears": (_noise, "A unit that moves the drawing need not tell of the image."),
    "units that the decoder ignores": (_unheard, "A mean may vary, and the decoder may have no weight for it."),
    "a dead end in the decoder": (_dead_end, "A weight into a hidden unit is no way to the pixels."),
    "a code on a small scale": (_small_scale, "A mean of small variance is enough for large weights."),
    "a whisper": (_whisper, "A unit that moves the drawing by next to nothing is not in use: where is your line?"),
    "a deaf decoder": (_deaf, "No unit is in use: an order of the units does not tell that."),
}
MEAN, LOG_VARIANCE = (
    torch.tensor([[0.0, 1.5, -2.0], [0.3, 0.0, 1.0]]),
    torch.tensor([[0.0, -1.0, 0.7], [1.2, -3.0, 0.0]]),
)
WEIGHTS = torch.tensor([[-1.0, 0.5], [-3.0, 2.0], [0.2, -1.5]])

KL_CASES = {
    "q = prior": (torch.zeros(2, 3), torch.zeros(2, 3)),
    "shifted means": (MEAN, torch.zeros(2, 3)),
    "other variances": (torch.zeros(2, 3), LOG_VARIANCE),
    "both": (MEAN, LOG_VARIANCE),
    "five units": (torch.full((1, 5), 0.5), torch.full((1, 5), -0.4)),
}

exercise = Exercises(
    Exercise(kl, check_kl),
    by_cases(
        iwae,
        {
            "one sample": (WEIGHTS[:1],),
            "equal weights": (torch.full((4, 2), -0.7),),
            "three samples": (WEIGHTS,),
            "weights as small as e⁻⁹⁰⁰": (WEIGHTS - 900,),
            "weights as large as e⁹⁰⁰": (WEIGHTS + 900,),
            "images that differ by e⁹⁰⁰": (WEIGHTS - torch.tensor([0.0, 900.0]),),
            "samples of one image that differ by e⁹⁰⁰": (WEIGHTS - torch.tensor([[900.0], [0.0], [1800.0]]),),
        },
    ),
    Exercise(used, check_used),
)
