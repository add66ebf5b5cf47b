"""Two estimators of ∂/∂φ E_q[f(z)], where q(z; φ) depends on φ: the score function and the reparameterization."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.distributions import Distribution

from coursekit.bayes.checks import values_at
from coursekit.validation import require_choice, require_instance, require_integer, require_number, require_tensor

Family = Callable[..., Distribution]
Function = Callable[[Tensor], Tensor]


def score_gradient(
    f: Function,
    family: Family,
    parameters: Sequence[Tensor],
    samples: int,
    baseline: float | Literal["leave-one-out"] = 0.0,
) -> tuple[Tensor, ...]:
    """Estimate ∂/∂φ E_q[f(z)] by (f(z) − b) ∂/∂φ log q(z; φ), once for every sample z of q.

    E_q[∂/∂φ log q] = 0, so any baseline b that does not depend on z leaves the mean as it is. It changes the variance.
    f need not be differentiable, nor z continuous. The gradient of an ELBO follows with f(z) = log p(x, z) − log q(z),
    where the parameters of this q are held fixed.

    Args:
        f: z -> values, (samples, \\*event) -> (samples,), free of φ.
        family: builds q from its parameters, such as ``torch.distributions.Normal``.
        parameters: φ, the arguments of ``family``, for one variable z.
        samples: their number.
        baseline: b, a constant, or ``"leave-one-out"`` for the mean of f over all the other samples.

    Returns:
        One tensor (samples, \\*shape) for each parameter. Its mean over the samples is the estimate.

    Raises:
        TypeError: a parameter is not a tensor of float32 or float64; samples is not an integer; baseline is neither a
            number nor a word; f does not return a floating tensor.
        ValueError: samples < 1 (or < 2 with leave-one-out); the baseline is unknown; q is not one variable for each
            sample; f returns another shape, NaN or +∞.

    Source: R. Williams, Machine Learning 8, 1992.

    For f = z² and q = N(1, 1) the gradient in μ is 2, and one sample has the variance 30:

    >>> from torch.distributions import Normal
    >>> _ = torch.manual_seed(0)
    >>> one = torch.tensor(1.0)
    >>> in_mean, in_scale = score_gradient(torch.square, Normal, (one, one), samples=100_000)
    >>> f"{in_mean.mean():.1f} {in_mean.var():.0f}"
    '2.0 30'
    """
    if isinstance(baseline, str):
        require_choice(baseline, "baseline", ["leave-one-out"])
    else:
        baseline = require_number(baseline, "baseline")
    copies, q = _one_copy_per_sample(family, parameters, samples, low=2 if baseline == "leave-one-out" else 1)

    # f at one sample for each copy, and the score ∂/∂φ log q there.
    z = q.sample()  # (samples, *event)
    values = values_at(f, z, "f", (samples,)).detach()
    scores = torch.autograd.grad(q.log_prob(z).sum(), copies)  # (samples, *shape) each

    # A sample's own value must not enter its baseline: that would bias the estimate.
    others = (values.sum() - values) / max(samples - 1, 1)
    weights = values - (others if isinstance(baseline, str) else baseline)  # (samples,)
    return tuple(weights.reshape(-1, *[1] * (score.ndim - 1)) * score for score in scores)


def reparameterized_gradient(
    f: Function, family: Family, parameters: Sequence[Tensor], samples: int
) -> tuple[Tensor, ...]:
    """Estimate ∂/∂φ E_q[f(z)] by f′(g) ∂g/∂φ for z = g(ε, φ), once for every sample of the noise ε.

    The distribution of ε is free of φ, so the derivative passes inside the expectation. No absolute value belongs
    around ∂g/∂φ (erratum E26).

    Args:
        f: z -> values, (samples, \\*event) -> (samples,), differentiable and free of φ.
        family: builds q from its parameters; q must have ``rsample``.
        parameters: φ, the arguments of ``family``, for one variable z.
        samples: their number.

    Returns:
        One tensor (samples, \\*shape) for each parameter. Its mean over the samples is the estimate.

    Raises:
        TypeError: a parameter is not a tensor of float32 or float64; samples is not an integer; f does not return a
            floating tensor.
        ValueError: samples < 1; q cannot be reparameterized, or is not one variable for each sample; f is not
            differentiable, or returns another shape, NaN or +∞.

    Source: D. Kingma and M. Welling, ICLR 2014.

    The variance is 4 where `score_gradient` has 30:

    >>> from torch.distributions import Normal
    >>> _ = torch.manual_seed(0)
    >>> one = torch.tensor(1.0)
    >>> in_mean, in_scale = reparameterized_gradient(torch.square, Normal, (one, one), samples=100_000)
    >>> f"{in_mean.mean():.1f} {in_mean.var():.0f}"
    '2.0 4'
    """
    copies, q = _one_copy_per_sample(family, parameters, samples)
    if not q.has_rsample:
        raise ValueError(f"family: {type(q).__name__} cannot be reparameterized; use score_gradient")
    values = values_at(f, q.rsample(), "f", (samples,))
    if not values.requires_grad:
        raise ValueError("f: expected a differentiable function; use score_gradient for others")
    return torch.autograd.grad(values.sum(), copies)  # (samples, *shape) each


def _one_copy_per_sample(
    family: Family, parameters: Sequence[Any], samples: int, low: int = 1
) -> tuple[list[Tensor], Distribution]:
    """Copies (samples, \\*shape) of all parameters, and q with one sample for each copy.

    The gradient of a sum over the samples, in the copies, is the gradient of every sample, from one backward pass.
    """
    samples = require_integer(samples, "samples", low=low)
    for parameter in parameters:
        require_tensor(parameter, "parameters")
    copies = [p.detach().expand(samples, *p.shape).clone().requires_grad_() for p in parameters]
    q = require_instance(family(*copies), "family(...)", Distribution)
    if q.batch_shape != (samples,):
        raise ValueError(
            f"family: expected one variable z for these parameters, got the batch shape {tuple(q.batch_shape[1:])}; "
            "torch.distributions.Independent makes one vector of a batch"
        )
    return copies, q
