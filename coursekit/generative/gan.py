"""Generative adversarial networks: a generator G draws samples, and a discriminator D tells them from data.

D ends in a logit s, so that D(x) = sigmoid(s(x)) is the probability of "real". The game is

    min over G, max over D of  V = E log D(x) + E log(1 − D(G(z))).

A `GAN` is a step for `coursekit.training.fit`:

>>> from torch import nn
>>> from coursekit.training import fit
>>> generator, discriminator = nn.Linear(2, 1), nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
>>> game = GAN(generator, discriminator, noise=2, lr=1e-2)
>>> history = fit(game, 3 + torch.randn(256, 1), epochs=2, device="cpu", progress=False)
>>> sorted(history.losses)
['discriminator', 'generator']

Source: I. Goodfellow et al., Generative adversarial nets, NeurIPS 2014.
"""

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from coursekit.validation import (
    require_choice,
    require_floating,
    require_instance,
    require_integer,
    require_number,
    require_optimizer,
    require_same_dtype,
    require_same_shape,
    require_tensor,
)

Loss = Literal["non-saturating", "saturating"]
Noise = int | Callable[[int], Tensor]  # the length of z ~ N(0, I), or a function n -> z (n, ...)


def discriminator_loss(real: Float[Tensor, " n *_"], fake: Float[Tensor, " m *_"]) -> Float[Tensor, ""]:
    """Compute −E log D(x) − E log(1 − D(G(z))) from the logits of D, which stays finite for any logit.

    >>> discriminator_loss(torch.zeros(4), torch.zeros(4))  # of a D that knows nothing: 2 log 2
    tensor(1.3863)
    """
    require_floating(real, "real", "n ...")
    require_floating(fake, "fake", "n ...")
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def generator_loss(fake: Float[Tensor, " n *_"], loss: Loss = "non-saturating") -> Float[Tensor, ""]:
    """Compute what G minimizes from the logits of D at its samples.

    - ``"saturating"``: E log(1 − D(G(z))), the game itself. Its derivative by the logit is −D: nothing where D is sure.
    - ``"non-saturating"``: −E log D(G(z)). Its derivative is D − 1: largest where D is sure.

    >>> generator_loss(torch.tensor([-800.0]), "non-saturating"), generator_loss(torch.tensor([-800.0]), "saturating")
    (tensor(800.), tensor(-0.))
    """
    require_floating(fake, "fake", "n ...")
    require_choice(loss, "loss", get_args(Loss))
    return F.softplus(-fake).mean() if loss == "non-saturating" else -F.softplus(fake).mean()


def real_gradient_penalty(discriminator: nn.Module, real: Float[Tensor, " n *d"]) -> Float[Tensor, ""]:
    """Compute ½ E‖∇s(x)‖² of the logit s at the data (R₁): it keeps D from growing steep where the data are.

    Source:
        L. Mescheder, A. Geiger and S. Nowozin, Which training methods for GANs do actually converge?, ICML 2018.

    >>> line = nn.Linear(2, 1)
    >>> line.weight.data = torch.tensor([[3.0, 4.0]])
    >>> real_gradient_penalty(line, torch.rand(5, 2)).item()
    12.5
    """
    return gradients_at(discriminator, real).square().sum(dim=1).mean() / 2


def gradients_at(net: nn.Module, points: Float[Tensor, " n *d"]) -> Float[Tensor, "n k"]:
    """The gradient of the net at each point, flattened; a loss made of it can be differentiated by the weights."""
    points = require_floating(points, "points", "n ...").detach().requires_grad_()
    # The sum over the batch has each point's own gradient; create_graph, because it is differentiated again.
    [gradient] = torch.autograd.grad(judged(net, points).sum(), points, create_graph=True)
    return gradient.flatten(1)


def judged(net: nn.Module, points: Float[Tensor, " n *d"]) -> Float[Tensor, " n *_"]:
    """What a discriminator or critic says of each point: one number, neither their mean nor several."""
    values = require_floating(net(points), "discriminator(x)", f"{len(points)} ...")
    if values.numel() != len(points):
        raise ValueError(f"discriminator(x): expected one number for each point, got shape {tuple(values.shape)}")
    return values


def draw(noise: Noise, n: int, like: Tensor) -> Tensor:
    """Noise z for n samples, on the device and in the precision of ``like``."""
    if isinstance(noise, int):
        return torch.randn(n, noise).to(like)
    z = require_floating(noise(n), "noise(n)")
    if len(z) != n:
        raise ValueError(f"noise(n): expected n = {n} rows, got {len(z)}")
    return z.to(like)


def learned(net: nn.Module) -> list[nn.Parameter]:
    """The parameters that a step moves: those that are not frozen."""
    return [p for p in net.parameters() if p.requires_grad]


class Turns:
    """Counts the batches of a game: G moves after every k-th one.

    The count belongs in a checkpoint, so that a resumed run takes its turns as if it had not stopped.
    """

    def __init__(self, k: int) -> None:
        self.k = k
        self.batches = 0

    def next(self) -> bool:
        """Count a batch. Does G move after it?"""
        self.batches += 1
        return self.batches % self.k == 0

    def state_dict(self) -> dict[str, Any]:
        return {"batches": self.batches, "k": self.k}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.batches = state["batches"]


class GAN:
    """One step of the game for each batch of data: D goes up, and after every k-th batch G goes down.

    A step returns the losses of both players at the samples of D's half, before its update.

    Args:
        generator: z -> samples of the shape of the data.
        discriminator: samples -> logits, (n,) or (n, 1).
        noise: the length of z ~ N(0, I), or a function from n to noise (n, ...).
        k: the updates of D for each one of G. Every one of them sees a batch of its own.
        loss: of G, see `generator_loss`.
        penalty: the weight of `real_gradient_penalty` in the loss of D; none unless given.
        lr: learning rate of Adam with the momentum β₁ = ½ for both nets; 2e-4 unless given.
        optimizers: others, of G and of D.

    Raises:
        TypeError: a net is no module; noise is neither an integer nor a function.
        ValueError: k < 1; the loss is unknown; penalty ≤ 0; lr and optimizers are both given;
            an optimizer updates no parameter of its net.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        noise: Noise,
        *,
        k: int = 1,
        loss: Loss = "non-saturating",
        penalty: float | None = None,
        lr: float | None = None,
        optimizers: tuple[Optimizer, Optimizer] | None = None,
    ) -> None:
        self.generator = require_instance(generator, "generator", nn.Module)
        self.discriminator = require_instance(discriminator, "discriminator", nn.Module)
        self.noise = require_noise(noise)
        self.turns = Turns(require_integer(k, "k", low=1))
        require_choice(loss, "loss", get_args(Loss))
        self.loss: Loss = loss
        self.penalty = None if penalty is None else require_number(penalty, "penalty", above=0)
        self.for_generator, self.for_discriminator = optimizers_of(
            (generator, discriminator),
            lr,
            optimizers,
            lambda net, lr: torch.optim.Adam(net.parameters(), lr, (0.5, 0.999), fused=True),
        )
        self.state = {
            "generator": generator,
            "discriminator": discriminator,
            "generator optimizer": self.for_generator,
            "discriminator optimizer": self.for_discriminator,
            "turns": self.turns,
        }

    def __call__(self, real: Tensor) -> dict[str, Tensor]:
        # D goes down its loss, with samples that G does not learn from.
        with torch.no_grad():
            fake = self.generator(draw(self.noise, len(real), real))
        require_same_shape(real, fake, "real, generator(z)")
        at_real, at_fake = judged(self.discriminator, real), judged(self.discriminator, fake)  # logits
        d_loss = discriminator_loss(at_real, at_fake)
        loss = d_loss
        if self.penalty is not None:
            loss = loss + self.penalty * real_gradient_penalty(self.discriminator, real)
        self.for_discriminator.zero_grad()
        loss.backward()
        self.for_discriminator.step()

        # In its turn, G goes down its own loss, through D.
        if self.turns.next():
            fake = self.generator(draw(self.noise, len(real), real))
            g_loss = generator_loss(self.discriminator(fake), self.loss)
            self.for_generator.zero_grad()
            g_loss.backward(inputs=learned(self.generator))
            self.for_generator.step()
        return {"discriminator": d_loss.detach(), "generator": generator_loss(at_fake.detach(), self.loss)}


def require_noise(noise: Noise) -> Noise:
    """An integer ≥ 1, or a function."""
    if callable(noise):
        return noise
    return require_integer(noise, "noise", low=1)


def optimizers_of(
    nets: tuple[nn.Module, nn.Module],
    lr: float | None,
    given: tuple[Optimizer, Optimizer] | None,
    default: Callable[[nn.Module, float], Optimizer],
    usual: float = 2e-4,
) -> tuple[Optimizer, Optimizer]:
    """The optimizers given, or the default ones of the two nets."""
    if given is None:
        rate = usual if lr is None else require_number(lr, "lr", above=0)
        return default(nets[0], rate), default(nets[1], rate)
    if lr is not None:
        raise ValueError("lr belongs to the default optimizers: give lr or optimizers, not both")
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise TypeError("optimizers: expected a pair, of the generator and of its opponent")
    return (
        require_optimizer(given[0], "optimizers[0]", nets[0], "generator"),
        require_optimizer(given[1], "optimizers[1]", nets[1], "opponent"),
    )


def optimal_discriminator(p_data: Float[Tensor, " *n"], p_model: Float[Tensor, " *n"]) -> Float[Tensor, " *n"]:
    """Compute D*(x) = p_data(x) / (p_data(x) + p_model(x)) from the two densities, ½ where both are 0.

    Raises:
        TypeError: a density is not a tensor of float32 or float64, or they differ in dtype.
        ValueError: a density is negative or NaN, or they differ in shape.

    >>> optimal_discriminator(torch.tensor([0.3, 0.0]), torch.tensor([0.1, 0.0]))
    tensor([0.7500, 0.5000])
    """
    for value, name in ((p_data, "p_data"), (p_model, "p_model")):
        if require_tensor(value, name).min() < 0:
            raise ValueError(f"{name}: expected a density ≥ 0, got {value.min().item():.3g}")
    require_same_dtype(p_data, p_model, "p_data, p_model")
    require_same_shape(p_data, p_model, "p_data, p_model")
    total = p_data + p_model
    return torch.where(total > 0, p_data / total, 0.5)
