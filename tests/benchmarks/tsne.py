"""The exact t-SNE of the digits, in quality and time, against scikit-learn's two methods and openTSNE's."""

import contextlib
import io
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.manifold import TSNE

from coursekit.interpret import joint_probabilities, tsne
from coursekit.interpret.tsne import kl_loss

from .harness import Figure

PERPLEXITY = 30


def scikit_learn(x: np.ndarray, method: str) -> np.ndarray:
    return TSNE(perplexity=PERPLEXITY, init="pca", method=method, random_state=0).fit_transform(x)


def open_tsne(x: np.ndarray) -> np.ndarray:
    import openTSNE

    return np.asarray(openTSNE.TSNE(perplexity=PERPLEXITY, negative_gradient_method="bh", random_state=0).fit(x))


def measure() -> Iterator[Figure]:
    torch.set_num_threads(1)
    x = load_digits().data.astype(np.float32)  # (1797, 64)
    p = joint_probabilities(torch.as_tensor(x), PERPLEXITY)
    contenders: dict[str, Callable[[], object]] = {
        "Barnes-Hut": lambda: scikit_learn(x, "barnes_hut"),
        "ours": lambda: tsne(torch.as_tensor(x), PERPLEXITY, progress=False).embedding,
        "openTSNE": lambda: open_tsne(x),
        "exact": lambda: scikit_learn(x, "exact"),  # takes a minute, so each contender runs only once
    }
    kl, seconds = {}, {}
    for name, run in contenders.items():
        start = time.process_time()
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                y = run()
        except ModuleNotFoundError as error:
            if error.name != "openTSNE":
                raise
            continue
        seconds[name] = time.process_time() - start
        kl[name] = kl_loss(p, torch.as_tensor(y).double()).item()

    yield Figure(
        "KL of our map, digits, perplexity 30",
        f"{kl['ours']:.4f}",
        f"≤ {kl['exact']:.4f}, scikit-learn's exact method",
        kl["ours"] <= kl["exact"],
        ", ".join(f"{name} {value:.4f}" for name, value in kl.items()),
    )
    cpu = ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items())
    for name, what, most in (("exact", "scikit-learn's exact method", 1 / 6), ("Barnes-Hut", "its Barnes-Hut", 1.5)):
        value = seconds["ours"] / seconds[name]
        yield Figure(f"CPU time of tsne ÷ {what}", f"{value:.3f}", f"≤ {most:.3f}", value <= most, cpu)
