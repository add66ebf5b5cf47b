"""What a sample of a generator is worth: quality, variety, and whether it was learned by heart.

Every measure has a blind spot, which the lecture on failures shows. None of them says much alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from coursekit.distances import gaussian_w2
from coursekit.validation import (
    require_images,
    require_integer,
    require_number,
    require_samples,
)

ROWS = 1024  # of a distance matrix, held at a time


@dataclass(frozen=True)
class ModeCoverage:
    """How a sample spreads over known modes."""

    captured: int  # modes that are the nearest of at least one high-quality point
    high_quality: float  # the fraction of points within three standard deviations of a mode
    shares: Float[Tensor, " k"]  # of the high-quality points, by mode; NaN if there is none
    kl_to_uniform: float  # Σ shareᵢ log(k · shareᵢ): 0 if all get as much, log k if one gets all; NaN without


def mode_coverage(samples: Float[Tensor, "n d"], modes: Float[Tensor, "k d"], std: float) -> ModeCoverage:
    """Count the modes that a sample reaches, and the points that are near one.

    A perfect sampler of 2-D Gaussians has a fraction of 1 − e^(−4.5) = 98.9 % near a mode. More is *under*-dispersed.

    Args:
        samples: points in rows, 2500 in the literature.
        modes: the centres of the modes.
        std: the standard deviation of each mode.

    Raises:
        TypeError: samples or modes is not a tensor of float32 or float64, or they differ in dtype.
        ValueError: the rows differ in length; an entry is NaN; std ≤ 0.

    Source:
        Srivastava et al. (2017), VEEGAN, NeurIPS; Lin et al. (2018), PacGAN, NeurIPS.

    >>> modes = torch.tensor([[0.0, 0.0], [5.0, 0.0]])
    >>> found = mode_coverage(torch.tensor([[0.1, 0.0], [0.0, 0.2], [2.5, 0.0]]), modes, std=0.1)
    >>> found.captured, round(found.high_quality, 3)
    (1, 0.667)
    """
    require_samples(samples, modes, ("samples", "modes"))
    std = require_number(std, "std", above=0)
    # Without matrix products, which lose digits far from the origin.
    distance, nearest = torch.cdist(samples, modes, compute_mode="donot_use_mm_for_euclid_dist").min(dim=1)  # (n,)
    good = distance <= 3 * std
    counts = nearest[good].bincount(minlength=len(modes)).to(samples)  # (k,)
    shares = counts / counts.sum()
    kl = torch.xlogy(shares, shares * len(modes)).sum().item()
    return ModeCoverage(int((counts > 0).sum()), good.double().mean().item(), shares, kl)


def frechet_distance(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
    """Compute W₂² between the Gaussians with the means and covariances of two samples of features.

    It is biased upwards, the more the fewer points there are: compare at equal n, beside the value between two samples
    of one law. It cannot tell laws with equal means and covariances apart.

    Raises:
        TypeError: a or b is not a tensor of float32 or float64, or they differ in dtype.
        ValueError: the rows differ in length; a sample has one row only; an entry is NaN.

    Source:
        Heusel et al. (2017), NeurIPS, with the features of an Inception net; here the caller chooses the features.

    >>> x = torch.tensor([[0.0], [2.0]])
    >>> frechet_distance(x, 2 * x)  # (1 − 2)² + (√2 − 2√2)²
    tensor(3.)
    """
    require_samples(a, b, ("a", "b"), least=2)
    return gaussian_w2(a.mean(dim=0), _covariance(a), b.mean(dim=0), _covariance(b)).square()


def _covariance(x: Float[Tensor, "n d"]) -> Float[Tensor, "d d"]:
    return torch.atleast_2d(x.T.cov())


def precision_recall(real: Float[Tensor, "n d"], fake: Float[Tensor, "m d"], k: int = 3) -> tuple[float, float]:
    """Compute the fraction of fake points near the real ones, and of real points near the fake ones.

    A point is near a sample if it lies in the ball around one of its points that reaches to the k-th nearest neighbour.
    A few points far away have large balls, and a recall of 1.

    Raises:
        TypeError, ValueError: as for `coverage`.

    Source:
        Kynkäänniemi et al. (2019), NeurIPS.
    """
    _require_neighbours(real, fake, k)
    return _fraction_inside(fake, real, _reach(real, k)), _fraction_inside(real, fake, _reach(fake, k))


def coverage(real: Float[Tensor, "n d"], fake: Float[Tensor, "m d"], k: int = 5) -> float:
    """Compute the fraction of real points in whose ball, to the k-th nearest real neighbour, a fake point lies.

    Raises:
        TypeError: real or fake is not a tensor of float32 or float64, or they differ in dtype; k is not an integer.
        ValueError: the rows differ in length; an entry is NaN; a sample has no more than k rows; k < 1.

    Source:
        Naeem et al. (2020), ICML.
    """
    _require_neighbours(real, fake, k)
    return (_nearest(real, fake) <= _reach(real, k)).double().mean().item()


def nearer_to_training(
    samples: Float[Tensor, "n d"], training: Float[Tensor, "m d"], held_out: Float[Tensor, "m d"]
) -> float:
    """Compute the fraction of samples that are nearer to a training point than to any held-out one.

    It is about ½ for an honest sampler if both sets have one size and one law, and 1 for a net that learned its
    training data by heart. A tie counts half.

    Raises:
        TypeError: an argument is not a tensor of float32 or float64, or they differ in dtype.
        ValueError: the rows differ in length; the two sets differ in size; an entry is NaN.
    """
    require_samples(samples, training, ("samples", "training"))
    require_samples(samples, held_out, ("samples", "held_out"))
    if len(training) != len(held_out):
        raise ValueError(
            f"training, held_out: expected as many points in both, got {len(training)} and {len(held_out)}: "
            "the larger set is nearer by its size alone"
        )
    near, far = _nearest(samples, training), _nearest(samples, held_out)
    return ((near < far).double() + (near == far).double() / 2).mean().item()


def sharpness(images: Float[Tensor, "n 1 h w"]) -> Float[Tensor, " n"]:
    """Compute the variance of the Laplacian of each image: small for a blurred one, and large for a noisy one.

    Raises:
        TypeError: images is not a tensor of float32 or float64.
        ValueError: they are not grey images of at least 3 × 3 pixels, or hold NaN.

    Source:
        Pech-Pacheco et al. (2000), ICPR; used for generators by Tolstikhin et al. (2018), ICLR.

    >>> step, ramp = torch.zeros(1, 1, 6, 6), torch.arange(6.0).expand(1, 1, 6, 6) / 5
    >>> step[..., 3:] = 1
    >>> sharpness(step).item() > 0.1, sharpness(ramp).item() < 1e-6
    (True, True)
    """
    require_images(images)
    _, channels, height, width = images.shape
    if channels != 1 or min(height, width) < 3:
        raise ValueError(f"images: expected grey images of at least 3 × 3 pixels, got shape {tuple(images.shape)}")
    laplacian = images.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    return F.conv2d(images, laplacian[None, None]).flatten(1).var(dim=1, unbiased=False)


def _nearest(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, " n"]:
    """The distance of each x to the nearest y."""
    return torch.cat([block.amin(dim=1) for block in _distances(x, y)])


def _reach(x: Float[Tensor, "n d"], k: int) -> Float[Tensor, " n"]:
    """The distance of each x to its k-th nearest other x."""
    return torch.cat([block.kthvalue(k + 1, dim=1).values for block in _distances(x, x)])  # the first is x itself


def _fraction_inside(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], reach: Float[Tensor, " m"]) -> float:
    """The fraction of x that lie in the ball of at least one y."""
    return torch.cat([(block <= reach).any(dim=1) for block in _distances(x, y)]).double().mean().item()


def _distances(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Iterator[Float[Tensor, "rows m"]]:
    """The distances of a few rows of x at a time; without matrix products, so that equal points have distance 0."""
    for rows in x.split(ROWS):
        yield torch.cdist(rows, y, compute_mode="donot_use_mm_for_euclid_dist")


def _require_neighbours(real: Tensor, fake: Tensor, k: int) -> None:
    k = require_integer(k, "k", low=1)
    require_samples(real, fake, ("real", "fake"), least=k + 1)
