"""A run that is killed and resumed ends with the bits of one that was not. As a script it is the victim."""

import os
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


def train(path: Path, slowly: bool):
    """120 steps with noise in the loss, dropout and batch statistics, saved after every step."""
    seed_everything(7)
    model = nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 16))
    data = torch.rand(70, 16)

    def loss(x):
        time.sleep(0.02 * slowly)
        return mse_loss(model(x + 0.1 * torch.randn_like(x)), x)

    step = Descent(model, loss, clip=1.0)
    history = fit(
        step,
        data,
        epochs=24,
        batch_size=16,
        device="cpu",
        checkpoint=path,
        checkpoint_every=0.0,
        progress=False,
    )
    return step, history


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

    resumed, history = train(path, slowly=False)
    twin, expected = train(tmp_path / "whole.safetensors", slowly=False)
    np.testing.assert_array_equal(history.losses["loss"], expected.losses["loss"])
    torch.testing.assert_close(resumed.model.state_dict(), twin.model.state_dict(), rtol=0, atol=0)
    ours, theirs = resumed.optimizer.state_dict(), twin.optimizer.state_dict()
    torch.testing.assert_close(ours["state"], theirs["state"], rtol=0, atol=0)
    assert ours["param_groups"] == theirs["param_groups"]


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(Path(sys.argv[1]), slowly=True)
