import itertools
import re
from collections import Counter

import pytest
import torch
import torch.nn.functional as F

from coursekit.datasets import END, PAD, verdict
from coursekit.exercises.lecture07 import FEWEST, MOST_CALLS, bag_of_ngrams, exercise
from coursekit.recurrent import seq2seq

# --- greedy decoding that stops


def decoding(
    first=END,
    mark=lambda word, over: word.masked_fill(over, PAD),
    feed=lambda word, said: word,
    is_over=lambda over, word: over | (word == END),
    stop=lambda over: over.all(),
    within=lambda steps, limit: steps < limit,
):
    """An answer by its parts: what is said, what is fed back, which sentences are over, and when to stop."""

    def answer(decoder, state, limit):
        word, rows = torch.full((1, state.shape[1]), first), []
        over = torch.zeros_like(word, dtype=torch.bool)
        while within(len(rows), limit) and not stop(over):
            scores, state = decoder(word, state)
            best = scores.argmax(dim=2)
            rows.append(mark(best, over))
            word = feed(best, rows[-1])
            over = is_over(over, best)
        return torch.cat(rows)

    return answer


def in_a_full_table(decoder, state, limit):
    n = state.shape[1]
    table, word = torch.full((limit, n), PAD), torch.full((1, n), END)
    for t in range(limit):
        scores, state = decoder(word, state)
        word = scores.argmax(dim=2)
        table[t] = torch.where((table[:t] == END).any(dim=0), PAD, word[0])
        if (table == END).any(dim=0).all():
            break
    return table


def without_finished_sentences(decoder, state, limit):
    """Sentences that are over leave the batch."""
    left = torch.arange(state.shape[1])
    table, word = torch.full((limit, len(left)), PAD), torch.full((1, len(left)), END)
    for t in range(limit):
        scores, state = decoder(word, state)
        word = scores.argmax(dim=2)
        table[t, left] = word[0]
        goes_on = word[0] != END
        left, word, state = left[goes_on], word[:, goes_on], state[:, goes_on]
        if not len(left):
            break
    return table


def from_the_first_state(decoder, state, limit):
    """All words so far are read again in each step."""
    said = torch.full((1, state.shape[1]), END)
    while len(said) <= limit and not (said[1:] == END).any(dim=0).all():
        word = decoder(said, state)[0][-1:].argmax(dim=2)
        said = torch.cat([said, word])
    over = (said[1:] == END).cumsum(dim=0) - (said[1:] == END).int() > 0
    return said[1:].masked_fill(over, PAD)


RIGHT_DECODING = {
    "the package": seq2seq.greedy,
    "all words again": from_the_first_state,
    "the parts": decoding(),
    "PAD fed back after END": decoding(feed=lambda word, said: said),
    "a full table": in_a_full_table,
    "a shrinking batch": without_finished_sentences,
}


@pytest.mark.parametrize("answer", RIGHT_DECODING.values(), ids=RIGHT_DECODING)
def test_decoding_is_accepted_in_any_form(ask, answer):
    assert ask(exercise, "greedy_to_the_end", answer).startswith("✓ greedy_to_the_end: right on one sentence, three")


def never(over):
    return False


WRONG_DECODING = {
    "the notebook's greedy": (
        decoding(mark=lambda word, over: word, stop=never),
        "one sentence, limit 6: sentence 1 is 2 3 END, not 2 3 END 3 END 4; only PAD comes after END",
    ),
    "always to the limit": (decoding(stop=never), "one sentence: it asks the decoder 6 times, and 3 are enough"),
    "END is not kept": (
        decoding(mark=lambda word, over: word.masked_fill(over | (word == END), PAD)),
        "one sentence, limit 6: sentence 1 is 2 3 END, not 2 3 PAD; END belongs to the sentence",
    ),
    "words after END": (
        decoding(mark=lambda word, over: word),
        "three sentences, limit 8: sentence 1 is 2 END, not 2 END 3 END; only PAD comes after END",
    ),
    "END again and again": (
        decoding(mark=lambda word, over: word.masked_fill(over, END)),
        "three sentences, limit 8: sentence 1 is 2 END, not 2 END END END; only PAD comes after END",
    ),
    "the first END stops all": (
        decoding(stop=lambda over: over.any()),
        "three sentences, limit 8: sentence 1 is 2 END, not 2",
    ),
    "only END now counts": (
        decoding(is_over=lambda over, word: word == END),
        "three sentences, limit 8: sentence 1 is 2 END, not 2 END PAD END",
    ),
    "PAD before the first word": (
        decoding(first=PAD),
        "the next input is the sentence's own last word, and END before",
    ),
    "END fed back": (
        decoding(feed=lambda word, said: torch.full_like(word, END)),
        "one sentence, limit 6: sentence 1 is 2 3 END, not 2 5 5",
    ),
    "one word too many": (
        decoding(within=lambda steps, limit: steps <= limit),
        "a sentence that the limit cuts, limit 3: sentence 1 is 4 3 2, not 4 3 2 4",
    ),
    "one word too few": (
        decoding(within=lambda steps, limit: steps < limit - 1),
        "END as the last word, limit 3: sentence 1 is 2 3 END, not 2 3",
    ),
    "no end at all": (
        decoding(stop=never, within=lambda steps, limit: True),
        f"it asks the decoder more than {MOST_CALLS} times; it must stop at the limit",
    ),
    "words without a row": (
        lambda decoder, state, limit: decoder(torch.full((state.shape[1],), END), state),
        "the decoder takes words of shape (t, 1), got (1,)",
    ),
    "transposed": (
        lambda *arguments: seq2seq.greedy(*arguments).T,
        "one sentence: expected integers of shape (words, 1), got torch.int64 of shape (1, 3)",
    ),
    "scores": (
        lambda *arguments: seq2seq.greedy(*arguments).float(),
        "expected integers of shape (words, 1), got torch.float32 of shape (3, 1)",
    ),
    "a list": (lambda *arguments: seq2seq.greedy(*arguments).tolist(), "shape (words, 1), got list"),
    "nothing": (lambda *arguments: None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_DECODING.values(), ids=WRONG_DECODING)
def test_wrong_decoding_is_told(ask, answer, message):
    assert message in ask(exercise, "greedy_to_the_end", answer)


# --- bags of groups of words


def groups(words, n):
    return zip(*(words[i:] for i in range(n)), strict=False)


def by_zip(review, n):
    return Counter(group for k in range(1, n + 1) for words in review for group in groups(words, k))


def in_a_dict(review, n):
    counts = {}
    for words in review:
        for k in range(1, n + 1):
            for i in range(len(words) - k + 1):
                group = tuple(words[i : i + k])
                counts[group] = counts.get(group, 0) + 1
    return counts


RIGHT_BAGS = {
    "Counter": by_zip,
    "dict": in_a_dict,
    "strings": lambda review, n: {" ".join(group): count for group, count in by_zip(review, n).items()},
    "a list of all": lambda review, n: list(by_zip(review, n).elements()),
    "a list of lists": lambda review, n: [list(group) for group in by_zip(review, n).elements()],
    "a generator": lambda review, n: (" ".join(group) for group in by_zip(review, n).elements()),
    "with zeros": lambda review, n: {**by_zip(review, n), ("ugly",): 0},
}


@pytest.mark.parametrize("answer", RIGHT_BAGS.values(), ids=RIGHT_BAGS)
def test_bags_are_accepted_in_any_container(ask, answer):
    assert ask(exercise, "bag_of_ngrams", answer).startswith("✓ bag_of_ngrams: right on one sentence, single words")


def joined(review, n):
    return by_zip([[word for words in review for word in words]], n)


def by_text(review, n, space=""):
    """Looks for each group in the text of a sentence."""
    bag = Counter()
    for k, words in itertools.product(range(1, n + 1), review):
        text = f" {' '.join(words)} "
        for group in set(groups(words, k)):
            bag[group] += text.count(space + " ".join(group) + space)
    return bag


def emptying(review, n):
    bag = by_zip(review, n)
    for words in review:
        words.clear()
    return bag


WRONG_BAGS = {
    "empties its sentences": (emptying, "one sentence: it changes the review it is given; work on a copy"),
    "empties the review": (
        lambda review, n: Counter(g for _ in range(len(review)) for g in by_zip([review.pop()], n).elements()),
        "one sentence: it changes the review it is given; work on a copy",
    ),
    "crosses sentences": (joined, "'good bad' occurs 0 times, not 1; no group spans two sentences"),
    "n only": (
        lambda review, n: Counter(g for words in review for g in groups(words, n)),
        "one sentence: 'bad' occurs 1 times, not 0",
    ),
    "up to n − 1": (lambda review, n: by_zip(review, n - 1), "'but not' occurs 1 times, not 0"),
    "up to n + 1": (lambda review, n: by_zip(review, n + 1), "'but not bad' occurs 0 times, not 1"),
    "presence": (lambda review, n: dict.fromkeys(by_zip(review, n), 1), "'not' occurs 2 times, not 1"),
    "a set": (lambda review, n: set(by_zip(review, n)), "'not' occurs 2 times, not 1"),
    "without order": (
        lambda review, n: Counter(tuple(sorted(g)) for g in by_zip(review, n).elements()),
        "one sentence: 'bad not' occurs 0 times, not 1",
    ),
    "the last group is missing": (
        lambda review, n: by_zip([words[:-1] for words in review], n),
        "'bad' occurs 1 times",
    ),
    "a repeated sentence once": (
        lambda review, n: by_zip({tuple(words) for words in review}, n),
        "a sentence twice: 'good' occurs 2 times, not 1",
    ),
    "up to four words": (
        lambda review, n: by_zip(review, min(n, 4)),
        "groups of up to eight: .* occurs 1 times, not 0",
    ),
    "letters inside words": (by_text, "words inside words: 'in' occurs 2 times, not 4"),
    "groups may not overlap": (
        lambda review, n: by_text(review, n, space=" "),
        "words inside words: 'no' occurs 3 times, not 2",
    ),
    "skips words": (
        lambda review, n: Counter(
            g for words in review for k in range(1, n + 1) for g in itertools.combinations(words, k)
        ),
        "occurs",
    ),
    "a number": (lambda review, n: 3, "expected how often each group occurs, got int"),
    "numbers": (lambda review, n: [3, 4, 5], "expected groups of words, such as .*, got 3"),
    "nothing": (lambda review, n: None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_BAGS.values(), ids=WRONG_BAGS)
def test_a_wrong_bag_is_told(ask, answer, message):
    assert re.search(message, ask(exercise, "bag_of_ngrams", answer))


# --- two sentences that fool bigrams

RIGHT_PAIRS = [
    ("so not good but so good", "so good but so not good"),
    ("So not good but so good", "So good but so not good"),
    ("So not good, but so good.", "So good, but so not good."),
    ("so good although so not good", "so not good although so good"),
    (["very", "hardly", "bad", "but", "very", "bad"], ["very", "bad", "but", "very", "hardly", "bad"]),
]


@pytest.mark.parametrize("pair", RIGHT_PAIRS)
def test_pairs_are_accepted(ask, pair):
    assert "✓ fool_bigrams: two sentences of 6 words" in ask(exercise, "fool_bigrams", lambda: pair)


WRONG_PAIRS = {
    "different words": (("so good but bad", "so bad but fine"), "the words differ: 'good' occurs 1 times in one and 0"),
    "other bigrams": (("good but bad", "bad but good"), "the bigrams differ: 'but bad' occurs 1 times in one and 0"),
    "one verdict": (
        ("so good but so good", "so good but so good"),
        "both sentences praise: their verdicts must differ",
    ),
    "longer than need be": (
        ("it is so not good but it is so good", "it is so good but it is so not good"),
        "this pair fools bigrams, with 10 words; there is a pair with fewer",
    ),
    "no contrast": (("not good", "good not"), "'not good' has no contrast: one of but and although is wanted"),
    "one clause": (
        ("all not all good all", "all good all not all"),
        "'all not all good all' has no contrast: one of but and although is wanted, between two clauses",
    ),
    "no adjective": (("so but good", "good but so"), "the course's rule cannot read it: words: expected one adjective"),
    "two contrasts": (("good but bad but good", "bad but good but good"), "expected one of but and although at most"),
    "one sentence": (("so good but so bad",), "expected two sentences, got tuple"),
    "a string": ("so good but so bad", "expected two sentences, got str"),
    "numbers": ((1, 2), "expected a sentence as a string, got int"),
    "nothing": (None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("pair", "message"), WRONG_PAIRS.values(), ids=WRONG_PAIRS)
def test_a_wrong_pair_is_told(ask, pair, message):
    assert message in ask(exercise, "fool_bigrams", lambda: pair)


def test_no_shorter_pair_exists():
    """All sentences of fewer words, where one word stands for all that play the same part.

    Two adjectives of each sign and two negations would add nothing: with other words the two sentences differ in more
    bigrams. Words without a meaning: two different ones.
    """
    words = ("good", "fine", "bad", "dull", "not", "hardly", "but", "although", "so", "very")
    verdicts = {}
    for length in range(3, FEWEST):
        for sentence in itertools.product(words, repeat=length):
            if sum(word in ("but", "although") for word in sentence) != 1:
                continue
            try:
                praise = verdict(sentence)
            except ValueError:
                continue
            bag = frozenset(bag_of_ngrams([list(sentence)], 2).items())
            verdicts.setdefault(bag, set()).add(praise)
    assert len(verdicts) > 500
    assert all(len(it) == 1 for it in verdicts.values())


# --- the log-probability of sentences


def shifted(target, first=END):
    return torch.cat([torch.full_like(target[:1], first), target[:-1]])


def logs(decoder, state, target, first=END):  # (t, n)
    scores, _ = decoder(shifted(target, first), state)
    return scores.log_softmax(dim=2).gather(2, target[..., None])[..., 0]


def without_padding(log_p, target):
    return log_p.masked_fill(target == PAD, 0.0)


def by_cross_entropy(decoder, state, target):
    scores, _ = decoder(shifted(target), state)
    loss = F.cross_entropy(scores.flatten(0, 1), target.flatten(), ignore_index=PAD, reduction="none")
    return -loss.view(target.shape).sum(dim=0)


def word_by_word(decoder, state, target):
    total, word = torch.zeros(target.shape[1]), torch.full_like(target[:1], END)
    for row in target:
        scores, state = decoder(word, state)
        log_p = scores[0].log_softmax(dim=1)[torch.arange(len(row)), row]
        total = total + torch.where(row == PAD, 0.0, log_p)
        word = row[None]
    return total


def one_by_one(decoder, state, target):
    columns = [column[column != PAD][:, None] for column in target.T]
    losses = [seq2seq.teacher_forcing_loss(decoder, state[:, k : k + 1], it) for k, it in enumerate(columns)]
    return -torch.stack([loss * len(it) for loss, it in zip(losses, columns, strict=True)])


RIGHT_LOG_P = {
    "masked": lambda decoder, state, target: without_padding(logs(decoder, state, target), target).sum(dim=0),
    "cross-entropy": by_cross_entropy,
    "word by word": word_by_word,
    "sentence by sentence": one_by_one,
    "without gradients, in double": lambda *arguments: by_cross_entropy(*arguments).detach().double(),
}


@pytest.mark.parametrize("answer", RIGHT_LOG_P.values(), ids=RIGHT_LOG_P)
def test_log_p_is_accepted_in_any_form(ask, answer):
    assert ask(exercise, "log_probability", answer).startswith("✓ log_probability: right on one sentence, three")


def test_asking_for_log_p_draws_no_random_numbers(ask):
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    ask(exercise, "log_probability", by_cross_entropy)
    assert torch.equal(torch.rand(2), wanted)


def mean_log_p(decoder, state, target):
    return by_cross_entropy(decoder, state, target) / (target != PAD).sum(dim=0)


def without_end(decoder, state, target):
    return without_padding(logs(decoder, state, target), target).masked_fill(target == END, 0.0).sum(dim=0)


def unshifted(decoder, state, target):
    scores, _ = decoder(target, state)
    log_p = scores.log_softmax(dim=2).gather(2, target[..., None])[..., 0]
    return without_padding(log_p, target).sum(dim=0)


def nothing_before_the_first(decoder, state, target):
    scores, _ = decoder(target[:-1], state)
    log_p = scores.log_softmax(dim=2).gather(2, target[1:, :, None])[..., 0]
    return without_padding(log_p, target[1:]).sum(dim=0)


def scores_alone(decoder, state, target):
    scores, _ = decoder(shifted(target), state)
    return without_padding(scores.gather(2, target[..., None])[..., 0], target).sum(dim=0)


def marks_padding_in_place(decoder, state, target):
    scores, _ = decoder(shifted(target), state)
    target[target == PAD] = -100  # what cross_entropy ignores
    return -F.cross_entropy(scores.permute(1, 2, 0), target.T, reduction="none").sum(dim=1)


def from_nothing(decoder, state, target):
    return by_cross_entropy(decoder, torch.zeros_like(state), target)


WRONG_LOG_P = {
    "the mean": (mean_log_p, "one sentence: log p of 2 3 4 END is .*; add the logarithms, the mean is not wanted"),
    "END left out": (without_end, "one sentence: log p of 2 3 4 END is "),
    "PAD counted": (
        lambda *arguments: logs(*arguments).sum(dim=0),
        "three sentences: log p of END is .*, not -inf; PAD has probability 0: set its logarithm to 0",
    ),
    "PAD times 0": (
        lambda decoder, state, target: (logs(decoder, state, target) * (target != PAD)).sum(dim=0),
        "three sentences: log p of END is .*, not nan; PAD has probability 0: set its logarithm to 0",
    ),
    "no shift": (unshifted, "one sentence: log p of 2 3 4 END is "),
    "PAD before the first word": (
        lambda decoder, state, target: without_padding(logs(decoder, state, target, PAD), target).sum(dim=0),
        "one sentence: log p of 2 3 4 END is ",
    ),
    "nothing before the first word": (nothing_before_the_first, "one sentence: log p of 2 3 4 END is "),
    "scores, not probabilities": (scores_alone, "one sentence: log p of 2 3 4 END is "),
    "without the state": (from_nothing, "one sentence: log p of 2 3 4 END is "),
    "the probability": (lambda *arguments: by_cross_entropy(*arguments).exp(), "; the logarithm is wanted"),
    "the loss": (lambda *arguments: -by_cross_entropy(*arguments), "; log p is never above 0"),
    "one number for all": (
        lambda *arguments: by_cross_entropy(*arguments).sum(),
        r"one sentence: expected numbers of shape \(1,\), one for each sentence, got torch.float32 of shape \(\)",
    ),
    "a number for each word": (
        lambda decoder, state, target: without_padding(logs(decoder, state, target), target),
        r"one sentence: expected numbers of shape \(1,\), one for each sentence, got torch.float32 of shape \(4, 1\)",
    ),
    "a list": (lambda *arguments: by_cross_entropy(*arguments).tolist(), "one for each sentence, got list"),
    "changes the target": (marks_padding_in_place, "three sentences: it changes its argument in place"),
    "nothing": (lambda *arguments: None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_LOG_P.values(), ids=WRONG_LOG_P)
def test_a_wrong_log_p_is_told(ask, answer, message):
    assert re.search(message, ask(exercise, "log_probability", answer))


# --- a direction held


def hold_with(pick, shape=lambda held: held):
    """An answer that says of each step in view its direction, and of the others what `pick` says."""

    def answer(directions, in_view):
        held = directions.clone()
        for k in range(directions.shape[1]):
            for t in range(1, len(directions)):
                if not in_view[t, k]:
                    held[t, k] = pick(directions[:, k], in_view[:, k], held[:, k], t)
        return shape(held)

    return answer


def row_by_row(directions, in_view):
    rows = [directions[0]]
    for direction, seen in zip(directions[1:], in_view[1:], strict=True):
        rows.append(torch.where(seen, direction, rows[-1]))
    return torch.stack(rows)


RIGHT_HOLDS = {
    "row by row": row_by_row,
    "step by step": hold_with(lambda given, seen, held, t: held[t - 1]),
    "a search backwards": hold_with(lambda given, seen, held, t: given[: t + 1][seen[: t + 1]][-1]),
    "in small integers": hold_with(lambda given, seen, held, t: held[t - 1], shape=lambda held: held.to(torch.int32)),
}


@pytest.mark.parametrize("answer", RIGHT_HOLDS.values(), ids=RIGHT_HOLDS)
def test_a_direction_held_is_accepted_in_any_form(ask, answer):
    assert (
        ask(exercise, "hold", answer)
        == "✓ hold: right on one film, three films that hide nothing, five films, a long film"
    )


def next_in_view(given, seen, held, t):
    later = given[t:][seen[t:]]
    return later[0] if len(later) else held[t - 1]


def along_the_films(directions, in_view):
    return row_by_row(directions.T, in_view.T).T


def in_place(directions, in_view):
    for t in range(1, len(directions)):
        directions[t] = torch.where(in_view[t], directions[t], directions[t - 1])
    return directions


def one_memory_for_all(directions, in_view):
    held, memory = directions.clone(), 0
    for t in range(len(held)):
        for k in range(held.shape[1]):
            memory = directions[t, k] if in_view[t, k] else memory
            held[t, k] = memory
    return held


LAST_STEP = "; the direction wanted is that of the last step in view"
WRONG_HOLDS = {
    "as given": (lambda directions, in_view: directions, r"wrong on one film: at index \(1, 0\) .*" + LAST_STEP),
    "the direction given last": (
        hold_with(lambda given, seen, held, t: given[t - 1]),
        "wrong on one film: .*" + LAST_STEP,
    ),
    "the next step in view": (hold_with(next_in_view), "wrong on one film: .*" + LAST_STEP),
    "seven steps back at most": (
        hold_with(
            lambda given, seen, held, t: next((given[s] for s in range(t - 1, max(t - 8, -1), -1) if seen[s]), given[t])
        ),
        "right on one film, .*; wrong on a long film: .*" + LAST_STEP,
    ),
    "the first direction": (hold_with(lambda given, seen, held, t: given[0]), "wrong on one film: .*" + LAST_STEP),
    "the most frequent so far": (
        hold_with(lambda given, seen, held, t: given[:t][seen[:t]].mode().values),
        "wrong on .*" + LAST_STEP,
    ),
    "along the films": (along_the_films, "wrong on one film: .*" + LAST_STEP),
    "one memory for all films": (one_memory_for_all, "right on one film, .*; wrong on five films: .*" + LAST_STEP),
    "in place": (in_place, "right on one film, but it changes its argument in place"),
    "the last step alone": (lambda *films: row_by_row(*films)[-1], r"expected shape \(6, 1\), got \(1,\)"),
    "transposed": (lambda *films: row_by_row(*films).T, r"expected shape \(6, 1\), got \(1, 6\)"),
    "nothing": (lambda *films: None, "it returns nothing yet"),
}


@pytest.mark.parametrize(("answer", "message"), WRONG_HOLDS.values(), ids=WRONG_HOLDS)
def test_a_wrong_direction_is_told(ask, answer, message):
    assert re.search(message, ask(exercise, "hold", answer))
