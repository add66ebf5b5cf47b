"""The command around ``nets.recipes.train``, on a few synthetic images in the place of CIFAR-10."""

import re
import signal
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from coursekit import cli, nets
from coursekit.datasets import CIFAR10_CLASSES, DataUnavailable, ImageDataset, LabelledImages
from coursekit.errors import CourseError
from coursekit.nets import weights
from coursekit.nets.recipes import RECIPES


def change_recipes(monkeypatch, **changes):
    for name, recipe in RECIPES.items():
        monkeypatch.setitem(RECIPES, name, replace(recipe, **changes))


@pytest.fixture
def run(monkeypatch, tmp_path):
    """The command with a small data set and with the course's own weights in ``tmp_path/course``."""
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(weights, "weights_folder", lambda: tmp_path / "course")
    images = LabelledImages(torch.rand(40, 3, 32, 32), torch.arange(40) % 10, CIFAR10_CLASSES)
    change_recipes(monkeypatch, load=lambda: ImageDataset("cifar10", images, images[:10]))

    def run(*arguments: str, status: int = 0) -> str:
        result = CliRunner().invoke(cli.app, ["train", *arguments])
        if isinstance(result.exception, CourseError):
            raise result.exception
        assert result.exit_code == status, result.output
        return result.output

    return run


def test_without_a_recipe_they_are_listed_with_what_was_measured(run, tmp_path):
    run("convnetjs", "--epochs", "1", "--device", "cpu")
    card = nets.card("convnetjs", tmp_path / "course")
    header, trained, untrained = run().splitlines()[:3]
    assert header.split() == ["Recipe", "What", "Epochs", "Measured", "Minutes", "On"]
    minutes = f"{card.made_with.minutes:g}"
    measured = f"{card.measured['test_accuracy']:.2%} of the test images correctly classified"
    threads = card.made_with.threads
    assert trained.split()[-11:] == ["30", *measured.split(), minutes, f"{threads}", f"thread{'s' * (threads > 1)}"]
    assert RECIPES["residual"].about in untrained
    assert untrained.split()[-3:] == ["–", "–", "–"]
    words = r"coursekit run NUMBER --profile full. Minutes on one CPU core: 00 1(, \d\d [1-9]\d*){18}\."
    assert re.search(words, run())


def test_resume_begins_nothing(run, tmp_path):
    with pytest.raises(CourseError, match=r"there is no stopped run to resume: .*convnetjs.checkpoint does not exist"):
        run("convnetjs", "--epochs", "1", "--resume")
    assert not (tmp_path / "course").exists()


def test_weights_go_beside_the_courses_own_or_where_one_says(run, tmp_path):
    said = run("convnetjs", "--epochs", "1", "--device", "cpu", "--seed", "3", "--out", str(tmp_path / "mine"))
    assert "epoch 1 of 1: " in said
    assert f"% of the test images correctly classified. Weights: {tmp_path / 'mine' / 'convnetjs.safetensors'}" in said
    card = nets.card("convnetjs", tmp_path / "mine")
    assert (card.seed, card.epochs) == (3, 1)
    assert not (tmp_path / "course").exists()
    run("convnetjs", "--epochs", "1", "--device", "cpu")
    assert nets.pretrained("convnetjs", tmp_path / "course")


def test_what_is_there_is_replaced_only_with_update(run, tmp_path, monkeypatch):
    run("convnetjs", "--epochs", "1", "--device", "cpu")
    before = nets.card("convnetjs", tmp_path / "course")
    with monkeypatch.context() as patch:
        change_recipes(patch, load=pytest.fail)  # told before any data are loaded
        with pytest.raises(CourseError, match=r"course.convnetjs.safetensors is there already: .*--out.*--update"):
            run("convnetjs", "--epochs", "1", "--seed", "1")
    run("convnetjs", "--epochs", "1", "--device", "cpu", "--seed", "1", "--update")
    assert nets.card("convnetjs", tmp_path / "course").sha256 != before.sha256


def test_a_stopped_run_goes_on_with_the_same_command(run, tmp_path, monkeypatch):
    command = ("convnetjs", "--epochs", "2", "--device", "cpu")
    whole = run(*command, "--out", str(tmp_path / "whole"))
    measure = RECIPES["convnetjs"].measure

    def measure_and_stop(*arguments):
        signal.raise_signal(signal.SIGINT)
        return measure(*arguments)

    with monkeypatch.context() as patch:
        change_recipes(patch, measure=measure_and_stop)
        assert "Interrupted. The same command goes on from here." in run(*command, status=130)
    assert [path.name for path in (tmp_path / "course").iterdir()] == ["convnetjs.checkpoint"]
    said = run(*command, "--resume")
    assert "holds 1 of 2 steps: going on from there" in said
    assert "epoch 1 of 2" in whole
    assert "epoch 1 of 2" not in said
    sums = {nets.card("convnetjs", tmp_path / folder).sha256 for folder in ("whole", "course")}
    assert len(sums) == 1


def test_data_that_are_not_here_are_told_before_anything_is_written(run, tmp_path, monkeypatch):
    def unavailable():
        raise DataUnavailable("CIFAR-10 is not on this machine")

    change_recipes(monkeypatch, load=unavailable)
    with pytest.raises(DataUnavailable, match="CIFAR-10 is not on this machine"):
        run("residual")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("residal",), "unknown recipe 'residal': did you mean residual?"),
        (("residual", "--device", "gpu"), "unknown device 'gpu': did you mean cpu?"),
        (("residual", "--epochs", "0"), "Invalid value for '--epochs'"),
        (("residual", "--seed", "-1"), "Invalid value for '--seed'"),
    ],
)
def test_wrong_use_is_told(run, arguments, message):
    assert message in run(*arguments, status=2)
