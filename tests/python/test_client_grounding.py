"""Boxes and points in a model's words become places in the pictures that were sent."""

import json
import random

import pytest

from hearth import grounding, messages


def seen(width=2000, height=1000, seen_width=1000, seen_height=500):
    return messages.SeenPicture(
        width=width, height=height, seen_width=seen_width, seen_height=seen_height, tokens=1
    )


def find(text, coordinates="thousandths", picture=None):
    return grounding.find(text, [picture or seen()], coordinates)


BOX = '[{"bbox_2d": [100, 200, 300, 400], "label": "cat"}]'


@pytest.mark.parametrize(
    "text",
    [
        BOX,
        f"```json\n{BOX}\n```",
        f"Here it is:\n```\n{BOX}\n```\nThat is all [of it].",
        '{"objects": [{"box_2d": [100, 200, 300, 400], "text_content": "cat"}]}',
        '{"bbox_2d": [[100, 200, 300, 400]], "label": "cat"}',
        "<|object_ref_start|>cat<|object_ref_end|><|box_start|>(100,200),(300,400)<|box_end|>",
        "cat(100,200),(300,400)",
        "There is one: cat (100, 200), (300, 400).",
    ],
)
def test_a_box_is_found_however_it_is_written(text):
    assert find(text) == ([grounding.Spot("cat", (200, 200, 600, 400), None)], [])


def test_thousandths_count_the_pictures_sides():
    (spot,), problems = find('[{"point_2d": [500, 1000], "label": "x"}]')
    assert spot == ("x", None, (1000.0, 1000.0)) and not problems


def test_pixels_count_the_picture_as_it_was_seen():
    (spot,), problems = find('[{"bbox_2d": [500, 0, 1000, 500], "label": "x"}]', "pixels")
    assert spot.box == (1000.0, 0.0, 2000.0, 1000.0) and not problems


def test_the_picture_that_is_meant_can_be_chosen():
    pictures = [seen(), seen(100, 100)]
    (spot,), _ = grounding.find(BOX, pictures, "thousandths", picture=1)
    assert spot.box == (10, 20, 30, 40)
    spots, (problem,) = grounding.find(BOX, pictures, "thousandths", picture=2)
    assert not spots and "no picture 3" in problem


def test_a_model_that_names_no_places_gives_none_and_says_so():
    spots, (problem,) = find(BOX, "none")
    assert not spots and "1 places are left out" in problem


def test_of_a_text_that_ends_too_early_the_whole_items_are_kept():
    items = json.dumps([{"bbox_2d": [i, i, i + 10, i + 10], "label": str(i)} for i in range(9)])
    whole, problems = find(items)
    assert len(whole) == 9 and not problems
    for length in range(len(items)):
        kept, problems = find(items[:length])
        assert kept == whole[: len(kept)]
        assert len(kept) == items[:length].count("}")
        assert problems or not kept, items[:length]


def test_what_is_wrong_with_an_item_is_said():
    text = json.dumps(
        [
            {"bbox_2d": [300, 400, 100, 200], "label": "turned"},
            {"bbox_2d": [1, 2, 3], "label": "short"},
            {"bbox_2d": [1, 2, 3, "4"], "label": "worded"},
            {"bbox_2d": [1, 2, 3, True], "label": "true"},
            {"bbox_2d": [900, 900, 1900, 950], "label": "wide"},
            {"point_2d": None, "label": "nowhere"},
        ]
    )
    spots, problems = find(text)
    assert [spot.label for spot in spots] == ["turned", "wide"]
    assert spots[0].box == (200, 200, 600, 400)
    assert spots[1].box == (1800, 900, 2000, 950)
    words = ["exchanged", "short", "worded", "true", "cut at its border", "nowhere"]
    assert len(problems) == len(words)
    assert all(word in problem for word, problem in zip(words, problems, strict=True))


def test_numbers_that_are_none_are_left_out():
    for number in ("NaN", "Infinity", "1e400", "1e300"):
        spots, (problem,) = find(f'[{{"bbox_2d": [1, 2, 3, {number}], "label": "x"}}]')
        assert not spots and "left out" in problem


def test_a_label_of_null_is_none():
    (spot,), _ = find('[{"bbox_2d": [1, 2, 3, 4], "label": null}]')
    assert spot.label == ""


def test_words_without_places_are_no_problem():
    for text in ("", "A cat.", "See [1] and {this}.", "[]", "{}", '{"answer": [1, 2]}'):
        assert find(text) == ([], [])


def test_several_boxes_of_one_label_follow_each_other():
    spots, _ = find("cups(1,2),(3,4),(5,6),(7,8) and plate(9,10),(11,12)")
    assert [spot.label for spot in spots] == ["cups", "cups", "and plate"]


def test_moved_brings_places_back_to_the_source():
    spots, _ = find('[{"bbox_2d": [0, 0, 10, 10]}, {"point_2d": [1, 1]}]', picture=seen(1000, 1000))
    box, point = grounding.moved(spots, 5, 7)
    assert box.box == (5, 7, 15, 17) and point.point == (6, 8)


def test_no_text_makes_it_fail():
    seed = random.randrange(1 << 30)
    print("seed", seed)
    draw = random.Random(seed)
    pieces = ["[", "{", "}", "]", '"bbox_2d"', ":", ",", "1", "-2", "(3,4)", '"label"', "é", "\\"]
    for _ in range(2000):
        find("".join(draw.choices(pieces, k=draw.randrange(30))))
    for deep in ("[" * 100_000, "[{" * 10_000, '{"bbox_2d":' * 2000, "(1,2)," * 20_000):
        find(deep)
