"""Exercises of lecture 4: gradient ascent in the image, and attacks."""

import copy
import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coursekit import datasets
from coursekit.exercises.checking import Answer, Exercise, Exercises, Wrong, by_cases, require_result
from coursekit.exercises.trained import correctly_classified, trained_classifier
from coursekit.nets import convnet

X = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0], [2.0, 2.0, -1.0]])
W = torch.tensor([2.0, -1.0, 0.5])


def ascent_step(X: Tensor, gradient: Tensor, lr: float, penalty: float) -> Tensor:
    """One step of gradient ascent on S(X) − penalty · ‖X‖², given the gradient of S: like X."""
    return X + lr * (gradient - 2 * penalty * X)


def least_change(x: Tensor, w: Tensor, b: float, margin: float) -> Tensor:
    """The least change r (n, d) of the rows of x that moves their log odds wᵀx + b beyond 0 by the margin."""
    log_odds = x @ w + b  # (n,)
    return torch.outer((-margin * log_odds.sign() - log_odds) / (w @ w), w)


def worst_log_odds(x: Tensor, y: Tensor, w: Tensor, b: float, eps: float) -> Tensor:
    """The log odds of each label y (n,) ∈ {0, 1} after the worst change of at most eps a pixel: (n,)."""
    return (2 * y - 1) * (x @ w + b) - eps * w.abs().sum()


def my_attack(net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Images like ``images`` (n, 1, 8, 8) in [0, 1] that the net no longer reads as ``labels`` (n,)."""
    z = images.clone()
    for _ in range(500):
        # The direction in which the loss of the label grows fastest, one unit long for each image.
        z.requires_grad_()
        output = net(z)
        (gradient,) = torch.autograd.grad(F.cross_entropy(output, labels, reduction="sum"), z)
        direction = gradient / gradient.flatten(1).norm(dim=1).clamp_min(1e-9)[:, None, None, None]
        # A small step, for the images that the net still reads correctly.
        still_right = (output.argmax(dim=1) == labels)[:, None, None, None]
        z = torch.where(still_right, (z + 0.01 * direction).clamp(0, 1), z).detach()
    return z


@functools.cache
def _net() -> nn.Module:
    """A net that has learned to read digits."""
    data = datasets.digits()
    return trained_classifier(
        lambda: convnet(1, 8, 10, widths=(16,)), data.train.images, data.train.labels, lr=1e-2, epochs=5
    )


def check_my_attack(answer: Answer) -> str:
    """The answer changes what the net says to 50 digits, by little compared with the distance to another digit.

    The student's function gets a copy of the net, frozen; another copy judges. So it does not help to train the net.
    """
    data, net = datasets.digits(), _net()
    right = correctly_classified(net, data.test.images, data.test.labels, 50)
    images, labels = data.test.images[right], data.test.labels[right]
    handed = copy.deepcopy(net).requires_grad_(False)
    attacked = answer(handed, images.clone(), labels.clone())
    if any(not torch.equal(old, new) for old, new in zip(net.parameters(), handed.parameters(), strict=True)):
        raise Wrong("it changes the net; leave the weights as they are, and change the images only")
    attacked = require_result(attacked, tuple(images.shape), "one image for each digit").float()

    low, high = attacked.min().item(), attacked.max().item()
    if not (low >= 0 and high <= 1):
        raise Wrong(f"pixels must stay in [0, 1]; these go from {low:.3g} to {high:.3g}")
    if kept := len(correctly_classified(net, attacked, labels, len(labels))):
        raise Wrong(f"the net still reads {kept} of the {len(images)} digits correctly")
    # The yardstick is the distance to the nearest training image with another label.
    distances = torch.cdist(images.flatten(1), data.train.images.flatten(1))  # (50, n)
    nearest = distances.masked_fill(data.train.labels == labels[:, None], torch.inf).amin(dim=1)  # (50,)
    fraction = ((attacked - images).flatten(1).norm(dim=1) / nearest).mean().item()
    found = f"every answer changed, by {100 * fraction:.1f} % of the way to the nearest digit with another label"
    if fraction > 0.36:
        raise Wrong(
            f"{found}; wanted at most 36 %. Length is ‖r‖₂ here: follow the gradient itself (not its sign, and not a "
            "straight line to another digit), in small steps, and stop as soon as the answer changes"
        )
    if fraction <= 0.325:
        return f"{found}: as short as a search by L-BFGS (about 32 %), or shorter"
    if fraction > 0.334:
        return f"{found}; now beat `fool` of section 1 (33.4 % or less)"
    return f"{found}: shorter than `fool` of section 1 (about 34 %); a search by L-BFGS reaches about 32 %"


exercise = Exercises(
    by_cases(
        ascent_step,
        {
            "no penalty": (X, torch.ones(3, 3), 0.5, 0.0),
            "no gradient": (X, torch.zeros(3, 3), 0.5, 0.1),
            "both": (X, X.flip(0), 0.2, 0.7),
        },
    ),
    by_cases(
        least_change,
        {
            "positive log odds": (X[:1], W, 0.5, 0.0),
            "both signs": (X, W, 0.5, 0.0),
            "a margin": (X, W, -0.5, 0.3),
        },
    ),
    by_cases(
        worst_log_odds,
        {
            "no change": (X, torch.tensor([1, 0, 1]), W, 0.5, 0.0),
            "label 1": (X[:1], torch.tensor([1]), W, 0.5, 0.2),
            "both labels": (X, torch.tensor([0, 1, 0]), W, -0.5, 0.3),
        },
    ),
    Exercise(my_attack, check_my_attack),
)
