import itertools
import math

import pytest
import torch
from torch import nn

from coursekit.datasets.vocabulary import END, PAD
from coursekit.recurrent.seq2seq import (
    Decoder,
    Encoder,
    EncoderDecoder,
    beam_search,
    greedy,
    teacher_forcing_loss,
)

KINDS = ("RNN", "LSTM", "GRU")
SOURCE = torch.tensor([[2, 4, 3], [3, 5, 1], [4, 1, 0], [1, 0, 0]])  # (4, 3): sentences of 3, 2 and 1 words
TARGET = torch.tensor([[3, 2, 1], [2, 1, 0], [1, 0, 0]])  # (3, 3)


@pytest.fixture(params=KINDS)
def net(request):
    return EncoderDecoder(source_words=6, target_words=4, hidden=5, kind=request.param, embedding=3).double()


def parts(state):
    return state if isinstance(state, tuple) else (state,)


def same(a, b):
    return all(torch.allclose(x, y, rtol=0, atol=1e-14) for x, y in zip(parts(a), parts(b), strict=True))


def column(tokens, k):
    """One sentence without its padding."""
    return tokens[tokens[:, k] != PAD][:, k : k + 1]


# --- padding


def test_padding_does_not_change_the_state_of_the_encoder(net):
    together = net.encoder(SOURCE)
    for k in range(3):
        alone = net.encoder(column(SOURCE, k))
        assert same(alone, tuple(part[:, k : k + 1] for part in parts(together)))


def test_more_padding_changes_nothing(net):
    more = torch.cat([SOURCE, torch.zeros(3, 3, dtype=torch.long)])
    assert same(net.encoder(SOURCE), net.encoder(more))
    longer = torch.cat([TARGET, torch.zeros(2, 3, dtype=torch.long)])
    assert torch.allclose(net.loss(SOURCE, TARGET), net.loss(more, longer), rtol=0, atol=1e-14)


def test_padding_gets_no_gradient(net):
    net.loss(SOURCE, TARGET).backward()
    assert net.encoder.embedding.weight.grad[PAD].abs().max() == 0
    assert net.encoder.embedding.weight.grad[END].abs().max() > 0
    assert net.decoder.output.weight.grad[PAD].abs().max() == 0
    assert all(p.grad.isfinite().all() for p in net.parameters())


def test_padding_is_never_said(net):
    scores, _ = net.decoder(TARGET, net.encoder(SOURCE))
    assert (scores[..., PAD] == -torch.inf).all()
    assert scores[..., 1:].isfinite().all()


# --- the loss


def test_the_loss_is_the_mean_over_all_words_of_minus_log_p(net):
    states = parts(net.encoder(SOURCE))
    total, count = 0.0, 0
    for k in range(3):
        state = tuple(part[:, k : k + 1] for part in states)
        state = state if len(state) == 2 else state[0]
        previous = END
        for word in column(TARGET, k).flatten().tolist():
            scores, state = net.decoder(torch.tensor([[previous]]), state)
            total -= scores[0, 0].log_softmax(dim=0)[word].item()
            count += 1
            previous = word
    assert count == 6
    assert net.loss(SOURCE, TARGET).item() == pytest.approx(total / count, rel=1e-12)


@pytest.mark.parametrize("target", [[2, 3, 3], [2, 1, 3], [1, 1, 0], [0, 2, 1], [2, 0, 1], [0, 0, 0]])
def test_targets_must_end_once_and_be_padded_behind_their_ends(net, target):
    bad = torch.tensor(target)[:, None]
    with pytest.raises(ValueError, match="target: expected sentences that end with END once, and padding only behind"):
        net.loss(SOURCE[:, :1], bad)


def test_a_batch_learns_a_translation_by_heart():
    torch.manual_seed(0)
    net = EncoderDecoder(6, 4, hidden=16)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.03)
    for _ in range(60):
        optimizer.zero_grad()
        net.loss(SOURCE, TARGET).backward()
        optimizer.step()
    assert torch.equal(net.translate(SOURCE, limit=9), TARGET)


# --- decoding


def log_probability(decoder, state, tokens):
    """log p of a sentence, word by word."""
    previous = torch.tensor([[END, *tokens[:-1]]]).T
    scores, _ = decoder(previous, state)
    return scores[:, 0].log_softmax(dim=1).gather(1, torch.tensor(tokens)[:, None]).sum().item()


def all_sentences(words, limit):
    """Every sentence that ends within the limit, and every one that the limit cuts."""
    others = [k for k in range(words) if k not in (PAD, END)]
    for length in range(limit):
        yield from ((*it, END) for it in itertools.product(others, repeat=length))
    yield from itertools.product(others, repeat=limit)


def first(state):
    """The state of the first sentence."""
    return tuple(part[:, :1] for part in state) if isinstance(state, tuple) else state[:, :1]


def test_a_beam_that_drops_nothing_finds_what_brute_force_finds(net):
    with torch.no_grad():
        net.decoder.output.weight.mul_(6)  # sharper than a fresh net
        state = first(net.encoder(SOURCE))
        by_force = {it: log_probability(net.decoder, state, it) for it in all_sentences(4, limit=4)}
    assert math.fsum(map(math.exp, by_force.values())) == pytest.approx(1, rel=1e-12)  # all there are
    found = beam_search(net.decoder, state, width=len(by_force), limit=4)
    ranked = sorted(by_force, key=by_force.get, reverse=True)
    assert [it.tokens for it in found] == ranked
    assert [it.log_probability for it in found] == pytest.approx([by_force[it] for it in ranked], rel=1e-12)


def test_a_beam_of_one_is_greedy(net):
    with torch.no_grad():
        net.decoder.output.weight.mul_(6)
        states = parts(net.encoder(SOURCE))
    for k in range(3):
        state = tuple(part[:, k : k + 1] for part in states)
        state = state if len(state) == 2 else state[0]
        (best,) = beam_search(net.decoder, state, width=1, limit=7)
        assert best.tokens == tuple(greedy(net.decoder, state, limit=7)[:, 0].tolist())


class Chain(nn.Module):
    """A decoder that only looks at the word before: rows of probabilities, a Markov chain."""

    def __init__(self, *rows):
        super().__init__()
        self.log_p = torch.tensor(rows).log()

    def forward(self, previous, state):
        return self.log_p[previous], state


def test_a_wider_beam_finds_what_greedy_misses():
    """Greedy takes 2 first (0.6), and then nothing is likely; 3 first leads to a better sentence."""
    chain = Chain(
        [0, 0, 0, 0, 0],  # behind PAD: never
        [0, 0, 0.6, 0.4, 0],  # first word
        [0, 0.3, 0.3, 0.2, 0.2],
        [0, 0.9, 0.05, 0.05, 0],
        [0, 1.0, 0, 0, 0],
    )
    state = torch.zeros(1, 1, 1)
    assert greedy(chain, state, limit=2).flatten().tolist() == [2, END]
    assert beam_search(chain, state, 1, limit=2)[0].tokens == (2, END)
    best = beam_search(chain, state, 2, limit=2)[0]
    assert best.tokens == (3, END)
    assert best.log_probability == pytest.approx(math.log(0.4 * 0.9))


def test_a_finished_hypothesis_stays_while_others_grow():
    chain = Chain(
        [0, 0, 0, 0],
        [0, 0.5, 0.5, 0],  # the end at once, or 2
        [0, 0.5, 0, 0.5],
        [0, 1.0, 0, 0],
    )
    found = beam_search(chain, torch.zeros(1, 1, 1), width=2, limit=5)
    assert [it.tokens for it in found] == [(END,), (2, END)]
    assert [it.log_probability for it in found] == pytest.approx([math.log(0.5), math.log(0.25)])


def test_the_limit_cuts_a_sentence():
    chain = Chain([0, 0, 0], [0, 0.1, 0.9], [0, 0.1, 0.9])
    (best,) = beam_search(chain, torch.zeros(1, 1, 1), width=1, limit=3)
    assert best.tokens == (2, 2, 2)
    assert best.log_probability == pytest.approx(3 * math.log(0.9))
    assert not best.finished
    assert greedy(chain, torch.zeros(1, 4, 1), limit=3).tolist() == [[2] * 4] * 3


def test_greedy_pads_behind_each_end(net):
    with torch.no_grad():
        net.decoder.output.weight.mul_(6)
    said = net.translate(SOURCE, limit=12)
    for k in range(3):
        sentence = said[:, k].tolist()
        if END in sentence:
            assert set(sentence[sentence.index(END) + 1 :]) <= {PAD}
        assert PAD not in sentence[: sentence.index(END) if END in sentence else None]


# --- what is refused


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"words": 2}, ValueError, "words: expected an integer from 3 on, got 2"),
        ({"hidden": 0}, ValueError, "hidden: expected an integer from 1 on, got 0"),
        ({"embedding": 1.5}, TypeError, "embedding: expected an integer, got float 1.5"),
        ({"kind": "gru"}, ValueError, "unknown kind 'gru': did you mean GRU"),
    ],
)
@pytest.mark.parametrize("part", [Encoder, Decoder])
def test_parts_that_cannot_be_built_are_refused(without_annotations, part, arguments, error, message):
    with pytest.raises(error, match=message):
        part(**{"words": 5, "hidden": 4} | arguments)


def test_bad_sentences_are_refused(without_annotations):
    net = EncoderDecoder(6, 4, 5)
    with pytest.raises(ValueError, match="source: expected numbers of words from 0 to 5, got 1 to 6"):
        net.encoder(torch.tensor([[6], [1]]))
    with pytest.raises(TypeError, match="source: expected integers, got float32"):
        net.encoder(torch.ones(2, 1))
    with pytest.raises(TypeError, match="source: expected a tensor, got list"):
        net.encoder([[2], [1]])
    with pytest.raises(ValueError, match="previous: expected numbers of words from 0 to 3, got 1 to 4"):
        net.loss(SOURCE[:, :1], torch.tensor([[4], [1]]))
    with pytest.raises(ValueError, match=r"state: expected .*, got"):
        net.decoder(TARGET, torch.zeros(1, 2, 5))


def test_bad_searches_are_refused(without_annotations):
    decoder = Decoder(4, 5)
    state = torch.zeros(1, 1, 5)
    with pytest.raises(ValueError, match="width: expected an integer from 1 on, got 0"):
        beam_search(decoder, state, 0, limit=3)
    with pytest.raises(ValueError, match="limit: expected an integer from 1 on, got 0"):
        greedy(decoder, state, 0)
    with pytest.raises(
        ValueError, match="state: expected the state of one sentence, got a batch of 3; call it for each"
    ):
        beam_search(decoder, torch.zeros(1, 3, 5), 2, limit=3)
    with pytest.raises(ValueError, match=r"state: expected shape \(layers, n, h\) with n ≥ 1, got \(5,\)"):
        greedy(decoder, torch.zeros(5), 3)
    with pytest.raises(TypeError, match="state: expected Tensor, got NoneType"):
        greedy(decoder, None, 3)


def test_the_loss_of_any_decoder_can_be_taken():
    chain = Chain([0, 0, 0], [0, 0.25, 0.75], [0, 0.5, 0.5])
    loss = teacher_forcing_loss(chain, torch.zeros(1, 1, 1), torch.tensor([[2], [1]]))
    assert loss.item() == pytest.approx(-(math.log(0.75) + math.log(0.5)) / 2)
