"""Sparse coding: a picture as the sum of few atoms of a learned dictionary (Olshausen and Field).

No net and no label: what comes out of natural pictures looks like the first layer of a trained net all the same.
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

MAX_STEPS = 20_000  # of FISTA; a hundred will do, unless atoms are nearly the same


@torch.no_grad()
def sparse_code(
    x: Float[Tensor, "n d"],
    dictionary: Float[Tensor, "m _"],
    penalty: float,
    tolerance: float = 1e-4,
) -> Float[Tensor, "n m"]:
    """The codes z that minimize ½‖x − zD‖² + λ‖z‖₁ for every row x, by FISTA.

    From a look-ahead point y a gradient step and the soft threshold S,

        z′ = S(y − η(yD − x)Dᵀ, ηλ),   S(u, t) = sign(u)·max(|u| − t, 0),   η = 1/‖DDᵀ‖,

    then y = z′ + β(z′ − z). A row whose momentum points uphill starts again without (O'Donoghue and Candès 2015). It
    ends when the optimality conditions hold: the correlations g = (x − zD)Dᵀ are λ·sign(z) where z ≠ 0, and at most λ
    in magnitude elsewhere.

    Args:
        dictionary: D (m, d), one atom a row.
        penalty: λ > 0. Codes are 0 altogether where λ ≥ the largest |xDᵀ|.
        tolerance: how far g may be from the conditions, as a share of λ.

    Raises:
        ValueError: shapes that do not fit, no rows, NaN or infinite numbers, λ ≤ 0.
        RuntimeError: the conditions do not hold after 20 000 steps.

    Source: A. Beck and M. Teboulle, SIAM Journal on Imaging Sciences 2, 2009.
    """
    _check(x, penalty)
    if dictionary.shape[1:] != x.shape[1:]:
        raise ValueError(
            f"expected atoms as long as the rows of x, got x {tuple(x.shape)}, dictionary {tuple(dictionary.shape)}"
        )
    if not dictionary.isfinite().all():
        raise ValueError("the dictionary holds NaN or infinite numbers")
    gram, correlation = dictionary @ dictionary.T, x @ dictionary.T  # (m, m), (n, m)
    step = 1 / torch.linalg.matrix_norm(gram, 2).clamp_min(torch.finfo(x.dtype).tiny)
    z = torch.zeros_like(correlation)
    y, t = z, torch.ones_like(z[:, :1])  # t (n, 1) sets the momentum of each row
    for count in range(MAX_STEPS):
        if count % 10 == 0 and (gap := _violation(z, correlation - z @ gram, penalty)) <= tolerance * penalty:
            return z
        u = y - step * (y @ gram - correlation)
        new = u.sign() * (u.abs() - step * penalty).clamp_min(0)
        uphill = ((y - new) * (new - z)).sum(dim=1, keepdim=True) > 0
        t = torch.where(uphill, 1.0, t)
        t_new = (1 + (1 + 4 * t.square()).sqrt()) / 2
        y = new + (t - 1) / t_new * (new - z)
        z, t = new, t_new
    raise RuntimeError(
        f"after {MAX_STEPS} steps the correlations still miss the optimality conditions by {gap / penalty:.2g} of the "
        f"penalty, more than tolerance={tolerance:g}: allow a larger one, or compute in float64"
    )


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
    """A dictionary of unit-norm atoms in which the patches have sparse codes: min over D and z of the same objective.

    Turn by turn: sparse codes z of a batch for the dictionary as it is, then one pass over the atoms. With A = E[zᵀz]
    and B = E[zᵀx], running averages over the batches, the best unit vector for atom j, the others held, is
    u/‖u‖ with u = Bⱼ − Σₖ≠ⱼ AⱼₖDₖ. The codes of a batch are found to a tenth of the penalty, which is all that an
    average needs.

    Args:
        patches: one a row, whitened for natural pictures (`natural_patches`).
        atoms: how many, at most the number of patches; the dictionary starts as that many patches.

    Raises:
        ValueError: no patches, fewer than atoms, NaN or infinite numbers, a penalty ≤ 0.

    Sources: B. Olshausen and D. Field, Nature 381, 1996; the atoms' update: J. Mairal, F. Bach, J. Ponce and
    G. Sapiro, Journal of Machine Learning Research 11, 2010.
    """
    _check(patches, penalty)
    if not 1 <= atoms <= len(patches):
        raise ValueError(f"expected 1 ≤ atoms ≤ {len(patches)}, the number of patches, got {atoms}")
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(patches), generator=generator).to(patches.device)
    dictionary = F.normalize(patches[order[:atoms]])
    a = b = 0.0
    count = 0
    for _ in range(epochs):
        order = torch.randperm(len(patches), generator=generator).to(patches.device)
        for rows in order.split(batch_size):
            x = patches[rows]
            z = sparse_code(x, dictionary, penalty, tolerance=0.1)
            count += 1
            new = max(1 / count, 0.02)  # the share of this batch: later on the first ones are forgotten
            a = (1 - new) * a + new * z.T @ z / len(x)  # (m, m)
            b = (1 - new) * b + new * z.T @ x / len(x)  # (m, d)
            for j in range(atoms):
                u = b[j] - a[j] @ dictionary + a[j, j] * dictionary[j]
                if (length := u.norm()) > 0:
                    dictionary[j] = u / length
    return dictionary


def natural_patches(
    photographs: Iterable[Float[Tensor, "3 _ _"]], size: int, n: int, seed: int = 0
) -> Float[Tensor, "n d"]:
    """n square patches of whitened grey photographs, one a row of d = size² numbers; each picture has variance 1.

    Natural pictures have amplitudes that fall like 1/f, so that neighbouring pixels are almost equal. The filter
    f·exp(−(f/f₀)⁴), f₀ = 0.4 cycles a pixel, flattens the spectrum and leaves out the corners, where there is little
    but noise. All places of all pictures are equally likely, except within ``size`` pixels of an edge, where the filter
    wraps around.

    Raises:
        ValueError: no photographs, one smaller than four patches, n < 1.

    Source: B. Olshausen and D. Field, Nature 381, 1996.
    """
    if n < 1:
        raise ValueError(f"expected n ≥ 1 patches, got {n}")
    pictures = [_whitened(photograph.mean(dim=0), size) for photograph in photographs]
    if not pictures:
        raise ValueError("expected at least one photograph")
    windows = [picture.unfold(0, size, 1).unfold(1, size, 1) for picture in pictures]  # (rows, columns, size, size)
    generator = torch.Generator().manual_seed(seed)
    places = torch.tensor([float(w.shape[0] * w.shape[1]) for w in windows])
    picture = torch.multinomial(places, n, replacement=True, generator=generator)
    parts = []
    for w, count in zip(windows, picture.bincount(minlength=len(windows)), strict=True):
        row, column = (torch.randint(side, (int(count),), generator=generator) for side in w.shape[:2])
        parts.append(w[row, column].flatten(1))
    return torch.cat(parts)[torch.randperm(n, generator=generator)]


def _whitened(grey: Float[Tensor, "h w"], margin: int) -> Float[Tensor, "i j"]:
    """The picture after the filter f·exp(−(f/f₀)⁴), without its margin, of variance 1."""
    if min(grey.shape) < 4 * margin:
        raise ValueError(f"a photograph of {tuple(grey.shape)} pixels is smaller than four patches of {margin}")
    h, w = grey.shape
    f = torch.hypot(torch.fft.fftfreq(h)[:, None], torch.fft.rfftfreq(w))  # cycles a pixel
    filtered = torch.fft.irfft2(torch.fft.rfft2(grey) * f * torch.exp(-((f / 0.4) ** 4)), s=(h, w))
    inner = filtered[margin:-margin, margin:-margin]
    return inner / inner.std()


def _violation(z: Float[Tensor, "n m"], g: Float[Tensor, "n m"], penalty: float) -> float:
    """How far the correlations g are from λ·sign(z) where z ≠ 0, and from [−λ, λ] elsewhere, at most."""
    return torch.where(z == 0, (g.abs() - penalty).clamp_min(0), (g - penalty * z.sign()).abs()).max().item()


def _check(x: Float[Tensor, "n d"], penalty: float) -> None:
    if not penalty > 0:
        raise ValueError(f"expected a penalty > 0, got {penalty}")
    if len(x) == 0:
        raise ValueError("expected at least one row, got none")
    if bad := int((~x.isfinite()).sum()):
        raise ValueError(f"{bad} of {x.numel()} numbers are NaN or infinite")
