"""Nets that checks train are always the same, and nobody else's random numbers change."""

import torch
from torch import nn

from coursekit.exercises.trained import correctly_classified, trained_classifier

X = torch.tensor([[-2.0], [-1.0], [1.0], [2.0]])
LABELS = torch.tensor([0, 0, 1, 1])


def trained():
    return trained_classifier(lambda: nn.Linear(1, 2), X, LABELS, lr=0.1, epochs=20)


def test_the_net_has_learned_and_is_the_same_each_time():
    first, again = trained(), trained()
    assert not first.training
    assert correctly_classified(first, X, LABELS, 4).tolist() == [0, 1, 2, 3]
    assert torch.equal(first.weight, again.weight)


def test_the_random_numbers_of_others_stay_as_they_are():
    before = torch.get_rng_state()
    trained()
    assert torch.equal(torch.get_rng_state(), before)


def test_the_first_correct_ones_are_found():
    net = nn.Linear(1, 2)
    net.weight.data, net.bias.data = torch.tensor([[-1.0], [1.0]]), torch.zeros(2)
    assert correctly_classified(net, X, torch.tensor([1, 0, 1, 1]), 2).tolist() == [1, 2]
