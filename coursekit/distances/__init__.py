"""How far apart are two distributions? One idea has one module:

- ``divergences``  total variation, Kullback–Leibler and Jensen–Shannon between probability vectors
- ``transport``    Wasserstein distances: exact with the plan, on a line, over random directions, between Gaussians
- ``mmd``          the maximum mean discrepancy between samples, and its kernels
- ``ipm``          integral probability metrics on a grid: the best witness function of a family
"""

from coursekit.distances.divergences import js, kl, total_variation
from coursekit.distances.ipm import Witness, ipm
from coursekit.distances.mmd import Kernel, imq, mmd2, rbf
from coursekit.distances.transport import Transport, gaussian_w2, sliced_wasserstein, wasserstein, wasserstein_1d

__all__ = [
    "Kernel",
    "Transport",
    "Witness",
    "gaussian_w2",
    "imq",
    "ipm",
    "js",
    "kl",
    "mmd2",
    "rbf",
    "sliced_wasserstein",
    "total_variation",
    "wasserstein",
    "wasserstein_1d",
]
