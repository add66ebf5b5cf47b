import signal
import threading

import numpy as np
import pytest
import torch
from denoising import denoiser, run, weights
from torch import nn
from torch.utils.data import DataLoader

from coursekit.errors import CourseError
from coursekit.training import Descent, TrainingDiverged, fit, load_checkpoint
from coursekit.training import loop as loop_module
from coursekit.training.loop import _require_data

# What the loop does


def test_equals_the_plainest_loop(data):
    step, plain = denoiser(), denoiser()
    history = run(step, data, seed=5)
    torch.manual_seed(5)
    losses = [
        plain(data[torch.from_numpy(index)]).item()
        for epoch in range(3)
        for index in np.split(np.random.default_rng((5, epoch)).permutation(50), [16, 32, 48])
    ]
    np.testing.assert_array_equal(history.losses["loss"], losses)
    assert torch.equal(weights(step), weights(plain))


def test_every_sample_comes_once_an_epoch_and_tensors_stay_aligned():
    x = torch.arange(50)
    seen = []
    history = run(lambda a, b: seen.append((a, b)) or torch.tensor(0.0), (x, 2 * x), state={})
    assert [len(a) for a, _ in seen] == [16, 16, 16, 2] * 3
    for epoch in range(3):
        a, b = (torch.cat(column) for column in zip(*seen[4 * epoch : 4 * epoch + 4], strict=True))
        assert torch.equal(a.sort().values, x)
        assert torch.equal(b, 2 * a)
    assert not torch.equal(seen[0][0], seen[4][0])
    assert (history.steps, history.epochs, history.steps_per_epoch) == (12, 3, 4)


def test_same_seed_same_run_other_seed_other_run(data):
    first, again, other = (run(denoiser(), data, seed=seed).losses["loss"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_the_callers_random_numbers_do_not_change(data):
    step = denoiser()
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    run(step, data)
    assert torch.equal(torch.rand(3), expected)


def test_looking_at_a_run_does_not_change_it(data):
    plain, watched = denoiser(), denoiser()

    def look(epoch, history):
        assert not watched.model.training
        assert not torch.is_grad_enabled()
        return {"drawn": torch.rand(()), "epoch": epoch, "steps": history.steps}

    run(plain, data)
    history = run(watched, data, on_epoch_end=look)
    assert torch.equal(weights(plain), weights(watched))
    assert history.extra["epoch"].tolist() == [1, 2, 3]
    assert history.extra["steps"].tolist() == [4, 8, 12]
    assert not watched.model.training


def test_a_step_of_two_optimizers_needs_no_class(data):
    generator, critic = nn.Linear(2, 6), nn.Linear(6, 1)
    opt_g, opt_c = (torch.optim.SGD(net.parameters(), lr=0.1) for net in (generator, critic))

    def step(x):
        z = torch.randn(len(x), 2)
        opt_c.zero_grad()
        loss_c = (critic(generator(z).detach()) - critic(x)).mean()
        loss_c.backward()
        opt_c.step()
        opt_g.zero_grad()
        loss_g = -critic(generator(z)).mean()
        loss_g.backward()
        opt_g.step()
        return {"critic": loss_c, "generator": loss_g}

    state = {"G": generator, "D": critic, "opt_G": opt_g, "opt_D": opt_c}
    history = run(step, data, state=state)
    assert {name: len(values) for name, values in history.losses.items()} == {"critic": 12, "generator": 12}


def test_a_large_batch_is_the_whole_set_and_no_epoch_is_no_step(data):
    assert run(denoiser(), data, batch_size=1000).steps == 3
    step = denoiser()
    before = weights(step)
    assert run(step, data, epochs=0).losses == {}
    assert torch.equal(weights(step), before)


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (
            np.zeros((3, 2)),
            TypeError,
            r"data\[0\]: expected a tensor, got ndarray; torch.as_tensor",
        ),
        ((torch.zeros(3), [1, 2, 3]), TypeError, r"data\[1\]: expected a tensor, got list; torch.as_tensor"),
        (
            DataLoader(torch.zeros(3, 2)),
            TypeError,
            r"data\[0\]: expected a tensor, got DataLoader; fit itself cuts",
        ),
        ({"x": torch.zeros(3)}, TypeError, r"data\[0\]: expected a tensor, got dict; fit itself cuts"),
        ((torch.zeros(3, 2), torch.zeros(4)), ValueError, r"one N, got shapes \[\(3, 2\), \(4,\)\]"),
        (torch.tensor(1.0), ValueError, r"shape \(N, ...\) with one N, got shapes \[\(\)\]"),
        ((), ValueError, r"got shapes \[\]"),
        (torch.zeros(0, 2), ValueError, r"at least one sample, got shapes \[\(0, 2\)\]"),
        (
            (torch.zeros(2), torch.tensor([1.0, torch.nan])),
            ValueError,
            r"data\[1\]: 1 of 2 numbers are NaN",
        ),
    ],
)
def test_bad_data_is_refused(bad, error, message):
    with pytest.raises(error, match=message):
        _require_data(bad)


@pytest.mark.usefixtures("without_annotations")
@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"epochs": -1}, ValueError, "epochs: expected an integer from 0 on, got -1"),
        ({"epochs": 2.0}, TypeError, "epochs: expected an integer, got float 2.0"),
        ({"batch_size": 0}, ValueError, "batch_size: expected an integer from 1 on, got 0"),
        ({"batch_size": None}, TypeError, "batch_size: expected an integer, got NoneType"),
        ({"seed": -1}, ValueError, "seed: expected an integer from 0 to 4294967295, got -1"),
        ({"seed": "0"}, TypeError, "seed: expected an integer, got str '0'"),
        ({"device": 0}, TypeError, "device: expected a name or a torch.device, got int"),
        ({"checkpoint_every": float("nan")}, ValueError, "checkpoint_every: expected a number ≥ 0, got nan"),
        ({"state": {}, "checkpoint": "x"}, ValueError, "nothing to save in the checkpoint"),
        ({"state": nn.Linear(6, 6)}, TypeError, "state: expected a dict of modules and optimizers, got Linear"),
        ({"on_epoch_end": lambda epoch, _: 0.5}, TypeError, "on_epoch_end: expected it to return a dict .* got float"),
        ({"on_epoch_end": lambda epoch, _: {"a": "high"}}, TypeError, r"a dict of numbers, got \{'a': 'high'\}"),
        ({"on_epoch_end": lambda epoch, _: {"a": None}}, TypeError, r"a dict of numbers, got \{'a': None\}"),
        ({"on_epoch_end": lambda epoch, _: {"a": torch.ones(2)}}, TypeError, r"a dict of numbers, got \{'a': tensor"),
        ({"on_epoch_end": {"a": 1}}, TypeError, "on_epoch_end: expected a function, got dict"),
    ],
)
def test_bad_settings_are_refused(data, settings, error, message):
    with pytest.raises(error, match=message):
        run(denoiser(), data, **settings)


@pytest.mark.usefixtures("without_annotations")
def test_integers_of_numpy_and_data_of_any_type_will_do(data):
    labels = torch.arange(50) % 3
    seen = []
    run(
        lambda x, y, z: seen.append((x.dtype, y.dtype, z.dtype)) or torch.tensor(0.0),
        [data.half(), labels, labels > 1],
        epochs=np.int64(1),
        batch_size=np.int32(50),
        seed=np.uint8(3),
        state={},
    )
    assert seen == [(torch.float16, torch.int64, torch.bool)]


# Runs that go astray


def breaking(step, at, value=torch.nan):
    """``step``, whose loss is multiplied by ``value`` in call number ``at``."""
    calls = 0

    def broken(*batch):
        nonlocal calls
        calls += 1
        return step(*batch) * (value if calls == at else 1.0)

    broken.state = step.state
    return broken


@pytest.mark.parametrize("look_each_step", [True, False])
def test_nan_is_reported_with_its_step_and_the_history_before_it(data, monkeypatch, look_each_step):
    monkeypatch.setattr(loop_module, "INTERVAL", 0.0 if look_each_step else 1e9)
    expected = run(denoiser(), data).losses["loss"]
    message = rf"loss became nan at step 7 \(epoch 2\); its last finite values: .*{expected[5]:.4g}\. Lower the"
    with pytest.raises(TrainingDiverged, match=message) as caught:
        run(breaking(denoiser(), at=7), data)
    np.testing.assert_array_equal(caught.value.history.losses["loss"], expected[:6])
    assert caught.value.history.steps == 6
    assert "checkpoint" not in str(caught.value)


def test_infinite_weights_after_a_finite_loss_are_noticed_before_they_are_saved(data, tmp_path):
    step = denoiser()

    def overshoot(x):
        loss = step(x)
        nn.init.constant_(step.model[0].weight, torch.inf)
        return loss

    path = tmp_path / "c.safetensors"
    with pytest.raises(TrainingDiverged, match=r"0\.weight of model is NaN or infinite after step 1"):
        run(overshoot, data, state=step.state, checkpoint=path, checkpoint_every=0.0)
    assert not path.exists()


def test_the_last_good_checkpoint_is_named_and_is_good(data, tmp_path):
    path = tmp_path / "c.safetensors"
    step = breaking(denoiser(), at=7, value=torch.inf)
    with pytest.raises(TrainingDiverged, match=r"loss became inf at step 7 .* checkpoint is .*c\.safetensors"):
        run(step, data, checkpoint=path, checkpoint_every=0.0)
    assert load_checkpoint(path, denoiser().state)["history"]["steps"] == 6
    healed = denoiser()
    run(healed, data, checkpoint=path)
    twin = denoiser()
    run(twin, data)
    assert torch.equal(weights(healed), weights(twin))


@pytest.mark.parametrize(
    ("losses", "error", "message"),
    [
        (lambda: 0.5, TypeError, "'loss' is float. Return loss itself, not loss.item()"),
        (lambda: torch.zeros(2), TypeError, r"'loss' is shape \(2,\)"),
        (lambda: torch.tensor(1j), TypeError, r"'loss' is shape \(\), torch.complex64"),
        (lambda: {"a": None}, TypeError, "'a' is NoneType"),
    ],
)
@pytest.mark.usefixtures("without_annotations")
def test_a_step_that_returns_no_scalar_tensor_is_told(data, losses, error, message):
    with pytest.raises(error, match=message):
        run(lambda _: losses(), data, state={})


def test_an_error_in_a_step_says_in_which_batch():
    model = nn.Sequential(nn.Linear(6, 2), nn.BatchNorm1d(2))
    step = Descent(model, lambda x: model(x).square().mean())
    with pytest.raises(ValueError, match="more than 1 value per channel") as caught:
        run(step, torch.rand(49, 6))
    assert caught.value.__notes__ == ["This happened in step 4, epoch 1, with a batch of 1 of the 49 samples."]


@pytest.mark.parametrize("kind", [MemoryError, torch.OutOfMemoryError])
def test_a_device_too_small_for_a_batch_names_what_to_lower(data, kind):
    def step(x):
        raise kind("no")

    with pytest.raises(CourseError, match=r"not enough memory on cpu for a batch of 16 samples: lower batch_size"):
        run(step, data, state={})


def test_a_device_too_small_for_the_data_is_told():
    data = torch.zeros(1).expand(10**15)  # one number in memory; a copy has all of them

    def step(x):
        raise AssertionError("there is no memory for a step")

    class Copied(torch.nn.Module):
        def to(self, *arguments):
            data.clone()

    with pytest.raises(CourseError, match=r"not enough memory on cpu for the data and the models: take fewer samples"):
        fit(step, torch.zeros(3), epochs=1, device="cpu", state={"model": Copied()})


@pytest.mark.usefixtures("without_annotations")
def test_a_step_is_a_function(data):
    with pytest.raises(TypeError, match="step: expected a function, got NoneType"):
        run(None, data)


def test_a_step_that_changes_its_losses_is_told(data):
    names = iter("aab")
    with pytest.raises(ValueError, match=r"\('a',\) at first, \('b',\) at step 3"):
        run(lambda _: {next(names): torch.tensor(0.0)}, data, state={})


# Interruption and resumption; a run that is killed is in test_resume


@pytest.fixture
def ctrl_c():
    """Ctrl-C interrupts, also where the tests run in the background of a shell that has them ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_saves_a_whole_step_and_the_run_goes_on_to_the_same_bits(data, tmp_path):
    path = tmp_path / "deep" / "c.safetensors"
    step, calls = denoiser(), []

    def pressed(x):
        calls.append(x)
        if len(calls) == 6:
            signal.raise_signal(signal.SIGINT)
        return step(x)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(pressed, data, state=step.state, checkpoint=path)
    assert signal.getsignal(signal.SIGINT) is before
    assert load_checkpoint(path, {})["history"]["steps"] == len(calls) == 6

    resumed, twin = denoiser(), denoiser()
    history = run(resumed, data, checkpoint=path)
    expected = run(twin, data)
    np.testing.assert_array_equal(history.losses["loss"], expected.losses["loss"])
    assert torch.equal(weights(resumed), weights(twin))


@pytest.mark.usefixtures("ctrl_c")
def test_a_second_ctrl_c_does_not_wait(data, tmp_path):
    def pressed(x):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("still running")

    with pytest.raises(KeyboardInterrupt):
        run(pressed, data, state=denoiser().state, checkpoint=tmp_path / "c.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_run_in_another_thread_leaves_signals_alone(data, tmp_path):
    path = tmp_path / "c.safetensors"
    thread = threading.Thread(target=run, args=(denoiser(), data), kwargs={"checkpoint": path})
    thread.start()
    thread.join()
    assert path.exists()


def test_a_finished_run_is_not_repeated_and_more_epochs_continue_it(data, tmp_path):
    path = tmp_path / "c.safetensors"
    finished = run(denoiser(), data, checkpoint=path, on_epoch_end=lambda epoch, _: {"twice": 2 * epoch})
    again = run(lambda _: pytest.fail("a step"), data, state=denoiser().state, checkpoint=path)
    np.testing.assert_array_equal(again.losses["loss"], finished.losses["loss"])
    assert again.extra["twice"].tolist() == [2, 4, 6]
    assert again.checkpoint == path
    longer = run(denoiser(), data, checkpoint=path, epochs=5)
    np.testing.assert_array_equal(longer.losses["loss"], run(denoiser(), data, epochs=5).losses["loss"])
    np.testing.assert_array_equal(longer.extra["twice"], [2, 4, 6, np.nan, np.nan])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": 1}, "seed is 0 there, 1 here. Delete it or name another file"),
        ({"batch_size": 8}, "batch_size is 16 there, 8 here"),
        ({"data": torch.zeros(49, 6)}, r"data\[0\] is float32 \(50, 6\) with checksum \w+ there, float32 \(49, 6\)"),
        (
            {"data": torch.zeros(50, 6)},
            r"data\[0\] is float32 \(50, 6\) with checksum \w+ there, float32 \(50, 6\) with",
        ),
        ({"epochs": 2}, "has done 12 steps, epochs=2 makes 8"),
        ({"state": {"net": nn.Linear(6, 6)}}, r"state is \['model', 'optimizer'\] there, \['net'\] here"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(data, tmp_path, settings, message):
    path = tmp_path / "c.safetensors"
    run(denoiser(), data, checkpoint=path)
    step = denoiser()
    before = weights(step)
    with pytest.raises(CourseError, match=message):
        run(step, checkpoint=path, **{"data": data} | settings)
    assert torch.equal(weights(step), before)


def small(lr=0.1, weight_decay=0.0, activation=nn.ReLU, p=0.1, gamma=0.5, kind=torch.optim.SGD):
    """The state of a run with a schedule, and its step."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 6), activation(), nn.Dropout(p))
    optimizer = kind(model.parameters(), lr=lr, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma)
    descent = Descent(model, lambda x: model(x).square().mean(), optimizer=optimizer)

    def step(x):
        loss = descent(x)
        schedule.step()
        return loss

    return step, {"model": model, "optimizer": optimizer, "schedule": schedule}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0.01}, r"optimizer 0 lr is 0\.1 there, 0\.01 here"),
        ({"weight_decay": 1e-3}, r"optimizer 0 weight_decay is 0\.0 there, 0\.001 here"),
        ({"activation": nn.Tanh}, r"model 1 is ReLU\(\) there, Tanh\(\) here"),
        ({"p": 0.5}, r"model 2 is Dropout\(p=0\.1, .*\) there, Dropout\(p=0\.5"),
        ({"gamma": 0.9}, r"schedule gamma is 0\.5 there, 0\.9 here"),
        ({"kind": torch.optim.Adam}, r"optimizer 0 betas is absent there, \(0\.9, 0\.999\) here; .* more\. Delete"),
    ],
)
def test_a_run_does_not_go_on_with_other_settings(data, tmp_path, settings, message):
    path = tmp_path / "c.safetensors"
    step, state = small()
    run(step, data, state=state, checkpoint=path)
    step, state = small(**settings)
    before = state["model"][0].weight.clone()
    with pytest.raises(CourseError, match=message):
        run(step, data, state=state, checkpoint=path, epochs=5)
    assert torch.equal(state["model"][0].weight, before)


@pytest.mark.parametrize("afresh", [True, False], ids=["another process", "the same objects"])
def test_rates_that_a_run_moves_are_no_other_settings(data, tmp_path, afresh):
    path = tmp_path / "c.safetensors"
    step, state = small()
    for epochs in (1, 2, 4):
        run(step, data, state=state, checkpoint=path, epochs=epochs)
        if afresh:
            step, state = small()
    step, state = small()
    whole = run(step, data, state=state, epochs=4)
    np.testing.assert_array_equal(load_checkpoint(path, {})["history"]["losses"]["loss"], whole.losses["loss"])


def test_schedules_within_a_schedule_go_on(data, tmp_path):
    def scheduled():
        _, state = small()
        parts = [torch.optim.lr_scheduler.LinearLR(state["optimizer"], total_iters=3)]
        parts += [torch.optim.lr_scheduler.MultiStepLR(state["optimizer"], [2, 5])]
        schedule = torch.optim.lr_scheduler.SequentialLR(state["optimizer"], parts, [4])
        descent = Descent(state["model"], lambda x: state["model"](x).square().mean(), optimizer=state["optimizer"])

        def step(x):
            loss = descent(x)
            schedule.step()
            return loss

        return step, state | {"schedule": schedule}

    for epochs in (1, 2, 4):
        step, state = scheduled()
        resumed = run(step, data, state=state, checkpoint=tmp_path / "c", epochs=epochs)
    step, state = scheduled()
    np.testing.assert_array_equal(resumed.losses["loss"], run(step, data, state=state, epochs=4).losses["loss"])


def test_a_place_where_nothing_can_be_written_is_told_before_the_first_step(data, tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "c", tmp_path / ("n" * 300)):
        with pytest.raises(CourseError, match=r"could not be written \("):
            run(lambda _: pytest.fail("a step"), data, state=denoiser().state, checkpoint=place)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
