"""A run that is killed and resumed ends with the bits of one that was not. As a script it is the victim."""

import multiprocessing
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

from coursekit.training import Descent, fit, load_checkpoint, seed_everything


def train(path: Path, slowly: bool = False, save_every: float = 60.0):
    """120 steps with noise in the loss, dropout, batch statistics and a schedule."""
    seed_everything(7)
    model = nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 16))
    data = torch.rand(70, 16)

    def loss(x):
        time.sleep(0.02 * slowly)
        return mse_loss(model(x + 0.1 * torch.randn_like(x)), x)

    descent = Descent(model, loss, clip=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(descent.optimizer, 0.01, total_steps=120)

    def step(x):
        losses = descent(x)
        schedule.step()
        return losses

    history = fit(
        step,
        data,
        epochs=24,
        batch_size=16,
        device="cpu",
        state=descent.state | {"schedule": schedule},
        checkpoint=path,
        checkpoint_every=save_every,
        progress=False,
    )
    return descent, history


def steps_saved(path: Path) -> int:
    return load_checkpoint(path, {})["history"]["steps"] if path.exists() else 0


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_killed_twice_and_resumed_is_bit_identical(tmp_path):
    path, rounds = tmp_path / "killed.safetensors", []
    for _ in range(2):
        before = steps_saved(path)
        command = [sys.executable, __file__, path]
        with subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}) as victim:
            try:
                while victim.poll() is None and steps_saved(path) < before + 7:
                    time.sleep(0.01)
            finally:
                victim.kill()
        assert victim.returncode != 0, "it ended before it was killed"
        rounds.append(steps_saved(path))
    assert 7 <= rounds[0] < rounds[1] < 120

    require_same_end(train(path), train(tmp_path / "whole.safetensors"))


def require_same_end(run, whole):
    """Compare losses, weights and moments bit by bit."""
    (resumed, history), (twin, expected) = run, whole
    np.testing.assert_array_equal(history.losses["loss"], expected.losses["loss"])
    torch.testing.assert_close(resumed.model.state_dict(), twin.model.state_dict(), rtol=0, atol=0)
    ours, theirs = resumed.optimizer.state_dict(), twin.optimizer.state_dict()
    torch.testing.assert_close(ours["state"], theirs["state"], rtol=0, atol=0)
    assert ours["param_groups"] == theirs["param_groups"]


def victim(path):
    torch.set_num_threads(1)
    train(path, save_every=0.0)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.skipif(os.name == "nt", reason="needs processes that start within milliseconds")
def test_ten_runs_killed_at_random_moments_end_with_the_same_bits(tmp_path):
    """Wherever the kill falls: before the first checkpoint, in a step, while a checkpoint is written."""
    quickly = multiprocessing.get_context("forkserver")
    quickly.set_forkserver_preload(["coursekit.training", "torch._dynamo", "pytest"])  # what takes seconds to import
    start = time.perf_counter()
    whole = train(tmp_path / "whole.safetensors", save_every=0.0)
    seconds = time.perf_counter() - start
    chosen, reached = random.Random(), []
    for number in range(10):
        path = tmp_path / f"{number}.safetensors"
        process = quickly.Process(target=victim, args=(path,))
        process.start()
        # The first is killed wherever it is, perhaps before it has begun.
        steps = chosen.randrange(100) if number else 0
        while process.is_alive() and steps_saved(path) < steps:
            time.sleep(0.001)
        time.sleep(moment := chosen.uniform(0, seconds / 40))  # 120 steps took ``seconds``
        process.kill()
        process.join()
        reached.append((steps, round(moment, 4), steps_saved(path)))
        print(f"run {number}: killed {moment:.4f} s after step {steps}, {steps_saved(path)} steps saved")
        require_same_end(train(path), whole)
    assert sum(0 < saved < 120 for *_, saved in reached) >= 5, reached  # most were killed in the middle


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(Path(sys.argv[1]), slowly=True, save_every=0.0)
