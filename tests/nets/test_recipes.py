import hashlib
import json
import os
import signal
from dataclasses import asdict, replace

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from coursekit import nets
from coursekit.datasets import ImageSet
from coursekit.errors import CourseError
from coursekit.nets import recipes

PROMISED = {"convnetjs": 0.74, "residual": 0.88}  # the test accuracy that the course says its nets have


@pytest.fixture(scope="module")
def tiny():
    """Noisy images 32×32 of three kinds, red, green and blue: a net learns them in a few steps."""
    labels = torch.arange(190) % 3
    noise = torch.rand(190, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    images = 0.5 * (noise + torch.eye(3)[labels][:, :, None, None])
    return ImageSet("tiny", images[:140], labels[:140], images[140:], labels[140:], ("red", "green", "blue"))


def as_json(recipe):
    """The recipe as a card holds it: lists instead of tuples."""
    return json.loads(json.dumps(asdict(recipe)))


def train(tiny, folder, name="convnetjs", **settings):
    settings = {"epochs": 3, "device": "cpu", "report": lambda text: None} | settings
    return recipes.train(name, tiny, folder, **settings)


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
    assert card["recipe"] == as_json(recipes.RECIPES["convnetjs"])
    assert card["epochs"] == 3
    assert (card["net"], card["data"], card["seed"], card["parameters"]) == ("convnetjs", "tiny", 0, 22_466)
    content = (trained / "convnetjs.safetensors").read_bytes()
    assert card["sha256"] == hashlib.sha256(content).hexdigest()
    assert card["made_with"].keys() == {"torch", "device", "threads", "minutes"}


def test_the_learning_rate_runs_straight_from_knot_to_knot():
    rate = recipes.Rate([0, 10, 30], [0.1, 0.5, 0.0])
    assert [rate(0), rate(5), rate(10), rate(20), rate(30)] == pytest.approx([0.1, 0.3, 0.5, 0.25, 0.0])


def test_weights_are_stored_in_half_precision_and_judged_as_stored(tiny, tmp_path, monkeypatch):
    judged = []
    judge = recipes.accuracy

    def spy(net, images, labels):
        assert not net.training
        judged.append({key: x.clone() for key, x in net.state_dict().items()})
        return judge(net, images, labels)

    monkeypatch.setattr(recipes, "accuracy", spy)
    card = train(tiny, tmp_path, epochs=1)
    stored = load_file(tmp_path / "convnetjs.safetensors")
    assert {x.dtype for x in stored.values()} == {torch.float16}
    trained, judged_last = judged
    assert not torch.equal(trained["conv1.weight"], judged_last["conv1.weight"])
    torch.testing.assert_close(judged_last, {key: x.float() for key, x in stored.items()}, rtol=0, atol=0)
    net = nets.pretrained("convnetjs", tmp_path)
    right = (net(tiny.test_images).argmax(1) == tiny.test_labels).float().mean().item()
    assert card["test_accuracy"] == round(right, 4)


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_a_run_that_is_stopped_and_resumed_gives_the_same_weights(tiny, tmp_path, name):
    whole = train(tiny, tmp_path / "whole", name, epochs=2)
    with pytest.raises(KeyboardInterrupt):
        train(tiny, tmp_path / "stopped", name, epochs=2, report=stop_after(1))
    assert [path.name for path in (tmp_path / "stopped").iterdir()] == [f"{name}.checkpoint"]
    said = []
    resumed = train(tiny, tmp_path / "stopped", name, epochs=2, report=said.append)
    assert "holds 2 of 4 steps: going on from there" in said[0]
    assert [text.split(":")[0] for text in said[1:]] == ["epoch 2 of 2"]
    assert resumed["sha256"] == whole["sha256"]


def test_another_seed_gives_other_weights_and_the_same_one_the_same(tiny, tmp_path, trained):
    expected = nets.card("convnetjs", trained)["sha256"]
    assert train(tiny, tmp_path / "same")["sha256"] == expected
    assert train(tiny, tmp_path / "other", seed=1)["sha256"] != expected


def test_a_net_learns_what_can_be_learnt(tiny, tmp_path, monkeypatch):
    gentle = replace(recipes.RECIPES["convnetjs"], schedule=((0, 0.01), (30, 0.0)))  # 40 steps, not 10 000
    monkeypatch.setitem(recipes.RECIPES, "convnetjs", gentle)
    assert train(tiny, tmp_path, epochs=20)["test_accuracy"] == 1.0


def test_every_epoch_is_told_with_its_accuracy(tiny, tmp_path):
    said = []
    train(tiny, tmp_path, epochs=2, report=said.append)
    assert [text[:13] for text in said] == ["epoch 1 of 2:", "epoch 2 of 2:"]
    assert all(text.endswith("% of the test images right") for text in said)


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
    assert card["sha256"] == nets.card("convnetjs", trained)["sha256"]
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
    with pytest.raises(ValueError, match="unknown recipe 'convnet': did you mean convnetjs"):
        train(tiny, tmp_path, "convnet")
    with pytest.raises(ValueError, match="expected at least one epoch, got 0"):
        train(tiny, tmp_path, epochs=0)
    with pytest.raises(ValueError, match="unknown device 'gpu'"):
        train(tiny, tmp_path, device="gpu")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told_before_any_training(tiny, tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(CourseError, match=r"nothing can be written to .*file.*Choose another: --out"):
            train(tiny, folder)


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
    assert card["sha256"] == nets.card("convnetjs", trained)["sha256"]


# --- augment


@pytest.mark.parametrize(("shape", "shift"), [((3, 6, 6), 2), ((1, 5, 7), 1), ((2, 9, 8), 3), ((3, 6, 6), 0)])
def test_augment_mirrors_and_moves_each_image_as_a_whole(shape, shift):
    _, h, w = shape
    images = torch.rand(400, *shape)
    found = set()
    for image, got in zip(images, recipes.augment(images, shift), strict=True):
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
    rising = recipes.augment(ramp, 0)[:, 0, 0, 7] == 7
    assert abs(rising.float().mean() - 0.5) < 5 * 0.5 / 2000**0.5
    assert len(recipes.augment(torch.rand(1, 1, 8, 8).expand(500, 1, 8, 8), 2).unique(dim=0)) == 2 * 5 * 5


def test_accuracy_counts_every_image_once():
    labels = torch.arange(1203) % 10
    images = torch.zeros(1203, 10, 1, 1)
    images[torch.arange(1203), (labels + (torch.arange(1203) >= 900)) % 10] = 1.0  # the first 900 are right
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(10, 10, bias=False))
    torch.nn.init.eye_(net[1].weight)
    assert recipes.accuracy(net, images, labels) == 900 / 1203


# --- the weights of the course


def test_every_net_has_a_recipe():
    assert recipes.RECIPES.keys() == nets.NETS.keys() == PROMISED.keys()


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_committed_weights_are_those_of_the_recipe_and_as_good_as_promised(name):
    card = nets.card(name)
    assert card["recipe"] == as_json(recipes.RECIPES[name])
    assert card["epochs"] == recipes.RECIPES[name].epochs
    assert (card["net"], card["data"]) == (name, "cifar10")
    assert card["test_accuracy"] >= PROMISED[name]
    net = nets.pretrained(name)  # compares the SHA-256
    assert card["parameters"] == sum(p.numel() for p in net.parameters())
    assert all(x.isfinite().all() for x in net.state_dict().values())


def test_all_committed_weights_together_are_small():
    files = list(nets.weights_folder().glob("*"))
    assert sum(path.stat().st_size for path in files) < 4e6
    assert {path.stem for path in files} == set(nets.NETS)
