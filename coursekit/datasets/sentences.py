"""Sentences with an opinion that no bag of short groups of words can tell: negation, contrast, the order of clauses."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from coursekit.datasets.vocabulary import Vocabulary
from coursekit.validation import require_integer

SPEAKERS = ("critics", "viewers", "friends", "neighbours", "children", "experts")
NOUNS = ("plot", "music", "acting", "ending", "camera", "dialogue", "lighting", "story")
ADJECTIVES = {"good": 1, "great": 1, "fine": 1, "clever": 1, "funny": 1, "lovely": 1} | {
    "bad": -1, "dull": -1, "poor": -1, "weak": -1, "boring": -1, "silly": -1}  # fmt: skip
MODIFIERS = {"": 1, "very": 1, "really": 1, "truly": 1, "in every way": 1} | {
    "not": -1, "not at all": -1, "in no way": -1, "by no means": -1, "anything but": -1}  # fmt: skip
# The three words before an opinion and the three after it are the same in both clauses, so the two opinions can change
# places without a change of any group of up to four words.
BEFORE, AFTER = "found it to be", "all in all"
CONTRASTS = ("but", "although")  # after "but" comes what counts, after "although" what does not

_TEXTS = (*SPEAKERS, "of the", *NOUNS, BEFORE, *MODIFIERS, *ADJECTIVES, AFTER, ",", *CONTRASTS)
WORDS = Vocabulary(tuple(dict.fromkeys(" ".join(_TEXTS).split())))


@dataclass(frozen=True, eq=False)
class Opinions:
    """Sentences and whether they praise.

    Attributes:
        sentences: as lists of words.
        tokens: (t, n), the sentences as numbers of `WORDS`, each with an end, and padded.
        labels: (n,), 1 for praise and 0 for blame.
    """

    sentences: list[list[str]]
    tokens: Int[Tensor, "t n"]
    labels: Int[Tensor, " n"]


def opinions(pairs: int, seed: int = 0, without: Opinions | None = None) -> Opinions:
    """Sentences of two clauses with opposite opinions, in pairs of the same words.

    "critics of the plot found it to be not at all bad all in all , but friends found it to be poor all in all" is
    blame, because what comes after "but" counts, and "not at all bad" is praise. Sentence 2k + 1 is sentence 2k with
    the two opinions exchanged. It has the same words, even the same groups of up to four words, and the other label.

    Args:
        pairs: how many pairs; all are different.
        seed: another one gives other pairs.
        without: sentences that must not occur again, such as those that a net has learned from.

    Returns:
        2 · ``pairs`` sentences, those of a pair side by side.

    >>> data = opinions(2)
    >>> print(*(" ".join(words) for words in data.sentences[:2]), sep="\\n")
    >>> data.labels
    """
    pairs = require_integer(pairs, "pairs", low=1, high=100_000)
    generator = torch.Generator().manual_seed(require_integer(seed, "seed", low=0, high=2**63 - 1))
    seen = {" ".join(words) for words in without.sentences} if without else set[str]()
    sentences: list[list[str]] = []
    labels: list[int] = []
    while len(sentences) < 2 * pairs:
        pair = _pair(generator)
        if pair[0][0] not in seen:
            seen |= {text for text, _ in pair}
            sentences += [text.split() for text, _ in pair]
            labels += [label for _, label in pair]
    return Opinions(sentences, WORDS.encode(sentences), torch.tensor(labels))


def single_opinions(count: int, seed: int = 0) -> Opinions:
    """Sentences of one clause and one opinion: "critics of the plot found it to be not at all bad all in all"."""
    count = require_integer(count, "count", low=1, high=100_000)
    generator = torch.Generator().manual_seed(require_integer(seed, "seed", low=0, high=2**63 - 1))
    sentences, labels = [], []
    for _ in range(count):
        opinion, sign = _opinion(generator)
        sentences.append(f"{_one_of(SPEAKERS, generator)} of the {_one_of(NOUNS, generator)} {_found(opinion)}".split())
        labels.append(int(sign > 0))
    return Opinions(sentences, WORDS.encode(sentences), torch.tensor(labels))


def ngrams(words: list[str], n: int) -> Iterator[tuple[str, ...]]:
    """The groups of n words that stand side by side in a sentence.

    >>> list(ngrams("not at all".split(), 2))
    [('not', 'at'), ('at', 'all')]
    """
    return zip(*(words[k:] for k in range(n)), strict=False)


def _pair(generator: torch.Generator) -> list[tuple[str, int]]:
    """Two sentences that differ in the places of their opinions, each with its label."""
    (first, sign), (second, other) = _opinion(generator), _opinion(generator)
    while other == sign:
        second, other = _opinion(generator)
    speaker, answer = _one_of(SPEAKERS, generator), _one_of(SPEAKERS, generator)
    noun, contrast = _one_of(NOUNS, generator), _one_of(CONTRASTS, generator)
    counts = other if contrast == "but" else sign  # the opinion that counts, in the first sentence
    texts = [
        f"{speaker} of the {noun} {_found(a)} , {contrast} {answer} {_found(b)}"
        for a, b in ((first, second), (second, first))
    ]
    return [(texts[0], int(counts > 0)), (texts[1], int(counts < 0))]


def _opinion(generator: torch.Generator) -> tuple[str, int]:
    """An adjective, with or without a negation, and its sign."""
    modifier, adjective = _one_of(tuple(MODIFIERS), generator), _one_of(tuple(ADJECTIVES), generator)
    return f"{modifier} {adjective}".strip(), MODIFIERS[modifier] * ADJECTIVES[adjective]


def _found(opinion: str) -> str:
    return f"{BEFORE} {opinion} {AFTER}"


def _one_of(options: tuple[str, ...], generator: torch.Generator) -> str:
    return options[int(torch.randint(len(options), (1,), generator=generator))]
