import random

import numpy as np
import pytest
import torch

from coursekit.errors import CourseError
from coursekit.training import device as device_module
from coursekit.training import resolve_device, seed_everything
from coursekit.training.device import computes_in_bf16, own_randomness, rng_states, set_rng_states


@pytest.fixture
def accelerator(monkeypatch):
    """Say that this machine has a number of CUDA devices."""

    def pretend(count):
        monkeypatch.setattr(torch.accelerator, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))

    return pretend


def test_auto_is_the_accelerator_or_else_the_cpu(accelerator):
    accelerator(1)
    assert resolve_device("auto") == torch.device("cuda")
    accelerator(0)
    assert resolve_device("auto") == torch.device("cpu")


def test_devices_that_are_there_are_given(accelerator):
    accelerator(2)
    for name in ("cpu", "cuda", "cuda:1"):
        assert resolve_device(name) == torch.device(name)
    assert resolve_device(torch.device("cuda:1")).index == 1


@pytest.mark.parametrize(
    ("count", "name", "message"),
    [
        (0, "cuda", "'cuda' is not available: this machine has cpu. Use 'auto' or 'cpu'"),
        (1, "cuda:1", "this machine has 1 of that type"),
        (1, "mps", "this machine has cpu and cuda"),
    ],
)
def test_devices_that_are_not_there_are_told(accelerator, count, name, message):
    accelerator(count)
    with pytest.raises(CourseError, match=message):
        resolve_device(name)


def test_a_misspelt_device_is_told():
    with pytest.raises(ValueError, match="unknown device 'gpu': expected 'auto', 'cpu', 'cuda'"):
        resolve_device("gpu")


def test_one_seed_sets_all_generators():
    def draw():
        seed_everything(3)
        return random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002

    with own_randomness(torch.device("cpu")):
        python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
        assert draw() == draw()
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_out_of_range_are_told(seed):
    with pytest.raises(ValueError, match="seed: expected an integer from 0 to 4294967295"):
        seed_everything(seed)


def test_a_block_of_its_own_randomness_starts_from_its_seed_and_ends_where_the_caller_was():
    cpu = torch.device("cpu")
    before = torch.get_rng_state()
    with own_randomness(cpu, 5):
        first = torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, torch.rand(3, generator=torch.Generator().manual_seed(5)))


def test_an_accelerators_generator_is_kept_too_and_skipped_where_it_has_no_state(monkeypatch):
    class Module:
        state = torch.tensor([1])

        def get_rng_state(self, device):
            return self.state

        def set_rng_state(self, state, device):
            self.state = state

    cuda, module = torch.device("cuda"), Module()
    monkeypatch.setattr(torch, "get_device_module", lambda device: module)
    states = rng_states(cuda)
    assert states["cuda"].item() == 1
    set_rng_states(cuda, states | {"cuda": torch.tensor([2])})
    assert module.state.item() == 2
    set_rng_states(cuda, rng_states(torch.device("cpu")))
    assert module.state.item() == 2


def test_bf16_is_automatic_only_on_hardware_made_for_it(monkeypatch):
    computes = computes_in_bf16.__wrapped__
    assert computes("cpu", "bf16")
    assert not computes("cpu", "auto")
    for supported in (True, False):
        monkeypatch.setattr(device_module.torch.cuda, "is_bf16_supported", lambda including_emulation, s=supported: s)
        assert computes("cuda", "auto") is supported
        assert not computes("cuda", "float32")
