"""Which pictures lie nearest: in pixels, or in what a layer makes of them."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

BLOCK = 2**23  # numbers in the largest temporary matrix: 64 MB in double precision


class Neighbours(NamedTuple):
    """The k nearest of every query, nearest first."""

    distances: Float[Tensor, "n k"]
    indices: Int[Tensor, "n k"]


def nearest_neighbours(queries: Float[Tensor, " n *d"], bank: Float[Tensor, " m *e"], k: int) -> Neighbours:
    """The k rows of ``bank`` with the smallest Euclidean distance ‖query − row‖ to each query.

    Rows may have any shape, pictures and activations too. The answer is exact: products of matrices find the
    candidates, whose distances are then computed from differences in double precision. Of equally near rows the first
    comes first. A query that is itself in the bank finds itself, at distance 0.

    Raises:
        ValueError: k is not in 1 … m; rows of different shapes; no queries or an empty bank; NaN or infinite entries.

    Source: Krizhevsky, Sutskever and Hinton, NeurIPS 2012, figure 4, which compares pictures in this way.
    """
    q, b = rows(queries, "queries"), rows(bank, "bank")  # (n, d), (m, d)
    if queries.shape[1:] != bank.shape[1:]:
        raise ValueError(
            f"queries and bank must have rows of one shape, got {tuple(queries.shape[1:])} and {tuple(bank.shape[1:])}"
        )
    if not 1 <= k <= len(b):
        raise ValueError(f"expected 1 ≤ k ≤ {len(b)}, the rows of the bank, got k={k}")
    found = [_nearest(part, b, k) for part in q.split(max(1, BLOCK // len(b)))]
    distances, indices = (torch.cat(parts).to(queries.device) for parts in zip(*found, strict=True))
    return Neighbours(distances.to(queries.dtype), indices)


def rows(x: Float[Tensor, " n *d"], name: str) -> Float64[Tensor, "n d"]:
    """Every row as one vector in double precision; an error for what has no distances."""
    if x.ndim < 2:
        raise ValueError(f"expected {name} as rows (n, …), got shape {tuple(x.shape)}")
    if x.numel() == 0:
        raise ValueError(f"expected at least one row of at least one number in {name}, got shape {tuple(x.shape)}")
    if bad := int((~x.isfinite()).sum()):
        raise ValueError(f"{bad} of {x.numel()} numbers in {name} are NaN or infinite")
    if x.device.type == "mps":  # has no double precision
        x = x.cpu()
    return x.detach().flatten(1).double()


def squared_distances(a: Float64[Tensor, "n d"], b: Float64[Tensor, "m d"]) -> Float64[Tensor, "n m"]:
    """‖aᵢ − bⱼ‖² = ‖aᵢ‖² + ‖bⱼ‖² − 2aᵢ·bⱼ by one product of matrices.

    The difference of large numbers costs digits where two rows are close: the error is near 1e-16 of the squared spread
    of the rows, which are centred for that reason. In single precision it would be near 1e-7, too much.
    """
    centre = b.mean(dim=0)
    a, b = a - centre, b - centre
    squares = torch.addmm(b.square().sum(dim=1), a, b.T, alpha=-2)  # (n, m)
    return squares.add_(a.square().sum(dim=1, keepdim=True)).clamp_(min=0)


def _nearest(q: Float64[Tensor, "n d"], b: Float64[Tensor, "m d"], k: int) -> tuple[Tensor, Tensor]:
    """Distances and indices (n, k). All rows within rounding of the k-th distance are candidates, so none is missed."""
    squares = squared_distances(q, b)
    kth = squares.kthvalue(k, dim=1, keepdim=True).values
    query, row = (squares <= kth + 1e-12 * squares.max()).nonzero(as_tuple=True)
    pairs = zip(*(index.split(max(1, BLOCK // q.shape[1])) for index in (query, row)), strict=True)
    distances = torch.cat([(q[i] - b[j]).square().sum(dim=1).sqrt() for i, j in pairs])

    order = distances.sort(stable=True).indices  # by distance, and by row where that is equal,
    order = order[query[order].sort(stable=True).indices]  # within each query
    candidates = query.bincount(minlength=len(q))
    first = candidates.cumsum(0) - candidates
    best = order[first[:, None] + torch.arange(k, device=q.device)]  # (n, k)
    return distances[best], row[best]
