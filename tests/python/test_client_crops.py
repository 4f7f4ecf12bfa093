"""The part of a picture that a mask covers."""

import numpy
import pytest
import torch

from hearth import errors
from hearth.crops import crop_to_mask


def picture(count, height, width):
    return numpy.arange(count * height * width * 3, dtype=numpy.float32).reshape(
        count, height, width, 3
    )


def mask_of(height, width, top, left, bottom, right):
    mask = numpy.zeros((height, width), numpy.float32)
    mask[top:bottom, left:right] = 1
    return mask


@pytest.fixture(params=[numpy.asarray, torch.from_numpy], ids=["numpy", "torch"])
def kind(request):
    return request.param


def test_the_covered_part_and_its_margin_are_cut_out(kind):
    image = picture(1, 20, 30)
    (crop,) = crop_to_mask(kind(image), kind(mask_of(20, 30, 4, 5, 8, 10)), 2)
    assert crop[1:] == (3, 2, 9, 8)
    assert numpy.array_equal(numpy.asarray(crop.picture), image[0, 2:10, 3:12])


def test_a_margin_ends_at_the_pictures_border(kind):
    (crop,) = crop_to_mask(kind(picture(1, 20, 30)), kind(mask_of(20, 30, 0, 0, 20, 30)), 5)
    assert crop[1:] == (0, 0, 30, 20)


def test_one_mask_is_for_all_pictures_and_several_are_for_one_each(kind):
    image = kind(picture(2, 20, 30))
    masks = numpy.stack([mask_of(20, 30, 1, 1, 3, 3), mask_of(20, 30, 5, 6, 9, 8)])
    assert [crop[1:] for crop in crop_to_mask(image, kind(masks))] == [(1, 1, 2, 2), (6, 5, 2, 4)]
    assert [crop[1:] for crop in crop_to_mask(image, kind(masks[1:]))] == [(6, 5, 2, 4)] * 2
    with pytest.raises(errors.BadPicture, match="3 masks for 2"):
        crop_to_mask(image, kind(numpy.concatenate([masks, masks[:1]])))


def test_a_picture_and_a_mask_need_no_count(kind):
    image = picture(1, 20, 30)[0]
    (crop,) = crop_to_mask(kind(image), kind(mask_of(20, 30, 1, 1, 3, 3) > 0))
    assert crop[1:] == (1, 1, 2, 2)


def test_an_empty_mask_is_said_to_be_empty_whatever_its_size(kind):
    faint = mask_of(64, 64, 1, 1, 3, 3) * numpy.float32(0.4)
    with pytest.raises(errors.BadPicture, match="is empty"):
        crop_to_mask(kind(picture(1, 20, 30)), kind(faint))
    masks = numpy.stack([mask_of(20, 30, 1, 1, 3, 3), mask_of(20, 30, 1, 1, 1, 1)])
    with pytest.raises(errors.BadPicture, match="Mask 2 is empty"):
        crop_to_mask(kind(picture(2, 20, 30)), kind(masks))


def test_a_mask_of_another_size_is_refused_with_both_sizes(kind):
    with pytest.raises(errors.BadPicture, match="64 x 32 .* 30 x 20"):
        crop_to_mask(kind(picture(1, 20, 30)), kind(mask_of(32, 64, 1, 1, 3, 3)))


def test_what_is_no_picture_or_mask_is_refused(kind):
    with pytest.raises(errors.BadPicture, match="2 dimensions"):
        crop_to_mask(kind(picture(1, 20, 30)[0, 0]), kind(mask_of(20, 30, 0, 0, 1, 1)))
    with pytest.raises(errors.BadRequest, match="margin"):
        crop_to_mask(kind(picture(1, 20, 30)), kind(mask_of(20, 30, 0, 0, 1, 1)), -1)
