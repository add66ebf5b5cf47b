"""Sequences that ask for memory: the adding problem, the copying problem, and strings of the Reber grammar."""

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from coursekit.validation import require_flag, require_index, require_instance, require_integer, require_tensor

IGNORED = -100  # the target of a place that has none; torch's cross entropy leaves it out
REBER_SYMBOLS = "BTPSXVE"


@dataclass(frozen=True, eq=False, repr=False)
class LabelledSequences:
    """Sequences and what should be said about them.

    A slice or a one-dimensional tensor of numbers or truth values selects sequences together with their targets.

    Attributes:
        inputs: (n, t, d), a vector of d numbers at each of the t steps.
        targets: (n,), one for each sequence, or (n, t), one for each step. A step without a target has −100, which
            ``torch.nn.functional.cross_entropy`` leaves out.

    Raises:
        TypeError: a part is not a tensor, or the index is neither a slice nor a tensor of numbers or truth values.
        ValueError: the parts do not fit together.

    >>> data = LabelledSequences(torch.rand(4, 10, 2), torch.rand(4))
    >>> data
    4 sequences of 10×2, a target for each sequence
    >>> data[:3].inputs.shape
    torch.Size([3, 10, 2])
    """

    inputs: Float[Tensor, "n t d"]
    targets: Shaped[Tensor, "n ..."]

    def __post_init__(self) -> None:
        require_tensor(self.inputs, "inputs", "n t d", empty=True)
        require_instance(self.targets, "targets", Tensor)
        if self.targets.shape not in (self.inputs.shape[:1], self.inputs.shape[:2]):
            n, t = self.inputs.shape[:2]
            raise ValueError(f"targets: expected shape ({n},) or ({n}, {t}), got {tuple(self.targets.shape)}")

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: slice | Tensor) -> "LabelledSequences":
        if not isinstance(index, slice):
            require_index(index)
        return LabelledSequences(self.inputs[index], self.targets[index])

    def __repr__(self) -> str:
        _, t, d = self.inputs.shape
        return f"{len(self)} sequences of {t}×{d}, a target for each {'sequence' if self.targets.ndim == 1 else 'step'}"

    def to(self, device: str | torch.device) -> "LabelledSequences":
        """The same sequences and targets on ``device``."""
        return LabelledSequences(self.inputs.to(device), self.targets.to(device))


def adding(n: int, length: int = 50, seed: int = 0) -> LabelledSequences:
    """The adding problem: the sum of the two numbers that are marked in a long sequence.

    A step holds a number from U[0, 1] and a mark, which is 1 at one step of the first half and at one of the second,
    else 0. Predicting the mean, 1, has the mean squared error 1/6, the variance of the sum of two such numbers.

    Sequence i depends on ``length``, ``seed`` and i alone: a larger ``n`` keeps the first sequences.

    Args:
        n: the number of sequences.
        length: steps of a sequence, at least 2.
        seed: another one gives other sequences.

    Returns:
        Inputs (n, length, 2) and targets (n,).

    Source:
        S. Hochreiter and J. Schmidhuber (1997), *Long short-term memory*, Neural Computation 9; the marks as in M.
        Arjovsky, A. Shah and Y. Bengio (2016), *Unitary evolution recurrent neural networks*, ICML.

    >>> data = adding(3, length=6)
    >>> data
    3 sequences of 6×2, a target for each sequence
    >>> numbers, marks = data.inputs.unbind(dim=2)
    >>> bool(((numbers * marks).sum(dim=1) == data.targets).all())
    True
    """
    n = require_integer(n, "n", low=1)
    length = require_integer(length, "length", low=2)
    # Row i holds all random numbers of sequence i.
    chance = torch.rand(n, length + 2, generator=_generator(seed))
    numbers, place = chance[:, :length], chance[:, length:]  # (n, length), (n, 2)

    half = length // 2
    first = (half * place[:, 0]).long()  # (n,), in 0 … half − 1
    second = half + ((length - half) * place[:, 1]).long()  # (n,), in half … length − 1
    marks = F.one_hot(first, length) + F.one_hot(second, length)  # (n, length)
    return LabelledSequences(torch.stack([numbers, marks.float()], dim=2), (numbers * marks).sum(dim=1))


def copying(n: int, delay: int, seed: int = 0, *, symbols: int = 8, count: int = 10) -> LabelledSequences:
    """The copying problem: repeat the first symbols after a long pause.

    A sequence shows ``count`` symbols 1 … ``symbols``, then blanks (0), and ``delay`` steps after the last symbol's
    step the sign ``symbols`` + 1, which means *now*; blanks follow. The targets are blanks, and in the last ``count``
    steps the symbols in their order. Whoever knows the rule but remembers no symbol pays
    count · log(symbols) / (delay + 2 count) nats a step.

    Sequence i depends on ``count``, ``symbols``, ``seed`` and i alone: a larger ``n`` keeps the first sequences, and
    another ``delay`` has the same symbols.

    Args:
        n: the number of sequences.
        delay: steps from the last symbol to the sign, at least 1.
        seed: another one gives other sequences.
        symbols: how many kinds of symbols there are.
        count: how many symbols are to be copied.

    Returns:
        One-hot inputs (n, delay + 2 count, symbols + 2) and the numbers of the symbols as targets
        (n, delay + 2 count).

    Source:
        S. Hochreiter and J. Schmidhuber (1997); in this form M. Arjovsky, A. Shah and Y. Bengio (2016).

    >>> data = copying(1, delay=2, count=3)
    >>> data.inputs[0].argmax(dim=1).tolist(), data.targets[0].tolist()
    ([5, 8, 6, 0, 9, 0, 0, 0], [0, 0, 0, 0, 0, 5, 8, 6])
    """
    n = require_integer(n, "n", low=1)
    delay = require_integer(delay, "delay", low=1)
    symbols = require_integer(symbols, "symbols", low=2)
    count = require_integer(count, "count", low=1)
    shown = torch.randint(1, symbols + 1, (n, count), generator=_generator(seed))
    blanks = torch.zeros(n, delay + count, dtype=torch.long)

    seen, said = torch.cat([shown, blanks], dim=1), torch.cat([blanks, shown], dim=1)  # (n, delay + 2 count) each
    seen[:, count + delay - 1] = symbols + 1
    return LabelledSequences(F.one_hot(seen, symbols + 2).float(), said)


# A state is the symbols that may follow, each with the state to which it leads. The last state ends the string.
Automaton = tuple[dict[str, int], ...]
REBER: Automaton = (
    {"B": 1},
    {"T": 2, "P": 3},
    {"S": 2, "X": 4},
    {"T": 3, "V": 5},
    {"X": 3, "S": 6},
    {"P": 4, "V": 6},
    {"E": 7},
    {},
)


def _embed(inner: Automaton) -> Automaton:
    """B, then T or P, then a string of ``inner``, then the same T or P again, then E."""
    size = len(inner)

    def copy(start: int, again: str) -> Automaton:
        """The states of ``inner`` from number ``start`` on; after its last symbol ``again`` follows."""
        moved = [{symbol: start + state for symbol, state in moves.items()} for moves in inner[:-1]]
        return (*moved, {again: 2 + 2 * size})

    return ({"B": 1}, {"T": 2, "P": 2 + size}, *copy(2, "T"), *copy(2 + size, "P"), {"E": 3 + 2 * size}, {})


EMBEDDED_REBER = _embed(REBER)


def reber(
    n: int,
    seed: int = 0,
    *,
    embedded: bool = False,
    least: int = 5,
    distinct: bool = True,
    exclude: Collection[str] = (),
) -> tuple[str, ...]:
    """Random strings of the Reber grammar, or of the embedded one.

    Where two symbols may follow, each has probability ½, given that the string becomes long enough. Short strings are
    frequent: 4000 draws from the embedded grammar hold about 520 different strings. Distinct strings are longer on
    average, because a string that was drawn before is drawn again. A larger ``n`` keeps the first strings.

    The embedded grammar has a Reber string between two symbols T or two symbols P: ``BT…TE`` or ``BP…PE``. So its
    second-last symbol is the second one, however long the string between them.

    Args:
        n: the number of strings.
        seed: another one gives other strings; some of them may be the same.
        embedded: whether the strings are those of the embedded grammar.
        least: symbols that the Reber string (in the embedded grammar, the inner one) has at least.
        distinct: draw no string twice.
        exclude: strings that must not be drawn, such as those of the training set.

    Source:
        A. Reber (1967), *Implicit learning of artificial grammars*, Journal of Verbal Learning and Verbal Behavior 6.
        Embedded: S. Hochreiter and J. Schmidhuber (1997), *Long short-term memory*, Neural Computation 9.

    >>> reber(3)
    ('BPTTVPSE', 'BPVVE', 'BPTVVE')
    >>> reber(1, embedded=True, least=12)
    ('BPBTSSXXTTVPXVVEPE',)
    """
    n = require_integer(n, "n", low=1)
    seed = require_integer(seed, "seed", low=0)
    least = require_integer(least, "least", low=5)
    if isinstance(exclude, str):
        raise TypeError(f"exclude: expected several strings, got str {exclude!r}")
    embedded, distinct = require_flag(embedded, "embedded"), require_flag(distinct, "distinct")
    automaton = EMBEDDED_REBER if embedded else REBER
    reach = _reach(automaton, least + 4 if embedded else least)
    chance, refused = random.Random(seed), set(exclude)
    strings: list[str] = []
    while len(strings) < n:
        if (string := _draw(automaton, reach, chance)) not in refused:
            strings.append(string)
            if distinct:
                refused.add(string)
    return tuple(strings)


def reber_successors(prefix: str, *, embedded: bool = False) -> str:
    """The symbols that may follow the beginning of a Reber string; none after its end.

    Raises:
        ValueError: no Reber string begins like that.

    >>> reber_successors("BT"), reber_successors("BTXSE")
    ('SX', '')
    >>> reber_successors("BTBPVVE", embedded=True)
    'T'
    >>> reber_successors("BX")
    Traceback (most recent call last):
    ValueError: prefix: no Reber string begins with 'BX': after 'B' only T, P may follow
    """
    require_instance(prefix, "prefix", str)
    automaton = EMBEDDED_REBER if require_flag(embedded, "embedded") else REBER
    state = 0
    for i, symbol in enumerate(prefix):
        if symbol not in automaton[state]:
            allowed = f"only {', '.join(automaton[state])}" if automaton[state] else "nothing"
            kind = "embedded Reber" if embedded else "Reber"
            raise ValueError(
                f"prefix: no {kind} string begins with {prefix[: i + 1]!r}: after {prefix[:i]!r} {allowed} may follow"
            )
        state = automaton[state][symbol]
    return "".join(automaton[state])


def is_reber(string: str, *, embedded: bool = False) -> bool:
    """Whether this is a whole string of the Reber grammar, or of the embedded one.

    >>> is_reber("BTSSXSE"), is_reber("BTSSX"), is_reber("BTSSXXE")
    (True, False, False)
    """
    try:
        return reber_successors(string, embedded=embedded) == ""
    except ValueError:
        return False


def reber_sequences(strings: Sequence[str]) -> LabelledSequences:
    """Strings of Reber's symbols as inputs, each with the next symbol as its target.

    Args:
        strings: of the symbols BTPSXVE, each of at least two symbols. They may differ in length.

    Returns:
        One-hot inputs (n, t, 7), where t + 1 is the length of the longest string, and the numbers of the next symbols
        as targets (n, t). After the end of a string the inputs are zero, and there is no target (−100).

    >>> data = reber_sequences(["BPVVE", "BTSXSE"])
    >>> data
    2 sequences of 5×7, a target for each step
    >>> data.targets
    tensor([[   2,    5,    5,    6, -100],
            [   1,    3,    4,    3,    6]])
    """
    if isinstance(strings, str) or not strings:
        raise TypeError(f"strings: expected several strings, got {strings!r}")
    longest = max(map(len, strings))
    numbers = torch.full((len(strings), longest), IGNORED)
    for i, string in enumerate(strings):
        if len(string) < 2 or not set(string) <= set(REBER_SYMBOLS):
            raise ValueError(f"strings: expected two or more of the symbols {REBER_SYMBOLS}, got {string!r}")
        numbers[i, : len(string)] = torch.tensor([REBER_SYMBOLS.index(symbol) for symbol in string])
    targets = numbers[:, 1:]  # (n, t)
    # The last symbol of a string is a target only.
    inputs = F.one_hot(numbers[:, :-1].clamp(min=0), len(REBER_SYMBOLS)) * (targets != IGNORED)[:, :, None]
    return LabelledSequences(inputs.float(), targets)


def _reach(automaton: Automaton, least: int) -> list[list[float]]:
    """``reach[m][state]``: the probability that at least m symbols follow, for m = 0 … ``least``."""
    reach = [[1.0] * len(automaton)]
    for _ in range(least):
        before = reach[-1]
        reach.append([sum(before[state] for state in moves.values()) / max(len(moves), 1) for moves in automaton])
    return reach


def _draw(automaton: Automaton, reach: Sequence[Sequence[float]], chance: random.Random) -> str:
    """A random string of at least ``len(reach) − 1`` symbols."""
    string, state = "", 0
    while moves := automaton[state]:
        # Given that enough symbols follow, a symbol is as probable as it lets them follow (Bayes).
        missing = max(len(reach) - 2 - len(string), 0)
        (symbol,) = chance.choices(list(moves), [reach[missing][state] for state in moves.values()])
        string, state = string + symbol, moves[symbol]
    return string


def _generator(seed: int) -> torch.Generator:
    """A generator of its own, so that nobody else's random numbers change."""
    return torch.Generator().manual_seed(require_integer(seed, "seed", low=0))
