"""The maximum mean discrepancy: how far apart the mean embeddings of two distributions are in the space of a kernel.

MMD² = E k(X, X′) − 2 E k(X, Y) + E k(Y, Y′)
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from coursekit.validation import require_flag, require_number, require_same_shape, require_samples, require_tensor

Kernel = Callable[[Tensor], Tensor]  # squared distances ‖x − y‖² -> values k(x, y) of the same shape
BLOCK = 2**18  # distances that are held at a time: one or two megabytes


def rbf(bandwidth: float) -> Kernel:
    """Make the Gaussian kernel k(x, y) = exp(−‖x − y‖² / 2σ²) with bandwidth σ.

    >>> rbf(1.0)(torch.tensor([0.0, 2.0]))
    tensor([1.0000, 0.3679])
    """
    sigma = require_number(bandwidth, "bandwidth", above=0)
    return lambda squared: torch.exp(-0.5 * (squared / sigma) / sigma)


def imq(c: float) -> Kernel:
    """Make the inverse multiquadric kernel k(x, y) = C / (C + ‖x − y‖²), which falls slowly: far points still count.

    For codes z ~ N(0, σ²I) in d dimensions, Tolstikhin et al. (2018) take C = 2dσ², the mean of ‖z − z′‖².

    >>> imq(16.0)(torch.tensor([0.0, 16.0]))
    tensor([1.0000, 0.5000])
    """
    c = require_number(c, "c", above=0)
    return lambda squared: 1 / (1 + squared / c)


def mmd2(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], kernel: Kernel, unbiased: bool = True) -> Float[Tensor, ""]:
    """Estimate MMD² from two samples.

    The distances are computed in blocks, so that memory grows with n + m, not with n · m. A gradient needs all
    of them, and then it grows with n · m after all.

    Args:
        x, y: points in rows. The result can be differentiated with respect to both.
        kernel: from squared distances to values: `rbf`, `imq`, or one of your own.
        unbiased: the U-statistic, which leaves out the pairs (xᵢ, xᵢ). Its expectation is MMD², so it is often
            negative if the two laws are equal. The V-statistic, with these pairs, is ≥ 0 and too large on average.

    Raises:
        TypeError: x or y is not a tensor of float32 or float64, or they differ in dtype; the kernel is not a function,
            or returns no such tensor.
        ValueError: the rows differ in length; an entry is NaN; a sample has no point, or only one if unbiased; the
            kernel's values have another shape than the distances.

    Source:
        Gretton et al. (2012), *JMLR* 13, lemma 6.

    >>> x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [1.0]])
    >>> mmd2(x, y, rbf(1.0))  # of two equal samples: negative
    tensor(-0.3935)
    >>> mmd2(x, y, rbf(1.0), unbiased=False)
    tensor(0.)
    """
    unbiased = require_flag(unbiased, "unbiased")
    require_samples(x, y, least=2 if unbiased else 1)
    kernel = checked(kernel)
    n, m = len(x), len(y)
    # The distances do not change if both samples are moved, and a matrix product rounds less near the origin.
    centre = (x.detach().sum(dim=0) + y.detach().sum(dim=0)) / (n + m)
    x, y = x - centre, y - centre
    between = _sum(x, y, kernel) / (n * m)
    if unbiased:
        return 2 * _sum_of_pairs(x, kernel) / (n * (n - 1)) - 2 * between + 2 * _sum_of_pairs(y, kernel) / (m * (m - 1))
    itself = kernel(x.new_zeros(()))  # k(xᵢ, xᵢ), the same for every point
    within_x = (2 * _sum_of_pairs(x, kernel) + n * itself) / n**2
    within_y = (2 * _sum_of_pairs(y, kernel) + m * itself) / m**2
    return within_x - 2 * between + within_y


def checked(kernel: Kernel) -> Kernel:
    """The kernel, such as `rbf` makes, with a look at what it returns: one number for each distance."""
    if not callable(kernel):
        raise TypeError(f"kernel: expected a function of squared distances, such as rbf(1.0), got {kernel!r}")

    def values_of(squared: Tensor) -> Tensor:
        values = require_tensor(kernel(squared), "kernel(squared)", finite=False, empty=True)
        require_same_shape(squared, values, "squared, kernel(squared)")
        return values

    return values_of


def _sum(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], kernel: Kernel) -> Float[Tensor, ""]:
    """Σᵢⱼ k(xᵢ, yⱼ)."""
    x2, y2 = x.square().sum(dim=1), y.square().sum(dim=1)  # (n,), (m,)
    rows = max(1, BLOCK // len(y))
    blocks = zip(x.split(rows), x2.split(rows), strict=True)
    return torch.stack([kernel(_squared_distances(u, u2, y, y2)).sum() for u, u2 in blocks]).sum()


def _sum_of_pairs(x: Float[Tensor, "n d"], kernel: Kernel) -> Float[Tensor, ""]:
    """Σ k(xᵢ, xⱼ) over i < j: half of all pairs, because the kernel is symmetric."""
    x = x - x.detach().mean(dim=0)  # the other sample may be far away, and with it the common centre
    x2 = x.square().sum(dim=1)  # (n,)
    rows = max(1, BLOCK // len(x))
    total = x.new_zeros(())
    for start in range(0, len(x), rows):
        stop = min(start + rows, len(x))
        u, u2 = x[start:stop], x2[start:stop]
        square = kernel(_squared_distances(u, u2, u, u2))  # both orders of each pair, and the diagonal
        total = total + square.triu(diagonal=1).sum()
        if stop < len(x):
            total = total + kernel(_squared_distances(u, u2, x[stop:], x2[stop:])).sum()
    return total


def _squared_distances(x: Tensor, x2: Tensor, y: Tensor, y2: Tensor) -> Tensor:
    """‖xᵢ‖² − 2xᵢᵀyⱼ + ‖yⱼ‖², (n, m)."""
    return torch.addmm(x2[:, None] + y2, x, y.T, alpha=-2).clamp(min=0)
