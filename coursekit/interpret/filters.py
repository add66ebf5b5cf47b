"""How much of a filter a Gabor function explains."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from coursekit.validation import require_tensor

STARTS = 2  # each fit starts from that many points of the coarse grid


class GaborFit(NamedTuple):
    """The fraction of each filter's energy that its best Gabor function explains, and that function."""

    r2: Float[Tensor, " n"]
    fitted: Float[Tensor, "n *c h w"]


def gabor_fit(filters: Float[Tensor, "n *c h w"]) -> GaborFit:
    """Fit a Gabor function, a wave under a Gaussian window, to each filter by least squares.

    With coordinates u along the wave and v across it, measured from a free centre,

        gₖ(u, v) = aₖ · exp(−u²/2σᵤ² − v²/2σᵥ²) · cos(2πfu + φ)

    has one amplitude aₖ for each colour k, and the colours share everything else. R² = 1 − ‖filter − g‖²/‖filter‖² is
    taken about 0 and not about the mean, because 0 has a meaning in a filter. A colour blob is a Gabor function with
    f = 0.

    Amplitudes and phase have closed forms: on the span of the windowed cosine and sine the filter has coefficients
    (c, 2), and a (cos φ, −sin φ) is their best approximation of rank one. Six unknowns remain (variable projection),
    which ``scipy.optimize.least_squares`` refines from the best two points of a grid.

    Args:
        filters: (N, c, h, w) or (N, h, w), of at least 3×3 pixels.

    Returns:
        ``r2`` (N,) in [0, 1], and ``fitted`` in the shape of the filters.

    Raises:
        TypeError: filters that are not float32 or float64.
        ValueError: no filters; filters smaller than 3×3, not finite, or entirely 0.

    Sources: J. Jones and L. Palmer, An evaluation of the two-dimensional Gabor filter model of simple receptive fields
    in cat striate cortex, Journal of Neurophysiology 58, 1987; G. Golub and V. Pereyra, The differentiation of
    pseudo-inverses and nonlinear least squares problems whose variables separate, SIAM Journal on Numerical Analysis
    10, 1973.

    >>> sobel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    >>> gabor_fit(sobel[None]).r2.round(decimals=2)
    tensor([1.])
    """
    require_tensor(filters, "filters", empty=True)
    if filters.ndim not in (3, 4) or filters.numel() == 0 or min(filters.shape[-2:]) < 3:
        raise ValueError(
            f"filters: expected (N, c, h, w) or (N, h, w) of at least 3×3 pixels, got {tuple(filters.shape)}"
        )
    height, width = filters.shape[-2:]
    given = filters.detach().double().cpu().reshape(len(filters), -1, height * width).numpy()  # (n, c, hw)
    energy = np.square(given).sum(axis=(1, 2))  # (n,)
    if (dead := np.flatnonzero(energy == 0)).size:
        raise ValueError(f"filters: {dead.tolist()} are entirely 0: there is nothing to fit, leave them out")

    # The energy that each point of a coarse grid explains shows where to start.
    pixels = np.mgrid[:height, :width].reshape(2, -1).astype(float)  # (2, hw): y, x
    grid = _grid(height, width)  # (g, 6)
    captured = _captured(grid, pixels, given)  # (n, g)
    best = grid[np.argsort(-captured, axis=1)[:, :STARTS]]  # (n, STARTS, 6)

    # The filters are fitted at unit norm, so that the tolerance of the optimizer means the same for all of them.
    scaled = given / np.sqrt(energy)[:, None, None]
    parameters = [_refined(starts, pixels, one, (height, width)) for starts, one in zip(best, scaled, strict=True)]
    fitted = np.stack([_projected(p, pixels, one) for p, one in zip(parameters, given, strict=True)])  # (n, c, hw)
    r2 = 1 - np.square(given - fitted).sum(axis=(1, 2)) / energy
    return GaborFit(torch.from_numpy(r2).to(filters), torch.from_numpy(fitted).reshape(filters.shape).to(filters))


def _grid(height: int, width: int) -> Float[np.ndarray, "g 6"]:
    """Parameters to start from: centre y and x, log σᵤ and log σᵥ, direction of the wave, frequency."""
    size = min(height, width)
    centres = [[side * fraction - 0.5 for fraction in (0.25, 0.5, 0.75)] for side in (height, width)]
    windows = np.log([max(size / 8, 0.5), size / 4, size / 2])
    directions = np.arange(8) * np.pi / 8
    frequencies = [0, 0.5 / size, 1 / size, min(2 / size, 0.45), 0.4]
    return np.stack(np.meshgrid(*centres, windows, windows, directions, frequencies), axis=-1).reshape(-1, 6)


def _refined(
    starts: Float[np.ndarray, "s 6"],
    pixels: Float[np.ndarray, "2 hw"],
    one: Float[np.ndarray, "c hw"],
    size: tuple[int, int],
) -> Float[np.ndarray, " 6"]:
    """The parameters of least squared error for one filter, among the local minima reached from the starts."""
    from scipy.optimize import least_squares

    # The centre stays in the filter, the window between 0.4 pixels and twice the filter, the frequency below Nyquist.
    height, width = size
    low = [-0.5, -0.5, np.log(0.4), np.log(0.4), -np.inf, 0.0]
    high = [height - 0.5, width - 0.5, np.log(2 * height), np.log(2 * width), np.inf, 0.5]

    def residual(p: Float[np.ndarray, " 6"]) -> Float[np.ndarray, " chw"]:
        return (one - _projected(p, pixels, one)).ravel()

    fits = [least_squares(residual, start, bounds=(low, high), ftol=1e-5) for start in starts]
    return min(fits, key=lambda fit: fit.cost).x


def _waves(p: Float[np.ndarray, "*g 6"], pixels: Float[np.ndarray, "2 hw"]) -> Float[np.ndarray, "*g 2 hw"]:
    """Orthonormal rows that span the windowed cosine and the windowed sine."""
    y, x, log_u, log_v, direction, frequency = np.moveaxis(p, -1, 0)[..., None]  # (*g, 1) each

    # Coordinates along the wave and across it.
    dy, dx = pixels[0] - y, pixels[1] - x  # (*g, hw) each
    u = np.cos(direction) * dx + np.sin(direction) * dy
    v = np.cos(direction) * dy - np.sin(direction) * dx

    # The two waves under the window, and Gram-Schmidt.
    window = np.exp(-np.square(u * np.exp(-log_u)) / 2 - np.square(v * np.exp(-log_v)) / 2)
    even = _unit(window * np.cos(2 * np.pi * frequency * u))
    odd = window * np.sin(2 * np.pi * frequency * u)
    odd = _unit(odd - (odd * even).sum(axis=-1, keepdims=True) * even)
    return np.stack([even, odd], axis=-2)


def _unit(rows: Float[np.ndarray, "*g hw"]) -> Float[np.ndarray, "*g hw"]:
    """Rows of norm 1; the sine of frequency 0 stays 0."""
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True).clip(1e-9)


def _captured(
    p: Float[np.ndarray, "g 6"], pixels: Float[np.ndarray, "2 hw"], filters: Float[np.ndarray, "n c hw"]
) -> Float[np.ndarray, "n g"]:
    """The energy of each filter that the best Gabor function at each point of the grid explains.

    It is the square of the largest singular value of the coefficients (c, 2), that is, the largest eigenvalue of
    their 2×2 Gram matrix (a b; b d).
    """
    even, odd = np.tensordot(filters, _waves(p, pixels), axes=(2, 2)).transpose(3, 0, 2, 1)  # (n, g, c) each
    a, b, d = np.square(even).sum(-1), (even * odd).sum(-1), np.square(odd).sum(-1)  # (n, g) each
    return (a + d + np.hypot(a - d, 2 * b)) / 2


def _projected(
    p: Float[np.ndarray, " 6"], pixels: Float[np.ndarray, "2 hw"], one: Float[np.ndarray, "c hw"]
) -> Float[np.ndarray, "c hw"]:
    """The Gabor function with these six parameters that is nearest to the filter."""
    waves = _waves(p, pixels)  # (2, hw)
    left, strength, right = np.linalg.svd(one @ waves.T, full_matrices=False)  # of the coefficients (c, 2)
    return np.outer(left[:, 0] * strength[0], right[0] @ waves)
