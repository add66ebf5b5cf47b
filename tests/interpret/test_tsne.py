"""t-SNE against closed forms, automatic differentiation, scikit-learn's P, and its own definition."""

import importlib
import math

import numpy as np
import pytest
import torch

from coursekit.interpret import joint_probabilities, tsne
from coursekit.interpret.tsne import conditional_probabilities, kl_gradient, kl_loss, student_kernel

module = importlib.import_module("coursekit.interpret.tsne")  # in the package, the name means the function


def perplexities(p):
    return 2 ** -(p * p.clamp_min(1e-300).log2()).sum(dim=1)


def simplex(n):
    """n points, all at distance √2 from each other."""
    return torch.eye(n, dtype=torch.float64)


@pytest.fixture
def x():
    return torch.randn(60, 5, dtype=torch.float64)


# P


@pytest.mark.parametrize("perplexity", [1.5, 5, 30, 58.5])
def test_every_row_has_the_perplexity_asked_for(x, perplexity):
    p = conditional_probabilities(x, perplexity)
    torch.testing.assert_close(perplexities(p), torch.full((60,), float(perplexity)).double(), rtol=1e-6, atol=0)
    torch.testing.assert_close(p.sum(dim=1), torch.ones(60).double())
    assert (p.diagonal() == 0).all()


def test_the_perplexity_is_met_at_very_different_scales():
    x = torch.cat([1e-2 * torch.randn(20, 2), 1e2 + torch.randn(20, 2), torch.tensor([[1e3, 0.0]])]).double()
    for perplexity in (2, 10, 25):
        p = conditional_probabilities(x, perplexity)
        torch.testing.assert_close(perplexities(p), torch.full((41,), float(perplexity)).double(), rtol=1e-6, atol=0)


def test_rows_are_gaussian_in_the_distance(x):
    """log p_{j|i} = −βᵢ‖xᵢ − xⱼ‖² + const: a straight line for one positive βᵢ a row."""
    p, d = conditional_probabilities(x, 10), torch.cdist(x, x).square()
    for i in (0, 17):
        others = torch.arange(60) != i
        design = torch.stack([d[i, others], torch.ones(59)], dim=1)
        solution = torch.linalg.lstsq(design, p[i, others].log()[:, None])
        assert solution.solution[0] < 0
        torch.testing.assert_close(design @ solution.solution, p[i, others].log()[:, None], rtol=0, atol=1e-9)


def test_joint_probabilities_are_those_of_scikit_learn(x):
    from scipy.spatial.distance import squareform
    from sklearn.manifold import _t_sne

    theirs = _t_sne._joint_probabilities(torch.cdist(x, x).square().numpy().astype(np.float32), 10, 0)
    np.testing.assert_allclose(joint_probabilities(x, 10), squareform(theirs), atol=1e-6)


def test_joint_probabilities_are_symmetric_with_sum_1(x):
    p = joint_probabilities(x, 10)
    assert torch.equal(p, p.T)
    assert p.sum().item() == pytest.approx(1, abs=1e-12)


def test_joint_probabilities_do_not_change_when_the_points_are_moved_turned_and_enlarged(x):
    turn = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64)).Q
    torch.testing.assert_close(joint_probabilities(3 + 7 * x @ turn, 10), joint_probabilities(x, 10))


def test_images_are_taken_as_vectors(x):
    assert torch.equal(joint_probabilities(x.view(60, 1, 5, 1), 10), joint_probabilities(x, 10))


@pytest.mark.parametrize("perplexity", [1, 2, 3.9])
def test_on_a_simplex_all_pairs_are_alike(perplexity):
    p = joint_probabilities(simplex(6), perplexity)
    torch.testing.assert_close(p, (1 - simplex(6)) / 30)


def test_with_more_equal_points_than_the_perplexity_the_row_is_uniform_on_them():
    x = torch.cat([torch.zeros(5, 2), 1 + torch.rand(5, 2)])
    p = conditional_probabilities(x, 3)
    torch.testing.assert_close(p[:5, :5], (1 - torch.eye(5).double()) / 4)
    assert (p[:5, 5:] == 0).all()
    torch.testing.assert_close(perplexities(p[5:]), torch.full((5,), 3.0).double())
    thirds = conditional_probabilities(x[1:], 2)  # four equal points: three are nearest to each
    torch.testing.assert_close(thirds.sum(dim=1), torch.ones(9).double(), rtol=0, atol=1e-12)


def test_perplexity_1_is_the_nearest_neighbour():
    p = conditional_probabilities(torch.tensor([[0.0], [1.0], [3.0], [7.0]]), 1)
    assert p.tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]


# The divergence and its gradient


def test_q_sums_to_1_over_all_pairs(x):
    w = student_kernel(x[:, :2])
    assert (w / w.sum()).sum().item() == pytest.approx(1)
    assert w[3, 8].item() == pytest.approx(1 / (1 + (x[3, :2] - x[8, :2]).square().sum().item()))
    assert (w.diagonal() == 0).all()


def test_the_divergence_of_a_map_in_one_point_is_the_entropy_missing_to_uniform(x):
    p = joint_probabilities(x, 10)
    entropy = -torch.xlogy(p, p).sum()
    assert kl_loss(p, 1e-9 * x[:, :2]).item() == pytest.approx(math.log(60 * 59) - entropy.item())


def test_an_equilateral_triangle_is_mapped_without_loss():
    p = joint_probabilities(simplex(3), 1.5)
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, 3**0.5 / 2]], dtype=torch.float64)
    for size in (0.1, 1, 30):
        assert kl_loss(p, size * corners).item() == pytest.approx(0, abs=1e-15)
        assert kl_gradient(p, size * corners).abs().max() < 1e-15


def test_a_map_of_a_simplex_in_the_plane_is_without_loss_only_if_it_is_one_point():
    """All p are equal, so all q must be: four points of the plane are equally far apart only at distance 0."""
    found = tsne(simplex(4), perplexity=2, start=torch.randn(4, 2), steps=2000, progress=False)
    assert found.kl < 1e-5
    assert found.embedding.abs().max() < 0.1


def test_a_large_matrix_is_made_in_parts(monkeypatch, x):
    whole = joint_probabilities(x, 10)
    monkeypatch.setattr(module, "PAIRS", 17 * 60)  # 17, 17, 17 and 9 rows
    torch.testing.assert_close(joint_probabilities(x, 10), whole, rtol=1e-9, atol=0)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_gradient_is_that_of_automatic_differentiation(x, dim):
    p, y = joint_probabilities(x, 10), x[:, :dim].clone().requires_grad_()
    off = ~torch.eye(60, dtype=torch.bool)
    w = 1 / (1 + (y[:, None] - y).square().sum(dim=2)[off])
    (expected,) = torch.autograd.grad((p[off] * (p[off] / (w / w.sum())).log()).sum(), y)
    torch.testing.assert_close(kl_gradient(p, y.detach()), expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_gradient_of_the_descent_is_the_plain_one(monkeypatch, x, dim):
    monkeypatch.setattr(module, "BLOCK", 25)  # blocks of 25, 25 and 10 rows
    p, y = joint_probabilities(x, 10), x[:, :dim].clone()
    w = module._kernel(y)
    parts = [p[i : i + 25, i:].triu(1) for i in (0, 25, 50)]
    fast = module._gradient(parts, w, 2 * sum(part.sum().item() for part in w), y)
    torch.testing.assert_close(fast, kl_gradient(p, y), rtol=1e-10, atol=1e-14)


def test_the_gradient_moves_no_centre(x):
    gradient = kl_gradient(joint_probabilities(x, 10), x[:, :2])
    assert gradient.sum(dim=0).abs().max() < 1e-14


# The map


@pytest.fixture
def clusters():
    """Three clusters of 20 points, far apart."""
    return torch.randn(60, 4) + torch.eye(3, 4).repeat_interleave(20, dim=0) * 30


def test_clusters_stay_clusters(clusters):
    y = tsne(clusters, perplexity=8, progress=False).embedding
    nearest = (torch.cdist(y, y) + torch.diag(torch.full((60,), torch.inf))).argmin(dim=1)
    assert torch.equal(nearest // 20, torch.arange(60) // 20)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_result_says_how_good_it_is(clusters, dtype):
    x = clusters.to(dtype)
    found = tsne(x, perplexity=10, steps=400, progress=False)
    p = joint_probabilities(x, 10)
    assert found.embedding.dtype == dtype
    assert found.embedding.mean(dim=0).abs().max() < 1e-4
    assert found.kl == pytest.approx(kl_loss(p, found.embedding.double()).item(), abs=1e-6)
    assert found.method == "exact"
    assert list(found.history) == [*range(0, 400, module.RECORD_EVERY), 400]
    entropy = -torch.xlogy(p, p).sum().item()
    assert found.history[0] == pytest.approx(math.log(60 * 59) - entropy, abs=1e-4)
    assert found.history[400] == found.kl < 0.2 * found.history[0]


def test_the_history_is_the_divergence_of_the_maps_on_the_way(x):
    found = tsne(x, perplexity=10, steps=300, snapshots=[0, 100, 280, 300], progress=False)
    p = joint_probabilities(x, 10)
    assert list(found.snapshots) == [0, 100, 280, 300]
    for step, y in found.snapshots.items():
        assert found.history[step] == pytest.approx(kl_loss(p, y.double()).item(), abs=1e-4)
    assert torch.equal(found.snapshots[300], found.embedding.float())
    shorter = tsne(x, perplexity=10, steps=100, progress=False)
    assert torch.equal(shorter.embedding.float(), found.snapshots[100])


def test_it_is_as_good_as_scikit_learns_exact_method(x):
    from sklearn.manifold import TSNE

    start = module._principal_components(x, 2, seed=0)
    theirs = TSNE(perplexity=15, init=start.float().numpy(), method="exact").fit_transform(x.float().numpy())
    p = joint_probabilities(x, 15)
    ours = min(tsne(x, 15, seed=seed, progress=False).kl for seed in range(3))
    assert ours <= 1.02 * kl_loss(p, torch.as_tensor(theirs).double()).item()


def test_the_seed_decides_everything(x):
    first, again, other = (tsne(x, 10, seed=seed, steps=60, progress=False).embedding for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_map_begins_where_it_is_told_to(x):
    start = torch.randn(60, 3)
    found = tsne(x, 10, dim=3, steps=0, start=start, progress=False)
    torch.testing.assert_close(found.embedding, start.double())


def test_the_default_start_is_along_the_first_principal_components(x):
    x[:, 3] *= 10
    x[:, 1] *= 5
    y = tsne(x, 10, steps=0, progress=False).embedding
    assert y[:, 0].std().item() == pytest.approx(1e-4, rel=0.05)
    correlation = torch.corrcoef(torch.cat([y, x[:, [3, 1]]], dim=1).T).abs()
    assert correlation[0, 2] > 0.98
    assert correlation[1, 3] > 0.95


def test_equal_points_do_not_stop_it():
    for x in (torch.zeros(10, 3), torch.rand(5, 3).repeat(4, 1)):
        found = tsne(x, perplexity=2, progress=False)
        assert found.embedding.isfinite().all()
        assert math.isfinite(found.kl)


def test_points_on_a_line_are_mapped_into_the_plane():
    y = tsne(torch.randn(30, 1), perplexity=5, progress=False).embedding
    assert torch.linalg.svdvals(y - y.mean(dim=0))[1] > 1


def test_x_and_start_are_left_as_they_were(x):
    start = x[:, :2].clone()
    before = x.clone(), start.clone()
    tsne(x, 10, steps=20, start=start, progress=False)
    assert torch.equal(x, before[0])
    assert torch.equal(start, before[1])


def test_many_points_are_handed_over_and_the_result_says_so(monkeypatch, clusters, capsys):
    monkeypatch.setattr(module, "EXACT_UP_TO", 50)
    found = tsne(clusters, perplexity=8)
    assert found.method == "Barnes-Hut (scikit-learn)"
    assert "t-SNE" in capsys.readouterr().out
    assert found.embedding.shape == (60, 2)
    assert found.embedding.mean(dim=0).abs().max() < 1e-3
    assert list(found.history.values()) == [found.kl]
    assert found.snapshots == {}
    nearest = (torch.cdist(*[found.embedding] * 2) + torch.diag(torch.full((60,), torch.inf))).argmin(dim=1)
    assert torch.equal(nearest // 20, torch.arange(60) // 20)
    with pytest.raises(ValueError, match=r"at most 50 points with snapshots or dim > 3, got 60 and dim=2.*Barnes-Hut"):
        tsne(clusters, perplexity=8, snapshots=[10])
    with pytest.raises(ValueError, match=r"at most 50 points .*, got 60 and dim=4.*has at most 3 dimensions"):
        tsne(clusters, perplexity=8, dim=4)


def test_barnes_hut_counts_its_steps_and_gives_a_true_kl_after_few(monkeypatch, clusters):
    """After its first 250 steps, with the exaggerated P, scikit-learn reports 1.8e308."""
    monkeypatch.setattr(module, "EXACT_UP_TO", 50)
    found = tsne(clusters, perplexity=8, steps=100, progress=False)
    assert found.history == {module.BARNES_HUT_STEPS: found.kl}
    assert found.kl < 1
    assert found.embedding.dtype == clusters.dtype


def test_barnes_hut_does_not_lose_points_far_from_the_origin(monkeypatch, clusters):
    """In single precision all numbers around 1e9 are multiples of 64."""
    monkeypatch.setattr(module, "EXACT_UP_TO", 50)
    y = tsne(1e9 + clusters.double(), perplexity=8, progress=False).embedding
    nearest = (torch.cdist(y, y) + torch.diag(torch.full((60,), torch.inf))).argmin(dim=1)
    assert torch.equal(nearest // 20, torch.arange(60) // 20)


@pytest.mark.parametrize(
    ("x", "arguments", "message"),
    [
        (torch.rand(10, 2), {"perplexity": 10}, "perplexity of 10 points: expected a number ≥ 1 and < 9, got 10"),
        (torch.rand(10, 2), {"perplexity": 9}, "perplexity of 10 points: expected a number ≥ 1 and < 9, got 9"),
        (torch.rand(10, 2), {"perplexity": 0.9}, "expected a number ≥ 1 and < 9, got 0.9"),
        (torch.rand(10, 2), {"perplexity": math.nan}, "expected a number ≥ 1 and < 9, got nan"),
        (torch.rand(2, 2), {"perplexity": 1}, "x: expected at least 3 points, got 2"),
        (torch.rand(0, 2), {"perplexity": 1}, r"x: expected at least one element, got shape \(0, 2\)"),
        (torch.rand(10), {"perplexity": 1}, r"x: expected shape \(n, d, ...\), got \(10,\)"),
        (torch.full((10, 2), torch.nan), {"perplexity": 2}, "x: 20 of 20 numbers are NaN or infinite"),
        (torch.rand(10, 2), {"perplexity": 2, "dim": 0}, "dim: expected an integer from 1 on, got 0"),
        (
            torch.rand(10, 2),
            {"perplexity": 2, "steps": 5, "snapshots": [6]},
            "snapshots: expected an integer from 0 to 5, got 6",
        ),
        (
            torch.rand(10, 2),
            {"perplexity": 2, "start": torch.rand(9, 2)},
            r"start: expected shape \(10, 2\), got \(9, 2\)",
        ),
    ],
)
def test_bad_input_is_named(x, arguments, message):
    with pytest.raises(ValueError, match=message):
        tsne(x, **arguments)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (torch.zeros(10, 2).byte(), "expected float32 or float64, got uint8"),
        (torch.zeros(10, 2).long(), "expected float32 or float64, got int64"),
        (torch.zeros(10, 2).bool(), "expected float32 or float64, got bool"),
        (torch.zeros(10, 2).half(), "expected float32 or float64, got float16"),
        (np.zeros((10, 2)), "expected a tensor, got ndarray"),
        ([[0.0, 1.0]] * 10, "expected a tensor, got list"),
    ],
)
def test_what_is_not_a_tensor_of_decimal_numbers_is_refused(wrong, message, without_annotations):
    for function in (tsne, joint_probabilities, conditional_probabilities):
        with pytest.raises(TypeError, match=f"x: {message}"):
            function(wrong, 2.0)
    with pytest.raises(TypeError, match=f"start: {message}"):
        tsne(torch.rand(10, 2), 2.0, start=wrong, progress=False)
    with pytest.raises(TypeError, match=f"y: {message}"):
        kl_loss(torch.rand(10, 10), wrong)


@pytest.mark.parametrize("name", ["dim", "seed", "steps"])
def test_numbers_that_must_be_integers_are(name, without_annotations):
    with pytest.raises(TypeError, match=f"{name}: expected an integer, got float 2.0"):
        tsne(torch.rand(10, 2), 2.0, **{name: 2.0})


@pytest.mark.parametrize("function", [kl_loss, kl_gradient])
def test_p_has_a_row_and_a_column_for_every_point(function, without_annotations):
    with pytest.raises(ValueError, match=r"p: expected shape \(10, 10\), got \(9, 9\)"):
        function(torch.rand(9, 9), torch.rand(10, 2))


def test_the_loss_and_its_gradient_want_joint_probabilities(x):
    y = torch.randn(60, 2, dtype=torch.float64)
    for p in (conditional_probabilities(x, 10), joint_probabilities(x, 10) / 2):
        for function in (kl_loss, kl_gradient):
            with pytest.raises(ValueError, match="p: expected joint probabilities, symmetric and with sum 1"):
                function(p, y)


@pytest.mark.parametrize("method", ["exact", "Barnes-Hut (scikit-learn)"])
@pytest.mark.parametrize("scale", [2.0**-90, 2.0**90])
def test_the_map_does_not_depend_on_the_scale_of_the_points(method, scale, monkeypatch):
    if method != "exact":
        monkeypatch.setattr(module, "EXACT_UP_TO", 10)
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    plain, scaled = (tsne(points, perplexity=10, steps=30, progress=False) for points in (x, scale * x))
    assert plain.method == scaled.method == method
    torch.testing.assert_close(scaled.embedding, plain.embedding, rtol=1e-3, atol=1e-3)


def test_snapshots_may_come_from_a_generator(without_annotations):
    x = torch.randn(6, 3)
    kept = tsne(x, 2.0, steps=4, snapshots=(2 * k for k in range(3)), progress=False).snapshots
    assert sorted(kept) == [0, 2, 4]
