"""Exercises of lecture 9: tied weights, k-sparse codes, the posterior mean, and an autoencoder against PCA."""

import copy
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from coursekit import datasets
from coursekit.autoencoders import Autoencoder
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

CODE = 8  # numbers in the code of the open exercise
ENOUGH = 0.75  # of the test error of PCA
X = torch.arange(6.0).view(2, 3)
Z = torch.tensor([[3.0, -5.0, 1.0, 0.5], [0.1, 0.2, -0.3, 0.4]])
DATA = torch.tensor([[-1.0, 0.0], [2.0, 0.0], [0.5, 1.5]])
SPACE = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])  # in the plane a mean is half of a sum
TIES = torch.tensor([[2.0, -2.0, 2.0, 1.0], [1.0, -1.0, 3.0, 1.0], [3.0, 1.0, -1.0, 1.0]])
STAY = torch.tensor([[2.0, 2.0], [1.0, 3.0], [1.0, 3.0]])  # the magnitudes that stay in each row of TIES if k = 2


def tied_reconstruction(x: Tensor, W: Tensor) -> Tensor:
    """WWᵀx for every row x: (n, d), (d, k) → (n, d)."""
    return x @ W @ W.T


def keep_largest(z: Tensor, k: int) -> Tensor:
    """z (n, m) with all but the k entries of largest magnitude in each row set to 0."""
    places = z.abs().topk(k, dim=1).indices  # (n, k)
    return torch.zeros_like(z).scatter(1, places, z.gather(1, places))


def check_keep_largest(answer: Answer) -> str:
    """The answer is right on all cases, and of entries of equal magnitude it keeps no more than k."""
    praise = KEEP_LARGEST.check(answer)
    kept = require_result(answer(TIES.clone(), 2), (3, 4), "a row for each row of z")
    for count in kept.count_nonzero(dim=1).tolist():
        if count != 2:
            raise Wrong(f"{praise}; of entries of equal magnitude it keeps {count} where k = 2")
    unchanged = bool(((kept == 0) | (kept == TIES)).all())
    if not unchanged or not torch.equal(kept.abs().sort(dim=1).values[:, 2:].float(), STAY):
        raise Wrong(f"{praise}; wrong on entries of equal magnitude")
    return f"{praise}, equal magnitudes"


def posterior_mean(noisy: Tensor, data: Tensor, sigma: float) -> Tensor:
    """Σᵢ wᵢxᵢ for every row of noisy: (n, d), (m, d) → (n, d)."""
    return torch.softmax(-torch.cdist(noisy, data).square() / (2 * sigma**2), dim=1) @ data


def my_autoencoder() -> nn.Module:
    """A module with .encoder: (n, 64) → (n, 8) and .decoder: (n, 8) → (n, 64)."""
    return Autoencoder(
        nn.Sequential(nn.Linear(64, 192), nn.ReLU(), nn.Linear(192, CODE)),
        nn.Sequential(nn.Linear(CODE, 192), nn.ReLU(), nn.Linear(192, 64)),
    )


def check_my_autoencoder(answer: Answer) -> str:
    """The answer's parts, trained on the digits for 60 epochs, have at most 75 % of the test error of PCA at k = 8."""
    model = _new(answer)
    x, t = _digits()  # (n, 64), (m, 64)
    encoder, decoder = _part(model, "encoder"), _part(model, "decoder")
    code = require_result(encoder(x[:5]), (5, CODE), "codes of five digits")
    require_result(decoder(code), (5, 64), "reconstructions of five digits")

    pca_error = _pca_error(x, t)
    if _error_through_the_code(model, x, t) <= ENOUGH * pca_error:
        raise Wrong("it rebuilds the test digits before it has learned anything, so it knows them from elsewhere")
    fit(Descent(model, lambda b: F.mse_loss(decoder(encoder(b)), b), lr=2e-3), x, epochs=60, device="cpu")
    error = _error_through_the_code(_as_new(answer, model), x, t)
    numbers = _numbers_in(model)
    if error > ENOUGH * pca_error:
        raise Wrong(
            f"test error {error:.4f} after 60 epochs, {error / pca_error:.1%} of PCA's {pca_error:.4f}; "
            f"wanted at most 75 %. It stores {numbers} values. Is it wide enough? Has its decoder a nonlinearity? "
            "Can its outputs be negative (the digits are centred)? "
            "60 epochs are few; ReLU will do. "
            "Only the code passes from the encoder to the decoder, with noise of 0.4 % of its range on each number"
        )
    return f"test error about {5 * round(20 * error / pca_error)} % of PCA's, with {numbers} stored values"


def _new(answer: Answer) -> nn.Module:
    with torch.random.fork_rng(devices=[]):  # the student's random numbers stay as they are
        torch.manual_seed(0)
        return require_module(answer())


def _as_new(answer: Answer, trained: nn.Module) -> nn.Module:
    """A new net with what the trained one has learned, but not what else it keeps, such as a count of its calls."""
    model = _new(answer)
    model.load_state_dict(trained.state_dict())
    return model


def _part(model: nn.Module, name: str) -> Callable[[Tensor], Tensor]:
    part = getattr(model, name, None)
    if not callable(part):
        raise Wrong(f"the module has no .{name}; `ae.Autoencoder(encoder, decoder)` makes one that has")
    return part


def _numbers_in(model: nn.Module) -> int:
    """All numbers that the net holds, learned or not, so that a table of digits is counted as well."""
    plain = [it for module in model.modules() for it in vars(module).values() if isinstance(it, Tensor)]
    return sum(it.numel() for it in (*model.parameters(), *model.buffers(), *plain))


@torch.no_grad()
def _error_through_the_code(model: nn.Module, x: Tensor, t: Tensor) -> float:
    """The squared error per pixel of the test digits t (m, 64) if nothing but their codes reaches the decoder.

    The encoder itself never meets t, so that it cannot leave the images where the decoder finds them: its arithmetic is
    recorded on training digits, and a copy of the record is played on t. Each number of a code gets noise of 0.4 % of
    its range, so that it cannot hold the pixels in its last digits.
    """
    model.eval()
    record = _record(_part(copy.deepcopy(model), "encoder"), x[: len(t)], x[-len(t) :])
    code = require_result(record(t), (len(t), CODE), "a code for each test digit")
    spread = code.amax(dim=0) - code.amin(dim=0)  # (8,)
    noisy = code + 0.004 * spread * torch.randn(code.shape, generator=torch.Generator().manual_seed(0))
    rebuilt = require_result(_part(model, "decoder")(noisy), (len(t), 64), "a reconstruction of each code")
    return F.mse_loss(rebuilt, t).item()


def _record(encoder: Callable[[Tensor], Tensor], images: Tensor, others: Tensor) -> nn.Module:
    """The steps that the encoder takes on these images, which must give its codes for other images as well."""
    refusal = "the encoder takes other steps on other digits: use torch's functions only, and no `if` on values"
    try:
        record = copy.deepcopy(make_fx(lambda it: encoder(it))(images))
    except RuntimeError as error:  # of the recorder: the encoder itself has trained without one
        raise Wrong(refusal) from error
    codes = []
    for part in (record, encoder):
        torch.manual_seed(0)  # for encoders that add noise
        codes.append(part(others))
    if not torch.allclose(codes[0], codes[1], rtol=1e-3, atol=1e-5):
        raise Wrong(refusal)
    return record


def _digits() -> tuple[Tensor, Tensor]:
    """The 8×8 digits to learn from and those to test on, one a row, less the mean of the former.

    Each is turned by about 90° and moved a little, so that a table of the known digits does not hold them. PCA and
    nets do not mind.
    """
    data, generator = datasets.digits(), torch.Generator().manual_seed(0)
    x, t = (_bent(it.images.rot90(dims=(2, 3)), generator).flatten(1) for it in (data.train, data.test))
    return x - x.mean(dim=0), t - x.mean(dim=0)


def _bent(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image (n, 1, 8, 8) turned by up to 12° and moved by up to half a pixel, at random."""
    angle = (2 * torch.rand(len(images), generator=generator) - 1) * math.radians(12)
    shift = (2 * torch.rand(len(images), 2, generator=generator) - 1) / images.shape[-1]  # the side has length 2
    turns = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=1).view(-1, 2, 2)
    maps = torch.cat([turns, shift[:, :, None]], dim=2)  # (n, 2, 3)
    grid = F.affine_grid(maps, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def _pca_error(x: Tensor, t: Tensor) -> float:
    """The squared error per pixel with which eight principal components of x (n, 64) rebuild t (m, 64)."""
    from sklearn.decomposition import PCA

    pca = PCA(CODE).fit(x)
    return F.mse_loss(torch.as_tensor(pca.inverse_transform(pca.transform(t))).float(), t).item()


KEEP_LARGEST = by_cases(
    keep_largest,
    {
        "positive entries": (Z.abs(), 2),
        "negative entries": (Z, 2),
        "k = all": (Z, 4),
        "rows of different size": (Z * torch.tensor([[0.01], [100.0]]), 2),
        "nearly equal": (torch.tensor([[1.0, 1.00005, 0.2, -1.0001]]), 2),
        "one row": (-Z[:1], 1),
    },
)

exercise = Exercises(
    by_cases(
        tied_reconstruction,
        {
            "a projection": (X, torch.eye(3)[:, :2]),
            "columns that are not orthonormal": (X, torch.tensor([[1.0, 2.0], [0.0, 1.0], [3.0, -1.0]])),
            "one row": (torch.ones(1, 4), torch.linspace(-1, 1, 8).view(4, 2)),
        },
    ),
    Exercise(keep_largest, check_keep_largest),
    by_cases(
        posterior_mean,
        {
            "one point": (torch.tensor([[0.2, 0.1]]), DATA, 1.0),
            "less noise": (torch.tensor([[0.2, 0.1]]), DATA, 0.5),
            "several points": (torch.tensor([[0.2, 0.1], [1.0, -1.0]]), DATA, 0.7),
            "in space": (torch.tensor([[0.2, 0.1, -0.4]]), SPACE, 1.0),
            "far from all data": (torch.tensor([[0.2, 0.1], [100.0, -100.0]]), DATA, 0.1),
        },
        hints={
            "far from all data": "each exp(−…) is 0 there, and 0/0 is NaN; "
            "subtract the largest exponent of each row first, as softmax does"
        },
    ),
    Exercise(my_autoencoder, check_my_autoencoder),
)
