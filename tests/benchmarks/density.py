"""The kernel density estimate in the plane, in time, against scipy's and scikit-learn's, and its memory."""

import resource
import sys
import time
from collections.abc import Iterator

import numpy as np
import torch
from scipy.stats import gaussian_kde
from sklearn.neighbors import KernelDensity

from coursekit.density import kde

from .harness import Figure, interleave, ratio, spread

N = 10_000
BANDWIDTH = 0.2


def peak_memory() -> float:
    """GiB that this process has held at most so far."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def measure() -> Iterator[Figure]:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    data, points = torch.randn(2, N, 2, generator=generator, dtype=torch.float64)
    scipys = gaussian_kde(data.T.numpy(), bw_method=BANDWIDTH)
    brute_force = KernelDensity(bandwidth=BANDWIDTH, leaf_size=N, rtol=0).fit(data.numpy())  # a tree of one leaf
    x = points.numpy()

    exact = brute_force.score_samples(x[:500])
    gap = np.abs(kde(points[:500], data, BANDWIDTH).log().numpy() - exact).max()
    yield Figure("log kde − scikit-learn's, largest", f"{gap:.1e}", "≤ 1e-10", bool(gap <= 1e-10))

    seconds = interleave(
        {
            "ours": lambda: kde(points, data, BANDWIDTH),
            "scipy": lambda: scipys(x.T),
            "scikit-learn": lambda: brute_force.score_samples(x),
        },
        rounds=5,
        clock=time.process_time,
    )
    for name, what in (("scipy", "scipy's gaussian_kde"), ("scikit-learn", "scikit-learn's brute force")):
        value = ratio(seconds["ours"], seconds[name])
        detail = f"{spread(seconds['ours'])} s and {spread(seconds[name])} s, {N} points at {N}, d = 2"
        yield Figure(f"CPU time of kde ÷ {what}", f"{value:.2f}", "≤ 1", value <= 1, detail)

    before = peak_memory()
    many = torch.randn(10 * N, 2, generator=generator, dtype=torch.float64)
    kde(points, many, BANDWIDTH)
    held = peak_memory() - before
    yield Figure(f"more memory for {10 * N} points at {N}", f"{held:.2f} GiB", "≤ 1 GiB", held <= 1)
