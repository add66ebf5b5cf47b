import numpy as np
import torch

from coursekit.training import History


def history(losses, samples=5, batch_size=2):
    made = History(samples, batch_size)
    for loss in losses:
        made.record(torch.tensor(loss))
    made.flush()
    return made


def test_epoch_losses_are_means_of_whole_epochs():
    made = history([1.0, 2.0, 6.0, 4.0, 5.0, 0.0, 7.0])
    assert (made.steps_per_epoch, made.epochs, made.steps) == (3, 2, 7)
    np.testing.assert_allclose(made.epoch_losses["loss"], [3.0, 3.0])
    assert history([1.0]).epoch_losses["loss"].shape == (0,)


def test_samples_count_the_smaller_last_batch():
    made = history([1.0] * 7)
    assert made.samples_per_second == 0.0
    made.load_state_dict(made.state_dict() | {"seconds": 2.0})
    assert made.samples_per_second == 6.0  # 5 + 5 + 2 samples


def test_flushing_in_pieces_gives_the_same_losses():
    values, made = [0.5, 0.25, 4.0], History(5, 2)
    for value in values:
        made.record(torch.tensor(value, dtype=torch.float64))
        made.flush()
    np.testing.assert_array_equal(made.losses["loss"], history(values).losses["loss"])


def test_the_summary_is_one_stable_line():
    assert repr(history([])) == "Trained 0 epochs, 0 steps"
    assert repr(history([3.0])) == "Trained 0 epochs, 1 step"
    assert repr(history([1.0, 2.0, 6.0])) == "Trained 1 epoch, 3 steps: loss 3"
    made = History(2, 2)
    for critic in (0.12345, 8.0):
        made.record({"critic": torch.tensor(critic), "generator": torch.tensor(1.0)})
    made.flush()
    assert repr(made) == "Trained 2 epochs, 2 steps: critic 0.1235 → 8, generator 1 → 1"


def test_losses_stay_in_the_form_they_were_computed_in_until_flushed():
    made = History(4, 2)
    weight = torch.ones((), requires_grad=True)
    made.record(2 * weight)
    assert made.losses == {}
    assert not made._pending[0].requires_grad
