"""Sentences as tensors of numbers: one number for each word, an end, and padding behind it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from coursekit.validation import noted, require_instance

PAD, END = 0, 1  # the numbers of "nothing here" and of "the sentence is over"


@dataclass(frozen=True)
class Vocabulary:
    """The words of a language; word k has the number k + 2, because 0 and 1 are `PAD` and `END`.

    Attributes:
        words: all different, none of them empty.

    >>> words = Vocabulary(("good", "not", "bad"))
    >>> tokens = words.encode([["not", "bad"], ["good"]])
    >>> tokens.T  # one sentence in each row; every sentence ends, and the shorter one is padded
    tensor([[3, 4, 1],
            [2, 1, 0]])
    >>> words.decode(tokens)
    [['not', 'bad'], ['good']]
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        require_instance(self.words, "words", tuple)
        for word in self.words:
            if not require_instance(word, "words", str):
                raise ValueError("words: expected words, got an empty one")
        if repeated := sorted({word for word in self.words if self.words.count(word) > 1}):
            raise ValueError(f"words: expected different words, got {', '.join(repeated)} more than once")

    def __len__(self) -> int:
        """How many numbers a word can have: the words, `PAD` and `END`."""
        return len(self.words) + 2

    def encode(self, sentences: Iterable[Sequence[str]]) -> Int[Tensor, "t n"]:
        """The sentences as columns (t, n), each with `END` behind its last word, and `PAD` behind that.

        Raises:
            ValueError: no sentence, or a word that is not in the vocabulary.
        """
        number = {word: k + 2 for k, word in enumerate(self.words)}
        columns = []
        for sentence in sentences:
            if isinstance(sentence, str) and any(len(word) > 1 for word in self.words):
                raise TypeError(
                    f"sentences: expected lists of words, got str {sentence!r}; {sentence!r}.split() is one"
                )
            if unknown := [word for word in sentence if word not in number]:
                raise ValueError(f"sentences: {unknown[0]!r} is not in the vocabulary of {len(self.words)} words")
            columns.append(torch.tensor([*(number[word] for word in sentence), END]))
        if not columns:
            raise ValueError("sentences: expected at least one, got none")
        return torch.nn.utils.rnn.pad_sequence(columns, padding_value=PAD)

    def decode(self, tokens: Int[Tensor, "t n"]) -> list[list[str]]:
        """The words of each column (t, n) before its first `END`; padding is left out.

        Raises:
            TypeError: the tokens are not integers.
            ValueError: they have another shape, or a number that no word has.
        """
        require_tokens(tokens, "tokens", len(self))
        sentences = []
        for column in tokens.T.tolist():
            before = column[: column.index(END)] if END in column else column
            sentences.append([self.words[k - 2] for k in before if k != PAD])
        return sentences


def require_tokens(value: Tensor, name: str, count: int) -> Tensor:
    """Integers (t, n) from 0 to ``count`` − 1, with at least one sentence and one step.

    >>> require_tokens(torch.tensor([[1, 9]]), "source", 5)
    Traceback (most recent call last):
    ValueError: source: expected numbers of words from 0 to 4, got 1 to 9
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: expected a tensor, got {type(value).__name__}; torch.as_tensor({name}) makes one")
    if value.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"{name}: expected integers, got {str(value.dtype).removeprefix('torch.')}")
    if value.ndim != 2 or not value.numel():
        raise ValueError(f"{name}: expected shape (t, n) with t, n ≥ 1, got {tuple(value.shape)}")
    wanted = f"{name}: expected numbers of words from 0 to {count - 1}"
    if noted(wanted, lambda: (value >= 0) & (value < count)):
        return value
    low, high = int(value.min()), int(value.max())
    if low < 0 or high >= count:
        raise ValueError(f"{wanted}, got {low} to {high}")
    return value
