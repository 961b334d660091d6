"""The whole job in process with simple networks: what it reports, in what order, and how it ends."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from respin.errors import Cancelled, InternalError, InvalidInput, ObjectNotFound
from respin.request import RotationRequest
from respin_ensemble.pipeline.cancellation import Cancellation
from respin_ensemble.pipeline.context import JobContext
from respin_ensemble.pipeline.rotate_object import rotate_object
from respin_ensemble.stages.novel_view import CameraProjection


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
    """Keeps events, and encodes all their results."""

    def __init__(self):
        self.events = []
        self.made = {}
        self.lock = threading.Lock()

    def __call__(self, event):
        with self.lock:
            self.events.append(event)
        for name, make in event.results.items():
            self.made[name, event.view] = make()


@pytest.fixture
def executor():
    with ThreadPoolExecutor(2) as threads:
        yield threads


@pytest.fixture
def context(networks, batchers, executor):
    return JobContext(networks, batchers, executor, CameraProjection(networks))


@pytest.fixture
def run_job(context):
    def run(request):
        listener = Listener()
        rotate_object(context, request, listener)
        return listener

    return run


@pytest.mark.parametrize("azimuth", [(), (80.0,)])
def test_every_answer_carries_the_notes_of_the_set(context, azimuth):
    listener = Listener()
    rotate_object(replace(context, notes=("this set knows rooms",)), request_for(azimuth=azimuth), listener)
    assert listener.made["notes", -1][0] == b"this set knows rooms"


def test_one_photo_in_one_photo_out(run_job):
    job = run_job(request_for(azimuth=(80.0,)))
    assert set(job.made) == {
        *[(name, -1) for name in ("mask", "cut_out", "box", "score", "phrase", "background", "notes")],
        ("image", 0),
        ("novel_view", 0),
    }
    assert job.events[-1].stage == "done"
    assert pixels_of(job.made["image", 0]).shape == (120, 160, 3)


def test_pixels_that_nothing_touched_are_bit_identical(run_job):
    request = request_for(azimuth=(80.0,), dilate_px=10, fit="box")
    job = run_job(request)
    before, after = pixels_of(request.image), pixels_of(job.made["image", 0])
    mask = pixels_of(job.made["mask", -1]) > 0
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    untouched = np.ones(mask.shape, np.bool_)
    # The hole is the mask and 5 px round it; the object is pasted within its box and an edge of some pixels.
    untouched[rows[0] - 8 : rows[-1] + 9, columns[0] - 8 : columns[-1] + 9] = False
    np.testing.assert_array_equal(after[untouched], before[untouched])
    assert (after != before).any()


def test_without_angles_the_cut_out_is_the_answer_and_nothing_is_denoised(run_job, networks):
    request = request_for()
    job = run_job(request)
    assert not networks.fed["zero123_unet"]
    assert not networks.fed["inpaint_unet"]
    mask = pixels_of(job.made["mask", -1]) > 0
    image = pixels_of(job.made["image", -1])
    np.testing.assert_array_equal(image[mask], pixels_of(request.image)[mask])
    assert (image[~mask] == 255).all()
    assert (pixels_of(job.made["cut_out", -1])[..., 3] > 0).sum() == mask.sum()


def test_a_given_box_spares_the_detection_of_the_photo(run_job, networks):
    job = run_job(request_for(box=(40.0, 30.0, 120.0, 90.0)))
    assert not networks.fed["grounding_dino"]
    np.testing.assert_array_equal(job.made["box", -1], [40, 30, 120, 90])
    assert (job.made["score", -1], job.made["phrase", -1]) == (1.0, "")


def test_mask_and_background_are_made_once_for_all_views(run_job, networks):
    job = run_job(request_for(azimuth=(10.0, 20.0, 30.0)))
    assert len(networks.fed["inpaint_unet"]) == 2
    assert sorted(event.view for event in job.events if "image" in event.results) == [0, 1, 2]
    assert len(networks.fed["edsr"]) == 3


def test_both_branches_run_at_the_same_time(context, networks):
    meeting = threading.Barrier(2, timeout=20)
    met = set()

    def wait_for_the_other(spec):
        if spec.name in ("zero123_unet", "inpaint_unet") and spec.name not in met:
            met.add(spec.name)
            meeting.wait()

    networks.before_run = wait_for_the_other
    rotate_object(context, request_for(azimuth=(80.0,)), Listener())
    assert met == {"zero123_unet", "inpaint_unet"}


def test_progress_rises_to_the_last_step_of_both_branches(run_job):
    job = run_job(request_for(azimuth=(80.0,)))
    steps = {
        stage: [event.step for event in job.events if event.stage == stage and event.steps]
        for stage in ("novel_view", "background")
    }
    assert all(told == sorted(set(told)) for told in steps.values())
    assert {stage: told[-1] for stage, told in steps.items()} == {"novel_view": 3, "background": 2}


def test_either_network_runs_by_its_own_sampler_steps_and_guidance(run_job, networks):
    own = {"sampler": "euler", "steps": 3, "guidance": 2.0, "guidance_start": 0.3}
    other = {"sampler": "unipc", "steps": 4, "guidance": 5.0, "guidance_end": 0.5}
    run_job(request_for(azimuth=(80.0,), **own, **{f"background_{name}": value for name, value in other.items()}))

    def asked(unet):
        return [(call["timestep"].item(), call["guidance"].item()) for call in networks.fed[unet]]

    assert asked("zero123_unet") == [(999, 1), (499.5, 2), (0, 2)]
    assert asked("inpaint_unet") == [(999, 5), (749, 5), (500, 1), (250, 1)]


def test_the_same_seed_is_the_same_picture_and_another_is_not(run_job, networks):
    first, again = (run_job(request_for(azimuth=(80.0,), seed=1)) for _ in range(2))
    run_job(request_for(azimuth=(80.0,), seed=2))
    assert first.made["image", 0] == again.made["image", 0]
    latents = [call["latents"] for call in networks.fed["inpaint_unet"][::2]]
    assert not np.array_equal(latents[0], latents[2])


def test_a_view_in_which_nothing_is_recognised_is_cut_out_by_its_colour_and_says_so(run_job, networks):
    photo_only = networks.grounding_dino

    def finds_nothing_in_views(image, **text):
        networks.score = 0.9 if not networks.fed["zero123_unet"] else 0.1
        return photo_only(image, **text)

    networks.grounding_dino = finds_nothing_in_views
    job = run_job(request_for(azimuth=(80.0,)))
    assert b"view 0: no 'laptop' recognised in it" in job.made["notes", -1][0]


def test_a_blank_view_is_never_pasted(run_job, networks):
    networks.decoded = 1.0
    networks.sam_decoder_of_photo = networks.sam_decoder

    def empty_in_views(embedding, box):
        answer = networks.sam_decoder_of_photo(embedding, box)
        if networks.fed["zero123_unet"]:
            answer["masks"] = answer["masks"] * 0 - 5
        return answer

    networks.sam_decoder = empty_in_views
    with pytest.raises(InternalError, match="came out blank"):
        run_job(request_for(azimuth=(80.0,)))


@pytest.mark.parametrize(
    ("box", "told"),
    [
        ((100.0, 10.0, 300.0, 60.0), "the photo 160 x 120 px"),
        ((60.0, 20.0, 20.0, 60.0), "send .* with x1 > x0"),
        ((10.0, 10.0, 10.0, 60.0), "0 px wide and 50 px high"),
    ],
    ids=["outside", "inverted", "no area"],
)
def test_a_box_that_is_none_is_told_in_words(run_job, box, told):
    with pytest.raises(InvalidInput, match=told):
        run_job(request_for(box=box))


def test_a_box_with_no_shape_in_it_is_told_in_words(run_job, networks):
    networks.sam_decoder = lambda embedding, box: {
        "masks": np.full((1, 4, 64, 64), -5, np.float32),
        "predicted_iou": np.zeros((1, 4), np.float32),
    }
    with pytest.raises(ObjectNotFound, match="no shape of a 'laptop' in its box"):
        run_job(request_for(azimuth=(80.0,)))


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


class WatchedCancellation(Cancellation):
    """Sets an event once a part of the job was cancelled."""

    def __init__(self, parent=None, cancelled=None):
        super().__init__(parent)
        self.cancelled = cancelled or threading.Event()

    def cancel(self, reason):
        super().cancel(reason)
        self.cancelled.set()

    def child(self):
        return WatchedCancellation(self, self.cancelled)


@pytest.mark.parametrize(
    ("stage", "other"), [("novel_view", "inpaint_unet"), ("background", "zero123_unet")], ids=["views", "background"]
)
def test_a_job_that_is_cancelled_in_one_branch_stops_in_the_other(context, networks, stage, other):
    def cancel_in(event):
        if event.stage == stage:
            cancellation.cancel("gone")

    cancellation = WatchedCancellation()
    over = hold(networks, other, after=3, until=cancellation.cancelled)
    request = request_for(azimuth=(80.0,), steps=200, background_steps=200)
    with pytest.raises(Cancelled, match="gone"):
        rotate_object(replace(context, cancellation=cancellation), request, cancel_in)
    assert len(networks.fed[other]) <= 4
    over.set()


@pytest.mark.parametrize("stage", ["detection", "segmentation", "background", "novel_view", "super_resolution"])
def test_a_job_can_be_cancelled_in_every_stage(context, stage):
    def cancel_in(event):
        assert event.stage != "done"
        if event.stage == stage:
            cancellation.cancel("gone")

    cancellation = Cancellation()
    with pytest.raises(Cancelled, match="gone"):
        rotate_object(replace(context, cancellation=cancellation), request_for(azimuth=(80.0,)), cancel_in)


def test_a_report_that_fails_ends_the_job(context):
    def fail(event):
        if event.step > 1:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        rotate_object(context, request_for(azimuth=(80.0,)), fail)


def test_a_background_that_fails_fails_the_job_with_its_own_words(run_job, networks):
    def broken(**arrays):
        raise InternalError("inpaint_unet failed: no memory")

    networks.inpaint_unet = broken
    with pytest.raises(InternalError, match="inpaint_unet failed"):
        run_job(request_for(azimuth=(80.0,)))


def test_a_view_that_cannot_be_finished_ends_the_job_before_the_others_are_sampled(context, networks):
    def broken(**arrays):
        raise InternalError("edsr failed: no memory")

    networks.edsr = broken
    cancellation = WatchedCancellation()
    # Of twelve views on eight slots four are done after 199 calls, all after 299.
    over = hold(networks, "zero123_unet", after=210, until=cancellation.cancelled)
    request = request_for(azimuth=tuple(map(float, range(12))), steps=200)
    with pytest.raises(InternalError, match="edsr failed"):
        rotate_object(replace(context, cancellation=cancellation), request, Listener())
    assert len(networks.fed["zero123_unet"]) <= 211
    over.set()
