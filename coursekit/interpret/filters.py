"""How much of a filter a Gabor function explains."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

STARTS = 2  # places of the coarse grid from which each fit sets out


class GaborFit(NamedTuple):
    """The share of each filter's energy that its best Gabor function explains, and that function."""

    r2: Float[Tensor, " n"]
    fitted: Float[Tensor, "n *c h w"]


def gabor_fit(filters: Float[Tensor, "n *c h w"]) -> GaborFit:
    """Fit a Gabor function, a wave under a Gaussian window, to each filter by least squares.

    With u along the wave and v across it, from a free centre,

        gₖ(u, v) = aₖ · exp(−u²/2σᵤ² − v²/2σᵥ²) · cos(2πfu + φ),

    one amplitude aₖ for each colour k and all the rest shared. R² = 1 − ‖filter − g‖²/‖filter‖², about 0 and not about
    the mean, since 0 means something in a filter. A colour blob is a Gabor function with f = 0.

    The amplitudes and the phase have closed forms: on the span of the windowed cosine and sine the filter has
    coefficients (2, c), and (cos φ, −sin φ)ᵀa is their best approximation of rank one. That leaves six unknowns
    (variable projection), which ``scipy.optimize.least_squares`` refines from the best two places of a grid.

    Args:
        filters: (N, c, h, w) or (N, h, w), of at least 3×3 pixels.

    Returns:
        ``r2`` (N,) in [0, 1], and ``fitted``, shaped like the filters.

    Raises:
        ValueError: no filters, smaller than 3×3, NaN or infinite, or 0 throughout.

    Sources: J. Jones and L. Palmer, Journal of Neurophysiology 58, 1987; G. Golub and V. Pereyra, SIAM Journal on
    Numerical Analysis 10, 1973.
    """
    from scipy.optimize import least_squares

    if filters.ndim not in (3, 4) or len(filters) == 0 or min(filters.shape[-2:]) < 3:
        raise ValueError(
            f"expected filters (N, c, h, w) or (N, h, w) of at least 3×3 pixels, got {tuple(filters.shape)}"
        )
    if not filters.isfinite().all():
        raise ValueError("the filters hold NaN or infinite numbers")
    height, width = filters.shape[-2:]
    given = filters.detach().double().cpu().reshape(len(filters), -1, height * width).numpy()  # (n, c, hw)
    energy = np.square(given).sum(axis=(1, 2))
    if (dead := np.flatnonzero(energy == 0)).size:
        raise ValueError(f"filters {dead.tolist()} are 0 throughout: there is nothing to fit, leave them out")
    pixels = np.mgrid[:height, :width].reshape(2, -1).astype(float)  # (2, hw): y, x
    grid = _grid(height, width)  # (g, 6)
    captured = _captured(grid, pixels, given)  # (n, g)
    low = [-0.5, -0.5, np.log(0.4), np.log(0.4), -np.inf, 0.0]
    high = [height - 0.5, width - 0.5, np.log(2 * height), np.log(2 * width), np.inf, 0.5]
    fitted = np.empty_like(given)
    for i, one in enumerate(given):
        starts = grid[np.argsort(-captured[i])[:STARTS]]
        scaled = one / np.sqrt(energy[i])

        def residual(p: Float[np.ndarray, " 6"], one: Float[np.ndarray, "c hw"] = scaled) -> Float[np.ndarray, " chw"]:
            return (one - _projected(p, pixels, one)).ravel()

        fits = [least_squares(residual, start, bounds=(low, high), ftol=1e-5) for start in starts]
        fitted[i] = _projected(min(fits, key=lambda fit: fit.cost).x, pixels, one)
    r2 = 1 - np.square(given - fitted).sum(axis=(1, 2)) / energy
    return GaborFit(torch.from_numpy(r2).to(filters), torch.from_numpy(fitted).reshape(filters.shape).to(filters))


def _grid(height: int, width: int) -> Float[np.ndarray, "g 6"]:
    """Parameters to set out from: centre y and x, log σᵤ and log σᵥ, direction of the wave, frequency."""
    size = min(height, width)
    centres = [[side * share - 0.5 for share in (0.25, 0.5, 0.75)] for side in (height, width)]
    windows = np.log([max(size / 8, 0.5), size / 4, size / 2])
    directions = np.arange(8) * np.pi / 8
    frequencies = [0, 0.5 / size, 1 / size, min(2 / size, 0.45), 0.4]
    return np.stack(np.meshgrid(*centres, windows, windows, directions, frequencies), axis=-1).reshape(-1, 6)


def _waves(p: Float[np.ndarray, "*g 6"], pixels: Float[np.ndarray, "2 hw"]) -> Float[np.ndarray, "*g 2 hw"]:
    """Orthonormal rows that span the windowed cosine and the windowed sine."""
    y, x, log_u, log_v, direction, frequency = np.moveaxis(p, -1, 0)[..., None]  # each (*g, 1)
    dy, dx = pixels[0] - y, pixels[1] - x
    u = np.cos(direction) * dx + np.sin(direction) * dy
    v = np.cos(direction) * dy - np.sin(direction) * dx
    window = np.exp(-np.square(u * np.exp(-log_u)) / 2 - np.square(v * np.exp(-log_v)) / 2)
    even = _unit(window * np.cos(2 * np.pi * frequency * u))
    odd = window * np.sin(2 * np.pi * frequency * u)
    odd = _unit(odd - (odd * even).sum(axis=-1, keepdims=True) * even)
    return np.stack([even, odd], axis=-2)


def _unit(rows: Float[np.ndarray, "*g hw"]) -> Float[np.ndarray, "*g hw"]:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True).clip(1e-9)  # the sine of frequency 0 stays 0


def _captured(
    p: Float[np.ndarray, "g 6"], pixels: Float[np.ndarray, "2 hw"], filters: Float[np.ndarray, "n c hw"]
) -> Float[np.ndarray, "n g"]:
    """The energy of each filter that the best Gabor function of each place of the grid explains.

    It is the largest eigenvalue of the 2×2 matrix of the coefficients' products.
    """
    even, odd = np.tensordot(filters, _waves(p, pixels), axes=(2, 2)).transpose(3, 0, 2, 1)  # each (n, g, c)
    a, b, d = np.square(even).sum(-1), (even * odd).sum(-1), np.square(odd).sum(-1)
    return (a + d + np.hypot(a - d, 2 * b)) / 2


def _projected(
    p: Float[np.ndarray, " 6"], pixels: Float[np.ndarray, "2 hw"], one: Float[np.ndarray, "c hw"]
) -> Float[np.ndarray, "c hw"]:
    """The Gabor function of these six parameters that is nearest to the filter."""
    waves = _waves(p, pixels)  # (2, hw)
    left, strength, right = np.linalg.svd(one @ waves.T, full_matrices=False)  # of (c, 2)
    return np.outer(left[:, 0] * strength[0], right[0] @ waves)
