"""Sentences with an opinion that no bag of short groups of words can tell: negation, contrast, the order of clauses."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from coursekit.datasets.vocabulary import Vocabulary
from coursekit.validation import require_instance, require_integer

SPEAKERS = ("critics", "viewers", "friends", "neighbours", "children", "experts")
NOUNS = ("plot", "music", "acting", "ending", "camera", "dialogue", "lighting", "story")
PRAISE = ("good", "great", "fine", "clever", "funny", "lovely")
BLAME = ("bad", "dull", "poor", "weak", "boring", "silly")
MODIFIERS = ("", "very", "really", "truly", "in every way", "not", "not at all", "hardly", "in no way", "by no means")
NEGATIONS = ("not", "no", "hardly")
# The three words before an opinion and the three after it are the same in both clauses, so the two opinions can change
# places without a change of any group of up to four words.
BEFORE, AFTER = "found it to be", "all in all"
CONTRASTS = ("but", "although")  # what comes after "but" counts, and what comes after "although" does not

_TEXTS = (*SPEAKERS, "of the", *NOUNS, BEFORE, *MODIFIERS, *PRAISE, *BLAME, AFTER, ",", *CONTRASTS)
WORDS = Vocabulary(tuple(dict.fromkeys(" ".join(_TEXTS).split())))


@dataclass(frozen=True, eq=False)
class Opinions:
    """Sentences and whether they praise.

    Attributes:
        sentences: as lists of words.
        tokens: (t, n), the sentences as numbers of `WORDS`, each with an end, and padded.
        labels: (n,), 1 for praise and 0 for blame, as `verdict` says.
    """

    sentences: list[list[str]]
    tokens: Int[Tensor, "t n"]
    labels: Int[Tensor, " n"]


def verdict(words: Sequence[str]) -> bool:
    """Whether a sentence praises.

    A clause praises if its adjective does. Each negation before the adjective turns that round. Of two clauses, the
    one after "but" counts, or the one before "although".

    Raises:
        ValueError: a clause has no adjective or several; more than two clauses.

    >>> verdict("critics found it to be not at all good but friends found it to be great".split())
    True
    """
    places = [k for k, word in enumerate(words) if word in CONTRASTS]
    if not places:
        return _clause_praises(words)
    if len(places) > 1:
        raise ValueError(f"words: expected one of {' and '.join(CONTRASTS)} at most, got {len(places)}")
    before, after = _clause_praises(words[: places[0]]), _clause_praises(words[places[0] + 1 :])
    return after if words[places[0]] == "but" else before


def opinions(pairs: int, seed: int = 0, without: Opinions | None = None) -> Opinions:
    """Sentences of two clauses with opposite opinions, in pairs of the same words.

    Sentence 2k + 1 is sentence 2k with the two opinions exchanged. It has the same words, even the same groups of up to
    four words, and the other label.

    Args:
        pairs: how many pairs; all are different.
        seed: another one gives other pairs.
        without: sentences that must not occur again, such as those that a net has learned from.

    Returns:
        2 · ``pairs`` sentences, those of a pair side by side.

    >>> data = opinions(1, seed=7)
    >>> print(*(" ".join(words) for words in data.sentences), sep="\\n")
    viewers of the ending found it to be not funny all in all , although experts found it to be very fine all in all
    viewers of the ending found it to be very fine all in all , although experts found it to be not funny all in all
    >>> data.labels
    tensor([0, 1])
    """
    pairs = require_integer(pairs, "pairs", low=1, high=100_000)
    generator = torch.Generator().manual_seed(require_integer(seed, "seed", low=0))
    known = [] if without is None else require_instance(without, "without", Opinions).sentences
    seen = {" ".join(words) for words in known}
    sentences: list[list[str]] = []
    while len(sentences) < 2 * pairs:
        pair = _pair(generator)
        if pair[0] not in seen:
            seen.update(pair)
            sentences += [text.split() for text in pair]
    return _labelled(sentences)


def single_opinions(count: int, seed: int = 0) -> Opinions:
    """Sentences of one clause: "critics of the plot found it to be not at all bad all in all". They can repeat."""
    count = require_integer(count, "count", low=1, high=100_000)
    generator = torch.Generator().manual_seed(require_integer(seed, "seed", low=0))
    return _labelled([_clause(_subject(generator), _opinion(generator)).split() for _ in range(count)])


def _labelled(sentences: list[list[str]]) -> Opinions:
    return Opinions(sentences, WORDS.encode(sentences), torch.tensor([int(verdict(words)) for words in sentences]))


def _clause_praises(words: Sequence[str]) -> bool:
    places = [k for k, word in enumerate(words) if word in PRAISE + BLAME]
    if len(places) != 1:
        raise ValueError(f"words: expected one adjective in {' '.join(words)!r}, got {len(places)}")
    negations = sum(word in NEGATIONS for word in words[: places[0]])
    return (words[places[0]] in PRAISE) != (negations % 2 == 1)


def _pair(generator: torch.Generator) -> tuple[str, str]:
    """Two sentences that differ in the places of their opinions."""
    first = second = _opinion(generator)
    while verdict(second.split()) == verdict(first.split()):
        second = _opinion(generator)
    subject, contrast, other = _subject(generator), _one_of(CONTRASTS, generator), _one_of(SPEAKERS, generator)
    a, b = (
        f"{_clause(subject, opinion)} , {contrast} {_clause(other, opposite)}"
        for opinion, opposite in ((first, second), (second, first))
    )
    return a, b


def _subject(generator: torch.Generator) -> str:
    return f"{_one_of(SPEAKERS, generator)} of the {_one_of(NOUNS, generator)}"


def _opinion(generator: torch.Generator) -> str:
    return f"{_one_of(MODIFIERS, generator)} {_one_of(PRAISE + BLAME, generator)}".strip()


def _clause(subject: str, opinion: str) -> str:
    return f"{subject} {BEFORE} {opinion} {AFTER}"


def _one_of(options: tuple[str, ...], generator: torch.Generator) -> str:
    return options[int(torch.randint(len(options), (1,), generator=generator))]
