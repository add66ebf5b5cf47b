"""t-SNE from its definition: a map of n points in which neighbours stay neighbours.

Source: L. van der Maaten and G. Hinton, Visualizing data using t-SNE, JMLR 9, 2008.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from tqdm import tqdm

from coursekit.interpret.neighbours import rows, squared_distances

EXACT_UP_TO = 3000  # points: 15 s on one core
EXAGGERATION, EARLY = 4, 100  # the first 100 steps see 4 P: with 12 P, usual today, a few hundred points fall on a line
ROWS = 128  # of a matrix of pairs at a time, so that the passes over them stay in the processor's cache
EVERY = 10  # steps from one KL in the history to the next


@dataclass(frozen=True, eq=False)
class Map:
    """What ``tsne`` found.

    Attributes:
        embedding: the place of every point in the map.
        kl: KL(P‖Q) in nats.
        history: the KL after so many steps.
        snapshots: the map after those numbers of steps that were asked for.
        method: the implementation that ran.
    """

    embedding: Float[Tensor, "n dim"]
    kl: float
    history: dict[int, float]
    snapshots: dict[int, Tensor]
    method: str


def conditional_probabilities(x: Float[Tensor, " n *d"], perplexity: float) -> Float64[Tensor, "n n"]:
    """Row i holds p_{j|i} = exp(−βᵢ‖xᵢ − xⱼ‖²) / Σ_{k≠i} exp(−βᵢ‖xᵢ − x_k‖²), p_{i|i} = 0, with βᵢ = 1/2σᵢ².

    βᵢ is such that every row has the perplexity 2^H(Pᵢ) that was asked for, where H(Pᵢ) = −Σⱼ p_{j|i} log₂ p_{j|i}
    (erratum E02): that is how many neighbours count. If so many points or more are all nearest to xᵢ, equally near,
    then no βᵢ has it; the row is uniform on them, which is its limit for βᵢ → ∞.

    Raises:
        ValueError: perplexity is not in [1, n − 1); fewer than 3 points; NaN or infinite numbers.
    """
    x = _checked(x, perplexity)
    d = squared_distances(x, x)
    rounding = 1e-12 * d.mean(dim=1, keepdim=True)
    d.fill_diagonal_(math.inf)
    d -= d.min(dim=1, keepdim=True).values  # changes no p, and the largest exp(−βd) is 1
    nearest = d <= rounding
    d.fill_diagonal_(0)
    d /= d.mean(dim=1, keepdim=True).clamp_min(1e-300)
    unreachable = nearest.sum(dim=1) >= perplexity

    log_b = torch.zeros_like(d[:, 0])
    low, high = torch.full_like(log_b, -math.inf), torch.full_like(log_b, math.inf)
    for _ in range(200):  # 10 will do where Newton's method, for log β, need not be helped by bisection
        b = log_b.exp()
        p = torch.exp(-b[:, None] * d).fill_diagonal_(0)
        z = p.sum(dim=1)
        p /= z[:, None]
        mean, square = torch.einsum("ij,ij->i", p, d), torch.einsum("ij,ij,ij->i", p, d, d)
        excess = z.log() + b * mean - math.log(perplexity)  # of the entropy, in nats
        done = unreachable | (excess.abs() < 1e-10)
        if bool(done.all()):
            break
        low, high = torch.where(excess > 0, log_b, low), torch.where(excess > 0, high, log_b)
        newton = log_b + excess / (b**2 * (square - mean**2))  # dH/d log β = −β² Var(d)
        bisected = torch.where((high - low).isinf(), log_b + 2 * excess.sign(), (low + high) / 2)
        trusted = (low < newton) & (newton < high) & ((newton - log_b).abs() < 2)
        log_b = torch.where(done, log_b, torch.where(trusted, newton, bisected))
    return torch.where(unreachable[:, None], nearest / nearest.sum(dim=1, keepdim=True), p)


def joint_probabilities(x: Float[Tensor, " n *d"], perplexity: float) -> Float64[Tensor, "n n"]:
    """P with p_ij = (p_{j|i} + p_{i|j})/2n: symmetric, of sum 1, the same for moved, turned or enlarged x.

    Raises:
        ValueError: as `conditional_probabilities`.
    """
    p = conditional_probabilities(x, perplexity)
    return (p + p.T) / (2 * len(p))


def student_kernel(y: Float[Tensor, "n dim"]) -> Float[Tensor, "n n"]:
    """w_ij = 1/(1 + ‖yᵢ − yⱼ‖²), w_ii = 0. Then q_ij = w_ij / Σ_{k≠l} w_kl, a sum over all pairs (erratum E01)."""
    difference = y[:, None] - y  # (n, n, dim)
    return (1 / (1 + difference.square().sum(dim=2))).fill_diagonal_(0)


def kl_loss(p: Float[Tensor, "n n"], y: Float[Tensor, "n dim"]) -> Float[Tensor, ""]:
    """KL(P‖Q) = Σ_{i≠j} p_ij log(p_ij/q_ij) in nats, for the Q of the map y."""
    w = student_kernel(y)
    pairs = ~torch.eye(len(y), dtype=torch.bool, device=y.device)
    p, q = p[pairs], (w / w.sum())[pairs]
    return (torch.xlogy(p, p) - p * q.log()).sum()


def kl_gradient(p: Float[Tensor, "n n"], y: Float[Tensor, "n dim"]) -> Float[Tensor, "n dim"]:
    """∂KL/∂yᵢ = 4 Σⱼ (p_ij − q_ij) (1 + ‖yᵢ − yⱼ‖²)⁻¹ (yᵢ − yⱼ): a spring that pulls where p > q, and else pushes."""
    w = student_kernel(y)
    spring = (p - w / w.sum()) * w  # (n, n)
    return 4 * (spring[:, :, None] * (y[:, None] - y)).sum(dim=1)


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
) -> Map:
    """A map y of the rows of x that minimizes KL(P‖Q), by gradient descent with early exaggeration.

    Up to ``EXACT_UP_TO`` points all n² pairs are computed at every step. For more, scikit-learn's Barnes-Hut method
    takes over: its KL sums the near pairs only, and its history holds nothing but the end.

    Args:
        x: points, pictures, activations: rows of any shape.
        perplexity: how many neighbours count, in [1, n − 1).
        dim: of the map.
        seed: of the jitter that parts equal points at the start.
        steps: of the descent; Barnes-Hut makes at least 250.
        start: the map to begin with; else the first principal components, the first with standard deviation 1e-4.
        snapshots: numbers of steps after which to keep a copy of the map.
        progress: show a bar in a terminal if it takes more than 2 s; Barnes-Hut prints how far it is.

    Raises:
        ValueError: perplexity is not in [1, n − 1); fewer than 3 points; NaN or infinite numbers; dim or a snapshot out
            of range; a start of another shape; for Barnes-Hut also any snapshot, and dim > 3.
    """
    points = _checked(x, perplexity)
    if dim < 1:
        raise ValueError(f"expected a map of at least 1 dimension, got dim={dim}")
    if start is None:
        start = _principal_components(points, dim, seed)
    elif start.shape != (len(x), dim):
        raise ValueError(f"expected a start of shape {(len(x), dim)}, got {tuple(start.shape)}")
    if late := [s for s in snapshots if not 0 <= s <= steps]:
        raise ValueError(f"expected snapshots after 0 … {steps} steps, got {late}")
    if len(x) > EXACT_UP_TO:
        if snapshots or dim > 3:
            raise ValueError(
                f"{len(x)} points are mapped by Barnes-Hut, which keeps no snapshots and has at most 3 dimensions "
                f"(got dim={dim}): pass at most {EXACT_UP_TO} points, or leave these out"
            )
        return _barnes_hut(points, perplexity, start, seed, steps, progress)
    p = joint_probabilities(points, perplexity)
    y, history, kept = _descend(p.float(), start.to(p.device).float(), steps, snapshots, progress)
    kl = kl_loss(p, y.double()).item()
    return Map(y.to(x), kl, history | {steps: kl}, kept, "exact")


def _descend(
    p: Float[Tensor, "n n"], y: Float[Tensor, "n dim"], steps: int, snapshots: Collection[int], progress: bool
) -> tuple[Tensor, dict[int, float], dict[int, Tensor]]:
    """The map after the last step, the KL on the way, and the snapshots.

    Exaggeration, momentum and gains are the paper's; the step grows with n (Belkina et al., Nature Communications 10,
    2019). After the early steps the descent starts afresh: with their gains it would end in worse minima.
    """
    rate = len(y) / EXAGGERATION
    p = [p[i : i + ROWS, i:].triu(1) for i in range(0, len(y), ROWS)]
    exaggerated = [EXAGGERATION * part for part in p]
    history, kept = {}, {}
    for step in tqdm(range(steps), unit="step", delay=2, leave=False, disable=None if progress else True):
        if step in (0, EARLY):
            velocity, gain = torch.zeros_like(y), torch.ones_like(y)
        w = _kernel(y)
        z = 2 * sum(part.sum().item() for part in w)
        if step % EVERY == 0:
            terms = (torch.xlogy(a, a) - torch.xlogy(a, b) for a, b in zip(p, w, strict=True))
            history[step] = math.log(z) + 2 * sum(part.sum().item() for part in terms)
        if step in snapshots:
            kept[step] = y
        gradient = _gradient(exaggerated if step < EARLY else p, w, z, y)
        downhill = gradient.sign() != velocity.sign()  # the velocity still points down, so the step may grow
        gain = torch.where(downhill, gain + 0.2, gain * 0.8).clamp_min(0.01)
        velocity = (0.5 if step < EARLY else 0.8) * velocity - rate * gain * gradient
        y = y + velocity
        y = y - y.mean(dim=0)
    return y, history, kept | ({steps: y} if steps in snapshots else {})


def _kernel(y: Float[Tensor, "n dim"]) -> list[Tensor]:
    """`student_kernel` for the pairs i < j, 0 for the others: ``ROWS`` rows i at a time, from their first column on."""
    parts = []
    for i in range(0, len(y), ROWS):
        w = y.new_ones(len(y[i : i + ROWS]), len(y) - i)
        for column in y.T:
            difference = column[i : i + ROWS, None] - column[i:]
            w.addcmul_(difference, difference)  # 1 + ‖yᵢ − yⱼ‖²
        parts.append(w.reciprocal_().triu_(1))
    return parts


def _gradient(p: list[Tensor], w: list[Tensor], z: float, y: Float[Tensor, "n dim"]) -> Float[Tensor, "n dim"]:
    """`kl_gradient` from the pairs i < j: Σⱼ sᵢⱼ(yᵢ − yⱼ) = (Σⱼ sᵢⱼ) yᵢ − Σⱼ sᵢⱼyⱼ with s = (p − w/z) w."""
    one_y = torch.cat([torch.ones_like(y[:, :1]), y], dim=1).T.contiguous()  # (1 + dim, n)
    sums = torch.zeros_like(one_y)
    for i, p_part, w_part in zip(range(0, len(y), ROWS), p, w, strict=True):
        spring = torch.add(p_part, w_part, alpha=-1 / z).mul_(w_part)  # (ROWS, n − i)
        sums[:, i : i + ROWS] += one_y[:, i:] @ spring.T
        sums[:, i:] += one_y[:, i : i + ROWS] @ spring
    return 4 * (sums[0] * y.T - sums[1:]).T


def _barnes_hut(
    points: Float64[Tensor, "n d"], perplexity: float, start: Tensor, seed: int, steps: int, progress: bool
) -> Map:
    from sklearn.manifold import TSNE

    method = TSNE(
        start.shape[1],
        perplexity=perplexity,
        init=start.cpu().float().numpy(),
        max_iter=max(250, steps),
        random_state=seed,
        verbose=int(progress),
    )
    y = torch.as_tensor(method.fit_transform(points.cpu().float().numpy())).to(start)
    kl = float(method.kl_divergence_)
    return Map(y - y.mean(dim=0), kl, {method.n_iter_: kl}, {}, "Barnes-Hut (scikit-learn)")


def _principal_components(x: Float64[Tensor, "n d"], dim: int, seed: int) -> Float64[Tensor, "n dim"]:
    """The first components, scaled, with jitter: else equal points would stay together, and points on a line on it."""
    from sklearn.decomposition import PCA

    generator = torch.Generator().manual_seed(seed)
    y = 1e-6 * torch.randn(len(x), dim, generator=generator, dtype=x.dtype)
    if bool((x != x[0]).any()):
        found = torch.as_tensor(PCA(min(dim, *x.shape), random_state=seed).fit_transform(x.cpu()))
        y[:, : found.shape[1]] += 1e-4 * found / found[:, 0].std()
    return y.to(x.device)


def _checked(x: Tensor, perplexity: float) -> Float64[Tensor, "n d"]:
    points = rows(x, "x")
    n = len(points)
    if n < 3:
        raise ValueError(f"t-SNE needs at least 3 points, got {n}")
    if not 1 <= perplexity < n - 1:
        raise ValueError(
            f"expected 1 ≤ perplexity < {n - 1}, the number of other points, got {perplexity}: "
            "perplexity counts neighbours"
        )
    return points
