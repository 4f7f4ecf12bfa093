"""The embedded model's world: what is drawn, what is said about it, and how words are scored."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "models" / "ember"))
import world

SCENE = world.Scene(
    width=160,
    height=128,
    background="gray",
    things=(
        world.Thing("star", "orange", "large", "top", 80, 30, 25),
        world.Thing("cross", "red", "small", "middle", 80, 64, 15),
        world.Thing("star", "blue", "small", "bottom left", 26, 106, 15),
    ),
)
CAPTION = (
    "Three shapes on a gray background: a large orange star at the top, a small red cross in the "
    "middle and a small blue star at the bottom left."
)
EMPTY = world.Scene(160, 128, "black", ())


def answers(scene):
    return {question.text: question.answer for question in world.questions(scene)}


def test_the_same_seed_draws_the_same_picture():
    first, scene = world.draw(7)
    again, same_scene = world.draw(7)
    assert np.array_equal(np.asarray(first), np.asarray(again))
    assert scene == same_scene


def test_other_seeds_draw_other_pictures():
    assert len({world.draw(seed)[0].tobytes() for seed in range(20)}) == 20


def test_a_picture_is_as_large_as_its_scene_and_within_the_limits():
    for seed in range(50):
        image, scene = world.draw(seed)
        assert image.mode == "RGB"
        assert image.size == (scene.width, scene.height)
        assert all(world.SHORTEST_SIDE <= side <= world.LONGEST_SIDE for side in image.size)


def test_objects_stay_apart_and_inside():
    for seed in range(200):
        _, scene = world.draw(seed)
        for thing in scene.things:
            assert thing.radius < thing.x < scene.width - thing.radius
            assert thing.radius < thing.y < scene.height - thing.radius
        for i, a in enumerate(scene.things):
            for b in scene.things[i + 1 :]:
                assert math.hypot(a.x - b.x, a.y - b.y) > a.radius + b.radius


def test_the_pixels_show_what_the_scene_says():
    for seed in range(100):
        image, scene = world.draw(seed)
        for thing in scene.things:
            # The centre belongs to every shape.
            seen = np.array(image.getpixel((round(thing.x), round(thing.y))))
            nearest = min(world.COLOURS, key=lambda name: np.abs(seen - world.COLOURS[name]).sum())
            assert nearest == thing.colour, f"seed {seed}"


def test_every_place_is_where_it_is_called():
    for seed in range(200):
        _, scene = world.draw(seed)
        for thing in scene.things:
            column, row = int(3 * thing.x / scene.width), int(3 * thing.y / scene.height)
            assert world.PLACES[3 * row + column] == thing.place, f"seed {seed}"


def test_a_caption_tells_the_whole_scene():
    assert world.caption(SCENE) == CAPTION


def test_an_empty_picture_has_a_caption_too():
    assert world.caption(EMPTY) == "No shapes on a black background."


def test_the_truth_scores_in_full():
    for scene in (SCENE, EMPTY, *(world.draw(seed)[1] for seed in range(50))):
        tallies = world.score(scene, world.caption(scene))
        assert all(right == total for right, total in tallies.values())


@pytest.mark.parametrize(
    ("attribute", "true_words", "false_words", "right"),
    [
        ("count", "Three shapes", "Two shapes", 0),
        ("background", "gray background", "white background", 0),
        ("shape", "red cross", "red circle", 2),
        ("colour", "red cross", "blue cross", 2),
        ("size", "small red", "large red", 2),
    ],
)
def test_one_wrong_attribute_counts_as_one_wrong(attribute, true_words, false_words, right):
    tallies = world.score(SCENE, CAPTION.replace(true_words, false_words))
    assert tallies[attribute][0] == right
    others = [tally for name, tally in tallies.items() if name != attribute]
    assert all(right == total for right, total in others)


def test_an_object_at_the_wrong_place_has_nothing_right():
    tallies = world.score(SCENE, CAPTION.replace("at the bottom left", "at the right"))
    # Two of three places hold, and the fourth one was made up.
    assert tallies["place"] == (2, 4)
    assert tallies["shape"] == tallies["colour"] == tallies["size"] == (2, 3)


@pytest.mark.parametrize("text", ["", "I do not know.", "A picture of a cat."])
def test_other_words_score_nothing(text):
    assert all(right == 0 for right, _ in world.score(SCENE, text).values())


def test_questions_have_the_right_answers():
    told = answers(SCENE)
    assert told["How many shapes are there?"] == "Three."
    assert told["What colour is the background?"] == "Gray."
    assert told["What is at the top?"] == "A large orange star."
    assert told["What is at the right?"] == "Nothing."
    assert told["Where is the cross?"] == "In the middle."
    assert told["What colour is the circle?"] == "There is no circle."
    assert told["Is there a blue star?"] == "Yes."
    assert told["Is there an orange cross?"] == "No."


def test_nothing_is_asked_that_has_two_answers():
    assert "What colour is the star?" not in answers(SCENE)
    assert "Is there a star?" in answers(SCENE)


def test_no_question_is_asked_twice():
    for seed in range(50):
        texts = [question.text for question in world.questions(world.draw(seed)[1])]
        assert len(texts) == len(set(texts))
