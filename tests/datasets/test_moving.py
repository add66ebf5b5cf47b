import pytest
import torch

from coursekit.datasets.moving import DIRECTIONS, STEPS, moving_shapes


@pytest.fixture(scope="module")
def films():
    return moving_shapes(2000, length=16, side=8)


def test_parts_have_their_shapes(films):
    assert films.frames.shape == (16, 2000, 1, 8, 8)
    assert films.directions.shape == films.places.shape == films.hidden.shape == films.paused.shape == (16, 2000)
    assert set(films.frames.unique().tolist()) == {0.0, 1.0}
    assert films.directions.unique().tolist() == list(range(len(DIRECTIONS)))


def test_places_are_uniform_at_every_time_and_for_every_direction(films):
    for t in (0, 5, 15):
        for direction in range(4):
            places = films.places[t, films.directions[t] == direction]
            counts = torch.bincount(places, minlength=64).double()
            expected = len(places) / 64
            chi_squared = ((counts - expected) ** 2 / expected).sum()
            assert chi_squared < 120  # 63 degrees of freedom: 63 ± 11


def test_the_shape_moves_one_pixel_in_its_direction_unless_it_pauses(films):
    rows, columns = films.places // 8, films.places % 8
    moved = torch.stack([rows.diff(dim=0) % 8, columns.diff(dim=0) % 8], dim=-1)  # (15, n, 2)
    wanted = STEPS[films.directions[1:]] * ~films.paused[1:, :, None] % 8
    assert torch.equal(moved, wanted)


def test_frames_show_the_shape_at_its_place_or_nothing(films):
    seen = films.frames.sum(dim=(2, 3, 4))  # (16, n)
    assert set(seen[films.hidden].tolist()) == {0.0}
    assert set(seen[~films.hidden].tolist()) == {5.0}
    # The centre and its four neighbours, also across the edges.
    flat = films.frames.flatten(2)  # (16, n, 64)
    r, c = films.places // 8, films.places % 8
    for dr, dc in [(0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)]:
        at = (r + dr) % 8 * 8 + (c + dc) % 8
        assert flat.gather(2, at[..., None])[..., 0][~films.hidden].min() == 1


def test_the_first_three_frames_show_two_equal_steps(films):
    assert not films.hidden[:3].any()
    assert not films.paused[:3].any()
    assert torch.equal(films.directions[0], films.directions[2])


def test_it_hides_pauses_and_turns_as_often_as_asked(films):
    free = ~films.hidden & ~films.paused
    begins_to_hide = films.hidden[3:] & free[2:-1]
    begins_to_pause = films.paused[3:] & free[2:-1]
    turns = films.directions[3:] != films.directions[2:-1]
    at_will = free[2:-1].sum()
    assert abs(begins_to_hide.sum() / at_will - 0.2) < 0.02
    assert abs(begins_to_pause.sum() / at_will - 0.15) < 0.02
    assert abs(turns.sum() / at_will - 0.15) < 0.02


def test_it_turns_only_in_a_frame_that_shows_the_step(films):
    turns = films.directions[1:] != films.directions[:-1]
    assert not (turns & (films.hidden[1:] | films.paused[1:])).any()
    assert not (turns & (films.hidden[:-1] | films.paused[:-1])).any()


def test_one_frame_and_a_hidden_pair_say_nothing_of_the_direction(films):
    """The direction is independent of the place; behind the curtain the difference of two frames is 0."""
    both_hidden = films.hidden[1:] & films.hidden[:-1]
    difference = films.frames[1:] - films.frames[:-1]
    assert difference[both_hidden].abs().max() == 0
    paused = films.paused[1:]
    assert difference[paused].abs().max() == 0


def test_films_depend_on_the_seed_alone():
    before = torch.get_rng_state()
    assert torch.equal(moving_shapes(5, seed=1).places, moving_shapes(5, seed=1).places)
    assert not torch.equal(moving_shapes(5, seed=1).places, moving_shapes(5, seed=2).places)
    assert torch.equal(before, torch.get_rng_state())


def test_without_chances_it_goes_straight_on():
    films = moving_shapes(20, hide=0, pause=0, turn=0)
    assert not films.hidden.any()
    assert not films.paused.any()
    assert torch.equal(films.directions[0], films.directions[-1])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n": 0}, ValueError, "n: expected an integer from 1 on, got 0"),
        ({"length": 2}, ValueError, "length: expected an integer from 3 on, got 2"),
        ({"side": 4}, ValueError, "side: expected an integer from 5 on, got 4"),
        ({"hide": 1.5}, ValueError, "hide: expected a number ≥ 0 and ≤ 1, got 1.5"),
        ({"hide": 0.6, "turn": 0.5}, ValueError, "hide, pause, turn: expected a sum of at most 1, got 1.2"),
        ({"turn": "often"}, TypeError, "turn: expected a number, got str 'often'"),
    ],
)
def test_films_that_cannot_be_made_are_refused(without_annotations, arguments, error, message):
    with pytest.raises(error, match=message):
        moving_shapes(**{"n": 3} | arguments)
