import copy
import errno
import os
from collections import Counter

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from coursekit.errors import CourseError
from coursekit.training import load_checkpoint, save_checkpoint
from coursekit.training.checkpoint import _checksum


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
        "nested": [{"a": {3: "three", (0, 1): "pair"}}, ()],
        "counted": Counter({6: 1, 9: 2}),
        "kinds": ["cat", "dog"],
        "tensors": [torch.arange(3), torch.tensor(1.5, dtype=torch.bfloat16)],
    }
    save_checkpoint(tmp_path / "c", {}, **extra)
    back = load_checkpoint(tmp_path / "c", {})
    tensors = back.pop("tensors")
    expected = extra.pop("tensors")
    assert back == extra
    assert type(back["counted"]) is Counter
    assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(tensors, expected, strict=True))


def test_tensors_whose_paths_are_spelt_alike_stay_apart(tmp_path):
    extra = {"a": {"b": torch.tensor(0), 1: torch.tensor(1), "1": torch.tensor(2)}, "a/b": torch.tensor(3)}
    save_checkpoint(tmp_path / "c", {}, **extra)
    assert load_checkpoint(tmp_path / "c", {}) == extra


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


def test_a_flipped_bit_anywhere_is_noticed(tmp_path):
    state = trained(width=2)
    path = tmp_path / "c"
    save_checkpoint(path, state, history={"steps": 2})
    content = path.read_bytes()
    before = contents(state)
    for place in range(0, 8 * len(content), 61):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(CourseError, match=r"is damaged|not a checkpoint|has checkpoint format"):
            load_checkpoint(path, state)
    torch.testing.assert_close(contents(state), before, rtol=0, atol=0)


def test_foreign_files_are_told(tmp_path):
    (tmp_path / "text").write_text("hello " * 100)
    with pytest.raises(CourseError, match=r"damaged or not a safetensors file"):
        load_checkpoint(tmp_path / "text", {})
    with pytest.raises(CourseError, match=r"is a folder, not a checkpoint$"):
        load_checkpoint(tmp_path, {})
    save_file({"x": torch.zeros(1)}, tmp_path / "other")
    with pytest.raises(CourseError, match=r"not a checkpoint of coursekit\.training"):
        load_checkpoint(tmp_path / "other", {})
    save_file({}, tmp_path / "header", {"coursekit": '{"format": 3, "content'})
    with pytest.raises(CourseError, match=r"header is damaged or not a safetensors file"):
        load_checkpoint(tmp_path / "header", {})
    save_file({}, tmp_path / "later", {"coursekit": '{"format": 99}'})
    with pytest.raises(CourseError, match=r"checkpoint format 99, but this version of coursekit reads 3"):
        load_checkpoint(tmp_path / "later", {})


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"model": net(4)}, r"model 0\.weight is float32 \(3, 2\) there, float32 \(4, 2\) here"),
        ({"model": net().double()}, r"model 0\.weight is float32 \(3, 2\) there, float64 \(3, 2\) here"),
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
    with pytest.raises(CourseError, match=r"does not fit: optimizer has groups of \[2\] parameters there, \[1\] here"):
        load_checkpoint(tmp_path / "c", {"optimizer": torch.optim.Adam(two[:1])})
    with pytest.raises(CourseError, match=r"optimizer has groups of \[2\] parameters there, \[1, 1\] here"):
        load_checkpoint(tmp_path / "c", {"optimizer": torch.optim.Adam([{"params": [one]} for one in two])})


def advance(model, optimizer):
    def closure():
        optimizer.zero_grad()
        loss = (model(torch.eye(2)) - 1).square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)


def trained(kind=torch.optim.Adam, width=3, **settings):
    """By name, a model and its optimizer after two steps."""
    torch.manual_seed(0)
    model = nn.Linear(2, width)
    optimizer = kind([model.weight] if kind.__name__ == "Muon" else model.parameters(), **settings)
    for _ in range(2):
        advance(model, optimizer)
    return {"model": model, "optimizer": optimizer}


def contents(state):
    """Copies of all tensors and numbers in a model and its optimizer."""
    model, optimizer = copy.deepcopy([thing.state_dict() for thing in state.values()])
    for group in optimizer["param_groups"]:
        group.pop("line_search_fn", None)  # a word
    return model, optimizer


OPTIMIZERS = [
    kind for name, kind in vars(torch.optim).items() if name[0].isupper() and name not in ("Optimizer", "SparseAdam")
]
SETTINGS = {
    "SGD": [{}, {"momentum": 0.9}, {"momentum": 0.9, "fused": True}],
    "Adam": [{}, {"fused": True}, {"fused": True, "amsgrad": True}, {"lr": torch.tensor(0.1)}],
    "RMSprop": [{"momentum": 0.9, "centered": True}],
    "LBFGS": [{}, {"max_iter": 3, "line_search_fn": "strong_wolfe"}],
}


@pytest.mark.parametrize(
    ("kind", "settings"), [(kind, some) for kind in OPTIMIZERS for some in SETTINGS.get(kind.__name__, [{}])]
)
def test_every_optimizer_goes_on_to_the_same_bits(tmp_path, kind, settings):
    state, twin = trained(kind, **settings), trained(kind, **settings)
    save_checkpoint(tmp_path / "c", state)
    for _ in range(2):
        advance(**twin)
    load_checkpoint(tmp_path / "c", twin)
    advance(**state)
    advance(**twin)
    torch.testing.assert_close(contents(twin), contents(state), rtol=0, atol=0)


def forged(path, changes):
    """Replace tensors of a checkpoint, and leave the rest as it was; the checksum is right again."""
    with safe_open(path, "pt") as file:
        header = file.metadata()["coursekit"]
    tensors = load_file(path)
    assert changes.keys() <= tensors.keys()
    tensors |= changes
    save_file(tensors, path, {"coursekit": header, "checksum": _checksum(header, tensors)})


MOMENT = "state/optimizer/state/0/exp_avg"


@pytest.mark.parametrize(
    ("fused", "changes", "message"),
    [
        (
            True,
            {MOMENT: torch.zeros(1)},
            r"exp_avg of parameter 0 is float32 \(1,\) there, but the .* \(3, 2\)",
        ),
        (
            True,
            {MOMENT: torch.zeros(())},
            r"exp_avg of parameter 0 is float32 \(\) there, but the .* \(3, 2\)",
        ),
        (True, {MOMENT: torch.zeros(2, 3)}, r"exp_avg of parameter 0 is float32 \(2, 3\) there"),
        (False, {MOMENT: torch.zeros(3, 1)}, r"exp_avg of parameter 0 is float32 \(3, 1\) there"),
        (
            True,
            {MOMENT: torch.zeros(3, 2).double()},
            r"exp_avg of parameter 0 is float64 .* there, but .* is float32",
        ),
        (True, {"state/optimizer/state/1/step": torch.zeros(0)}, r"step of parameter 1 is float32 \(0,\) there"),
        (False, {"state/optimizer/state/1/step": torch.zeros(3)}, r"step of parameter 1 is float32 \(3,\) there"),
        (True, {"state/model/bias": torch.zeros(4)}, r"model bias is float32 \(4,\) there, float32 \(3,\) here"),
    ],
)
def test_tensors_that_do_not_fit_are_named_and_nothing_is_changed(tmp_path, fused, changes, message):
    state = trained(fused=fused)
    save_checkpoint(tmp_path / "c", state)
    forged(tmp_path / "c", changes)
    advance(**state)
    before = contents(state)
    with pytest.raises(CourseError, match=f"does not fit: .*{message}"):
        load_checkpoint(tmp_path / "c", state)
    torch.testing.assert_close(contents(state), before, rtol=0, atol=0)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.LBFGS])
def test_an_optimizer_of_equally_many_parameters_of_other_shapes_does_not_fit(tmp_path, kind):
    save_checkpoint(tmp_path / "c", {"optimizer": trained(kind)["optimizer"]})
    with pytest.raises(CourseError, match=r"of parameter 0 is float32 \(.*\) there, but the parameter is float32"):
        load_checkpoint(tmp_path / "c", {"optimizer": trained(kind, width=500)["optimizer"]})


def test_moments_lie_in_memory_as_their_weights_do(tmp_path):
    def convolution():
        torch.manual_seed(0)
        model = nn.Conv2d(3, 4, 2).to(memory_format=torch.channels_last)
        return model, torch.optim.Adam(model.parameters(), lr=0.1, fused=True)

    def step(model, optimizer):
        optimizer.zero_grad()
        (model(torch.rand(5, 3, 2, 2, generator=torch.Generator().manual_seed(1))) - 1).square().sum().backward()
        optimizer.step()

    model, optimizer = convolution()
    step(model, optimizer)
    save_checkpoint(tmp_path / "c", {"model": model, "optimizer": optimizer})
    twin, twin_optimizer = convolution()
    load_checkpoint(tmp_path / "c", {"model": twin, "optimizer": twin_optimizer})
    step(model, optimizer)
    step(twin, twin_optimizer)
    assert torch.equal(twin.weight, model.weight)


def test_of_many_differences_the_first_are_named(tmp_path):
    models = [nn.Sequential(*(nn.Linear(width, width) for _ in range(4))) for width in (2, 3)]
    save_checkpoint(tmp_path / "c", {"model": models[0]})
    with pytest.raises(CourseError, match=r"fit: model 0\.weight is .*; model 2\.weight is [^;]*; and 3 more$"):
        load_checkpoint(tmp_path / "c", {"model": models[1]})


class Versioned:
    """A thing of the user's that checks its state itself."""

    def __init__(self, version):
        self.version = version

    def state_dict(self):
        return {"version": self.version}

    def load_state_dict(self, state):
        if state["version"] != self.version:
            raise RuntimeError(f"expected version {self.version}")


def test_if_one_thing_refuses_its_state_the_others_get_theirs_back(tmp_path):
    state = trained()
    save_checkpoint(tmp_path / "c", state | {"mine": Versioned(1)})
    advance(**state)
    before = contents(state)
    with pytest.raises(CourseError, match="does not fit mine: expected version 2"):
        load_checkpoint(tmp_path / "c", state | {"mine": Versioned(2)})
    torch.testing.assert_close(contents(state), before, rtol=0, atol=0)


@pytest.mark.usefixtures("without_annotations")
@pytest.mark.parametrize(
    ("state", "message"),
    [
        (net(), "state: expected a dict of modules and optimizers, got Sequential"),
        ({"model": net().state_dict()}, "state: expected 'model' to be a module or an optimizer, got OrderedDict"),
    ],
)
def test_what_has_no_state_is_told(saved, state, message):
    with pytest.raises(TypeError, match=message):
        save_checkpoint(saved, state)
    with pytest.raises(TypeError, match=message):
        load_checkpoint(saved, state)


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


@pytest.mark.parametrize("tensor", [torch.eye(2).to_sparse(), torch.ones(2, device="meta")])
def test_a_tensor_that_is_no_plain_array_cannot_be_saved(tmp_path, tensor):
    with pytest.raises(TypeError, match=r"extra/a cannot be saved: .* got Tensor"):
        save_checkpoint(tmp_path / "c", {}, a=tensor)


def test_keys_that_are_no_valid_unicode_come_back(tmp_path):
    save_checkpoint(tmp_path / "c", {}, a={"\ud800": torch.ones(1), "\0": 1})
    assert load_checkpoint(tmp_path / "c", {}) == {"a": {"\ud800": torch.ones(1), "\0": 1}}


@pytest.mark.skipif(os.name == "nt", reason="needs /dev/null")
def test_what_is_no_plain_file_is_not_to_be_deleted():
    with pytest.raises(CourseError, match=r"/dev/null is no plain file, not a checkpoint$"):
        load_checkpoint("/dev/null", {})


def test_a_file_that_may_not_be_read_is_not_to_be_deleted(saved, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with pytest.raises(CourseError, match=r"cannot be read \(Permission denied\)$"):
        load_checkpoint(saved, {})
    with pytest.raises(CourseError, match=r"cannot be read \(File name too long\)$"):
        load_checkpoint("n" * 300, {})
