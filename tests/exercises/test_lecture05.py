"""The exercises on simple recurrent nets accept what is right in any form, and say what is wrong."""

import functools
import math
import re
import sysconfig
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from coursekit.datasets import stdlib_text
from coursekit.exercises import lecture05
from coursekit.exercises.checking import Wrong
from coursekit.exercises.lecture05 import check_my_model, exercise
from coursekit.recurrent import NGrams

# --- the loss of a step


def by_log_softmax(o, y):
    return -(y * o.log_softmax(dim=0)).sum()


def by_logsumexp(o, y):
    return o.logsumexp(dim=0) - o[y.argmax()]


def by_library(o, y):
    return F.cross_entropy(o, y.argmax())


def by_probability(o, y):
    return -torch.log(o.softmax(dim=0) @ y)


def by_probability_in_double(o, y):
    return by_probability(o.double(), y.double())


def as_number(o, y):
    shifted = [value - o.max().item() for value in o.tolist()]
    total = sum(map(math.exp, shifted))
    return math.log(total) - shifted[y.tolist().index(1)]


@pytest.mark.parametrize("answer", [by_log_softmax, by_logsumexp, by_library, as_number])
def test_the_loss_of_a_step_is_accepted_in_any_form(ask, answer):
    assert (
        ask(exercise, "step_loss", answer)
        == "✓ step_loss: right on Karpathy's figure, equal scores, large scores, a target that is hardly possible"
    )


WRONG_LOSSES = {
    "bits": (lambda o, y: by_library(o, y) / math.log(2), "wrong on Karpathy's figure: expected 2.079, got 2.999"),
    "softmax twice": (lambda o, y: by_library(o.softmax(dim=0), y), "wrong on Karpathy's figure"),
    "no logarithm": (lambda o, y: o.softmax(dim=0) @ y, "wrong on Karpathy's figure"),
    "the sign": (lambda o, y: -by_library(o, y), "expected 2.079, got -2.079"),
    "the score": (lambda o, y: -(o @ y), "wrong on Karpathy's figure"),
    "the mean": (lambda o, y: by_library(o, y) / len(o), "wrong on Karpathy's figure"),
    "all classes": (lambda o, y: -o.log_softmax(dim=0), r"wrong on Karpathy's figure: expected shape (), got (4,)"),
    "exp overflows": (
        lambda o, y: -torch.log(o.exp() @ y / o.exp().sum()),
        "wrong on large scores: the result holds NaN",
    ),
    "the probability underflows": (
        by_probability,
        "wrong on a target that is hardly possible: expected 2000, got inf; is it the formula, in numbers too large or "
        "too small for exp? Take the logarithm of softmax in one step",
    ),
    "it underflows in double precision, too": (
        by_probability_in_double,
        "wrong on a target that is hardly possible: expected 2000, got inf",
    ),
    "nothing": (lambda o, y: None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_LOSSES.values(), ids=WRONG_LOSSES)
def test_a_wrong_loss_is_told(ask, answer, message):
    assert message in ask(exercise, "step_loss", answer)


# --- backpropagation through time


def backward(h, o, y, w, V, *, transpose=True, before=True, direct=True, swap=False, readout=True, to_start=True):
    """One pass from the end to the beginning, right unless an argument spoils it."""
    total, back = torch.zeros_like(w), torch.zeros_like(h[0])
    for k in range(len(o), 0, -1):
        v = V.T @ (o[k - 1].softmax(dim=0) - y[k - 1] if readout else -y[k - 1]) + back
        D = 1 - h[k] ** 2
        d = D * v if direct else v
        outer = torch.outer(d, h[k - 1] if before else h[k])
        total = total + outer
        back = (w.T if transpose else w) @ d
        if swap:
            back = D * (w.T @ v)
    return total, back if to_start else v


def summed_twice(h, p, y, w, V):
    """The double sum from the probabilities p, of tensors or of arrays."""
    total, start = 0 * w, 0 * h[0]
    for t in range(1, len(h)):
        v = V.T @ (p[t - 1] - y[t - 1])
        for k in range(t, 0, -1):
            d = (1 - h[k] ** 2) * v
            total = total + d[:, None] * h[k - 1]
            v = w.T @ d
        start = start + v
    return total, start


def double_sum(h, o, y, w, V):
    return summed_twice(h, o.softmax(dim=1), y, w, V)


def by_autograd(h, o, y, w, V):
    """The states and scores as functions of w, with what w does not change read off the given ones."""
    leaf, start = w.clone().requires_grad_(), h[0].clone().requires_grad_()
    rest = h[1:].atanh() - h[:-1] @ w.T  # b + U x_k
    c = o - h[1:] @ V.T
    state, loss = start, 0
    for k in range(len(o)):
        state = torch.tanh(rest[k] + leaf @ state)
        loss = loss - y[k] @ (c[k] + V @ state).log_softmax(dim=0)
    return torch.autograd.grad(loss, (leaf, start))


def in_numpy(*given):
    return [it.numpy() for it in backward(*given)]


@pytest.mark.parametrize("answer", [backward, by_autograd, in_numpy, lecture05.bptt])
def test_bptt_is_accepted_in_any_form(ask, answer):
    assert ask(exercise, "bptt", answer) == "✓ bptt: right on one step, two steps, six steps, 25 steps, in one pass"


def followed_back(h, o, y, w, V):
    """The notebook's own double sum, with all its vectors kept."""
    d, start = {}, torch.zeros_like(h[0])
    for t in range(1, len(h)):
        v = V.T @ (o[t - 1].softmax(dim=0) - y[t - 1])
        for k in range(t, 0, -1):
            d[t, k] = (1 - h[k] ** 2) * v
            v = w.T @ d[t, k]
        start = start + v
    return sum(torch.outer(d[t, k], h[k - 1]) for t, k in d), start


def double_sum_in_numpy(*given):
    """The double sum again, which calls torch a few times only, however long the text is."""
    h, o, y, w, V = (it.numpy() for it in given)
    return summed_twice(h, np.exp(o) / np.exp(o).sum(axis=1, keepdims=True), y, w, V)


@pytest.mark.parametrize("answer", [double_sum, followed_back, double_sum_in_numpy])
def test_the_double_sum_is_right_but_not_in_one_pass(ask, answer):
    said = ask(exercise, "bptt", answer)
    assert "right on one step, two steps, six steps, 25 steps, but its steps grow like T²" in said


def total_derivative(h, o, y, w, V):
    """E08: ∂h_k/∂w in full at each k, so that early steps count more than once."""
    total = torch.zeros_like(w)
    for t in range(1, len(h)):
        v = V.T @ (o[t - 1].softmax(dim=0) - y[t - 1])
        for k in range(t, 0, -1):
            d = (1 - h[k] ** 2) * v
            total = total + (t - k + 1) * torch.outer(d, h[k - 1])
            v = w.T @ d
    return total, backward(h, o, y, w, V)[1]


def powers_of_w(h, o, y, w, V):
    """E09: all D first, and then a power of w."""
    total = torch.zeros_like(w)
    for t in range(1, len(h)):
        for k in range(1, t + 1):
            D = (1 - h[k + 1 : t + 1] ** 2).prod(dim=0)
            J = D[:, None] * torch.linalg.matrix_power(w, t - k)
            v = J.T @ V.T @ (o[t - 1].softmax(dim=0) - y[t - 1])
            total = total + torch.outer((1 - h[k] ** 2) * v, h[k - 1])
    return total, backward(h, o, y, w, V)[1]


def one_step_back(h, o, y, w, V):
    """The first term of each sum alone: k = t."""
    total = sum(backward(h[k : k + 2], o[k : k + 1], y[k : k + 1], w, V)[0] for k in range(len(o)))
    return total, backward(h, o, y, w, V)[1]


def ten_steps_back(h, o, y, w, V):
    """The double sum without what comes from more than ten steps away: its steps grow like T."""
    total, start = torch.zeros_like(w), torch.zeros_like(h[0])
    for t in range(1, len(h)):
        v = V.T @ (o[t - 1].softmax(dim=0) - y[t - 1])
        for k in range(t, max(t - 10, 0), -1):
            d = (1 - h[k] ** 2) * v
            total = total + torch.outer(d, h[k - 1])
            v = w.T @ d
        if t <= 10:
            start = start + v
    return total, start


def changed(how):
    """The right ∂L/∂w, changed; ∂L/∂h_0 is right."""

    def answer(h, o, y, w, V):
        total, start = backward(h, o, y, w, V)
        return how(total, len(o)), start

    return answer


def first_loss_alone(h, o, y, w, V):
    """The right ∂L/∂w, with ∂L_1/∂h_0 for ∂L/∂h_0."""
    return backward(h, o, y, w, V)[0], backward(h[:2], o[:1], y[:1], w, V)[1]


def spoilt(**how):
    return lambda *given: backward(*given, **how)


WRONG_BPTT = {
    "w for its transpose": (spoilt(transpose=False), "wrong on one step: value 2: at index"),
    "h_k for h_{k-1}": (spoilt(before=False), "wrong on one step"),
    "no derivative of tanh": (spoilt(direct=False), "wrong on one step"),
    "D and w in the wrong order": (spoilt(swap=True), "wrong on one step: value 2: at index"),
    "no probabilities": (spoilt(readout=False), "wrong on one step"),
    "E08": (total_derivative, "right on one step; wrong on two steps"),
    "E09": (powers_of_w, "right on one step"),
    "truncated after one step": (one_step_back, "right on one step; wrong on two steps"),
    "truncated after ten steps": (ten_steps_back, "right on one step, two steps, six steps; wrong on 25 steps"),
    "no outer product": (changed(lambda total, T: total.sum(dim=1)), "value 1: expected shape (3, 3), got (3,)"),
    "transposed": (changed(lambda total, T: total.T), "wrong on one step: value 1: at index"),
    "the mean over time": (changed(lambda total, T: total / T), "right on one step; wrong on two steps"),
    "the notebook's lines alone": (lambda *given: backward(*given)[0], "expected 2 values, got Tensor of shape (3, 3)"),
    "∂L/∂h_1 for ∂L/∂h_0": (spoilt(to_start=False), "wrong on one step: value 2: at index"),
    "∂L_1/∂h_0 for ∂L/∂h_0": (first_loss_alone, "right on one step; wrong on two steps: value 2: at index"),
    "one value": (lambda *given: backward(*given)[1], "expected 2 values, got Tensor of shape (3,)"),
    "only the last loss": (
        lambda h, o, y, w, V: backward(h, torch.cat([y[:-1] * 1e9, o[-1:]]), y, w, V),
        "right on one step; wrong on two steps",
    ),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_BPTT.values(), ids=WRONG_BPTT)
def test_wrong_bptt_is_told(ask, answer, message):
    assert message in ask(exercise, "bptt", answer)


# --- the norms of the Jacobians


def norms_forward(h, w, *, D=lambda h: 1 - h[1:] ** 2, step=lambda d, w, J: d[:, None] * (w @ J), norm=2):
    """‖∂h_t/∂h_0‖ for each t, right unless an argument spoils it."""
    J, norms = torch.eye(len(w)).to(w), []
    for d in D(h):
        J = step(d, w, J)
        norms.append(torch.linalg.matrix_norm(J, norm))
    return torch.stack(norms)


def norms_by_autograd(h, w):
    """The states as functions of h_0, with b + Ux read off the given ones."""
    rest = h[1:].atanh() - h[:-1] @ w.T

    def last(start, t):
        for k in range(t):
            start = torch.tanh(rest[k] + w @ start)
        return start

    found = [torch.autograd.functional.jacobian(lambda it, t=t: last(it, t), h[0]) for t in range(1, len(h))]
    return torch.stack([torch.linalg.matrix_norm(J, 2) for J in found])


def norms_in_numpy(h, w):
    return norms_forward(h.double(), w.double()).numpy()


@pytest.mark.parametrize("answer", [norms_forward, norms_by_autograd, norms_in_numpy, lecture05.jacobian_norms])
def test_the_norms_of_the_jacobians_are_accepted_in_any_form(ask, answer):
    assert ask(exercise, "jacobian_norms", answer) == "✓ jacobian_norms: right on one step, two steps, six steps"


def norms_by_powers(h, w):
    """E09: all D first, and then a power of w."""
    D = (1 - h[1:] ** 2).cumprod(dim=0)
    found = [d[:, None] * torch.linalg.matrix_power(w, t) for t, d in enumerate(D, 1)]
    return torch.stack([torch.linalg.matrix_norm(J, 2) for J in found])


def products_of_norms(h, w):
    return torch.linalg.matrix_norm((1 - h[1:] ** 2)[:, :, None] * w, 2).cumprod(dim=0)


def largest_eigenvalues(h, w):
    return torch.linalg.eigvals((1 - h[1:] ** 2)[:, :, None] * w).abs().amax(dim=1)


WRONG_NORMS = {
    "w D for D w": (lambda h, w: norms_forward(h, w, step=lambda d, w, J: w @ (d[:, None] * J)), "wrong on one step"),
    "the state before": (lambda h, w: norms_forward(h, w, D=lambda h: 1 - h[:-1] ** 2), "wrong on one step"),
    "no derivative of tanh": (lambda h, w: norms_forward(h, w, D=lambda h: 1 + 0 * h[1:]), "wrong on one step"),
    "the transpose of w": (
        lambda h, w: norms_forward(h, w, step=lambda d, w, J: d[:, None] * (w.T @ J)),
        "wrong on one step",
    ),
    "the other order": (
        lambda h, w: norms_forward(h, w, step=lambda d, w, J: J @ (d[:, None] * w)),
        "right on one step; wrong on two steps",
    ),
    "E09": (norms_by_powers, "right on one step; wrong on two steps"),
    "the product of the norms": (products_of_norms, "right on one step; wrong on two steps"),
    "Frobenius": (lambda h, w: norms_forward(h, w, norm="fro"), "wrong on one step"),
    "eigenvalues": (largest_eigenvalues, "wrong on one step"),
    "only the last": (lambda h, w: norms_forward(h, w)[-1], "wrong on one step"),
    "one too many": (
        lambda h, w: torch.cat([torch.ones(1), norms_forward(h, w)]),
        "wrong on one step: expected shape (1,), got (2,)",
    ),
    "nothing": (lambda h, w: None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_NORMS.values(), ids=WRONG_NORMS)
def test_wrong_norms_are_told(ask, answer, message):
    assert message in ask(exercise, "jacobian_norms", answer)


# --- a model of the next character


@functools.cache
def followers_in(text, longest):
    """What followed each run of up to so many characters, and how often."""
    followers = {}
    for k in range(longest + 1):
        for i in range(k, len(text)):
            followers.setdefault(text[i - k : i], Counter())[text[i]] += 1
    return followers


def counts(longest):
    """The answer that counts what followed the last characters, up to so many, by the rule of Witten and Bell."""

    def answer(text, characters):
        followers = followers_in(text, longest)

        def predict(before):
            p = torch.full((len(characters),), 1 / len(characters), dtype=torch.float64)
            for k in range(longest + 1):
                behind = followers.get(before[len(before) - k :], {})
                times = torch.tensor([behind.get(character, 0) for character in characters])
                p = (times + max(len(behind), 1) * p) / (times.sum() + max(len(behind), 1))
            return p

        return predict

    return answer


longer_context = counts(4)


def trained_net(text, characters):
    """A net that has learned nothing cannot do it; a few counts beside it can."""
    predict = counts(3)(text, characters)
    return lambda before: 0.98 * predict(before[-3:]) + 0.02 / len(characters)


def as_list(text, characters):
    predict = longer_context(text, characters)
    return lambda before: predict(before).tolist()


def in_single_precision(text, characters):
    predict = longer_context(text, characters)
    return lambda before: predict(before).float().numpy()


@pytest.mark.parametrize("answer", [trained_net, longer_context, as_list, in_single_precision, lecture05.my_model])
def test_every_model_that_beats_the_trigram_is_accepted(ask, answer):
    praise = "it is at least 0.1 nats per character better than the trigram on a text that it has not seen"
    assert ask(exercise, "my_model", answer) == f"✓ my_model: {praise}"


def scaled(factor):
    def answer(text, characters):
        predict = longer_context(text, characters)
        return lambda before: factor * predict(before)

    return answer


def one_hot(text, characters):
    predict = longer_context(text, characters)
    return lambda before: F.one_hot(predict(before).argmax(), len(characters)).double()


def negative(text, characters):
    def predict(before):
        p = torch.zeros(len(characters))
        p[0], p[1] = 2, -1
        return p

    return predict


def looks_up(fraction):
    """Looks up what stands before in the library's own source, and gives a fraction to what follows there."""

    def answer(text, characters):
        folder = Path(sysconfig.get_path("stdlib")) / "asyncio"
        sources = [path.read_text() for path in sorted(folder.glob("*.py"))]
        trigram = counts(2)(text, characters)

        def predict(before):
            p = (1 - fraction) * trigram(before)
            source = next((it for it in sources if before in it), "")
            if after := source.partition(before)[2]:
                p[characters.index(after[0])] += fraction
            return p / p.sum()

        return predict

    return answer


def undoes_the_exchange(text, characters):
    """Reads the hidden text although its characters are exchanged, as whoever copies the check can."""
    data = lecture05._hidden_text()

    def predict(before):
        after = data.validation.find(before) + len(before)
        return F.one_hot(torch.tensor(characters.index(data.validation[after])), len(characters)) * 0.9 + 0.1 / len(
            characters
        )

    return predict


WRONG_MODELS = {
    "looks up a tenth": (looks_up(0.1), "0.1 less than the trigram"),
    "looks up a third": (looks_up(0.3), "0.1 less than the trigram"),
    "looks up nearly all": (looks_up(0.9), "0.1 less than the trigram"),
    "undoes the exchange": (undoes_the_exchange, "better than any model should be: does it read the hidden text?"),
    "the course's own counts": (
        lambda text, c: NGrams(7, "Kneser-Ney").fit(text, c).probabilities,
        "NGrams is the course's own: count yourself, or train a net",
    ),
    "the course's own counts, late": (
        lambda text, c: lambda before: NGrams(4).fit(text, c).probabilities(before),
        "NGrams is the course's own",
    ),
    "uniform": (lambda text, c: lambda before: torch.full((len(c),), 1 / len(c)), "it loses 4.564 nats"),
    "letters alone": (counts(0), "nats per character; wanted at most"),
    "the trigram itself": (counts(2), "0.1 less than the trigram"),
    "too large": (scaled(2), "probabilities are at least 0 and add up to 1; got .* a sum of 2"),
    "too small": (scaled(0.5), "a sum of 0.5"),
    "logarithms": (
        lambda text, c: lambda before: longer_context(text, c)(before).log(),
        "probabilities are at least 0",
    ),
    "negative": (negative, "got a least of -1 and a sum of 1"),
    "one letter for sure": (one_hot, "the probability 0, which costs infinitely many nats"),
    "not a function": (lambda text, c: torch.ones(len(c)), "expected a function .* got Tensor"),
    "other shape": (
        lambda text, c: lambda before: torch.ones(3) / 3,
        r"one probability for each character, shape \(96,\)",
    ),
    "NaN": (lambda text, c: lambda before: torch.full((len(c),), math.nan), "NaN"),
    "nothing": (lambda text, c: lambda before: None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_MODELS.values(), ids=WRONG_MODELS)
def test_a_model_that_is_no_better_or_no_model_is_told(ask, answer, message):
    said = ask(exercise, "my_model", answer)
    assert said.startswith("○ my_model is open: ")
    assert re.search(message, said), said


def test_counts_of_python_made_before_do_not_help(ask):
    model = NGrams(7, "Kneser-Ney").fit(stdlib_text(200_000).train, lecture05._hidden_text().characters)
    said = ask(exercise, "my_model", lambda text, characters: model.probabilities)
    assert re.search("nats per character; wanted at most", said), said


def test_two_letters_do_not_do_it_when_they_are_better_mixed(ask):
    data = lecture05._hidden_text()
    model = NGrams(2, "Kneser-Ney").fit(data.train, data.characters)  # before the check, which closes NGrams
    said = ask(exercise, "my_model", lambda text, characters: model.probabilities)
    assert re.search(r"the trigram \(two letters, Witten and Bell's rule\)", said), said


def test_the_check_opens_the_course_s_own_counts_again(ask):
    ask(exercise, "my_model", lambda text, c: NGrams(2).fit(text, c).probabilities)
    assert NGrams(1).fit("abababac").probabilities("a").sum() == pytest.approx(1)


def test_the_hidden_text_is_not_in_what_the_model_is_given():
    given = []

    def answer(text, characters):
        given.append(text)

        def predict(before):
            given.append(before)
            return torch.full((len(characters),), 1 / len(characters))

        return predict

    with pytest.raises(Wrong):
        check_my_model(answer)
    text, *contexts = given
    assert len(contexts) == 300
    assert {len(context) for context in contexts} == {100}
    assert sum(context in text for context in contexts) == 0
