import errno
import os

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from coursekit.errors import CourseError
from coursekit.training import load_checkpoint, save_checkpoint


def net(width=3):
    return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width))


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, {"model": net()})
    return path


def test_what_was_saved_comes_back_with_its_types(tmp_path):
    extra = {
        "nothing": None,
        "numbers": (1, 2.5, True, float("inf")),
        "nested": [{"a": {3: "three"}}, ()],
        "tensors": [torch.arange(3), torch.tensor(1.5, dtype=torch.bfloat16)],
    }
    save_checkpoint(tmp_path / "c", {}, **extra)
    back = load_checkpoint(tmp_path / "c", {})
    tensors = back.pop("tensors")
    expected = extra.pop("tensors")
    assert back == extra
    assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(tensors, expected, strict=True))


def test_model_and_optimizer_come_back_and_tied_weights_may_be_saved(tmp_path):
    def make():
        model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
        model[1].weight = model[0].weight
        return model, torch.optim.AdamW(model.parameters(), fused=True, betas=(0.5, 0.9))

    model, optimizer = make()
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    save_checkpoint(tmp_path / "c", {"model": model, "optimizer": optimizer})
    twin, twin_optimizer = make()
    load_checkpoint(tmp_path / "c", {"model": twin, "optimizer": twin_optimizer})
    torch.testing.assert_close(twin.state_dict(), model.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(twin_optimizer.state_dict(), optimizer.state_dict(), rtol=0, atol=0)
    alone, _ = make()
    load_checkpoint(tmp_path / "c", {"model": alone})
    assert torch.equal(alone[0].bias, model[0].bias)


def test_the_file_is_plain_safetensors_with_readable_names(saved):
    assert "state/model/0.weight" in load_file(saved)
    assert [path.name for path in saved.parent.iterdir()] == ["c.safetensors"]


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(CourseError, match=r"there is no checkpoint .*nowhere"):
        load_checkpoint(tmp_path / "nowhere", {})


@pytest.mark.parametrize("keep_bytes", [0, 4, 100, -1])
def test_a_truncated_file_is_told(saved, keep_bytes):
    saved.write_bytes(saved.read_bytes()[:keep_bytes])
    with pytest.raises(CourseError, match=r"damaged or not a safetensors file .* Delete it and train again"):
        load_checkpoint(saved, {})


def test_foreign_files_are_told(tmp_path):
    (tmp_path / "text").write_text("hello " * 100)
    with pytest.raises(CourseError, match=r"damaged or not a safetensors file"):
        load_checkpoint(tmp_path / "text", {})
    with pytest.raises(CourseError, match=r"damaged or not a safetensors file"):
        load_checkpoint(tmp_path, {})
    save_file({"x": torch.zeros(1)}, tmp_path / "other")
    with pytest.raises(CourseError, match=r"not a checkpoint of coursekit\.training"):
        load_checkpoint(tmp_path / "other", {})
    save_file({}, tmp_path / "later", {"coursekit": '{"format": 99}'})
    with pytest.raises(CourseError, match=r"checkpoint format 99, but this version of coursekit reads 2"):
        load_checkpoint(tmp_path / "later", {})


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"model": net(4)}, r"model 0\.weight is float32 \(3, 2\) there, float32 \(4, 2\) here"),
        ({"model": nn.Sequential(nn.Linear(2, 3))}, r"model has 1\.weight only there"),
        ({"model": net().append(nn.Linear(3, 1))}, r"model lacks 2\.weight there"),
        ({"critic": net()}, r"it holds \['model'\], not 'critic'"),
    ],
)
def test_states_that_do_not_fit_are_named_and_nothing_is_changed(saved, state, message):
    before = [value.clone() for thing in state.values() for value in thing.state_dict().values()]
    with pytest.raises(CourseError, match=message):
        load_checkpoint(saved, state)
    after = [value for thing in state.values() for value in thing.state_dict().values()]
    assert all(map(torch.equal, before, after))


def test_an_optimizer_of_another_kind_or_of_other_weights_does_not_fit(tmp_path):
    two = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    save_checkpoint(tmp_path / "c", {"optimizer": torch.optim.Adam(two)})
    with pytest.raises(CourseError, match=r"optimizer is of class Adam there, SGD here"):
        load_checkpoint(tmp_path / "c", {"optimizer": torch.optim.SGD(two)})
    with pytest.raises(CourseError, match=r"optimizer has groups of \[2\] parameters there, \[1\] here"):
        load_checkpoint(tmp_path / "c", {"optimizer": torch.optim.Adam(two[:1])})


def trained_adam(width):
    """A parameter of this width, and a fused Adam with moments of it."""
    weight = nn.Parameter(torch.ones(width, 2))
    adam = torch.optim.Adam([weight], fused=True)
    weight.sum().backward()
    adam.step()
    return weight, adam


def test_moments_of_another_shape_are_refused_before_anything_changes(tmp_path):
    """Fused Adam checks no shapes: moments that are too small make it write past their end."""
    save_checkpoint(tmp_path / "c", {"net": nn.Linear(2, 3), "optimizer": trained_adam(4)[1]})
    _, adam = trained_adam(2048)
    target = nn.Linear(2, 3)
    before = [target.weight.clone(), adam.state_dict()["state"][0]["exp_avg"].clone()]
    message = r"optimizer exp_avg of parameter 0 is float32 \(4, 2\) there, for float32 \(2048, 2\)"
    with pytest.raises(CourseError, match=message):
        load_checkpoint(tmp_path / "c", {"net": target, "optimizer": adam})
    assert torch.equal(target.weight, before[0])
    assert torch.equal(adam.state_dict()["state"][0]["exp_avg"], before[1])


@pytest.mark.parametrize("spoilt", [torch.zeros(1), torch.zeros(()), torch.zeros(4, 2).half(), torch.zeros(2, 4)])
def test_a_crafted_file_with_other_moments_is_refused(tmp_path, spoilt):
    from safetensors import safe_open
    from safetensors.torch import save_file

    path = tmp_path / "c"
    save_checkpoint(path, {"optimizer": trained_adam(4)[1]})
    with safe_open(path, framework="pt") as file:
        header, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file({name: spoilt.clone() if "exp_avg" in name else x for name, x in tensors.items()}, path, header)
    with pytest.raises(CourseError, match="optimizer exp_avg of parameter 0 is"):
        load_checkpoint(path, {"optimizer": trained_adam(4)[1]})


@pytest.mark.parametrize("header", [{"coursekit": "{"}, {"coursekit": '{"format": 2}'}, {"coursekit": "[]"}])
def test_a_damaged_header_is_told(tmp_path, header):
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "c", header)
    with pytest.raises(CourseError, match=r"c is damaged \(.* in its header\). Delete it"):
        load_checkpoint(tmp_path / "c", {})


def test_a_load_that_fails_half_way_changes_nothing(tmp_path):
    class Picky:
        def state_dict(self):
            return {}

        def load_state_dict(self, state):
            if state.get("good") is not None:
                raise KeyError("not this one")

    save_checkpoint(tmp_path / "c", {"net": nn.Linear(2, 3), "picky": Saved({"good": 1})})
    target = nn.Linear(2, 3)
    before = target.weight.clone()
    Picky.__name__ = "Saved"
    with pytest.raises(CourseError, match="does not fit picky: 'not this one'"):
        load_checkpoint(tmp_path / "c", {"net": target, "picky": Picky()})
    assert torch.equal(target.weight, before)


class Saved:
    """Something with a state."""

    def __init__(self, state):
        self.state = state

    def state_dict(self):
        return self.state

    def load_state_dict(self, state):
        self.state = state


def test_schedules_come_back_counters_included(tmp_path):
    _, adam = trained_adam(2)
    schedule = torch.optim.lr_scheduler.MultiStepLR(adam, milestones=[1, 1, 3])
    save_checkpoint(tmp_path / "c", {"schedule": schedule})
    again = torch.optim.lr_scheduler.MultiStepLR(adam, milestones=[7])
    load_checkpoint(tmp_path / "c", {"schedule": again})
    assert again.milestones == schedule.milestones
    assert type(again.milestones) is type(schedule.milestones)


def test_a_full_disk_leaves_the_old_checkpoint_and_no_litter(saved, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = saved.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CourseError, match=r"could not be written \(No space left on device\).* is intact"):
        save_checkpoint(saved, {"model": net(50)})
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_folder_that_cannot_be_made_is_told(saved):
    with pytest.raises(CourseError, match=r"could not be written"):
        save_checkpoint(saved / "below", {})


def test_what_cannot_be_saved_is_named(tmp_path):
    with pytest.raises(TypeError, match=r"a/0/b cannot be saved: expected tensors, .* got object"):
        save_checkpoint(tmp_path / "c", {}, a=[{"b": object()}])
    assert not list(tmp_path.iterdir())
