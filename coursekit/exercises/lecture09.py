"""Exercises of the lecture on autoencoders."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from torch import nn

from coursekit import datasets
from coursekit.autoencoders import reconstruction_error
from coursekit.exercises.checking import Exercises, Wrong, against
from coursekit.training import Descent, fit


def _tied_reconstruction(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return x @ weight @ weight.T


def _keep_largest(z: torch.Tensor, k: int) -> torch.Tensor:
    threshold = z.abs().sort(dim=1, descending=True).values[:, k - 1 : k]
    return torch.where(z.abs() >= threshold, z, 0.0)


def _my_autoencoder(function: Callable[[], nn.Module]) -> str:
    """Train the student's net on the digits and compare it with PCA at k = 8."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = function()
    if not isinstance(model, nn.Module):
        raise Wrong(f"expected a torch module, got {type(model).__name__}")
    data = datasets.digits()
    mean = data.train.images.flatten(1).mean(dim=0)
    x, t = data.train.images.flatten(1) - mean, data.test.images.flatten(1) - mean  # (n, 64), (m, 64)
    for part in ("encoder", "decoder"):
        if not hasattr(model, part):
            raise Wrong(f"the module has no .{part}; `ae.Autoencoder(encoder, decoder)` makes one that has")
    code = model.encoder(x[:5])
    if code.shape != (5, 8):
        raise Wrong(f"expected codes of shape (5, 8) for five pictures, got {tuple(code.shape)}")
    if (rebuilt := model(x[:5])).shape != (5, 64):
        raise Wrong(f"expected reconstructions of shape (5, 64), got {tuple(rebuilt.shape)}")
    if not torch.allclose(rebuilt, model.decoder(code), atol=1e-5):
        raise Wrong("the module's output is not decoder(encoder(x)): nothing may bypass the code")

    fit(Descent(model, lambda b: F.mse_loss(model(b), b), lr=2e-3), x, epochs=60, device="cpu")
    error = reconstruction_error(model, t)
    pca = PCA(8).fit(x)
    pca_error = F.mse_loss(torch.as_tensor(pca.inverse_transform(pca.transform(t))).float(), t).item()
    weights = sum(p.numel() for p in model.parameters())
    if error > 0.6 * pca_error:
        raise Wrong(
            f"test error {error:.4f} after 60 epochs, {error / pca_error:.0%} of PCA's {pca_error:.4f}; "
            f"wanted at most 60 %. It has {weights} weights: is it wide enough, does it bend, may it be negative?"
        )
    return f"test error at most 60 % of PCA's, with {weights} weights"


_z = torch.tensor([[3.0, -5.0, 1.0, 0.5], [0.1, 0.2, -0.3, 0.4]])

exercise = Exercises(
    tied_reconstruction=against(
        _tied_reconstruction,
        {
            "a projection": (torch.arange(6.0).view(2, 3), torch.eye(3)[:, :2]),
            "columns that are not orthonormal": (
                torch.arange(6.0).view(2, 3),
                torch.tensor([[1.0, 2.0], [0.0, 1.0], [3.0, -1.0]]),
            ),
            "one row": (torch.ones(1, 4), torch.linspace(-1, 1, 8).view(4, 2)),
        },
    ),
    keep_largest=against(
        _keep_largest,
        {
            "positive entries": (_z.abs(), 2),
            "negative entries": (_z, 2),
            "k = all": (_z, 4),
            "one row": (-_z[:1], 1),
        },
    ),
    my_autoencoder=_my_autoencoder,
)
