"""Exercises of lecture 7: greedy decoding that stops, bags, sentences that fool bigrams, log p, a direction held."""

import copy
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from coursekit.datasets import END, PAD, sentences, verdict
from coursekit.exercises.checking import NOTHING_YET, Answer, Exercise, Exercises, Wrong, by_cases
from coursekit.recurrent import seq2seq

Bag = Counter[tuple[str, ...]]
REVIEWS = {
    "one sentence": ([["not", "good", "but", "not", "bad"]], 2),
    "single words": ([["not", "good", "but", "not", "bad"]], 1),
    "two sentences": ([["not", "good"], ["bad", "not", "good"]], 2),
    "groups longer than a sentence": ([["fine"], ["not", "at", "all", "fine"]], 4),
    "no sentence": ([], 3),
    "a sentence twice": ([["so", "good"], ["so", "good"]], 2),
    "groups of up to eight": ([["all", "in", "all", "it", "is", "not", "at", "all"]], 8),
    "words inside words": ([["in", "no", "no", "no", "way", "boring", "acting", "in"]], 2),  # "no no" overlaps itself
}
SCRIPTS = {  # the sentences that a decoder says, and the limit of words
    "one sentence": ([[2, 3, END]], 6),
    "three sentences": ([[2, END], [3, 4, 2, END], [END]], 8),
    "END as the last word": ([[2, 3, END], [4, END]], 3),
    "a sentence that the limit cuts": ([[4, 3, 2, 4, 3], [2, END]], 3),
}
AFTERWARDS = (3, END, 4)  # what the decoder goes on to say after a sentence, again and again
LOST = 5  # what it says if it is not told a sentence's own last word
SENTENCES = {  # whose log-probability is asked for
    "one sentence": [[2, 3, 4, END]],
    "three sentences": [[2, 5, 3, 4, END], [END], [4, 2, END]],
    "two of equal length": [[3, 3, END], [5, 2, END]],
}
_DICE = torch.Generator().manual_seed(7)
FILMS = {  # directions (t, n), and whether each step was in view; the first one always is
    "one film": (torch.tensor([[1], [3], [0], [2], [2], [1]]), torch.tensor([[1], [0], [0], [1], [0], [0]]).bool()),
    "three films that hide nothing": (torch.randint(4, (4, 3), generator=_DICE), torch.ones(4, 3, dtype=torch.bool)),
    "five films": (
        torch.randint(4, (12, 5), generator=_DICE),
        torch.rand(12, 5, generator=_DICE) < torch.eye(12)[:, :1] + 0.4,
    ),
    "a long film": (torch.tensor([[2]] + [[0]] * 19), torch.arange(20)[:, None] == 0),  # only the first step is in view
}
HELD = "the direction wanted is that of the last step in view, of the same film and before, however long ago"
MOST_CALLS = 50  # of the decoder, for an answer that never stops
FEWEST = 6  # words in the shortest sentence of two clauses that fools bigrams; a test looks at all shorter ones


def greedy_to_the_end(decoder: nn.Module, state: Tensor, limit: int) -> Tensor:
    """Greedy decoding that says `PAD` after a sentence's `END`, and stops when all sentences are over."""
    return seq2seq.greedy(decoder, state, limit)


def bag_of_ngrams(review: list[list[str]], n: int) -> Bag:
    """How often each group of 1 to n words occurs within the sentences of a review."""
    bag: Bag = Counter()
    for words in review:
        for start in range(len(words)):
            bag.update(tuple(words[start:end]) for end in range(start + 1, min(start + n, len(words)) + 1))
    return bag


def fool_bigrams() -> tuple[str, str]:
    """The shortest two sentences of two clauses with the same words and bigrams of which one praises."""
    return "so not good but so good", "so good but so not good"


def log_probability(decoder: nn.Module, state: Tensor, target: Tensor) -> Tensor:
    """log p of each sentence (a column of `target`), its `END` included, without `PAD`."""
    previous = torch.cat([torch.full_like(target[:1], END), target[:-1]])
    scores, _ = decoder(previous, state)
    log_p = scores.log_softmax(dim=2).gather(2, target[..., None])[..., 0]  # (t, n)
    return log_p.masked_fill(target == PAD, 0.0).sum(dim=0)


def hold(directions: Tensor, in_view: Tensor) -> Tensor:
    """The direction of the last step in view, in each film (a column), where the first step always is."""
    steps = torch.arange(len(directions), device=directions.device)[:, None]
    newest = torch.where(in_view, steps, 0).cummax(dim=0).values  # (t, n): when a step was in view last
    return directions.gather(0, newest)


def as_bag(got: Any) -> Bag:
    """An answer to `bag_of_ngrams` as a `Counter`, from counts by group or from all groups one by one."""
    if got is None or got is Ellipsis:
        raise Wrong(NOTHING_YET)
    if isinstance(got, Mapping):
        return Counter({_group(key): count for key, count in got.items() if count})
    if not isinstance(got, Iterable) or isinstance(got, str):
        raise Wrong(f"expected how often each group occurs, got {type(got).__name__}")
    return Counter(map(_group, got))


def check_greedy_to_the_end(answer: Answer) -> str:
    """Says what a scripted decoder says, with as few questions to it; rows of `PAD` at the end are no mistake."""
    for case, (scripts, limit) in SCRIPTS.items():
        decoder = _Scripted(scripts)
        got = answer(decoder, decoder.start(), limit)
        if got is None or got is Ellipsis:
            raise Wrong(NOTHING_YET)
        if not isinstance(got, Tensor) or got.is_floating_point() or got.dim() != 2 or got.shape[1] != len(scripts):
            kind = f"{got.dtype} of shape {tuple(got.shape)}" if isinstance(got, Tensor) else type(got).__name__
            raise Wrong(f"{case}: expected integers of shape (words, {len(scripts)}), got {kind}")
        for number, (script, column) in enumerate(zip(scripts, got.T.tolist(), strict=True), start=1):
            wanted = script[:limit]
            if column[: len(wanted)] != wanted or any(word != PAD for word in column[len(wanted) :]):
                raise Wrong(
                    f"{case}, limit {limit}: sentence {number} is {_spelled(wanted)}, not {_spelled(column)}"
                    + _slip(wanted, column)
                )
        longest = max(len(script[:limit]) for script in scripts)
        if decoder.calls > longest:
            raise Wrong(f"{case}: it asks the decoder {decoder.calls} times, and {longest} are enough")
    return f"right on {', '.join(SCRIPTS)}"


def check_bag_of_ngrams(answer: Answer) -> str:
    """Equal to the solution on every review, in any container."""
    for case, (review, n) in REVIEWS.items():
        wanted = bag_of_ngrams(review, n)
        given = copy.deepcopy(review)
        got = as_bag(answer(given, n))
        if given != review:
            raise Wrong(f"{case}: it changes the review it is given; work on a copy")
        for group in sorted(wanted.keys() | got.keys(), key=lambda it: (len(it), it)):
            if wanted[group] != got[group]:
                hint = _crosses(group, review)
                raise Wrong(f"{case}: {' '.join(group)!r} occurs {wanted[group]} times, not {got[group]}{hint}")
    return f"right on {', '.join(REVIEWS)}"


def check_fool_bigrams(answer: Answer) -> str:
    """Two sentences with the same words and bigrams, of which exactly one praises, and as short as possible."""
    pair = answer()
    if pair is None or pair is Ellipsis:
        raise Wrong(NOTHING_YET)
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise Wrong(f"expected two sentences, got {type(pair).__name__}")
    first, second = (_words(sentence) for sentence in pair)
    praises = [_verdict(words) for words in (first, second)]
    if praises[0] == praises[1]:
        raise Wrong(f"both sentences {'praise' if praises[0] else 'blame'}: their verdicts must differ")
    for n, name in ((1, "words"), (2, "bigrams")):
        a, b = (bag_of_ngrams([words], n) for words in (first, second))
        if a != b:
            group = min((a - b) or (b - a))
            raise Wrong(
                f"the {name} differ: {' '.join(group)!r} occurs {a[group]} times in one and {b[group]} in the other"
            )
    if len(first) > FEWEST:
        raise Wrong(f"this pair fools bigrams, with {len(first)} words; there is a pair with fewer")
    return (
        f"two sentences of {FEWEST} words with the same bigrams and opposite verdicts; "
        "no shorter pair of two clauses each exists"
    )


def check_log_probability(answer: Answer) -> str:
    """Equal to the number of words times the mean loss of each sentence alone, without padding."""
    with torch.random.fork_rng(devices=[]):  # the notebook's random numbers stay as they are
        torch.manual_seed(7)
        decoder, states = seq2seq.Decoder(LOST + 1, 5), torch.randn(1, 3, 5)
    for case, its_sentences in SENTENCES.items():
        columns = [torch.tensor(words)[:, None] for words in its_sentences]  # (t, 1)
        state = states[:, : len(columns)]
        alone = [(state[:, k : k + 1], column) for k, column in enumerate(columns)]
        with torch.no_grad():
            wanted = [-len(it[1]) * seq2seq.teacher_forcing_loss(decoder, *it).item() for it in alone]
        target = nn.utils.rnn.pad_sequence([column[:, 0] for column in columns], padding_value=PAD)  # (t, n)
        given_state, given_target = state.clone(), target.clone()
        got = answer(decoder, given_state, given_target)
        if got is None or got is Ellipsis:
            raise Wrong(NOTHING_YET)
        if not (torch.equal(given_state, state) and torch.equal(given_target, target)):
            raise Wrong(f"{case}: it changes its argument in place; work on a copy")
        if not isinstance(got, Tensor) or not got.is_floating_point() or got.shape != (len(columns),):
            kind = f"{got.dtype} of shape {tuple(got.shape)}" if isinstance(got, Tensor) else type(got).__name__
            raise Wrong(f"{case}: expected numbers of shape ({len(columns)},), one for each sentence, got {kind}")
        for words, right, its in zip(its_sentences, wanted, got.tolist(), strict=True):
            if not math.isclose(its, right, abs_tol=1e-3):
                hint = _slip_in_log_p(words, right, its)
                raise Wrong(f"{case}: log p of {_spelled(words)} is {right:.3f}, not {its:.3f}{hint}")
    return f"right on {', '.join(SENTENCES)}"


class _Scripted(nn.Module):
    """A decoder that says set sentences, each as long as it is told that sentence's own last word.

    Its state (1, n, 2) holds the number of each sentence and how many of its words were said.
    """

    def __init__(self, scripts: list[list[int]]) -> None:
        super().__init__()
        self.scripts, self.calls = scripts, 0

    def start(self) -> Tensor:
        numbers = torch.arange(len(self.scripts), dtype=torch.float32)
        return torch.stack([numbers, torch.zeros_like(numbers)], dim=1)[None]

    def forward(self, previous: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        if self.calls > MOST_CALLS:
            raise Wrong(f"it asks the decoder more than {MOST_CALLS} times; it must stop at the limit")
        if previous.dim() != 2 or previous.shape[1] != state.shape[1]:
            raise Wrong(f"the decoder takes words of shape (t, {state.shape[1]}), got {tuple(previous.shape)}")
        rows = []  # of scores, one for each of the t words
        for words in previous.tolist():
            scores = torch.zeros(previous.shape[1], LOST + 1)
            scores[:, PAD] = -torch.inf
            for k, (number, step) in enumerate(state[0].long().tolist()):
                scores[k, self._next(self.scripts[number], step, words[k])] = 0.5
            rows.append(scores)
            state = state + torch.tensor([0.0, 1.0])
        return torch.stack(rows), state

    @staticmethod
    def _next(script: list[int], step: int, previous: int) -> int:
        if step >= len(script):
            return AFTERWARDS[(step - len(script)) % len(AFTERWARDS)]
        return script[step] if previous == [END, *script][step] else LOST


def _spelled(words: list[int]) -> str:
    """A sentence of numbers of words, with the names of `END` and `PAD`."""
    return " ".join({END: "END", PAD: "PAD"}.get(word, str(word)) for word in words) or "empty"


def _slip(wanted: list[int], column: list[int]) -> str:
    """What may be the reason for a wrong sentence."""
    if LOST in column:
        return "; the next input is the sentence's own last word, and END before the first"
    if column == [PAD if word == END else word for word in wanted] + [PAD] * (len(column) - len(wanted)):
        return "; END belongs to the sentence"
    if column[: len(wanted)] == wanted and END in wanted:
        return "; only PAD comes after END"
    return ""


def _slip_in_log_p(words: list[int], right: float, its: float) -> str:
    """What may be the reason for a wrong log-probability."""
    if not math.isfinite(its):
        return "; PAD has probability 0: set its logarithm to 0 before you add"
    if math.isclose(its, right / len(words), abs_tol=1e-3):
        return "; add the logarithms, the mean is not wanted"
    if math.isclose(its, math.exp(right), abs_tol=1e-3):
        return "; the logarithm is wanted"
    return "; log p is never above 0" if its > 0 else ""


def _group(key: Any) -> tuple[str, ...]:
    """A group as a tuple of words; it may be written as a string."""
    if isinstance(key, str):
        return tuple(key.split())
    if isinstance(key, tuple | list) and all(isinstance(word, str) for word in key):
        return tuple(key)
    raise Wrong(f"expected groups of words, such as ('not', 'good'), got {key!r}")


def _crosses(group: tuple[str, ...], review: list[list[str]]) -> str:
    """A hint where a group begins in one sentence and ends in the next."""
    inside = any(group in bag_of_ngrams([words], len(group)) for words in review)
    joined = bag_of_ngrams([[word for words in review for word in words]], len(group))
    return "; no group spans two sentences" if group in joined and not inside else ""


def _words(sentence: Any) -> list[str]:
    """The words of a sentence, which may have capital letters, commas and a full stop."""
    words = re.findall(r"\w[\w'’-]*", sentence.lower()) if isinstance(sentence, str) else sentence
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise Wrong(f"expected a sentence as a string, got {type(sentence).__name__}")
    return list(words)


def _verdict(words: list[str]) -> bool:
    if not any(word in sentences.CONTRASTS for word in words):
        one_of = " and ".join(sentences.CONTRASTS)
        raise Wrong(f"{' '.join(words)!r} has no contrast: one of {one_of} is wanted, between two clauses")
    try:
        return verdict(words)
    except ValueError as error:
        raise Wrong(f"the course's rule cannot read it: {error}") from error


exercise = Exercises(
    Exercise(greedy_to_the_end, check_greedy_to_the_end),
    Exercise(bag_of_ngrams, check_bag_of_ngrams),
    Exercise(fool_bigrams, check_fool_bigrams),
    Exercise(log_probability, check_log_probability),
    by_cases(hold, FILMS, dict.fromkeys(FILMS, HELD)),
)
