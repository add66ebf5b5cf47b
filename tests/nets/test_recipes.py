import hashlib
import json
import os
import platform
import signal
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from coursekit import datasets, nets
from coursekit.datasets import ImageDataset, LabelledImages, TextDataset
from coursekit.errors import CourseError
from coursekit.files import locked
from coursekit.nets.recipes import RECIPES, Recipe, follow
from coursekit.nets.recipes.char_rnn import RECIPE as CHAR_RNN
from coursekit.nets.recipes.classification import Settings, augment, cifar10_classifier, start

# What the course says of its trained nets: the data of each, and the range of every measure on its card.
PROMISED = {
    "convnetjs": ("cifar10", {"test_accuracy": (0.74, 1)}),
    "residual": ("cifar10", {"test_accuracy": (0.88, 1)}),
    "char_rnn": ("stdlib_text", {"validation_loss": (0, 1.58)}),
    "mnist_classifier": ("mnist", {"test_accuracy": (0.99, 1)}),
    "mnist_gan": (
        "mnist",
        {
            "confidence": (0.9, 1),
            "smallest_class": (0.04, 0.1),
            "coverage": (0.5, 1),
            "nearer_to_training": (0.4, 0.6),
        },
    ),
}


@pytest.fixture(scope="module")
def tiny():
    """Noisy images 32×32 of three kinds, red, green and blue: a net learns them in a few steps."""
    labels = torch.arange(190) % 3
    noise = torch.rand(190, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    images = 0.5 * (noise + torch.eye(3)[labels][:, :, None, None])
    whole = LabelledImages(images, labels, ("red", "green", "blue"))
    return ImageDataset("tiny", whole[:140], whole[140:])


def as_json(recipe):
    """The recipe as a card holds it: lists instead of tuples."""
    return json.loads(json.dumps({"about": recipe.about, **recipe.settings}))


def train(tiny, folder, recipe=RECIPES["convnetjs"], **settings):
    settings = {"epochs": 3, "device": "cpu", "report": lambda text: None} | settings
    return follow.train(replace(recipe, data="tiny", load=lambda: tiny), folder, **settings)


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    """The folder of a whole run."""
    folder = tmp_path_factory.mktemp("trained") / "new" / "folder"
    train(tiny, folder)
    return folder


def stop_after(epoch):
    """A reporter that presses Ctrl-C when that epoch is told."""

    def report(text):
        if text.startswith(f"epoch {epoch} "):
            signal.raise_signal(signal.SIGINT)

    return report


# --- runs


def test_a_run_leaves_weights_and_a_card_and_nothing_else(trained):
    assert sorted(path.name for path in trained.iterdir()) == ["convnetjs.json", "convnetjs.safetensors"]
    card = nets.card("convnetjs", trained)
    assert card.recipe == as_json(RECIPES["convnetjs"])
    assert card.epochs == 3
    assert (card.net, card.data, card.seed, card.parameters) == ("convnetjs", "tiny", 0, 22_466)
    content = (trained / "convnetjs.safetensors").read_bytes()
    assert card.sha256 == hashlib.sha256(content).hexdigest()
    made_with = card.made_with
    assert made_with.python == platform.python_version()
    assert (made_with.torch, made_with.device) == (torch.__version__, "cpu")
    assert (made_with.threads, made_with.minutes) == (torch.get_num_threads(), pytest.approx(0, abs=1))


def test_the_learning_rate_runs_straight_from_knot_to_knot_and_is_stretched_to_the_run():
    settings = Settings(schedule=((0, 0.1), (1, 0.5), (3, 0.0)), shift=0)
    net = nets.convnet(3, 8, 3, widths=(2,))
    step, state = start(net, 30, settings)
    rates = []
    for _ in range(30):
        rates.append(state["optimizer"].param_groups[0]["lr"])
        step(torch.rand(2, 3, 8, 8), torch.tensor([0, 1]))
    assert [rates[i] for i in (0, 5, 10, 20)] == pytest.approx([0.1, 0.3, 0.5, 0.25])
    assert state["optimizer"].param_groups[0]["lr"] == 0


def test_weights_are_stored_in_half_precision_and_judged_as_stored(tiny, tmp_path):
    judged = []
    recipe = RECIPES["convnetjs"]

    def spy(net, data):
        assert not net.training
        judged.append({key: x.clone() for key, x in net.state_dict().items()})
        return recipe.measure(net, data)

    card = train(tiny, tmp_path, replace(recipe, measure=spy), epochs=1)
    stored = load_file(tmp_path / "convnetjs.safetensors")
    assert {x.dtype for x in stored.values()} == {torch.float16}
    trained, judged_last = judged
    assert not torch.equal(trained["conv1.weight"], judged_last["conv1.weight"])
    torch.testing.assert_close(judged_last, {key: x.float() for key, x in stored.items()}, rtol=0, atol=0)
    net = nets.pretrained("convnetjs", tmp_path)
    right = (net(tiny.test.images).argmax(1) == tiny.test.labels).float().mean().item()
    assert card.measured == {"test_accuracy": round(right, 4)}


@pytest.mark.parametrize("name", ["convnetjs", "residual"])
def test_a_run_that_is_stopped_and_resumed_gives_the_same_weights(tiny, tmp_path, name):
    whole = train(tiny, tmp_path / "whole", RECIPES[name], epochs=2)
    with pytest.raises(KeyboardInterrupt):
        train(tiny, tmp_path / "stopped", RECIPES[name], epochs=2, report=stop_after(1))
    assert [path.name for path in (tmp_path / "stopped").iterdir()] == [f"{name}.checkpoint"]
    said = []
    resumed = train(tiny, tmp_path / "stopped", RECIPES[name], epochs=2, report=said.append)
    assert "holds 2 of 4 steps: going on from there" in said[0]
    assert [text.split(":")[0] for text in said[1:]] == ["epoch 2 of 2"]
    assert resumed.sha256 == whole.sha256


@pytest.fixture(scope="module")
def tiny_text():
    """A text in which every letter follows from the one before."""
    characters = CHAR_RNN.build().alphabet.characters
    return TextDataset("tiny", "hello, world.\n" * 2000, "world.\nhello, " * 200, characters)


def test_the_character_model_learns_a_text_and_goes_on_where_it_was_stopped(tiny_text, tmp_path):
    recipe = replace(CHAR_RNN, load=lambda: tiny_text)
    settings = {"epochs": 6, "device": "cpu"}
    said = []
    whole = follow.train(recipe, tmp_path / "whole", report=said.append, **settings)
    assert said[-1].startswith("epoch 6 of 6: ")
    assert said[-1].endswith(" nats per character of unseen modules")
    assert whole.measured["validation_loss"] < 2.5 < 4.5  # log 96, of a model that knows nothing
    with pytest.raises(KeyboardInterrupt):
        follow.train(recipe, tmp_path / "stopped", report=stop_after(2), **settings)
    resumed = follow.train(recipe, tmp_path / "stopped", report=said.append, **settings)
    assert resumed.sha256 == whole.sha256


@pytest.mark.parametrize("name", ["mnist_classifier", "mnist_gan"])
def test_the_nets_of_digits_go_on_where_they_were_stopped(tmp_path, name):
    whole = LabelledImages(torch.rand(80, 1, 28, 28), torch.arange(80) % 10, tuple("0123456789"))
    recipe = replace(
        RECIPES[name],
        load=lambda: ImageDataset("tiny", whole, whole),
        measure=lambda net, data: {"weights": float(sum(p.numel() for p in net.parameters()))},
        summary="{weights} weights",
    )
    settings = {"epochs": 2, "device": "cpu"}
    said = []
    expected = follow.train(recipe, tmp_path / "whole", report=said.append, **settings).sha256
    with pytest.raises(KeyboardInterrupt):
        follow.train(recipe, tmp_path / "stopped", report=stop_after(1), **settings)
    assert follow.train(recipe, tmp_path / "stopped", report=said.append, **settings).sha256 == expected


def test_a_generator_is_judged_by_the_courses_classifier():
    players = RECIPES["mnist_gan"].build().eval()
    digits = datasets.mnist_sample().test
    measured = RECIPES["mnist_gan"].measure(players, ImageDataset("few", digits[:200], digits[200:400]))
    assert 0.1 <= measured["confidence"] <= 1
    assert measured["smallest_class"] == 0  # an untrained net does not draw ten classes
    assert measured["coverage"] < 0.1
    assert 0 <= measured["nearer_to_training"] <= 1


def test_another_seed_gives_other_weights_and_the_same_one_the_same(tiny, tmp_path, trained):
    expected = nets.card("convnetjs", trained).sha256
    assert train(tiny, tmp_path / "same").sha256 == expected
    assert train(tiny, tmp_path / "other", seed=1).sha256 != expected


def test_a_net_learns_what_can_be_learnt(tiny, tmp_path):
    gentle = Settings(schedule=((0, 0.01), (30, 0.0)), shift=2)  # 40 steps, not 10 000
    recipe = cifar10_classifier("convnetjs", "gently", nets.convnetjs, gentle)
    assert train(tiny, tmp_path, recipe, epochs=20).measured["test_accuracy"] == 1.0


def test_every_epoch_is_told_with_its_accuracy(tiny, tmp_path):
    said = []
    train(tiny, tmp_path, epochs=2, report=said.append)
    assert [text[:13] for text in said] == ["epoch 1 of 2:", "epoch 2 of 2:"]
    assert all(text.endswith("% of the test images correctly classified") for text in said)


# --- a recipe of another kind: two nets that learn in turn, from text, measured by two numbers


class Pair(nn.Module):
    """A model of the next letter and a critic, each with weights and an optimizer of its own."""

    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(nn.Embedding(4, 8), nn.Linear(8, 4))
        self.critic = nn.Linear(4, 1)


def start_pair(pair, steps):
    optimizers = {name: torch.optim.Adam(net.parameters(), lr=0.05) for name, net in pair.named_children()}

    def step(letters, following):
        optimizers["critic"].zero_grad()
        criticism = pair.critic(pair.model(letters).detach()).square().mean()
        criticism.backward()
        optimizers["critic"].step()

        optimizers["model"].zero_grad()
        loss = F.cross_entropy(pair.model(letters), following)
        loss.backward()
        optimizers["model"].step()
        return {"loss": loss, "criticism": criticism}

    return step, {"pair": pair, **optimizers}


def measure_pair(pair, text):
    loss = F.cross_entropy(pair.model(text[:-1]), text[1:])
    return {"nats": loss.item(), "bits": loss.item() / 0.6931}


LETTERS = Recipe(
    name="letters",
    about="a model of the next letter and its critic",
    data="alphabet",
    load=lambda: torch.arange(200) % 4,
    samples=lambda text: (text[:-1], text[1:]),
    build=Pair,
    start=start_pair,
    epochs=5,
    batch_size=20,
    measure=measure_pair,
    summary="{nats:.3f} nats a letter",
    settings={"lr": 0.05},
)


def test_a_recipe_may_train_several_nets_on_other_data_by_other_measures(tmp_path, monkeypatch):
    said = []
    card = follow.train(LETTERS, tmp_path / "whole", device="cpu", report=said.append)
    assert len(said) == 5
    assert said[-1] == f"epoch 5 of 5: {card.measured['nats']:.3f} nats a letter"
    assert card.measured["nats"] < 0.2 < 1.3863  # log 4, of a model that knows nothing
    assert (card.data, card.recipe) == ("alphabet", {"about": LETTERS.about, "lr": 0.05})

    with pytest.raises(KeyboardInterrupt):
        follow.train(LETTERS, tmp_path / "stopped", device="cpu", report=stop_after(2))
    assert follow.train(LETTERS, tmp_path / "stopped", device="cpu", report=said.append).sha256 == card.sha256

    monkeypatch.setitem(RECIPES, "letters", LETTERS)
    pair = nets.pretrained("letters", tmp_path / "whole")
    assert isinstance(pair, Pair)
    assert measure_pair(pair, LETTERS.load())["nats"] == pytest.approx(card.measured["nats"], abs=1e-4)


# --- what is refused


def test_weights_that_are_there_are_replaced_only_when_asked(tiny, tmp_path, trained):
    for name in ("convnetjs.safetensors", "convnetjs.json"):
        (tmp_path / name).write_text("somebody's", encoding="utf-8")
        with pytest.raises(
            CourseError, match=rf"{name} is there already: choose another folder with --out, or .*--update"
        ):
            train(tiny, tmp_path)
        assert (tmp_path / name).read_text(encoding="utf-8") == "somebody's"
        (tmp_path / name).rename(tmp_path / "kept")
    (tmp_path / "kept").rename(tmp_path / "convnetjs.safetensors")
    card = train(tiny, tmp_path, update=True)
    assert card.sha256 == nets.card("convnetjs", trained).sha256
    assert nets.pretrained("convnetjs", tmp_path)


def test_a_checkpoint_of_another_number_of_epochs_is_refused_and_kept(tiny, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(tiny, tmp_path, report=stop_after(1))
    kept = (tmp_path / "convnetjs.checkpoint").read_bytes()
    for epochs in (2, 5):
        with pytest.raises(CourseError, match="is of a run of another number of epochs: finish that one, or delete it"):
            train(tiny, tmp_path, epochs=epochs)
    with pytest.raises(CourseError, match="is of another run: seed is 0 there, 1 here"):
        train(tiny, tmp_path, seed=1)
    assert (tmp_path / "convnetjs.checkpoint").read_bytes() == kept


def test_what_makes_no_sense_is_refused(tiny, tmp_path):
    with pytest.raises(ValueError, match="epochs: expected an integer from 1 on, got 0"):
        train(tiny, tmp_path, epochs=0)
    with pytest.raises(ValueError, match="seed: expected an integer from 0 to 4294967295, got -1"):
        train(tiny, tmp_path, seed=-1)
    with pytest.raises(ValueError, match="unknown device 'gpu'"):
        train(tiny, tmp_path, device="gpu")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told_before_any_training(tiny, tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(CourseError, match=r"nothing can be written to .*file.*Choose another: --out"):
            train(tiny, folder)


def test_two_runs_in_one_folder_are_refused(tiny, tmp_path, trained):
    with locked(tmp_path) as free:
        assert free
        with pytest.raises(CourseError, match=r"another run is writing to .*: wait for it, or choose .* with --out"):
            train(tiny, tmp_path)
    assert train(tiny, tmp_path).sha256 == nets.card("convnetjs", trained).sha256


def test_a_checkpoint_of_another_recipe_or_a_damaged_one_is_refused_and_kept(tiny, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(tiny, tmp_path, report=stop_after(1))
    checkpoint = tmp_path / "convnetjs.checkpoint"
    whole = checkpoint.read_bytes()
    flipped = bytearray(whole)
    flipped[-5] ^= 1
    checkpoint.write_bytes(flipped)
    with pytest.raises(CourseError, match=r"convnetjs.checkpoint is damaged .*checksum is \w{8}, .* with \w{8}"):
        train(tiny, tmp_path)
    assert checkpoint.read_bytes() == flipped
    (tmp_path / "residual.checkpoint").write_bytes(whole)
    with pytest.raises(CourseError, match=r"residual.checkpoint (is of another run|does not fit)"):
        train(tiny, tmp_path, RECIPES["residual"])
    other = replace(tiny, train=replace(tiny.train, images=1 - tiny.train.images))
    checkpoint.write_bytes(whole)
    with pytest.raises(CourseError, match=r"data\[0\] is .* with checksum \w{8} there, .* with checksum \w{8} here"):
        train(other, tmp_path)


def test_a_full_disk_at_the_end_keeps_the_run_and_the_old_weights(tiny, tmp_path, trained, monkeypatch):
    (tmp_path / "convnetjs.json").write_text("old", encoding="utf-8")

    def full(source, target):
        if str(target).endswith((".json", ".safetensors")):
            raise OSError(28, "No space left on device")
        os.rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(
            CourseError, match=r"(?s)cannot be written: .*No space left.*The run is kept in .*checkpoint"
        ):
            train(tiny, tmp_path, update=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["convnetjs.checkpoint", "convnetjs.json"]
    assert (tmp_path / "convnetjs.json").read_text(encoding="utf-8") == "old"
    said = []
    card = train(tiny, tmp_path, update=True, report=said.append)
    assert [text[-38:] for text in said] == ["holds 6 of 6 steps: going on from there"[-38:]]
    assert card.sha256 == nets.card("convnetjs", trained).sha256


# --- augment


@pytest.mark.parametrize(("shape", "shift"), [((3, 6, 6), 2), ((1, 5, 7), 1), ((2, 9, 8), 3), ((3, 6, 6), 0)])
def test_augment_mirrors_and_moves_each_image_as_a_whole(shape, shift):
    _, h, w = shape
    images = torch.rand(400, *shape)
    found = set()
    for image, got in zip(images, augment(images, shift), strict=True):
        possible = {
            (mirrored, row, column): F.pad(image.flip(2) if mirrored else image, [shift] * 4, mode="reflect")[
                :, row : row + h, column : column + w
            ]
            for mirrored in (False, True)
            for row in range(2 * shift + 1)
            for column in range(2 * shift + 1)
        }
        same = [key for key, candidate in possible.items() if torch.equal(candidate, got)]
        assert len(same) == 1
        found.update(same)
    assert len(found) > 0.9 * 2 * (2 * shift + 1) ** 2  # nearly all moves occur in 400 draws


def test_augment_treats_images_independently_and_mirrors_half_of_them():
    ramp = torch.arange(8.0).expand(2000, 1, 8, 8)
    rising = augment(ramp, 0)[:, 0, 0, 7] == 7
    assert abs(rising.float().mean() - 0.5) < 5 * 0.5 / 2000**0.5
    assert len(augment(torch.rand(1, 1, 8, 8).expand(500, 1, 8, 8), 2).unique(dim=0)) == 2 * 5 * 5


# --- the weights of the course


def test_every_recipe_has_a_promise_and_its_own_name():
    assert RECIPES.keys() == PROMISED.keys()
    assert all(recipe.name == name for name, recipe in RECIPES.items())


@pytest.mark.parametrize("name", RECIPES)
def test_committed_weights_are_those_of_the_recipe_and_as_good_as_promised(name):
    card = nets.card(name)
    assert card.recipe == as_json(RECIPES[name])
    assert card.epochs == RECIPES[name].epochs
    data, promised = PROMISED[name]
    assert (card.net, card.data, RECIPES[name].data) == (name, data, data)
    assert card.measured.keys() == promised.keys()
    for measure, (low, high) in promised.items():
        assert low <= card.measured[measure] <= high
    net = nets.pretrained(name)  # compares the SHA-256
    assert card.parameters == sum(p.numel() for p in net.parameters())
    assert all(x.isfinite().all() for x in net.state_dict().values())


def test_all_committed_weights_together_are_small():
    files = list(nets.weights_folder().glob("*"))
    assert sum(path.stat().st_size for path in files) < 4e6
    assert {path.stem for path in files} == set(RECIPES)
