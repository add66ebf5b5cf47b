"""The characters of a text as numbers."""

import torch
from jaxtyping import Int
from torch import Tensor

from coursekit.validation import require_instance, require_labels


class Alphabet:
    """The characters that may occur in a text, numbered from 0 in the given order.

    Args:
        characters: each of them once; there are at least two.

    Raises:
        TypeError: this is not a string.
        ValueError: a character occurs twice, or there are fewer than two.

    >>> alphabet = Alphabet("helo")
    >>> alphabet.encode("hello")
    tensor([0, 1, 2, 2, 3])
    >>> alphabet.decode(torch.tensor([1, 0]))
    'eh'
    """

    def __init__(self, characters: str) -> None:
        require_instance(characters, "characters", str)
        if len(characters) < 2 or len(set(characters)) < len(characters):
            raise ValueError(f"characters: expected two or more different characters, got {characters!r}")
        self.characters = characters
        self._numbers = {character: number for number, character in enumerate(characters)}

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> Int[Tensor, " n"]:
        """The number of each character of a text.

        Raises:
            TypeError: this is not a string.
            ValueError: the text holds other characters; the message names them.
        """
        require_instance(text, "text", str)
        if strange := sorted(set(text) - set(self.characters)):
            raise ValueError(f"text: expected characters of the alphabet, got {', '.join(map(repr, strange[:5]))}")
        return torch.tensor([self._numbers[character] for character in text], dtype=torch.int64)

    def decode(self, numbers: Int[Tensor, " n"]) -> str:
        """The text of some numbers.

        Raises:
            TypeError, ValueError: these are not numbers of characters, shape (n,).
        """
        require_labels(numbers, "numbers", count=len(numbers), classes=len(self))
        return "".join(self.characters[number] for number in numbers.tolist())
