"""Sequence to sequence: one net reads a sentence into a state, and a second net writes another sentence from it.

Sentences are columns (t, n) of numbers of words: each ends with `END`, and shorter ones are padded with `PAD` behind
it. `END` is also what the decoder is given before the first word. The state may come from elsewhere, such as an image.

Source: I. Sutskever, O. Vinyals and Q. Le, Sequence to sequence learning with neural networks, NeurIPS 2014; K. Cho et
al., Learning phrase representations using RNN encoder-decoder, EMNLP 2014.
"""

from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from coursekit.datasets.vocabulary import END, PAD, require_tokens
from coursekit.recurrent.layers import Kind, recurrent_layer
from coursekit.validation import require_instance, require_integer

State: TypeAlias = Tensor | tuple[Tensor, Tensor]  # h (1, n, h), or (h, c) of an LSTM


class Encoder(nn.Module):
    """Reads sentences, word by word, into a state.

    Args:
        words: how many numbers a word can have, `PAD` and `END` included.
        hidden: the length of the state.
        kind: the recurrent layer, "RNN", "LSTM" or "GRU".
        embedding: the length of the vector that stands for a word.

    >>> encoder = Encoder(words=5, hidden=8)
    >>> encoder(torch.tensor([[2, 4], [3, 1], [1, 0]])).shape  # two sentences; the second is shorter
    torch.Size([1, 2, 8])
    """

    def __init__(self, words: int, hidden: int, kind: Kind = "GRU", embedding: int = 32) -> None:
        super().__init__()
        self.words = require_integer(words, "words", low=3)
        self.embedding = nn.Embedding(self.words, require_integer(embedding, "embedding", low=1))
        self.layer = recurrent_layer(kind, embedding, require_integer(hidden, "hidden", low=1))

    def forward(self, source: Int[Tensor, "s n"]) -> State:
        """The state after the last word of each sentence; padding behind it changes nothing."""
        require_tokens(source, "source", self.words)
        x = self.embedding(source)  # (s, n, e)
        _, state = self.layer(x[:1])
        # Where a sentence is over, the state stays as it is: padding is no word.
        for x_t, is_word in zip(x[1:], source[1:] != PAD, strict=True):  # (n, e), (n,)
            _, new = self.layer(x_t[None], state)
            state = _where(is_word, new, state)
        return state


class Decoder(nn.Module):
    """Writes sentences from a state: in each step it is given the word before and scores the next one.

    Args:
        words, hidden, kind, embedding: as for `Encoder`.
    """

    def __init__(self, words: int, hidden: int, kind: Kind = "GRU", embedding: int = 32) -> None:
        super().__init__()
        self.words = require_integer(words, "words", low=3)
        self.embedding = nn.Embedding(self.words, require_integer(embedding, "embedding", low=1))
        self.layer = recurrent_layer(kind, embedding, require_integer(hidden, "hidden", low=1))
        self.output = nn.Linear(hidden, self.words)

    def forward(self, previous: Int[Tensor, "t n"], state: State) -> tuple[Float[Tensor, "t n words"], State]:
        """The scores of the word behind each of the given ones, and the state after the last; `PAD` scores −∞."""
        require_tokens(previous, "previous", self.words)
        h, state = self.layer(self.embedding(previous), state)  # (t, n, h)
        return self.output(h).index_fill(2, torch.tensor(PAD, device=h.device), -torch.inf), state


class EncoderDecoder(nn.Module):
    """An encoder whose last state is the decoder's first.

    Args:
        source_words: how many numbers a word of the source can have, `PAD` and `END` included.
        target_words: the same for the target.
        hidden, kind, embedding: as for `Encoder`, for both parts.

    >>> net = EncoderDecoder(source_words=5, target_words=4, hidden=8)
    >>> source, target = torch.tensor([[2, 4], [3, 1], [1, 0]]), torch.tensor([[2, 3], [1, 1]])
    >>> net.loss(source, target).shape
    torch.Size([])
    >>> net.translate(source, limit=1).shape
    torch.Size([1, 2])
    """

    def __init__(
        self, source_words: int, target_words: int, hidden: int, kind: Kind = "GRU", embedding: int = 32
    ) -> None:
        super().__init__()
        self.encoder = Encoder(source_words, hidden, kind, embedding)
        self.decoder = Decoder(target_words, hidden, kind, embedding)

    def loss(self, source: Int[Tensor, "s n"], target: Int[Tensor, "t n"]) -> Float[Tensor, ""]:
        """The teacher-forcing loss of the targets, given their sources."""
        return teacher_forcing_loss(self.decoder, self.encoder(source), target)

    def translate(self, source: Int[Tensor, "s n"], limit: int) -> Int[Tensor, "t n"]:
        """The greedy translation of each sentence, at most ``limit`` words with its end."""
        with torch.no_grad():
            return greedy(self.decoder, self.encoder(source), limit)


def teacher_forcing_loss(decoder: nn.Module, state: State, target: Int[Tensor, "t n"]) -> Float[Tensor, ""]:
    """The mean of −log p(y_t | y_1, …, y_{t−1}, state) over all words and ends of the targets.

    The decoder is given the right word before, whatever it would have said itself. Padding is left out of the mean.

    Raises:
        ValueError: a target without its `END`, or with words behind it.
    """
    _require_targets(target)
    scores, _ = decoder(_shifted(target), state)  # (t, n, words)
    return F.cross_entropy(scores.flatten(0, 1), target.flatten(), ignore_index=PAD)


@torch.no_grad()
def greedy(decoder: nn.Module, state: State, limit: int) -> Int[Tensor, "t n"]:
    """The word with the highest score in every step, which is the decoder's next input; `PAD` behind the end.

    Args:
        decoder: takes the words before (1, n) and a state to scores (1, n, words) and the next state.
        state: a batch of n.
        limit: the most words in a sentence, its end included.
    """
    limit = require_integer(limit, "limit", low=1)
    n, device = _batch(state)
    word = torch.full((1, n), END, device=device)
    over = torch.zeros(1, n, dtype=torch.bool, device=device)
    said: list[Tensor] = []
    while len(said) < limit and not over.all():
        scores, state = decoder(word, state)
        word = scores.argmax(dim=2)  # (1, n)
        said.append(word.masked_fill(over, PAD))
        over = over | (word == END)
    return torch.cat(said)


@dataclass(frozen=True)
class Hypothesis:
    """A sentence that a decoder may say, and the logarithm of its probability.

    Attributes:
        tokens: the numbers of its words, with `END` at the end unless the limit cut it.
        log_probability: the sum of log p of all of them.
    """

    tokens: tuple[int, ...]
    log_probability: float

    @property
    def finished(self) -> bool:
        return self.tokens[-1:] == (END,)


@torch.no_grad()
def beam_search(decoder: nn.Module, state: State, width: int, limit: int) -> list[Hypothesis]:
    """The most probable sentences that a search with ``width`` hypotheses finds, the best one first.

    Width 1 is greedy decoding. A width that drops nothing finds the most probable of all sentences.

    Args:
        decoder: as for `greedy`.
        state: of one sentence, a batch of 1.
        width: how many hypotheses are kept after each step; finished ones count.
        limit: the most words in a sentence, its end included.
    """
    width = require_integer(width, "width", low=1)
    limit = require_integer(limit, "limit", low=1)
    n, device = _batch(state)
    if n != 1:
        raise ValueError(f"state: expected the state of one sentence, got a batch of {n}; call it for each")
    beam = [Hypothesis((), 0.0)]
    for _ in range(limit):
        growing = [it for it in beam if not it.finished]  # row k of the state belongs to growing[k]
        if not growing:
            break
        words = torch.tensor([[it.tokens[-1] if it.tokens else END for it in growing]], device=device)
        scores, state = decoder(words, state)
        best = scores[0].log_softmax(dim=1).topk(min(width, scores.shape[2]), dim=1)  # of each row: (rows, width)

        # Every hypothesis grows by its most probable words, and competes with those that are finished.
        candidates = [(it, -1) for it in beam if it.finished]
        for row, it in enumerate(growing):
            for log_p, word in zip(best.values[row].tolist(), best.indices[row].tolist(), strict=True):
                if log_p > -torch.inf:
                    candidates.append((Hypothesis((*it.tokens, word), it.log_probability + log_p), row))
        candidates = sorted(candidates, key=lambda it: -it[0].log_probability)[:width]
        beam = [it for it, _ in candidates]
        state = _rows(state, [row for it, row in candidates if not it.finished])
    return beam


def _require_targets(target: Tensor) -> None:
    """Every column holds words, then one END, then padding."""
    require_tokens(target, "target", torch.iinfo(torch.int64).max)
    ends = (target == END).sum(dim=0)
    words_first = (target[1:] == PAD) | (target[:-1] > END)  # behind END and PAD there is only PAD
    if not ((ends == 1).all() and words_first.all()):
        raise ValueError("target: expected sentences that end with END once, and padding only behind it")


def _shifted(target: Tensor) -> Tensor:
    """The word before each word: END, y_1, …, y_{T−1}."""
    return torch.cat([torch.full_like(target[:1], END), target[:-1]])


def _where(is_word: Tensor, new: State, old: State) -> State:
    """The new state of the sentences that go on, and the old one of the others."""
    if isinstance(new, tuple) and isinstance(old, tuple):
        h, c = (torch.where(is_word[:, None], a, b) for a, b in zip(new, old, strict=True))
        return h, c
    return torch.where(is_word[:, None], require_instance(new, "state", Tensor), require_instance(old, "state", Tensor))


def _rows(state: State, rows: list[int]) -> State:
    """The states of some sentences of a batch."""
    if isinstance(state, tuple):
        h, c = state
        return h[:, rows], c[:, rows]
    return state[:, rows]


def _batch(state: State) -> tuple[int, torch.device]:
    """How many sentences a state belongs to, and its device."""
    h = require_instance(state[0] if isinstance(state, tuple) else state, "state", Tensor)
    if h.ndim != 3 or not h.numel():
        raise ValueError(f"state: expected shape (layers, n, h) with n ≥ 1, got {tuple(h.shape)}")
    return h.shape[1], h.device
