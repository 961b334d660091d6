"""Names that the detector cannot read, and boxes that are sent back, in all jobs alike."""

import numpy as np
import pytest
from PIL import Image

from respin.errors import InvalidInput
from respin.scenes import HELD_OUT_SEEDS, render_scene
from respin_client import request_from_photo

pytestmark = pytest.mark.triton

UNREADABLE = {
    "a full stop": (".", "has no word that GroundingDINO knows"),
    "marks": ("?! ...", "has no word that GroundingDINO knows"),
    "an emoji": ("\U0001f600", "has no word that GroundingDINO knows"),
    "an underscore": ("_", "has no word that GroundingDINO knows"),
    "an article": ("the", "has only words that name no object"),
    "stop words": ("this or that", "has only words that name no object"),
    "a control character": ("cof\x07fee", "holds the control character U\\+0007"),
    "a zero": ("cup\x00", "holds the control character U\\+0000"),
    "a very long word": ("\u0e01" * 200, "class_name"),
}


@pytest.mark.parametrize("box", [None, (165.0, 12.0, 428.0, 312.0)], ids=["without a box", "with a box"])
@pytest.mark.parametrize(("name", "said"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_name_that_the_detector_cannot_read_is_refused_before_any_work(client, turn, name, said, box):
    request = turn(class_name=name, azimuth=(80.0,), box=box)
    messages = set()
    for ask in (client.rotate_object, client.segment_object, lambda each: next(client.stream(each))):
        with pytest.raises(InvalidInput, match=said) as caught:
            ask(request)
        messages.add(str(caught.value))
    assert len(messages) == 1


@pytest.mark.parametrize("name", ["Coffee Cup.", "cup . laptop", "tasse \u00e0 caf\u00e9", "cup\u200b", "2"])
def test_a_name_with_one_readable_word_is_taken(cpu_client, turn, name):
    assert cpu_client.segment_object(turn(class_name=name)).mask


@pytest.fixture(scope="session")
def cut_photos():
    """Photos whose edge goes through the object, so that a detector's box may leave them, with its name."""
    photos = []
    for seed in HELD_OUT_SEEDS[:4]:
        scene = render_scene(seed)
        row, column = (int(places.mean()) for places in np.nonzero(scene.target.mask))
        parts = scene.photo[row:], scene.photo[:, column:], scene.photo[:row], scene.photo[:, :column]
        photos += [(Image.fromarray(part), scene.target.kind) for part in parts if min(part.shape[:2]) >= 64]
    return photos


def test_a_box_that_comes_out_is_accepted_when_it_goes_back_in(client, cut_photos):
    boxes_beyond = 0
    for photo, kind in cut_photos:
        found = client.segment_object(request_from_photo(photo, kind, box_threshold=0.0), outputs=("box",)).box
        again = client.segment_object(request_from_photo(photo, kind, box=found), outputs=("box",)).box
        assert again == found
        boxes_beyond += min(found[:2]) < 0 or found[2] > photo.width or found[3] > photo.height
    assert boxes_beyond, "the photos are such that a box leaves one"


@pytest.mark.parametrize(
    "box",
    [(-0.84, 10.0, 300.0, 310.0), (10.0, -150.0, 590.0, 240.0), (150.0, 3.0, 750.0, 390.0), (10.5, 10.5, 10.9, 10.9)],
    ids=["a little out", "half out above", "half out at the right", "of half a pixel"],
)
def test_a_box_that_a_detector_may_return_is_no_mistake(cpu_client, turn, box):
    assert cpu_client.segment_object(turn(box=box), outputs=("box",)).box == pytest.approx(box)


@pytest.mark.parametrize(
    "box",
    [
        (-400.0, 10.0, 300.0, 310.0),
        (610.0, 10.0, 700.0, 310.0),
        (10.0, 420.0, 300.0, 500.0),
        (-90.0, -90.0, 700.0, 500.0),
    ],
    ids=["mostly at the left", "at the right", "below", "larger"],
)
def test_a_box_of_another_photo_is_refused(client, turn, box):
    with pytest.raises(InvalidInput, match="the photo 600 x 400 px once upright; send a box inside the photo"):
        client.segment_object(turn(box=box))
