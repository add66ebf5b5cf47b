"""Sparse coding: an image patch as a sum of few atoms from a learned dictionary (Olshausen and Field).

It uses no net and no labels. Still, the atoms learned from natural images look like the first layer of a trained net.
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from coursekit.validation import require_integer, require_number, require_same_dtype, require_tensor

MAX_STEPS = 20_000  # of FISTA; a hundred are enough, unless some atoms are almost equal


@torch.no_grad()
def sparse_code(
    x: Float[Tensor, "n d"],
    dictionary: Float[Tensor, "m _"],
    penalty: float,
    tolerance: float = 1e-4,
) -> Float[Tensor, "n m"]:
    """Find the codes z that minimize ½‖x − zD‖² + λ‖z‖₁ for every row x, by FISTA.

    Each step takes a gradient step from a look-ahead point y, applies the soft threshold S, and looks ahead again:

        z′ = S(y − η(yD − x)Dᵀ, ηλ),   S(u, t) = sign(u)·max(|u| − t, 0),   η = 1/‖DDᵀ‖,
        y = z′ + β(z′ − z).

    Where the momentum of a row points uphill, it restarts from zero (O'Donoghue and Candès 2015). The algorithm stops
    when the optimality conditions hold: the correlations g = (x − zD)Dᵀ equal λ·sign(z) where z ≠ 0, and lie in
    [−λ, λ] elsewhere.

    Args:
        x: n rows of d numbers.
        dictionary: D (m, d), one atom in each row.
        penalty: λ > 0. All codes are 0 if λ is at least the largest |xDᵀ|.
        tolerance: how far g may be from the conditions, as a fraction of λ.

    Raises:
        TypeError: x and dictionary are not tensors of one dtype, float32 or float64.
        ValueError: the rows and atoms have different lengths, are empty, or hold NaN or infinity; penalty or tolerance
            is not positive.
        RuntimeError: the conditions do not hold after ``MAX_STEPS`` steps.

    Source: A. Beck and M. Teboulle, SIAM Journal on Imaging Sciences 2, 2009.

    With orthonormal atoms the code is the soft threshold of xDᵀ:

    >>> sparse_code(torch.tensor([[3.0, -2.0, 0.5]]), torch.eye(3), penalty=1.0)
    tensor([[ 2., -1.,  0.]])
    """
    require_tensor(x, "x", "n d")
    require_tensor(dictionary, "dictionary", f"m {x.shape[1]}")
    require_same_dtype(x, dictionary, "x and dictionary")
    penalty = require_number(penalty, "penalty", above=0)
    tolerance = require_number(tolerance, "tolerance", above=0)

    gram, correlation = dictionary @ dictionary.T, x @ dictionary.T  # (m, m), (n, m)
    step = 1 / torch.linalg.matrix_norm(gram, 2).clamp_min(torch.finfo(x.dtype).tiny)
    z = torch.zeros_like(correlation)  # (n, m)
    y, t = z, torch.ones_like(z[:, :1])  # t (n, 1) sets the momentum of each row
    for count in range(MAX_STEPS):
        if count % 10 == 0 and (gap := _violation(z, correlation - z @ gram, penalty)) <= tolerance * penalty:
            return z

        # Gradient step from the look-ahead point, then the soft threshold.
        u = y - step * (y @ gram - correlation)
        new = u.sign() * (u.abs() - step * penalty).clamp_min(0)

        # Momentum; rows where it points uphill restart.
        uphill = ((y - new) * (new - z)).sum(dim=1, keepdim=True) > 0
        t = torch.where(uphill, 1.0, t)
        t_new = (1 + (1 + 4 * t.square()).sqrt()) / 2
        y = new + (t - 1) / t_new * (new - z)
        z, t = new, t_new
    raise RuntimeError(
        f"after {MAX_STEPS} steps the correlations still miss the optimality conditions by {gap / penalty:.2g} of the "
        f"penalty, more than tolerance={tolerance:g}: allow a larger one, or compute in float64"
    )


def _violation(z: Float[Tensor, "n m"], g: Float[Tensor, "n m"], penalty: float) -> float:
    """The largest distance of the correlations g from λ·sign(z) where z ≠ 0, and from [−λ, λ] elsewhere."""
    return torch.where(z == 0, (g.abs() - penalty).clamp_min(0), (g - penalty * z.sign()).abs()).max().item()


@torch.no_grad()
def learn_dictionary(
    patches: Float[Tensor, "n d"],
    atoms: int,
    penalty: float,
    *,
    epochs: int = 5,
    batch_size: int = 256,
    seed: int = 0,
) -> Float[Tensor, "atoms d"]:
    """Learn a dictionary of unit-norm atoms: minimize ½‖x − zD‖² + λ‖z‖₁ over D and z, on average over the patches x.

    Two steps alternate for every batch. First, find sparse codes z with the current dictionary. Then update the atoms
    one by one. With the running averages A = E[zᵀz] and B = E[zᵀx], the best unit vector for atom j, with the others
    fixed, is u/‖u‖ for u = Bⱼ − Σₖ≠ⱼ AⱼₖDₖ.

    Args:
        patches: n rows of d numbers; natural images are whitened first (`natural_patches`).
        atoms: their number, at most n. The initial atoms are randomly chosen patches.
        penalty: λ > 0.
        epochs: passes over the patches; with 0 the initial dictionary is returned.
        batch_size: patches in a batch.
        seed: of the initial atoms and of the order of the patches.

    Raises:
        TypeError: patches is not a tensor of float32 or float64; an integer is expected and something else given.
        ValueError: patches is empty, or holds NaN or infinity; a number is out of range; an initial atom is all zeros.

    Sources: B. Olshausen and D. Field, Nature 381, 1996; update of the atoms: J. Mairal, F. Bach, J. Ponce and
    G. Sapiro, Journal of Machine Learning Research 11, 2010.
    """
    require_tensor(patches, "patches", "n d")
    atoms = require_integer(atoms, "atoms", low=1, high=len(patches))
    penalty = require_number(penalty, "penalty", above=0)
    epochs = require_integer(epochs, "epochs", low=0)
    batch_size = require_integer(batch_size, "batch_size", low=1)
    seed = require_integer(seed, "seed", low=0)

    # The initial atoms are random patches, scaled to norm 1.
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(patches), generator=generator).to(patches.device)
    dictionary = F.normalize(patches[order[:atoms]])  # (m, d)
    if not torch.allclose(dictionary.norm(dim=1), dictionary.new_ones(())):
        raise ValueError("patches: expected no patch of zeros among the initial atoms, or nearly so; leave those out")

    a, b = patches.new_zeros(atoms, atoms), torch.zeros_like(dictionary)  # running averages of zᵀz and zᵀx
    batches = 0
    for _ in range(epochs):
        order = torch.randperm(len(patches), generator=generator).to(patches.device)
        for rows in order.split(batch_size):
            # Code the batch. An average does not need exact codes.
            x = patches[rows]  # (batch, d)
            z = sparse_code(x, dictionary, penalty, tolerance=0.1)  # (batch, m)

            # Average over all batches at first, later over about the last 50, since old codes are outdated.
            batches += 1
            weight = max(1 / batches, 0.02)
            a = (1 - weight) * a + weight * z.T @ z / len(x)  # (m, m)
            b = (1 - weight) * b + weight * z.T @ x / len(x)  # (m, d)
            _update_atoms(dictionary, a, b)
    return dictionary


def _update_atoms(dictionary: Float[Tensor, "m d"], a: Float[Tensor, "m m"], b: Float[Tensor, "m d"]) -> None:
    """Replace each atom in turn by the best unit vector, with the others fixed; an unused atom stays."""
    for j in range(len(dictionary)):
        u = b[j] - a[j] @ dictionary + a[j, j] * dictionary[j]  # (d,)
        if (length := u.norm()) > 0:
            dictionary[j] = u / length


def natural_patches(
    photographs: Iterable[Float[Tensor, "3 _ _"]], size: int, n: int, seed: int = 0
) -> Float[Tensor, "n d"]:
    """Cut n square patches from whitened grey photographs; each row holds the d = size² numbers of one patch.

    The amplitudes of natural images fall like 1/f, so neighbouring pixels are almost equal. The filter f·exp(−(f/f₀)⁴)
    with f₀ = 0.4 cycles per pixel flattens the spectrum, and removes the highest frequencies, which are mostly noise.
    Each photograph is then scaled to variance 1. Patches are drawn uniformly from all positions of all photographs,
    except within ``size`` pixels of an edge, where the filter wraps around.

    Args:
        photographs: colour images (3, h, w).
        size: the side of a patch in pixels, at most a quarter of the shortest side.
        n: the number of patches.
        seed: of the positions.

    Raises:
        TypeError: a photograph is not a tensor of float32 or float64; an integer is expected and something else given.
        ValueError: there is no photograph, or one is too small, constant, or holds NaN or infinity; size or n < 1.

    Source: B. Olshausen and D. Field, Nature 381, 1996.
    """
    size = require_integer(size, "size", low=1)
    n = require_integer(n, "n", low=1)
    seed = require_integer(seed, "seed", low=0)
    images = [_whitened(photograph, size) for photograph in photographs]  # (i, j) each
    if not images:
        raise ValueError("photographs: expected at least one")

    # Draw an image for every patch, in proportion to the number of positions.
    windows = [image.unfold(0, size, 1).unfold(1, size, 1) for image in images]  # (rows, columns, size, size) each
    generator = torch.Generator().manual_seed(seed)
    positions = torch.tensor([float(w.shape[0] * w.shape[1]) for w in windows])
    drawn = torch.multinomial(positions, n, replacement=True, generator=generator)  # (n,)

    # Draw the positions image by image, then shuffle the patches.
    parts = []
    for w, count in zip(windows, drawn.bincount(minlength=len(windows)), strict=True):
        row, column = (torch.randint(side, (int(count),), generator=generator) for side in w.shape[:2])
        parts.append(w[row, column].flatten(1))  # (count, d)
    return torch.cat(parts)[torch.randperm(n, generator=generator)]


def _whitened(photograph: Float[Tensor, "3 h w"], margin: int) -> Float[Tensor, "i j"]:
    """The grey image after the filter f·exp(−(f/f₀)⁴), without its margin, scaled to variance 1."""
    require_tensor(photograph, "photographs", "3 h w")
    h, w = photograph.shape[1:]
    if min(h, w) < 4 * margin:
        raise ValueError(f"photographs: expected sides of at least 4 patches of {margin} pixels, got {h}×{w}")
    grey = photograph.mean(dim=0)  # (h, w)
    if grey.min() == grey.max():
        raise ValueError(f"photographs: expected different grey values in each, got one with {grey[0, 0]:.3g} only")

    f = torch.hypot(torch.fft.fftfreq(h)[:, None], torch.fft.rfftfreq(w))  # (h, w // 2 + 1), cycles per pixel
    filtered = torch.fft.irfft2(torch.fft.rfft2(grey) * f * torch.exp(-((f / 0.4) ** 4)), s=(h, w))
    inner = filtered[margin:-margin, margin:-margin]
    return inner / inner.std()
