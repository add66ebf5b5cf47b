"""Exercises of lecture 9: tied weights, k-sparse codes, and an autoencoder against PCA."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coursekit import datasets
from coursekit.autoencoders import Autoencoder, reconstruction_error
from coursekit.exercises.checking import (
    Answer,
    Exercise,
    Exercises,
    Wrong,
    by_cases,
    require_module,
    require_result,
)
from coursekit.training import Descent, fit

X = torch.arange(6.0).view(2, 3)
Z = torch.tensor([[3.0, -5.0, 1.0, 0.5], [0.1, 0.2, -0.3, 0.4]])


def tied_reconstruction(x: Tensor, W: Tensor) -> Tensor:
    """WWᵀx for every row x: (n, d), (d, k) → (n, d)."""
    return x @ W @ W.T


def keep_largest(z: Tensor, k: int) -> Tensor:
    """z (n, m) with all but the k entries of largest magnitude in each row set to 0."""
    threshold = z.abs().sort(dim=1, descending=True).values[:, k - 1 : k]  # (n, 1)
    return torch.where(z.abs() >= threshold, z, 0.0)


def my_autoencoder() -> nn.Module:
    """A module with .encoder: (n, 64) → (n, 8) and .decoder: (n, 8) → (n, 64)."""
    return Autoencoder(
        nn.Sequential(nn.Linear(64, 192), nn.ReLU(), nn.Linear(192, 8)),
        nn.Sequential(nn.Linear(8, 192), nn.ReLU(), nn.Linear(192, 64)),
    )


def check_my_autoencoder(answer: Answer) -> str:
    """The answer's net, trained on the digits for 60 epochs, has at most 60 % of the test error of PCA at k = 8."""
    with torch.random.fork_rng():  # the student's random numbers stay as they are
        torch.manual_seed(0)
        model = require_module(answer())
    data = datasets.digits()
    mean = data.train.images.flatten(1).mean(dim=0)
    x, t = data.train.images.flatten(1) - mean, data.test.images.flatten(1) - mean  # (n, 64), (m, 64)
    _require_parts(model, x[:5])

    fit(Descent(model, lambda b: F.mse_loss(model(b), b), lr=2e-3), x, epochs=60, device="cpu")
    error, pca_error = reconstruction_error(model, t), _pca_error(x, t)
    weights = sum(p.numel() for p in model.parameters())
    if error > 0.6 * pca_error:
        raise Wrong(
            f"test error {error:.4f} after 60 epochs, {error / pca_error:.0%} of PCA's {pca_error:.4f}; "
            f"wanted at most 60 %. It has {weights} weights: is it wide enough, does it bend, may it be negative?"
        )
    return f"test error at most 60 % of PCA's, with {weights} weights"


def _require_parts(model: nn.Module, x: Tensor) -> None:
    """`Wrong` unless the model is decoder(encoder(x)) with eight numbers in between; x is (5, 64)."""
    encoder, decoder = _part(model, "encoder"), _part(model, "decoder")
    code = require_result(encoder(x), (5, 8), "codes of five digits")
    rebuilt = require_result(model(x), (5, 64), "reconstructions of five digits")
    if not torch.allclose(rebuilt, decoder(code), atol=1e-5):
        raise Wrong("the module's output is not decoder(encoder(x)): nothing may bypass the code")


def _part(model: nn.Module, name: str) -> Callable[[Tensor], Tensor]:
    part = getattr(model, name, None)
    if not callable(part):
        raise Wrong(f"the module has no .{name}; `ae.Autoencoder(encoder, decoder)` makes one that has")
    return part


def _pca_error(x: Tensor, t: Tensor) -> float:
    """The squared error per pixel with which eight principal components of x (n, 64) rebuild t (m, 64)."""
    from sklearn.decomposition import PCA

    pca = PCA(8).fit(x)
    return F.mse_loss(torch.as_tensor(pca.inverse_transform(pca.transform(t))).float(), t).item()


exercise = Exercises(
    by_cases(
        tied_reconstruction,
        {
            "a projection": (X, torch.eye(3)[:, :2]),
            "columns that are not orthonormal": (X, torch.tensor([[1.0, 2.0], [0.0, 1.0], [3.0, -1.0]])),
            "one row": (torch.ones(1, 4), torch.linspace(-1, 1, 8).view(4, 2)),
        },
    ),
    by_cases(
        keep_largest,
        {
            "positive entries": (Z.abs(), 2),
            "negative entries": (Z, 2),
            "k = all": (Z, 4),
            "one row": (-Z[:1], 1),
        },
    ),
    Exercise(my_autoencoder, check_my_autoencoder),
)
