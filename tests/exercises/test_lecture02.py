"""The exercises on neighbours and t-SNE accept what is right and say what is wrong."""

import math
import re
import time

import numpy as np
import pytest
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.decomposition import PCA
from sklearn.manifold import Isomap, SpectralEmbedding

from coursekit import datasets
from coursekit.exercises.lecture02 import exercise
from coursekit.interpret import nearest_neighbours, tsne


def perplexity(p):
    return 2 ** -(torch.xlogy(p, p).sum(dim=1) / math.log(2))


def softmax(exponents):
    return torch.softmax(exponents, dim=0)


def precision(squared, wanted, weights=softmax, backwards=False):
    """Bisection, right unless an argument spoils it."""
    low, high = 0.0, 1e9
    for _ in range(200):
        middle = (low + high) / 2
        wide = perplexity(weights(-middle * squared)[None]).item() > wanted
        low, high = (middle, high) if wide != backwards else (low, middle)
    return middle


def by_newton(squared, wanted):
    """Another way to β: Newton's method for its logarithm, on the entropy in nats."""
    log_beta = -squared.std().log()
    for _ in range(100):
        p = torch.softmax(-log_beta.exp() * squared, dim=0)
        entropy, mean = -torch.xlogy(p, p).sum(), (p * squared).sum()
        fall = log_beta.exp() ** 2 * (p * (squared - mean) ** 2).sum()
        log_beta = log_beta + ((entropy - math.log(wanted)) / fall).clamp(-1, 1)
    return log_beta.exp()


def without_shift(squared, wanted):
    """Bisection on exp(−βd)/Σexp(−βd), which is 0/0 where all distances are large."""
    return precision(squared, wanted, lambda exponents: exponents.exp() / exponents.exp().sum())


def backwards(squared, wanted):
    """Bisection that moves the wrong end."""
    return precision(squared, wanted, backwards=True)


def spoils(squared, wanted):
    """The right β, and the distances are gone."""
    beta = precision(squared, wanted)
    squared.zero_()
    return beta


def kernel(y):
    return 1 / (1 + torch.cdist(y, y).square())


def student(y):
    """Q of a map, its diagonal taken away from the kernel."""
    w = kernel(y) - torch.eye(len(y))
    return w / w.sum()


def slowly(y):
    """Q of a map, with a second of work for 400 points, as a loop over pairs takes."""
    end = time.process_time() + len(y) ** 2 / 160_000
    while time.process_time() < end:
        pass
    return student(y)


def row_by_row(y):
    """Q of a map with one loop, which is quick enough."""
    w = torch.stack([1 / (1 + (y - point).square().sum(dim=1)) for point in y]).fill_diagonal_(0)
    return w / w.sum()


def by_rows(y):
    """Every row sums to 1, as p(j|i) does."""
    w = kernel(y).fill_diagonal_(0)
    return w / w.sum(dim=1, keepdim=True)


def as_printed(y):
    """Erratum E01, taken literally: over all k ≠ l, with the distance from i to k."""
    w = kernel(y)
    return w.clone().fill_diagonal_(0) / ((len(y) - 1) * w.sum(dim=1, keepdim=True))


def spoils_the_map(y):
    """The right Q, and the map is gone."""
    q = student(y)
    y.zero_()
    return q


def labels_on_a_circle(x):
    """The labels of the digits, looked up in the data set: one place for each, with a little room around it."""
    known = datasets.digits().train
    labels = known.labels[nearest_neighbours(x, known.images.flatten(1), k=1).indices[:, 0]]
    angle = 2 * math.pi * labels / 10
    return torch.stack([angle.cos(), angle.sin()], dim=1) + 1e-3 * torch.randn(len(labels), 2)


def crumbs(x):
    """Every connected component of the graph of nearest neighbours at a random place."""
    nearest = nearest_neighbours(x, x, k=2).indices[:, 1]
    edges = coo_matrix((np.ones(len(x)), (np.arange(len(x)), nearest.numpy())), shape=(len(x), len(x)))
    count, component = connected_components(edges, directed=False)
    return 100 * torch.randn(count, 2)[torch.tensor(component).long()] + 1e-3 * torch.randn(len(x), 2)


def clumps(x):
    """Fifty clusters at random places, each without any order inside."""
    cluster = torch.tensor(AgglomerativeClustering(50).fit_predict(x.numpy()))
    return 100 * torch.randn(50, 2)[cluster] + torch.randn(len(x), 2)


def tour(x):
    """A walk from each digit to the nearest one that is left, put on a line."""
    distances, place, here, gone = torch.cdist(x, x), torch.zeros(len(x), 2), 0, 0.0
    for _ in range(len(x) - 1):
        distances[:, here] = math.inf
        step, there = distances[here].min(dim=0)
        here, gone = int(there), gone + step.item()
        place[here, 0] = gone
    return place


def mosaic(x):
    """Twenty-five clusters at random places, each in its own two principal components."""
    cluster = torch.tensor(AgglomerativeClustering(25).fit_predict(x.numpy()))
    y = 1000 * torch.randn(25, 2)[cluster]
    for k in range(25):
        y[cluster == k] += principal_components(x[cluster == k])
    return y


def in_place(x):
    """The same clusters, each at the principal components of its centre."""
    cluster, flat, y = AgglomerativeClustering(25).fit_predict(x.numpy()), principal_components(x), mosaic(x)
    for k in range(25):
        y[cluster == k] += 30 * flat[cluster == k].mean(dim=0) - y[cluster == k].mean(dim=0)
    return y


def at_isomap(x):
    """Clusters of another method, each in its own principal components and at its place in the map of Isomap."""
    cluster = KMeans(25, n_init=1, random_state=0).fit_predict(x.numpy())
    flat, y = Isomap(n_neighbors=10).fit_transform(x.numpy()), np.zeros((len(x), 2))
    for k in range(25):
        y[cluster == k] = PCA(2).fit_transform(x[cluster == k].numpy()) + 30 * flat[cluster == k].mean(axis=0)
    return y


def pieces_in_a_row(x):
    """Clusters of another method, beside each other, as an array of numpy."""
    cluster = KMeans(20, n_init=1, random_state=0).fit_predict(x.numpy())
    y = np.zeros((len(x), 2))
    for k in range(20):
        y[cluster == k] = PCA(2).fit_transform(x[cluster == k].numpy()) + np.array([100 * k, 0])
    return y


def by_the_package(x):
    """The package's map, in a function that an answer calls."""
    return tsne(x, progress=False).embedding if len(x) else by_two_helpers(x)


def by_two_helpers(x):
    """The same one call further away; the two call each other."""
    return by_the_package(x)


def sklearn_tsne(x):
    """A map by another program, as an array of numpy."""
    from sklearn.manifold import TSNE

    return TSNE(perplexity=15, random_state=0).fit_transform(x.numpy())


def principal_components(x):
    centred = x - x.mean(dim=0)
    return centred @ torch.linalg.svd(centred, full_matrices=False).Vh[:2].T


def one_minus_within(P, group):
    """P sums to 1: what is left if the pairs within the groups are taken away."""
    return 1 - sum(P[group == k][:, group == k].sum() for k in group.unique())


def twice_the_pairs_above(P, group):
    """Each pair once, in a loop, and twice its p."""
    n = len(group)
    return 2 * sum(float(P[i, j]) for i in range(n) for j in range(i + 1, n) if group[i] != group[j])


@pytest.mark.parametrize(
    ("name", "function", "praise"),
    [
        ("row_perplexity", perplexity, "right on uniform rows, rows with zeros"),
        ("row_perplexity", lambda p: torch.exp(torch.special.entr(p).sum(dim=1)).numpy(), "right on uniform rows"),
        ("row_perplexity", lambda p: 2 ** -(p * (p + 1e-12).log2()).sum(dim=1), ", a long row with tiny entries"),
        ("row_perplexity", lambda p: 2 ** -(p * p.clamp_min(1e-8).log2()).sum(dim=1), "a long row with tiny entries"),
        ("row_precision", precision, "right on 50 neighbours, near ones, far ones, neighbours that are all far away"),
        ("row_precision", by_newton, "right on 50 neighbours, near ones, far ones, neighbours that are all far away"),
        ("map_probabilities", student, "right on three points, two in one place, five points"),
        ("map_probabilities", lambda y: student(y.double()).numpy(), "right on three points, two in one place, five"),
        ("map_probabilities", row_by_row, "right on three points, two in one place, five points"),
        ("my_embedding", in_place, r"keeps \d\d % of the ten nearest and \d\d % of the nearest quarter; wanted 55 %"),
        ("my_embedding", at_isomap, r"keeps \d\d % of the ten nearest and \d\d % of the nearest quarter; wanted 55 %"),
        (
            "mass_between",
            lambda P, group: P[group[:, None] != group].sum().item(),
            "right on two groups, .*, groups far apart",
        ),
        ("mass_between", lambda P, group: (P.numpy() * (group[:, None] != group).numpy()).sum(), "right on two groups"),
        ("mass_between", twice_the_pairs_above, "right on two groups, groups in mixed order, groups of other names"),
    ],
)
def test_a_right_answer_is_praised(ask, name, function, praise):
    assert re.match(f"✓ {name}: .*{praise}", ask(exercise, name, function))


@pytest.mark.parametrize(
    ("name", "function", "message"),
    [
        ("row_perplexity", lambda p: None, "returns nothing yet"),
        (
            "row_perplexity",
            lambda p: 2 ** -(p * p.log2()).sum(dim=1),
            "right on uniform rows; wrong on rows with",
        ),
        (
            "row_perplexity",
            lambda p: -(p.log2() * p).sum(dim=1),
            "wrong on uniform rows.*expected 4, got 2; four equal",
        ),
        ("row_perplexity", lambda p: torch.exp(torch.special.entr(p).sum(dim=0)), "wrong on uniform rows: expected sh"),
        ("row_perplexity", lambda p: 2 ** torch.special.entr(p).sum(dim=1), "wrong on uniform rows: at index"),
        (
            "row_perplexity",
            lambda p: p.square().sum(dim=1).reciprocal(),
            "right on uniform rows, rows with zeros; wrong on any rows",
        ),
        ("row_perplexity", lambda p: 2 ** -(p * p.clamp_min(1e-2).log2()).sum(dim=1), "zeros; wrong on any rows"),
        ("row_perplexity", lambda p: 2 ** -(p * p.clamp_min(1e-3).log2()).sum(dim=1), "columns; wrong on a long row"),
        ("row_perplexity", lambda p: 2 ** -(p * p.clamp_min(1e-4).log2()).sum(dim=1), "columns; wrong on a long row"),
        ("row_perplexity", lambda p: torch.exp(torch.special.entr(p).sum()), "wrong on uniform rows"),
        ("row_precision", lambda d, k: None, "returns nothing yet"),
        ("row_precision", lambda d, k: (1 / (2 * precision(d, k))) ** 0.5, "on 50 neighbours: .* wanted 5. That is σ;"),
        ("row_precision", lambda d, k: 1 / (2 * precision(d, k)), "on 50 neighbours: β = .* That is σ²;"),
        ("row_precision", lambda d, k: 2 * precision(d, k), "on 50 neighbours: β = .* That is 1/σ²;"),
        ("row_precision", spoils, "right on 50 neighbours, but it changes its argument in place"),
        ("row_precision", without_shift, "on neighbours that are all far away: .* Subtract the smallest distance"),
        ("row_precision", backwards, "on 50 neighbours: .* run away upwards: in which direction does the perplexity"),
        ("row_precision", lambda d, k: 1.5 * precision(d, k), "on 50 neighbours: .* the perplexity 3.0.* A larger β"),
        ("row_precision", lambda d, k: precision(d / d.mean(), k), "on 50 neighbours: .* perplexity 2.1.* A larger β"),
        ("row_precision", lambda d, k: precision(d.square(), k), "on 50 neighbours: .* perplexity 6.3.* A larger β"),
        ("row_precision", lambda d, k: precision(d.sqrt(), k), "on 50 neighbours: .* perplexity 3.0.* A larger β"),
        ("row_precision", lambda d, k: "one", "on 50 neighbours: expected a positive β, got str"),
        ("row_precision", lambda d, k: -1.0, "on 50 neighbours: expected a positive β, got -1"),
        ("row_precision", lambda d, k: 1 / d.mean(), "on 50 neighbours: β = .* wanted 5. A larger β gives a smaller"),
        ("row_precision", lambda d, k: precision(d, 2**k), "on 50 neighbours: .* 2 to the power of it: did you match"),
        ("row_precision", lambda d, k: precision(d, math.log2(k)), "on 50 neighbours: .* did you match the entropy"),
        ("row_precision", lambda d, k: precision(d.float(), k), "all far away: .* in double precision"),
        ("map_probabilities", lambda y: None, "returns nothing yet"),
        ("map_probabilities", by_rows, "wrong on three points: .* the sum runs over all pairs: erratum E01"),
        ("map_probabilities", as_printed, "wrong on three points: .* erratum E01"),
        ("map_probabilities", lambda y: kernel(y) / kernel(y).sum(), "wrong on three points: .* q_ii = 0"),
        ("map_probabilities", lambda y: kernel(y).fill_diagonal_(0), "wrong on three points: at index"),
        ("map_probabilities", lambda y: 2 * student(y), "wrong on three points: at index"),
        (
            "map_probabilities",
            lambda y: torch.softmax((-torch.cdist(y, y).square()).fill_diagonal_(-torch.inf).flatten(), 0).view(3, 3),
            "wrong on three points: at index",
        ),
        (
            "map_probabilities",
            lambda y: (w := (1 / (1 + torch.cdist(y, y))).fill_diagonal_(0)) / w.sum(),
            "wrong on three points: at index",
        ),
        (
            "map_probabilities",
            lambda y: (w := kernel(y).where(torch.cdist(y, y) > 0, torch.zeros(()))) / w.sum(),
            "right on three points; wrong on two in one place",
        ),
        ("map_probabilities", lambda y: student(y).triu(), "wrong on three points: at index"),
        ("map_probabilities", slowly, "right on three points, .* for 400 points it takes .* s, .* all pairs at once"),
        ("map_probabilities", spoils_the_map, "right on three points, but it changes its argument in place"),
        ("my_embedding", lambda x: None, "returns nothing yet"),
        ("my_embedding", lambda x: x, r"expected one point for each digit, shape \(500, 2\), got .*\(500, 64\)"),
        ("my_embedding", lambda x: x[:, :2] * torch.nan, "NaN or infinite"),
        ("my_embedding", principal_components, "the map keeps 2.* and 5.* wanted 55 % .* and 50 % .* Do all ten stay"),
        ("my_embedding", mosaic, "the map keeps 6.* and 3.* wanted 55 % .* and 50 % .* The insides are right"),
        ("my_embedding", pieces_in_a_row, "the map keeps 6.* and 3.* The insides are right; where does each piece"),
        ("my_embedding", lambda x: Isomap(n_neighbors=10).fit_transform(x.numpy()), "the map keeps 3.* Do all ten"),
        ("my_embedding", lambda x: torch.zeros(500, 2), "wanted 55 %"),
        ("my_embedding", labels_on_a_circle, "wanted 55 %"),
        ("my_embedding", crumbs, "wanted 55 %"),
        ("my_embedding", clumps, "wanted 55 %"),
        ("my_embedding", tour, "wanted 55 %"),
        (
            "my_embedding",
            lambda x: SpectralEmbedding(n_neighbors=8, random_state=0).fit_transform(x.numpy()),
            "wanted 55 %",
        ),
        ("mass_between", lambda P, group: None, "returns nothing yet"),
        (
            "mass_between",
            lambda P, group: P[group[:, None] == group].sum(),
            "wrong on two groups: .* P holds each pair",
        ),
        ("mass_between", lambda P, group: P[group[:, None] != group].mean(), "wrong on two groups: expected"),
        ("mass_between", lambda P, group: P.triu()[group[:, None] != group].sum(), "wrong on two groups: expected"),
        ("mass_between", lambda P, group: (group[:, None] != group).float().mean(), "wrong on two groups: expected"),
        ("mass_between", lambda P, group: P[group[:, None] != group], "wrong on two groups: expected shape"),
        (
            "mass_between",
            lambda P, group: P.sum() - sum(P[group == k][:, group == k].sum() for k in (0, 1)),
            "right on two groups; wrong on groups in mixed order",
        ),
        (
            "mass_between",
            lambda P, group: P.sum() - sum(P[group == k][:, group == k].sum() for k in range(len(group.unique()))),
            "right on two groups, groups in mixed order; wrong on groups of other names",
        ),
        ("mass_between", one_minus_within, "right on .* one group; wrong on groups far apart: expected .* 1 minus the"),
        (
            "mass_between",
            lambda P, group: P.sum() - P[group[:, None] == group].sum(),
            "right on .* one group; wrong on groups far apart: expected .* add up the pairs between",
        ),
        ("mass_between", lambda P, group: 2 * P[group == group[0]][:, group != group[0]].sum(), "wrong on groups in"),
    ],
)
def test_a_wrong_answer_hears_what_is_wrong(ask, name, function, message):
    assert re.match(f"○ {name} is open: .*{message}", ask(exercise, name, function))


@pytest.mark.parametrize(
    ("function", "called"),
    [
        (lambda x: tsne(x, perplexity=5, progress=False).embedding, "tsne"),
        (lambda x: torch.cat([tsne(x, p, progress=False).embedding for p in (30,)]), "tsne"),
        (lambda x: gradient(x, x[:, :2]), "gradient"),  # noqa: F821
        (lambda x: kl_loss(x, x[:, :2]), "kl_loss"),  # noqa: F821
        (lambda x: by_two_helpers(x), "tsne"),
        (sklearn_tsne, "TSNE"),
        (lambda x: mosaic(x), "mosaic"),
        (lambda x: mine[nearest_neighbours(x, few, k=1).indices[:, 0]], "mine"),  # noqa: F821
        (lambda x: by_perplexity[30].embedding[:500], "by_perplexity"),  # noqa: F821
    ],
    ids=["tsne", "tsne within", "gradient", "kl_loss", "tsne in a helper", "TSNE", "mosaic", "mine", "by_perplexity"],
)
def test_a_call_that_draws_the_map_is_refused(capsys, monkeypatch, function, called):
    monkeypatch.setattr(function, "__name__", "my_embedding")
    assert exercise(function) is exercise.by_name["my_embedding"].solution
    told = capsys.readouterr().out
    assert f"○ my_embedding is open: this uses {called}, which is t-SNE or a map made for you" in told
    assert "If this is your own, give it another name" in told
