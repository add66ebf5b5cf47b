"""The exercises on failures of GANs accept what is right in any form, and say what is wrong."""

import math

import pytest
import torch

from coursekit.datasets import ring
from coursekit.exercises.lecture15 import damped_game, exercise, fool
from coursekit.generative import mode_coverage

# --- mode coverage


def by_loops(samples, modes, std):
    good = set()
    count = 0
    for x in samples.tolist():
        distances = [math.dist(x, it) for it in modes.tolist()]
        if min(distances) <= 3 * std:
            good.add(distances.index(min(distances)))
            count += 1
    return len(good), count / len(samples)


def by_the_package(samples, modes, std):
    found = mode_coverage(samples, modes, std)
    return found.captured, found.high_quality


def by_pairs(samples, modes, std):
    near = torch.cdist(samples, modes) <= 3 * std  # the modes are far apart
    return int(near.any(dim=0).sum()), near.any(dim=1).float().mean()


@pytest.mark.parametrize("answer", [by_loops, by_the_package])
def test_mode_coverage_in_any_form(ask, answer):
    assert ask(exercise, "mode_coverage", answer).startswith("✓ mode_coverage: right on three modes")


def without_three_sigma(samples, modes, std):
    nearest = torch.cdist(samples, modes).argmin(dim=1)
    return len(nearest.unique()), 1.0


def per_coordinate(samples, modes, std):
    nearest = torch.cdist(samples, modes).argmin(dim=1)
    good = ((samples - modes[nearest]).abs() <= 3 * std).all(dim=1)
    return len(nearest[good].unique()), good.float().mean()


def all_nearest(samples, modes, std):
    distance, nearest = torch.cdist(samples, modes).min(dim=1)
    return len(nearest.unique()), (distance <= 3 * std).float().mean()


def one_sigma(samples, modes, std):
    return by_the_package(samples, modes, std / 3)


def good_points(samples, modes, std):
    captured, fraction = by_the_package(samples, modes, std)
    return captured, round(fraction * len(samples))


WRONG = {
    "no 3σ": (without_three_sigma, "wrong on three modes"),
    "per coordinate": (per_coordinate, "wrong on three modes"),
    "modes of points that are far": (all_nearest, "open"),
    "one σ": (one_sigma, "wrong on three modes"),
    "a number instead of a fraction": (good_points, "wrong on three modes"),
    "a mode for every point in reach of it": (by_pairs, "open"),
    "nothing": (lambda *_: None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_mode_coverage_is_open(ask, answer, message):
    assert message in ask(exercise, "mode_coverage", answer)


# --- a damped game


def played(step):
    """The path of a rule for one step, (slopes, g, d, eta) → the new g and d."""

    def path(slopes, g, d, eta, steps):
        places = [(g, d)]
        for _ in range(steps):
            places.append(step(slopes, *places[-1], eta))
        return places

    return path


def first_step_as_usual(slopes, g, d, eta, steps):
    """Optimism that begins with a simultaneous step."""
    places, before = [(g, d)], None
    for _ in range(steps):
        now = slopes(g, d)
        before = before or now
        g, d = g - eta * (2 * now[0] - before[0]), d + eta * (2 * now[1] - before[1])
        before = now
        places.append((g, d))
    return places


def from_the_past(slopes, g, d, eta, steps):
    """Extragradient that looks ahead by the slopes of the last look ahead (Popov 1980; Gidel et al. 2019)."""
    places, ahead = [(g, d)], (0.0, 0.0)
    for _ in range(steps):
        ahead = slopes(g - eta * ahead[0], d + eta * ahead[1])
        g, d = g - eta * ahead[0], d + eta * ahead[1]
        places.append((g, d))
    return places


def extragradient(slopes, g, d, eta):
    by_g, by_d = slopes(g, d)
    by_g, by_d = slopes(g - eta * by_g, d + eta * by_d)
    return g - eta * by_g, d + eta * by_d


def in_torch(slopes, g, d, eta, steps):
    return torch.tensor(damped_game(slopes, g, d, eta, steps))


def second_player_answers(slopes, g, d, eta):
    """Each player meets the slope where the other one is going."""
    by_g, by_d = slopes(g, d)
    return g - eta * slopes(g, d + eta * by_d)[0], d + eta * slopes(g - eta * by_g, d)[1]


def implicit(slopes, g, d, eta):
    """The slopes at the place where the step ends, found by repetition."""
    new = (g, d)
    for _ in range(30):
        by_g, by_d = slopes(*new)
        new = (g - eta * by_g, d + eta * by_d)
    return new


def consensus(slopes, g, d, eta, weight=1.0, h=1e-4):
    """The usual step, and down half the squared length of the slopes: it arrives within the rounding."""

    def half_square(g, d):
        return sum(it**2 for it in slopes(g, d)) / 2

    by_g, by_d = slopes(g, d)
    down_g = (half_square(g + h, d) - half_square(g - h, d)) / (2 * h)
    down_d = (half_square(g, d + h) - half_square(g, d - h)) / (2 * h)
    return g - eta * (by_g + weight * down_g), d + eta * (by_d - weight * down_d)


def negative_momentum(slopes, g, d, eta, steps, beta=-0.5):
    """Alternating steps with momentum −½ (Gidel et al. 2019)."""
    places, before = [(g, d)], (g, d)
    for _ in range(steps):
        new_d = d + eta * slopes(g, d)[1] + beta * (d - before[1])
        new_g = g - eta * slopes(g, new_d)[0] + beta * (g - before[0])
        before, (g, d) = (g, d), (new_g, new_d)
        places.append((g, d))
    return places


RIGHT_GAMES = {
    "optimism": damped_game,
    "optimism after a usual step": first_step_as_usual,
    "extragradient from the past": from_the_past,
    "a tensor": in_torch,
}


@pytest.mark.parametrize("answer", RIGHT_GAMES.values(), ids=RIGHT_GAMES)
def test_damped_games_of_any_form(ask, answer):
    praise = (
        "500 steps, one call of slopes each, at least halve the distance from the solution of three bilinear games, "
        "and shorten that of a Dirac game"
    )
    assert ask(exercise, "damped_game", answer) == f"✓ damped_game: {praise}"


def simultaneous(slopes, g, d, eta):
    by_g, by_d = slopes(g, d)
    return g - eta * by_g, d + eta * by_d


def alternating(slopes, g, d, eta):
    d = d + eta * slopes(g, d)[1]
    return g - eta * slopes(g, d)[0], d


def decayed(slopes, g, d, eta):
    g, d = simultaneous(slopes, g, d, eta)
    return 0.98 * g, 0.98 * d


def straight(slopes, g, d, eta, steps):
    """Straight to the place that would be the solution if every game were bilinear."""
    by_g, by_d = slopes(0.0, 0.0)
    return played(lambda _, g, d, eta: (g - eta * (g + by_d), d - eta * (d + by_g)))(slopes, g, d, eta, steps)


def swapped(slopes, g, d, eta):
    by_g, by_d = slopes(g, d)
    return g - eta * by_d, d - eta * by_g


def mixed(slopes, g, d, eta):
    by_g, by_d = slopes(g, d)
    return g - eta * (by_g + 0.3 * by_d), d + eta * (by_d - 0.3 * by_g)


def penalized(slopes, g, d, eta):
    """A penalty that pulls d to 0, wherever the solution is."""
    by_g, by_d = slopes(g, d)
    return g - eta * by_g, d + eta * (by_d - d)


WRONG_GAMES = {
    "straight to where a bilinear game ends": (straight, "of a Dirac game is"),
    "the slope of the other player": (played(swapped), "of a Dirac game is"),
    "the slopes of both": (played(mixed), "of a Dirac game is"),
    "simultaneous": (played(simultaneous), "the distance from the solution"),
    "the R₁ penalty of the text": (played(penalized), "a pull toward 0 misses a solution"),
    "alternating": (played(alternating), "ask for the slopes 1000 times; wanted once a step"),
    "extragradient": (played(extragradient), "ask for the slopes 1000 times; wanted once a step"),
    "second player answers": (played(second_player_answers), "wanted once a step"),
    "implicit": (played(implicit), "wanted once a step"),
    "consensus": (played(consensus), "wanted once a step"),
    "negative momentum": (negative_momentum, "wanted once a step"),
    "a smaller step": (played(lambda s, g, d, eta: simultaneous(s, g, d, eta / 10)), "only slows the spiral down"),
    "a smaller damped step": (lambda s, g, d, eta, steps: damped_game(s, g, d, eta / 10, steps), "only slows"),
    "steps that shrink": (
        lambda s, g, d, eta, n: [(g / (1 + i), d / (1 + i)) for i in range(n + 1)],
        "a step has",
    ),
    "weights that decay to 0": (played(decayed), "open"),
    "the beginning left out": (
        lambda s, g, d, eta, steps: damped_game(s, g, d, eta, steps)[1:],
        "expected the beginning and the place",
    ),
    "another beginning": (lambda s, g, d, eta, n: damped_game(s, g / 2, d / 2, eta, n), "is not the beginning"),
    "the last place only": (lambda s, g, d, eta, n: (g, d), "expected the beginning and the place"),
    "nothing": (lambda *_: None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_GAMES.values(), ids=WRONG_GAMES)
def test_a_wrong_damped_game_is_open(ask, answer, message):
    assert message in ask(exercise, "damped_game", answer)


# --- fool the metric


def four_points(real):
    """Four heaps halfway between modes, moved to the mean and the covariance of the data."""
    angle = math.pi / 8 + math.pi / 2 * torch.arange(len(real))
    corner = 2**0.5 * torch.stack([angle.cos(), angle.sin()], dim=1)
    return real.mean(dim=0) + corner @ torch.linalg.cholesky(real.T.cov()).T


@pytest.mark.parametrize("answer", [fool, four_points])
def test_whatever_has_the_two_moments_fools_the_frechet_distance(ask, answer):
    assert ask(exercise, "fool", answer).startswith("✓ fool: the Fréchet distance calls it as good as the data")


WRONG_FOOLS = {
    "the true sampler": (lambda real: ring(len(real), 77).points, "open"),
    "the data themselves": (lambda real: real, "an honest sampler fools nobody"),
    "the data in another order": (lambda real: real.flip(0), "an honest sampler fools nobody"),
    "the wrong covariance": (lambda real: torch.randn_like(real), "It sees the mean and the covariance only"),
    "a slight blur": (lambda real: real + 0.08 * torch.randn_like(real), "match both exactly"),
    "hardly any blur": (lambda real: real + 0.065 * torch.randn_like(real), "open"),
    "one mode": (lambda real: real[:1].expand_as(real), "It sees the mean and the covariance only"),
    "too few points": (lambda real: fool(real)[:10], "expected as many points as in the data"),
    "nothing": (lambda real: None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_FOOLS.values(), ids=WRONG_FOOLS)
def test_what_fools_nobody_is_open(ask, answer, message):
    assert message in ask(exercise, "fool", answer)
