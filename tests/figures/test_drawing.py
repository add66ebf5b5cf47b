"""Every image, curve and point is drawn where it belongs."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from coursekit import figures


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


def test_titles_stand_above_their_columns(ax):
    figures.image_rows(ax, {"x": torch.zeros(2, 3, 4, 4)}, titles=["left", "right"])
    places = {text.get_text(): text.xy for text in ax.texts}
    assert places["left"][0] < places["right"][0]
    assert places["left"][1] == places["right"][1] < 0


def test_signed_pictures_are_scaled_one_by_one_around_white(ax):
    filters = torch.tensor([[[[1.0, -4.0]]], [[[0.0, 0.02]]]])  # (2, 1, 1, 2)
    figures.image_grid(ax, filters, columns=1, signed=True)
    assert drawn(ax)[0].tolist() == [0.25, -1]
    assert drawn(ax)[2].tolist() == [0, 1]
    assert ax.images[-1].get_clim() == (-1, 1)


def test_signed_colour_pictures_have_mid_grey_for_zero(ax):
    filters = torch.tensor([2.0, 0.0, -1.0]).view(1, 3, 1, 1)
    figures.image_grid(ax, filters, signed=True)
    assert drawn(ax)[0, 0].tolist() == [1, 0.5, 0.25]


def test_a_number_as_signed_is_one_scale_for_all(ax):
    figures.image_grid(ax, torch.tensor([1.0, -4.0]).view(2, 1, 1, 1), columns=2, signed=8.0)
    assert [drawn(ax)[0, 0], drawn(ax)[0, 2]] == [0.125, -0.5]


def test_a_heat_map_covers_the_picture_and_is_clear_where_it_is_zero(ax):
    heat = torch.tensor([[0.0, 2.0], [-1.0, 0.0]])
    assert figures.heat_map(ax, torch.zeros(3, 8, 8), heat) is ax
    below, above = ax.images
    assert list(below.get_extent()) == list(above.get_extent()) == [-0.5, 7.5, 7.5, -0.5]
    assert above.get_clim() == (-2, 2)
    alpha = np.asarray(above.get_alpha())
    assert alpha[0, 0] == 0
    assert alpha[0, 1] > alpha[1, 0] > 0


def test_a_heat_map_of_zeros_can_be_drawn(ax):
    figures.heat_map(ax, torch.zeros(1, 4, 4), torch.zeros(2, 2))
    ax.figure.canvas.draw()


ONE = torch.zeros(1, 1, 2, 2)


@pytest.mark.usefixtures("without_annotations")
@pytest.mark.parametrize(
    ("draw", "error", "message"),
    [
        (lambda ax: figures.image_grid(ax, torch.zeros(0, 1, 2, 2)), ValueError, "images: expected at least one"),
        (lambda ax: figures.image_grid(ax, torch.zeros(1, 2, 2, 2)), ValueError, "images: expected 1 or 3 channels"),
        (lambda ax: figures.image_grid(ax, ONE[0]), ValueError, r"images: expected a batch .* pass images\[None\]"),
        (lambda ax: figures.image_grid(ax, ONE.byte()), TypeError, r"images: .*got uint8; images.float\(\) / 255"),
        (lambda ax: figures.image_grid(ax, ONE / 0), ValueError, "images: 4 of 4 numbers are NaN or infinite"),
        (lambda ax: figures.image_grid(ax, ONE.numpy()), TypeError, "images: expected a tensor, got ndarray"),
        (
            lambda ax: figures.image_grid(ax, ONE, columns=0),
            ValueError,
            "columns: expected an integer from 1 on, got 0",
        ),
        (lambda ax: figures.image_grid(ax, ONE, columns=1.5), TypeError, "columns: expected an integer, got float 1.5"),
        (lambda ax: figures.image_grid(ax, ONE, signed=0.0), ValueError, "signed: expected a number > 0, got 0.0"),
        (lambda ax: figures.image_grid(ax, ONE, signed="all"), TypeError, "signed: expected a number, got str 'all'"),
        (lambda ax: figures.image_rows(ax, {"x": ONE[0]}), ValueError, r"rows\['x'\]: expected a batch"),
        (lambda ax: figures.image_rows(ax, {}), ValueError, r"expected rows of one shape, got \[\]"),
        (lambda ax: figures.heat_map(ax, ONE, ONE[0, 0]), ValueError, r"image: expected shape \(c, h, w\)"),
        (lambda ax: figures.heat_map(ax, ONE[0], ONE[0]), ValueError, r"heat: expected shape \(a, b\)"),
        (lambda ax: figures.heat_map(ax, ONE[0], ONE[0, 0] > 0), TypeError, "heat: expected float32 .* got bool"),
        (lambda ax: figures.heat_map(ax, ONE[0], ONE[0, 0], -1.0), ValueError, "limit: expected a number ≥ 0, got -1"),
        (lambda ax: figures.image_rows(ax, {"x": ONE}, "a"), TypeError, "titles: expected a list of texts, got 'a'"),
        (lambda ax: figures.map_table(ax, ONE, {}, [1]), TypeError, r"titles: expected a list of texts, got \[1\]"),
        (lambda ax: figures.map_table(ax, ONE.expand(-1, 2, -1, -1), {}), ValueError, "expected 1 or 3 channels"),
        (lambda ax: figures.map_table(ax, ONE, {"m": [[0]]}), TypeError, r"maps\['m'\]: expected a tensor, got list"),
        (
            lambda ax: figures.map_table(ax, ONE, {"m": ONE[0]}, limits={"n": 1}),
            ValueError,
            r"names of maps, got \['n'",
        ),
        (lambda ax: figures.map_table(ax, ONE, {"m": ONE[0]}, limits={"m": 0}), ValueError, r"limits\['m'\]: .* > 0"),
        (lambda ax: figures.dots(ax, {}), ValueError, "series: expected at least one sample, got none"),
        (
            lambda ax: figures.dots(ax, {"a": {"b": [1.0]}}),
            TypeError,
            r"series\['a'\]\['b'\]: expected Tensor, got list",
        ),
        (lambda ax: figures.dots(ax, {"a": {"b": torch.ones(2, 2)}}), ValueError, r"\['b'\]: expected shape \(n\)"),
        (lambda ax: figures.dots(ax, {"a": {"b": torch.ones(0)}}), ValueError, r"\['b'\]: expected at least one"),
        (lambda ax: figures.dots(ax, {"a": {"b": torch.ones(2) / 0}}), ValueError, r"\['b'\]: 2 of 2 numbers"),
        (lambda ax: figures.points(ax, torch.zeros(2, 3), torch.tensor([0, 0]), "a"), ValueError, r"xy: .* \(n, 2\)"),
        (lambda ax: figures.points(ax, torch.zeros(1, 2), torch.tensor([1]), "a"), ValueError, r"labels: .*got \[1\]"),
    ],
)
def test_what_cannot_be_drawn_is_told(ax, draw, error, message):
    with pytest.raises(error, match=message):
        draw(ax)
    assert not ax.images
    assert not ax.lines


def test_rows_are_labelled_from_top_to_bottom(ax):
    figures.image_rows(ax, {"x": torch.zeros(3, 1, 4, 4), "x̂": torch.ones(3, 1, 4, 4)})
    labels = {text.get_text(): text.xy[1] for text in ax.texts}
    assert labels["x"] < labels["x̂"]
    assert drawn(ax)[0, 0] == 0
    assert drawn(ax)[-1, -1] == 1
    with pytest.raises(ValueError, match="one title for each of the 3 columns, got 1"):
        figures.image_rows(ax, {"x": torch.zeros(3, 1, 4, 4)}, titles=["a"])
    with pytest.raises(ValueError, match="rows of one shape"):
        figures.image_rows(ax, {"x": torch.zeros(3, 1, 4, 4), "x̂": torch.ones(2, 1, 4, 4)})


def test_the_maps_of_a_row_share_a_scale_that_is_written_beside_it(ax):
    images, maps = torch.rand(2, 3, 4, 4), torch.zeros(2, 4, 4)
    maps[0, 0, 0], maps[1, 0, 0] = 2.0, -1.0
    figures.map_table(ax, images, {"gradient": maps, "occlusion": 10 * maps}, ["a", "b"], limits={"gradient": 2.0})
    canvas = drawn(ax)
    assert canvas.shape == (14, 9, 3)  # three rows and two columns, gaps of one pixel
    assert canvas[5, 0, 0] < 0.5  # dark red: the limit
    assert canvas[5, 0, 2] < canvas[5, 0, 0]
    assert canvas[5, 5, 2] > canvas[5, 5, 0]  # blue, and paler
    assert canvas[6, 6] == pytest.approx([0.97, 0.97, 0.97], abs=0.02)  # 0 is nearly white
    written = [text.get_text() for text in ax.texts]
    assert written[:4] == ["input", "", "gradient", "±2"]
    assert written[-2:] == ["a", "b"]


@pytest.mark.parametrize(("largest", "scale"), [(4.0, "±4"), (0.0, "±1")])
def test_maps_that_are_nearly_all_zero_have_the_scale_of_the_rest(ax, largest, scale):
    maps = torch.zeros(1, 20, 20)
    maps[0, 0, 0] = largest  # one of 400 pixels, beyond the quantile
    figures.map_table(ax, torch.zeros(1, 1, 20, 20), {"sparse": maps})
    assert [text.get_text() for text in ax.texts][3] == scale


def test_methods_can_stand_across(ax):
    maps = torch.zeros(2, 4, 4)
    maps[1, 0, 0] = 1.0
    images = torch.zeros(2, 3, 4, 4)
    figures.map_table(ax, images, {"gradient": maps}, ["a", "b"], across=True, limits={"gradient": 1.0})
    canvas = drawn(ax)
    assert canvas.shape == (9, 9, 3)
    assert canvas[5, 5, 0] > canvas[5, 5, 2]  # red, in the gradient of the second image
    assert [text.get_text() for text in ax.texts] == ["a", "b", "input\n", "gradient\n±1"]


@pytest.mark.parametrize(
    ("maps", "extra", "message"),
    [
        (torch.zeros(2, 4, 5), {}, r"maps\['m'\]: expected"),
        (torch.zeros(1, 4, 4), {}, r"maps\['m'\]: expected"),
        (torch.zeros(2, 4, 4), {"titles": ["a"]}, "one title for each of the 2 images, got 1"),
        (torch.zeros(2, 4, 4), {"limits": {"m": -1.0}}, r"limits\['m'\]: expected a number > 0"),
    ],
)
def test_maps_that_do_not_fit_their_images_are_refused(ax, maps, extra, message):
    with pytest.raises(ValueError, match=message):
        figures.map_table(ax, torch.rand(2, 3, 4, 4), {"m": maps}, **extra)


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


def test_dots_stand_at_the_means_with_two_standard_errors(ax):
    sample = torch.tensor([0.0, 1.0, 2.0, 3.0])
    figures.dots(ax, {"trained": {"a": sample, "b": sample + 1}, "random": {"b": sample}})
    (dots, _, (bars,)), other = ax.containers
    assert list(dots.get_xdata()) == [1.5, 2.5]
    assert list(dots.get_ydata()) == [0, 1]
    assert list(other[0].get_ydata()) == [1]
    error = 2 * sample.std().item() / 2
    assert bars.get_segments()[0][:, 0].tolist() == pytest.approx([1.5 - error, 1.5 + error])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["trained", "random"]


def test_dots_of_truth_values_stand_at_fractions(ax):
    figures.dots(ax, {"": {"right": torch.tensor([True, True, False, True])}})
    assert list(ax.containers[0][0].get_xdata()) == [0.75]


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


def test_panels_have_a_title_each():
    figure, (left, right) = figures.panels("a", "b", width=6, height=2)
    assert figure.get_size_inches().tolist() == [6, 2]
    assert [ax.get_title(loc="left") for ax in (left, right)] == ["a", "b"]
    plt.close(figure)


@pytest.mark.usefixtures("without_annotations")
@pytest.mark.parametrize(
    ("titles", "size", "error", "message"),
    [
        ([], {}, ValueError, "one title for each panel, got none"),
        ([["a", "b"]], {}, TypeError, "titles: expected str, got list"),
        (["a"], {"width": 0}, ValueError, "width: expected a number > 0, got 0"),
        (["a"], {"height": "2"}, TypeError, "height: expected a number, got str '2'"),
    ],
)
def test_panels_without_titles_or_size_are_refused(titles, size, error, message):
    before = plt.get_fignums()
    with pytest.raises(error, match=message):
        figures.panels(*titles, **size)
    assert plt.get_fignums() == before


def test_a_sample_of_complex_numbers_is_refused(ax):
    with pytest.raises(TypeError, match="expected float32 or float64, got complex64"):
        figures.dots(ax, {"a": {"b": torch.tensor([1 + 2j])}})


def test_markers_tables_and_shared_axes_are_truth_values(ax, without_annotations):
    for call, name in (
        (lambda: figures.curves(ax, [0, 1], {"a": [1, 2]}, markers="no"), "markers"),
        (lambda: figures.map_table(ax, torch.rand(1, 1, 3, 3), {"a": torch.rand(1, 3, 3)}, across=0), "across"),
        (lambda: figures.panels("a", share_y="row"), "share_y"),
    ):
        with pytest.raises(TypeError, match=f"{name}: expected True or False"):
            call()
