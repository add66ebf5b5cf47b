"""t-SNE from its definition: a map of n points in which neighbours stay neighbours.

Source: L. van der Maaten and G. Hinton, Visualizing data using t-SNE, JMLR 9, 2008.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor
from tqdm import tqdm

from coursekit.interpret.neighbours import as_vectors, squared_distances
from coursekit.validation import require_integer, require_number, require_tensor

EXACT_UP_TO = 3000  # points: 15 s on one core
EXACT_ON_GPU_UP_TO = 60_000  # points: 60 GB at the peak
EXAGGERATION, EARLY_STEPS = 4, 100  # the paper's factor; today's usual 12 makes a few hundred points fall on a line
BARNES_HUT_STEPS = 300  # the fewest: during the first 250, P is exaggerated and no KL is reported
BLOCK = 128  # rows of a matrix of pairs, few enough to stay in the processor's cache; on a GPU, `_rows` takes more
PAIRS = 2**27  # numbers in the largest temporary matrix: 1 GB in double precision
RECORD_EVERY = 10  # steps


@dataclass(frozen=True, eq=False)
class Embedding:
    """The result of `tsne`.

    Attributes:
        embedding: the map y, one row for each point.
        kl: KL(P‖Q) of the map in nats.
        history: KL(P‖Q) by the number of steps taken.
        snapshots: the maps after the requested numbers of steps.
        method: the implementation that ran.
    """

    embedding: Float[Tensor, "n dim"]
    kl: float
    history: dict[int, float]
    snapshots: dict[int, Tensor]
    method: Literal["exact", "Barnes-Hut (scikit-learn)"]


def conditional_probabilities(x: Float[Tensor, " n *d"], perplexity: float) -> Float64[Tensor, "n n"]:
    """Compute p_{j|i} = exp(−βᵢ‖xᵢ − xⱼ‖²) / Σ_{k≠i} exp(−βᵢ‖xᵢ − x_k‖²), p_{i|i} = 0, with βᵢ = 1/2σᵢ².

    βᵢ is chosen so that row i has the given perplexity 2^H(Pᵢ), where H(Pᵢ) = −Σⱼ p_{j|i} log₂ p_{j|i} (erratum E02).
    The perplexity is the effective number of neighbours. If at least that many points are all nearest to xᵢ, at the
    same distance, no βᵢ reaches it. The row is then uniform on these points, which is its limit for βᵢ → ∞.

    Args:
        x: n ≥ 3 points, as rows of any shape.
        perplexity: in [1, n − 1).

    Returns:
        The matrix with p_{j|i} in row i and column j.

    Raises:
        TypeError: x is not a tensor of float32 or float64.
        ValueError: the perplexity is out of range; x has fewer than 3 points, or holds NaN or infinity.

    >>> conditional_probabilities(torch.tensor([[0.0], [1.0], [3.0]]), perplexity=1)
    tensor([[0., 1., 0.],
            [1., 0., 0.],
            [0., 1., 0.]], dtype=torch.float64)
    """
    points, perplexity = _require_points(x, perplexity)
    p = points.new_empty(len(points), len(points))  # (n, n)
    rows = max(1, PAIRS // len(points))
    for i in range(0, len(points), rows):
        p[i : i + rows] = _conditional_rows(points, i, rows, perplexity)
    return p


def _conditional_rows(points: Float64[Tensor, "n d"], i: int, rows: int, perplexity: float) -> Float64[Tensor, "r n"]:
    """The rows of p_{j|i} from the i-th on. Each row is found alone, so large matrices can be made in parts."""
    d = squared_distances(points[i : i + rows], points)  # (r, n)
    itself = d.diagonal(offset=i)  # (r,): ‖xᵢ − xᵢ‖², written below
    rounding = 1e-12 * d.mean(dim=1, keepdim=True)  # (r, 1)

    # Shift each row so that its smallest distance is 0. This changes no p, and the largest exp(−βd) becomes 1.
    itself.fill_(math.inf)
    d -= d.min(dim=1, keepdim=True).values
    nearest = d <= rounding  # (r, n)

    # Scale each row to mean 1, so that the search for β starts at the right size.
    itself.fill_(0)
    d /= d.mean(dim=1, keepdim=True).clamp_min(1e-300)

    # Where too many points are nearest, the row is uniform on them.
    count = nearest.sum(dim=1, keepdim=True)  # (r, 1)
    uniform = count >= perplexity
    p = _match_perplexity(d, i, perplexity, skip=uniform[:, 0])
    return torch.where(uniform, nearest.to(p) / count, p)


def _match_perplexity(
    d: Float64[Tensor, "r n"], i: int, perplexity: float, skip: Bool[Tensor, " r"]
) -> Float64[Tensor, "r n"]:
    """p_{j|i} ∝ exp(−βᵢdᵢⱼ) with the given perplexity in every row from the i-th on, except in those to skip.

    Newton's method finds log βᵢ, usually within ten steps. Bisection takes over where Newton's step is not trusted.
    """
    log_beta = torch.zeros_like(d[:, 0])  # (r,)
    low, high = torch.full_like(log_beta, -math.inf), torch.full_like(log_beta, math.inf)
    for _ in range(200):
        # Probabilities at the current β.
        beta = log_beta.exp()
        p = torch.exp(-beta[:, None] * d)  # (r, n)
        p.diagonal(offset=i).fill_(0)
        z = p.sum(dim=1)
        p /= z[:, None]

        # How much the entropy, log z + β E[d] in nats, exceeds the one wanted.
        mean, square = torch.einsum("ij,ij->i", p, d), torch.einsum("ij,ij,ij->i", p, d, d)  # E[d], E[d²]
        excess = z.log() + beta * mean - math.log(perplexity)  # (r,)
        done = skip | (excess.abs() < 1e-10)
        if bool(done.all()):
            break

        # The entropy falls as β grows, so the sign of the excess narrows the bracket of log β.
        low, high = torch.where(excess > 0, log_beta, low), torch.where(excess > 0, high, log_beta)

        # Newton's step, since dH/d log β = −β² Var(d); or the middle of the bracket, doubling while it is open.
        newton = log_beta + excess / (beta**2 * (square - mean**2))
        bisected = torch.where((high - low).isinf(), log_beta + 2 * excess.sign(), (low + high) / 2)
        trusted = (low < newton) & (newton < high) & ((newton - log_beta).abs() < 2)
        log_beta = torch.where(done, log_beta, torch.where(trusted, newton, bisected))
    return p


def joint_probabilities(x: Float[Tensor, " n *d"], perplexity: float) -> Float64[Tensor, "n n"]:
    """Compute P with p_ij = (p_{j|i} + p_{i|j})/2n, from `conditional_probabilities`.

    P is symmetric with sum 1. It does not change when x is translated, rotated or scaled.

    Args:
        x: n ≥ 3 points, as rows of any shape.
        perplexity: in [1, n − 1).

    Raises:
        TypeError, ValueError: as `conditional_probabilities`.

    Every point keeps at least 1/2n of the probability, even one that is nobody's neighbour:

    >>> joint_probabilities(torch.tensor([[0.0], [1.0], [3.0]]), perplexity=1)
    tensor([[0.0000, 0.3333, 0.0000],
            [0.3333, 0.0000, 0.1667],
            [0.0000, 0.1667, 0.0000]], dtype=torch.float64)
    """
    p = conditional_probabilities(x, perplexity)
    return (p + p.T).div_(2 * len(p))


def student_kernel(y: Float[Tensor, "n dim"]) -> Float[Tensor, "n n"]:
    """Compute w_ij = 1/(1 + ‖yᵢ − yⱼ‖²), w_ii = 0.

    Then q_ij = w_ij / Σ_{k≠l} w_kl, with a sum over all pairs (erratum E01).

    >>> student_kernel(torch.tensor([[0.0], [1.0], [3.0]]))
    tensor([[0.0000, 0.5000, 0.1000],
            [0.5000, 0.0000, 0.2000],
            [0.1000, 0.2000, 0.0000]])
    """
    require_tensor(y, "y", "n dim")
    difference = y[:, None] - y  # (n, n, dim)
    return (1 / (1 + difference.square().sum(dim=2))).fill_diagonal_(0)


def kl_loss(p: Float[Tensor, "n n"], y: Float[Tensor, "n dim"]) -> Float[Tensor, ""]:
    """Compute KL(P‖Q) = Σ_{i≠j} p_ij log(p_ij/q_ij) in nats, for the Q of the map y."""
    w = student_kernel(y)
    _require_joint(p, len(y))
    pairs = ~torch.eye(len(y), dtype=torch.bool, device=y.device)
    p, q = p[pairs], (w / w.sum())[pairs]  # (n(n − 1),) each
    return (torch.xlogy(p, p) - p * q.log()).sum()


def kl_gradient(p: Float[Tensor, "n n"], y: Float[Tensor, "n dim"]) -> Float[Tensor, "n dim"]:
    """Compute ∂KL/∂yᵢ = 4 Σⱼ (p_ij − q_ij) (1 + ‖yᵢ − yⱼ‖²)⁻¹ (yᵢ − yⱼ).

    Each pair is joined by a spring, which pulls where p > q and pushes where p < q.
    """
    w = student_kernel(y)
    _require_joint(p, len(y))
    spring = (p - w / w.sum()) * w  # (n, n)
    return 4 * (spring[:, :, None] * (y[:, None] - y)).sum(dim=1)


def _require_joint(p: Float[Tensor, "n n"], n: int) -> None:
    """P of n points: symmetric, non-negative, of sum 1. The gradient holds for such a P alone."""
    require_tensor(p, "p", f"{n} {n}")
    off = max((p - p.T).abs().max().item(), abs(p.sum().item() - 1))
    if off > 1e-4 or bool((p < 0).any()):
        raise ValueError("p: expected joint probabilities, symmetric and with sum 1; see joint_probabilities")


def tsne(
    x: Float[Tensor, " n *d"],
    perplexity: float = 30.0,
    dim: int = 2,
    seed: int = 0,
    *,
    steps: int = 750,
    start: Float[Tensor, "m k"] | None = None,
    snapshots: Collection[int] = (),
    progress: bool = True,
) -> Embedding:
    """Find a map y of the rows of x that minimizes KL(P‖Q), by gradient descent with early exaggeration.

    Up to ``EXACT_UP_TO`` points, on a GPU ``EXACT_ON_GPU_UP_TO``, every step computes all n² pairs. For more points
    scikit-learn's Barnes-Hut method takes over. Its KL is a sum over near pairs only, and its history holds only the
    last value.

    Args:
        x: points, images or activations, as rows of any shape.
        perplexity: the effective number of neighbours, in [1, n − 1).
        dim: the dimension of the map.
        seed: of the jitter that separates equal points at the start.
        steps: of the descent; Barnes-Hut makes at least ``BARNES_HUT_STEPS``.
        start: the initial map. The default is the first principal components, scaled so that the first has standard
            deviation 1e-4.
        snapshots: the numbers of steps after which to keep a copy of the map.
        progress: show a bar in a terminal after 2 s; Barnes-Hut prints its own progress.

    Raises:
        TypeError: x or start is not a tensor of float32 or float64; dim, seed or steps is not an integer.
        ValueError: the perplexity, dim or a snapshot is out of range; x has fewer than 3 points; x or start holds NaN
            or infinity; start has another shape than the map; snapshots, or dim > 3, with Barnes-Hut.
    """
    points, perplexity = _require_points(x, perplexity)
    dim = require_integer(dim, "dim", low=1)
    seed = require_integer(seed, "seed", low=0)
    steps = require_integer(steps, "steps", low=0)
    snapshots = [require_integer(step, "snapshots", low=0, high=steps) for step in snapshots]

    if start is None:
        start = _principal_components(points, dim, seed)
    else:
        require_tensor(start, "start", f"{len(points)} {dim}")

    most = EXACT_ON_GPU_UP_TO if points.is_cuda else EXACT_UP_TO
    if len(points) > most:
        if snapshots or dim > 3:
            raise ValueError(
                f"x: expected at most {most} points with snapshots or dim > 3, got {len(points)} and dim={dim}. "
                "More points are mapped by Barnes-Hut, which keeps no snapshots and has at most 3 dimensions"
            )
        return _barnes_hut(points, perplexity, start.to(x), seed, steps, progress)

    p = joint_probabilities(points, perplexity)  # (n, n)
    y, history, kept = _descend(p.float(), start.to(p.device).float(), steps, snapshots, progress)
    w = _kernel(y.double())
    kl = _kl(_upper(p), w, _sum_of_pairs(w))
    return Embedding(y.to(x), kl, history | {steps: kl}, kept, "exact")


def _descend(
    p: Float[Tensor, "n n"], y: Float[Tensor, "n dim"], steps: int, snapshots: Collection[int], progress: bool
) -> tuple[Tensor, dict[int, float], dict[int, Tensor]]:
    """The map after the last step, the KL along the way, and the snapshots.

    The factor of the exaggeration, the momenta and the gains are the paper's; it exaggerates for 50 steps, and changes
    the momentum after 250. The learning rate grows with n (Belkina et al., Nature Communications 10, 2019).
    """
    rate = len(y) / EXAGGERATION
    true_p = _upper(p)
    exaggerated_p = [EXAGGERATION * block for block in true_p]
    history, kept = {}, {}
    for step in tqdm(range(steps), unit="step", delay=2, leave=False, disable=None if progress else True):
        early = step < EARLY_STEPS
        # The descent starts afresh when exaggeration ends. With the earlier gains it would end in worse minima.
        if step in (0, EARLY_STEPS):
            velocity, gain = torch.zeros_like(y), torch.ones_like(y)

        # Q of the current map is w/z, with z the sum over all pairs.
        w = _kernel(y)
        z = _sum_of_pairs(w)

        # Record the KL of the true P, also while the exaggerated one descends.
        if step % RECORD_EVERY == 0:
            history[step] = _kl(true_p, w, z)
        if step in snapshots:
            kept[step] = y

        # Take a step with momentum, and keep the map centred.
        gradient = _gradient(exaggerated_p if early else true_p, w, z, y)
        gain = _adapted_gain(gain, gradient, velocity)
        velocity = (0.5 if early else 0.8) * velocity - rate * gain * gradient
        y = y + velocity
        y = y - y.mean(dim=0)
    return y, history, kept | ({steps: y} if steps in snapshots else {})


def _rows(y: Tensor) -> int:
    """How many rows a block of pairs has: a GPU has no use for small ones, each of which has to be asked for."""
    return max(BLOCK, PAIRS // len(y)) if y.is_cuda else BLOCK


def _upper(p: Float[Tensor, "n n"]) -> list[Tensor]:
    """The pairs i < j of a symmetric matrix, 0 elsewhere: blocks of rows i, from column i of the first on."""
    rows = _rows(p)
    return [p[i : i + rows, i:].triu(1) for i in range(0, len(p), rows)]


def _sum_of_pairs(blocks: list[Tensor]) -> float:
    """The sum over all pairs, from those with i < j."""
    return 2 * sum(block.sum().item() for block in blocks)


def _kernel(y: Float[Tensor, "n dim"]) -> list[Tensor]:
    """`student_kernel` for the pairs i < j, in blocks as `_upper` makes them."""
    blocks, rows = [], _rows(y)
    for i in range(0, len(y), rows):
        w = y.new_ones(len(y[i : i + rows]), len(y) - i)  # (rows, n − i)
        for column in y.T:
            difference = column[i : i + rows, None] - column[i:]
            w.addcmul_(difference, difference)  # 1 + ‖yᵢ − yⱼ‖²
        blocks.append(w.reciprocal_().triu_(1))
    return blocks


def _kl(p: list[Tensor], w: list[Tensor], z: float) -> float:
    """`kl_loss` from the pairs i < j: Σ p log(p/q) = log z + Σ p log p − Σ p log w, since Σ p = 1."""
    terms = (torch.xlogy(a, a) - torch.xlogy(a, b) for a, b in zip(p, w, strict=True))
    return math.log(z) + 2 * sum(block.sum().item() for block in terms)


def _gradient(p: list[Tensor], w: list[Tensor], z: float, y: Float[Tensor, "n dim"]) -> Float[Tensor, "n dim"]:
    """`kl_gradient` from the pairs i < j: Σⱼ sᵢⱼ(yᵢ − yⱼ) = (Σⱼ sᵢⱼ) yᵢ − Σⱼ sᵢⱼyⱼ with s = (p − w/z) w."""
    # One product with (1, y) gives both sums.
    one_y = torch.cat([torch.ones_like(y[:, :1]), y], dim=1).T.contiguous()  # (1 + dim, n)
    sums, rows = torch.zeros_like(one_y), _rows(y)
    for i, p_block, w_block in zip(range(0, len(y), rows), p, w, strict=True):
        spring = torch.add(p_block, w_block, alpha=-1 / z).mul_(w_block)  # (rows, n − i)
        sums[:, i : i + rows] += one_y[:, i:] @ spring.T  # the pairs i < j
        sums[:, i:] += one_y[:, i : i + rows] @ spring  # the pairs j < i
    return 4 * (sums[0] * y.T - sums[1:]).T


def _adapted_gain(
    gain: Float[Tensor, "n dim"], gradient: Float[Tensor, "n dim"], velocity: Float[Tensor, "n dim"]
) -> Float[Tensor, "n dim"]:
    """The step size of each coordinate: it grows while the velocity points downhill, and shrinks once it overshoots.

    Source: R. Jacobs, Increased rates of convergence through learning rate adaptation, Neural Networks 1, 1988.
    """
    downhill = gradient.sign() != velocity.sign()
    return torch.where(downhill, gain + 0.2, gain * 0.8).clamp_min(0.01)


def _barnes_hut(
    points: Float64[Tensor, "n d"], perplexity: float, start: Tensor, seed: int, steps: int, progress: bool
) -> Embedding:
    from sklearn.manifold import TSNE

    method = TSNE(
        start.shape[1],
        perplexity=perplexity,
        init=start.cpu().float().numpy(),
        max_iter=max(BARNES_HUT_STEPS, steps),
        random_state=seed,
        verbose=int(progress),
    )
    centred = points - points.mean(dim=0)  # far from the origin, single precision would lose the differences
    y = torch.as_tensor(method.fit_transform(centred.cpu().float().numpy())).to(start)
    kl = float(method.kl_divergence_)
    # scikit-learn's n_iter_ is the index of the last step.
    return Embedding(y - y.mean(dim=0), kl, {method.n_iter_ + 1: kl}, {}, "Barnes-Hut (scikit-learn)")


def _principal_components(x: Float64[Tensor, "n d"], dim: int, seed: int) -> Float64[Tensor, "n dim"]:
    """The first components, scaled to standard deviation 1e-4, with jitter.

    Without jitter, equal points would never separate, and points on a line would stay on a line.
    """
    from sklearn.decomposition import PCA

    generator = torch.Generator().manual_seed(seed)
    y = 1e-6 * torch.randn(len(x), dim, generator=generator, dtype=x.dtype)
    if bool((x != x[0]).any()):
        components = torch.as_tensor(PCA(min(dim, *x.shape), random_state=seed).fit_transform(x.cpu()))
        y[:, : components.shape[1]] += 1e-4 * components / components[:, 0].std()
    return y.to(x.device)


def _require_points(x: Float[Tensor, " n *d"], perplexity: float) -> tuple[Float64[Tensor, "n d"], float]:
    """At least 3 points as vectors, scaled to about 1, and a perplexity that so many points can have."""
    points = as_vectors(x, "x")
    if len(points) < 3:
        raise ValueError(f"x: expected at least 3 points, got {len(points)}")
    perplexity = require_number(perplexity, f"perplexity of {len(points)} points", low=1, below=len(points) - 1)
    # No P depends on the scale. A power of two rounds nothing, and no square over- or underflows.
    spread = (points - points.mean(dim=0)).abs().max()
    return (points / torch.exp2(spread.log2().floor()) if spread > 0 else points), perplexity
