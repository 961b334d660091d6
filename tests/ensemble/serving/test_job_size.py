"""The size of a job, from its request alone."""

import pytest

from respin.errors import InvalidInput
from respin.limits import MAX_MESSAGE_BYTES
from respin.model_set import Sizes
from respin.request import RotationRequest
from respin_ensemble.serving.job_size import job_size

MEGAPIXEL = 10**6


def size_of(pixels, outputs=("image",), *, views=1, collected=False):
    request = RotationRequest(b"photo", "cup", azimuth=(10.0,) * views)
    return job_size(request, pixels, set(outputs), Sizes(), collected=collected)


def test_a_larger_photo_takes_more_memory():
    small, large = size_of(MEGAPIXEL // 2), size_of(40 * MEGAPIXEL)
    assert small.working_bytes < large.working_bytes < 2**31


def test_many_views_of_a_large_photo_take_no_more_than_one_because_they_are_finished_one_after_another():
    assert size_of(12 * MEGAPIXEL, views=1).working_bytes == size_of(12 * MEGAPIXEL, views=8).working_bytes


def test_a_collected_answer_is_kept_in_memory():
    streamed = size_of(12 * MEGAPIXEL, views=4)
    collected = size_of(12 * MEGAPIXEL, views=4, collected=True)
    assert collected.working_bytes - streamed.working_bytes >= 4 * 3 * 12 * MEGAPIXEL


def test_an_answer_that_fits_into_no_message_is_refused_in_words():
    with pytest.raises(
        InvalidInput,
        match=r"the answer may have \d+ MiB: image of 8 views of 20\.0 megapixels; a message holds 256 MiB\. Ask for "
        "fewer views or outputs, a smaller photo, or rotate_object_stream",
    ):
        size_of(20 * MEGAPIXEL, views=8, collected=True)
    assert size_of(20 * MEGAPIXEL, views=8).message_bytes <= MAX_MESSAGE_BYTES


def test_outputs_that_are_not_asked_for_do_not_count():
    everything = ("image", "novel_view", "mask", "cut_out", "background")
    with pytest.raises(InvalidInput, match="mask of 1 views"):
        size_of(40 * MEGAPIXEL, everything, collected=True)
    assert size_of(40 * MEGAPIXEL, ("mask",), collected=True).message_bytes < 42 * MEGAPIXEL


def test_the_largest_photo_can_be_segmented_and_streamed():
    largest = 50 * MEGAPIXEL
    size_of(largest, ("mask", "cut_out"), views=0, collected=True)
    size_of(largest, ("image", "novel_view", "mask", "cut_out", "background"), views=64)
