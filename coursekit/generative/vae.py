"""Variational autoencoders: a decoder p(x|z), a prior p(z) = N(0, I), and an encoder q(z|x) = N(μ, diag σ²).

All values are in nats and belong to one row of x each. Training maximizes their mean:

>>> from coursekit.training import Descent, fit
>>> x = (torch.rand(64, 12) < 0.5).float().repeat_interleave(2, dim=1)  # (64, 24): each bit twice
>>> model = VAE(24, hidden=32, latent=4)
>>> step = Descent(model, lambda x: -model.elbo(x).mean())
>>> history = fit(step, x, epochs=1, device="cpu", progress=False)

Source: D. Kingma and M. Welling, Auto-encoding variational Bayes, ICLR 2014; D. Rezende, S. Mohamed and D. Wierstra,
Stochastic backpropagation and approximate inference in deep generative models, ICML 2014.
"""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.distributions import LowRankMultivariateNormal

from coursekit.nets.blocks import (
    Activation,
    convolutional_decoder,
    convolutional_encoder,
    fully_connected,
    made_by,
    require_widths,
)
from coursekit.validation import (
    require_choice,
    require_floating,
    require_instance,
    require_integer,
    require_number,
    require_same_dtype,
    require_same_shape,
    require_tensor,
    require_unit_range,
)

Likelihood = Literal["bernoulli", "gaussian"]
LOG_2PI = math.log(2 * math.pi)


def kl_to_prior(mean: Float[Tensor, "n k"], log_variance: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
    """Compute KL(N(μ, diag σ²) ‖ N(0, I)) = ½ Σⱼ (σⱼ² + μⱼ² − 1 − log σⱼ²) for each row.

    Without the factor ½ the ELBO becomes the objective of a β-VAE with β = 2 (erratum E29).

    >>> kl_to_prior(torch.tensor([[0.0, 2.0]]), torch.tensor([[0.0, 0.0]]))
    tensor([2.])
    """
    require_floating(mean, "mean", "n k")
    require_floating(log_variance, "log_variance")
    require_same_shape(mean, log_variance, "mean, log_variance")
    return 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).sum(dim=1)


def bernoulli_log_likelihood(x: Float[Tensor, " n *d"], logits: Float[Tensor, " n *d"]) -> Float[Tensor, " n"]:
    """Compute log p(x|z) = Σᵢ xᵢ log aᵢ + (1 − xᵢ) log(1 − aᵢ) with a = sigmoid(logits).

    It is the negative binary cross-entropy, *summed* over the pixels (erratum E48). For grey levels xᵢ in (0, 1) it is
    not the logarithm of a density. That x lies in [0, 1] is for the caller to see to: `encode` does.
    """
    require_floating(x, "x", "n d ...")
    require_floating(logits, "logits")
    require_same_shape(x, logits, "x, logits")
    return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(dim=1)


def gaussian_log_likelihood(
    x: Float[Tensor, " n *d"], mean: Float[Tensor, " n *d"], log_variance: Float[Tensor, " n *d"]
) -> Float[Tensor, " n"]:
    """Compute log N(x; mean, diag(variance)): for a fixed variance the scaled squared error and a constant."""
    require_floating(x, "x", "n d ...")
    for value, name in ((mean, "mean"), (log_variance, "log_variance")):
        require_floating(value, name)
        require_same_shape(x, value, f"x, {name}")
    # The square comes last, because σ² over- and underflows long before σ does.
    terms = ((x - mean) * (-0.5 * log_variance).exp()).square() + log_variance + LOG_2PI  # (n, *d)
    return -0.5 * terms.flatten(1).sum(dim=1)


def active_units(mean: Float[Tensor, "n k"], above: float = 0.01) -> Bool[Tensor, " k"]:
    """Tell which latent units vary with x: those with Varₓ(μⱼ(x)) > ``above`` (Burda et al. 2016).

    A unit with KL > 0 need not be active: a constant μⱼ = c costs c²/2 nats and says nothing about x.

    Args:
        mean: μ(x) for n ≥ 2 rows x.
        above: the variance from which on a unit counts as active.

    Raises:
        TypeError: mean is not a tensor of float32 or float64, or above is not a number.
        ValueError: mean has one row only, or holds NaN; above is negative.

    >>> active_units(torch.tensor([[1.0, 5.0], [-1.0, 5.0]]))
    tensor([ True, False])
    """
    require_tensor(mean, "mean", "n k")
    above = require_number(above, "above", low=0)
    if len(mean) < 2:
        raise ValueError("mean: expected at least two rows, got 1: one point does not vary")
    return mean.var(dim=0) > above


class LatentGaussianModel(nn.Module):
    """A decoder p(x|z) and an encoder q(z|x) for data of one shape; the models below build them.

    Args:
        encoder: x (n, \\*shape) -> the mean and log-variance of q(z|x), (n, latent) each.
        decoder: z (n, latent) -> the logits of p(x|z), or its mean and log-variance, (n, \\*shape) each.
        shape: that of a row of x.
        latent: the length of z.
        likelihood: "bernoulli" for data in [0, 1], "gaussian" for real numbers. A Gaussian decoder with a variance of
            its own for each pixel has no optimum where a pixel is constant: its variance goes to 0 and the bound to ∞.
    """

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, shape: tuple[int, ...], latent: int, likelihood: Likelihood
    ) -> None:
        super().__init__()
        self.encoder = require_instance(encoder, "encoder", nn.Module)
        self.decoder = require_instance(decoder, "decoder", nn.Module)
        self.shape, self.latent = shape, require_integer(latent, "latent", low=1)
        require_choice(likelihood, "likelihood", get_args(Likelihood))
        self.likelihood = likelihood

    def encode(self, x: Float[Tensor, " n *d"]) -> tuple[Float[Tensor, "n k"], Float[Tensor, "n k"]]:
        """The mean μ and the log-variance log σ² of q(z|x).

        Raises:
            TypeError: x is not a tensor of the weights' precision.
            ValueError: x is empty, of another shape than the model's data, or holds NaN; or, for a Bernoulli decoder,
                numbers outside [0, 1].
        """
        require_tensor(x, "x", " ".join(map(str, ("n", *self.shape))))
        require_same_dtype(x, next(self.parameters()), "x and the weights")
        if self.likelihood == "bernoulli":
            require_unit_range(x, "x")
        mean, log_variance = self.encoder(x)
        return mean.to(x.dtype), log_variance.to(x.dtype)  # full precision, also under autocast

    def decode(self, z: Float[Tensor, "n k"]) -> Float[Tensor, " n *d"]:
        """The mean of p(x|z): probabilities for a Bernoulli decoder.

        Raises:
            TypeError: z is not a tensor of the weights' precision.
            ValueError: z is empty, does not have ``latent`` columns, or holds NaN.
        """
        require_tensor(z, "z", f"n {self.latent}")
        require_same_dtype(z, next(self.parameters()), "z and the weights")
        output = self.decoder(z)
        return output.sigmoid() if self.likelihood == "bernoulli" else output[0]

    def log_likelihood(self, x: Float[Tensor, " n *d"], z: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
        """log p(x|z) for each row."""
        output = self.decoder(z)
        if self.likelihood == "bernoulli":
            return bernoulli_log_likelihood(x, output)
        return gaussian_log_likelihood(x, *output)

    def elbo(self, x: Float[Tensor, " n *d"], samples: int = 1) -> Float[Tensor, " n"]:
        """Estimate E_q[log p(x|z)] − KL(q(z|x) ‖ p(z)) with ``samples`` reparameterized samples and the exact KL.

        Raises:
            TypeError, ValueError: as for `encode`; ``samples`` is not an integer ≥ 1.
        """
        samples = require_integer(samples, "samples", low=1)
        mean, log_variance = self.encode(x)  # (n, k) each
        fits = [self.log_likelihood(x, _reparameterized(mean, log_variance)) for _ in range(samples)]
        return torch.stack(fits).mean(dim=0) - kl_to_prior(mean, log_variance)

    def iwae(self, x: Float[Tensor, " n *d"], samples: int) -> Float[Tensor, " n"]:
        """Estimate log p(x) by log (1/K) Σₖ p(x, zₖ)/q(zₖ|x) with K = ``samples`` samples of q(z|x).

        Its expectation is the ELBO for K = 1, grows with K, and tends to log p(x).

        Raises:
            TypeError, ValueError: as for `encode`; ``samples`` is not an integer ≥ 1.

        Source: Y. Burda, R. Grosse and R. Salakhutdinov, Importance weighted autoencoders, ICLR 2016.
        """
        samples = require_integer(samples, "samples", low=1)
        mean, log_variance = self.encode(x)  # (n, k) each
        log_weights = []
        for _ in range(samples):  # one at a time, because K decoded copies of x may not fit into memory
            z = _reparameterized(mean, log_variance)  # (n, k)
            log_prior = gaussian_log_likelihood(z, torch.zeros_like(z), torch.zeros_like(z))
            log_q = gaussian_log_likelihood(z, mean, log_variance)
            log_weights.append(self.log_likelihood(x, z) + log_prior - log_q)  # (n,)
        return torch.stack(log_weights).logsumexp(dim=0) - math.log(samples)

    @torch.no_grad()
    def generate(self, n: int) -> Float[Tensor, " n *d"]:
        """Draw n latent vectors from the prior and return the means of p(x|z), as images of VAEs are usually shown.

        Raises:
            TypeError, ValueError: n is not an integer ≥ 1.
        """
        n = require_integer(n, "n", low=1)
        weight = next(self.parameters())
        return self.decode(torch.randn(n, self.latent, dtype=weight.dtype, device=weight.device))


class VAE(LatentGaussianModel):
    """Fully connected nets. The heads for mean and log-variance share all hidden layers of the encoder.

    Args:
        input_dim: the length d of a row of x.
        hidden: the width of the hidden layer, or the widths of several: the decoder has them in reverse.
        latent: the length of z.
        likelihood: "bernoulli" or "gaussian".
        activation: makes the layer that follows each hidden one, in both nets.

    Raises:
        TypeError: a width is not an integer, the likelihood is not a text, or ``activation`` does not make modules.
        ValueError: there is no width, or one is < 1; the likelihood is unknown.

    >>> model = VAE(784, hidden=400, latent=20)
    >>> model.elbo(torch.rand(5, 784)).shape, model.generate(3).shape
    (torch.Size([5]), torch.Size([3, 784]))
    """

    def __init__(
        self,
        input_dim: int,
        hidden: int | Sequence[int],
        latent: int,
        likelihood: Likelihood = "bernoulli",
        activation: Activation = nn.ReLU,
    ) -> None:
        d = require_integer(input_dim, "input_dim", low=1)
        widths = hidden if isinstance(hidden, Sequence) else [require_integer(hidden, "hidden", low=1)]
        require_widths(widths, least=1)
        latent = require_integer(latent, "latent", low=1)
        require_choice(likelihood, "likelihood", get_args(Likelihood))
        first, last = widths[0], widths[-1]
        body, start = [d, *widths], [latent, *reversed(widths)]
        encoder = nn.Sequential(*fully_connected(body, activation, last=made_by(activation)), _TwoHeads(last, latent))
        output = nn.Linear(first, d) if likelihood == "bernoulli" else _TwoHeads(first, d)
        decoder = nn.Sequential(*fully_connected(start, activation, last=made_by(activation)), output)
        super().__init__(encoder, decoder, (d,), latent, likelihood)


class ConvolutionalVAE(LatentGaussianModel):
    """Strided convolutions and their mirror image, for grey images (n, 1, size, size) in [0, 1].

    Args:
        latent: the length of z.
        size: pixels per side, a multiple of 4.
        widths: the channels after the first and the second convolution.
        hidden: the width of the layer that the heads of the encoder share.

    Raises:
        TypeError: an integer is expected and something else given.
        ValueError: size is not a multiple of 4; a number is < 1.
    """

    def __init__(self, latent: int, size: int = 28, widths: tuple[int, int] = (16, 32), hidden: int = 128) -> None:
        latent = require_integer(latent, "latent", low=1)
        body = convolutional_encoder(1, size, widths, hidden)
        encoder = nn.Sequential(body, nn.ReLU(), _TwoHeads(hidden, latent))
        decoder = convolutional_decoder(1, size, widths, latent)
        super().__init__(encoder, decoder, (1, size, size), latent, "bernoulli")


class LinearVAE(LatentGaussianModel):
    """x ~ N(Wz + b, s²I) with q(z|x) = N(Vx + c, diag σ²): probabilistic PCA with an encoder.

    At the optimum of W, b and s² the ELBO equals the log-likelihood of probabilistic PCA.

    Args:
        input_dim: the length d of a row of x.
        latent: the length of z.

    Raises:
        TypeError: input_dim or latent is not an integer.
        ValueError: input_dim < 2, or latent is not in 1 … input_dim − 1.

    Source: M. Tipping and C. Bishop, Probabilistic principal component analysis, JRSS B 61, 1999; J. Lucas et al.,
    Don't blame the ELBO!, NeurIPS 2019.
    """

    def __init__(self, input_dim: int, latent: int) -> None:
        d = require_integer(input_dim, "input_dim", low=2)
        k = require_integer(latent, "latent", low=1, high=d - 1)
        super().__init__(_ConstantVariance(d, k, k), _ConstantVariance(k, d, 1), (d,), k, "gaussian")

    def exact_elbo(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """The ELBO without sampling: E_q‖x − Wz − b‖² = ‖x − Wμ − b‖² + Σⱼ σⱼ²‖wⱼ‖²."""
        mean, log_variance = self.encode(x)  # (n, k) each
        at_mean, log_noise = self.decoder(mean)  # (n, d) each
        W = self.decoder.get_parameter("mean.weight")  # (d, k)
        spread = log_variance.exp() @ W.square().sum(dim=0) / (2 * log_noise[0, 0].exp())  # (n,)
        return gaussian_log_likelihood(x, at_mean, log_noise) - spread - kl_to_prior(mean, log_variance)

    def log_evidence(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """log p(x) = log N(x; b, WWᵀ + s²I)."""
        require_tensor(x, "x", f"n {self.shape[0]}")
        require_same_dtype(x, next(self.parameters()), "x and the weights")
        W, b = self.decoder.get_parameter("mean.weight"), self.decoder.get_parameter("mean.bias")
        noise = self.decoder.get_parameter("log_variance").exp().expand_as(b)
        return LowRankMultivariateNormal(b, W, noise).log_prob(x)

    @torch.no_grad()
    def set_to_ppca(self, x: Float[Tensor, "n d"], variance: float | None = None) -> None:
        """Put all weights at the optimum for the rows of x.

        With the eigenvalues λ and eigenvectors U of the covariance, W = U(Λ − s²I)^½ for the first k of them, where a
        negative difference counts as 0: that unit is inactive. s² is the mean of the other λ unless ``variance`` is
        given.

        Raises:
            TypeError: x is not a tensor of float32 or float64, or variance is not a number.
            ValueError: x has other than d columns or no more rows than columns of W; variance is not positive.
        """
        require_tensor(x, "x", f"n {self.shape[0]}")
        if len(x) <= self.latent:
            raise ValueError(f"x: expected more than {self.latent} rows, got {len(x)}")
        centred = x.double() - x.double().mean(dim=0)
        values, vectors = torch.linalg.eigh(centred.T @ centred / len(x))
        values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)  # the largest first
        noise = values[self.latent :].mean().item() if variance is None else variance
        noise = require_number(noise, "variance", above=0)

        # The decoder, and the posterior covariance s²(WᵀW + s²I)⁻¹, which is diagonal.
        strength = (values[: self.latent] - noise).clamp(min=0)  # (k,), the squared lengths of the columns of W
        W = vectors[:, : self.latent] * strength.sqrt()  # (d, k)
        V = W.T / (strength + noise)[:, None]  # (k, d)
        optimum = {
            "decoder.mean.weight": W,
            "decoder.mean.bias": x.double().mean(dim=0),
            "decoder.log_variance": torch.tensor([math.log(noise)], dtype=torch.float64),
            "encoder.mean.weight": V,
            "encoder.mean.bias": -V @ x.double().mean(dim=0),
            "encoder.log_variance": (noise / (strength + noise)).log(),
        }
        for name, value in optimum.items():
            self.get_parameter(name).copy_(value)


class _TwoHeads(nn.Module):
    """The mean and the log-variance of a Gaussian: two linear layers on the same features."""

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.mean, self.log_variance = nn.Linear(features, outputs), nn.Linear(features, outputs)

    def forward(self, h: Float[Tensor, "n features"]) -> tuple[Float[Tensor, "n k"], Float[Tensor, "n k"]]:
        return self.mean(h), self.log_variance(h)


class _ConstantVariance(nn.Module):
    """The mean of a Gaussian by a linear layer, and a log-variance that does not depend on the input."""

    def __init__(self, inputs: int, outputs: int, variances: int) -> None:
        super().__init__()
        self.mean, self.log_variance = nn.Linear(inputs, outputs), nn.Parameter(torch.zeros(variances))

    def forward(self, x: Float[Tensor, "n inputs"]) -> tuple[Float[Tensor, "n k"], Float[Tensor, "n k"]]:
        mean = self.mean(x)
        return mean, self.log_variance.expand_as(mean)


def _reparameterized(mean: Float[Tensor, "n k"], log_variance: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
    """z = μ + σε with ε ~ N(0, I), so that the gradient reaches μ and σ."""
    return mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
