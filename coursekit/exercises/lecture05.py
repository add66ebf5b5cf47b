"""Exercises of lecture 5: the loss of a step, a model of the next letter, backpropagation through time, Jacobians."""

import functools
import math
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from coursekit.datasets import TextDataset, stdlib_text
from coursekit.exercises.checking import Answer, Check, Exercise, Exercises, Wrong, by_cases, require_result
from coursekit.recurrent import NGrams

Predict = Callable[[str], Tensor]  # what stands before → the probability of each character

CONTEXT = 100  # characters that a model of the open exercise is shown
JUDGED = 300  # places of the hidden text
GAIN = 0.1  # nats by which it must be better than the trigram
TOO_GOOD = 1.0  # nats: far below the best counts that we know (seven characters, Kneser and Ney: 1.22)


def step_loss(o: Tensor, y: Tensor) -> Tensor:
    """−log p[y] in nats, for scores o (K,) and a one-hot target y (K,)."""
    return o.logsumexp(dim=0) - o @ y


def bptt(h: Tensor, o: Tensor, y: Tensor, w: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
    """∂L/∂w (H, H) and ∂L/∂h_0 (H,) of a simple RNN with a softmax readout.

    Args:
        h: the states h_0, …, h_T, (T + 1, H).
        o: the scores o_1, …, o_T, (T, K).
        y: the one-hot targets, (T, K).
        w: (H, H).
        V: (K, H).
    """
    # Forward accumulation, by the chain rule from step to step: S[i, j, l] = ∂h_i/∂w_jl up to now, and J = ∂h/∂h_0.
    size = len(w)
    S, total = w.new_zeros(size, size, size), torch.zeros_like(w)
    J, to_start = torch.eye(size).to(w), torch.zeros_like(h[0])
    for k in range(len(o)):
        direct = torch.eye(size).to(w)[:, :, None] * h[k]  # ∂a_i/∂w_jl with h_{k−1} held fixed
        S = (1 - h[k + 1] ** 2)[:, None, None] * (direct + torch.einsum("im,mjl->ijl", w, S))
        J = (1 - h[k + 1] ** 2)[:, None] * (w @ J)
        to_state = (o[k].softmax(dim=0) - y[k]) @ V  # ∂L_k/∂h_k, (H,)
        total, to_start = total + torch.einsum("i,ijl->jl", to_state, S), to_start + to_state @ J
    return total, to_start


def jacobian_norms(h: Tensor, w: Tensor) -> Tensor:
    """‖∂h_t/∂h_0‖ for t = 1, …, T, (T,), from the states h_0, …, h_T of a tanh net, (T + 1, H), and w (H, H)."""
    J, norms = torch.eye(len(w)).to(w), []
    for h_t in h[1:]:
        J = (1 - h_t**2)[:, None] * (w @ J)  # D_t w times what was before, (H, H)
        norms.append(torch.linalg.matrix_norm(J, 2))
    return torch.stack(norms)


def my_model(text: str, characters: str) -> Predict:
    """A model of the next character, learned from a text: a function of what stands before."""
    followers: dict[str, dict[str, int]] = {}  # what followed each context of up to four characters, by how often
    for k in range(5):
        for i in range(k, len(text)):
            behind = followers.setdefault(text[i - k : i], {})
            behind[text[i]] = behind.get(text[i], 0) + 1

    def predict(before: str) -> Tensor:
        p = torch.full((len(characters),), 1 / len(characters))
        for k in range(5):
            behind = followers.get(before[len(before) - k :], {})
            times = torch.tensor([behind.get(character, 0) for character in characters])
            p = (times + max(len(behind), 1) * p) / (times.sum() + max(len(behind), 1))  # Witten and Bell
        return p

    return predict


def _not_ours(*_args: object, **_options: object) -> NoReturn:
    raise Wrong("NGrams is the course's own: count yourself, or train a net")


def check_my_model(answer: Answer) -> str:
    """On a text that it has not seen, the answer loses at least `GAIN` nats per character less than the trigram.

    The characters of both texts are exchanged at random. So an answer gains nothing from what it knows of
    Python, from a model that was fitted before, or from the hidden text, which is on the student's machine. Whoever
    finds out what was exchanged and reads the text is `TOO_GOOD`. The answer cannot fit the course's own `NGrams`.
    """
    data = _hidden_text()
    places = [CONTEXT + k * (len(data.validation) - CONTEXT - 1) // JUDGED for k in range(JUDGED)]
    with patch.object(NGrams, "fit", _not_ours):
        predict = answer(data.train, data.characters)
        if not callable(predict):
            raise Wrong(f"expected a function that takes what stands before, got {type(predict).__name__}")
        mine = sum(_loss(predict, data, place) for place in places) / JUDGED
    trigram = NGrams(2).fit(data.train, data.characters)
    bound = sum(_loss(trigram.probabilities, data, place) for place in places) / JUDGED - GAIN
    if mine > bound:
        raise Wrong(
            f"it loses {mine:.3f} nats per character; wanted at most {bound:.3f}, "
            f"{GAIN} less than the trigram (two letters, Witten and Bell's rule)"
        )
    if mine < TOO_GOOD:
        raise Wrong(
            f"it loses {mine:.3f} nats per character, better than any model should be: does it read the hidden text?"
        )
    return f"it is at least {GAIN} nats per character better than the trigram on a text that it has not seen"


@functools.cache
def _hidden_text() -> TextDataset:
    """The source of asyncio, no module of which the notebook uses, with its characters exchanged."""
    data = stdlib_text(120_000, Path(sysconfig.get_path("stdlib")) / "asyncio")
    order = torch.randperm(len(data.characters), generator=torch.Generator().manual_seed(0))
    exchange = str.maketrans(dict(zip(data.characters, (data.characters[i] for i in order), strict=True)))
    return replace(data, train=data.train.translate(exchange), validation=data.validation.translate(exchange))


def _loss(predict: Predict, data: TextDataset, place: int) -> float:
    """−log p of the character at a place of the hidden text, from the `CONTEXT` characters before it."""
    got = predict(data.validation[place - CONTEXT : place])
    p = require_result(got, (len(data.characters),), "one probability for each character").double()
    if p.min() < 0 or abs(p.sum().item() - 1) > 1e-3:
        raise Wrong(
            f"probabilities are at least 0 and add up to 1; got a least of {p.min():.3g} and a sum of {p.sum():.4g}"
        )
    probability = p[data.characters.index(data.validation[place])].item()
    if probability == 0:
        raise Wrong("it gives a character that occurs the probability 0, which costs infinitely many nats")
    return -math.log(probability)


def _run(T: int, seed: int) -> tuple[Tensor, ...]:
    """h (T + 1, H), o (T, K), y (T, K), w (H, H), V (K, H) of a random net with h_0 ≠ 0, on random inputs."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    H, K = 3, 4
    w, U, b, V, c = draw(H, H), draw(H, 2), draw(H), draw(K, H), draw(K)
    h, o = [draw(H).tanh()], []
    for x in draw(T, 2):
        h.append(torch.tanh(b + w @ h[-1] + U @ x))
        o.append(c + V @ h[-1])
    y = torch.eye(K)[torch.randint(K, (T,), generator=generator)]
    return torch.stack(h), torch.stack(o), y, w, V


def _far(T: int, seed: int) -> tuple[Tensor, ...]:
    """As `_run`, with small states and an orthogonal w, so that nothing fades: a sum that is cut off is far off."""
    h, o, y, w, V = _run(T, seed)
    return 0.1 * h, o - 0.9 * h[1:] @ V.T, y, torch.linalg.qr(w)[0], V


class _Calls(TorchFunctionMode):
    """Counts the calls of torch's functions and methods."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def __torch_function__(self, func: Answer, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.number += 1
        return func(*args, **(kwargs or {}))


def _lines(answer: Answer, given: tuple[Tensor, ...]) -> int:
    """How many lines an answer runs through, outside of installed packages."""
    number = 0

    def trace(frame: Any, event: str, _arg: object) -> Any:
        nonlocal number
        if "site-packages" in frame.f_code.co_filename or "dist-packages" in frame.f_code.co_filename:
            return None
        number += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        answer(*given)
    finally:
        sys.settrace(before)
    return number


def _in_one_pass(check: Check) -> Check:
    """The check, which then refuses an answer whose steps grow like T², as those of the double sum do.

    Its calls of torch are counted and its lines: a loop over numbers or in numpy calls torch only at its two ends.
    """

    def checked(answer: Answer) -> str:
        praise = check(answer)
        calls, lines = [], []
        for T in (20, 40):
            given = _run(T, 3)
            with _Calls() as counter:
                answer(*given)
            calls.append(counter.number)
            lines.append(_lines(answer, given))
        if calls[1] > 3 * calls[0] or lines[1] > 3 * lines[0]:
            raise Wrong(f"{praise}, but its steps grow like T²: carry one vector from the end to the beginning")
        return f"{praise}, in one pass"

    return checked


OVERFLOW = "is it the formula, in numbers too large or too small for exp? Take the logarithm of softmax in one step"
FIGURE = (torch.tensor([1.0, 2.2, -3.0, 4.1]), torch.tensor([0.0, 1.0, 0.0, 0.0]))
RUNS = {"one step": _run(1, 0), "two steps": _run(2, 1), "six steps": _run(6, 2)}
BPTT_CASES = RUNS | {"25 steps": _far(25, 3)}
JACOBIAN_CASES = {name: (h, w) for name, (h, _, _, w, _) in RUNS.items()}
exercise = Exercises(
    by_cases(
        step_loss,
        {
            "Karpathy's figure": FIGURE,
            "equal scores": (torch.zeros(3), torch.tensor([0.0, 0.0, 1.0])),
            "large scores": (torch.tensor([1000.0, 1001.0]).double(), torch.tensor([1.0, 0.0]).double()),
            "a target that is hardly possible": (torch.tensor([0.0, 2000.0]), torch.tensor([1.0, 0.0])),
        },
        hints={"large scores": OVERFLOW, "a target that is hardly possible": OVERFLOW},
    ),
    Exercise(my_model, check_my_model),
    Exercise(bptt, _in_one_pass(by_cases(bptt, BPTT_CASES).check)),
    by_cases(jacobian_norms, JACOBIAN_CASES),
)
