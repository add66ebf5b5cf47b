import pytest
import torch

from coursekit.datasets.captions import (
    COLOURS,
    FORMS,
    HEIGHT,
    MOST,
    OBJECTS,
    WIDTH,
    WORDS,
    all_captions,
    caption,
    captioned_shapes,
)


@pytest.fixture(scope="module")
def data():
    return captioned_shapes(300)


def objects_in(words):
    """The objects that a caption names."""
    said = [word for word in words if word not in ("a", "and", ",")]
    return list(zip(said[::2], said[1::2], strict=True))


def test_parts_fit_together(data):
    assert data.images.shape == (300, 3, HEIGHT, WIDTH)
    assert data.images.dtype == torch.float32
    assert 0 <= data.images.min() < data.images.max() <= 1
    assert WORDS.decode(data.tokens) == data.captions


@pytest.mark.parametrize(
    ("objects", "text"),
    [
        ([("red", "cross")], "a red cross"),
        ([("red", "cross"), ("red", "cross")], "a red cross and a red cross"),
        ([("blue", "circle"), ("red", "cross"), ("green", "square")], "a blue circle , a red cross and a green square"),
    ],
)
def test_captions(objects, text):
    assert " ".join(caption(objects)) == text


def test_one_to_three_objects_are_equally_frequent_and_all_of_them_occur(data):
    counts = [len(objects_in(words)) for words in data.captions]
    assert [counts.count(k) for k in range(1, MOST + 1)] == [100] * 3
    assert {it for words in data.captions for it in objects_in(words)} == set(OBJECTS)


def test_the_colours_of_the_caption_are_on_the_image_from_left_to_right(data):
    """The columns in which a pixel is close to a colour of the palette, at any brightness."""
    hues = torch.nn.functional.normalize(torch.tensor(list(COLOURS.values())), dim=1)  # (4, 3)
    for image, words in zip(data.images[:120], data.captions, strict=False):
        bright = image.amax(dim=0) > 0.6  # (h, w)
        likeness = torch.einsum("chw,kc->khw", torch.nn.functional.normalize(image, dim=0), hues)
        columns = [bright[:, x].any() for x in range(WIDTH)]
        seen = []
        for x, any_object in enumerate(columns):
            if any_object and (x == 0 or not columns[x - 1]):  # an object begins
                end = next((e for e in range(x, WIDTH) if not columns[e]), WIDTH)
                votes = (likeness[:, :, x:end] * bright[:, x:end]).flatten(1).sum(dim=1)
                seen.append(list(COLOURS)[votes.argmax()])
        colours = [colour for colour, _ in objects_in(words)]
        if len(seen) == len(colours):  # objects whose columns touch are seen as one
            assert seen == colours


def test_all_captions_are_those_that_can_be_drawn():
    texts = all_captions()
    assert len(texts) == len(set(texts)) == 16 + 16**2 + 16**3
    assert {" ".join(words) for words in captioned_shapes(60).captions} <= set(texts)


def test_excluded_captions_are_never_drawn():
    without = [text for text in all_captions() if "circle" in text]
    assert not any("circle" in words for words in captioned_shapes(200, without=without).captions)
    with pytest.raises(ValueError, match="without: every caption of 1 object is excluded"):
        captioned_shapes(2, without=[f"a {colour} {form}" for colour in COLOURS for form in FORMS])


def test_fewer_objects_can_be_left_out():
    assert all(len(objects_in(words)) >= 2 for words in captioned_shapes(30, fewest=2).captions)


def test_images_depend_on_the_seed_alone():
    before = torch.get_rng_state()
    assert torch.equal(captioned_shapes(5, seed=1).images, captioned_shapes(5, seed=1).images)
    assert not torch.equal(captioned_shapes(5, seed=1).images, captioned_shapes(5, seed=2).images)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n": 0}, ValueError, "n: expected an integer from 1 on, got 0"),
        ({"n": 2.0}, TypeError, "n: expected an integer, got float 2.0"),
        ({"fewest": 4}, ValueError, "fewest: expected an integer from 1 to 3, got 4"),
        ({"without": ["a pink elephant"]}, ValueError, "without: 'a pink elephant' is no caption"),
    ],
)
def test_images_that_cannot_be_drawn_are_refused(without_annotations, arguments, error, message):
    with pytest.raises(error, match=message):
        captioned_shapes(**{"n": 3} | arguments)


@pytest.mark.parametrize("wrong", [("red", "star"), ("circle", "red"), "green", None, [("red", "cross")] * 2])
def test_what_is_no_object_has_no_caption(wrong, without_annotations):
    with pytest.raises(ValueError, match="objects: expected pairs of a colour and a form"):
        caption([("blue", "circle"), wrong])
