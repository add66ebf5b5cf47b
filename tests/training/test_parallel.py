"""Two processes under torchrun train as one does: through `coursekit train`, with the recipe of ``together.py``."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from together import STEPS, TINY

from coursekit import nets
from coursekit.nets.recipes import RECIPES, follow
from coursekit.training import load_checkpoint

SCRIPT = str(Path(__file__).with_name("together.py"))


def torchrun(*arguments, options=(), **environment):
    """The script in two processes; torchrun's own messages are on stderr, too."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *options, SCRIPT]
    return subprocess.run(
        [*command, *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | {name: str(value) for name, value in environment.items()},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def train(folder, **settings):
    return torchrun("train", "tiny", "--device", "cpu", "--out", folder, CURVE=folder.with_suffix(".json"), **settings)


def curve(folder):
    return np.array(json.loads(folder.with_suffix(".json").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A whole run of two processes: its folder, and what it said."""
    folder = tmp_path_factory.mktemp("pair") / "out"
    done = train(folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout + done.stderr


def test_two_processes_give_the_losses_of_one(pair, tmp_path, monkeypatch):
    folder, _ = pair
    histories = []

    def fit(*arguments, **settings):
        histories.append(follow_fit(*arguments, **settings))
        return histories[0]

    follow_fit = follow.fit
    monkeypatch.setattr(follow, "fit", fit)
    follow.train(TINY, tmp_path, device="cpu", report=lambda text: None)
    alone = histories[0].losses["loss"]
    assert len(alone) == STEPS
    assert alone[-6:].mean() < 0.5 * alone[:6].mean()  # there is a curve to compare
    np.testing.assert_allclose(curve(folder), alone, rtol=0, atol=1e-5)  # as promised
    np.testing.assert_allclose(curve(folder), alone, rtol=1e-12)  # and as it is


def test_only_the_first_process_writes_and_speaks(pair, monkeypatch):
    folder, said = pair
    assert sorted(path.name for path in folder.iterdir()) == ["tiny.json", "tiny.safetensors"]
    for words in ("tiny: the difference of two numbers", "epoch 8 of 8: error", "Weights: "):
        assert said.count(words) == 1
    monkeypatch.setitem(RECIPES, "tiny", TINY)
    assert nets.pretrained("tiny", folder)


def test_a_lost_process_ends_the_run_and_the_same_command_goes_on_to_the_same_end(pair, tmp_path):
    folder = tmp_path / "out"
    lost = train(folder, KILL=17)
    assert lost.returncode == 1
    assert "process 1 of 2: the run ended early, because another of its processes was lost" in lost.stderr
    checkpoint = folder / "tiny.checkpoint"
    assert f"The last checkpoint is {checkpoint}; the same command goes on from there." in lost.stderr
    assert load_checkpoint(checkpoint, {})["history"]["steps"] == 16

    resumed = train(folder, options=["--max-restarts=1"], KILL=9)  # and this time torchrun itself starts it again
    assert resumed.returncode == 0, resumed.stderr
    said = resumed.stdout + resumed.stderr
    assert f"holds 16 of {STEPS} steps: going on from there" in said
    assert f"holds 24 of {STEPS} steps: going on from there" in said
    np.testing.assert_array_equal(curve(folder), curve(pair[0]))
    digests = {json.loads((it / "tiny.json").read_text(encoding="utf-8"))["sha256"] for it in (folder, pair[0])}
    assert len(digests) == 1


def test_what_processes_cannot_share_is_refused():
    done = torchrun("refusals")
    assert done.returncode == 0, done.stderr
    told = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert told["batch normalization"].startswith("0: several processes on a CPU would normalize their shares")
    assert told["dropout"].startswith("the loss draws random numbers (dropout, noise)")
    for name in ("sum", "spread"):
        assert "on average over the shares of 2 processes: only a mean over the samples can be shared" in told[name]
    assert told["own step"].startswith("this step computes every batch as a whole in each process")
    assert told["one sample"] == ("2 processes cannot share a batch of 1: start fewer, or choose another batch_size.")
