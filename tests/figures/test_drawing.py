"""Drawings put every picture, curve and point where it belongs."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from coursekit import figures


@pytest.fixture
def ax():
    figures.use_style()
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


def drawn(ax):
    return np.asarray(ax.images[-1].get_array())


def test_a_grid_puts_pictures_row_by_row_with_gaps_between(ax):
    pictures = torch.arange(1.0, 4.0).view(3, 1, 1, 1).expand(3, 1, 2, 2) / 4
    assert figures.image_grid(ax, pictures, columns=2) is ax
    canvas = drawn(ax)
    assert canvas.shape == (5, 5)
    assert [canvas[0, 0], canvas[0, 3], canvas[3, 0]] == [0.25, 0.5, 0.75]
    assert np.ma.is_masked(canvas[0, 2]) or np.isnan(canvas[0, 2])
    assert np.isnan(np.ma.filled(canvas, np.nan)[3, 3])  # the fourth place is empty


def test_colour_pictures_keep_their_colours_and_gaps_are_white(ax):
    red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(2, 3, 2, 2)
    figures.image_grid(ax, red, columns=2)
    assert drawn(ax)[0, 0].tolist() == [1, 0, 0]
    assert drawn(ax)[0, 2].tolist() == [1, 1, 1]


def test_signed_pictures_are_scaled_one_by_one_around_white(ax):
    filters = torch.tensor([[[[1.0, -4.0]]], [[[0.0, 0.02]]]])  # (2, 1, 1, 2)
    figures.image_grid(ax, filters, columns=1, signed=True)
    assert drawn(ax)[0].tolist() == [0.25, -1]
    assert drawn(ax)[2].tolist() == [0, 1]
    assert ax.images[-1].get_clim() == (-1, 1)


@pytest.mark.parametrize("shape", [(0, 1, 2, 2), (1, 2, 2, 2)])
def test_a_grid_of_nothing_or_of_odd_channels_is_refused(ax, shape):
    with pytest.raises(ValueError, match="at least one image of 1 or 3 channels, got shape"):
        figures.image_grid(ax, torch.zeros(shape))


def test_rows_are_labelled_from_top_to_bottom(ax):
    figures.image_rows(ax, {"x": torch.zeros(3, 1, 4, 4), "x̂": torch.ones(3, 1, 4, 4)})
    labels = {text.get_text(): text.get_position()[1] for text in ax.texts}
    assert labels["x"] < labels["x̂"]
    assert drawn(ax)[0, 0] == 0
    assert drawn(ax)[-1, -1] == 1
    with pytest.raises(ValueError, match="rows of one shape"):
        figures.image_rows(ax, {"x": torch.zeros(3, 1, 4, 4), "x̂": torch.ones(2, 1, 4, 4)})


def test_curves_differ_in_more_than_colour(ax):
    figures.curves(ax, [1, 2], {"a": [1, 2], "b": [2, 1]})
    first, second = ax.lines
    assert first.get_linestyle() != second.get_linestyle()
    assert first.get_marker() != second.get_marker()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]


def test_a_single_curve_needs_no_legend(ax):
    figures.curves(ax, [1, 2], {"a": [1, 2]}, markers=False)
    assert ax.get_legend() is None
    assert ax.lines[0].get_marker() == "None"


def test_points_are_drawn_with_the_name_of_their_class_or_get_a_legend(ax):
    xy, labels = torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0]]), torch.tensor([0, 1, 1])
    figures.points(ax, xy, labels, ["0", "1"])
    assert [len(it.get_offsets()) for it in ax.collections] == [1, 2]
    assert ax.get_legend() is None
    figures.points(ax, xy, labels, ["cat", "dog"])
    assert [text.get_text() for text in ax.get_legend().get_texts()][-2:] == ["cat", "dog"]


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colour", figures.COLOURS)
def test_every_colour_stands_out_from_white(colour):
    assert 1.05 / (luminance(colour) + 0.05) >= 3  # WCAG 2.1, 1.4.11: graphical objects
