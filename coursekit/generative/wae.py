"""Wasserstein autoencoders: reconstruct, and keep the codes of the data, all of them together, like the prior.

By theorem 1 of the paper, W between the data and the samples of a decoder G is the least reconstruction cost
E c(x, G(z)) over all encoders Q(z|x) with the aggregate posterior Q_z = E_x Q(z|x) equal to the prior P_z. A `WAE`
replaces this constraint by a penalty:

    E ‖x − G(E(x))‖² + λ · D(Q_z, P_z)

The squared error is summed over the pixels of an image and averaged over images: λ is counted on that scale.

>>> from torch import nn
>>> from coursekit.training import fit
>>> step = WAE(nn.Linear(5, 2), nn.Linear(2, 5), latent=2, weight=10.0, lr=1e-2)
>>> history = fit(step, torch.randn(64, 5), epochs=2, batch_size=32, device="cpu", progress=False)
>>> sorted(history.losses)
['penalty', 'reconstruction']

Source: I. Tolstikhin, O. Bousquet, S. Gelly and B. Schölkopf, Wasserstein auto-encoders, ICLR 2018.
"""

from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from coursekit.distances import imq, mmd2
from coursekit.generative.gan import discriminator_loss, generator_loss, judged, learned, real_gradient_penalty
from coursekit.validation import require_choice, require_floating, require_instance, require_integer, require_number

Penalty = Literal["mmd", "gan"]


def latent_mmd2(codes: Float[Tensor, "n k"], prior: Float[Tensor, "m k"], sigma: float = 1.0) -> Float[Tensor, ""]:
    """Estimate MMD² between codes and draws of N(0, σ²I) with the kernel C/(C + ‖z − z′‖²), C = 2kσ², without bias.

    Raises:
        TypeError, ValueError: as for `mmd2`; σ ≤ 0.

    >>> latent_mmd2(torch.zeros(3, 1), torch.zeros(3, 1)).item()
    0.0
    """
    sigma = require_number(sigma, "sigma", above=0)
    require_floating(codes, "codes", "n k")
    return mmd2(codes, prior, imq(2 * codes.shape[1] * sigma**2))


class WAE:
    """One step for each batch: encoder and decoder go down the squared error plus λ times the penalty.

    - ``"mmd"``: `latent_mmd2` between the codes of the batch and as many draws of the prior. It has no nets of its own
      and can be negative, because it is unbiased.
    - ``"gan"``: a discriminator of codes tells draws of the prior ("real") from codes of data. It moves first; then the
      encoder goes down −E log D(E(x)), the non-saturating loss.

    Args:
        encoder: x -> codes (n, latent).
        decoder: codes -> outputs of the shape of x.
        latent: k, the length of a code; the prior is N(0, σ²I).
        penalty: "mmd" or "gan".
        weight: λ ≥ 0, against the squared error *summed* over the pixels and averaged over images. 0 is an autoencoder.
        discriminator: codes -> logits, (n,) or (n, 1); for the penalty "gan" only.
        sigma: σ of the prior.
        r1: the weight of `real_gradient_penalty` at draws and codes in the loss of the discriminator; the paper has 0.
        lr: learning rate of Adam.
        discriminator_lr: that of the discriminator, with β₁ = ½; ``lr`` unless given.

    Raises:
        TypeError: a net is no module; latent is no integer.
        ValueError: latent < 1, λ < 0, r1 < 0, σ ≤ 0 or a learning rate ≤ 0; the penalty is unknown; a discriminator is
            missing for "gan", or given for "mmd". When called: a batch of one image with "mmd"; the nets give codes or
            outputs of another shape.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        latent: int,
        *,
        penalty: Penalty = "mmd",
        weight: float = 10.0,
        discriminator: nn.Module | None = None,
        r1: float = 0.0,
        sigma: float = 1.0,
        lr: float = 1e-3,
        discriminator_lr: float | None = None,
    ) -> None:
        self.encoder = require_instance(encoder, "encoder", nn.Module)
        self.decoder = require_instance(decoder, "decoder", nn.Module)
        self.latent = require_integer(latent, "latent", low=1)
        self.penalty: Penalty = penalty
        require_choice(penalty, "penalty", get_args(Penalty))
        self.weight = require_number(weight, "weight", low=0)
        self.sigma = require_number(sigma, "sigma", above=0)
        self.r1 = require_number(r1, "r1", low=0)
        lr = require_number(lr, "lr", above=0)
        fast = lr if discriminator_lr is None else require_number(discriminator_lr, "discriminator_lr", above=0)
        if (discriminator is not None) != (penalty == "gan"):
            raise ValueError('discriminator: the penalty "gan" needs one, and "mmd" has no use for it')
        self.discriminator = discriminator
        self.optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr, fused=True)
        self.state: dict[str, Any] = {"encoder": encoder, "decoder": decoder, "optimizer": self.optimizer}
        if discriminator is not None:
            require_instance(discriminator, "discriminator", nn.Module)
            self.for_discriminator = torch.optim.Adam(discriminator.parameters(), fast, (0.5, 0.999), fused=True)
            self.state |= {"discriminator": discriminator, "discriminator optimizer": self.for_discriminator}

    def __call__(self, x: Tensor) -> dict[str, Tensor]:
        z = self.encoder(x)  # (n, k)
        if z.shape != (len(x), self.latent):
            raise ValueError(f"the encoder gives codes of shape {tuple(z.shape)}, expected {(len(x), self.latent)}")
        y = require_floating(self.decoder(z), "decoder(z)")
        if y.shape != x.shape:
            raise ValueError(f"the decoder gives outputs of shape {tuple(y.shape)}, expected {tuple(x.shape)}")
        prior = self.sigma * torch.randn_like(z)

        # The discriminator moves first, with codes that it cannot change.
        losses = {} if self.discriminator is None else {"discriminator": self._improve_discriminator(prior, z.detach())}

        # The encoder and the decoder go down the squared error, and the encoder the penalty.
        error = (x - y).square().flatten(1).sum(dim=1).mean()
        judge = self.discriminator
        penalty = latent_mmd2(z, prior, self.sigma) if judge is None else generator_loss(judged(judge, z))
        self.optimizer.zero_grad()
        (error + self.weight * penalty).backward(inputs=learned(self.encoder) + learned(self.decoder))
        self.optimizer.step()
        return {"reconstruction": error.detach(), "penalty": penalty.detach()} | losses

    def _improve_discriminator(self, prior: Float[Tensor, "n k"], codes: Float[Tensor, "n k"]) -> Float[Tensor, ""]:
        assert self.discriminator is not None
        loss = discriminator_loss(judged(self.discriminator, prior), judged(self.discriminator, codes))
        slope = real_gradient_penalty(self.discriminator, torch.cat([prior, codes])) if self.r1 else 0.0
        self.for_discriminator.zero_grad()
        (loss + self.r1 * slope).backward()
        self.for_discriminator.step()
        return loss.detach()
