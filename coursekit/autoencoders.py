"""Autoencoders: an encoder z = f(x), a decoder x̂ = g(z), and a reason why x̂ cannot simply be x.

The reason is what tells them apart: a narrow code (linear, tied, deep, convolutional), a penalty on the code or a
limit on how many of its entries are on (sparse, k-sparse), or an input that was damaged (denoising).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from coursekit.nets.blocks import convolutional_decoder, convolutional_encoder, fully_connected


class Autoencoder(nn.Module):
    """x̂ = g(f(x)) for an encoder f and a decoder g."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, x: Float[Tensor, " n *d"]) -> Float[Tensor, " n *d"]:
        """The reconstruction g(f(x))."""
        return self.decoder(self.encoder(x))


def linear(d: int, k: int) -> Autoencoder:
    """z = W₁ᵀx, x̂ = W₂z with free W₁ (d×k) and W₂ (d×k), and no bias: centre the data first.

    At the optimum W₂W₁ᵀ projects onto the span of the first k principal components, while W₁ and W₂ themselves are
    unique only up to an invertible k×k matrix (Baldi & Hornik 1989, erratum E23).
    """
    _narrow(d, k)
    return Autoencoder(nn.Linear(d, k, bias=False), nn.Linear(k, d, bias=False))


class Tied(nn.Module):
    """z = Wᵀx, x̂ = Wz with one matrix W (d×k) for both: half the parameters; centre the data first.

    The optimum has orthonormal columns: tying the weights takes the invertible matrix that `linear` leaves free
    down to a rotation.
    """

    def __init__(self, d: int, k: int) -> None:
        super().__init__()
        _narrow(d, k)
        self.weight = nn.Parameter(torch.randn(d, k) / d**0.5)  # columns of length about 1

    def encoder(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        """Wᵀx for every row x."""
        return x @ self.weight

    def decoder(self, z: Float[Tensor, "n k"]) -> Float[Tensor, "n d"]:
        """Wz for every row z."""
        return z @ self.weight.T

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """WWᵀx for every row x."""
        return self.decoder(self.encoder(x))


def deep(*widths: int) -> Autoencoder:
    """Fully connected layers of the given widths and their mirror image, ReLU between, none at code and output.

    ``deep(784, 512, 256, 32)`` maps 784 → 512 → 256 → 32 → 256 → 512 → 784.
    """
    if len(widths) < 2:
        raise ValueError(f"expected the widths of at least an input and a code, got {widths}")
    return Autoencoder(fully_connected(widths), fully_connected(widths[::-1]))


def convolutional(k: int, size: int = 28, channels: tuple[int, int] = (32, 64)) -> Autoencoder:
    """Grey pictures (N, 1, size, size) to a code of k numbers and back: two strided convolutions and their mirror.

    ``size`` must be a multiple of 4, since each convolution halves the picture.
    """
    encoder = convolutional_encoder(1, size, channels, k)
    return Autoencoder(encoder, convolutional_decoder(1, size, channels, k))


def sparse(d: int, m: int) -> Autoencoder:
    """A code of m ≥ 0 entries, z = ReLU(W₁ᵀx + b₁), and x̂ = W₂z + b₂; m may exceed d.

    Nothing here is sparse yet: add ``weight * l1(z)`` to the loss (Ranzato et al. 2007).
    """
    return Autoencoder(nn.Sequential(nn.Linear(d, m), nn.ReLU()), nn.Linear(m, d))


def l1(z: Float[Tensor, "n m"]) -> Float[Tensor, ""]:
    """The sparsity penalty Ω(z) = Σⱼ|zⱼ|, averaged over the batch."""
    return z.abs().sum(dim=1).mean()


def keep_top(z: Float[Tensor, "n m"], k: int) -> Float[Tensor, "n m"]:
    """z with only its k highest entries kept in every row, the others set to 0.

    The k *highest*, not the k largest in magnitude (Makhzani & Frey 2013). With ties exactly k entries are kept.
    """
    if not 1 <= k <= z.shape[1]:
        raise ValueError(f"expected 1 ≤ k ≤ {z.shape[1]}, the length of the code, got k={k}")
    values, places = z.topk(k, dim=1)  # (N, k)
    return torch.zeros_like(z).scatter(1, places, values)


class KSparse(nn.Module):
    """Linear units of which the k highest are kept: z = keep_top(Wᵀ(x − c), k), x̂ = Wz + c (Makhzani & Frey 2013).

    The support is the only nonlinearity; given the support the model is linear. The weights are tied, and c (d) is the
    only bias: it sits where the mean of the data would.
    """

    def __init__(self, d: int, m: int, k: int) -> None:
        super().__init__()
        if not 1 <= k <= m:
            raise ValueError(f"expected 1 ≤ k ≤ m={m}, got k={k}")
        self.k = k
        self.weight = nn.Parameter(torch.randn(d, m) / d**0.5)
        self.centre = nn.Parameter(torch.zeros(d))

    def encoder(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """The code, at most k entries of which are not 0."""
        return keep_top((x - self.centre) @ self.weight, self.k)

    def decoder(self, z: Float[Tensor, "n m"]) -> Float[Tensor, "n d"]:
        """Wz + c for every row z."""
        return z @ self.weight.T + self.centre

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The reconstruction from the k highest units."""
        return self.decoder(self.encoder(x))


def add_noise(x: Float[Tensor, " n *d"], sigma: float) -> Float[Tensor, " n *d"]:
    """x̃ = x + σε with ε ~ N(0, I), drawn from PyTorch's global generator."""
    return x + sigma * torch.randn_like(x)


def mask(x: Float[Tensor, " n *d"], share: float) -> Float[Tensor, " n *d"]:
    """x̃ = x with each entry set to 0 with probability ``share`` (Vincent et al. 2008)."""
    kept = torch.rand_like(x) >= share
    return x * kept


def linear_denoiser(covariance: Float[Tensor, "d d"], sigma: float) -> Float[Tensor, "d d"]:
    """The best linear denoiser A = Σ(Σ + σ²I)⁻¹: it minimizes E‖A(x + σε) − x‖² for centred x with covariance Σ.

    Along an eigenvector of Σ with eigenvalue λ it multiplies by λ/(λ + σ²): strong directions stay, weak ones shrink.
    """
    d = covariance.shape[0]
    noisy = covariance + sigma**2 * torch.eye(d, dtype=covariance.dtype, device=covariance.device)
    return torch.linalg.solve(noisy, covariance)  # (Σ + σ²I)⁻¹Σ: both factors are symmetric and commute


def posterior_mean(noisy: Float[Tensor, "n d"], data: Float[Tensor, "m d"], sigma: float) -> Float[Tensor, "n d"]:
    """E[x | x̃], the best of all denoisers, when x is a row of ``data``, each as likely, and x̃ = x + σε.

    E[x | x̃] = Σᵢ wᵢxᵢ with wᵢ ∝ exp(−‖x̃ − xᵢ‖²/2σ²), which equals x̃ + σ²∇log p_σ(x̃), where p_σ is the kernel density
    estimate with bandwidth σ (Robbins 1956; Alain & Bengio 2014).
    """
    weights = torch.softmax(-torch.cdist(noisy, data).square() / (2 * sigma**2), dim=1)  # (n, m)
    return weights @ data


@torch.no_grad()
def reconstruction_error(
    model: nn.Module, x: Float[Tensor, " n *d"], noisy: Float[Tensor, " n *d"] | None = None
) -> float:
    """Mean squared error per pixel of the model's x̂ against x, from x itself or from a ``noisy`` copy of it.

    A thousand rows at a time, so that a whole data set fits.
    """
    if len(x) == 0:
        raise ValueError("expected at least one picture, got none")
    inputs = x if noisy is None else noisy
    pairs = zip(x.split(1000), inputs.split(1000), strict=True)
    return sum((model(given) - wanted).square().sum().item() for wanted, given in pairs) / x.numel()


def _narrow(d: int, k: int) -> None:
    if not 1 <= k < d:
        raise ValueError(f"expected a code of 1 ≤ k < d={d} numbers, got k={k}: with k ≥ d it could copy its input")
