"""Wasserstein GAN: a critic f with a bounded slope estimates a multiple of W₁, and the generator goes down it.

    W₁(P, P_θ) = sup over f with slope ≤ 1 of  E f(x) − E f(G_θ(z))

The slope is bounded by clipping the weights of f to [−c, c] (Arjovsky, Chintala and Bottou, ICML 2017), or by a penalty
on its gradient (Gulrajani et al., NeurIPS 2017). A `WGAN` is a step for `coursekit.training.fit`.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from coursekit.generative.gan import Noise, Turns, draw, gradients_at, judged, learned, optimizers_of, require_noise
from coursekit.validation import require_floating, require_instance, require_integer, require_number, require_same_shape


def clip_weights(critic: nn.Module, c: float) -> None:
    """Move every weight of the critic into [−c, c], in place, after each update.

    The critic has then *some* bounded slope K, which nobody knows, and estimates at most K · W₁ (erratum E39).
    """
    require_instance(critic, "critic", nn.Module)
    c = require_number(c, "c", above=0)
    with torch.no_grad():
        for weight in critic.parameters():
            weight.clamp_(-c, c)


def gradient_penalty(
    critic: nn.Module, real: Float[Tensor, " n *d"], fake: Float[Tensor, " n *d"]
) -> Float[Tensor, ""]:
    """Compute E(‖∇f(x̂)‖ − 1)² at points x̂ drawn uniformly between a real and a fake sample each.

    With the weight λ it lets f be a little too steep: the best slope is about 1 + W₁/2λ.

    Raises:
        ValueError: real and fake differ in shape.
    """
    require_same_shape(require_floating(real, "real", "n ..."), require_floating(fake, "fake"), "real, fake")
    mix = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device, dtype=real.dtype)
    between = mix * real.detach() + (1 - mix) * fake.detach()
    return (gradients_at(critic, between).norm(dim=1) - 1).square().mean()


class WGAN:
    """One step of the algorithm for each batch: f goes up, and after every n_critic-th one G goes down.

    A step returns the estimate E f(x) − E f(G(z)), and the loss −E f(G(z)) of G, at the samples of f's half before its
    update.

    The defaults are those of the paper: RMSProp with a learning rate of 5e-5, c = 0.01 and n_critic = 5. The slide's
    loop runs n_critic + 1 times (erratum E41).

    Args:
        generator: z -> samples of the shape of the data.
        critic: samples -> numbers, (n,) or (n, 1), without a sigmoid at the end.
        noise: the length of z ~ N(0, I), or a function from n to noise (n, ...).
        n_critic: the updates of f for each one of G.
        clip: c; 0.01 unless there is a penalty.
        penalty: the weight of `gradient_penalty`, which takes the place of clipping; 10 is usual.
        lr: learning rate of RMSProp, or of Adam with β = (0, 0.9) if there is a penalty; 5e-5 and 1e-4 unless given.
        optimizers: others, of G and of f.

    Raises:
        TypeError: a net is no module; noise is neither an integer nor a function.
        ValueError: n_critic < 1; clip or penalty ≤ 0, or both are given; lr and optimizers are both given;
            an optimizer updates no parameter of its net.
    """

    def __init__(
        self,
        generator: nn.Module,
        critic: nn.Module,
        noise: Noise,
        *,
        n_critic: int = 5,
        clip: float | None = None,
        penalty: float | None = None,
        lr: float | None = None,
        optimizers: tuple[Optimizer, Optimizer] | None = None,
    ) -> None:
        self.generator = require_instance(generator, "generator", nn.Module)
        self.critic = require_instance(critic, "critic", nn.Module)
        self.noise = require_noise(noise)
        self.turns = Turns(require_integer(n_critic, "n_critic", low=1))
        if clip is not None and penalty is not None:
            raise ValueError("clip and penalty both bound the slope of the critic: give one of them")
        self.penalty = None if penalty is None else require_number(penalty, "penalty", above=0)
        self.clip = None if penalty is not None else require_number(0.01 if clip is None else clip, "clip", above=0)
        self.for_generator, self.for_critic = optimizers_of(
            (generator, critic),
            lr,
            optimizers,
            (lambda net, lr: torch.optim.RMSprop(net.parameters(), lr))
            if self.penalty is None
            else (lambda net, lr: torch.optim.Adam(net.parameters(), lr, (0.0, 0.9))),
            usual=5e-5 if self.penalty is None else 1e-4,
        )
        self.state = {
            "generator": generator,
            "critic": critic,
            "generator optimizer": self.for_generator,
            "critic optimizer": self.for_critic,
            "turns": self.turns,
        }

    def __call__(self, real: Tensor) -> dict[str, Tensor]:
        # f goes up its estimate E f(x) − E f(G(z)), and is then brought back to a bounded slope.
        with torch.no_grad():
            fake = self.generator(draw(self.noise, len(real), real))
        require_same_shape(real, fake, "real, generator(z)")
        at_fake = judged(self.critic, fake).mean()
        estimate = judged(self.critic, real).mean() - at_fake
        loss = -estimate
        if self.penalty is not None:
            loss = loss + self.penalty * gradient_penalty(self.critic, real, fake)
        self.for_critic.zero_grad()
        loss.backward()
        self.for_critic.step()
        if self.clip is not None:
            clip_weights(self.critic, self.clip)

        # In its turn, G goes down −E f(G(z)): the part of the estimate that depends on it.
        if self.turns.next():
            g_loss = -self.critic(self.generator(draw(self.noise, len(real), real))).mean()
            self.for_generator.zero_grad()
            g_loss.backward(inputs=learned(self.generator))
            self.for_generator.step()
        return {"estimate": estimate.detach(), "generator": -at_fake.detach()}
