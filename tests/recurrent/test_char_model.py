"""The character model is the recurrent layer between one-hot letters and a readout; samples keep the state."""

import math
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from coursekit.recurrent import CharModel, NGrams, sample
from coursekit.training import Descent, fit

KINDS = ("RNN", "LSTM", "GRU")
CHARACTERS = "\n abcdefgh"


@pytest.fixture(params=KINDS)
def model(request):
    return CharModel(CHARACTERS, hidden=7, kind=request.param)


def test_scores_are_those_of_torch_nn_with_the_same_weights(model):
    kind = type(model.recurrent).__name__
    theirs = getattr(nn, kind)(len(CHARACTERS), 7)
    theirs.load_state_dict(model.recurrent.state_dict())
    numbers = torch.randint(len(CHARACTERS), (12, 3))
    scores, _ = model(numbers)
    output, _ = theirs(F.one_hot(numbers, len(CHARACTERS)).float())
    torch.testing.assert_close(scores, model.readout(output), rtol=0, atol=2e-6)


def test_two_calls_with_the_state_between_them_are_one(model):
    numbers = torch.randint(len(CHARACTERS), (12, 3))
    whole, last = model(numbers)
    first, state = model(numbers[:5])
    second, end = model(numbers[5:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(end, last)


def test_a_model_in_double_precision_takes_letters_as_well(model):
    scores, _ = model.double()(torch.zeros(2, 1, dtype=torch.int64))
    assert scores.dtype == torch.float64


def test_the_loss_is_the_mean_over_all_characters_but_the_first_of_each_window(model):
    windows = model.windows("abc defg\nh abab", 5)
    losses = []
    for window in windows:
        scores, _ = model(window[:-1, None])
        losses += (-scores[:, 0].log_softmax(dim=1)[torch.arange(4), window[1:]]).tolist()
    assert model.loss(windows).item() == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_windows_hold_every_step_of_the_text_once(model):
    text = "abcdefgh" * 5
    windows = [model.alphabet.decode(window) for window in model.windows(text, 4)]
    assert all(windows[i][-1] == windows[i + 1][0] for i in range(len(windows) - 1))
    steps = Counter(window[i : i + 2] for window in windows for i in range(3))
    assert steps == Counter(text[i : i + 2] for i in range(39))
    assert model.windows(text, 4).is_contiguous()


def test_cross_entropy_reads_the_text_in_one_go_or_in_streams(model):
    text = "abc defg\nhgfe cba"  # 17 characters
    numbers = model.alphabet.encode(text)
    whole = model.loss(numbers[None]).item()
    assert model.cross_entropy(text) == pytest.approx(whole, rel=1e-6)
    halves = sum(model.loss(part[None]).item() for part in (numbers[:8], numbers[8:16])) / 2
    assert model.cross_entropy(text, streams=2) == pytest.approx(halves, rel=1e-6)
    assert not torch.is_grad_enabled() or model.loss(numbers[None]).requires_grad


def test_dropout_acts_on_the_readout_in_training_only():
    model = CharModel(CHARACTERS, hidden=400, dropout=0.5)
    numbers = torch.randint(len(CHARACTERS), (5, 2))
    assert not torch.equal(model(numbers)[0], model(numbers)[0])
    torch.testing.assert_close(model(numbers)[1], model(numbers)[1], rtol=0, atol=0)  # the state goes on whole
    for measure in (lambda: model.cross_entropy("abab"), lambda: sample(model, "a", 3)):
        with pytest.raises(ValueError, match=r"dropout is on in training; call model.eval\(\) first"):
            measure()
    model.eval()
    output, _ = model.recurrent(F.one_hot(numbers, len(CHARACTERS)).float())
    torch.testing.assert_close(model(numbers)[0], model.readout(output))
    assert model.cross_entropy("abab") == model.cross_entropy("abab")


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_a_text_that_needs_its_memory(kind):
    text = "abac" * 200  # behind "a" comes "b" or "c" in turn
    torch.manual_seed(0)
    model = CharModel("abc", hidden=12, kind=kind)
    fit(
        Descent(model, model.loss, lr=0.02, clip=1.0),
        model.windows(text, 17),
        epochs=20,
        batch_size=8,
        device="cpu",
        progress=False,
    )
    assert model.cross_entropy(text) < 0.1 < 0.5 * math.log(2)
    assert "abacabacabac" in sample(model, "abac", 40, 0.5)


# --- samples


def by_calls(model, prompt, length, temperature):
    """Every character by a call of the model with the state of the call before."""
    numbers, state, drawn = model.alphabet.encode(prompt)[:, None], None, []
    with torch.no_grad():
        for _ in range(length):
            scores, state = model(numbers, state)
            numbers = torch.multinomial((scores[-1] / temperature).softmax(dim=1), 1)
            drawn.append(numbers)
    return model.alphabet.decode(torch.cat(drawn).flatten())


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2])
def test_samples_are_those_of_calls_that_keep_the_state(model, temperature):
    torch.manual_seed(3)
    expected = by_calls(model, "ab c", 60, temperature)
    torch.manual_seed(3)
    assert sample(model, "ab c", 60, temperature) == expected


def test_a_generator_decides_alone(model):
    before = torch.get_rng_state()
    first, again, other = (sample(model, "a", 30, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert torch.equal(torch.get_rng_state(), before)


def test_characters_are_drawn_with_their_probabilities():
    model = CharModel("abc", hidden=2)
    nn.init.zeros_(model.readout.weight)
    model.readout.bias.data = torch.tensor([0.5, 0.3, 0.2]).log()
    counts = Counter(sample(model, "a", 4000))
    assert [counts[c] / 4000 for c in "abc"] == pytest.approx([0.5, 0.3, 0.2], abs=0.03)
    colder = Counter(sample(model, "a", 4000, temperature=0.5))
    assert colder["a"] / 4000 == pytest.approx(0.25 / 0.38, abs=0.03)


def test_a_tiny_temperature_takes_the_likeliest_and_a_huge_one_any():
    model = CharModel("abc", hidden=2)
    nn.init.zeros_(model.readout.weight)
    model.readout.bias.data = torch.tensor([1.0, 50.0, 3.0])
    assert sample(model, "a", 20, temperature=1e-300) == "b" * 20
    assert set(sample(model, "a", 200, temperature=1e9)) == set("abc")


NAN = float("nan")
BAD = {
    "strange prompt": (("xyz", 5, 1.0), ValueError, r"text: expected characters of the alphabet, got 'x', 'y', 'z'"),
    "empty prompt": (("", 5, 1.0), ValueError, "prompt: expected at least one character, got none"),
    "no string": ((None, 5, 1.0), TypeError, "prompt: expected str, got NoneType"),
    "bytes": ((b"a", 5, 1.0), TypeError, "prompt: expected str, got bytes"),
    "length 0": (("a", 0, 1.0), ValueError, "length: expected an integer from 1 on, got 0"),
    "negative length": (("a", -3, 1.0), ValueError, "length: expected an integer from 1 on, got -3"),
    "half a length": (("a", 2.5, 1.0), TypeError, "length: expected an integer, got float 2.5"),
    "temperature 0": (("a", 5, 0), ValueError, "temperature: expected a number > 0, got 0"),
    "negative temperature": (("a", 5, -1.0), ValueError, r"temperature: expected a number > 0, got -1.0"),
    "temperature NaN": (("a", 5, NAN), ValueError, "temperature: expected a number > 0, got nan"),
    "infinite temperature": (("a", 5, math.inf), ValueError, "temperature: expected a number > 0, got inf"),
    "temperature in words": (("a", 5, "hot"), TypeError, "temperature: expected a number, got str 'hot'"),
}


@pytest.mark.parametrize(("arguments", "error", "message"), BAD.values(), ids=BAD)
def test_samples_that_make_no_sense_are_refused(arguments, error, message, without_annotations):
    with pytest.raises(error, match=message):
        sample(CharModel("abc", hidden=2), *arguments)


def test_only_a_character_model_is_sampled(without_annotations):
    with pytest.raises(TypeError, match="model: expected CharModel, got Linear"):
        sample(nn.Linear(1, 1), "a", 5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: CharModel("abc", 0), ValueError, "hidden: expected an integer from 1 on, got 0"),
        (lambda: CharModel("abc", 3, "LSTN"), ValueError, "unknown kind 'LSTN': did you mean LSTM"),
        (lambda: CharModel("abc", 3, dropout=2), ValueError, "dropout: expected a number ≥ 0 and ≤ 1, got 2"),
        (lambda: CharModel("aa", 3), ValueError, "characters: expected two or more different"),
        (lambda: CharModel(3), TypeError, "characters: expected str, got int"),
        (lambda: CharModel("abc", 3).windows("ab", 3), ValueError, "text: expected at least 3 characters, got 2"),
        (lambda: CharModel("abc", 3).windows("abc", 1), ValueError, "length: expected an integer from 2 on, got 1"),
        (lambda: CharModel("abc", 3).windows("abx", 2), ValueError, "characters of the alphabet, got 'x'"),
        (lambda: CharModel("abc", 3).cross_entropy("a"), ValueError, "text: expected at least 2 characters, got 1"),
        (lambda: CharModel("abc", 3).cross_entropy("abc", 2), ValueError, "expected at least 4 characters, got 3"),
        (lambda: CharModel("abc", 3).cross_entropy("abc", 0), ValueError, "streams: expected an integer from 1 on"),
        (
            lambda: CharModel("abc", 3)(torch.tensor([[3]])),
            (ValueError, RuntimeError),
            "numbers|smaller than num_classes",
        ),
    ],
)
def test_models_and_texts_that_make_no_sense_are_refused(call, error, message, without_annotations):
    with pytest.raises(error, match=message):
        call()


def test_numbers_of_characters_may_be_short_and_lie_in_the_alphabet():
    model = CharModel("abc", hidden=4)
    numbers = torch.tensor([[0, 2], [1, 1]])
    torch.testing.assert_close(model(numbers.int())[0], model(numbers)[0], rtol=0, atol=0)
    with pytest.raises(ValueError, match="numbers: expected numbers of words from 0 to 2, got 0 to 3"):
        model(numbers + torch.tensor([0, 1]))


def test_a_generator_is_one_of_torch(without_annotations):
    with pytest.raises(TypeError, match="generator: expected Generator, got int 1"):
        sample(CharModel("abc", hidden=4), "a", 3, generator=1)
    with pytest.raises(TypeError, match="generator: expected Generator, got int 1"):
        NGrams(1).fit("abcab").sample("a", 3, generator=1)
