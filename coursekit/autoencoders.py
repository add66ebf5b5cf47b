"""Autoencoders: an encoder z = f(x), a decoder x̂ = g(z), and a constraint that keeps x̂ from simply copying x.

The constraint tells them apart: a narrow code (linear, tied, deep, convolutional), a penalty on the code or a limit on
its number of active entries (sparse, k-sparse), or a corrupted input (denoising).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from coursekit.nets.blocks import convolutional_decoder, convolutional_encoder, fully_connected
from coursekit.validation import (
    require_covariance,
    require_floating,
    require_fraction,
    require_instance,
    require_integer,
    require_number,
    require_same_dtype,
    require_same_shape,
    require_tensor,
)


class Autoencoder(nn.Module):
    """x̂ = g(f(x)) for an encoder f and a decoder g."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = require_instance(encoder, "encoder", nn.Module)
        self.decoder = require_instance(decoder, "decoder", nn.Module)

    def forward(self, x: Float[Tensor, " n *d"]) -> Float[Tensor, " n *d"]:
        """The reconstruction g(f(x))."""
        return self.decoder(self.encoder(x))


def linear(d: int, k: int) -> Autoencoder:
    """Build z = W₁ᵀx, x̂ = W₂z with free W₁ (d×k) and W₂ (d×k), and no bias: centre the data first.

    At the optimum W₂W₁ᵀ projects onto the span of the first k principal components. W₁ and W₂ themselves are unique
    only up to an invertible k×k matrix (Baldi & Hornik 1989, erratum E23).

    Raises:
        TypeError: d or k is not an integer.
        ValueError: k is not in 1 … d − 1; with k ≥ d the code could copy its input.
    """
    _require_narrow(d, k)
    return Autoencoder(nn.Linear(d, k, bias=False), nn.Linear(k, d, bias=False))


class Tied(nn.Module):
    """z = Wᵀx, x̂ = Wz with one matrix W (d×k) for both: half the parameters. Centre the data first.

    At the optimum the columns of W are orthonormal. `linear` leaves an invertible k×k matrix free; with tied weights
    only an orthogonal one is.

    Raises:
        TypeError: d or k is not an integer.
        ValueError: k is not in 1 … d − 1.
    """

    def __init__(self, d: int, k: int) -> None:
        super().__init__()
        _require_narrow(d, k)
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
    """Build fully connected layers of the given widths, and their mirror image as decoder.

    ``deep(784, 512, 256, 32)`` maps 784 → 512 → 256 → 32 → 256 → 512 → 784. ReLU follows every layer except those of
    the code and of the output.

    Raises:
        TypeError: a width is not an integer.
        ValueError: there are fewer than two widths, or one is < 1.
    """
    if len(widths) < 2:
        raise ValueError(f"widths: expected at least those of the input and the code, got {widths}")
    return Autoencoder(fully_connected(widths), fully_connected(widths[::-1]))


def convolutional(k: int, size: int = 28, channels: tuple[int, int] = (32, 64)) -> Autoencoder:
    """Build two strided convolutions and their mirror image, for grey images (N, 1, size, size) and codes (N, k).

    Args:
        k: the length of the code.
        size: the side of an image, a multiple of 4, since each convolution halves it.
        channels: the numbers of channels after the first and the second convolution.

    Raises:
        TypeError: an integer is expected and something else given.
        ValueError: size is not a multiple of 4; a number is < 1.
    """
    k = require_integer(k, "k", low=1)
    encoder = convolutional_encoder(1, size, channels, k)
    return Autoencoder(encoder, convolutional_decoder(1, size, channels, k))


def sparse(d: int, m: int) -> Autoencoder:
    """Build a code of m non-negative entries, z = ReLU(W₁ᵀx + b₁), and x̂ = W₂z + b₂; m may exceed d.

    The code becomes sparse only through the loss: add ``weight * l1(z)`` to it. Beware of units that then fire for no
    input, above all if the data are not centred, and of decoder columns that grow while the code shrinks; columns of
    fixed length prevent it.

    Raises:
        TypeError: d or m is not an integer.
        ValueError: d or m < 1.
    """
    d = require_integer(d, "d", low=1)
    m = require_integer(m, "m", low=1)
    return Autoencoder(nn.Sequential(nn.Linear(d, m), nn.ReLU()), nn.Linear(m, d))


def l1(z: Float[Tensor, "n m"]) -> Float[Tensor, ""]:
    """Compute the L1 penalty Ω(z) = Σⱼ|zⱼ|, averaged over the batch.

    Raises:
        TypeError: z is not a tensor of floating-point numbers.
        ValueError: z is not a batch (N, m), or has no rows.
    """
    require_floating(z, "z", "n m")
    if len(z) == 0:
        raise ValueError("z: expected at least one row")
    return z.abs().sum(dim=1).mean()


def keep_top(z: Float[Tensor, "n m"], k: int) -> Float[Tensor, "n m"]:
    """Keep the k highest entries of every row and set the others to 0.

    These are the k *highest* entries, not the k largest in magnitude (Makhzani & Frey 2013). If entries are equal,
    still only k are kept.

    Raises:
        TypeError: z is not a tensor of floating-point numbers, or k is not an integer.
        ValueError: z is not a batch (N, m); k is not in 1 … m.

    >>> keep_top(torch.tensor([[3.0, -9.0, 1.0, 2.0]]), k=2)
    tensor([[3., 0., 0., 2.]])
    """
    require_floating(z, "z", "n m")
    k = require_integer(k, "k", low=1, high=z.shape[1])
    values, positions = z.topk(k, dim=1)  # (n, k) each
    return torch.zeros_like(z).scatter(1, positions, values)


class KSparse(nn.Module):
    """Linear units, of which the k highest are kept: z = keep_top(Wᵀ(x − c), k), x̂ = Wz + c (Makhzani & Frey 2013).

    The choice of the k units is the only nonlinearity: for a fixed choice the model is linear. The weights are tied.
    The only bias c (d) plays the part of the mean of the data.

    Raises:
        TypeError: d, m or k is not an integer.
        ValueError: d or m < 1; k is not in 1 … m.
    """

    def __init__(self, d: int, m: int, k: int) -> None:
        super().__init__()
        d = require_integer(d, "d", low=1)
        m = require_integer(m, "m", low=1)
        self.k = require_integer(k, "k", low=1, high=m)
        self.weight = nn.Parameter(torch.randn(d, m) / d**0.5)  # columns of length about 1
        self.centre = nn.Parameter(torch.zeros(d))

    def encoder(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """The code, with at most k entries other than 0."""
        return keep_top((x - self.centre) @ self.weight, self.k)

    def decoder(self, z: Float[Tensor, "n m"]) -> Float[Tensor, "n d"]:
        """Wz + c for every row z."""
        return z @ self.weight.T + self.centre

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The reconstruction from the k highest units."""
        return self.decoder(self.encoder(x))


def add_noise(x: Float[Tensor, " n *d"], sigma: float) -> Float[Tensor, " n *d"]:
    """Compute x̃ = x + σε with ε ~ N(0, I), drawn from PyTorch's global generator.

    Raises:
        TypeError: x is not a tensor of floating-point numbers, or sigma is not a number.
        ValueError: sigma is negative or not finite.
    """
    require_floating(x, "x")
    sigma = require_number(sigma, "sigma", low=0)
    return x + sigma * torch.randn_like(x)


def mask(x: Float[Tensor, " n *d"], fraction: float) -> Float[Tensor, " n *d"]:
    """Set each entry of x to 0 with probability ``fraction``, by PyTorch's global generator (Vincent et al. 2008).

    Raises:
        TypeError: x is not a tensor of floating-point numbers, or fraction is not a number.
        ValueError: fraction is not in [0, 1].
    """
    require_floating(x, "x")
    fraction = require_fraction(fraction, "fraction")
    kept = torch.rand_like(x) >= fraction
    return x * kept


def linear_denoiser(covariance: Float[Tensor, "d d"], sigma: float) -> Float[Tensor, "d d"]:
    """Compute the best linear denoiser A = Σ(Σ + σ²I)⁻¹.

    For centred x with covariance Σ it minimizes E‖A(x + σε) − x‖². Along an eigenvector of Σ with eigenvalue λ it
    multiplies by λ/(λ + σ²): strong directions stay, weak ones shrink.

    Raises:
        TypeError: covariance is not a tensor of float32 or float64, or sigma is not a number.
        ValueError: covariance is not a symmetric matrix of finite numbers, or has a negative eigenvalue; sigma is
            negative or not finite.
        RuntimeError: Σ + σ²I is singular.

    >>> linear_denoiser(torch.diag(torch.tensor([4.0, 1.0])), sigma=1.0)
    tensor([[0.8000, 0.0000],
            [0.0000, 0.5000]])
    """
    require_covariance(covariance, "covariance")
    sigma = require_number(sigma, "sigma", low=0)
    noisy = covariance + sigma**2 * torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    return torch.linalg.solve(noisy, covariance)  # (Σ + σ²I)⁻¹Σ = A, since the factors commute


def posterior_mean(noisy: Float[Tensor, "n d"], data: Float[Tensor, "m d"], sigma: float) -> Float[Tensor, "n d"]:
    """Compute the denoiser with the smallest mean squared error, E[x | x̃], for x uniform on the rows of ``data``.

    With x̃ = x + σε it is E[x | x̃] = Σᵢ wᵢxᵢ, where wᵢ ∝ exp(−‖x̃ − xᵢ‖²/2σ²). This equals x̃ + σ²∇log p_σ(x̃), where p_σ
    is the kernel density estimate with bandwidth σ (Robbins 1956; Alain & Bengio 2014).

    Args:
        noisy: n points x̃.
        data: the m points xᵢ.
        sigma: σ > 0.

    Raises:
        TypeError: noisy and data are not tensors of one dtype, float32 or float64, or sigma is not a number.
        ValueError: the rows have different lengths, are empty, or hold NaN or infinity; sigma is not positive.
    """
    require_tensor(noisy, "noisy", "n d")
    require_tensor(data, "data", f"m {noisy.shape[1]}")
    require_same_dtype(noisy, data, "noisy and data")
    sigma = require_number(sigma, "sigma", above=0)
    # Distances from differences: a product of matrices would lose the digits of rows far from the origin.
    distances = torch.cdist(noisy, data, compute_mode="donot_use_mm_for_euclid_dist")  # (n, m)
    weights = torch.softmax(-(distances / sigma).square() / 2, dim=1)  # (n, m)
    return weights @ data


@torch.no_grad()
def reconstruction_error(
    model: nn.Module, x: Float[Tensor, " n *d"], noisy: Float[Tensor, " n *d"] | None = None
) -> float:
    """Compute the mean squared error per pixel of the model's x̂ against x.

    Rows go through the model a thousand at a time, so that a whole data set fits into memory.

    Args:
        x: the originals.
        noisy: the model's input, if it is not x itself.

    Raises:
        TypeError: x or noisy is not a tensor of float32 or float64; the model returns no floating-point numbers.
        ValueError: x is empty; x, noisy or the reconstruction differ in shape; x or noisy holds NaN or infinity.
    """
    require_tensor(x, "x", "n ...")
    inputs = x if noisy is None else require_tensor(noisy, "noisy", "n ...")
    require_same_shape(x, inputs, "x and noisy")
    total = 0.0
    for original, given in zip(x.split(1000), inputs.split(1000), strict=True):
        reconstruction = require_floating(model(given), "reconstruction")
        require_same_shape(original, reconstruction, "x and its reconstruction")
        total += (reconstruction - original).square().sum().item()
    return total / x.numel()


def _require_narrow(d: int, k: int) -> None:
    """A code shorter than its input, which therefore cannot copy it."""
    d = require_integer(d, "d", low=2)
    k = require_integer(k, "k", low=1, high=d - 1)
