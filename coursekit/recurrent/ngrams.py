"""The baseline of a character model: counts of n-grams, interpolated by Witten and Bell's or Kneser and Ney's rule."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from coursekit.recurrent.alphabet import Alphabet
from coursekit.validation import require_choice, require_instance, require_integer

Smoothing = Literal["Witten-Bell", "Kneser-Ney"]


@dataclass(frozen=True)
class _Counts:
    """What was counted behind contexts of one length. A context or a gram is the number that its digits spell."""

    grams: Int[Tensor, " g"]  # every context with a character behind it that occurred, sorted
    times: Int[Tensor, " g"]  # how often
    contexts: Int[Tensor, " c"]  # every context that occurred, sorted
    total: Int[Tensor, " c"]  # how often a character followed it: N
    different: Int[Tensor, " c"]  # how many different ones: D
    discount: float  # d of Kneser and Ney: n₁ / (n₁ + 2 n₂), with n_i grams that were counted i times


class NGrams:
    """A model of the next character that knows the last ``context`` characters and nothing else.

    With N(s) occurrences of a context s, N(sc) of them followed by the character c, and D(s) different characters
    seen behind s, the rule of Witten and Bell is

        p(c | s) = (N(sc) + D(s) p(c | s′)) / (N(s) + D(s)),

    where s′ is s without its first character. Behind the empty context, s′ stands for all characters alike. A context
    that never occurred has the probabilities of s′. The rule of Kneser and Ney is

        p(c | s) = (max(N(sc) − d, 0) + d D(s) p(c | s′)) / N(s),

    where for every context but the longest, N(sc) counts the different characters that occurred before sc, and N(s) is
    its sum over c. So a character that occurs often, but always in the same context, is not expected elsewhere.

    Args:
        context: how many characters the model looks back, 0 to 8.
        smoothing: the rule that mixes the counts.

    Source: I. Witten and T. Bell, The zero-frequency problem, IEEE Transactions on Information Theory 37, 1991.
    R. Kneser and H. Ney, Improved backing-off for m-gram language modeling, ICASSP 1995; interpolated as by S. Chen and
    J. Goodman, An empirical study of smoothing techniques for language modeling, Computer Speech & Language 13, 1999.

    >>> model = NGrams(1).fit("abababac")
    >>> [round(p, 3) for p in model.probabilities("a").tolist()]  # of a, b and c
    [0.152, 0.621, 0.227]
    """

    def __init__(self, context: int, smoothing: Smoothing = "Witten-Bell") -> None:
        self.context = require_integer(context, "context", low=0, high=8)  # 8 of 128 characters fill 63 bits
        require_choice(smoothing, "smoothing", get_args(Smoothing))
        self.smoothing = smoothing
        self._orders: list[_Counts] = []  # behind contexts of 0, 1, … characters
        self._shorter: list[_Counts] = []  # the same for contexts that are not the longest

    def fit(self, text: str, characters: str = "") -> "NGrams":
        """Count the n-grams of a text, and return the model.

        Args:
            characters: those that may occur; unless given, those of the text.
        """
        require_instance(text, "text", str)
        self.alphabet = Alphabet(characters or "".join(sorted(set(text))))
        numbers = self.alphabet.encode(text)  # (N,)
        if len(numbers) <= self.context:
            raise ValueError(f"text: expected more than {self.context} characters, got {len(numbers)}")
        counted = [self._spell(numbers, k + 1).unique(return_counts=True) for k in range(self.context + 1)]
        self._orders = self._shorter = [self._behind_contexts(grams, times) for grams, times in counted]
        if self.smoothing == "Kneser-Ney":
            # Each longer gram that ends in a gram has another character before it.
            ends = [grams % len(self.alphabet) ** k for k, (grams, _) in enumerate(counted)]
            self._shorter = [self._behind_contexts(*end.unique(return_counts=True)) for end in ends[1:]]
        return self

    def cross_entropy(self, text: str, context: int | None = None) -> float:
        """The mean of `losses`, in nats per character."""
        return self.losses(text, context).mean().item()

    def losses(self, text: str, context: int | None = None) -> Float[Tensor, " n"]:
        """−log p of each character of a text, in nats, float64. The first ones have less context.

        Args:
            context: look back less far than the model can, as a model of this context would.
        """
        numbers = self._encode(text)  # (N,)
        context = self.context if context is None else require_integer(context, "context", low=0, high=self.context)
        p = torch.full((len(numbers),), 1 / len(self.alphabet), dtype=torch.float64)
        for k, order in enumerate(self._up_to(context)[: len(numbers)]):
            grams = self._spell(numbers, k + 1)  # (N − k,)
            p[k:] = self._interpolate(order, grams, p[k:])
        return -p.log()

    def probabilities(self, text: str) -> Float[Tensor, " v"]:
        """The probability of each character of the alphabet behind a text, float64."""
        numbers = self._encode(text, empty=True)
        v = len(self.alphabet)
        p = torch.full((v,), 1 / v, dtype=torch.float64)
        for k, order in enumerate(self._up_to(self.context)[: len(numbers) + 1]):
            context = self._spell(numbers[len(numbers) - k :], k) if k else 0  # (1,)
            p = self._interpolate(order, context * v + torch.arange(v), p)
        return p

    def sample(self, prompt: str, length: int, generator: torch.Generator | None = None) -> str:
        """``length`` characters, each drawn behind those before it; the first ones stand behind the prompt."""
        length = require_integer(length, "length", low=1)
        text = require_instance(prompt, "prompt", str)
        generator = None if generator is None else require_instance(generator, "generator", torch.Generator)
        for _ in range(length):
            p = self.probabilities(text[max(len(text) - self.context, 0) :])
            text += self.alphabet.characters[int(torch.multinomial(p, 1, generator=generator))]
        return text[len(prompt) :]

    def _encode(self, text: str, *, empty: bool = False) -> Int[Tensor, " n"]:
        if not self._orders:
            raise RuntimeError("the model has counted nothing yet: call fit first")
        numbers = self.alphabet.encode(text)
        if not len(numbers) and not empty:
            raise ValueError("text: expected at least one character, got none")
        return numbers

    def _spell(self, numbers: Int[Tensor, " n"], length: int) -> Int[Tensor, " m"]:
        """The number that each run of ``length`` characters spells in base V."""
        base = len(self.alphabet)
        places = base ** torch.arange(length - 1, -1, -1)  # (length,)
        return (numbers.unfold(0, length, 1) * places).sum(dim=1)

    def _up_to(self, context: int) -> list[_Counts]:
        """The counts that are mixed when contexts of this length are the longest."""
        return [*self._shorter[:context], self._orders[context]]

    def _behind_contexts(self, grams: Int[Tensor, " g"], times: Int[Tensor, " g"]) -> _Counts:
        """Sum up over the grams of each context."""
        # The grams are sorted, so those of one context stand side by side.
        contexts, which, different = torch.unique_consecutive(
            grams // len(self.alphabet), return_inverse=True, return_counts=True
        )
        total = torch.zeros_like(different).index_add(0, which, times)
        once, twice = (times == 1).sum().item(), (times == 2).sum().item()
        discount = once / (once + 2 * twice) if once and twice else 0.5  # ½ where the text is too short to tell
        return _Counts(grams, times, contexts, total, different, discount)

    def _interpolate(
        self, order: _Counts, grams: Int[Tensor, " n"], shorter: Float[Tensor, " n"]
    ) -> Float[Tensor, " n"]:
        """p(c | s) for grams sc from p(c | s′), the probability behind the shorter contexts."""
        contexts = grams // len(self.alphabet)
        times = _look_up(order.grams, order.times, grams)  # N(sc)
        total = _look_up(order.contexts, order.total, contexts)  # N(s)
        different = _look_up(order.contexts, order.different, contexts)  # D(s)
        if self.smoothing == "Witten-Bell":
            mixed = (times + different * shorter) / (total + different)
        else:
            d = order.discount
            mixed = ((times - d).clamp(min=0) + d * different * shorter) / total
        return torch.where(total > 0, mixed, shorter)


def _look_up(keys: Int[Tensor, " k"], values: Int[Tensor, " k"], wanted: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The value at each wanted key, float64; 0 where the sorted keys lack it."""
    place = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
    return torch.where(keys[place] == wanted, values[place], 0).double()
