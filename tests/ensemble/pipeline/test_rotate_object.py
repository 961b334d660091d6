"""The story, told in process with simple networks: what is made, in what order, and how it ends."""

import threading
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from respin.errors import Cancelled, InternalError, InvalidInput, ObjectNotFound
from respin.request import RotationRequest
from respin_ensemble.pipeline.context import Workshop
from respin_ensemble.pipeline.rotate_object import rotate_object
from respin_ensemble.pipeline.task_group import Crew
from respin_ensemble.stages.novel_view import Moves


def photo_bytes(height=120, width=160):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def request_for(**fields):
    fields = {"image": photo_bytes(), "class_name": "laptop", "steps": 3, "background_steps": 2, **fields}
    return RotationRequest(**fields)


def pixels_of(encoded):
    return np.asarray(Image.open(BytesIO(encoded)))


class Listener:
    """Keeps events, and makes everything that they offer."""

    def __init__(self):
        self.events = []
        self.made = {}
        self.lock = threading.Lock()

    def __call__(self, event):
        with self.lock:
            self.events.append(event)
        for name, make in event.made.items():
            self.made[name, event.view] = make()


@pytest.fixture
def workshop(networks, stepper):
    with ThreadPoolExecutor(2) as branches:
        yield Workshop(networks, stepper, branches, Moves(networks))


@pytest.fixture
def tell(workshop):
    def run(request):
        listener = Listener()
        rotate_object(workshop, request, listener)
        return listener

    return run


def test_one_photo_in_one_photo_out(tell):
    told = tell(request_for(azimuth=(80.0,)))
    assert set(told.made) == {
        *[(name, -1) for name in ("mask", "cut_out", "box", "score", "phrase", "background", "notes")],
        ("image", 0),
        ("novel_view", 0),
    }
    assert told.events[-1].stage == "done"
    assert pixels_of(told.made["image", 0]).shape == (120, 160, 3)


def test_pixels_that_nothing_touched_are_bit_identical(tell):
    request = request_for(azimuth=(80.0,), dilate_px=10, fit="box")
    told = tell(request)
    before, after = pixels_of(request.image), pixels_of(told.made["image", 0])
    mask = pixels_of(told.made["mask", -1]) > 0
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    untouched = np.ones(mask.shape, np.bool_)
    # The hole is the mask and 5 px round it; the object is pasted within its box and an edge of some pixels.
    untouched[rows[0] - 8 : rows[-1] + 9, columns[0] - 8 : columns[-1] + 9] = False
    np.testing.assert_array_equal(after[untouched], before[untouched])
    assert (after != before).any()


def test_without_angles_the_cut_out_is_the_answer_and_nothing_is_denoised(tell, networks):
    request = request_for()
    told = tell(request)
    assert not networks.fed["zero123_unet"]
    assert not networks.fed["inpaint_unet"]
    mask = pixels_of(told.made["mask", -1]) > 0
    image = pixels_of(told.made["image", -1])
    np.testing.assert_array_equal(image[mask], pixels_of(request.image)[mask])
    assert (image[~mask] == 255).all()
    assert (pixels_of(told.made["cut_out", -1])[..., 3] > 0).sum() == mask.sum()


def test_a_given_box_spares_the_detection_of_the_photo(tell, networks):
    told = tell(request_for(box=(40.0, 30.0, 120.0, 90.0)))
    assert not networks.fed["grounding_dino"]
    np.testing.assert_array_equal(told.made["box", -1], [40, 30, 120, 90])
    assert (told.made["score", -1], told.made["phrase", -1]) == (1.0, "")


def test_mask_and_background_are_made_once_for_all_views(tell, networks):
    told = tell(request_for(azimuth=(10.0, 20.0, 30.0)))
    assert len(networks.fed["inpaint_unet"]) == 2
    assert sorted(event.view for event in told.events if "image" in event.made) == [0, 1, 2]
    assert len(networks.fed["edsr"]) == 3


def test_both_branches_run_at_the_same_time(workshop, networks):
    meeting = threading.Barrier(2, timeout=20)
    met = set()

    def wait_for_the_other(spec):
        if spec.name in ("zero123_unet", "inpaint_unet") and spec.name not in met:
            met.add(spec.name)
            meeting.wait()

    networks.before_run = wait_for_the_other
    rotate_object(workshop, request_for(azimuth=(80.0,)), Listener())
    assert met == {"zero123_unet", "inpaint_unet"}


def test_progress_rises_to_the_last_step_of_both_branches(tell):
    told = tell(request_for(azimuth=(80.0,)))
    steps = {
        stage: [event.step for event in told.events if event.stage == stage and event.steps]
        for stage in ("novel_view", "background")
    }
    assert all(told == sorted(set(told)) for told in steps.values())
    assert {stage: told[-1] for stage, told in steps.items()} == {"novel_view": 3, "background": 2}


def test_either_network_runs_by_its_own_sampler_steps_and_guidance(tell, networks):
    own = {"sampler": "euler", "steps": 3, "guidance": 2.0, "guidance_start": 0.3}
    other = {"sampler": "unipc", "steps": 4, "guidance": 5.0, "guidance_end": 0.5}
    tell(request_for(azimuth=(80.0,), **own, **{f"background_{name}": value for name, value in other.items()}))

    def asked(unet):
        return [(call["timestep"].item(), call["guidance"].item()) for call in networks.fed[unet]]

    assert asked("zero123_unet") == [(999, 1), (499.5, 2), (0, 2)]
    assert asked("inpaint_unet") == [(999, 5), (749, 5), (500, 1), (250, 1)]


def test_the_same_seed_is_the_same_picture_and_another_is_not(tell, networks):
    first, again = (tell(request_for(azimuth=(80.0,), seed=1)) for _ in range(2))
    tell(request_for(azimuth=(80.0,), seed=2))
    assert first.made["image", 0] == again.made["image", 0]
    latents = [call["latents"] for call in networks.fed["inpaint_unet"][::2]]
    assert not np.array_equal(latents[0], latents[2])


def test_a_view_in_which_nothing_is_recognised_is_cut_out_by_its_colour_and_says_so(tell, networks):
    photo_only = networks.grounding_dino

    def finds_nothing_in_views(image, **text):
        networks.score = 0.9 if not networks.fed["zero123_unet"] else 0.1
        return photo_only(image, **text)

    networks.grounding_dino = finds_nothing_in_views
    told = tell(request_for(azimuth=(80.0,)))
    assert b"view 0: no 'laptop' recognised in it" in told.made["notes", -1][0]


def test_a_blank_view_is_never_pasted(tell, networks):
    networks.decoded = 1.0
    networks.sam_decoder_of_photo = networks.sam_decoder

    def empty_in_views(embedding, box):
        answer = networks.sam_decoder_of_photo(embedding, box)
        if networks.fed["zero123_unet"]:
            answer["masks"] = answer["masks"] * 0 - 5
        return answer

    networks.sam_decoder = empty_in_views
    with pytest.raises(InternalError, match="came out blank"):
        tell(request_for(azimuth=(80.0,)))


@pytest.mark.parametrize(
    ("box", "told"),
    [
        ((100.0, 10.0, 300.0, 60.0), "the photo 160 x 120 px"),
        ((60.0, 20.0, 20.0, 60.0), "send .* with x1 > x0"),
        ((10.0, 10.0, 10.0, 60.0), "0 px wide and 50 px high"),
    ],
    ids=["outside", "inverted", "no area"],
)
def test_a_box_that_is_none_is_told_in_words(tell, box, told):
    with pytest.raises(InvalidInput, match=told):
        tell(request_for(box=box))


def test_a_box_with_no_shape_in_it_is_told_in_words(tell, networks):
    networks.sam_decoder = lambda embedding, box: {
        "masks": np.full((1, 4, 64, 64), -5, np.float32),
        "predicted_iou": np.zeros((1, 4), np.float32),
    }
    with pytest.raises(ObjectNotFound, match="no shape of a 'laptop' in its box"):
        tell(request_for(azimuth=(80.0,)))


def hold(networks, unet, *, after, until):
    """Let so many calls of a UNet pass, one more once `until` is set, and none before the event that is returned.

    A job that has to learn of something from that one call has then learnt of it, however the threads are run.
    """
    over = threading.Event()

    def before_run(spec):
        calls = len(networks.fed[unet])
        if spec.name == unet and calls >= after and not (until if calls == after else over).wait(10):
            networks.before_run = lambda spec: None  # the job was not ended: let the test say so

    networks.before_run = before_run
    return over


class Branches(ThreadPoolExecutor):
    """Knows when a branch has ended or has been given up."""

    def __init__(self):
        super().__init__(2)
        self.ended = threading.Event()

    def submit(self, *args, **named):
        future = super().submit(*args, **named)
        future.add_done_callback(lambda future: self.ended.set())
        give_up = future.cancel
        future.cancel = lambda: self.ended.set() or give_up()
        return future


@pytest.mark.parametrize(
    ("stage", "other"), [("novel_view", "inpaint_unet"), ("background", "zero123_unet")], ids=["views", "background"]
)
def test_cancelling_one_branch_ends_the_other(networks, stepper, stage, other):
    def cancelled_in(event):
        if event.stage == stage:
            raise Cancelled("gone")

    with Branches() as branches:
        over = hold(networks, other, after=3, until=branches.ended)
        workshop = Workshop(networks, stepper, branches, Moves(networks))
        with pytest.raises(Cancelled, match="gone"):
            rotate_object(workshop, request_for(azimuth=(80.0,), steps=200, background_steps=200), cancelled_in)
        assert len(networks.fed[other]) <= 4
        over.set()


def test_a_background_that_fails_fails_the_job_with_its_own_words(tell, networks):
    def broken(**arrays):
        raise InternalError("inpaint_unet failed: no memory")

    networks.inpaint_unet = broken
    with pytest.raises(InternalError, match="inpaint_unet failed"):
        tell(request_for(azimuth=(80.0,)))


def test_a_view_that_cannot_be_finished_ends_the_job_before_the_others_are_sampled(tell, networks, monkeypatch):
    ended = threading.Event()

    class WatchedCrew(Crew):
        def begin(self, piece):
            future = super().begin(piece)
            future.add_done_callback(lambda future: ended.set())
            return future

    def broken(**arrays):
        raise InternalError("edsr failed: no memory")

    monkeypatch.setattr("respin_ensemble.pipeline.rotate_object.Crew", WatchedCrew)
    networks.edsr = broken
    # Of twelve views on eight slots four are done after 199 calls, all after 299.
    over = hold(networks, "zero123_unet", after=210, until=ended)
    with pytest.raises(InternalError, match="edsr failed"):
        tell(request_for(azimuth=tuple(map(float, range(12))), steps=200))
    assert len(networks.fed["zero123_unet"]) <= 211
    over.set()
