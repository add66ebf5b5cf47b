"""The evidence lower bound: what variational inference maximizes."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from coursekit.bayes.checks import values_at
from coursekit.validation import require_instance, require_integer


@dataclass(frozen=True)
class Estimate:
    """A Monte Carlo estimate and its standard error, one of each for every entry of the batch."""

    value: Float[Tensor, "*batch"]
    standard_error: Float[Tensor, "*batch"]


def elbo(log_joint: Callable[[Tensor], Tensor], q: Distribution, samples: int) -> Estimate:
    """Estimate the ELBO, L = E_q[log p(x, z) − log q(z)], with samples of q.

    log p(x) = L + KL(q‖p(z|x)), so L ≤ log p(x), with equality where q is the posterior. The value is differentiable in
    the parameters of q if q can be reparameterized (``q.has_rsample``), and in those of ``log_joint``.

    Args:
        log_joint: z -> log p(x, z), from (samples, \\*batch, \\*event) to (samples, \\*batch).
        q: the approximation, from ``torch.distributions``, with one ELBO for each entry of its batch. Wrap it in
            ``Independent`` if the entries of the batch are the components of one z.
        samples: their number. The standard error of a single sample is NaN.

    Returns:
        The estimate and its standard error, of shape ``q.batch_shape``.

    Raises:
        TypeError: q is not a distribution; samples is not an integer; log_joint does not return a floating tensor.
        ValueError: samples < 1; log_joint returns another shape, NaN or +∞.

    With the posterior as q every sample gives log p(x), here log N(1; 0, 2):

    >>> from torch.distributions import Normal
    >>> def log_joint(z):
    ...     return Normal(z, 1).log_prob(torch.tensor(1.0)) + Normal(0, 1).log_prob(z)
    >>> estimate = elbo(log_joint, Normal(0.5, 0.5**0.5), samples=100)
    >>> round(estimate.value.item(), 4), round(estimate.standard_error.item(), 4)
    (-1.5155, 0.0)
    """
    require_instance(q, "q", Distribution)
    samples = require_integer(samples, "samples", low=1)

    # Sample with the derivative where q allows it.
    z = q.rsample((samples,)) if q.has_rsample else q.sample((samples,))  # (samples, *batch, *event)
    log_q = q.log_prob(z)  # (samples, *batch)
    terms = values_at(log_joint, z, "log_joint", tuple(log_q.shape)) - log_q

    # The spread of the terms says how far their mean may be from the ELBO.
    value = terms.mean(dim=0)
    spread = terms.detach().std(dim=0) if samples > 1 else torch.full_like(value, math.nan)
    return Estimate(value, spread / math.sqrt(samples))
