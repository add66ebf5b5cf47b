"""Nets of several seeds at once train as each of them does alone."""

import pytest
import torch
import torch.nn.functional as F

from coursekit.generative import Draws, stacked
from coursekit.nets.blocks import fully_connected


def test_each_slice_is_the_net_of_its_seed():
    net = stacked([3, 8, 2], [4, 5])
    x = torch.randn(2, 6, 3)
    for s, seed in enumerate((4, 5)):
        torch.manual_seed(seed)
        torch.testing.assert_close(net(x)[s], fully_connected([3, 8, 2])(x[s]))


def test_the_global_generator_stays_as_it_is():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    stacked([2, 4, 1], range(3))
    Draws(range(3)).normal(4, 2)
    assert torch.equal(before, torch.get_rng_state())


def trained(seeds, steps=30):
    """The weights of G and D after some steps of the game, (seeds, number of weights)."""
    g, d, draws = stacked([2, 16, 2], seeds), stacked([2, 16, 1], seeds), Draws(seeds)
    up, down = (torch.optim.Adam(net.parameters(), 1e-2) for net in (d, g))
    points = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
    for _ in range(steps):
        x, fake = draws.rows(points, 32), g(draws.normal(32, 2))
        for optimizer, loss in (
            (up, lambda x=x, fake=fake: F.softplus(-d(x)) + F.softplus(d(fake.detach()))),
            (down, lambda fake=fake: F.softplus(-d(fake))),
        ):
            optimizer.zero_grad()
            loss().mean(dim=(1, 2)).sum().backward()
            optimizer.step()
    return torch.cat([w.detach().flatten(1) for net in (g, d) for w in net.parameters()], dim=1)


def test_a_seed_among_ten_trains_as_it_does_alone():
    together = trained(range(10))
    for seed in (0, 3, 9):
        torch.testing.assert_close(together[seed], trained([seed])[0], atol=1e-5, rtol=0)
    assert (together[0] - together[3]).abs().max() > 0.1


def test_a_seed_draws_the_same_in_any_company():
    many, alone = Draws([7, 8]), Draws([8])
    points = torch.arange(20.0).view(10, 2)
    assert torch.equal(many.normal(5, 3)[1], alone.normal(5, 3)[0])
    assert torch.equal(many.uniform(5, 3)[1], alone.uniform(5, 3)[0])
    assert torch.equal(many.rows(points, 4)[1], alone.rows(points, 4)[0])
    assert not torch.equal(*many.normal(5, 3))


def test_numbers_drawn_have_their_law():
    draws = Draws(range(4))
    assert draws.normal(20000, 1).mean(dim=(1, 2)).abs().max() < 0.03
    assert (draws.normal(20000, 1).var(dim=(1, 2)) - 1).abs().max() < 0.05
    u = draws.uniform(20000, 1)
    assert u.min() >= 0
    assert u.max() < 1
    assert (u.mean(dim=(1, 2)) - 0.5).abs().max() < 0.02
    rows = draws.rows(torch.arange(5.0)[:, None], 20000)
    assert ((rows[..., None] == torch.arange(5.0)).float().mean(dim=(1, 2)) - 0.2).abs().max() < 0.02


@pytest.mark.parametrize("make", [lambda seeds: stacked([2, 1], seeds), Draws])
def test_bad_seeds(make):
    with pytest.raises(ValueError, match="seeds: expected at least one seed, got none"):
        make([])
    with pytest.raises(TypeError, match="seed"):
        make([1.5])


def test_bad_sizes():
    with pytest.raises(ValueError, match="widths"):
        stacked([2], [0])
    draws = Draws([0])
    with pytest.raises(ValueError, match="n: expected"):
        draws.normal(0, 2)
    with pytest.raises(ValueError, match="d: expected"):
        draws.uniform(2, 0)
    with pytest.raises(ValueError, match="points"):
        draws.rows(torch.empty(0, 2), 3)


def test_points_must_be_a_tensor(without_annotations):
    with pytest.raises(TypeError, match="points: expected a tensor"):
        Draws([0]).rows([[1.0, 2.0]], 3)


def test_points_and_batches_have_their_axes(without_annotations):
    with pytest.raises(ValueError, match=r"points: expected shape \(m, d\), got \(2, 3, 4\)"):
        Draws([1]).rows(torch.rand(2, 3, 4), 5)
    with pytest.raises(ValueError, match=r"x: expected shape \(2, n, 3\), got \(3, 2, 3\)"):
        stacked([3, 1], [7, 8])(torch.rand(3, 2, 3))
