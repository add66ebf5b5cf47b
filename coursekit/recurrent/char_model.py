"""A recurrent model of the next character: training windows, loss, and samples."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from coursekit.datasets.vocabulary import require_tokens
from coursekit.recurrent.alphabet import Alphabet
from coursekit.recurrent.layers import Kind, recurrent_layer
from coursekit.validation import require_fraction, require_instance, require_integer, require_number

State = Tensor | tuple[Tensor, Tensor]  # of an LSTM: (h, c)


class CharModel(nn.Module):
    """Characters x₁ … x_T in, for each of them the scores o_t of the character behind it out.

        h_t = the recurrent layer's new state from h_{t−1} and x_t,    o_t = c + V h_t,    p_t = softmax(o_t)

    A character is a one-hot vector, so the input weights hold one column for each character.

    Args:
        characters: those that may occur; their numbers are their places.
        hidden: the length of the state h_t.
        kind: the recurrent layer, "RNN", "LSTM" or "GRU".
        dropout: the fraction of the numbers of h_t that the readout does without in training, against overfitting:
            the same numbers at all times of a sequence.

    Source: A. Karpathy, The unreasonable effectiveness of recurrent neural networks, 2015; Y. Gal and Z. Ghahramani, A
    theoretically grounded application of dropout in recurrent neural networks, NeurIPS 2016.

    >>> model = CharModel("helo", hidden=3)
    >>> numbers = model.alphabet.encode("hell")[:, None]  # (T, B) = (4, 1)
    >>> scores, state = model(numbers)
    >>> scores.shape, state.shape
    (torch.Size([4, 1, 4]), torch.Size([1, 1, 3]))
    """

    def __init__(self, characters: str, hidden: int = 128, kind: Kind = "RNN", dropout: float = 0.0) -> None:
        super().__init__()
        hidden = require_integer(hidden, "hidden", low=1)
        self.alphabet = Alphabet(characters)
        self.recurrent = recurrent_layer(kind, len(characters), hidden)
        self.dropout = nn.Dropout(require_fraction(dropout, "dropout"))
        self.readout = nn.Linear(hidden, len(characters))

    def forward(self, numbers: Int[Tensor, "t b"], state: State | None = None) -> tuple[Float[Tensor, "t b v"], State]:
        """The scores behind each character, and the state after the last one, with which the next call can go on."""
        numbers = require_tokens(numbers, "numbers", len(self.alphabet)).long()
        # A row of the identity is the one-hot vector of its number. F.one_hot would wait for a GPU.
        one_hot = torch.eye(len(self.alphabet), dtype=self.readout.weight.dtype, device=numbers.device)  # (V, V)
        x = one_hot[numbers]  # (T, B, V)
        h, state = self.recurrent(x, state)  # (T, B, H)
        if self.training and self.dropout.p:
            h = h * self.dropout(torch.ones_like(h[:1]))  # one mask (1, B, H) for all times
        return self.readout(h), state

    def loss(self, windows: Int[Tensor, "b t"]) -> Float[Tensor, ""]:
        """The mean of −log p of each window's characters but the first, in nats; the state begins at 0."""
        numbers = windows.T  # (T, B)
        scores, _ = self(numbers[:-1])  # (T − 1, B, V)
        return F.cross_entropy(scores.flatten(0, 1), numbers[1:].flatten())

    def windows(self, text: str, length: int) -> Int[Tensor, "n length"]:
        """A text cut into windows of ``length`` characters, for `loss`. Neighbours share one character.

        >>> model = CharModel("helo", hidden=3)
        >>> [model.alphabet.decode(window) for window in model.windows("hellohello", 4)]
        ['hell', 'lohe', 'ello']
        """
        length = require_integer(length, "length", low=2)
        numbers = self.alphabet.encode(text)  # (N,)
        if len(numbers) < length:
            raise ValueError(f"text: expected at least {length} characters, got {len(numbers)}")
        return numbers.unfold(0, length, length - 1).contiguous()

    @torch.no_grad()
    def cross_entropy(self, text: str, streams: int = 1) -> float:
        """The mean of −log p over the characters of a text but the first, in nats.

        Args:
            streams: the number of equal pieces that are read side by side, each from the state 0; what is left over
                is not read. More are faster.

        Raises:
            TypeError, ValueError: the text holds other characters, or too few for so many streams; dropout is on.
        """
        _require_no_dropout(self)
        streams = require_integer(streams, "streams", low=1)
        length = len(text) // streams
        if length < 2:
            raise ValueError(f"text: expected at least {2 * streams} characters, got {len(text)}")
        numbers = self.alphabet.encode(text[: streams * length])
        return self.loss(numbers.view(streams, length).to(self.readout.weight.device)).item()


@torch.no_grad()
def sample(
    model: CharModel, prompt: str, length: int, temperature: float = 1.0, generator: torch.Generator | None = None
) -> str:
    """``length`` characters behind a prompt, each drawn from p = softmax(o / temperature).

    The state is kept from character to character, so each costs one step. A low temperature prefers what is likely
    already, a high one evens out.

    Args:
        model: in evaluation mode, if it has dropout.
        prompt: at least one character.
        length: at least 1.
        temperature: above 0; 1 samples from the model itself.
        generator: of random numbers; torch's global one unless given. It must be on the model's device.

    Raises:
        TypeError, ValueError: the prompt is empty or holds characters that the model does not know; the length or the
            temperature is out of range; dropout is on.

    >>> model = CharModel("helo", hidden=3)
    >>> len(sample(model, "he", 10))
    10
    """
    _require_no_dropout(require_instance(model, "model", CharModel))
    numbers = model.alphabet.encode(require_instance(prompt, "prompt", str))
    if not len(numbers):
        raise ValueError("prompt: expected at least one character, got none")
    length = require_integer(length, "length", low=1)
    temperature = require_number(temperature, "temperature", above=0)
    generator = None if generator is None else require_instance(generator, "generator", torch.Generator)

    letters = torch.eye(len(model.alphabet), device=model.readout.weight.device)  # (V, V): a one-hot row for each
    scores, state = model(numbers[:, None].to(letters.device))  # (T, 1, V)
    o, least = scores[-1], torch.finfo(scores.dtype).tiny  # (1, V), and the smallest number to divide by
    # From here on only the layer's innermost loop runs: the checks of a call would double the time.
    h = tuple(part[0] for part in (state if isinstance(state, tuple) else (state,)))  # (1, H) each
    drawn = []
    for _ in range(length):
        p = ((o - o.max()) / max(temperature, least)).softmax(dim=1)  # (1, V)
        drawn.append(torch.multinomial(p, 1, generator=generator))  # (1, 1)
        (output,), h = model.recurrent.scan(letters[drawn[-1]], h, layer=0)
        o = model.readout(output)
    return model.alphabet.decode(torch.cat(drawn).flatten())


def _require_no_dropout(model: CharModel) -> None:
    """Whoever measures or samples a model should know that it is in evaluation mode."""
    if model.training and model.dropout.p:
        raise ValueError("model: expected evaluation mode, since dropout is on in training; call model.eval() first")
