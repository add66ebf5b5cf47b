import hashlib
import json
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import save
from torch import nn

from coursekit import files, nets
from coursekit.errors import CourseError
from coursekit.nets.weights import Origin, accuracy


@pytest.fixture
def folder(tmp_path):
    """A folder with weights of ``convnetjs``, in half precision, and their card."""
    content = save({key: x.half() for key, x in nets.convnetjs().state_dict().items()})
    (tmp_path / "convnetjs.safetensors").write_bytes(content)
    nets.WeightsCard(
        net="convnetjs",
        data="cifar10",
        recipe={"about": "ten minutes of it", "schedule": [[0, 0.1], [3, 0.0]]},
        epochs=3,
        seed=0,
        parameters=22_466,
        measured={"test_accuracy": 0.5},
        sha256=hashlib.sha256(content).hexdigest(),
        made_with=Origin("3.11.7", "2.13.0", "cpu", threads=1, minutes=10.0),
    ).write(tmp_path / "convnetjs.json")
    return tmp_path


def test_pretrained_is_in_evaluation_mode_in_float32_with_the_stored_weights(folder):
    net = nets.pretrained("convnetjs", folder)
    assert not any(module.training for module in net.modules())
    assert {x.dtype for x in net.state_dict().values()} == {torch.float32}
    again = nets.pretrained("convnetjs", folder)
    torch.testing.assert_close(again.state_dict(), net.state_dict(), rtol=0, atol=0)
    assert torch.equal(net.conv1.weight, net.conv1.weight.half().float())
    assert nets.card("convnetjs", folder).net == "convnetjs"


def test_weights_that_are_not_those_of_the_card_are_refused(folder):
    path = folder / "convnetjs.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # one bit of one weight
    path.write_bytes(content)
    with pytest.raises(
        CourseError, match=r"(?s)is not the file that convnetjs.json describes.*train convnetjs --update"
    ):
        nets.pretrained("convnetjs", folder)
    path.write_bytes(b"")
    with pytest.raises(CourseError, match="differs, 0 bytes"):
        nets.pretrained("convnetjs", folder)


def test_missing_weights_are_told_with_the_command_that_makes_them(folder):
    (folder / "convnetjs.safetensors").unlink()
    with pytest.raises(
        CourseError, match=r"no trained weights at .*convnetjs.safetensors.*`coursekit train convnetjs`"
    ):
        nets.pretrained("convnetjs", folder)
    with pytest.raises(CourseError, match=r"no trained weights at .*residual.json.*`coursekit train residual`"):
        nets.card("residual", folder)


def test_an_unknown_net_is_told_with_near_names(folder):
    for look in (nets.pretrained, nets.card):
        with pytest.raises(ValueError, match="unknown net 'residal': did you mean residual"):
            look("residal", folder)


def test_the_weights_lie_in_the_wheel_or_beside_the_package(monkeypatch, tmp_path):
    beside = nets.weights_folder()
    assert beside.parts[-2:] == ("data", "weights")
    monkeypatch.setattr(files, "__file__", str(tmp_path / "coursekit" / "files.py"))
    assert nets.weights_folder() == tmp_path / "data" / "weights"
    packaged = tmp_path / "coursekit" / "_data" / "weights"
    packaged.mkdir(parents=True)
    assert nets.weights_folder() == packaged


# --- cards


def test_a_card_is_read_as_it_was_written(folder):
    path = folder / "convnetjs.json"
    card = nets.WeightsCard.read(path)
    assert card == nets.card("convnetjs", folder)
    assert json.loads(path.read_text(encoding="utf-8")) == asdict(card)
    card.write(folder / "copy.json")
    assert (folder / "copy.json").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    "damage",
    [
        lambda card: "no JSON",
        lambda card: "[]",
        lambda card: json.dumps({key: value for key, value in card.items() if key != "sha256"}),
        lambda card: json.dumps(card | {"accuracy": 1.0}),
        lambda card: json.dumps(card | {"made_with": {"torch": "2.13.0"}}),
        lambda card: json.dumps({key: value for key, value in card.items() if key != "made_with"}),
    ],
    ids=["text", "list", "lacking", "unknown", "inner", "origin"],
)
def test_a_file_that_is_not_a_card_is_told(folder, damage):
    path = folder / "convnetjs.json"
    path.write_text(damage(json.loads(path.read_text(encoding="utf-8"))), encoding="utf-8")
    with pytest.raises(CourseError, match=r"convnetjs.json is not the card of trained weights: "):
        nets.pretrained("convnetjs", folder)


# --- accuracy


def test_accuracy_counts_every_image_once():
    labels = torch.arange(1203) % 10
    images = torch.zeros(1203, 10, 1, 1)
    images[torch.arange(1203), (labels + (torch.arange(1203) >= 900)) % 10] = 1.0  # the first 900 are right
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(10, 10, bias=False))
    torch.nn.init.eye_(net[1].weight)
    assert nets.accuracy(net, images, labels) == 900 / 1203


def test_accuracy_of_a_net_without_parameters():
    assert nets.accuracy(nn.Flatten(), torch.eye(3).view(3, 3, 1, 1), torch.tensor([0, 1, 0])) == pytest.approx(2 / 3)


IMAGES = torch.eye(3).view(3, 3, 1, 1)


@pytest.mark.parametrize(
    ("images", "labels", "error", "message"),
    [
        (IMAGES[:0], torch.tensor([], dtype=torch.long), ValueError, "images: expected at least one element"),
        (IMAGES.long(), torch.arange(3), TypeError, "images: expected float32 or float64, got int64"),
        (IMAGES / 0, torch.arange(3), ValueError, "images: 9 of 9 numbers are NaN or infinite"),
        (IMAGES[0], torch.arange(3), ValueError, r"images: expected shape \(n, c, h, w\), got \(3, 1, 1\)"),
        (IMAGES, torch.arange(2), ValueError, r"labels: expected one class for each item, shape \(3,\), got \(2,\)"),
        (IMAGES, torch.arange(3.0), TypeError, "labels: expected integers, got float32"),
        (IMAGES, [0, 1, 2], TypeError, "labels: expected a tensor, got list"),
    ],
)
def test_accuracy_refuses_what_has_none(without_annotations, images, labels, error, message):
    with pytest.raises(error, match=message):
        nets.accuracy(nn.Flatten(), images, labels)


def test_accuracy_refuses_scores_that_are_not_one_row_per_image():
    images, labels = torch.rand(4, 2, 3, 3), torch.tensor([0, 1, 1, 0])
    with pytest.raises(ValueError, match=r"the net's scores: expected shape \(4, classes\), got \(4, 2, 3, 3\)"):
        accuracy(torch.nn.Identity(), images, labels)
    with pytest.raises(ValueError, match=r"labels: expected classes from 0 to 17, got \[18\]"):
        accuracy(torch.nn.Flatten(), images, torch.tensor([0, 1, 18, 0]))
