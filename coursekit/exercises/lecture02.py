"""Exercises of lecture 2: perplexity, Q of a map, maps that keep neighbours together, and P between groups."""

import math
import time
from types import CodeType, FunctionType
from typing import Any

import torch
from torch import Tensor

from coursekit import datasets
from coursekit.exercises.checking import NOTHING_YET, Answer, Exercise, Exercises, Wrong, by_cases, require_result


def row_perplexity(p: Tensor) -> Tensor:
    """2^H of every row of probabilities, H its entropy in bits: (n, m) → (n,)."""
    return torch.exp(-torch.xlogy(p, p).sum(dim=1))  # the same number from H in nats


def row_precision(squared_distances: Tensor, wanted: float) -> float:
    """β with row_perplexity(softmax(−β squared_distances)) = wanted; squared_distances is (m,), 1 < wanted < m."""

    def too_wide(beta: float) -> bool:
        return row_perplexity(torch.softmax(-beta * squared_distances, dim=0)[None]).item() > wanted

    # The perplexity falls as β grows: double β until it is too low, then bisect.
    low, high = 0.0, 1.0 / squared_distances.mean().item()
    while too_wide(high):
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if too_wide(middle) else (low, middle)
    return (low + high) / 2


ALL_FAR = "neighbours that are all far away"


def check_row_precision(answer: Answer) -> str:
    """The answer's β gives the wanted perplexity, however it was found."""
    generator = torch.Generator().manual_seed(0)
    distances = 5 * torch.rand(50, generator=generator, dtype=torch.float64)  # (m,)
    cases = {
        "50 neighbours": (distances, 5.0),
        "near ones": (1e-4 * distances, 30.0),
        "far ones": (1e4 * distances, 10.0),
        # Here exp(−β d) is 0 for every neighbour, unless the smallest distance is subtracted first, as a softmax does.
        ALL_FAR: (1e4 + distances, 10.0),
    }
    for case, (squared, wanted) in cases.items():
        given = squared.clone()
        beta = _positive_number(answer(given, wanted), case)
        got = row_perplexity(torch.softmax(-beta * squared, dim=0)[None]).item()
        if abs(got / wanted - 1) > 1e-6:
            hint = _hint(case, beta, got, wanted, row_precision(squared, wanted))
            raise Wrong(f"on {case}: β = {beta:.6g} gives the perplexity {got:.7g}, wanted {wanted:g}. {hint}")
        if not torch.equal(given, squared):
            raise Wrong(f"right on {case}, but it changes its argument in place; work on a new tensor instead")
    return f"right on {', '.join(cases)}"


def _hint(case: str, beta: float, got: float, wanted: float, right: float) -> str:
    """The likely mistake behind a β that gives the perplexity ``got``."""
    for name, value in {"σ²": 1 / (2 * right), "σ": (2 * right) ** -0.5, "1/σ²": 2 * right}.items():
        if abs(beta / value - 1) < 1e-3:
            return f"That is {name}; wanted is β = 1/2σ²."
    if abs(got / wanted - 1) < 1e-2:
        return "That is nearly right: are there enough steps, and are the numbers in double precision?"
    if case == ALL_FAR:
        return "Is exp(−βd) 0 for all of them? Subtract the smallest distance first, or use torch.softmax."
    if got < 1 + 1e-6:
        return "β has run away upwards: in which direction does the perplexity move when β grows?"
    if abs(got / 2**wanted - 1) < 1e-3:
        return "That is 2 to the power of it: did you match the entropy instead of the perplexity?"
    if abs(got / math.log2(wanted) - 1) < 1e-3:
        return "That is log₂ of it: did you match the entropy instead of the perplexity?"
    return "A larger β gives a smaller perplexity; is the bracket wide enough?"


def _positive_number(beta: Any, case: str) -> float:
    if beta is None or beta is Ellipsis:
        raise Wrong(NOTHING_YET)
    try:
        number = float(beta)
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(f"on {case}: expected a positive β, got {type(beta).__name__}") from None
    if not (math.isfinite(number) and number > 0):
        raise Wrong(f"on {case}: expected a positive β, got {number:g}")
    return number


def map_probabilities(y: Tensor) -> Tensor:
    """Q of a map: (n, 2) → (n, n)."""
    w = (1 / (1 + torch.cdist(y, y).square())).fill_diagonal_(0)
    return w / w.sum()


LONGEST = 0.5  # CPU seconds for 400 points: all pairs at once take milliseconds, a loop over pairs of tensors a second


def check_map_probabilities(answer: Answer) -> str:
    """The answer's Q is right, and quick enough for a descent, which computes it at every step."""
    praise = MAP_CASES.check(answer)
    y = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    if (seconds := min(_seconds(answer, y) for _ in range(2))) > LONGEST:
        raise Wrong(
            f"{praise}; but for 400 points it takes {seconds:.1f} s, and every step of the descent calls it. "
            "Compute all pairs at once, without a loop over them"
        )
    return praise


def _seconds(answer: Answer, y: Tensor) -> float:
    """CPU time, which does not count the seconds that other programs take."""
    start = time.process_time()
    answer(y)
    return time.process_time() - start


def my_embedding(x: Tensor) -> Tensor:
    """A map of the rows of x: (n, 64) → (n, 2)."""
    from sklearn.cluster import AgglomerativeClustering

    # Clusters of about twenty points, each in its own two principal components; its centre is at those of all points.
    cluster = torch.tensor(AgglomerativeClustering(len(x) // 20).fit_predict(x.numpy()))  # (n,)
    flat, y = _principal(x), torch.zeros(len(x), 2)  # (n, 2) each
    for k in cluster.unique():
        y[cluster == k] = 30 * flat[cluster == k].mean(dim=0) + _principal(x[cluster == k])
    return y


def _principal(x: Tensor) -> Tensor:
    """The first two principal components: (n, d) → (n, 2)."""
    centred = x - x.mean(dim=0)
    return centred @ torch.linalg.svd(centred, full_matrices=False).Vh[:2].T


# t-SNE, its parts, and maps ready to use; at the full profile these hold the 500 digits of the exercise too
MAP_MAKERS = {"tsne", "TSNE", "descend", "gradient", "kl_gradient", "kl_loss", "mosaic"} | {
    *("gaussian_gradient", "gaussian_map", "mine", "result", "rivals", "gaussians", "closer", "shown"),
    *("by_perplexity", "by_method", "ends", "ys"),
}

WANTED = {  # of 500 digits: how many neighbours, the percentage to keep, and what to ask where a map keeps fewer
    "of the ten nearest": (10, 55, "Do all ten stay together, or only the nearest one, or only large distances?"),
    "of the nearest quarter": (125, 50, "The insides are right; where does each piece stand, and what could tell it?"),
}


def check_my_embedding(answer: Answer) -> str:
    """The answer's map of 500 digits keeps 55 % of the ten nearest neighbours, and 50 % of the nearest quarter.

    The first count judges the insides of islands, and pieces at random places reach it; the second judges their
    places, and two principal components reach it. No label is used, so labels from elsewhere do not help. t-SNE and
    the notebook's own maps are refused by their names, also in functions that stand beside the answer; this catches an
    honest misunderstanding, not a disguise.
    """
    if isinstance(answer, FunctionType) and (ready := sorted(MAP_MAKERS & _called(answer))):
        raise Wrong(
            f"this uses {ready[0]}, which is t-SNE or a map made for you. Make one with code of your own, "
            "without t-SNE: section 5 shows that other maps keep nearly as many of the ten nearest. "
            "If this is your own, give it another name"
        )
    x = datasets.digits().train.images[:500].flatten(1)
    y = require_result(answer(x.clone()), (len(x), 2), "one point for each digit")
    goal = " and ".join(f"{percent} % {among}" for among, (_, percent, _) in WANTED.items())
    kept = {among: 100 * _kept(x, y, k) for among, (k, _, _) in WANTED.items()}
    for among, (_, percent, hint) in WANTED.items():
        if kept[among] < percent:
            found = " and ".join(f"{share:.1f} % {name}" for name, share in kept.items())
            raise Wrong(f"the map keeps {found}; wanted {goal}. {hint}")
    shares = " and ".join(f"{math.floor(share)} % {among}" for among, share in kept.items())  # the same everywhere
    return f"the map keeps {shares}; wanted {goal}"


def _called(function: FunctionType, seen: frozenset[FunctionType] = frozenset()) -> set[str]:
    """The names that a function uses, and those used by the functions of the same module that it calls."""
    names, seen = _names(function.__code__), seen | {function}
    for it in [function.__globals__.get(name) for name in names]:
        if isinstance(it, FunctionType) and it not in seen and it.__module__ == function.__module__:
            names |= _called(it, seen)
    return names


def _names(code: CodeType) -> set[str]:
    """The global names and attributes that a function uses, also in its comprehensions and inner functions."""
    return set(code.co_names).union(*(_names(it) for it in code.co_consts if isinstance(it, CodeType)))


def _kept(x: Tensor, y: Tensor, k: int) -> float:
    """The fraction of the k nearest neighbours in x that are among the k nearest in y."""
    before, after = _nearest(x, k), _nearest(y, k)  # (n, k) each
    return (before[:, :, None] == after[:, None]).any(dim=2).double().mean().item()


def _nearest(y: Tensor, k: int) -> Tensor:
    """The indices of the k nearest points of each point, itself left out: (n, d) → (n, k)."""
    distances = torch.cdist(y.double(), y.double(), compute_mode="donot_use_mm_for_euclid_dist")
    return distances.fill_diagonal_(math.inf).topk(k, largest=False).indices


def mass_between(P: Tensor, group: Tensor) -> Tensor:
    """The sum of P over all pairs from different groups: (n, n), (n,) → number."""
    return P.masked_fill(group[:, None] == group, 0).sum()


def check_mass_between(answer: Answer) -> str:
    """The answer adds up the pairs between the groups: what is left of 1 holds no tiny sum, only rounding errors."""
    praise = MASS_CASES.check(answer)
    group = torch.tensor([0, 1, 0, 1, 1, 0])
    P = torch.where(group[:, None] == group, _uneven(6).double(), 1e-20 * _uneven(6).double())
    P /= P.sum()
    expected, got = mass_between(P, group).item(), float(answer(P.clone(), group.clone()))
    if not abs(got / expected - 1) < 1e-4:
        raise Wrong(
            f"{praise}; wrong on groups far apart: expected {expected:.1e}, got {got:.1e}. "
            "1 minus the rest loses a tiny sum in rounding: add up the pairs between the groups themselves"
        )
    return f"{praise}, groups far apart"


def _uneven(n: int) -> Tensor:
    """A symmetric matrix with sum 1 and a zero diagonal, no two pairs of it alike: (n, n)."""
    i = torch.arange(1.0, n + 1)
    weights = (i[:, None] * i).fill_diagonal_(0)
    return weights / weights.sum()


MAP_CASES = by_cases(
    map_probabilities,
    {
        "three points": (torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]]),),
        "two in one place": (torch.tensor([[0.0, 0.0], [0.0, 0.0], [3.0, 4.0]]),),
        "five points": (torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, -1.0], [5.0, 0.0], [-3.0, 2.0]]),),
    },
    hints={"three points": "q_ii = 0, and the sum runs over all pairs: erratum E01"},
)

MASS_CASES = by_cases(
    mass_between,
    {
        "two groups": (_uneven(5), torch.tensor([0, 0, 0, 1, 1])),
        "groups in mixed order": (_uneven(6), torch.tensor([2, 0, 1, 0, 2, 2])),
        "groups of other names": (_uneven(4), torch.tensor([7, -3, 7, 90])),
        "one group": (_uneven(3), torch.tensor([4, 4, 4])),
    },
    hints={"two groups": "P holds each pair twice, as ij and as ji, and both count"},
)

exercise = Exercises(
    by_cases(
        row_perplexity,
        {
            "uniform rows": (torch.full((2, 4), 0.25),),
            "rows with zeros": (torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]),),
            "any rows": (torch.tensor([[0.001, 0.2, 0.799], [0.3, 0.3, 0.4]]),),
            "as many rows as columns": (torch.tensor([[0.1, 0.9], [0.5, 0.5]]),),
            # Entries from 0.25 down to 2e-7, as in a row of P: together they count, and no bound may cut them off.
            "a long row with tiny entries": (torch.softmax(-torch.linspace(0, 14, 50), dim=0)[None],),
        },
        hints={
            "uniform rows": "four equal entries have perplexity 4: do the power and the logarithm have the same base, "
            "and is the sum over each row?"
        },
    ),
    Exercise(row_precision, check_row_precision),
    Exercise(map_probabilities, check_map_probabilities),
    Exercise(my_embedding, check_my_embedding),
    Exercise(mass_between, check_mass_between),
)
